package quilltest

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// TestBothTransports runs one conversation over TCP and over pipes.
func TestBothTransports(t *testing.T) {
	for name, pipes := range map[string]bool{"tcp": false, "pipes": true} {
		t.Run(name, func(t *testing.T) {
			c := Start(t, Options{Pipes: pipes})
			c.MustCreateTopic("orders", 3, TopicConfig{})
			require.Len(t, c.BootstrapServers(), 3)
			batch := testBatch{values: records(10)}.bytes()
			r := dial(t, c, 1)
			require.Len(t, r.metadata(13, "orders").Topics[0].Partitions, 3)
			require.Equal(t, protocol.None, r.produce(c, "orders", batch).ErrorCode)

			addr := c.NodeAddr(1)
			require.NoError(t, c.StopNode(1))
			r.requireClosed()
			_, err := c.DialContext(t.Context(), "tcp", addr)
			require.ErrorIs(t, err, errRefused)
			require.NoError(t, c.StartNode(1))
			require.Equal(t, addr, c.NodeAddr(1))
			require.Len(t, dial(t, c, 1).metadata(13).Brokers, 3)
			require.NoError(t, c.Close())
			_, err = c.DialContext(t.Context(), "tcp", addr)
			require.ErrorIs(t, err, errRefused)
			log, err := c.Records("orders", 0)
			require.NoError(t, err, "the logs stay readable")
			require.Len(t, log, 10)
		})
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	c, err := NewCluster(Options{})
	require.NoError(t, err)
	c.MustCreateTopic("orders", 1, TopicConfig{})
	c.Inject(Fault{APIs: []protocol.APIKey{protocol.Produce}, Delay: time.Hour})
	var clients []*rawClient
	for _, node := range c.NodeIDs() {
		clients = append(clients, dial(t, c, node), dial(t, c, node))
	}
	clients[0].send(produceRequest(c, "orders", 1, testBatch{values: records(1)}.bytes()), latestProduce)
	clients[2].metadata(13)
	require.NoError(t, c.WaitRequests(t.Context(), protocol.Produce, 1))
	require.NoError(t, c.PauseNode(2))
	clients[2].send(apiVersions(), 0)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	// A goroutine that has called Done of its WaitGroup still takes a moment to end.
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 5*time.Second, time.Millisecond) // Eventually has one itself
	require.ErrorIs(t, c.StartNode(1), net.ErrClosed)
}

func TestStoppedLeaderIsReplaced(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		c.MustCreateTopic("single", 1, TopicConfig{Replicas: 1})
		require.NoError(t, c.StopNode(1))
		leader := func(topic string) []int32 {
			node, epoch, err := c.Leader(topic, 0)
			require.NoError(t, err)
			return []int32{node, epoch}
		}
		require.Equal(t, []int32{2, 1}, leader("orders"))
		require.Equal(t, []int32{-1, 1}, leader("single"))
		res := dial(t, c, 2).metadata(13, "orders", "single")
		require.Len(t, res.Brokers, 2)
		require.Equal(t, int32(2), res.ControllerID)
		require.Equal(t, []int32{2, 3}, res.Topics[0].Partitions[0].ISRNodes.List())
		require.Equal(t, []int32{1}, res.Topics[0].Partitions[0].OfflineReplicas.List())
		require.Equal(t, protocol.LeaderNotAvailable, res.Topics[1].Partitions[0].ErrorCode)

		require.NoError(t, c.StopNode(3))
		require.NoError(t, c.StopNode(2))
		require.Equal(t, []int32{-1, 2}, leader("orders"))
		require.NoError(t, c.StartNode(1))
		require.Equal(t, []int32{-1, 2}, leader("orders"), "node 1 is behind: only node 2 was in sync")
		require.Equal(t, []int32{1, 2}, leader("single"))
		require.NoError(t, c.StartNode(2))
		require.Equal(t, []int32{2, 3}, leader("orders"))
		require.NoError(t, c.MoveLeader("orders", 0, 1))
		require.Equal(t, []int32{1, 4}, leader("orders"))
		require.ErrorIs(t, c.MoveLeader("orders", 0, 3), protocol.ReplicaNotAvailable)
		require.ErrorIs(t, c.MoveLeader("orders", 9, 1), protocol.UnknownTopicOrPartition)
		require.Error(t, c.SetISR("orders", 0, 2))
		require.Error(t, c.SetISR("orders", 0, 1, 9))
		require.Error(t, c.SetISR("orders", 0))
		for _, f := range []func(int32) error{c.StopNode, c.StartNode, c.PauseNode, c.CutOffNode, c.ResumeNode, c.RelocateNode, c.Disconnect} {
			require.ErrorIs(t, f(4), protocol.BrokerNotAvailable)
		}
	})
}

func TestPausedNodeTakesBytesAndAnswersNothing(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		require.NoError(t, c.PauseNode(1))
		late := dial(t, c, 1)
		late.send(apiVersions(), 3)
		r.send(produceRequest(c, "orders", -1, testBatch{values: records(1)}.bytes()), latestProduce)
		r.requireSilence()
		late.requireSilence()
		require.Zero(t, c.Appended("orders"))
		require.NoError(t, c.ResumeNode(1))
		r.receive(protocol.Produce, latestProduce)
		late.receive(protocol.APIVersions, 3)
		require.Equal(t, int64(1), c.Appended("orders"))
	})
}

func TestCutOffNodeKeepsDialersWaiting(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 1)
		require.NoError(t, c.CutOffNode(1))
		r.send(apiVersions(), 3)
		r.requireSilence()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := c.DialContext(ctx, "tcp", c.NodeAddr(1))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.AfterFunc(time.Minute, func() { require.NoError(t, c.ResumeNode(1)) })
		dial(t, c, 1).do(apiVersions(), 3)
		r.receive(protocol.APIVersions, 3)
	})
}

func TestRelocatedNodeHasANewAddress(t *testing.T) {
	for _, pipes := range []bool{true, false} {
		c := Start(t, Options{Pipes: pipes})
		old := c.NodeAddr(2)
		require.NoError(t, c.RelocateNode(2))
		require.NotEqual(t, old, c.NodeAddr(2))
		_, err := c.DialContext(t.Context(), "tcp", old)
		require.Error(t, err)
		res := dial(t, c, 2).metadata(13)
		require.Equal(t, c.NodeAddr(2), joinHostPort(res.Brokers[1].Host, res.Brokers[1].Port))
	}
}

func TestAdvertisedAddresses(t *testing.T) {
	advertise := func(node int32, host string, port int32) (string, int32) { return "proxy", port + 10*node }
	inBubble(t, Options{Advertise: advertise}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		broker := dial(t, c, 1).metadata(13).Brokers[1]
		require.Equal(t, []any{"proxy", int32(pipePort + 20)}, []any{broker.Host, broker.Port})
		res := dial(t, c, 2).do(produceRequest(c, "orders", 1, testBatch{values: records(1)}.bytes()), latestProduce).(*message.ProduceResponse)
		require.Equal(t, "proxy", res.NodeEndpoints[0].Host)
	})
}

func TestRequestsOfAConnectionAreAnsweredInOrder(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		for i := range int32(5) {
			r.send(produceRequest(c, "orders", -1, testBatch{values: records(1), pid: 9, sequence: i}.bytes()), latestProduce)
		}
		r.correlation = 0
		for i := range int64(5) {
			r.correlation++
			res := r.receive(protocol.Produce, latestProduce).(*message.ProduceResponse)
			require.Equal(t, i, res.Responses[0].PartitionResponses[0].BaseOffset)
		}
	})
}

func TestBadFramesCloseTheConnection(t *testing.T) {
	good := func(r *rawClient) []byte { return r.frame(apiVersions(), 3) }
	tests := map[string]func(r *rawClient) []byte{
		"too large":     func(*rawClient) []byte { return binary.BigEndian.AppendUint32(nil, 1<<20+1) },
		"negative":      func(*rawClient) []byte { return binary.BigEndian.AppendUint32(nil, 1<<31) },
		"empty":         func(*rawClient) []byte { return make([]byte, 4) },
		"unknown API":   func(r *rawClient) []byte { b := good(r); b[5] = 99; return b },
		"not served":    func(r *rawClient) []byte { return r.frame(&message.GetTelemetrySubscriptionsRequest{}, 0) },
		"cut body":      func(r *rawClient) []byte { b := good(r); b[3]--; return b[:len(b)-1] },
		"trailing byte": func(r *rawClient) []byte { b := append(good(r), 0); b[3]++; return b },
		"HTTP":          func(*rawClient) []byte { return []byte("GET / HTTP/1.1\r\n\r\n") },
	}
	for name, frame := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{MaxRequestBytes: 1 << 20}, func(t *testing.T, c *Cluster) {
				r := dial(t, c, 1)
				_, err := r.nc.Write(frame(r))
				require.NoError(t, err)
				r.requireClosed()
				require.Empty(t, c.Requests())
			})
		})
	}
}

// TestTruncatedRequests cuts a request at every byte and expects the node to hang up, not to answer
// or to panic.
func TestTruncatedRequests(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		whole := dial(t, c, 1).frame(produceRequest(c, "orders", -1, testBatch{values: records(2)}.bytes()), latestProduce)
		for n := 4; n < len(whole); n++ {
			r := dial(t, c, 1)
			cut := append([]byte{}, whole[:n]...)
			binary.BigEndian.PutUint32(cut, uint32(n-4))
			_, err := r.nc.Write(cut)
			require.NoError(t, err)
			r.requireClosed()
		}
		require.Zero(t, c.Appended("orders"))
	})
}

func TestNodeMaySpeakFirst(t *testing.T) {
	greet := func(node int32) []byte { return []byte{byte(node)} }
	inBubble(t, Options{Greet: greet}, func(t *testing.T, c *Cluster) {
		b := make([]byte, 1)
		r := dial(t, c, 3)
		_, err := r.nc.Read(b)
		require.NoError(t, err)
		require.Equal(t, byte(3), b[0])
		r.metadata(13)
	})
}

func TestRequestsAreCountedAndKept(t *testing.T) {
	inBubble(t, Options{RetainRequests: 3}, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 2)
		other := dial(t, c, 3)
		for range 4 {
			r.metadata(12)
		}
		other.do(apiVersions(), 3)
		require.Equal(t, int64(4), c.RequestCount(protocol.Metadata))
		require.Equal(t, int64(4), c.RequestCount(protocol.Metadata, 1, 2))
		require.Zero(t, c.RequestCount(protocol.Metadata, 3))
		kept := c.Requests()
		require.Len(t, kept, 3)
		require.Equal(t, []int32{3, 4, 1}, []int32{kept[0].CorrelationID, kept[1].CorrelationID, kept[2].CorrelationID})
		last := kept[2]
		require.Equal(t, Request{API: protocol.APIVersions, Version: 3, CorrelationID: 1, ClientID: "raw", Node: 3, Conn: 2, Size: last.Size, Time: time.Now()}, last)
	})
}

func TestWaitForSeesEveryChange(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		var wg sync.WaitGroup
		wg.Go(func() {
			r := dial(t, c, 1)
			for range 3 {
				time.Sleep(time.Second)
				r.produce(c, "orders", testBatch{values: records(2)}.bytes())
			}
		})
		start := time.Now()
		require.NoError(t, c.WaitRecords(t.Context(), "orders", 5))
		require.Equal(t, 3*time.Second, time.Since(start))
		wg.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, c.WaitRecords(ctx, "orders", 7), context.DeadlineExceeded)
	})
}

func TestClusterServesTLS(t *testing.T) {
	cert := testCertificate(t)
	inBubble(t, Options{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 1)
		plain := r.nc
		r.nc = tls.Client(plain, &tls.Config{InsecureSkipVerify: true})
		require.Len(t, r.metadata(13).Brokers, 3)
		require.NoError(t, c.Disconnect(1))
		r.requireClosed()
		_ = plain.Close()
	})
}

func TestBubbleNeedsNoRealTime(t *testing.T) {
	start := time.Now()
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, Options{Pipes: true})
		c.Inject(Fault{AnswerDelay: 24 * time.Hour})
		dial(t, c, 1).metadata(13)
	})
	require.Less(t, time.Since(start), 5*time.Second)
}

func TestBadOptions(t *testing.T) {
	for _, opts := range []Options{{Nodes: -1}, {Nodes: 1, Racks: []string{"a", "b"}}} {
		_, err := NewCluster(opts)
		require.Error(t, err)
	}
}

// TestPipesSayWhatTheyNeed holds the address that a client without DialContext sees in its error.
func TestPipesSayWhatTheyNeed(t *testing.T) {
	inBubble(t, Options{Nodes: 300}, func(t *testing.T, c *Cluster) {
		seen := make(map[string]bool)
		for _, addr := range c.BootstrapServers() {
			host, _, err := net.SplitHostPort(addr)
			require.NoError(t, err)
			require.Regexp(t, `^node-\d+\.set-dialcontext-\S+\.invalid$`, host)
			require.False(t, seen[addr])
			seen[addr] = true
		}
	})
}
