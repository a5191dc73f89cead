package errors_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Every wait for records whose outcome does not come says what holds them up.

// wait is one of the calls that wait for the outcome of records sent before.
type wait struct {
	name string
	txn  bool
	call func(ctx context.Context, p *quill.Producer[string, string], sent quill.Future) error
}

var waits = []wait{
	{"Wait", false, func(ctx context.Context, _ *quill.Producer[string, string], sent quill.Future) error {
		_, err := sent.Wait(ctx)
		return err
	}},
	{"SendSync", false, func(ctx context.Context, p *quill.Producer[string, string], _ quill.Future) error {
		_, err := p.SendSync(ctx, testkit.OnPartition(0, testkit.Rec("t", "k", "another")))
		return err
	}},
	{"Flush", false, func(ctx context.Context, p *quill.Producer[string, string], _ quill.Future) error {
		return p.Flush(ctx)
	}},
	{"Close", false, func(ctx context.Context, p *quill.Producer[string, string], _ quill.Future) error {
		return p.Close(ctx)
	}},
	{"commit", true, func(ctx context.Context, p *quill.Producer[string, string], _ quill.Future) error {
		return p.CommitTransaction(ctx)
	}},
	{"a record given up", false, func(ctx context.Context, p *quill.Producer[string, string], sent quill.Future) error {
		_ = p.Close(ctx)
		_, err := sent.Wait(context.Background())
		return err
	}},
}

// holdsUp is something that keeps records from their outcome, and what must be found in the error.
type holdsUp struct {
	name string
	do   func(t *testing.T, c *quilltest.Cluster)
	is   error
	says string
}

var holdUps = []holdsUp{
	{"too few replicas", func(_ *testing.T, c *quilltest.Cluster) {
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: -1, Err: protocol.NotEnoughReplicas})
	}, protocol.NotEnoughReplicas, ""},
	{"outage", func(t *testing.T, c *quilltest.Cluster) {
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.StopNode(id))
		}
	}, testkit.Refused, ""},
	{"no answer", func(_ *testing.T, c *quilltest.Cluster) {
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: -1, DropAnswer: true})
	}, nil, "waiting for an answer"},
}

func TestEveryWaitForRecordsSaysWhatHoldsThemUp(t *testing.T) {
	for _, w := range waits {
		for _, h := range holdUps {
			if w.name == "a record given up" && h.is == nil {
				continue // its error says that it had left, and that no answer came
			}
			t.Run(w.name+"/"+h.name, func(t *testing.T) {
				testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
					cfg := testkit.Config(c)
					if w.txn {
						cfg.TransactionalID = "x"
					}
					p := testkit.Open(t, cfg)
					if w.txn {
						require.NoError(t, p.InitTransactions(t.Context()))
						require.NoError(t, p.BeginTransaction())
					}
					testkit.SendOK(t, p, "t")
					h.do(t, c)
					sent := p.Send(t.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "v")))
					start := time.Now()
					err := w.call(testkit.After(t, 5*time.Second), p, sent)
					require.LessOrEqual(t, time.Since(start), 5200*time.Millisecond)
					e, ok := errors.AsType[*quill.Error](err)
					require.True(t, ok)
					if h.is != nil {
						require.ErrorIs(t, e, h.is)
					}
					require.ErrorContains(t, e, h.says)
					require.ErrorContains(t, e, `topic "t" partition 0`)
					if w.name != "a record given up" {
						require.ErrorIs(t, e, context.DeadlineExceeded)
					}
					require.False(t, e.Abortable())
					_ = p.Close(testkit.Ended(context.Canceled))
				})
			})
		}
	}
}

// max.block.ms ends a commit in the same way.
func TestACommitThatTakesTooLongSaysWhatHoldsItUp(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.TransactionalID, cfg.MaxBlock = "x", 3*time.Second
		p := testkit.Open(t, cfg)
		require.NoError(t, p.InitTransactions(t.Context()))
		require.NoError(t, p.BeginTransaction())
		fault := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: -1, Err: protocol.NotEnoughReplicas})
		p.SendFunc(t.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "v")), nil)
		err := p.CommitTransaction(t.Context())
		require.ErrorIs(t, err, quill.ErrTimeout)
		require.ErrorIs(t, err, protocol.NotEnoughReplicas)
		require.ErrorContains(t, err, "min.insync.replicas", "the hint")
		fault.Remove()
		require.NoError(t, p.CommitTransaction(t.Context()))
		testkit.CloseProducer(t, p)
	})
}

// A callback that does not return holds a flush up.
func TestAFlushThatWaitsForACallbackSaysSo(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		hold := make(chan struct{})
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) { <-hold })
		err := p.Flush(testkit.After(t, 5*time.Second))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "a callback has not returned")
		close(hold)
		testkit.CloseProducer(t, p)
	})
}
