package quill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"reflect"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/goid"
	"github.com/quill-kafka/quill/network/sasl"
)

// ClientInfo describes a producer to its plug-ins.
type ClientInfo struct {
	ClientID string       // the client id in use, also if it was generated
	Logger   *slog.Logger // never nil

	// Properties are the properties given to ParseProperties or LoadProperties, word for word, with those that are
	// no config of Kafka's: a plug-in's own settings. Do not change them. Nil if the Config was
	// made otherwise. Kafka: the argument of Configurable.configure.
	Properties map[string]string

	// IsKey says that a serializer is configured to serialize keys. Kafka: the second argument of Serializer.configure.
	IsKey bool
}

// Configurer is the optional part of an Interceptor, a Serializer or a Partitioner that needs to know its
// producer. Configure is called once by New, or Share, before anything else; its error becomes New's.
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

// closePlugin runs the plug-in's Close, if it has one. A panic becomes an error. See pluginClose.close.
func closePlugin(plugin any) error {
	c, ok := plugin.(io.Closer)
	if !ok {
		return nil
	}
	return guard(c.Close)
}

// guard runs user code and returns its error, or a *PanicError if it panics.
func guard(f func() error) (err error) {
	defer recovered(&err)
	return f()
}

// closeApart closes a plug-in that New can't use after all, if it has a Close.
func closeApart(plugin any) error { return new(pluginClose).close(plugin) }

// guardApart runs user code as guard does, but on another goroutine, which it waits for: if the code ends its goroutine,
// the caller's goes on.
func guardApart(f func() error) error {
	done := make(chan error, 1)
	go func() { // ends with f; guardApart waits for it
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

// stackOf returns the stack of a fault in the user's code, nil if there is none.
func stackOf(err error) []byte {
	if fault, ok := errors.AsType[*PanicError](err); ok {
		return fault.Stack
	}
	if fault, ok := errors.AsType[*endedError](err); ok {
		return fault.stack
	}
	return nil
}

// The user's dialer, and the connections that it makes, run on goroutines of the producer. If they panic or end the
// goroutine, that is the failure of one connection.

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// guardedDial returns a dialer that runs dial and the methods of its connections under guards; nil for a nil dial. It
// logs the first fault with its place in the user's code.
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
			return tcp, nil // its methods are not user code, and it can write many batches at once
		}
		return guardedConn{nc}, nil
	}
}

// guardedMechanism returns m with its panics as errors. As with guardedConn, its goroutine may be ended.
func guardedMechanism(m sasl.Mechanism) sasl.Mechanism {
	if m == nil {
		return nil
	}
	return mechanismGuard{m}
}

type mechanismGuard struct{ sasl.Mechanism }

func (g mechanismGuard) Start(ctx context.Context, peer sasl.Peer) (s sasl.Session, initial []byte, err error) {
	defer recovered(&err)
	if s, initial, err = g.Mechanism.Start(ctx, peer); s != nil {
		s = sessionGuard{s}
	}
	return s, initial, err
}

type sessionGuard struct{ sasl.Session }

func (g sessionGuard) Next(ctx context.Context, challenge []byte) (response []byte, done bool, err error) {
	defer recovered(&err)
	return g.Session.Next(ctx, challenge)
}

var errNoConn = errors.New("DialContext returned neither a connection nor an error")

// guardedConn is a connection that the user's dialer made. Read and Write run without guardApart: network expects that
// the goroutines that call them may be ended.
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

// guardedLog runs the handler of the user's log under guards. The producer's goroutines call it, the sender's among them:
// if the handler panics, or ends the goroutine, a line of the log is lost, and the first such fault is written to
// standard error.
type guardedLog struct {
	slog.Handler
	inPlace bool // Enabled only compares levels
	calls   *logCalls
}

// newGuardedLog returns a handler that runs h under guards.
func newGuardedLog(h slog.Handler, calls *logCalls) guardedLog {
	return guardedLog{h, onlyCompares(h), calls}
}

// onlyCompares reports whether Enabled of the handler does nothing but compare levels, as those of the standard library
// do: no goroutine is needed for that. Most lines are of levels that are off.
func onlyCompares(h slog.Handler) bool {
	switch h.(type) {
	case *slog.TextHandler, *slog.JSONHandler:
		return true
	}
	return h == slog.DiscardHandler
}

func (g guardedLog) Enabled(ctx context.Context, level slog.Level) bool {
	if _, usual := g.Handler.(defaultLog); usual && level < slog.LevelWarn {
		return false // it passes nothing below on
	}
	if g.inPlace {
		return g.enabledInPlace(ctx, level)
	}
	on := false
	g.report("Enabled", "", g.calls.apart(func() error {
		on = g.Handler.Enabled(ctx, level)
		return nil
	}))
	return on
}

func (g guardedLog) enabledInPlace(ctx context.Context, level slog.Level) bool {
	defer func() {
		if v := recover(); v != nil { // of a slog.Leveler
			g.report("Enabled", "", &PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	return g.Handler.Enabled(ctx, level)
}

// Handle lets the handler run on a goroutine of its own.
func (g guardedLog) Handle(ctx context.Context, r slog.Record) error {
	var err error
	fault := g.calls.apart(func() error {
		err = g.Handler.Handle(ctx, r)
		return nil
	})
	g.report("Handle", r.Message, fault)
	return err
}

// logCalls are the calls of the user's log handler that are under way. The goroutine that logs waits for the handler, and
// it may be the sender or the dispatcher: if the handler waited for the producer, both would wait for ever.
type logCalls struct {
	reported sync.Once    // a fault was reported
	running  atomic.Int32 // the number of goroutines

	mu sync.Mutex
	// +checklocks:mu
	goroutines map[int64]bool // on which the handler runs, by number
}

// apart runs a method of the handler as guardApart does.
func (l *logCalls) apart(f func() error) error {
	return guardApart(func() error {
		id := goid.Current()
		l.note(id, true)
		defer l.note(id, false)
		return f()
	})
}

// note notes that the handler runs on the goroutine, or does not any more.
func (l *logCalls) note(id int64, runs bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !runs {
		delete(l.goroutines, id)
	} else {
		if l.goroutines == nil {
			l.goroutines = map[int64]bool{}
		}
		l.goroutines[id] = true
	}
	l.running.Store(int32(len(l.goroutines)))
}

// inside reports whether the caller runs in the handler. It costs little while no line is being logged.
func (l *logCalls) inside() bool {
	if l.running.Load() == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.goroutines[goid.Current()]
}

func (g guardedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return g.derived("WithAttrs", func() slog.Handler { return g.Handler.WithAttrs(attrs) })
}

func (g guardedLog) WithGroup(name string) slog.Handler {
	return g.derived("WithGroup", func() slog.Handler { return g.Handler.WithGroup(name) })
}

// derived returns the guarded handler that derive returns, or g itself if it returns none.
func (g guardedLog) derived(method string, derive func() slog.Handler) slog.Handler {
	var h slog.Handler
	g.report(method, "", g.calls.apart(func() error {
		h = derive()
		return nil
	}))
	if h == nil {
		return g
	}
	return newGuardedLog(h, g.calls)
}

// report reports a fault in a method of the handler, with the line that is lost, on standard error. It does nothing if fault
// is nil, or if one was reported before.
func (g guardedLog) report(method, line string, fault error) {
	if fault == nil {
		return
	}
	g.calls.reported.Do(func() {
		fmt.Fprintf(os.Stderr, "quill: the log handler %T did not return from %s: %v (lost: %q; more of this is not reported)\n%s\n",
			g.Handler, method, fault, line, stackOf(fault))
	})
}

// The optional parts of a plug-in are found by type assertions: a method whose parameters or results are not those of the
// interface is not called, and the compiler does not report it. New warns of such methods, once each.

// optional is an interface that New looks for in a plug-in, with the methods that make it up.
type optional struct {
	in      reflect.Type
	methods []lookUp
}

// lookUp finds one method of a type. Its name has to be a constant: for one that is computed the linker would keep all
// exported methods of the whole program.
type lookUp func(t reflect.Type) (reflect.Method, bool)

var (
	ofCloser = optional{reflect.TypeFor[io.Closer](), []lookUp{
		func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("Close") }}}

	ofConfigurer = optional{reflect.TypeFor[Configurer](), []lookUp{
		func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("Configure") }}}

	ofBatchPartitioner = optional{reflect.TypeFor[BatchPartitioner](), []lookUp{
		func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("OnNewBatch") }}}
	ofTypedPartitioner = optional{reflect.TypeFor[TypedPartitioner](), []lookUp{
		func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("PartitionTyped") }}}

	ofAcknowledgement = optional{reflect.TypeFor[AcknowledgementInterceptor](), []lookUp{
		func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("OnAcknowledgement") }}}
)

// ofContextInterceptor returns ContextInterceptor for records of K and V as an optional.
func ofContextInterceptor[K, V any]() optional {
	return optional{reflect.TypeFor[ContextInterceptor[K, V]](), []lookUp{
		func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("OnSendContext") },
		func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("OnAcknowledgementContext") },
	}}
}

// warnOfMisfits warns of the plug-in's methods that are not called because they don't fit the interface they seem to be for.
func warnOfMisfits(logger *slog.Logger, plugin any, wanted ...optional) {
	if plugin == nil {
		return
	}
	t := reflect.TypeOf(plugin)
	for _, o := range wanted {
		if !t.Implements(o.in) {
			o.warn(logger, t)
		}
	}
}

// warn logs which methods of t, which does not implement the interface, do not fit, or that some are missing. It logs
// nothing if t has none of them.
func (o optional) warn(logger *slog.Logger, t reflect.Type) {
	meant, said := false, false
	for _, find := range o.methods {
		want, _ := find(o.in)
		has, found := found(find, t)
		meant = meant || found
		if found && has != want.Type.String() {
			said = true
			logger.Warn("a method of a plug-in is not called: it is not what the interface asks for",
				"type", t.String(), "method", want.Name,
				"has", has, "wants", want.Type.String(), "interface", o.in.String())
		}
	}
	if meant && !said {
		logger.Warn("a plug-in is not used as what it seems to be: it lacks methods of the interface",
			"type", t.String(), "interface", o.in.String())
	}
}

// found returns the signature of the method as t has it. If only the pointer to t has it, the text says so.
func found(find lookUp, t reflect.Type) (signature string, ok bool) {
	if m, ok := find(t); ok {
		return signatureOf(m), true
	}
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return "", false
	}
	m, ok := find(reflect.PointerTo(t))
	if !ok {
		return "", false
	}
	return signatureOf(m) + " on the pointer; pass a *" + t.String(), true
}

// signatureOf returns the type of a method without its receiver.
func signatureOf(m reflect.Method) string {
	var in, out []reflect.Type
	for i := 1; i < m.Type.NumIn(); i++ {
		in = append(in, m.Type.In(i))
	}
	for result := range m.Type.Outs() {
		out = append(out, result)
	}
	return reflect.FuncOf(in, out, m.Type.IsVariadic()).String()
}
