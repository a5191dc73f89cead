package send_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// A record each millisecond, to 24 partitions in turn: kafka-clients 4.3.1 makes that many Produce requests. A request for
// each partition would be four to thirteen times as many.
func TestRecordsOfManyPartitionsTakeAsFewRequestsAsInJava(t *testing.T) {
	const records, partitions = 1000, 24
	for _, c := range []struct {
		nodes  int
		linger time.Duration
		java   int
	}{{1, 5 * time.Millisecond, 220}, {1, 50 * time.Millisecond, 29}, {3, 5 * time.Millisecond, 462}} {
		t.Run(fmt.Sprint(c.nodes, c.linger), func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{Nodes: c.nodes}, func(t *testing.T, cluster *quilltest.Cluster) {
				cluster.MustCreateTopic("t", partitions, quilltest.TopicConfig{})
				cfg := testkit.Config(cluster)
				cfg.Linger = c.linger
				p := testkit.Open(t, cfg)
				var longest time.Duration
				for i := range records {
					sent := time.Now()
					p.SendFunc(t.Context(), quill.Record[string, string]{Topic: "t", Partition: quill.Partition(int32(i * 7 % partitions)), Value: "v"},
						func(quill.RecordMetadata, error) { longest = max(longest, time.Since(sent)) })
					time.Sleep(time.Millisecond)
				}
				testkit.CloseProducer(t, p)
				requests := cluster.RequestCount(protocol.Produce)
				require.LessOrEqual(t, requests, int64(c.java*11/10))
				require.GreaterOrEqual(t, requests, int64(records*time.Millisecond/(c.linger+2*time.Millisecond)), "records did linger")
				require.LessOrEqual(t, longest, c.linger+time.Millisecond, "but not longer than they may")
			})
		})
	}
}
