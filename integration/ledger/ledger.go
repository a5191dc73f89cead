package ledger

import (
	"fmt"
	"sync"
	"time"
)

// Outcome is what the producer said about a record.
type Outcome uint8

const (
	Unknown      Outcome = iota // not completed yet
	Acknowledged                // written, at the partition and offset it names
	NotSent                     // never left the producer
	MaybeWritten                // sent, but no answer tells whether it was written
	Rejected                    // a node refused it
)

// String is the outcome's name as reports print it.
func (o Outcome) String() string {
	names := [...]string{"unknown", "acknowledged", "not sent", "maybe written", "rejected"}
	if int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("outcome %d", o)
}

// Result is one completion.
type Result struct {
	Outcome   Outcome
	Partition int32  // -1: unknown
	Offset    int64  // -1: none
	Timestamp int64  // milliseconds; -1: none
	Class     string // of the error, for the count of failures; empty when acknowledged
}

// entry is all that is kept of a record.
type entry struct {
	offset      int64
	timestamp   int64
	partition   int32
	sentAt      uint32 // in ticks since the ledger's start, counted from 1; 0: not sent
	outcome     Outcome
	completions uint8
}

// tick is the unit of entry.sentAt.
const tick = 100 * time.Microsecond

// Ledger takes down what happens to the records of a plan. Streams may be used concurrently, and so may
// Sent and Done of one stream.
type Ledger struct {
	plan    Plan
	start   time.Time
	streams []stream
}

type stream struct {
	mu sync.Mutex
	// +checklocks:mu
	entries []entry
	// +checklocks:mu
	lastDone map[int32]int // counter of the latest completion, by partition
	// +checklocks:mu
	failures map[string]int // by class
	// +checklocks:mu
	slowest time.Duration // longest time from Sent to Done
	// +checklocks:mu
	violations Violations
}

// New returns an empty ledger.
func New(plan Plan) *Ledger {
	if plan.ValueSize < IdentitySize {
		panic(fmt.Sprintf("ledger: values of %d bytes cannot carry their identity", plan.ValueSize))
	}
	l := &Ledger{plan: plan, start: time.Now(), streams: make([]stream, plan.Streams)}
	for i := range l.streams {
		s := &l.streams[i]
		s.mu.Lock()
		s.entries = make([]entry, plan.PerStream)
		s.lastDone = map[int32]int{}
		s.failures = map[string]int{}
		s.mu.Unlock()
	}
	return l
}

// Plan returns the plan the ledger was made for.
func (l *Ledger) Plan() Plan { return l.plan }

// Sent notes that a record is about to be sent. Call it just before Send.
func (l *Ledger) Sent(stream, counter int) {
	now := uint32(time.Since(l.start)/tick) + 1
	s := &l.streams[stream]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[counter].sentAt = now
}

// Done notes a completion. Call it from the record's callback, or once its future is released.
func (l *Ledger) Done(stream, counter int, r Result) {
	now := time.Since(l.start)
	s := &l.streams[stream]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &s.entries[counter]
	e.completions++
	switch {
	case e.sentAt == 0:
		s.violations.add("I4", "stream %d counter %d completed but was never sent", stream, counter)
	case e.completions > 1:
		s.violations.add("I4", "stream %d counter %d completed %d times", stream, counter, e.completions)
		return
	}
	if r.Partition >= 0 {
		if last, ok := s.lastDone[r.Partition]; ok && counter < last {
			s.violations.add("I5", "stream %d partition %d: counter %d completed after %d", stream, r.Partition, counter, last)
		}
		s.lastDone[r.Partition] = counter
	}
	if r.Outcome != Acknowledged {
		s.failures[r.Outcome.String()+": "+r.Class]++
	}
	s.slowest = max(s.slowest, now-time.Duration(e.sentAt-1)*tick)
	e.outcome, e.partition, e.offset, e.timestamp = r.Outcome, r.Partition, r.Offset, r.Timestamp
}

// Totals counts the ledger's records.
type Totals struct {
	Sent, Acknowledged, Failed, Open int
	Failures                         map[string]int // by outcome and class
	Slowest                          time.Duration  // longest time from Sent to Done
}

// Totals may be called at any time, also while the run goes on.
func (l *Ledger) Totals() Totals {
	t := Totals{Failures: map[string]int{}}
	for i := range l.streams {
		s := &l.streams[i]
		s.mu.Lock()
		for _, e := range s.entries {
			switch {
			case e.sentAt == 0:
				continue
			case e.completions == 0:
				t.Open++
			case e.outcome == Acknowledged:
				t.Acknowledged++
			default:
				t.Failed++
			}
			t.Sent++
		}
		for class, n := range s.failures {
			t.Failures[class] += n
		}
		t.Slowest = max(t.Slowest, s.slowest)
		s.mu.Unlock()
	}
	return t
}
