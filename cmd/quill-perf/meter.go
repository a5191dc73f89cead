package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/quill-kafka/quill"
)

// maxLatency is the longest latency that can be told apart; longer ones count as this.
const maxLatency = time.Hour

// meter counts the outcomes of one phase of the run. It is safe for concurrent use.
type meter struct {
	fatal func(error) // called if the producer is of no further use

	acknowledged atomic.Int64
	failed       atomic.Int64
	first        atomic.Pointer[error] // the first failure

	mu sync.Mutex
	// +checklocks:mu
	latency *hdrhistogram.Histogram // of samples, in nanoseconds
	// +checklocks:mu
	sum time.Duration
	// +checklocks:mu
	window sampled // since the last window was taken
}

// sampled sums up latencies.
type sampled struct {
	n        int64
	sum, max time.Duration
}

func newMeter(fatal func(error)) *meter {
	return &meter{fatal: fatal, latency: hdrhistogram.New(1, int64(maxLatency), 3)}
}

// outcome counts a record. It has the form of a quill.Callback.
func (m *meter) outcome(_ quill.RecordMetadata, err error) {
	if err == nil {
		m.acknowledged.Add(1)
		return
	}
	m.failed.Add(1)
	first := err // err itself must not escape: that would cost an allocation per record
	m.first.CompareAndSwap(nil, &first)
	if e, ok := errors.AsType[*quill.Error](err); ok && e.Fatal() {
		m.fatal(err)
	}
}

// sample takes a record's latency.
func (m *meter) sample(took time.Duration) {
	took = max(1, min(took, maxLatency))
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.latency.RecordValue(int64(took)) // within the histogram's bounds
	m.sum += took
	m.window.n++
	m.window.sum += took
	m.window.max = max(m.window.max, took)
}

// takeWindow returns what was sampled since the last call.
func (m *meter) takeWindow() sampled {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.window
	m.window = sampled{}
	return w
}

// undeliveredBy is an *undelivered if records failed in one of the phases.
func undeliveredBy(phases ...*meter) error {
	var u undelivered
	for _, m := range phases {
		if first := m.first.Load(); first != nil && u.first == nil {
			u.first = *first
		}
		u.records += m.failed.Load()
	}
	if u.records == 0 {
		return nil
	}
	return &u
}

// summary is the result of a phase, or of several.
type summary struct {
	records int64
	bytes   int64 // of values
	elapsed time.Duration
	latency *hdrhistogram.Histogram
	sum     time.Duration // of the latencies
}

func (m *meter) summary(size int, elapsed time.Duration) summary {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.acknowledged.Load()
	return summary{n, n * int64(size), elapsed, hdrhistogram.Import(m.latency.Export()), m.sum}
}

// plus adds a phase that followed.
func (s summary) plus(t summary) summary {
	both := hdrhistogram.Import(s.latency.Export())
	both.Merge(t.latency)
	return summary{s.records + t.records, s.bytes + t.bytes, s.elapsed + t.elapsed, both, s.sum + t.sum}
}

func (s summary) samples() int64 { return s.latency.TotalCount() }

// quantile is in percent.
func (s summary) quantile(q float64) time.Duration {
	return time.Duration(s.latency.ValueAtQuantile(q))
}

// The lines of ProducerPerformance (kafka-tools 4.3), letter by letter. As there, a megabyte is 2^20 bytes.

// windowLine tells about the records of one interval.
func windowLine(records, bytes int64, elapsed time.Duration, w sampled) string {
	return fmt.Sprintf("%d records sent, %.1f records/sec (%.2f MB/sec), %.1f ms avg latency, %.1f ms max latency.",
		records, perSecond(records, elapsed), perSecond(bytes, elapsed)/(1<<20), ms(mean(w.sum, w.n)), ms(w.max))
}

// line is the closing summary; kind is " steady state" or nothing.
func (s summary) line(kind string) string {
	return fmt.Sprintf("%d%s records sent, %f records/sec (%.2f MB/sec), %.2f ms avg latency, %.2f ms max latency, %d ms 50th, %d ms 95th, %d ms 99th, %d ms 99.9th.",
		s.records, kind, perSecond(s.records, s.elapsed), perSecond(s.bytes, s.elapsed)/(1<<20),
		ms(mean(s.sum, s.samples())), ms(time.Duration(s.latency.Max())),
		s.quantile(50).Milliseconds(), s.quantile(95).Milliseconds(), s.quantile(99).Milliseconds(), s.quantile(99.9).Milliseconds())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func perSecond(n int64, elapsed time.Duration) float64 {
	if elapsed <= 0 {
		return 0
	}
	return float64(n) / elapsed.Seconds()
}

func mean(sum time.Duration, n int64) time.Duration {
	if n == 0 {
		return 0
	}
	return sum / time.Duration(n)
}
