package quill

import (
	"context"
	"fmt"
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
	results := e.acc.beginFlush()
	e.box.nudge()
	for _, r := range results {
		if err := awaitResult(ctx, r); err != nil {
			return &Error{Op: "flush", Kind: err, Partition: -1, Node: -1}
		}
	}
	return nil
}

// awaitResult waits for a result and, if its batch was split, for its parts.
func awaitResult(ctx context.Context, r *result) error {
	if ch := r.wait(); ch != nil {
		select {
		case <-ch:
		case <-ctx.Done():
			return endOf(ctx)
		}
	}
	for _, c := range r.children {
		if err := awaitResult(ctx, c.res); err != nil {
			return err
		}
	}
	return nil
}

// close stops taking sends, drains until ctx ends, then gives up what is left. See Producer.Close.
func (e *engine) close(ctx context.Context) (err error) {
	inside := e.dispatch.inside()
	over := e.beginClose(inside || ctx.Err() != nil)
	if inside {
		e.abort()   // also if somebody else was already closing
		go func() { // ends with the sender, which has nothing left to wait for
			<-e.sender.finished
			_ = e.shutDown() // nobody to tell
		}()
		return &Error{Op: "close", Kind: ErrInCallback, Partition: -1, Node: -1, Reason: "everything unfinished was given up, the rest of Close goes on by itself"}
	}
	if over || !awaitClosed(ctx, e.sender.finished, 0) {
		err = &Error{Op: "close", Kind: ErrForceClosed, Partition: -1, Node: -1, Cause: endOf(ctx)}
		e.abort()
		awaitClosed(ctx, e.sender.finished, abortGrace)
	}
	if fault := e.shutDown(); fault != nil && err == nil {
		err = fmt.Errorf("close partitioner: %w", fault)
	}
	if !awaitClosed(ctx, e.dispatch.done, abortGrace) && err == nil {
		err = &Error{Op: "close", Kind: ErrForceClosed, Partition: -1, Node: -1, Cause: endOf(ctx), Reason: "a callback has not returned"}
	}
	return err
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

// shutDown ends what is left when the sender is gone, or was told to go. It may be called again; only
// one call tells the error of the partitioner's Close.
func (e *engine) shutDown() (fault error) {
	e.clock.close()
	e.dispatch.close()
	e.closePartitioner.Do(func() { fault = closePlugin(e.cfg.partitioner) })
	return fault
}

// awaitClosed waits until ch is closed, or ctx is over for as long as grace. What has happened by
// then counts: it reports whether ch is closed.
func awaitClosed(ctx context.Context, ch <-chan struct{}, grace time.Duration) bool {
	select {
	case <-ch:
		return true
	default:
	}
	select {
	case <-ch:
		return true
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-ch:
		return true
	case <-timer.C:
		return false
	}
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
