package quill

import (
	"context"
	"time"

	"github.com/quill-kafka/quill/network"
)

// The batches that have no fate yet, linked by age, and the batch objects that wait to be used
// again. Flush lists them, expiry and a forced Close take the oldest, over and over.

// open begins a batch and adds it to the list of those that have no outcome. It is nil after end, and
// while appends are refused.
func (a *accumulator) open(q *partitionQueue, share *memoryShare, chunk []byte, timestamp int64, now time.Time) *batch {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || a.refused.Load() != nil {
		return nil
	}
	b := a.newBatchLocked()
	b.begin(q, share, chunk, timestamp, now) // before the sender may find it
	b.move(placeQueue)
	b.flushMark = a.flushMark
	a.linkLocked(b, a.last)
	if a.young == nil {
		a.young = b
	}
	return b
}

// newBatch takes a batch from those that are done, or makes one.
func (a *accumulator) newBatch() *batch {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.newBatchLocked()
}

// +checklocks:a.mu
func (a *accumulator) newBatchLocked() *batch {
	if b := a.free; b != nil {
		a.free, b.next = b.next, nil
		a.kept--
		return b
	}
	return &batch{res: newResult(a)}
}

// recycle keeps a finished batch, and its result if nobody else can see that, for the next one.
func (a *accumulator) recycle(b *batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lastTold == b {
		a.lastTold = nil
	}
	res := b.res
	if res.shared || res.flushed || cap(res.meta) > maxKeptMeta {
		res = newResult(a)
	} else {
		res.reset()
	}
	b.reset(res)
	if a.kept < maxKeptBatches {
		a.free, b.next = b, a.free
		a.kept++
	}
}

const (
	maxKeptBatches = 4096
	maxKeptMeta    = 64 << 10
)

// end makes the list final if it is empty, and reports whether it is. An append that was let in just
// before the producer closed may still come; it either is in the list before, or fails.
func (a *accumulator) end() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = a.ended || a.incomplete == 0
	return a.ended
}

// linkLocked links b in after prev (nil: at the head).
//
// +checklocks:a.mu
func (a *accumulator) linkLocked(b, prev *batch) {
	next := a.first
	if prev != nil {
		next = prev.next
		prev.next = b
	} else {
		a.first = b
	}
	if next != nil {
		next.prev = b
	} else {
		a.last = b
	}
	b.prev, b.next = prev, next
	a.incomplete++
}

// delist removes a batch whose outcome is decided and about to be told. The parts of a split batch
// take its place.
func (a *accumulator) delist(b *batch, parts ...*batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	prev := b.prev
	if a.young == b {
		a.young = b.next // parts are closed from the beginning
	}
	if b.prev != nil {
		b.prev.next = b.next
	} else {
		a.first = b.next
	}
	if b.next != nil {
		b.next.prev = b.prev
	} else {
		a.last = b.prev
	}
	b.prev, b.next = nil, nil
	a.incomplete--
	if len(parts) == 0 {
		a.lastTold = b
	}
	for _, part := range parts {
		part.flushMark, part.res.flushed = b.flushMark, b.res.flushed
		a.linkLocked(part, prev)
		prev = part
	}
}

// beginFlush makes every batch that is now incomplete ready, and returns the results to wait for:
// theirs, and that of the batch whose callbacks are the last ones to run of those that have a fate.
func (a *accumulator) beginFlush() []*result {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flushMark++
	results := make([]*result, 0, a.incomplete+1)
	for _, list := range [...]*batch{a.lastTold, a.first} { // the first is alone in its
		for b := list; b != nil; b = b.next {
			b.res.flushed = true // under the lock that recycle takes before the result could be used again
			results = append(results, b.res)
		}
	}
	return results
}

// markFlush makes every batch that is now incomplete ready, without waiting for any.
func (a *accumulator) markFlush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flushMark++
}

// unfinished lists the incomplete batches by age. The list is the caller's.
func (a *accumulator) unfinished() []*batch {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]*batch, 0, a.incomplete)
	for b := a.first; b != nil; b = b.next {
		list = append(list, b)
	}
	return list
}

// oldest is the incomplete batch that was opened first, or nil.
func (a *accumulator) oldest() *batch {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.first
}

// ends are the oldest of the incomplete batches, and the first of them that has neither left nor been aged. They
// are nil if there is none. The sender's alone.
func (a *accumulator) ends() (oldest, youngest *batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.young != nil && a.young.inLine {
		a.young = a.young.next
	}
	return a.first, a.young
}

// age closes b, the youngest batch, if it is open, unless memory is short: then a record is better off in an
// old batch than in line for the memory of a new one. It returns the next.
func (a *accumulator) age(b *batch) (next *batch) {
	if a.pool.ample() {
		q := b.queue
		q.mu.Lock()
		q.freezeLocked(b)
		q.mu.Unlock()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.young = b.next
	return a.young
}

// count of incomplete batches.
func (a *accumulator) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int(a.incomplete)
}

// mark is the number of flushes begun: batches opened under a smaller one are wanted at once.
func (a *accumulator) mark() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flushMark
}

// waitFor waits until ch is closed or ctx ends, and reports whether ch is closed. What has come by then counts; if the
// process stood still when the deadline of ctx passed, that is what lies in the sockets, too.
func (a *accumulator) waitFor(ctx context.Context, ch <-chan struct{}) bool {
	if ctx.Err() == nil {
		if await(ch, ctx.Done(), forever) {
			return true
		}
		if a != nil && a.lastLook != nil && endedLate(ctx, network.TimerSlack) {
			a.lastLook()
		}
	}
	return isClosed(ch)
}

// await waits until ch is closed, or end is, or the limit is over, which forever never is. What has happened by then
// counts: it reports whether ch is closed.
func await(ch, end <-chan struct{}, limit time.Duration) bool {
	var over <-chan time.Time
	if limit < forever {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-ch:
	case <-end:
	case <-over:
	}
	return isClosed(ch)
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// heldUp is the oldest batch without an outcome of which is is true, or, if one of the first few has failed
// before, that one: it has a reason.
func (a *accumulator) heldUp(is func(b *batch) bool) *batch {
	a.mu.Lock()
	defer a.mu.Unlock()
	var oldest *batch
	looks := 0
	for b := a.first; b != nil && looks < maxHeldUpLooks; b = b.next {
		if !is(b) {
			continue
		}
		if b.lastError != nil {
			return b
		}
		if looks++; oldest == nil {
			oldest = b
		}
	}
	return oldest
}

const maxHeldUpLooks = 64
