package null

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
)

// A record batch of magic 2 begins with
//
//	 0 base offset 8 | 8 length 4 | 12 leader epoch 4 | 16 magic 1 | 17 CRC 4 | 21 attributes 2 |
//	23 last offset delta 4 | 27 base timestamp 8 | 35 max timestamp 8 | 43 producer id 8 |
//	51 producer epoch 2 | 53 base sequence 4 | 57 record count 4 | 61 records
const batchHeaderSize = 61

// batchHeader is read by code of this package's own, not by the library's under test.
type batchHeader struct {
	length          int32
	magic           int8
	crc             uint32
	attributes      int16
	lastOffsetDelta int32
	producerID      int64
	epoch           int16
	sequence        int32
	records         int32
}

func parseBatchHeader(b []byte) batchHeader {
	u32 := func(at int) int32 { return int32(binary.BigEndian.Uint32(b[at:])) }
	return batchHeader{
		length: u32(8), magic: int8(b[16]), crc: uint32(u32(17)), attributes: int16(binary.BigEndian.Uint16(b[21:])),
		lastOffsetDelta: u32(23), producerID: int64(binary.BigEndian.Uint64(b[43:])),
		epoch: int16(binary.BigEndian.Uint16(b[51:])), sequence: u32(53), records: u32(57),
	}
}

// size of the whole batch; the length field counts what comes after itself.
func (h *batchHeader) size() int  { return int(h.length) + 12 }
func (h *batchHeader) codec() int { return int(h.attributes & 7) }

type topic struct {
	name       string // all read-only after newTopic, but for the atomics
	id         [16]byte
	partitions []partition

	requests atomic.Int64
	bytes    atomic.Int64
}

func newTopic(t Topic, number byte) *topic {
	nt := &topic{name: t.Name, partitions: make([]partition, t.Partitions)}
	nt.id[0], nt.id[15] = 0xaa, number
	return nt
}

// partition counts what was written to it.
type partition struct {
	mu sync.Mutex
	// +checklocks:mu
	counts counts
	// +checklocks:mu
	producers map[int64]*producer
}

// counts of one partition; those of a topic are their sums.
type counts struct {
	records, batches, batchBytes, idempotent int64
	duplicates, gaps                         int64
	badCRC, badCount, badPayload, decoded    int64
	codec                                    [8]int64
}

// producer is what a partition remembers of a producer id: what comes next.
type producer struct {
	epoch int16
	next  int32
	last  []written // the last batches, at most keptBatches; oldest first
}

type written struct {
	sequence, records int32
	offset            int64
}

// keptBatches is by how many batches a duplicate may be late and still get its offset, as in Kafka.
const keptBatches = 5

// count takes a batch in and returns the offset of its first record. Records of a duplicate are not
// counted again; after a gap the sequence goes on from there, so that one loss is one gap.
func (p *partition) count(h *batchHeader, size int) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := &p.counts
	n.batches++
	n.batchBytes += int64(size)
	n.codec[h.codec()]++
	if h.records <= 0 || h.lastOffsetDelta != h.records-1 {
		n.badCount++
	}
	offset := n.records
	if h.producerID >= 0 {
		n.idempotent++
		if at, duplicate := p.sequenceLocked(h, offset); duplicate {
			n.duplicates++
			return at
		}
	}
	n.records += int64(max(0, h.records))
	return offset
}

// +checklocks:p.mu
func (p *partition) sequenceLocked(h *batchHeader, offset int64) (at int64, duplicate bool) {
	w := p.producers[h.producerID]
	if w == nil {
		if p.producers == nil {
			p.producers = map[int64]*producer{}
		}
		w = &producer{epoch: h.epoch}
		p.producers[h.producerID] = w
	}
	if h.epoch != w.epoch {
		*w = producer{epoch: h.epoch}
	}
	if h.sequence != w.next {
		if behind(h.sequence, w.next) {
			i := slices.IndexFunc(w.last, func(l written) bool { return l.sequence == h.sequence && l.records == h.records })
			if i < 0 {
				return -1, true
			}
			return w.last[i].offset, true
		}
		p.counts.gaps++
	}
	w.next = addSequence(h.sequence, h.records)
	if len(w.last) == keptBatches {
		w.last = append(w.last[:0], w.last[1:]...)
	}
	w.last = append(w.last, written{h.sequence, h.records, offset})
	return offset, false
}

// addSequence counts on modulo 2^31, as producers do.
func addSequence(sequence, n int32) int32 { return int32((uint32(sequence) + uint32(n)) & 0x7fffffff) }

// behind reports whether a comes before b: by less than half of the sequence numbers.
func behind(a, b int32) bool { return (uint32(b)-uint32(a))&0x7fffffff < 1<<30 }

func (p *partition) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts, p.producers = counts{}, nil
}
