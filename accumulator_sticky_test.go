package quill

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Java: RecordAccumulatorTest.testUniformBuiltInPartitioner
func TestKeylessRecordsStayUntilABatchIsFull(t *testing.T) {
	withRig(t, func(s *settings) { s.batchSize = 1024; s.bufferMemory = 1 << 20 }, func(t *testing.T, r *rig) {
		next := uint32(0)
		r.topic.sticky = newStickyPartitioner(r.cfg.batchSize, false, false, "", func() uint32 { next++; return next - 1 })
		small, large := one("", "value"), one("", string(make([]byte, 1024)))
		require.EqualValues(t, 0, r.appendSticky(small))
		require.EqualValues(t, 0, r.appendSticky(small))
		require.EqualValues(t, 1, next)
		for i := range int32(8) {
			// Each of these fills a batch by itself. The first one closes that of the small ones.
			require.Equal(t, (i+1)%4, r.appendSticky(large))
		}
		n := int32(0)
		for r.appendSticky(small) == 1 {
			n++
		}
		require.Greater(t, n, int32(1024/2/12), "a move only at the border of a batch")
		require.Len(t, r.queued(1), 3)
		require.Equal(t, n, r.queued(1)[2].records)
		require.True(t, r.queued(1)[2].closed)
	})
}

// Java: RecordAccumulatorTest.testAdaptiveBuiltInPartitioner
func TestKeylessRecordsPreferShortQueues(t *testing.T) {
	withRig(t, func(s *settings) { s.batchSize, s.bufferMemory, s.adaptive, s.linger = 128, 1<<20, true, 0 }, func(t *testing.T, r *rig) {
		r.setLeaders([]int32{0, 0, 1}, 1)
		next := uint32(0)
		r.topic.queues.Store(new((*r.topic.queues.Load())[:3]))
		r.topic.sticky = newStickyPartitioner(r.cfg.batchSize, true, false, "", func() uint32 { next++; return next - 1 })
		large := one("", string(make([]byte, 128)))
		lengths := []int{1, 7, 2}
		for p, n := range lengths {
			for range n {
				r.appendInput(int32(p), large)
			}
			require.EqualValues(t, n, r.topic.queue(int32(p)).length.Load())
		}
		time.Sleep(balanceEvery * time.Millisecond)
		r.acc.balance(r.topic) // queues are looked at every few milliseconds: not again in this test
		r.appendSticky(large)  // begins somewhere
		const rounds = 2
		counts := make([]int, len(lengths))
		for range rounds * (7 + 1 + 6) {
			counts[r.appendSticky(large)]++
		}
		require.Equal(t, []int{7 * rounds, 1 * rounds, 6 * rounds}, counts, "the odds are 8 - length")

		r.ready() // the sender has put the queues into the rings of their nodes, which say whether they keep up
		r.s.nodes[0].slow.Store(true)
		time.Sleep(balanceEvery * time.Millisecond)
		r.acc.balance(r.topic)
		r.appendSticky(large)
		for range 10 {
			require.EqualValues(t, 2, r.appendSticky(large), "node 0 is slow")
		}
	})
}

// Java: RecordAccumulatorTest.testBuiltInPartitionerFractionalBatches
func TestStickyMovesLeaveNoFractions(t *testing.T) {
	withRig(t, func(s *settings) { s.batchSize, s.bufferMemory = 512, 1<<20 }, func(t *testing.T, r *rig) {
		in := one("", string(make([]byte, 32)))
		for range 10 {
			for range 512 * 2 / 3 / 40 {
				r.appendSticky(in)
			}
			time.Sleep(r.cfg.linger)
			ids := r.ready()
			require.Len(t, ids, 1)
			size := r.drainOne(ids[0]).size()
			require.Greater(t, size, 256)
			require.Less(t, size, 512)
		}
	})
}
