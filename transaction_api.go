package quill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// The public face of transactions.

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String returns "topic-3".
func (tp TopicPartition) String() string { return fmt.Sprintf("%s-%d", tp.Topic, tp.Partition) }

// OffsetAndMetadata is how far a consumer group has come in a partition.
type OffsetAndMetadata struct {
	// Offset is that of the next record to read: the last one processed, plus one.
	Offset int64
	// LeaderEpoch is that of the last record read. Zero or negative: not known.
	LeaderEpoch int32
	// Metadata is a short text that is kept with the offset.
	Metadata string
}

// GroupMetadata names the consumer group, and its member, for which offsets are
// committed, so that a member that was replaced can't commit (KIP-447). Any consumer library has these values. With
// GroupID alone nothing but the group is checked: that is for consumers that assign partitions
// themselves.
type GroupMetadata struct {
	GroupID string
	// GenerationID is the group's generation, or the member's epoch in the new consumer protocol.
	GenerationID int32
	MemberID     string
	// GroupInstanceID is group.instance.id, if the member has one.
	GroupInstanceID string
}

// member reports whether more than the group is known.
func (g *GroupMetadata) member() bool {
	return g.GenerationID > 0 || g.MemberID != "" || g.GroupInstanceID != ""
}

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
	if err := p.shut(callInit); err != nil {
		return err
	}
	return orNil(p.e.transact(ctx, callInit, false, func(t *transaction) (*operation, *Error) { return t.initialize(callInit) }))
}

// BeginTransaction begins a transaction: from now on records are taken, by whichever goroutine, and
// belong to it. It does not wait for any node. The error Is ErrInvalidTxnState if another transaction is
// open or InitTransactions was not called, and Fatal if the producer can't go on.
func (p *Producer[K, V]) BeginTransaction() error {
	if err := p.shut(callBegin); err != nil {
		return err
	}
	return orNil(p.e.instruct(callBegin, func(t *transaction) *Error { return t.open(callBegin) }))
}

// SendOffsetsToTransaction makes a consumer group's offsets part of the transaction: they are committed
// if it is, which is how input and output of a processing step are kept together. Use any
// consumer library, and copy its group's metadata into group. Call it before
// CommitTransaction, from any goroutine.
//
// It blocks as InitTransactions does. When it gives up waiting, the offsets are still on their way; call
// it again with the same ones, or abort. After an error that is Abortable call AbortTransaction:
// the group was rebalanced (ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID), or may not be used.
// Without offsets it does nothing.
func (p *Producer[K, V]) SendOffsetsToTransaction(ctx context.Context, offsets map[TopicPartition]OffsetAndMetadata, group GroupMetadata) error {
	if err := p.shut(callSendOffsets); err != nil {
		return err
	}
	o := &offsetsOrder{operation: operation{call: callSendOffsets, done: make(chan struct{})}, group: group, left: maps.Clone(offsets)}
	if reason := o.check(); reason != "" {
		return &Error{Op: callSendOffsets, Partition: -1, Node: -1, Reason: reason}
	}
	if len(offsets) == 0 {
		return nil
	}
	p.e.wantTopics(offsets)
	return orNil(p.e.transact(ctx, callSendOffsets, false, func(t *transaction) (*operation, *Error) { return &o.operation, t.sendOffsets(o) }))
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
	if err := p.shut(callCommit); err != nil {
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
	if err := p.shut(callAbort); err != nil {
		return err
	}
	return orNil(p.e.transact(ctx, callAbort, true, func(t *transaction) (*operation, *Error) { return t.complete(callAbort, false) }))
}

// instruct has the sender do something, at once.
func (e *engine) instruct(call string, do func(t *transaction) *Error) *Error {
	if e.cfg.transactionalID == "" {
		return &Error{Op: call, Kind: ErrInvalidTxnState, Partition: -1, Node: -1, Reason: "the producer has no transactional.id; set Config.TransactionalID"}
	}
	closed := &Error{Op: call, Kind: ErrClosed, Partition: -1, Node: -1}
	if e.closed.Load() {
		return closed
	}
	done := make(chan *Error, 1)
	e.box.order(func(s *sender, _ time.Time) { done <- do(s.txn) })
	select {
	case err := <-done:
		return err
	case <-e.sender.finished:
		return closed
	}
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
		open.Cause = e.waitsFor(ctx, callbacks)
		return open
	}
	o.heard.Store(true)
	return o.err
}

// waitsFor is what a call that gave up had been waiting for. records says that it waits for records, too.
func (e *engine) waitsFor(ctx context.Context, records bool) error {
	if records {
		if why := e.holdUp(ctx, "", -1); why != nil {
			return why
		}
	}
	if why := e.board.look().lastErr; why != nil {
		return why
	}
	if why := e.sender.txn.whyNotYet(); why != nil {
		return why
	}
	return e.askSender(ctx, func(s *sender, _ time.Time) error { return s.txn.unanswered() })
}

// shut is why this view of a producer takes no calls about transactions, nil if it does.
func (p *Producer[K, V]) shut(call string) error {
	if p.closed.Load() {
		return &Error{Op: call, Kind: ErrClosed, Partition: -1, Node: -1}
	}
	return nil
}

// orNil keeps a nil *Error from becoming an error.
func orNil(err *Error) error {
	if err != nil {
		return err
	}
	return nil
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
