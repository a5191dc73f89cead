package stat

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Java's defaults: metrics.num.samples, metrics.sample.window.ms.
func defaults() *Windows { return &Windows{Samples: 2, Length: 30 * time.Second, Began: time.Now()} }

// two counts an event of each of two kinds.
func two(s *Sensor, a, b float64) {
	k := s.Begin(time.Now())
	k.Add(0, a)
	k.Add(1, b)
	s.End()
}

// TestASensorWithoutEventsHasRateZeroAndNoAverage: as in Java, where avg and max are NaN.
func TestASensorWithoutEventsHasRateZeroAndNoAverage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, s := range []*Sensor{nil, NewSensor(defaults())} {
			for _, r := range s.Read(time.Now()) {
				require.Zero(t, r.Count)
				require.Zero(t, r.CountRate)
				require.Zero(t, r.Rate)
				require.True(t, math.IsNaN(r.Avg))
				require.True(t, math.IsNaN(r.Max))
			}
		}
	})
}

// TestTheFirstWindowCountsAsIfOthersHadPassed, as in Java's Rate.
func TestTheFirstWindowCountsAsIfOthersHadPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSensor(defaults())
		two(s, 90, 0)
		require.InDelta(t, 90.0/30, s.Read(time.Now())[0].Rate, 1e-9, "one window is missing")
		time.Sleep(15 * time.Second)
		require.InDelta(t, 90.0/45, s.Read(time.Now())[0].Rate, 1e-9)
		time.Sleep(15 * time.Second)
		require.InDelta(t, 90.0/30, s.Read(time.Now())[0].Rate, 1e-9, "a whole window has passed: none is missing")
		time.Sleep(29 * time.Second)
		require.InDelta(t, 90.0/59, s.Read(time.Now())[0].Rate, 1e-9)
		time.Sleep(time.Second)
		r := s.Read(time.Now())
		require.Zero(t, r[0].Rate, "the window is too old")
		require.True(t, math.IsNaN(r[0].Avg))
		require.Equal(t, 90.0, r[0].Total, "of all time")
	})
}

// TestAWindowEndsWithTheFirstEventAfterIt, and a window with a recent event is kept whole, however long ago it began.
func TestAWindowEndsWithTheFirstEventAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSensor(defaults())
		two(s, 8, 1)
		time.Sleep(29 * time.Second)
		two(s, 4, -1)
		time.Sleep(31 * time.Second)
		two(s, 6, 0) // 60 s: the next window
		r := s.Read(time.Now())
		require.Equal(t, 8.0, r[0].Max, "the window's last event is 31 s old, so all of it counts")
		require.Equal(t, 6.0, r[0].Avg)
		require.Equal(t, 1.0, r[1].Max)
		require.InDelta(t, 18.0/60, r[0].Rate, 1e-9)
		require.InDelta(t, 3.0/60, r[0].CountRate, 1e-9)
		time.Sleep(29 * time.Second)
		r = s.Read(time.Now()) // 89 s: the first window's last event was 60 s ago
		require.Equal(t, 6.0, r[0].Max)
		require.Equal(t, 18.0, r[0].Total)
		require.Equal(t, 3.0, r[1].Count)
	})
}

// TestNegativeMaximaAreNotZero: a window without events has no maximum.
func TestNegativeMaximaAreNotZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSensor(defaults())
		two(s, -3, -5)
		time.Sleep(31 * time.Second)
		two(s, -4, -6)
		require.Equal(t, -3.0, s.Read(time.Now())[0].Max)
		require.Equal(t, -5.0, s.Read(time.Now())[1].Max)
	})
}

// TestASteadyStreamHasItsRate: a steady stream has its rate at any time, with any number of windows.
func TestASteadyStreamHasItsRate(t *testing.T) {
	for _, samples := range []int{1, 2, 3, 10} {
		synctest.Test(t, func(t *testing.T) {
			s := NewSensor(&Windows{Samples: samples, Length: 10 * time.Second, Began: time.Now()})
			for i := range 3000 {
				two(s, 1, 0)
				time.Sleep(100 * time.Millisecond)
				if i > samples*100 && i%7 == 0 {
					rate := s.Read(time.Now())[0].Rate
					require.InDelta(t, 10, rate, 10.1/float64(samples), "after %d", i)
				}
			}
		})
	}
}

// TestWindowsOfNoLengthDoNotDivideByZero: Java takes metrics.sample.window.ms=0, and then fails to measure.
func TestWindowsOfNoLengthDoNotDivideByZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSensor(&Windows{Samples: 1, Began: time.Now()})
		two(s, 1, 0)
		require.Equal(t, 1000.0, s.Read(time.Now())[0].Rate)
	})
}

// TestManyEventsAtOnceAreAsManyOneByOne, as a write of several requests counts them.
func TestManyEventsAtOnceAreAsManyOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, many := NewSensor(defaults()), NewSensor(defaults())
		for _, v := range []float64{-7, -2, -9} {
			one.Record(time.Now(), v)
		}
		many.Begin(time.Now()).AddMany(0, 3, -18, -2)
		many.End()
		require.Equal(t, one.Read(time.Now())[0], many.Read(time.Now())[0])
	})
}

// TestTotalsKeepWhatLeavesTheWindows, whether an event takes its place or a reader finds it too old.
func TestTotalsKeepWhatLeavesTheWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSensor(&Windows{Samples: 2, Length: time.Second, Began: time.Now()})
		for i := range 100 {
			two(s, 1, 2)
			time.Sleep(time.Duration(i%5) * 700 * time.Millisecond)
			r := s.Read(time.Now())
			require.EqualValues(t, i+1, r[0].Total)
			require.EqualValues(t, 2*(i+1), r[1].Total)
			require.EqualValues(t, i+1, r[1].Count)
		}
		unread := NewSensor(&Windows{Samples: 2, Length: time.Second, Began: time.Now()})
		for range 10 {
			two(unread, 1, 2)
			time.Sleep(time.Second)
		}
		require.EqualValues(t, 20, unread.Read(time.Now())[1].Total)
	})
}

// TestHugeWindowsDoNotOverflow: metrics.num.samples and metrics.sample.window.ms may be as large as their types.
func TestHugeWindowsDoNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSensor(&Windows{Samples: math.MaxInt32, Length: math.MaxInt64, Began: time.Now()})
		s.Record(time.Now(), 5)
		time.Sleep(time.Hour)
		r := s.Read(time.Now())[0]
		require.Equal(t, 5.0, r.Avg)
		require.Positive(t, r.Rate)
		require.Less(t, r.Rate, 1e-9)
	})
}

// TestReadingWhileOthersRecord is for the race detector.
func TestReadingWhileOthersRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := NewSensor(defaults()), NewHistogram(defaults())
		for range 4 {
			go func() {
				for range 100 {
					two(s, 1, 2)
					h.Record(time.Now(), time.Millisecond, 1)
				}
			}()
		}
		for range 10 {
			s.Read(time.Now())
			h.Read(time.Now())
		}
		synctest.Wait()
		require.Equal(t, 400.0, s.Read(time.Now())[0].Count)
		total, recent := h.Read(time.Now())
		require.EqualValues(t, 400, total.N)
		require.Equal(t, total, recent)
	})
}

// TestBucketsAreAnEighthWide: each duration is in the bucket between whose bounds it is, and these are an eighth apart.
func TestBucketsAreAnEighthWide(t *testing.T) {
	for i := 1; i < Buckets-1; i++ {
		from, to := Bound(i-1), Bound(i)
		require.Less(t, from, to)
		require.LessOrEqual(t, float64(to-from), float64(from)/8+1)
		require.Equal(t, i, bucket(from))
		require.Equal(t, i, bucket(to-1))
	}
	require.Equal(t, 0, bucket(0))
	require.Equal(t, Buckets-1, bucket(time.Hour))
	require.EqualValues(t, -1, Bound(Buckets-1))
}

// TestQuantilesAreThoseOfTheDurations, to the width of a bucket.
func TestQuantilesAreThoseOfTheDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		h := NewHistogram(defaults())
		var all []time.Duration
		for range 10_000 {
			d := time.Duration(math.Exp(random.NormFloat64()) * float64(5*time.Millisecond))
			all = append(all, d)
			h.Record(time.Now(), d, 1)
		}
		slices.Sort(all)
		_, recent := h.Read(time.Now())
		for _, q := range []float64{0.5, 0.9, 0.99, 0.999} {
			want := all[int(q*float64(len(all)))-1]
			require.InEpsilon(t, want, recent.Quantile(q), 0.07, "quantile %v", q)
		}
		require.Equal(t, all[len(all)-1], recent.Quantile(1))
		require.Equal(t, all[len(all)-1], recent.Max)
	})
}

// TestOldDurationsLeaveTheWindows, but not the counts of all time.
func TestOldDurationsLeaveTheWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHistogram(defaults())
		h.Record(time.Now(), time.Hour, 3)
		h.Record(time.Now(), -1, 1)
		total, recent := h.Read(time.Now())
		require.Equal(t, total, recent)
		require.Equal(t, time.Hour, recent.Quantile(1))
		time.Sleep(time.Minute)
		total, recent = h.Read(time.Now())
		require.EqualValues(t, 4, total.N)
		require.Equal(t, 3*time.Hour, total.Sum)
		require.Zero(t, recent.N)
		require.Zero(t, recent.Quantile(0.5))
	})
}

// TestRecordingAllocatesNothing once the windows are there.
func TestRecordingAllocatesNothing(t *testing.T) {
	s, h, now := NewSensor(defaults()), NewHistogram(defaults()), time.Now()
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Second)
		s.Record(now, 1)
		h.Record(now, time.Millisecond, 7)
	}), 0.02)
}

func BenchmarkRecord(b *testing.B) {
	s, now := NewSensor(defaults()), time.Now()
	for b.Loop() {
		s.Record(now, 1)
	}
}

func BenchmarkRecordHistogram(b *testing.B) {
	h, now := NewHistogram(defaults()), time.Now()
	for b.Loop() {
		h.Record(now, 3*time.Millisecond, 7)
	}
}
