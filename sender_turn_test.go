package quill

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A turn of the sender, and when the next one is due.

// Java: SenderTest.testResetNextBatchExpiry
func TestTheSenderSleepsUntilTheNextExpiry(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		idle := r.s.step(time.Now())
		require.GreaterOrEqual(t, time.Until(idle), time.Minute, "nothing to do, nothing to wait for")
		opened := time.Now()
		first := r.append(0, "key", "value")
		require.Equal(t, r.cfg.linger, time.Until(r.s.step(time.Now())))
		time.Sleep(r.cfg.linger)
		r.drainOne(0)
		require.Equal(t, opened.Add(r.cfg.deliveryTimeout), r.s.step(time.Now()))
		time.Sleep(time.Second)
		r.append(2, "key", "value")
		require.Equal(t, r.cfg.linger, time.Until(r.s.step(time.Now())))
		time.Sleep(r.cfg.linger)
		r.drainOne(1)
		require.Equal(t, opened.Add(r.cfg.deliveryTimeout), r.s.step(time.Now()), "the older one's, still")

		time.Sleep(time.Until(opened.Add(r.cfg.deliveryTimeout)))
		next := r.s.step(time.Now())
		r.dispatch()
		_, err := outcomeOf(t, first)
		require.ErrorIs(t, err, ErrDeliveryTimeout)
		require.Equal(t, time.Second+r.cfg.linger, time.Until(next), "the younger one's now, neither at once nor late")
		time.Sleep(time.Until(next))
		require.GreaterOrEqual(t, time.Until(r.s.step(time.Now())), time.Minute)
	})
}

// The answer lies unread when the time is over: the record's fate is told by then, and stays as told.
//
// Java: SenderTest.testInflightBatchesExpireOnDeliveryTimeout
func TestAnAnswerReadAfterTheDeliveryTimeoutComesTooLate(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		withRig(t, func(s *settings) { s.idempotent = idempotent }, func(t *testing.T, r *rig) {
			f := r.append(0, "key", "value")
			time.Sleep(r.cfg.linger)
			r.drainOne(0)
			r.written(0)
			time.Sleep(r.cfg.deliveryTimeout - r.cfg.linger)
			r.s.expire(time.Now())
			r.answer(0, accepted(0))
			r.dispatch()
			_, err := outcomeOf(t, f)
			failed, ok := errors.AsType[*Error](err)
			require.True(t, ok)
			require.ErrorIs(t, failed, ErrDeliveryTimeout)
			require.Equal(t, MaybeWritten, failed.Outcome())
			require.Zero(t, r.acc.count())
			require.EqualValues(t, rigMemory, r.free())
		})
	}
}
