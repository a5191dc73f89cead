package quill

import (
	"runtime"
	"slices"
	"sync"

	"github.com/quill-kafka/quill/internal/invariant"
)

// sealCrew seals the batches of requests on more than one goroutine. The writer of a connection seals
// what it is about to write; with one node, or one that has most of the records, compression would
// have one processor then. So the sender offers requests that are large enough when it sends them, and
// workers begin with the oldest:
//
//	sender ── offer ──▶ waiting: [r1: b1 b2 b3] [r2: b4 b5]
//	                         ▲            ▲
//	     writer of r1, in Encode:         workers: the next batch of the
//	     the next batch of r1 ...         oldest request ...
//
// Each batch is taken once, by whoever comes first. A writer that finds all batches of its request
// taken waits until they are done: workers wait for nobody, so that is not long. Workers end when
// nothing waits; an idle producer has none.
//
// A request may come back before all of its batches are sealed, if its connection broke. Those that
// nobody took are left alone, and if a worker is busy with one, the request is back only when it is
// done: then it comes by the inbox. So a batch of a request that is back is nobody's but the sender's.
type sealCrew struct {
	most  int                     // workers; 0: writers do it alone. Set before anything is offered, as all of this group
	least int                     // bytes of records that are worth offering
	back  func(r *produceRequest) // brings the sender a request that it had to wait for

	wg sync.WaitGroup // workers

	mu sync.Mutex // list work only
	// +checklocks:mu
	waiting []*produceRequest // those with batches that nobody took, oldest first
	// +checklocks:mu
	workers int // running
	// +checklocks:mu
	writers int // sealing, and not waiting: with several nodes they may be enough
}

// sealProgress is how far the sealing of an offered request is. All but the first is under the crew's lock.
type sealProgress struct {
	offered bool // by the sender, before it is sent
	next    int  // the first batch that nobody took
	busy    int  // batches being sealed
	err     error
	awaited bool          // the writer waits
	back    bool          // the sender waits: the request is off the wire
	done    chan struct{} // to the writer; capacity 1
}

// hire allows a worker for each processor but that of the writer.
func (c *sealCrew) hire(box *inbox) {
	c.most, c.least, c.back = runtime.GOMAXPROCS(0)-1, worthOffering, box.giveBack
}

// worthOffering is how many bytes of records make up for the start of a worker.
const worthOffering = 64 << 10

// offer lets workers seal the batches of a request that is about to be sent. The first batch of an
// idle connection is the writer's: it is there at once.
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

// work is a worker.
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

// seal seals the batches of r that nobody took, and waits for the others. It runs on the writer.
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
	return p.err // nobody is busy with it any more
}

// nextLocked takes the next batch of r, which has one.
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

// sealed notes that one batch of r is done, or can't be.
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
	switch { // from here on the request is the writer's, or the sender's
	case awaited:
		p.done <- struct{}{} // capacity 1, sent once
	case back:
		c.back(r)
	}
}

// settle ends the sealing of a request that is off the wire. It is false if somebody is still busy
// with one of its batches: then the request comes once more, through back.
func (c *sealCrew) settle(r *produceRequest) bool {
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

// end lets the workers stop, and waits for them. Nothing may be offered any more.
func (c *sealCrew) end() {
	c.mu.Lock()
	for _, r := range c.waiting {
		r.sealing.next = len(r.batches) // its connection is gone
	}
	c.waiting = nil
	c.mu.Unlock()
	c.wg.Wait()
}
