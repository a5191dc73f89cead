package quill

import "time"

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
		if err.Fate == MaybeWritten {
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
		if b.sequenced {
			q.out.seq.settle(b, verdict{gap: !b.evidence.maybeWritten, unsure: b.evidence.maybeWritten}, -1)
			s.unpark(q, false, now)
		}
		s.touched = append(s.touched, q)
	}
	s.conclude(b, failure(err))
	for i, q := range s.touched {
		s.touched[i] = nil
		s.look(q, now)
	}
	s.touched = s.touched[:0]
}
