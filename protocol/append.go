package protocol

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Each Append function adds one value at the end of dst and returns the slice.
// Fixed-width numbers are big endian. A "compact" string, byte slice or array
// (KIP-482) carries its length plus one as an unsigned varint, zero meaning null.

// AppendBool appends one byte, 0 or 1.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendInt8 appends one byte.
func AppendInt8(dst []byte, v int8) []byte { return append(dst, byte(v)) }

// AppendInt16 appends two bytes.
func AppendInt16(dst []byte, v int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(v)) }

// AppendInt32 appends four bytes.
func AppendInt32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }

// AppendInt64 appends eight bytes.
func AppendInt64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

// AppendUint16 appends two bytes.
func AppendUint16(dst []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(dst, v) }

// AppendUint32 appends four bytes.
func AppendUint32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }

// AppendFloat64 appends the eight bytes of the IEEE 754 form.
func AppendFloat64(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v))
}

// AppendUvarint appends an unsigned varint: seven bits a byte, lowest first, the
// top bit set on all bytes but the last. At most five bytes.
func AppendUvarint(dst []byte, v uint32) []byte { return AppendUvarlong(dst, uint64(v)) }

// AppendUvarlong appends an unsigned varint of up to 64 bits, at most ten bytes.
func AppendUvarlong(dst []byte, v uint64) []byte { return binary.AppendUvarint(dst, v) }

// zigzag32 maps 0, -1, 1, -2 ... to 0, 1, 2, 3 ..., so that small values of
// either sign take few bytes.
func zigzag32(v int32) uint32 { return uint32(v)<<1 ^ uint32(v>>31) }

// zigzag64 does for 64 bits what zigzag32 does for 32.
func zigzag64(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

// UvarintSize returns the number of bytes AppendUvarint and AppendUvarlong write.
func UvarintSize(v uint64) int { return (bits.Len64(v|1)*9 + 64) >> 6 }

// AppendString appends a string with a 16-bit length. It panics if s is longer
// than the format can say (32767 bytes): the frame would be garbage otherwise.
func AppendString(dst []byte, s string) []byte {
	if len(s) > math.MaxInt16 {
		panic("protocol: string longer than 32767 bytes")
	}
	return append(AppendInt16(dst, int16(len(s))), s...)
}

// AppendNullableString appends a string with a 16-bit length, -1 for nil.
func AppendNullableString(dst []byte, s *string) []byte {
	if s == nil {
		return AppendInt16(dst, -1)
	}
	return AppendString(dst, *s)
}

// AppendCompactString appends a compact string.
func AppendCompactString(dst []byte, s string) []byte {
	return append(AppendUvarlong(dst, uint64(len(s))+1), s...)
}

// AppendCompactNullableString appends a compact string, 0 for nil.
func AppendCompactNullableString(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, 0)
	}
	return AppendCompactString(dst, *s)
}

// AppendBytes appends bytes with a 32-bit length. Nil is empty.
func AppendBytes(dst []byte, b []byte) []byte {
	return append(AppendInt32(dst, int32(len(b))), b...)
}

// AppendNullableBytes appends bytes with a 32-bit length, -1 for nil.
func AppendNullableBytes(dst []byte, b []byte) []byte {
	if b == nil {
		return AppendInt32(dst, -1)
	}
	return AppendBytes(dst, b)
}

// AppendCompactBytes appends compact bytes. Nil is empty.
func AppendCompactBytes(dst []byte, b []byte) []byte {
	return append(AppendUvarlong(dst, uint64(len(b))+1), b...)
}

// AppendCompactNullableBytes appends compact bytes, 0 for nil.
func AppendCompactNullableBytes(dst []byte, b []byte) []byte {
	if b == nil {
		return append(dst, 0)
	}
	return AppendCompactBytes(dst, b)
}

// AppendUUID appends the sixteen bytes of the id.
func AppendUUID(dst []byte, u UUID) []byte { return append(dst, u[:]...) }

// AppendArrayLen appends the 32-bit count in front of an array, -1 for null.
func AppendArrayLen(dst []byte, n int) []byte { return AppendInt32(dst, int32(n)) }

// AppendCompactArrayLen appends the compact count in front of an array, -1 for null.
func AppendCompactArrayLen(dst []byte, n int) []byte { return AppendUvarint(dst, uint32(n+1)) }

// AppendEmptyTags appends a tagged-field section without fields (KIP-482).
func AppendEmptyTags(dst []byte) []byte { return append(dst, 0) }
