package quill

import (
	"runtime"
	"slices"
	"sync"

	"github.com/quill-kafka/quill/internal/invariant"
)

// sealCrew seals the batches of requests on more than one goroutine. The writer of a connection seals
// the batches that it is about to write; with one node, or one that gets most of the records, compression
// would use only one processor. So the sender offers requests that are large enough when it sends them,
// and workers begin with the oldest:
//
//	sender ── offer ──▶ waiting: [r1: b1 b2 b3] [r2: b4 b5]
//	                         ▲            ▲
//	     writer of r1, in Encode:         workers: the next batch of the
//	     the next batch of r1 ...         oldest request ...
//
// Each batch is taken once, by the writer or a worker, whichever comes first. A writer that finds all
// batches of its request taken waits until they are done, which is soon, because workers never wait.
// Workers end when no request waits; an idle producer has none.
//
// A request may come back before all of its batches are sealed, if its connection broke. The batches that
// were not taken stay unsealed. If a worker is busy with one, the request is back only when that is done:
// then it comes through the inbox. So only the sender has the batches of a request that is back.
type sealCrew struct {
	most  int                     // workers; 0: writers do it alone. Like this whole group, set before anything is offered
	least int                     // bytes of records that are worth offering
	back  func(r *produceRequest) // brings the sender a request that it had to wait for

	wg sync.WaitGroup // workers

	mu sync.Mutex // list work only
	// +checklocks:mu
	waiting []*produceRequest // those with batches that were not taken, oldest first
	// +checklocks:mu
	workers int // running
	// +checklocks:mu
	writers int // sealing, and not waiting: with several nodes they may be enough
}

// sealProgress is the state of the sealing of an offered request. All fields but the first are under the crew's lock.
type sealProgress struct {
	offered bool // by the sender, before it is sent
	next    int  // the first batch that was not taken
	busy    int  // batches being sealed
	err     error
	awaited bool          // the writer waits
	back    bool          // the sender waits: the request is off the wire
	done    chan struct{} // to the writer; capacity 1
}

// hire allows a worker for each processor but the writer's.
func (c *sealCrew) hire(box *inbox) {
	c.most, c.least, c.back = runtime.GOMAXPROCS(0)-1, worthOffering, box.giveBack
}

// worthOffering is the number of bytes of records for which it pays to start a worker.
const worthOffering = 64 << 10

// offer lets workers seal the batches of a request that is about to be sent. On an idle connection the
// first batch is left to the writer, which begins at once.
func (c *sealCrew) offer(r *produceRequest, idle bool) {
	size, batches := r.size, len(r.batches)
	if idle {
		size, batches = size-r.batches[0].size(), batches-1
	}
	if c.most == 0 || batches == 0 || size < c.least {
		return
	}
	p := &r.sealing
	p.offered = true
	if p.done == nil {
		p.done = make(chan struct{}, 1)
	}
	c.mu.Lock()
	c.waiting = append(c.waiting, r)
	start := max(0, min(c.most-c.workers-max(0, c.writers-1), batches, size/max(1, c.least)))
	c.workers += start
	c.mu.Unlock()
	s := r.sealer // r may be back before a worker begins
	for range start {
		c.wg.Go(func() { c.work(s) }) // ends when nothing waits; see end
	}
}

// work runs a worker: it seals batches of the oldest request until no request waits.
func (c *sealCrew) work(s *sealer) {
	for {
		c.mu.Lock()
		if len(c.waiting) == 0 {
			c.workers--
			c.mu.Unlock()
			return
		}
		r := c.waiting[0]
		b := c.nextLocked(r)
		c.mu.Unlock()
		c.sealed(r, b.seal(s))
	}
}

// seal seals the batches of r that were not taken, and waits for the others. The connection's writer calls it.
func (c *sealCrew) seal(s *sealer, r *produceRequest) error {
	p := &r.sealing
	c.mu.Lock()
	c.writers++
	for p.next < len(r.batches) {
		b := c.nextLocked(r)
		c.mu.Unlock()
		c.sealed(r, b.seal(s))
		c.mu.Lock()
	}
	c.writers--
	wait := p.busy > 0
	p.awaited = wait
	c.mu.Unlock()
	if wait {
		<-p.done
	}
	return p.err // without the lock, because no worker is busy with r any more
}

// nextLocked takes the next batch of r, which must have one.
//
// +checklocks:c.mu
func (c *sealCrew) nextLocked(r *produceRequest) *batch {
	p := &r.sealing
	b := r.batches[p.next]
	p.next++
	p.busy++
	if p.next == len(r.batches) {
		c.withdrawLocked(r)
	}
	return b
}

// +checklocks:c.mu
func (c *sealCrew) withdrawLocked(r *produceRequest) {
	if i := slices.Index(c.waiting, r); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
}

// sealed notes that one batch of r is sealed, or that it failed with err.
func (c *sealCrew) sealed(r *produceRequest, err error) {
	p := &r.sealing
	c.mu.Lock()
	p.busy--
	if err != nil && p.err == nil {
		p.err = err
	}
	last := p.busy == 0 && p.next == len(r.batches)
	awaited, back := last && p.awaited, last && p.back
	if awaited {
		p.awaited = false
	}
	c.mu.Unlock()
	switch { // from here on the writer or the sender owns the request
	case awaited:
		p.done <- struct{}{} // capacity 1, sent once
	case back:
		c.back(r)
	}
}

// endSealing ends the sealing of a request that is off the wire. It returns false if a worker is still busy
// with one of its batches: then the request comes once more, through back.
func (c *sealCrew) endSealing(r *produceRequest) bool {
	p := &r.sealing
	if !p.offered {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.next < len(r.batches) {
		p.next = len(r.batches)
		c.withdrawLocked(r)
	}
	p.back = p.busy > 0
	invariant.Check(!p.awaited, "request is back while its writer waits")
	return !p.back
}

// end lets the workers stop and blocks until they have. Nothing may be offered after it.
func (c *sealCrew) end() {
	c.mu.Lock()
	for _, r := range c.waiting {
		r.sealing.next = len(r.batches) // its connection is gone
	}
	c.waiting = nil
	c.mu.Unlock()
	c.wg.Wait()
}
