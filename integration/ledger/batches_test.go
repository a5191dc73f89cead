package ledger

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func batchAt(partition int32, base int64, count int32, producer int64, epoch int16, sequence int32) Batch {
	return Batch{
		Topic: "t", Partition: partition, BaseOffset: base, LastOffset: base + int64(count) - 1, Count: count,
		ProducerID: producer, ProducerEpoch: epoch, BaseSequence: sequence, LastSequence: increment(sequence, count-1),
		Magic: 2, Codec: "none", Valid: true,
	}
}

// TestSoundBatchesPass: sequences are gapless for each producer and partition, restart with an epoch, and wrap.
func TestSoundBatchesPass(t *testing.T) {
	batches := []Batch{
		batchAt(0, 0, 3, 1, 0, 0), batchAt(0, 3, 2, 1, 0, 3), batchAt(0, 5, 1, 2, 0, 0), batchAt(0, 6, 1, 1, 0, 5),
		batchAt(0, 7, 4, 1, 1, 0), batchAt(0, 11, 1, 1, 1, 4), batchAt(1, 0, 9, 1, 1, 0),
	}
	report, err := CheckBatches(BatchRules{Codec: "none", Idempotent: true}, sequence2(batches))
	require.NoError(t, err)
	require.NoError(t, report.Violations.Err())
	require.Equal(t, 21, report.Records)
	require.Equal(t, 2, report.Producers)
	require.Equal(t, 1, report.EpochChanges)
	report, err = CheckBatches(BatchRules{Codec: "lz4", Idempotent: true}, sequence2(batches))
	require.NoError(t, err)
	require.Equal(t, 3, report.Violations.Count("I8"), "only the three batches with more than two records had to be compressed")
	require.EqualValues(t, 0, increment(math.MaxInt32, 1))
	require.EqualValues(t, 1, increment(math.MaxInt32-1, 3))
}

// TestUnsoundBatchesAreFound breaks the second of two batches in each way.
func TestUnsoundBatchesAreFound(t *testing.T) {
	for name, spoil := range map[string]func(b *Batch){
		"wrong CRC":      func(b *Batch) { b.Valid = false },
		"old magic":      func(b *Batch) { b.Magic = 1 },
		"other codec":    func(b *Batch) { b.Codec = "gzip" },
		"transactional":  func(b *Batch) { b.Transactional = true },
		"control":        func(b *Batch) { b.Control = true },
		"offset gap":     func(b *Batch) { b.BaseOffset++; b.LastOffset++ },
		"offset again":   func(b *Batch) { b.BaseOffset--; b.LastOffset-- },
		"count":          func(b *Batch) { b.Count++; b.LastSequence++ },
		"sequence gap":   func(b *Batch) { b.BaseSequence++; b.LastSequence++ },
		"sequence again": func(b *Batch) { b.BaseSequence--; b.LastSequence-- },
		"last sequence":  func(b *Batch) { b.LastSequence++ },
		"epoch down":     func(b *Batch) { b.ProducerEpoch-- },
		"epoch up":       func(b *Batch) { b.ProducerEpoch++ },
		"no producer id": func(b *Batch) { b.ProducerID = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			batches := []Batch{batchAt(0, 0, 3, 1, 4, 0), batchAt(0, 3, 2, 1, 4, 3)}
			spoil(&batches[1])
			report, err := CheckBatches(BatchRules{Codec: "none", Idempotent: true}, sequence2(batches))
			require.NoError(t, err)
			require.NotZero(t, report.Violations.Count("I8"))
		})
	}
}
