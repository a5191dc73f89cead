package quill_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// outage sends a record each second to one partition of a cluster that is gone, until the first is given up
// and some more, and passes on how long each has had.
func outage(t *testing.T, change func(*quill.Config), test func(t *testing.T, took []time.Duration, batches int64)) {
	t.Helper()
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		change(&cfg)
		p := testkit.Open(t, cfg)
		_, err := p.SendSync(t.Context(), testkit.Rec("t", "", "first"))
		require.NoError(t, err)
		synctest.Wait() // its memory comes back after its outcome
		require.NoError(t, c.StopNode(1))

		const records = 150
		took := make([]time.Duration, records)
		given := make(chan int, records)
		free, batches := p.BufferAvailable(), int64(0)
		for i := range records {
			sent := time.Now()
			p.SendFunc(t.Context(), testkit.Rec("t", "", "x"), func(_ quill.RecordMetadata, err error) {
				took[i] = time.Since(sent)
				e, ok := err.(*quill.Error)
				if ok {
					require.ErrorIs(t, err, quill.ErrDeliveryTimeout)
					require.InDelta(t, took[i], e.Elapsed, float64(time.Millisecond), "Elapsed is the record's own")
				}
				given <- i
			})
			time.Sleep(time.Second)
			batches = max(batches, (free-p.BufferAvailable())/(16<<10))
		}
		for i := range records {
			require.Equal(t, i, <-given)
		}
		test(t, took, batches)
		testkit.CloseProducer(t, p)
	})
}

// A record's time is counted from its Send, and no record has less than three quarters of it, because a batch
// takes no more records once it has spent a quarter of its own.
func TestARecordHasMostOfItsDeliveryTime(t *testing.T) {
	outage(t, func(*quill.Config) {}, func(t *testing.T, took []time.Duration, batches int64) {
		require.EqualValues(t, 4, batches, "instead of one, where records are that few")
		for i, d := range took {
			require.LessOrEqual(t, d, 2*time.Minute, "record %d", i)
			require.GreaterOrEqual(t, d, 90*time.Second, "record %d", i)
		}
	})
}

// That holds for a batch that lingers longer than that, too: the sender, which sleeps until the batch before it has lingered,
// closes it in time.
func TestARecordHasMostOfItsDeliveryTimeIfBatchesLingerLong(t *testing.T) {
	outage(t, func(c *quill.Config) { c.Linger = 89 * time.Second }, func(t *testing.T, took []time.Duration, _ int64) {
		for i, d := range took {
			require.LessOrEqual(t, d, 2*time.Minute, "record %d", i)
			require.GreaterOrEqual(t, d, 90*time.Second, "record %d", i)
		}
	})
}

// If memory is short a record is better off in an old batch than waiting for a new one.
func TestOldBatchesTakeRecordsWhileMemoryIsShort(t *testing.T) {
	outage(t, func(c *quill.Config) { c.BufferMemory = 2 * 16 << 10 }, func(t *testing.T, took []time.Duration, _ int64) {
		least := 2 * time.Minute
		for i, d := range took {
			require.LessOrEqual(t, d, 2*time.Minute, "record %d", i)
			least = min(least, d)
		}
		require.LessOrEqual(t, least, time.Second, "the last record of a batch that was open to its end")
	})
}
