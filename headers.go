package quill

import (
	"iter"
	"slices"
)

// Headers are the headers of a record in order. A key may occur more than once. It is a slice:
// range over it and index it; the methods do the rest. Like a slice, it must not be changed concurrently.
//
// Kafka: Headers. There they are read-only once the record was sent; here the producer has encoded
// them by then, and changing the slice later has no effect on the record.
type Headers []Header

// Add appends a header. A nil value is Kafka's null. If other records share the slice, clone it before
// (slices.Clone): append may write into memory that they share.
func (h *Headers) Add(key string, value []byte) { *h = append(*h, Header{Key: key, Value: value}) }

// Remove takes out all headers with the key. The slice that h was before is not changed.
func (h *Headers) Remove(key string) {
	if _, ok := h.Last(key); !ok {
		return
	}
	*h = slices.DeleteFunc(slices.Clone(*h), func(e Header) bool { return e.Key == key })
}

// Last is the last header with the key; ok is false if there is none.
func (h *Headers) Last(key string) (header Header, ok bool) {
	for _, e := range slices.Backward(*h) {
		if e.Key == key {
			return e, true
		}
	}
	return Header{}, false
}

// All walks the headers with the key in order.
func (h *Headers) All(key string) iter.Seq[Header] {
	return func(yield func(Header) bool) {
		for _, e := range *h {
			if e.Key == key && !yield(e) {
				return
			}
		}
	}
}
