package integration

import (
	"context"
	"log"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/integration/ledger"
)

// shared is the cluster that tests use one after another: a start costs as much as a test.
var shared struct {
	sync.Mutex
	// +checklocks:Mutex
	cluster *kafkaharness.Cluster
	// +checklocks:Mutex
	version string // of its brokers
}

func TestMain(m *testing.M) {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster != nil {
		if err := shared.cluster.Close(); err != nil {
			log.Println(err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// threeNodes returns the shared cluster of three nodes.
func threeNodes(t *testing.T) *kafkaharness.Cluster {
	t.Helper()
	return sharedCluster(t, kafkaharness.BrokerVersion(), kafkaharness.Options{Nodes: 3})
}

// threeOldNodes returns the shared cluster of three nodes of Kafka 3.9, the last with version 1 of transactions.
func threeOldNodes(t *testing.T) *kafkaharness.Cluster {
	t.Helper()
	return sharedCluster(t, "3.9.2", kafkaharness.Options{Nodes: 3})
}

// oneNode returns the shared cluster of one node, which obeys rules about topics.
func oneNode(t *testing.T) *kafkaharness.Cluster {
	t.Helper()
	return sharedCluster(t, kafkaharness.BrokerVersion(), kafkaharness.Options{Nodes: 1, Properties: kafkaharness.WithAuthorizer()})
}

// sharedCluster returns a whole cluster: every node runs. If the one that is there has another size or version it is replaced.
func sharedCluster(t *testing.T, version string, options kafkaharness.Options) *kafkaharness.Cluster {
	t.Helper()
	tools := kafkaharness.RequireVersion(t, version)
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster != nil && (len(shared.cluster.Nodes()) != options.Nodes || shared.version != version) {
		require.NoError(t, shared.cluster.Close())
		shared.cluster = nil
	}
	if shared.cluster == nil {
		begin := time.Now()
		cluster, err := kafkaharness.Start(t.Context(), tools, options)
		require.NoError(t, err)
		t.Logf("%d nodes of Kafka %s up in %v", options.Nodes, cluster.Node(1).Version(), time.Since(begin).Round(time.Millisecond))
		shared.cluster, shared.version = cluster, version
	}
	shared.cluster.ReportFailure(t)
	for _, n := range shared.cluster.Nodes() {
		require.NoError(t, n.Resume())
		if !n.Running() {
			require.NoError(t, n.Restart(within(t, time.Minute)))
		}
	}
	return shared.cluster
}

// newTopic creates a topic for this test and deletes it at the test's end.
func newTopic(t *testing.T, c *kafkaharness.Cluster, name string, partitions int, settings ...string) string {
	t.Helper()
	require.NoError(t, c.CreateTopic(within(t, time.Minute), name, partitions, settings...))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.DeleteTopic(ctx, name); err != nil {
			t.Log(err)
		}
	})
	return name
}

// within returns a context of the test that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// audit reads the topic with Java's consumer, with kcat, and from every node's disk, and holds all of it against the
// ledger. What one reader finds wrong does not keep the others from looking: together they tell more.
func audit(t *testing.T, c *kafkaharness.Cluster, l *ledger.Ledger, topic, codec string, rules ledger.Rules) *ledger.Report {
	t.Helper()
	ctx := within(t, 10*time.Minute)
	require.NoError(t, c.WaitInSync(ctx, topic))
	begin := time.Now()
	rows, err := c.Rows(ctx, topic)
	require.NoError(t, err)
	report, err := l.Audit(rules, rows)
	require.NoError(t, err)
	consumed := time.Since(begin)
	assert.NoError(t, report.Violations.Err(), "read by Java's consumer")

	begin = time.Now()
	kcat, err := kafkaharness.FindKcat(ctx)
	kafkaharness.RequireFound(t, err)
	rules.IgnoreHeaders = true
	second, err := l.Audit(rules, kcat.Rows(ctx, c.Bootstrap(), topic))
	require.NoError(t, err)
	assert.NoError(t, second.Violations.Err(), "read by kcat")
	assert.Equal(t, report.Rows, second.Rows, "both readers see the same number of records")
	reread := time.Since(begin)

	begin = time.Now()
	var batches *ledger.BatchReport
	for _, n := range c.Nodes() {
		dump, err := c.Batches(ctx, n, topic)
		require.NoError(t, err)
		batches, err = ledger.CheckBatches(ledger.BatchRules{Codec: codec, Idempotent: rules.Idempotent}, dump)
		require.NoError(t, err)
		assert.NoError(t, batches.Violations.Err(), "on the disk of node %d", n.ID)
		assert.Equal(t, report.Rows, batches.Records, "on the disk of node %d", n.ID)
	}
	t.Logf("%s: %d records in %d batches, %d bytes on disk, %d epoch changes, slowest %v; consumed in %v, kcat %v, dumps %v",
		topic, report.Rows, batches.Batches, batches.Bytes, batches.EpochChanges, report.Slowest.Round(time.Millisecond),
		consumed.Round(time.Millisecond), reread.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	if t.Failed() {
		t.FailNow()
	}
	return report
}
