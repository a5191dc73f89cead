package quill

import (
	"errors"
	"log/slog"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/protocol"
)

// Why records have no outcome yet. When a caller gives up waiting for one, its error says why there is none. Only the
// sender knows that, so it is asked when the wait ends, and nothing is kept for it before.

// holdUp returns an error that says what one of the oldest matching batches waits for, nil if there is none. topic ""
// matches every batch.
func (s *sender) holdUp(topic string, partition int32, now time.Time) error {
	b := s.acc.heldUp(func(b *batch) bool { return topic == "" || b.queue.topic.name == topic && b.queue.index == partition })
	if b == nil {
		return nil
	}
	return s.heldUpBy(b, now)
}

// heldUpBy returns an error that says what a batch waits for, and why.
func (s *sender) heldUpBy(b *batch, now time.Time) *Error {
	e := s.describe(b, &Error{Reason: s.describeWait(b), open: true}, now)
	cause := s.whyNotYet(b, now)
	if e.Code, _ = errors.AsType[protocol.ErrorCode](cause); e.Code == protocol.None {
		e.Cause = cause
	}
	return e
}

// describeWait returns a text that says what a batch without an outcome waits for.
func (s *sender) describeWait(b *batch) string {
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

// whyNotYet returns the error because of which a batch has no outcome yet, nil if none is known. A broker's answer
// comes first, then the error that keeps the batch from being sent now, then the connection's error of its last
// attempt.
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

// whyWaits returns the error because of which batches of a partition, ready since that time, can't leave, nil if none
// is known: there is no connection, batches before them failed, or the node takes no more.
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

// setback is the error of the last batch of a partition that came back. The batches behind it, which wait until it is
// in the log, have no error of their own and may expire after it has.
type setback struct {
	err   error
	at    time.Time
	since time.Time // when the first of them came back

	refusedAt    time.Time // since when the partition's leader answers that it does not lead it; zero: it does not
	refusedEpoch int32     // the leader epoch of that leader
}

// noteSetback keeps the error of a batch that is back, or clears the kept one if the batch was accepted.
func (o *partitionOut) noteSetback(b *batch, v verdict, now time.Time) {
	switch {
	case v.act == actAccept:
		o.setback, o.sought = nil, false
	case b.lastError != nil:
		if o.setback == nil {
			o.setback = &setback{since: now}
		}
		o.setback.err, o.setback.at = b.lastError, now
	}
}

// whyFull returns the error because of which the partition's batches stay in memory, nil if none is known: they can't
// leave, or the first one that left is not accepted.
func (s *sender) whyFull(q *partitionQueue, now time.Time) error {
	if err := s.whyWaits(q, time.Time{}, now); err != nil || q.out.completionQueue.Len() == 0 {
		return err
	}
	return q.out.completionQueue.At(0).lastError
}

// resentLevel returns the level at which it is logged that the broker refused a batch for now, and that it is sent again.
// Replicas that are missing for a moment and leaders that move pass by themselves. What lasts is worth a warning, one a
// minute for each topic: otherwise nothing would be heard of it until delivery.timeout.ms is over. A batch that is back
// without an answer needs none, because the connection has its own.
func (s *sender) resentLevel(b *batch, now time.Time) slog.Level {
	t, last := b.queue.topic, b.queue.out.setback
	_, refused := b.lastError.(protocol.ErrorCode)
	if !refused || last == nil || now.Sub(last.since) < backoff.Lasting || now.Sub(t.resentWarned) < backoff.WarnEvery {
		return slog.LevelDebug
	}
	t.resentWarned = now
	return slog.LevelWarn
}

// leaderless is a partition whose batches wait for a leader.
type leaderless struct {
	queue *partitionQueue
	since time.Time
}

// warnOfLeaderless logs that records wait for a leader, if that lasts: once a minute for each topic, as resentLevel does. There is no
// answer with an error then, and no connection that fails, so nothing else is heard until delivery.timeout.ms is over.
func (s *sender) warnOfLeaderless(now time.Time) {
	lines := 0
	for _, w := range s.leaderless {
		t := w.queue.topic
		waited := now.Sub(w.since)
		if waited < backoff.Lasting || now.Sub(t.resentWarned) < backoff.WarnEvery || w.queue.length.Load() == 0 || lines == maxComplaints {
			continue
		}
		lines++
		t.resentWarned = now
		s.logger.Warn("records wait for a partition to have a leader", "topic", t.name, "partition", w.queue.index, "for", roundDuration(waited))
	}
}
