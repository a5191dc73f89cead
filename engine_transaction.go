package quill

import (
	"context"
	"errors"
	"slices"
	"time"
)

// timedTransaction is where the time of a call about transactions is counted.
var timedTransaction = map[string]timedCall{callInit: timedInit, callBegin: timedBegin, callSendOffsets: timedSendOffsets,
	callCommit: timedCommit, callAbort: timedAbort}

// instruct has the sender run do and waits for its result. It fails if the producer has no transactional id or is
// closed.
func (e *engine) instruct(call string, do func(t *transaction) *Error) *Error {
	if e.cfg.transactionalID == "" {
		return newError(Error{Op: call, Kind: ErrInvalidTxnState,
			Reason: "the producer has no transactional.id; set Config.TransactionalID"})
	}
	if e.closed.Load() {
		return e.closedCall(call)
	}
	done, answer := make(chan struct{}), (*Error)(nil)
	e.box.command(func(s *sender, _ time.Time) {
		answer = do(s.txn)
		close(done)
	})
	if await(done, e.sender.finished, forever) {
		return answer
	}
	return e.closedCall(call)
}

// closedCall returns the error of a call about transactions if the producer is closed.
func (e *engine) closedCall(call string) *Error {
	closed := newError(Error{Op: call, Kind: ErrClosed})
	if isClosed(e.sender.finished) && e.sender.txn.closed { // the sender, which writes closed, has ended
		closed.Reason = "Close has aborted the transaction that was open; commit it before Close"
	}
	return closed
}

// transact begins an operation, or joins the one under way, and waits until it ends and, with callbacks, until the
// callbacks of everything sent before have run. It waits at most max.block.ms and no longer than ctx; the operation
// then goes on.
func (e *engine) transact(ctx context.Context, call string, callbacks bool, begin func(t *transaction) (*operation, *Error)) *Error {
	if e.inside() {
		return newError(Error{Op: call, Kind: ErrInCallback})
	}
	late := notBegun(ctx, call)
	if ctx == nil {
		return late
	}
	defer e.acc.measures.took(timedTransaction[call], time.Now())
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.maxBlock, errMaxBlock)
	defer cancel()
	ctx, deny := context.WithCancelCause(ctx)
	defer deny(nil)
	var o *operation
	err := e.instruct(call, func(t *transaction) (err *Error) {
		// A pending operation may have its result by now; an abort is always allowed.
		if late != nil && t.pending == nil && call != callAbort {
			return late
		}
		before := t.pending
		if o, err = begin(t); t.pending != before {
			t.callers = nil
		}
		t.callers = append(t.callers, deny)
		return err
	})
	if err != nil {
		return err
	}
	if !e.acc.waitFor(ctx, o.done) || callbacks && !e.awaitCallbacks(ctx) {
		open := newError(Error{Op: call, Kind: endOf(ctx), open: true,
			Reason: "it goes on in the background; call it again for its outcome"})
		switch cause := context.Cause(ctx); {
		case cause == errMaxBlock:
			open.Kind, open.Elapsed = ErrTimeout, e.cfg.maxBlock
		case errors.Is(cause, ErrAuthentication):
			open.Kind, open.Cause, open.lasting = denialKind(cause), cause, true
			return open
		}
		open.Cause = e.waitsFor(callbacks)
		return open
	}
	o.heard.Store(true)
	return o.err
}

// errMaxBlock is the cause of the end of a call's context after max.block.ms.
var errMaxBlock = errors.New("max.block.ms is over")

// awaitCallbacks waits until the callbacks of everything sent before have run. It returns false if ctx ends first.
func (e *engine) awaitCallbacks(ctx context.Context) bool {
	for _, r := range e.acc.beginFlush() {
		if awaitResult(ctx, r) != nil {
			return false
		}
	}
	return true
}

// sendFailed makes the transaction abortable if the failed record, which is in no batch, breaks it. It returns
// the error to report; when it returns an abortable one, no more records are accepted.
func (e *engine) sendFailed(err *Error) *Error {
	own := e.abortableBy(err)
	if own == nil {
		return err
	}
	_ = e.instruct("send", func(t *transaction) *Error { t.sendFailed(own); return nil }) // or it is closed
	return own
}

// isAny reports whether err is one of those.
func isAny(err error, those ...error) bool {
	return slices.ContainsFunc(those, func(one error) bool { return errors.Is(err, one) })
}

// abortableBy returns err as abortable if the lost record breaks the transaction, nil if it concerns only the caller and
// Send: a state in which no records are accepted, an end of ctx, a value that can't be serialized.
func (e *engine) abortableBy(err *Error) *Error {
	callers := isAny(err, ErrInvalidTxnState, ErrWouldBlock, ErrInCallback, ErrClosed, ErrSerialization, ErrPartitioner)
	ended := isAny(err.Kind, context.Canceled, context.DeadlineExceeded, errNilContext) // of the call, not of a dial
	if callers || ended || e.fatal.Load() != nil {
		return nil
	}
	own := *err // not retriable, even if err is: the record is part of the transaction (KAFKA-19176)
	own.Class = ErrAbortable
	return &own
}

// wantTopics asks for the metadata of topics whose ids are not known: offsets may be committed by id.
// It does not wait for them.
func (e *engine) wantTopics(offsets map[TopicPartition]OffsetAndMetadata) {
	for tp := range offsets {
		if t := e.acc.ensureTopic(tp.Topic, e.newTopic); t.info.Load() == nil {
			e.box.want(t)
		}
	}
}
