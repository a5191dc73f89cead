package quill

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/deque"
	"github.com/quill-kafka/quill/internal/invariant"
)

// memoryShare is what one node holds of the buffer: the batches of the partitions it leads.
//
// Without a limit a node that is dead or slow fills the whole buffer with batches it does not take,
// and then no record goes to any node (KIP-693, KAFKA-12793). So the share of a node is bounded by
// what is free:
//
//	held by the node  <=  shareFactor * free
//
// If one node accepts no batches, its share grows up to four fifths of the buffer, and the other nodes use
// the last fifth in turn; if two accept none, they get four ninths each. Switches share their packet memory
// among ports by the same rule ("dynamic thresholds"): it works without knowing which node is slow. A node
// that holds nothing may always take a chunk.
//
// With three nodes that all accept records, the rule alone would leave a thirteenth of the buffer unused. So
// each node may fill its part, one third of the buffer with three nodes in the cluster, less what others
// hold beyond theirs: while no node exceeds its part, all of the buffer is used. A node that accepts nothing
// may fill its part too, because the pool can't recognize it; each of the other nodes keeps its own part.
//
// If the cluster has only one node, its part is all of the buffer. If it has more and records went to only
// one of them, that one may hold all but a small reserve. The first records to another node find memory
// there even if the one node never accepts any.
//
// Nothing can be sent to partitions without a leader, nor to a node that has left the metadata. They have
// no part: otherwise the partitions of a node that dies would use up memory that the others need. Together
// they count as one node: otherwise each of them could take a chunk although the others hold much already.
// A node that comes back has its part again.
//
// A caller that asks for memory beyond the share of a node waits in the queue of that share; callers for
// other nodes pass it. A record without a key does not wait there but goes to a partition of another node.
// The queues together are still served in the order of arrival, as far as the shares allow.
//
// A batch belongs to the share it was opened under, even if its partition moves to another node.
type memoryShare struct {
	pool *bufferPool
	node int32

	// under the pool's lock
	limited   bool  // false: the pool's own share, for what belongs to no node
	known     bool  // the metadata knows the node; false for partitions without a leader, too
	heldBytes int64 // changed by addLocked
	queue     deque.Deque[*poolWaiter]

	waiters atomic.Int32 // the length of queue, readable without the lock: while it is not 0, the node's batches don't linger
}

// shareFactor times the free memory is what a node may hold.
const shareFactor = 4

// unknownNode is the number under which the partitions without a leader share.
const unknownNode = -1

// share returns the share of a node, which never changes. It makes the share at the first call for the node.
func (p *bufferPool) share(node int32) *memoryShare {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.shares[node]
	if s == nil {
		s = &memoryShare{pool: p, node: node, limited: true, known: p.knowsLocked(node)}
		p.shares[node] = s
	}
	return s
}

// setNodes sets which nodes the cluster has, in the order of their ids, and serves waiters that fit now.
func (p *bufferPool) setNodes(nodes ...int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(nodes, p.nodes) {
		return
	}
	p.nodes = slices.Clone(nodes)
	p.stray, p.beyond = 0, p.beyondLocked(p.memoryShare)
	for _, s := range p.shares {
		if s.known = p.knowsLocked(s.node); !s.known {
			p.stray += s.heldBytes
		}
		p.beyond += p.beyondLocked(s)
	}
	p.serveLocked()
}

// +checklocks:p.mu
func (p *bufferPool) knowsLocked(node int32) bool {
	_, found := slices.BinarySearch(p.nodes, node)
	return found
}

// partLocked returns how many bytes the share may fill while no other share holds more than its part.
//
// +checklocks:p.mu
func (p *bufferPool) partLocked(s *memoryShare) int64 {
	if !s.known {
		return 0
	}
	return p.capacity / int64(len(p.nodes))
}

// beyondLocked returns how many bytes the share holds beyond its part.
//
// +checklocks:p.mu
func (p *bufferPool) beyondLocked(s *memoryShare) int64 { return max(0, s.heldBytes-p.partLocked(s)) }

// countsLocked returns how many bytes count against the share's limit. All shares that nothing can be sent to
// count as one.
//
// +checklocks:p.mu
func (p *bufferPool) countsLocked(s *memoryShare) int64 {
	if s.limited && !s.known {
		return p.stray
	}
	return s.heldBytes
}

// addLocked notes that the share holds n bytes more, or less.
//
// +checklocks:p.mu
func (p *bufferPool) addLocked(s *memoryShare, n int64) {
	before := p.beyondLocked(s)
	s.heldBytes += n
	if s.limited && !s.known {
		p.stray += n
	}
	p.beyond += p.beyondLocked(s) - before
}

// tryAllocate returns a chunk of exactly size bytes (capacity; length 0) if that needs no waiting.
func (s *memoryShare) tryAllocate(size int) ([]byte, error) {
	p := s.pool
	if int64(size) > p.capacity {
		return nil, p.tooLarge(size)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, newError(Error{Op: "send", Kind: ErrClosed})
	}
	if !p.readyLocked(s, size) {
		p.mu.Unlock()
		return nil, ErrWouldBlock
	}
	chunk := p.takeLocked(s, size)
	p.mu.Unlock()
	return s.fill(chunk, size), nil
}

// allocate returns a chunk of exactly size bytes, waiting in the queue until the limit or ctx's end. The
// error is ErrBufferExhausted, ErrRecordTooLarge (it can never fit), ErrClosed, or ctx's.
func (s *memoryShare) allocate(ctx context.Context, size int, until *blockLimit) ([]byte, error) {
	p := s.pool
	if int64(size) > p.capacity {
		return nil, p.tooLarge(size)
	}
	w := s.join(size)
	start := time.Now()
	limit := until.until()
	w.timer.Reset(limit.Sub(start))
	defer p.retire(w)
	cause := w.await(ctx, until)
	now := time.Now()
	p.onWaited(start, now, cause)
	if cause == nil || !s.cancel(w) {
		if w.err != nil {
			return nil, w.err
		}
		return s.fill(w.chunk, size), nil
	}
	failed := newError(Error{Op: opWaitForMemory, Kind: cause, Elapsed: now.Sub(start)})
	reason, kind := s.describe(size)
	if failed.Reason = reason; cause == ErrBufferExhausted {
		failed.Kind, failed.Elapsed = kind, limit.Sub(start)
	}
	return nil, failed
}

// exhaustedError returns the error of a Send that finds too little memory and may not wait. It still cuts the lingers, so that
// memory comes back soon.
func (s *memoryShare) exhaustedError(size int) error {
	s.pool.onWait()
	now := time.Now()
	s.pool.onWaited(now, now, ErrBufferExhausted)
	reason, kind := s.describe(size)
	return newError(Error{Op: opWaitForMemory, Kind: kind, Reason: reason})
}

// await waits until the waiter is served, or returns the reason why it stops waiting.
func (w *poolWaiter) await(ctx context.Context, limit *blockLimit) error {
	for {
		select {
		case <-w.ready:
			return nil
		case <-ctx.Done():
			if limit.over(ctx, w.timer, w.share.pool.lastLook) {
				return endOf(ctx)
			}
		case <-w.timer.C:
			if limit.over(ctx, w.timer, w.share.pool.lastLook) {
				return ErrBufferExhausted
			}
		}
	}
}

// join appends a waiter to the share's queue.
func (s *memoryShare) join(size int) *poolWaiter {
	p := s.pool
	p.mu.Lock()
	w := p.waiterLocked(size)
	p.enqueueLocked(s, w)
	if p.closed {
		p.failLocked()
	} else {
		p.serveLocked() // memory may have come back in between
	}
	p.mu.Unlock()
	p.onWait()
	return w
}

// overdraw returns a chunk at once, even if that makes the available memory negative until other chunks
// are released. Only for the parts of a batch being split, whose own memory is released right after.
func (s *memoryShare) overdraw(size int) []byte {
	p := s.pool
	p.mu.Lock()
	chunk := p.takeLocked(s, size)
	p.mu.Unlock()
	return s.fill(chunk, size)
}

// release returns a chunk that the share gave out. The caller must not touch it again.
func (s *memoryShare) release(chunk []byte) {
	chunk = chunk[:cap(chunk)]
	invariant.Poison(chunk)
	s.giveBack(int64(cap(chunk)), chunk[:0])
}

// fill returns chunk, or allocates the memory for a reservation that got no pooled chunk. If that
// panics, it gives the reservation back.
func (s *memoryShare) fill(chunk []byte, size int) []byte {
	if chunk != nil {
		return chunk
	}
	done := false
	defer func() {
		if !done {
			s.giveBack(int64(size), nil)
		}
	}()
	chunk = s.pool.raw(size)[:0:size]
	done = true
	return chunk
}

func (s *memoryShare) giveBack(n int64, chunk []byte) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addLocked(s, -n)
	if i := p.class(int(n)); i >= 0 && chunk != nil {
		p.free[i] = append(p.free[i], chunk)
	} else {
		p.unallocated += n
	}
	invariant.Check(s.heldBytes >= 0, "buffer pool: a node holds %d bytes", s.heldBytes)
	invariant.Check(p.availableLocked() <= p.capacity, "buffer pool: %d bytes available of %d", p.availableLocked(), p.capacity)
	p.serveLocked()
}

// full reports whether the share may not grow by size bytes, even if they are free.
func (s *memoryShare) full(size int) bool {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.allowedLocked(s, size)
}

// ready reports whether a chunk could be had without waiting.
func (s *memoryShare) ready(size int) bool {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.readyLocked(s, size)
}

// +checklocks:p.mu
func (p *bufferPool) readyLocked(s *memoryShare, size int) bool {
	return s.queue.Len() == 0 && int64(size) <= p.availableLocked() && p.allowedLocked(s, size) && p.nextLocked() == nil
}

// allowedLocked reports whether the share may grow by size bytes, whether or not they are free. Beyond the share's
// part, a record larger than the pooled chunks counts as one of them against the free memory: otherwise smaller
// requests would always pass it. But with the whole record, the share must not exceed four fifths of the buffer.
//
// +checklocks:p.mu
func (p *bufferPool) allowedLocked(s *memoryShare, size int) bool {
	held := p.countsLocked(s)
	whole := held + int64(size)
	switch {
	case !s.limited, len(p.nodes) == 0, held == 0, whole <= p.partLocked(s)-p.beyond:
		return true
	case len(p.shares) == 1 && s.known && whole <= p.capacity-p.reserve():
		return true // records went to no other node
	}
	n := int64(min(size, p.sizes[len(p.sizes)-1]))
	return held+n <= shareFactor*(p.availableLocked()-n) && whole <= p.capacity/(shareFactor+1)*shareFactor
}

// reserve returns how many bytes the only node in use must leave free: at least a batch to another node fits.
func (p *bufferPool) reserve() int64 {
	return max(p.capacity/reservePart, int64(p.sizes[len(p.sizes)-1]))
}

// reservePart makes the reserve a sixteenth of the buffer.
const reservePart = 16

// takeLocked reserves size bytes, which must be available, for the share. It returns a pooled chunk, or nil if the
// caller has to allocate one (see fill).
//
// +checklocks:p.mu
func (p *bufferPool) takeLocked(s *memoryShare, size int) []byte {
	p.addLocked(s, int64(size))
	return p.drawLocked(size)
}

// enqueueLocked appends w to the share's queue.
//
// +checklocks:p.mu
func (p *bufferPool) enqueueLocked(s *memoryShare, w *poolWaiter) {
	p.tickets++
	w.ticket, w.share = p.tickets, s
	s.queue.PushBack(w)
	s.waiters.Store(int32(s.queue.Len()))
	if s.queue.Len() == 1 {
		p.waitingShares = append(p.waitingShares, s)
		p.queues.Add(1)
		p.queuesBegun.Add(1)
	}
}

// cancel removes w from the share's queue. It returns false if w was served or failed in the meantime.
func (s *memoryShare) cancel(w *poolWaiter) bool {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.granted || w.err != nil {
		return false
	}
	for i := range s.queue.Len() {
		if s.queue.At(i) == w {
			s.queue.Remove(i)
			break
		}
	}
	p.dequeuedLocked(s)
	p.serveLocked() // who stood behind w may fit now
	return true
}

// dequeuedLocked updates the counts after the removal of a waiter.
//
// +checklocks:p.mu
func (p *bufferPool) dequeuedLocked(s *memoryShare) {
	s.waiters.Store(int32(s.queue.Len()))
	if s.queue.Len() > 0 {
		return
	}
	for i, other := range p.waitingShares {
		if other == s {
			last := len(p.waitingShares) - 1
			p.waitingShares[i] = p.waitingShares[last]
			p.waitingShares[last] = nil
			p.waitingShares = p.waitingShares[:last]
			p.queues.Add(-1)
			return
		}
	}
}

// describe returns why size bytes can't be had, as the reason and kind of the error of a Send.
func (s *memoryShare) describe(size int) (reason string, kind error) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	free, waiting := p.availableLocked(), p.waitingLocked()
	reason = fmt.Sprintf("%d bytes are needed, %d of %d (buffer.memory) are free, %d other sends wait", size, free, p.capacity, waiting)
	holder := fmt.Sprintf("node %d, which leads the partition, holds", s.node)
	if !s.known && len(p.nodes) > 0 {
		holder = "partitions without a leader hold"
	}
	if int64(size) > free || p.allowedLocked(s, size) {
		return reason + fmt.Sprintf(": the cluster takes no records, or more slowly than they are sent; %s %d bytes", holder,
			p.countsLocked(s)), ErrBufferExhausted
	}
	return reason + fmt.Sprintf(": what is free is kept for other nodes; %s %d bytes already", holder, p.countsLocked(s)), ErrMemoryShare
}

// blockLimit bounds how long one Send may wait: max.block.ms, which its waits for metadata and for
// memory share. The clock is first read when there is something to wait for.
type blockLimit struct {
	max    time.Duration
	at     time.Time
	looked bool // over has called look after a standstill
}

func (l *blockLimit) until() time.Time {
	if l.at.IsZero() {
		l.at = time.Now().Add(l.max)
	}
	return l.at
}

// over reports whether the wait has ended, by its timer or by ctx. If the end is noticed much later than it was due, the
// process stood still, and the answer may be unread in the sockets: then over calls look, which returns when they are
// read, and reports false, once.
func (l *blockLimit) over(ctx context.Context, timer *time.Timer, look func()) bool {
	byTimer := ctx.Err() == nil
	late := byTimer && time.Since(l.at) > lateWait || endedLate(ctx, lateWait)
	if l.looked || !late {
		return true
	}
	l.looked = true
	look()
	if byTimer {
		timer.Reset(0) // the wait ends after one more check
	}
	return false
}

// waited returns how long the Send has waited.
func (l *blockLimit) waited() time.Duration { return l.max - time.Until(l.until()) }
