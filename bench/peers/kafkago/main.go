// Command kafkago is the peer for github.com/segmentio/kafka-go. What can't be made equal: it has no
// idempotence, and one batch in flight per partition. It buffers without bound in async mode, so the
// peer holds records back at the cap the others have.
package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/quill-kafka/quill/bench/driver"
)

type client struct {
	w      *kafka.Writer
	m      *driver.Meter
	cap    int64
	unsent atomic.Int64    // records handed over without an outcome
	chunk  []kafka.Message // only with one sending goroutine
}

func (c *client) Send(key, value []byte, sample int) {
	r := kafka.Message{Key: key, Value: value}
	if sample >= 0 {
		r.WriterData = sample
	}
	if cap(c.chunk) == 1 {
		c.write([]kafka.Message{r})
		return
	}
	if c.chunk = append(c.chunk, r); len(c.chunk) == cap(c.chunk) {
		_ = c.Flush() // never fails
	}
}

func (c *client) write(rs []kafka.Message) {
	for c.unsent.Load() >= c.cap {
		time.Sleep(100 * time.Microsecond)
	}
	c.unsent.Add(int64(len(rs)))
	if err := c.w.WriteMessages(context.Background(), rs...); err != nil {
		c.completed(rs, err)
	}
}

func (c *client) completed(rs []kafka.Message, err error) {
	for i := range rs {
		sample, ok := rs[i].WriterData.(int)
		if !ok {
			sample = driver.NoSample
		}
		c.m.Done(sample, err)
	}
	c.unsent.Add(-int64(len(rs)))
}

func (c *client) SendSync(key, value []byte) error {
	return c.w.WriteMessages(context.Background(), kafka.Message{Key: key, Value: value})
}

func (c *client) Flush() error { // only chunks need it: the linger ends by itself
	if len(c.chunk) > 0 {
		c.write(c.chunk)
		c.chunk = make([]kafka.Message, 0, cap(c.chunk))
	}
	return nil
}

func (c *client) Close() error { return c.w.Close() }

func open(c driver.Config, m *driver.Meter) (driver.Client, error) {
	if c.Chunk > 1 && c.Goroutines > 1 {
		return nil, errors.New("-chunk needs -goroutines=1")
	}
	cl := &client{m: m, cap: int64(max(1, min(c.BufRecords, c.BufBytes/c.Size))), chunk: make([]kafka.Message, 0, c.Chunk)}
	w := &kafka.Writer{
		Addr: kafka.TCP(c.Brokers...), Topic: c.Topic, Balancer: &kafka.RoundRobin{}, RequiredAcks: kafka.RequireAll,
		BatchBytes: int64(c.Batch), BatchTimeout: c.Linger, Compression: codecs[c.Compression], Transport: &kafka.Transport{TLS: c.TLS},
		BatchSize: max(1, 2*c.Batch/c.Size), // BatchBytes decides
	}
	if c.Keyed {
		w.Balancer = kafka.Murmur2Balancer{}
	}
	if !c.AcksAll {
		w.RequiredAcks = kafka.RequireOne
	}
	if c.Linger == 0 {
		w.BatchTimeout = time.Nanosecond // 0 is its default of a second
		if w.BatchSize = 1000; c.Parallel == 1 {
			w.BatchSize = 1 // its way to say "at once" for a single sender
		}
	}
	if c.Parallel == 0 {
		w.Async, w.Completion = true, cl.completed
	}
	cl.w = w
	return cl, nil
}

var codecs = map[string]kafka.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}

func main() { driver.Main("kafka-go", open) }
