// Command confluent is the peer for github.com/confluentinc/confluent-kafka-go, which is librdkafka
// by cgo: hence a module of its own. What can't be made equal: it delivers reports through a channel;
// when its queue is full the peer has to wait and try again; its allocations in C are not seen.
package main

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"github.com/quill-kafka/quill/bench/driver"
)

type client struct {
	p       *kafka.Producer
	topic   string
	m       *driver.Meter
	reports sync.Pool // of chan kafka.Event
}

func (c *client) record(key, value []byte) *kafka.Message {
	return &kafka.Message{TopicPartition: kafka.TopicPartition{Topic: &c.topic, Partition: kafka.PartitionAny}, Key: key, Value: value}
}

func (c *client) Send(key, value []byte, sample int) {
	r := c.record(key, value)
	if sample >= 0 {
		r.Opaque = sample
	}
	for {
		err := c.p.Produce(r, nil)
		if err == nil {
			return
		}
		if full, ok := errors.AsType[kafka.Error](err); !ok || full.Code() != kafka.ErrQueueFull {
			c.m.Done(sample, err)
			return
		}
		time.Sleep(200 * time.Microsecond)
	}
}

func (c *client) SendSync(key, value []byte) error {
	report := c.reports.Get().(chan kafka.Event)
	if err := c.p.Produce(c.record(key, value), report); err != nil {
		return err
	}
	e := <-report
	c.reports.Put(report)
	return e.(*kafka.Message).TopicPartition.Error
}

func (c *client) Flush() error { return nil } // the linger ends by itself

func (c *client) Close() error {
	c.p.Close()
	return nil
}

// deliver ends when the producer is closed.
func (c *client) deliver() {
	for e := range c.p.Events() {
		r, ok := e.(*kafka.Message)
		if !ok {
			continue
		}
		sample, ok := r.Opaque.(int)
		if !ok {
			sample = driver.NoSample
		}
		c.m.Done(sample, r.TopicPartition.Error)
	}
}

func open(c driver.Config, m *driver.Meter) (driver.Client, error) {
	if c.TLS != nil {
		return nil, errors.New("this peer has no -tls: librdkafka can't be kept to one cipher suite of TLS 1.3 as the others are")
	}
	acks := "all"
	if !c.AcksAll {
		acks = "1"
	}
	p, err := kafka.NewProducer(&kafka.ConfigMap{
		"bootstrap.servers": strings.Join(c.Brokers, ","), "acks": acks, "enable.idempotence": c.Idempotent,
		"linger.ms":  strconv.FormatFloat(c.Linger.Seconds()*1000, 'f', -1, 64),
		"batch.size": c.Batch, "batch.num.messages": 1_000_000, "compression.type": c.Compression,
		"queue.buffering.max.messages": c.BufRecords, "queue.buffering.max.kbytes": c.BufBytes / 1024,
		"max.in.flight.requests.per.connection": c.InFlight,
		"go.delivery.report.fields":             "none", "go.events.channel.size": 100_000,
	})
	if err != nil {
		return nil, err
	}
	cl := &client{p: p, topic: c.Topic, m: m}
	cl.reports.New = func() any { return make(chan kafka.Event, 1) }
	go cl.deliver()
	return cl, nil
}

func main() { driver.Main("confluent", open) }
