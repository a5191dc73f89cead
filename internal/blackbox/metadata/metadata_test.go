package metadata_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// topicsAsked keeps the topics of each Metadata request.
type topicsAsked struct {
	mu    sync.Mutex
	asked [][]string
}

func (a *topicsAsked) intercept(r *quilltest.Request) *quilltest.Fault {
	if r.API != protocol.Metadata {
		return nil
	}
	names := []string{}
	for _, p := range r.Partitions() {
		names = append(names, p.Topic)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, names)
	return nil
}

// take returns the requests since the last time.
func (a *topicsAsked) take() [][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := a.asked
	a.asked = nil
	return taken
}

func TestTopicsAreLookedUpWhenFirstSentTo(t *testing.T) {
	var asked topicsAsked
	testkit.Bubble(t, quilltest.Options{Intercept: asked.intercept}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("a", 3, quilltest.TopicConfig{})
		c.MustCreateTopic("b", 3, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		time.Sleep(time.Hour)
		require.Empty(t, asked.take(), "nothing is asked before the first send")
		testkit.SendOK(t, p, "a")
		require.Equal(t, [][]string{{"a"}}, asked.take())
		testkit.SendOK(t, p, "b")
		require.Equal(t, [][]string{{"b"}}, asked.take(), "for the new topic alone (KIP-526)")
		for range 10 {
			testkit.SendOK(t, p, "a")
		}
		require.Empty(t, asked.take())
		testkit.CloseProducer(t, p)
	})
}

func TestManySendersShareOneLookUp(t *testing.T) {
	var asked topicsAsked
	testkit.Bubble(t, quilltest.Options{Intercept: asked.intercept}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, AnswerDelay: time.Second})
		p := testkit.Open(t, testkit.Config(c))
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				if _, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		testkit.RequireBetween(t, len(asked.take()), 1, 2)
		testkit.CloseProducer(t, p)
	})
}

func TestMetadataAreRefreshedWhenOld(t *testing.T) {
	var asked topicsAsked
	testkit.Bubble(t, quilltest.Options{Intercept: asked.intercept}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.MetadataMaxAge, cfg.MetadataMaxIdle = time.Minute, time.Hour
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		asked.take()
		time.Sleep(59 * time.Second)
		require.Empty(t, asked.take())
		time.Sleep(2 * time.Second)
		require.Equal(t, [][]string{{"t"}}, asked.take())
		time.Sleep(4 * time.Minute)
		require.Len(t, asked.take(), 4)
		require.NoError(t, c.AddPartitions("t", 5))
		time.Sleep(time.Minute)
		parts, err := p.PartitionsFor(t.Context(), "t")
		require.NoError(t, err)
		require.Len(t, parts, 5)
		testkit.CloseProducer(t, p)
	})
}

func TestIdleTopicsAreForgotten(t *testing.T) {
	var asked topicsAsked
	testkit.Bubble(t, quilltest.Options{Intercept: asked.intercept}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("busy", 3, quilltest.TopicConfig{})
		c.MustCreateTopic("idle", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.MetadataMaxAge, cfg.MetadataMaxIdle = time.Minute, 3*time.Minute
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "idle")
		for range 10 {
			testkit.SendOK(t, p, "busy")
			time.Sleep(time.Minute)
		}
		got := asked.take()
		require.Contains(t, got[2], "idle")
		require.Equal(t, []string{"busy"}, got[len(got)-1])
		time.Sleep(time.Second) // the periodic refresh is over
		asked.take()
		testkit.SendOK(t, p, "idle")
		require.Equal(t, [][]string{{"idle"}}, asked.take(), "sent to again, it is looked up again")
		testkit.CloseProducer(t, p)
	})
}

func TestMovedLeaderIsFollowed(t *testing.T) {
	for name, release := range map[string]string{"told in the answer (KIP-951)": "4.4", "asked for": "3.0"} {
		t.Run(name, func(t *testing.T) {
			var asked topicsAsked
			testkit.Bubble(t, quilltest.Options{Intercept: asked.intercept, Release: release}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				p := testkit.Open(t, testkit.Config(c))
				testkit.SendOK(t, p, "t")
				asked.take()
				require.NoError(t, c.MoveLeader("t", 0, 2))
				most := 150 * time.Millisecond
				if release == "4.4" {
					most = 10 * time.Millisecond // no back-off: the new leader is another matter
				}
				testkit.Within(t, 0, most, func() { require.EqualValues(t, 1, testkit.SendOK(t, p, "t").Offset) })
				if release == "4.4" {
					require.Empty(t, asked.take())
				} else {
					require.Equal(t, [][]string{{"t"}}, asked.take())
				}
				batches, err := c.Batches("t", 0)
				require.NoError(t, err)
				require.EqualValues(t, 2, batches[1].Node)
				testkit.CloseProducer(t, p)
			})
		})
	}
}

func TestLostLeaderIsLookedUp(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		testkit.SendOK(t, p, "t")
		leader, _, err := c.Leader("t", 0)
		require.NoError(t, err)
		require.NoError(t, c.StopNode(leader))
		testkit.Within(t, 0, time.Second, func() { require.EqualValues(t, 1, testkit.SendOK(t, p, "t").Offset) })
		testkit.CloseProducer(t, p)
	})
}

func TestPartitionWithoutLeaderWaitsAndGoesOn(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{Replicas: 1})
		p := testkit.Open(t, testkit.Config(c))
		testkit.SendOK(t, p, "t")
		require.NoError(t, c.StopNode(1)) // partition 0
		f := p.Send(t.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "waits")))
		_, err := p.SendSync(t.Context(), testkit.OnPartition(1, testkit.Rec("t", "k", "goes")))
		require.NoError(t, err, "the other partition is not concerned")
		time.Sleep(10 * time.Second)
		require.False(t, f.Done())
		require.NoError(t, c.StartNode(1))
		testkit.Within(t, 0, 3*time.Second, func() {
			_, err := f.Wait(t.Context())
			require.NoError(t, err)
		})
		testkit.CloseProducer(t, p)
	})
}

func TestPartitionWithoutLeaderExpires(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{Replicas: 1})
		cfg := testkit.Config(c)
		cfg.DeliveryTimeout, cfg.RequestTimeout = 5*time.Second, 2*time.Second
		p := testkit.Open(t, cfg)
		require.NoError(t, c.StopNode(1))
		testkit.Within(t, 5*time.Second, 5100*time.Millisecond, func() {
			_, err := p.Send(t.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "v"))).Wait(t.Context())
			require.ErrorIs(t, err, quill.ErrDeliveryTimeout)
			require.ErrorContains(t, err, "leader")
			testkit.CheckNotSent(t, err, "t", 0)
		})
		testkit.CloseProducer(t, p)
	})
}

func TestTopicCreatedWhileASendWaits(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		go func() {
			time.Sleep(5 * time.Second)
			c.MustCreateTopic("late", 1, quilltest.TopicConfig{})
		}()
		testkit.Within(t, 5*time.Second, 6500*time.Millisecond, func() { testkit.SendOK(t, p, "late") })
		testkit.CloseProducer(t, p)
	})
}

func TestTopicIsCreatedByTheCluster(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{AutoCreate: true, DefaultPartitions: 4}, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		testkit.Within(t, 0, 300*time.Millisecond, func() { testkit.SendOK(t, p, "new") })
		parts, err := p.PartitionsFor(t.Context(), "new")
		require.NoError(t, err)
		require.Len(t, parts, 4)
		testkit.CloseProducer(t, p)
	})
}

func TestDeletedAndRecreatedTopicGoesOn(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		for range 3 {
			require.NoError(t, c.MoveLeader("t", 0, 2)) // a higher epoch than the new topic will have
			testkit.SendOK(t, p, "t")
			require.NoError(t, c.MoveLeader("t", 0, 1))
		}
		testkit.SendOK(t, p, "t")
		require.NoError(t, c.DeleteTopic("t"))
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		testkit.Within(t, 0, 2*time.Second, func() { require.EqualValues(t, 0, testkit.SendOK(t, p, "t").Offset) })
		testkit.CloseProducer(t, p)
	})
}

func TestPartitionAskedForIsFoundAfterOneLook(t *testing.T) {
	var asked topicsAsked
	testkit.Bubble(t, quilltest.Options{Intercept: asked.intercept}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		testkit.SendOK(t, p, "t")
		time.Sleep(time.Second)
		asked.take()
		require.NoError(t, c.AddPartitions("t", 4))
		testkit.Within(t, 0, 10*time.Millisecond, func() {
			m, err := p.SendSync(t.Context(), testkit.OnPartition(3, testkit.Rec("t", "k", "v")))
			require.NoError(t, err)
			require.EqualValues(t, 3, m.Partition)
		})
		require.Len(t, asked.take(), 1)
		testkit.CloseProducer(t, p)
	})
}

// Every known node moves house at once, with new addresses: only the bootstrap servers lead back.
func TestRebootstrapWhenAllNodesAreGone(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		var service atomic.Value // a name that always leads to node 1
		service.Store(c.NodeAddr(1))
		cfg := testkit.Config(c)
		cfg.BootstrapServers = []string{"kafka.test:9092"}
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "kafka.test:9092" {
				addr = service.Load().(string)
			}
			return c.DialContext(ctx, network, addr)
		}
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.RelocateNode(id))
		}
		service.Store(c.NodeAddr(1))
		testkit.Within(t, 0, 5*time.Second, func() { testkit.SendOK(t, p, "t") })
		testkit.CloseProducer(t, p)
	})
}

func TestRebootstrapWhenTheClusterAsksForIt(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		c.MustCreateTopic("u", 3, quilltest.TopicConfig{})
		var bootstraps atomic.Int32
		cfg := testkit.Config(c)
		cfg.BootstrapServers = []string{"kafka.test:9092"}
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "kafka.test:9092" {
				bootstraps.Add(1)
				addr = c.NodeAddr(2)
			}
			return c.DialContext(ctx, network, addr)
		}
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		require.EqualValues(t, 1, bootstraps.Load())
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Err: protocol.RebootstrapRequired})
		testkit.Within(t, 0, time.Second, func() { testkit.SendOK(t, p, "u") })
		require.EqualValues(t, 2, bootstraps.Load())
		testkit.CloseProducer(t, p)
	})
}

func TestNoRebootstrapIfSwitchedOff(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		var bootstraps atomic.Int32
		cfg := testkit.Config(c)
		cfg.NoRebootstrap = true
		cfg.BootstrapServers = []string{"kafka.test:9092"}
		cfg.RequestTimeout, cfg.DeliveryTimeout = 2*time.Second, 20*time.Second
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "kafka.test:9092" {
				bootstraps.Add(1)
				addr = c.NodeAddr(1)
			}
			return c.DialContext(ctx, network, addr)
		}
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.RelocateNode(id))
		}
		_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
		require.ErrorIs(t, err, quill.ErrDeliveryTimeout)
		require.EqualValues(t, 1, bootstraps.Load())
		testkit.CloseProducer(t, p)
	})
}

func TestMetadataAreAskedOfAnIdleNode(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		for i := range 20 {
			c.MustCreateTopic(fmt.Sprint("other-", i), 1, quilltest.TopicConfig{})
		}
		p := testkit.Open(t, testkit.Config(c))
		for i := range int32(3) {
			_, err := p.SendSync(t.Context(), testkit.OnPartition(i, testkit.Rec("t", "k", "v")))
			require.NoError(t, err)
		}
		// Node 3 hangs with a request in flight: requests to it wait with it.
		require.NoError(t, c.PauseNode(3))
		hanging := p.Send(t.Context(), testkit.OnPartition(2, testkit.Rec("t", "k", "v")))
		time.Sleep(10 * time.Millisecond)
		for i := range 20 {
			testkit.Within(t, 0, 200*time.Millisecond, func() { testkit.SendOK(t, p, fmt.Sprint("other-", i)) })
		}
		require.False(t, hanging.Done())
		require.NoError(t, c.ResumeNode(3))
		testkit.CloseProducer(t, p)
		require.True(t, hanging.Done())
	})
}

func TestMetadataRequestsAfterFailuresAreSpacedOut(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MaxBlock = 30 * time.Second
		cfg.Logger = slog.New(slog.DiscardHandler)
		p := testkit.Open(t, cfg)
		_, err := p.SendSync(t.Context(), testkit.Rec("missing", "k", "v"))
		require.ErrorIs(t, err, quill.ErrTimeout)
		n := c.RequestCount(protocol.Metadata)
		require.GreaterOrEqual(t, n, int64(25), "it goes on asking, in the end about every second")
		require.LessOrEqual(t, n, int64(45))
		time.Sleep(time.Minute)
		n = c.RequestCount(protocol.Metadata)
		time.Sleep(time.Hour)
		require.Equal(t, n, c.RequestCount(protocol.Metadata), "nobody waits any more: nobody asks")
		testkit.CloseProducer(t, p)
	})
}

func TestMetadataAnswersThatAreNoGood(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "t", Err: protocol.LeaderNotAvailable, Times: 2})
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, DisconnectAfter: true, Skip: 2})
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Skip: 3, Rewrite: func(_ *quilltest.Request, frame []byte) []byte {
			for i := range frame[8:] {
				frame[8+i] = 0xff
			}
			return frame
		}})
		p := testkit.Open(t, testkit.Config(c))
		testkit.Within(t, 300*time.Millisecond, 5*time.Second, func() { testkit.SendOK(t, p, "t") })
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testTopicExpiryInMetadata
func TestAForgottenTopicIsWaitedForAgain(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MaxBlock, cfg.MetadataMaxAge, cfg.MetadataMaxIdle = 30*time.Second, time.Minute, time.Minute
		p := testkit.Open(t, cfg)
		_, err := p.PartitionsFor(t.Context(), "t")
		require.NoError(t, err)
		time.Sleep(3 * time.Minute)
		asked := c.RequestCount(protocol.Metadata)
		silent := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, DropRequest: true, Times: -1})
		testkit.Within(t, 30*time.Second, 30*time.Second, func() {
			_, err := p.PartitionsFor(t.Context(), "t")
			require.ErrorIs(t, err, quill.ErrTimeout)
		})
		require.Greater(t, c.RequestCount(protocol.Metadata), asked)
		silent.Remove()
		partitions, err := p.PartitionsFor(t.Context(), "t")
		require.NoError(t, err)
		require.Len(t, partitions, 2)
		testkit.CloseProducer(t, p)
	})
}
