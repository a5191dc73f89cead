package quill_test

import (
	"slices"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What is on its way when a transaction ends: batches that have not left, that are in flight or wait to be
// sent again, partitions that are being added.

// oneByOne has each record leave at once, in a batch of its own.
func oneByOne(cfg *quill.Config) { cfg.Linger, cfg.BatchSize = -1, -1 }

// delivered sends a record and waits until it is in the log.
func (x *txnLab) delivered(partition int32, value string) {
	x.Helper()
	_, err := x.send(partition, value).Wait(x.Context())
	require.NoError(x, err)
}

// failed waits for a record that must fail so that the transaction is to be aborted.
func (x *txnLab) failed(f quill.Future, is error) {
	x.Helper()
	_, err := f.Wait(x.Context())
	require.ErrorIs(x, err, is)
	require.ErrorIs(x, err, quill.ErrAbortable)
}

// abortWithBump is what an abort asks for after a record was refused: with version 1 the new epoch has
// to be asked for.
func (x *txnLab) abortWithBump() []string {
	if x.version2 {
		return []string{"abort"}
	}
	return []string{"abort", "init"}
}

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
			inTransactions(t, nil, func(x *txnLab) {
				before, _ := x.c.Transaction(txnID)
				x.begin()
				x.delivered(0, "first")
				wire := x.watch()
				x.refuse(protocol.Produce, code)
				x.failed(x.send(0, "v"), code)
				x.requireState("ABORTABLE_ERROR")
				wire.take()
				x.abort()
				require.Equal(x, x.abortWithBump(), wire.take())
				after, _ := x.c.Transaction(txnID)
				require.Equal(x, before.ProducerEpoch+1, after.ProducerEpoch)
				x.requireGoesOn()
				x.requireCommitted("on")
			})
		})
	}
}

// Java: TransactionManagerTest.testDisallowCommitOnProduceFailure
func TestACommitIsCanceledWhenABatchFails(t *testing.T) {
	inTransactions(t, lingering, func(x *txnLab) {
		x.begin()
		f := x.send(0, "v")
		wire := x.watch()
		x.refuse(protocol.Produce, protocol.OutOfOrderSequenceNumber)
		err := x.p.CommitTransaction(x.Context())
		require.ErrorIs(x, err, protocol.OutOfOrderSequenceNumber)
		require.ErrorIs(x, err, quill.ErrAbortable)
		x.failed(f, protocol.OutOfOrderSequenceNumber)
		require.Empty(x, wire.named("commit"), "no node heard of the commit")
		wire.take()
		x.abort()
		require.Equal(x, x.abortWithBump(), wire.take())
		x.requireGoesOn()
		x.requireCommitted("on")
	})
}

// Java: TransactionManagerTest.testAbortableErrorWhileAbortInProgress
func TestABatchThatFailsDuringTheAbortDoesNotSpoilIt(t *testing.T) {
	inTransactions(t, oneByOne, func(x *txnLab) {
		x.begin()
		x.delivered(0, "first")
		x.delay(protocol.Produce, time.Second)
		x.refuse(protocol.Produce, protocol.OutOfOrderSequenceNumber)
		f := x.send(0, "v")
		time.Sleep(time.Second / 2)
		aborted := in(func() error { return aborts(x) })
		time.Sleep(time.Second / 4)
		require.ErrorContains(x, x.p.BeginTransaction(), "ABORTING_TRANSACTION")
		x.failed(f, protocol.OutOfOrderSequenceNumber)
		require.NoError(x, <-aborted)
		x.requireState("READY")
		x.requireGoesOn()
		x.requireCommitted("on")
	})
}

// Java: TransactionManagerTest.testCommitTransactionWithUnsentProduceRequest
// Java: SenderTest.testRecordsFlushedImmediatelyOnTransactionCompletion
func TestCommitSendsWhatLingersAndThenEnds(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.Linger = 10 * time.Second }, func(x *txnLab) {
		for range 2 { // the linger of the second transaction is a whole one again
			wire := x.watch()
			x.begin()
			f := x.send(0, "v")
			x.send(0, "w")
			time.Sleep(10*time.Second - time.Millisecond)
			require.Empty(x, wire.about("produce"))
			time.Sleep(10 * time.Millisecond)
			require.Len(x, wire.about("produce"), 1)
			x.send(0, "x")
			time.Sleep(time.Second)
			wire.take()
			x.delay(protocol.Produce, 3*time.Second)
			committed := in(func() error { return commits(x) })
			time.Sleep(time.Second)
			require.Equal(x, []string{"produce t-0"}, wire.take(), "at once, and the end waits for its answer")
			require.True(x, f.Done())
			require.NoError(x, <-committed)
			require.Equal(x, []string{"commit"}, wire.take())
		}
		x.requireCommitted("v", "w", "x", "v", "w", "x")
	})
}

// Java: TransactionManagerTest.testCommitTransactionWithInFlightProduceRequest
// Java: SenderTest.testAwaitPendingRecordsBeforeCommittingTransaction
func TestCommitWaitsForWhatIsInFlightAndWhatIsNot(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { lingering(cfg); cfg.MaxInFlightRequestsPerConnection = 2 }, func(x *txnLab) {
		x.begin()
		x.send(0, "first")
		require.NoError(x, x.p.Flush(x.Context()))
		wire := x.watch()
		x.delay(protocol.Produce, 3*time.Second)
		one := x.send(0, "1")
		flushed := in(func() error { return x.p.Flush(x.Context()) })
		time.Sleep(time.Second)
		two := x.send(0, "2")
		committed := in(func() error { return commits(x) })
		time.Sleep(time.Second)
		require.Equal(x, []string{"produce t-0"}, wire.take(), "the node has not read the second one yet")
		require.False(x, one.Done())
		require.False(x, two.Done())
		require.NoError(x, <-flushed)
		require.NoError(x, <-committed)
		require.Equal(x, []string{"produce t-0", "commit"}, wire.take())
		x.requireCommitted("first", "1", "2")
	})
}

// A coordinator may be looked for in the abortable state: to ask again for what may have been carried out,
// and for the abort at the latest. Java also asks again for what was refused.
//
// Java: TransactionManagerTest.testFindCoordinatorAllowedInAbortableErrorState
func TestTheCoordinatorIsFoundInTheAbortableState(t *testing.T) {
	for _, lost := range []bool{true, false} {
		inVersion1(t, nil, func(x *txnLab) {
			x.begin()
			x.delivered(0, "first")
			wire := x.watch()
			x.delay(protocol.AddPartitionsToTxn, time.Second)
			if lost {
				x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, DisconnectAfter: true})
			} else {
				x.refuse(protocol.AddPartitionsToTxn, protocol.NotCoordinator)
			}
			f := x.send(1, "v")
			time.Sleep(time.Second / 2)
			x.spoil()
			x.failed(f, quill.ErrTransactionAborted)
			time.Sleep(3 * time.Second)
			x.requireState("ABORTABLE_ERROR")
			asked := wire.take()
			if lost {
				require.Equal(x, []string{"add t-1", "find " + txnID, "add t-1"}, asked)
			}
			x.abort()
			asked = append(asked, wire.take()...)
			require.Contains(x, asked[:slices.Index(asked, "abort")], "find "+txnID)
			x.requireGoesOn()
			x.requireCommitted("on")
		})
	}
}

// An answer that a partition was not added is enough for an abort. Java asks for it again, and has the
// coordinator abort the transaction that this begins. If the answer got lost, so do we.
//
// Java: TransactionManagerTest.testAbortResendsAddPartitionErrorIfRetried
func TestAPartitionThatMayBeAddedIsAskedForAgainBeforeTheAbort(t *testing.T) {
	for _, lost := range []bool{true, false} {
		inVersion1(t, slowly, func(x *txnLab) {
			wire := x.watch()
			if lost {
				x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, DisconnectAfter: true})
			} else {
				x.refuse(protocol.AddPartitionsToTxn, protocol.UnknownTopicOrPartition)
			}
			x.begin()
			f := x.send(0, "v")
			time.Sleep(time.Second / 10)
			require.False(x, f.Done())
			require.Equal(x, []string{"add t-0"}, wire.take())
			x.abort()
			x.failed(f, quill.ErrTransactionAborted)
			if lost {
				require.Equal(x, []string{"find " + txnID, "add t-0", "abort", "init"}, wire.take())
			} else {
				require.Empty(x, wire.take())
			}
			x.requireGoesOn()
			x.requireCommitted("on")
		})
	}
}

// A batch that waits to be sent again may be written, by a copy that is late: with version 1 it is settled
// before the end. With version 2 the end raises the epoch, which keeps copies out, so the batch is dropped.
//
// Java: TransactionManagerTest.testAbortResendsProduceRequestIfRetried
func TestABatchInRetryIsSettledBeforeTheAbort(t *testing.T) {
	inTransactions(t, slowly, func(x *txnLab) {
		x.begin()
		x.delivered(0, "first")
		wire := x.watch()
		x.refuse(protocol.Produce, protocol.RequestTimedOut)
		f := x.send(0, "v")
		time.Sleep(time.Second / 10)
		require.False(x, f.Done())
		x.abort()
		x.requireAfterAbort(f, wire)
	})
}

// requireAfterAbort is what became of a batch that was in retry when the transaction failed.
func (x *txnLab) requireAfterAbort(f quill.Future, wire *txnWire) {
	x.Helper()
	asked := wire.take()
	if x.version2 {
		x.failed(f, quill.ErrTransactionAborted)
		require.Equal(x, []string{"produce t-0", "abort"}, asked)
	} else {
		m, err := f.Wait(x.Context())
		require.NoError(x, err)
		require.Equal(x, "t", m.Topic)
		require.Equal(x, []string{"produce t-0", "produce t-0", "abort"}, asked)
	}
	x.requireGoesOn()
	x.requireCommitted("on")
}

// Java: TransactionManagerTest.resendFailedProduceRequestAfterAbortableError
func TestABatchInRetryIsSettledInTheAbortableState(t *testing.T) {
	inTransactions(t, slowly, func(x *txnLab) {
		x.begin()
		x.delivered(0, "first")
		wire := x.watch()
		x.refuse(protocol.Produce, protocol.NotLeaderOrFollower)
		f := x.send(0, "v")
		time.Sleep(time.Second / 10)
		require.False(x, f.Done())
		x.spoil()
		time.Sleep(3 * time.Second)
		require.True(x, f.Done(), "before the abort is asked for")
		x.abort()
		x.requireAfterAbort(f, wire)
	})
}

// Java: TransactionManagerTest.testHandlingOfUnknownTopicPartitionErrorOnAddPartitions
func TestAPartitionThatIsNotKnownYetIsAddedLater(t *testing.T) {
	inVersion1(t, slowly, func(x *txnLab) {
		wire := x.watch()
		x.refuse(protocol.AddPartitionsToTxn, protocol.UnknownTopicOrPartition)
		x.begin()
		f := x.send(0, "v")
		time.Sleep(time.Second / 10)
		require.Equal(x, []string{"add t-0"}, wire.take(), "and no record leaves")
		_, err := f.Wait(x.Context())
		require.NoError(x, err)
		require.Equal(x, []string{"add t-0", "produce t-0"}, wire.take())
		x.commit()
		x.requireCommitted("v")
	})
}

// Java: SenderTest.testTransactionAbortedExceptionOnAbortWithoutError
func TestAnAbortFailsWhatHasNotLeft(t *testing.T) {
	inTransactions(t, lingering, func(x *txnLab) {
		x.begin()
		x.send(0, "first")
		require.NoError(x, x.p.Flush(x.Context()))
		f := x.send(0, "v")
		x.abort()
		x.failed(f, quill.ErrTransactionAborted)
		_, err := f.Wait(x.Context())
		require.Equal(x, quill.NotSent, outcome(err))
		x.requireGoesOn()
	})
}

// Each call that timed out may be repeated, and no other one made instead (KAFKA-14417).
var repeatedEnds = []struct {
	name          string
	first, second func(x *txnLab) error
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

func commits(x *txnLab) error { return x.p.CommitTransaction(x.Context()) }

func aborts(x *txnLab) error { return x.p.AbortTransaction(x.Context()) }

func TestAnEndThatTimedOutIsRepeatedAsItWas(t *testing.T) {
	for _, c := range repeatedEnds {
		t.Run(c.name, func(t *testing.T) {
			inTransactions(t, func(cfg *quill.Config) { cfg.MaxBlock = 2 * time.Second }, func(x *txnLab) {
				x.begin()
				x.delivered(0, "v")
				lost := x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, DisconnectBefore: true, Times: -1})
				require.ErrorIs(x, c.first(x), quill.ErrTimeout)
				lost.Remove()
				err := c.second(x)
				if c.refused {
					require.ErrorIs(x, err, quill.ErrInvalidTxnState)
					require.NotErrorIs(x, err, quill.ErrFatal)
					err = c.first(x)
				}
				require.NoError(x, err)
				x.requireState("READY")
				x.requireGoesOn()
			})
		})
	}
}
