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

// A request to add a partition that is given up, and repeated on another connection, may reach its coordinator when the
// transaction is over. In version 1 of transactions it then begins one that is never ended (KIP-890).

// withALateJoin runs a test on a cluster of the release where a request to add a partition comes after ten seconds,
// while its producer waits one. After commit the transaction is over.
func withALateJoin(t *testing.T, release string, test func(x *testkit.TxnLab, commit func())) {
	t.Helper()
	change := func(cfg *quill.Config) {
		cfg.RequestTimeout, cfg.TransactionTimeout, cfg.Linger = time.Second, time.Minute, -1
	}
	testkit.InRelease(t, quilltest.Options{Release: release, Nodes: 1}, change, func(x *testkit.TxnLab) {
		require.NoError(x, x.P.InitTransactions(x.Context()))
		test(x, func() {
			x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, Delay: 10 * time.Second})
			x.Begin()
			x.Send(0, "a")
			x.Commit()
		})
	})
}

// After a lost answer the next transaction is under another epoch, which keeps the copy out.
func TestALateJoinBeginsNoTransaction(t *testing.T) {
	withALateJoin(t, "3.9", func(x *testkit.TxnLab, commit func()) {
		before := x.Epoch()
		commit()
		require.Equal(x, before+1, x.Epoch())
		time.Sleep(3 * time.Minute)
		x.Begin()
		x.Send(0, "b")
		x.Commit()
		require.Equal(x, before+1, x.Epoch(), "no transaction timed out")
		x.RequireCommitted("a", "b")
	})
}

// Between the end of the transaction and the new epoch nothing does: the coordinator fences the producer, as it would
// for another one. Nor is there a new epoch before 2.5, where such a transaction times out. No record is lost, and the
// error says what may have been.
func TestALateJoinThatFencesTheProducerIsNamed(t *testing.T) {
	requireNamed := func(x *testkit.TxnLab, err error) {
		require.ErrorIs(x, err, quill.ErrProducerFenced)
		require.ErrorContains(x, err, "or a late copy of a request began another transaction")
		x.RequireCommitted("a")
	}
	t.Run("before the epoch", func(t *testing.T) {
		withALateJoin(t, "3.9", func(x *testkit.TxnLab, commit func()) {
			begin := time.Now()
			x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.CoordinatorLoadInProgress, Times: -1,
				When: func(*quilltest.Request) bool { return time.Since(begin) < 11*time.Second }})
			commit()
			requireNamed(x, x.P.BeginTransaction())
		})
	})
	t.Run("without one", func(t *testing.T) {
		withALateJoin(t, "2.4", func(x *testkit.TxnLab, commit func()) {
			commit()
			time.Sleep(3 * time.Minute)
			x.Begin()
			x.Send(0, "b")
			requireNamed(x, x.P.CommitTransaction(x.Context()))
		})
	})
}

// That time is short: a coordinator that still writes the end down is asked for the epoch again very soon.
func TestTheEpochAfterALostJoinIsAskedForAtOnce(t *testing.T) {
	withALateJoin(t, "3.9", func(x *testkit.TxnLab, commit func()) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.ConcurrentTransactions, Times: 5})
		testkit.Within(x.T, 1100*time.Millisecond, 1300*time.Millisecond, commit) // of which the lost request takes a second
	})
}
