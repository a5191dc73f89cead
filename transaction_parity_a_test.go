package quill_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// When records are taken and when they leave: states, and partitions that are added to the transaction.

// spoil makes the transaction abortable by a record that no batch can hold.
func (x *txnLab) spoil() {
	x.Helper()
	_, err := x.send(2, string(make([]byte, 2<<20))).Wait(x.Context())
	require.ErrorIs(x, err, quill.ErrAbortable)
	require.ErrorIs(x, err, quill.ErrRecordTooLarge)
}

// ruin makes the producer useless: an answer to Produce says so for partition 2. It returns when that
// was heard.
func (x *txnLab) ruin() {
	x.Helper()
	x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Topic: "t", Partitions: []int32{2}, Err: protocol.InvalidProducerIDMapping})
	_, err := x.send(2, "ruin").Wait(x.Context())
	require.ErrorIs(x, err, quill.ErrFatal)
	require.ErrorIs(x, err, protocol.InvalidProducerIDMapping)
}

func TestRecordsAreTakenInATransactionOnly(t *testing.T) {
	for _, c := range []struct {
		name  string
		reach func(x *txnLab)
		is    error
		class error // nil: the call was wrong, no more
	}{
		// Java: TransactionManagerTest.testFailIfNotReadyForSendNoProducerId, TransactionManagerTest.testNotReadyForSendBeforeInitTransactions
		{"before init", func(*txnLab) {}, quill.ErrInvalidTxnState, nil},
		// Java: TransactionManagerTest.testFailIfNotReadyForSendNoOngoingTransaction, TransactionManagerTest.testNotReadyForSendBeforeBeginTransaction
		{"before begin", func(x *txnLab) { require.NoError(x, x.p.InitTransactions(x.Context())) }, quill.ErrInvalidTxnState, nil},
		{"after a commit", func(x *txnLab) { x.written(); x.commit() }, quill.ErrInvalidTxnState, nil},
		// Java: TransactionManagerTest.testFailIfNotReadyForSendAfterAbortableError, TransactionManagerTest.testNotReadyForSendAfterAbortableError
		{"after an abortable error", func(x *txnLab) { x.written(); x.spoil() }, quill.ErrRecordTooLarge, quill.ErrAbortable},
		// Java: TransactionManagerTest.testFailIfNotReadyForSendAfterFatalError, TransactionManagerTest.testNotReadyForSendAfterFatalError
		{"after a fatal error", func(x *txnLab) { x.written(); x.ruin() }, protocol.InvalidProducerIDMapping, quill.ErrFatal},
	} {
		for _, release := range []string{"4.4", "3.9"} {
			t.Run(c.name+" "+release, func(t *testing.T) {
				inRelease(t, quilltest.Options{Release: release}, nil, func(x *txnLab) {
					c.reach(x)
					w := x.watch()
					for range 2 { // for good, not just once
						require.False(x, x.p.TrySend(to(0, "refused")))
						_, err := x.send(0, "refused").Wait(x.Context())
						require.ErrorIs(x, err, c.is)
						e, _ := errors.AsType[*quill.Error](err)
						require.Equal(x, quill.NotSent, e.Outcome())
						for _, class := range []error{quill.ErrRetriable, quill.ErrAbortable, quill.ErrFatal} {
							require.Equal(x, class == c.class, errors.Is(err, class), "%v", err)
						}
					}
					time.Sleep(time.Second)
					require.Empty(x, w.about("produce"))
					x.over()
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
		fail func(x *txnLab)
		end  func(x *txnLab, ctx context.Context) error
		ends string // the state meanwhile
		then quilltest.TransactionState
	}{
		// Java: TransactionManagerTest.testHasOngoingTransactionSuccessfulCommit
		{"commit", func(*txnLab) {}, (*txnLab).commitFor, "COMMITTING_TRANSACTION", quilltest.TransactionCommitted},
		// Java: TransactionManagerTest.testHasOngoingTransactionSuccessfulAbort
		{"abort", func(*txnLab) {}, (*txnLab).abortFor, "ABORTING_TRANSACTION", quilltest.TransactionAborted},
		// Java: TransactionManagerTest.testHasOngoingTransactionAbortableError
		{"abortable error", func(x *txnLab) {
			x.spoil()
			require.ErrorContains(x, x.p.BeginTransaction(), "the producer is ABORTABLE_ERROR")
		}, (*txnLab).abortFor, "ABORTING_TRANSACTION", quilltest.TransactionAborted},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTransactions(t, nil, func(x *txnLab) {
				x.requireState("READY")
				x.begin()
				require.ErrorContains(x, x.p.BeginTransaction(), "the producer is IN_TRANSACTION")
				_, err := x.p.SendSync(x.Context(), to(0, "v"))
				require.NoError(x, err)
				require.ErrorContains(x, x.p.BeginTransaction(), "the producer is IN_TRANSACTION")
				c.fail(x)
				x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, AnswerDelay: 3 * time.Second})
				require.ErrorIs(x, c.end(x, after(x.T, time.Second)), context.DeadlineExceeded)
				require.ErrorContains(x, x.p.BeginTransaction(), "the producer is "+c.ends)
				txn, _ := x.c.Transaction(txnID)
				require.Equal(x, c.then, txn.State, "the coordinator has done it, but nobody was told")
				require.NoError(x, c.end(x, x.Context()))
				x.requireState("READY")
				x.requireGoesOn()
			})
		})
	}
}

func (x *txnLab) commitFor(ctx context.Context) error { return x.p.CommitTransaction(ctx) }
func (x *txnLab) abortFor(ctx context.Context) error  { return x.p.AbortTransaction(ctx) }

// Java: TransactionManagerTest.testHasOngoingTransactionFatalError
func TestAFatalErrorEndsTheTransaction(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		x.begin()
		_, err := x.p.SendSync(x.Context(), to(0, "v"))
		require.NoError(x, err)
		x.ruin()
		x.requireFatal(protocol.InvalidProducerIDMapping)
		w := x.watch()
		require.ErrorIs(x, x.p.CommitTransaction(x.Context()), protocol.InvalidProducerIDMapping)
		within(x.T, 0, 0, func() { closeProducer(x.T, x.p) })
		require.Empty(x, w.take(), "there is nothing to end any more")
		x.over()
	})
}

// Java: TransactionManagerTest.testMaybeAddPartitionToTransaction
func TestAPartitionIsAddedOnceBeforeItsFirstRecordLeaves(t *testing.T) {
	inVersion1(t, nil, func(x *txnLab) {
		w := x.watch()
		x.begin()
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, AnswerDelay: 3 * time.Second})
		first := x.send(0, "a")
		time.Sleep(2 * time.Second)
		require.Equal(x, []string{"add t-0"}, w.take(), "being added")
		require.False(x, first.Done())
		_, err := first.Wait(x.Context())
		require.NoError(x, err)
		require.Equal(x, []string{"produce t-0"}, w.take())
		_, err = x.p.SendSync(x.Context(), to(0, "b"))
		require.NoError(x, err)
		require.Equal(x, []string{"produce t-0"}, w.take(), "it belongs to the transaction already")
		x.commit()
		w.take()
		x.begin()
		x.send(0, "c")
		x.commit()
		require.Equal(x, []string{"add t-0", "produce t-0", "commit"}, w.take(), "but not to the next one")
	})
}

// Java: TransactionManagerTest.testMaybeAddPartitionToTransactionInTransactionV2
func TestVersion2AddsPartitionsWithTheirRecords(t *testing.T) {
	inRelease(t, quilltest.Options{}, nil, func(x *txnLab) {
		require.NoError(x, x.p.InitTransactions(x.Context()))
		w := x.watch()
		x.begin()
		for range 2 {
			_, err := x.p.SendSync(x.Context(), to(0, "a"))
			require.NoError(x, err)
			txn, _ := x.c.Transaction(txnID)
			require.Equal(x, []quilltest.TopicPartition{{Topic: "t"}}, txn.Partitions)
		}
		x.commit()
		require.Equal(x, []string{"produce t-0", "produce t-0", "commit"}, w.take())
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
			inVersion1(t, nil, func(x *txnLab) {
				x.begin()
				if !c.first {
					_, err := x.p.SendSync(x.Context(), to(1, "v"))
					require.NoError(x, err)
				}
				w := x.watch()
				x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, Err: c.code})
				x.send(0, "v")
				require.NoError(x, x.p.Flush(x.Context()))
				added := w.named("add t-0")
				require.Len(x, added, 2)
				pause := added[1].at.Sub(added[0].at)
				require.GreaterOrEqual(x, pause, c.least)
				require.LessOrEqual(x, pause, c.most)
				x.commit()
			})
		})
	}
}

// stall holds back the answer by which partition 0 is added, so that partition 1, sent to afterwards, has
// not even been asked for. It returns what was sent.
func (x *txnLab) stall() (added, waiting quill.Future) {
	x.Helper()
	x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, Topic: "t", Partitions: []int32{0}, AnswerDelay: 3 * time.Second})
	added = x.send(0, "a")
	time.Sleep(time.Second)
	waiting = x.send(1, "b")
	time.Sleep(time.Second)
	return added, waiting
}

// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithPartitionNotAdded
func TestNothingLeavesForAPartitionThatIsNotAdded(t *testing.T) {
	inVersion1(t, nil, func(x *txnLab) {
		w := x.watch()
		x.begin()
		added, waiting := x.stall()
		for range 6 { // batches that are full
			x.send(0, string(make([]byte, 10<<10)))
			x.send(1, string(make([]byte, 10<<10)))
		}
		time.Sleep(100 * time.Millisecond)
		require.Equal(x, []string{"add t-0"}, w.take())
		require.False(x, added.Done())
		require.False(x, waiting.Done())
		require.NoError(x, x.p.Flush(x.Context()))
		require.Less(x, indexOf(w, "add t-1"), indexOf(w, "produce t-1"))
		x.commit()
		require.Len(x, w.about("add"), 1)
		records, err := x.c.AllCommittedRecords("t")
		require.NoError(x, err)
		require.Len(x, records, 14)
	})
}

// indexOf is where in the list the first request with these words is; it must be there.
func indexOf(w *txnWire, what string) int {
	for i, a := range w.all() {
		if a.what == what {
			return i
		}
	}
	panic("nobody asked: " + what)
}

// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithPendingPartitionAfterAbortableError
// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithInFlightPartitionAddAfterAbortableError
func TestAnAbortableErrorStopsPartitionsThatAreBeingAdded(t *testing.T) {
	inVersion1(t, nil, func(x *txnLab) {
		w := x.watch()
		x.begin()
		added, waiting := x.stall()
		x.spoil()
		for _, f := range []quill.Future{added, waiting} {
			_, err := outcomeAt(x, f)
			require.ErrorIs(x, err, quill.ErrTransactionAborted)
			require.ErrorIs(x, err, quill.ErrRecordTooLarge, "and why")
		}
		time.Sleep(3 * time.Second)
		require.Equal(x, []string{"add t-0"}, w.take())
		x.abort()
		require.Equal(x, []string{"abort"}, w.take(), "one was added, after all")
		x.requireGoesOn()
		x.requireCommitted("on")
	})
}

// outcomeAt is what a future tells that has to be done by now.
func outcomeAt(x *txnLab, f quill.Future) (quill.RecordMetadata, error) {
	x.Helper()
	time.Sleep(time.Millisecond) // one turn of the sender and of the callbacks
	require.True(x, f.Done())
	return f.Wait(x.Context())
}

// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithPendingPartitionAfterFatalError
// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithInFlightPartitionAddAfterFatalError
func TestAFatalErrorStopsPartitionsThatAreBeingAdded(t *testing.T) {
	inVersion1(t, nil, func(x *txnLab) {
		// The bad news must not queue up behind the answer that stalls.
		coordinator := x.c.Coordinator(quilltest.TransactionCoordinator, txnID)
		require.NoError(x, x.c.MoveLeader("t", 2, coordinator%3+1))
		x.begin()
		_, err := x.p.SendSync(x.Context(), to(2, "v"))
		require.NoError(x, err)
		w := x.watch()
		added, waiting := x.stall()
		x.ruin()
		for _, f := range []quill.Future{added, waiting} {
			_, err := outcomeAt(x, f)
			require.ErrorIs(x, err, protocol.InvalidProducerIDMapping)
			require.ErrorIs(x, err, quill.ErrFatal)
		}
		x.requireFatal(protocol.InvalidProducerIDMapping)
		time.Sleep(3 * time.Second)
		require.Equal(x, []string{"add t-0", "produce t-2"}, w.take())
		x.over()
	})
}

// retrying begins a transaction that has partition 0 with a record that is to be sent again in a second,
// and one behind it that never left.
func (x *txnLab) retrying() (first, behind quill.Future) {
	x.Helper()
	x.begin()
	_, err := x.p.SendSync(x.Context(), to(2, "v"))
	require.NoError(x, err)
	x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Topic: "t", Partitions: []int32{0}, Err: protocol.NotEnoughReplicas})
	first = x.send(0, "a")
	time.Sleep(100 * time.Millisecond)
	behind = x.send(0, "b")
	time.Sleep(100 * time.Millisecond)
	return first, behind
}

func slowly(cfg *quill.Config) { cfg.RetryBackoff, cfg.RetryBackoffMax = time.Second, time.Second }

// What has left once is settled under its sequence, as it might arrive late; what never left is dropped,
// as Java drops it before it could drain (RecordAccumulator.abortUndrainedBatches). With version 2 both
// are dropped: the next epoch keeps a late copy out.
//
// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithAddedPartitionAfterAbortableError
func TestAnAddedPartitionSettlesWhatHasLeftAfterAnAbortableError(t *testing.T) {
	inTransactions(t, slowly, func(x *txnLab) {
		first, behind := x.retrying()
		w := x.watch()
		x.spoil()
		time.Sleep(2 * time.Second) // it is told after those before it
		_, err := outcomeAt(x, behind)
		require.ErrorIs(x, err, quill.ErrTransactionAborted)
		_, err = outcomeAt(x, first)
		if x.version2 {
			require.ErrorIs(x, err, quill.ErrTransactionAborted)
			require.Empty(x, w.take())
		} else {
			require.NoError(x, err)
			require.Equal(x, []string{"produce t-0"}, w.take())
		}
		x.abort()
		x.requireGoesOn()
		x.requireCommitted("on")
	})
}

// Java: TransactionManagerTest.testIsSendToPartitionAllowedWithAddedPartitionAfterFatalError
func TestAnAddedPartitionSendsNothingAfterAFatalError(t *testing.T) {
	inTransactions(t, slowly, func(x *txnLab) {
		first, behind := x.retrying()
		w := x.watch()
		x.ruin()
		for _, f := range []quill.Future{first, behind} {
			_, err := outcomeAt(x, f)
			require.ErrorIs(x, err, quill.ErrFatal)
		}
		time.Sleep(5 * time.Second)
		require.Equal(x, []string{"produce t-2"}, w.take())
		x.over()
	})
}
