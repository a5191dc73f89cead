package quill

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How an engine comes to rest: flush, close, and close when its time is over.

// flush makes everything sent so far go out and waits for its fate.
func (e *engine) flush(ctx context.Context) error {
	if ctx == nil {
		return notBegun(ctx, "flush")
	}
	if e.dispatch.inside() {
		return &Error{Op: "flush", Kind: ErrInCallback, Partition: -1, Node: -1}
	}
	if e.closed.Load() {
		return errClosedFlush
	}
	late := over(ctx)
	results := e.acc.beginFlush()
	e.box.nudge()
	for _, r := range results {
		if err := awaitResult(ctx, r); err != nil {
			failed := &Error{Op: "flush", Kind: err, Partition: -1, Node: -1, Cause: e.holdUp("", -1)}
			if late {
				failed.Reason = reasonOver(ctx, "the records go out, but were not waited for")
			}
			return failed
		}
	}
	return nil
}

// awaitResult waits for a result and, if its batch was split, for its parts.
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

// close stops taking sends, drains until ctx ends, then gives up what is left. See Producer.Close.
func (e *engine) close(ctx context.Context) error {
	late := ctx.Err() != nil
	gaveUp := e.beginClose(late) || !e.acc.waitFor(ctx, e.sender.finished)
	if gaveUp {
		e.force(&forced{endOf(ctx), late})
		awaitClosed(ctx, e.sender.finished, abortGrace)
	}
	fault := e.shutDown(ctx)
	returned := awaitClosed(ctx, e.dispatch.done, abortGrace)
	if err := e.forcedEnd(gaveUp); err != nil {
		return err
	}
	if !returned {
		return &Error{Op: "close", Kind: ErrForceClosed, Partition: -1, Node: -1, Cause: endOf(ctx), Reason: "a callback has not returned"}
	}
	if fault != nil {
		return fmt.Errorf("close partitioner: %w", fault)
	}
	return nil
}

// closeInside is close in a callback, where nothing can be waited for.
func (e *engine) closeInside() error {
	e.beginClose(true)
	e.force(&forced{why: ErrInCallback}) // also if somebody else was already closing
	go func() {                          // ends with the sender, which has nothing left to wait for
		<-e.sender.finished
		_ = e.shutDown(context.Background()) // nobody to report it to
	}()
	return &Error{Op: "close", Kind: ErrInCallback, Partition: -1, Node: -1, Reason: "unfinished records were given up, the rest of Close goes on in the background"}
}

// beginClose stops taking sends and lets the sender end when all is settled, or with giveUp at once.
// Only the first call does anything; over tells that it gave up.
func (e *engine) beginClose(giveUp bool) (over bool) {
	e.closeOnce.Do(func() {
		e.closed.Store(true)
		e.acc.refuse(refusedByClose, errClosedSend)
		e.acc.pool.close()
		close(e.gone)
		if over = giveUp; over {
			e.abort() // first, so that nothing more leaves
		}
		e.box.order(func(s *sender, _ time.Time) { s.closing = true })
	})
	return over
}

// forced is a Close that gave up what had no outcome.
type forced struct {
	why  error
	late bool // its context was over before it was called
}

// force gives up what has no fate yet.
func (e *engine) force(by *forced) {
	e.forcedBy.CompareAndSwap(nil, by)
	e.abort()
}

// forcedEnd is the error of the Close that ended the producer by force, and of every other one if records
// were given up; else it is nil. So it is if nothing was left to give up.
func (e *engine) forcedEnd(own bool) error {
	ended := isClosed(e.sender.finished) // before the count is final
	by, lost := e.forcedBy.Load(), e.sender.lost.records.Load()
	if by == nil || lost == 0 && (!own || ended && e.sender.lost.transaction == "") {
		return nil
	}
	err := &Error{Op: "close", Kind: ErrForceClosed, Partition: -1, Node: -1, Cause: by.why}
	var lots []string
	if by.late {
		lots, err.fix = append(lots, contextWasOver), "give Close a context of its own: context.WithTimeout(context.Background(), 30*time.Second)"
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

// shutDown ends what is left when the sender is gone, or was told to go. It may be called again. The error
// is that of the partitioner's Close, or says that it has not returned when ctx ended.
func (e *engine) shutDown(ctx context.Context) error {
	e.clock.close()
	e.dispatch.close()
	e.sender.losses.close()
	e.partitioner.begin(func() error { return e.partitioner.close(e.cfg.partitioner) })
	return e.partitioner.await(ctx)
}

// pluginClose is the closing of plug-ins. It happens once, on a goroutine of its own: how long it takes is
// up to the plug-in, how long a Close waits for it is up to that Close.
type pluginClose struct {
	once sync.Once
	done chan struct{}
	id   atomic.Int64 // the goroutine's number
	err  error        // set before done
}

// begin closes the plug-ins by f, unless another call did.
func (c *pluginClose) begin(f func() error) {
	c.once.Do(func() {
		go func() { // ends with f; await waits for it
			defer close(c.done)
			c.id.Store(goroutineID())
			c.err = f()
		}()
	})
}

// close closes one of the plug-ins, within f.
func (c *pluginClose) close(plugin any) error {
	if _, ok := plugin.(io.Closer); !ok {
		return nil
	}
	return guardApart(func() error {
		c.id.Store(goroutineID())
		return closePlugin(plugin)
	})
}

// await is the error of f. It does not wait for it longer than ctx, nor in f itself.
func (c *pluginClose) await(ctx context.Context) error {
	if c.id.Load() == goroutineID() {
		return nil
	}
	if !awaitClosed(ctx, c.done, abortGrace) {
		return &Error{Op: "close plug-ins", Kind: endOf(ctx), Partition: -1, Node: -1, Reason: "Close of an interceptor, serializer or partitioner has not returned"}
	}
	return c.err
}

// awaitClosed waits until ch is closed, or ctx is over for as long as grace, and reports whether ch is closed.
func awaitClosed(ctx context.Context, ch <-chan struct{}, grace time.Duration) bool {
	return await(ch, ctx.Done(), forever) || await(ch, nil, grace)
}

// abortGrace is how long a Close whose time is over waits for its goroutines to see that.
const abortGrace = 100 * time.Millisecond

// abort fails everything that has no fate yet.
func (e *engine) abort() {
	e.box.order(func(s *sender, _ time.Time) {
		if s.aborting == nil {
			s.aborting = &Error{Kind: ErrForceClosed}
		}
	})
}

// lastLook returns when the readers have brought what has come and the callbacks of that have run. It takes them some
// milliseconds; catchUpTime only if they are kept from running, or a callback does not return.
func (e *engine) lastLook() {
	looked := make(chan struct{})
	e.box.order(func(s *sender, now time.Time) { s.lastLook(looked, now) })
	await(looked, e.sender.finished, catchUpTime)
}
