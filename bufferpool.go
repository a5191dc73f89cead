package quill

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/quill-kafka/quill/internal/deque"
	"github.com/quill-kafka/quill/internal/invariant"
)

// bufferPool is the one memory that all batches live in: buffer.memory bytes, never more.
//
// It hands out chunks. Chunks of the pooled sizes are kept and handed out again; any other size is
// made and dropped. Memory that is not handed out is either unallocated (a number) or lies in the
// free lists; both count as available.
//
// When a chunk cannot be had the caller waits in a queue. Waiters are served strictly in order: a
// newcomer never overtakes, so memory that comes back piles up for the first waiter until it has
// enough (Java accumulates it in the waiter; leaving it in the pool comes to the same, and a waiter
// that gives up has nothing to return). A large request therefore cannot starve behind small ones.
type bufferPool struct {
	capacity int64
	sizes    []int  // pooled chunk sizes, ascending; set by newBufferPool
	onWait   func() // tells the sender that somebody waits (it then cuts lingers); called without the lock
	raw      func(n int) []byte

	mu sync.Mutex
	// +checklocks:mu
	free [][][]byte // free[i]: chunks of sizes[i]
	// +checklocks:mu
	unallocated int64
	// +checklocks:mu
	waiters deque.Deque[*poolWaiter]
	// +checklocks:mu
	idle []*poolWaiter // to be used again
	// +checklocks:mu
	closed bool
}

// poolWaiter is one blocked allocate. granted and chunk belong to the pool's lock until ready is sent.
type poolWaiter struct {
	size    int
	granted bool
	chunk   []byte        // a pooled chunk, or nil: size bytes are reserved, make them
	err     error         // the pool was closed
	ready   chan struct{} // capacity 1
	timer   *time.Timer
}

// newBufferPool makes a pool of capacity bytes that keeps chunks of the given sizes.
func newBufferPool(capacity int64, sizes ...int) *bufferPool {
	return &bufferPool{
		capacity: capacity, unallocated: capacity, sizes: sizes, free: make([][][]byte, len(sizes)),
		onWait: func() {}, raw: func(n int) []byte { return make([]byte, n) },
	}
}

// tryAllocate returns a chunk of exactly size bytes (capacity; length 0) if that needs no waiting.
func (p *bufferPool) tryAllocate(size int) ([]byte, error) {
	if int64(size) > p.capacity {
		return nil, p.tooLarge(size)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, &Error{Op: "allocate", Kind: ErrClosed, Partition: -1}
	}
	if p.waiters.Len() > 0 || int64(size) > p.availableLocked() {
		p.mu.Unlock()
		return nil, ErrWouldBlock
	}
	chunk := p.takeLocked(size)
	p.mu.Unlock()
	return p.fill(chunk, size), nil
}

// allocate returns a chunk of exactly size bytes, waiting in line until the limit or ctx's end. The
// error is ErrBufferExhausted, ErrRecordTooLarge (it can never fit), ErrClosed, or ctx's.
func (p *bufferPool) allocate(ctx context.Context, size int, until *blockLimit) ([]byte, error) {
	if int64(size) > p.capacity {
		return nil, p.tooLarge(size)
	}
	w := p.join(size)
	start := time.Now()
	limit := until.until()
	w.timer.Reset(limit.Sub(start))
	defer p.retire(w)
	var cause error
	select {
	case <-w.ready:
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case <-w.timer.C:
		cause = ErrBufferExhausted
	}
	if cause == nil || !p.leave(w) {
		if w.err != nil {
			return nil, w.err
		}
		return p.fill(w.chunk, size), nil
	}
	if cause != ErrBufferExhausted {
		return nil, &Error{Op: "wait for buffer memory", Kind: cause, Partition: -1, Elapsed: time.Since(start)}
	}
	return nil, &Error{Op: "wait for buffer memory", Kind: ErrBufferExhausted, Partition: -1, Elapsed: limit.Sub(start), Reason: p.describe(size)}
}

// join puts a waiter at the end of the line.
func (p *bufferPool) join(size int) *poolWaiter {
	p.mu.Lock()
	w := p.waiterLocked(size)
	p.waiters.PushBack(w)
	if p.closed {
		p.failLocked()
	} else {
		p.serveLocked() // memory may have come back in between
	}
	p.mu.Unlock()
	p.onWait()
	return w
}

// waiterLocked is a waiter for size bytes.
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

// retire keeps a waiter that is out of the line for the next.
func (p *bufferPool) retire(w *poolWaiter) {
	w.timer.Stop()
	select {
	case <-w.ready: // served in the moment it gave up
	default:
	}
	w.granted, w.chunk, w.err = false, nil, nil
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) < maxIdleWaiters {
		p.idle = append(p.idle, w)
	}
}

const maxIdleWaiters = 256

// leave takes w out of the line. It is false when w was served in the same moment.
func (p *bufferPool) leave(w *poolWaiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.granted || w.err != nil {
		return false
	}
	for i := range p.waiters.Len() {
		if p.waiters.At(i) == w {
			p.waiters.Remove(i)
			break
		}
	}
	p.serveLocked() // who stood behind w may fit now
	return true
}

// fill makes the memory of a reservation that no pooled chunk answered. If that panics the
// reservation goes back.
func (p *bufferPool) fill(chunk []byte, size int) []byte {
	if chunk != nil {
		return chunk
	}
	done := false
	defer func() {
		if !done {
			p.giveBack(int64(size), nil)
		}
	}()
	chunk = p.raw(size)[:0:size]
	done = true
	return chunk
}

// release returns a chunk that (try)allocate gave out. The caller must not touch it again.
func (p *bufferPool) release(chunk []byte) {
	chunk = chunk[:cap(chunk)]
	invariant.Poison(chunk)
	p.giveBack(int64(cap(chunk)), chunk[:0])
}

// overdraw returns a chunk at once, even if that makes the available memory negative until others
// return theirs. Only for the parts of a batch being split, whose own memory follows right after.
func (p *bufferPool) overdraw(size int) []byte {
	p.mu.Lock()
	chunk := p.takeLocked(size)
	p.mu.Unlock()
	return p.fill(chunk, size)
}

func (p *bufferPool) giveBack(n int64, chunk []byte) {
	p.mu.Lock()
	if i := p.class(int(n)); i >= 0 && chunk != nil {
		p.free[i] = append(p.free[i], chunk)
	} else {
		p.unallocated += n
	}
	invariant.Check(p.availableLocked() <= p.capacity, "buffer pool: %d bytes available of %d", p.availableLocked(), p.capacity)
	p.serveLocked()
	p.mu.Unlock()
}

// close makes every present and future allocation fail with ErrClosed. Memory may still come back.
func (p *bufferPool) close() {
	p.mu.Lock()
	p.closed = true
	p.failLocked()
	p.mu.Unlock()
}

// +checklocks:p.mu
func (p *bufferPool) failLocked() {
	for p.waiters.Len() > 0 {
		w := p.waiters.PopFront()
		w.err = &Error{Op: "wait for buffer memory", Kind: ErrClosed, Partition: -1, Reason: "producer closed while a send was waiting for memory"}
		w.ready <- struct{}{} // capacity 1, sent once
	}
}

// serveLocked gives memory to the first waiters, in order, as far as it goes.
//
// +checklocks:p.mu
func (p *bufferPool) serveLocked() {
	for p.waiters.Len() > 0 && int64(p.waiters.Front().size) <= p.availableLocked() {
		w := p.waiters.PopFront()
		w.chunk, w.granted = p.takeLocked(w.size), true
		w.ready <- struct{}{} // capacity 1, sent once
	}
}

// takeLocked reserves size bytes, which must be available: a pooled chunk if one is there, else nil
// and the number is deducted; free chunks of other sizes are dropped for it.
//
// +checklocks:p.mu
func (p *bufferPool) takeLocked(size int) []byte {
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

// available is the memory not handed out; waiting the number of blocked allocations.
func (p *bufferPool) available() (bytes int64, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.availableLocked(), p.waiters.Len()
}

func (p *bufferPool) describe(size int) string {
	free, waiting := p.available()
	return fmt.Sprintf("%d bytes wanted, %d of %d (buffer.memory) available, %d sends waiting: the cluster takes records more slowly than they are sent", size, free, p.capacity, waiting)
}

func (p *bufferPool) tooLarge(size int) error {
	return &Error{Op: "allocate", Kind: ErrRecordTooLarge, Partition: -1,
		Reason: fmt.Sprintf("the record needs %d bytes, buffer.memory is %d", size, p.capacity)}
}
