package quill

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// gathered returns the partitions of the request that is made for a node now; nil: there is none.
func (r *rig) gathered(node int32) (partitions []int32) {
	r.ready()
	r.s.gather(r.s.node(node), time.Now())
	for _, b := range r.drain(node) {
		partitions = append(partitions, b.queue.index)
	}
	return partitions
}

func TestWhatLingersForANodeGoesAlong(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		for range 3 { // each time the sender hears of the next batch
			r.append(0, "", "a")
			time.Sleep(r.cfg.linger / 2)
			r.append(1, "", "a")
			r.append(2, "", "a")
			require.Nil(t, r.gathered(0), "nothing is due")
			time.Sleep(r.cfg.linger / 2)
			require.Equal(t, []int32{0, 1}, r.gathered(0))
			require.Nil(t, r.gathered(1), "another node")
			time.Sleep(r.cfg.linger / 2)
			require.Equal(t, []int32{2}, r.gathered(1))
		}
	})
}

func TestFullBatchesGoWithoutCompany(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		r.append(1, "", "a")
		for range r.fits("", "x") + 2 {
			r.append(0, "", "x")
		}
		require.Equal(t, []int32{0}, r.gathered(0))
		time.Sleep(r.cfg.linger)
		require.Equal(t, []int32{1, 0}, r.gathered(0))
	})
}

func TestABackOffIsNotCutByCompany(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		r.append(0, "", "a")
		time.Sleep(r.cfg.linger)
		require.Equal(t, []int32{0}, r.gathered(0))
		r.lose(0)
		r.append(1, "", "a")
		time.Sleep(r.cfg.linger)
		require.Equal(t, []int32{1}, r.gathered(0))
	})
}

func TestTheOldestGoAlongUntilThereAreEnough(t *testing.T) {
	withRig(t, func(s *settings) { s.bufferMemory = 100 * rigBatch }, func(t *testing.T, r *rig) {
		r.setLeaders(make([]int32, 2*enoughBatches), 0)
		var want []int32
		for i := range int32(2 * enoughBatches) {
			p := i * 7 % (2 * enoughBatches)
			want = append(want, p)
			r.append(p, "", "a")
			time.Sleep(time.Microsecond)
		}
		require.Nil(t, r.ready())
		time.Sleep(r.cfg.linger - 2*enoughBatches*time.Microsecond)
		require.Equal(t, want[:enoughBatches], r.gathered(0))
		require.Nil(t, r.gathered(0), "the others linger on")
		time.Sleep((enoughBatches + fewBatches - 1) * time.Microsecond)
		require.Equal(t, want[enoughBatches:enoughBatches+fewBatches], r.gathered(0), "enough to be sent without company")
		time.Sleep((enoughBatches - fewBatches) * time.Microsecond)
		require.Equal(t, want[enoughBatches+fewBatches:], r.gathered(0))
	})
}

// A batch goes to the leader that its partition has now, in time, even if another one led when the batch was opened, and
// whether the sender learned of the batch before or after.
func TestWhatLingersFollowsItsPartition(t *testing.T) {
	for _, first := range []bool{false, true} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			withRig(t, nil, func(t *testing.T, r *rig) {
				r.append(0, "", "a")
				time.Sleep(time.Millisecond)
				r.append(1, "", "a")
				if first {
					require.Nil(t, r.ready())
				}
				r.setLeaders([]int32{0, 1, 1, 1}, 1)
				time.Sleep(r.cfg.linger - time.Millisecond)
				require.Equal(t, []int32{0}, r.gathered(0))
				require.Nil(t, r.gathered(1))
				require.Equal(t, time.Now().Add(time.Millisecond), r.s.timers.next())
				time.Sleep(time.Millisecond)
				require.Equal(t, []int32{1}, r.gathered(1))
			})
		})
	}
}
