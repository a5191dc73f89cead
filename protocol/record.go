package protocol

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
)

// A record of magic 2 (KIP-98). All numbers but the attributes are zigzag varints;
// a length of -1 stands for null.
//
//	+--------+------------+-----------------+--------------+
//	| length | attributes | timestamp delta | offset delta |
//	| varint | int8, = 0  | varlong         | varint       |
//	+--------+--+---------+-+---------------+---+----------+--+
//	| key length | key bytes | value length    | value bytes |
//	| varint     |           | varint          |             |
//	+------------+-+---------+--------+--------+--------+-----+-------+
//	| header count | key length | key | value length | value | ... |
//	| varint       | varint     |     | varint       |       |     |
//	+--------------+------------+-----+--------------+-------+-----+
//
// The length counts the bytes behind itself. The deltas are relative to the base
// timestamp and base offset of the batch.

// Header is one header of a record (KIP-82). A nil Value is null, which differs
// from an empty one. Keys may repeat.
type Header struct {
	Key   string
	Value []byte
}

// maxRecordOverhead is what a record takes besides key, value and headers, at most:
// 5 bytes length, 1 attributes, 10 timestamp delta, 5 offset delta.
const maxRecordOverhead = 21

// minRecordSize and minHeaderSize are the fewest bytes a record and a header take.
const (
	minRecordSize = 7
	minHeaderSize = 2
)

// RecordSize returns the number of bytes AppendRecord adds for the same
// arguments, its leading length included.
func RecordSize(offsetDelta int32, timestampDelta int64, key, value []byte, headers []Header) int {
	offset, timestamp := uint64(zigzag32(offsetDelta)), zigzag64(timestampDelta)
	if (offset|timestamp)>>14 == 0 && uint(len(key)) <= 63 && uint(len(value)) <= 8000 && len(headers) == 0 {
		// As in AppendRecord: comparisons that are nearly always true are cheaper
		// than counting bits.
		n := 6 + len(key) + len(value)
		if offset >= 0x80 {
			n++
		}
		if timestamp >= 0x80 {
			n++
		}
		if len(value) >= 0x40 {
			n++
		}
		if n >= 0x40 {
			n++
		}
		return n + 1
	}
	body := bodySize(offset, timestamp, key, value, headers)
	return UvarintSize(uint64(body)<<1) + body
}

// MaxRecordSize returns an upper bound of RecordSize over all deltas. Size checks
// use it before the position in a batch is known. Kafka: DefaultRecord.recordSizeUpperBound.
func MaxRecordSize(key, value []byte, headers []Header) int {
	return maxRecordOverhead + payloadSize(key, value) + headersSize(headers)
}

// bodySize returns the size of a record without its leading length; the deltas are
// in zigzag form.
func bodySize(offset, timestamp uint64, key, value []byte, headers []Header) int {
	n := 2 + UvarintSize(offset) + UvarintSize(timestamp) + payloadSize(key, value)
	if len(headers) == 0 {
		return n
	}
	return n - 1 + headersSize(headers)
}

// payloadSize returns the size of key and value with their lengths. The length of nil is -1, one
// byte, as is that of an empty slice.
func payloadSize(key, value []byte) int {
	return UvarintSize(uint64(len(key))<<1) + len(key) + UvarintSize(uint64(len(value))<<1) + len(value)
}

// headersSize returns the size of the header count and all headers.
func headersSize(headers []Header) int {
	n := UvarintSize(uint64(len(headers)) << 1)
	for i := range headers {
		h := &headers[i]
		n += UvarintSize(uint64(len(h.Key))<<1) + len(h.Key) + UvarintSize(uint64(len(h.Value))<<1) + len(h.Value)
	}
	return n
}

// AppendRecord appends one encoded record to dst and returns it. A nil key or
// value is null. dst grows at most once, and not at all if its capacity suffices.
// The caller keeps the whole record under 2 GiB.
func AppendRecord(dst []byte, offsetDelta int32, timestampDelta int64, key, value []byte, headers []Header) []byte {
	WriteRecord(&dst, offsetDelta, timestampDelta, key, value, headers)
	return dst
}

// WriteRecord appends one encoded record to *dst, as AppendRecord does to dst. With a pointer instead
// of a slice, all arguments but the headers fit into registers.
//
// This is the hottest code of the library. The usual record has no headers, a
// short key and small deltas: everything before the key's length then fits into
// eight bytes, which are put together in a register and stored at once. The rest of
// such a record overwrites the surplus bytes of that store; a value of two bytes or
// more is long enough for that. All other records are left to appendAnyRecord.
func WriteRecord(dst *[]byte, offsetDelta int32, timestampDelta int64, key, value []byte, headers []Header) {
	offset, timestamp := uint64(zigzag32(offsetDelta)), zigzag64(timestampDelta)
	if offset>>21|timestamp>>14 != 0 || uint(len(key)) > 63 || uint(len(value)-2) > 8000 || len(headers) != 0 ||
		cap(*dst)-len(*dst) < len(key)+len(value)+smallOverhead {
		*dst = appendAnyRecord(*dst, offset, timestamp, key, value, headers)
		return
	}
	// From the back, so that everything moves by constants.
	word, n := offset, uint(1)
	switch {
	case offset >= 1<<14: // a batch of 1 MB has more than 8,192 records of 100 bytes
		word, n = offset&0x7f|offset>>7&0x7f<<8|offset>>14<<16|0x8080, 3
	case offset >= 1<<7:
		word, n = twoBytes(offset), 2
	}
	if timestamp < 1<<7 {
		word, n = word<<8|timestamp, n+1
	} else {
		word, n = word<<16|twoBytes(timestamp), n+2
	}
	valueLen, valueLenSize := uint64(len(value))<<1, uint(1)
	if valueLen >= 1<<7 {
		valueLen, valueLenSize = twoBytes(valueLen), 2
	}
	body := n + uint(len(key)) + uint(len(value)) + valueLenSize + 3
	size := body + 1
	if body < 1<<6 {
		word, n = word<<16|uint64(body)<<1, n+2 // a byte of attributes between: none are in use
	} else {
		word, n, size = word<<24|twoBytes(uint64(body)<<1), n+3, body+2
	}
	start := uint(len(*dst))
	*dst = (*dst)[:start+size]
	b := (*dst)[start:]
	binary.LittleEndian.PutUint64(b, word)
	keyLen := byte(len(key) << 1)
	if key == nil {
		keyLen = 1 // -1 in zigzag form
	}
	b[n] = keyLen
	n++
	if len(key) != 0 {
		n += uint(copy(b[n:], key))
	}
	binary.LittleEndian.PutUint16(b[n:], uint16(valueLen))
	copy(b[n+valueLenSize:], value)
	b[len(b)-1] = 0 // no headers
}

// twoBytes returns the varint form of 2^7 <= v < 2^14, lowest byte first.
func twoBytes(v uint64) uint64 { return v&0x7f | 0x80 | v>>7<<8 }

// smallOverhead is what a record of WriteRecord's fast path takes besides key and
// value, at most: eight bytes and the key's length, two of the value's length,
// one header count.
const smallOverhead = 12

// appendAnyRecord appends any record, as AppendRecord does; the deltas are in
// zigzag form.
func appendAnyRecord(dst []byte, offset, timestamp uint64, key, value []byte, headers []Header) []byte {
	body := bodySize(offset, timestamp, key, value, headers)
	start := len(dst)
	size := UvarintSize(uint64(body)<<1) + body
	if cap(dst)-start < size {
		dst = slices.Grow(dst, size)
	}
	dst = dst[:start+size]
	b := dst[start:]

	i := putUvarint(b, 0, uint64(body)<<1)
	b[i] = 0 // attributes
	i = putUvarint(b, i+1, timestamp)
	i = putUvarint(b, i, offset)
	i = putPart(b, i, key)
	i = putPart(b, i, value)
	putHeaders(b, i, headers)
	return dst
}

// putHeaders writes the header count and the headers at b[i].
func putHeaders(b []byte, i int, headers []Header) {
	i = putUvarint(b, i, uint64(len(headers))<<1)
	for j := range headers {
		h := &headers[j]
		i = putUvarint(b, i, uint64(len(h.Key))<<1)
		i += copy(b[i:], h.Key)
		i = putPart(b, i, h.Value)
	}
}

// putPart writes the length and the bytes of p at b[i], -1 for nil.
func putPart(b []byte, i int, p []byte) int {
	if p == nil {
		b[i] = 1 // -1 in zigzag form
		return i + 1
	}
	i = putUvarint(b, i, uint64(len(p))<<1)
	return i + copy(b[i:], p)
}

// putUvarint writes v at b[i] and returns the position behind it.
func putUvarint(b []byte, i int, v uint64) int {
	for v >= 0x80 {
		b[i] = byte(v) | 0x80
		v >>= 7
		i++
	}
	b[i] = byte(v)
	return i + 1
}

// Record is one decoded record. Key, Value and the header values alias the
// input; nil is null.
type Record struct {
	Attributes     int8
	OffsetDelta    int32
	TimestampDelta int64
	Key, Value     []byte
	Headers        []Header
}

// ReadRecord reads one record. Its error is the Reader's, so it sticks. It
// allocates for headers only, after a check of their count against what remains.
func ReadRecord(r *Reader) (Record, error) {
	size := int(r.Varint())
	switch {
	case r.err != nil:
		return Record{}, r.err
	case size < 0:
		r.malformed("record length %d", size)
		return Record{}, r.err
	case size > r.Remaining():
		r.Fail(fmt.Errorf("record of %d bytes in %d: %w", size, r.Remaining(), ErrTruncated))
		return Record{}, r.err
	}
	// Within the body the Reader ends where the record ends.
	whole, end := r.b, r.off+size
	r.b = whole[:end]
	rec := Record{
		Attributes:     r.Int8(),
		TimestampDelta: r.Varlong(),
		OffsetDelta:    r.Varint(),
		Key:            r.varintBytes(),
		Value:          r.varintBytes(),
		Headers:        r.headers(),
	}
	if r.off != len(r.b) {
		r.malformed("%d bytes behind a record", r.Remaining())
	}
	if r.err != nil {
		return Record{}, r.err
	}
	r.b = whole
	return rec, nil
}

// headers reads the headers of a record, nil for none.
func (r *Reader) headers() []Header {
	n := int(r.Varint())
	if n < 0 || n > r.Remaining()/minHeaderSize {
		r.malformed("%d headers in %d bytes", n, r.Remaining())
		return nil
	}
	if n == 0 {
		return nil
	}
	headers := make([]Header, 0, n)
	for ; n > 0 && r.err == nil; n-- {
		key := r.varintBytes()
		if key == nil {
			r.malformed("null header key")
			return nil
		}
		headers = append(headers, Header{Key: string(key), Value: r.varintBytes()})
	}
	return headers
}

// varintBytes reads bytes with a varint length, nil for -1 and after an error.
func (r *Reader) varintBytes() []byte {
	n := int(r.Varint())
	if n < 0 {
		if n != -1 {
			r.malformed("length %d", n)
		}
		return nil
	}
	return r.take(n)
}

// Records walks an uncompressed records section of count records. It ends with an
// error, as the last pair, if a record is malformed, if there are fewer than
// count, or if bytes remain behind the last. The records alias section.
func Records(section []byte, count int32) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		r := NewReader(section)
		if count < 0 || int(count) > len(section)/minRecordSize {
			r.malformed("%d records in %d bytes", count, len(section))
			yield(Record{}, r.err)
			return
		}
		for range count {
			rec, err := ReadRecord(&r)
			if !yield(rec, err) || err != nil {
				return
			}
		}
		if r.Remaining() > 0 {
			r.malformed("%d bytes behind the last of %d records", r.Remaining(), count)
			yield(Record{}, r.err)
		}
	}
}
