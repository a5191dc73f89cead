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
		return fmt.Sprintf("the transaction was left open: its coordinator aborts it when it is older than %v (transaction.timeout.ms)",
			t.s.cfg.transactionTimeout)
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

// over goes on after the end of a transaction, also of one that the coordinator never heard of: to the
// next epoch if one is needed, else to the state ready.
func (t *transaction) over(now time.Time) {
	t.concluded = true
	if t.straggler && !t.version2 && !t.canBump {
		t.s.fatal(newError(Error{Op: "end the transaction", Kind: ErrUnsupportedVersion, Class: ErrFatal,
			Reason: "it has ended, but a copy of a request may still arrive, " +
				"and this cluster is too old to protect the next transaction from it (KIP-360)"}))
		return
	}
	if t.s.idem.state != idReady || t.canBump && t.tooManyIdle() {
		t.bump = true
	}
	if t.bump && !t.canBump && t.s.idem.state == idReady {
		t.bump = false
		if !t.closeGaps() {
			t.s.fatal(newError(Error{Op: "end the transaction", Kind: ErrUnsupportedVersion, Class: ErrFatal,
				Reason: "it has ended, but records that were given up may still be written, " +
					"and this cluster is too old to keep them out of the next transaction (KIP-360)"}))
			return
		}
	}
	t.unnamed = !t.bump && t.tooManyIdle()
	if t.bump || t.unnamed {
		t.enter(txnInitializing, nil)
		return
	}
	t.toReady(false)
}

// closeGaps closes the gaps in the sequences of the transaction's partitions under the same epoch. It reports
// whether that was possible, which it is if every missing batch is known not to be in the log.
func (t *transaction) closeGaps() bool {
	ok := true
	for _, q := range t.members {
		ok = q.out.seq.closeGap() && ok
	}
	return ok
}

// toReady enters the state between transactions and clears what belonged to the last one. newEpoch says that
// the epoch comes from InitProducerId, not from EndTxn: only then may the producer change to version 2.
func (t *transaction) toReady(newEpoch bool) {
	t.bump, t.unnamed, t.straggler, t.concluded, t.started, t.unsure = false, false, false, false, false, false
	t.members, t.toAdd = nil, nil
	t.version2 = t.speaks2() && (newEpoch || t.version2)
	t.unused = newEpoch || t.version2 // version 2 has a new epoch for each transaction
	t.enter(txnReady, nil)
	t.s.forgetIdle() // now, because a metadata answer may never arrive between two transactions
	t.pending.end(nil)
}
