package quill_test

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What Java's sender promises of transactional records: throttled nodes, retries that are spent, sequences
// that were lost, batches that are split, and how it ends.

// Java: SenderTest.senderThreadShouldNotGetStuckWhenThrottledAndAddingPartitionsToTxn
func TestAThrottledCoordinatorIsWaitedForNoLonger(t *testing.T) {
	inRelease(t, quilltest.Options{Release: "3.9"}, nil, func(x *txnLab) {
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Throttle: time.Second})
		require.NoError(x, x.p.InitTransactions(x.Context()))
		x.begin()
		within(x.T, 900*time.Millisecond, 1100*time.Millisecond, func() { x.delivered(0, "v") })
		x.commit()
		x.requireCommitted("v")
	})
}

// Java: SenderTest.testInitProducerIdWithMaxInFlightOne
func TestInitWaitsForItsTurnAtTheOnlyNode(t *testing.T) {
	for _, release := range []string{"4.4", "3.9"} {
		inRelease(t, quilltest.Options{Release: release, Nodes: 1}, func(cfg *quill.Config) { cfg.MaxInFlightRequestsPerConnection = 1 }, func(x *txnLab) {
			x.delay(protocol.Metadata, time.Second)
			within(x.T, time.Second, 1100*time.Millisecond, func() { require.NoError(x, x.p.InitTransactions(x.Context())) })
			x.begin()
			x.delivered(0, "v")
			x.commit()
			x.requireCommitted("v")
		})
	}
}

// The first of two batches in flight is refused and then expires: whether the second was written is open.
// That is no reason to end.
//
// Java: SenderTest.testUnresolvedSequencesAreNotFatal
func TestABatchWhoseFateIsOpenIsNotFatal(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { unreachable(cfg); slowly(cfg); cfg.BatchSize = -1 }, func(x *txnLab) {
		away := x.apart()
		x.begin()
		x.delivered(0, "first")
		x.delay(protocol.Produce, time.Second)
		x.refuse(protocol.Produce, protocol.NotLeaderOrFollower)
		one := x.send(0, "1")
		time.Sleep(time.Second / 2)
		two := x.send(0, "2")
		time.Sleep(time.Second/2 + time.Millisecond)
		require.NoError(x, x.c.PauseNode(away))
		x.failed(one, quill.ErrDeliveryTimeout)
		x.requireState("ABORTABLE_ERROR")
		_, err := two.Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.NoError(x, x.c.ResumeNode(away))
		x.abort()
		x.requireGoesOn()
		x.requireCommitted("on")
	})
}

// requireSequences compares those of the requests to partition 0, which have one epoch.
func (x *txnLab) requireSequences(wire *txnWire, want ...int32) {
	x.Helper()
	var got []int32
	for _, a := range wire.named("produce t-0") {
		require.Zero(x, a.epoch)
		got = append(got, a.first)
	}
	require.Equal(x, want, got)
}

// Java: SenderTest.testTransactionalSplitBatchAndSend
func TestATooLargeBatchOfATransactionIsSplit(t *testing.T) {
	inTransactions(t, lingering, func(x *txnLab) {
		wire := x.watch()
		x.begin()
		a, b := x.send(0, "a"), x.send(0, "b")
		x.refuse(protocol.Produce, protocol.MessageTooLarge)
		x.commit()
		for i, f := range []quill.Future{a, b} {
			m, err := f.Wait(x.Context())
			require.NoError(x, err)
			require.EqualValues(x, i, m.Offset)
		}
		x.requireSequences(wire, 0, 0, 1)
		batches, err := x.c.Batches("t", 0)
		require.NoError(x, err)
		require.True(x, batches[0].Header.Transactional() && batches[1].Header.Transactional())
		x.requireCommitted("a", "b")
	})
}

// Java: SenderTest.testTransactionalRequestsSentOnShutdown
func TestACloseDuringACommitSendsWhatTheCommitNeeds(t *testing.T) {
	inTransactions(t, lingering, func(x *txnLab) {
		wire := x.watch()
		x.begin()
		x.send(0, "v")
		x.delay(protocol.Produce, time.Second)
		committed := in(func() error { return commits(x) })
		time.Sleep(time.Second / 2)
		require.Empty(x, wire.named("commit"))
		closeProducer(x.T, x.p)
		require.NoError(x, <-committed)
		require.Len(x, wire.named("commit"), 1)
		require.Empty(x, wire.named("abort"))
		x.requireCommitted("v")
	})
}

// Java: SenderTest.testIncompleteTransactionAbortOnShutdown
func TestACloseAbortsWhatWasNotCommitted(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		wire := x.watch()
		x.begin()
		x.delivered(0, "v")
		closeProducer(x.T, x.p)
		require.Len(x, wire.named("abort"), 1)
		require.Empty(x, wire.named("commit"))
		x.requireCommitted()
	})
}

// Java: SenderTest.testForceShutdownWithIncompleteTransaction
func TestAForcedCloseFailsTheCommit(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		wire := x.watch()
		x.begin()
		x.delivered(0, "v")
		x.delay(protocol.Produce, time.Hour)
		left := x.send(0, "w")
		committed := in(func() error { return commits(x) })
		time.Sleep(time.Second)
		within(x.T, 0, 0, func() { require.ErrorIs(x, x.p.Close(ended(quill.ErrForceClosed)), quill.ErrForceClosed) })
		require.ErrorIs(x, <-committed, quill.ErrForceClosed)
		_, err := left.Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrForceClosed)
		require.Empty(x, wire.named("commit"))
		time.Sleep(2 * time.Hour) // the coordinator's time-out
	})
}

// Spent retries of whatever kind make the transaction abortable, never retriable (KAFKA-19176).
//
// Java: SenderTest.testTransactionShouldTransitionToAbortableForSenderAPI
func TestSpentRetriesLeaveAbortAsTheOnlyWay(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.CoordinatorLoadInProgress, protocol.InvalidTxnState} {
		t.Run(code.Name(), func(t *testing.T) {
			inTransactions(t, func(cfg *quill.Config) { cfg.Retries = 1 }, func(x *txnLab) {
				wire := x.watch()
				x.begin()
				trouble := x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: code, Times: -1})
				f := x.send(0, "v")
				x.failed(f, code)
				_, err := f.Wait(x.Context())
				require.NotErrorIs(x, err, quill.ErrRetriable)
				require.Len(x, wire.about("produce"), map[bool]int{true: 2, false: 1}[code.Retriable()])
				_, err = x.send(0, "w").Wait(x.Context())
				for _, err := range []error{err, commits(x)} {
					require.ErrorIs(x, err, quill.ErrAbortable)
					require.NotErrorIs(x, err, quill.ErrRetriable)
				}
				trouble.Remove()
				x.abort()
				x.requireGoesOn()
			})
		})
	}
}

// Java: SenderTest.testReceiveFailedBatchTwiceWithTransactions
func TestALateRefusalOfABatchThatExpiredChangesNothing(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.RequestTimeout, cfg.DeliveryTimeout = 4*time.Second, 5*time.Second }, func(x *txnLab) {
		x.begin()
		x.delivered(0, "first")
		apis := []protocol.APIKey{protocol.Produce}
		x.c.Inject(quilltest.Fault{APIs: apis, Delay: 3 * time.Second, Err: protocol.NotEnoughReplicas})
		late := x.c.Inject(quilltest.Fault{APIs: apis, Delay: 3 * time.Second, Err: protocol.InvalidTxnState, Skip: 1})
		f := x.send(0, "v")
		within(x.T, 5*time.Second, 5100*time.Millisecond, func() { x.failed(f, quill.ErrDeliveryTimeout) })
		require.EqualValues(x, 1, late.Hits(), "it is on the wire")
		time.Sleep(3 * time.Second)
		x.requireState("ABORTABLE_ERROR")
		x.failed(f, quill.ErrDeliveryTimeout)
		x.abort()
		x.requireState("READY")
		x.requireGoesOn()
		x.requireCommitted("on")
	})
}

// Java: SenderTest.testSenderShouldCloseWhenTransactionManagerInErrorState
func TestAProducerThatCannotGoOnClosesAtOnce(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		x.begin()
		x.delivered(0, "v")
		x.refuse(protocol.EndTxn, protocol.InvalidTxnState)
		require.ErrorIs(x, commits(x), quill.ErrFatal)
		wire := x.watch()
		within(x.T, 0, 0, func() { closeProducer(x.T, x.p) })
		require.Empty(x, wire.take(), "nothing is asked for")
		x.over()
	})
}
