package quill

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/network"
)

// inbox is the only way to the sender: callers and connections put values in and wake the sender if it
// sleeps and the value can't wait.
//
// The sender publishes until when it means to sleep, then checks the inbox once more, then sleeps. A
// caller puts its value in first and reads that time afterwards. So either the sender sees the value, or
// the caller sees the sender asleep: no wake-up is lost, and none is spent on an open batch whose linger
// the sender's timer covers anyway.
type inbox struct {
	start time.Time // instants are nanoseconds since then

	sleepsUntil atomic.Int64  // awake while it is up
	woken       chan struct{} // capacity 1

	mu sync.Mutex
	// +checklocks:mu
	in mail
}

// mail is the content of the inbox.
type mail struct {
	queues   []notice          // queues to check
	events   []network.Event   // answers, connections opened and closed
	topics   []*topicState     // senders wait for these topics' metadata
	commands []command         // close and the like
	sealed   []*produceRequest // that had to wait for a worker when they came back, and are done now
}

// notice asks the sender to check a queue.
type notice struct {
	queue *partitionQueue
	by    int64 // an instant; hintNow: at once
	mark  int64 // the flushMark of its open batch
	node  int32 // the leader of the open batch's partition, as far as the caller knew; unknownNode: none
}

// command is a function that the sender calls for a caller.
type command func(s *sender, now time.Time)

const (
	awake   = math.MinInt64
	noHint  = math.MaxInt64
	hintNow = 0
)

func newInbox() *inbox {
	x := &inbox{start: time.Now(), woken: make(chan struct{}, 1)}
	x.sleepsUntil.Store(awake)
	return x
}

// instant returns t as the inbox counts time.
func (x *inbox) instant(t time.Time) int64 { return max(hintNow, int64(t.Sub(x.start))) }

// time returns the time of an instant.
func (x *inbox) time(instant int64) time.Time { return x.start.Add(time.Duration(instant)) }

// notify asks the sender to check a queue. push says that the sender does not know of that time, or an
// earlier one, yet. A notice by noHint wakes nothing.
func (x *inbox) notify(n notice, push bool) {
	if push {
		x.mu.Lock()
		x.in.queues = append(x.in.queues, n)
		x.mu.Unlock()
	}
	x.wake(n.by)
}

// post puts in an event of a connection. It never blocks.
func (x *inbox) post(e network.Event) {
	x.mu.Lock()
	x.in.events = append(x.in.events, e)
	x.mu.Unlock()
	x.wake(hintNow)
}

// giveBack puts in a request that had to wait for a worker.
func (x *inbox) giveBack(r *produceRequest) {
	x.mu.Lock()
	x.in.sealed = append(x.in.sealed, r)
	x.mu.Unlock()
	x.wake(hintNow)
}

// want asks for the metadata of a topic, unless that request is in the inbox already.
func (x *inbox) want(t *topicState) {
	if t.wanted.Swap(true) {
		return
	}
	x.mu.Lock()
	x.in.topics = append(x.in.topics, t)
	x.mu.Unlock()
	x.wake(hintNow)
}

// command puts in a function for the sender to call.
func (x *inbox) command(o command) {
	x.mu.Lock()
	x.in.commands = append(x.in.commands, o)
	x.mu.Unlock()
	x.wake(hintNow)
}

// wakeNow makes the sender take a turn.
func (x *inbox) wakeNow() { x.command(nil) }

// wake wakes the sender if it would sleep past `by`.
func (x *inbox) wake(by int64) {
	until := x.sleepsUntil.Load()
	if by >= until || !x.sleepsUntil.CompareAndSwap(until, awake) {
		return
	}
	select {
	case x.woken <- struct{}{}:
	default:
	}
}

// take empties the inbox into to, whose slices are reused.
func (x *inbox) take(to *mail) {
	clear(to.queues)
	clear(to.events)
	clear(to.topics)
	clear(to.commands)
	clear(to.sealed)
	to.queues, to.events, to.topics, to.commands, to.sealed = to.queues[:0], to.events[:0], to.topics[:0], to.commands[:0], to.sealed[:0]
	x.mu.Lock()
	*to, x.in = x.in, *to
	x.mu.Unlock()
}

// sleep blocks until the given time or until wake is called. It returns at once if there is mail. Only the
// sender calls it. It returns when it was called.
func (x *inbox) sleep(until time.Time, timer *time.Timer) (begin time.Time) {
	begin = time.Now()
	d := max(until.Sub(begin), 0)
	x.sleepsUntil.Store(int64(until.Sub(x.start)))
	x.mu.Lock()
	empty := len(x.in.queues)+len(x.in.events)+len(x.in.topics)+len(x.in.commands)+len(x.in.sealed) == 0
	x.mu.Unlock()
	if empty && d > 0 {
		timer.Reset(d)
		select {
		case <-x.woken:
		case <-timer.C:
		}
		timer.Stop()
	}
	x.sleepsUntil.Store(awake)
	return begin
}
