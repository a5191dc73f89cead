package quill

import (
	"errors"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// What holds records up. Who waits for the outcome of records and gives up is told by the error why there is none
// yet. The sender alone knows that, so it is asked when the wait is over; nothing is kept for the case.

// holdUp is the sender's part.
func (s *sender) holdUp(topic string, partition int32, now time.Time) error {
	b := s.acc.heldUp(func(b *batch) bool { return topic == "" || b.queue.topic.name == topic && b.queue.index == partition })
	if b == nil {
		return nil
	}
	return s.heldUpBy(b, now)
}

// heldUpBy says where a batch stands, and why it is not further.
func (s *sender) heldUpBy(b *batch, now time.Time) *Error {
	e := s.describe(b, &Error{Reason: s.stands(b), open: true}, now)
	cause := s.whyNotYet(b, now)
	if e.Code, _ = errors.AsType[protocol.ErrorCode](cause); e.Code == protocol.None {
		e.Cause = cause
	}
	return e
}

// stands is where a batch stands that has no outcome yet.
func (s *sender) stands(b *batch) string {
	_, _, led := s.leader(b.queue)
	switch {
	case b.onWire():
		return "waiting for an answer"
	case b.attempts > 0:
		return "waiting to be sent again"
	case !led:
		return "waiting for the partition to have a leader"
	}
	return "waiting to be sent"
}

// whyNotYet is the last reason why a batch has no outcome yet, nil if none is known. What keeps it from being sent
// now counts more than how the connection of its last attempt ended; what a broker answered counts more than that.
func (s *sender) whyNotYet(b *batch, now time.Time) error {
	if _, answered := b.lastError.(protocol.ErrorCode); answered || b.onWire() {
		return b.lastError
	}
	if b.attempts == 0 && s.idem.state != idReady && s.idem.err != nil {
		return s.idem.err
	}
	if why := s.whyWaits(b.queue, b.createdAt, now); why != nil {
		return why
	}
	return b.lastError
}

// whyWaits is why batches of a partition wait that could have left since then, if a reason is known: there is no
// connection, those before them were sent in vain, or the node takes no more.
func (s *sender) whyWaits(q *partitionQueue, since, now time.Time) error {
	if why := s.whyNot(q); why != nil {
		return why
	}
	if last := q.out.setback; last != nil && !last.at.Before(since) {
		return last.err
	}
	if id, _, ok := s.leader(q); ok {
		return s.client.Busy(id, now)
	}
	return nil
}

// setback is what the last batch of a partition that came back ran into. Those behind it, which wait until it is in
// the log, have no error of their own, and may expire after it has.
type setback struct {
	err error
	at  time.Time
}

// noteSetback takes in what became of a batch that is back.
func (o *partitionOut) noteSetback(b *batch, v verdict, now time.Time) {
	switch {
	case v.act == actAccept:
		o.setback, o.sought, o.refusedAt = nil, false, time.Time{}
	case b.lastError != nil:
		o.setback = &setback{b.lastError, now}
	}
}

// whyFull is why the partition's batches stay in memory, if a reason is known: they can't leave, or come back.
func (s *sender) whyFull(q *partitionQueue, now time.Time) error {
	if err := s.whyWaits(q, time.Time{}, now); err != nil || q.out.line.Len() == 0 {
		return err
	}
	return q.out.line.At(0).lastError
}
