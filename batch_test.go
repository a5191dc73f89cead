package quill

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

var codecs = []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd}

// forCodecs runs the test for each codec.
func forCodecs(t *testing.T, test func(t *testing.T, codec compress.Codec)) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) { test(t, codec) })
	}
}

// watched returns a record whose callback counts.
func watched(calls *int, last *error) *appendInput {
	in := one("", "0123456789")
	in.callback = func(_ RecordMetadata, err error) { *calls++; *last = err }
	return in
}

// Java: ProducerBatchTest.testBatchAbort
func TestAnAnswerAfterAnAbortChangesNothing(t *testing.T) {
	for _, late := range []func(*batch) message.PartitionProduceResponse{accepted(500), refusedWith(protocol.InvalidRecord)} {
		withRig(t, nil, func(t *testing.T, r *rig) {
			calls, last := 0, error(nil)
			f := r.appendInput(0, watched(&calls, &last))
			time.Sleep(r.cfg.linger)
			r.drainOne(0)
			r.s.aborting = &Error{Kind: ErrForceClosed}
			r.s.abortAll(time.Now())
			r.dispatch()
			require.Equal(t, 1, calls)
			m, err := outcomeOf(t, f)
			require.ErrorIs(t, err, ErrForceClosed)
			require.EqualValues(t, -1, m.Offset)
			first := last

			r.answer(0, late)
			r.dispatch()
			require.Equal(t, 1, calls)
			_, err = outcomeOf(t, f)
			require.Same(t, first, err)
			require.EqualValues(t, rigMemory, r.free())
		})
	}
}

// Java: ProducerBatchTest.testBatchCannotAbortTwice
func TestASecondAbortFindsNothing(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		calls, last := 0, error(nil)
		f := r.appendInput(0, watched(&calls, &last))
		r.s.aborting = &Error{Kind: ErrForceClosed}
		r.s.abortAll(time.Now())
		r.s.aborting = &Error{Kind: ErrClosed}
		r.s.abortAll(time.Now())
		r.dispatch()
		require.Equal(t, 1, calls)
		_, err := outcomeOf(t, f)
		require.ErrorIs(t, err, ErrForceClosed)
		require.EqualValues(t, rigMemory, r.free())
	})
}

// Java: ProducerBatchTest.testBatchCannotCompleteTwice
func TestAnAcceptedBatchStaysAccepted(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		calls, last := 0, error(nil)
		f := r.appendInput(0, watched(&calls, &last))
		time.Sleep(r.cfg.linger)
		r.drainOne(0)
		r.answer(0, func(*batch) message.PartitionProduceResponse {
			p := answered(protocol.None, 500)
			p.LogAppendTimeMs = 10
			return p
		})
		time.Sleep(r.cfg.deliveryTimeout)
		r.s.expire(time.Now())
		r.s.aborting = &Error{Kind: ErrForceClosed}
		r.s.abortAll(time.Now())
		r.dispatch()
		require.Equal(t, 1, calls)
		require.NoError(t, last)
		m, err := outcomeOf(t, f)
		require.NoError(t, err)
		require.EqualValues(t, 500, m.Offset)
		require.Equal(t, time.UnixMilli(10), m.Timestamp)
	})
}

// splitOf returns the parts of a batch of n records that was sent and found too large.
func splitOf(t *testing.T, r *rig, n int, in *appendInput) []*batch {
	r.topic.ratio.set(0.05)
	for range n {
		r.appendInput(0, in)
	}
	time.Sleep(r.cfg.linger)
	require.EqualValues(t, n, r.drainOne(0).records)
	r.answer(0, refusedWith(protocol.MessageTooLarge))
	parts := r.queued(0)
	require.GreaterOrEqual(t, len(parts), 2)
	return parts
}

// Java: ProducerBatchTest.testSplitPreservesHeaders
// Java: ProducerBatchTest.testSplitPreservesMagicAndCompressionType
func TestPartsOfASplitBatchAreLikeIt(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		withRig(t, func(s *settings) { s.codec, s.bufferMemory, s.idempotent = codec, 64<<10, true }, func(t *testing.T, r *rig) {
			in := one("hi", string(bytes.Repeat([]byte("there"), 20)), Header{Key: "header-key", Value: []byte("header-value")})
			in.timestamp = 1_700_000_000_000
			n := 7
			parts := splitOf(t, r, n, in)
			sequence := int32(0)
			for _, part := range parts {
				require.True(t, part.isSplit)
				require.True(t, part.closed)
				h, records := r.sealed(part)
				require.EqualValues(t, 2, h.Magic)
				require.EqualValues(t, 0, h.BaseOffset)
				if h.Codec() != int8(codec) {
					require.EqualValues(t, 0, h.Codec())
					require.LessOrEqual(t, len(records), 1, "only a part too small to gain from its codec is plain")
				}
				require.Equal(t, in.timestamp, h.BaseTimestamp)
				require.Equal(t, in.timestamp, h.MaxTimestamp)
				require.Equal(t, sequence, h.BaseSequence, "the parts share the sequences")
				sequence += h.Count
				for _, record := range records {
					require.Equal(t, "hi", string(record.Key))
					require.Equal(t, in.record.Value, record.Value)
					require.Equal(t, []Header(in.record.Headers), record.Headers)
				}
			}
			require.EqualValues(t, n, sequence)
		})
	})
}

// Java: ProducerBatchTest.testBatchExpiration
// Java: ProducerBatchTest.testBatchExpirationAfterReenqueue
func TestAClockThatGoesBackExpiresNothing(t *testing.T) {
	for _, retried := range []bool{false, true} {
		withRig(t, nil, func(t *testing.T, r *rig) {
			opened := time.Now()
			f := r.append(0, "key", "value")
			if retried {
				time.Sleep(r.cfg.linger)
				r.drainOne(0)
				r.answer(0, refusedWith(protocol.NotEnoughReplicas))
			}
			r.s.expire(opened.Add(-2 * time.Millisecond))
			r.s.expire(opened.Add(r.cfg.deliveryTimeout - 1))
			require.NotEmpty(t, r.queued(0))
			r.s.expire(opened.Add(r.cfg.deliveryTimeout))
			require.Empty(t, r.queued(0))
			r.dispatch()
			_, err := outcomeOf(t, f)
			require.ErrorIs(t, err, ErrDeliveryTimeout)
		})
	}
}

// Java: ProducerBatchTest.testShouldNotAttemptAppendOnceRecordsBuilderIsClosedForAppends
// Java: MemoryRecordsBuilderTest.shouldThrowIllegalStateExceptionOnAppendWhenClosed
// Java: MemoryRecordsBuilderTest.shouldThrowIllegalStateExceptionOnAppendWhenAborted
func TestNothingIsAppendedToAClosedBatch(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = 0 }, func(t *testing.T, r *rig) {
		r.append(0, "", "a")
		drained := r.drainOne(0)
		r.append(0, "", "b")
		given := r.queued(0)[0]
		require.NotSame(t, drained, given)
		require.EqualValues(t, 1, drained.records)
		r.s.giveUp(given, r.s.describe(given, &Error{Kind: ErrForceClosed}, time.Now()), time.Now())
		r.append(0, "", "c")
		require.Len(t, r.queued(0), 1)
		require.NotSame(t, given, r.queued(0)[0])
		require.Len(t, r.open(0).meta, 1)
	})
}

// Java: ProducerBatchTest.testCompleteExceptionallyWithRecordErrors
// Java: ProducerBatchTest.testCompleteExceptionallyWithNullRecordErrors
func TestRecordErrorsGoToTheirRecords(t *testing.T) {
	for _, guilty := range [][]int32{{0, 3}, nil} {
		withRig(t, func(s *settings) { s.retries = 0 }, func(t *testing.T, r *rig) { // with retries the others would be sent again
			const n = 5
			var futures []Future
			var called []error
			in := one("", "0123456789")
			in.callback = func(_ RecordMetadata, err error) { called = append(called, err) }
			for range n {
				futures = append(futures, r.appendInput(0, in))
			}
			time.Sleep(r.cfg.linger)
			r.drainOne(0)
			r.answer(0, func(*batch) message.PartitionProduceResponse {
				p := answered(protocol.InvalidRecord, -1)
				for _, i := range guilty {
					p.RecordErrors = append(p.RecordErrors, message.BatchIndexAndErrorMessage{BatchIndex: i, BatchIndexErrorMessage: new(fmt.Sprint("record ", i))})
				}
				return p
			})
			r.dispatch()
			require.Len(t, called, n)
			for i, f := range futures {
				_, err := outcomeOf(t, f)
				require.Same(t, err, called[i])
				require.ErrorIs(t, err, protocol.InvalidRecord)
				switch {
				case len(guilty) == 0: // no difference between the records
					require.NotErrorIs(t, err, ErrBatchRejected)
				case i == 0 || i == 3:
					require.ErrorIs(t, err, ErrInvalidRecord)
					require.ErrorContains(t, err, fmt.Sprint("record ", i))
				default:
					require.ErrorIs(t, err, ErrBatchRejected)
					require.NotErrorIs(t, err, ErrInvalidRecord)
				}
			}
		})
	}
}

// built returns a batch of records with rising timestamps, sealed, for a producer with or without an id.
func built(t *testing.T, codec compress.Codec, n int, id int64, epoch int16, sequence int32) (*batch, protocol.BatchHeader, []protocol.Record) {
	t.Helper()
	s, err := newSealer(codec, compress.DefaultLevel)
	require.NoError(t, err)
	o := newTestBatch(1 << 16)
	b := o.batch
	lim := newBatchLimits(1<<16, 1<<20, codec != compress.None)
	for i := range n {
		in := one(fmt.Sprint("key", i), string(bytes.Repeat([]byte{byte(i)}, 30)))
		require.Equal(t, appendDone, o.tryAdd(in, int64(i), &lim, new(ratioEstimate)))
	}
	o.close()
	b.producerID, b.producerEpoch, b.baseSequence = id, epoch, sequence
	require.NoError(t, b.seal(s))
	h, records := read(t, wireBytes(b))
	return b, h, records
}

// Java: DefaultRecordBatchTest.buildDefaultRecordBatch
// Java: DefaultRecordBatchTest.buildDefaultRecordBatchWithProducerId
// Java: DefaultRecordBatchTest.buildDefaultRecordBatchWithSequenceWrapAround
// Java: DefaultRecordBatchTest.testSizeInBytes
func TestASealedBatchSaysWhatIsInIt(t *testing.T) {
	for _, at := range []struct {
		id           int64
		epoch        int16
		first, after int32
	}{
		{-1, -1, -1, -1},
		{23423, 145, 983, 985},
		{23423, 145, math.MaxInt32 - 1, 0},
		{23423, 145, math.MaxInt32, 1},
	} {
		forCodecs(t, func(t *testing.T, codec compress.Codec) {
			b, h, records := built(t, codec, 3, at.id, at.epoch, at.first)
			require.EqualValues(t, 0, h.BaseOffset)
			require.EqualValues(t, 2, h.LastOffset())
			require.EqualValues(t, 0, h.BaseTimestamp)
			require.EqualValues(t, 2, h.MaxTimestamp)
			require.EqualValues(t, -1, h.PartitionLeaderEpoch)
			require.Equal(t, at.id, h.ProducerID)
			require.Equal(t, at.epoch, h.ProducerEpoch)
			require.Equal(t, at.first, h.BaseSequence)
			if at.id >= 0 {
				require.Equal(t, at.after, h.LastSequence())
				require.Equal(t, at.after, b.lastSequence())
			}
			require.False(t, h.Transactional())
			require.False(t, h.Control())
			require.Equal(t, b.size(), len(wireBytes(b)))
			for i, record := range records {
				require.Equal(t, fmt.Sprint("key", i), string(record.Key))
				require.EqualValues(t, i, record.TimestampDelta)
			}
		})
	}
}

// Java: DefaultRecordBatchTest.testInvalidRecordSize
// Java: DefaultRecordBatchTest.testInvalidCrc
// Java: DefaultRecordBatchTest.testInvalidRecordCountTooManyNonCompressedV2
// Java: DefaultRecordBatchTest.testInvalidRecordCountTooLittleNonCompressedV2
// Java: DefaultRecordBatchTest.testInvalidRecordCountTooManyCompressedV2
// Java: DefaultRecordBatchTest.testInvalidRecordCountTooLittleCompressedV2
func TestADamagedBatchIsNoticed(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		b, h, _ := built(t, codec, 5, 1, 0, 0)
		wire := wireBytes(b)
		for i := crcFrom; i < len(wire); i++ {
			wire[i] ^= 0x10
			require.NotEqual(t, h.CRC, protocol.BatchCRC(wire))
			wire[i] ^= 0x10
		}
		_, err := protocol.ReadBatchHeader(wire[:len(wire)-1])
		require.Error(t, err)
		section := wire[protocol.BatchOverhead:]
		if codec != compress.None {
			section, err = compress.Decompress(codec, nil, section, 1<<20)
			require.NoError(t, err)
		}
		for _, count := range []int32{4, 6} {
			failed := false
			for _, err := range protocol.Records(section, count) {
				failed = failed || err != nil
			}
			require.True(t, failed)
		}
	})
}

// Java: MemoryRecordsBuilderTest.testEstimatedSizeInBytes
func TestTheSizeOfAnOpenBatchGrowsAndIsNeverTooSmall(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		s, err := newSealer(codec, compress.DefaultLevel)
		require.NoError(t, err)
		o, lim := newTestBatch(4096), newBatchLimits(4096, 1<<20, false)
		b := o.batch
		for i := range 10 {
			before := o.size()
			require.Equal(t, appendDone, o.tryAdd(one("", fmt.Sprint(i)), int64(i), &lim, new(ratioEstimate)))
			require.Greater(t, o.size(), before)
		}
		estimate := o.size()
		o.close()
		require.NoError(t, b.seal(s))
		require.LessOrEqual(t, b.size(), estimate)
		require.Len(t, wireBytes(b), b.size())
		if codec == compress.None {
			require.Equal(t, estimate, b.size())
		}
	})
}

// Java: MemoryRecordsBuilderTest.buildUsingCreateTime
// Java: MemoryRecordsBuilderTest.testAppendedChecksumConsistency
func TestTimestampsAreKeptWhateverTheirOrder(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		withRig(t, func(s *settings) { s.codec, s.linger = codec, 0 }, func(t *testing.T, r *rig) {
			times := []int64{1000, 1002, 998, 0, 1 << 40}
			for i, at := range times {
				in := one("key", fmt.Sprint(i))
				in.timestamp = at
				r.appendInput(0, in)
			}
			h, records := r.sealed(r.drainOne(0))
			require.EqualValues(t, 1000, h.BaseTimestamp)
			require.Equal(t, int64(1<<40), h.MaxTimestamp)
			for i, record := range records {
				require.Equal(t, times[i], h.BaseTimestamp+record.TimestampDelta)
				require.Equal(t, "key", string(record.Key))
				require.Equal(t, fmt.Sprint(i), string(record.Value))
			}
		})
	})
}

// Java: MemoryRecordsBuilderTest.testSmallWriteLimit
func TestATinyBatchSizeTakesOneRecord(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		withRig(t, func(s *settings) { s.codec, s.batchSize, s.linger = codec, 1, time.Hour }, func(t *testing.T, r *rig) {
			for range 3 {
				r.append(0, "foo", "bar")
			}
			require.Len(t, r.queued(0), 3)
			for range 3 {
				require.Equal(t, []int32{0}, r.ready(), "full, so no linger")
				_, records := r.sealed(r.drainOne(0))
				require.Len(t, records, 1)
				require.Equal(t, "foo", string(records[0].Key))
				require.Equal(t, "bar", string(records[0].Value))
			}
		})
	})
}

// Java: MemoryRecordsBuilderTest.writePastLimit
func TestABatchAtItsLimitIsClosedIntact(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		withRig(t, func(s *settings) { s.codec, s.batchSize, s.linger = codec, 128, 0 }, func(t *testing.T, r *rig) {
			for i := range 40 {
				in := one("k", "v")
				in.timestamp = int64(i)
				r.appendInput(0, in)
			}
			next := int64(0)
			for _, b := range r.queued(0) {
				require.False(t, b.closed && r.acc.limits.room(b.raw, 20, &r.topic.ratio))
				h, records := r.sealed(b)
				require.LessOrEqual(t, h.Size(), 128)
				for _, record := range records {
					require.Equal(t, next, h.BaseTimestamp+record.TimestampDelta)
					next++
				}
			}
			require.EqualValues(t, 40, next)
		})
	})
}

// Offsets within a batch come from the position alone; no caller can pass one.
//
// Java: MemoryRecordsBuilderTest.testAppendAtInvalidOffset
func TestOffsetsRiseByOne(t *testing.T) {
	_, h, records := built(t, compress.None, 100, 1, 0, 0)
	for i, record := range records {
		require.EqualValues(t, i, record.OffsetDelta)
	}
	require.EqualValues(t, 99, h.LastOffsetDelta)
}

// A batch without a record never comes into being: it is opened under the lock under which its first
// record is added, and a send that fails leaves neither batch nor memory behind.
//
// Java: MemoryRecordsBuilderTest.testWriteEmptyRecordSet
// Java: MemoryRecordsBuilderTest.shouldResetBufferToInitialPositionOnAbort
func TestNoBatchIsEmpty(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		r.acc.closedBy.Store(errClosedSend)
		_, err := r.acc.append(t.Context(), r.topic.queue(0), one("", "a"), nil, nil)
		require.ErrorIs(t, err, ErrClosed)
		require.Empty(t, r.queued(0))
		require.EqualValues(t, rigMemory, r.free())
		require.Empty(t, r.ready())
		r.acc.closedBy.Store(nil)

		r.append(0, "", "a")
		b := r.queued(0)[0]
		r.s.giveUp(b, r.s.describe(b, &Error{Kind: ErrForceClosed}, time.Now()), time.Now())
		r.dispatch()
		require.EqualValues(t, rigMemory, r.free())
		r.append(0, "", "b") // the batch given up is used again, from its beginning
		again := r.queued(0)[0]
		_, records := r.sealed(again)
		require.Len(t, records, 1)
		require.Equal(t, "b", string(records[0].Value))
	})
}

// A batch that was given up is out of its queue: nothing seals, sends or fills it any more.
//
// Java: MemoryRecordsBuilderTest.shouldThrowIllegalStateExceptionOnBuildWhenAborted
// Java: MemoryRecordsBuilderTest.shouldThrowIllegalStateExceptionOnCloseWhenAborted
func TestAGivenUpBatchIsNeverSent(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		for range r.fits("key", "value") + 1 {
			r.append(0, "key", "value")
		}
		require.Equal(t, []int32{0}, r.ready())
		for _, b := range r.queued(0) {
			r.s.giveUp(b, r.s.describe(b, &Error{Kind: ErrForceClosed}, time.Now()), time.Now())
		}
		require.Empty(t, r.drain(0))
		r.dispatch()
		require.EqualValues(t, rigMemory, r.free())
	})
}

// An identity is complete or absent: it is only ever set as a whole, from an id the cluster gave.
//
// Java: MemoryRecordsBuilderTest.testWriteIdempotentWithInvalidEpoch
// Java: MemoryRecordsBuilderTest.testWriteIdempotentWithInvalidBaseSequence
func TestAnIdentityIsCompleteOrAbsent(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		withRig(t, func(s *settings) { s.idempotent, s.linger = idempotent, 0 }, func(t *testing.T, r *rig) {
			r.append(0, "", "a")
			h, _ := r.sealed(r.drainOne(0))
			if idempotent {
				require.Equal(t, [3]int64{7, 0, 0}, [3]int64{h.ProducerID, int64(h.ProducerEpoch), int64(h.BaseSequence)})
			} else {
				require.Equal(t, [3]int64{-1, -1, -1}, [3]int64{h.ProducerID, int64(h.ProducerEpoch), int64(h.BaseSequence)})
			}
			require.False(t, h.Transactional())
		})
	}
}

// Zstd needs Produce version 7: an older node is not even asked (KIP-110).
func TestZstdIsNotSentToOldNodes(t *testing.T) {
	for _, codec := range codecs {
		req, _ := produceFixture(t, codec, true)
		lowest, _ := req.Versions()
		if codec == compress.Zstd {
			require.EqualValues(t, 7, lowest)
		} else {
			require.EqualValues(t, message.ProduceMinVersion, lowest)
		}
	}
}

// Growing over several chunks changes nothing in what is written.
func TestABatchOfManyChunksIsOneBatch(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		pool := newBufferPool(1<<20, 2048)
		s, err := newSealer(codec, compress.DefaultLevel)
		require.NoError(t, err)
		rnd := rand.New(rand.NewPCG(1, 1))
		b := buildBatch(pool, &partitionQueue{topic: &topicState{name: "t"}}, rnd, 200)
		require.Greater(t, len(b.chunks), 3)
		held := b.heldBytes
		free, _ := pool.available()
		require.Equal(t, int64(1<<20), free+held)
		require.NoError(t, b.seal(s))
		h, records := read(t, wireBytes(b))
		require.Len(t, records, 200)
		require.Equal(t, b.records, h.Count)
		for i, record := range records {
			require.Equal(t, fmt.Sprint("key", i), string(record.Key))
			require.Equal(t, []Header{{Key: "h", Value: []byte{byte(i)}}}, record.Headers)
		}
		free, _ = pool.available()
		require.Equal(t, int64(1<<20), free+b.heldBytes, "chunks that became empty are back")
	})
}

// With a codec a batch may hold more than batch.size before compression: four times that, but no more than a sixteenth
// of the buffer, and never less than batch.size.
func TestWhatABatchMayHoldBeforeCompression(t *testing.T) {
	const size = 16 << 10
	for _, c := range []struct {
		memory     int64
		compressed bool
		want       int
	}{
		{32 << 20, true, 4 * size},
		{64 * size, true, 4 * size},
		{32 * size, true, 2 * size},
		{16 * size, true, size},
		{2 * size, true, size},
		{32 << 20, false, size},
	} {
		require.Equal(t, c.want, newBatchLimits(size, c.memory, c.compressed).rawMax, c)
	}
}

// What is written is read by brokers and by our own tests.

// section returns the records of a sealed batch before compression, in the memory of dst if they fit.
func section(t *testing.T, b *batch, dst []byte) []byte {
	t.Helper()
	wire := wireBytes(b)[protocol.BatchOverhead:]
	if b.codec == compress.None {
		return append(dst, wire...)
	}
	plain, err := compress.Decompress(b.codec, dst, wire, b.plain)
	require.NoError(t, err)
	return plain
}

// Java: DefaultRecordBatchTest.testStreamingIteratorConsistency
func TestRecordsReadOneByOneAreThoseReadTogether(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		b, h, together := built(t, codec, 50, -1, -1, -1)
		rd := protocol.NewReader(section(t, b, nil))
		var oneByOne []protocol.Record
		for range h.Count {
			r, err := protocol.ReadRecord(&rd)
			require.NoError(t, err)
			oneByOne = append(oneByOne, r)
		}
		require.Zero(t, rd.Remaining())
		require.Equal(t, together, oneByOne)
	})
}

// Java: DefaultRecordBatchTest.testBufferReuseInSkipKeyValueIterator
func TestReadingTakesOneBufferHoweverManyRecords(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		for _, n := range []int{2, 1000} {
			b, h, _ := built(t, codec, n, -1, -1, -1)
			buf := make([]byte, 0, b.plain)
			plain := section(t, b, buf)
			require.Len(t, plain, b.plain)
			require.Same(t, &buf[:1][0], &plain[0], "the one given")
			read := 0
			require.Zero(t, testing.AllocsPerRun(10, func() {
				for range protocol.Records(plain, h.Count) {
					read++
				}
			}), "keys and values lie in it")
			require.Equal(t, 11*n, read)
		}
	})
}

// spans reports whether every chunk of the batch lies in one of the memories given.
func spans(chunks, memories [][]byte) bool {
	for _, c := range chunks {
		if !slices.ContainsFunc(memories, func(m []byte) bool { return &m[:1][0] == &c[:1][0] && cap(m) == cap(c) }) {
			return false
		}
	}
	return true
}

func TestTheCompressedCopyLivesInTheBatchsOwnMemory(t *testing.T) {
	for _, codec := range codecs[1:] {
		t.Run(codec.String(), func(t *testing.T) {
			pool := newBufferPool(1<<20, 2048)
			s, err := newSealer(codec, compress.DefaultLevel)
			require.NoError(t, err)
			b := buildBatch(pool, &partitionQueue{topic: &topicState{name: "t"}}, rand.New(rand.NewPCG(1, 1)), 100)
			memory, plain := slices.Clone(b.chunks), b.size()
			require.NoError(t, b.seal(s))
			require.Less(t, b.size(), plain)
			require.True(t, spans(b.chunks, memory))
			require.Less(t, len(b.chunks), len(memory))
			free, _ := pool.available()
			require.EqualValues(t, 1<<20-len(b.chunks)*2048, free, "what is not needed any more is back at once")
			require.Less(t, b.queue.topic.ratio.get(), 1.0)
			section, err := b.plainRecords()
			require.NoError(t, err)
			require.Len(t, section, b.plain)
		})
	}
}

func TestWhatDoesNotShrinkIsSentPlain(t *testing.T) {
	for _, codec := range codecs[1:] {
		s, err := newSealer(codec, compress.DefaultLevel)
		require.NoError(t, err)
		o := newTestBatch(2048)
		b := o.batch
		lim := newBatchLimits(2048, 1<<20, true)
		require.Equal(t, appendDone, o.tryAdd(one("", noise(rand.New(rand.NewPCG(1, 2)), 1000)), 5, &lim, new(ratioEstimate)))
		o.close()
		before := slices.Clone(b.chunks[0][protocol.BatchOverhead:])
		require.NoError(t, b.seal(s))
		h, records := read(t, wireBytes(b))
		require.EqualValues(t, 0, h.Codec(), codec)
		require.Len(t, records, 1)
		require.Equal(t, before, wireBytes(b)[protocol.BatchOverhead:])
	}
}

func TestARetryIsTheSameBytes(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		pool := newBufferPool(1<<20, 2048)
		s, err := newSealer(codec, compress.DefaultLevel)
		require.NoError(t, err)
		b := buildBatch(pool, &partitionQueue{topic: &topicState{name: "t"}}, rand.New(rand.NewPCG(2, 1)), 100)
		b.setIdentity(7, 0, 0)
		require.NoError(t, b.seal(s))
		first := wireBytes(b)
		require.NoError(t, b.seal(s))
		require.Equal(t, first, wireBytes(b))

		b.setIdentity(7, 1, 12) // after a gap: only the identity and the CRC change
		require.NoError(t, b.seal(s))
		h, records := read(t, wireBytes(b))
		require.EqualValues(t, 1, h.ProducerEpoch)
		require.EqualValues(t, 12, h.BaseSequence)
		require.Len(t, records, 100)
		require.True(t, bytes.Equal(first[protocol.BatchOverhead:], wireBytes(b)[protocol.BatchOverhead:]))
	})
}

func TestTheRatioFallsSlowlyAndRisesFast(t *testing.T) {
	var r ratioEstimate
	require.InDelta(t, 1, r.get(), 0)
	r.update(10, 100)
	require.InDelta(t, 0.995, r.get(), 1e-9)
	for range 1000 {
		r.update(10, 100)
	}
	require.InDelta(t, 0.1, r.get(), 1e-9)
	r.update(12, 100)
	require.InDelta(t, 0.15, r.get(), 1e-9)
	r.update(90, 100)
	require.InDelta(t, 0.9, r.get(), 1e-9)
}

func TestSealingDoesNotAllocate(t *testing.T) {
	pool := newBufferPool(1<<20, 2048)
	s, err := newSealer(compress.None, compress.DefaultLevel)
	require.NoError(t, err)
	b := buildBatch(pool, &partitionQueue{topic: &topicState{name: "t"}}, rand.New(rand.NewPCG(2, 1)), 100)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		b.headerDone = false
		_ = b.seal(s)
	}))
}

// cacheLine is the size of the processors' cache lines. Objects whose size is a multiple of it, up to 512 bytes, begin
// at one: they lie one behind the other in spans that begin at a page.
const cacheLine = 64

func TestTheListOfBatchesHasItsCacheLine(t *testing.T) {
	var a accumulator
	require.Zero(t, unsafe.Sizeof(a)%cacheLine)
	require.Zero(t, unsafe.Offsetof(a.mu)%cacheLine)
	require.Equal(t, unsafe.Offsetof(a.mu)+cacheLine, unsafe.Offsetof(a.reasons), "all of the list is in it")
}

func TestTheClockIsAloneInItsCacheLine(t *testing.T) {
	require.EqualValues(t, cacheLine, unsafe.Sizeof(coarseClock{}))
}
