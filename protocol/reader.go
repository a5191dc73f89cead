package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

var (
	// ErrTruncated says that the input ended inside a value.
	ErrTruncated = errors.New("truncated input")
	// ErrMalformed says that the input holds a value the format does not allow.
	ErrMalformed = errors.New("malformed input")
)

// Reader reads the primitive types of the wire from a byte slice.
//
// The first error sticks: from then on every method returns its zero value and
// nothing remains, so loops end. Err returns that error; it wraps ErrTruncated or
// ErrMalformed and names the position. Byte slices alias the input, strings are
// copies. A Reader is a value; a copy reads on by itself. It belongs to one goroutine.
type Reader struct {
	b   []byte // the input up to where reading may go; empty once failed
	off int    // next byte to read
	err error

	expected string
}

// NewReader returns a Reader at the start of b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Expect names a string that is likely to come: reading it as a string that is not
// nullable then makes no copy.
func (r *Reader) Expect(s string) { r.expected = s }

// text returns b as a string, without a copy if it is the expected one.
func (r *Reader) text(b []byte) string {
	if string(b) == r.expected {
		return r.expected
	}
	return string(b)
}

// Err returns the first error, nil if everything so far was well formed.
func (r *Reader) Err() error { return r.err }

// Remaining returns the number of bytes not yet read, 0 after an error.
func (r *Reader) Remaining() int { return len(r.b) - r.off }

// Rest reads all remaining bytes. They alias the input.
func (r *Reader) Rest() []byte { return r.take(r.Remaining()) }

// Fail makes err the Reader's error, wrapped with the position, unless it already
// has one. A nil err does nothing.
func (r *Reader) Fail(err error) {
	if r.err != nil || err == nil {
		return
	}
	r.err = fmt.Errorf("at byte %d: %w", r.off, err)
	r.b, r.off = nil, 0
}

// malformed fails with ErrMalformed and a reason.
func (r *Reader) malformed(format string, args ...any) {
	if r.err == nil {
		r.Fail(fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...)))
	}
}

// take reads n bytes, nil and an error if there are fewer. n is not negative.
func (r *Reader) take(n int) []byte {
	if n > len(r.b)-r.off {
		r.Fail(ErrTruncated)
		return nil
	}
	b := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return b
}

// Bool reads one byte; anything but 0 is true.
func (r *Reader) Bool() bool { return r.Int8() != 0 }

// Int8 reads one byte.
func (r *Reader) Int8() int8 {
	if b := r.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

// Int16 reads two bytes.
func (r *Reader) Int16() int16 { return int16(r.Uint16()) }

// Int32 reads four bytes.
func (r *Reader) Int32() int32 { return int32(r.Uint32()) }

// Int64 reads eight bytes.
func (r *Reader) Int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// Uint16 reads two bytes.
func (r *Reader) Uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint32 reads four bytes.
func (r *Reader) Uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Float64 reads eight bytes.
func (r *Reader) Float64() float64 { return math.Float64frombits(uint64(r.Int64())) }

// Uvarint reads an unsigned varint of at most five bytes and 32 bits.
func (r *Reader) Uvarint() uint32 { return uint32(r.uvarint(5, 0x0f)) }

// Uvarlong reads an unsigned varint of at most ten bytes and 64 bits.
func (r *Reader) Uvarlong() uint64 { return r.uvarint(10, 0x01) }

// Varint reads a signed varint in zigzag form, 32 bits.
func (r *Reader) Varint() int32 {
	u := r.Uvarint()
	return int32(u>>1) ^ -int32(u&1)
}

// Varlong reads a signed varint in zigzag form, 64 bits.
func (r *Reader) Varlong() int64 {
	u := r.Uvarlong()
	return int64(u>>1) ^ -int64(u&1)
}

// uvarint reads up to size bytes; the last of them may not exceed limit.
func (r *Reader) uvarint(size int, limit byte) uint64 {
	var v uint64
	for i, b := range r.b[r.off:] {
		if i == size-1 && b > limit {
			r.malformed("varint longer than %d bytes or out of range", size)
			return 0
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			r.off += i + 1
			return v
		}
	}
	r.Fail(ErrTruncated)
	return 0
}

// String reads a string with a 16-bit length. Null is an error.
func (r *Reader) String() string {
	n := int(r.Int16())
	if n < 0 {
		r.malformed("string length %d", n)
		return ""
	}
	return r.text(r.take(n))
}

// NullableString reads a string with a 16-bit length, nil for null. The string that
// it points to must not be changed.
func (r *Reader) NullableString() *string {
	n := int(r.Int16())
	if n < 0 {
		if n != -1 {
			r.malformed("string length %d", n)
		}
		return nil
	}
	return r.stringPointer(n)
}

// CompactString reads a compact string. Null is an error.
func (r *Reader) CompactString() string {
	n := r.compactLen()
	if n < 0 {
		r.malformed("null string")
		return ""
	}
	return r.text(r.take(n))
}

// CompactNullableString reads a compact string, nil for null. The string that it
// points to must not be changed.
func (r *Reader) CompactNullableString() *string {
	n := r.compactLen()
	if n < 0 {
		return nil
	}
	return r.stringPointer(n)
}

// empty is what all pointers to an empty string point to, so that a node can't make us allocate by
// sending many of them. It must not be changed.
var empty string

// stringPointer reads n bytes as a string, nil after an error.
func (r *Reader) stringPointer(n int) *string {
	b := r.take(n)
	if r.err != nil {
		return nil
	}
	if n == 0 {
		return &empty
	}
	s := string(b)
	return &s
}

// Bytes reads bytes with a 32-bit length. Null is an error. The result aliases
// the input and is not nil unless the Reader failed.
func (r *Reader) Bytes() []byte {
	n := int(r.Int32())
	if n < 0 {
		r.malformed("bytes length %d", n)
		return nil
	}
	return r.take(n)
}

// NullableBytes reads bytes with a 32-bit length, nil for null, aliasing the input.
func (r *Reader) NullableBytes() []byte {
	n := int(r.Int32())
	if n < 0 {
		if n != -1 {
			r.malformed("bytes length %d", n)
		}
		return nil
	}
	return r.take(n)
}

// CompactBytes reads compact bytes, aliasing the input. Null is an error.
func (r *Reader) CompactBytes() []byte {
	n := r.compactLen()
	if n < 0 {
		r.malformed("null bytes")
		return nil
	}
	return r.take(n)
}

// CompactNullableBytes reads compact bytes, nil for null, aliasing the input.
func (r *Reader) CompactNullableBytes() []byte {
	n := r.compactLen()
	if n < 0 {
		return nil
	}
	return r.take(n)
}

// UUID reads sixteen bytes.
func (r *Reader) UUID() UUID {
	var u UUID
	copy(u[:], r.take(len(u)))
	return u
}

// length reads an unsigned varint that must be a length: 31 bits.
func (r *Reader) length() int {
	n := r.Uvarint()
	if n > math.MaxInt32 {
		r.malformed("length %d", n)
		return 0
	}
	return int(n)
}

// compactLen reads a compact length, -1 for null and after an error.
func (r *Reader) compactLen() int { return r.length() - 1 }

// ArrayLen reads the 32-bit count in front of an array, -1 for null, 0 after an
// error. minElementSize is the fewest bytes one element can take (at least 1 is
// assumed): a count that cannot fit into what remains is refused, so that a
// caller may allocate count elements at once.
func (r *Reader) ArrayLen(minElementSize int) int {
	return r.checkCount(int(r.Int32()), minElementSize)
}

// CompactArrayLen reads the compact count in front of an array; otherwise it does
// what ArrayLen does.
func (r *Reader) CompactArrayLen(minElementSize int) int {
	n := r.compactLen()
	if r.err != nil {
		return 0
	}
	return r.checkCount(n, minElementSize)
}

// checkCount returns n if that many elements can still follow.
func (r *Reader) checkCount(n, minElementSize int) int {
	switch {
	case n < -1:
		r.malformed("array of %d elements", n)
		return 0
	case n > r.Remaining()/max(minElementSize, 1):
		r.malformed("array of %d elements in %d bytes", n, r.Remaining())
		return 0
	}
	return n
}

// Tags reads a tagged-field section (KIP-482) and calls field for each one. Within
// the call the Reader ends where the field ends. What field leaves unread is
// skipped, so an unknown tag needs no care.
func (r *Reader) Tags(field func(tag uint32, r *Reader)) {
	n := r.Uvarint()
	for ; n > 0 && r.err == nil; n-- {
		tag := r.Uvarint()
		size := r.length()
		if size > r.Remaining() {
			r.Fail(ErrTruncated)
		}
		if r.err != nil {
			return
		}
		whole, end := r.b, r.off+size
		r.b = whole[:end]
		field(tag, r)
		if r.err == nil {
			r.b, r.off = whole, end
		}
	}
}

// SkipTags skips a tagged-field section.
func (r *Reader) SkipTags() {
	n := r.Uvarint()
	for ; n > 0 && r.err == nil; n-- {
		r.Uvarint()
		r.take(r.length())
	}
}
