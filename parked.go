package quill

import (
	"slices"
	"time"
)

// Parked batches: those that a broker calls out of order although they may be in its log, because it may
// know only the last batch of ours (see decideSequence). They are in no queue and on no wire. They wait
// for the answers to the batches behind them, which may be in the log too and go out one after the other.

// unpark tells the parked batches of a partition what came of one behind them: it was known to the
// broker, and then they are in the log; missing, and then none of them is; or not known yet. If there is
// nothing left to wait for they are asked for again.
func (s *sender) unpark(q *partitionQueue, missing bool, now time.Time) {
	seq := &q.out.seq
	for _, b := range slices.Clone(seq.parked()) {
		switch {
		case missing:
			seq.unnumber(b)
			s.reenqueue(b, now)
		case seq.passed(b):
			seq.settle(b, verdict{written: true}, -1)
			s.conclude(b, noFate)
		}
	}
	parked := seq.parked()
	if slices.ContainsFunc(seq.inFlight[len(parked):], (*batch).mayBeThere) {
		return
	}
	for _, b := range parked {
		b.parked = false
		s.reenqueue(b, now)
	}
}

// unparkLocked puts the parked batches back into their queue, to leave at once. It returns the first one.
//
// +checklocks:q.mu
func (q *partitionQueue) unparkLocked() *batch {
	for _, b := range q.out.seq.parked() {
		b.parked, b.retryAt = false, time.Time{}
		q.insertLocked(b)
	}
	return q.batches.Front()
}
