package quill

import (
	"context"
	"errors"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
)

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
	nothing := new(Producer[K, V]) // its short takes no record
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
		err = &Error{Op: "send", Partition: -1, Node: -1, Cause: err}
	}
	tx.fail(err)
}
