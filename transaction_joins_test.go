package quill_test

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What may have joined a transaction is ended with it, whatever the answers say afterwards: a request whose answer got
// lost may have been carried out, and its repetition be refused for good. Nor does the end of what never began harm.
func TestWhatMayHaveJoinedIsEnded(t *testing.T) {
	for _, release := range []string{"2.4", "3.9"} {
		for _, lost := range []quilltest.Fault{{DisconnectAfter: true}, {DisconnectBefore: true}, {Err: protocol.CoordinatorNotAvailable, AfterAppend: true}, {Err: protocol.NotCoordinator}} {
			for _, join := range []struct {
				name   string
				api    protocol.APIKey
				denied protocol.ErrorCode
				do     func(x *lab) error
			}{
				{"partition", protocol.AddPartitionsToTxn, protocol.TopicAuthorizationFailed, sendRecord},
				{"offsets", protocol.AddOffsetsToTxn, protocol.GroupAuthorizationFailed, offsets},
			} {
				bubble(t, quilltest.Options{Release: release}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
					cfg := config(c)
					cfg.TransactionalID, cfg.TransactionTimeout = txnID, time.Minute
					x := &lab{T: t, c: c, p: open(t, cfg)}
					require.NoError(t, initTxn(x))
					if join.api == protocol.AddPartitionsToTxn { // one was committed before
						require.NoError(t, x.p.BeginTransaction())
						require.NoError(t, sendRecord(x))
						require.NoError(t, commit(x))
					}
					before := c.Appended("t")
					require.NoError(t, x.p.BeginTransaction())
					lost.APIs = []protocol.APIKey{join.api}
					c.Inject(lost)
					denied := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{join.api}, Err: join.denied, Skip: 1, Times: -1})
					require.ErrorIs(t, join.do(x), join.denied)
					require.ErrorIs(t, commit(x), quill.ErrInvalidTxnState)
					require.NoError(t, x.p.AbortTransaction(t.Context()))
					require.NotEqual(t, quilltest.TransactionOngoing, transactionOf(t, c).State, "%s: %s after %+v", release, join.name, lost)
					denied.Remove()
					time.Sleep(2 * time.Minute) // whatever is open is ended by its time-out, and fences us
					for range 2 {
						require.NoError(t, x.p.BeginTransaction())
						require.NoError(t, sendRecord(x))
						require.NoError(t, commit(x))
					}
					require.EqualValues(t, 2, c.Appended("t")-before)
					closeProducer(t, x.p)
				})
			}
		}
	}
}

func transactionOf(t *testing.T, c *quilltest.Cluster) quilltest.Transaction {
	x, ok := c.Transaction(txnID)
	require.True(t, ok)
	return x
}
