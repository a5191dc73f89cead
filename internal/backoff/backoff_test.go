package backoff

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

func fixed(f float64) func() float64 { return func() float64 { return f } }

// Java: ExponentialBackoffTest.testExponentialBackoffWithoutJitter
func TestDoublesUpToTheMaximum(t *testing.T) {
	b := New(100*ms, 1000*ms)
	for attempts, want := range []time.Duration{100, 200, 400, 800, 1000, 1000, 1000} {
		require.Equal(t, want*ms, b.Next(attempts, fixed(0.5)), "attempts %d", attempts)
	}
}

// Java: ExponentialBackoffTest.testExponentialBackoff
func TestJitterStaysWithinTwentyPercentAndUnderTheMaximum(t *testing.T) {
	b := New(100*ms, 1000*ms)
	rnd := rand.New(rand.NewPCG(1, 1))
	for attempts := range 12 {
		middle := min(100*ms<<attempts, 1000*ms)
		low, high := time.Hour, time.Duration(0)
		for range 2000 {
			d := b.Next(attempts, rnd.Float64)
			low, high = min(low, d), max(high, d)
		}
		require.GreaterOrEqual(t, low, middle*8/10)
		require.LessOrEqual(t, high, min(middle*12/10, 1000*ms))
		require.Less(t, low, middle*82/100, "the jitter is used to its full width")
		require.Greater(t, high, min(middle*118/100, 990*ms))
	}
}

// Kafka: CommonClientConfigs.warnDisablingExponentialBackoff.
func TestInitialNotBelowMaximumIsConstant(t *testing.T) {
	for _, b := range []Backoff{New(2000*ms, 1000*ms), New(1000*ms, 1000*ms)} {
		for attempts := range 5 {
			require.Equal(t, 1000*ms, b.Next(attempts, fixed(0)))
			require.Equal(t, 1000*ms, b.Next(attempts, fixed(0.999)))
		}
	}
}

func TestZeroNeverWaits(t *testing.T) {
	require.Zero(t, Backoff{}.Next(3, fixed(0.9)))
	require.Zero(t, New(0, time.Second).Next(3, fixed(0.9)))
	require.Zero(t, New(-time.Second, -time.Second).Next(3, fixed(0.9)))
}

func TestHugeAttemptsAndDurationsDoNotOverflow(t *testing.T) {
	for _, attempts := range []int{-1, 62, 63, 64, 1 << 20, math.MaxInt} {
		d := New(time.Nanosecond, math.MaxInt64).Next(attempts, fixed(0.999999))
		require.Positive(t, d, "attempts %d", attempts)
		require.Equal(t, time.Second, New(ms, time.Second).Next(max(attempts, 11), fixed(0.5)))
	}
}
