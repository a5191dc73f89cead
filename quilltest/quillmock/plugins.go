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
	if c, ok := s.(quill.SerializerConfigurer); ok {
		return c.Configure(clientInfo, isKey)
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

// onSend is the record after all interceptors. One that fails is passed by for this record.
func (c chain[K, V]) onSend(ctx context.Context, r quill.Record[K, V]) quill.Record[K, V] {
	for _, i := range c {
		r.Headers = slices.Clip(r.Headers) // what is added goes to a copy
		err := guard(func() error {
			next, err := i.OnSend(ctx, r)
			if err == nil {
				r = next
			}
			return err
		})
		report(i, "OnSend", err)
	}
	return r
}

func (c chain[K, V]) onAcknowledgement(m quill.RecordMetadata, headers quill.Headers, err error) {
	for _, i := range c {
		if a, ok := i.(quill.AcknowledgementInterceptor); ok {
			report(i, "OnAcknowledgement", guard(func() error { a.OnAcknowledgement(m, slices.Clip(headers), err); return nil }))
		}
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
