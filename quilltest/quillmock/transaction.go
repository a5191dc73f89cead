package quillmock

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
)

// Transactions, with the rules of Java's MockProducer and the errors of quill.Producer. A record that
// fails makes its transaction fail, as in production: it can then only be aborted.

// GroupOffsets are offsets of consumer groups, by group.
type GroupOffsets map[string]map[quill.TopicPartition]quill.OffsetAndMetadata

// A TransactionLook says where the mock is with its transactions.
type TransactionLook struct {
	Initialized bool // InitTransactions was called
	Open        bool // a transaction is open
	SentOffsets bool // offsets were sent in the open transaction, or in the last one
	Committed   bool // the last transaction was committed, and none begun since
	Aborted     bool // it was aborted, and none begun since
	Fenced      bool // FenceProducer was called
	Commits     int  // transactions committed
}

// transactions is what a core knows of its transactions. It is guarded by core.mu.
type transactions struct {
	look      TransactionLook
	noticed   bool // a call has failed because of the fence; from then on it is the state that is wrong
	open      *transaction
	committed []GroupOffsets // oldest first
}

type transaction struct {
	partitions map[topicPartition]bool // a marker goes to each
	offsets    GroupOffsets
	failed     error // of the first record that was lost
	ended      bool
	committed  bool
}

func (t *transactions) clear() {
	t.look.SentOffsets, t.committed = false, nil
	if t.open != nil {
		t.open.offsets = GroupOffsets{}
	}
}

// Transaction does the work of Producer.Transaction.
func (c *core) Transaction() TransactionLook {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.txn.look
}

// GroupOffsets does the work of Producer.GroupOffsets.
func (c *core) GroupOffsets() []GroupOffsets {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]GroupOffsets, 0, len(c.txn.committed))
	for _, o := range c.txn.committed {
		all = append(all, o.clone())
	}
	return all
}

// UncommittedOffsets does the work of Producer.UncommittedOffsets.
func (c *core) UncommittedOffsets() GroupOffsets {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.txn.open == nil {
		return GroupOffsets{}
	}
	return c.txn.open.offsets.clone()
}

func (o GroupOffsets) clone() GroupOffsets {
	clone := make(GroupOffsets, len(o))
	for group, offsets := range o {
		clone[group] = maps.Clone(offsets)
	}
	return clone
}

// FenceProducer does the work of Producer.FenceProducer.
func (c *core) FenceProducer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.txn.look.Fenced = true
}

// InitTransactions makes the mock ready for transactions. It is refused the second time.
func (p *Producer[K, V]) InitTransactions(ctx context.Context) error {
	const call = "InitTransactions"
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.transactLocked(ctx, call, p.own.closed, p.errs.InitTransactions); err != nil {
		return err
	}
	if p.txn.look.Initialized {
		return p.wrongStateLocked(call, "UNINITIALIZED")
	}
	p.txn.look = TransactionLook{Initialized: true}
	return nil
}

// BeginTransaction begins a transaction: what is sent from now on belongs to it.
func (p *Producer[K, V]) BeginTransaction() error {
	const call = "BeginTransaction"
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.transactLocked(context.Background(), call, p.own.closed, p.errs.BeginTransaction); err != nil {
		return err
	}
	look := &p.txn.look
	if !look.Initialized || look.Open {
		return p.wrongStateLocked(call, "READY")
	}
	*look = TransactionLook{Initialized: true, Open: true, Commits: look.Commits}
	p.txn.open = &transaction{partitions: make(map[topicPartition]bool), offsets: GroupOffsets{}}
	return nil
}

// SendOffsetsToTransaction makes a consumer group's offsets part of the open transaction.
func (p *Producer[K, V]) SendOffsetsToTransaction(ctx context.Context, offsets map[quill.TopicPartition]quill.OffsetAndMetadata, group quill.GroupMetadata) error {
	const call = "SendOffsetsToTransaction"
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.transactLocked(ctx, call, p.own.closed, p.errs.SendOffsetsToTransaction); err != nil {
		return err
	}
	if group.GroupID == "" {
		return newError(quill.Error{Op: call, Reason: "the group has no id"})
	}
	if len(offsets) == 0 {
		return nil
	}
	if err := p.needOpenLocked(call); err != nil {
		return err
	}
	for at, offset := range offsets {
		if at.Partition < 0 || offset.Offset < 0 {
			return newError(quill.Error{Op: call, Reason: fmt.Sprintf("offset %d of %v: neither offset nor partition is ever negative", offset.Offset, at)})
		}
	}
	sent := p.txn.open.offsets
	if sent[group.GroupID] == nil {
		sent[group.GroupID] = make(map[quill.TopicPartition]quill.OffsetAndMetadata)
	}
	maps.Copy(sent[group.GroupID], offsets)
	p.txn.look.SentOffsets = true
	return nil
}

// CommitTransaction completes all records as Flush does and commits the transaction: its records enter
// the history. If one of them failed it is refused with an Abortable error.
func (p *Producer[K, V]) CommitTransaction(ctx context.Context) error {
	const call = "CommitTransaction"
	p.mu.Lock()
	err := p.transactLocked(ctx, call, p.own.closed, p.errs.CommitTransaction)
	if err == nil {
		err = p.needOpenLocked(call)
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	if err := p.completeAll(ctx, call); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.needOpenLocked(call); err != nil {
		return err // a callback, or another goroutine, was faster
	}
	if offsets := p.txn.open.offsets; len(offsets) > 0 {
		p.txn.committed = append(p.txn.committed, offsets)
	}
	p.endLocked(true)
	return nil
}

// AbortTransaction takes the transaction back: its records and offsets are gone. Incomplete records fail
// with ErrTransactionAborted.
func (p *Producer[K, V]) AbortTransaction(ctx context.Context) error {
	const call = "AbortTransaction"
	p.mu.Lock()
	err := p.transactLocked(context.Background(), call, p.own.closed, p.errs.AbortTransaction)
	if err == nil && !p.txn.look.Open {
		err = p.wrongStateLocked(call, "IN_TRANSACTION")
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	aborted := newError(quill.Error{Op: "send", Kind: quill.ErrTransactionAborted, Class: quill.ErrAbortable})
	if err := p.finishAll(ctx, call, aborted); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.txn.look.Open {
		p.endLocked(false)
	}
	return nil
}

// InTransaction runs fn in a transaction, as quill.Producer's does: it tries again after the same
// errors, aborts after the others, and commits.
func (p *Producer[K, V]) InTransaction(ctx context.Context, fn func(tx *quill.Tx[K, V]) error) error {
	if p.inCallback() {
		return newError(quill.Error{Op: "InTransaction", Kind: quill.ErrInCallback})
	}
	return quill.InTransactionOf(ctx, p, fn)
}

// transactLocked returns the error of a call about transactions that is refused in every state. For
// BeginTransaction, which has no ctx, and AbortTransaction, which works although ctx has ended, it is the
// background.
//
// +checklocks:c.mu
func (c *core) transactLocked(ctx context.Context, call string, viewClosed bool, injected error) error {
	switch {
	case viewClosed || c.closed:
		return newError(quill.Error{Op: call, Kind: quill.ErrClosed})
	case c.opts.TransactionalID == "":
		return newError(quill.Error{Op: call, Kind: quill.ErrInvalidTxnState,
			Reason: "the mock is not transactional; set Options.TransactionalID"})
	case c.inCallbackLocked() && call != "BeginTransaction":
		return newError(quill.Error{Op: call, Kind: quill.ErrInCallback})
	case c.txn.noticed:
		return newError(quill.Error{Op: call, Kind: quill.ErrInvalidTxnState, Class: quill.ErrFatal, Cause: fenced("transaction")})
	case c.txn.look.Fenced:
		c.txn.noticed = true
		return fenced(call)
	case endOf(ctx) != nil && injected == nil:
		return notBegun(call, endOf(ctx))
	}
	return injected
}

func fenced(op string) *quill.Error {
	return newError(quill.Error{Op: op, Kind: quill.ErrProducerFenced, Code: protocol.ProducerFenced, Class: quill.ErrFatal})
}

// breakTransaction makes the open transaction abortable if a record that was not taken breaks it, as it does in the real
// producer, unless the failure concerns only the caller. It returns the error to report.
func (c *core) breakTransaction(err error) error {
	e, ok := err.(*quill.Error)
	if !ok {
		return err // one that Fail set
	}
	for _, own := range []error{quill.ErrInvalidTxnState, quill.ErrClosed, quill.ErrSerialization, quill.ErrPartitioner, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(e, own) {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.txn.look.Open || c.txn.look.Fenced {
		return err
	}
	broken := *e
	broken.Class = quill.ErrAbortable
	if c.txn.open.failed == nil {
		c.txn.open.failed = &broken
	}
	return &broken
}

// needOpenLocked is nil if the open transaction takes records and may be committed.
//
// +checklocks:c.mu
func (c *core) needOpenLocked(call string) error {
	if !c.txn.look.Open || c.txn.open.failed != nil {
		return c.wrongStateLocked(call, "IN_TRANSACTION")
	}
	return nil
}

// wrongStateLocked is the error of a call that needs another state. The names are Kafka's.
//
// +checklocks:c.mu
func (c *core) wrongStateLocked(call, need string) *quill.Error {
	err := newError(quill.Error{Op: call, Kind: quill.ErrInvalidTxnState})
	state := "UNINITIALIZED"
	switch {
	case c.txn.open != nil && c.txn.open.failed != nil:
		state, err.Class, err.Cause = "ABORTABLE_ERROR", quill.ErrAbortable, c.txn.open.failed
	case c.txn.look.Open:
		state = "IN_TRANSACTION"
	case c.txn.look.Initialized:
		state = "READY"
	}
	err.Reason = "it needs state " + need + ", the producer is " + state
	return err
}

// endLocked ends the open transaction. Its markers take an offset in each of its partitions.
//
// +checklocks:c.mu
func (c *core) endLocked(commit bool) {
	t, look := c.txn.open, &c.txn.look
	for at := range t.partitions {
		c.offsets[at]++
	}
	t.ended, t.committed = true, commit
	look.Open, look.Committed, look.Aborted = false, commit, !commit
	if commit {
		look.Commits++
	}
	c.txn.open = nil
}

// abandon ends an open transaction when the producer is closed: its coordinator will abort it.
func (c *core) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.txn.look.Open {
		c.endLocked(false)
	}
}
