package quill

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

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
