module github.com/quill-kafka/quill/quillhttp/browser

go 1.26.0

require github.com/quill-kafka/quill v0.0.0

require (
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
)

replace github.com/quill-kafka/quill => ../..
