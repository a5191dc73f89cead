package quill

import (
	"fmt"
	"time"
)

// What becomes of a transaction when the producer is closed.

// closing aborts what is open when the producer is closed, and reports whether nothing is left to wait
// for. An abort that can't be told to the coordinator in delivery.timeout.ms is left to its time-out.
func (t *transaction) closing(now time.Time) bool {
	if t.closeBy.IsZero() {
		t.closeBy = now.Add(t.s.cfg.deliveryTimeout)
	}
	switch t.state {
	case txnInTransaction, txnAbortableError:
		t.s.logger.Warn("Close aborts the transaction that is open: commit or abort it before Close", "transactional_id", t.id)
		t.closed = true
		t.wind(false)
		return false
	case txnCommitting, txnAborting:
		return !t.closeBy.After(now)
	}
	return true
}

// unfinished says what is under way: a call, or a transaction that the coordinator has and that is not over.
func (t *transaction) unfinished() string {
	under := t.pending != nil && !t.pending.ended()
	switch {
	case t.state == txnFatalError, t.concluded:
	case under && t.commit && t.inDoubt():
		return "CommitTransaction was given up: whether the transaction is committed is not known"
	case t.started && t.state != txnReady:
		return fmt.Sprintf("the transaction was left open: its coordinator aborts it when it is older than %v (transaction.timeout.ms)", t.s.cfg.transactionTimeout)
	case under:
		return t.pending.call + " was given up"
	}
	return ""
}

// stop ends what is pending: nothing more will come of it.
func (t *transaction) stop(err *Error) {
	t.failOffsets(err)
	if t.pending != nil {
		t.pending.maybe = t.inDoubt()
		t.pending.end(t.unlessOver(err))
	}
}

// abortedBy says why the transaction is being aborted, if that was not asked for.
func (t *transaction) abortedBy() string {
	if t.closed {
		return "Close was called while it was open"
	}
	return ""
}
