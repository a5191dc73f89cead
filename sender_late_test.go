package quill

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/network"
)

// slowReaders is connections whose readers take their time to catch up.
type slowReaders struct {
	connections
	asked  []time.Duration // how late the sender said it was
	behind bool
}

func (c *slowReaders) Overdue(time.Time) bool { return false }
func (c *slowReaders) Behind() bool           { return c.behind }
func (c *slowReaders) Ready(int32, time.Time) bool {
	return false
}
func (c *slowReaders) LeastLoaded(time.Time) (id int32, ok bool, retryAt time.Time) {
	return 0, false, time.Time{}
}
func (c *slowReaders) Soonest(time.Time) (id int32, ok bool, retryAt time.Time) {
	return 0, false, time.Time{}
}
func (c *slowReaders) CanRetryAt(int32, time.Time) (at time.Time) { return at }
func (c *slowReaders) CatchUp(late time.Duration, _ time.Time) {
	c.asked = append(c.asked, late)
	c.behind = true
}

// standstill runs the test on a rig with one record in flight and one that has not left, whose sender gets its
// next turn long after both have expired.
func standstill(t *testing.T, test func(t *testing.T, r *rig, c *slowReaders, sent, kept Future)) {
	t.Helper()
	withRig(t, nil, func(t *testing.T, r *rig) {
		c := &slowReaders{connections: r.s.client}
		r.s.client = c
		sent := r.append(0, "", "sent")
		time.Sleep(r.cfg.linger)
		r.drainOne(0)
		kept := r.append(2, "", "kept")
		next := r.s.step(time.Now())
		time.Sleep(time.Until(next))
		r.s.step(time.Now())
		require.Empty(t, c.asked, "this turn was in time")

		meant := r.s.meant
		time.Sleep(10 * time.Second)
		late := time.Since(meant)
		require.Equal(t, time.Now().Add(catchUpTime), r.s.step(time.Now()))
		require.Equal(t, []time.Duration{late}, c.asked)
		r.dispatch()
		require.False(t, sent.Done(), "its answer may be in a socket")
		require.False(t, kept.Done())
		test(t, r, c, sent, kept)
	})
}

func TestAnAnswerInTheSocketBeatsTheClock(t *testing.T) {
	standstill(t, func(t *testing.T, r *rig, c *slowReaders, sent, kept Future) {
		time.Sleep(time.Millisecond)
		r.answer(0, accepted(42))
		c.behind = false
		r.s.step(time.Now())
		r.dispatch()
		m, err := outcomeOf(t, sent)
		require.NoError(t, err)
		require.EqualValues(t, 42, m.Offset)
		_, err = outcomeOf(t, kept)
		require.ErrorIs(t, err, ErrDeliveryTimeout, "the clock counts again")
		require.Equal(t, NotSent, err.(*Error).Outcome, "it was not sent in between")
	})
}

func TestWhatHasNoAnswerAfterAStandstillExpires(t *testing.T) {
	standstill(t, func(t *testing.T, r *rig, c *slowReaders, sent, kept Future) {
		time.Sleep(catchUpTime - 1)
		r.s.step(time.Now())
		r.dispatch()
		require.False(t, sent.Done())
		time.Sleep(time.Nanosecond)
		r.s.step(time.Now()) // readers have had their time
		r.dispatch()
		_, err := outcomeOf(t, sent)
		require.ErrorIs(t, err, ErrDeliveryTimeout)
		require.Equal(t, MaybeWritten, err.(*Error).Outcome)
		require.Len(t, c.asked, 1)
	})
}

func TestASecondStandstillWhileCatchingUpIsNoReasonToGiveUp(t *testing.T) {
	standstill(t, func(t *testing.T, r *rig, c *slowReaders, sent, _ Future) {
		time.Sleep(catchUpTime + 10*time.Second)
		r.s.step(time.Now())
		require.Len(t, c.asked, 2)
		r.answer(0, accepted(42))
		c.behind = false
		r.s.step(time.Now())
		r.dispatch()
		_, err := outcomeOf(t, sent)
		require.NoError(t, err)
	})
}

// A Close whose time is over gives up what has no answer when the readers have caught up, or have had their time.
func TestAForcedEndAfterAStandstillReadsFirst(t *testing.T) {
	force := func(r *rig) {
		r.s.box.command(func(s *sender, _ time.Time) { s.aborting = &Error{Kind: ErrForceClosed} })
		r.s.step(time.Now())
		r.dispatch()
	}
	standstill(t, func(t *testing.T, r *rig, c *slowReaders, sent, kept Future) {
		force(r)
		require.False(t, sent.Done())
		r.answer(0, accepted(42))
		c.behind = false
		r.s.step(time.Now())
		r.dispatch()
		_, err := outcomeOf(t, sent)
		require.NoError(t, err)
		_, err = outcomeOf(t, kept)
		require.ErrorIs(t, err, ErrForceClosed)
		require.EqualValues(t, 1, r.s.lost.records.Load())
	})
	standstill(t, func(t *testing.T, r *rig, _ *slowReaders, sent, _ Future) {
		force(r)
		time.Sleep(catchUpTime)
		r.s.step(time.Now())
		r.dispatch()
		_, err := outcomeOf(t, sent)
		require.ErrorIs(t, err, ErrForceClosed)
	})
}

// So it is if nothing else was overdue, and a forced end in time does not look at all.
func TestAForcedEndLooksOnlyAfterAStandstill(t *testing.T) {
	for _, late := range []time.Duration{network.TimerSlack, time.Second} {
		withRig(t, nil, func(t *testing.T, r *rig) {
			c := &slowReaders{connections: r.s.client}
			r.s.client = c
			f := r.append(0, "", "x")
			next := r.s.step(time.Now())
			time.Sleep(time.Until(next) + late)
			r.s.box.command(func(s *sender, _ time.Time) { s.aborting = &Error{Kind: ErrForceClosed} })
			r.s.step(time.Now())
			r.dispatch()
			require.Equal(t, late <= network.TimerSlack, f.Done())
			require.Equal(t, late > network.TimerSlack, len(c.asked) == 1)
			c.behind = false
			r.s.step(time.Now())
			r.dispatch()
			require.True(t, f.Done())
		})
	}
}

// A late turn by which nothing is overdue is a turn like any other, and so is one that comes just after its time.
func TestALateTurnIsAnOrdinaryOneIfNothingIsOverdue(t *testing.T) {
	for _, late := range []time.Duration{network.TimerSlack, time.Second} {
		withRig(t, nil, func(t *testing.T, r *rig) {
			c := &slowReaders{connections: r.s.client}
			r.s.client = c
			f := r.append(0, "", "x")
			next := r.s.step(time.Now())
			time.Sleep(time.Until(next) + late)
			r.s.step(time.Now())
			require.Empty(t, c.asked)
			for !f.Done() { // expires when it has to
				time.Sleep(time.Until(r.s.meant) + network.TimerSlack)
				r.s.step(time.Now())
				r.dispatch()
			}
			require.Empty(t, c.asked)
		})
	}
}

func TestTimeStoodStillIsNoTimeInTrouble(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		begin := time.Now()
		r.s.refresh.rebootstrap, r.s.refresh.rebootstrapAfter, r.s.refresh.trouble = true, time.Minute, begin
		r.s.meant = begin.Add(time.Second)
		time.Sleep(time.Hour)
		r.s.behind(time.Now())
		require.False(t, r.s.refresh.stuck(time.Now()))
		require.True(t, r.s.refresh.stuck(time.Now().Add(time.Minute-time.Second)))
	})
}

// A Send that gives up much later than it should has a last look, once: what that brings counts.
func TestASendThatGivesUpLateLooksOnce(t *testing.T) {
	byTimer := func(t *testing.T, late time.Duration) (context.Context, *blockLimit) {
		return t.Context(), &blockLimit{max: time.Second, at: time.Now().Add(-late)}
	}
	byContext := func(t *testing.T, late time.Duration) (context.Context, *blockLimit) {
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-late))
		cancel()
		return ctx, &blockLimit{max: time.Second}
	}
	for _, ends := range []func(t *testing.T, late time.Duration) (context.Context, *blockLimit){byTimer, byContext} {
		for _, late := range []time.Duration{lateWait, lateWait + 1} {
			for _, comes := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					pool, looks := newBufferPool(1024, 1024), 0
					chunk := take(t, pool, 1024)
					pool.lastLook = func() {
						if looks++; comes {
							pool.release(chunk)
						}
					}
					ctx, limit := ends(t, late)
					_, err := pool.allocate(ctx, 1024, limit)
					if late <= lateWait {
						require.Error(t, err, "a busy machine is no standstill")
						require.Zero(t, looks)
						return
					}
					require.Equal(t, 1, looks)
					require.Equal(t, comes, err == nil)
				})
			}
		}
	}
}

var _ connections = (*network.Client)(nil)
