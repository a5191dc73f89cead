package quillmock_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest/quillmock"
)

func newTransactional(opts quillmock.Options) *quillmock.Producer[string, string] {
	opts.TransactionalID = "tx"
	return newMock(opts)
}

func values(sent []quillmock.Sent[string, string]) []string {
	var all []string
	for _, s := range sent {
		all = append(all, s.Record.Value)
	}
	return all
}

// As Java in MockProducerTest.shouldPublishMessagesOnlyAfterCommitIfTransactionsAreEnabled,
// shouldDropMessagesOnAbortIfTransactionsAreEnabled, shouldPreserveCommittedMessagesOnAbortIfTransactionsAreEnabled
func TestRecordsEnterTheHistoryWhenTheirTransactionIsCommitted(t *testing.T) {
	p := newTransactional(quillmock.Options{})
	require.NoError(t, p.InitTransactions(t.Context()))
	require.NoError(t, p.BeginTransaction())
	p.Send(t.Context(), record{Topic: "orders", Value: "a"})
	p.Send(t.Context(), record{Topic: "orders", Value: "b"})
	require.Empty(t, p.History())
	require.Equal(t, []string{"a", "b"}, values(p.Uncommitted()))
	require.Equal(t, quillmock.TransactionLook{Initialized: true, Open: true}, p.Transaction())
	require.NoError(t, p.CommitTransaction(t.Context()))
	require.Equal(t, []string{"a", "b"}, values(p.History()))
	require.Empty(t, p.Uncommitted())
	require.Equal(t, quillmock.TransactionLook{Initialized: true, Committed: true, Commits: 1}, p.Transaction())

	require.NoError(t, p.BeginTransaction())
	p.Send(t.Context(), record{Topic: "orders", Value: "c"})
	require.NoError(t, p.AbortTransaction(t.Context()))
	require.Equal(t, []string{"a", "b"}, values(p.History()))
	require.Empty(t, p.Uncommitted())
	require.Equal(t, quillmock.TransactionLook{Initialized: true, Aborted: true, Commits: 1}, p.Transaction())
	require.Equal(t, map[quill.TopicPartition]int64{{Topic: "orders"}: 5}, p.Offsets(), "three records and two markers")
}

// As Java in MockProducerTest.shouldPublishConsumerGroupOffsetsOnlyAfterCommitIfTransactionsAreEnabled,
// shouldDropConsumerGroupOffsetsOnAbortIfTransactionsAreEnabled, shouldThrowOnNullConsumerGroupIdWhenSendOffsetsToTransaction,
// shouldIgnoreEmptyOffsetsWhenSendOffsetsToTransaction
func TestOffsetsAreCommittedWithTheirTransaction(t *testing.T) {
	p := newTransactional(quillmock.Options{})
	at := func(partition int32, offset int64) map[quill.TopicPartition]quill.OffsetAndMetadata {
		return map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "orders", Partition: partition}: {Offset: offset}}
	}
	send := func(group string, offsets map[quill.TopicPartition]quill.OffsetAndMetadata) {
		require.NoError(t, p.SendOffsetsToTransaction(t.Context(), offsets, quill.GroupMetadata{GroupID: group}))
	}
	require.NoError(t, p.InitTransactions(t.Context()))
	require.NoError(t, p.BeginTransaction())
	send("readers", nil)
	require.False(t, p.Transaction().SentOffsets)
	send("readers", at(0, 5))
	send("readers", at(0, 6))
	send("readers", at(1, 7))
	send("writers", at(0, 8))
	require.True(t, p.Transaction().SentOffsets)
	require.Error(t, p.SendOffsetsToTransaction(t.Context(), at(0, 1), quill.GroupMetadata{}))
	require.Empty(t, p.GroupOffsets())
	want := quillmock.GroupOffsets{
		"readers": {{Topic: "orders"}: {Offset: 6}, {Topic: "orders", Partition: 1}: {Offset: 7}},
		"writers": {{Topic: "orders"}: {Offset: 8}},
	}
	require.Equal(t, want, p.UncommittedOffsets())
	require.NoError(t, p.CommitTransaction(t.Context()))
	require.Equal(t, []quillmock.GroupOffsets{want}, p.GroupOffsets())
	require.Empty(t, p.UncommittedOffsets())

	require.NoError(t, p.BeginTransaction())
	require.False(t, p.Transaction().SentOffsets)
	send("readers", at(0, 99))
	require.NoError(t, p.AbortTransaction(t.Context()))
	require.Equal(t, []quillmock.GroupOffsets{want}, p.GroupOffsets())
}

// As Java in MockProducerTest.shouldThrowFenceProducerIfTransactionsNotInitialized, shouldThrowOnSendIfProducerGotFenced,
// shouldThrowOnCommitTransactionIfProducerGotFenced and its like
func TestAFencedMockRefusesAll(t *testing.T) {
	p := newTransactional(quillmock.Options{})
	require.NoError(t, p.InitTransactions(t.Context()))
	require.NoError(t, p.BeginTransaction())
	p.FenceProducer()
	require.True(t, p.Transaction().Fenced)
	_, sent := p.SendSync(t.Context(), record{Topic: "orders"})
	for name, err := range map[string]error{
		"send": sent, "commit": p.CommitTransaction(t.Context()), "abort": p.AbortTransaction(t.Context()), "begin": p.BeginTransaction(),
		"init":     p.InitTransactions(t.Context()),
		"offsets":  p.SendOffsetsToTransaction(t.Context(), nil, quill.GroupMetadata{GroupID: "g"}),
		"function": p.InTransaction(t.Context(), func(*quill.Tx[string, string]) error { return nil }),
	} {
		require.ErrorIs(t, err, quill.ErrProducerFenced, name)
		require.ErrorIs(t, err, quill.ErrFatal, name)
	}
	require.NoError(t, p.Close(t.Context()))
}

// A lost record makes the commit impossible, as in production: Java's MockProducer commits all the same.
func TestALostRecordFailsItsTransaction(t *testing.T) {
	p := newTransactional(quillmock.Options{Manual: true})
	require.NoError(t, p.InitTransactions(t.Context()))
	require.NoError(t, p.BeginTransaction())
	lost := errors.New("lost")
	p.Send(t.Context(), record{Topic: "orders", Value: "a"})
	f := p.Send(t.Context(), record{Topic: "orders", Value: "b"})
	require.True(t, p.ErrorNext(lost))
	err := p.CommitTransaction(t.Context())
	require.ErrorIs(t, err, quill.ErrAbortable)
	require.ErrorIs(t, err, lost)
	_, err = p.SendSync(t.Context(), record{Topic: "orders"})
	require.ErrorIs(t, err, quill.ErrInvalidTxnState)
	require.NoError(t, p.AbortTransaction(t.Context()))
	_, err = f.Wait(t.Context())
	require.ErrorIs(t, err, quill.ErrTransactionAborted, "it had not left")

	runs := 0
	err = p.InTransaction(t.Context(), func(tx *quill.Tx[string, string]) error {
		runs++
		tx.SendFunc(t.Context(), record{Topic: "orders", Value: "c"}, nil)
		if runs < 3 {
			p.ErrorNext(&quill.Error{Op: "send", Kind: quill.ErrTimeout, Class: quill.ErrAbortable, Partition: -1, Node: -1})
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 3, runs, "what may work next time is tried again")
	require.Equal(t, []string{"c"}, values(p.History()))
}

func TestInjectedErrorsOfTransactions(t *testing.T) {
	p := newTransactional(quillmock.Options{})
	bad := errors.New("bad")
	p.Fail(quillmock.Errors{InitTransactions: bad, BeginTransaction: bad, SendOffsetsToTransaction: bad, CommitTransaction: bad, AbortTransaction: bad})
	require.Equal(t, bad, p.InitTransactions(t.Context()))
	require.Equal(t, bad, p.BeginTransaction())
	require.Equal(t, bad, p.SendOffsetsToTransaction(t.Context(), nil, quill.GroupMetadata{GroupID: "g"}))
	require.Equal(t, bad, p.CommitTransaction(t.Context()))
	require.Equal(t, bad, p.AbortTransaction(t.Context()))
	p.Fail(quillmock.Errors{})
	require.NoError(t, p.InitTransactions(t.Context()))
	require.NoError(t, p.BeginTransaction())
	p.Fail(quillmock.Errors{CommitTransaction: bad})
	require.Equal(t, bad, p.CommitTransaction(t.Context()))
	p.Clear()
	require.True(t, p.Transaction().Open)
	require.NoError(t, p.CommitTransaction(t.Context()))
}

// TestCallbacksCanNotEndATransaction: as in a real producer they would wait for themselves.
func TestCallbacksCanNotEndATransaction(t *testing.T) {
	p := newTransactional(quillmock.Options{})
	require.NoError(t, p.InitTransactions(t.Context()))
	require.NoError(t, p.BeginTransaction())
	p.SendFunc(t.Context(), record{Topic: "orders"}, func(quill.RecordMetadata, error) {
		require.ErrorIs(t, p.CommitTransaction(t.Context()), quill.ErrInCallback)
		require.ErrorIs(t, p.AbortTransaction(t.Context()), quill.ErrInCallback)
		require.ErrorIs(t, p.InTransaction(t.Context(), nil), quill.ErrInCallback)
	})
	require.NoError(t, p.CommitTransaction(t.Context()))
}

// interceptor counts, and can be configured and closed.
type interceptor struct {
	configured, closed int
	fail               bool
	acknowledged       []error
}

func (i *interceptor) Configure(quill.ClientInfo) error { i.configured++; return nil }
func (i *interceptor) Close() error                     { i.closed++; return nil }

func (i *interceptor) OnSend(_ context.Context, r record) (record, error) {
	if i.fail {
		panic("no")
	}
	r.Value += "!"
	return r, nil
}

func (i *interceptor) OnAcknowledgement(_ quill.RecordMetadata, _ quill.Headers, err error) {
	i.acknowledged = append(i.acknowledged, err)
	if i.fail {
		panic("no")
	}
}

func TestInterceptorsRun(t *testing.T) {
	first, second := &interceptor{}, &interceptor{}
	p := quillmock.New(quill.String, quill.String, quillmock.Options{Manual: true}, quill.Interceptor[string, string](first), second)
	p.Send(t.Context(), record{Topic: "orders", Value: "a"})
	require.Empty(t, first.acknowledged)
	first.fail = true
	p.SendFunc(t.Context(), record{Topic: "orders", Value: "b"}, func(_ quill.RecordMetadata, err error) {
		require.Len(t, second.acknowledged, 2, "before the callback")
	})
	lost := errors.New("lost")
	p.CompleteNext()
	p.ErrorNext(lost)
	require.Equal(t, []string{"a!!", "b!"}, values(p.History()))
	require.Equal(t, []error{nil, lost}, first.acknowledged)
	require.Equal(t, []error{nil, lost}, second.acknowledged)
	require.NoError(t, p.Close(t.Context()))
	require.NoError(t, p.Close(t.Context()))
	require.Equal(t, [2]int{1, 1}, [2]int{first.configured, first.closed})
	require.Panics(t, func() { quillmock.New(quill.String, failing{}, quillmock.Options{}) })
}

// failing is a serializer that can't be configured.
type failing struct{ quill.Serializer[string] }

func (failing) Configure(quill.ClientInfo) error { return errors.New("no") }

func TestViewsShareAMock(t *testing.T) {
	p := newTransactional(quillmock.Options{Manual: true})
	view, err := quillmock.Share(p, quill.Int64, quill.Void)
	require.NoError(t, err)
	require.NoError(t, p.InitTransactions(t.Context()))
	require.NoError(t, view.BeginTransaction())
	p.Send(t.Context(), record{Topic: "orders"})
	view.Send(t.Context(), quill.Record[int64, struct{}]{Topic: "orders", Key: 7})
	require.Equal(t, 2, view.Pending())
	require.NoError(t, p.CommitTransaction(t.Context()))
	require.Len(t, p.History(), 1)
	require.Equal(t, int64(1), view.History()[0].Metadata.Offset)
	require.NoError(t, view.Close(t.Context()))
	_, err = view.SendSync(t.Context(), quill.Record[int64, struct{}]{Topic: "orders"})
	require.ErrorIs(t, err, quill.ErrClosed)
	require.ErrorIs(t, view.BeginTransaction(), quill.ErrClosed)
	require.False(t, p.Closed())
	require.NoError(t, p.BeginTransaction())
	require.NoError(t, p.Close(t.Context()))
	_, err = quillmock.Share(p, quill.Int64, quill.Void)
	require.ErrorIs(t, err, quill.ErrClosed)
}

// TestAnAppendedNothingIsNotNull: serializers get memory to append to, as from a real producer.
func TestAnAppendedNothingIsNotNull(t *testing.T) {
	appending := quill.SerializerFunc[string](func(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) { return append(dst, v...), nil })
	p := quillmock.New(appending, appending, quillmock.Options{})
	m, err := p.SendSync(t.Context(), record{Topic: "orders"})
	require.NoError(t, err)
	require.Equal(t, [2]int32{0, 0}, [2]int32{m.KeySize, m.ValueSize})
	require.NotNil(t, p.History()[0].Value)
}
