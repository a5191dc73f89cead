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
func (w *Windows) age() time.Duration { return time.Duration(w.Samples) * w.length() }

// Sensor counts events, each with up to two values. It may be used concurrently.
//
// Two values share a sensor because what is measured together, as the size of a batch and its compression, needs one look at
// the clock's windows and one lock.
//
// Java: Sensor with Meter, Avg, Max, WindowedCount and CumulativeSum.
type Sensor struct {
	windows *Windows

	mu sync.Mutex
	// +checklocks:mu
	ring ring[sums]
	// +checklocks:mu
	total sums
}

// sums is what a window has of its events.
type sums struct {
	events   float64
	sum, max [2]float64
}

// NewSensor returns a sensor without events. The windows must not change.
func NewSensor(w *Windows) *Sensor { return &Sensor{windows: w} }

// Record counts an event with its values.
func (s *Sensor) Record(now time.Time, a, b float64) {
	at := now.Sub(s.windows.Began)
	s.mu.Lock()
	x := s.ring.record(s.windows, at)
	if x.events == 0 {
		x.max = [2]float64{a, b}
	} else {
		x.max = [2]float64{max(x.max[0], a), max(x.max[1], b)}
	}
	x.events++
	x.sum[0] += a
	x.sum[1] += b
	s.total.events++
	s.total.sum[0] += a
	s.total.sum[1] += b
	s.mu.Unlock()
}

// Reading is what a sensor has counted.
type Reading struct {
	Events, EventRate float64 // since the beginning; a second, in the windows
	A, B              Measure
}

// Measure is what the events had as one of their values.
type Measure struct {
	Total    float64 // since the beginning
	Rate     float64 // a second, in the windows
	Avg, Max float64 // in the windows; NaN if they have no event
}

// Read returns what was counted until now. A nil sensor has counted nothing.
func (s *Sensor) Read(now time.Time) Reading {
	if s == nil {
		none := Measure{Avg: math.NaN(), Max: math.NaN()}
		return Reading{A: none, B: none}
	}
	at := now.Sub(s.windows.Began)
	s.mu.Lock()
	defer s.mu.Unlock()
	elapsed := s.ring.elapsed(s.windows, at).Seconds()
	var all sums
	for i := range s.ring.samples {
		x := &s.ring.samples[i].data
		switch {
		case x.events == 0:
			continue
		case all.events == 0:
			all.max = x.max
		default:
			all.max = [2]float64{max(all.max[0], x.max[0]), max(all.max[1], x.max[1])}
		}
		all.events += x.events
		all.sum[0] += x.sum[0]
		all.sum[1] += x.sum[1]
	}
	return Reading{Events: s.total.events, EventRate: all.events / elapsed, A: s.measureLocked(&all, 0, elapsed), B: s.measureLocked(&all, 1, elapsed)}
}

// measureLocked returns what the events had as value i; all is the windows together.
//
// +checklocks:s.mu
func (s *Sensor) measureLocked(all *sums, i int, elapsed float64) Measure {
	m := Measure{Total: s.total.sum[i], Rate: all.sum[i] / elapsed, Avg: math.NaN(), Max: math.NaN()}
	if all.events > 0 {
		m.Avg, m.Max = all.sum[i]/all.events, all.max[i]
	}
	return m
}
