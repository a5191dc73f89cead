package transaction_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// When records are taken and when they leave: states, and partitions that are added to the transaction.

func TestRecordsAreTakenInATransactionOnly(t *testing.T) {
	for _, c := range []struct {
		name  string
		reach func(x *testkit.TxnLab)
		is    error
		class error // nil: the call was wrong, no more
	}{
		// Java: TransactionManagerTest.testFailIfNotReadyForSendNoProducerId, TransactionManagerTest.testNotReadyForSendBeforeInitTransactions
		{"before init", func(*testkit.TxnLab) {}, quill.ErrInvalidTxnState, nil},
		// Java: TransactionManagerTest.testFailIfNotReadyForSendNoOngoingTransaction, TransactionManagerTest.testNotReadyForSendBeforeBeginTransaction
		{"before begin", func(x *testkit.TxnLab) { require.NoError(x, x.P.InitTransactions(x.Context())) }, quill.ErrInvalidTxnState, nil},
		{"after a commit", func(x *testkit.TxnLab) { x.Written(); x.Commit() }, quill.ErrInvalidTxnState, nil},
		// Java: TransactionManagerTest.testFailIfNotReadyForSendAfterAbortableError, TransactionManagerTest.testNotReadyForSendAfterAbortableError
		{"after an abortable error", func(x *testkit.TxnLab) { x.Written(); x.Spoil() }, quill.ErrRecordTooLarge, quill.ErrAbortable},
		// Java: TransactionManagerTest.testFailIfNotReadyForSendAfterFatalError, TransactionManagerTest.testNotReadyForSendAfterFatalError
		{"after a fatal error", func(x *testkit.TxnLab) { x.Written(); x.Ruin() }, protocol.InvalidProducerIDMapping, quill.ErrFatal},
	} {
		for _, release := range []string{"4.4", "3.9"} {
			t.Run(c.name+" "+release, func(t *testing.T) {
				testkit.InRelease(t, quilltest.Options{Release: release}, nil, func(x *testkit.TxnLab) {
					c.reach(x)
					w := x.Watch()
					for range 2 { // each time, not just once
						require.False(x, x.P.TrySend(testkit.To(0, "refused")))
						_, err := x.Send(0, "refused").Wait(x.Context())
						require.ErrorIs(x, err, c.is)
						e, _ := errors.AsType[*quill.Error](err)
						require.Equal(x, quill.NotSent, e.Outcome)
						for _, class := range []error{quill.ErrRetriable, quill.ErrAbortable, quill.ErrFatal} {
							require.Equal(x, class == c.class, errors.Is(err, class), "%v", err)
						}
					}
					time.Sleep(time.Second)
					require.Empty(x, w.About("produce"))
					x.Over()
				})
			})
		}
	}
}

// A transaction is open from its begin until the answer to its end. Java asks hasOngoingTransaction;
// here the next BeginTransaction is refused until then, and names the state.
func TestATransactionIsOpenUntilItsEndIsAnswered(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func(x *testkit.TxnLab)
		end  func(x *testkit.TxnLab, ctx context.Context) error
		ends string // the state meanwhile
		then quilltest.TransactionState
	}{
		// Java: TransactionManagerTest.testHasOngoingTransactionSuccessfulCommit
		{"commit", func(*testkit.TxnLab) {}, (*testkit.TxnLab).CommitFor, "COMMITTING_TRANSACTION", quilltest.TransactionCommitted},
		// Java: TransactionManagerTest.testHasOngoingTransactionSuccessfulAbort
		{"abort", func(*testkit.TxnLab) {}, (*testkit.TxnLab).AbortFor, "ABORTING_TRANSACTION", quilltest.TransactionAborted},
		// Java: TransactionManagerTest.testHasOngoingTransactionAbortableError
		{"abortable error", func(x *testkit.TxnLab) {
			x.Spoil()
			require.ErrorContains(x, x.P.BeginTransaction(), "the producer is ABORTABLE_ERROR")
		}, (*testkit.TxnLab).AbortFor, "ABORTING_TRANSACTION", quilltest.TransactionAborted},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTransactions(t, nil, func(x *testkit.TxnLab) {
				x.RequireState("READY")
				x.Begin()
				require.ErrorContains(x, x.P.BeginTransaction(), "the producer is IN_TRANSACTION")
				_, err := x.P.SendSync(x.Context(), testkit.To(0, "v"))
				require.NoError(x, err)
				require.ErrorContains(x, x.P.BeginTransaction(), "the producer is IN_TRANSACTION")
				c.fail(x)
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, AnswerDelay: 3 * time.Second})
				require.ErrorIs(x, c.end(x, testkit.After(x.T, time.Second)), context.DeadlineExceeded)
				require.ErrorContains(x, x.P.BeginTransaction(), "the producer is "+c.ends)
				txn, _ := x.C.Transaction(testkit.TxnID)
				require.Equal(x, c.then, txn.State, "the coordinator has done it, but nobody was told")
				require.NoError(x, c.end(x, x.Context()))
				x.RequireState("READY")
				x.RequireGoesOn()
			})
		})
	}
}

// Java: TransactionManagerTest.testHasOngoingTransactionFatalError
func TestAFatalErrorEndsTheTransaction(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		x.Begin()
		_, err := x.P.SendSync(x.Context(), testkit.To(0, "v"))
		require.NoError(x, err)
		x.Ruin()
		x.RequireFatal(protocol.InvalidProducerIDMapping)
		w := x.Watch()
		require.ErrorIs(x, x.P.CommitTransaction(x.Context()), protocol.InvalidProducerIDMapping)
		testkit.Within(x.T, 0, 0, func() { testkit.CloseProducer(x.T, x.P) })
		require.Empty(x, w.Take(), "there is nothing to end any more")
		x.Over()
	})
}

// Java: TransactionManagerTest.testMaybeAddPartitionToTransaction
func TestAPartitionIsAddedOnceBeforeItsFirstRecordLeaves(t *testing.T) {
	inVersion1(t, nil, func(x *testkit.TxnLab) {
		w := x.Watch()
		x.Begin()
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, AnswerDelay: 3 * time.Second})
		first := x.Send(0, "a")
		time.Sleep(2 * time.Second)
		require.Equal(x, []string{"add t-0"}, w.Take(), "being added")
		require.False(x, first.Done())
		_, err := first.Wait(x.Context())
		require.NoError(x, err)
		require.Equal(x, []string{"produce t-0"}, w.Take())
		_, err = x.P.SendSync(x.Context(), testkit.To(0, "b"))
		require.NoError(x, err)
		require.Equal(x, []string{"produce t-0"}, w.Take(), "it belongs to the transaction already")
		x.Commit()
		w.Take()
		x.Begin()
		x.Send(0, "c")
		x.Commit()
		require.Equal(x, []string{"add t-0", "produce t-0", "commit"}, w.Take(), "but not to the next one")
	})
}

// Java: TransactionManagerTest.testMaybeAddPartitionToTransactionInTransactionV2
func TestVersion2AddsPartitionsWithTheirRecords(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
		require.NoError(x, x.P.InitTransactions(x.Context()))
		w := x.Watch()
		x.Begin()
		for range 2 {
			_, err := x.P.SendSync(x.Context(), testkit.To(0, "a"))
			require.NoError(x, err)
			txn, _ := x.C.Transaction(testkit.TxnID)
			require.Equal(x, []quilltest.TopicPartition{{Topic: "t"}}, txn.Partitions)
		}
		x.Commit()
		require.Equal(x, []string{"produce t-0", "produce t-0", "commit"}, w.Take())
	})
}

// While the coordinator still ends the transaction before, the next one begins with little delay.
func TestPausesBeforePartitionsAreAddedAgain(t *testing.T) {
	const backoff, backoffMost = 80 * time.Millisecond, 120 * time.Millisecond // retry.backoff.ms with its jitter
	for _, c := range []struct {
		name        string
		code        protocol.ErrorCode
		first       bool // it is the first partition of the transaction
		least, most time.Duration
	}{
		// Java: TransactionManagerTest.testAddPartitionToTransactionOverridesRetryBackoffForConcurrentTransactions
		{"the one before is being ended", protocol.ConcurrentTransactions, true, 20 * time.Millisecond, 20 * time.Millisecond},
		// Java: TransactionManagerTest.testAddPartitionToTransactionRetainsRetryBackoffForRegularRetriableError
		{"the coordinator is away", protocol.CoordinatorNotAvailable, true, backoff, backoffMost},
		// Java: TransactionManagerTest.testAddPartitionToTransactionRetainsRetryBackoffWhenPartitionsAlreadyAdded
		{"this one has partitions", protocol.ConcurrentTransactions, false, backoff, backoffMost},
	} {
		t.Run(c.name, func(t *testing.T) {
			inVersion1(t, nil, func(x *testkit.TxnLab) {
				x.Begin()
				if !c.first {
					_, err := x.P.SendSync(x.Context(), testkit.To(1, "v"))
					require.NoError(x, err)
				}
				w := x.Watch()
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, Err: c.code})
				x.Send(0, "v")
				require.NoError(x, x.P.Flush(x.Context()))
				added := w.Named("add t-0")
				require.Len(x, added, 2)
				pause := added[1].At.Sub(added[0].At)
				require.GreaterOrEqual(x, pause, c.least)
				require.LessOrEqual(x, pause, c.most)
				x.Commit()
			})
		})
	}
}

// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithPartitionNotAdded
func TestNothingLeavesForAPartitionThatIsNotAdded(t *testing.T) {
	inVersion1(t, nil, func(x *testkit.TxnLab) {
		w := x.Watch()
		x.Begin()
		added, waiting := x.Stall()
		for range 6 { // batches that are full
			x.Send(0, string(make([]byte, 10<<10)))
			x.Send(1, string(make([]byte, 10<<10)))
		}
		time.Sleep(100 * time.Millisecond)
		require.Equal(x, []string{"add t-0"}, w.Take())
		require.False(x, added.Done())
		require.False(x, waiting.Done())
		require.NoError(x, x.P.Flush(x.Context()))
		require.Less(x, indexOf(w, "add t-1"), indexOf(w, "produce t-1"))
		x.Commit()
		require.Len(x, w.About("add"), 1)
		records, err := x.C.AllCommittedRecords("t")
		require.NoError(x, err)
		require.Len(x, records, 14)
	})
}

// indexOf returns where in the list the first request with these words is; it must be there.
func indexOf(w *testkit.TxnWire, what string) int {
	for i, a := range w.All() {
		if a.What == what {
			return i
		}
	}
	panic("nobody asked: " + what)
}

// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithPendingPartitionAfterAbortableError
// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithInFlightPartitionAddAfterAbortableError
func TestAnAbortableErrorStopsPartitionsThatAreBeingAdded(t *testing.T) {
	inVersion1(t, nil, func(x *testkit.TxnLab) {
		w := x.Watch()
		x.Begin()
		added, waiting := x.Stall()
		x.Spoil()
		for _, f := range []quill.Future{added, waiting} {
			_, err := outcomeAt(x, f)
			require.ErrorIs(x, err, quill.ErrTransactionAborted)
			require.ErrorIs(x, err, quill.ErrRecordTooLarge, "and why")
		}
		time.Sleep(3 * time.Second)
		require.Equal(x, []string{"add t-0"}, w.Take())
		x.Abort()
		require.Equal(x, []string{"abort"}, w.Take(), "one was added, after all")
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// outcomeAt returns the outcome of a future that has to be done by now.
func outcomeAt(x *testkit.TxnLab, f quill.Future) (quill.RecordMetadata, error) {
	x.Helper()
	time.Sleep(time.Millisecond) // one turn of the sender and of the callbacks
	require.True(x, f.Done())
	return f.Wait(x.Context())
}

// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithPendingPartitionAfterFatalError
// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithInFlightPartitionAddAfterFatalError
func TestAFatalErrorStopsPartitionsThatAreBeingAdded(t *testing.T) {
	inVersion1(t, nil, func(x *testkit.TxnLab) {
		// The bad news must not queue up behind the answer that stalls.
		coordinator := x.C.Coordinator(quilltest.TransactionCoordinator, testkit.TxnID)
		require.NoError(x, x.C.MoveLeader("t", 2, coordinator%3+1))
		x.Begin()
		_, err := x.P.SendSync(x.Context(), testkit.To(2, "v"))
		require.NoError(x, err)
		w := x.Watch()
		added, waiting := x.Stall()
		x.Ruin()
		for _, f := range []quill.Future{added, waiting} {
			_, err := outcomeAt(x, f)
			require.ErrorIs(x, err, protocol.InvalidProducerIDMapping)
			require.ErrorIs(x, err, quill.ErrFatal)
		}
		x.RequireFatal(protocol.InvalidProducerIDMapping)
		time.Sleep(3 * time.Second)
		require.Equal(x, []string{"add t-0", "produce t-2"}, w.Take())
		x.Over()
	})
}

func slowly(cfg *quill.Config) { cfg.RetryBackoff, cfg.RetryBackoffMax = time.Second, time.Second }

// What has left once is settled under its sequence, as it might arrive late; what never left is dropped,
// as Java drops it before it could drain (RecordAccumulator.abortUndrainedBatches). With version 2 both
// are dropped: the next epoch keeps a late copy out.
//
// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithAddedPartitionAfterAbortableError
func TestAnAddedPartitionSettlesWhatHasLeftAfterAnAbortableError(t *testing.T) {
	inTransactions(t, slowly, func(x *testkit.TxnLab) {
		first, behind := x.Retrying()
		w := x.Watch()
		x.Spoil()
		time.Sleep(2 * time.Second) // its callback runs after those before it
		_, err := outcomeAt(x, behind)
		require.ErrorIs(x, err, quill.ErrTransactionAborted)
		_, err = outcomeAt(x, first)
		if x.Version2 {
			require.ErrorIs(x, err, quill.ErrTransactionAborted)
			require.Empty(x, w.Take())
		} else {
			require.NoError(x, err)
			require.Equal(x, []string{"produce t-0"}, w.Take())
		}
		x.Abort()
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithAddedPartitionAfterFatalError
func TestAnAddedPartitionSendsNothingAfterAFatalError(t *testing.T) {
	inTransactions(t, slowly, func(x *testkit.TxnLab) {
		first, behind := x.Retrying()
		w := x.Watch()
		x.Ruin()
		for _, f := range []quill.Future{first, behind} {
			_, err := outcomeAt(x, f)
			require.ErrorIs(x, err, quill.ErrFatal)
		}
		time.Sleep(5 * time.Second)
		require.Equal(x, []string{"produce t-2"}, w.Take())
		x.Over()
	})
}
