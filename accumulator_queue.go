package quill

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/deque"
)

// partitionQueue is one partition's batches. See accumulator.
//
// What happens in it the sender learns by notices: "look at this queue by then". One is enough until the
// sender looked, unless something can't wait so long. A queue that it was told of has its notice in the
// inbox, or a timer that is up in time; so a batch that may linger costs no look when it is opened.
type partitionQueue struct {
	mu sync.Mutex // held only for memory work: no channel, no I/O, no callback inside
	// +checklocks:mu
	open openBatch // the last one, as long as it takes records

	topic *topicState // set by newQueue, read-only after
	index int32

	length atomic.Int32                // batches in the queue, for those without the lock
	share  atomic.Pointer[memoryShare] // of the node that led the partition when it was last asked for
	slow   atomic.Pointer[atomic.Bool] // the leader's node could not take data for too long; set by the sender

	// +checklocks:mu
	batches deque.Deque[*batch] // oldest first
	// +checklocks:mu
	shut bool // the topic was forgotten: nothing may be appended
	// +checklocks:mu
	told bool // the sender was told to look by toldBy, and has not
	// +checklocks:mu
	toldBy int64
	// +checklocks:mu
	hint int64 // when the sender should look, for an event not told yet; noHint: none
	// +checklocks:mu
	numbers int64 // last batch number given
	// +checklocks:mu
	crowded int32 // sticky records that found the lock taken, since the last batch was closed

	out partitionOut // the sender's alone
}

// lockFor takes the queue's lock for a record; one with a lane counts whether somebody else had it.
//
// +checklocksacquire:q.mu
// +checklocksignore
func (q *partitionQueue) lockFor(lane *stickyLane) {
	if lane == nil {
		q.mu.Lock()
	} else if !q.mu.TryLock() {
		q.lockCrowded()
	}
}

// lockCrowded waits for the lock, for a record of the sticky partitioner that found it taken.
//
// +checklocksacquire:q.mu
func (q *partitionQueue) lockCrowded() {
	q.topic.sticky.miss()
	q.mu.Lock()
	q.crowded++
}

// closeLocked freezes the open batch. This is the border at which the sticky partitioner may move
// on; it counts the batch as `worth` bytes (a full one as batch.size, whatever did not fit).
//
// +checklocks:q.mu
func (q *partitionQueue) closeLocked(worth int) {
	b, sticky := q.open.batch, q.open.sticky
	q.open.close()
	if sticky {
		info := q.topic.info.Load()
		q.topic.sticky.update(info, q.index, worth, true)
		q.topic.sticky.judge(info, worth, b.records, q.crowded)
		q.crowded = 0
	}
}

// newsLocked is what the sender is to be told of what happened in the queue since the last time; push
// says that it does not know yet that it should look by then.
//
// +checklocks:q.mu
func (q *partitionQueue) newsLocked() (n notice, push bool) {
	n = notice{queue: q, by: q.hint}
	q.hint = noHint
	if n.by == noHint || q.told && q.toldBy <= n.by {
		return n, false
	}
	q.told, q.toldBy = true, n.by
	if b := q.open.batch; b != nil {
		n.mark, n.node = b.flushMark, b.share.node
	}
	return n, true
}

// sizeLocked is the size of b, one of the queue's batches, as it would be sent now, at most.
//
// +checklocks:q.mu
func (q *partitionQueue) sizeLocked(b *batch) int {
	if q.open.batch == b {
		return q.open.size()
	}
	return b.size()
}

// freezeLocked closes b, one of the queue's batches, if it is open.
//
// +checklocks:q.mu
func (q *partitionQueue) freezeLocked(b *batch) {
	if q.open.batch == b {
		q.closeLocked(q.open.size())
	}
}

// insertLocked puts a batch back to its place in the partition's order.
//
// +checklocks:q.mu
func (q *partitionQueue) insertLocked(b *batch) {
	at := 0
	for at < q.batches.Len() && q.batches.At(at).number < b.number {
		at++
	}
	q.batches.Insert(at, b)
	b.move(placeQueue)
	q.length.Store(int32(q.batches.Len()))
}

// removeLocked takes b out of the queue, wherever it is; false if it is not in it.
//
// +checklocks:q.mu
func (q *partitionQueue) removeLocked(b *batch) bool {
	for i := range q.batches.Len() {
		if q.batches.At(i) == b {
			q.freezeLocked(b)
			q.batches.Remove(i)
			b.move(placeHand)
			q.length.Store(int32(q.batches.Len()))
			return true
		}
	}
	return false
}

// partitionOut is what the sender knows of a partition beyond its batches.
type partitionOut struct {
	node         *nodeOut  // it was last ready for
	ring         *nodeOut  // the ring it is in; nil: none
	forced       bool      // in the ring with something that does not wait for company
	leaderless   bool      // in the sender's list of those
	muted        bool      // order is kept by one batch in flight, and it is
	sought       bool      // its leader was asked for, and nothing was accepted since
	refusedAt    time.Time // since when its leader says that it is none; zero: it does not
	refusedEpoch int32     // of that leader
	held         bool      // a batch could not leave until something in flight comes back
	timerNumber  int64     // the batch and time of its latest timer
	timerAt      time.Time
	seq          sequences
	joined       int64      // the transaction that it is part of
	joining      int64      // the transaction that it is, or was, being added to
	line         batchDeque // batches that left and are not told, in the order of their numbers
	setback      *setback   // nil if the last batch that came back was accepted
}

func newPartitionOut() partitionOut { return partitionOut{seq: noSequences()} }

// replace puts the parts of a split batch in its place in the line.
func (o *partitionOut) replace(b *batch, parts []*batch) {
	for i := range o.line.Len() {
		if o.line.At(i) != b {
			continue
		}
		o.line.Remove(i)
		for j, part := range parts {
			part.inLine = true
			o.line.Insert(i+j, part)
		}
		return
	}
}
