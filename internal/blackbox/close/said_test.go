package close_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
)

// inOpenTransaction runs do with a producer whose transaction has a record that still lingers. It returns the log.
func inOpenTransaction(t *testing.T, do func(t *testing.T, p *quill.Producer[string, string], f quill.Future)) *testkit.LogText {
	log := new(testkit.LogText)
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.TransactionalID, cfg.Linger, cfg.BatchSize, cfg.Logger = testkit.TxnID, time.Minute, 10_000, log.Logger()
		p := testkit.Open(t, cfg)
		require.NoError(t, p.InitTransactions(t.Context()))
		require.NoError(t, p.BeginTransaction())
		_, err := p.SendSync(t.Context(), testkit.Rec("t", "", "is in the log"))
		require.NoError(t, err)
		do(t, p, p.Send(t.Context(), testkit.Rec("t", "", "lingers")))
	})
	return log
}

// A transaction that Close aborts was forgotten by its user, as a rule: that is seen in the log, and in what the calls return.
func TestATransactionThatCloseAbortsIsSaidToBe(t *testing.T) {
	log := inOpenTransaction(t, func(t *testing.T, p *quill.Producer[string, string], f quill.Future) {
		require.NoError(t, p.Close(t.Context()))
		_, err := f.Wait(t.Context())
		require.ErrorIs(t, err, quill.ErrTransactionAborted)
		require.ErrorContains(t, err, "Close was called while it was open (not sent)")
		for _, err := range []error{p.CommitTransaction(t.Context()), p.AbortTransaction(t.Context())} {
			require.ErrorIs(t, err, quill.ErrClosed)
			require.ErrorContains(t, err, "Close has aborted the transaction that was open")
		}
	})
	require.Len(t, log.Lines("level=WARN"), 1, log.Lines(""))
	require.Contains(t, log.Lines("level=WARN")[0], "Close aborts the transaction that is open")
}

// Close in the function of InTransaction aborts its transaction, too. Each record and the call itself report it.
func TestCloseInAFunctionOfInTransactionIsSaid(t *testing.T) {
	for name, ctx := range map[string]func(t *testing.T) context.Context{
		"with time":    func(t *testing.T) context.Context { return t.Context() },
		"without time": func(*testing.T) context.Context { return testkit.Ended(context.Canceled) },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
				var log testkit.LogText
				cfg := testkit.Config(c)
				cfg.TransactionalID, cfg.Logger = testkit.TxnID, log.Logger()
				p := testkit.Open(t, cfg)
				require.NoError(t, p.InitTransactions(t.Context()))
				var got testkit.Outcomes
				testkit.Within(t, 0, 0, func() {
					err := p.InTransaction(t.Context(), func(tx *quill.Tx[string, string]) error {
						for range 5 {
							tx.SendFunc(t.Context(), testkit.Rec("t", "", "v"), got.Callback)
						}
						err := p.Close(ctx(t))
						require.Equal(t, name == "without time", errors.Is(err, quill.ErrForceClosed), err)
						return nil
					})
					require.ErrorIs(t, err, quill.ErrClosed)
				})
				delivered, failed := got.Count()
				require.Equal(t, []int{0, 5}, []int{delivered, failed})
				require.NotEmpty(t, log.Lines("level=WARN"))
				records, err := c.AllCommittedRecords("t")
				require.NoError(t, err)
				require.Empty(t, records)
			})
		})
	}
}

func TestATransactionThatAForcedCloseLeavesOpenIsSaidToBe(t *testing.T) {
	log := inOpenTransaction(t, func(t *testing.T, p *quill.Producer[string, string], f quill.Future) {
		err := p.Close(testkit.Ended(context.Canceled))
		require.ErrorIs(t, err, quill.ErrForceClosed)
		require.ErrorContains(t, err, "the context had ended before the call; records given up: 1, of which 0 may have been written; the transaction was left open")
		require.ErrorContains(t, err, "give Close a context of its own")
		time.Sleep(2 * time.Minute) // its coordinator aborts it
	})
	require.Len(t, log.Lines("level=WARN"), 2)
	require.Len(t, log.Lines("left=\"the transaction was left open"), 1)
}

// A Close whose context was good gets no hint about its context, nor does one in a callback.
func TestOnlyALateCloseIsGivenAHintAboutItsContext(t *testing.T) {
	inOpenTransaction(t, func(t *testing.T, p *quill.Producer[string, string], f quill.Future) {
		require.NoError(t, p.AbortTransaction(t.Context()))
		require.NoError(t, p.Close(t.Context()))
		require.NoError(t, p.Close(testkit.Ended(context.Canceled)))
	})
	inOpenTransaction(t, func(t *testing.T, p *quill.Producer[string, string], f quill.Future) {
		said := make(chan error, 1)
		p.SendFunc(t.Context(), testkit.Rec("t", "", "v"), func(quill.RecordMetadata, error) { said <- p.Close(context.Background()) })
		go func() { _ = p.Flush(context.Background()) }()
		require.NotContains(t, (<-said).Error(), "context")
		time.Sleep(2 * time.Minute)
	})
}
