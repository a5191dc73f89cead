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
// If one node takes nothing its share grows up to four fifths of the buffer, and the last fifth goes
// round among the others; if two take nothing they get four ninths each. It is the rule by which
// switches share their packet memory among ports ("dynamic thresholds"): nobody has to tell which
// node is slow. A node that holds nothing may always take a chunk.
//
// The rule alone would leave a thirteenth of the buffer unused by three nodes that all take records. So
// each may fill its part, one third of the buffer with three nodes in the cluster, less what others
// hold beyond theirs: as long as nobody does, all of the buffer is used. A node that takes nothing may
// do so too, for nobody knows; what it leaves to each of the others is their part.
//
// If the cluster has but one node its part is all of the buffer. If it has more and records went to one
// only, that one may hold all but a small reserve, from which the first records to another find memory:
// who knows whether the one will ever take any.
//
// Nothing can be sent to partitions without a leader, nor to a node that has left the metadata. They have
// no part, or a node that dies would take with its partitions what it leaves to the others; and together
// they count as one node, or each of them might take a chunk although the others hold much already. A node
// that comes back has its part again.
//
// Who asks for memory beyond the share of a node waits in that node's line; the others pass by. A
// keyless record does not wait there but goes to a partition of another node. All lines together
// are still served in the order of arrival, as far as the shares allow.
//
// A batch belongs to the share it was opened under, even if its partition moves to another node.
type memoryShare struct {
	pool *bufferPool
	node int32

	// under the pool's lock
	limited bool  // false: the pool's own share, for what belongs to no node
	known   bool  // the metadata knows the node; false for partitions without a leader, too
	held    int64 // changed by addLocked
	line    deque.Deque[*poolWaiter]

	waiters atomic.Int32 // the length of line, for those without the lock: lingers of the node are cut
}

// shareFactor is how many times what is free a node may hold.
const shareFactor = 4

// unknownNode is the number under which the partitions without a leader share.
const unknownNode = -1

// share is the share of a node, which stays the same for ever.
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

// setNodes says which nodes the cluster has, in the order of their ids.
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
			p.stray += s.held
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

// partLocked is what the share may fill as long as nobody holds more than that.
//
// +checklocks:p.mu
func (p *bufferPool) partLocked(s *memoryShare) int64 {
	if !s.known {
		return 0
	}
	return p.capacity / int64(len(p.nodes))
}

// beyondLocked is what the share holds beyond its part.
//
// +checklocks:p.mu
func (p *bufferPool) beyondLocked(s *memoryShare) int64 { return max(0, s.held-p.partLocked(s)) }

// countsLocked is what the share holds as far as its limit is concerned: those that nothing can be sent to
// count as one.
//
// +checklocks:p.mu
func (p *bufferPool) countsLocked(s *memoryShare) int64 {
	if s.limited && !s.known {
		return p.stray
	}
	return s.held
}

// addLocked notes that the share holds n bytes more, or less.
//
// +checklocks:p.mu
func (p *bufferPool) addLocked(s *memoryShare, n int64) {
	before := p.beyondLocked(s)
	s.held += n
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
		return nil, &Error{Op: "send", Kind: ErrClosed, Partition: -1}
	}
	if !p.readyLocked(s, size) {
		p.mu.Unlock()
		return nil, ErrWouldBlock
	}
	chunk := p.takeLocked(s, size)
	p.mu.Unlock()
	return s.fill(chunk, size), nil
}

// allocate returns a chunk of exactly size bytes, waiting in line until the limit or ctx's end. The
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
	if cause == nil || !s.leave(w) {
		if w.err != nil {
			return nil, w.err
		}
		return s.fill(w.chunk, size), nil
	}
	failed := &Error{Op: opWaitForMemory, Kind: cause, Partition: -1, Elapsed: time.Since(start)}
	reason, kind := s.describe(size)
	if failed.Reason = reason; cause == ErrBufferExhausted {
		failed.Kind, failed.Elapsed = kind, limit.Sub(start)
	}
	return nil, failed
}

// refuse is the failure of a Send that finds too little memory and may not wait. The memory of batches that linger is wanted all the same.
func (s *memoryShare) refuse(size int) error {
	s.pool.onWait()
	reason, kind := s.describe(size)
	return &Error{Op: opWaitForMemory, Kind: kind, Partition: -1, Reason: reason}
}

// await waits until the waiter is served, or returns why it waits no longer.
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

// join puts a waiter at the end of the line.
func (s *memoryShare) join(size int) *poolWaiter {
	p := s.pool
	p.mu.Lock()
	w := p.waiterLocked(size)
	p.standLocked(s, w)
	if p.closed {
		p.failLocked()
	} else {
		p.serveLocked() // memory may have come back in between
	}
	p.mu.Unlock()
	p.onWait()
	return w
}

// overdraw returns a chunk at once, even if that makes the available memory negative until others
// return theirs. Only for the parts of a batch being split, whose own memory follows right after.
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

// fill makes the memory of a reservation that no pooled chunk answered. If that panics the
// reservation goes back.
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
	invariant.Check(s.held >= 0, "buffer pool: a node holds %d bytes", s.held)
	invariant.Check(p.availableLocked() <= p.capacity, "buffer pool: %d bytes available of %d", p.availableLocked(), p.capacity)
	p.serveLocked()
}

// full reports whether the share allows no more, whatever is free.
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
	return s.line.Len() == 0 && int64(size) <= p.availableLocked() && p.allowedLocked(s, size) && p.nextLocked() == nil
}

// allowedLocked reports whether the share may grow by size bytes, be they there or not. Beyond its
// part, a record larger than the pooled chunks counts as one of them against what is free now, or those who need
// less would for ever pass it by; but it must be able to fit one day.
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

// reserve is what the only node in use may not take: for a batch to another, at least.
func (p *bufferPool) reserve() int64 {
	return max(p.capacity/reservePart, int64(p.sizes[len(p.sizes)-1]))
}

// reservePart: the reserve is one part in so many of the buffer.
const reservePart = 16

// takeLocked takes size bytes, which must be available, for the share; nil: they are to be made.
//
// +checklocks:p.mu
func (p *bufferPool) takeLocked(s *memoryShare, size int) []byte {
	p.addLocked(s, int64(size))
	return p.drawLocked(size)
}

// standLocked puts w at the end of the share's line.
//
// +checklocks:p.mu
func (p *bufferPool) standLocked(s *memoryShare, w *poolWaiter) {
	p.tickets++
	w.ticket, w.share = p.tickets, s
	s.line.PushBack(w)
	s.waiters.Store(int32(s.line.Len()))
	if s.line.Len() == 1 {
		p.lines = append(p.lines, s)
		p.standing.Add(1)
		p.crowds.Add(1)
	}
}

// leave takes w out of the line. It is false when w was served in the same moment.
func (s *memoryShare) leave(w *poolWaiter) bool {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.granted || w.err != nil {
		return false
	}
	for i := range s.line.Len() {
		if s.line.At(i) == w {
			s.line.Remove(i)
			break
		}
	}
	p.shortenedLocked(s)
	p.serveLocked() // who stood behind w may fit now
	return true
}

// shortenedLocked follows the removal of a waiter.
//
// +checklocks:p.mu
func (p *bufferPool) shortenedLocked(s *memoryShare) {
	s.waiters.Store(int32(s.line.Len()))
	if s.line.Len() > 0 {
		return
	}
	for i, other := range p.lines {
		if other == s {
			last := len(p.lines) - 1
			p.lines[i] = p.lines[last]
			p.lines[last] = nil
			p.lines = p.lines[:last]
			p.standing.Add(-1)
			return
		}
	}
}

// describe says why size bytes can't be had, for who has waited for them in vain.
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
		return reason + fmt.Sprintf(": the cluster takes no records, or more slowly than they are sent; %s %d bytes", holder, p.countsLocked(s)), ErrBufferExhausted
	}
	return reason + fmt.Sprintf(": what is free is kept for other nodes; %s %d bytes already", holder, p.countsLocked(s)), ErrMemoryShare
}

// blockLimit bounds how long one Send may wait: max.block.ms, which its waits for metadata and for
// memory share. The clock is first read when there is something to wait for.
type blockLimit struct {
	max    time.Duration
	at     time.Time
	looked bool // once more, after a standstill
}

func (l *blockLimit) until() time.Time {
	if l.at.IsZero() {
		l.at = time.Now().Add(l.max)
	}
	return l.at
}

// over reports whether the wait has ended, by its timer or by ctx. If that was noticed much later than it was due the
// process stood still, and what is waited for may lie in the sockets: then it is not over until that is in (look), once.
func (l *blockLimit) over(ctx context.Context, timer *time.Timer, look func()) bool {
	byTimer := ctx.Err() == nil
	late := byTimer && time.Since(l.at) > lateWait || endedLate(ctx, lateWait)
	if l.looked || !late {
		return true
	}
	l.looked = true
	look()
	if byTimer {
		timer.Reset(0) // once more, if it has not come
	}
	return false
}

// waited is the time spent so far.
func (l *blockLimit) waited() time.Duration { return l.max - time.Until(l.until()) }
