module github.com/quill-kafka/quill/plugin/keystore

go 1.26.0

require (
	github.com/quill-kafka/quill v0.0.0
	github.com/stretchr/testify v1.12.1
	software.sslmate.com/src/go-pkcs12 v0.7.4
)

require (
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/crypto v0.59.0 // indirect
)

replace github.com/quill-kafka/quill => ../..
