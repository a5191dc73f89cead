// Package quillmock is a producer without a cluster, for tests of code that sends records: Java's
// MockProducer.
//
// Code under test takes a small interface with the methods it needs, such as
//
//	type sender interface {
//		Send(ctx context.Context, r quill.Record[string, Order]) quill.Future
//	}
//
// and gets a [Producer] in its tests. The mock has the methods of quill.Producer. It runs the real
// serializers, partitions as the real producer does, and numbers the records of each partition from
// 0. Records complete by themselves, or with [Options.Manual] when the test says so, and
// [Producer.History] tells what was sent. There are no goroutines, no time-outs, no batches: for
// these use a cluster of package quilltest.
package quillmock

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"runtime"
	"slices"
	"sync"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/metadata"
)

// Options shape a Producer. The zero value completes each record at once and has every topic, with
// one partition.
type Options struct {
	// Manual leaves records incomplete until CompleteNext, ErrorNext, Flush or Close.
	Manual bool
	// Topics are the topics that exist, with their numbers of partitions. If nil, every topic
	// exists.
	Topics map[string]int
	// Partitions is the number of partitions if Topics is nil. If zero, 1.
	Partitions int
	// Partitioner chooses as quill.Config.Partitioner does. If nil, records go by the hash of their
	// key, and those without one to each partition in turn.
	Partitioner quill.Partitioner
}

// Errors are what calls fail with from now on, as Java's sendException and its like. Nil lets the
// call work.
type Errors struct {
	// Send fails in Send itself: the record does not enter the history, and its future and callback
	// get this error.
	Send error
	// Flush, PartitionsFor and Close are returned by these methods, which then do nothing else.
	Flush         error
	PartitionsFor error
	Close         error
}

// A Sent record is one that Send took.
type Sent[K, V any] struct {
	// Record is the record as it was given to Send, with the headers that serializers added.
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
	key   quill.Serializer[K] // set by New, read-only after
	value quill.Serializer[V]
	opts  Options

	mu sync.Mutex // held for memory work only
	// +checklocks:mu
	errs Errors
	// +checklocks:mu
	history []*entry[K, V]
	// pending are the records not completed, oldest first.
	// +checklocks:mu
	pending []*entry[K, V]
	// +checklocks:mu
	offsets map[topicPartition]int64
	// +checklocks:mu
	turns map[string]int32 // records without a key or partition so far, by topic
	// +checklocks:mu
	flushed bool
	// +checklocks:mu
	closed bool
	// outcomes are completed records whose callbacks have not run; that of the first may be
	// running.
	// +checklocks:mu
	outcomes []*entry[K, V]
	// deliverer is the goroutine that runs callbacks, 0 if none does.
	// +checklocks:mu
	deliverer int64
}

type topicPartition struct {
	topic     string
	partition int32
}

// entry is a record and those who wait for it.
type entry[K, V any] struct {
	sent    Sent[K, V]
	fn      quill.Callback
	future  quill.Future
	resolve func(m quill.RecordMetadata, err error)
}

// New returns a mock with the given serializers.
func New[K, V any](key quill.Serializer[K], value quill.Serializer[V], opts Options) *Producer[K, V] {
	if opts.Partitions == 0 {
		opts.Partitions = 1
	}
	if k, ok := key.(quill.KeySerializer[K]); ok {
		key = k.ForKeys()
	}
	return &Producer[K, V]{key: key, value: value, opts: opts, offsets: make(map[topicPartition]int64), turns: make(map[string]int32)}
}

// Send takes a record. It never blocks. Failures before a partition has the record (a closed
// producer, a serializer, an unknown topic or partition, Errors.Send) are told by the future, as by
// a real one.
func (p *Producer[K, V]) Send(ctx context.Context, r quill.Record[K, V]) quill.Future {
	f, _, _ := p.send(ctx, r, nil)
	return f
}

// SendFunc is Send with a callback.
func (p *Producer[K, V]) SendFunc(ctx context.Context, r quill.Record[K, V], fn quill.Callback) {
	if _, m, err := p.send(ctx, r, fn); err != nil {
		fn(m, err)
	}
}

// SendSync sends a record and waits for its outcome: with Options.Manual, until another goroutine
// completes it.
func (p *Producer[K, V]) SendSync(ctx context.Context, r quill.Record[K, V]) (quill.RecordMetadata, error) {
	f, m, err := p.send(ctx, r, nil)
	if err == nil && !f.Done() && p.inCallback() {
		return m, &quill.Error{Op: "send", Kind: quill.ErrInCallback, Topic: m.Topic, Partition: m.Partition, Node: -1, Fate: quill.MaybeWritten}
	}
	return f.Wait(ctx)
}

// TrySend is Send for those who do not care for the outcome; it says whether the record was taken.
func (p *Producer[K, V]) TrySend(r quill.Record[K, V]) bool { return p.TrySendFunc(r, nil) }

// TrySendFunc is TrySend with a callback, which is not called if the record was not taken.
func (p *Producer[K, V]) TrySendFunc(r quill.Record[K, V], fn quill.Callback) bool {
	_, _, err := p.send(context.Background(), r, fn)
	return err == nil
}

// SendAll sends the records of seq and yields their outcomes in order, each as soon as it is known.
func (p *Producer[K, V]) SendAll(ctx context.Context, seq iter.Seq[quill.Record[K, V]]) iter.Seq2[quill.RecordMetadata, error] {
	return func(yield func(quill.RecordMetadata, error) bool) {
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

// Flush completes all records sent before, as CompleteNext does, and waits until their callbacks
// have run.
func (p *Producer[K, V]) Flush(ctx context.Context) error {
	p.mu.Lock()
	err := p.errs.Flush
	if err == nil {
		p.flushed = true
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	return p.completeAll(ctx, "flush")
}

// PartitionsFor returns the partitions of a topic, led by node 1.
func (p *Producer[K, V]) PartitionsFor(_ context.Context, topic string) ([]metadata.Partition, error) {
	p.mu.Lock()
	err, closed := p.errs.PartitionsFor, p.closed
	p.mu.Unlock()
	switch n := p.partitions(topic); {
	case err != nil:
		return nil, err
	case closed:
		return nil, &quill.Error{Op: "describe topic", Kind: quill.ErrClosed, Topic: topic, Partition: -1, Node: -1}
	case n == 0:
		return nil, unknownTopic("describe topic", topic)
	default:
		return topicOf(topic, n).Partitions, nil
	}
}

// Close completes all records as Flush does, closes serializers and partitioner if they are
// io.Closers, and refuses what is sent later. It may be called again.
func (p *Producer[K, V]) Close(ctx context.Context) error {
	p.mu.Lock()
	if err := p.errs.Close; err != nil {
		p.mu.Unlock()
		return err
	}
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	errs := []error{p.completeAll(ctx, "close")}
	if first {
		for _, plugin := range []any{p.key, p.value, p.opts.Partitioner} {
			if c, ok := plugin.(io.Closer); ok {
				errs = append(errs, c.Close())
			}
		}
	}
	return errors.Join(errs...)
}

// completeAll completes all records and waits until they are told, perhaps by another goroutine.
func (p *Producer[K, V]) completeAll(ctx context.Context, op string) error {
	p.mu.Lock()
	waiting := slices.Concat(p.outcomes, p.pending)
	p.completeLocked(len(p.pending), nil)
	inside := p.inCallbackLocked()
	p.mu.Unlock()
	if inside {
		return &quill.Error{Op: op, Kind: quill.ErrInCallback, Partition: -1, Node: -1}
	}
	p.deliver()
	for _, e := range waiting {
		_, err := e.future.Wait(ctx)
		if !e.future.Done() {
			return err // ctx's
		}
	}
	return nil
}

// CompleteNext completes the oldest incomplete record without an error. It is false if there is
// none.
func (p *Producer[K, V]) CompleteNext() bool { return p.ErrorNext(nil) }

// ErrorNext completes the oldest incomplete record with an error, as it is: give it a *quill.Error
// if the code under test asks for its Outcome. It is false if there is none.
func (p *Producer[K, V]) ErrorNext(err error) bool {
	p.mu.Lock()
	done := p.completeLocked(1, err)
	p.mu.Unlock()
	p.deliver()
	return done == 1
}

// Fail sets what calls fail with from now on. Fail(Errors{}) ends it.
func (p *Producer[K, V]) Fail(errs Errors) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = errs
}

// History returns all records that Send took since New or Clear, in the order of Send.
func (p *Producer[K, V]) History() []Sent[K, V] {
	p.mu.Lock()
	defer p.mu.Unlock()
	history := make([]Sent[K, V], 0, len(p.history))
	for _, e := range p.history {
		history = append(history, e.sent)
	}
	return history
}

// Pending returns how many records are incomplete.
func (p *Producer[K, V]) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pending)
}

// Flushed says whether Flush was called, and no record was sent since.
func (p *Producer[K, V]) Flushed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flushed
}

// Closed says whether the producer is closed.
func (p *Producer[K, V]) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// Clear forgets history and incomplete records, whose futures then never complete, and the Errors.
// Offsets go on. Kafka: MockProducer.clear.
func (p *Producer[K, V]) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.history, p.pending, p.errs, p.flushed = nil, nil, Errors{}, false
}

// send is all ways of sending. An error means that the record was not taken; the future tells it
// too.
func (p *Producer[K, V]) send(ctx context.Context, r quill.Record[K, V], fn quill.Callback) (quill.Future, quill.RecordMetadata, error) {
	m := quill.RecordMetadata{Topic: r.Topic, Partition: -1, Offset: -1, KeySize: -1, ValueSize: -1}
	if id, ok := r.Partition.Get(); ok {
		m.Partition = id
	}
	e := &entry[K, V]{sent: Sent[K, V]{Record: r}, fn: fn}
	err := p.prepare(ctx, e, &m)
	f, resolve := quill.NewFuture(r.Topic, m.Partition)
	e.sent.Metadata, e.future, e.resolve = m, f, resolve
	if err == nil {
		err = p.take(e)
	}
	if err != nil {
		resolve(m, err)
		return f, m, err
	}
	p.deliver()
	return f, m, nil
}

// take puts a record into the history.
func (p *Producer[K, V]) take(e *entry[K, V]) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return &quill.Error{Op: "send", Kind: quill.ErrClosed, Topic: e.sent.Record.Topic, Partition: e.sent.Metadata.Partition, Node: -1}
	}
	p.flushed = false
	p.history = append(p.history, e)
	p.pending = append(p.pending, e)
	if !p.opts.Manual {
		p.completeLocked(1, nil)
	}
	return nil
}

// completeLocked decides the oldest n incomplete records and returns how many there were. Deliver
// then tells.
//
// +checklocks:p.mu
func (p *Producer[K, V]) completeLocked(n int, err error) int {
	n = min(n, len(p.pending))
	for _, e := range p.pending[:n] {
		m := &e.sent.Metadata
		if err == nil {
			at := topicPartition{m.Topic, m.Partition}
			m.Offset = p.offsets[at]
			p.offsets[at]++
		}
		e.sent.Done, e.sent.Err = true, err
		p.outcomes = append(p.outcomes, e)
	}
	p.pending = slices.Delete(p.pending, 0, n)
	return n
}

// deliver runs the callbacks and releases the futures of completed records, unless somebody is at
// it.
func (p *Producer[K, V]) deliver() {
	e := p.beginDelivery()
	defer func() {
		if e != nil { // its callback has panicked: the next call goes on behind it
			p.mu.Lock()
			p.outcomes, p.deliverer = p.outcomes[1:], 0
			p.mu.Unlock()
		}
	}()
	for e != nil {
		e.tell()
		e = p.nextOutcome()
	}
}

// beginDelivery returns the first record to tell about, nil if there is none or somebody else is at
// it.
func (p *Producer[K, V]) beginDelivery() *entry[K, V] {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deliverer != 0 || len(p.outcomes) == 0 {
		return nil
	}
	p.deliverer = goroutineID()
	return p.outcomes[0]
}

// nextOutcome drops the record just told about and returns the next. After the last one the
// delivery is over.
func (p *Producer[K, V]) nextOutcome() *entry[K, V] {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outcomes = p.outcomes[1:]
	if len(p.outcomes) == 0 {
		p.deliverer = 0
		return nil
	}
	return p.outcomes[0]
}

// tell runs the callback and then releases the future. The outcome is decided: nobody writes to it
// any more.
func (e *entry[K, V]) tell() {
	m, err := e.sent.Metadata, e.sent.Err
	defer e.resolve(m, err)
	if e.fn != nil {
		e.fn(m, err)
	}
}

func (p *Producer[K, V]) inCallback() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inCallbackLocked()
}

// +checklocks:p.mu
func (p *Producer[K, V]) inCallbackLocked() bool {
	return p.deliverer != 0 && p.deliverer == goroutineID()
}

// goroutineID is the number of this goroutine, which only the text of a stack trace tells:
// "goroutine 18 [running]:".
func goroutineID() int64 {
	var buf [64]byte
	var id int64
	for _, c := range bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine ")) {
		if c < '0' || c > '9' {
			break
		}
		id = id*10 + int64(c-'0')
	}
	return id
}
