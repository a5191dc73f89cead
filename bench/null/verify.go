package null

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kgo"
)

// decodeOneIn is of how many batches of a connection and codec one is decoded, beginning with the first.
// The CRC of each is checked. To decode all would cost more CPU than the fastest producer has left.
const decodeOneIn = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// verifier looks at whole batches: CRC-32C, and whether the records are there that the header
// promises. A count by headers alone once believed a producer that compressed nothing at all.
type verifier struct {
	d    kgo.Decompressor
	seen [8]int64 // batches by codec
}

// check verifies a batch of p and counts what is wrong with it.
func (v *verifier) check(p *partition, h *batchHeader, header, payload []byte) {
	var found counts
	crc := crc32.Update(crc32.Checksum(header[21:batchHeaderSize], castagnoli), castagnoli, payload)
	if crc != h.crc {
		found.badCRC = 1
	}
	codec := h.codec()
	v.seen[codec]++
	if v.seen[codec]%decodeOneIn == 1 {
		found.decoded = 1
		switch n, ok := v.records(codec, payload); {
		case !ok:
			found.badPayload = 1
		case n != h.records:
			found.badCount = 1
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := &p.counts
	n.badCRC += found.badCRC
	n.badCount += found.badCount
	n.badPayload += found.badPayload
	n.decoded += found.decoded
}

// records counts the records in a payload, and checks that their offsets count up from 0 and that
// each is exactly as long as it says.
func (v *verifier) records(codec int, payload []byte) (n int32, ok bool) {
	if codec != 0 {
		if v.d == nil {
			v.d = kgo.DefaultDecompressor()
		}
		plain, err := v.d.Decompress(payload, kgo.CompressionCodecType(codec))
		if err != nil {
			return 0, false
		}
		payload = plain
	}
	for ; len(payload) > 0; n++ {
		size, m := binary.Varint(payload)
		if m <= 0 || size < 0 || size > int64(len(payload)-m) {
			return 0, false
		}
		if !recordOK(payload[m:m+int(size)], n) {
			return 0, false
		}
		payload = payload[m+int(size):]
	}
	return n, true
}

// recordOK walks one record: attributes, timestamp delta, offset delta, key, value, headers.
func recordOK(b []byte, offset int32) bool {
	ok := len(b) > 0
	varint := func() int64 {
		v, m := binary.Varint(b)
		if m <= 0 {
			ok, b = false, nil
			return 0
		}
		b = b[m:]
		return v
	}
	part := func() {
		n := max(0, varint()) // -1 is null
		if n > int64(len(b)) {
			ok, b = false, nil
			return
		}
		b = b[n:]
	}
	if ok {
		b = b[1:]
	}
	varint()
	ok = ok && varint() == int64(offset)
	part()
	part()
	for range max(0, varint()) {
		part()
		if part(); !ok {
			return false
		}
	}
	return ok && len(b) == 0
}
