package quillmock

import (
	"context"
	"slices"
	"sync"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/internal/goid"
	"github.com/quill-kafka/quill/metrics"
)

// core is what all views of a mock share: what is not completed yet, offsets, the transaction.
type core struct {
	opts Options // set by New, read-only after

	mu sync.Mutex // held for memory work only
	// +checklocks:mu
	errs Errors
	// +checklocks:mu
	metrics metrics.Snapshot
	// +checklocks:mu
	inspect inspect.Snapshot
	// pending are the records not completed, oldest first.
	// +checklocks:mu
	pending []*item
	// +checklocks:mu
	offsets map[topicPartition]int64
	// +checklocks:mu
	turns map[string]int32 // number of records without a key or partition, by topic
	// +checklocks:mu
	flushed bool
	// +checklocks:mu
	closed bool
	// +checklocks:mu
	txn transactions
	// outcomes are completed records whose callbacks have not run; that of the first may be
	// running.
	// +checklocks:mu
	outcomes []*item
	// deliverer is the goroutine that runs callbacks, 0 if none does.
	// +checklocks:mu
	deliverer int64
}

type topicPartition struct {
	topic     string
	partition int32
}

// item is a record of any type, and the calls that wait for it.
type item struct {
	metadata    quill.RecordMetadata
	done        bool
	err         error
	txn         *transaction // nil: outside of one
	fn          quill.Callback
	acknowledge func(m quill.RecordMetadata, err error) // the interceptors
	future      quill.Future
	resolve     func(m quill.RecordMetadata, err error)
}

func newCore(opts Options) *core {
	c := &core{opts: opts, offsets: make(map[topicPartition]int64), turns: make(map[string]int32)}
	for tp, next := range opts.Offsets {
		c.offsets[topicPartition{tp.Topic, tp.Partition}] = next
	}
	return c
}

// Offsets does the work of Producer.Offsets.
func (c *core) Offsets() map[quill.TopicPartition]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	offsets := make(map[quill.TopicPartition]int64, len(c.offsets))
	for at, next := range c.offsets {
		offsets[quill.TopicPartition{Topic: at.topic, Partition: at.partition}] = next
	}
	return offsets
}

// takeLocked begins the delivery of a record.
//
// +checklocks:c.mu
func (c *core) takeLocked(i *item) {
	c.flushed = false
	i.txn = c.txn.open
	if i.txn != nil {
		i.txn.partitions[topicPartition{i.metadata.Topic, i.metadata.Partition}] = true
	}
	c.pending = append(c.pending, i)
	if !c.opts.Manual {
		c.completeLocked(1, nil)
	}
}

// completeAll completes all records and waits until their callbacks have run, perhaps by another
// goroutine.
func (c *core) completeAll(ctx context.Context, op string) error { return c.finishAll(ctx, op, nil) }

// finishAll does the work of completeAll, with an error for the records.
func (c *core) finishAll(ctx context.Context, op string, failure error) error {
	c.mu.Lock()
	waiting := slices.Concat(c.outcomes, c.pending)
	c.completeLocked(len(c.pending), failure)
	inside := c.inCallbackLocked()
	c.mu.Unlock()
	if inside {
		return newError(quill.Error{Op: op, Kind: quill.ErrInCallback})
	}
	c.deliver()
	for _, i := range waiting {
		_, err := i.future.Wait(ctx)
		if !i.future.Done() {
			return err // ctx's
		}
	}
	return nil
}

// CompleteNext does the work of Producer.CompleteNext.
func (c *core) CompleteNext() bool { return c.ErrorNext(nil) }

// ErrorNext does the work of Producer.ErrorNext.
func (c *core) ErrorNext(err error) bool {
	c.mu.Lock()
	done := c.completeLocked(1, err)
	c.mu.Unlock()
	c.deliver()
	return done == 1
}

// Fail does the work of Producer.Fail.
func (c *core) Fail(errs Errors) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = errs
}

// Pending does the work of Producer.Pending.
func (c *core) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)
}

// Flushed does the work of Producer.Flushed.
func (c *core) Flushed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushed
}

// Closed does the work of Producer.Closed.
func (c *core) Closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// +checklocks:c.mu
func (c *core) clearLocked() {
	c.pending, c.errs, c.flushed = nil, Errors{}, false
	c.txn.clear()
}

// completeLocked decides the oldest n incomplete records and returns how many there were. Deliver then
// runs their callbacks.
//
// +checklocks:c.mu
func (c *core) completeLocked(n int, err error) int {
	n = min(n, len(c.pending))
	for _, i := range c.pending[:n] {
		m := &i.metadata
		if err == nil {
			at := topicPartition{m.Topic, m.Partition}
			m.Offset = c.offsets[at]
			c.offsets[at]++
		} else if i.txn != nil && i.txn.failed == nil {
			i.txn.failed = err
		}
		i.done, i.err = true, err
		c.outcomes = append(c.outcomes, i)
	}
	c.pending = slices.Delete(c.pending, 0, n)
	return n
}

// deliver runs the callbacks and releases the futures of completed records, unless another goroutine is at
// it.
func (c *core) deliver() {
	i := c.beginDelivery()
	defer func() {
		if i != nil { // its callback has panicked: the next call goes on behind it
			c.mu.Lock()
			c.outcomes, c.deliverer = c.outcomes[1:], 0
			c.mu.Unlock()
		}
	}()
	for i != nil {
		i.deliver()
		i = c.nextOutcome()
	}
}

// beginDelivery returns the first completed record, nil if there is none or another goroutine is at it.
func (c *core) beginDelivery() *item {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deliverer != 0 || len(c.outcomes) == 0 {
		return nil
	}
	c.deliverer = goid.Current()
	return c.outcomes[0]
}

// nextOutcome drops the record just delivered and returns the next. After the last one the delivery is
// over.
func (c *core) nextOutcome() *item {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcomes = c.outcomes[1:]
	if len(c.outcomes) == 0 {
		c.deliverer = 0
		return nil
	}
	return c.outcomes[0]
}

// deliver runs interceptors and callback and then releases the future. The outcome is decided: no caller
// writes to it any more.
func (i *item) deliver() {
	m, err := i.metadata, i.err
	defer i.resolve(m, err)
	if i.fn != nil {
		defer i.fn(m, err) // also if an interceptor ends the goroutine
	}
	i.acknowledge(m, err)
}

func (c *core) inCallback() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inCallbackLocked()
}

// +checklocks:c.mu
func (c *core) inCallbackLocked() bool {
	return c.deliverer != 0 && c.deliverer == goid.Current()
}
