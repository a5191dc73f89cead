package transaction_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
)

// An error of InTransaction says whether the transaction was aborted, or is still open: by errors.Is and in words.
func TestAnErrorOfInTransactionSaysWhetherItIsAborted(t *testing.T) {
	own := errors.New("no such account")
	fails := func(*quill.Tx[string, string]) error { return own }
	wraps := func(*quill.Tx[string, string]) error { return fmt.Errorf("move: %w", own) }
	sends := func(tx *quill.Tx[string, string]) error {
		tx.Send(context.Background(), testkit.To(0, "v"))
		return nil
	}
	sendsAndFails := func(tx *quill.Tx[string, string]) error {
		_, err := tx.Send(context.Background(), testkit.To(0, "v")).Wait(context.Background())
		return errors.Join(err, own)
	}
	endTxn := []protocol.APIKey{protocol.EndTxn}
	for name, c := range map[string]struct {
		faults []quilltest.Fault
		fn     func(tx *quill.Tx[string, string]) error
		open   bool // not aborted
		fatal  bool
		text   string // what the error begins with
		fix    string // what it ends with
	}{
		"the function's own error":    {fn: fails, text: "no such account"},
		"its own error, wrapped":      {fn: wraps, text: "move: no such account"},
		"a record that is refused":    {fn: sends, faults: []quilltest.Fault{{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.InvalidTimestamp}}, text: "quill: the transaction was aborted: CommitTransaction: send to topic"},
		"no answer to the abort":      {fn: sendsAndFails, faults: []quilltest.Fault{{APIs: endTxn, Times: -1, DropAnswer: true}}, open: true, text: "quill: the transaction is not aborted: InTransaction: AbortTransaction: timed out", fix: "call AbortTransaction until it has worked"},
		"the abort ends the producer": {fn: sendsAndFails, faults: []quilltest.Fault{{APIs: endTxn, Times: -1, Err: protocol.ProducerFenced}}, open: true, fatal: true, text: "quill: the transaction is not aborted: InTransaction: AbortTransaction:", fix: "close this producer: the coordinator aborts the transaction of one that is fenced"},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, cluster *quilltest.Cluster) {
				cluster.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				cfg := testkit.Config(cluster)
				cfg.TransactionalID, cfg.MaxBlock = testkit.TxnID, 5*time.Second
				p := testkit.Open(t, cfg)
				defer func() { _ = p.Close(context.Background()) }()
				require.NoError(t, p.InitTransactions(t.Context()))
				var injected []*quilltest.Injection
				for _, f := range c.faults {
					injected = append(injected, cluster.Inject(f))
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err := p.InTransaction(ctx, c.fn)
				require.Error(t, err)
				require.Equal(t, c.open, errors.Is(err, quill.ErrNotAborted))
				require.Equal(t, c.fatal, errors.Is(err, quill.ErrFatal))
				require.Regexp(t, "^"+c.text, err.Error())
				require.Regexp(t, c.fix+"$", err.Error())
				for _, i := range injected {
					i.Remove()
				}
				switch {
				case c.fatal:
					return
				case c.open:
					for p.AbortTransaction(t.Context()) != nil { // until it has worked
					}
				default:
					require.ErrorIs(t, p.AbortTransaction(t.Context()), quill.ErrInvalidTxnState, "it is aborted")
				}
				require.NoError(t, p.InTransaction(t.Context(), sends))
				stored, err := cluster.CommittedRecords("t", 0)
				require.NoError(t, err)
				require.Len(t, stored, 1)
			})
		})
	}
}

// An error of the producer keeps what it says of itself when InTransaction says what became of the transaction.
func TestAnErrorOfAnAbortedTransactionKeepsItsFacts(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, cluster *quilltest.Cluster) {
		cluster.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(cluster)
		cfg.TransactionalID = testkit.TxnID
		p := testkit.Open(t, cfg)
		defer func() { _ = p.Close(context.Background()) }()
		require.NoError(t, p.InitTransactions(t.Context()))
		cluster.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.InvalidTimestamp})
		err := p.InTransaction(t.Context(), func(tx *quill.Tx[string, string]) error {
			tx.Send(t.Context(), testkit.To(0, "v"))
			return nil
		})
		e, ok := err.(*quill.Error)
		require.True(t, ok)
		require.Equal(t, "CommitTransaction", e.Op)
		require.ErrorIs(t, err, protocol.InvalidTimestamp)
		require.True(t, e.Abortable())
		require.NotContains(t, err.Error(), "call AbortTransaction")
	})
}
