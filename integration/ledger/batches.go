package ledger

import (
	"iter"
	"math"
)

// Batch is one record batch as it lies on a node's disk.
type Batch struct {
	Topic                      string
	Partition                  int32
	BaseOffset, LastOffset     int64
	Count                      int32
	BaseSequence, LastSequence int32
	ProducerID                 int64
	ProducerEpoch              int16
	LeaderEpoch                int32
	Transactional, Control     bool
	Magic                      int8
	Codec                      string
	Size                       int
	CRC                        uint32
	Valid                      bool // its CRC is right
}

// BatchRules says what every batch of a topic must be.
type BatchRules struct {
	Codec      string // as the dump prints it: none, gzip, snappy, lz4, zstd; a batch of one or two records may be none
	Idempotent bool   // batches carry a producer id and sequences
}

// BatchReport is the result of CheckBatches.
type BatchReport struct {
	Batches, Records, Bytes int
	Producers               int // distinct producer ids
	EpochChanges            int
	Violations              Violations
}

// incompressible is how many records a batch may have and yet not shrink: such a batch may go uncompressed.
const incompressible = 2

// CheckBatches checks one node's copy of a topic (I8). The batches of a partition must come in the order of the log.
func CheckBatches(rules BatchRules, batches iter.Seq2[Batch, error]) (*BatchReport, error) {
	c := batchCheck{rules: rules, report: &BatchReport{}, next: map[int32]int64{}, sequences: map[producerAt]sequence{}, producers: map[int64]bool{}}
	for b, err := range batches {
		if err != nil {
			return nil, err
		}
		c.batch(b)
	}
	c.report.Producers = len(c.producers)
	return c.report, nil
}

type producerAt struct {
	partition int32
	id        int64
}

type sequence struct {
	epoch int16
	last  int32
}

type batchCheck struct {
	rules     BatchRules
	report    *BatchReport
	next      map[int32]int64 // next offset, by partition
	sequences map[producerAt]sequence
	producers map[int64]bool
}

func (c *batchCheck) batch(b Batch) {
	r := c.report
	r.Batches++
	r.Records += int(b.Count)
	r.Bytes += b.Size
	fault := func(format string, args ...any) {
		r.Violations.add("I8", "%s-%d offset %d: "+format, append([]any{b.Topic, b.Partition, b.BaseOffset}, args...)...)
	}
	if !b.Valid {
		fault("the CRC is wrong")
	}
	if b.Magic != 2 {
		fault("magic %d", b.Magic)
	}
	if b.Codec != c.rules.Codec && !(b.Codec == "none" && b.Count <= incompressible) {
		fault("codec %s instead of %s", b.Codec, c.rules.Codec)
	}
	if b.Transactional || b.Control {
		fault("transactional %t, control %t", b.Transactional, b.Control)
	}
	if want := c.next[b.Partition]; b.BaseOffset != want {
		fault("%d was expected", want)
	}
	c.next[b.Partition] = b.LastOffset + 1
	if n := b.LastOffset - b.BaseOffset + 1; n != int64(b.Count) {
		fault("%d offsets for %d records", n, b.Count)
	}
	if !c.rules.Idempotent {
		return
	}
	if b.ProducerID < 0 || b.ProducerEpoch < 0 || b.BaseSequence < 0 {
		fault("no producer id, epoch or sequence: %d, %d, %d", b.ProducerID, b.ProducerEpoch, b.BaseSequence)
		return
	}
	c.producers[b.ProducerID] = true
	if want := increment(b.BaseSequence, b.Count-1); b.LastSequence != want {
		fault("last sequence %d instead of %d", b.LastSequence, want)
	}
	at := producerAt{b.Partition, b.ProducerID}
	before, known := c.sequences[at]
	want := int32(0)
	switch {
	case !known:
	case b.ProducerEpoch < before.epoch:
		fault("producer %d: epoch %d after %d", b.ProducerID, b.ProducerEpoch, before.epoch)
	case b.ProducerEpoch > before.epoch:
		r.EpochChanges++
	default:
		want = increment(before.last, 1)
	}
	if b.BaseSequence != want {
		fault("producer %d epoch %d: base sequence %d instead of %d", b.ProducerID, b.ProducerEpoch, b.BaseSequence, want)
	}
	c.sequences[at] = sequence{b.ProducerEpoch, b.LastSequence}
}

// increment adds to a sequence, which wraps to 0 after the largest int32.
func increment(sequence, n int32) int32 {
	return int32((int64(sequence) + int64(n)) % (math.MaxInt32 + 1))
}
