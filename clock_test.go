package quill

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClockTicksOnlyUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCoarseClock()
		defer c.close()
		for range 10 * tickAfter { // at most tickAfter reads in a millisecond
			require.Equal(t, time.Now().UnixMilli(), c.millis())
			time.Sleep(time.Millisecond / tickAfter * 2)
		}
		require.Zero(t, c.ms.Load())
		for range tickAfter + 2 {
			require.Equal(t, time.Now().UnixMilli(), c.millis())
		}
		require.NotZero(t, c.ms.Load(), "a burst starts the ticker")
		for range 100 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			require.InDelta(t, time.Now().UnixMilli(), c.millis(), 1)
			require.NotZero(t, c.ms.Load())
		}
		time.Sleep(2 * idleTicks * time.Millisecond)
		synctest.Wait()
		require.Zero(t, c.ms.Load(), "without readers it ends")
		time.Sleep(time.Hour)
		require.Equal(t, time.Now().UnixMilli(), c.millis())
	})
}

func TestClockCloseEndsTheTicker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCoarseClock()
		for range tickAfter + 2 {
			c.millis()
		}
		c.close()
		c.close()
		require.Zero(t, c.ms.Load())
		for range 2 * tickAfter {
			require.Equal(t, time.Now().UnixMilli(), c.millis(), "reading goes on")
		}
		require.Zero(t, c.ms.Load())
	})
}

func TestClockReadsDoNotAllocate(t *testing.T) {
	c := newCoarseClock()
	defer c.close()
	require.Zero(t, testing.AllocsPerRun(tickAfter/4, func() { c.millis() }))
}
