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
// takes memory from the pool with no lock held (this may wait), then checks again: another Send may
// have opened a batch meanwhile. The queue notifies the sender when a batch was opened or closed, at
// most once until the sender has checked it.
//
// The way out: the sender checks the queues that notified it, and takes their oldest batch when it
// is ready: full, or past its linger, or wanted by a flush, a close, a waiting Send. It never
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

	waiting  atomic.Bool           // a Send waits for memory: lingers are cut
	closedBy atomic.Pointer[Error] // the error that appends fail with; nil: they are accepted

	topicsMu sync.Mutex // serializes writers of topics

	// The fields above are read with each record. Those below are written with each batch, by three goroutines, and fill
	// one cache line of their own: TestTheListOfBatchesHasItsCacheLine.

	mu sync.Mutex // the list of incomplete batches and the free batches: list work only
	// +checklocks:mu
	first *batch
	// +checklocks:mu
	last *batch
	// +checklocks:mu
	young *batch // all before it were drained, or have been aged: see sender.ageOpen
	// +checklocks:mu
	lastCompleted *batch // the last one that went to the dispatcher, until the dispatcher has finished it: Flush waits for it too
	// +checklocks:mu
	free *batch // linked by next
	// +checklocks:mu
	flushMark int64
	// +checklocks:mu
	incomplete int32
	// +checklocks:mu
	kept int16 // the length of the list free
	// +checklocks:mu
	ended bool // the sender has ended: nothing may be opened

	// +checklocks:mu
	reasons [closeReasons]*Error // closedBy is the gravest of these

	holdUp   func(topic string, partition int32) error // see engine.holdUp; read-only
	lastLook func()                                    // see engine.lastLook; read-only
	measures *measures                                 // read-only

	_ [16]byte // pads the struct to a size class that is aligned to cache lines
}

// appendInput is the input of append: one record and how to append it.
type appendInput struct {
	record    bytesRecord
	timestamp int64 // record.Timestamp in milliseconds; -1: now
	callback  Callback
	hasFuture bool // a Future will read the result
	urgent    bool // don't linger
	maxSize   int  // upper bound of the encoded record
}

// position is where a record was appended.
type position struct {
	res   *result
	index int32
}

// appended reports whether at is the position of a record; the zero position is none.
func (at position) appended() bool { return at.res != nil }

// errMoved says that the sticky partitioner moved on after the caller had asked it for the partition.
var errMoved = &Error{Op: "append", Reason: "the sticky partition changed"}

var errMemoryInCallback = newError(Error{Op: "send", Kind: ErrInCallback,
	Reason: "buffer memory is used up, and only the end of callbacks brings it back"})

func newAccumulator(s *settings, box *inbox, clock *coarseClock) *accumulator {
	a := &accumulator{
		limits: newBatchLimits(s.batchSize, s.bufferMemory, s.codec != 0), linger: s.linger,
		deliveryTimeout: s.deliveryTimeout, clock: clock, inbox: box,
		measures: newMeasures(s.metricsNumSamples, s.metricsSampleWindow, box.start),
	}
	a.pool = newBufferPool(s.bufferMemory, a.limits.sizes()...)
	a.pool.onWait = func() {
		if !a.waiting.Swap(true) {
			box.wakeNow()
		}
	}
	a.pool.onWaited = a.measures.waitedForMemory
	a.topics.Store(new(map[string]*topicState{}))
	return a
}

// append adds the record to partition q's open batch, opening one if need be. It may wait for
// memory (in a queue, until limit or ctx's end; limit nil: it does not wait). For a record that the
// sticky partitioner places, lane is that of the partition; if the lane moved on, append returns
// errMoved, having done nothing.
//
// Java: RecordAccumulator.append.
func (a *accumulator) append(
	ctx context.Context, q *partitionQueue, in *appendInput, lane *stickyLane, limit *blockLimit,
) (position, error) {
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
	if none { // spares place a second round; if there is no memory now, place waits for it
		chunk, _ = share.tryAllocate(a.limits.firstSize(in.maxSize))
	}
	return a.place(ctx, q, in, timestamp, lane, limit, share, chunk)
}

// addLocked adds the record if there is an open batch with room to spare and the sender need not be
// notified, which is so for nearly all records.
//
// +checklocks:q.mu
func (a *accumulator) addLocked(q *partitionQueue, in *appendInput, timestamp int64, lane *stickyLane) (at position, ok bool) {
	o := &q.open
	if o.free() < in.maxSize || a.closedBy.Load() != nil || in.urgent && !o.batch.urgent || lane != nil && lane.present() != q.index ||
		!a.limits.room(o.raw(), in.maxSize, &q.topic.ratio) {
		return at, false
	}
	o.largest = max(o.largest, int32(in.maxSize))
	o.add(timestamp, &in.record, in.callback)
	o.hasFuture = o.hasFuture || in.hasFuture
	o.sticky = o.sticky || lane != nil
	return o.latest(), true
}

// place appends a record that addLocked did not. chunk is memory of share that no batch has yet, or nil;
// place releases it if it does not use it. It may wait for memory, as append.
func (a *accumulator) place(
	ctx context.Context, q *partitionQueue, in *appendInput, timestamp int64, lane *stickyLane, limit *blockLimit,
	share *memoryShare, chunk []byte,
) (position, error) {
	for {
		q.mu.Lock()
		p := a.placeLocked(q, in, timestamp, lane, share, chunk)
		news, push := q.newsLocked()
		q.mu.Unlock()

		if p.used {
			chunk = nil
		}
		a.inbox.notify(news, push)
		if p.closedOne && lane != nil {
			a.balance(q.topic)
		}
		if chunk != nil && (cap(chunk) != p.need || p.share != share) { // another Send made room meanwhile
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

// placement is the result of placeLocked.
type placement struct {
	at        position
	err       error
	need      int          // the size of the chunk that is missing; 0: the append is done
	share     *memoryShare // the share to take that chunk from
	used      bool         // the chunk given is in a batch now
	closedOne bool         // a batch became full
}

// placeLocked appends the record. It closes the open batch if it is full, and grows it or opens the next
// one with share's chunk if it has to.
//
// +checklocks:q.mu
func (a *accumulator) placeLocked(
	q *partitionQueue, in *appendInput, timestamp int64, lane *stickyLane, share *memoryShare, chunk []byte,
) (p placement) {
	for {
		p.share = share
		if err := a.closedBy.Load(); err != nil {
			p.err = err
			return p
		}
		if q.forgotten {
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
				p.err = a.closedByOr(errClosedSend)
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
// when beginBatch refuses because the producer takes no records; the chunk is then still the caller's.
//
// +checklocks:q.mu
func (a *accumulator) openLocked(q *partitionQueue, share *memoryShare, chunk []byte, in *appendInput, timestamp int64) (_ int64, ok bool) {
	now := time.Now()
	if a.clock.advance(now.UnixMilli()); in.timestamp < 0 {
		timestamp = now.UnixMilli()
	}
	b := a.beginBatch(q, share, chunk, timestamp, now)
	if b == nil {
		return 0, false
	}
	q.numbers += numberGap
	b.number, b.width = q.numbers, numberGap
	q.batches.PushBack(b)
	q.open.begin(b, a.limits.compress)
	q.length.Store(int32(q.batches.Len()))
	if a.waiting.Load() || share.waiters.Load() > 0 {
		q.hint = hintNow
	}
	q.hint = min(q.hint, a.inbox.instant(now.Add(min(a.linger, a.deliveryTimeout/oldPart)))) // see sender.ageOpen
	return timestamp, true
}

// stillWaiting reports whether a Send waits for memory that any batch could bring back.
func (a *accumulator) stillWaiting() bool {
	if !a.waiting.Load() {
		return false
	}
	a.waiting.Store(false) // before the check: a Send that begins to wait after it sets it again
	starved := a.pool.starved()
	if starved {
		a.waiting.Store(true)
	}
	return starved
}

// hasRoom reports whether the record would fit into the queue's open batch.
func (a *accumulator) hasRoom(q *partitionQueue, in *appendInput) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	o := &q.open
	return o.batch != nil && (len(o.meta) == 0 || a.limits.room(o.raw(), in.maxSize, &q.topic.ratio))
}

// closeReason is a reason why no appends are taken, the gravest first.
type closeReason uint8

const (
	closedByFatal       closeReason = iota // the producer can't go on
	closedByClose                          // it is closed
	closedByTransaction                    // no transaction is open, or the one that is has failed
	closeReasons
)

// closeFor sets a reason, or with nil takes it back. append fails with the gravest of those that are set. Once
// closeFor has returned, no batch is opened until all are taken back; batches that are open may still get
// records, until they are closed.
func (a *accumulator) closeFor(why closeReason, err *Error) {
	a.mu.Lock() // as beginBatch does: a batch that is opened is listed by now, or beginBatch sees the reason
	defer a.mu.Unlock()
	a.reasons[why] = err
	var gravest *Error
	for _, err := range a.reasons {
		if gravest = err; gravest != nil {
			break
		}
	}
	a.closedBy.Store(gravest)
}

// closedByOr returns the error that appends fail with, or err if they are accepted.
func (a *accumulator) closedByOr(err *Error) *Error {
	if r := a.closedBy.Load(); r != nil {
		return r
	}
	return err
}

// await handles a record that finds no memory: it waits for memory if it may, or moves the lane to another
// partition and returns errMoved.
func (a *accumulator) await(
	ctx context.Context, q *partitionQueue, share *memoryShare, size int, lane *stickyLane, limit *blockLimit,
) ([]byte, error) {
	switch {
	case lane != nil && share.full(size) && a.goElsewhere(q, size, lane):
		return nil, errMoved
	case limit == nil:
		return nil, ErrWouldBlock
	case a.inCallback():
		return nil, errMemoryInCallback
	case limit.max <= 0:
		return nil, share.exhaustedError(size)
	}
	return share.allocate(ctx, size, limit)
}

// goElsewhere moves the lane from partition q, whose node may hold no more memory, to one for which
// some is free now. It returns false if there is none.
func (a *accumulator) goElsewhere(q *partitionQueue, size int, lane *stickyLane) bool {
	info := q.topic.info.Load()
	if info == nil {
		return false
	}
	return q.topic.sticky.moveOff(lane, info, q.index, func(partition int32) bool {
		return a.pool.share(info.Partitions[partition].Leader).ready(size)
	})
}

// setNodes shares the memory among the nodes of next. The sender calls it before it gives the topics their new
// leaders: while a node is gone from a topic and not yet from the pool, the partitions without a leader would have
// one share and the node another, and the two leave nothing of a small buffer to live nodes.
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

// share returns the share of the node that leads the partition.
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
