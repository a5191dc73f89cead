package protocol

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// Java: DefaultRecordBatchTest.buildDefaultRecordBatch
func TestPlainBatchHasNoProducer(t *testing.T) {
	h, err := ReadBatchHeader(goldenBatch(t, "many"))
	require.NoError(t, err)
	require.Equal(t, NoProducerID, h.ProducerID)
	require.Equal(t, NoProducerEpoch, h.ProducerEpoch)
	require.Equal(t, NoSequence, h.BaseSequence)
	require.Equal(t, NoSequence, h.LastSequence())
	require.EqualValues(t, 299, h.LastOffset())
	require.Equal(t, int64(goldenTime+149), h.MaxTimestamp)
}

// Java: DefaultRecordBatchTest.buildDefaultRecordBatchWithProducerId
func TestIdempotentBatchCarriesProducerAndSequences(t *testing.T) {
	h, err := ReadBatchHeader(goldenBatch(t, "idempotent"))
	require.NoError(t, err)
	require.EqualValues(t, 23423, h.ProducerID)
	require.EqualValues(t, 145, h.ProducerEpoch)
	require.EqualValues(t, 983, h.BaseSequence)
	require.EqualValues(t, 984, h.LastSequence())
	require.EqualValues(t, 1234568, h.LastOffset())
}

// Java: DefaultRecordBatchTest.buildDefaultRecordBatchWithSequenceWrapAround
func TestSequencesWrapInsideABatch(t *testing.T) {
	h, err := ReadBatchHeader(goldenBatch(t, "wraparound"))
	require.NoError(t, err)
	require.EqualValues(t, math.MaxInt32-1, h.BaseSequence)
	require.EqualValues(t, 0, h.LastSequence())
}

// Java: DefaultRecordBatchTest.testIncrementSequence, DefaultRecordBatchTest.testDecrementSequence
func TestSequenceArithmeticIsModulo2To31(t *testing.T) {
	require.EqualValues(t, 10, IncrementSequence(5, 5))
	require.EqualValues(t, 0, IncrementSequence(math.MaxInt32, 1))
	require.EqualValues(t, 4, IncrementSequence(math.MaxInt32-5, 10))
	require.EqualValues(t, math.MaxInt32-1, IncrementSequence(math.MaxInt32, math.MaxInt32))
	require.EqualValues(t, 0, DecrementSequence(5, 5))
	require.EqualValues(t, math.MaxInt32, DecrementSequence(0, 1))
	require.EqualValues(t, math.MaxInt32-5, DecrementSequence(4, 10))
	for _, seq := range []int32{0, 1, 983, math.MaxInt32 - 1, math.MaxInt32} {
		for _, n := range []int32{0, 1, 1000, math.MaxInt32} {
			require.Equal(t, seq, DecrementSequence(IncrementSequence(seq, n), n))
		}
	}
}

// Java: DefaultRecordBatchTest.testWriteEmptyHeader
func TestEmptyBatchHeaderRoundTrips(t *testing.T) {
	for _, attributes := range []int16{
		0, AttrLogAppendTime, AttrTransactional, AttrControl, AttrTransactional | AttrControl | AttrLogAppendTime | 4,
	} {
		want := BatchHeader{
			BaseOffset: 15, Length: BatchOverhead - 12, PartitionLeaderEpoch: 15, Magic: 2, CRC: 0xdeadbeef, Attributes: attributes,
			LastOffsetDelta: 22, BaseTimestamp: NoTimestamp, MaxTimestamp: goldenTime, ProducerID: 23423, ProducerEpoch: 145,
			BaseSequence: 983, Count: 0,
		}
		b := make([]byte, BatchOverhead)
		PutBatchHeader(b, &want)
		got, err := ReadBatchHeader(b)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.EqualValues(t, 37, got.LastOffset())
		require.EqualValues(t, 983+22, got.LastSequence())
		require.Equal(t, attributes&AttrLogAppendTime != 0, got.LogAppendTime())
		require.Equal(t, attributes&AttrTransactional != 0, got.Transactional())
		require.Equal(t, attributes&AttrControl != 0, got.Control())
		require.EqualValues(t, attributes&7, got.Codec())
		require.Equal(t, BatchOverhead, got.Size())
	}
}

// The bytes are in TestWriterMatchesJava.
//
// Java: DefaultRecordBatchTest.testReadAndWriteControlBatch
func TestControlBatchIsTransactional(t *testing.T) {
	h, err := ReadBatchHeader(goldenBatch(t, "control"))
	require.NoError(t, err)
	require.True(t, h.Control())
	require.True(t, h.Transactional())
	require.EqualValues(t, 1, h.ProducerID)
	require.EqualValues(t, 0, h.ProducerEpoch)
}

// Java: DefaultRecordBatchTest.testInvalidCrc
func TestEveryFlippedBitBehindTheCRCIsNoticed(t *testing.T) {
	b := goldenBatch(t, "headers")
	want := binary.BigEndian.Uint32(b[17:])
	require.Equal(t, want, BatchCRC(b))
	for i := 21 * 8; i < len(b)*8; i++ {
		b[i/8] ^= 1 << (i % 8)
		require.NotEqual(t, want, BatchCRC(b), "bit %d", i)
		b[i/8] ^= 1 << (i % 8)
	}
}

// Java: DefaultRecordBatchTest.testSetPartitionLeaderEpoch, DefaultRecordBatchTest.testSetLastOffset
func TestBrokerFieldsAreOutsideTheCRC(t *testing.T) {
	b := goldenBatch(t, "one")
	binary.BigEndian.PutUint64(b[0:], 500)
	binary.BigEndian.PutUint32(b[12:], 500)
	h, err := ReadBatchHeader(b)
	require.NoError(t, err)
	require.Equal(t, h.CRC, BatchCRC(b))
	require.EqualValues(t, 500, h.PartitionLeaderEpoch)
	require.EqualValues(t, 500, h.LastOffset())
}

func TestRunningCRCEqualsOneOverAll(t *testing.T) {
	b := goldenBatch(t, "headers")
	for cut := 21; cut <= len(b); cut++ {
		require.Equal(t, BatchCRC(b), CRC32C(CRC32C(0, b[21:cut]), b[cut:]))
	}
	require.Equal(t, uint32(0xe3069283), CRC32C(0, []byte("123456789")))
}

// Java: DefaultRecordBatchTest.testInvalidRecordSize
func TestBatchLengthBelowTheHeaderIsMalformed(t *testing.T) {
	b := goldenBatch(t, "one")
	for _, length := range []int32{10, 48, 0, -1, math.MinInt32} {
		binary.BigEndian.PutUint32(b[8:], uint32(length))
		_, err := ReadBatchHeader(b)
		require.ErrorIs(t, err, ErrMalformed, "length %d", length)
	}
	for _, length := range []int32{int32(len(b)) - 11, math.MaxInt32} {
		binary.BigEndian.PutUint32(b[8:], uint32(length))
		_, err := ReadBatchHeader(b)
		require.ErrorIs(t, err, ErrTruncated, "length %d", length)
	}
}

func TestBatchHeaderRefusesWhatCannotBe(t *testing.T) {
	for name, change := range map[string]func(b []byte){
		"magic 0":           func(b []byte) { b[16] = 0 },
		"magic 1":           func(b []byte) { b[16] = 1 },
		"magic 3":           func(b []byte) { b[16] = 3 },
		"negative count":    func(b []byte) { b[57] = 0x80 },
		"last offset delta": func(b []byte) { b[23] = 0x80 },
	} {
		b := goldenBatch(t, "one")
		change(b)
		_, err := ReadBatchHeader(b)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func TestEveryPrefixOfABatchIsTruncated(t *testing.T) {
	b := goldenBatch(t, "headers")
	for n := range b {
		_, err := ReadBatchHeader(b[:n])
		require.ErrorIs(t, err, ErrTruncated, "%d bytes", n)
	}
}

// drain walks the records of an uncompressed batch to the end or the first error.
func drain(section []byte, count int32) (n int, err error) {
	for _, err := range Records(section, count) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// A compressed section goes through the same walk once it is decompressed.
//
// Java: DefaultRecordBatchTest.testInvalidRecordCountTooManyNonCompressedV2
// Java: DefaultRecordBatchTest.testInvalidRecordCountTooLittleNonCompressedV2
func TestWrongRecordCountIsNoticed(t *testing.T) {
	b := goldenBatch(t, "wraparound")[BatchOverhead:]
	n, err := drain(b, 3)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	n, err = drain(b, 2)
	require.ErrorIs(t, err, ErrMalformed)
	require.Equal(t, 2, n)
	for _, count := range []int32{4, 5, 1000, math.MaxInt32, -1, 0} {
		_, err = drain(b, count)
		require.Error(t, err, "count %d", count)
	}
	n, err = drain(nil, 0)
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = drain(AppendRecord(nil, 0, 0, nil, make([]byte, 20), nil), 2)
	require.ErrorIs(t, err, ErrTruncated)
}

func TestRecordsStopsWhenToldTo(t *testing.T) {
	n := 0
	for range Records(goldenBatch(t, "many")[BatchOverhead:], 300) {
		if n++; n == 5 {
			break
		}
	}
	require.Equal(t, 5, n)
}

func TestEveryPrefixOfARecordsSectionIsAnError(t *testing.T) {
	for _, name := range []string{"nulls", "timestamps", "headers", "idempotent"} {
		b := goldenBatch(t, name)
		count := int32(binary.BigEndian.Uint32(b[57:]))
		b = b[BatchOverhead:]
		for n := range b {
			_, err := drain(b[:n:n], count)
			require.Error(t, err, "%s, %d bytes", name, n)
		}
	}
}
