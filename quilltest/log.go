package quilltest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/protocol"
)

// A Record is one record of a log, decoded.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	// Timestamp has millisecond precision. It is the zero time for a record without one.
	Timestamp time.Time
	// Key and Value are nil if null.
	Key, Value []byte
	Headers    []protocol.Header

	// ProducerID is -1 if the producer is not idempotent; ProducerEpoch and Sequence are then -1
	// too.
	ProducerID    int64
	ProducerEpoch int16
	Sequence      int32
	// Batch is the position of the record's batch among those that Batches returns, Index the
	// record's position in it.
	Batch, Index int
}

// A Batch is one batch of a log as a consumer would fetch it.
type Batch struct {
	Topic     string
	Partition int32
	Header    protocol.BatchHeader
	// Bytes is the whole batch, header included. It must not be changed.
	Bytes []byte
	// Appended is when, Node by which node.
	Appended time.Time
	Node     int32
}

// Records decodes the batch. Keys, values and header values are the caller's.
func (b Batch) Records() ([]Record, error) {
	section := slices.Clone(b.Bytes[protocol.BatchOverhead:])
	if codec := compress.Codec(b.Header.Codec()); codec != compress.None {
		plain, err := compress.Decompress(codec, nil, section, maxUnpacked)
		if err != nil {
			return nil, fmt.Errorf("quilltest: batch at offset %d: %w", b.Header.BaseOffset, err)
		}
		section = plain
	}
	records := make([]Record, 0, b.Header.Count)
	for r, err := range protocol.Records(section, b.Header.Count) {
		if err != nil {
			return nil, fmt.Errorf("quilltest: batch at offset %d: %w", b.Header.BaseOffset, err)
		}
		sequence := protocol.NoSequence
		if b.Header.BaseSequence != protocol.NoSequence {
			sequence = protocol.IncrementSequence(b.Header.BaseSequence, r.OffsetDelta)
		}
		records = append(records, Record{
			Topic: b.Topic, Partition: b.Partition, Offset: b.Header.BaseOffset + int64(r.OffsetDelta), Timestamp: b.timestamp(r.TimestampDelta),
			Key: r.Key, Value: r.Value, Headers: r.Headers,
			ProducerID: b.Header.ProducerID, ProducerEpoch: b.Header.ProducerEpoch, Sequence: sequence, Index: int(r.OffsetDelta),
		})
	}
	return records, nil
}

func (b Batch) timestamp(delta int64) time.Time {
	ms := b.Header.BaseTimestamp + delta
	if b.Header.LogAppendTime() {
		ms = b.Header.MaxTimestamp
	}
	if ms == protocol.NoTimestamp {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// Batches returns the batches kept of a partition, oldest first; those with the control bit are
// transaction markers. The error is an UNKNOWN_TOPIC_OR_PARTITION if there is no such partition.
func (c *Cluster) Batches(topic string, partition int32) ([]Batch, error) {
	p, err := c.partition(topic, partition)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	stored := slices.Clone(p.batches)
	p.mu.Unlock()
	return p.read(stored)
}

func (p *partition) read(stored []storedBatch) ([]Batch, error) {
	batches := make([]Batch, 0, len(stored))
	for _, s := range stored {
		h, err := protocol.ReadBatchHeader(s.bytes)
		if err != nil {
			return nil, fmt.Errorf("quilltest: batch at offset %d: %w", s.baseOffset, err)
		}
		batches = append(batches, Batch{Topic: p.topic.name, Partition: p.index, Header: h, Bytes: s.bytes, Appended: s.at, Node: s.node})
	}
	return batches, nil
}

// Records returns the records kept of a partition, in the order of their offsets, as a consumer
// with read_uncommitted sees them: those of open and aborted transactions too. With Options.Retain
// it may be fewer than were appended.
func (c *Cluster) Records(topic string, partition int32) ([]Record, error) {
	batches, err := c.Batches(topic, partition)
	if err != nil {
		return nil, err
	}
	return decode(batches, func(*protocol.BatchHeader) bool { return true })
}

// decode returns the records of the batches that are not control batches and that see lets pass.
func decode(batches []Batch, see func(h *protocol.BatchHeader) bool) ([]Record, error) {
	var all []Record
	for i, b := range batches {
		if b.Header.Control() || !see(&b.Header) {
			continue
		}
		records, err := b.Records()
		if err != nil {
			return nil, err
		}
		for j := range records {
			records[j].Batch = i
		}
		all = append(all, records...)
	}
	return all, nil
}

// AllRecords returns the records kept of all partitions of a topic, partition after partition.
func (c *Cluster) AllRecords(topic string) ([]Record, error) {
	var all []Record
	for _, p := range c.partitions(topic) {
		records, err := c.Records(topic, p.index)
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	return all, nil
}

// Appended returns how many records were appended to the topic's partitions together, dropped ones
// included and transaction markers not. It is 0 for a topic that does not exist.
func (c *Cluster) Appended(topic string) int64 {
	var n int64
	for _, p := range c.partitions(topic) {
		p.mu.Lock()
		n += p.appendedRecords
		p.mu.Unlock()
	}
	return n
}

// AppendedBatches is Appended for batches.
func (c *Cluster) AppendedBatches(topic string) int64 {
	var n int64
	for _, p := range c.partitions(topic) {
		p.mu.Lock()
		n += p.appendedBatches
		p.mu.Unlock()
	}
	return n
}

// Offsets returns a partition's log start offset and the offset its next record will have. A
// transaction marker takes an offset, as a record does.
func (c *Cluster) Offsets(topic string, partition int32) (start, end int64, err error) {
	p, err := c.partition(topic, partition)
	if err != nil {
		return 0, 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.start, p.end, nil
}

// DeleteRecords moves a partition's log start offset forward, as retention does, and drops the
// batches wholly before it.
func (c *Cluster) DeleteRecords(topic string, partition int32, before int64) error {
	p, err := c.partition(topic, partition)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if before < p.start || before > p.end {
		return fmt.Errorf("quilltest: delete before offset %d of [%d, %d]: %w", before, p.start, p.end, protocol.OffsetOutOfRange)
	}
	p.start = before
	for len(p.batches) > 0 && p.batches[0].lastOffset < before {
		p.dropOldestLocked()
	}
	return nil
}

// ForgetProducers makes a partition forget every producer id without an open transaction there, as
// happens a day after its last batch (Kafka: producer.id.expiration.ms).
func (c *Cluster) ForgetProducers(topic string, partition int32) error {
	p, err := c.partition(topic, partition)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.attempts)
	maps.DeleteFunc(p.producers, func(_ int64, s *producerState) bool { return s.transaction == noTransaction })
	return nil
}
