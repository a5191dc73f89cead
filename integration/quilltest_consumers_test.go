package integration

// quilltest's cluster beside clients of others: what they write it takes, and what is in its logs they read.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
)

// readers are ways to read a whole topic. Each returns a line for each record, in any order.
var readers = map[string]func(t *testing.T, bootstrap []string, topic string, isolation kafkaharness.Isolation, records int) []string{
	"kcat": readWithKcat, "franz-go": readWithFranz, "java": readWithJava,
}

func describeRecord(partition int32, offset int64, key, value []byte) string {
	return fmt.Sprintf("%d/%d %q (%v) %q (%v)", partition, offset, key, key == nil, value, value == nil)
}

func readWithKcat(t *testing.T, bootstrap []string, topic string, isolation kafkaharness.Isolation, _ int) []string {
	kcat, err := kafkaharness.FindKcat(t.Context())
	kafkaharness.RequireFound(t, err)
	var lines []string
	for row, err := range kcat.IsolatedRows(within(t, time.Minute), bootstrap, topic, isolation) {
		require.NoError(t, err)
		lines = append(lines, fmt.Sprintf("%d/%d %d %d", row.Partition, row.Offset, row.KeySize, row.ValueSize))
	}
	return lines
}

func readWithFranz(t *testing.T, bootstrap []string, topic string, isolation kafkaharness.Isolation, records int) []string {
	level := kgo.ReadUncommitted()
	if isolation == kafkaharness.ReadCommitted {
		level = kgo.ReadCommitted()
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(level), kgo.FetchMaxWait(100*time.Millisecond))
	require.NoError(t, err)
	defer client.Close()
	var lines []string
	ctx := within(t, time.Minute)
	for len(lines) < records {
		fetches := client.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { lines = append(lines, describeRecord(r.Partition, r.Offset, r.Key, r.Value)) })
	}
	return lines
}

func readWithJava(t *testing.T, bootstrap []string, topic string, isolation kafkaharness.Isolation, _ int) []string {
	helper, err := kafkaharness.StartHelper(kafkaharness.Require(t), t.TempDir())
	require.NoError(t, err)
	defer helper.Close()
	records, err := helper.Records(within(t, time.Minute), bootstrap, topic, isolation)
	require.NoError(t, err)
	var lines []string
	for _, r := range records {
		lines = append(lines, describeRecord(r.Partition, r.Offset, r.Key, r.Value))
	}
	return lines
}

// TestOrdinaryConsumersReadQuilltest: records with every codec, without keys and values, of committed and of aborted transactions,
// and of one that is open.
func TestOrdinaryConsumersReadQuilltest(t *testing.T) {
	cluster := quilltest.Start(t, quilltest.Options{})
	cluster.MustCreateTopic("orders", 3, quilltest.TopicConfig{})
	writeForConsumers(t, cluster)
	for name, read := range readers {
		for _, isolation := range []kafkaharness.Isolation{kafkaharness.ReadUncommitted, kafkaharness.ReadCommitted} {
			t.Run(fmt.Sprintf("%s/%s", name, isolation), func(t *testing.T) {
				records, err := cluster.AllRecords("orders")
				if isolation == kafkaharness.ReadCommitted {
					records, err = cluster.AllCommittedRecords("orders")
				}
				require.NoError(t, err)
				var want []string
				for _, r := range records {
					line := describeRecord(r.Partition, r.Offset, r.Key, r.Value)
					if name == "kcat" {
						line = fmt.Sprintf("%d/%d %d %d", r.Partition, r.Offset, lengthOf(r.Key), lengthOf(r.Value))
					}
					want = append(want, line)
				}
				got := read(t, cluster.BootstrapServers(), "orders", isolation, len(want))
				slices.Sort(want)
				slices.Sort(got)
				require.Equal(t, want, got)
			})
		}
	}
}

func lengthOf(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}

// writeForConsumers leaves a transaction open: consumers with read_committed see some 500 of 700 records.
func writeForConsumers(t *testing.T, cluster *quilltest.Cluster) {
	ctx := within(t, time.Minute)
	record := func(i int) quill.Record[[]byte, []byte] {
		r := quill.Record[[]byte, []byte]{Topic: "orders", Partition: quill.Partition(int32(i % 3)), Value: fmt.Appendf(nil, "value %d %s", i, strings.Repeat("x", i))}
		switch i % 10 {
		case 0:
			r.Value = nil
		case 1:
			r.Key = []byte{}
		default:
			r.Key = fmt.Appendf(nil, "key %d", i)
		}
		return r
	}
	for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionGzip, quill.CompressionSnappy, quill.CompressionLZ4, quill.CompressionZstd} {
		p, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers(), Compression: codec}, quill.Bytes, quill.Bytes)
		require.NoError(t, err)
		for i := range 100 {
			_, err := p.SendSync(ctx, record(i))
			require.NoError(t, err)
		}
		require.NoError(t, p.Close(ctx))
	}
	p, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers(), TransactionalID: "writer"}, quill.Bytes, quill.Bytes)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	require.NoError(t, p.InitTransactions(ctx))
	enough := errors.New("enough")
	for i := range 10 {
		err := p.InTransaction(ctx, func(tx *quill.Tx[[]byte, []byte]) error {
			for j := range 20 {
				tx.Send(ctx, record(j))
			}
			if i%2 == 0 {
				return nil
			}
			require.NoError(t, p.Flush(ctx))
			return enough
		})
		if err != nil {
			require.ErrorIs(t, err, enough)
		}
	}
	require.NoError(t, p.BeginTransaction())
	p.Send(ctx, record(3))
	require.NoError(t, p.Flush(ctx))
}

// TestKcatWritesToQuilltest with all that librdkafka can: it used to fall back to message format 0 where no Fetch was served.
func TestKcatWritesToQuilltest(t *testing.T) {
	kcat, err := kafkaharness.FindKcat(t.Context())
	kafkaharness.RequireFound(t, err)
	for _, release := range []string{"0.11", "2.1", "2.8", "3.9", "4.0", ""} {
		for i, settings := range [][]string{{}, {"acks=all", "enable.idempotence=true", "compression.codec=lz4"}, {"compression.codec=zstd"}, {"acks=0"}} {
			if i == 2 && release == "0.11" {
				continue // no zstd before 2.1
			}
			t.Run(fmt.Sprintf("%s/%v", release, settings), func(t *testing.T) {
				cluster := quilltest.Start(t, quilltest.Options{Release: release})
				cluster.MustCreateTopic("orders", 3, quilltest.TopicConfig{})
				var lines strings.Builder
				for i := range 1000 {
					fmt.Fprintf(&lines, "key %d\tvalue %d\n", i, i)
				}
				require.NoError(t, kcat.Write(within(t, time.Minute), cluster.BootstrapServers(), "orders", strings.NewReader(lines.String()), settings...))
				require.NoError(t, cluster.WaitRecords(within(t, time.Minute), "orders", 1000))
				records, err := cluster.AllRecords("orders")
				require.NoError(t, err)
				require.Len(t, records, 1000)
				require.Len(t, readWithKcat(t, cluster.BootstrapServers(), "orders", kafkaharness.ReadUncommitted, 0), 1000)
			})
		}
	}
}

// TestFranzFollowsTheLeadersOfQuilltest: a consumer goes on while leaders move and nodes stop.
func TestFranzFollowsTheLeadersOfQuilltest(t *testing.T) {
	cluster := quilltest.Start(t, quilltest.Options{})
	cluster.MustCreateTopic("orders", 1, quilltest.TopicConfig{})
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.BootstrapServers()...), kgo.ConsumeTopics("orders"), kgo.DefaultProduceTopic("orders"))
	require.NoError(t, err)
	defer client.Close()
	ctx := within(t, time.Minute)
	for i, change := range []func() error{
		func() error { return nil },
		func() error { return cluster.MoveLeader("orders", 0, 2) },
		func() error { return cluster.StopNode(2) },
		func() error { return cluster.StartNode(2) },
	} {
		require.NoError(t, change())
		require.NoError(t, client.ProduceSync(ctx, &kgo.Record{Value: []byte{byte(i)}}).FirstErr())
		fetches := client.PollRecords(ctx, 1)
		for fetches.NumRecords() == 0 {
			require.NoError(t, ctx.Err(), "step %d", i)
			fetches = client.PollRecords(ctx, 1)
		}
		require.Equal(t, []byte{byte(i)}, fetches.Records()[0].Value)
	}
	require.Positive(t, cluster.RequestCount(protocol.Fetch))
}
