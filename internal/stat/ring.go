package stat

import "time"

// ring is the windows of a sensor, each with its data.
//
// Java: SampledStat.
type ring[T any] struct {
	samples []sample[T] // at most Windows.Samples+1
	current int
}

// sample is one window.
type sample[T any] struct {
	start, last time.Duration // when it began; when the last event was
	data        T
}

// record returns the data that an event at that time is to be added to.
func (r *ring[T]) record(w *Windows, at time.Duration) *T {
	if len(r.samples) == 0 {
		r.samples = make([]sample[T], 1)
		r.samples[0].start = at
	}
	x := &r.samples[r.current]
	if at-x.start >= w.length() {
		x = r.advance(w, at)
	}
	x.last = at
	return &x.data
}

// advance begins the next window.
func (r *ring[T]) advance(w *Windows, at time.Duration) *sample[T] {
	r.current = (r.current + 1) % (w.Samples + 1)
	if r.current == len(r.samples) {
		r.samples = append(r.samples, sample[T]{})
	}
	x := &r.samples[r.current]
	x.reset(at)
	return x
}

func (x *sample[T]) reset(at time.Duration) {
	var none T
	x.start, x.last, x.data = at, at, none
}

// elapsed empties the windows that are too old, and returns the time that those which are left cover, at least a millisecond.
//
// Java: Rate.windowSize, after SampledStat.purgeObsoleteSamples.
func (r *ring[T]) elapsed(w *Windows, at time.Duration) time.Duration {
	if len(r.samples) == 0 {
		r.samples = make([]sample[T], 1)
		r.samples[0].reset(at)
	}
	oldest := at
	for i := range r.samples {
		x := &r.samples[i]
		if at-x.last >= w.age() {
			x.reset(at)
		}
		oldest = min(oldest, x.start)
	}
	elapsed := at - oldest
	if missing := time.Duration(w.Samples-1) - elapsed/w.length(); missing > 0 {
		elapsed += missing * w.length()
	}
	return max(elapsed, time.Millisecond)
}
