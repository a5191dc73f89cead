package quill

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// taken is the notices that the sender would find.
func (r *rig) taken() []notice {
	var m mail
	r.s.box.take(&m)
	return m.queues
}

func TestTheSenderIsToldOnceUnlessItCannotWait(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		q := r.topic.queue(0)
		r.append(0, "", "a")
		r.append(0, "", "b")
		told := r.taken()
		require.Len(t, told, 1)
		require.Same(t, q, told[0].queue)
		require.Equal(t, r.s.box.instant(time.Now().Add(r.cfg.linger)), told[0].by)

		in := one("", "urgent")
		in.urgent = true
		r.appendInput(0, in)
		for range r.fits("", "x") + 1 { // closes the batch
			r.append(0, "", "x")
		}
		told = r.taken()
		require.Len(t, told, 1, "the rest is no news")
		require.EqualValues(t, hintNow, told[0].by)
	})
}

// A batch that may linger is left alone; its timer is there.
func TestAnOpenedBatchIsNotLookedAtBeforeItIsDue(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		r.append(0, "", "a")
		q := r.topic.queue(0)
		q.mu.Lock() // a look would wait for ever
		require.Empty(t, r.ready())
		q.mu.Unlock()
		require.Equal(t, time.Now().Add(r.cfg.linger), r.s.timers.next())
		time.Sleep(r.cfg.linger)
		require.Equal(t, []int32{0}, r.ready())
	})
}

// A notice may reach the sender after what makes its batch ready.
func TestALateNoticeIsLookedAt(t *testing.T) {
	for name, late := range map[string]func(r *rig){
		"a flush began": func(r *rig) { r.acc.markFlush() },
		"somebody waits for memory": func(r *rig) {
			w := r.acc.share(r.topic.queue(0)).join(rigMemory)
			r.t.Cleanup(func() { w.share.leave(w) })
		},
		"it closes": func(r *rig) { r.s.closing = true },
	} {
		t.Run(name, func(t *testing.T) {
			withRig(t, nil, func(t *testing.T, r *rig) {
				r.append(0, "", "a")
				told := r.taken() // by nobody yet
				late(r)
				require.Empty(t, r.ready(), "the sender does not know of the batch")
				for _, n := range told {
					r.s.box.tell(n, true)
				}
				require.Equal(t, []int32{0}, r.ready())
			})
		})
	}
}

func TestAnExpiredBatchCountsItsRecords(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		var told []error
		in := one("", "v")
		in.callback = func(_ RecordMetadata, err error) { told = append(told, err) }
		for range 3 { // still open when it expires: its node could not take it
			r.appendInput(0, in)
		}
		time.Sleep(r.cfg.deliveryTimeout)
		r.s.expire(time.Now())
		r.dispatch()
		require.Len(t, told, 3)
		require.ErrorIs(t, told[0], ErrDeliveryTimeout)
		require.ErrorContains(t, told[0], "3 records expired")
	})
}
