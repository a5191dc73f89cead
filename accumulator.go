package quill

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/metadata"
)

// accumulator collects records into batches, one queue of batches per partition, all over one
// bounded pool of memory.
//
// The way in: Send finds the topic (a lock-free map), the partition's queue, and appends under that
// queue's own mutex; nothing else is locked per record. If the queue has no open batch with room, it
// takes memory from the pool with no lock held (this may wait), then looks again: somebody may have
// been faster. The queue tells the sender "look at me" when a batch was opened or closed, at most
// once until the sender looked.
//
// The way out: the sender looks at the queues it was told of, and takes their oldest batch when it
// is ready: full, or past its linger, or wanted by a flush, a close, a waiting sender. It never
// walks all partitions.
//
// Batches that have no outcome yet are also linked into one list by age, for Flush (which waits for
// those present when it was called), for expiry (the oldest is in front) and for a forced close.
type accumulator struct {
	limits          batchLimits
	linger          time.Duration
	deliveryTimeout time.Duration
	pool            *bufferPool
	clock           *coarseClock
	inbox           *inbox

	topics     atomic.Pointer[map[string]*topicState] // copied on write
	recent     atomic.Pointer[topicState]             // one of them that was sent to: most producers have one topic
	inCallback func() bool                            // whether the caller runs in a callback, where it must not wait for memory

	waiting atomic.Bool           // somebody waits for memory: lingers are cut
	refused atomic.Pointer[Error] // why no more appends are taken; nil: they are

	topicsMu sync.Mutex // serializes writers of topics

	// What is above is read with each record. What follows is written with each batch, by three goroutines, and fills
	// one cache line of its own: TestTheListOfBatchesHasItsCacheLine.

	mu sync.Mutex // the list of incomplete batches and the free batches: list work only
	// +checklocks:mu
	first *batch
	// +checklocks:mu
	last *batch
	// +checklocks:mu
	young *batch // all before it have left, or have been aged: see sender.ageOpen
	// +checklocks:mu
	lastTold *batch // the last one that went to the dispatcher, until it is through with it: Flush waits for it too
	// +checklocks:mu
	free *batch // linked by next
	// +checklocks:mu
	flushMark int64
	// +checklocks:mu
	incomplete int32
	// +checklocks:mu
	kept int16 // how many are free
	// +checklocks:mu
	ended bool // the sender is gone: nothing may be opened

	// +checklocks:mu
	reasons [refusals]*Error // of these, refused is the gravest

	holdUp   func(topic string, partition int32) error // see engine.holdUp; read-only
	lastLook func()                                    // see engine.lastLook; read-only

	_ [24]byte // up to a size that begins at a cache line
}

// appendInput is one record on its way into a batch.
type appendInput struct {
	bytesRecord
	timestamp int64 // the record's Timestamp in milliseconds; -1: now
	callback  Callback
	shared    bool // a Future will look at the result
	urgent    bool // don't linger
	maxSize   int  // upper bound of the encoded record
}

// position is where a record was appended.
type position struct {
	res   *result
	index int32
}

// errMoved says that the sticky partitioner moved on while the caller was on its way.
var errMoved = &Error{Op: "append", Reason: "the sticky partition changed"}

var errMemoryInCallback = &Error{Op: "send", Kind: ErrInCallback, Partition: -1, Node: -1,
	Reason: "buffer memory is used up, and only the end of callbacks brings it back"}

func newAccumulator(s *settings, box *inbox, clock *coarseClock) *accumulator {
	a := &accumulator{
		limits: newBatchLimits(s.batchSize, s.bufferMemory, s.codec != 0), linger: s.linger,
		deliveryTimeout: s.deliveryTimeout, clock: clock, inbox: box,
	}
	a.pool = newBufferPool(s.bufferMemory, a.limits.sizes()...)
	a.pool.onWait = func() {
		if !a.waiting.Swap(true) {
			box.nudge()
		}
	}
	a.topics.Store(new(map[string]*topicState{}))
	return a
}

// append adds the record to partition q's open batch, opening one if need be. It may wait for
// memory (in line, until limit or ctx's end; limit nil: it does not wait). A record that goes where
// the sticky partitioner says comes with its lane; if that moved on, append returns errMoved, having
// done nothing.
func (a *accumulator) append(ctx context.Context, q *partitionQueue, in *appendInput, lane *stickyLane, limit *blockLimit) (position, error) {
	timestamp := in.timestamp
	if timestamp < 0 {
		timestamp = a.clock.millis()
	}
	q.lockFor(lane)
	at, ok := a.addLocked(q, in, timestamp, lane)
	none := q.open.batch == nil
	q.mu.Unlock()
	if ok {
		return at, nil
	}
	share, chunk := a.share(q), []byte(nil)
	if none { // place would find that out; if memory is short, it will
		chunk, _ = share.tryAllocate(a.limits.firstSize(in.maxSize))
	}
	return a.place(ctx, q, in, timestamp, lane, limit, share, chunk)
}

// addLocked is the short way that nearly all records take: there is an open batch with room to
// spare, and nothing to tell the sender.
//
// +checklocks:q.mu
func (a *accumulator) addLocked(q *partitionQueue, in *appendInput, timestamp int64, lane *stickyLane) (at position, ok bool) {
	o := &q.open
	if o.free() < in.maxSize || a.refused.Load() != nil || in.urgent && !o.batch.urgent || lane != nil && lane.present() != q.index ||
		!a.limits.room(o.raw(), in.maxSize, &q.topic.ratio) {
		return at, false
	}
	o.add(timestamp, &in.bytesRecord, in.callback)
	o.shared = o.shared || in.shared
	o.sticky = o.sticky || lane != nil
	return o.latest(), true
}

// place appends a record that needs more than that. chunk is memory of share at hand that no batch
// has yet, or nil; what is not used of it goes back.
func (a *accumulator) place(ctx context.Context, q *partitionQueue, in *appendInput, timestamp int64, lane *stickyLane, limit *blockLimit, share *memoryShare, chunk []byte) (position, error) {
	for {
		q.mu.Lock()
		p := a.placeLocked(q, in, timestamp, lane, share, chunk)
		news, push := q.newsLocked()
		q.mu.Unlock()

		if p.used {
			chunk = nil
		}
		a.inbox.tell(news, push)
		if p.closedOne && lane != nil {
			a.balance(q.topic)
		}
		if chunk != nil && (cap(chunk) != p.need || p.share != share) { // somebody else made room meanwhile
			share.release(chunk)
			chunk = nil
		}
		if p.need == 0 {
			return p.at, p.err
		}
		share = p.share
		var err error
		if chunk, err = share.tryAllocate(p.need); err == ErrWouldBlock {
			chunk, err = a.await(ctx, q, share, p.need, lane, limit)
			if in.timestamp < 0 {
				timestamp = a.clock.fresh() // it has waited
			}
		}
		if err != nil {
			return position{}, err
		}
	}
}

// placement is what placeLocked did.
type placement struct {
	at        position
	err       error
	need      int          // the size of the chunk without which it can't go on; 0: it is done
	share     *memoryShare // whose chunk it should be
	used      bool         // the chunk given is in a batch now
	closedOne bool         // a batch became full
}

// placeLocked appends the record, closing the open batch if it is full, and growing it or opening
// the next one with share's chunk if that is what is needed.
//
// +checklocks:q.mu
func (a *accumulator) placeLocked(q *partitionQueue, in *appendInput, timestamp int64, lane *stickyLane, share *memoryShare, chunk []byte) (p placement) {
	for {
		p.share = share
		if err := a.refused.Load(); err != nil {
			p.err = err
			return p
		}
		if q.shut {
			p.err = errForgotten
			return p
		}
		if lane != nil && q.topic.sticky.peek(lane, q.topic.info.Load()) != q.index {
			p.err = errMoved
			return p
		}
		o := &q.open
		if o.batch == nil {
			if p.need = a.limits.firstSize(in.maxSize); chunk == nil || cap(chunk) != p.need {
				return p
			}
			p.need = 0
			opened, ok := a.openLocked(q, share, chunk, in, timestamp)
			if !ok {
				p.err = a.refusedOr(errClosedSend)
				return p
			}
			chunk, p.used, timestamp = nil, true, opened
			continue
		}
		switch o.tryAdd(in, timestamp, &a.limits, &q.topic.ratio) {
		case appendDone:
			o.sticky = o.sticky || lane != nil
			if in.urgent && !o.batch.urgent {
				o.batch.urgent = true
				q.hint = hintNow
			}
			p.at = o.latest()
			if !a.limits.room(o.raw(), 1, &q.topic.ratio) { // full to the brim, or one record larger than batch.size: no linger
				q.closeLocked(a.limits.size)
				q.hint = hintNow
				p.closedOne = true
			}
			return p
		case appendNeedChunk:
			if p.need = a.limits.nextChunk(o.batch, in.maxSize); p.need != 0 {
				if p.share = o.batch.share; chunk == nil || cap(chunk) != p.need || share != p.share {
					return p
				}
				o.grow(chunk)
				chunk, p.need, p.used = nil, 0, true
				continue
			}
		}
		q.closeLocked(a.limits.size)
		q.hint = hintNow
		p.closedOne = true
	}
}

// openLocked begins a new batch at the end of the queue and returns the time of its first record. ok is false
// when nobody would send it any more; the chunk is then still the caller's.
//
// +checklocks:q.mu
func (a *accumulator) openLocked(q *partitionQueue, share *memoryShare, chunk []byte, in *appendInput, timestamp int64) (_ int64, ok bool) {
	now := time.Now()
	if a.clock.advance(now.UnixMilli()); in.timestamp < 0 {
		timestamp = now.UnixMilli()
	}
	b := a.open(q, share, chunk, timestamp, now)
	if b == nil {
		return 0, false
	}
	q.numbers += numberGap
	b.number, b.width = q.numbers, numberGap
	q.batches.PushBack(b)
	q.open.begin(b)
	q.length.Store(int32(q.batches.Len()))
	if a.waiting.Load() || share.waiters.Load() > 0 {
		q.hint = hintNow
	}
	q.hint = min(q.hint, a.inbox.instant(now.Add(a.linger)))
	return timestamp, true
}

// stillWaiting reports whether somebody waits for memory that any batch could bring back.
func (a *accumulator) stillWaiting() bool {
	if !a.waiting.Load() {
		return false
	}
	a.waiting.Store(false) // before the look: who comes after it sets it again
	short := a.pool.short()
	if short {
		a.waiting.Store(true)
	}
	return short
}

// hasRoom reports whether the record would fit into the queue's open batch.
func (a *accumulator) hasRoom(q *partitionQueue, in *appendInput) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	o := &q.open
	return o.batch != nil && (len(o.meta) == 0 || a.limits.room(o.raw(), in.maxSize, &q.topic.ratio))
}

// refusal is a reason why no appends are taken, the gravest first.
type refusal uint8

const (
	refusedByFatal       refusal = iota // the producer can't go on
	refusedByClose                      // it is closed
	refusedByTransaction                // no transaction is open, or the one that is has failed
	refusals
)

// refuse sets a reason, or with nil takes it back. Of those that hold, append is told the gravest. Once
// refuse has returned no batch is opened until all are taken back; batches that are open may still get
// records, until they are closed.
func (a *accumulator) refuse(why refusal, err *Error) {
	a.mu.Lock() // as open: whoever opens a batch has listed it by now, or sees the reason
	defer a.mu.Unlock()
	a.reasons[why] = err
	var gravest *Error
	for _, err := range a.reasons {
		if gravest = err; gravest != nil {
			break
		}
	}
	a.refused.Store(gravest)
}

// refusedOr is why appends are refused, or else err.
func (a *accumulator) refusedOr(err *Error) *Error {
	if r := a.refused.Load(); r != nil {
		return r
	}
	return err
}

// await is for a record that finds no memory: it waits for it, if it may, or goes elsewhere.
func (a *accumulator) await(ctx context.Context, q *partitionQueue, share *memoryShare, size int, lane *stickyLane, limit *blockLimit) ([]byte, error) {
	switch {
	case lane != nil && share.full(size) && a.goElsewhere(q, size, lane):
		return nil, errMoved
	case limit == nil:
		return nil, ErrWouldBlock
	case a.inCallback():
		return nil, errMemoryInCallback
	case limit.max <= 0:
		return nil, share.refuse(size)
	}
	return share.allocate(ctx, size, limit)
}

// goElsewhere takes the lane from partition q, whose node may hold no more memory, to one for which
// there is some right now. It is false if there is none.
func (a *accumulator) goElsewhere(q *partitionQueue, size int, lane *stickyLane) bool {
	info := q.topic.info.Load()
	if info == nil {
		return false
	}
	return q.topic.sticky.leave(lane, info, q.index, func(partition int32) bool {
		return a.pool.share(info.Partitions[partition].Leader).ready(size)
	})
}

// setNodes has the memory shared among the nodes of next. It comes before the topics learn what next says of their
// leaders: while a node is gone from a topic and not yet from here, a Send would take the partitions without a leader
// for one share and the node for another, which leave nothing of a small buffer to live nodes.
func (a *accumulator) setNodes(next *metadata.Snapshot) {
	if next.Empty() {
		return
	}
	ids := make([]int32, 0, next.NodeCount())
	for n := range next.Nodes() {
		ids = append(ids, n.ID)
	}
	a.pool.setNodes(ids...)
}

// share is the memory of the node that leads the partition.
func (a *accumulator) share(q *partitionQueue) *memoryShare {
	node := int32(unknownNode)
	if info := q.topic.info.Load(); info != nil && int(q.index) < len(info.Partitions) {
		node = info.Partitions[q.index].Leader
	}
	s := q.share.Load()
	if s == nil || s.node != node {
		s = a.pool.share(node)
		q.share.Store(s)
	}
	return s
}
