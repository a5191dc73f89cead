// Package stat counts events and what they measure, over all time and over the last windows, by the rules of Java's
// org.apache.kafka.common.metrics (Sensor with Meter, Avg and Max).
//
// A Sensor keeps Windows.Samples windows of time and one more, because the present one has only begun. An event goes to the
// newest window; once that is Windows.Length old, the next event begins another, which takes the place of the oldest. A
// window without an event for Samples times Length is empty when it is read. So nothing runs in between: a producer without
// events needs no timer, and reading does the rest.
//
//	      Length        Length       so far
//	|-------------|-------------|--------
//	  oldest                      newest       Rate = sum of all / age of the oldest
//
// In the first windows, when less than Samples-1 of them have passed, those that are missing count as if they had passed
// without an event. Otherwise the first event would be a rate of hundreds a second.
package stat

import (
	"math"
	"sync"
	"time"
)

// Windows says over which time rates, averages and maxima are taken.
//
// Java: MetricConfig, of metrics.num.samples and metrics.sample.window.ms.
type Windows struct {
	Samples int           // at least 1
	Length  time.Duration // of each; less than a millisecond counts as one
	Began   time.Time     // times are counted from here, by the monotonic clock
}

// length returns how long a window is.
func (w *Windows) length() time.Duration { return max(w.Length, time.Millisecond) }

// age returns how long a window without an event counts.
func (w *Windows) age() time.Duration {
	if length := w.length(); time.Duration(w.Samples) <= math.MaxInt64/length {
		return time.Duration(w.Samples) * length
	}
	return math.MaxInt64
}

// Sensor counts events of up to four kinds, each with a value. It may be used concurrently.
//
// What happens together shares a sensor: the batches of a request, their sizes and how long they waited need one look at
// the windows, and one lock. Java has a sensor for each; the numbers are the same as long as the kinds begin together.
//
// Java: Sensor with Meter, Avg, Max, WindowedCount and CumulativeSum.
type Sensor struct {
	windows *Windows

	mu sync.Mutex
	// +checklocks:mu
	ring ring[Kinds]
	// +checklocks:mu
	past Kinds // of windows that are no more
}

// Kinds is what a window has of each kind of event.
type Kinds [4]events

// events are those of one kind in a window.
type events struct{ n, sum, max float64 }

// NewSensor returns a sensor without events. The windows must not change.
func NewSensor(w *Windows) *Sensor { return &Sensor{windows: w} }

// Record counts one event of kind 0.
func (s *Sensor) Record(now time.Time, v float64) {
	s.Begin(now).Add(0, v)
	s.End()
}

// Begin returns what to add events to that happen now. It locks the sensor until End.
//
// +checklocksacquire:s.mu
func (s *Sensor) Begin(now time.Time) *Kinds {
	at := now.Sub(s.windows.Began)
	s.mu.Lock()
	if len(s.ring.samples) == 0 || at-s.ring.samples[s.ring.current].start >= s.windows.length() {
		s.past.merge(s.ring.advance(s.windows, at))
	}
	x := &s.ring.samples[s.ring.current]
	x.last = at
	return &x.data
}

// End unlocks the sensor.
//
// +checklocksrelease:s.mu
func (s *Sensor) End() { s.mu.Unlock() }

// Add counts one event.
func (k *Kinds) Add(kind int, v float64) {
	e := &k[kind]
	if v > e.max || e.n == 0 {
		e.max = v
	}
	e.n++
	e.sum += v
}

// AddMany counts n events, n > 0, whose values are sum together, and at most most.
func (k *Kinds) AddMany(kind int, n, sum, most float64) {
	e := &k[kind]
	if most > e.max || e.n == 0 {
		e.max = most
	}
	e.n += n
	e.sum += sum
}

func (k *Kinds) merge(other Kinds) {
	for i, e := range other {
		if e.n > 0 {
			k.AddMany(i, e.n, e.sum, e.max)
		}
	}
}

// Reading is what a sensor has counted of one kind of event.
type Reading struct {
	Count, CountRate float64 // events since the beginning; a second, in the windows
	Total, Rate      float64 // of their values, likewise
	Avg, Max         float64 // in the windows; NaN if they have no event
}

// Read returns what was counted until now. A nil sensor has counted nothing.
func (s *Sensor) Read(now time.Time) (readings [len(Kinds{})]Reading) {
	var recent, total Kinds
	elapsed := 1.0
	if s != nil {
		at := now.Sub(s.windows.Began)
		s.mu.Lock()
		elapsed = s.ring.elapsed(s.windows, at, s.past.merge)
		for i := range s.ring.samples {
			recent.merge(s.ring.samples[i].data)
		}
		total = s.past
		s.mu.Unlock()
		total.merge(recent)
	}
	for i, e := range recent {
		r := Reading{Count: total[i].n, CountRate: e.n / elapsed, Total: total[i].sum, Rate: e.sum / elapsed, Avg: math.NaN(), Max: math.NaN()}
		if e.n > 0 {
			r.Avg, r.Max = e.sum/e.n, e.max
		}
		readings[i] = r
	}
	return readings
}
