package quill

import (
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/internal/goid"
)

// dispatcher runs user callbacks on a goroutine of its own: not on the sender's, so that a slow callback
// delays no request, and not under a lock, so that a callback may use the producer.
//
// Batches come in the order in which they are completed. The callbacks of a batch run in the order of its
// records, then its futures are released, then its memory goes back. Slow callbacks therefore hold memory
// and in the end slow down Send, so that outcomes do not pile up without bound.
type dispatcher struct {
	acc     *accumulator
	logger  *slog.Logger
	id      atomic.Int64                   // the goroutine's number, 0 before it runs
	calling atomic.Pointer[partitionQueue] // the queue whose callbacks may be running, or ran last; nil: nothing is left to do
	watch   watchdog
	done    chan struct{}

	// Used by the goroutine alone. They are fields because another goroutine goes on with them if a callback ends the first.
	batches []*batch
	at      place
	reached []chan struct{} // to close after batches

	// The sender's, until kick.
	pushed []*batch
	marked []chan struct{}

	mu sync.Mutex
	// +checklocks:mu
	queue []*batch
	// +checklocks:mu
	marks []chan struct{} // behind the queue
	// +checklocks:mu
	resting bool // the goroutine has done all that it took
	// +checklocks:mu
	closed bool
	woken  chan struct{} // capacity 1
}

// place is the next record that the dispatcher completes.
type place struct {
	batch  int   // in batches
	run    int   // in the batch's runs
	record int32 // the next record
}

func newDispatcher(a *accumulator, logger *slog.Logger) *dispatcher {
	return &dispatcher{acc: a, logger: logger, done: make(chan struct{}), woken: make(chan struct{}, 1)}
}

// inspect returns what there is to see of callbacks.
func (d *dispatcher) inspect() (c inspect.Callbacks) {
	d.mu.Lock()
	c.Waiting = len(d.queue)
	d.mu.Unlock()
	if q := d.calling.Load(); q != nil {
		c.Running, c.Topic, c.Partition = true, q.topic.name, q.index
	}
	return c
}

// push takes a batch whose outcome is written to its result. It stays the sender's until kick.
func (d *dispatcher) push(b *batch) { d.pushed = append(d.pushed, b) }

// mark has the channels closed when the callbacks of all batches that were pushed before have run.
func (d *dispatcher) mark(marks []chan struct{}) { d.marked = append(d.marked, marks...) }

// kick hands over what was pushed and marked. The sender calls it where it holds no batch of those any more, since they may be
// used for other records from then on. If the goroutine has nothing to do, and no record has a callback, it need not be
// woken: futures are released at once.
func (d *dispatcher) kick() {
	if len(d.pushed)+len(d.marked) == 0 {
		return
	}
	d.mu.Lock()
	atOnce := d.resting && len(d.queue)+len(d.marks) == 0 && !slices.ContainsFunc(d.pushed, (*batch).hasCallbacks)
	if !atOnce {
		d.queue, d.marks = append(d.queue, d.pushed...), append(d.marks, d.marked...)
	}
	d.mu.Unlock()
	if atOnce {
		for _, b := range d.pushed {
			d.release(b)
		}
		closeAll(d.marked)
	} else {
		d.wake()
	}
	clear(d.pushed)
	clear(d.marked)
	d.pushed, d.marked = d.pushed[:0], d.marked[:0]
}

func (d *dispatcher) wake() {
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

// close lets the goroutine end once the queue is empty; done is closed then.
func (d *dispatcher) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.wake()
}

// run runs the dispatcher's loop. It returns after close. If a callback ends the goroutine
// (runtime.Goexit, which t.FailNow calls), another one goes on where it stopped.
func (d *dispatcher) run() {
	ended := false
	defer func() {
		if ended {
			close(d.done)
			return
		}
		go d.run()
	}()
	d.id.Store(goid.Current())
	for {
		for d.at.batch < len(d.batches) {
			d.deliver(d.batches[d.at.batch])
			d.batches[d.at.batch] = nil
			d.at.batch++
		}
		closeAll(d.reached)
		d.mu.Lock()
		d.batches, d.queue = d.queue, d.batches[:0]
		d.reached, d.marks = d.marks, nil
		d.resting = len(d.batches)+len(d.reached) == 0
		resting, closed := d.resting, d.closed
		d.mu.Unlock()
		d.at = place{}
		if resting {
			d.calling.Store(nil)
			if ended = closed; ended {
				return
			}
			<-d.woken
		}
	}
}

// deliver runs the callbacks of the records of b from d.at on, releases its futures and drops it.
func (d *dispatcher) deliver(b *batch) {
	if b.hasCallbacks() {
		defer d.acc.measures.called(b.res.topic, b.res.partition, len(b.res.meta), time.Now())
	}
	res := b.res
	for ; d.at.run < len(res.runs); d.at.run++ {
		run := &res.runs[d.at.run]
		end := res.runEnd(d.at.run)
		d.at.record = max(d.at.record, run.first)
		for run.fn != nil && d.at.record < end {
			d.callUntil(b.queue, res, run.fn, end)
		}
	}
	d.release(b)
	d.at = place{batch: d.at.batch}
}

func closeAll(marks []chan struct{}) {
	for _, m := range marks {
		close(m)
	}
}

// release releases the futures of b and drops it.
func (d *dispatcher) release(b *batch) {
	b.res.finish()
	b.drop(d.acc)
}

// callUntil calls fn for the records from d.at to end. It logs a panic in fn and returns early then; its
// caller calls it again for the rest.
func (d *dispatcher) callUntil(q *partitionQueue, res *result, fn Callback, end int32) {
	if d.calling.Load() != q {
		d.calling.Store(q)
	}
	defer d.recovered(res)
	d.watch.series.Add(1)
	if !d.watch.on.Load() {
		d.startWatch()
	}
	if res.err == nil {
		d.callAcknowledged(res, fn, end)
		return
	}
	for d.at.record < end {
		at := d.at.record
		d.at.record++
		m, err := res.recordResult(at)
		fn(m, err)
		d.watch.returned()
	}
}

// callAcknowledged calls fn for records that were acknowledged, which are nearly all. For each record it
// sets only the fields of the metadata that differ within a batch.
func (d *dispatcher) callAcknowledged(res *result, fn Callback, end int32) {
	m := res.metadata(d.at.record)
	last := res.meta[d.at.record].timestamp
	for _, at := range res.meta[d.at.record:end] {
		m.Offset = res.offset(d.at.record)
		d.at.record++
		m.KeySize, m.ValueSize = at.keySize, at.valueSize
		if at.timestamp != last && res.logAppendTime < 0 {
			last = at.timestamp
			m.Timestamp = millis(last)
		}
		fn(m, nil)
		d.watch.returned()
	}
}

// recovered logs a panic of the callback that ran last. It must be deferred directly.
func (d *dispatcher) recovered(res *result) {
	if p := recover(); p != nil {
		d.logPanic(res.metadata(d.at.record-1), p)
	}
}

// call runs one callback, if there is one, in the caller's goroutine. A panic in it is logged.
func (d *dispatcher) call(fn Callback, m RecordMetadata, err error) {
	if fn == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			d.logPanic(m, p)
		}
	}()
	fn(m, err)
}

func (d *dispatcher) logPanic(m RecordMetadata, p any) {
	d.logger.Error("callback panicked", "topic", m.Topic, "partition", m.Partition, "offset", m.Offset, "panic", p,
		"stack", string(debug.Stack()))
}

// inside reports whether the caller runs on the dispatcher, that is, in a callback. Calls that would wait for
// the dispatcher ask it first; it costs little as long as no callback runs.
func (d *dispatcher) inside() bool { return d.calling.Load() != nil && d.id.Load() == goid.Current() }

// watchdog notices callbacks that do not return: the dispatcher waits for them, and with it Flush, Close,
// the futures, and in the end, when no memory comes back, every Send.
//
// Callbacks are many and mostly short, so no clock is read for them. The watchdog checks every few seconds
// while callbacks run, and stops when it finds none running. If a series of callbacks (those of a batch) has
// ended since the last check, all is well; otherwise it counts the callbacks of the running series.
type watchdog struct {
	on     atomic.Bool  // a check is scheduled
	series atomic.Int64 // how many have begun
	asks   atomic.Bool  // callbacks that return are to be counted
	count  atomic.Int64 // how many did

	// Used by the check alone: only one runs at a time.
	lastSeries int64 // series at the last check
	last       int64 // count at the last check
	looks      int   // checks in a row that found that no callback had returned
}

const (
	watchEvery  = 5 * time.Second
	slowAfter   = 2      // checks without a callback that returned, after which it is logged
	repeatAfter = 60 / 5 // checks until it is logged again
)

// returned counts a callback that has returned, if callbacks are counted at present.
func (w *watchdog) returned() {
	if w.asks.Load() {
		w.count.Add(1)
	}
}

// startWatch begins to watch.
func (d *dispatcher) startWatch() {
	if w := &d.watch; w.on.CompareAndSwap(false, true) {
		w.last, w.lastSeries = -1, w.series.Load()-1
		time.AfterFunc(watchEvery, d.watchCallbacks) // it sets itself again until it finds no callback running
	}
}

// watchCallbacks does one check, and schedules the next one if a callback may be running.
func (d *dispatcher) watchCallbacks() {
	w, q := &d.watch, d.calling.Load()
	if q == nil {
		w.asks.Store(false)
		if w.on.Store(false); d.calling.Load() != nil { // a series began in between, and did not start a watchdog because on was set
			d.startWatch()
		}
		return
	}
	series := w.series.Load()
	ended := series-w.lastSeries > 1 // two have begun since, so the first of them has ended
	w.lastSeries = series
	w.asks.Store(!ended)
	if count := w.count.Load(); ended || count != w.last {
		w.last, w.looks = count, 0
	} else if w.looks++; w.looks%repeatAfter == slowAfter {
		d.logger.Warn("a callback has not returned: no other outcome is reported until it does",
			"for_more_than", time.Duration(w.looks)*watchEvery,
			"topic", q.topic.name, "partition", q.index)
	}
	time.AfterFunc(watchEvery, d.watchCallbacks)
}
