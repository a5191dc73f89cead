package main

import (
	"fmt"
	"slices"
)

// span is what several runs have shown of one figure.
type span struct {
	n                 int
	median, low, high float64
}

func spread(values []float64) span {
	if len(values) == 0 {
		return span{}
	}
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	s := span{n: len(v), median: v[mid], low: v[0], high: v[len(v)-1]}
	if len(v)%2 == 0 {
		s.median = (v[mid-1] + v[mid]) / 2
	}
	return s
}

// format is "median (low–high)", only the median of a single value, and a dash of none.
func (s span) format(f func(float64) string) string {
	switch s.n {
	case 0:
		return "–"
	case 1:
		return f(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", f(s.median), f(s.low), f(s.high))
}

func (s span) medianOnly() string {
	if s.median == 0 {
		return "–"
	}
	if s.median < 10 {
		return fmt.Sprintf("%.2f", s.median)
	}
	return short(s.median)
}

// short is a number with three digits or so.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2fM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v >= 1e3:
		return fmt.Sprintf("%.1fk", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}

// ratio has two decimals.
func ratio(v float64) string { return fmt.Sprintf("%.2f", v) }

// mallocs per record; not every language can count them.
func mallocs(v float64) string {
	if v < 0 {
		return "–"
	}
	return ratio(v)
}

// micros is a duration given in microseconds.
func micros(v float64) string {
	switch {
	case v >= 1e5:
		return fmt.Sprintf("%.0f ms", v/1e3)
	case v >= 1e3:
		return fmt.Sprintf("%.1f ms", v/1e3)
	}
	return fmt.Sprintf("%.0f µs", v)
}
