package protocol

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// plainRecord does what AppendRecord does, written with the plain primitives, field by field.
func plainRecord(offsetDelta int32, timestampDelta int64, key, value []byte, headers []Header) []byte {
	part := func(dst, p []byte) []byte {
		if p == nil {
			return binary.AppendVarint(dst, -1)
		}
		return append(binary.AppendVarint(dst, int64(len(p))), p...)
	}
	body := AppendInt8(nil, 0)
	body = binary.AppendVarint(body, timestampDelta)
	body = binary.AppendVarint(body, int64(offsetDelta))
	body = part(body, key)
	body = part(body, value)
	body = binary.AppendVarint(body, int64(len(headers)))
	for _, h := range headers {
		body = part(body, []byte(h.Key))
		body = part(body, h.Value)
	}
	return append(binary.AppendVarint(nil, int64(len(body))), body...)
}

func randomPart(rnd *rand.Rand) []byte {
	sizes := []int{0, 1, 2, 3, 62, 63, 64, 65, 127, 128, 8000, 8001, 8002, 8003, 8191, 8192, rnd.IntN(100), rnd.IntN(20000)}
	n := sizes[rnd.IntN(len(sizes))]
	if n == 0 && rnd.IntN(2) == 0 {
		return nil
	}
	return fill(n)
}

func randomHeaders(rnd *rand.Rand) []Header {
	if rnd.IntN(3) > 0 {
		return nil
	}
	headers := make([]Header, rnd.IntN(70))
	for i := range headers {
		headers[i] = Header{Key: string(fill(rnd.IntN(70))), Value: randomPart(rnd)}
	}
	return headers
}

// Java: DefaultRecordTest.testBasicSerde, DefaultRecordBatchTest.testSizeInBytes
func TestAnyRecordIsWrittenAndSizedAsThePlainWay(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		offsetDelta := int32(rnd.Uint32() >> rnd.IntN(32))
		timestampDelta := int64(rnd.Uint64()) >> rnd.IntN(64)
		key, value, headers := randomPart(rnd), randomPart(rnd), randomHeaders(rnd)
		want := plainRecord(offsetDelta, timestampDelta, key, value, headers)
		require.Equal(t, len(want), RecordSize(offsetDelta, timestampDelta, key, value, headers))
		bound := MaxRecordSize(key, value, headers)
		require.LessOrEqual(t, len(want), bound)
		require.LessOrEqual(t, RecordSize(math.MinInt32, math.MinInt64, key, value, headers), bound)

		got := AppendRecord([]byte("head"), offsetDelta, timestampDelta, key, value, headers)
		require.Equal(t, "head", string(got[:4]))
		require.Equal(t, want, got[4:])

		r := NewReader(got[4:])
		rec, err := ReadRecord(&r)
		require.NoError(t, err)
		require.Zero(t, r.Remaining())
		if len(headers) == 0 {
			headers = nil
		}
		require.Equal(t, Record{0, offsetDelta, timestampDelta, key, value, headers}, rec)
	}
}

// The quick path stores eight bytes at once: it must stay inside the record's
// room and the bytes behind it must stay as they are.
func TestAppendRecordTouchesNothingBehindTheRecord(t *testing.T) {
	untouched := bytes.Repeat([]byte{0xAA}, 300)
	for keySize := -1; keySize < 66; keySize += 4 {
		for valueSize := -1; valueSize < 80; valueSize++ {
			var key, value []byte
			if keySize >= 0 {
				key = fill(keySize)
			}
			if valueSize >= 0 {
				value = fill(valueSize)
			}
			for _, delta := range []int32{0, 63, 64, 8191, 8192} {
				size := RecordSize(delta, int64(delta), key, value, nil)
				for _, room := range []int{size, size + 1, size + 9, size + 30} {
					buf := make([]byte, 3+room)
					copy(buf, untouched)
					got := AppendRecord(buf[:3], delta, int64(delta), key, value, nil)
					require.Same(t, &buf[0], &got[0], "enough room: no growth")
					require.Equal(t, plainRecord(delta, int64(delta), key, value, nil), got[3:])
					require.Equal(t, 3, bytes.Count(buf[:3], []byte{0xAA}))
					require.Equal(t, room-size, bytes.Count(buf[3+size:], []byte{0xAA}))
				}
			}
		}
	}
}

func TestAppendRecordDoesNotAllocateWithRoom(t *testing.T) {
	buf := make([]byte, 0, 4096)
	value, headers := fill(100), []Header{{"k", fill(10)}}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		b := AppendRecord(buf, 1, 2, nil, value, nil)
		b = AppendRecord(b, 70, 9000, value, value, nil)
		AppendRecord(b, 3, 4, value[:3], value, headers)
	}))
	// One growth; the race detector makes slices.Grow allocate twice.
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		AppendRecord(nil, 3, 4, value, value, headers)
	}), 2.0)
}

// Java: DefaultRecordBatchTest.testSkipKeyValueIteratorCorrectness
func TestRecordsHaveTheSizesOfJavas(t *testing.T) {
	large := fill(200 << 10)
	var batch []byte
	want := []Record{
		{OffsetDelta: 0, TimestampDelta: 0, Key: []byte("a"), Value: []byte("1")},
		{OffsetDelta: 1, TimestampDelta: 1, Key: []byte("b")},
		{OffsetDelta: 2, TimestampDelta: 2, Value: []byte("3")},
		{OffsetDelta: 3, TimestampDelta: 3},
		{OffsetDelta: 4, TimestampDelta: 999, Key: []byte("abc"), Value: large},
		{OffsetDelta: 5, TimestampDelta: 9998, Key: []byte("abc"), Value: []byte("0"), Headers: []Header{{"k1", []byte("v1")}, {"k2", nil}}},
	}
	for i, size := range []int{9, 8, 8, 7, 15 + len(large), 23} {
		r := want[i]
		require.Equal(t, size, RecordSize(r.OffsetDelta, r.TimestampDelta, r.Key, r.Value, r.Headers))
		before := len(batch)
		batch = AppendRecord(batch, r.OffsetDelta, r.TimestampDelta, r.Key, r.Value, r.Headers)
		require.Len(t, batch[before:], size)
	}
	var got []Record
	for r, err := range Records(batch, int32(len(want))) {
		require.NoError(t, err)
		got = append(got, r)
	}
	require.Equal(t, want, got)
}

// fields returns a record body of 100 bytes that starts with the given varints behind
// attributes and deltas, as the tests of DefaultRecordTest build them.
func fields(varints ...int32) []byte {
	body := AppendInt8(nil, 0)
	body = binary.AppendVarint(body, 2)
	body = binary.AppendVarint(body, 1)
	for _, v := range varints {
		body = binary.AppendVarint(body, int64(v))
	}
	body = append(body, make([]byte, 100-len(body))...)
	return append(binary.AppendVarint(nil, 100), body...)
}

func TestInvalidRecordsAreRefused(t *testing.T) {
	headers := []Header{{"foo", []byte("value")}, {"bar", nil}, {`"A\u00ea\u00f1\u00fcC"`, []byte("value")}}
	countAt := func(count byte) []byte {
		b := AppendRecord(nil, 10, 323, []byte("hi"), []byte("there"), headers)
		if b[15] != 6 { // 3 in zigzag form; two bytes of length make it 15, Java's test has 14
			panic("header count is elsewhere")
		}
		b[15] = count
		return b
	}
	for name, b := range map[string][]byte{
		"Java: testBasicSerdeInvalidHeaderCountTooHigh": countAt(8),
		"Java: testBasicSerdeInvalidHeaderCountTooLow":  countAt(4),
		"Java: testInvalidKeySize":                      fields(105),
		"Java: testInvalidValueSize":                    fields(-1, 105),
		"Java: testInvalidNumHeaders":                   fields(-1, -1, -1),
		"Java: testInvalidNumHeaders, too many":         fields(-1, -1, 100),
		"Java: testInvalidHeaderKey":                    fields(-1, -1, 1, 105),
		"Java: testNullHeaderKey":                       fields(-1, -1, 1, -1),
		"Java: testInvalidHeaderValue":                  fields(-1, -1, 1, 1, -1, 105),
		"Java: testUnderflowReadingTimestamp":           {2, 0},
		"Java: testUnderflowReadingVarlong":             {4, 0, 0xb8},
		"Java: testInvalidVarlong":                      {22, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80},
		"Java: testInvalidSizeOfBodyInBytes":            {20},
		"negative body size":                            {1, 0, 0, 0, 0, 0, 0},
		"bytes behind the headers":                      fields(-1, -1, 0),
		"key size -2":                                   fields(-2),
		"empty":                                         {},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(b)
			rec, err := ReadRecord(&r)
			require.Error(t, err)
			require.Zero(t, rec)
			require.Equal(t, err, r.Err())
			_, again := ReadRecord(&r)
			require.Equal(t, err, again, "the error sticks")
		})
	}
}

func TestEveryPrefixOfARecordIsTruncated(t *testing.T) {
	b := AppendRecord(nil, 1000, -5, []byte("key"), fill(100), []Header{{"a", []byte("b")}, {"c", nil}})
	for n := range b {
		r := NewReader(b[:n])
		_, err := ReadRecord(&r)
		require.ErrorIs(t, err, ErrTruncated, "%d bytes", n)
	}
	// Cut inside, with a length that pretends the record ends there.
	body := b[2:]
	for n := range body {
		cut := append(binary.AppendVarint(nil, int64(n)), body[:n]...)
		r := NewReader(append(cut, "behind"...))
		_, err := ReadRecord(&r)
		require.Error(t, err, "%d bytes", n)
	}
}

// All records of a batch are written the same way, however far down they are: the quick path has a form of its own for
// each size of an offset delta. From record 8,192 on it takes three bytes.
func TestTheQuickPathWritesEveryOffsetDelta(t *testing.T) {
	buf := make([]byte, 0, 256)
	check := func(offsetDelta int32, timestampDelta int64, key, value []byte) {
		want := plainRecord(offsetDelta, timestampDelta, key, value, nil)
		require.Equal(t, want, AppendRecord(buf, offsetDelta, timestampDelta, key, value, nil), "record %d", offsetDelta)
		require.Equal(t, len(want), RecordSize(offsetDelta, timestampDelta, key, value, nil), "record %d", offsetDelta)
	}
	borders := []int32{0, 1, 63, 64, 8191, 8192, 8193, 16_383, 16_384, 100_000, 1<<20 - 1, 1 << 20, 1<<20 + 1, 1 << 27, math.MaxInt32}
	for _, offsetDelta := range borders {
		for _, timestampDelta := range []int64{0, -1, 63, 64, 8191, 8192, 1 << 40} {
			for _, key := range [][]byte{nil, {}, fill(1), fill(63), fill(64)} {
				for _, value := range [][]byte{nil, {}, fill(1), fill(2), fill(40), fill(63), fill(64), fill(150)} {
					check(offsetDelta, timestampDelta, key, value)
				}
			}
		}
	}
	for offsetDelta := range int32(20_000) {
		check(offsetDelta, int64(offsetDelta)/100, nil, fill(5))
	}
}
