package quill

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// Java: RecordAccumulatorTest.testFull
func TestAFullBatchIsReadyAndHoldsWhatWasAppended(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		n := r.fits("key", "value")
		for range n {
			r.append(0, "key", "value")
			require.Len(t, r.queued(0), 1)
			require.False(t, r.queued(0)[0].closed)
			require.Empty(t, r.ready())
		}
		r.append(0, "key", "value")
		require.Len(t, r.queued(0), 2)
		require.True(t, r.queued(0)[0].closed)
		require.False(t, r.queued(0)[1].closed)
		require.Equal(t, []int32{0}, r.ready())

		b := r.drainOne(0)
		require.Empty(t, r.ready(), "the second one lingers")
		_, records := r.sealed(b)
		require.Len(t, records, n)
		for i, record := range records {
			require.Equal(t, "key", string(record.Key))
			require.Equal(t, "value", string(record.Value))
			require.EqualValues(t, i, record.OffsetDelta)
		}
	})
}

// A batch that can't take one more byte is ready without a further record to show it: it is not known
// when that would come.
func TestABatchFilledToTheBrimDoesNotLinger(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = time.Hour; s.deliveryTimeout = 2 * time.Hour }, func(t *testing.T, r *rig) {
		in := one("", "")
		in.record.Value = make([]byte, r.cfg.batchSize-protocol.BatchOverhead-protocol.RecordSize(0, 0, nil, nil, nil)-2)
		in.maxSize = protocol.MaxRecordSize(nil, in.record.Value, nil)
		require.Equal(t, r.cfg.batchSize, protocol.BatchOverhead+protocol.RecordSize(0, 0, nil, in.record.Value, nil))
		r.appendInput(0, in)
		require.Equal(t, []int32{0}, r.ready())
		require.Equal(t, r.cfg.batchSize, r.drainOne(0).size())
	})
}

// largeRecord is a record larger than batch.size in a producer without linger, as the node would get
// it in the given version of Produce.
func largeRecord(t *testing.T, codec compress.Codec, version int16) {
	const batchSize = 512
	withRig(t, func(s *settings) { s.batchSize, s.linger, s.codec = batchSize+protocol.BatchOverhead, 0, codec }, func(t *testing.T, r *rig) {
		value := string(make([]byte, 2*batchSize))
		r.append(0, "key", value)
		require.Equal(t, []int32{0}, r.ready())
		require.Len(t, r.queued(0), 1)

		b := r.drainOne(0)
		var decoded message.ProduceRequest
		decodeProduce(t, &decoded, r.sent[0][0], version)
		h, records := read(t, decoded.TopicData[0].PartitionData[0].Records)
		require.EqualValues(t, 0, h.BaseOffset)
		require.EqualValues(t, 2, h.Magic)
		require.Equal(t, int8(codec), h.Codec())
		require.Len(t, records, 1)
		require.Equal(t, "key", string(records[0].Key))
		require.Equal(t, value, string(records[0].Value))
		require.EqualValues(t, 0, records[0].OffsetDelta)
		require.EqualValues(t, 0, h.BaseTimestamp+records[0].TimestampDelta)
		require.EqualValues(t, 1, b.records)
	})
}

// Java: RecordAccumulatorTest.testAppendLargeNonCompressed
func TestARecordLargerThanABatchHasOneToItself(t *testing.T) {
	largeRecord(t, compress.None, message.ProduceMaxVersion)
}

// Java: RecordAccumulatorTest.testAppendLargeCompressed
func TestALargeRecordIsCompressed(t *testing.T) {
	largeRecord(t, compress.Gzip, message.ProduceMaxVersion)
}

// Java: RecordAccumulatorTest.testAppendLargeOldMessageFormatNonCompressed
func TestALargeRecordGoesToAnOldNode(t *testing.T) {
	largeRecord(t, compress.None, message.ProduceMinVersion)
}

// Java: RecordAccumulatorTest.testAppendLargeOldMessageFormatCompressed
func TestALargeRecordGoesCompressedToAnOldNode(t *testing.T) {
	largeRecord(t, compress.Gzip, message.ProduceMinVersion)
}

// Java: RecordAccumulatorTest.testLinger
func TestABatchWaitsForLinger(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		r.append(0, "key", "value")
		require.Empty(t, r.ready())
		time.Sleep(r.cfg.linger - 1)
		require.Empty(t, r.ready())
		time.Sleep(time.Nanosecond)
		require.Equal(t, []int32{0}, r.ready())
		_, records := r.sealed(r.drainOne(0))
		require.Len(t, records, 1)
		require.Equal(t, "key", string(records[0].Key))
		require.Equal(t, "value", string(records[0].Value))
	})
}

func TestAnUrgentRecordTakesItsBatchAlong(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		r.append(0, "", "lingers")
		require.Empty(t, r.ready())
		in := one("", "urgent")
		in.urgent = true
		r.appendInput(0, in)
		require.Equal(t, []int32{0}, r.ready())
		require.EqualValues(t, 2, r.drainOne(0).records)
	})
}

// Java: RecordAccumulatorTest.testDrainBatches
func TestDrainTakesOneBatchPerPartitionAndGoesRound(t *testing.T) {
	withRig(t, func(s *settings) { s.batchSize = 1; s.maxRequestSize = 100 }, func(t *testing.T, r *rig) {
		appendTo := func(partitions ...int32) {
			for _, p := range partitions {
				r.append(p, "key", "value")
			}
		}
		drained := func() []int32 { return append(partitionsOf(r.drain(0)), partitionsOf(r.drain(1))...) }
		appendTo(0, 1, 2, 3)
		require.Equal(t, []int32{0, 2}, drained(), "max.request.size takes one batch")
		appendTo(0, 2)
		require.Equal(t, []int32{1, 3}, drained(), "the next request begins where the last one ended")
		require.Equal(t, []int32{0, 2}, drained())

		r.topic.queue(3).out.muted = true
		appendTo(1, 2, 3)
		require.Equal(t, []int32{1, 2}, drained(), "a muted partition is left out")
		appendTo(0, 1, 2)
		r.cfg.maxRequestSize = 1 << 20
		r.topic.queue(3).out.muted = false
		r.s.look(r.topic.queue(3), time.Now())
		require.ElementsMatch(t, []int32{0, 1, 2, 3}, drained(), "everything, when the size allows")

		appendTo(0, 0, 0)
		require.Equal(t, []int32{0}, drained(), "one batch of a partition in a request")
		require.Equal(t, []int32{0}, drained())
		require.Equal(t, []int32{0}, drained())
		require.Empty(t, drained())
	})
}

// Java: RecordAccumulatorTest.testPartialDrain
func TestDrainStopsAtMaxRequestSize(t *testing.T) {
	withRig(t, func(s *settings) { s.maxRequestSize = 1200 }, func(t *testing.T, r *rig) {
		for p := range int32(2) {
			for range r.fits("key", "value") + 1 {
				r.append(p, "key", "value")
			}
		}
		require.Equal(t, []int32{0}, r.ready())
		require.Equal(t, []int32{0}, partitionsOf(r.drain(0)))
		require.Equal(t, []int32{1}, partitionsOf(r.drain(0)))
	})
}

// The first batch of a request is taken, however large it is.
func TestDrainTakesALargeBatchAlone(t *testing.T) {
	withRig(t, func(s *settings) { s.maxRequestSize = 100; s.linger = 0 }, func(t *testing.T, r *rig) {
		r.append(0, "", string(make([]byte, 2000)))
		r.append(1, "", "small")
		require.Equal(t, []int32{0}, partitionsOf(r.drain(0)))
		require.Equal(t, []int32{1}, partitionsOf(r.drain(0)))
	})
}

// Java: RecordAccumulatorTest.testStressfulSituation
func TestManyAppendersOneDrainerEveryRecordOnce(t *testing.T) {
	const callers, each, partitions = 5, 2000, 2
	r := newRig(t, func(s *settings) { s.linger = 0; s.maxBlock = 20 * time.Second })
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				in := one(string(rune('a'+c)), string(rune(i)))
				if _, err := r.acc.append(t.Context(), r.topic.queue(int32(i%partitions)), in, nil, within(r.cfg.maxBlock)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	last := map[[2]string]rune{} // by partition and caller
	read := 0
	for read < callers*each && !t.Failed() {
		for _, b := range r.drain(0) {
			_, records := r.sealed(b)
			for _, record := range records {
				at := [2]string{string(rune('0' + b.queue.index)), string(record.Key)}
				i := []rune(string(record.Value))[0]
				if prev, ok := last[at]; ok {
					require.Equal(t, prev+partitions, i, "order within caller and partition")
				}
				last[at] = i
				read++
			}
		}
		for len(r.sent[0]) > 0 {
			r.answer(0, accepted(0))
		}
		r.dispatch()
	}
	wg.Wait()
	require.Empty(t, r.drain(0))
	require.EqualValues(t, rigMemory, r.free())
	require.Zero(t, r.acc.count())
}

// Java: RecordAccumulatorTest.testNextReadyCheckDelay
func TestTheNextLookIsWhenTheFirstLingerEnds(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		n := r.fits("key", "value")
		fill := func(p int32, n int) {
			for range n {
				r.append(p, "key", "value")
			}
		}
		wait := func() time.Duration { return time.Until(r.s.timers.next()) }
		fill(0, n)
		require.Empty(t, r.ready())
		require.Equal(t, r.cfg.linger, wait())
		time.Sleep(r.cfg.linger / 2)
		fill(2, n)
		require.Empty(t, r.ready())
		require.Equal(t, r.cfg.linger/2, wait(), "node 0 comes first")
		fill(1, n+1)
		require.Equal(t, []int32{0}, r.ready())
		require.LessOrEqual(t, wait(), r.cfg.linger)
	})
}

// Java: RecordAccumulatorTest.testMutedPartitions
func TestAMutedPartitionIsNeitherReadyNorDrained(t *testing.T) {
	withRig(t, func(s *settings) { s.maxInFlight = 1 }, func(t *testing.T, r *rig) {
		n := r.fits("key", "value")
		for range n + 1 {
			r.append(0, "key", "value")
		}
		require.EqualValues(t, n, r.drainOne(0).records)
		time.Sleep(2 * time.Second)
		require.Empty(t, r.ready(), "one batch is in flight, so order keeps the other back")
		require.Empty(t, r.drain(0))
		r.answer(0, accepted(0))
		require.Equal(t, []int32{0}, r.ready())
		require.EqualValues(t, 1, r.drainOne(0).records)
	})
}

// Java: RecordAccumulatorTest.testFlush
func TestFlushMakesLingeringBatchesReady(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = time.Hour; s.bufferMemory = 64 << 10 }, func(t *testing.T, r *rig) {
		for i := range 100 {
			r.append(int32(i%3), "key", "value")
			require.NotZero(t, r.acc.count())
		}
		require.Empty(t, r.ready())
		results := r.acc.beginFlush()
		require.Equal(t, []int32{0, 1}, r.ready())
		require.Equal(t, []int32{0, 1, 2}, append(partitionsOf(r.drain(0)), partitionsOf(r.drain(1))...))
		late := r.append(3, "key", "value")
		require.Equal(t, 4, r.acc.count())
		r.answer(0, accepted(0))
		r.answer(1, accepted(0))
		r.dispatch()
		for _, res := range results {
			require.Nil(t, res.wait())
		}
		require.Equal(t, 1, r.acc.count(), "what came after the flush lingers on")
		require.Empty(t, r.ready())
		require.False(t, late.Done())
	})
}

// Of the batches that have their outcome and whose callbacks have not run yet, a flush holds on to the last: callbacks run
// in order.
func TestFlushWaitsForCallbacks(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		told := 0
		in := one("", "v")
		in.hasFuture, in.callback = false, func(RecordMetadata, error) { told++ }
		for p := range int32(3) {
			r.appendInput(p, in)
		}
		time.Sleep(r.cfg.linger)
		r.drain(0)
		r.drain(1)
		r.answer(0, accepted(0))
		r.answer(1, accepted(0))
		require.Zero(t, r.acc.count(), "all have their outcome")

		flushed, toldBefore := false, 0
		go func() {
			for _, res := range r.acc.beginFlush() {
				if err := awaitResult(context.Background(), res); err != nil {
					t.Error(err)
				}
			}
			flushed, toldBefore = true, told
		}()
		synctest.Wait()
		require.False(t, flushed)
		r.dispatch()
		synctest.Wait()
		require.True(t, flushed)
		require.Equal(t, 3, toldBefore)
		require.Empty(t, r.acc.beginFlush(), "nothing is left to wait for")
	})
}

// A flush that gives up leaves nothing behind that would have to be counted down: batches opened
// later linger as ever.
//
// Java: RecordAccumulatorTest.testAwaitFlushComplete
func TestAFlushThatGivesUpLeavesNoTrace(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = time.Hour }, func(t *testing.T, r *rig) {
		r.append(0, "key", "value")
		results := r.acc.beginFlush()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, res := range results {
			require.Error(t, awaitResult(ctx, res))
		}
		require.Equal(t, []int32{0}, r.ready(), "its batch is still wanted")
		r.append(2, "key", "value")
		require.Equal(t, []int32{0}, r.ready())
	})
}

// Callers append while others flush: a result that a flush waits for is never used for another batch.
func TestFlushAmongAppends(t *testing.T) {
	r := newRig(t, func(s *settings) { s.linger = 0; s.bufferMemory = 1 << 20 })
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		in := one("key", "value")
		in.hasFuture = false
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := r.acc.append(t.Context(), r.topic.queue(0), in, nil, within(time.Minute)); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		defer close(stop)
		for range 200 {
			for _, res := range r.acc.beginFlush() {
				if err := awaitResult(t.Context(), res); err != nil {
					t.Error(err)
				}
			}
		}
	})
	done := false
	for !done {
		for range r.drain(0) {
			r.answer(0, accepted(0))
		}
		r.dispatch()
		select {
		case <-stop:
			done = true
		default:
		}
	}
	wg.Wait()
}

// Java: RecordAccumulatorTest.testDrainWithANodeThatDoesntHostAnyPartitions
func TestANodeWithoutPartitionsHasNothingToDrain(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		r.setLeaders([]int32{0, 0, 0, 0}, 1)
		require.Empty(t, r.drain(1))
		r.s.nodes[1] = &nodeOut{id: 1}
		require.Empty(t, r.drain(1))
	})
}

// Java: RecordAccumulatorTest.testHasRoomForAllowsOversizedFirstRecordButRejectsSubsequentRecords
func TestOnlyTheFirstRecordMayBeTooLargeForItsBatch(t *testing.T) {
	lim := newBatchLimits(1024, 1<<20, false)
	for _, codec := range []bool{false, true} {
		lim.compress = codec
		o, in, ratio := newTestBatch(8192), one("key", string(make([]byte, 4096))), new(ratioEstimate)
		require.Equal(t, appendDone, o.tryAdd(in, 0, &lim, ratio))
		require.Len(t, o.meta, 1)
		require.Equal(t, appendFull, o.tryAdd(in, 0, &lim, ratio))
		require.Equal(t, appendFull, o.tryAdd(one("key", string(make([]byte, 100))), 0, &lim, ratio))
		require.False(t, lim.room(o.raw(), 1, ratio))
		require.Len(t, o.meta, 1)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	r := newRig(t, func(s *settings) { s.batchSize, s.bufferMemory = 1<<20, 32<<20 })
	in := one("key", string(make([]byte, 100)))
	in.hasFuture, in.callback = false, func(RecordMetadata, error) {}
	q := r.topic.queue(0)
	const records = 1000
	turn := func() {
		for range records {
			if _, err := r.acc.append(t.Context(), q, in, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		r.s.box.take(&r.s.mail)
		r.acc.mu.Lock()
		r.acc.flushMark++
		r.acc.mu.Unlock()
		r.s.lookAll(time.Now())
		n := r.s.nodes[0]
		req := r.s.build(n, time.Now())
		for _, b := range req.batches {
			b.move(placeWire)
			b.move(placeHand)
		}
		req.Exchange = req
		r.s.apply(req.batches[0], facts{}, verdict{act: actAccept, log: inLog}, nil, time.Now())
		req.reset()
		r.s.freeRequests = append(r.s.freeRequests, req)
		r.dispatch()
	}
	turn() // the batch, its chunks, its list of records
	require.LessOrEqual(t, testing.AllocsPerRun(20, turn)/records, 0.02)
}

// Random sizes of records, with and without compression: what comes out is what went in, batches
// stay within their size, and all memory comes back.
func TestBatchesKeepWhatTheyAreGiven(t *testing.T) {
	for _, codec := range []compress.Codec{compress.None, compress.LZ4, compress.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			withRig(t, func(s *settings) {
				s.codec, s.batchSize, s.bufferMemory, s.linger = codec, 100<<10, 4<<20, 0
				s.idempotent = true
			}, func(t *testing.T, r *rig) {
				rnd := rand.New(rand.NewPCG(3, uint64(codec)))
				var want, got []string
				for range 25 {
					for range rnd.IntN(40) {
						value := noise(rnd, rnd.IntN(200))
						switch rnd.IntN(20) {
						case 0:
							value = noise(rnd, rnd.IntN(150<<10))
						case 1, 2, 3:
							value = string(make([]byte, rnd.IntN(30<<10)))
						}
						in := one("", value)
						in.callback = func(RecordMetadata, error) {}
						r.appendInput(0, in)
						want = append(want, value)
					}
					for {
						batches := r.drain(0)
						if len(batches) == 0 {
							break
						}
						h, records := r.sealed(batches[0])
						require.True(t, len(records) == 1 || h.Size() <= r.cfg.batchSize*12/10, "%d bytes", h.Size())
						for _, record := range records {
							got = append(got, string(record.Value))
						}
						r.answer(0, accepted(0))
						r.dispatch()
					}
				}
				require.Equal(t, len(want), len(got))
				for i := range want {
					require.True(t, want[i] == got[i], "record %d", i)
				}
				require.EqualValues(t, 4<<20, r.free())
			})
		})
	}
}

func TestASendThatWaitsForMemoryCutsLingers(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = time.Hour; s.bufferMemory = 2 * rigBatch; s.maxBlock = time.Minute }, func(t *testing.T, r *rig) {
		r.append(0, "", "a")
		r.append(2, "", "b")
		require.Empty(t, r.ready())
		go func() {
			_, err := r.acc.append(t.Context(), r.topic.queue(1), one("", "c"), nil, within(r.cfg.maxBlock))
			if err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		require.Equal(t, []int32{0, 1}, r.ready(), "it would wait an hour")
		r.drainOne(0)
		r.answer(0, accepted(0))
		r.dispatch()
		synctest.Wait()
		require.Len(t, r.queued(1), 1)
	})
}

// decodeProduce encodes the request for a node of the given version and decodes it again.
func decodeProduce(t *testing.T, into *message.ProduceRequest, req *produceRequest, version int16) {
	t.Helper()
	rd := protocol.NewReader(frameBytes(t, req, version))
	into.Decode(&rd, version)
	require.NoError(t, rd.Err())
	require.Zero(t, rd.Remaining())
}

// A partitioner hears of a new batch when the record would open one: there is none, or it does not fit.
func TestARecordHasRoomAsLongAsItOpensNoBatch(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		q := r.topic.queue(0)
		in := one("", "value")
		require.False(t, r.acc.hasRoom(q, in), "no batch is open")
		r.append(0, "", "value")
		for range 3 {
			require.True(t, r.acc.hasRoom(q, in))
			r.append(0, "", "value")
		}
		require.Len(t, r.queued(0), 1)
		require.False(t, r.acc.hasRoom(q, one("", noise(rand.New(rand.NewPCG(1, 1)), rigBatch))), "it is too large for what is left")
	})
}

// A batch that is opened while a Send waits for memory, of any node or of its own, does not linger.
func TestABatchThatIsOpenedWhileMemoryIsShortDoesNotLinger(t *testing.T) {
	for _, opening := range []func(r *rig){
		func(r *rig) { r.acc.waiting.Store(true) },
		func(r *rig) { r.acc.share(r.topic.queue(0)).waiters.Store(1) },
		nil,
	} {
		withRig(t, nil, func(t *testing.T, r *rig) {
			if opening != nil {
				opening(r)
			}
			r.append(0, "", "value")
			var mail mail
			r.acc.inbox.take(&mail)
			require.Len(t, mail.queues, 1)
			if opening != nil {
				require.EqualValues(t, hintNow, mail.queues[0].by)
			} else {
				require.Equal(t, r.acc.inbox.instant(time.Now().Add(r.cfg.linger)), mail.queues[0].by)
			}
		})
	}
}

// taken returns the notices that the sender would find.
func (r *rig) taken() []notice {
	var m mail
	r.s.box.take(&m)
	return m.queues
}

func TestTheSenderIsToldOnceUnlessItCannotWait(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		q := r.topic.queue(0)
		r.append(0, "", "a")
		r.append(0, "", "b")
		told := r.taken()
		require.Len(t, told, 1)
		require.Same(t, q, told[0].queue)
		require.Equal(t, r.s.box.instant(time.Now().Add(r.cfg.linger)), told[0].by)

		in := one("", "urgent")
		in.urgent = true
		r.appendInput(0, in)
		for range r.fits("", "x") + 1 { // closes the batch
			r.append(0, "", "x")
		}
		told = r.taken()
		require.Len(t, told, 1, "the rest is no news")
		require.EqualValues(t, hintNow, told[0].by)
	})
}

// A batch that may linger is left alone; its timer is there.
func TestAnOpenedBatchIsNotLookedAtBeforeItIsDue(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		r.append(0, "", "a")
		q := r.topic.queue(0)
		q.mu.Lock() // a look would never return
		require.Empty(t, r.ready())
		q.mu.Unlock()
		require.Equal(t, time.Now().Add(r.cfg.linger), r.s.timers.next())
		time.Sleep(r.cfg.linger)
		require.Equal(t, []int32{0}, r.ready())
	})
}

// A notice may reach the sender after what makes its batch ready.
func TestALateNoticeIsLookedAt(t *testing.T) {
	for name, late := range map[string]func(r *rig){
		"a flush began": func(r *rig) { r.acc.markFlush() },
		"somebody waits for memory": func(r *rig) {
			w := r.acc.share(r.topic.queue(0)).join(rigMemory)
			r.t.Cleanup(func() { w.share.cancel(w) })
		},
		"it closes": func(r *rig) { r.s.closing = true },
	} {
		t.Run(name, func(t *testing.T) {
			withRig(t, nil, func(t *testing.T, r *rig) {
				r.append(0, "", "a")
				told := r.taken() // before any look
				late(r)
				require.Empty(t, r.ready(), "the sender does not know of the batch")
				for _, n := range told {
					r.s.box.notify(n, true)
				}
				require.Equal(t, []int32{0}, r.ready())
			})
		})
	}
}

func TestAnExpiredBatchCountsItsRecords(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		var told []error
		in := one("", "v")
		in.callback = func(_ RecordMetadata, err error) { told = append(told, err) }
		for range 3 { // still open when it expires: its node could not take it
			r.appendInput(0, in)
		}
		time.Sleep(r.cfg.deliveryTimeout)
		r.s.expire(time.Now())
		r.dispatch()
		require.Len(t, told, 3)
		require.ErrorIs(t, told[0], ErrDeliveryTimeout)
		require.ErrorContains(t, told[0], "3 records expired")
	})
}

// forget takes the topic off the list of those asked for, as if it had been idle, and lets the sender
// forget it. It reports whether it did.
func (r *rig) forget() bool {
	r.s.refresh.idle = append(r.s.refresh.idle, r.topic)
	r.s.forgetIdle()
	return r.acc.topic(r.topic.name) == nil
}

func TestATopicInUseIsNotForgotten(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		r.append(0, "key", "value")
		require.False(t, r.forget(), "a batch waits")
		r.append(0, "key", "value")
		r.drainOne(0)
		require.False(t, r.forget(), "it is in flight")
		r.answer(0, accepted(0))
		r.s.refresh.topics[r.topic.name] = r.topic
		require.False(t, r.forget(), "it is asked for again")
		delete(r.s.refresh.topics, r.topic.name)
		r.append(0, "key", "value")
		require.False(t, r.forget())
		r.drainOne(0)
		r.answer(0, accepted(0))
		require.True(t, r.forget())
	})
}

// A Send that is on its way to a forgotten topic's queue finds it marked.
func TestAForgottenQueueTakesNoRecord(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		r.dispatch()
		require.True(t, r.forget())
		_, err := r.acc.append(context.Background(), r.topic.queue(0), one("key", "value"), nil, nil)
		require.Same(t, errForgotten, err)
		require.EqualValues(t, rigMemory, r.free(), "no memory is kept")
		r.s.refresh.want(r.topic, r.s.refresh.refreshedAt)
		require.Empty(t, r.s.refresh.topics, "nor is it asked for any more")
	})
}

// What is sent to it later gets a new epoch, under which no record looks like one of before. Topics
// that were there all the time keep theirs.
func TestAForgottenTopicComesBackUnderANewEpoch(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		require.True(t, r.forget())
		r.topic = r.acc.ensureTopic("test", func(name string) *topicState { return &topicState{name: name, sticky: r.topic.sticky} })
		r.setLeaders(rigLeaders, 0)
		requireIdentity(t, sendBatch(t, r, 1), 1, 0)
		r.answer(0, accepted(0))
		r.append(1, "key", "value")
		requireIdentity(t, r.drainOne(0), 1, 0)
		require.Equal(t, 1, r.s.idem.bumps, "once for all")
	})
}

// A Send may have looked at the topic's state before it was forgotten, and begin to wait after: no one
// asks for that state any more, so it has to look again.
func TestForgettingWakesThoseWhoWait(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		now := r.s.refresh.board.look()
		require.True(t, r.forget())
		select {
		case <-now.changed:
		default:
			t.Fatal("it sleeps on")
		}
	})
}

// A topic that turns out to be in use while it is being forgotten is as it was: each of its queues takes records.
func TestATopicFoundInUseHasNoShutQueue(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		r.append(3, "k", "v") // the last queue that is looked at
		require.False(t, r.forget())
		for p := range int32(4) {
			r.append(p, "k", "v")
		}
	})
}

// A topic that is being asked for is not idle, however long its answer takes.
func TestATopicThatIsAskedForDoesNotExpire(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		f := r.s.refresh
		missing := r.acc.ensureTopic("missing", func(name string) *topicState { return &topicState{name: name, sticky: r.topic.sticky} })
		f.want(missing, time.Now())
		f.want(r.topic, time.Now())
		time.Sleep(time.Hour)
		f.request(0, time.Now())
		require.Same(t, missing, f.topics["missing"])
		require.Nil(t, f.topics[r.topic.name], "nothing was sent to this one")
		require.Equal(t, []*topicState{r.topic}, f.idle)
	})
}
