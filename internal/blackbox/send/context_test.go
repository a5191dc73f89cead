package send_test

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

// noContext is what a caller forgot to make.
var noContext context.Context

// sends are the ways to send one record and to hear its outcome.
var sends = []struct {
	name string
	send func(ctx context.Context, p *quill.Producer[string, string], r quill.Record[string, string]) error
}{
	{"Send", func(ctx context.Context, p *quill.Producer[string, string], r quill.Record[string, string]) error {
		_, err := p.Send(ctx, r).Wait(context.Background())
		return err
	}},
	{"SendFunc", func(ctx context.Context, p *quill.Producer[string, string], r quill.Record[string, string]) error {
		told := make(chan error, 1)
		p.SendFunc(ctx, r, func(_ quill.RecordMetadata, err error) { told <- err })
		return <-told
	}},
	{"SendSync", func(ctx context.Context, p *quill.Producer[string, string], r quill.Record[string, string]) error {
		_, err := p.SendSync(ctx, r)
		return err
	}},
	{"SendAll", func(ctx context.Context, p *quill.Producer[string, string], r quill.Record[string, string]) (last error) {
		for _, err := range p.SendAll(ctx, func(yield func(quill.Record[string, string]) bool) { yield(r) }) {
			last = err
		}
		return last
	}},
}

// A context that is over when Send is called sends nothing, with or without metadata of the topic.
func TestAnEndedContextSendsNothing(t *testing.T) {
	for _, s := range sends {
		for _, topic := range []string{"known", "unknown"} {
			t.Run(s.name+"/"+topic, func(t *testing.T) {
				testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("known", 1, quilltest.TopicConfig{})
					p := testkit.Open(t, testkit.Config(c))
					testkit.Known(t, p, "known")
					testkit.Within(t, 0, 0, func() {
						err := s.send(testkit.Ended(testkit.ErrOwn), p, testkit.Rec(topic, "k", "v"))
						require.ErrorIs(t, err, testkit.ErrOwn)
						require.ErrorIs(t, err, context.Canceled)
						testkit.CheckNotSent(t, err, topic, -1)
						err = s.send(noContext, p, testkit.Rec(topic, "k", "v"))
						require.ErrorContains(t, err, "nil Context")
						testkit.CheckNotSent(t, err, topic, -1)
					})
					testkit.CloseProducer(t, p)
					require.EqualValues(t, 1, c.Appended("known"))
				})
			})
		}
	}
}

// Producers of bytes take another way, the short one.
func TestAnEndedContextSendsNothingOnTheFastPath(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p, err := quill.New(testkit.Config(c), quill.Bytes, quill.Bytes)
		require.NoError(t, err)
		testkit.GiveUpIfFailed(t, p)
		r := quill.Record[[]byte, []byte]{Topic: "t", Value: []byte("v")}
		first := p.Send(t.Context(), r)
		deadline, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		value := context.WithValue(deadline, testkit.ErrOwn, 1)
		for _, ctx := range []context.Context{testkit.Ended(nil), deadline, value, noContext} {
			_, err := p.Send(ctx, r).Wait(t.Context())
			testkit.CheckNotSent(t, err, "t", -1)
			if ctx != nil {
				require.ErrorIs(t, err, ctx.Err())
			}
		}
		_, err = first.Wait(t.Context())
		require.NoError(t, err)
		testkit.CloseProducer(t, p)
		require.EqualValues(t, 1, c.Appended("t"))
	})
}

// Each error that a wait returns is an *Error that says what is known of the record.
func TestAWaitThatEndsTellsTheOutcome(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		testkit.Known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Delay: 5 * time.Second})
		f := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
		for _, wait := range []func() (quill.RecordMetadata, error){
			func() (quill.RecordMetadata, error) { return f.Wait(testkit.Ended(testkit.ErrOwn)) },
			func() (quill.RecordMetadata, error) { return f.Wait(testkit.After(t, time.Second)) },
			func() (quill.RecordMetadata, error) {
				return p.SendSync(testkit.After(t, time.Second), testkit.Rec("t", "k", "w"))
			},
			func() (quill.RecordMetadata, error) { return f.Wait(noContext) },
		} {
			_, err := wait()
			e, ok := errors.AsType[*quill.Error](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, quill.MaybeWritten, e.Outcome)
			require.Equal(t, "t", e.Topic)
			require.False(t, e.Retriable())
		}
		testkit.CloseProducer(t, p)
	})
}

// A closed producer is the graver reason.
func TestAClosedProducerCountsMoreThanAnEndedContext(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		testkit.CloseProducer(t, p)
		_, err := p.Send(testkit.Ended(nil), testkit.Rec("t", "k", "v")).Wait(t.Context())
		require.ErrorIs(t, err, quill.ErrClosed)
	})
}

// The calls about transactions begin nothing either; only to abort is always right.
func TestAnEndedContextCommitsNothing(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.TransactionalID = "x"
		p := testkit.Open(t, cfg)
		require.ErrorIs(t, p.InitTransactions(testkit.Ended(nil)), context.Canceled)
		require.NoError(t, p.InitTransactions(t.Context()))
		require.NoError(t, p.BeginTransaction())
		p.Send(t.Context(), testkit.Rec("t", "k", "v"))
		_, err := p.Send(testkit.Ended(testkit.ErrOwn), testkit.Rec("t", "k", "not sent")).Wait(t.Context())
		testkit.CheckNotSent(t, err, "t", -1)
		for _, err := range []error{p.CommitTransaction(testkit.Ended(testkit.ErrOwn)), p.SendOffsetsToTransaction(testkit.Ended(testkit.ErrOwn), map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: 1}}, quill.GroupMetadata{GroupID: "g"})} {
			require.ErrorIs(t, err, testkit.ErrOwn)
			require.ErrorIs(t, err, context.Canceled)
			e, ok := errors.AsType[*quill.Error](err)
			require.True(t, ok)
			require.Equal(t, quill.NotSent, e.Outcome)
		}
		require.NoError(t, p.CommitTransaction(t.Context()), "the transaction is still open")
		require.ErrorIs(t, p.InTransaction(testkit.Ended(nil), func(*quill.Tx[string, string]) error { panic("not called") }), context.Canceled)
		require.NoError(t, p.BeginTransaction())
		p.Send(t.Context(), testkit.Rec("t", "k", "taken back"))
		if err := p.AbortTransaction(testkit.Ended(nil)); err != nil { // begun, and perhaps ended already
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, p.AbortTransaction(t.Context()))
		}
		testkit.CloseProducer(t, p)
	})
}

// A nil context is named, not met as a nil pointer.
func TestANilContextIsNamed(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.TransactionalID = "x"
		p := testkit.Open(t, cfg)
		_, looked := p.PartitionsFor(noContext, "t")
		for _, err := range []error{looked, p.Flush(noContext), p.Close(noContext), p.InitTransactions(noContext), p.CommitTransaction(noContext), p.AbortTransaction(noContext), p.InTransaction(noContext, nil),
			p.SendOffsetsToTransaction(noContext, map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: 1}}, quill.GroupMetadata{GroupID: "g"})} {
			require.ErrorContains(t, err, "nil Context")
		}
		testkit.CloseProducer(t, p)
	})
}

// pairs counts the calls of an interceptor.
type pairs struct{ sent, acks int }

func (x *pairs) OnSend(ctx context.Context, r quill.Record[string, string]) (quill.Record[string, string], error) {
	_ = ctx.Err() // it is never nil
	x.sent++
	return r, nil
}

func (x *pairs) OnAcknowledgement(quill.RecordMetadata, quill.Headers, error) { x.acks++ }

// A context that is nil is treated as one that has ended: the transaction goes on, and interceptors hear of the
// record twice, as of any other.
func TestANilContextIsAMatterBetweenTheCallerAndSend(t *testing.T) {
	for _, ctx := range []context.Context{noContext, testkit.Ended(testkit.ErrOwn)} {
		testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			cfg := testkit.Config(c)
			cfg.TransactionalID = "x"
			x := &pairs{}
			p, err := quill.New(cfg, quill.String, quill.String, quill.Interceptor[string, string](x))
			require.NoError(t, err)
			testkit.GiveUpIfFailed(t, p)
			require.NoError(t, p.InitTransactions(t.Context()))
			require.NoError(t, p.BeginTransaction())
			_, err = p.SendSync(ctx, testkit.Rec("t", "k", "v"))
			require.Error(t, err)
			require.NotErrorIs(t, err, quill.ErrAbortable)
			require.Equal(t, pairs{1, 1}, *x)
			_, err = p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
			require.NoError(t, err)
			require.NoError(t, p.CommitTransaction(t.Context()))
			testkit.CloseProducer(t, p)
		})
	}
}
