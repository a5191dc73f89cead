package quill

import (
	"context"
	"errors"
	"time"
)

// holdUp is what holds up the records of a partition, or with an empty topic any record; nil if nothing does. The
// ctx of the wait is over.
func (e *engine) holdUp(ctx context.Context, topic string, partition int32) error {
	why := e.askSender(ctx, func(s *sender, now time.Time) error { return s.holdUp(topic, partition, now) })
	if why == nil && e.dispatch.calling.Load() != nil {
		return errCallbackRuns
	}
	return why
}

// askSender is the sender's answer to a question; ctx is over. A sender that is kept from answering, by a log handler
// that blocks, is not waited for.
func (e *engine) askSender(ctx context.Context, question func(s *sender, now time.Time) error) error {
	if isClosed(e.sender.finished) {
		return nil
	}
	var answer error
	answered := make(chan struct{})
	e.box.order(func(s *sender, now time.Time) {
		answer = question(s, now)
		close(answered)
	})
	if !awaitClosed(ctx, answered, abortGrace) {
		return nil
	}
	return answer
}

var errCallbackRuns = errors.New("a callback has not returned")

// noMemory adds to the failure of a Send that waited for memory why the partition's node takes no records.
func (e *engine) noMemory(err *Error, q *partitionQueue) *Error {
	if err.Op != opWaitForMemory || errors.Is(err.Kind, ErrClosed) {
		return err
	}
	over, cancel := context.WithCancel(context.Background())
	cancel() // what Send may wait is over
	err.Cause = e.askSender(over, func(s *sender, now time.Time) error { return s.whyFull(q, now) })
	return err
}
