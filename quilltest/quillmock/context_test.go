package quillmock_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest/quillmock"
	"github.com/stretchr/testify/require"
)

type ownKey struct{}

// keeper keeps its name in the context of each record.
type keeper struct {
	name         string
	fails        bool
	sent, behind []any // the names that it found, in Send and with the outcome
}

func (k *keeper) OnSend(context.Context, record) (record, error) { panic("not called") }

func (k *keeper) OnAcknowledgement(quill.RecordMetadata, quill.Headers, error) { panic("not called") }

func (k *keeper) OnSendContext(ctx context.Context, r record) (context.Context, record, error) {
	k.sent = append(k.sent, ctx.Value(ownKey{}))
	if k.fails {
		return nil, r, errors.New("no")
	}
	return context.WithValue(ctx, ownKey{}, k.name), r, nil
}

func (k *keeper) OnAcknowledgementContext(ctx context.Context, _ quill.RecordMetadata, _ quill.Headers, _ error) {
	k.behind = append(k.behind, ctx.Value(ownKey{}))
}

// A mock calls an interceptor that keeps contexts as the producer does: with that of the one before it, and
// with its own for the outcome.
func TestInterceptorsOfAMockKeepContexts(t *testing.T) {
	a, b, c := &keeper{name: "a"}, &keeper{name: "b", fails: true}, &keeper{name: "c"}
	p := quillmock.New(quill.String, quill.String, quillmock.Options{Topics: map[string]int{"t": 1}}, quill.Interceptor[string, string](a), b, c)
	_, err := p.SendSync(t.Context(), record{Topic: "t"})
	require.NoError(t, err)
	_, err = p.SendSync(t.Context(), record{Topic: "missing"})
	require.Error(t, err)
	require.Equal(t, [][]any{{nil, nil}, {"a", "a"}, {"a", "a"}}, [][]any{a.sent, b.sent, c.sent})
	require.Equal(t, [][]any{{"a", "a"}, {"a", "a"}, {"c", "c"}}, [][]any{a.behind, b.behind, c.behind})
}

// The end of a context is its error and its cause, as with the producer.
func TestTheEndOfAContextInAMockIsItsErrorAndItsCause(t *testing.T) {
	mine := errors.New("mine")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(mine)
	p := newMock(quillmock.Options{TransactionalID: "x"})
	require.NoError(t, p.InitTransactions(t.Context()))
	require.NoError(t, p.BeginTransaction())
	_, err := p.SendSync(ctx, record{Topic: "t"})
	for _, err := range []error{err, p.CommitTransaction(ctx)} {
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, mine)
	}
}

// A nil context is an error of each call that takes one, and not a panic. An interceptor gets one that works.
func TestANilContextIsAnErrorInAMock(t *testing.T) {
	var none context.Context
	k := &keeper{name: "a"}
	p := quillmock.New(quill.String, quill.String, quillmock.Options{TransactionalID: "x"}, quill.Interceptor[string, string](k))
	require.ErrorContains(t, p.InitTransactions(none), "nil Context")
	require.NoError(t, p.InitTransactions(t.Context()))
	require.NoError(t, p.BeginTransaction())
	_, err := p.SendSync(none, record{Topic: "t"})
	require.ErrorContains(t, err, "nil Context")
	require.Equal(t, []any{"a"}, k.behind)
	require.Len(t, k.sent, 1)
	_, err = p.PartitionsFor(none, "t")
	require.ErrorContains(t, err, "nil Context")
	require.ErrorContains(t, p.CommitTransaction(none), "nil Context")
	require.ErrorContains(t, p.Close(none), "nil Context")
	require.False(t, p.Closed())
}

// ending ends the goroutine in one of its methods.
type ending struct {
	place string
	acks  int
}

func (x *ending) at(place string) {
	if x.place == place {
		runtime.Goexit()
	}
}

func (x *ending) OnSend(_ context.Context, r record) (record, error) { x.at("OnSend"); return r, nil }

func (x *ending) OnAcknowledgement(quill.RecordMetadata, quill.Headers, error) {
	x.acks++
	x.at("OnAcknowledgement")
}

func (x *ending) Partition(quill.PartitionInput) (int32, error) { x.at("Partition"); return 0, nil }

func (x *ending) Serialize(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
	x.at("Serialize")
	return append(dst, v...), nil
}

// A plug-in that ends the goroutine (t.FailNow does) leaves no record of a mock without its outcome.
func TestAPluginOfAMockThatEndsTheGoroutineLeavesNoRecordWithoutOutcome(t *testing.T) {
	for _, place := range []string{"OnSend", "OnAcknowledgement", "Partition", "Serialize"} {
		x, behind, calls := &ending{place: place}, &ending{}, 0
		p := quillmock.New(quill.String, quill.Serializer[string](x), quillmock.Options{Partitioner: x}, quill.Interceptor[string, string](x), behind)
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.SendFunc(t.Context(), record{Topic: "t"}, func(quill.RecordMetadata, error) { calls++ })
		}()
		<-done
		require.Equal(t, []int{1, 1, 1}, []int{x.acks, behind.acks, calls}, place)
		require.Zero(t, p.Pending())
	}
	failed, calls := &ending{place: "OnAcknowledgement"}, 0
	p := quillmock.New(quill.String, quill.String, quillmock.Options{Topics: map[string]int{}}, quill.Interceptor[string, string](failed))
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.SendFunc(t.Context(), record{Topic: "missing"}, func(quill.RecordMetadata, error) { calls++ })
	}()
	<-done
	require.Equal(t, []int{1, 1}, []int{failed.acks, calls})
}
