package quill

import (
	"math"

	"github.com/quill-kafka/quill/internal/invariant"
	"github.com/quill-kafka/quill/internal/prefetch"
	"github.com/quill-kafka/quill/protocol"
)

// openBatch is the part of a partition's open batch that an append reads and changes. It is stored in the
// partition's queue, beside its lock, and copied to the batch when that is closed.
//
// This is for producers with many partitions. With a thousand of them, each record needs memory that is in no
// processor's cache, and its cost is the number of places that have to be fetched one after the other
// before it is written: the queue, then the batch, then its result. So the three are in one place.
type openBatch struct {
	batch *batch // nil: none is open
	res   *result

	chunk  []byte // the last chunk, up to the last byte written
	before int32  // bytes of records in the chunks before it, less the room for the header in the first one
	sumDue int32  // the length of chunk at which its next piece is added to sum; never: the records will be compressed

	meta      []recordMeta // one per record
	last      Callback     // of the last record
	baseTime  int64
	maxTime   int64
	largest   int32 // upper bound of the size of its largest record
	sticky    bool  // it has records of the sticky partitioner
	hasFuture bool  // a Future may read the result
	sum       recordSum
}

const never = math.MaxInt32

// recordSum is the check sum of a batch's records as far as it was taken while they were written: reading them again for
// it when the batch is sealed costs three times as much, because a large batch has left the cache by then.
type recordSum struct {
	crc   uint32 // CRC-32C of the first bytes
	bytes int32  // how many bytes
}

// sumPiece is how many bytes are summed at a time: what hash/crc32 is quickest with on amd64, and small enough to be in
// the nearest cache still.
const sumPiece = 3 * 1344

func (s *recordSum) add(p []byte) {
	s.crc = protocol.CRC32C(s.crc, p)
	s.bytes += int32(len(p))
}

// begin makes b, which has no records yet, the open batch. compressed says that its records will be compressed, which
// makes a sum of them as they are useless.
func (o *openBatch) begin(b *batch, compressed bool) {
	*o = openBatch{batch: b, res: b.res, chunk: b.chunks[0][:protocol.BatchOverhead], before: -protocol.BatchOverhead,
		meta: b.res.meta, baseTime: b.baseTime, maxTime: b.maxTime, hasFuture: b.res.hasFuture, sumDue: protocol.BatchOverhead + sumPiece}
	if compressed {
		o.sumDue = never
	}
}

// raw returns the length of the records section.
func (o *openBatch) raw() int { return int(o.before) + len(o.chunk) }

// size returns the largest size that the batch could have if it were sent now.
func (o *openBatch) size() int { return protocol.BatchOverhead + o.raw() }

// free returns the number of bytes that are free in the last chunk.
func (o *openBatch) free() int { return cap(o.chunk) - len(o.chunk) }

// latest returns the position of the last record.
func (o *openBatch) latest() position { return position{o.res, int32(len(o.meta)) - 1} }

// tryAdd adds the record if there is room. For the first record there always is: its chunk was allocated for it.
func (o *openBatch) tryAdd(in *appendInput, timestamp int64, lim *batchLimits, ratio *ratioEstimate) appended {
	records := len(o.meta)
	size := protocol.RecordSize(int32(records), timestamp-o.baseTime, in.record.Key, in.record.Value, in.record.Headers)
	if records > 0 && !lim.room(o.raw(), size, ratio) {
		return appendFull
	}
	if o.free() < size {
		if records == 0 || lim.nextChunk(o.batch, size) == 0 {
			return appendFull
		}
		return appendNeedChunk
	}
	o.largest = max(o.largest, int32(in.maxSize))
	o.add(timestamp, &in.record, in.callback)
	o.hasFuture = o.hasFuture || in.hasFuture
	return appendDone
}

// appended is what tryAdd reports.
type appended uint8

const (
	appendDone      appended = iota // the record is in the batch
	appendFull                      // no room: the batch has to be closed
	appendNeedChunk                 // the batch may grow, by another chunk
)

// add writes the record, for which there must be room. Consecutive records with the same func value (the
// usual case: one callback for all) share one entry in runs.
func (o *openBatch) add(timestamp int64, r *bytesRecord, fn Callback) {
	records := int32(len(o.meta))
	whole := cap(o.chunk)
	protocol.WriteRecord(&o.chunk, records, timestamp-o.baseTime, r.Key, r.Value, r.Headers)
	invariant.Check(cap(o.chunk) == whole, "a record went beyond its chunk")
	if timestamp > o.maxTime { // rarely: the clock ticks in milliseconds
		o.maxTime = timestamp
	}
	if !sameFunc(o.last, fn) {
		o.last = fn
		o.res.runs = append(o.res.runs, callbackRun{fn, records})
	}
	o.meta = append(o.meta, recordMeta{timestamp, partSize(r.Key), partSize(r.Value)})
	if len(o.chunk) >= int(o.sumDue) {
		o.sumPieces()
	}
}

// sumPieces adds to the check sum what was written, in whole pieces.
func (o *openBatch) sumPieces() {
	from := int(o.sum.bytes - o.before)
	n := (len(o.chunk) - from) / sumPiece * sumPiece
	o.sum.add(o.chunk[from : from+n])
	o.sumDue += int32(n)
}

// prefetchNext prefetches the cache lines that the next record will be written to.
func (o *openBatch) prefetchNext() {
	prefetch.Following(&o.chunk[len(o.chunk)-1])
	if n := len(o.meta); n%metaLine == 0 && n < cap(o.meta) {
		prefetch.Word(&o.meta[:n+1][n].timestamp)
	}
}

// metaLine is the number of recordMeta in a cache line.
const metaLine = 4

// grow adds a chunk to the batch.
func (o *openBatch) grow(chunk []byte) {
	b := o.batch
	if o.sumDue != never {
		o.sum.add(o.chunk[o.sum.bytes-o.before:])
		o.sumDue = sumPiece
	}
	b.chunks[len(b.chunks)-1] = o.chunk
	b.chunks = append(b.chunks, chunk)
	b.heldBytes += int64(cap(chunk))
	o.before += int32(len(o.chunk))
	o.chunk = chunk[:0]
}

// close freezes the batch and copies to it what was appended.
func (o *openBatch) close() {
	b := o.batch
	b.closed = true
	b.chunks[len(b.chunks)-1] = o.chunk
	b.raw, b.plain, b.records, b.maxTime, b.sum = o.raw(), o.raw(), int32(len(o.meta)), o.maxTime, o.sum
	b.largest = o.largest
	b.res.meta, b.res.hasFuture = o.meta, o.hasFuture
	*o = openBatch{}
}
