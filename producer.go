package quill

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/metrics"
)

// Producer sends records to a Kafka cluster: Java's KafkaProducer for Go. It batches records by
// partition in a bounded buffer and delivers them in the background, in order and without
// duplicates, until delivery.timeout.ms ends its attempts.
//
// One producer per process is usually best: it is safe for concurrent use, and more senders make its
// batches fuller. Close it to deliver what is buffered.
type Producer[K, V any] struct {
	e       *engine
	key     partSerializer[K]
	value   partSerializer[V]
	chain   *interceptorChain[K, V] // nil: none
	plain   bool                    // both serializers are Bytes
	foreign bool                    // user code runs in Send
	typed   bool                    // the partitioner wants keys and values before they are serialized
	direct  atomic.Bool             // plain, there are no interceptors, and the view is not closed

	view    bool        // made by Share: does not own the engine
	closed  atomic.Bool // the view, not the engine
	plugins pluginClose
}

// A producer of bytes is compiled with the package, where internal/lint reads in the compiler's report what is inlined in it.
var _ Transactor[[]byte, []byte] = (*Producer[[]byte, []byte])(nil)

// New checks the configuration and starts a producer. It connects in the background: if the cluster can't
// be reached, the first Send fails, not New (see PartitionsFor). Errors: *ConfigError with all faults found
// (one is that no name in BootstrapServers can be resolved), or the error of a plug-in's Configure; nothing is left
// running then.
//
// Interceptors are called in the order given.
func New[K, V any](cfg Config, key Serializer[K], value Serializer[V], interceptors ...Interceptor[K, V]) (*Producer[K, V], error) {
	e, err := newEngine(cfg)
	if err != nil {
		return nil, err
	}
	done := false
	defer func() {
		if !done { // an error, or a plug-in's Configure ended the goroutine
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = e.close(ctx) // nothing was sent: there is nothing to lose
		}
	}()
	p, err := newView(e, key, value, interceptors)
	if err != nil {
		return nil, err
	}
	done = true
	return p, nil
}

// Share returns another typed view of the same producer: the same buffer, connections and order. The
// interceptors are the view's own: it has those given here, and none of p's.
//
// Closing the view flushes it and closes its serializers and interceptors, and it can't send any
// more; the producer itself is closed by closing p, after which no view can. If p is
// closed, Share returns ErrClosed.
func Share[K, V, K0, V0 any](p *Producer[K0, V0], key Serializer[K], value Serializer[V],
	interceptors ...Interceptor[K, V]) (*Producer[K, V], error) {
	if p.closed.Load() || p.e.closed.Load() {
		return nil, newError(Error{Op: "share", Kind: ErrClosed})
	}
	view, err := newView(p.e, key, value, interceptors)
	if err != nil {
		return nil, err
	}
	view.view = true
	return view, nil
}

// Send hands over a record for delivery and returns its future.
//
// It blocks only while the topic's metadata are not known yet or the buffer is full, in sum at most
// max.block.ms (Kafka's default 60s) and no longer than ctx. While the cluster can't be reached, each Send
// to a topic not seen before waits that long. If ctx has ended when Send is called, nothing
// is sent. Once the record is buffered, the end of ctx changes nothing: delivery.timeout.ms bounds the delivery. The
// record's parts may be reused when Send returns.
//
// Every Send has exactly one outcome, which the future reports; also a failure inside Send (an unknown topic, a
// record that is too large, a closed producer). Records of one partition sent
// by one goroutine keep their order. It may be called concurrently.
func (p *Producer[K, V]) Send(ctx context.Context, r Record[K, V]) Future {
	if at := p.sendFast(ctx, &r, nil, true); at.appended() {
		return Future(at)
	}
	out := outgoing{appendInput: appendInput{hasFuture: true}, mayWait: true}
	if err := p.send(ctx, &r, &out); err != nil {
		p.e.sender.losses.add(r.Topic, err, 1)
		return failedFuture(out.metadata(), err)
	}
	return Future{out.at.res, out.at.index}
}

// SendFunc sends a record as Send does, with a callback instead of a future. fn may be nil; it is called exactly
// once (see Callback). Passing the same func value for every record is the cheapest way to send.
func (p *Producer[K, V]) SendFunc(ctx context.Context, r Record[K, V], fn Callback) {
	if at := p.sendFast(ctx, &r, fn, false); !at.appended() {
		p.sendSlow(ctx, r, fn)
	}
}

// SendRecord sends a record as SendFunc does, with a callback that gets the record as well, so that one function for all
// records can log those that were not delivered, or hand them to a goroutine that sends them to another topic (see the
// example; never send in the callback). The record is kept until then: do not change its key, value and
// headers before. That costs an allocation for each record.
func (p *Producer[K, V]) SendRecord(ctx context.Context, r Record[K, V], fn func(r Record[K, V], m RecordMetadata, err error)) {
	if fn == nil {
		p.SendFunc(ctx, r, nil)
		return
	}
	p.SendFunc(ctx, r, keeping(r, fn))
}

// keeping returns a Callback that passes r on to fn.
func keeping[K, V any](r Record[K, V], fn func(r Record[K, V], m RecordMetadata, err error)) Callback {
	return func(m RecordMetadata, err error) { fn(r, m, err) }
}

// sendSlow does the work of SendFunc for a record that sendFast did not take.
func (p *Producer[K, V]) sendSlow(ctx context.Context, r Record[K, V], fn Callback) {
	out := outgoing{appendInput: appendInput{callback: fn}, mayWait: true}
	if err := p.send(ctx, &r, &out); err != nil {
		p.e.sender.losses.add(r.Topic, err, 1)
		p.e.dispatch.call(fn, out.metadata(), err)
	}
}

// SendSync sends a record and waits for its outcome. It does not wait out linger.ms: its batch is sent
// as soon as the node can take it, with the records that other goroutines have put into it by then. If ctx ends
// while it waits for the outcome, the record may still be delivered: the error Is ctx's, and its Outcome
// MaybeWritten. An error is always an *Error.
func (p *Producer[K, V]) SendSync(ctx context.Context, r Record[K, V]) (RecordMetadata, error) {
	out := outgoing{appendInput: appendInput{hasFuture: true, urgent: true}, mayWait: true}
	if err := p.send(ctx, &r, &out); err != nil {
		return out.metadata(), err
	}
	f := Future{out.at.res, out.at.index}
	if !f.Done() && p.e.inside() {
		return out.metadata(), pendingError(r.Topic, out.chosen, ErrInCallback)
	}
	return f.Wait(ctx)
}

// TrySend hands over a record if that needs no waiting; it reports whether it did. It is false if
// the topic's metadata are not known yet (the producer then asks for them), the buffer is full, or the record
// can't be sent at all; interceptors get the reason. Only interceptors see the outcome of an
// accepted record: see TrySendFunc.
func (p *Producer[K, V]) TrySend(r Record[K, V]) bool { return p.TrySendFunc(r, nil) }

// TrySendFunc sends a record as TrySend does, with a callback, which may be nil. If it returns false, fn was not called
// and will not be.
func (p *Producer[K, V]) TrySendFunc(r Record[K, V], fn Callback) bool {
	if at := p.sendFast(context.Background(), &r, fn, false); at.appended() {
		return true
	}
	out := outgoing{appendInput: appendInput{callback: fn}}
	return p.send(context.Background(), &r, &out) == nil
}

// sendAllWindow is how many records SendAll sends ahead of the results it yields.
const sendAllWindow = 8192

// SendAll sends the records of seq and yields their outcomes, in the order of seq. It sends ahead, so
// batches fill, but not without bound. The last batches don't wait out linger.ms. If the loop over
// the results ends early, seq is not read further; what was sent is delivered all the same. In a
// callback, where the results could not be waited for, nothing is sent: each record's error is
// ErrInCallback.
func (p *Producer[K, V]) SendAll(ctx context.Context, seq iter.Seq[Record[K, V]]) iter.Seq2[RecordMetadata, error] {
	return func(yield func(RecordMetadata, error) bool) {
		if p.e.inside() {
			failAll(seq, yield)
			return
		}
		late := begun(ctx)
		ahead := make([]Future, 0, 64)
		first := 0 // ahead[first:] are not yielded yet
		for r := range seq {
			ahead = append(ahead, p.Send(ctx, r))
			for len(ahead)-first >= sendAllWindow || first < len(ahead) && ahead[first].Done() {
				if !yield(ahead[first].wait(ctx, late)) {
					return
				}
				first++
			}
			if first > sendAllWindow {
				ahead = append(ahead[:0], ahead[first:]...)
				first = 0
			}
		}
		p.e.acc.beginFlush()
		p.e.box.wakeNow()
		for _, f := range ahead[first:] {
			if !yield(f.wait(ctx, late)) {
				return
			}
		}
	}
}

// failAll yields for each record of seq the error that it can't be sent in a callback.
func failAll[K, V any](seq iter.Seq[Record[K, V]], yield func(RecordMetadata, error) bool) {
	for r := range seq {
		partition := r.Partition.or(-1)
		err := &Error{Op: "send", Kind: ErrInCallback, Topic: r.Topic, Partition: partition, Node: -1, Reason: "SendAll waits for outcomes"}
		if !yield(unknownMetadata(r.Topic, partition), err) {
			return
		}
	}
}

// Flush makes every record sent before it ready at once, without regard to linger.ms, and waits until
// each has its outcome, success or failure, and its callback has run. Records sent later are not
// waited for. The error is ErrInCallback (in a callback it would wait for itself), ErrClosed, or
// ctx's.
func (p *Producer[K, V]) Flush(ctx context.Context) error {
	if p.closed.Load() {
		return errClosedFlush
	}
	return p.e.flush(ctx)
}

// Metrics returns what the producer has counted so far: see package metrics. It does not wait, stops nobody, and works after
// Close, too; views share the numbers of their producer. It may be called concurrently, also in callbacks, and costs some
// microseconds, and less than one more for each node and topic.
//
// Java: KafkaProducer.metrics.
func (p *Producer[K, V]) Metrics() metrics.Snapshot { return p.e.metrics(time.Now()) }

// Close stops taking records, delivers what is buffered, closes the plug-ins, and ends. Give it a context
// of its own with a deadline: one that a signal has ended leaves no time to deliver anything.
//
//	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
//	defer cancel()
//	err := p.Close(ctx)
//
// If ctx ends first, the records that have no outcome yet fail with ErrForceClosed (the error's Outcome says whether
// the record may have been written), a warning is logged, and Close returns an error that Is ErrForceClosed and says
// how many records that were; so does every later Close. It returns nil if there was nothing to give up. It returns
// even if a callback, or Close of a plug-in, blocks. Without a deadline on ctx it takes at most delivery.timeout.ms
// plus the time that callbacks and plug-ins take.
//
// Blocked Sends are woken with ErrClosed. Close may be called more than once and concurrently; each
// call waits. In a callback it can't wait for itself: it gives up what is unfinished, returns
// ErrInCallback at once, and the rest of the closing goes on by itself. A view that is closed in a
// callback gives up nothing: its records are delivered, then its plug-ins are closed.
func (p *Producer[K, V]) Close(ctx context.Context) error {
	if ctx == nil {
		return notBegun(ctx, "close")
	}
	if p.e.inside() {
		return p.closeInside()
	}
	var err error
	if p.view {
		p.closeView()
		if err = p.e.flush(ctx); errors.Is(err, ErrClosed) {
			err = p.e.forcedEnd(false) // the producer's own Close does, or did, the work
		}
	} else {
		err = p.e.close(ctx)
	}
	p.plugins.begin(p.closePlugins)
	return withPlugins(err, p.plugins.await(ctx))
}

// closeInside does the work of Close in a callback, where it must not wait: the rest goes on in the background.
func (p *Producer[K, V]) closeInside() error {
	if !p.view {
		err := p.e.closeInside()
		p.plugins.begin(func() error {
			<-p.e.dispatch.done
			return p.closePlugins()
		})
		return err
	}
	p.closeView()
	results := p.e.acc.beginFlush()
	p.e.box.wakeNow()
	p.plugins.begin(func() error {
		for _, r := range results {
			_ = awaitResult(context.Background(), r) // ends with the record's outcome
		}
		return p.closePlugins()
	})
	return newError(Error{Op: "close", Kind: ErrInCallback,
		Reason: "the view takes no more records; those it took are delivered, then its plug-ins are closed"})
}

// closeView makes a view take no more records.
func (p *Producer[K, V]) closeView() {
	p.closed.Store(true)
	p.direct.Store(false)
}

// sendFast sends a record by the fast path (engine.sendFast). If it returns the zero position, it did nothing. The compiler
// inlines it as it is written (TestTheFastPathIsInlined): a call would be some per cent of Send.
func (p *Producer[K, V]) sendFast(ctx context.Context, r *Record[K, V], fn Callback, future bool) (at position) {
	if p.direct.Load() {
		at = p.e.sendFast(ctx, any(r).(*bytesRecord), fn, future)
	}
	return
}

// send does the work that Send, SendFunc, SendSync and TrySendFunc share. On error the record was not appended and
// the interceptors were informed.
func (p *Producer[K, V]) send(ctx context.Context, r *Record[K, V], out *outgoing) *Error {
	if !p.foreign {
		return p.sendThrough(ctx, r, out)
	}
	returned := false
	defer func() {
		if !returned {
			p.goroutineEnded(r, out)
		}
	}()
	err := p.sendThrough(ctx, r, out)
	returned = true
	return err
}

// goroutineEnded completes a record whose Send did not return, because a plug-in called runtime.Goexit, as
// FailNow of a test does.
func (p *Producer[K, V]) goroutineEnded(r *Record[K, V], out *outgoing) {
	err := &Error{Op: "send", Topic: r.Topic, Partition: out.chosen, Node: -1,
		Reason: "a plug-in ended the goroutine (runtime.Goexit, which FailNow of a test calls)"}
	p.e.sender.losses.add(r.Topic, err, 1)
	p.e.acc.measures.failed(r.Topic, nil, err, 1, time.Now())
	if out.callback != nil {
		defer p.e.dispatch.call(out.callback, out.metadata(), err)
	}
	if p.chain != nil && !out.acknowledged {
		p.chain.onSendError(out, err)
	}
}

// sendThrough runs the interceptors and sends the record. It does not return if a plug-in ends the goroutine.
func (p *Producer[K, V]) sendThrough(ctx context.Context, r *Record[K, V], out *outgoing) *Error {
	out.record.Topic, out.chosen = r.Topic, r.Partition.or(-1) // for the error, if an interceptor ends the goroutine
	if p.chain != nil {
		*r, out.contexts = p.chain.onSend(orBackground(ctx), *r)
	}
	out.record.Topic, out.record.Partition, out.record.Timestamp, out.record.Headers = r.Topic, r.Partition, r.Timestamp, r.Headers
	out.chosen = out.partitionOr(-1)
	var err *Error
	switch {
	case p.closed.Load():
		err = p.e.errorFor(p.e.closedReason(), out.record.Topic, out.chosen)
	case over(ctx):
		err = p.e.errorFor(p.e.acc.closedByOr(&Error{Op: "send", Kind: endOf(ctx), Reason: reasonOver(ctx, "")}),
			out.record.Topic, out.chosen)
	default:
		err = p.sendRecord(ctx, r, out)
	}
	if err != nil && p.e.cfg.transactionalID != "" {
		err = p.e.sendFailed(err)
	}
	if err != nil {
		p.e.acc.measures.failed(r.Topic, nil, err, 1, time.Now())
	}
	if err != nil && p.chain != nil {
		p.chain.onSendError(out, err)
	}
	return err
}

// sendRecord finds the topic, serializes the record and appends it.
func (p *Producer[K, V]) sendRecord(ctx context.Context, r *Record[K, V], out *outgoing) *Error {
	t, info, err := p.e.topicFor(ctx, out)
	if err != nil {
		return err
	}
	if out.timestamp = timestampMillis(r.Timestamp); out.timestamp < 0 && !r.Timestamp.IsZero() {
		reason := "the timestamp is before 1970"
		if r.Timestamp.Unix() > 0 {
			reason = "the timestamp is after the year 292278993, more milliseconds than Kafka can hold"
		}
		return &Error{Op: "send", Kind: ErrInvalidRecord, Topic: r.Topic, Partition: out.chosen, Node: -1, Reason: reason}
	}
	if p.typed {
		out.typed = [2]any{r.Key, r.Value}
	}
	if p.chain.hasAcknowledgement() {
		return p.sendAcknowledged(ctx, r, out, t, info)
	}
	if p.plain { // the serializers are Bytes
		out.record.Key, out.record.Value = *any(&r.Key).(*[]byte), *any(&r.Value).(*[]byte)
		return p.e.send(ctx, out, t, info)
	}
	return p.sendSerialized(ctx, r, out, t, info)
}

// sendSerialized serializes the record into lent memory and appends it.
func (p *Producer[K, V]) sendSerialized(ctx context.Context, r *Record[K, V], out *outgoing, t *topicState, info *metadata.Topic) *Error {
	lent := scratches.Get().(*scratch)
	defer scratches.Put(lent)
	if err := p.serialize(r, out, lent); err != nil {
		return err
	}
	return p.sendBytes(ctx, out, t, info)
}

// sendBytes appends the serialized record, by the fast path if that takes it.
func (p *Producer[K, V]) sendBytes(ctx context.Context, out *outgoing, t *topicState, info *metadata.Topic) *Error {
	if !out.urgent {
		if at := p.e.sendFast(context.Background(), &out.record, out.callback, out.hasFuture); at.appended() {
			out.at = at
			return nil
		}
	}
	return p.e.send(ctx, out, t, info)
}

// sendAcknowledged serializes and appends a record whose interceptors want its outcome.
func (p *Producer[K, V]) sendAcknowledged(ctx context.Context, r *Record[K, V], out *outgoing, t *topicState, info *metadata.Topic) *Error {
	lent := scratches.Get().(*scratch)
	defer scratches.Put(lent)
	if err := p.serialize(r, out, lent); err != nil {
		return err
	}
	fn, sent := out.callback, false
	defer func() {
		if !sent { // an error, or a plug-in ended the goroutine
			out.callback = fn
		}
	}()
	out.callback = p.acknowledging(fn, out.record.Headers, out.contexts)
	err := p.sendBytes(ctx, out, t, info)
	sent = err == nil
	return err
}

// newView builds a typed view of an engine. When it fails, the plug-ins that were configured are closed.
func newView[K, V any](e *engine, key Serializer[K], value Serializer[V], interceptors []Interceptor[K, V]) (_ *Producer[K, V], err error) {
	if key == nil || value == nil {
		return nil, &ConfigError{Faults: []ConfigFault{{Name: "key.serializer, value.serializer",
			Reason: "a serializer is nil", Fix: "pass one for the key and one for the value"}}}
	}
	p := &Producer[K, V]{e: e, plugins: pluginClose{done: make(chan struct{})}}
	info := e.cfg.clientInfo()
	var opened []any
	done := false
	defer func() {
		if !done { // an error, or Configure ended the goroutine
			for _, s := range opened {
				_ = closeApart(s) // the reason to fail is the first fault
			}
		}
	}()
	if p.key, err = newPartSerializer(key, info, true); err != nil {
		return nil, fmt.Errorf("configure key serializer: %w", err)
	}
	opened = append(opened, p.key.s)
	if p.value, err = newPartSerializer(value, info, false); err != nil {
		return nil, fmt.Errorf("configure value serializer: %w", err)
	}
	opened = append(opened, p.value.s)
	if len(interceptors) > 0 {
		if p.chain, err = newInterceptorChain(interceptors, info); err != nil {
			return nil, err
		}
	}
	_, plainKey := any(key).(bytesSerializer)
	_, plainValue := any(value).(bytesSerializer)
	p.plain = plainKey && plainValue
	p.direct.Store(p.plain && p.chain == nil)
	p.foreign = p.chain != nil || !p.key.trusted || !p.value.trusted || e.cfg.partitioner != nil
	_, p.typed = e.cfg.partitioner.(TypedPartitioner)
	done = true
	return p, nil
}

// closePlugins closes the interceptors and serializers of this view and returns the first error.
func (p *Producer[K, V]) closePlugins() error {
	err := p.chain.close(p.plugins.close)
	for _, s := range []any{p.key.s, p.value.s} {
		if e := p.plugins.close(s); err == nil && e != nil {
			err = fmt.Errorf("close serializer %T: %w", s, e)
		}
	}
	return err
}
