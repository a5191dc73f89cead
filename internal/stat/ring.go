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

// advance begins the next window, or the first, and returns the data of the one whose place it takes.
func (r *ring[T]) advance(w *Windows, at time.Duration) (old T) {
	if len(r.samples) > 0 {
		r.current = (r.current + 1) % (w.Samples + 1)
	}
	if r.current == len(r.samples) {
		r.samples = append(r.samples, sample[T]{})
	}
	return r.samples[r.current].reset(at)
}

// reset empties a window and returns what was in it.
func (x *sample[T]) reset(at time.Duration) (old T) {
	old = x.data
	*x = sample[T]{start: at, last: at}
	return old
}

// elapsed empties the windows that are too old, hands what was in them to gone, and returns how many seconds those which are
// left cover, at least a thousandth.
//
// Java: Rate.windowSize, after SampledStat.purgeObsoleteSamples.
func (r *ring[T]) elapsed(w *Windows, at time.Duration, gone func(T)) float64 {
	if len(r.samples) == 0 {
		gone(r.advance(w, at))
	}
	oldest := at
	for i := range r.samples {
		x := &r.samples[i]
		if at-x.last >= w.age() {
			gone(x.reset(at))
		}
		oldest = min(oldest, x.start)
	}
	elapsed := at - oldest
	seconds := max(elapsed, time.Millisecond).Seconds()
	if missing := time.Duration(w.Samples-1) - elapsed/w.length(); missing > 0 {
		seconds = elapsed.Seconds() + float64(missing)*w.length().Seconds() // a Duration might overflow
	}
	return seconds
}
