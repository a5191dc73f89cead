// Package quillmock is a producer without a cluster, for tests of code that sends records: the
// counterpart of Java's MockProducer.
//
// Code under test takes a small interface with the methods it needs, such as
//
//	type sender interface {
//		Send(ctx context.Context, r quill.Record[string, Order]) quill.Future
//	}
//
// and gets a [Producer] in its tests. The mock has all methods of quill.Producer, those about
// transactions included. It runs the real serializers and interceptors, partitions as the real producer
// does, and numbers the records of each partition from 0. Records complete by themselves, or with
// [Options.Manual] when the test says so, and [Producer.History] has what was sent. There are no
// goroutines, no time-outs, no batches: for these use a cluster of package quilltest.
package quillmock

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/metadata"
)

// Options shape a Producer. The zero value completes each record at once and has every topic, with
// one partition.
type Options struct {
	// Manual leaves records incomplete until CompleteNext, ErrorNext, Flush, CommitTransaction or Close.
	Manual bool
	// Topics are the topics that exist, with their numbers of partitions. If nil, every topic
	// exists.
	Topics map[string]int
	// Partitions is the number of partitions if Topics is nil. If zero, 1.
	Partitions int
	// Partitioner chooses as quill.Config.Partitioner does. If nil, records go by the hash of their
	// key, and those without one to each partition in turn.
	Partitioner quill.Partitioner
	// TransactionalID makes the producer transactional: records are taken in transactions only. If
	// empty, calls about transactions are refused. Kafka: transactional.id.
	TransactionalID string
	// Offsets are those that the first records of partitions get. If missing, 0.
	Offsets map[quill.TopicPartition]int64
}

// Errors are what calls fail with from now on, as Java's sendException and its like. Nil lets the
// call work.
type Errors struct {
	// Send fails in Send itself: the record does not enter the history, and its future and callback
	// get this error.
	Send error
	// Flush, PartitionsFor, Ping, Cluster, Health and Close are returned by these methods, which then do nothing else.
	Flush         error
	PartitionsFor error
	Ping          error
	Cluster       error
	Health        error
	Close         error
	// The calls about transactions return these, and then do nothing else.
	InitTransactions         error
	BeginTransaction         error
	SendOffsetsToTransaction error
	CommitTransaction        error
	AbortTransaction         error
}

// A Sent record is one that Send took.
type Sent[K, V any] struct {
	// Record is the record as it was given to Send, with what interceptors changed and the headers that
	// serializers added.
	Record quill.Record[K, V]
	// Key and Value are the serialized forms, nil if null.
	Key, Value []byte
	// Metadata says where it went. Its offset is -1 until it is completed without an error.
	Metadata quill.RecordMetadata
	// Done says whether the record is completed, Err with which error.
	Done bool
	Err  error
}

// Producer is a quill.Producer that sends nowhere. It may be used concurrently.
//
// Callbacks run in the call that completes their record (Send, CompleteNext, Flush …) or, when
// another goroutine is just running callbacks, there: never two at a time, and in the order of
// completion.
type Producer[K, V any] struct {
	*core                      // may be shared with other views
	key    quill.Serializer[K] // set by New, read-only after
	value  quill.Serializer[V]
	chain  chain[K, V]
	shared bool // made by Share: a view of another's core
	own    view[K, V]
}

// view is what belongs to one view, guarded by core.mu.
type view[K, V any] struct {
	history []*entry[K, V]
	closed  bool // the view, or the producer through it
}

// entry is a record that a view took.
type entry[K, V any] struct {
	*item
	record     quill.Record[K, V]
	key, value []byte
}

// New returns a mock with the given serializers and interceptors, which it configures as quill.New
// does. It panics if one of them fails.
func New[K, V any](key quill.Serializer[K], value quill.Serializer[V], opts Options, interceptors ...quill.Interceptor[K, V]) *Producer[K, V] {
	if opts.Partitions == 0 {
		opts.Partitions = 1
	}
	must(configure(opts.Partitioner))
	return newView(newCore(opts), key, value, interceptors)
}

// Share returns another typed view of the same mock, as quill.Share does: the same partitions, offsets
// and order of completion, the same transaction, but a history of its own.
func Share[K, V, K0, V0 any](p *Producer[K0, V0], key quill.Serializer[K], value quill.Serializer[V], interceptors ...quill.Interceptor[K, V]) (*Producer[K, V], error) {
	p.mu.Lock()
	closed := p.closed || p.own.closed
	p.mu.Unlock()
	if closed {
		return nil, newError(quill.Error{Op: "share the producer", Kind: quill.ErrClosed})
	}
	v := newView(p.core, key, value, interceptors)
	v.shared = true
	return v, nil
}

func newView[K, V any](c *core, key quill.Serializer[K], value quill.Serializer[V], interceptors []quill.Interceptor[K, V]) *Producer[K, V] {
	if k, ok := key.(quill.KeySerializer[K]); ok {
		key = k.ForKeys()
	}
	must(configureSerializer(key, true))
	must(configureSerializer(value, false))
	for _, i := range interceptors {
		must(configure(i))
	}
	return &Producer[K, V]{core: c, key: key, value: value, chain: interceptors}
}

func must(err error) {
	if err != nil {
		panic("quillmock: a plug-in's Configure failed: " + err.Error())
	}
}

// Send takes a record. It never blocks. Failures before a partition has the record (a closed
// producer, a serializer, an unknown topic or partition, Errors.Send) are reported by the future, as by
// a real one.
func (p *Producer[K, V]) Send(ctx context.Context, r quill.Record[K, V]) quill.Future {
	f, _, _ := p.send(ctx, r, nil)
	return f
}

// SendFunc sends a record as Send does, with a callback, which may be nil.
func (p *Producer[K, V]) SendFunc(ctx context.Context, r quill.Record[K, V], fn quill.Callback) {
	if _, m, err := p.send(ctx, r, fn); err != nil && fn != nil {
		fn(m, err)
	}
}

// SendRecord sends a record as SendFunc does, with a callback that gets the record too.
func (p *Producer[K, V]) SendRecord(ctx context.Context, r quill.Record[K, V], fn func(r quill.Record[K, V], m quill.RecordMetadata, err error)) {
	if fn == nil {
		p.SendFunc(ctx, r, nil)
		return
	}
	p.SendFunc(ctx, r, func(m quill.RecordMetadata, err error) { fn(r, m, err) })
}

// SendSync sends a record and waits for its outcome: with Options.Manual, until another goroutine
// completes it.
func (p *Producer[K, V]) SendSync(ctx context.Context, r quill.Record[K, V]) (quill.RecordMetadata, error) {
	f, m, err := p.send(ctx, r, nil)
	if err == nil && !f.Done() && p.inCallback() {
		return m, &quill.Error{Op: "send", Kind: quill.ErrInCallback, Topic: m.Topic, Partition: m.Partition, Node: -1, Outcome: quill.MaybeWritten}
	}
	return f.Wait(ctx)
}

// TrySend sends a record as Send does, for callers that do not need the outcome; it reports whether the record was taken.
func (p *Producer[K, V]) TrySend(r quill.Record[K, V]) bool { return p.TrySendFunc(r, nil) }

// TrySendFunc sends a record as TrySend does, with a callback, which is not called if the record was not taken.
func (p *Producer[K, V]) TrySendFunc(r quill.Record[K, V], fn quill.Callback) bool {
	_, _, err := p.send(context.Background(), r, fn)
	return err == nil
}

// SendAll sends the records of seq and yields their outcomes in order, each as soon as it is known. In
// a callback each record's error is ErrInCallback, as that of a real producer's.
func (p *Producer[K, V]) SendAll(ctx context.Context, seq iter.Seq[quill.Record[K, V]]) iter.Seq2[quill.RecordMetadata, error] {
	return func(yield func(quill.RecordMetadata, error) bool) {
		if p.inCallback() {
			p.refuseAll(seq, yield)
			return
		}
		var ahead []quill.Future
		for r := range seq {
			ahead = append(ahead, p.Send(ctx, r))
			for len(ahead) > 0 && ahead[0].Done() {
				if !yield(ahead[0].Wait(ctx)) {
					return
				}
				ahead = ahead[1:]
			}
		}
		for _, f := range ahead {
			if !yield(f.Wait(ctx)) {
				return
			}
		}
	}
}

func (p *Producer[K, V]) refuseAll(seq iter.Seq[quill.Record[K, V]], yield func(quill.RecordMetadata, error) bool) {
	for r := range seq {
		m := unknownMetadata(r.Topic, partitionOf(r.Partition))
		err := &quill.Error{Op: "send", Kind: quill.ErrInCallback, Topic: r.Topic, Partition: m.Partition, Node: -1, Reason: "SendAll waits for outcomes"}
		if !yield(m, err) {
			return
		}
	}
}

// Flush completes all records sent before, as CompleteNext does, and waits until their callbacks
// have run.
func (p *Producer[K, V]) Flush(ctx context.Context) error {
	p.mu.Lock()
	err := p.errs.Flush
	switch {
	case err != nil:
	case p.closed || p.own.closed:
		err = newError(quill.Error{Op: "flush", Kind: quill.ErrClosed})
	default:
		p.flushed = true
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	return p.completeAll(ctx, "flush")
}

// PartitionsFor returns the partitions of a topic, led by node 1.
func (p *Producer[K, V]) PartitionsFor(ctx context.Context, topic string) ([]metadata.Partition, error) {
	if ctx == nil {
		return nil, notBegun("describe topic", errNilContext)
	}
	p.mu.Lock()
	err, closed := p.errs.PartitionsFor, p.closed || p.own.closed
	p.mu.Unlock()
	switch n := p.partitions(topic); {
	case err != nil:
		return nil, err
	case closed:
		return nil, newError(quill.Error{Op: "describe topic", Kind: quill.ErrClosed, Topic: topic})
	case n == 0:
		return nil, unknownTopic("describe topic", topic)
	default:
		return topicOf(topic, n).Partitions, nil
	}
}

// Close completes all records as Flush does, gives up an open transaction, closes serializers,
// interceptors and partitioner if they are io.Closers, and refuses what is sent later. It may be called
// again. Closing a view made by Share leaves the producer and its other views open.
func (p *Producer[K, V]) Close(ctx context.Context) error {
	if ctx == nil {
		return notBegun("close", errNilContext)
	}
	p.mu.Lock()
	if err := p.errs.Close; err != nil {
		p.mu.Unlock()
		return err
	}
	first := !p.own.closed
	p.own.closed = true
	p.closed = p.closed || !p.shared
	p.mu.Unlock()
	errs := []error{p.completeAll(ctx, "close")}
	if !first {
		return errs[0]
	}
	errs = append(errs, p.chain.close(), closePlugin(p.key), closePlugin(p.value))
	if !p.shared {
		p.abandon()
		errs = append(errs, closePlugin(p.opts.Partitioner))
	}
	return errors.Join(errs...)
}

// History returns the records that this view's Send took since New or Clear, in the order of Send: those
// outside of transactions, and those of transactions that were committed. Kafka: MockProducer.history.
func (p *Producer[K, V]) History() []Sent[K, V] {
	return p.list(func(i *item) bool { return i.txn == nil || i.txn.committed })
}

// Uncommitted returns the records of the open transaction, in the order of Send. Kafka:
// MockProducer.uncommittedRecords.
func (p *Producer[K, V]) Uncommitted() []Sent[K, V] {
	return p.list(func(i *item) bool { return i.txn != nil && !i.txn.ended })
}

func (p *Producer[K, V]) list(which func(i *item) bool) []Sent[K, V] {
	p.mu.Lock()
	defer p.mu.Unlock()
	sent := make([]Sent[K, V], 0, len(p.own.history))
	for _, e := range p.own.history {
		if which(e.item) {
			sent = append(sent, Sent[K, V]{Record: e.record, Key: e.key, Value: e.value, Metadata: e.metadata, Done: e.done, Err: e.err})
		}
	}
	return sent
}

// Clear forgets history and incomplete records, whose futures then never complete, group offsets, and
// the Errors. Offsets go on, and so does an open transaction. Kafka: MockProducer.clear.
func (p *Producer[K, V]) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own.history = nil
	p.clearLocked()
}

// send does the work of all methods that send. An error means that the record was not taken; the future has it too.
func (p *Producer[K, V]) send(ctx context.Context, r quill.Record[K, V], fn quill.Callback) (quill.Future, quill.RecordMetadata, error) {
	m := unknownMetadata(r.Topic, partitionOf(r.Partition))
	e := &entry[K, V]{item: &item{fn: fn}, record: r}
	var contexts []context.Context
	decided := false
	defer func() {
		if !decided {
			p.goroutineEnded(e, contexts, m)
		}
	}()
	e.record, contexts = p.chain.onSend(orBackground(ctx), r)
	m = unknownMetadata(e.record.Topic, partitionOf(e.record.Partition))
	err := p.prepare(ctx, e, &m)
	decided = true
	e.metadata = m
	e.future, e.resolve = quill.NewFuture(m.Topic, m.Partition)
	if err == nil {
		headers := e.record.Headers
		e.acknowledge = func(m quill.RecordMetadata, err error) { p.chain.onAcknowledgement(contexts, m, headers, err) }
		err = p.take(e) // from here on it may be delivered by the goroutine that completes it
	}
	if err != nil {
		m.Timestamp = time.Time{}
		err = p.breakTransaction(err)
		p.refused(e, contexts, m, err)
		return e.future, m, err
	}
	p.deliver()
	return e.future, m, nil
}

// refused gives a record its outcome that was not taken. The callback is the caller's to run, unless an
// interceptor ends the goroutine.
func (p *Producer[K, V]) refused(e *entry[K, V], contexts []context.Context, m quill.RecordMetadata, err error) {
	defer e.resolve(m, err)
	returned := false
	defer func() {
		if !returned && e.fn != nil {
			e.fn(m, err)
		}
	}()
	p.chain.onAcknowledgement(contexts, unknownMetadata(m.Topic, m.Partition), e.record.Headers, err)
	returned = true
}

// goroutineEnded gives a record its outcome whose send did not return: a plug-in called runtime.Goexit, as
// FailNow of a test does.
func (p *Producer[K, V]) goroutineEnded(e *entry[K, V], contexts []context.Context, m quill.RecordMetadata) {
	m.Timestamp = time.Time{}
	err := &quill.Error{Op: "send", Topic: m.Topic, Partition: m.Partition, Node: -1, Reason: "a plug-in ended the goroutine (runtime.Goexit, which FailNow of a test calls)"}
	if e.fn != nil {
		defer e.fn(m, err)
	}
	p.chain.onAcknowledgement(contexts, unknownMetadata(m.Topic, m.Partition), e.record.Headers, err)
}

// take puts a record into the history, unless the producer has been closed meanwhile.
func (p *Producer[K, V]) take(e *entry[K, V]) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refusalLocked(&e.metadata, p.own.closed); err != nil {
		return err
	}
	p.own.history = append(p.own.history, e)
	p.takeLocked(e.item)
	return nil
}

func unknownMetadata(topic string, partition int32) quill.RecordMetadata {
	return quill.RecordMetadata{Topic: topic, Partition: partition, Offset: -1, KeySize: -1, ValueSize: -1}
}
