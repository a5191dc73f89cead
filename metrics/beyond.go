package metrics

import (
	"iter"
	"time"

	"github.com/quill-kafka/quill/internal/stat"
)

// What Java's producer does not measure. All does not yield these.

// Latency has how long records and requests took, by stage. The counts of Queue and EndToEnd are of records: all of a batch
// count as its first one.
type Latency struct {
	Metadata Histogram // Sends that waited for the metadata of their topic
	Memory   Histogram // Sends that waited for memory
	Queue    Histogram // from the opening of a batch until it first leaves
	Request  Histogram // from handing over a Produce request until its answer
	EndToEnd Histogram // from the opening of a batch until its outcome is known
}

// Outcomes counts records that failed, by what is known of them (quill.Outcome).
type Outcomes struct{ NotSent, MaybeWritten, Rejected Meter }

// Retry is records that were put back to be sent again for one cause.
type Retry struct {
	Cause   string // the error of the broker, "NOT_ENOUGH_REPLICAS", or "timed out", "disconnected"
	Records Meter
}

// Memory is how much of the buffer the batches for one node hold.
type Memory struct {
	Node  int32 // -1: partitions without a leader
	Bytes int64
}

// Callbacks is how long callbacks took. They run one after the other, and while one does, no other outcome is reported.
type Callbacks struct {
	Busy    Busy    // part of the time, and nanoseconds since the start
	Average Average // milliseconds, of the callbacks of a batch
	Slowest Slowest // batch since the start
}

// Slowest names the batch whose callbacks took longest.
type Slowest struct {
	Topic     string
	Partition int32
	Records   int
	Took      time.Duration
	At        time.Time
}

// Histogram counts durations.
type Histogram struct{ total, recent *stat.Counts }

// MeterOf returns the sum of the values of r's events, and how fast it grows.
func MeterOf(r stat.Reading) Meter { return Meter{Rate: r.Rate, Total: r.Total} }

// AverageOf returns the average and the largest of the values of r's events.
func AverageOf(r stat.Reading) Average { return Average{Avg: r.Avg, Max: r.Max} }

// HistogramOf returns what h has counted until now.
func HistogramOf(h *stat.Histogram, now time.Time) Histogram {
	total, recent := h.Read(now)
	return Histogram{&total, &recent}
}

// Count returns how many durations there were since the start.
func (h Histogram) Count() int64 {
	if h.total == nil {
		return 0
	}
	return h.total.N
}

// Sum returns the sum of all durations since the start.
func (h Histogram) Sum() time.Duration {
	if h.total == nil {
		return 0
	}
	return h.total.Sum
}

// Quantile returns the duration that the part q of those in the windows did not exceed: 0.99 for the 99th percentile, 1 for the
// maximum. It is right to about 6 %, and 0 if there were none.
func (h Histogram) Quantile(q float64) time.Duration {
	if h.recent == nil {
		return 0
	}
	return h.recent.Quantile(q)
}

// Buckets yields upper bounds and how many durations since the start were below them, for all buckets. The last bound is -1:
// there is none.
func (h Histogram) Buckets() iter.Seq2[time.Duration, int64] {
	return func(yield func(time.Duration, int64) bool) {
		if h.total == nil {
			return
		}
		below := int64(0)
		for i, n := range h.total.Buckets {
			if below += n; !yield(stat.Bound(i), below) {
				return
			}
		}
	}
}
