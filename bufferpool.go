package quill

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/inspect"
)

// bufferPool is the one memory that all batches live in: buffer.memory bytes, never more.
//
// It hands out chunks. Chunks of the pooled sizes are kept and handed out again; any other size is
// made and dropped. Memory that is not handed out is either unallocated (a number) or in the free
// lists; both count as available.
//
// When a chunk cannot be had the caller waits in a queue. Waiters are served strictly in order: a
// newcomer never overtakes, so released memory accumulates for the first waiter until it has
// enough (Java accumulates it in the waiter; in the pool it has the same effect, and a waiter that
// gives up has nothing to return). A large request therefore cannot starve behind small ones.
//
// All memory is taken and returned by way of a share: a node's, which is limited, or the pool's own
// (embedded here, for what belongs to no node), which is not. See memoryShare.
type bufferPool struct {
	*memoryShare
	capacity int64
	sizes    []int                                 // pooled chunk sizes, ascending; set by newBufferPool
	onWait   func()                                // wakes the sender when an allocation waits (lingers end then); called without the lock
	lastLook func()                                // see engine.lastLook; called without the lock
	onWaited func(begin, now time.Time, err error) // counts an allocation that has waited; called without the lock
	raw      func(n int) []byte

	mu sync.Mutex
	// +checklocks:mu
	free [][][]byte // free[i]: chunks of sizes[i]
	// +checklocks:mu
	unallocated int64
	// +checklocks:mu
	shares map[int32]*memoryShare // by node: those that records went to
	// +checklocks:mu
	nodes []int32 // of the cluster, in order
	// +checklocks:mu
	stray int64 // bytes held for partitions without a leader and nodes that are not in the cluster
	// +checklocks:mu
	beyond int64 // bytes that all shares hold beyond their parts
	// +checklocks:mu
	waitingShares []*memoryShare // the shares that have waiters
	// +checklocks:mu
	tickets int64 // the last ticket; waiters get rising ones
	// +checklocks:mu
	idle []*poolWaiter // for reuse
	// +checklocks:mu
	closed bool

	queuesBegun atomic.Int64 // how often a share got its first waiter
	queues      atomic.Int32 // the length of waitingShares
}

// poolWaiter is one blocked allocate. granted and chunk belong to the pool's lock until ready is sent.
type poolWaiter struct {
	size    int
	ticket  int64
	share   *memoryShare
	granted bool
	chunk   []byte        // a pooled chunk, or nil: size bytes are reserved, to be allocated by fill
	err     error         // the pool was closed
	ready   chan struct{} // capacity 1
	timer   *time.Timer
}

// newBufferPool makes a pool of capacity bytes that keeps chunks of the given sizes.
func newBufferPool(capacity int64, sizes ...int) *bufferPool {
	p := &bufferPool{
		capacity: capacity, unallocated: capacity, sizes: sizes, free: make([][][]byte, len(sizes)), shares: map[int32]*memoryShare{},
		onWait: func() {}, lastLook: func() {}, onWaited: func(time.Time, time.Time, error) {},
		raw: func(n int) []byte { return make([]byte, n) },
	}
	p.memoryShare = &memoryShare{pool: p}
	return p
}

// waiterLocked returns a waiter for size bytes.
//
// +checklocks:p.mu
func (p *bufferPool) waiterLocked(size int) *poolWaiter {
	var w *poolWaiter
	if last := len(p.idle) - 1; last >= 0 {
		w = p.idle[last]
		p.idle[last] = nil
		p.idle = p.idle[:last]
	} else {
		w = &poolWaiter{ready: make(chan struct{}, 1), timer: time.NewTimer(forever)}
	}
	w.size = size
	return w
}

// retire keeps a waiter that is in no queue any more for reuse.
func (p *bufferPool) retire(w *poolWaiter) {
	w.timer.Stop()
	select {
	case <-w.ready: // served in the moment it gave up
	default:
	}
	w.granted, w.chunk, w.err, w.share = false, nil, nil, nil
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) < maxIdleWaiters {
		p.idle = append(p.idle, w)
	}
}

const maxIdleWaiters = 256

// close makes every present and future allocation fail with ErrClosed. Memory may still come back.
func (p *bufferPool) close() {
	p.mu.Lock()
	p.closed = true
	p.failLocked()
	p.mu.Unlock()
}

// +checklocks:p.mu
func (p *bufferPool) failLocked() {
	for len(p.waitingShares) > 0 {
		s := p.waitingShares[0]
		w := s.queue.PopFront()
		p.dequeuedLocked(s)
		w.err = newError(Error{Op: opWaitForMemory, Kind: ErrClosed, Reason: "producer closed while a send was waiting for memory"})
		w.ready <- struct{}{} // capacity 1, sent once
	}
}

// serveLocked gives memory to the first waiters, in order, until one of them does not fit.
//
// +checklocks:p.mu
func (p *bufferPool) serveLocked() {
	for s := p.nextLocked(); s != nil; s = p.nextLocked() {
		w := s.queue.Front()
		if int64(w.size) > p.availableLocked() {
			return
		}
		s.queue.PopFront()
		p.dequeuedLocked(s)
		w.chunk, w.granted = p.takeLocked(s, w.size), true
		w.ready <- struct{}{} // capacity 1, sent once
	}
}

// nextLocked returns the share whose first waiter is served next, nil if there is none: the waiter that came
// first among those whose shares allow their size.
//
// +checklocks:p.mu
func (p *bufferPool) nextLocked() *memoryShare {
	var next *memoryShare
	for _, s := range p.waitingShares {
		if w := s.queue.Front(); (next == nil || w.ticket < next.queue.Front().ticket) && p.allowedLocked(s, w.size) {
			next = s
		}
	}
	return next
}

// drawLocked reserves size bytes, which must be available. It returns a pooled chunk if one is free, else nil
// and deducts size from unallocated; it drops free chunks of other sizes for that.
//
// +checklocks:p.mu
func (p *bufferPool) drawLocked(size int) []byte {
	if i := p.class(size); i >= 0 && len(p.free[i]) > 0 {
		return p.popLocked(i)
	}
	for i := range p.free {
		for p.unallocated < int64(size) && len(p.free[i]) > 0 {
			p.popLocked(i)
			p.unallocated += int64(p.sizes[i])
		}
	}
	p.unallocated -= int64(size)
	return nil
}

// +checklocks:p.mu
func (p *bufferPool) popLocked(i int) []byte {
	last := len(p.free[i]) - 1
	chunk := p.free[i][last]
	p.free[i][last] = nil
	p.free[i] = p.free[i][:last]
	return chunk
}

// +checklocks:p.mu
func (p *bufferPool) availableLocked() int64 {
	n := p.unallocated
	for i, chunks := range p.free {
		n += int64(len(chunks)) * int64(p.sizes[i])
	}
	return n
}

func (p *bufferPool) class(size int) int {
	for i, s := range p.sizes {
		if s == size {
			return i
		}
	}
	return -1
}

// available returns how many bytes are not handed out, and the number of blocked allocations.
func (p *bufferPool) available() (bytes int64, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.availableLocked(), p.waitingLocked()
}

// inspect returns what there is to see of the memory.
func (p *bufferPool) inspect() inspect.Memory {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := inspect.Memory{Total: p.capacity, Available: p.availableLocked(), Waiters: p.waitingLocked(),
		Shares: make([]inspect.Share, 0, len(p.shares))}
	for _, node := range slices.Sorted(maps.Keys(p.shares)) {
		s := p.shares[node]
		m.Shares = append(m.Shares, inspect.Share{Node: node, Held: s.heldBytes, Part: p.partLocked(s), Waiters: s.queue.Len()})
	}
	return m
}

// +checklocks:p.mu
func (p *bufferPool) waitingLocked() (n int) {
	for _, s := range p.waitingShares {
		n += s.queue.Len()
	}
	return n
}

// starved reports whether an allocation waits for free memory, and not just for its node's share: then
// every batch that is sent helps.
func (p *bufferPool) starved() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.waitingShares {
		if size := s.queue.Front().size; int64(size) > p.availableLocked() || p.allowedLocked(s, size) {
			return true
		}
	}
	return false
}

// ample reports whether more than half of the memory is free.
func (p *bufferPool) ample() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.availableLocked() > p.capacity/2
}

func (p *bufferPool) tooLarge(size int) error {
	return newError(Error{Op: "send", Kind: ErrRecordTooLarge,
		Reason: fmt.Sprintf("the record needs %d bytes, buffer.memory is %d", size, p.capacity)})
}
