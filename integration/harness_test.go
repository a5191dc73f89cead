package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/integration/ledger"
)

// TestHarnessJudgesJavaProducer proves the harness with Kafka's own producer: what it reports must be what all readers find.
func TestHarnessJudgesJavaProducer(t *testing.T) {
	c := threeNodes(t)
	topic := newTopic(t, c, "java-zstd", 12)
	l := ledger.New(ledger.Plan{Run: 1, Streams: 8, PerStream: 2500, Keys: 10, ValueSize: 100})
	ctx := within(t, 2*time.Minute)
	require.NoError(t, c.ProduceWithJava(ctx, topic, l, "compression.type=zstd", "enable.idempotence=true"))
	report := audit(t, c, l, topic, "zstd", ledger.Rules{Idempotent: true})
	require.Equal(t, 20_000, report.Acknowledged)
	require.Equal(t, 12, report.Partitions)
}

// TestHarnessSurvivesKilledLeaders kills and restarts nodes under Kafka's own producer.
func TestHarnessSurvivesKilledLeaders(t *testing.T) {
	c := threeNodes(t)
	topic := newTopic(t, c, "java-killed", 12)
	for _, partition := range []int32{0, 5} {
		ctx := within(t, 2*time.Minute)
		require.NoError(t, c.WaitInSync(ctx, topic))
		leader, err := c.Leader(ctx, topic, partition)
		require.NoError(t, err)
		require.NoError(t, leader.Kill())
		begin := time.Now()
		moved, err := c.Leader(ctx, topic, partition)
		for err == nil && moved == leader {
			moved, err = c.Leader(ctx, topic, partition)
		}
		require.NoError(t, err)
		failover := time.Since(begin)
		begin = time.Now()
		require.NoError(t, leader.Restart(ctx))
		require.NoError(t, c.WaitInSync(ctx, topic))
		t.Logf("node %d killed: failed over in %v, back in sync in %v", leader.ID, failover.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	}
	l := ledger.New(ledger.Plan{Run: 2, Streams: 4, PerStream: 1000, Keys: 10, ValueSize: 60})
	require.NoError(t, c.ProduceWithJava(within(t, 2*time.Minute), topic, l))
	audit(t, c, l, topic, "none", ledger.Rules{Idempotent: true})
}

// TestHarnessSeesForeignAndLostRecords has kcat write what the ledger does not expect: the audit must tell.
func TestHarnessSeesForeignAndLostRecords(t *testing.T) {
	c := threeNodes(t)
	topic := newTopic(t, c, "kcat-written", 3)
	kcat, err := kafkaharness.FindKcat(t.Context())
	kafkaharness.RequireFound(t, err)
	plan := ledger.Plan{Run: 3, Streams: 1, PerStream: 3, Keys: 1, ValueSize: 40}
	l := ledger.New(plan)
	var lines strings.Builder
	for counter := range 3 {
		l.Sent(0, counter)
		l.Done(0, counter, ledger.Result{Outcome: ledger.Acknowledged, Partition: 0, Offset: int64(counter), Timestamp: -1})
		lines.WriteString(string(plan.AppendKey(nil, 0, counter)) + "\tno such record\n")
	}
	ctx := within(t, time.Minute)
	require.NoError(t, kcat.Write(ctx, c.Bootstrap(), topic, strings.NewReader(lines.String()), "acks=all"))
	rows, err := c.Rows(ctx, topic)
	require.NoError(t, err)
	report, err := l.Audit(ledger.Rules{Idempotent: true}, rows)
	require.NoError(t, err)
	require.Equal(t, 3, report.Foreign)
	require.Equal(t, 3, report.Violations.Count("I1"))
	records, err := c.Records(ctx, topic)
	require.NoError(t, err)
	require.Len(t, records, 3)
	require.Equal(t, "no such record", string(records[0].Value))
}

// TestHarnessWaitsForNodesThatLag asks about a topic before it is made: as with a node that has not heard of it yet, the answer waits.
func TestHarnessWaitsForNodesThatLag(t *testing.T) {
	c := threeNodes(t)
	ctx := within(t, 2*time.Minute)
	made := make(chan error, 1)
	go func() {
		time.Sleep(500 * time.Millisecond)
		made <- c.CreateTopicUnready(ctx, "made-late", 3)
	}()
	partitions, err := c.Describe(ctx, "made-late")
	require.NoError(t, err)
	require.NoError(t, <-made)
	require.Len(t, partitions, 3)
}
