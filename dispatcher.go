package quill

import (
	"bytes"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
)

// dispatcher is the goroutine on which user callbacks run: neither the sender's, so that a slow
// callback delays no request, nor under any lock, so that a callback may use the producer.
//
// Batches come in the order in which their fates were decided; a batch's callbacks run in the order
// of its records, then its futures are released, then its memory goes back. Slow callbacks hold
// memory and so slow senders down in the end, instead of piling up outcomes without bound.
type dispatcher struct {
	acc     *accumulator
	logger  *slog.Logger
	id      atomic.Int64                   // the goroutine's number, 0 before it runs
	calling atomic.Pointer[partitionQueue] // whose callbacks may be running, or ran last; nil: nothing is left to do
	watch   watchdog
	done    chan struct{}

	// The goroutine's own, here because another one goes on with it if a callback ends the first.
	batches []*batch
	at      place
	reached []chan struct{} // to close after batches

	mu sync.Mutex
	// +checklocks:mu
	queue []*batch
	// +checklocks:mu
	marks []chan struct{} // behind the queue
	// +checklocks:mu
	closed bool
	bell   chan struct{} // capacity 1
}

// place is how far the dispatcher is.
type place struct {
	batch  int   // in batches
	run    int   // in the batch's runs
	record int32 // the next record
}

func newDispatcher(a *accumulator, logger *slog.Logger) *dispatcher {
	return &dispatcher{acc: a, logger: logger, done: make(chan struct{}), bell: make(chan struct{}, 1)}
}

// push hands over a batch whose fate is written to its result.
func (d *dispatcher) push(b *batch) {
	d.mu.Lock()
	d.queue = append(d.queue, b)
	d.mu.Unlock()
}

// mark has the channels closed when the callbacks of all that was pushed before have run.
func (d *dispatcher) mark(marks []chan struct{}) {
	d.mu.Lock()
	d.marks = append(d.marks, marks...)
	d.mu.Unlock()
}

// kick wakes the goroutine after a series of pushes.
func (d *dispatcher) kick() {
	select {
	case d.bell <- struct{}{}:
	default:
	}
}

// close lets the goroutine end once the queue is empty; done is closed then.
func (d *dispatcher) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.kick()
}

// run is the goroutine. It ends after close. If a callback ends it (runtime.Goexit, which t.FailNow
// calls), another goes on where it was.
func (d *dispatcher) run() {
	ended := false
	defer func() {
		if ended {
			close(d.done)
			return
		}
		go d.run()
	}()
	d.id.Store(goroutineID())
	for {
		for d.at.batch < len(d.batches) {
			d.deliver(d.batches[d.at.batch])
			d.batches[d.at.batch] = nil
			d.at.batch++
		}
		for _, m := range d.reached {
			close(m)
		}
		d.mu.Lock()
		d.batches, d.queue = d.queue, d.batches[:0]
		d.reached, d.marks = d.marks, nil
		closed := d.closed
		d.mu.Unlock()
		d.at = place{}
		if len(d.batches) == 0 && len(d.reached) == 0 {
			d.calling.Store(nil)
			if ended = closed; ended {
				return
			}
			<-d.bell
		}
	}
}

// deliver tells the records of b their fate, those from d.at on.
func (d *dispatcher) deliver(b *batch) {
	res := b.res
	for ; d.at.run < len(res.runs); d.at.run++ {
		run := &res.runs[d.at.run]
		end := res.runEnd(d.at.run)
		d.at.record = max(d.at.record, run.first)
		for run.fn != nil && d.at.record < end {
			d.callUntil(b.queue, res, run.fn, end)
		}
	}
	res.release()
	b.drop(d.acc)
	d.at = place{batch: d.at.batch}
}

// callUntil runs the callback of the records from d.at to end. A panic in it is logged and ends the
// series early.
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
		m, err := res.outcome(at)
		fn(m, err)
		d.watch.returned()
	}
}

// callAcknowledged is the way of nearly all records: only what differs between those of a batch is
// put into their metadata anew.
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

// recovered is to be deferred directly: it logs a panic of the callback that ran last.
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
	d.logger.Error("callback panicked", "topic", m.Topic, "partition", m.Partition, "offset", m.Offset, "panic", p, "stack", string(debug.Stack()))
}

// inside reports whether the caller runs on the dispatcher, that is, in a callback. It is asked before
// something that would wait for the dispatcher itself, and costs little as long as no callback runs.
func (d *dispatcher) inside() bool { return d.calling.Load() != nil && d.id.Load() == goroutineID() }

var stackTexts = sync.Pool{New: func() any { return new([64]byte) }}

// goroutineID is the number of the running goroutine, which the runtime tells only in the text of a
// stack trace: "goroutine 18 [running]:".
func goroutineID() int64 {
	buf := stackTexts.Get().(*[64]byte)
	defer stackTexts.Put(buf)
	text := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(text, []byte(" "))
	id, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return -1
	}
	return id
}
