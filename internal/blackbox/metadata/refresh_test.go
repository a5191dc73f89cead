package metadata_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// countBootstraps makes the bootstrap server a name that leads to node 1, and counts who asks for it.
func countBootstraps(c *quilltest.Cluster, cfg *quill.Config) *atomic.Int32 {
	n := new(atomic.Int32)
	cfg.BootstrapServers = []string{"kafka.test:9092"}
	cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == "kafka.test:9092" {
			n.Add(1)
			addr = c.NodeAddr(1)
		}
		return c.DialContext(ctx, network, addr)
	}
	return n
}

// The nodes answer, but never with usable metadata: metadata.recovery.rebootstrap.trigger.ms after the first
// failure the producer begins again (KIP-1102). The failures after that one do not put it off.
func TestNodesThatNeverHaveMetadataAreLeftInTheEnd(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		c.MustCreateTopic("u", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.MetadataRecoveryRebootstrapTrigger, cfg.MaxBlock = 30*time.Second, 2*time.Minute
		bootstraps := countBootstraps(c, &cfg)
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		require.EqualValues(t, 1, bootstraps.Load())
		lie := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Times: -1, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.MetadataResponse).Brokers = nil
		}})
		start := time.Now()
		f := make(chan error, 1)
		go func() {
			_, err := p.SendSync(t.Context(), testkit.Rec("u", "k", "v"))
			f <- err
		}()
		time.Sleep(29 * time.Second)
		require.EqualValues(t, 1, bootstraps.Load())
		require.Greater(t, lie.Hits(), int64(20))
		time.Sleep(3 * time.Second)
		require.EqualValues(t, 2, bootstraps.Load(), "30 s after the first failure")
		lie.Remove()
		require.NoError(t, <-f)
		require.Less(t, time.Since(start), 35*time.Second)
		time.Sleep(time.Minute)
		require.EqualValues(t, 2, bootstraps.Load())
		testkit.CloseProducer(t, p)
	})
}

// A failure that was overcome does not count towards the trigger of the next.
func TestTroubleThatIsOverDoesNotCount(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.MetadataRecoveryRebootstrapTrigger, cfg.MetadataMaxAge = 30*time.Second, 20*time.Second
		bootstraps := countBootstraps(c, &cfg)
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		for range 10 {
			failing := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Times: 3, Edit: func(_ *quilltest.Request, response any) {
				response.(*message.MetadataResponse).Brokers = nil
			}})
			time.Sleep(22 * time.Second)
			require.EqualValues(t, 3, failing.Hits())
			testkit.SendOK(t, p, "t")
		}
		require.EqualValues(t, 1, bootstraps.Load())
		testkit.CloseProducer(t, p)
	})
}

// Nodes' racks come from the cluster, and with them where keyless records go (KIP-1123).
func TestKeylessRecordsStayInTheRackThatTheClusterTells(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Racks: []string{"a", "b", "c"}}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.PartitionerRackAware, cfg.ClientRack = true, "b"
		cfg.BatchSize, cfg.Linger = -1, -1
		p := testkit.Open(t, cfg)
		view, err := quill.Share(p, testkit.NullSerializer, quill.String)
		require.NoError(t, err)
		for range 50 {
			m, err := view.SendSync(t.Context(), quill.Record[string, string]{Topic: "t", Value: "v"})
			require.NoError(t, err)
			leader, _, err := c.Leader("t", m.Partition)
			require.NoError(t, err)
			require.EqualValues(t, 2, leader, "partition %d", m.Partition)
		}
		testkit.CloseProducer(t, p)
	})
}

// Before version 9 of Metadata brokers report epochs that may be old (KAFKA-9212): leaders are taken as they come.
func TestEpochsOfOldBrokersDoNotCount(t *testing.T) {
	for release, follows := range map[string]bool{"2.3": true, "2.4": false} {
		testkit.Bubble(t, quilltest.Options{Release: release}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			p := testkit.Open(t, testkit.Config(c))
			c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Edit: func(_ *quilltest.Request, response any) {
				response.(*message.MetadataResponse).Topics[0].Partitions[0].LeaderEpoch = 1000 // and lower ones from then on
			}})
			testkit.SendOK(t, p, "t")
			require.NoError(t, c.MoveLeader("t", 0, 3))
			start := time.Now()
			f := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
			time.Sleep(5 * time.Second)
			require.Equal(t, follows, f.Done(), "release %s", release)
			if follows {
				_, err := f.Wait(t.Context())
				require.NoError(t, err)
			}
			require.Less(t, time.Since(start), time.Minute)
			closeNow(t, p)
		})
	}
}

// closeNow closes a producer that has records it can't deliver.
func closeNow(t *testing.T, p *quill.Producer[string, string]) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = p.Close(ctx)
}
