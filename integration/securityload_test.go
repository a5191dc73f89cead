package integration

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
)

// securityTime is for how long records are sent while logins and certificates change: QUILL_SECURITY_SECONDS, or enough for CI.
func securityTime(t *testing.T, short time.Duration) time.Duration {
	t.Helper()
	words := os.Getenv("QUILL_SECURITY_SECONDS")
	if words == "" {
		return short
	}
	seconds, err := strconv.Atoi(words)
	require.NoError(t, err, "QUILL_SECURITY_SECONDS")
	return time.Duration(seconds) * time.Second
}

// securityRate is how many records are sent in a second meanwhile.
const securityRate = 20_000

// sample is a record that was acknowledged.
type sample struct {
	at   time.Time // when it was sent
	took time.Duration
}

// steadyLoad sends records to a topic of one partition at an even rate.
type steadyLoad struct {
	producer *quill.Producer[[]byte, []byte]
	topic    string
	rate     int

	mu sync.Mutex
	// +checklocks:mu
	samples []sample
	// +checklocks:mu
	faults []string
	// +checklocks:mu
	sent int
}

// run sends until the context ends. The producer itself is left alone by that.
func (l *steadyLoad) run(until context.Context) {
	const tick = 2 * time.Millisecond
	begin, sent := time.Now(), 0
	for until.Err() == nil {
		for due := int(time.Since(begin).Seconds() * float64(l.rate)); sent < due; sent++ {
			number, at := int64(sent), time.Now()
			l.producer.SendFunc(context.WithoutCancel(until), quill.Record[[]byte, []byte]{Topic: l.topic, Value: fmt.Appendf(nil, "%090d", sent)}, func(m quill.RecordMetadata, err error) {
				l.take(sample{at, time.Since(at)}, number, m, err)
			})
		}
		time.Sleep(tick)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = sent
}

// take takes down the outcome of a record, whose offset must be its number: then each is in the log once, and in order.
func (l *steadyLoad) take(s sample, number int64, m quill.RecordMetadata, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, s)
	if err != nil || m.Offset != number {
		l.faults = append(l.faults, fmt.Sprintf("record %d: offset %d, %v", number, m.Offset, err))
	}
}

// end closes the producer, and fails the test if a record failed or is out of order. It returns what is known of the records.
func (l *steadyLoad) end(t *testing.T) samples {
	t.Helper()
	require.NoError(t, l.producer.Close(within(t, time.Minute)))
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.faults[:min(len(l.faults), 10)], "%d records failed or are out of order", len(l.faults))
	require.Len(t, l.samples, l.sent)
	return l.samples
}

// samples are records in the order of their acknowledgements.
type samples []sample

// near returns the records that were sent around one of the times: from a quarter of a second before it on.
func (s samples) near(times []time.Time) samples {
	return slices.Collect(func(yield func(sample) bool) {
		for _, x := range s {
			close := func(at time.Time) bool {
				return x.at.After(at.Add(-250*time.Millisecond)) && x.at.Before(at.Add(50*time.Millisecond))
			}
			if slices.ContainsFunc(times, close) && !yield(x) {
				return
			}
		}
	})
}

// slowest returns the longest time that a record took.
func (s samples) slowest() (longest time.Duration) {
	for _, x := range s {
		longest = max(longest, x.took)
	}
	return longest
}

// String returns how many records there are, and percentiles of what they took.
func (s samples) String() string {
	if len(s) == 0 {
		return "no records"
	}
	var took []time.Duration
	for _, x := range s {
		took = append(took, x.took)
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))].Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d records: p50 %v, p99 %v, p99.9 %v, slowest %v", len(s), at(0.5), at(0.99), at(0.999), at(1))
}
