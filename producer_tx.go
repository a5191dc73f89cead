package quill

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/protocol"
)

// Tx is the transaction that a function given to InTransaction works in. It may be used by many
// goroutines, until that function returns.
type Tx[K, V any] struct {
	p      *Producer[K, V]  // with a fake: one whose sendFast takes no record
	fake   Transactor[K, V] // nil: p
	over   atomic.Bool
	failed atomic.Pointer[Error] // the first record or offsets that were not taken
}

// Send sends a record in this transaction, as Producer.Send does. A record that is not accepted, for any reason, makes
// the transaction fail; so does, as always, one that is not delivered. So you need not check its future.
func (tx *Tx[K, V]) Send(ctx context.Context, r Record[K, V]) Future {
	if at := tx.sendFast(ctx, &r, nil, true); at.appended() {
		return Future(at)
	}
	if tx.fake != nil {
		return tx.sendFake(ctx, r)
	}
	out := outgoing{appendInput: appendInput{hasFuture: true}, mayWait: true}
	if err := tx.send(ctx, &r, &out); err != nil {
		tx.p.e.sender.losses.add(r.Topic, err, 1)
		return failedFuture(out.metadata(), err)
	}
	return Future{out.at.res, out.at.index}
}

// SendFunc sends a record in this transaction, as Producer.SendFunc does; see Send.
func (tx *Tx[K, V]) SendFunc(ctx context.Context, r Record[K, V], fn Callback) {
	if at := tx.sendFast(ctx, &r, fn, false); at.appended() {
		return
	}
	if tx.fake != nil {
		tx.sendFakeFunc(ctx, r, fn)
		return
	}
	out := outgoing{appendInput: appendInput{callback: fn}, mayWait: true}
	if err := tx.send(ctx, &r, &out); err != nil {
		tx.p.e.sender.losses.add(r.Topic, err, 1)
		tx.p.e.dispatch.call(fn, out.metadata(), err)
	}
}

// SendOffsets makes offsets part of this transaction, as Producer.SendOffsetsToTransaction does. If it fails, so does
// the transaction, even if you ignore its error.
func (tx *Tx[K, V]) SendOffsets(ctx context.Context, offsets map[TopicPartition]OffsetAndMetadata, group GroupMetadata) error {
	if tx.over.Load() {
		return errTxOver(callSendOffsets)
	}
	err := tx.transactor().SendOffsetsToTransaction(ctx, offsets, group)
	if e, ok := err.(*Error); ok && e.open { // its outcome is not open: the transaction is aborted because of it
		own := *e
		own.open, own.Reason = false, "gave up waiting, so the transaction is aborted"
		err = &own
	}
	if err != nil {
		tx.fail(err)
	}
	return err
}

// sendFast sends a record as Producer.sendFast does: a record that it takes can't make the transaction fail here.
func (tx *Tx[K, V]) sendFast(ctx context.Context, r *Record[K, V], fn Callback, future bool) position {
	if tx.over.Load() {
		return position{}
	}
	return tx.p.sendFast(ctx, r, fn, future)
}

func (tx *Tx[K, V]) send(ctx context.Context, r *Record[K, V], out *outgoing) *Error {
	if tx.over.Load() {
		out.record.Topic, out.chosen = r.Topic, r.Partition.or(-1)
		return tx.overError(r.Topic)
	}
	through := false
	defer func() {
		if !through { // a plug-in ended the goroutine
			tx.fail(newError(Error{Op: "send", Topic: r.Topic, Reason: "a plug-in ended the goroutine"}))
		}
	}()
	err := tx.p.send(ctx, r, out)
	through = true
	if err != nil {
		tx.fail(err)
	}
	return err
}

func (tx *Tx[K, V]) fail(err error) {
	if e, ok := errors.AsType[*Error](err); ok {
		tx.failed.CompareAndSwap(nil, e)
	}
}

// overError returns the error of a record that is sent after the function has returned.
func (tx *Tx[K, V]) overError(topic string) *Error {
	err := errTxOver("send")
	err.Topic = topic
	return err
}

func errTxOver(op string) *Error {
	return newError(Error{Op: op, Kind: ErrInvalidTxnState, Reason: "the function that this transaction was for has returned"})
}

// InTransaction runs fn in a transaction: it begins one, calls fn, and commits; if fn returns an error or
// panics, it aborts. It is nil only if the transaction is committed. InitTransactions has to be called
// before.
//
// If the transaction fails for a reason that may pass, it is aborted and fn is called again, after a pause that
// grows from retry.backoff.ms, until ctx ends: nodes or coordinators that did not answer in time, a
// transaction that its coordinator wants aborted (TRANSACTION_ABORTABLE), sequences that a broker has lost.
// So fn may run more than once: what it does besides sending must allow that. fn is not called again
// for a record that is refused, for missing rights, for a consumer group that was rebalanced, for fn's own errors
// (unless they wrap one of the failures above), or after a Fatal error. An error
// that Is ErrNotAborted says that the abort did not finish: call AbortTransaction until it has worked, or close
// the producer if it is Fatal too. One that Is ErrInvalidTxnState without a class says that fn has ended the transaction itself:
// leave that to InTransaction. After any other the transaction is aborted (the texts of this package's own errors begin
// with that), also if it is Abortable, and the next may begin; unless it is Fatal, or the commit's outcome is open.
//
// A transaction open for longer than transaction.timeout.ms usually ends the producer (Fatal): make fn
// shorter, or raise it.
//
// It blocks as long as fn does, and then until the commit is answered or ctx ends: a commit without an answer
// is requested again and again. If ctx ends first, the error Is ctx's and the outcome of the commit is open;
// call CommitTransaction to learn it. If ctx has ended, the abort may still take max.block.ms. Give
// ctx a deadline. Only one transaction can be open at a time.
func (p *Producer[K, V]) InTransaction(ctx context.Context, fn func(tx *Tx[K, V]) error) error {
	if p.e.inside() {
		return newError(Error{Op: "InTransaction", Kind: ErrInCallback})
	}
	pause := backoff.New(p.e.cfg.retryBackoff, p.e.cfg.retryBackoffMax)
	return inTransaction(ctx, p, pause, func() *Tx[K, V] { return &Tx[K, V]{p: p} }, fn)
}

// inTransaction does the work of InTransaction for a producer or for a fake of one.
func inTransaction[K, V any](ctx context.Context, p Transactor[K, V], pause backoff.Backoff, newTx func() *Tx[K, V],
	fn func(tx *Tx[K, V]) error) error {
	if err := notBegun(ctx, "InTransaction"); err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		if err := p.BeginTransaction(); err != nil {
			return err
		}
		open, err := attemptTransaction(ctx, p, newTx(), fn)
		if err == nil || open {
			return err
		}
		if errors.Is(err, ErrFatal) {
			return err
		}
		if failed := abortUntilDone(ctx, p); failed != nil {
			return abortFailed(err, failed)
		}
		if !mayWorkNextTime(err) || !sleep(ctx, pause.Next(attempt, rand.Float64)) {
			return abortDone(err)
		}
	}
}

// attemptTransaction runs fn once and commits. open reports that the outcome of the commit is not known.
func attemptTransaction[K, V any](ctx context.Context, p Transactor[K, V], tx *Tx[K, V],
	fn func(tx *Tx[K, V]) error) (open bool, err error) {
	returned := false
	defer func() {
		tx.over.Store(true)
		if !returned { // fn panicked, or ended its goroutine; either goes on after the abort
			_ = abortUntilDone(ctx, p)
		}
	}()
	err = fn(tx)
	returned = true
	tx.over.Store(true)
	if failed := tx.failed.Load(); err == nil && failed != nil {
		err = failed
	}
	if err != nil {
		return false, err
	}
	for {
		err = p.CommitTransaction(ctx)
		if open = stillOpen(err); !open || ctx.Err() != nil {
			return open, err
		}
	}
}

// abortUntilDone aborts the transaction. It tries at least once, even if ctx has ended.
func abortUntilDone[K, V any](ctx context.Context, p Transactor[K, V]) error {
	for {
		err := p.AbortTransaction(context.WithoutCancel(ctx))
		if !stillOpen(err) || ctx.Err() != nil {
			return err
		}
	}
}

// stillOpen reports whether err says that a call gave up waiting.
func stillOpen(err error) bool {
	e, ok := err.(*Error)
	return ok && e.open
}

// mayWorkNextTime reports whether a transaction that failed with err may succeed if it is tried again.
func mayWorkNextTime(err error) bool {
	if !errors.Is(err, ErrAbortable) {
		return false
	}
	if e, ok := errors.AsType[*Error](err); ok && e.lasting {
		return false // max.block.ms was not enough for the topic to appear
	}
	if code, ok := errors.AsType[protocol.ErrorCode](err); ok {
		switch code {
		case protocol.TransactionAbortable, protocol.InvalidProducerEpoch, protocol.InvalidTxnState,
			protocol.OutOfOrderSequenceNumber, protocol.UnknownProducerID, protocol.UnknownServerError:
			return true
		}
		return code.Retriable()
	}
	return errors.Is(err, ErrTimeout)
}

// sleep waits for d and returns true, or false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A Transactor has the calls about transactions that a Producer has.
type Transactor[K, V any] interface {
	Send(ctx context.Context, r Record[K, V]) Future
	SendFunc(ctx context.Context, r Record[K, V], fn Callback)
	BeginTransaction() error
	SendOffsetsToTransaction(ctx context.Context, offsets map[TopicPartition]OffsetAndMetadata, group GroupMetadata) error
	CommitTransaction(ctx context.Context) error
	AbortTransaction(ctx context.Context) error
}

// fakePause is the time between the attempts of a fake's InTransaction: there is no cluster to spare.
const fakePause = time.Millisecond

// InTransactionOf does what Producer.InTransaction does, for a fake of a Producer in tests: it makes the same calls
// in the same order, and tries again after the same errors.
func InTransactionOf[K, V any](ctx context.Context, fake Transactor[K, V], fn func(tx *Tx[K, V]) error) error {
	nothing := new(Producer[K, V]) // its sendFast takes no record
	return inTransaction(ctx, fake, backoff.New(fakePause, fakePause), func() *Tx[K, V] { return &Tx[K, V]{p: nothing, fake: fake} }, fn)
}

// transactor returns the fake if there is one, else the producer.
func (tx *Tx[K, V]) transactor() Transactor[K, V] {
	if tx.fake != nil {
		return tx.fake
	}
	return tx.p
}

// sendFake sends a record to the fake. A record that the fake did not take looks like one that failed at once; both
// make the transaction fail.
func (tx *Tx[K, V]) sendFake(ctx context.Context, r Record[K, V]) Future {
	if tx.over.Load() {
		return failedFuture(unknownMetadata(r.Topic, r.Partition.or(-1)), tx.overError(r.Topic))
	}
	f := tx.fake.Send(ctx, r)
	if f.Done() {
		_, err := f.Wait(ctx)
		tx.failFake(err)
	}
	return f
}

// sendFakeFunc sends a record to the fake with a callback; see sendFake.
func (tx *Tx[K, V]) sendFakeFunc(ctx context.Context, r Record[K, V], fn Callback) {
	if tx.over.Load() {
		if fn != nil {
			fn(unknownMetadata(r.Topic, r.Partition.or(-1)), tx.overError(r.Topic))
		}
		return
	}
	tx.fake.SendFunc(ctx, r, func(m RecordMetadata, err error) {
		tx.failFake(err)
		if fn != nil {
			fn(m, err)
		}
	})
}

// failFake calls fail with an error of a fake, which may be of any type.
func (tx *Tx[K, V]) failFake(err error) {
	if _, ours := errors.AsType[*Error](err); err != nil && !ours {
		err = newError(Error{Op: "send", Outcome: OutcomeOf(err), Cause: err})
	}
	tx.fail(err)
}
