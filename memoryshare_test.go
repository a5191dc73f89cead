package quill

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// sharedPool is a pool of n chunks of 1 KiB in a cluster with nodes 1 and 2, both in use.
func sharedPool(n int64) (p *bufferPool, one, two *memoryShare) {
	p = newBufferPool(n*1024, 1024)
	p.setNodes(3)
	return p, p.share(1), p.share(2)
}

// fillUp takes chunks until the share has no more.
func fillUp(t *testing.T, s *memoryShare) (chunks [][]byte) {
	t.Helper()
	for {
		chunk, err := s.tryAllocate(1024)
		if err != nil {
			require.ErrorIs(t, err, ErrWouldBlock)
			return chunks
		}
		chunks = append(chunks, chunk)
	}
}

func TestANodeHoldsAtMostFourTimesWhatIsFree(t *testing.T) {
	p, one, two := sharedPool(100)
	require.Len(t, fillUp(t, one), 80)
	requirePool(t, p, 20*1024, 0)
	require.Len(t, fillUp(t, two), 16, "the other one has its share of what is left")
	third := p.share(3)
	require.Len(t, fillUp(t, third), 3)
	chunk, err := p.tryAllocate(1024)
	require.NoError(t, err, "what belongs to no node has no share")
	p.release(chunk)
	require.Empty(t, fillUp(t, one))
}

func TestNodesThatFillTheirPartsUseAllOfTheBuffer(t *testing.T) {
	p, one, two := sharedPool(99)
	third := p.share(3)
	var ofThird [][]byte
	for range 33 {
		for _, s := range []*memoryShare{one, two} {
			_, err := s.tryAllocate(1024)
			require.NoError(t, err)
		}
		chunk, err := third.tryAllocate(1024)
		require.NoError(t, err)
		ofThird = append(ofThird, chunk)
	}
	requirePool(t, p, 0, 0)

	for _, chunk := range ofThird {
		third.release(chunk)
	}
	require.Len(t, fillUp(t, one), 19, "52 are at most four times the 14 that stay free")
	require.Len(t, fillUp(t, two), 4, "37 are at most four times 10")
	require.Len(t, fillUp(t, third), 10, "its part is 33, and the others hold 23 beyond theirs")
	requirePool(t, p, 0, 0)
}

func TestWhatBelongsToNoNodeIsTakenOffTheParts(t *testing.T) {
	p, one, two := sharedPool(99)
	for range 10 {
		_, err := p.tryAllocate(1024)
		require.NoError(t, err)
	}
	require.Len(t, fillUp(t, p.share(unknownNode)), 71, "it has no part")
	require.Len(t, fillUp(t, one), 14)
	require.Len(t, fillUp(t, two), 3)
}

func TestPartsFollowTheNumberOfNodes(t *testing.T) {
	p, one, two := sharedPool(100)
	require.Len(t, fillUp(t, one), 80)
	p.setNodes(2)
	require.Len(t, fillUp(t, two), 20, "80 are 30 beyond one half")
	requirePool(t, p, 0, 0)
}

func TestWhereThereIsNobodyToShareWithANodeMayHoldAll(t *testing.T) {
	p, one, _ := sharedPool(100)
	p.setNodes(1)
	require.Len(t, fillUp(t, one), 100)

	p = newBufferPool(100*1024, 1024)
	p.setNodes(3)
	require.Len(t, fillUp(t, p.share(1)), 100, "records went to one node only")
	require.Empty(t, fillUp(t, p.share(unknownNode)))
}

func TestANodeThatHoldsNothingGetsTheLastChunk(t *testing.T) {
	p, one, two := sharedPool(2)
	require.Len(t, fillUp(t, one), 1)
	require.Len(t, fillUp(t, two), 1)
	requirePool(t, p, 0, 0)
}

func TestWhoWaitsForHisNodesShareIsPassedBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, one, two := sharedPool(100)
		held := fillUp(t, one)
		done := make(chan error, 1)
		go func() {
			_, err := one.allocate(t.Context(), 1024, within(time.Hour))
			done <- err
		}()
		synctest.Wait()
		require.False(t, p.short(), "there is memory, for others")
		require.EqualValues(t, 1, one.waiters.Load())
		_, err := one.tryAllocate(1024)
		require.ErrorIs(t, err, ErrWouldBlock, "nobody overtakes within a node")
		chunk, err := two.tryAllocate(1024)
		require.NoError(t, err)
		two.release(chunk)

		one.release(held[0])
		require.NoError(t, <-done)
		require.Zero(t, one.waiters.Load())
		requirePool(t, p, int64(100-len(held))*1024, 0)
	})
}

func TestLinesOfNodesAreServedInOrderOfArrivalAsSharesAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, one, two := sharedPool(10)
		var taken [][]byte
		for range 10 {
			taken = append(taken, take(t, p, 1024))
		}
		served := make(chan int, 5)
		for i, s := range []*memoryShare{two, one, two, p.memoryShare, one} {
			go func() {
				if _, err := s.allocate(t.Context(), 1024, within(time.Hour)); err != nil {
					t.Error(err)
				}
				served <- i
			}()
			synctest.Wait()
		}
		require.True(t, p.short())
		var order []int
		for _, chunk := range taken {
			p.release(chunk)
			synctest.Wait()
			if len(served) > 0 {
				order = append(order, <-served)
			}
			require.Empty(t, served)
		}
		require.Equal(t, []int{0, 1, 3, 2, 4}, order, "a second chunk for a node takes one more that is free")
	})
}

func TestALargeRecordIsNotPassedByForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, one, two := sharedPool(100)
		stop := make(chan struct{})
		for range 64 {
			go func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					chunk, err := two.allocate(t.Context(), 1024, within(time.Hour))
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(time.Millisecond)
					two.release(chunk)
				}
			}()
		}
		time.Sleep(time.Second)
		chunk, err := one.allocate(t.Context(), 60*1024, within(10*time.Millisecond))
		require.NoError(t, err)
		one.release(chunk)
		close(stop)
		time.Sleep(time.Second)
		requirePool(t, p, 100*1024, 0)
	})
}

func TestARecordThatCanNeverFitItsShareDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, two := sharedPool(100)
		fillUp(t, one)
		done := make(chan error, 1)
		go func() {
			_, err := one.allocate(t.Context(), 60*1024, within(time.Minute))
			done <- err
		}()
		synctest.Wait()
		chunk, err := two.tryAllocate(1024)
		require.NoError(t, err)
		two.release(chunk)
		err = <-done
		require.ErrorIs(t, err, ErrBufferExhausted)
		require.ErrorContains(t, err, "the node that leads the partition already holds most of it")
	})
}

func TestOnlyTheLingersOfACrowdedNodeAreCut(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = time.Hour; s.bufferMemory = 20 * rigBatch; s.maxBlock = time.Minute }, func(t *testing.T, r *rig) {
		r.shares = true
		r.setLeaders(rigLeaders, 0)
		r.append(2, "", "of node 1")
		r.append(1, "", "of node 0")
		for range 2 * 20 {
			in := one("", string(make([]byte, 800)))
			if _, err := r.acc.append(t.Context(), r.topic.queue(0), in, nil, nil); err != nil {
				require.ErrorIs(t, err, ErrWouldBlock)
				break
			}
		}
		done := make(chan error, 1)
		go func() {
			_, err := r.acc.append(t.Context(), r.topic.queue(0), one("", string(make([]byte, 800))), nil, within(r.cfg.maxBlock))
			done <- err
		}()
		synctest.Wait()
		require.Equal(t, []int32{0}, r.ready())
		require.NotNil(t, r.topic.queue(1).out.ring, "its batch lingers no more")
		require.Nil(t, r.topic.queue(2).out.ring)
		require.Len(t, r.drain(0), 2)
		r.answer(0, accepted(0))
		r.dispatch()
		require.NoError(t, <-done)
	})
}
