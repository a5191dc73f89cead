module github.com/quill-kafka/quill/bench/peers/confluent

go 1.26.0

require (
	github.com/confluentinc/confluent-kafka-go/v2 v2.11.1
	github.com/quill-kafka/quill/bench v0.0.0
)

replace github.com/quill-kafka/quill/bench => ../..

replace github.com/quill-kafka/quill => ../../..
