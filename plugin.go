package quill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

// ClientInfo describes a producer to its plug-ins.
type ClientInfo struct {
	ClientID string       // the client id in use, also if it was generated
	Logger   *slog.Logger // never nil

	// Properties are what ParseProperties or LoadProperties was given, word for word, with those that are
	// no config of Kafka's: a plug-in's own settings. Do not change them. Nil if the Config was
	// made otherwise. Kafka: what Configurable.configure gets.
	Properties map[string]string
}

// Configurer is the optional part of an Interceptor or a Partitioner that needs to know its
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

// closePlugin runs the plug-in's Close, if it has one. A panic becomes an error. See closeApart.
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

// closeApart is closePlugin on a goroutine of its own.
func closeApart(plugin any) error { return guardApart(func() error { return closePlugin(plugin) }) }

// guardApart is guard for code that may end its goroutine, which ours must survive: it runs on another one.
func guardApart(f func() error) error {
	done := make(chan error, 1)
	go func() { // ends with f, which is waited for
		returned, err := false, error(nil)
		defer func() {
			if !returned {
				err = &endedError{debug.Stack()}
			}
			done <- err
		}()
		err = guard(f)
		returned = true
	}()
	return <-done
}

// recovered turns a panic into *err. It is to be deferred directly.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: debug.Stack()}
	}
}

// endedError says that a plug-in ended the goroutine that it was called on.
type endedError struct{ stack []byte }

func (e *endedError) Error() string {
	return "it ended the goroutine (runtime.Goexit, which FailNow of a test calls)"
}

// stackOf is where in the user's code a fault was, if that is known.
func stackOf(err error) []byte {
	if fault, ok := errors.AsType[*PanicError](err); ok {
		return fault.Stack
	}
	if fault, ok := errors.AsType[*endedError](err); ok {
		return fault.stack
	}
	return nil
}

// The user's dialer, and the connections that it makes, run on goroutines of ours. What they may do besides returning, a
// panic or the end of the goroutine, is the failure of one connection.

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// guardedDial is dial with guards. Its first fault is logged with the place in the user's code.
func guardedDial(dial dialer, logger *slog.Logger) dialer {
	if dial == nil {
		return nil
	}
	var once sync.Once
	return func(ctx context.Context, network, addr string) (nc net.Conn, err error) {
		fault := guardApart(func() error {
			nc, err = dial(ctx, network, addr)
			return nil
		})
		switch {
		case fault != nil:
			once.Do(func() {
				logger.Error("DialContext did not return", "addr", addr, "err", fault, "stack", string(stackOf(fault)))
			})
			return nil, fmt.Errorf("DialContext: %w", fault)
		case err == nil && nc == nil:
			return nil, errNoConn
		case err != nil:
			return nil, err
		}
		if tcp, ok := nc.(*net.TCPConn); ok {
			return tcp, nil // nobody's code, and it can write many batches at once
		}
		return guardedConn{nc}, nil
	}
}

var errNoConn = errors.New("DialContext returned neither a connection nor an error")

// guardedConn is a connection that the user's dialer made. Read and Write are called on goroutines that network expects to be ended.
type guardedConn struct{ net.Conn }

func (c guardedConn) Read(b []byte) (n int, err error) {
	defer recovered(&err)
	return c.Conn.Read(b)
}

func (c guardedConn) Write(b []byte) (n int, err error) {
	defer recovered(&err)
	return c.Conn.Write(b)
}

func (c guardedConn) Close() error { return guardApart(c.Conn.Close) }

func (c guardedConn) SetDeadline(t time.Time) error {
	return guardApart(func() error { return c.Conn.SetDeadline(t) })
}

func (c guardedConn) SetReadDeadline(t time.Time) error {
	return guardApart(func() error { return c.Conn.SetReadDeadline(t) })
}

// guardedLog is the handler of the user's log. It runs on the producer's goroutines, the sender's among them: if it
// panics, or ends the goroutine, that costs a line of the log, and is told on standard error the first time.
type guardedLog struct {
	slog.Handler
	told *sync.Once
}

func (g guardedLog) Enabled(ctx context.Context, level slog.Level) bool {
	on := false
	g.tell("Enabled", "", guardApart(func() error {
		on = g.Handler.Enabled(ctx, level)
		return nil
	}))
	return on
}

// Handle lets the handler run on a goroutine of its own.
func (g guardedLog) Handle(ctx context.Context, r slog.Record) error {
	var err error
	fault := guardApart(func() error {
		err = g.Handler.Handle(ctx, r)
		return nil
	})
	g.tell("Handle", r.Message, fault)
	return err
}

func (g guardedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return g.derived("WithAttrs", func() slog.Handler { return g.Handler.WithAttrs(attrs) })
}

func (g guardedLog) WithGroup(name string) slog.Handler {
	return g.derived("WithGroup", func() slog.Handler { return g.Handler.WithGroup(name) })
}

// derived is what the handler makes of itself; itself if it makes nothing.
func (g guardedLog) derived(method string, derive func() slog.Handler) slog.Handler {
	var h slog.Handler
	g.tell(method, "", guardApart(func() error {
		h = derive()
		return nil
	}))
	if h == nil {
		return g
	}
	return guardedLog{h, g.told}
}

// tell tells of a fault, nil for none, in a method of the handler, with the line that is lost.
func (g guardedLog) tell(method, line string, fault error) {
	if fault == nil {
		return
	}
	g.told.Do(func() {
		fmt.Fprintf(os.Stderr, "quill: the log handler %T did not return from %s: %v (lost: %q; more of this is not told)\n%s\n", g.Handler, method, fault, line, stackOf(fault))
	})
}
