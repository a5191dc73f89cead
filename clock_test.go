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

// A ticker that does not get to run, as on a machine without a processor to spare, makes nothing older than its batch.
func TestTimestampsAreNotOlderThanTheirBatch(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		stale := time.Now().UnixMilli()
		r.acc.clock.ms.Store(stale) // the last tick there is
		time.Sleep(260 * time.Millisecond)
		sent := time.Now().UnixMilli()
		stamp := func(in *appendInput) int64 {
			f := r.appendInput(0, in)
			return r.open(0).meta[f.index].timestamp
		}
		untimed := func() *appendInput {
			in := one("", "x")
			in.timestamp = -1
			return in
		}
		require.Equal(t, sent, stamp(untimed()), "it opens a batch")
		require.Equal(t, sent, stamp(untimed()), "it joins it")

		time.Sleep(5 * time.Millisecond)
		require.Equal(t, sent, stamp(untimed()), "since then nobody has looked")
		turn := time.Now()
		r.s.step(turn)
		require.Equal(t, turn.UnixMilli(), stamp(untimed()), "the sender has")

		given := one("", "x")
		given.timestamp = 42
		require.EqualValues(t, 42, stamp(given))
		given.timestamp = 43
		r.appendInput(1, given)
		require.EqualValues(t, 43, r.open(1).meta[0].timestamp, "opening a batch changes no time that was given")
	})
}

func TestARecordThatWaitedForMemoryHasTheTimeWhenItGotSome(t *testing.T) {
	withRig(t, func(s *settings) { s.bufferMemory = rigBatch }, func(t *testing.T, r *rig) {
		share := r.acc.share(r.topic.queue(0))
		hogged, err := share.tryAllocate(rigBatch)
		require.NoError(t, err)
		r.acc.clock.ms.Store(time.Now().UnixMilli())
		time.AfterFunc(500*time.Millisecond, func() { share.release(hogged) })
		in := one("", "x")
		in.timestamp = -1
		_, err = r.acc.append(t.Context(), r.topic.queue(0), in, nil, &blockLimit{max: time.Second})
		require.NoError(t, err)
		require.Equal(t, time.Now().UnixMilli(), r.open(0).meta[0].timestamp)
	})
}

func TestReadingsOfTheClockDoNotGoBack(t *testing.T) {
	for _, c := range []struct{ is, reading, want int64 }{
		{0, 5000, 0}, // no ticker: all read the real clock
		{5000, 5001, 5001},
		{-5000, 5001, -5001}, // not read yet
		{5000, 5000, 5000},
		{5000, 4999, 5000}, // another goroutine read it before and has not passed it on
		{5000, 4000, 5000},
		{5000, 3999, 3999}, // the clock was set
		{-5000, 3999, -3999},
	} {
		var clock coarseClock
		clock.ms.Store(c.is)
		clock.advance(c.reading)
		require.Equal(t, c.want, clock.ms.Load(), c)
	}
}
