package integration

// Leaders fail again and again while records are sent at an even pace. With three replicas of which two must have a record,
// one failed node at a time takes nothing away: a producer with Kafka's defaults has to deliver every record,
// once, in order, and to tell of each exactly once. The next node fails only when all replicas are in sync.
//
// In CI the tests are short. QUILL_FAULT_SECONDS makes them as long as one likes.

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/integration/ledger"
)

// TestKilledLeadersLoseNothing kills a leader every ten seconds, never the same twice in a row, and restarts it (F2).
func TestKilledLeadersLoseNothing(t *testing.T) {
	faultRun{
		name: "killed-often", run: 40, period: 10 * time.Second,
		producers: []quill.Config{{}},
		fault: func(ctx context.Context, leader *kafkaharness.Node) error {
			if err := leader.Kill(); err != nil {
				return err
			}
			time.Sleep(3 * time.Second) // longer than the cluster needs to notice
			return leader.Restart(ctx)
		},
	}.test(t)
}

// TestFrozenLeadersLoseNothing freezes a leader for fifteen seconds out of thirty (F4). It comes back with requests in its
// sockets, and believing that it leads still. One producer waits for those answers, the other has given up on
// them by then and sent the same batches to the new leader.
func TestFrozenLeadersLoseNothing(t *testing.T) {
	faultRun{
		name: "frozen-often", run: 45, period: 30 * time.Second,
		producers: []quill.Config{{}, {RequestTimeout: 5 * time.Second}},
		fault: func(_ context.Context, leader *kafkaharness.Node) error {
			if err := leader.Pause(); err != nil {
				return err
			}
			time.Sleep(15 * time.Second)
			return leader.Resume()
		},
	}.test(t)
}

// faultRun is what both tests have in common: producers that each send to a topic of their own, and a leader of
// most of the partitions that fails once in every period.
type faultRun struct {
	name      string
	run       uint32 // of the first producer's plan; the others count on
	period    time.Duration
	producers []quill.Config
	fault     func(ctx context.Context, leader *kafkaharness.Node) error // returns when the node lives again
}

func (f faultRun) test(t *testing.T) {
	const rate = 10_000
	length := faultTime(t)
	c := threeNodes(t)
	ctx := within(t, 2*length+15*time.Minute)
	stop := make(chan struct{})
	end := sync.OnceFunc(func() { close(stop) })
	defer end()
	var loads []*load
	var running sync.WaitGroup
	for i, cfg := range f.producers {
		const streams = 8
		topic := newTopic(t, c, fmt.Sprintf("%s-%d", f.name, i), 12)
		// Twice of what is needed if everything comes in time: on a busy machine a node needs longer to come back.
		plan := ledger.Plan{Run: f.run + uint32(i), Streams: streams, PerStream: 2 * rate * int(length/time.Second) / streams, Keys: 50, ValueSize: 100}
		cfg.BootstrapServers = c.Bootstrap()
		sending := &load{producer: newProducer(t, cfg), topic: topic, ledger: ledger.New(plan), rate: rate, stop: stop, futures: true}
		loads = append(loads, sending)
		running.Go(func() { sending.run(ctx) })
	}
	begin := time.Now()
	f.fail(ctx, t, c, loads, begin, int(length/f.period))
	time.Sleep(time.Until(begin.Add(length)))
	end()
	running.Wait()
	took := time.Since(begin)
	for _, l := range loads {
		require.NoError(t, l.producer.Flush(ctx))
		totals := l.ledger.Totals()
		t.Logf("%s: %d records in %v, %d acknowledged, failures %v, slowest %v", l.topic, totals.Sent, took.Round(time.Second),
			totals.Acknowledged, totals.Failures, totals.Slowest.Round(time.Millisecond))
		require.Empty(t, totals.Failures)
		require.Zero(t, totals.Open)
		require.Less(t, totals.Sent, l.ledger.Plan().Records(), "the last node failed while records were sent")
		require.Greater(t, float64(totals.Sent), 0.8*rate*length.Seconds(), "the pace was kept")
	}
	for _, l := range loads {
		report := audit(t, c, l.ledger, l.topic, "none", rulesOf())
		require.Equal(t, report.Sent, report.Rows)
	}
}

// fail lets leaders fail, so many times.
func (f faultRun) fail(ctx context.Context, t *testing.T, c *kafkaharness.Cluster, loads []*load, begin time.Time, times int) {
	t.Helper()
	require.Positive(t, times, "QUILL_FAULT_SECONDS is too short for one failure")
	var last *kafkaharness.Node
	for i := range times {
		time.Sleep(time.Until(begin.Add(2*time.Second + time.Duration(i)*f.period)))
		led := map[*kafkaharness.Node]int{}
		for _, l := range loads {
			require.NoError(t, c.WaitInSync(ctx, l.topic))
			partitions, err := c.Describe(ctx, l.topic)
			require.NoError(t, err)
			for _, p := range partitions {
				led[c.Node(p.Leader)]++
			}
		}
		delete(led, last)
		last = nil
		for n, partitions := range led {
			if last == nil || partitions > led[last] || partitions == led[last] && n.ID < last.ID {
				last = n
			}
		}
		require.NotNil(t, last, "only the node that failed last leads partitions")
		at := time.Since(begin)
		require.NoError(t, f.fault(ctx, last))
		t.Logf("failure %d at %.1f s: node %d, leader of %d partitions, back %.1f s later", i+1, at.Seconds(), last.ID, led[last], (time.Since(begin) - at).Seconds())
	}
}

// faultTime is how long leaders fail: QUILL_FAULT_SECONDS, or enough for a run in CI.
func faultTime(t *testing.T) time.Duration {
	t.Helper()
	words := os.Getenv("QUILL_FAULT_SECONDS")
	if words == "" {
		return 35 * time.Second
	}
	n, err := strconv.Atoi(words)
	require.NoError(t, err, "QUILL_FAULT_SECONDS")
	return time.Duration(n) * time.Second
}
