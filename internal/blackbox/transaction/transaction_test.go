package transaction_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What the nodes are asked about transactions, for tests that care for the order of requests.

// Whole transactional producers against the in-memory cluster's coordinator, in both versions of the
// protocol.

// inVersion1 is inTransactions for version 1 of the protocol alone, whose requests version 2 does not have.
func inVersion1(t *testing.T, change func(cfg *quill.Config), test func(x *testkit.TxnLab)) {
	t.Helper()
	testkit.InRelease(t, quilltest.Options{Release: "3.9"}, change, func(x *testkit.TxnLab) {
		require.NoError(x, x.P.InitTransactions(x.Context()))
		test(x)
	})
}

// lingering keeps records from leaving by themselves.
func lingering(cfg *quill.Config) { cfg.Linger, cfg.DeliveryTimeout = time.Hour, 2*time.Hour }

// inTransactions runs a test in both versions of the transaction protocol, after InitTransactions.
func inTransactions(t *testing.T, change func(cfg *quill.Config), test func(x *testkit.TxnLab)) {
	t.Helper()
	for _, release := range []string{"4.4", "3.9"} {
		t.Run(release, func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{Release: release}, change, func(x *testkit.TxnLab) {
				require.NoError(t, x.P.InitTransactions(x.Context()))
				test(x)
			})
		})
	}
}

func TestCommittedRecordsAreSeenTogether(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		for i := range 3 {
			x.Begin()
			for p := range int32(3) {
				x.Send(p, fmt.Sprint(i, p))
			}
			if i == 1 {
				x.Abort()
				continue
			}
			x.Commit()
		}
		x.RequireCommitted("0 0", "2 0", "0 1", "2 1", "0 2", "2 2")
	})
}

func TestEmptyTransactionsAskNobody(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		x.Begin()
		x.Commit()
		x.Begin()
		x.Abort()
		require.Zero(x, x.Requests(protocol.EndTxn))
	})
}

func TestTransactionsInEveryRelease(t *testing.T) {
	for _, release := range []string{"0.11", "1.0", "2.0", "2.1", "2.3", "2.4", "2.5", "2.7", "2.8", "3.0", "3.3", "3.7", "3.8", "3.9", "4.0", "4.1", "4.4"} {
		t.Run(release, func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{Release: release}, nil, func(x *testkit.TxnLab) {
				require.NoError(x, x.P.InitTransactions(x.Context()))
				for i := range 4 {
					x.Begin()
					x.Send(0, fmt.Sprint(i))
					offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t", Partition: 1}: {Offset: int64(i + 1)}}
					require.NoError(x, x.P.SendOffsetsToTransaction(x.Context(), offsets, quill.GroupMetadata{GroupID: "g"}))
					if i == 3 {
						x.Abort()
					} else {
						x.Commit()
					}
				}
				x.RequireCommitted("0", "1", "2")
				require.EqualValues(x, 3, x.C.GroupOffsets("g")[quilltest.TopicPartition{Topic: "t", Partition: 1}].Offset)
			})
		})
	}
}

func TestSendsNeedATransaction(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		refused := func() {
			_, err := x.Send(0, "v").Wait(x.Context())
			require.ErrorIs(x, err, quill.ErrInvalidTxnState)
			require.ErrorContains(x, err, "call BeginTransaction first")
			e, _ := errors.AsType[*quill.Error](err)
			require.Equal(x, quill.NotSent, e.Outcome)
			require.Equal(x, "t", e.Topic)
		}
		refused()
		x.Begin()
		x.Send(0, "a")
		x.Commit()
		refused()
		parts, err := x.P.PartitionsFor(x.Context(), "t")
		require.NoError(x, err)
		require.Len(x, parts, 3)
		x.RequireCommitted("a")
	})
}

func TestFailedRecordMakesTheTransactionAbortable(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.InvalidRecord})
		x.Begin()
		bad := x.Send(0, "bad")
		err := x.P.CommitTransaction(x.Context())
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.ErrorIs(x, err, protocol.InvalidRecord)
		_, err = bad.Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrAbortable)
		_, err = x.Send(1, "more").Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.ErrorIs(x, x.P.BeginTransaction(), quill.ErrAbortable)
		require.ErrorIs(x, x.P.CommitTransaction(x.Context()), quill.ErrAbortable)
		x.Abort()
		x.Begin()
		x.Send(0, "good")
		x.Commit()
		x.RequireCommitted("good")
	})
}

func TestOlderProducerIsFenced(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		x.Begin()
		x.Send(0, "old")
		require.NoError(x, x.P.Flush(x.Context()))
		y := testkit.Open(x.T, x.Cfg)
		require.NoError(x, y.InitTransactions(x.Context()))
		err := x.P.CommitTransaction(x.Context())
		require.ErrorIs(x, err, quill.ErrProducerFenced)
		require.ErrorIs(x, err, quill.ErrFatal)
		require.ErrorContains(x, err, "another producer took over")
		for _, err := range []error{x.P.BeginTransaction(), x.P.AbortTransaction(x.Context()), x.P.CommitTransaction(x.Context())} {
			require.ErrorIs(x, err, quill.ErrProducerFenced)
			require.ErrorIs(x, err, quill.ErrFatal)
		}
		_, err = x.Send(0, "late").Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrProducerFenced)
		require.NoError(x, y.BeginTransaction())
		_, err = y.SendSync(x.Context(), testkit.Rec("t", "k", "new"))
		require.NoError(x, err)
		require.NoError(x, y.CommitTransaction(x.Context()))
		x.RequireCommitted("new")
		testkit.CloseProducer(x.T, y)
	})
}

func TestCoordinatorMayMove(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		for i := range 6 {
			require.NoError(x, x.C.MoveCoordinator(quilltest.TransactionCoordinator, testkit.TxnID, int32(i%3+1)))
			require.NoError(x, x.C.MoveCoordinator(quilltest.GroupCoordinator, "g", int32((i+1)%3+1)))
			x.Begin()
			x.Send(0, fmt.Sprint(i))
			require.NoError(x, x.C.MoveCoordinator(quilltest.TransactionCoordinator, testkit.TxnID, int32((i+1)%3+1)))
			offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: int64(i)}}
			require.NoError(x, x.P.SendOffsetsToTransaction(x.Context(), offsets, quill.GroupMetadata{GroupID: "g"}))
			require.NoError(x, x.P.Flush(x.Context()))
			require.NoError(x, x.C.MoveCoordinator(quilltest.TransactionCoordinator, testkit.TxnID, int32((i+2)%3+1)))
			x.Commit()
		}
		x.RequireCommitted("0", "1", "2", "3", "4", "5")
	})
}

func TestCommitSurvivesLostAnswers(t *testing.T) {
	apis := []protocol.APIKey{protocol.FindCoordinator, protocol.InitProducerID, protocol.AddPartitionsToTxn, protocol.AddOffsetsToTxn, protocol.TxnOffsetCommit, protocol.Produce, protocol.EndTxn}
	for _, fault := range []quilltest.Fault{{DisconnectBefore: true}, {DisconnectAfter: true}, {DropAnswer: true}} {
		for _, api := range apis {
			inTransactions(t, func(cfg *quill.Config) { cfg.RequestTimeout = 5 * time.Second }, func(x *testkit.TxnLab) {
				f := fault
				f.APIs = []protocol.APIKey{api}
				x.C.Inject(f)
				for i := range 3 {
					x.Begin()
					x.Send(0, fmt.Sprint(i))
					offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: int64(i)}}
					require.NoError(x, x.P.SendOffsetsToTransaction(x.Context(), offsets, quill.GroupMetadata{GroupID: "g"}))
					x.Commit()
				}
				x.RequireCommitted("0", "1", "2")
				require.EqualValues(x, 2, x.C.GroupOffsets("g")[quilltest.TopicPartition{Topic: "t"}].Offset)
			})
		}
	}
}

// The finding of KAFKA-17754: what was sent for one transaction must not end the next.
func TestNoLateEndReachesTheNextTransaction(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.RequestTimeout = 5 * time.Second }, func(x *testkit.TxnLab) {
		var ended []string
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, Times: -1, Do: func(r *quilltest.Request) {
			before, _ := x.C.Transaction(testkit.TxnID)
			ended = append(ended, fmt.Sprint(before.ProducerID, "/", before.ProducerEpoch))
		}})
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, DropAnswer: true})
		x.Begin()
		x.Send(0, "a")
		x.Commit()
		first := slices.Clone(ended)
		x.Begin()
		x.Send(0, "b")
		x.Commit()
		require.NotContains(x, ended[len(first):], first[0], "the next transaction has another epoch")
		x.RequireCommitted("a", "b")
	})
}

func TestCallsWaitAsLongAsAllowed(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.MaxBlock = 2 * time.Second }, func(x *testkit.TxnLab) {
		x.Begin()
		x.Send(0, "a")
		require.NoError(x, x.P.Flush(x.Context()))
		testkit.PauseAll(x.T, x.C)
		testkit.Within(x.T, time.Second, time.Second, func() {
			require.ErrorIs(x, x.P.CommitTransaction(testkit.After(x.T, time.Second)), context.DeadlineExceeded)
		})
		testkit.Within(x.T, 2*time.Second, 2*time.Second, func() {
			require.ErrorIs(x, x.P.CommitTransaction(x.Context()), quill.ErrTimeout)
		})
		for _, err := range []error{x.P.BeginTransaction(), x.P.AbortTransaction(x.Context()), x.P.InitTransactions(x.Context())} {
			require.ErrorIs(x, err, quill.ErrInvalidTxnState)
			require.ErrorContains(x, err, "CommitTransaction")
		}
		testkit.ResumeAll(x.T, x.C)
		x.Commit()
		x.RequireCommitted("a")
		x.Begin()
		x.Abort()
	})
}

func TestCloseAbortsTheTransaction(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.Linger = time.Hour; cfg.DeliveryTimeout = 2 * time.Hour }, func(x *testkit.TxnLab) {
		x.Begin()
		x.Send(0, "a")
		require.NoError(x, x.P.Flush(x.Context()))
		left := x.Send(0, "b")
		testkit.CloseProducer(x.T, x.P)
		_, err := left.Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrTransactionAborted)
		x.RequireCommitted()
		require.ErrorIs(x, x.P.BeginTransaction(), quill.ErrClosed)
		require.ErrorIs(x, x.P.CommitTransaction(x.Context()), quill.ErrClosed)
		txn, _ := x.C.Transaction(testkit.TxnID)
		require.Equal(x, quilltest.TransactionAborted, txn.State)
	})
}
