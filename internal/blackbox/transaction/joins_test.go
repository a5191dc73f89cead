package transaction_test

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What may have joined a transaction is ended with it, even if later answers say that it did not: a request whose answer got
// lost may have been carried out, and its repetition be refused finally. Nor does the end of what never began harm.
func TestWhatMayHaveJoinedIsEnded(t *testing.T) {
	for _, release := range []string{"2.4", "3.9"} {
		for _, lost := range []quilltest.Fault{{DisconnectAfter: true}, {DisconnectBefore: true}, {Err: protocol.CoordinatorNotAvailable, AfterAppend: true}, {Err: protocol.NotCoordinator}} {
			for _, join := range []struct {
				name   string
				api    protocol.APIKey
				denied protocol.ErrorCode
				do     func(x *testkit.Lab) error
			}{
				{"partition", protocol.AddPartitionsToTxn, protocol.TopicAuthorizationFailed, testkit.SendRecord},
				{"offsets", protocol.AddOffsetsToTxn, protocol.GroupAuthorizationFailed, testkit.SendOffsetsToTransaction},
			} {
				testkit.Bubble(t, quilltest.Options{Release: release}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
					cfg := testkit.Config(c)
					cfg.TransactionalID, cfg.TransactionTimeout = testkit.TxnID, time.Minute
					x := &testkit.Lab{T: t, C: c, P: testkit.Open(t, cfg)}
					require.NoError(t, testkit.InitTransactions(x))
					if join.api == protocol.AddPartitionsToTxn { // one was committed before
						require.NoError(t, x.P.BeginTransaction())
						require.NoError(t, testkit.SendRecord(x))
						require.NoError(t, testkit.CommitTransaction(x))
					}
					before := c.Appended("t")
					require.NoError(t, x.P.BeginTransaction())
					lost.APIs = []protocol.APIKey{join.api}
					c.Inject(lost)
					denied := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{join.api}, Err: join.denied, Skip: 1, Times: -1})
					require.ErrorIs(t, join.do(x), join.denied)
					require.ErrorIs(t, testkit.CommitTransaction(x), quill.ErrInvalidTxnState)
					require.NoError(t, x.P.AbortTransaction(t.Context()))
					require.NotEqual(t, quilltest.TransactionOngoing, transactionOf(t, c).State, "%s: %s after %+v", release, join.name, lost)
					denied.Remove()
					time.Sleep(2 * time.Minute) // what is open is ended by its time-out, and fences us
					for range 2 {
						require.NoError(t, x.P.BeginTransaction())
						require.NoError(t, testkit.SendRecord(x))
						require.NoError(t, testkit.CommitTransaction(x))
					}
					require.EqualValues(t, 2, c.Appended("t")-before)
					testkit.CloseProducer(t, x.P)
				})
			}
		}
	}
}

func transactionOf(t *testing.T, c *quilltest.Cluster) quilltest.Transaction {
	x, ok := c.Transaction(testkit.TxnID)
	require.True(t, ok)
	return x
}
