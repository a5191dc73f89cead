package quill

import (
	"fmt"
	"time"
)

// The end of a transaction when the producer is closed.

// closing aborts the open transaction when the producer is closed, and reports whether nothing is left to
// wait for. If the coordinator does not acknowledge the abort within delivery.timeout.ms, the transaction is
// left to transaction.timeout.ms.
func (t *transaction) closing(now time.Time) bool {
	if t.closeBy.IsZero() {
		t.closeBy = now.Add(t.s.cfg.deliveryTimeout)
	}
	switch t.state {
	case txnInTransaction, txnAbortableError:
		t.s.logger.Warn("Close aborts the transaction that is open: commit or abort it before Close", "transactional_id", t.id)
		t.closed = true
		t.startEnding(false)
		return false
	case txnCommitting, txnAborting:
		return !t.closeBy.After(now)
	}
	return true
}

// unfinished returns a text about a call that has not ended, or a transaction that the coordinator has and
// that is not over; "" if there is neither.
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

// stop ends the pending calls with err, because the sender will do no more for them.
func (t *transaction) stop(err *Error) {
	t.failOffsets(err)
	if t.pending != nil {
		t.pending.maybe = t.inDoubt()
		t.pending.end(t.unlessOver(err))
	}
}

// abortedBy returns a text that says why the transaction is being aborted, "" if the application asked for it.
func (t *transaction) abortedBy() string {
	if t.closed {
		return "Close was called while it was open"
	}
	return ""
}
