package quill

import (
	"time"

	"github.com/quill-kafka/quill/network"
)

// expire gives up the batches that are delivery.timeout.ms old.
func (s *sender) expire(now time.Time) {
	for b := s.acc.oldest(); b != nil && !b.createdAt.Add(s.acc.deliveryTimeout).After(now); b = s.acc.oldest() {
		s.withdraw(b)
		s.giveUp(b, s.expired(b, now), now)
	}
}

func (s *sender) nextExpiry() time.Time {
	if b := s.acc.oldest(); b != nil {
		return b.createdAt.Add(s.acc.deliveryTimeout)
	}
	return time.Time{}
}

// ageOpen closes the batches that have spent a good part of delivery.timeout.ms and still take records, as in
// an outage. All records of a batch expire with it, so a record added now would have only the rest of its time.
func (s *sender) ageOpen(now time.Time) {
	if s.agesAt.IsZero() || s.agesAt.After(now) {
		return
	}
	for _, b := s.acc.ends(); b != nil && !b.createdAt.Add(s.acc.deliveryTimeout/oldPart).After(now); {
		b = s.acc.age(b)
	}
}

// nextEnd returns when expire or ageOpen is needed next; zero if there are no batches.
func (s *sender) nextEnd() time.Time {
	oldest, youngest := s.acc.ends()
	s.agesAt = time.Time{}
	if youngest != nil {
		s.agesAt = youngest.createdAt.Add(s.acc.deliveryTimeout / oldPart)
	}
	if oldest == nil {
		return time.Time{} // nor is there a youngest
	}
	return earliest(oldest.createdAt.Add(s.acc.deliveryTimeout), s.agesAt)
}

// oldPart is the divisor of delivery.timeout.ms that gives the age at which a batch is old. It is also the number
// of batches that are not full that a partition has at most while it can't be sent to.
const oldPart = 4

// abortAll fails every batch that is not completed.
func (s *sender) abortAll(now time.Time) {
	records, maybe := int64(0), int64(0)
	for b := s.acc.oldest(); b != nil; b = s.acc.oldest() {
		s.withdraw(b)
		err := s.describe(b, s.aborting, now)
		if s.aborting.Kind == ErrForceClosed {
			err.Cause = s.whyNotYet(b, now)
			s.lost.why.CompareAndSwap(nil, s.heldUpBy(b, now))
		}
		records += int64(b.records)
		if err.Outcome == MaybeWritten {
			maybe += int64(b.records)
		}
		s.giveUp(b, err, now)
	}
	if records > 0 && s.aborting.Kind == ErrForceClosed {
		s.lost.records.Add(records)
		s.lost.maybe.Add(maybe)
		s.logger.Warn("Close had to end before all records were delivered: they were given up", "records", records, "maybe_written", maybe)
	}
}

// withdraw takes a batch that has not left out of its queue, so that it takes no more records.
func (s *sender) withdraw(b *batch) {
	if b.place != placeQueue {
		return
	}
	q := b.queue
	q.mu.Lock()
	q.removeLocked(b)
	q.mu.Unlock()
}

// giveUp fails a batch in any place. A batch on the wire keeps its memory and its sequence until its
// request comes back.
func (s *sender) giveUp(b *batch, err *Error, now time.Time) {
	s.withdraw(b)
	if !b.onWire() {
		q := b.queue
		if b.numbered() {
			q.out.seq.settle(b, verdict{numbers: outOfTime(b.evidence.maybeWritten)}, -1)
			s.unpark(q, false, now)
		}
		s.touched = append(s.touched, q)
	}
	s.conclude(b, failure(err), now)
	for i, q := range s.touched {
		s.touched[i] = nil
		s.look(q, now)
	}
	s.touched = s.touched[:0]
}

// A turn that begins much later than it was meant to shows that the process stood still (SIGSTOP, a
// throttled container, a suspended machine) while clocks went on. Requests that are overdue then may have
// been answered long ago: the answers are in sockets that no reader could read. So such a turn gives
// nothing up. It has the connections' readers post what has arrived, and deadlines count again only when
// they have done that, or after catchUpTime. Lateness is measured by the same clock as the deadlines: if
// that stood still too, as CLOCK_MONOTONIC may while a machine is suspended, nothing is overdue.
//
// The same holds for a caller's wait: a call about a transaction, whose limit is max.block.ms, a Flush, the wait for a
// record, a Send that waits for metadata or memory (blockLimit.over), a Close before it gives records up. If the
// deadline was over well before the caller could notice that, the wait ends with a last look (accumulator.waitFor). That
// holds for a deadline of the caller's own, too: the look takes some milliseconds, and without it a call could be
// reported as open, or a record as lost, whose answer has arrived. A ctx that is cancelled, or had ended before the wait,
// ends the wait at once.
//
// Other decisions by the clock do no harm after a standstill: an idle connection is closed by both sides,
// old metadata are requested again, a producer id that brokers may have forgotten sends its next batch alone,
// a connection that was being made is made again.

// behind reports whether answers may have arrived that the readers have not posted, because this turn
// began late. The turn must not give anything up then.
func (s *sender) behind(now time.Time) bool {
	if late, is := s.late(now); is {
		if !s.refresh.trouble.IsZero() {
			s.refresh.trouble = s.refresh.trouble.Add(late) // no refresh could have worked meanwhile
		}
		if s.overdue(now) {
			s.logger.Debug("the sender was kept from its turn: answers first", "late", late)
			s.client.CatchUp(late, now)
			s.judgeAt = now.Add(catchUpTime)
		}
	}
	if s.judgeAt.IsZero() {
		return false
	}
	if s.client.Behind() && s.judgeAt.After(now) {
		return true
	}
	s.judgeAt = time.Time{} // the answers are here, or late: deadlines count again
	return false
}

// late returns by how much this turn began later than meant, and whether that is more than timers allow for.
func (s *sender) late(now time.Time) (by time.Duration, is bool) {
	by = now.Sub(s.meant)
	return by, by > network.TimerSlack && !s.meant.IsZero()
}

// abort gives up everything. If this turn is late it lets the readers catch up first, and reports whether it waits for
// them.
func (s *sender) abort(now time.Time) (behind bool) {
	by, is := s.late(now)
	if is {
		s.client.CatchUp(by, now)
	}
	if !is || !s.client.Behind() {
		s.abortAll(now)
		return false
	}
	s.judgeAt = now.Add(catchUpTime)
	return true
}

// lastLook has the readers post the answers that have arrived. done is closed when they have and the callbacks of
// these answers have run.
func (s *sender) lastLook(done chan struct{}, now time.Time) {
	s.client.CatchUp(0, now)
	s.looks = append(s.looks, done)
}

// endLooks ends the last looks if the readers are done with them.
func (s *sender) endLooks() {
	if len(s.looks) > 0 && !s.client.Behind() {
		s.dispatch.mark(s.looks)
		s.looks = nil
	}
}

// overdue reports whether this turn would give something up.
func (s *sender) overdue(now time.Time) bool {
	at := s.nextExpiry()
	return !at.IsZero() && !at.After(now) || s.client.Overdue(now) || s.closing && s.txn != nil
}
