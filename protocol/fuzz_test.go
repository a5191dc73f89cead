package protocol

import (
	"encoding/binary"
	"runtime"
	"testing"
	"unsafe"
)

// allocated returns the bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzReader lets a script of one byte a step choose what is read from the rest:
// no panic, and no more memory than four times the input and a little.
func FuzzReader(f *testing.F) {
	script := make([]byte, 40)
	for i := range script {
		script[i] = byte(i)
	}
	f.Add(script, everything())
	f.Add([]byte{27, 28, 29, 30}, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, script, input []byte) {
		script = script[:min(len(script), 200)]
		n := allocated(func() {
			r := NewReader(input)
			left := r.Remaining()
			for _, op := range script {
				readOne(&r, op)
				if r.Remaining() > left || (r.Err() != nil && r.Remaining() != 0) {
					t.Fatalf("%d bytes remain after %d, error %v", r.Remaining(), left, r.Err())
				}
				left = r.Remaining()
			}
		})
		if limit := uint64(4*len(input) + 64<<10); n > limit {
			t.Fatalf("%d bytes allocated for %d", n, len(input))
		}
	})
}

// readOne reads one primitive. Arrays are made as a decoder would make them.
func readOne(r *Reader, op byte) {
	reads := [...]func(){
		func() { r.Bool() }, func() { r.Int8() }, func() { r.Int16() }, func() { r.Int32() }, func() { r.Int64() },
		func() { r.Uint16() }, func() { r.Uint32() }, func() { r.Float64() }, func() { r.Uvarint() }, func() { r.Uvarlong() },
		func() { r.Varint() }, func() { r.Varlong() }, func() { _ = r.String() }, func() { r.NullableString() },
		func() { r.CompactString() }, func() { r.CompactNullableString() }, func() { r.Bytes() }, func() { r.NullableBytes() },
		func() { r.CompactBytes() }, func() { r.CompactNullableBytes() }, func() { r.UUID() },
		func() { readArray(r, r.ArrayLen(4)) }, func() { readArray(r, r.CompactArrayLen(4)) },
		func() { r.Tags(func(_ uint32, r *Reader) { r.Int32() }) }, func() { r.SkipTags() },
	}
	reads[int(op)%len(reads)]()
}

func readArray(r *Reader, n int) {
	elements := make([]int32, 0, max(n, 0))
	for range n {
		elements = append(elements, r.Int32())
	}
	runtime.KeepAlive(elements)
}

// FuzzRecords reads what it is given as a batch and as a records section. What a
// record is made of beyond its bytes are the Header structs, which a hostile
// section can have one of for every two bytes; they are counted apart.
func FuzzRecords(f *testing.F) {
	for name := range goldens() {
		f.Add(goldenBatch(f, name), int32(3))
	}
	f.Add(append(binary.AppendVarint(nil, 90), fields(-1, -1, 40)[2:]...), int32(1))
	f.Fuzz(func(t *testing.T, input []byte, count int32) {
		headers, records, ended := 0, 0, false
		n := allocated(func() {
			section := input
			if h, err := ReadBatchHeader(input); err == nil {
				section, count = input[BatchOverhead:h.Size()], h.Count
				_ = h.LastSequence() + int32(h.Codec())
				BatchCRC(input[:h.Size()])
			}
			for rec, err := range Records(section, count) {
				if ended {
					t.Fatal("a pair behind the error")
				}
				ended = err != nil
				records++
				headers += len(rec.Headers)
			}
		})
		// A record that fails half-way has made its headers too.
		limit := uint64(4*len(input)+64<<10) + uint64(headers)*uint64(unsafe.Sizeof(Header{}))
		if ended {
			limit += uint64(len(input)/minHeaderSize) * uint64(unsafe.Sizeof(Header{}))
		}
		if n > limit {
			t.Fatalf("%d bytes allocated for %d, %d records, %d headers", n, len(input), records, headers)
		}
	})
}

// FuzzRecordRoundTrip writes any record and reads it back.
func FuzzRecordRoundTrip(f *testing.F) {
	f.Add(int32(0), int64(0), []byte("key"), []byte("value"), "header", []byte("x"), uint8(0))
	f.Add(int32(64), int64(-9000), []byte{}, make([]byte, 8002), "", []byte{}, uint8(7))
	f.Fuzz(func(t *testing.T, offset int32, timestamp int64, key, value []byte, header string, headerValue []byte, kind uint8) {
		if kind&1 != 0 {
			key = nil
		}
		if kind&2 != 0 {
			value = nil
		}
		var headers []Header
		if kind&4 != 0 {
			headers = []Header{{header, headerValue}, {header, nil}}
		}
		b := AppendRecord(nil, offset, timestamp, key, value, headers)
		if want := plainRecord(offset, timestamp, key, value, headers); string(want) != string(b) {
			t.Fatalf("wrote %x, not %x", b, want)
		}
		if len(b) != RecordSize(offset, timestamp, key, value, headers) || len(b) > MaxRecordSize(key, value, headers) {
			t.Fatal("size is wrong")
		}
		r := NewReader(b)
		rec, err := ReadRecord(&r)
		if err != nil || r.Remaining() != 0 || rec.OffsetDelta != offset || rec.TimestampDelta != timestamp ||
			string(rec.Key) != string(key) || string(rec.Value) != string(value) || len(rec.Headers) != len(headers) ||
			(rec.Key == nil) != (key == nil) || (rec.Value == nil) != (value == nil) {
			t.Fatalf("read %+v, %v", rec, err)
		}
	})
}
