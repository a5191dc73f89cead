package quill

import (
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
)

// ClientInfo tells a plug-in which producer it belongs to.
type ClientInfo struct {
	ClientID string       // the client id in use, also if it was generated
	Logger   *slog.Logger // never nil
}

// Configurer is the optional part of an Interceptor or a Partitioner that wants to know its
// producer. Configure is called once by New, before anything else; its error becomes New's.
// Serializers have a SerializerConfigurer.
type Configurer interface {
	Configure(info ClientInfo) error
}

// An interceptor, partitioner or serializer may also be an io.Closer. It is then closed once: when
// its producer closes, or when New fails after it was configured.

// configurePlugin runs the plug-in's Configure, if it has one. A panic becomes an error.
func configurePlugin(plugin any, info ClientInfo) error {
	c, ok := plugin.(Configurer)
	if !ok {
		return nil
	}
	return guard(func() error { return c.Configure(info) })
}

// closePlugin runs the plug-in's Close, if it has one. A panic becomes an error.
func closePlugin(plugin any) error {
	c, ok := plugin.(io.Closer)
	if !ok {
		return nil
	}
	return guard(c.Close)
}

// guard runs code that is not ours: a panic becomes its error.
func guard(f func() error) (err error) {
	defer recovered(&err)
	return f()
}

// recovered turns a panic into *err. It is to be deferred directly.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = &panicError{value: v, stack: debug.Stack()}
	}
}

// panicError is a panic of a plug-in.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// Unwrap is the error that the plug-in panicked with, if it was one.
func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}
