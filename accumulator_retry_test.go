package quill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// longBackoff makes retries wait between 100 ms and 1 s, and batches never expire.
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
		require.Equal(t, r.topic.queue(0), r.s.leaderless[0].queue)
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
		require.Equal(t, MaybeWritten, failed.Outcome)
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
			require.False(t, b.decided())
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

// A partial abort, as a transaction's, fails what has not left; what is on the wire has its own outcome.
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
		require.ErrorContains(t, told, "may have been written")
	})
}

// Java: RecordAccumulatorTest.testSplitAndReenqueue
func TestASplitBatchGoesOutInPartsInOrder(t *testing.T) {
	withRig(t, func(s *settings) { s.codec, s.bufferMemory = compress.Gzip, 64<<10 }, func(t *testing.T, r *rig) {
		r.topic.ratio.set(0.1)
		value := string(make([]byte, 600))
		acked := 0
		in := one("", value)
		in.callback = func(m RecordMetadata, err error) {
			require.NoError(t, err)
			require.EqualValues(t, acked, m.Offset)
			acked++
		}
		first, second := r.appendInput(0, in), r.appendInput(0, in)
		time.Sleep(r.cfg.linger)
		b := r.drainOne(0)
		require.EqualValues(t, 2, b.records)
		r.answer(0, refusedWith(protocol.MessageTooLarge))
		require.Len(t, r.queued(0), 2)
		require.EqualValues(t, 1, r.topic.ratio.get(), "the estimate that let it grow is forgotten")
		require.False(t, first.Done())

		require.Equal(t, []int32{0}, r.ready(), "the parts go at once")
		part := r.drainOne(0)
		require.True(t, part.isSplit)
		r.answer(0, accepted(0))
		r.dispatch()
		require.Equal(t, 1, acked)
		m, err := outcomeOf(t, first)
		require.NoError(t, err)
		require.EqualValues(t, 0, m.Offset)
		require.False(t, second.Done())
		r.drainOne(0)
		r.answer(0, accepted(1))
		r.dispatch()
		require.Equal(t, 2, acked)
		m, err = outcomeOf(t, second)
		require.NoError(t, err)
		require.EqualValues(t, 1, m.Offset)
		require.EqualValues(t, 64<<10, r.free())
	})
}

// Java: RecordAccumulatorTest.testSplitBatchOffAccumulator
func TestAllMemoryIsBackAfterASplit(t *testing.T) {
	withRig(t, func(s *settings) { s.codec, s.batchSize, s.bufferMemory, s.linger = compress.Gzip, 1024, 16*1024, 0 }, func(t *testing.T, r *rig) {
		r.topic.ratio.set(0.1)
		rnd := rand.New(rand.NewPCG(1, 1))
		for range 9 {
			r.append(0, "", noise(rnd, 100))
		}
		b := r.drainOne(0)
		require.EqualValues(t, 9, b.records, "the estimate let more in than fits")
		r.answer(0, refusedWith(protocol.MessageTooLarge))
		parts := len(r.queued(0))
		require.Greater(t, parts, 1)
		for range parts {
			r.drainOne(0)
			r.answer(0, accepted(0))
		}
		require.Empty(t, r.ready())
		r.dispatch()
		require.EqualValues(t, 16*1024, r.free())
	})
}

// Java: RecordAccumulatorTest.testSplitFrequency
func TestSplitsAreRare(t *testing.T) {
	const records = 1000
	for good := 1; good < 100; good += 14 {
		withRig(t, func(s *settings) { s.codec, s.batchSize, s.bufferMemory = compress.Gzip, 1024, 1<<20 }, func(t *testing.T, r *rig) {
			rnd := rand.New(rand.NewPCG(uint64(good), 2))
			batches, splits := 0, 0
			drain := func() {
				for {
					drained := r.drain(0)
					if len(drained) == 0 {
						return
					}
					batches++
					if h, _ := r.sealed(drained[0]); h.Size() > r.cfg.batchSize+protocol.BatchOverhead {
						splits++
						r.answer(0, refusedWith(protocol.MessageTooLarge))
					} else {
						r.answer(0, accepted(0))
					}
					r.dispatch()
				}
			}
			for range records {
				value := noise(rnd, 100)
				if rnd.IntN(100) < good {
					value = numbers(rnd, 100)
				}
				r.append(0, "", value)
				drain()
			}
			time.Sleep(r.cfg.linger)
			drain()
			require.Less(t, splits*10, batches, "%d%% compress well: %d of %d batches were split", good, splits, batches)
			require.EqualValues(t, 1<<20, r.free())
		})
	}
}

// Java: RecordAccumulatorTest.testSplitAndReenqueuePreventInfiniteRecursion
func TestSplittingEndsAtSingleRecords(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		withRig(t, func(s *settings) {
			s.codec, s.batchSize, s.bufferMemory, s.idempotent = compress.Gzip, 1<<20, 10<<20, idempotent
		}, func(t *testing.T, r *rig) {
			const n = 100
			value := string(make([]byte, 1024))
			var futures []Future
			for i := range n {
				futures = append(futures, r.append(0, fmt.Sprint(i), value))
			}
			time.Sleep(r.cfg.linger)
			rounds, next := 0, 0
			for next < n {
				rounds++
				require.Less(t, rounds, 4*n, "no end in sight")
				b := r.drainOne(0)
				h, records := r.sealed(b)
				if idempotent {
					require.EqualValues(t, next, h.BaseSequence)
				}
				if b.records > 1 {
					before := len(r.queued(0))
					r.answer(0, refusedWith(protocol.MessageTooLarge))
					require.Greater(t, len(r.queued(0)), before+1)
					continue
				}
				require.Equal(t, fmt.Sprint(next), string(records[0].Key), "in order, none lost, none twice")
				r.answer(0, accepted(int64(next)))
				r.dispatch()
				next++
			}
			for i, f := range futures {
				m, err := outcomeOf(t, f)
				require.NoError(t, err)
				require.EqualValues(t, i, m.Offset)
			}
			require.Empty(t, r.ready())
			require.EqualValues(t, 10<<20, r.free())
		})
	}
}

// Java: RecordAccumulatorTest.testProduceRequestResultAwaitAllDependents
func TestFlushWaitsForThePartsOfASplitBatch(t *testing.T) {
	withRig(t, func(s *settings) { s.codec, s.bufferMemory = compress.Gzip, 64<<10 }, func(t *testing.T, r *rig) {
		r.topic.ratio.set(0.1)
		in := one("", string(make([]byte, 600)))
		in.hasFuture = false // only the flush holds on to the results
		r.appendInput(0, in)
		r.appendInput(0, in)
		time.Sleep(r.cfg.linger)
		r.drainOne(0)
		flushed := false
		go func() {
			for _, res := range r.acc.beginFlush() {
				if err := awaitResult(context.Background(), res); err != nil {
					t.Error(err)
				}
			}
			flushed = true
		}()
		synctest.Wait()
		r.answer(0, refusedWith(protocol.MessageTooLarge))
		r.dispatch()
		for i := range 2 {
			synctest.Wait()
			require.False(t, flushed, "%d of 2 parts are done", i)
			r.drainOne(0)
			r.answer(0, accepted(int64(i)))
			r.dispatch()
		}
		synctest.Wait()
		require.True(t, flushed)
	})
}

// A flush that begins between a split and the end of its parts holds on to the parts' results: they
// must not be used for other batches while it waits.
func TestResultsOfPartsAFlushKnowsAreNotReused(t *testing.T) {
	withRig(t, func(s *settings) { s.codec, s.bufferMemory = compress.Gzip, 64<<10 }, func(t *testing.T, r *rig) {
		r.topic.ratio.set(0.1)
		in := one("", string(make([]byte, 600)))
		in.hasFuture = false
		r.appendInput(0, in)
		r.appendInput(0, in)
		time.Sleep(r.cfg.linger)
		r.drainOne(0)
		results := r.acc.beginFlush()
		require.Len(t, results, 1)
		r.answer(0, refusedWith(protocol.MessageTooLarge))
		for range 2 {
			r.drainOne(0)
			r.answer(0, accepted(0))
			r.dispatch()
			r.appendInput(2, in) // takes a batch that is done, with its result if that is free
		}
		for _, c := range results[0].children {
			require.EqualValues(t, 0, c.res.partition)
			require.Nil(t, c.res.wait())
		}
	})
}

// A batch that can't be unpacked can't be split either: its records fail, its memory comes back, and the partition goes
// on. So it is with one of which only some records are refused.
func TestABatchThatCannotBeUnpackedFails(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.MessageTooLarge, protocol.InvalidRecord} {
		withRig(t, func(s *settings) { s.codec, s.bufferMemory, s.idempotent = compress.Gzip, 64<<10, true }, func(t *testing.T, r *rig) {
			r.append(0, "", "first")
			time.Sleep(r.cfg.linger)
			r.drainOne(0)
			r.answer(0, accepted(0))
			r.dispatch()
			free := r.free()
			r.topic.ratio.set(0.1)
			futures := []Future{r.append(0, "", string(make([]byte, 600))), r.append(0, "", string(make([]byte, 600)))}
			time.Sleep(r.cfg.linger)
			sequence := r.drainOne(0).baseSequence
			r.answer(0, func(b *batch) message.PartitionProduceResponse {
				for i := range b.chunks[0][protocol.BatchOverhead:] {
					b.chunks[0][protocol.BatchOverhead+i] = 0xff
				}
				p := answered(code, -1)
				if code == protocol.InvalidRecord {
					p.RecordErrors = []message.BatchIndexAndErrorMessage{{BatchIndex: 0}}
				}
				return p
			})
			r.dispatch()
			for _, f := range futures {
				_, err := outcomeOf(t, f)
				require.ErrorIs(t, err, code)
			}
			require.Equal(t, free, r.free())
			good := r.append(0, "", "v")
			time.Sleep(r.cfg.linger)
			b := r.drainOne(0)
			require.True(t, b.baseSequence == sequence || b.producerEpoch > 0, "no gap is left")
			r.answer(0, accepted(5))
			r.dispatch()
			_, err := outcomeOf(t, good)
			require.NoError(t, err)
		})
	}
}
