package inspect_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

type producer = quill.Producer[string, string]

// inCluster runs test with a producer on a cluster with the topic t, of two partitions.
func inCluster(t *testing.T, nodes int, change func(cfg *quill.Config), test func(t *testing.T, c *quilltest.Cluster, p *producer)) {
	testkit.Bubble(t, quilltest.Options{Nodes: nodes}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.ClientID = "shop"
		if change != nil {
			change(&cfg)
		}
		p := testkit.Open(t, cfg)
		test(t, c, p)
		testkit.CloseProducer(t, p)
	})
}

func to(partition int32, value string) quill.Record[string, string] {
	return quill.Record[string, string]{Topic: "t", Partition: quill.Partition(partition), Value: value}
}

// of returns the partition of t with that number.
func of(t *testing.T, s inspect.Snapshot, partition int) inspect.Partition {
	t.Helper()
	require.Len(t, s.Partitions, 2)
	require.Equal(t, "t", s.Partitions[partition].Topic)
	require.EqualValues(t, partition, s.Partitions[partition].Partition)
	return s.Partitions[partition]
}

// node returns the node with that id.
func node(t *testing.T, s inspect.Snapshot, id int32) inspect.Node {
	t.Helper()
	for _, n := range s.Nodes {
		if n.ID == id && !n.Second {
			return n
		}
	}
	require.Failf(t, "no such node", "%d in %+v", id, s.Nodes)
	return inspect.Node{}
}

// TestInspectShowsWhereRecordsAre: in the queue, on the wire, and when they are in the log.
func TestInspectShowsWhereRecordsAre(t *testing.T) {
	inCluster(t, 1, func(cfg *quill.Config) { cfg.Linger = time.Minute; cfg.DeliveryTimeout = 10 * time.Minute }, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		testkit.Known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 3 * time.Second})
		for range 3 {
			p.Send(t.Context(), to(1, "value"))
		}
		time.Sleep(7 * time.Second)
		s := p.Inspect(t.Context())
		require.Empty(t, s.Missing)
		require.Equal(t, inspect.Running, s.State)
		require.Equal(t, "shop", s.ClientID)
		require.Equal(t, 1, s.Batches)
		x := of(t, s, 1)
		require.Equal(t, []any{1, 3, 0, 7 * time.Second}, []any{x.Queued, x.Records, x.InFlight, x.Age})
		require.Greater(t, x.Bytes, int64(61+3*len("value")))
		require.Nil(t, x.Sequences)
		require.Less(t, s.Memory.Available, s.Memory.Total)
		require.Equal(t, s.Memory.Total-s.Memory.Available, s.Memory.Shares[0].Held)
		require.Equal(t, inspect.Partition{Topic: "t", Leader: x.Leader, LeaderEpoch: x.LeaderEpoch, Sequences: of(t, s, 0).Sequences}, of(t, s, 0))
		require.EqualValues(t, 1, of(t, s, 0).Sequences.Next)

		flushed := make(chan error, 1)
		go func() { flushed <- p.Flush(t.Context()) }()
		time.Sleep(2 * time.Second)
		s = p.Inspect(t.Context())
		x = of(t, s, 1)
		require.Equal(t, []any{0, 0, int64(0), 1, 9 * time.Second}, []any{x.Queued, x.Records, x.Bytes, x.InFlight, x.Age})
		n := node(t, s, x.Leader)
		require.Equal(t, []any{"ready", 1, 2 * time.Second}, []any{n.Connection, n.InFlight, n.Waits})
		require.NotEmpty(t, n.Versions)
		require.Equal(t, "Produce", n.Versions[0].API)

		require.NoError(t, <-flushed)
		s = p.Inspect(t.Context())
		x = of(t, s, 1)
		require.Equal(t, []any{0, 0, time.Duration(0)}, []any{x.Queued, x.InFlight, x.Age})
		require.Equal(t, &inspect.Sequences{ProducerID: s.ProducerID.ID, Epoch: s.ProducerID.Epoch, Next: 3, LastAcked: 2}, x.Sequences)
		require.Equal(t, 3*time.Second, node(t, s, x.Leader).RoundTrip)
		require.Equal(t, "ready", s.ProducerID.State)
		require.Equal(t, s.Memory.Total, s.Memory.Available)
		require.Zero(t, s.Batches)
	})
}

// TestInspectShowsADeadNode: what is known of its connection, and of what waits for it.
func TestInspectShowsADeadNode(t *testing.T) {
	inCluster(t, 2, func(cfg *quill.Config) {
		cfg.RequestTimeout = time.Second
		cfg.SocketConnectionSetupTimeout = time.Second
	}, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		testkit.Known(t, p, "t")
		leader, _, err := c.Leader("t", 0)
		require.NoError(t, err)
		for _, partition := range []int32{0, 1} {
			_, err = p.SendSync(t.Context(), to(partition, "v"))
			require.NoError(t, err)
		}
		require.NoError(t, c.CutOffNode(leader))
		f := p.Send(t.Context(), to(0, "v"))
		time.Sleep(5 * time.Second)
		s := p.Inspect(t.Context())
		n := node(t, s, leader)
		require.Contains(t, []string{"down", "connecting"}, n.Connection)
		require.Positive(t, n.Failures)
		require.NotEmpty(t, n.LastError)
		require.Empty(t, n.Versions)
		require.GreaterOrEqual(t, of(t, s, 0).Age, 4*time.Second)
		require.NoError(t, c.ResumeNode(leader))
		_, err = f.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, "ready", node(t, p.Inspect(t.Context()), leader).Connection)
	})
}

// TestInspectCountsErrorsByKind: those of records that failed, and those for which they were sent again.
func TestInspectCountsErrorsByKind(t *testing.T) {
	inCluster(t, 1, nil, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		testkit.Known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.NotEnoughReplicas, Times: 2})
		_, err := p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		for range 3 {
			time.Sleep(time.Second)
			c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.TopicAuthorizationFailed})
			_, err = p.SendSync(t.Context(), to(0, "v"))
			require.Error(t, err)
		}
		s := p.Inspect(t.Context())
		require.Len(t, s.Errors, 2)
		failed, retried := s.Errors[0], s.Errors[1]
		require.Equal(t, []any{inspect.Lost, "t", int64(3)}, []any{failed.Kind, failed.Topic, failed.Records})
		require.Equal(t, []any{inspect.Retried, "t", int64(2)}, []any{retried.Kind, retried.Topic, retried.Records})
		require.Contains(t, failed.Text, "TOPIC_AUTHORIZATION_FAILED")
		require.Contains(t, retried.Text, "in-sync")
		require.Equal(t, 2*time.Second, failed.Last.Sub(failed.First).Round(time.Second))
	})
}

// TestInspectKeepsAHundredKindsOfErrors: the latest ones.
func TestInspectKeepsAHundredKindsOfErrors(t *testing.T) {
	inCluster(t, 1, nil, func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		for i := range 250 {
			time.Sleep(time.Millisecond)
			_, err := p.SendSync(t.Context(), quill.Record[string, string]{Topic: "bad topic " + string(rune('a'+i%26)) + string(rune('a'+i/26))})
			require.ErrorIs(t, err, quill.ErrInvalidTopic)
		}
		s := p.Inspect(t.Context())
		require.Len(t, s.Errors, 100)
		require.Equal(t, "bad topic pj", s.Errors[0].Topic)
		require.Equal(t, "bad topic uf", s.Errors[99].Topic)
	})
}

// TestInspectShowsTheTransaction.
func TestInspectShowsTheTransaction(t *testing.T) {
	inCluster(t, 1, func(cfg *quill.Config) { cfg.TransactionalID = "orders" }, func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		x := p.Inspect(t.Context()).Transaction
		require.Equal(t, []any{"orders", "UNINITIALIZED"}, []any{x.ID, x.State})
		require.NoError(t, p.InitTransactions(t.Context()))
		require.NoError(t, p.BeginTransaction())
		_, err := p.SendSync(t.Context(), to(1, "v"))
		require.NoError(t, err)
		x = p.Inspect(t.Context()).Transaction
		require.Equal(t, []any{"IN_TRANSACTION", 2, 1}, []any{x.State, x.Version, x.Partitions})
		require.GreaterOrEqual(t, x.Coordinator, int32(0))
		require.NoError(t, p.CommitTransaction(t.Context()))
		require.Equal(t, "READY", p.Inspect(t.Context()).Transaction.State)
	})
}

// stuckHandler is a handler of the log that blocks on one text.
type stuckHandler struct {
	slog.Handler
	on      string
	blocked chan struct{}
	free    chan struct{}
	inside  func()
}

func (h stuckHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.on {
		h.inside()
		close(h.blocked)
		<-h.free
	}
	return nil
}

func (h stuckHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h stuckHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h stuckHandler) WithGroup(string) slog.Handler            { return h }

// TestInspectOfAStuckProducerSaysWhatIsMissing, after a second, or when its context ends; and from the handler that blocks, at once.
func TestInspectOfAStuckProducerSaysWhatIsMissing(t *testing.T) {
	h := stuckHandler{on: "a batch is sent again", blocked: make(chan struct{}), free: make(chan struct{})}
	var fromInside inspect.Snapshot
	var p *producer
	h.inside = func() { fromInside = p.Inspect(context.Background()) }
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		h.blocked, h.free = make(chan struct{}), make(chan struct{})
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Logger = slog.New(h)
		p = testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.NotEnoughReplicas})
		f := p.Send(t.Context(), to(0, "v"))
		<-h.blocked
		require.Contains(t, fromInside.Missing, "handler of the log")

		begin := time.Now()
		s := p.Inspect(t.Context())
		require.Equal(t, time.Second, time.Since(begin))
		require.Contains(t, s.Missing, "handler of the log")
		require.Len(t, s.Partitions, 2)
		require.NotEmpty(t, s.Settings)
		require.Empty(t, s.Nodes)
		require.NotNil(t, s.Nodes, "a page needs a list")

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		begin = time.Now()
		require.NotEmpty(t, p.Inspect(ctx).Missing)
		require.Equal(t, 10*time.Millisecond, time.Since(begin))

		close(h.free)
		_, err := f.Wait(t.Context())
		require.NoError(t, err)
		require.Empty(t, p.Inspect(t.Context()).Missing)
		testkit.CloseProducer(t, p)
	})
}

// TestInspectOfAClosedProducerShowsWhatWas.
func TestInspectOfAClosedProducerShowsWhatWas(t *testing.T) {
	inCluster(t, 1, nil, func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		_, err := p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		require.NoError(t, p.Close(t.Context()))
		s := p.Inspect(t.Context())
		require.Equal(t, inspect.Closed, s.State)
		require.Empty(t, s.Missing)
		require.EqualValues(t, 1, of(t, s, 0).Sequences.Next)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.Len(t, p.Inspect(ended).Partitions, 2)
	})
}

// TestInspectOfAFailedProducerSaysWhy.
func TestInspectOfAFailedProducerSaysWhy(t *testing.T) {
	inCluster(t, 1, func(cfg *quill.Config) { cfg.TransactionalID = "orders" }, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		require.NoError(t, p.InitTransactions(t.Context()))
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.InvalidProducerEpoch})
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, Err: protocol.ProducerFenced})
		require.NoError(t, p.BeginTransaction())
		p.Send(t.Context(), to(0, "v"))
		require.Error(t, errors.Join(p.CommitTransaction(t.Context()), p.AbortTransaction(t.Context())))
		s := p.Inspect(t.Context())
		require.Equal(t, inspect.Failed, s.State)
		require.Contains(t, s.Fault, "fenced")
		require.Equal(t, "FATAL_ERROR", s.Transaction.State)
	})
}

// failing is a serializer whose error quotes what it was given.
type failing struct{}

func (failing) Serialize(_ []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
	return nil, errors.New("can't write " + v)
}

// TestInspectQuotesNoRecord: neither a serializer, nor a context, nor a broker gets a word of a record into it.
func TestInspectQuotesNoRecord(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		view, err := quill.Share(p, quill.String, failing{})
		require.NoError(t, err)
		_, err = view.SendSync(t.Context(), to(0, "s3cr3t-value"))
		require.ErrorContains(t, err, "s3cr3t-value")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("s3cr3t-cause"))
		_, err = p.SendSync(ctx, to(0, "v"))
		require.Error(t, err)
		message := "s3cr3t-message"
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.InvalidRecord, ErrMessage: message})
		_, err = p.SendSync(t.Context(), quill.Record[string, string]{Topic: "t", Key: "s3cr3t-key", Value: "s3cr3t-value"})
		require.Error(t, err)
		text, err := json.Marshal(view.Inspect(t.Context()))
		require.NoError(t, err)
		require.NotContains(t, string(text), "s3cr3t")
		require.Contains(t, string(text), "serializer failed")
		testkit.CloseProducer(t, p)
	})
}

// TestInspectWhileEverythingMoves: many callers, beside Sends and a Close.
func TestInspectWhileEverythingMoves(t *testing.T) {
	inCluster(t, 2, func(cfg *quill.Config) { cfg.BufferMemory = 1 << 20 }, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 500 {
					p.Send(t.Context(), to(int32(i+g)%2, "some value"))
					if i%50 == 0 {
						time.Sleep(time.Millisecond)
					}
				}
			})
			wg.Go(func() {
				for range 50 {
					s := p.Inspect(t.Context())
					if s.Missing != "" || s.Memory.Available < 0 || s.Memory.Available > s.Memory.Total {
						t.Errorf("%+v", s)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		synctest.Wait()
		wg.Wait()
		wg.Go(func() { _ = p.Inspect(t.Context()) })
		require.NoError(t, p.Close(t.Context()))
		wg.Wait()
		require.Equal(t, inspect.Closed, p.Inspect(t.Context()).State)
	})
}
