package quill

import (
	"bytes"
	"log/slog"
	"runtime"
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
	id      atomic.Int64 // the goroutine's number, 0 before it runs
	calling atomic.Bool  // a callback may be running
	done    chan struct{}

	mu sync.Mutex
	// +checklocks:mu
	queue []*batch
	// +checklocks:mu
	closed bool
	bell   chan struct{} // capacity 1
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

// run is the goroutine. It ends after close.
func (d *dispatcher) run() {
	defer close(d.done)
	d.id.Store(goroutineID())
	var batches []*batch
	for {
		d.mu.Lock()
		batches, d.queue = d.queue, batches[:0]
		closed := d.closed
		d.mu.Unlock()
		for i, b := range batches {
			batches[i] = nil
			d.deliver(b)
		}
		if len(batches) == 0 {
			if closed {
				return
			}
			<-d.bell
		}
	}
}

// deliver tells the records of b their fate.
func (d *dispatcher) deliver(b *batch) {
	res := b.res
	i := int32(0)
	for _, run := range res.runs {
		end := i + run.n
		for run.fn != nil && i < end {
			i = d.callFrom(res, run.fn, i, end)
		}
		i = end
	}
	res.release()
	b.drop(d.acc)
}

// callFrom runs the callback of the records i to end. A panic in it is logged and ends the series
// early: next is the record to go on with.
func (d *dispatcher) callFrom(res *result, fn Callback, i, end int32) (next int32) {
	next = i
	d.calling.Store(true)
	defer d.calling.Store(false)
	defer d.recovered(res, &next)
	for next < end {
		at := next
		next++
		m, err := res.outcome(at)
		fn(m, err)
	}
	return next
}

// recovered is to be deferred directly: it logs a panic of the callback of record *next - 1.
func (d *dispatcher) recovered(res *result, next *int32) {
	if p := recover(); p != nil {
		m := res.metadata(*next - 1)
		d.logPanic(m, p)
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
	d.logger.Error("callback panicked", "topic", m.Topic, "partition", m.Partition, "offset", m.Offset, "panic", p)
}

// inside reports whether the caller runs on the dispatcher, that is, in a callback. Only asked on
// slow paths: before something that would wait for the dispatcher itself.
func (d *dispatcher) inside() bool { return d.id.Load() == goroutineID() }

// busyHere is inside for those who ask often: it costs little as long as no callback runs.
func (d *dispatcher) busyHere() bool { return d.calling.Load() && d.inside() }

// goroutineID is the number of the running goroutine, which the runtime tells only in the text of a
// stack trace: "goroutine 18 [running]:".
func goroutineID() int64 {
	var buf [64]byte
	text := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(text, []byte(" "))
	id, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return -1
	}
	return id
}
