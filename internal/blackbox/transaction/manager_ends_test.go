package transaction_test

import (
	"slices"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What is on its way when a transaction ends: batches that have not left, that are in flight or wait to be
// sent again, partitions that are being added.

// oneByOne has each record leave at once, in a batch of its own.
func oneByOne(cfg *quill.Config) { cfg.Linger, cfg.BatchSize = -1, -1 }

// in runs f in another goroutine and returns its outcome.
func in(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// Answers to Produce that fail the batch and with it the transaction.
var failingBatches = []protocol.ErrorCode{
	// Java: TransactionManagerTest.testInvalidProducerEpochFromProduce
	protocol.InvalidProducerEpoch,
	// Java: TransactionManagerTest.testAllowAbortOnProduceFailure
	protocol.OutOfOrderSequenceNumber,
	// Java: SenderTest.testInvalidTxnStateIsAnAbortableError
	protocol.InvalidTxnState,
	// Java: SenderTest.testTransactionAbortableExceptionIsAnAbortableError
	protocol.TransactionAbortable,
}

func TestAFailedBatchIsAbortedUnderANewEpoch(t *testing.T) {
	for _, code := range failingBatches {
		t.Run(code.Name(), func(t *testing.T) {
			inTransactions(t, nil, func(x *testkit.TxnLab) {
				before, _ := x.C.Transaction(testkit.TxnID)
				x.Begin()
				x.Delivered(0, "first")
				wire := x.Watch()
				x.Refuse(protocol.Produce, code)
				x.Failure(x.Send(0, "v"), code)
				x.RequireState("ABORTABLE_ERROR")
				wire.Take()
				x.Abort()
				require.Equal(x, x.AbortWithBump(), wire.Take())
				after, _ := x.C.Transaction(testkit.TxnID)
				require.Equal(x, before.ProducerEpoch+1, after.ProducerEpoch)
				x.RequireGoesOn()
				x.RequireCommitted("on")
			})
		})
	}
}

// Java: TransactionManagerTest.testDisallowCommitOnProduceFailure
func TestACommitIsCanceledWhenABatchFails(t *testing.T) {
	inTransactions(t, lingering, func(x *testkit.TxnLab) {
		x.Begin()
		f := x.Send(0, "v")
		wire := x.Watch()
		x.Refuse(protocol.Produce, protocol.OutOfOrderSequenceNumber)
		err := x.P.CommitTransaction(x.Context())
		require.ErrorIs(x, err, protocol.OutOfOrderSequenceNumber)
		require.ErrorIs(x, err, quill.ErrAbortable)
		x.Failure(f, protocol.OutOfOrderSequenceNumber)
		require.Empty(x, wire.Named("commit"), "no node heard of the commit")
		wire.Take()
		x.Abort()
		require.Equal(x, x.AbortWithBump(), wire.Take())
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// Java: TransactionManagerTest.testAbortableErrorWhileAbortInProgress
func TestABatchThatFailsDuringTheAbortDoesNotSpoilIt(t *testing.T) {
	inTransactions(t, oneByOne, func(x *testkit.TxnLab) {
		x.Begin()
		x.Delivered(0, "first")
		x.Delay(protocol.Produce, time.Second)
		x.Refuse(protocol.Produce, protocol.OutOfOrderSequenceNumber)
		f := x.Send(0, "v")
		time.Sleep(time.Second / 2)
		aborted := in(func() error { return aborts(x) })
		time.Sleep(time.Second / 4)
		require.ErrorContains(x, x.P.BeginTransaction(), "ABORTING_TRANSACTION")
		x.Failure(f, protocol.OutOfOrderSequenceNumber)
		require.NoError(x, <-aborted)
		x.RequireState("READY")
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// Java: TransactionManagerTest.testCommitTransactionWithUnsentProduceRequest
// Java: SenderTest.testRecordsFlushedImmediatelyOnTransactionCompletion
func TestCommitSendsWhatLingersAndThenEnds(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.Linger = 10 * time.Second }, func(x *testkit.TxnLab) {
		for range 2 { // the linger of the second transaction is a whole one again
			wire := x.Watch()
			x.Begin()
			f := x.Send(0, "v")
			x.Send(0, "w")
			time.Sleep(10*time.Second - time.Millisecond)
			require.Empty(x, wire.About("produce"))
			time.Sleep(10 * time.Millisecond)
			require.Len(x, wire.About("produce"), 1)
			x.Send(0, "x")
			time.Sleep(time.Second)
			wire.Take()
			x.Delay(protocol.Produce, 3*time.Second)
			committed := in(func() error { return commits(x) })
			time.Sleep(time.Second)
			require.Equal(x, []string{"produce t-0"}, wire.Take(), "at once, and the end waits for its answer")
			require.True(x, f.Done())
			require.NoError(x, <-committed)
			require.Equal(x, []string{"commit"}, wire.Take())
		}
		x.RequireCommitted("v", "w", "x", "v", "w", "x")
	})
}

// Java: TransactionManagerTest.testCommitTransactionWithInFlightProduceRequest
// Java: SenderTest.testAwaitPendingRecordsBeforeCommittingTransaction
func TestCommitWaitsForWhatIsInFlightAndWhatIsNot(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { lingering(cfg); cfg.MaxInFlightRequestsPerConnection = 2 }, func(x *testkit.TxnLab) {
		x.Begin()
		x.Send(0, "first")
		require.NoError(x, x.P.Flush(x.Context()))
		wire := x.Watch()
		x.Delay(protocol.Produce, 3*time.Second)
		one := x.Send(0, "1")
		flushed := in(func() error { return x.P.Flush(x.Context()) })
		time.Sleep(time.Second)
		two := x.Send(0, "2")
		committed := in(func() error { return commits(x) })
		time.Sleep(time.Second)
		require.Equal(x, []string{"produce t-0"}, wire.Take(), "the node has not read the second one yet")
		require.False(x, one.Done())
		require.False(x, two.Done())
		require.NoError(x, <-flushed)
		require.NoError(x, <-committed)
		require.Equal(x, []string{"produce t-0", "commit"}, wire.Take())
		x.RequireCommitted("first", "1", "2")
	})
}

// A coordinator may be looked for in the abortable state: to ask again for what may have been carried out,
// and for the abort at the latest. Java also asks again for what was refused.
//
// Java: TransactionManagerTest.testFindCoordinatorAllowedInAbortableErrorState
func TestTheCoordinatorIsFoundInTheAbortableState(t *testing.T) {
	for _, lost := range []bool{true, false} {
		inVersion1(t, nil, func(x *testkit.TxnLab) {
			x.Begin()
			x.Delivered(0, "first")
			wire := x.Watch()
			x.Delay(protocol.AddPartitionsToTxn, time.Second)
			if lost {
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, DisconnectAfter: true})
			} else {
				x.Refuse(protocol.AddPartitionsToTxn, protocol.NotCoordinator)
			}
			f := x.Send(1, "v")
			time.Sleep(time.Second / 2)
			x.Spoil()
			x.Failure(f, quill.ErrTransactionAborted)
			time.Sleep(3 * time.Second)
			x.RequireState("ABORTABLE_ERROR")
			asked := wire.Take()
			if lost {
				require.Equal(x, []string{"add t-1", "find " + testkit.TxnID, "add t-1"}, asked)
			}
			x.Abort()
			asked = append(asked, wire.Take()...)
			require.Contains(x, asked[:slices.Index(asked, "abort")], "find "+testkit.TxnID)
			x.RequireGoesOn()
			x.RequireCommitted("on")
		})
	}
}

// An answer that a partition was not added is enough for an abort. Java asks for it again, and has the
// coordinator abort the transaction that this begins. If the answer got lost, so do we.
//
// Java: TransactionManagerTest.testAbortResendsAddPartitionErrorIfRetried
func TestAPartitionThatMayBeAddedIsAskedForAgainBeforeTheAbort(t *testing.T) {
	for _, lost := range []bool{true, false} {
		inVersion1(t, slowly, func(x *testkit.TxnLab) {
			wire := x.Watch()
			if lost {
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, DisconnectAfter: true})
			} else {
				x.Refuse(protocol.AddPartitionsToTxn, protocol.UnknownTopicOrPartition)
			}
			x.Begin()
			f := x.Send(0, "v")
			time.Sleep(time.Second / 10)
			require.False(x, f.Done())
			require.Equal(x, []string{"add t-0"}, wire.Take())
			x.Abort()
			x.Failure(f, quill.ErrTransactionAborted)
			if lost {
				require.Equal(x, []string{"find " + testkit.TxnID, "add t-0", "abort", "init"}, wire.Take())
			} else {
				require.Empty(x, wire.Take())
			}
			x.RequireGoesOn()
			x.RequireCommitted("on")
		})
	}
}

// A batch that waits to be sent again may be written, by a copy that is late: with version 1 it is settled
// before the end. With version 2 the end raises the epoch, which keeps copies out, so the batch is dropped.
//
// Java: TransactionManagerTest.testAbortResendsProduceRequestIfRetried
func TestABatchInRetryIsSettledBeforeTheAbort(t *testing.T) {
	inTransactions(t, slowly, func(x *testkit.TxnLab) {
		x.Begin()
		x.Delivered(0, "first")
		wire := x.Watch()
		x.Refuse(protocol.Produce, protocol.RequestTimedOut)
		f := x.Send(0, "v")
		time.Sleep(time.Second / 10)
		require.False(x, f.Done())
		x.Abort()
		x.RequireAfterAbort(f, wire)
	})
}

// Java: TransactionManagerTest.resendFailedProduceRequestAfterAbortableError
func TestABatchInRetryIsSettledInTheAbortableState(t *testing.T) {
	inTransactions(t, slowly, func(x *testkit.TxnLab) {
		x.Begin()
		x.Delivered(0, "first")
		wire := x.Watch()
		x.Refuse(protocol.Produce, protocol.NotLeaderOrFollower)
		f := x.Send(0, "v")
		time.Sleep(time.Second / 10)
		require.False(x, f.Done())
		x.Spoil()
		time.Sleep(3 * time.Second)
		require.True(x, f.Done(), "before the abort is asked for")
		x.Abort()
		x.RequireAfterAbort(f, wire)
	})
}

// Java: TransactionManagerTest.testHandlingOfUnknownTopicPartitionErrorOnAddPartitions
func TestAPartitionThatIsNotKnownYetIsAddedLater(t *testing.T) {
	inVersion1(t, slowly, func(x *testkit.TxnLab) {
		wire := x.Watch()
		x.Refuse(protocol.AddPartitionsToTxn, protocol.UnknownTopicOrPartition)
		x.Begin()
		f := x.Send(0, "v")
		time.Sleep(time.Second / 10)
		require.Equal(x, []string{"add t-0"}, wire.Take(), "and no record leaves")
		_, err := f.Wait(x.Context())
		require.NoError(x, err)
		require.Equal(x, []string{"add t-0", "produce t-0"}, wire.Take())
		x.Commit()
		x.RequireCommitted("v")
	})
}

// Java: SenderTest.testTransactionAbortedExceptionOnAbortWithoutError
func TestAnAbortFailsWhatHasNotLeft(t *testing.T) {
	inTransactions(t, lingering, func(x *testkit.TxnLab) {
		x.Begin()
		x.Send(0, "first")
		require.NoError(x, x.P.Flush(x.Context()))
		f := x.Send(0, "v")
		x.Abort()
		x.Failure(f, quill.ErrTransactionAborted)
		_, err := f.Wait(x.Context())
		require.Equal(x, quill.NotSent, outcome(err))
		x.RequireGoesOn()
	})
}

// Each call that timed out may be repeated, and no other one made instead (KAFKA-14417).
var repeatedEnds = []struct {
	name          string
	first, second func(x *testkit.TxnLab) error
	refused       bool
}{
	// Java: TransactionManagerTest.testRetryAbortTransaction
	{"abort, abort", aborts, aborts, false},
	// Java: TransactionManagerTest.testRetryCommitTransaction
	{"commit, commit", commits, commits, false},
	// Java: TransactionManagerTest.testRetryAbortTransactionAfterCommitTimeout
	{"commit, abort", commits, aborts, true},
	// Java: TransactionManagerTest.testRetryCommitTransactionAfterAbortTimeout
	{"abort, commit", aborts, commits, true},
}

func commits(x *testkit.TxnLab) error { return x.P.CommitTransaction(x.Context()) }

func aborts(x *testkit.TxnLab) error { return x.P.AbortTransaction(x.Context()) }

func TestAnEndThatTimedOutIsRepeatedAsItWas(t *testing.T) {
	for _, c := range repeatedEnds {
		t.Run(c.name, func(t *testing.T) {
			inTransactions(t, func(cfg *quill.Config) { cfg.MaxBlock = 2 * time.Second }, func(x *testkit.TxnLab) {
				x.Begin()
				x.Delivered(0, "v")
				lost := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, DisconnectBefore: true, Times: -1})
				require.ErrorIs(x, c.first(x), quill.ErrTimeout)
				lost.Remove()
				err := c.second(x)
				if c.refused {
					require.ErrorIs(x, err, quill.ErrInvalidTxnState)
					require.NotErrorIs(x, err, quill.ErrFatal)
					err = c.first(x)
				}
				require.NoError(x, err)
				x.RequireState("READY")
				x.RequireGoesOn()
			})
		})
	}
}
