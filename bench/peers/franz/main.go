// Command franz is the peer for github.com/twmb/franz-go.
package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quill-kafka/quill/bench/driver"
)

type client struct {
	cl    *kgo.Client
	m     *driver.Meter
	plain func(*kgo.Record, error) // one for all records without a sample
}

func (c *client) Send(key, value []byte, sample int) {
	promise := c.plain
	if sample >= 0 {
		promise = func(_ *kgo.Record, err error) { c.m.Done(sample, err) }
	}
	c.cl.Produce(context.Background(), &kgo.Record{Key: key, Value: value}, promise)
}

func (c *client) SendSync(key, value []byte) error {
	return c.cl.ProduceSync(context.Background(), &kgo.Record{Key: key, Value: value}).FirstErr()
}

func (c *client) Begin() error { return c.cl.BeginTransaction() }

// Commit flushes first: EndTransaction does not.
func (c *client) Commit() error {
	if err := c.Flush(); err != nil {
		return err
	}
	return c.cl.EndTransaction(context.Background(), kgo.TryCommit)
}

func (c *client) Flush() error { return c.cl.Flush(context.Background()) }

func (c *client) Close() error {
	c.cl.Close()
	return nil
}

func open(c driver.Config, m *driver.Meter) (driver.Client, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...), kgo.DefaultProduceTopic(c.Topic), kgo.ProducerBatchCompression(codecs[c.Compression]),
		kgo.ProducerLinger(c.Linger), kgo.ProducerBatchMaxBytes(int32(c.Batch)),
		kgo.MaxBufferedRecords(c.BufRecords), kgo.MaxBufferedBytes(c.BufBytes),
	}
	if c.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(c.TLS))
	}
	if !c.AcksAll {
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()))
	}
	if !c.Idempotent { // with idempotence it is 5 anyway
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(c.InFlight))
	}
	if c.Transaction {
		opts = append(opts, kgo.TransactionalID("bench"))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	return &client{cl, m, func(_ *kgo.Record, err error) { m.Done(driver.NoSample, err) }}, nil
}

var codecs = map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}

func main() { driver.Main("franz-go", open) }
