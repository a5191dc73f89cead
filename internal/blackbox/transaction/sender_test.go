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

// What Java's sender promises of transactional records: throttled nodes, retries that are spent, sequences
// that were lost, batches that are split, and how it ends.

// Java: SenderTest.senderThreadShouldNotGetStuckWhenThrottledAndAddingPartitionsToTxn
func TestAThrottledCoordinatorIsWaitedForNoLonger(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{Release: "3.9"}, nil, func(x *testkit.TxnLab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Throttle: time.Second})
		require.NoError(x, x.P.InitTransactions(x.Context()))
		x.Begin()
		testkit.Within(x.T, 900*time.Millisecond, 1100*time.Millisecond, func() { x.Delivered(0, "v") })
		x.Commit()
		x.RequireCommitted("v")
	})
}

// Java: SenderTest.testInitProducerIdWithMaxInFlightOne
func TestInitWaitsForItsTurnAtTheOnlyNode(t *testing.T) {
	for _, release := range []string{"4.4", "3.9"} {
		testkit.InRelease(t, quilltest.Options{Release: release, Nodes: 1}, func(cfg *quill.Config) { cfg.MaxInFlightRequestsPerConnection = 1 }, func(x *testkit.TxnLab) {
			x.Delay(protocol.Metadata, time.Second)
			testkit.Within(x.T, time.Second, 1100*time.Millisecond, func() { require.NoError(x, x.P.InitTransactions(x.Context())) })
			x.Begin()
			x.Delivered(0, "v")
			x.Commit()
			x.RequireCommitted("v")
		})
	}
}

// The first of two batches in flight is refused and then expires: whether the second was written is open.
// That is no reason to end.
//
// Java: SenderTest.testUnresolvedSequencesAreNotFatal
func TestABatchWhoseFateIsOpenIsNotFatal(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { unreachable(cfg); slowly(cfg); cfg.BatchSize = -1 }, func(x *testkit.TxnLab) {
		away := x.Apart()
		x.Begin()
		x.Delivered(0, "first")
		x.Delay(protocol.Produce, time.Second)
		x.Refuse(protocol.Produce, protocol.NotLeaderOrFollower)
		one := x.Send(0, "1")
		time.Sleep(time.Second / 2)
		two := x.Send(0, "2")
		time.Sleep(time.Second/2 + time.Millisecond)
		require.NoError(x, x.C.PauseNode(away))
		x.Failure(one, quill.ErrDeliveryTimeout)
		x.RequireState("ABORTABLE_ERROR")
		_, err := two.Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrAbortable)
		x.Resume(away)
		x.Abort()
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// Java: SenderTest.testTransactionalSplitBatchAndSend
func TestATooLargeBatchOfATransactionIsSplit(t *testing.T) {
	inTransactions(t, lingering, func(x *testkit.TxnLab) {
		wire := x.Watch()
		x.Begin()
		a, b := x.Send(0, "a"), x.Send(0, "b")
		x.Refuse(protocol.Produce, protocol.MessageTooLarge)
		x.Commit()
		for i, f := range []quill.Future{a, b} {
			m, err := f.Wait(x.Context())
			require.NoError(x, err)
			require.EqualValues(x, i, m.Offset)
		}
		x.RequireSequences(wire, 0, 0, 1)
		batches, err := x.C.Batches("t", 0)
		require.NoError(x, err)
		require.True(x, batches[0].Header.Transactional() && batches[1].Header.Transactional())
		x.RequireCommitted("a", "b")
	})
}

// Java: SenderTest.testTransactionalRequestsSentOnShutdown
func TestACloseDuringACommitSendsWhatTheCommitNeeds(t *testing.T) {
	inTransactions(t, lingering, func(x *testkit.TxnLab) {
		wire := x.Watch()
		x.Begin()
		x.Send(0, "v")
		x.Delay(protocol.Produce, time.Second)
		committed := in(func() error { return commits(x) })
		time.Sleep(time.Second / 2)
		require.Empty(x, wire.Named("commit"))
		testkit.CloseProducer(x.T, x.P)
		require.NoError(x, <-committed)
		require.Len(x, wire.Named("commit"), 1)
		require.Empty(x, wire.Named("abort"))
		x.RequireCommitted("v")
	})
}

// Java: SenderTest.testIncompleteTransactionAbortOnShutdown
func TestACloseAbortsWhatWasNotCommitted(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		wire := x.Watch()
		x.Begin()
		x.Delivered(0, "v")
		testkit.CloseProducer(x.T, x.P)
		require.Len(x, wire.Named("abort"), 1)
		require.Empty(x, wire.Named("commit"))
		x.RequireCommitted()
	})
}

// Java: SenderTest.testForceShutdownWithIncompleteTransaction
func TestAForcedCloseFailsTheCommit(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		wire := x.Watch()
		x.Begin()
		x.Delivered(0, "v")
		x.Delay(protocol.Produce, time.Hour)
		left := x.Send(0, "w")
		committed := in(func() error { return commits(x) })
		time.Sleep(time.Second)
		testkit.Within(x.T, 0, 0, func() { require.ErrorIs(x, x.P.Close(testkit.Ended(quill.ErrForceClosed)), quill.ErrForceClosed) })
		require.ErrorIs(x, <-committed, quill.ErrForceClosed)
		_, err := left.Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrForceClosed)
		require.Empty(x, wire.Named("commit"))
		time.Sleep(2 * time.Hour) // the coordinator's time-out
	})
}

// Spent retries of every kind make the transaction abortable, never retriable (KAFKA-19176).
//
// Java: SenderTest.testTransactionShouldTransitionToAbortableForSenderAPI
func TestSpentRetriesLeaveAbortAsTheOnlyWay(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.CoordinatorLoadInProgress, protocol.InvalidTxnState} {
		t.Run(code.Name(), func(t *testing.T) {
			inTransactions(t, func(cfg *quill.Config) { cfg.Retries = 1 }, func(x *testkit.TxnLab) {
				wire := x.Watch()
				x.Begin()
				trouble := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: code, Times: -1})
				f := x.Send(0, "v")
				x.Failure(f, code)
				_, err := f.Wait(x.Context())
				require.NotErrorIs(x, err, quill.ErrRetriable)
				require.Len(x, wire.About("produce"), map[bool]int{true: 2, false: 1}[code.Retriable()])
				_, err = x.Send(0, "w").Wait(x.Context())
				for _, err := range []error{err, commits(x)} {
					require.ErrorIs(x, err, quill.ErrAbortable)
					require.NotErrorIs(x, err, quill.ErrRetriable)
				}
				trouble.Remove()
				x.Abort()
				x.RequireGoesOn()
			})
		})
	}
}

// Java: SenderTest.testReceiveFailedBatchTwiceWithTransactions
func TestALateRefusalOfABatchThatExpiredChangesNothing(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.RequestTimeout, cfg.DeliveryTimeout = 4*time.Second, 5*time.Second }, func(x *testkit.TxnLab) {
		x.Begin()
		x.Delivered(0, "first")
		apis := []protocol.APIKey{protocol.Produce}
		x.C.Inject(quilltest.Fault{APIs: apis, Delay: 3 * time.Second, Err: protocol.NotEnoughReplicas})
		late := x.C.Inject(quilltest.Fault{APIs: apis, Delay: 3 * time.Second, Err: protocol.InvalidTxnState, Skip: 1})
		f := x.Send(0, "v")
		testkit.Within(x.T, 5*time.Second, 5100*time.Millisecond, func() { x.Failure(f, quill.ErrDeliveryTimeout) })
		require.EqualValues(x, 1, late.Hits(), "it is on the wire")
		time.Sleep(3 * time.Second)
		x.RequireState("ABORTABLE_ERROR")
		x.Failure(f, quill.ErrDeliveryTimeout)
		x.Abort()
		x.RequireState("READY")
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// Java: SenderTest.testSenderShouldCloseWhenTransactionManagerInErrorState
func TestAProducerThatCannotGoOnClosesAtOnce(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		x.Begin()
		x.Delivered(0, "v")
		x.Refuse(protocol.EndTxn, protocol.InvalidTxnState)
		require.ErrorIs(x, commits(x), quill.ErrFatal)
		wire := x.Watch()
		testkit.Within(x.T, 0, 0, func() { testkit.CloseProducer(x.T, x.P) })
		require.Empty(x, wire.Take(), "nothing is asked for")
		x.Over()
	})
}
