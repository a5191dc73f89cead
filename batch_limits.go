package quill

import (
	"math"
	"sync/atomic"

	"github.com/quill-kafka/quill/protocol"
)

// batchLimits says when a batch is full and how it grows.
type batchLimits struct {
	size     int // batch.size: the target on the wire
	small    int // first chunk
	large    int // further chunks; 0: small serves for both
	rawMax   int // most bytes of records before compression
	compress bool
}

// newBatchLimits derives the chunk sizes. A batch of up to 64 KiB is one chunk. A larger one starts
// with 64 KiB and takes the rest in one step when that is full: idle partitions cost little, and a
// full batch is two chunks (many small ones measured 10 % slower).
func newBatchLimits(batchSize int, bufferMemory int64, compressed bool) batchLimits {
	batchSize = int(min(int64(batchSize), bufferMemory)) // a larger chunk could never be allocated
	l := batchLimits{size: batchSize, small: int(min(max(int64(batchSize), minChunk), bufferMemory)), rawMax: batchSize,
		compress: compressed}
	if l.small > firstChunk {
		l.small, l.large = firstChunk, batchSize-firstChunk
	}
	if compressed {
		l.rawMax = int(max(int64(batchSize), min(rawFactor*int64(batchSize), bufferMemory/16)))
	}
	return l
}

const (
	firstChunk = 64 << 10
	minChunk   = 512 // batch.size may be 0 (each record its own batch)
	// rawFactor bounds how much more than batch.size a batch may hold before compression.
	rawFactor = 4
)

func (l *batchLimits) sizes() []int {
	if l.large == 0 {
		return []int{l.small}
	}
	return []int{l.small, l.large}
}

// room reports whether another record of size bytes keeps a batch with raw bytes of records within
// batch.size on the wire, as estimated from the topic's recent compression ratio
// (MemoryRecordsBuilder.hasRoomFor).
func (l *batchLimits) room(raw, size int, ratio *ratioEstimate) bool {
	if !l.compress {
		return protocol.BatchOverhead+raw+size <= l.size
	}
	if raw+size > l.rawMax {
		return false
	}
	return protocol.BatchOverhead+int(float64(raw)*ratio.get()*ratioMargin)+size <= l.size
}

// firstSize returns the size of the first chunk of a batch whose first record has at most size bytes.
func (l *batchLimits) firstSize(size int) int {
	switch need := size + protocol.BatchOverhead; {
	case need <= l.small:
		return l.small
	case need <= l.large:
		return l.large
	default:
		return need
	}
}

// nextChunk returns the size of the chunk that a batch grows by to take a record of size bytes, 0 if it
// must not grow.
func (l *batchLimits) nextChunk(b *batch, size int) int {
	most := l.size
	if l.compress {
		most = l.rawMax + l.small
	}
	for _, n := range [2]int{l.large, l.small} {
		if n >= size && b.heldBytes+int64(n) <= int64(most) {
			return n
		}
	}
	return 0
}

// ratioEstimate is a topic's recent compression ratio, compressed/raw, by which appenders judge how
// full a batch will be (CompressionRatioEstimator). It falls slowly and rises fast: too low an
// estimate makes batches that the broker refuses.
type ratioEstimate struct{ bits atomic.Uint64 }

const (
	// ratioMargin is the safety factor on the estimate (MemoryRecordsBuilder).
	ratioMargin        = 1.05
	ratioImprovingStep = 0.005
	ratioWorseningStep = 0.05
)

// get returns the estimate, which is 1 at first.
func (r *ratioEstimate) get() float64 {
	if b := r.bits.Load(); b != 0 {
		return math.Float64frombits(b)
	}
	return 1
}

func (r *ratioEstimate) set(v float64) { r.bits.Store(math.Float64bits(v)) }

// update moves the estimate towards an observed ratio.
func (r *ratioEstimate) update(compressed, raw int) {
	observed, now := float64(compressed)/float64(raw), r.get()
	switch {
	case observed > now:
		r.set(max(now+ratioWorseningStep, observed))
	case observed < now:
		r.set(max(now-ratioImprovingStep, observed))
	}
}
