package protocol

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// everything appends one value of each primitive, and read reads them back.
func everything() []byte {
	text := "täxt"
	b := AppendBool(nil, true)
	b = AppendInt8(b, -8)
	b = AppendInt16(b, -1600)
	b = AppendInt32(b, -320000)
	b = AppendInt64(b, math.MinInt64)
	b = AppendUint16(b, 65000)
	b = AppendUint32(b, 4000000000)
	b = AppendFloat64(b, -0.5)
	b = AppendUvarint(b, math.MaxUint32)
	b = AppendUvarlong(b, math.MaxUint64)
	b = binary.AppendVarint(b, math.MinInt32)
	b = binary.AppendVarint(b, math.MinInt64)
	b = AppendString(b, text)
	b = AppendNullableString(b, &text)
	b = AppendNullableString(b, nil)
	b = AppendCompactString(b, text)
	b = AppendCompactNullableString(b, &text)
	b = AppendCompactNullableString(b, nil)
	b = AppendBytes(b, []byte(text))
	b = AppendNullableBytes(b, []byte(text))
	b = AppendNullableBytes(b, nil)
	b = AppendCompactBytes(b, []byte(text))
	b = AppendCompactNullableBytes(b, []byte(text))
	b = AppendCompactNullableBytes(b, nil)
	b = AppendUUID(b, UUID{1, 2, 15: 16})
	b = AppendArrayLen(b, 2)
	b = AppendInt16(b, 1)
	b = AppendInt16(b, 2)
	b = AppendArrayLen(b, -1)
	b = AppendCompactArrayLen(b, 1)
	b = AppendInt16(b, 3)
	b = AppendCompactArrayLen(b, -1)
	b = append(b, 2, 0, 1, 77, 5, 2, 8, 9) // two tagged fields: 0 = 77, 5 = 8 9
	b = AppendEmptyTags(b)
	return append(b, 2, 1, 0, 3, 1, 99) // two more, skipped
}

func readEverything(r *Reader) []any {
	text := func(s *string) any {
		if s == nil {
			return nil
		}
		return *s
	}
	got := []any{
		r.Bool(), r.Int8(), r.Int16(), r.Int32(), r.Int64(), r.Uint16(), r.Uint32(), r.Float64(),
		r.Uvarint(), r.Uvarlong(), r.Varint(), r.Varlong(),
		r.String(), text(r.NullableString()), text(r.NullableString()),
		r.CompactString(), text(r.CompactNullableString()), text(r.CompactNullableString()),
		r.Bytes(), r.NullableBytes(), r.NullableBytes(),
		r.CompactBytes(), r.CompactNullableBytes(), r.CompactNullableBytes(),
		r.UUID(),
		r.ArrayLen(2), r.Int16(), r.Int16(), r.ArrayLen(2), r.CompactArrayLen(2), r.Int16(), r.CompactArrayLen(2),
	}
	r.Tags(func(tag uint32, r *Reader) {
		if tag == 0 {
			got = append(got, r.Int8(), r.Remaining())
		}
	})
	r.Tags(func(uint32, *Reader) { r.Fail(errors.New("no field was written")) })
	r.SkipTags()
	return got
}

func TestEveryPrimitiveRoundTrips(t *testing.T) {
	r := NewReader(everything())
	bytes := []byte("täxt")
	var none []byte
	require.Equal(t, []any{
		true, int8(-8), int16(-1600), int32(-320000), int64(math.MinInt64), uint16(65000), uint32(4000000000), -0.5,
		uint32(math.MaxUint32), uint64(math.MaxUint64), int32(math.MinInt32), int64(math.MinInt64),
		"täxt", "täxt", nil, "täxt", "täxt", nil, bytes, bytes, none, bytes, bytes, none,
		UUID{1, 2, 15: 16}, 2, int16(1), int16(2), -1, 1, int16(3), -1, int8(77), 0,
	}, readEverything(&r))
	require.NoError(t, r.Err())
	require.Zero(t, r.Remaining())
}

func TestEveryPrefixOfThePrimitivesIsAnError(t *testing.T) {
	b := everything()
	for n := range b {
		r := NewReader(b[:n:n])
		readEverything(&r)
		require.Error(t, r.Err(), "%d bytes", n)
		require.Zero(t, r.Remaining())
		require.Empty(t, r.Rest())
	}
}

func TestFirstErrorSticksAndNamesThePosition(t *testing.T) {
	r := NewReader([]byte{0, 1, 2, 3})
	r.Int16()
	r.Fail(nil)
	require.NoError(t, r.Err())
	require.Zero(t, r.Int64())
	require.ErrorIs(t, r.Err(), ErrTruncated)
	require.EqualError(t, r.Err(), "at byte 2: truncated input")
	r.Fail(errors.New("later"))
	require.Zero(t, r.Int8())
	require.EqualError(t, r.Err(), "at byte 2: truncated input")
	require.Nil(t, r.Bytes())
	require.Nil(t, r.CompactNullableString())
	require.Zero(t, r.ArrayLen(1))
	require.Zero(t, r.CompactArrayLen(1))
}

func TestErrorInsideATaggedFieldIsTheReaders(t *testing.T) {
	b := []byte{0xee, 1, 0, 2, 1, 2, 3, 4, 5, 6}
	r := NewReader(b)
	r.Int8()
	r.Tags(func(_ uint32, r *Reader) { r.Int32() }) // would fit, but not into the field
	require.EqualError(t, r.Err(), "at byte 4: truncated input")

	r = NewReader(b)
	r.Int8()
	r.Tags(func(_ uint32, r *Reader) { r.Fail(ErrMalformed) })
	require.ErrorIs(t, r.Err(), ErrMalformed)
}

func TestVarintsOfJava(t *testing.T) {
	// Java: ByteUtilsTest.testVarintSerde, ByteUtilsTest.testVarlongSerde
	for _, c := range []struct {
		v    int64
		want []byte
	}{
		{0, []byte{0}}, {-1, []byte{1}}, {1, []byte{2}}, {63, []byte{0x7e}}, {-64, []byte{0x7f}}, {64, []byte{0x80, 1}},
		{-65, []byte{0x81, 1}}, {8191, []byte{0xfe, 0x7f}}, {-8192, []byte{0xff, 0x7f}}, {8192, []byte{0x80, 0x80, 1}},
		{1048575, []byte{0xfe, 0xff, 0x7f}}, {134217728, []byte{0x80, 0x80, 0x80, 0x80, 1}},
		{math.MaxInt32, []byte{0xfe, 0xff, 0xff, 0xff, 0xf}}, {math.MinInt32, []byte{0xff, 0xff, 0xff, 0xff, 0xf}},
		{math.MaxInt64, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
		{math.MinInt64, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
	} {
		require.Equal(t, c.want, binary.AppendVarint(nil, c.v))
		r := NewReader(c.want)
		require.Equal(t, c.v, r.Varlong())
		if c.v == int64(int32(c.v)) {
			r = NewReader(c.want)
			require.EqualValues(t, c.v, r.Varint())
		}
		require.NoError(t, r.Err())
	}
	for shift := range 64 {
		for _, v := range []uint64{1<<shift - 1, 1 << shift, 1<<shift + 1} {
			require.Equal(t, len(AppendUvarlong(nil, v)), UvarintSize(v))
		}
	}
}

// Java: ByteUtilsTest.testInvalidVarint, ByteUtilsTest.testInvalidVarlong
func TestOverlongVarintsAreMalformed(t *testing.T) {
	for _, b := range [][]byte{
		{0xff, 0xff, 0xff, 0xff, 0xff, 1}, {0xff, 0xff, 0xff, 0xff, 0x10}, {0x80, 0x80, 0x80, 0x80, 0x80},
	} {
		r := NewReader(b)
		require.Zero(t, r.Varint())
		require.ErrorIs(t, r.Err(), ErrMalformed)
	}
	for _, last := range []byte{2, 0x80, 0xff} {
		r := NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, last, 1})
		require.Zero(t, r.Varlong())
		require.ErrorIs(t, r.Err(), ErrMalformed)
	}
}

func TestCountsThatCannotFitAreRefused(t *testing.T) {
	ten := make([]byte, 10)
	for _, c := range []struct {
		n, elementSize int
		ok             bool
	}{{10, 1, true}, {11, 1, false}, {10, 0, true}, {11, -5, false}, {5, 2, true}, {6, 2, false}, {0, 100, true}, {-1, 1, true},
		{-2, 1, false}, {math.MaxInt32, 1, false}, {math.MinInt32, 1, false}} {
		r := NewReader(append(AppendArrayLen(nil, c.n), ten...))
		n := r.ArrayLen(c.elementSize)
		if c.ok {
			require.NoError(t, r.Err())
			require.Equal(t, c.n, n)
		} else {
			require.ErrorIs(t, r.Err(), ErrMalformed)
			require.Zero(t, n)
		}
		if c.n < -1 {
			continue
		}
		r = NewReader(append(AppendCompactArrayLen(nil, c.n), ten...))
		require.Equal(t, n, r.CompactArrayLen(c.elementSize))
		require.Equal(t, c.ok, r.Err() == nil)
	}
}

func TestNullWhereNoneMayBeIsMalformed(t *testing.T) {
	for name, read := range map[string]func(r *Reader){
		"String":        func(r *Reader) { _ = r.String() },
		"CompactString": func(r *Reader) { r.CompactString() },
		"Bytes":         func(r *Reader) { r.Bytes() },
		"CompactBytes":  func(r *Reader) { r.CompactBytes() },
	} {
		b := []byte{0xff, 0xff, 0xff, 0xff}
		if name[0] == 'C' {
			b = []byte{0}
		}
		r := NewReader(b)
		read(&r)
		require.ErrorIs(t, r.Err(), ErrMalformed, name)
	}
	for _, read := range []func(r *Reader) any{
		func(r *Reader) any { return r.NullableString() }, func(r *Reader) any { return r.NullableBytes() },
		func(r *Reader) any { return r.CompactNullableString() }, func(r *Reader) any { return r.CompactNullableBytes() },
	} {
		r := NewReader([]byte{0xff, 0xfe, 0xff, 0xff, 0xff}) // lengths -2, below any null
		require.Empty(t, read(&r))
		require.ErrorIs(t, r.Err(), ErrMalformed)
	}
}

func TestBytesAliasTheInputAndCannotGrowIntoIt(t *testing.T) {
	b := AppendBytes(nil, []byte("abc"))
	b = append(b, 'x')
	r := NewReader(b)
	got := r.Bytes()
	require.Same(t, &b[4], &got[0])
	require.Equal(t, 3, cap(got))
	empty := NewReader(AppendBytes(nil, nil))
	require.NotNil(t, empty.Bytes())
	require.Equal(t, []byte("x"), r.Rest())
}

func TestACopyReadsOnByItself(t *testing.T) {
	r := NewReader([]byte{1, 2})
	ahead := r
	require.EqualValues(t, 1, ahead.Int8())
	ahead.Int32()
	require.Error(t, ahead.Err())
	require.EqualValues(t, 1, r.Int8())
	require.NoError(t, r.Err())
}

func TestStringBeyondTheFormatPanics(t *testing.T) {
	require.Len(t, AppendString(nil, string(make([]byte, math.MaxInt16))), 2+math.MaxInt16)
	require.Panics(t, func() { AppendString(nil, string(make([]byte, math.MaxInt16+1))) })
}

func TestExpectedStringsAreNotCopied(t *testing.T) {
	expected := "orders"
	in := AppendCompactString(AppendString(AppendCompactString(nil, expected), expected), "others")
	require.Zero(t, testing.AllocsPerRun(10, func() {
		r := NewReader(in)
		r.Expect(expected)
		if r.CompactString() != expected || r.String() != expected {
			panic("read something else")
		}
	}))
	r := NewReader(in)
	r.Expect(expected)
	require.Equal(t, []string{expected, expected, "others"}, []string{r.CompactString(), r.String(), r.CompactString()})
	require.NoError(t, r.Err())
}

// A tagged field that is cut is an error even if its content is not read.
func TestACutTagIsAnErrorAlsoIfItIsUnknown(t *testing.T) {
	whole := []byte{2, 7, 3, 'a', 'b', 'c', 9, 1, 'x'}
	for n := range len(whole) {
		r := NewReader(whole[:n])
		r.Tags(func(uint32, *Reader) {})
		require.ErrorIs(t, r.Err(), ErrTruncated, "%d bytes", n)
		r = NewReader(whole[:n])
		r.SkipTags()
		require.ErrorIs(t, r.Err(), ErrTruncated, "%d bytes", n)
	}
	r := NewReader(whole)
	r.Tags(func(uint32, *Reader) {})
	require.NoError(t, r.Err())
	require.Zero(t, r.Remaining())
}
