package integration

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
)

// latencies are how long records took from Send to their callbacks, in the order of sending.
type latencies []time.Duration

// String returns how many records there were and percentiles of what they took.
func (l latencies) String() string {
	sorted := slices.Sorted(slices.Values(l))
	at := func(q float64) time.Duration {
		return sorted[int(q*float64(len(sorted)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d records, 0 failed, p50 %v, p99 %v, p99.9 %v, slowest %v", len(l), at(0.5), at(0.99), at(0.999), at(1))
}

// sendInOrder sends records to a topic of one partition for a while, at a rate per second, and closes the producer. No record may fail, and each one's
// offset is its number: each is in the log once, in order.
func sendInOrder(t *testing.T, p *quill.Producer[[]byte, []byte], topic string, d time.Duration, rate int) latencies {
	t.Helper()
	const tick = 2 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), d+time.Minute)
	defer cancel()
	took := make(latencies, 0, int(d.Seconds()+1)*rate)
	var mu sync.Mutex
	var faults []string
	begin := time.Now()
	sent := 0
	for elapsed := time.Duration(0); elapsed < d; elapsed = time.Since(begin) {
		for ; sent < int(elapsed.Seconds()*float64(rate)); sent++ {
			number, at := sent, time.Now()
			p.SendFunc(ctx, quill.Record[[]byte, []byte]{Topic: topic, Value: fmt.Appendf(nil, "%090d", sent)}, func(m quill.RecordMetadata, err error) {
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(at))
				if err != nil || m.Offset != int64(number) {
					faults = append(faults, fmt.Sprintf("record %d: offset %d, %v", number, m.Offset, err))
				}
			})
		}
		time.Sleep(tick)
	}
	require.NoError(t, p.Close(ctx))
	require.Empty(t, faults)
	require.Len(t, took, sent)
	return took
}
