package quill

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/deque"
)

// partitionQueue holds one partition's batches. See accumulator.
//
// The sender learns by notices what happens in it: "check this queue by then". One is enough until the
// sender has checked, unless an event can't wait so long. A queue with notified set has its notice in the
// inbox, or a timer that fires in time; so a batch that may linger costs no check when it is opened.
type partitionQueue struct {
	mu sync.Mutex // held only for memory work: no channel, no I/O, no callback inside
	// +checklocks:mu
	open openBatch // the last one, as long as it takes records

	topic *topicState // set by topicState.setInfo, read-only after
	index int32

	length atomic.Int32                // batches in the queue, readable without the lock
	share  atomic.Pointer[memoryShare] // of the node that led the partition at the last call of accumulator.share
	slow   atomic.Pointer[atomic.Bool] // the leader's node could not take data for too long; set by the sender

	// +checklocks:mu
	batches deque.Deque[*batch] // oldest first
	// +checklocks:mu
	forgotten bool // the topic was forgotten: nothing may be appended
	// +checklocks:mu
	notified bool // the sender was notified to check by notifiedBy, and has not checked yet
	// +checklocks:mu
	contended int32 // sticky records that found the lock taken, since the last batch was closed
	// +checklocks:mu
	notifiedBy int64
	// +checklocks:mu
	hint int64 // when the sender should check the queue, for an event that it was not notified of yet; noHint: none
	// +checklocks:mu
	numbers int64 // last batch number given

	out partitionOut // the sender's alone
}

// lockFor takes the queue's lock for a record; with a lane it counts the locks that were taken already.
//
// +checklocksacquire:q.mu
// +checklocksignore
func (q *partitionQueue) lockFor(lane *stickyLane) {
	if lane == nil {
		q.mu.Lock()
	} else if !q.mu.TryLock() {
		q.lockContended()
	}
}

// lockContended waits for the lock for a record of the sticky partitioner that found it taken, and counts that.
//
// +checklocksacquire:q.mu
func (q *partitionQueue) lockContended() {
	q.topic.sticky.miss()
	q.mu.Lock()
	q.contended++
}

// closeLocked freezes the open batch. This is the border at which the sticky partitioner may move
// on; it counts the batch as `worth` bytes (a full one as batch.size, even if the next record did not fit).
//
// +checklocks:q.mu
func (q *partitionQueue) closeLocked(worth int) {
	b, sticky := q.open.batch, q.open.sticky
	q.open.close()
	if sticky {
		info := q.topic.info.Load()
		q.topic.sticky.update(info, q.index, worth, true)
		q.topic.sticky.decideSpread(info, worth, b.records, q.contended)
		q.contended = 0
	}
}

// newsLocked returns the notice for the sender about what happened in the queue since the last call. push reports
// whether it has to be sent: the sender was not notified yet to check the queue by then.
//
// +checklocks:q.mu
func (q *partitionQueue) newsLocked() (n notice, push bool) {
	n = notice{queue: q, by: q.hint}
	q.hint = noHint
	if n.by == noHint || q.notified && q.notifiedBy <= n.by {
		return n, false
	}
	q.notified, q.notifiedBy = true, n.by
	if b := q.open.batch; b != nil {
		n.mark, n.node = b.flushMark, b.share.node
	}
	return n, true
}

// sizeLocked returns the largest size that b, one of the queue's batches, could have if it were sent now.
//
// +checklocks:q.mu
func (q *partitionQueue) sizeLocked(b *batch) int {
	if q.open.batch == b {
		return q.open.size()
	}
	return b.size()
}

// contents returns what is in the queue, and when the first batch of it was opened; the zero time if it is empty.
func (q *partitionQueue) contents() (batches, records int, bytes int64, oldest time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batches = q.batches.Len()
	for i := range batches {
		b := q.batches.At(i)
		if q.open.batch == b {
			records += len(q.open.meta)
		} else {
			records += int(b.records)
		}
		bytes += int64(q.sizeLocked(b))
		if i == 0 {
			oldest = b.createdAt
		}
	}
	return batches, records, bytes, oldest
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

// removeLocked takes b out of the queue, at any place. It returns false if b is not in it.
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

// partitionOut is the sender's state of a partition beyond its batches.
type partitionOut struct {
	node            *nodeOut // the node that it was last ready for
	readyFor        *nodeOut // the node whose ready list it is in; nil: none
	forced          bool     // in the ready list with a batch that does not wait to be sent together with others
	leaderless      bool     // in the sender's list of partitions without a leader
	muted           bool     // order is kept by one batch in flight, and that is in flight
	sought          bool     // its leader was asked for, and no batch was accepted since
	blocked         bool     // a batch can't be drained before an answer comes to one in flight
	timerNumber     int64    // the batch and time of its latest timer
	timerAt         time.Time
	seq             sequences
	joined          int64               // the transaction that it is part of
	joining         int64               // the transaction that it is, or was, being added to
	completionQueue deque.Deque[*batch] // batches that were drained and are not completed, in the order of their numbers
	setback         *setback            // nil if the last batch that came back was accepted
}

func newPartitionOut() partitionOut { return partitionOut{seq: noSequences()} }

// replaceByParts puts the parts of a split batch into the completion queue in its place.
func (o *partitionOut) replaceByParts(b *batch, parts []*batch) {
	for i := range o.completionQueue.Len() {
		if o.completionQueue.At(i) != b {
			continue
		}
		o.completionQueue.Remove(i)
		for j, part := range parts {
			part.stage = stageLeft
			o.completionQueue.Insert(i+j, part)
		}
		return
	}
}
