package quill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

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
		in.shared = false // nobody but the flush holds on to the results
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
		in.shared = false
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
