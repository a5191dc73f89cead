package driver

import (
	"slices"
	"sync/atomic"
	"time"
)

// NoSample is the sample of a record whose latency is not measured.
const NoSample = -1

// sampleEvery is of how many records sent as fast as possible one has its latency measured: with
// more, reading the clock would be part of the cost. All other modes measure every record.
const sampleEvery = 64

// Meter counts deliveries and measures latencies. Done and DoneN may be called concurrently.
type Meter struct {
	every  int           // of how many records one is sampled
	origin time.Time     // samples are nanoseconds since then
	all    chan struct{} // closed with the last delivery of a phase

	starts, lasted []int64 // by sample; each written by one goroutine at a time
	samples        atomic.Int64
	want, done     atomic.Int64
	failures       atomic.Int64
	firstFailure   atomic.Pointer[error]
}

func newMeter(c Config) *Meter {
	m := &Meter{every: 1, origin: time.Now()}
	if c.Parallel == 0 && c.Rate == 0 {
		m.every = sampleEvery
	}
	n := max(c.Records, c.Warmup)/m.every + 1 + max(c.Goroutines, c.Parallel)
	m.starts, m.lasted = make([]int64, n), make([]int64, n)
	return m
}

// begin a phase of n deliveries; the one before is over.
func (m *Meter) begin(n int) {
	m.all = make(chan struct{})
	m.samples.Store(0)
	m.done.Store(0)
	m.want.Store(int64(n))
}

// start takes a sample's time.
func (m *Meter) start() int {
	s := m.samples.Add(1) - 1
	m.starts[s] = int64(time.Since(m.origin))
	return int(s)
}

// Done tells that a record has its outcome.
func (m *Meter) Done(sample int, err error) {
	if sample >= 0 {
		m.lasted[sample] = int64(time.Since(m.origin)) - m.starts[sample]
	}
	m.DoneN(1, err)
}

// DoneN tells that n records without a sample have their outcome.
func (m *Meter) DoneN(n int, err error) {
	if err != nil {
		m.failed(n, err)
	}
	if m.done.Add(int64(n)) == m.want.Load() {
		close(m.all)
	}
}

// failed keeps the first error. It is apart from DoneN, where err would move to the heap for every
// record: one malloc that would be taken for the client's.
func (m *Meter) failed(n int, err error) {
	m.failures.Add(int64(n))
	m.firstFailure.CompareAndSwap(nil, &err)
}

// Delivered is how many records of the present phase have their outcome.
func (m *Meter) Delivered() int64 { return m.done.Load() }

// latencies of the last phase, sorted.
func (m *Meter) latencies() []int64 {
	l := slices.Clone(m.lasted[:m.samples.Load()])
	slices.Sort(l)
	return l
}

// percentile p (0 to 1) of sorted nanoseconds, in microseconds; 0 if there are none.
func percentile(sorted []int64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := min(len(sorted)-1, int(p*float64(len(sorted))))
	return float64(sorted[at]) / 1e3
}
