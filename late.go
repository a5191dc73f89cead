package quill

import (
	"context"
	"errors"
	"time"
)

// A turn that begins much later than it was meant to says that the process stood still (SIGSTOP, a
// throttled container, a suspended machine) while clocks went on. What is overdue then may have been
// answered long ago: the answers are in sockets that no reader could look at. So such a turn gives
// nothing up. It has the connections' readers bring what is there, and only when they did, or have had
// their time, the clock counts again. Lateness is measured by the very clock that the deadlines are: if
// that stood still too, as CLOCK_MONOTONIC may while a machine is suspended, nothing is overdue.
//
// Nor does a caller's wait: a call about a transaction, whose limit is max.block.ms, a Flush, the wait for a record,
// a Close before it gives records up. If the deadline was over well before that could be noticed, the wait ends with a
// last look (accumulator.waitFor). That holds for a deadline of the caller's own, too: it is some milliseconds, and
// without it a call is reported as open, or a record as lost, whose success is here. A ctx that is cancelled, or was
// over before the wait, ends the wait at once.
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
	// lateWait is how much later than it should a Send's wait must end to be taken for a standstill. A busy
	// machine is some milliseconds late all the time, and max.block.ms should hold there.
	lateWait = 100 * time.Millisecond
)

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
	return by, by > lateTurn && !s.meant.IsZero()
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

// waitFor waits until ch is closed or ctx ends, and reports whether ch is closed. What has come by then counts; if the
// process stood still when the deadline of ctx passed, that is what lies in the sockets, too.
func (a *accumulator) waitFor(ctx context.Context, ch <-chan struct{}) bool {
	if ctx.Err() == nil {
		select {
		case <-ch:
			return true
		case <-ctx.Done():
		}
		if a != nil && a.lastLook != nil && endedLate(ctx) {
			a.lastLook()
		}
	}
	return isClosed(ch)
}

// endedLate reports whether the deadline of ctx, which has just ended, was over well before.
func endedLate(ctx context.Context) bool {
	at, ok := ctx.Deadline()
	return ok && errors.Is(ctx.Err(), context.DeadlineExceeded) && time.Since(at) > lateTurn
}

// lastLook returns when the readers have brought what has come and the callbacks of that have run. It takes them some
// milliseconds; catchUpTime only if they are kept from running, or a callback does not return.
func (e *engine) lastLook() {
	looked := make(chan struct{})
	e.box.order(func(s *sender, now time.Time) { s.lastLook(looked, now) })
	timer := time.NewTimer(catchUpTime)
	defer timer.Stop()
	select {
	case <-looked:
	case <-e.sender.finished:
	case <-timer.C:
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
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
	if l.again || time.Since(l.at) <= lateWait {
		return false
	}
	l.again = true
	timer.Reset(min(catchUpTime, l.max))
	return true
}

// waited is the time spent so far.
func (l *blockLimit) waited() time.Duration { return l.max - time.Until(l.until()) }
