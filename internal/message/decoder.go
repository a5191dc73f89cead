package message

import (
	"fmt"
	"reflect"

	"github.com/quill-kafka/quill/protocol"
)

// What Decode may allocate for arrays and nullable strings: a multiple of the
// input and a little on top. The struct of a short element is larger than its
// bytes, up to six times in honest answers (a topic with a short name and one
// partition without replicas). Elements that are empty could make it twenty
// times; a frame full of them is refused.
const (
	memoryPerByte = 8
	memoryAtLeast = 64 << 10
)

// decoder reads one message: the reader and what all structs of the message
// need to know.
type decoder struct {
	*protocol.Reader
	version  int16
	flexible bool // compact lengths and tagged fields (KIP-482)
	memory   int  // bytes that may still be allocated
}

func newDecoder(r *protocol.Reader, version int16, flexible bool) decoder {
	return decoder{r, version, flexible, memoryPerByte*r.Remaining() + memoryAtLeast}
}

// spend takes n values of the given size from the memory. If that is more than
// there is, it fails and returns false.
func (d *decoder) spend(n int, size uintptr) bool {
	if n > d.memory/int(max(size, 1)) {
		d.Fail(fmt.Errorf("%w: too many small elements", protocol.ErrMalformed))
		return false
	}
	d.memory -= n * int(size)
	return true
}

func (d *decoder) string() string {
	if d.flexible {
		return d.CompactString()
	}
	return d.String()
}

func (d *decoder) nullableString() *string {
	if !d.spend(1, reflect.TypeFor[string]().Size()) {
		return nil
	}
	if d.flexible {
		return d.CompactNullableString()
	}
	return d.NullableString()
}

func (d *decoder) bytes() []byte {
	if d.flexible {
		return d.CompactBytes()
	}
	return d.Bytes()
}

func (d *decoder) nullableBytes() []byte {
	if d.flexible {
		return d.CompactNullableBytes()
	}
	return d.NullableBytes()
}

// array reads the length of an array that is not null and returns s with that
// many elements. Elements within the capacity of s stay, so that they can use
// their own slices again. least is the smallest size of an element, so that a
// length is refused if that many elements cannot follow.
func array[T any](d *decoder, s []T, least int) []T {
	s = nullableArray(d, s, least)
	if s == nil {
		d.Fail(fmt.Errorf("%w: null array", protocol.ErrMalformed))
	}
	return s
}

// nullableArray is array where null is allowed; it is nil, and only it.
func nullableArray[T any](d *decoder, s []T, least int) []T {
	var n int
	if d.flexible {
		n = d.CompactArrayLen(least)
	} else {
		n = d.ArrayLen(least)
	}
	switch {
	case n < 0:
		return nil
	case n > cap(s) && !d.spend(n, reflect.TypeFor[T]().Size()):
		n = 0
	}
	return resize(s, n)
}

// resize returns a slice of n elements, never nil: s with what its capacity
// holds, or a larger one that begins with it.
func resize[T any](s []T, n int) []T {
	if s != nil && n <= cap(s) {
		return s[:n]
	}
	grown := make([]T, n)
	copy(grown, s[:cap(s)])
	return grown
}
