package quilltest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

var produceOnly = []protocol.APIKey{protocol.Produce}

// withTopic runs a test on a cluster whose topic "orders" has two partitions, both led by node 1.
func withTopic(t *testing.T, opts Options, test func(t *testing.T, c *Cluster, r *rawClient, batch []byte)) {
	t.Helper()
	inBubble(t, opts, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 2, TopicConfig{})
		require.NoError(t, c.MoveLeader("orders", 1, 1))
		test(t, c, dial(t, c, 1), testBatch{values: records(3)}.bytes())
	})
}

func TestFaultPicksItsRequests(t *testing.T) {
	withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, batch []byte) {
		fails := func() bool { return r.produce(c, "orders", batch).ErrorCode == protocol.KafkaStorageError }
		f := Fault{Err: protocol.KafkaStorageError, APIs: produceOnly}
		once := c.Inject(f)
		require.True(t, fails())
		require.False(t, fails())
		require.Equal(t, int64(1), once.Hits())

		f.Skip, f.Times = 1, 2
		third := c.Inject(f)
		require.Equal(t, []bool{false, true, true, false}, []bool{fails(), fails(), fails(), fails()})
		require.Equal(t, int64(2), third.Hits())

		f.Skip, f.Times = 0, -1
		always := c.Inject(f)
		for range 5 {
			require.True(t, fails())
		}
		always.Remove()
		require.False(t, fails())
		require.Equal(t, int64(5), always.Hits())

		for _, miss := range []Fault{
			{APIs: []protocol.APIKey{protocol.Metadata}}, {Nodes: []int32{2}}, {ClientID: "other"}, {Topic: "others"},
			{Partitions: []int32{1}}, {When: func(*Request) bool { return false }},
		} {
			miss.Err = protocol.KafkaStorageError
			i := c.Inject(miss)
			require.False(t, fails())
			require.Zero(t, i.Hits())
			i.Remove()
		}
		hit := c.Inject(Fault{
			APIs: produceOnly, Nodes: []int32{1}, ClientID: "raw", Topic: "orders", Partitions: []int32{0}, Err: protocol.KafkaStorageError,
			When: func(r *Request) bool { h, ok := r.Batch("orders", 0); return ok && h.Count == 3 },
		})
		require.True(t, fails())
		require.NoError(t, hit.Wait(t.Context(), 1))
	})
}

// TestWaitSeesAHitAtOnce, and not when next something happens in the cluster.
func TestWaitSeesAHitAtOnce(t *testing.T) {
	withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, batch []byte) {
		hit := c.Inject(Fault{APIs: produceOnly, Delay: time.Hour, When: func(*Request) bool {
			time.Sleep(time.Second) // so that the other goroutine looks before the hit counts
			return true
		}})
		begin := time.Now()
		r.send(produceRequest(c, "orders", -1, batch), latestProduce)
		require.NoError(t, hit.Wait(t.Context(), 1))
		require.Equal(t, time.Second, time.Since(begin))
	})
}

func TestFaultHitsOnlyItsPartitions(t *testing.T) {
	withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, batch []byte) {
		c.Inject(Fault{APIs: produceOnly, Topic: "orders", Partitions: []int32{1}, Err: protocol.NotEnoughReplicas, ErrMessage: "two are away"})
		c.Inject(Fault{APIs: produceOnly, Err: protocol.UnknownServerError, Partitions: []int32{1}})
		res := r.do(produceRequest(c, "orders", -1, batch, batch), latestProduce).(*message.ProduceResponse)
		partitions := res.Responses[0].PartitionResponses
		require.Equal(t, protocol.None, partitions[0].ErrorCode)
		require.Equal(t, protocol.NotEnoughReplicas, partitions[1].ErrorCode, "the one injected first wins")
		require.Equal(t, "two are away", *partitions[1].ErrorMessage)
		require.Equal(t, int64(3), c.Appended("orders"))
	})
}

func TestErrorAfterAppend(t *testing.T) {
	withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, _ []byte) {
		batch := testBatch{values: records(3), pid: 5}.bytes()
		c.Inject(Fault{APIs: produceOnly, Err: protocol.RequestTimedOut, AfterAppend: true})
		require.Equal(t, protocol.RequestTimedOut, r.produce(c, "orders", batch).ErrorCode)
		require.Equal(t, int64(3), c.Appended("orders"))
		res := r.produce(c, "orders", batch)
		require.Equal(t, protocol.None, res.ErrorCode, "sent again, it is a duplicate")
		require.Equal(t, int64(0), res.BaseOffset)
		require.Equal(t, int64(3), c.Appended("orders"))

		c.Inject(Fault{APIs: produceOnly, Err: protocol.RequestTimedOut, AfterAppend: true})
		gap := testBatch{values: records(1), pid: 5, sequence: 9}.bytes()
		require.Equal(t, protocol.OutOfOrderSequenceNumber, r.produce(c, "orders", gap).ErrorCode)
	})
}

func TestRecordErrors(t *testing.T) {
	withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, batch []byte) {
		c.Inject(Fault{APIs: produceOnly, RecordErrors: map[int32]string{2: "bad", 0: "worse"}, ErrMessage: "two records"})
		res := r.produce(c, "orders", batch)
		require.Equal(t, protocol.InvalidRecord, res.ErrorCode)
		require.Equal(t, "two records", *res.ErrorMessage)
		require.Len(t, res.RecordErrors, 2)
		require.Equal(t, int32(0), res.RecordErrors[0].BatchIndex)
		require.Equal(t, "worse", *res.RecordErrors[0].BatchIndexErrorMessage)
		require.Zero(t, c.Appended("orders"))
	})
}

func TestLostRequestsAndLostAnswers(t *testing.T) {
	tests := []struct {
		name     string
		fault    Fault
		appended int64
		closed   bool
	}{
		{"request lost, connection gone", Fault{DisconnectBefore: true}, 0, true},
		{"answer lost, connection gone", Fault{DisconnectAfter: true}, 6, true},
		{"requests lost", Fault{DropRequest: true}, 0, false},
		{"answers lost", Fault{DropAnswer: true}, 12, false},
		{"half an answer", Fault{CutAnswer: 7}, 6, true},
		{"no answer written", Fault{Rewrite: func(*Request, []byte) []byte { return nil }, Times: 2}, 12, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, batch []byte) {
				test.fault.APIs = produceOnly
				c.Inject(test.fault)
				r.send(produceRequest(c, "orders", -1, batch, batch), latestProduce)
				if test.closed {
					r.requireClosed()
				} else {
					r.requireSilence()
					r.send(produceRequest(c, "orders", -1, batch, batch), latestProduce)
					r.requireSilence()
				}
				require.Equal(t, test.appended, c.Appended("orders"))
				require.Equal(t, protocol.None, dial(t, c, 1).produce(c, "orders", batch).ErrorCode, "a new connection is well")
			})
		})
	}
}

func TestDelays(t *testing.T) {
	withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, batch []byte) {
		start := time.Now()
		c.Inject(Fault{APIs: produceOnly, Delay: 2 * time.Second, AnswerDelay: time.Second})
		c.Inject(Fault{APIs: produceOnly, Delay: time.Second})
		r.send(produceRequest(c, "orders", -1, batch), latestProduce)
		time.Sleep(2500 * time.Millisecond)
		require.Zero(t, c.Appended("orders"))
		time.Sleep(time.Second)
		require.Equal(t, int64(3), c.Appended("orders"))
		r.receive(protocol.Produce, latestProduce)
		require.Equal(t, 4*time.Second, time.Since(start))
	})
}

func TestThrottleIsToldAndKept(t *testing.T) {
	withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, batch []byte) {
		start := time.Now()
		c.Inject(Fault{APIs: produceOnly, Throttle: 40 * time.Second})
		res := r.do(produceRequest(c, "orders", -1, batch), latestProduce).(*message.ProduceResponse)
		require.Equal(t, 40*time.Second, res.Throttle())
		require.Zero(t, time.Since(start), "the answer comes at once (KIP-219)")
		r.produce(c, "orders", batch)
		require.Equal(t, 40*time.Second, time.Since(start), "who does not wait is made to")
		for _, req := range []message.Request{&message.MetadataRequest{}, apiVersions(), &message.InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1}} {
			c.Inject(Fault{Throttle: time.Second})
			require.Equal(t, time.Second, r.do(req, req.MaxVersion()).(message.Throttled).Throttle())
		}
	})
}

func TestQuotaThrottlesWhoIsTooFast(t *testing.T) {
	inBubble(t, Options{ProduceQuota: 1000}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		start := time.Now()
		const requests = 20
		batch := testBatch{values: records(20)}.bytes()
		var told time.Duration
		for range requests {
			told += r.do(produceRequest(c, "orders", -1, batch), latestProduce).(*message.ProduceResponse).Throttle()
		}
		sent := 0
		for _, req := range c.Requests() {
			sent += req.Size
		}
		took := time.Since(start) + quotaBurst
		require.Positive(t, told)
		require.InDelta(t, float64(sent)/1000, took.Seconds(), 1)
	})
}

func TestErrorsOfRequestsWithoutPartitions(t *testing.T) {
	withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, _ []byte) {
		c.Inject(Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.ClusterAuthorizationFailed})
		c.Inject(Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Err: protocol.UnknownServerError})
		c.Inject(Fault{APIs: []protocol.APIKey{protocol.Metadata}, Err: protocol.RebootstrapRequired})
		init := r.do(&message.InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1}, 5).(*message.InitProducerIDResponse)
		require.Equal(t, protocol.ClusterAuthorizationFailed, init.ErrorCode)
		require.Equal(t, int64(-1), init.ProducerID)
		require.Equal(t, protocol.UnknownServerError, r.do(apiVersions(), 5).(*message.APIVersionsResponse).ErrorCode)
		require.Equal(t, protocol.RebootstrapRequired, r.metadata(13).ErrorCode)
	})
}

func TestMetadataErrorsByTopicAndPartition(t *testing.T) {
	withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, _ []byte) {
		c.MustCreateTopic("audit", 1, TopicConfig{})
		c.Inject(Fault{Topic: "orders", Err: protocol.TopicAuthorizationFailed})
		res := r.metadata(13, "orders", "audit")
		require.Equal(t, protocol.TopicAuthorizationFailed, res.Topics[0].ErrorCode)
		require.Equal(t, protocol.None, res.Topics[1].ErrorCode)
		require.Equal(t, protocol.None, res.ErrorCode)
		c.Inject(Fault{Topic: "orders", Partitions: []int32{1}, Err: protocol.LeaderNotAvailable})
		res = r.metadata(13)
		require.Equal(t, protocol.None, res.Topics[1].Partitions[0].ErrorCode)
		require.Equal(t, protocol.LeaderNotAvailable, res.Topics[1].Partitions[1].ErrorCode)
		require.Equal(t, int32(-1), res.Topics[1].Partitions[1].LeaderID)
	})
}

func TestAnswersCanBeEditedAndRewritten(t *testing.T) {
	withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, batch []byte) {
		c.Inject(Fault{APIs: produceOnly, Edit: func(_ *Request, response any) {
			response.(*message.ProduceResponse).Responses[0].PartitionResponses[0].BaseOffset = -7
		}})
		require.Equal(t, int64(-7), r.produce(c, "orders", batch).BaseOffset)
		var twice []byte
		c.Inject(Fault{APIs: produceOnly, Rewrite: func(_ *Request, frame []byte) []byte {
			twice = append(bytes.Clone(frame), frame...)
			return twice
		}})
		r.produce(c, "orders", batch)
		again, err := r.read()
		require.NoError(t, err)
		require.Equal(t, twice[len(twice)/2+4:], again)
	})
}

func TestAnswerTrickles(t *testing.T) {
	withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, batch []byte) {
		start := time.Now()
		size := 0
		c.Inject(Fault{APIs: produceOnly, Trickle: time.Second, Rewrite: func(_ *Request, frame []byte) []byte { size = len(frame); return frame }})
		r.produce(c, "orders", batch)
		require.Equal(t, time.Duration(size-1)*time.Second, time.Since(start))
	})
}

func TestHooksMayChangeTheCluster(t *testing.T) {
	withTopic(t, Options{}, func(t *testing.T, c *Cluster, r *rawClient, batch []byte) {
		c.Inject(Fault{APIs: produceOnly, Do: func(*Request) { require.NoError(t, c.MoveLeader("orders", 0, 2)) }})
		res := r.produce(c, "orders", batch)
		require.Equal(t, protocol.NotLeaderOrFollower, res.ErrorCode)
		require.Equal(t, int32(2), res.CurrentLeader.LeaderID)
		c.Inject(Fault{APIs: produceOnly, Do: func(*Request) { require.NoError(t, c.StopNode(1)) }})
		r.send(produceRequest(c, "orders", -1, batch), latestProduce)
		r.requireClosed()
	})
}

func TestInterceptDecidesForEachRequest(t *testing.T) {
	var seen []TopicPartition
	var sent []byte
	opts := Options{Intercept: func(r *Request) *Fault {
		if r.API != protocol.Produce {
			return nil
		}
		seen = append(seen, r.Partitions()...)
		sent = bytes.Clone(r.Records("orders", 1))
		return &Fault{Err: protocol.NotLeaderOrFollower}
	}}
	withTopic(t, opts, func(t *testing.T, c *Cluster, r *rawClient, batch []byte) {
		second := testBatch{values: records(9)}.bytes()
		res := r.do(produceRequest(c, "orders", -1, batch, second), latestProduce).(*message.ProduceResponse)
		require.Equal(t, []TopicPartition{{"orders", 0}, {"orders", 1}}, seen)
		require.Equal(t, second, sent)
		require.Equal(t, message.LeaderIDAndEpoch{LeaderID: 1, LeaderEpoch: 0}, res.Responses[0].PartitionResponses[0].CurrentLeader)
		require.Len(t, res.NodeEndpoints, 1)
	})
}

func testCertificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
