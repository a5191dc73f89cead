package quill

import "time"

// A turn that begins much later than it was meant to says that the process stood still (SIGSTOP, a
// throttled container, a suspended machine) while clocks went on. What is overdue then may have been
// answered long ago: the answers are in sockets that no reader could look at. So such a turn gives
// nothing up. It has the connections' readers bring what is there, and only when they did, or have had
// their time, the clock counts again. Lateness is measured by the very clock that the deadlines are: if
// that stood still too, as CLOCK_MONOTONIC may while a machine is suspended, nothing is overdue.
//
// What else a clock decides after a standstill does no harm: an idle connection is closed by both sides,
// old metadata are asked for, a producer id that brokers may have forgotten sends its next batch alone,
// a connection that was being made is made again.

const (
	// lateTurn is how much later than it was meant to a turn may begin: what timers and a busy machine
	// take. A turn that is later costs no more than a look at the sockets, if something is overdue.
	lateTurn = 2 * time.Millisecond
	// catchUpTime is how long readers have to bring what has come. They need as long only if they are
	// kept from running.
	catchUpTime = 500 * time.Millisecond
)

// behind reports whether answers may have come that this turn does not know of, since the sender was
// kept from it. The clock gives up nothing then.
func (s *sender) behind(now time.Time) bool {
	if late := now.Sub(s.meant); late > lateTurn && !s.meant.IsZero() {
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

// overdue reports whether this turn would give something up.
func (s *sender) overdue(now time.Time) bool {
	at := s.nextExpiry()
	return !at.IsZero() && !at.After(now) || s.client.Overdue(now) || s.closing && s.txn != nil
}

// blockLimit bounds how long one Send may wait: max.block.ms, which its waits for metadata and for
// memory share. The clock is first read when there is something to wait for.
type blockLimit struct {
	max   time.Duration
	at    time.Time
	again bool // it has been extended
}

func (l *blockLimit) until() time.Time {
	if l.at.IsZero() {
		l.at = time.Now().Add(l.max)
	}
	return l.at
}

// extend starts the timer of the wait once more, for a moment, if it went off much later than it was set:
// the process stood still, and what is waited for may have come meanwhile.
func (l *blockLimit) extend(timer *time.Timer) bool {
	if l.again || time.Since(l.at) <= lateTurn {
		return false
	}
	l.again = true
	timer.Reset(catchUpTime)
	return true
}

// waited is the time spent so far.
func (l *blockLimit) waited() time.Duration { return l.max - time.Until(l.until()) }
