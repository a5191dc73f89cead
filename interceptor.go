package quill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
)

// Interceptor sees each record before it is serialized and may change it.
//
// OnSend runs in the goroutine of the Send, in the order in which the interceptors were given to
// New, and may be called concurrently. ctx is the Send's, never nil. An interceptor that returns an error or
// panics is skipped for this record: the fault is logged and the next interceptor gets what this
// one was given, so no interceptor can lose a record.
//
// An interceptor may have more methods: those of AcknowledgementInterceptor, Configurer and
// io.Closer. Kafka: ProducerInterceptor (KIP-42).
type Interceptor[K, V any] interface {
	OnSend(ctx context.Context, r Record[K, V]) (Record[K, V], error)
}

// AcknowledgementInterceptor is the optional part of an Interceptor that also gets the outcome of each
// record.
//
// Let the compiler check that the method's name and parameters are right; if they are not, it is never called:
//
//	var _ quill.AcknowledgementInterceptor = (*tracer)(nil)
//
// OnAcknowledgement is called once for every record, before its callback: on the producer's
// dispatcher, or in Send for records that fail there (then m.Partition is -1 if none was chosen
// yet). err is nil exactly if the record was accepted. headers are those the record had when it was
// serialized, and must not be changed. It should be fast and must not wait for other records. A
// panic is logged and changes nothing. Kafka: KIP-42, KIP-512.
type AcknowledgementInterceptor interface {
	OnAcknowledgement(m RecordMetadata, headers Headers, err error)
}

// ContextInterceptor is an Interceptor that keeps a context for each record, from its Send to its outcome:
// for example one with a span, which the outcome ends.
//
// OnSendContext is called instead of OnSend, and OnAcknowledgementContext instead of OnAcknowledgement, with
// the context that OnSendContext returned. If it failed or returned none, that is the one that it was given: of
// the interceptor before it that keeps contexts, or else of the Send. The interceptors that follow get that
// context too; the Send itself waits by its own.
type ContextInterceptor[K, V any] interface {
	Interceptor[K, V]
	OnSendContext(ctx context.Context, r Record[K, V]) (context.Context, Record[K, V], error)
	OnAcknowledgementContext(ctx context.Context, m RecordMetadata, headers Headers, err error)
}

// interceptorChain holds the interceptors of one producer. It never changes. A nil chain is an empty one.
type interceptorChain[K, V any] struct {
	links  []chainLink[K, V]
	acks   bool // some link wants acknowledgements
	keeps  bool // some link keeps contexts
	logger *slog.Logger
}

type chainLink[K, V any] struct {
	interceptor Interceptor[K, V]
	ack         AcknowledgementInterceptor // nil if it has none
	keeper      ContextInterceptor[K, V]   // nil if it is none
	faults      *atomic.Uint64
}

// newInterceptorChain configures the interceptors in order. If one fails, it and those before it
// are closed.
func newInterceptorChain[K, V any](interceptors []Interceptor[K, V], info ClientInfo) (*interceptorChain[K, V], error) {
	c := &interceptorChain[K, V]{logger: info.Logger}
	for i, it := range interceptors {
		if it == nil {
			_ = c.close(closeApart)
			return nil, &ConfigError{Faults: []ConfigFault{{Name: nameInterceptorClasses,
				Reason: fmt.Sprintf("interceptor %d is nil", i), Fix: "pass none instead"}}}
		}
		warnOfMisfits(info.Logger, it, ofContextInterceptor[K, V](), ofAcknowledgement, ofConfigurer, ofCloser)
		link := chainLink[K, V]{interceptor: it, faults: new(atomic.Uint64)}
		if ack, ok := it.(AcknowledgementInterceptor); ok {
			link.ack, c.acks = ack, true
		}
		if keeper, ok := it.(ContextInterceptor[K, V]); ok {
			link.keeper, c.acks, c.keeps = keeper, true, true
		}
		c.links = append(c.links, link)
		if err := configurePlugin(it, info); err != nil {
			_ = c.close(closeApart) // the reason to fail is the first fault
			return nil, fmt.Errorf("configure interceptor %d (%T): %w", i, it, err)
		}
	}
	return c, nil
}

// onSend runs the record through all interceptors and returns it as the last one left it, with the contexts that
// they keep for it.
func (c *interceptorChain[K, V]) onSend(ctx context.Context, r Record[K, V]) (Record[K, V], []context.Context) {
	if c == nil || len(c.links) == 0 {
		return r, nil
	}
	return c.passOn(ctx, r)
}

func (c *interceptorChain[K, V]) passOn(ctx context.Context, r Record[K, V]) (Record[K, V], []context.Context) {
	var contexts []context.Context
	if c.keeps {
		contexts = make([]context.Context, len(c.links))
	}
	for i := range c.links {
		l := &c.links[i]
		// Clipped, so that what this interceptor adds goes to a copy: the slice may be shared by
		// other records, and is what the next one gets if this one fails.
		r.Headers = slices.Clip(r.Headers)
		own, next, err := l.onSend(ctx, r)
		if err == nil && own != nil {
			ctx = own
		}
		if c.keeps {
			contexts[i] = ctx
		}
		if err != nil {
			partition, ok := r.Partition.Get()
			if !ok {
				partition = -1
			}
			c.report(l, "OnSend", r.Topic, partition, err)
			continue
		}
		r = next
	}
	return r, contexts
}

func (l *chainLink[K, V]) onSend(ctx context.Context, r Record[K, V]) (own context.Context, next Record[K, V], err error) {
	defer recovered(&err)
	if l.keeper != nil {
		return l.keeper.OnSendContext(ctx, r)
	}
	next, err = l.interceptor.OnSend(ctx, r)
	return nil, next, err
}

// hasAcknowledgement reports whether onAcknowledgement does anything.
func (c *interceptorChain[K, V]) hasAcknowledgement() bool { return c != nil && c.acks }

// onAcknowledgement calls OnAcknowledgement of the interceptors that have it.
func (c *interceptorChain[K, V]) onAcknowledgement(contexts []context.Context, m RecordMetadata, headers Headers, err error) {
	if !c.hasAcknowledgement() {
		return
	}
	c.acknowledge(0, contexts, m, slices.Clip(headers), err)
}

// acknowledge calls OnAcknowledgement of the interceptors from index next on. If one of them ends the goroutine,
// the deferred call goes on with those behind it.
func (c *interceptorChain[K, V]) acknowledge(next int, contexts []context.Context, m RecordMetadata, headers Headers, err error) {
	defer func() {
		if next < len(c.links) {
			c.acknowledge(next, contexts, m, headers, err)
		}
	}()
	for next < len(c.links) {
		l, ctx := &c.links[next], context.Background()
		if next < len(contexts) {
			ctx = contexts[next]
		}
		next++
		if l.ack == nil && l.keeper == nil {
			continue
		}
		if fault := guard(func() error { l.acknowledge(ctx, m, headers, err); return nil }); fault != nil {
			c.report(l, "OnAcknowledgement", m.Topic, m.Partition, fault)
		}
	}
}

// acknowledge calls OnAcknowledgement, or OnAcknowledgementContext, of one interceptor.
func (l *chainLink[K, V]) acknowledge(ctx context.Context, m RecordMetadata, headers Headers, err error) {
	if l.keeper != nil {
		l.keeper.OnAcknowledgementContext(ctx, m, headers, err)
		return
	}
	l.ack.OnAcknowledgement(m, headers, err)
}

// onSendError informs the interceptors of a record that failed before it was appended.
func (c *interceptorChain[K, V]) onSendError(r *outgoing, err error) {
	if c.hasAcknowledgement() {
		r.acknowledged = true // before the calls: one of them may end the goroutine
		c.onAcknowledgement(r.contexts, unknownMetadata(r.record.Topic, r.chosen), r.record.Headers, err)
	}
}

// close closes the interceptors in order, all of them, and returns the first error.
func (c *interceptorChain[K, V]) close(with func(plugin any) error) error {
	if c == nil {
		return nil
	}
	var first error
	for i := range c.links {
		if err := with(c.links[i].interceptor); err != nil && first == nil {
			first = fmt.Errorf("close interceptor %d (%T): %w", i, c.links[i].interceptor, err)
		}
	}
	return first
}

// report logs a fault of an interceptor: the first, the second, the fourth and so on, because an
// interceptor that fails once often fails for every record.
func (c *interceptorChain[K, V]) report(l *chainLink[K, V], method, topic string, partition int32, err error) {
	n := l.faults.Add(1)
	if n&(n-1) != 0 {
		return
	}
	attrs := []slog.Attr{
		slog.String("interceptor", fmt.Sprintf("%T", l.interceptor)),
		slog.String("method", method),
		slog.String("topic", topic),
		slog.Int("partition", int(partition)),
		slog.Uint64("faults", n),
		slog.Any("err", err),
	}
	if p, ok := errors.AsType[*PanicError](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	c.logger.LogAttrs(context.Background(), slog.LevelWarn, "interceptor failed", attrs...)
}

// acknowledging returns a Callback that calls the interceptors' OnAcknowledgement and then fn.
func (p *Producer[K, V]) acknowledging(fn Callback, headers Headers, contexts []context.Context) Callback {
	return func(m RecordMetadata, err error) {
		if fn != nil {
			defer fn(m, err) // also if an interceptor ends the goroutine
		}
		p.chain.onAcknowledgement(contexts, m, headers, err)
	}
}
