package quill

import (
	"github.com/quill-kafka/quill/internal/invariant"
	"github.com/quill-kafka/quill/internal/prefetch"
	"github.com/quill-kafka/quill/protocol"
)

// openBatch is a partition's open batch as those see it who append to it: all that a record reads and
// changes. It is part of the partition's queue and lies beside its lock; the batch gets it when it is
// closed.
//
// That is for the sake of many partitions. With a thousand of them each record meets memory that no
// processor has at hand, and what it costs is how many places have to be fetched one after the other
// before it is written: the queue, then the batch, then its result. So they are one.
type openBatch struct {
	batch *batch // nil: none is open
	res   *result

	chunk  []byte // the last chunk, as far as it is written
	before int    // bytes of records in the chunks before it, less what the first one keeps for the header

	meta     []recordMeta // one per record
	last     Callback     // of the last record
	baseTime int64
	maxTime  int64
	sticky   bool // it has records of the sticky partitioner
	shared   bool // a Future may look at the result
}

// begin takes over a batch without records.
func (o *openBatch) begin(b *batch) {
	*o = openBatch{batch: b, res: b.res, chunk: b.chunks[0][:protocol.BatchOverhead], before: -protocol.BatchOverhead,
		meta: b.res.meta, baseTime: b.baseTime, maxTime: b.maxTime, shared: b.res.shared}
}

// raw is the length of the records section.
func (o *openBatch) raw() int { return o.before + len(o.chunk) }

// size is that of the batch as it would be sent now, at most.
func (o *openBatch) size() int { return protocol.BatchOverhead + o.raw() }

// free is the room in the last chunk.
func (o *openBatch) free() int { return cap(o.chunk) - len(o.chunk) }

// latest is where the last record is.
func (o *openBatch) latest() position { return position{o.res, int32(len(o.meta)) - 1} }

// tryAdd adds the record if there is room. The first record always has: its chunk was made for it.
func (o *openBatch) tryAdd(in *appendInput, timestamp int64, lim *batchLimits, ratio *ratioEstimate) appended {
	records := len(o.meta)
	size := protocol.RecordSize(int32(records), timestamp-o.baseTime, in.Key, in.Value, in.Headers)
	if records > 0 && !lim.room(o.raw(), size, ratio) {
		return appendFull
	}
	if o.free() < size {
		if records == 0 || lim.nextChunk(o.batch, size) == 0 {
			return appendFull
		}
		return appendNeedChunk
	}
	o.add(timestamp, &in.bytesRecord, in.callback)
	o.shared = o.shared || in.shared
	return appendDone
}

// appended is what tryAdd reports.
type appended uint8

const (
	appendDone      appended = iota // the record is in the batch
	appendFull                      // no room: the batch is to be closed
	appendNeedChunk                 // the batch may grow, by another chunk
)

// add writes the record, for which there must be room. The same func value for record after record (the
// usual case: one callback for all) costs one entry in all.
func (o *openBatch) add(timestamp int64, r *bytesRecord, fn Callback) {
	records := int32(len(o.meta))
	whole := cap(o.chunk)
	protocol.WriteRecord(&o.chunk, records, timestamp-o.baseTime, r.Key, r.Value, r.Headers)
	invariant.Check(cap(o.chunk) == whole, "a record went beyond its chunk")
	o.maxTime = max(o.maxTime, timestamp)
	if !sameFunc(o.last, fn) {
		o.last = fn
		o.res.runs = append(o.res.runs, callbackRun{fn, records})
	}
	o.meta = append(o.meta, recordMeta{timestamp, partSize(r.Key), partSize(r.Value)})
}

// expect has the memory fetched that the next record will be written to.
func (o *openBatch) expect() {
	prefetch.Following(&o.chunk[len(o.chunk)-1])
	if n := len(o.meta); n%metaLine == 0 && n < cap(o.meta) {
		prefetch.Word(&o.meta[:n+1][n].timestamp)
	}
}

// metaLine is how many recordMeta a cache line holds.
const metaLine = 4

// grow attaches a further chunk.
func (o *openBatch) grow(chunk []byte) {
	b := o.batch
	b.chunks[len(b.chunks)-1] = o.chunk
	b.chunks = append(b.chunks, chunk)
	b.held += int64(cap(chunk))
	o.before += len(o.chunk)
	o.chunk = chunk[:0]
}

// close freezes the batch: from here on what was appended stands in it.
func (o *openBatch) close() {
	b := o.batch
	b.closed = true
	b.chunks[len(b.chunks)-1] = o.chunk
	b.raw, b.plain, b.records, b.maxTime = o.raw(), o.raw(), int32(len(o.meta)), o.maxTime
	b.res.meta, b.res.shared = o.meta, o.shared
	*o = openBatch{}
}
