package quill

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimersComeInTheirOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	base := time.Now()
	for range 100 {
		var h timers
		require.True(t, h.next().IsZero())
		var due []time.Duration
		for i := range rnd.IntN(60) {
			d := time.Duration(rnd.IntN(20)) * time.Millisecond
			due = append(due, d)
			h.push(timer{at: base.Add(d), queue: &partitionQueue{index: int32(d)}, number: int64(i)})
		}
		slices.Sort(due)
		require.Nil(t, h.pop(base.Add(-1)))
		for _, d := range due {
			require.Equal(t, base.Add(d), h.next())
			require.Nil(t, h.pop(base.Add(d-1)))
			require.EqualValues(t, d, h.pop(base.Add(d)).index)
		}
		require.Nil(t, h.pop(base.Add(time.Hour)))
	}
}

func TestATimerIsSetOnce(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		q, at := r.topic.queue(0), time.Now().Add(time.Second)
		r.s.setTimer(q, 1, at)
		r.s.setTimer(q, 1, at)
		require.Equal(t, 1, r.s.timers.len())
		r.s.setTimer(q, 1, at.Add(1)) // another time
		r.s.setTimer(q, 2, at.Add(1)) // another batch
		require.Equal(t, 3, r.s.timers.len())
		require.Same(t, q, r.s.timers.pop(at))
		require.EqualValues(t, 2, q.out.timerNumber, "the timer of an older batch takes nothing away")
		r.s.timers.pop(at.Add(1))
		require.Same(t, q, r.s.timers.pop(at.Add(1)))
		require.Zero(t, q.out.timerNumber)
		r.s.setTimer(q, 2, at.Add(1))
		require.Equal(t, 1, r.s.timers.len())
	})
}

func TestTakeAllLeavesTheTimersUsable(t *testing.T) {
	var h timers
	base := time.Now()
	for i := range 10 {
		h.push(timer{at: base.Add(time.Duration(i)), queue: &partitionQueue{}})
	}
	all := h.takeAll()
	require.Len(t, all, 10)
	h.push(timer{at: base, queue: &partitionQueue{index: 7}}) // as a look during the walk does
	require.Len(t, all, 10)
	for _, at := range all {
		require.NotNil(t, at.queue)
	}
	require.EqualValues(t, 7, h.pop(base).index)
	require.Empty(t, h.takeAll())
}
