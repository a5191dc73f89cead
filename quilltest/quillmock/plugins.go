package quillmock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/quill-kafka/quill"
)

// Plug-ins run as in a real producer: configured once, guarded against panics, closed with their view.

var clientInfo = quill.ClientInfo{ClientID: "mock", Logger: slog.New(slog.DiscardHandler)}

func configure(plugin any) error {
	if c, ok := plugin.(quill.Configurer); ok {
		return c.Configure(clientInfo)
	}
	return nil
}

func configureSerializer(s any, isKey bool) error {
	if c, ok := s.(quill.Configurer); ok {
		info := clientInfo
		info.IsKey = isKey
		return c.Configure(info)
	}
	return nil
}

func closePlugin(plugin any) error {
	if c, ok := plugin.(io.Closer); ok {
		return guard(c.Close)
	}
	return nil
}

// guard makes a panic an error.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}

// chain is the interceptors of a view.
type chain[K, V any] []quill.Interceptor[K, V]

// onSend returns the record after all interceptors, and the context that each of them keeps for it. One that
// fails is passed by for this record.
func (c chain[K, V]) onSend(ctx context.Context, r quill.Record[K, V]) (quill.Record[K, V], []context.Context) {
	contexts := make([]context.Context, len(c))
	for n, i := range c {
		r.Headers = slices.Clip(r.Headers) // what is added goes to a copy
		err := guard(func() error {
			own, next, err := onSend(ctx, i, r)
			if err == nil {
				r = next
			}
			if err == nil && own != nil {
				ctx = own
			}
			return err
		})
		contexts[n] = ctx
		report(i, "OnSend", err)
	}
	return r, contexts
}

// onSend calls one interceptor. It returns a context only from one that keeps contexts.
func onSend[K, V any](ctx context.Context, i quill.Interceptor[K, V], r quill.Record[K, V]) (context.Context, quill.Record[K, V], error) {
	if keeper, ok := i.(quill.ContextInterceptor[K, V]); ok {
		return keeper.OnSendContext(ctx, r)
	}
	next, err := i.OnSend(ctx, r)
	return nil, next, err
}

// onAcknowledgement reports to the interceptors the outcome of a record, each with the context that it keeps for it.
func (c chain[K, V]) onAcknowledgement(contexts []context.Context, m quill.RecordMetadata, headers quill.Headers, err error) {
	c.acknowledge(0, contexts, m, headers, err)
}

// acknowledge calls onAcknowledgement of the interceptors from the next one on. It goes on with those behind one
// that ends the goroutine.
func (c chain[K, V]) acknowledge(next int, contexts []context.Context, m quill.RecordMetadata, headers quill.Headers, err error) {
	defer func() {
		if next < len(c) {
			c.acknowledge(next, contexts, m, headers, err)
		}
	}()
	for next < len(c) {
		i, ctx := c[next], context.Background() // none is kept if OnSend ended the goroutine
		if next < len(contexts) {
			ctx = contexts[next]
		}
		next++
		report(i, "OnAcknowledgement", guard(func() error { acknowledge(ctx, i, m, slices.Clip(headers), err); return nil }))
	}
}

// acknowledge calls one interceptor, if it wants outcomes.
func acknowledge[K, V any](ctx context.Context, i quill.Interceptor[K, V], m quill.RecordMetadata, headers quill.Headers, err error) {
	if keeper, ok := i.(quill.ContextInterceptor[K, V]); ok {
		keeper.OnAcknowledgementContext(ctx, m, headers, err)
	} else if a, ok := i.(quill.AcknowledgementInterceptor); ok {
		a.OnAcknowledgement(m, headers, err)
	}
}

func (c chain[K, V]) close() error {
	var errs []error
	for _, i := range c {
		errs = append(errs, closePlugin(i))
	}
	return errors.Join(errs...)
}

// report logs a fault of an interceptor, which no other part of a test would see.
func report(interceptor any, method string, err error) {
	if err != nil {
		slog.Warn("interceptor failed", "interceptor", fmt.Sprintf("%T", interceptor), "method", method, "err", err)
	}
}
