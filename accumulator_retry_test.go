package quill

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// longBackoff makes retries wait between 100 ms and 1 s, and batches live for ever.
func longBackoff(s *settings) {
	s.linger, s.deliveryTimeout = time.Millisecond, math.MaxInt32*time.Millisecond
}

// Java: RecordAccumulatorTest.testRetryBackoff
func TestABatchInBackoffHoldsNobodyElseBack(t *testing.T) {
	withRig(t, longBackoff, func(t *testing.T, r *rig) {
		r.append(0, "key", "value")
		time.Sleep(r.cfg.linger)
		r.drainOne(0)
		r.answer(0, refusedWith(protocol.NotEnoughReplicas))

		r.append(1, "key", "value")
		time.Sleep(r.cfg.linger)
		require.Equal(t, []int32{0}, r.ready())
		require.Equal(t, []int32{1}, partitionsOf(r.drain(0)), "partition 0 waits for its back-off")
		require.Empty(t, r.ready())
		time.Sleep(120 * time.Millisecond)
		require.Equal(t, []int32{0}, partitionsOf(r.drain(0)))
	})
}

// requireBackoff re-sends the node's only batch after a wait of base, shaken by 20 %, but at most the maximum.
func requireBackoff(t *testing.T, r *rig, node int32, base time.Duration) {
	t.Helper()
	r.answer(node, refusedWith(protocol.NotEnoughReplicas))
	shortest, longest := base*8/10, min(base*12/10, r.cfg.retryBackoffMax)
	time.Sleep(min(shortest, r.cfg.retryBackoffMax*8/10) - 1)
	require.Empty(t, r.ready())
	time.Sleep(longest - shortest + 2)
	require.Equal(t, []int32{node}, r.ready())
	r.drainOne(node)
}

// Java: RecordAccumulatorTest.testExponentialRetryBackoff
func TestBackoffDoublesUpToItsMaximum(t *testing.T) {
	withRig(t, longBackoff, func(t *testing.T, r *rig) {
		r.append(0, "key", "value")
		require.Empty(t, r.ready())
		time.Sleep(r.cfg.linger)
		r.drainOne(0)
		for _, base := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			requireBackoff(t, r, 0, base*time.Millisecond)
		}
	})
}

// Java: RecordAccumulatorTest.testExponentialRetryBackoffLeaderChange
func TestBackoffGrowsOnAfterALeaderChange(t *testing.T) {
	withRig(t, longBackoff, func(t *testing.T, r *rig) {
		r.append(0, "key", "value")
		time.Sleep(r.cfg.linger)
		r.drainOne(0)
		requireBackoff(t, r, 0, 100*time.Millisecond)
		requireBackoff(t, r, 0, 200*time.Millisecond)
		r.setLeaders([]int32{1, 0, 1, 1}, -1) // without an epoch it is not known to be newer: no short cut
		r.answer(0, refusedWith(protocol.NotEnoughReplicas))
		time.Sleep(480 * time.Millisecond)
		require.Equal(t, []int32{1}, r.ready())
		r.drainOne(1)
		requireBackoff(t, r, 1, 800*time.Millisecond)
		requireBackoff(t, r, 1, 1000*time.Millisecond)
	})
}

// Java: RecordAccumulatorTest.testReadyAndDrainWhenABatchIsBeingRetried
// Java: ProducerBatchTest.testWithLeaderChangesAcrossRetries
func TestANewLeaderEndsTheBackoff(t *testing.T) {
	withRig(t, longBackoff, func(t *testing.T, r *rig) {
		epoch := int32(100)
		r.setLeaders(rigLeaders, epoch)
		r.append(0, "key", "value")
		b := r.queued(0)[0]
		require.False(t, r.s.leaderMoved(b), "never sent")
		time.Sleep(r.cfg.linger)
		require.Same(t, b, r.drainOne(0))
		require.Equal(t, epoch, b.epochAtSend)
		require.Equal(t, 1, b.attempts)
		require.False(t, r.s.leaderMoved(b))
		r.answer(0, refusedWith(protocol.NotLeaderOrFollower))

		time.Sleep(time.Millisecond)
		require.Empty(t, r.ready(), "the same leader: wait")
		require.Empty(t, r.drain(0))

		epoch++
		r.setLeaders(rigLeaders, epoch)
		require.True(t, r.s.leaderMoved(b))
		require.Equal(t, []int32{0}, r.ready(), "a newer epoch: at once, even if the node is the same")
		require.Same(t, b, r.drainOne(0))
		require.Equal(t, epoch, b.epochAtSend)
		require.False(t, r.s.leaderMoved(b))
		r.answer(0, refusedWith(protocol.NotLeaderOrFollower))

		require.Empty(t, r.ready(), "the epoch is no longer new: wait")
		time.Sleep(240 * time.Millisecond)
		require.Same(t, b, r.drainOne(0))
		r.answer(0, refusedWith(protocol.NotLeaderOrFollower))

		time.Sleep(480 * time.Millisecond) // both at the same time
		epoch++
		r.setLeaders(rigLeaders, epoch)
		require.Same(t, b, r.drainOne(0))
		require.Equal(t, epoch, b.epochAtSend)
		require.Equal(t, 4, b.attempts)
	})
}

// An older leader, or one without an epoch, is never taken for a new one.
func TestOnlyAHigherEpochIsANewLeader(t *testing.T) {
	withRig(t, longBackoff, func(t *testing.T, r *rig) {
		r.setLeaders(rigLeaders, 101)
		r.append(0, "key", "value")
		time.Sleep(r.cfg.linger)
		b := r.drainOne(0)
		r.answer(0, refusedWith(protocol.NotLeaderOrFollower))
		for _, epoch := range []int32{100, 101, -1} {
			r.setLeaders(rigLeaders, epoch)
			require.False(t, r.s.leaderMoved(b))
			require.Empty(t, r.ready())
		}
		r.setLeaders([]int32{-1, 0, 1, 1}, 102)
		require.False(t, r.s.leaderMoved(b), "there is nobody to send to")
	})
}

// A leader that dies while its partitions wait for it must not take their batches along.
func TestBatchesFollowTheirLeader(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		for range r.fits("key", "value") + 1 {
			r.append(0, "key", "value")
		}
		require.Equal(t, []int32{0}, r.ready())
		r.setLeaders([]int32{1, 0, 1, 1}, 1)
		require.Equal(t, []int32{1}, r.ready())
		require.Equal(t, []int32{0}, partitionsOf(r.drain(1)))

		time.Sleep(r.cfg.linger)
		require.Equal(t, []int32{1}, r.ready())
		r.setLeaders([]int32{-1, 0, 1, 1}, 2)
		require.Empty(t, r.ready())
		require.Contains(t, r.s.leaderless, r.topic.queue(0))
		r.setLeaders([]int32{0, 0, 1, 1}, 3)
		require.Equal(t, []int32{0}, partitionsOf(r.drain(0)))
		require.Empty(t, r.s.leaderless)
	})
}

// Leaders that go to and fro leave no second entry in a ring: a request has one batch of a partition.
func TestALeaderThatComesBackFindsThePartitionOnce(t *testing.T) {
	withRig(t, func(s *settings) { s.batchSize = 1 }, func(t *testing.T, r *rig) {
		for epoch, leader := range []int32{0, 1, 0, 1, 0} {
			r.setLeaders([]int32{leader, 0, 1, 1}, int32(epoch+1))
			r.append(0, "key", "value")
			r.ready()
		}
		for range 5 {
			r.drainOne(0)
		}
		require.Empty(t, r.drain(0))
	})
}

// expireSingle lets one batch linger and expire, in a partition that is muted or not.
func expireSingle(t *testing.T, timeout time.Duration) {
	withRig(t, func(s *settings) { s.linger, s.deliveryTimeout = 300*time.Millisecond, timeout }, func(t *testing.T, r *rig) {
		for _, muted := range []bool{false, true} {
			f := r.append(0, "key", "value")
			require.Empty(t, r.ready())
			require.Equal(t, timeout, time.Until(r.s.nextExpiry()))
			time.Sleep(r.cfg.linger)
			require.Equal(t, []int32{0}, r.ready())
			r.topic.queue(0).out.muted = muted
			time.Sleep(timeout - r.cfg.linger - 1)
			r.s.expire(time.Now())
			require.False(t, f.Done())
			time.Sleep(time.Nanosecond)
			r.s.expire(time.Now())
			r.dispatch()
			_, err := outcomeOf(t, f)
			require.ErrorIs(t, err, ErrDeliveryTimeout)
			require.Empty(t, r.queued(0))
			require.Empty(t, r.drain(0))
			require.True(t, r.s.nextExpiry().IsZero())
			require.EqualValues(t, rigMemory, r.free())
		}
	})
}

// Java: RecordAccumulatorTest.testExpiredBatchSingle
func TestABatchExpiresExactlyAtDeliveryTimeout(t *testing.T) {
	expireSingle(t, 3200*time.Millisecond)
}

// Java: RecordAccumulatorTest.testExpiredBatchSingleMaxValue
func TestTheLongestDeliveryTimeoutDoesNotOverflow(t *testing.T) {
	expireSingle(t, math.MaxInt32*time.Millisecond)
}

// Java: RecordAccumulatorTest.testExpiredBatches
func TestFullLingeringAndRetriedBatchesExpire(t *testing.T) {
	for _, muted := range []bool{false, true} {
		withRig(t, func(s *settings) { s.linger = 30 * time.Millisecond }, func(t *testing.T, r *rig) {
			told := 0
			in := one("key", "value")
			in.callback = func(_ RecordMetadata, err error) {
				require.ErrorIs(t, err, ErrDeliveryTimeout)
				told++
			}
			n := r.fits("key", "value") + 1
			for range n { // one batch is full, one lingers
				r.appendInput(0, in)
			}
			require.Equal(t, []int32{0}, r.ready())
			r.topic.queue(0).out.muted = muted
			time.Sleep(r.cfg.deliveryTimeout + 1)
			r.s.expire(time.Now())
			r.s.expire(time.Now())
			r.dispatch()
			require.Equal(t, n, told, "once each")
			r.topic.queue(0).out.muted = false
			require.Empty(t, r.drain(0))

			r.appendInput(0, in)
			time.Sleep(r.cfg.linger)
			r.drainOne(0)
			time.Sleep(time.Second)
			r.answer(0, refusedWith(protocol.NotEnoughReplicas))
			r.topic.queue(0).out.muted = muted
			time.Sleep(r.cfg.deliveryTimeout - time.Second - r.cfg.linger - 1)
			r.s.expire(time.Now())
			r.dispatch()
			require.Equal(t, n, told)
			time.Sleep(time.Nanosecond)
			r.s.expire(time.Now())
			r.dispatch()
			require.Equal(t, n+1, told)
			require.EqualValues(t, rigMemory, r.free())
		})
	}
}

// Java: RecordAccumulatorTest.testExpiredBatchesRetry
func TestARetriedBatchExpires(t *testing.T) {
	for _, muted := range []bool{false, true} {
		withRig(t, func(s *settings) { s.linger = time.Second }, func(t *testing.T, r *rig) {
			f := r.append(0, "key", "value")
			time.Sleep(r.cfg.linger)
			r.drainOne(0)
			time.Sleep(time.Second)
			r.answer(0, refusedWith(protocol.NotEnoughReplicas))
			r.topic.queue(0).out.muted = muted
			time.Sleep(r.cfg.deliveryTimeout - 2*time.Second)
			r.s.expire(time.Now())
			r.dispatch()
			_, err := outcomeOf(t, f)
			require.ErrorIs(t, err, ErrDeliveryTimeout)
			require.ErrorIs(t, err, protocol.NotEnoughReplicas, "with the reason of the last attempt")
			require.Empty(t, r.ready())
		})
	}
}

// Java: RecordAccumulatorTest.testSoonToExpireBatchesArePickedUpForExpiry
func TestDrainedBatchesExpireToo(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		opened := time.Now()
		first := r.append(0, "key", "value")
		time.Sleep(r.cfg.linger)
		b := r.drainOne(0)
		require.Equal(t, opened.Add(r.cfg.deliveryTimeout), r.s.nextExpiry(), "it is on the wire, and counts")
		time.Sleep(2 * time.Second)
		r.append(1, "key", "value")
		time.Sleep(r.cfg.deliveryTimeout - 2*time.Second - r.cfg.linger)
		r.drainOne(0)
		r.s.expire(time.Now())
		r.dispatch()
		_, err := outcomeOf(t, first)
		require.ErrorIs(t, err, ErrDeliveryTimeout)
		failed, ok := errors.AsType[*Error](err)
		require.True(t, ok)
		require.Equal(t, MaybeWritten, failed.Outcome())
		require.Equal(t, opened.Add(2*time.Second+r.cfg.linger+r.cfg.deliveryTimeout), r.s.nextExpiry())
		require.EqualValues(t, rigMemory-2*rigBatch, r.free(), "its memory stays with the wire")
		require.NotNil(t, b.chunks[0])
		r.answer(0, accepted(0))
		require.EqualValues(t, rigMemory-rigBatch, r.free())
	})
}

// Java: RecordAccumulatorTest.testAbortIncompleteBatches
func TestAbortFailsDrainedAndUndrainedAlike(t *testing.T) {
	withRig(t, func(s *settings) { s.batchSize, s.bufferMemory = 512, 64<<10 }, func(t *testing.T, r *rig) {
		const n = 100
		told := 0
		in := one("key", "value")
		in.callback = func(_ RecordMetadata, err error) {
			require.ErrorIs(t, err, ErrForceClosed)
			told++
		}
		for i := range n {
			r.appendInput(int32(i%3), in)
		}
		drained := append(r.drain(0), r.drain(1)...)
		records := 0
		for _, b := range drained {
			require.True(t, b.closed)
			require.False(t, b.decided)
			records += int(b.records)
		}
		require.Greater(t, records, 0)
		require.Less(t, records, n)
		r.s.aborting = &Error{Kind: ErrForceClosed}
		r.s.abortAll(time.Now())
		r.s.abortAll(time.Now())
		r.dispatch()
		require.Equal(t, n, told)
		require.Zero(t, r.acc.count())
		for p := range int32(3) {
			require.Empty(t, r.queued(p))
		}
		require.EqualValues(t, 64<<10-len(drained)*512, r.free(), "what is on the wire keeps its memory")
		r.answer(0, accepted(0))
		r.answer(1, accepted(0))
		r.dispatch()
		require.EqualValues(t, 64<<10, r.free())
		require.Equal(t, n, told)
	})
}

// A partial abort, as a transaction's, fails what has not left; what is on the wire has its own fate.
//
// Java: RecordAccumulatorTest.testAbortUnsentBatches
func TestGivingUpWhatHasNotLeftSparesWhatHas(t *testing.T) {
	withRig(t, func(s *settings) { s.batchSize, s.bufferMemory = 512, 64<<10 }, func(t *testing.T, r *rig) {
		const n = 100
		cause := errors.New("the transaction was aborted")
		failed, acked := 0, 0
		in := one("key", "value")
		in.callback = func(_ RecordMetadata, err error) {
			if err == nil {
				acked++
				return
			}
			require.ErrorIs(t, err, cause)
			failed++
		}
		for i := range n {
			r.appendInput(int32(i%3), in)
		}
		sent := 0
		for _, b := range append(r.drain(0), r.drain(1)...) {
			sent += int(b.records)
		}
		for p := range int32(3) {
			for _, b := range r.queued(p) {
				r.s.giveUp(b, r.s.describe(b, &Error{Kind: cause}, time.Now()), time.Now())
			}
			require.Empty(t, r.queued(p))
		}
		r.dispatch()
		require.Zero(t, failed, "they are told after those that left before them")
		r.answer(0, accepted(0))
		r.answer(1, accepted(0))
		r.dispatch()
		require.Equal(t, sent, acked)
		require.Positive(t, failed)
		require.Equal(t, n, failed+sent)
		require.Zero(t, r.acc.count())
	})
}

// A busy process may learn of both at once: the batch is too old, and its request came back without an
// answer. It is delivery.timeout.ms that ends it, and the error names the other, too.
func TestABatchThatIsLostWhenItsTimeIsOverExpired(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		var told error
		in := one("", "v")
		in.callback = func(_ RecordMetadata, err error) { told = err }
		r.appendInput(0, in)
		time.Sleep(r.cfg.linger)
		r.drainOne(0)
		time.Sleep(r.cfg.deliveryTimeout)
		r.lose(0)
		r.dispatch()
		require.ErrorIs(t, told, ErrDeliveryTimeout)
		require.ErrorIs(t, told, network.ErrDisconnected)
		require.ErrorContains(t, told, "maybe written")
	})
}
