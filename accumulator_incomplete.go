package quill

import (
	"context"
	"time"

	"github.com/quill-kafka/quill/network"
)

// The batches that have no outcome yet, linked by age, and the free batch objects. Flush lists the
// incomplete batches; expiry and a forced Close take the oldest again and again.

// beginBatch begins a batch and adds it to the list of those that have no outcome. It returns nil once end has
// returned true, and while appends are refused.
func (a *accumulator) beginBatch(q *partitionQueue, share *memoryShare, chunk []byte, timestamp int64, now time.Time) *batch {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || a.closedBy.Load() != nil {
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

// unfinishedCount returns how many batches have no outcome yet.
func (a *accumulator) unfinishedCount() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int(a.incomplete)
}

// newBatch takes a free batch, or makes one.
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

// recycle keeps a finished batch for reuse, and its result unless a Future or Flush may still read it.
func (a *accumulator) recycle(b *batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lastCompleted == b {
		a.lastCompleted = nil
	}
	res := b.res
	if res.hasFuture || res.flushed || cap(res.meta) > maxKeptMeta {
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

// end closes the list if it is empty, and reports whether it is closed. An append that began just before
// the producer closed may still be running: either its batch is in the list before, or it fails.
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

// delist removes a batch whose outcome is decided and that is about to be completed. The parts of a split
// batch take its place.
//
// Java: IncompleteBatches.remove.
func (a *accumulator) delist(b *batch, parts ...*batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	prev := b.prev
	if a.young == b {
		a.young = b.next // parts are never open
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
		a.lastCompleted = b
	}
	for _, part := range parts {
		part.flushMark, part.res.flushed = b.flushMark, b.res.flushed
		a.linkLocked(part, prev)
		prev = part
	}
}

// beginFlush makes every batch that is now incomplete ready, and returns the results to wait for:
// theirs, and that of the last batch that went to the dispatcher, if its callbacks have not all run.
func (a *accumulator) beginFlush() []*result {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flushMark++
	results := make([]*result, 0, a.incomplete+1)
	for _, list := range [...]*batch{a.lastCompleted, a.first} { // lastCompleted is unlinked: its list has one element
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

// oldest returns the incomplete batch that was opened first, or nil.
func (a *accumulator) oldest() *batch {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.first
}

// ends returns the oldest incomplete batch, and the first one that was neither drained nor aged, nil if there is
// none. Only the sender calls it.
func (a *accumulator) ends() (oldest, youngest *batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.young != nil && a.young.stage != stageNew {
		a.young = a.young.next
	}
	return a.first, a.young
}

// age closes b, which ends returned as youngest, if it is open, unless memory is short: then a record is better off
// in an old batch than waiting for the memory of a new one. It returns the next one to age, or nil.
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

// count returns the number of incomplete batches.
func (a *accumulator) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int(a.incomplete)
}

// mark returns the number of flushes begun: batches opened under a smaller number are ready at once.
func (a *accumulator) mark() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flushMark
}

// waitFor waits until ch is closed or ctx ends, and reports whether ch was closed by then. If the process stood still
// when the deadline of ctx passed, it first takes in the answers that are unread in the sockets (lastLook).
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

// await waits until ch or end is closed, or the limit has passed (with forever there is none), and reports whether ch
// was closed by then.
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

// heldUp returns the oldest incomplete batch for which is returns true, or nil. If one of the first maxHeldUpLooks of
// them has failed before, it returns that one, because it has a reason.
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
