package message

import (
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/quill-kafka/quill/protocol"
)

// What Decode may allocate: a multiple of the input and a little on top. The structs are larger than the
// bytes that they are made of, up to twice in honest answers of any size (a topic with one partition).
// Elements that are empty could make it eight times; an answer full of them is refused.
const (
	memoryPerByte = 2
	memoryAtLeast = 1<<20 - 64<<10 // together with what is not counted, less than a MiB
	// memoryPerAsked is what each topic and partition that was asked for may take in any case: with short names
	// and in old versions an answer about many topics with one partition each goes beyond twice its size.
	memoryPerAsked = 256
)

// decoder reads one message: the reader and what all structs of the message
// need to know.
type decoder struct {
	*protocol.Reader
	version  int16
	flexible bool // compact lengths and tagged fields (KIP-482)
	memory   int  // bytes that may still be allocated
	skipping bool // values are read and dropped
	asked    Asked
	lists    map[string]*Int32s // by their bytes; nil until there is one
}

func newDecoder(r *protocol.Reader, version int16, flexible bool, asked Asked) decoder {
	return decoder{Reader: r, version: version, flexible: flexible, asked: asked,
		memory: max(memoryPerByte*r.Remaining()+memoryAtLeast, memoryPerAsked*(asked.Topics+asked.Partitions))}
}

// spend takes n values of the given size from the memory that may still be
// allocated. If that is too little, it fails the reader and returns false.
func (d *decoder) spend(n int, size uintptr) bool {
	if n > d.memory/int(max(size, 1)) {
		d.Fail(fmt.Errorf("%w: too many small elements", protocol.ErrMalformed))
		return false
	}
	d.memory = max(d.memory-blockSize(n*int(size)), 0)
	return true
}

// blockSize returns about how much the allocator takes for n bytes.
func blockSize(n int) int {
	switch {
	case n < 16:
		return n // put together with others
	case n <= 32:
		return (n + 7) &^ 7
	case n <= 256:
		return (n + 15) &^ 15
	case n <= 32<<10:
		return n + n/10
	}
	return n + 8<<10 // whole pages
}

func (d *decoder) string() (s string) {
	if d.skipping && d.flexible {
		_ = d.CompactBytes() // no copy
		return ""
	}
	if d.flexible {
		s = d.CompactString()
	} else {
		s = d.String()
	}
	d.spend(len(s), 1)
	return s
}

// stringPointer reads a string that other versions allow to be null.
func (d *decoder) stringPointer() *string {
	s := d.string()
	if s == "" || !d.spend(1, reflect.TypeFor[string]().Size()) {
		return &empty
	}
	return new(s)
}

// empty is the string that all pointers to an empty string point to. It must not be changed.
var empty string

func (d *decoder) nullableString() (s *string) {
	if d.skipping && d.flexible {
		_ = d.CompactNullableBytes()
		return nil
	}
	if d.flexible {
		s = d.CompactNullableString()
	} else {
		s = d.NullableString()
	}
	if s != nil && *s != "" {
		d.spend(1, reflect.TypeFor[string]().Size())
		d.spend(len(*s), 1)
	}
	return s
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

// boundedArray reads like array, but returns at most surplus elements more than were asked for; zero asked means no
// bound. rest is how many elements follow, for skip.
func boundedArray[T any](d *decoder, s []T, least, asked int) (_ []T, rest int) {
	n := d.arrayLen(least)
	if n < 0 {
		d.Fail(fmt.Errorf("%w: null array", protocol.ErrMalformed))
		return nil, 0
	}
	if limit := asked + surplus; asked > 0 && n > limit {
		n, rest = limit, n-limit
	}
	return elements(d, s, n), rest
}

// surplus is how many elements that were not asked for an answer may have before they are skipped, so
// that what was asked for is found behind a few others.
const surplus = 16

// skip reads n elements that were not asked for and drops them, so that the rest of the answer counts. It copies nothing
// if the caller sets d.skipping.
// It has to be small enough for the compiler to inline, or each decoder would be on the heap.
func skip(d *decoder, n int, into interface{ decode(*decoder) }) {
	for range n {
		if d.Err() != nil {
			return
		}
		into.decode(d)
	}
}

// nullableArray reads like array, but allows null, for which alone it returns nil.
func nullableArray[T any](d *decoder, s []T, least int) []T {
	n := d.arrayLen(least)
	if n < 0 {
		return nil
	}
	return elements(d, s, n)
}

func (d *decoder) arrayLen(least int) int {
	if d.flexible {
		return d.CompactArrayLen(least)
	}
	return d.ArrayLen(least)
}

// elements returns s with n elements, none if they take more memory than may be allocated.
func elements[T any](d *decoder, s []T, n int) []T {
	if n > cap(s) && !d.spend(n, reflect.TypeFor[T]().Size()) {
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

// Int32s is a list of numbers that many elements of an answer have in common, like the replicas of
// partitions: Decode keeps one copy of each. nil is the empty list. A list is not changed.
type Int32s []int32

// List returns the list.
func (l *Int32s) List() []int32 {
	if l == nil {
		return nil
	}
	return *l
}

// sharedInt32s reads a list of numbers.
func (d *decoder) sharedInt32s() *Int32s {
	n := d.arrayLen(int32Size)
	if n < 0 {
		d.Fail(fmt.Errorf("%w: null array", protocol.ErrMalformed))
	}
	if n <= 0 {
		return nil
	}
	rest := *d.Reader
	raw := rest.Rest()[:n*int32Size]
	for range n {
		d.Int32()
	}
	if d.skipping {
		return nil
	}
	if l := d.lists[string(raw)]; l != nil {
		return l
	}
	if !d.spend(1, listSize) || !d.spend(2*len(raw), 1) { // the list, and its bytes as the key
		return nil
	}
	l := make(Int32s, n)
	for i := range l {
		l[i] = int32(binary.BigEndian.Uint32(raw[i*int32Size:]))
	}
	if d.lists == nil {
		d.lists = make(map[string]*Int32s)
	}
	d.lists[string(raw)] = &l
	return &l
}

const (
	int32Size = 4
	// listSize is about what a list costs besides its numbers: its header, and its place in a map that grows.
	listSize = 24 + 8*24
)
