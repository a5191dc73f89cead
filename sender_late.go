package quill

import (
	"time"

	"github.com/quill-kafka/quill/network"
)

// A turn that begins much later than it was meant to says that the process stood still (SIGSTOP, a
// throttled container, a suspended machine) while clocks went on. What is overdue then may have been
// answered long ago: the answers are in sockets that no reader could look at. So such a turn gives
// nothing up. It has the connections' readers bring what is there, and only when they did, or have had
// their time, the clock counts again. Lateness is measured by the very clock that the deadlines are: if
// that stood still too, as CLOCK_MONOTONIC may while a machine is suspended, nothing is overdue.
//
// Nor does a caller's wait: a call about a transaction, whose limit is max.block.ms, a Flush, the wait for a record,
// a Send that waits for metadata or memory (blockLimit.over), a Close before it gives records up. If the deadline was over well before that could be noticed, the wait ends with a
// last look (accumulator.waitFor). That holds for a deadline of the caller's own, too: it is some milliseconds, and
// without it a call is reported as open, or a record as lost, whose success is here. A ctx that is cancelled, or was
// over before the wait, ends the wait at once.
//
// What else a clock decides after a standstill does no harm: an idle connection is closed by both sides,
// old metadata are asked for, a producer id that brokers may have forgotten sends its next batch alone,
// a connection that was being made is made again.

// behind reports whether answers may have come that this turn does not know of, since the sender was
// kept from it. The clock gives up nothing then.
func (s *sender) behind(now time.Time) bool {
	if late, is := s.late(now); is {
		if !s.refresh.trouble.IsZero() {
			s.refresh.trouble = s.refresh.trouble.Add(late) // nobody could have helped it
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
	s.judgeAt = time.Time{}
	return false
}

// late is by how much this turn began too late.
func (s *sender) late(now time.Time) (by time.Duration, is bool) {
	by = now.Sub(s.meant)
	return by, by > network.TimerSlack && !s.meant.IsZero()
}

// abort gives up everything, unless this turn is late: then answers first. It reports whether it waits for them.
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

// lastLook has the readers bring what has come. done is closed when they did and the callbacks of that have run.
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
