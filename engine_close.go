package quill

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/goid"
)

// The end of an engine: flush, close, and close after its context has ended.

// flush makes everything sent before ready at once and waits for the outcomes. See Producer.Flush.
func (e *engine) flush(ctx context.Context) error {
	if ctx == nil {
		return notBegun(ctx, "flush")
	}
	if e.inside() {
		return newError(Error{Op: "flush", Kind: ErrInCallback})
	}
	if e.closed.Load() {
		return errClosedFlush
	}
	late := begun(ctx)
	defer e.acc.measures.took(timedFlush, time.Now())
	results := e.acc.beginFlush()
	e.box.wakeNow()
	for _, r := range results {
		if err := awaitResult(ctx, r); err != nil {
			return newError(Error{Op: "flush", Kind: err, Cause: e.holdUp("", -1),
				Reason: late.reason("the records go out, but were not waited for", "")})
		}
	}
	return nil
}

// awaitResult waits for a result and, if its batch was split, for the results of the parts. It fails only if ctx ends.
func awaitResult(ctx context.Context, r *result) error {
	if ch := r.wait(); ch != nil && !r.acc.waitFor(ctx, ch) {
		return endOf(ctx)
	}
	for _, c := range r.children {
		if err := awaitResult(ctx, c.res); err != nil {
			return err
		}
	}
	return nil
}

// close refuses further sends, waits until the records have their outcomes or ctx ends, and then gives up the rest.
// See Producer.Close.
func (e *engine) close(ctx context.Context) error {
	late := begun(ctx)
	gaveUp := e.beginClose(bool(late)) || !e.acc.waitFor(ctx, e.sender.finished)
	if gaveUp {
		e.force(&forced{endOf(ctx), late})
		awaitClosed(ctx, e.sender.finished, abortGrace)
	}
	fault := e.closeParts(ctx)
	returned := awaitClosed(ctx, e.dispatch.done, abortGrace)
	if err := e.forcedEnd(gaveUp); err != nil {
		return err
	}
	if !returned {
		return newError(Error{Op: "close", Kind: ErrForceClosed, Cause: endOf(ctx), Reason: "a callback has not returned"})
	}
	if fault != nil {
		return fmt.Errorf("close partitioner: %w", fault)
	}
	return nil
}

// closeInside closes the engine from a callback, which must not wait. It gives up the records without an outcome; the
// rest goes on in the background.
func (e *engine) closeInside() error {
	e.beginClose(true)
	e.force(&forced{why: ErrInCallback}) // also if another Close has begun
	go func() {                          // ends with the sender, which has nothing left to wait for
		<-e.sender.finished
		_ = e.closeParts(context.Background()) // no caller waits for the error
	}()
	return newError(Error{Op: "close", Kind: ErrInCallback,
		Reason: "unfinished records were given up, the rest of Close goes on in the background"})
}

// beginClose refuses further sends and lets the sender end when all records have their outcomes, or with giveUp
// at once. Only the first call does anything; over reports whether that call gave up the records.
func (e *engine) beginClose(giveUp bool) (over bool) {
	e.closeOnce.Do(func() {
		e.closed.Store(true)
		e.acc.closeFor(closedByClose, errClosedSend)
		e.acc.pool.close()
		close(e.gone)
		if over = giveUp; over {
			e.abort() // before closing is set, so that no more batches are drained
		}
		e.box.command(func(s *sender, _ time.Time) { s.closing = true })
	})
	return over
}

// forced describes a Close that gave up the records without an outcome.
type forced struct {
	why  error
	late lateCall
}

// force gives up the records without an outcome. The first call sets why.
func (e *engine) force(by *forced) {
	e.forcedBy.CompareAndSwap(nil, by)
	e.abort()
}

// forcedEnd returns the error of a Close after the producer was ended by force. It is nil if there was nothing to
// give up. If no records were given up, only the Close that gave up waiting (own) gets an error.
func (e *engine) forcedEnd(own bool) error {
	ended := isClosed(e.sender.finished) // read before the counts, which are final only if it is true
	by, lost := e.forcedBy.Load(), e.sender.lost.records.Load()
	if by == nil || lost == 0 && (!own || ended && e.sender.lost.transaction == "") {
		return nil
	}
	err := newError(Error{Op: "close", Kind: ErrForceClosed, Cause: by.why})
	var lots []string
	if by.late {
		lots = append(lots, contextWasOver)
		err.fix = "give Close a context of its own: context.WithTimeout(context.Background(), 30*time.Second)"
	}
	if lost > 0 {
		if first := e.sender.lost.why.Load(); first != nil {
			err.Cause = &contextEnd{by.why, first}
		}
		lots = append(lots, fmt.Sprintf("records given up: %d, of which %d may have been written", lost, e.sender.lost.maybe.Load()))
	}
	switch {
	case !ended:
		lots = append(lots, "the producer has not come to its end yet")
	case e.sender.lost.transaction != "":
		lots = append(lots, e.sender.lost.transaction)
	}
	err.Reason = strings.Join(lots, "; ")
	return err
}

// closeParts ends the other parts of the engine after the sender has ended, or was asked to. It may be called again.
// The error is the first of the plug-ins that the engine closes, or says that they had not returned when ctx ended.
func (e *engine) closeParts(ctx context.Context) error {
	e.clock.close()
	e.dispatch.close()
	e.sender.losses.close()
	e.plugins.begin(e.closePlugins)
	return e.plugins.await(ctx)
}

// closePlugins closes the partitioner and the mechanism, which nothing calls any more, and the reporters, after a last
// report. It returns the first error.
func (e *engine) closePlugins() error {
	err := e.plugins.close(e.cfg.partitioner)
	if no := e.plugins.close(e.cfg.security.sasl); err == nil {
		err = no
	}
	e.reports.end()
	for _, r := range e.cfg.reporters {
		if no := e.plugins.close(r); err == nil && no != nil {
			err = fmt.Errorf("close metrics reporter %T: %w", r, no)
		}
	}
	return err
}

// pluginClose closes plug-ins once, on a goroutine of its own: the plug-ins may take as long as they want, and each
// Close of the producer waits for them only until its own context ends.
type pluginClose struct {
	once sync.Once
	done chan struct{}
	id   atomic.Int64 // the goroutine's number
	err  error        // set before done
}

// begin starts f, which closes the plug-ins, unless another call did. It does not wait for f.
func (c *pluginClose) begin(f func() error) {
	c.once.Do(func() {
		go func() { // ends with f; await waits for it
			defer close(c.done)
			c.id.Store(goid.Current())
			c.err = f()
		}()
	})
}

// close closes one of the plug-ins, if it has a Close, on a goroutine of its own, and waits for it; f calls it.
func (c *pluginClose) close(plugin any) error {
	if _, ok := plugin.(io.Closer); !ok {
		return nil
	}
	return guardApart(func() error {
		c.id.Store(goid.Current())
		return closePlugin(plugin)
	})
}

// await waits for f and returns its error. It waits no longer than ctx, and not at all when a plug-in calls it in f.
func (c *pluginClose) await(ctx context.Context) error {
	if c.id.Load() == goid.Current() {
		return nil
	}
	if !awaitClosed(ctx, c.done, abortGrace) {
		return newError(Error{Op: "close plug-ins", Kind: endOf(ctx),
			Reason: "Close of an interceptor, serializer, partitioner or SASL mechanism has not returned"})
	}
	return c.err
}

// awaitClosed waits until ch is closed, or grace has passed since the end of ctx, and reports whether ch is closed.
func awaitClosed(ctx context.Context, ch <-chan struct{}, grace time.Duration) bool {
	return await(ch, ctx.Done(), forever) || await(ch, nil, grace)
}

// abortGrace is how long a Close whose context has ended waits for the goroutines to react.
const abortGrace = 100 * time.Millisecond

// abort makes the sender fail all records without an outcome. It does not wait for that.
func (e *engine) abort() {
	e.box.command(func(s *sender, _ time.Time) {
		if s.aborting == nil {
			s.aborting = &Error{Kind: ErrForceClosed}
		}
	})
}

// lastLook waits until the answers that have arrived at the sockets were read and handled and their callbacks have run.
// That takes some milliseconds. It waits at most catchUpTime, if the readers can't run or a callback does not return.
func (e *engine) lastLook() {
	looked := make(chan struct{})
	e.box.command(func(s *sender, now time.Time) { s.lastLook(looked, now) })
	await(looked, e.sender.finished, catchUpTime)
}
