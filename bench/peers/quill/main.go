// Command quill is the peer for github.com/quill-kafka/quill, the library of this repository.
package main

import (
	"context"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/bench/driver"
)

type client struct {
	p     *quill.Producer[[]byte, []byte]
	topic string
	m     *driver.Meter
	plain quill.Callback // one for all records without a sample
}

func (c *client) record(key, value []byte) quill.Record[[]byte, []byte] {
	return quill.Record[[]byte, []byte]{Topic: c.topic, Key: key, Value: value}
}

func (c *client) Send(key, value []byte, sample int) {
	fn := c.plain
	if sample >= 0 {
		fn = func(_ quill.RecordMetadata, err error) { c.m.Done(sample, err) }
	}
	c.p.SendFunc(context.Background(), c.record(key, value), fn)
}

func (c *client) SendSync(key, value []byte) error {
	_, err := c.p.SendSync(context.Background(), c.record(key, value))
	return err
}

func (c *client) Begin() error  { return c.p.BeginTransaction() }
func (c *client) Commit() error { return c.p.CommitTransaction(context.Background()) }

func (c *client) Flush() error { return c.p.Flush(context.Background()) }
func (c *client) Close() error { return c.p.Close(context.Background()) }

func open(c driver.Config, m *driver.Meter) (driver.Client, error) {
	cfg := quill.Config{
		BootstrapServers: c.Brokers, MaxInFlightRequestsPerConnection: c.InFlight, BufferMemory: int64(c.BufBytes),
		BatchSize: c.Batch, Linger: c.Linger, Compression: codecs[c.Compression], Idempotence: new(false),
		TLS: c.TLS,
	}
	if c.Linger == 0 {
		cfg.Linger = -1 // 0 is the default
	}
	if c.Idempotent {
		cfg.Idempotence = new(true)
	}
	if !c.AcksAll {
		cfg.Acks = quill.AcksLeader
	}
	if c.Batch > 100_000 {
		cfg.MaxRequestSize = 8 << 20 // as for Java: its default of 1 MiB would send each large batch alone
	}
	if c.Transaction {
		cfg.TransactionalID = "bench"
	}
	p, err := quill.New(cfg, quill.Bytes, quill.Bytes)
	if err != nil {
		return nil, err
	}
	if c.Transaction {
		if err := p.InitTransactions(context.Background()); err != nil {
			return nil, err
		}
	}
	plain := func(_ quill.RecordMetadata, err error) { m.Done(driver.NoSample, err) }
	return &client{p: p, topic: c.Topic, m: m, plain: plain}, nil
}

var codecs = map[string]quill.Compression{"none": quill.CompressionNone, "gzip": quill.CompressionGzip,
	"snappy": quill.CompressionSnappy, "lz4": quill.CompressionLZ4, "zstd": quill.CompressionZstd}

func main() { driver.Main("quill", open) }
