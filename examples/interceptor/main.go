// Interceptor adds a trace header to every record and counts the outcomes, without any change where records are sent.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/examples/internal/demo"
)

func main() { demo.Main(run) }

// tracer is an interceptor. OnSend runs on the senders' goroutines, OnAcknowledgement on the producer's dispatcher.
type tracer struct {
	service  string
	last     atomic.Int64
	accepted atomic.Int64
	failed   atomic.Int64
}

// The compiler checks that OnAcknowledgement is as it has to be: a method with other parameters would never be called.
var _ quill.AcknowledgementInterceptor = (*tracer)(nil)

// traceKey is where a request's trace is kept in its context.
type traceKey struct{}

// OnSend passes the trace on from the context; a record that is not part of one begins its own.
func (t *tracer) OnSend(ctx context.Context, r quill.Record[string, string]) (quill.Record[string, string], error) {
	trace, ok := ctx.Value(traceKey{}).(string)
	if !ok {
		trace = fmt.Sprintf("%s-%d", t.service, t.last.Add(1))
	}
	r.Headers.Add("trace", []byte(trace))
	return r, nil
}

// OnAcknowledgement gets the outcome of every record, before its callback. headers are those that were sent.
func (t *tracer) OnAcknowledgement(m quill.RecordMetadata, headers quill.Headers, err error) {
	if _, traced := headers.Last("trace"); err != nil || !traced {
		t.failed.Add(1)
		return
	}
	t.accepted.Add(1)
}

func run(ctx context.Context, cfg quill.Config, out io.Writer) (err error) {
	t := &tracer{service: "shop"}
	p, err := quill.New(cfg, quill.String, quill.String, t)
	if err != nil {
		return err
	}
	defer func() { // with a context of its own: when a signal ends ctx, what is buffered still has to be delivered
		last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, p.Close(last))
	}()

	request := context.WithValue(ctx, traceKey{}, "from-upstream-7")
	p.Send(request, quill.Record[string, string]{Topic: "clicks", Key: "user-1", Value: "/home"})
	for i := range 999 {
		p.Send(ctx, quill.Record[string, string]{Topic: "clicks", Key: fmt.Sprintf("user-%d", i), Value: "/cart"})
	}
	p.Send(ctx, quill.Record[string, string]{Topic: "no topic's name", Value: "lost"}) // fails, and is counted too
	if err := p.Flush(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d traces begun; %d records accepted, %d failed\n", t.last.Load(), t.accepted.Load(), t.failed.Load())
	return nil
}
