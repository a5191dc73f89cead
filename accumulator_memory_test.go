package quill

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Records that wait for memory.

// A record that waited for memory has the time when it got into its batch, not when its Send began: also where the batch
// was there already and grew by the memory.
func TestARecordThatWaitedForMemoryHasAFreshTimestamp(t *testing.T) {
	withRig(t, func(s *settings) {
		s.batchSize, s.bufferMemory, s.linger, s.deliveryTimeout = 256<<10, 256<<10, time.Hour, 2*time.Hour
	}, func(t *testing.T, r *rig) {
		first := r.append(0, "key", "value")
		taken, err := r.acc.pool.tryAllocate(64 << 10)
		require.NoError(t, err)
		began := time.Now()
		in := one("key", strings.Repeat("v", 100<<10)) // needs the batch's second chunk
		in.timestamp = -1
		done := make(chan position, 1)
		go func() {
			at, err := r.acc.append(t.Context(), r.topic.queue(0), in, nil, &blockLimit{max: time.Minute})
			require.NoError(t, err)
			done <- at
		}()
		time.Sleep(5 * time.Second)
		r.acc.pool.release(taken)
		at := <-done
		open := r.open(0)
		require.Equal(t, first.res, at.res, "it is in the batch that was open")
		require.Equal(t, began.Add(5*time.Second).UnixMilli(), open.meta[at.index].timestamp)
	})
}

// A Send that gave up waiting for memory says for how long it waited.
func TestTheErrorOfAWaitForMemorySaysForHowLong(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		taken, err := r.acc.pool.tryAllocate(rigMemory)
		require.NoError(t, err)
		in := one("key", "value")
		_, err = r.acc.append(t.Context(), r.topic.queue(0), in, nil, &blockLimit{max: 3 * time.Second})
		failed, ok := errors.AsType[*Error](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, 3*time.Second, failed.Elapsed)
		r.acc.pool.release(taken)
	})
}

// A Send that waits for its node's share, while too little is free for it anyway, waits for every batch that comes back:
// lingers are cut for it.
func TestMemoryIsShortAlsoForANodeAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBufferPool(1000, 100)
		p.setNodes(1, 2)
		for range 5 {
			for _, node := range []int32{1, 2} {
				if _, err := p.share(node).tryAllocate(100); err != nil {
					p.share(node).overdraw(100)
				}
			}
		}
		free, _ := p.available()
		require.Less(t, free, int64(100))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := p.share(1).allocate(ctx, 100, &blockLimit{max: time.Minute})
			ended <- err
		}()
		synctest.Wait()
		require.True(t, p.share(1).full(100), "its share is used up")
		require.True(t, p.starved())
		cancel()
		require.Error(t, <-ended)
	})
}

// Between two looks at the queue the leader may change, and another Send may open a batch that counts for the new one. Memory that
// was taken for the old leader then goes back to it, also if the batch wants to grow by exactly as much.
func TestMemoryTakenForTheOldLeaderGoesBack(t *testing.T) {
	withRig(t, func(s *settings) { s.batchSize, s.bufferMemory = 256<<10, 1<<20 }, func(t *testing.T, r *rig) {
		q := r.topic.queue(0)
		old := r.acc.share(q)
		r.setLeaders([]int32{1, 1, 0, 0}, 1)
		r.append(0, "", "v") // of another Send, under the new leader
		open := r.open(0)
		in := one("", strings.Repeat("v", open.free())) // too large by its overhead
		need := r.acc.limits.nextChunk(open.batch, in.maxSize)
		require.NotZero(t, need, "the batch can grow")
		chunk, err := old.tryAllocate(need)
		require.NoError(t, err)
		_, err = r.acc.place(context.Background(), q, in, time.Now().UnixMilli(), nil, nil, old, chunk)
		require.NoError(t, err)
		require.Zero(t, old.heldBytes)
		require.EqualValues(t, r.open(0).batch.heldBytes, r.acc.share(q).heldBytes)
		require.EqualValues(t, r.cfg.bufferMemory, r.free()+r.acc.share(q).heldBytes, "nothing is lost")
	})
}
