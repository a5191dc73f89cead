// Command sarama is the peer for github.com/IBM/sarama. What can't be made equal: its idempotence
// allows one request in flight; it has no cap in bytes, its channels push back instead; a record
// without a key gets a partition by chance.
package main

import (
	"github.com/IBM/sarama"

	"github.com/quill-kafka/quill/bench/driver"
)

type client struct {
	topic string
	async sarama.AsyncProducer // one of the two
	sync  sarama.SyncProducer
}

func (c *client) record(key, value []byte) *sarama.ProducerMessage {
	r := &sarama.ProducerMessage{Topic: c.topic, Value: sarama.ByteEncoder(value)}
	if key != nil {
		r.Key = sarama.ByteEncoder(key)
	}
	return r
}

func (c *client) Send(key, value []byte, sample int) {
	r := c.record(key, value)
	if sample >= 0 {
		r.Metadata = sample
	}
	c.async.Input() <- r
}

func (c *client) SendSync(key, value []byte) error {
	_, _, err := c.sync.SendMessage(c.record(key, value))
	return err
}

func (c *client) Flush() error { return nil } // the linger ends by itself

func (c *client) Close() error {
	if c.sync != nil {
		return c.sync.Close()
	}
	c.async.AsyncClose() // its channels are being read
	return nil
}

func sampleOf(r *sarama.ProducerMessage) int {
	if s, ok := r.Metadata.(int); ok {
		return s
	}
	return driver.NoSample
}

func open(c driver.Config, m *driver.Meter) (driver.Client, error) {
	cl := &client{topic: c.Topic}
	var err error
	if c.Parallel > 0 {
		cl.sync, err = sarama.NewSyncProducer(c.Brokers, config(c))
		return cl, err
	}
	if cl.async, err = sarama.NewAsyncProducer(c.Brokers, config(c)); err != nil {
		return nil, err
	}
	go func() { // until Close
		for r := range cl.async.Successes() {
			m.Done(sampleOf(r), nil)
		}
	}()
	go func() { // until Close
		for e := range cl.async.Errors() {
			m.Done(sampleOf(e.Msg), e.Err)
		}
	}()
	return cl, nil
}

func config(c driver.Config) *sarama.Config {
	s := sarama.NewConfig()
	s.Version = sarama.V3_6_0_0
	s.ChannelBufferSize = 4096
	p := &s.Producer
	p.Return.Successes, p.Return.Errors = true, true
	p.RequiredAcks = sarama.WaitForAll
	if !c.AcksAll {
		p.RequiredAcks = sarama.WaitForLocal
	}
	s.Net.TLS.Enable, s.Net.TLS.Config = c.TLS != nil, c.TLS
	s.Net.MaxOpenRequests = c.InFlight
	if c.Idempotent {
		p.Idempotent, s.Net.MaxOpenRequests = true, 1
	}
	p.Compression = codecs[c.Compression]
	p.MaxMessageBytes = c.Batch
	if c.Linger > 0 {
		p.Flush.Frequency = c.Linger
		// counts all partitions of a node together
		p.Flush.Bytes = c.Batch * max(1, min(c.Partitions/len(c.Brokers), 16))
	}
	return s
}

var codecs = map[string]sarama.CompressionCodec{"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}

func main() { driver.Main("sarama", open) }
