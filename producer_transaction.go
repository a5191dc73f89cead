package quill

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// The public face of transactions.

// String returns "topic-3".
func (tp TopicPartition) String() string { return fmt.Sprintf("%s-%d", tp.Topic, tp.Partition) }

// The calls, as errors name them.
const (
	callInit        = "InitTransactions"
	callBegin       = "BeginTransaction"
	callSendOffsets = "SendOffsetsToTransaction"
	callCommit      = "CommitTransaction"
	callAbort       = "AbortTransaction"
)

// InitTransactions gets the producer id that belongs to Config.TransactionalID. It is called once, before
// the first transaction. Any other producer with that id is fenced by it, and its open transaction is
// completed or aborted first.
//
// Like each call that asks the coordinator, it blocks at most for max.block.ms and no longer than ctx; if the
// process stood still when that was over, what was answered meanwhile still counts.
// If ctx has ended already, nothing is done. When it gives up waiting, the work goes on; call it again to
// wait further. Until it has returned its result, other transaction calls fail.
// Errors: ErrTimeout, or ctx's; Retriable if the id may not be
// used (now); else Fatal. It may be called concurrently.
func (p *Producer[K, V]) InitTransactions(ctx context.Context) error {
	if err := p.closedView(callInit); err != nil {
		return err
	}
	return orNil(p.e.transact(ctx, callInit, false, func(t *transaction) (*operation, *Error) { return t.initialize(callInit) }))
}

// BeginTransaction begins a transaction: from now on records are taken, by whichever goroutine, and
// belong to it. It does not wait for any node. The error Is ErrInvalidTxnState if another transaction is
// open or InitTransactions was not called, and Fatal if the producer can't go on.
func (p *Producer[K, V]) BeginTransaction() error {
	if err := p.closedView(callBegin); err != nil {
		return err
	}
	defer p.e.acc.measures.took(timedBegin, time.Now())
	return orNil(p.e.instruct(callBegin, func(t *transaction) *Error { return t.begin(callBegin) }))
}

// SendOffsetsToTransaction makes a consumer group's offsets part of the transaction: they are committed
// if it is, which is how input and output of a processing step are kept together. Use any
// consumer library, and copy its group's metadata into group. Call it before
// CommitTransaction, from any goroutine.
//
// It blocks as InitTransactions does. When it gives up waiting, the offsets are still on their way; call
// it again with the same ones, or abort. After an error that is Abortable, call AbortTransaction:
// the group was rebalanced (ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID), or may not be used.
// Without offsets it does nothing.
func (p *Producer[K, V]) SendOffsetsToTransaction(
	ctx context.Context, offsets map[TopicPartition]OffsetAndMetadata, group GroupMetadata,
) error {
	if err := p.closedView(callSendOffsets); err != nil {
		return err
	}
	o := &offsetsCall{operation: operation{call: callSendOffsets, done: make(chan struct{})}, group: group, left: maps.Clone(offsets)}
	if reason := o.check(); reason != "" {
		return newError(Error{Op: callSendOffsets, Reason: reason})
	}
	if len(offsets) == 0 {
		return nil
	}
	p.e.wantTopics(offsets)
	return orNil(p.e.transact(ctx, callSendOffsets, false, func(t *transaction) (*operation, *Error) {
		return &o.operation, t.sendOffsets(o)
	}))
}

// CommitTransaction commits what was sent since BeginTransaction. It stops taking records, sends what is
// still buffered at once, waits until each record has its outcome and its callback has run, and then has
// the coordinator commit. It is nil only if the transaction is committed.
//
// It blocks as InitTransactions does. When it gives up waiting, the commit is still under way, and its
// outcome is open: call CommitTransaction again, not AbortTransaction. An error that is Abortable says
// that nothing was committed, because a record or the offsets failed: AbortTransaction is next. One that
// is Fatal ends the producer; nothing was committed then, unless its Outcome is MaybeWritten: the request
// had left, and its answer did not come before the end. In a callback it can't wait: ErrInCallback.
func (p *Producer[K, V]) CommitTransaction(ctx context.Context) error {
	if err := p.closedView(callCommit); err != nil {
		return err
	}
	return orNil(p.e.transact(ctx, callCommit, true, func(t *transaction) (*operation, *Error) { return t.complete(callCommit, true) }))
}

// AbortTransaction takes back what was sent since BeginTransaction: consumers with read_committed never
// see it. Records that have not left fail with ErrTransactionAborted; it waits for those in flight. After
// an error that is Abortable it is the only call that works.
//
// It blocks as InitTransactions does; when it gives up waiting, call it again. If ctx has ended already, the
// transaction is aborted all the same, but it does not wait for the result. Errors are ErrTimeout, or
// ctx's, or Fatal. In a callback it can't wait: ErrInCallback.
func (p *Producer[K, V]) AbortTransaction(ctx context.Context) error {
	if err := p.closedView(callAbort); err != nil {
		return err
	}
	return orNil(p.e.transact(ctx, callAbort, true, func(t *transaction) (*operation, *Error) { return t.complete(callAbort, false) }))
}

// waitsFor returns an error that says what a call that gave up had been waiting for, nil if that is not known. records
// says that it waited for records, too.
func (e *engine) waitsFor(records bool) error {
	if records {
		if why := e.holdUp("", -1); why != nil {
			return why
		}
	}
	if why := e.board.look().lastErr; why != nil {
		return why
	}
	if why := e.sender.txn.whyNotYet(); why != nil {
		return why
	}
	if why := e.answers.ask(e, aboutTransaction{}, abortGrace); why != nil {
		return why
	}
	return e.answers.ask(e, aboutNodes{}, abortGrace)
}

// closedView returns the error of calls about transactions if this view of a producer is closed, else nil.
func (p *Producer[K, V]) closedView(call string) error {
	if p.closed.Load() {
		return newError(Error{Op: call, Kind: ErrClosed})
	}
	return nil
}
