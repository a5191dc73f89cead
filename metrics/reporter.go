package metrics

// Reporter learns which metrics a producer has, and may read them: Config.MetricsReporters. A monitoring system that pulls
// needs none, Producer.Metrics is enough.
//
// A Reporter may also have a Configure(quill.ClientInfo) error, which quill.New calls first, and a Close() error, which
// Close of the producer calls last.
//
// Java: MetricsReporter.
type Reporter interface {
	// MetricsChanged is called when metrics have been added, or removed: first by New, with those that every producer
	// has; then when the producer sends to a topic, or connects to a node, for the first time; last by Close, when
	// all are removed. Calls come one after the other, on a goroutine of their own, so it may take its time and call the
	// producer. Changes that happen meanwhile come together.
	MetricsChanged(c Change)
}

// Change says which metrics have been added or removed.
type Change struct {
	Added, Removed []Metric // with the values that they had at the time
	// Read returns the present values. It may be called at any time, also later and by other goroutines.
	Read func() Snapshot
}
