package quill_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
)

// Only the bootstrap servers are required; what is left out is Kafka's default. Negative is none.
func ExampleConfig() {
	cfg := quill.Config{
		BootstrapServers:     []string{"broker-1:9092", "broker-2:9092"},
		ClientID:             "billing",
		Compression:          quill.CompressionZstd,
		CompressionZstdLevel: new(1),
		Linger:               20 * time.Millisecond,
		RetryBackoff:         -1,
	}
	for _, name := range []string{"compression.type", "compression.zstd.level", "linger.ms", "retry.backoff.ms"} {
		fmt.Println(name, cfg.Properties()[name])
	}
	// Output:
	// compression.type zstd
	// compression.zstd.level 1
	// linger.ms 20
	// retry.backoff.ms 0
}

// The names of Kafka's properties work too. All faults are reported together.
func ExampleParseProperties() {
	cfg, err := quill.ParseProperties(map[string]string{"bootstrap.servers": "localhost:9092", "linger.ms": "0"})
	fmt.Println(cfg.BootstrapServers, cfg.Linger < 0, err)

	_, err = quill.ParseProperties(map[string]string{"linger.ms": "5ms", "acks": "2"})
	if e, ok := errors.AsType[*quill.ConfigError](err); ok {
		for _, fault := range e.Faults {
			fmt.Println(fault)
		}
	}
	// Output:
	// [localhost:9092] true <nil>
	// acks="2": must be one of all, -1, 0, 1
	// linger.ms="5ms": must be an integer (milliseconds); write 5
}

// Files that Java producers are configured with can be read as they are.
func ExampleLoadProperties() {
	cfg, err := quill.LoadProperties(strings.NewReader(`
# the orders service
bootstrap.servers = broker-1:9092, \
                    broker-2:9092
acks: all
client.id=caf\u00e9
`))
	fmt.Println(cfg.BootstrapServers, cfg.ClientID, err)
	// Output: [broker-1:9092 broker-2:9092] café <nil>
}

// The outcome of a failed record decides whether it is safe to send it again.
func ExampleError() {
	handle := func(err error) {
		e, ok := errors.AsType[*quill.Error](err)
		switch {
		case !ok:
			fmt.Println("not from this package")
		case e.Fatal():
			fmt.Println("make a new producer")
		case errors.Is(err, quill.ErrRecordTooLarge):
			fmt.Println("too large for topic", e.Topic)
		case e.Retriable() && e.Outcome == quill.MaybeWritten:
			fmt.Println("sending it again may duplicate it")
		case e.Retriable():
			fmt.Println("safe to send again")
		default:
			fmt.Println("set it aside, in a dead-letter topic for example")
		}
	}
	handle(&quill.Error{Op: "send", Kind: quill.ErrBufferExhausted})
	handle(&quill.Error{Op: "send", Topic: "orders", Kind: quill.ErrDeliveryTimeout, Outcome: quill.MaybeWritten})
	handle(&quill.Error{Op: "send", Topic: "orders", Code: protocol.MessageTooLarge, Outcome: quill.Rejected})
	handle(&quill.Error{Op: "send", Topic: "orders", Code: protocol.ProducerFenced, Class: quill.ErrFatal, Outcome: quill.Rejected})
	handle(&quill.Error{Op: "send", Topic: "orders", Code: protocol.InvalidRecord, Outcome: quill.Rejected})
	// Output:
	// safe to send again
	// sending it again may duplicate it
	// too large for topic orders
	// make a new producer
	// set it aside, in a dead-letter topic for example
}
