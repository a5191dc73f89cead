package stat

import (
	"math/bits"
	"sync"
	"time"
)

// Histogram counts durations in buckets whose bounds grow by an eighth of a power of two: the bounds of a bucket are at most
// an eighth apart, from a microsecond to more than four minutes. It keeps the counts of all time, and of the windows, as a
// Sensor does. It may be used concurrently.
type Histogram struct {
	windows *Windows

	mu sync.Mutex
	// +checklocks:mu
	ring ring[Counts]
	// +checklocks:mu
	total Counts
}

// Counts is how many durations were in each bucket.
type Counts struct {
	N       int64         // how many there were
	Sum     time.Duration // of all
	Max     time.Duration // the longest
	Buckets [Buckets]int64
}

const (
	lowest  = 10 // the first bucket ends at 2^lowest nanoseconds, about a microsecond
	highest = 38 // the last begins at 2^highest nanoseconds, 4.6 minutes
	each    = 3  // each power of two has 2^each buckets

	// Buckets is how many buckets there are.
	Buckets = (highest-lowest)<<each + 2
)

// NewHistogram returns a histogram without durations. The windows must not change.
func NewHistogram(w *Windows) *Histogram { return &Histogram{windows: w} }

// Record counts the duration n times. One below zero counts as zero.
func (h *Histogram) Record(now time.Time, d time.Duration, n int64) {
	d = max(d, 0)
	at := now.Sub(h.windows.Began)
	h.mu.Lock()
	if len(h.ring.samples) == 0 || at-h.ring.samples[h.ring.current].start >= h.windows.length() {
		h.ring.advance(h.windows, at)
	}
	x := &h.ring.samples[h.ring.current]
	x.last = at
	x.data.add(d, n)
	h.total.add(d, n)
	h.mu.Unlock()
}

func (c *Counts) add(d time.Duration, n int64) {
	c.N += n
	c.Sum += d * time.Duration(n)
	c.Max = max(c.Max, d)
	c.Buckets[bucket(d)] += n
}

// bucket returns the number of the bucket of a duration.
func bucket(d time.Duration) int {
	if d < 1<<lowest {
		return 0
	}
	e := bits.Len64(uint64(d)) - 1
	if e >= highest {
		return Buckets - 1
	}
	return 1 + (e-lowest)<<each + int(d>>(e-each))&(1<<each-1)
}

// Bound returns where a bucket ends: its durations are less than that. The last one has no end; its bound is -1.
func Bound(bucket int) time.Duration {
	if bucket >= Buckets-1 {
		return -1
	}
	e, part := bucket>>each, bucket&(1<<each-1)
	return time.Duration(1<<each+part) << (lowest + e - each)
}

// Read returns the counts of all time and those of the windows.
func (h *Histogram) Read(now time.Time) (total, recent Counts) {
	at := now.Sub(h.windows.Began)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ring.elapsed(h.windows, at, func(Counts) {})
	for i := range h.ring.samples {
		recent.merge(&h.ring.samples[i].data)
	}
	return h.total, recent
}

func (c *Counts) merge(other *Counts) {
	c.N += other.N
	c.Sum += other.Sum
	c.Max = max(c.Max, other.Max)
	for i, n := range other.Buckets {
		c.Buckets[i] += n
	}
}

// Quantile returns the duration that q of all (0.99: of a hundred, 99) do not exceed, to the precision of a bucket; zero if there are none.
func (c *Counts) Quantile(q float64) time.Duration {
	if c.N == 0 {
		return 0
	}
	rank := q * float64(c.N)
	below := float64(0)
	for i, n := range c.Buckets {
		if n == 0 || below+float64(n) < rank {
			below += float64(n)
			continue
		}
		from, to := time.Duration(0), Bound(i)
		if i > 0 {
			from = Bound(i - 1)
		}
		if to < 0 || to > c.Max {
			to = c.Max
		}
		return from + time.Duration(float64(to-from)*max(0, rank-below)/float64(n))
	}
	return c.Max
}
