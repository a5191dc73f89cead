package quill

import (
	"context"
	"errors"
	"time"
)

// instruct has the sender do something, at once.
func (e *engine) instruct(call string, do func(t *transaction) *Error) *Error {
	if e.cfg.transactionalID == "" {
		return &Error{Op: call, Kind: ErrInvalidTxnState, Partition: -1, Node: -1, Reason: "the producer has no transactional.id; set Config.TransactionalID"}
	}
	if e.closed.Load() {
		return e.closedCall(call)
	}
	done, answer := make(chan struct{}), (*Error)(nil)
	e.box.order(func(s *sender, _ time.Time) {
		answer = do(s.txn)
		close(done)
	})
	if await(done, e.sender.finished, forever) {
		return answer
	}
	return e.closedCall(call)
}

// closedCall is the error of a call about transactions of a producer that is closed.
func (e *engine) closedCall(call string) *Error {
	closed := &Error{Op: call, Kind: ErrClosed, Partition: -1, Node: -1}
	if isClosed(e.sender.finished) && e.sender.txn.closed { // nobody writes it after that
		closed.Reason = "Close has aborted the transaction that was open; commit it before Close"
	}
	return closed
}

// transact begins an operation, or goes on with one, and waits for its end and, if asked to, for the
// callbacks of everything sent before.
func (e *engine) transact(ctx context.Context, call string, callbacks bool, begin func(t *transaction) (*operation, *Error)) *Error {
	if e.dispatch.inside() {
		return &Error{Op: call, Kind: ErrInCallback, Partition: -1, Node: -1}
	}
	late := notBegun(ctx, call)
	if ctx == nil {
		return late
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.maxBlock, errMaxBlock)
	defer cancel()
	var o *operation
	err := e.instruct(call, func(t *transaction) (err *Error) {
		if late != nil && t.pending == nil && call != callAbort { // what is under way may have ended; to abort is always right
			return late
		}
		o, err = begin(t)
		return err
	})
	if err != nil {
		return err
	}
	if !e.acc.waitFor(ctx, o.done) || callbacks && !e.awaitCallbacks(ctx) {
		open := &Error{Op: call, Kind: endOf(ctx), Partition: -1, Node: -1, Reason: "it goes on in the background; call it again for its outcome", open: true}
		if context.Cause(ctx) == errMaxBlock {
			open.Kind, open.Elapsed = ErrTimeout, e.cfg.maxBlock
		}
		open.Cause = e.waitsFor(callbacks)
		return open
	}
	o.heard.Store(true)
	return o.err
}

// errMaxBlock is why a call waits no longer.
var errMaxBlock = errors.New("max.block.ms is over")

// awaitCallbacks waits until the callbacks of what was sent before have run.
func (e *engine) awaitCallbacks(ctx context.Context) bool {
	for _, r := range e.acc.beginFlush() {
		if awaitResult(ctx, r) != nil {
			return false
		}
	}
	return true
}

// sendFailed tells the sender of a record that did not get into a batch, if the transaction can't do
// without it, and returns the error to tell: by then no more records are taken.
func (e *engine) sendFailed(err *Error) *Error {
	own := e.dooms(err)
	if own == nil {
		return err
	}
	_ = e.instruct("send", func(t *transaction) *Error { t.sendFailed(own); return nil }) // or it is closed
	return own
}

// dooms is err as the failure of a transaction that can't do without the record; nil if it can. What is a
// matter between the caller and Send changes nothing: a state that takes no records, an end of ctx, a value
// that can't be serialized.
func (e *engine) dooms(err *Error) *Error {
	switch {
	case errors.Is(err, ErrInvalidTxnState), errors.Is(err, ErrWouldBlock), errors.Is(err, ErrInCallback), errors.Is(err, ErrClosed),
		errors.Is(err, ErrSerialization), errors.Is(err, ErrPartitioner), errors.Is(err.Kind, context.Canceled), errors.Is(err.Kind, context.DeadlineExceeded), errors.Is(err.Kind, errNilContext), // not those of a dial
		e.fatal.Load() != nil:
		return nil
	}
	own := *err // not retriable, whatever it was: the record is part of the transaction (KAFKA-19176)
	own.Class = ErrAbortable
	return &own
}

// wantTopics asks for the metadata of topics whose ids are not known: offsets may be committed by id.
// Nobody waits for them.
func (e *engine) wantTopics(offsets map[TopicPartition]OffsetAndMetadata) {
	for tp := range offsets {
		if t := e.acc.ensureTopic(tp.Topic, e.newTopic); t.info.Load() == nil {
			e.box.want(t)
		}
	}
}
