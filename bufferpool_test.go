package quill

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// within returns a limit on waiting that begins now.
func within(d time.Duration) *blockLimit { return &blockLimit{max: d} }

// unallocated returns the memory of the pool that was never handed out, or whose chunks were dropped.
func unallocated(p *bufferPool) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unallocated
}

func requirePool(t *testing.T, p *bufferPool, available int64, waiting int) {
	t.Helper()
	free, line := p.available()
	require.Equal(t, available, free)
	require.Equal(t, waiting, line)
}

func take(t *testing.T, p *bufferPool, size int) []byte {
	t.Helper()
	chunk, err := p.tryAllocate(size)
	require.NoError(t, err)
	require.Empty(t, chunk)
	require.Equal(t, size, cap(chunk))
	return chunk
}

// Java: BufferPoolTest.testSimple
func TestPoolKeepsChunksOfItsSizesOnly(t *testing.T) {
	const total, size = 64 * 1024, 1024
	p := newBufferPool(total, size)
	chunk := take(t, p, size)
	requirePool(t, p, total-size, 0)
	require.EqualValues(t, total-size, unallocated(p))

	p.release(append(chunk, 1, 2, 3))
	requirePool(t, p, total, 0)
	require.EqualValues(t, total-size, unallocated(p), "the chunk is kept")

	again := take(t, p, size)
	require.Same(t, &chunk[:1][0], &again[:1][0], "and handed out again")
	p.release(again)
	p.release(take(t, p, 2*size))
	requirePool(t, p, total, 0)
	require.EqualValues(t, total-size, unallocated(p), "a chunk of another size is not kept")
}

func TestPoolDropsKeptChunksForOtherSizes(t *testing.T) {
	p := newBufferPool(4096, 1024, 3072)
	chunks := [][]byte{take(t, p, 1024), take(t, p, 1024), take(t, p, 1024), take(t, p, 1024)}
	for _, c := range chunks {
		p.release(c)
	}
	require.EqualValues(t, 0, unallocated(p))
	p.release(take(t, p, 3072))
	requirePool(t, p, 4096, 0)
	require.EqualValues(t, 0, unallocated(p), "three small chunks went, a large one is kept")
	take(t, p, 4096)
	requirePool(t, p, 0, 0)
}

// Java: BufferPoolTest.testCantAllocateMoreMemoryThanWeHave
func TestPoolRefusesMoreThanItHasAtOnce(t *testing.T) {
	p := newBufferPool(1024, 512)
	p.release(take(t, p, 1024))
	_, err := p.tryAllocate(1025)
	require.ErrorIs(t, err, ErrRecordTooLarge)
	_, err = p.allocate(t.Context(), 1025, within(time.Hour))
	require.ErrorIs(t, err, ErrRecordTooLarge)
	requirePool(t, p, 1024, 0)
}

// Java: BufferPoolTest.testDelayedAllocation
func TestPoolServesAWaiterWhenMemoryComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBufferPool(5*1024, 1024)
		chunk := take(t, p, 1024)
		done := false
		go func() {
			got, err := p.allocate(t.Context(), 5*1024, within(time.Second))
			done = err == nil && cap(got) == 5*1024
		}()
		synctest.Wait()
		require.False(t, done)
		requirePool(t, p, 4*1024, 1)
		p.release(chunk)
		synctest.Wait()
		require.True(t, done, "in no time")
		requirePool(t, p, 0, 0)
	})
}

// Java: BufferPoolTest.testBufferExhaustedExceptionIsThrown
// Java: BufferPoolTest.testBlockTimeout
// Java: BufferPoolTest.testCleanupMemoryAvailabilityWaiterOnBlockTimeout
func TestPoolGivesUpAfterMaxBlockAndLeavesNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBufferPool(2, 1)
		take(t, p, 1)
		start := time.Now()
		_, err := p.allocate(t.Context(), 2, within(10*time.Millisecond))
		require.ErrorIs(t, err, ErrBufferExhausted)
		require.ErrorIs(t, err, ErrTimeout)
		require.Equal(t, 10*time.Millisecond, time.Since(start))
		requirePool(t, p, 1, 0)

		_, err = p.allocate(t.Context(), 2, within(0))
		require.ErrorIs(t, err, ErrBufferExhausted)
		require.Equal(t, 10*time.Millisecond, time.Since(start), "max.block.ms=0 does not wait")
		requirePool(t, p, 1, 0)
	})
}

// Java: BufferPoolTest.testCleanupMemoryAvailabilityWaiterOnInterruption
func TestPoolWaiterLeavesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBufferPool(2, 1)
		take(t, p, 1)
		cause := errors.New("no longer wanted")
		var errs [2]error
		var cancels [2]context.CancelCauseFunc
		for i := range errs {
			var ctx context.Context
			ctx, cancels[i] = context.WithCancelCause(t.Context())
			go func() { _, errs[i] = p.allocate(ctx, 2, within(5*time.Second)) }()
			synctest.Wait()
			requirePool(t, p, 1, i+1)
		}
		for i := range errs {
			cancels[i](cause)
			synctest.Wait()
			require.ErrorIs(t, errs[i], cause)
			requirePool(t, p, 1, 1-i)
		}
	})
}

// A waiter that gives up lets those behind it go on: they may fit into what it waited for.
func TestPoolServesTheNextWhenTheFirstGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBufferPool(4, 1)
		take(t, p, 2)
		ctx, cancel := context.WithCancel(t.Context())
		go p.allocate(ctx, 4, within(time.Hour))
		synctest.Wait()
		served := false
		go func() {
			_, err := p.allocate(t.Context(), 2, within(time.Hour))
			served = err == nil
		}()
		synctest.Wait()
		require.False(t, served, "it would fit, but it does not overtake")
		_, err := p.tryAllocate(1)
		require.ErrorIs(t, err, ErrWouldBlock, "nor does one that can't wait")
		cancel()
		synctest.Wait()
		require.True(t, served)
		requirePool(t, p, 0, 0)
	})
}

// M11
func TestPoolServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 8
		p := newBufferPool(n, 1)
		all := take(t, p, n)
		var order []int
		var mu sync.Mutex
		for i := range n {
			go func() {
				if chunk, err := p.allocate(t.Context(), n-i, within(time.Hour)); err == nil {
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
					p.release(chunk)
				}
			}()
			synctest.Wait()
		}
		p.release(all)
		synctest.Wait()
		require.Len(t, order, n)
		require.Equal(t, []int{0, 1, 2, 3}, order[:4], "of these, no two fit beside each other")
		requirePool(t, p, n, 0)
	})
}

// Java: BufferPoolTest.testCleanupMemoryAvailabilityOnMetricsException
// Java: BufferPoolTest.outOfMemoryOnAllocation
func TestPoolKeepsItsAccountsThroughPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBufferPool(1024, 512)
		raw := p.raw
		p.raw = func(int) []byte { panic("no memory") }
		require.PanicsWithValue(t, "no memory", func() { _, _ = p.tryAllocate(1024) })
		requirePool(t, p, 1024, 0)

		p.raw = raw
		chunk := take(t, p, 1000)
		p.raw = func(int) []byte { panic("no memory") }
		var caught any
		go func() {
			defer func() { caught = recover() }()
			_, _ = p.allocate(t.Context(), 1024, within(time.Hour))
		}()
		synctest.Wait()
		requirePool(t, p, 24, 1)
		p.release(chunk)
		synctest.Wait()
		require.Equal(t, "no memory", caught, "the waiter was served, and could not be")
		requirePool(t, p, 1024, 0)
		p.raw = raw
		take(t, p, 1024)
	})
}

// Java: BufferPoolTest.testStressfulSituation
func TestPoolIsWholeAfterAStorm(t *testing.T) {
	const callers, each, size = 10, 1000, 1024
	p := newBufferPool(callers/2*size, size, 2*size)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			for range each {
				n := []int{size, 2 * size, 1 + rnd.IntN(callers/2*size-1)}[rnd.IntN(3)]
				ctx, cancel := context.WithCancel(context.Background())
				if rnd.IntN(4) == 0 {
					time.AfterFunc(time.Duration(rnd.IntN(20))*time.Microsecond, cancel)
				}
				chunk, err := p.allocate(ctx, n, within(20*time.Second))
				switch {
				case err == nil:
					if cap(chunk) != n {
						t.Errorf("asked for %d, got %d", n, cap(chunk))
					}
					p.release(chunk)
				case !errors.Is(err, context.Canceled):
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	requirePool(t, p, callers/2*size, 0)
}

// Java: BufferPoolTest.testLargeAvailableMemory
func TestPoolCountsIn64Bits(t *testing.T) {
	const total, size = 20_000_000_000, 2_000_000_000
	p := newBufferPool(total, size)
	for i := range int64(4) { // reserve only: a test can't have 20 GB
		p.mu.Lock()
		require.Nil(t, p.takeLocked(p.memoryShare, size))
		p.mu.Unlock()
		requirePool(t, p, total-(i+1)*size, 0)
	}
	for i := range int64(4) {
		p.giveBack(size, nil)
		requirePool(t, p, total-(3-i)*size, 0)
	}
}

// Java: BufferPoolTest.testCloseAllocations
func TestPoolTakesMemoryBackAfterClose(t *testing.T) {
	p := newBufferPool(10, 1)
	chunk := take(t, p, 1)
	p.close()
	_, err := p.tryAllocate(1)
	require.ErrorIs(t, err, ErrClosed)
	_, err = p.allocate(t.Context(), 1, within(time.Hour))
	require.ErrorIs(t, err, ErrClosed)
	p.release(chunk)
	requirePool(t, p, 10, 0)
}

// Java: BufferPoolTest.testCloseNotifyWaiters
func TestPoolWakesAllWaitersOnClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBufferPool(1, 1)
		chunk := take(t, p, 1)
		var errs [2]error
		for i := range errs {
			go func() { _, errs[i] = p.allocate(t.Context(), 1, within(time.Hour)) }()
		}
		synctest.Wait()
		requirePool(t, p, 0, 2)
		p.close()
		synctest.Wait()
		for _, err := range errs {
			require.ErrorIs(t, err, ErrClosed)
		}
		p.release(chunk)
		requirePool(t, p, 1, 0)
	})
}

func TestPoolTellsThatSomebodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBufferPool(2, 1)
		told := 0
		p.onWait = func() {
			_, waiting := p.available() // called without the lock, with the waiter in line
			told += waiting
		}
		take(t, p, 1)
		_, err := p.allocate(t.Context(), 2, within(time.Millisecond))
		require.ErrorIs(t, err, ErrBufferExhausted)
		require.Equal(t, 1, told)
	})
}

func TestPoolOverdrawIsPaidBackFirst(t *testing.T) {
	p := newBufferPool(2048, 1024)
	first, second := take(t, p, 1024), take(t, p, 1024)
	part := p.overdraw(100)
	requirePool(t, p, -100, 0)
	p.release(first)
	_, err := p.tryAllocate(1024)
	require.ErrorIs(t, err, ErrWouldBlock, "924 are left")
	p.release(part)
	p.release(take(t, p, 1024))
	p.release(second)
	requirePool(t, p, 2048, 0)
}

// Memory is short if a Send waits for more than is free, or behind one who does, however much is free.
func TestMemoryIsShortAlthoughSomeIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, one, two := sharedPool(100)
		require.False(t, p.starved())
		held := take(t, p, 50*1024)
		var wg sync.WaitGroup
		for _, c := range []struct {
			share *memoryShare
			size  int
		}{{one, 60 * 1024}, {two, 1024}} {
			wg.Go(func() {
				if chunk, err := c.share.allocate(t.Context(), c.size, within(time.Hour)); err == nil {
					c.share.release(chunk)
				}
			})
			synctest.Wait()
			require.True(t, p.starved())
		}
		requirePool(t, p, 50*1024, 2)
		p.release(held)
		wg.Wait()
		require.False(t, p.starved())
	})
}

// M11: one request for half of the memory among 64 senders that take a little all the time. It is
// served within one turnover of the pool: while it waits no more than the pool holds goes to others.
func TestPoolServesALargeRequestWithinOneTurnover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const small, large, senders = 1 << 10, 16 << 20, 64
		p := newBufferPool(large+senders/2*small, small)
		var stop atomic.Bool
		var taken atomic.Int64
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for !stop.Load() {
					chunk, err := p.allocate(t.Context(), small, within(time.Minute))
					if err != nil {
						t.Error(err)
						return
					}
					taken.Add(small)
					time.Sleep(10 * time.Millisecond)
					p.release(chunk)
				}
			})
		}
		for range 20 {
			time.Sleep(25 * time.Millisecond)
			before, start := taken.Load(), time.Now()
			chunk, err := p.allocate(t.Context(), large, within(time.Minute))
			require.NoError(t, err)
			require.LessOrEqual(t, time.Since(start), 10*time.Millisecond)
			require.LessOrEqual(t, taken.Load()-before, p.capacity)
			p.release(chunk)
		}
		stop.Store(true)
		wg.Wait()
		requirePool(t, p, p.capacity, 0)
	})
}

// M12: more memory than a process can address is a fault of the configuration, on any platform.
func TestBufferMemoryMustBeAddressable(t *testing.T) {
	const threeGiB = int64(3 << 30)
	cfg := Config{BootstrapServers: []string{"a:1"}, BufferMemory: threeGiB}
	s, err := cfg.resolve()
	if math.MaxInt == math.MaxInt32 {
		e, ok := err.(*ConfigError)
		require.True(t, ok, "%v", err)
		require.Len(t, e.Faults, 1)
		require.Equal(t, "buffer.memory", e.Faults[0].Name)
		return
	}
	require.NoError(t, err)
	require.Equal(t, threeGiB, s.bufferMemory)

	require.Equal(t, "", addressable(threeGiB, math.MaxInt64))
	require.Equal(t, "", addressable(math.MaxInt32, math.MaxInt32))
	require.NotEmpty(t, addressable(threeGiB, math.MaxInt32))
}
