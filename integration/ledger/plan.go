// Package ledger is the oracle of the integration tests: what was sent, what became of each record,
// and what independent readers then found in the log.
//
// A Plan numbers records: a stream is what one goroutine sends in order, a counter the place in it. Key, value and
// headers follow from these numbers alone, so two million records cost 32 bytes each to remember and every byte
// of them can be checked. A Ledger takes down sends and completions while the test runs. An Audit
// then reads the log's rows and compares. CheckBatches judges what lies on disk.
//
// The invariants carry the numbers of the reliability plan: I1 every acknowledged record is where it was reported,
// I2 none twice, I3 in send order, I4 completed exactly once and in time, I5 completed in send order,
// I7 no record that was reported as not written, I8 batches whole and sequences gapless.
package ledger

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
)

// IdentitySize is the least size of a value: "q1", run, stream and counter in hexadecimal.
const IdentitySize = 26

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Plan says which records a run consists of. It is read-only once the run began.
type Plan struct {
	Run       uint32 // tells this run's records from leftovers
	Streams   int
	PerStream int
	Keys      int // keys of each stream, used in turn; 0: records without a key
	ValueSize int // at least IdentitySize
	Headers   int // headers of each record
}

// Header is one header of a planned record.
type Header struct {
	Name  string
	Value []byte
}

// Records is the number of records of the whole plan.
func (p Plan) Records() int { return p.Streams * p.PerStream }

// AppendKey appends the key of a record; it appends nothing if the plan has no keys.
func (p Plan) AppendKey(dst []byte, stream, counter int) []byte {
	if p.Keys == 0 {
		return dst
	}
	dst = append(dst, "key-"...)
	dst = appendHex(dst, uint32(stream))
	dst = append(dst, '-')
	return appendHex(dst, uint32(counter%p.Keys))
}

// AppendValue appends the value of a record: its identity, then words that compress about as well as real text.
func (p Plan) AppendValue(dst []byte, stream, counter int) []byte {
	end := len(dst) + p.ValueSize
	dst = append(dst, "q1"...)
	dst = appendHex(dst, p.Run)
	dst = appendHex(dst, uint32(stream))
	dst = appendHex(dst, uint32(counter))
	state := uint64(stream)<<32 | uint64(counter) | 1<<63
	for len(dst) < end {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		dst = append(dst, words[state%uint64(len(words))]...)
	}
	return dst[:end]
}

// RecordHeaders returns the headers of a record, nil if the plan has none.
func (p Plan) RecordHeaders(stream, counter int) []Header {
	if p.Headers == 0 {
		return nil
	}
	headers := make([]Header, p.Headers)
	for i := range headers {
		headers[i] = Header{Name: fmt.Sprintf("h%d", i), Value: appendHex(nil, uint32(stream+counter+i))}
	}
	return headers
}

// Row is one record as a reader found it in the log. Contents are lengths and sums only:
// the plan knows the bytes.
type Row struct {
	Partition int32
	Offset    int64
	Timestamp int64 // milliseconds
	// Run, Stream and Counter are the identity in the value, each 0xffffffff if the value has none.
	Run, Stream, Counter uint32
	KeySize              int32 // -1: null
	KeySum               uint32
	ValueSize            int32 // -1: null
	ValueSum             uint32
	HeaderSum            uint32 // over name and value of each header, lengths included; 0 without headers
}

// RowSize is the size of a row as the Java helper writes it, big endian, in the order of the fields.
const RowSize = 52

// DecodeRow reads a row of RowSize bytes.
func DecodeRow(b []byte) Row {
	_ = b[RowSize-1]
	u := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	return Row{
		Partition: int32(u(0)),
		Offset:    int64(binary.BigEndian.Uint64(b[4:])),
		Timestamp: int64(binary.BigEndian.Uint64(b[12:])),
		Run:       u(20), Stream: u(24), Counter: u(28),
		KeySize: int32(u(32)), KeySum: u(36),
		ValueSize: int32(u(40)), ValueSum: u(44),
		HeaderSum: u(48),
	}
}

// NewRow makes a row of a record whose bytes are at hand. A nil key or value is null.
func NewRow(partition int32, offset, timestamp int64, key, value []byte, headers []Header) Row {
	r := Row{
		Partition: partition, Offset: offset, Timestamp: timestamp,
		KeySize: size(key), KeySum: sum(key), ValueSize: size(value), ValueSum: sum(value),
		HeaderSum: headerSum(headers),
	}
	r.Run, r.Stream, r.Counter = identity(value)
	return r
}

// size is the length of a part, -1 for null.
func size(b []byte) int32 {
	if b == nil {
		return -1
	}
	return int32(len(b))
}

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func headerSum(headers []Header) uint32 {
	var b []byte
	for _, h := range headers {
		b = binary.BigEndian.AppendUint32(b, uint32(len(h.Name)))
		b = append(b, h.Name...)
		b = binary.BigEndian.AppendUint32(b, uint32(size(h.Value)))
		b = append(b, h.Value...)
	}
	return sum(b)
}

// none stands for each number of a value without identity.
const none = ^uint32(0)

// identity reads run, stream and counter from a value.
func identity(value []byte) (run, stream, counter uint32) {
	if len(value) < IdentitySize || value[0] != 'q' || value[1] != '1' {
		return none, none, none
	}
	var n [3]uint32
	for i := range n {
		digits, err := strconv.ParseUint(string(value[2+8*i:10+8*i]), 16, 32)
		if err != nil {
			return none, none, none
		}
		n[i] = uint32(digits)
	}
	return n[0], n[1], n[2]
}

func appendHex(dst []byte, n uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, digits[n>>shift&15])
	}
	return dst
}

// words are printable and hold no white space but the blank, so that line-based readers can show values.
var words = [...]string{
	" order", " shipped", " pending", " 2026", " customer", " 17", " EUR", " total", " id", " berlin", " name",
	" x", " {}", " true", " quantity", " null", " 0.25", " reference", " warehouse", " a1b2",
}
