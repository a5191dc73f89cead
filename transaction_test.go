package quill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Whole transactional producers against the in-memory cluster's coordinator, in both versions of the
// protocol.

const txnID = "mover"

// txnLab is a cluster with topic "t" of three partitions and a transactional producer.
type txnLab struct {
	*testing.T
	c        *quilltest.Cluster
	p        *quill.Producer[string, string]
	cfg      quill.Config
	version2 bool
}

// inTransactions runs a test in both versions of the transaction protocol, after InitTransactions.
func inTransactions(t *testing.T, change func(cfg *quill.Config), test func(x *txnLab)) {
	t.Helper()
	for _, release := range []string{"4.4", "3.9"} {
		t.Run(release, func(t *testing.T) {
			inRelease(t, quilltest.Options{Release: release}, change, func(x *txnLab) {
				require.NoError(t, x.p.InitTransactions(x.Context()))
				test(x)
			})
		})
	}
}

// inRelease is inTransactions for one release, before InitTransactions.
func inRelease(t *testing.T, opts quilltest.Options, change func(cfg *quill.Config), test func(x *txnLab)) {
	t.Helper()
	bubble(t, opts, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		x := &txnLab{T: t, c: c, cfg: config(c), version2: opts.Release >= "4"}
		x.cfg.TransactionalID = txnID
		if change != nil {
			change(&x.cfg)
		}
		x.p = open(x.T, x.cfg)
		test(x)
		if err := x.p.Close(after(t, time.Minute)); err != nil {
			require.ErrorIs(t, err, quill.ErrForceClosed, "the test closed it so before")
		}
		require.EqualValues(t, 32<<20, freeMemory(x.p), "all memory is back")
		x.requireNothingOpen()
	})
}

func (x *txnLab) begin() {
	x.Helper()
	require.NoError(x, x.p.BeginTransaction())
}

// send sends a record to a partition.
func (x *txnLab) send(partition int32, value string) quill.Future {
	return x.p.Send(x.Context(), quill.Record[string, string]{Topic: "t", Partition: quill.Partition(partition), Value: value})
}

func (x *txnLab) commit() {
	x.Helper()
	require.NoError(x, x.p.CommitTransaction(x.Context()))
}

func (x *txnLab) abort() {
	x.Helper()
	require.NoError(x, x.p.AbortTransaction(x.Context()))
}

// requireCommitted compares what a read-committed consumer sees of topic "t", in the order of partitions.
func (x *txnLab) requireCommitted(values ...string) {
	x.Helper()
	records, err := x.c.AllCommittedRecords("t")
	require.NoError(x, err)
	var got []string
	for _, r := range records {
		got = append(got, string(r.Value))
	}
	require.Equal(x, values, got)
}

func (x *txnLab) requireNothingOpen() {
	x.Helper()
	for _, txn := range x.c.Transactions() {
		require.NotEqual(x, quilltest.TransactionOngoing, txn.State)
	}
}

// requests counts those of an API that the cluster got.
func (x *txnLab) requests(key protocol.APIKey) int {
	n := 0
	for _, r := range x.c.Requests() {
		if r.API == key {
			n++
		}
	}
	return n
}

func TestCommittedRecordsAreSeenTogether(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		for i := range 3 {
			x.begin()
			for p := range int32(3) {
				x.send(p, fmt.Sprint(i, p))
			}
			if i == 1 {
				x.abort()
				continue
			}
			x.commit()
		}
		x.requireCommitted("0 0", "2 0", "0 1", "2 1", "0 2", "2 2")
	})
}

func TestEmptyTransactionsAskNobody(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		x.begin()
		x.commit()
		x.begin()
		x.abort()
		require.Zero(x, x.requests(protocol.EndTxn))
	})
}

func TestTransactionsInEveryRelease(t *testing.T) {
	for _, release := range []string{"0.11", "1.0", "2.0", "2.1", "2.3", "2.4", "2.5", "2.7", "2.8", "3.0", "3.3", "3.7", "3.8", "3.9", "4.0", "4.1", "4.4"} {
		t.Run(release, func(t *testing.T) {
			inRelease(t, quilltest.Options{Release: release}, nil, func(x *txnLab) {
				require.NoError(x, x.p.InitTransactions(x.Context()))
				for i := range 4 {
					x.begin()
					x.send(0, fmt.Sprint(i))
					offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t", Partition: 1}: {Offset: int64(i + 1)}}
					require.NoError(x, x.p.SendOffsetsToTransaction(x.Context(), offsets, quill.GroupMetadata{GroupID: "g"}))
					if i == 3 {
						x.abort()
					} else {
						x.commit()
					}
				}
				x.requireCommitted("0", "1", "2")
				require.EqualValues(x, 3, x.c.GroupOffsets("g")[quilltest.TopicPartition{Topic: "t", Partition: 1}].Offset)
			})
		})
	}
}

func TestSendsNeedATransaction(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		refused := func() {
			_, err := x.send(0, "v").Wait(x.Context())
			require.ErrorIs(x, err, quill.ErrInvalidTxnState)
			require.ErrorContains(x, err, "call BeginTransaction first")
			e, _ := errors.AsType[*quill.Error](err)
			require.Equal(x, quill.NotSent, e.Outcome())
			require.Equal(x, "t", e.Topic)
		}
		refused()
		x.begin()
		x.send(0, "a")
		x.commit()
		refused()
		parts, err := x.p.PartitionsFor(x.Context(), "t")
		require.NoError(x, err)
		require.Len(x, parts, 3)
		x.requireCommitted("a")
	})
}

func TestFailedRecordMakesTheTransactionAbortable(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.InvalidRecord})
		x.begin()
		bad := x.send(0, "bad")
		err := x.p.CommitTransaction(x.Context())
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.ErrorIs(x, err, protocol.InvalidRecord)
		_, err = bad.Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrAbortable)
		_, err = x.send(1, "more").Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.ErrorIs(x, x.p.BeginTransaction(), quill.ErrAbortable)
		require.ErrorIs(x, x.p.CommitTransaction(x.Context()), quill.ErrAbortable)
		x.abort()
		x.begin()
		x.send(0, "good")
		x.commit()
		x.requireCommitted("good")
	})
}

func TestOlderProducerIsFenced(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		x.begin()
		x.send(0, "old")
		require.NoError(x, x.p.Flush(x.Context()))
		y := open(x.T, x.cfg)
		require.NoError(x, y.InitTransactions(x.Context()))
		err := x.p.CommitTransaction(x.Context())
		require.ErrorIs(x, err, quill.ErrProducerFenced)
		require.ErrorIs(x, err, quill.ErrFatal)
		require.ErrorContains(x, err, "another producer took over")
		for _, err := range []error{x.p.BeginTransaction(), x.p.AbortTransaction(x.Context()), x.p.CommitTransaction(x.Context())} {
			require.ErrorIs(x, err, quill.ErrProducerFenced)
			require.ErrorIs(x, err, quill.ErrFatal)
		}
		_, err = x.send(0, "late").Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrProducerFenced)
		require.NoError(x, y.BeginTransaction())
		_, err = y.SendSync(x.Context(), rec("t", "k", "new"))
		require.NoError(x, err)
		require.NoError(x, y.CommitTransaction(x.Context()))
		x.requireCommitted("new")
		closeProducer(x.T, y)
	})
}

func TestCoordinatorMayMove(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		for i := range 6 {
			require.NoError(x, x.c.MoveCoordinator(quilltest.TransactionCoordinator, txnID, int32(i%3+1)))
			require.NoError(x, x.c.MoveCoordinator(quilltest.GroupCoordinator, "g", int32((i+1)%3+1)))
			x.begin()
			x.send(0, fmt.Sprint(i))
			require.NoError(x, x.c.MoveCoordinator(quilltest.TransactionCoordinator, txnID, int32((i+1)%3+1)))
			offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: int64(i)}}
			require.NoError(x, x.p.SendOffsetsToTransaction(x.Context(), offsets, quill.GroupMetadata{GroupID: "g"}))
			require.NoError(x, x.p.Flush(x.Context()))
			require.NoError(x, x.c.MoveCoordinator(quilltest.TransactionCoordinator, txnID, int32((i+2)%3+1)))
			x.commit()
		}
		x.requireCommitted("0", "1", "2", "3", "4", "5")
	})
}

func TestCommitSurvivesLostAnswers(t *testing.T) {
	apis := []protocol.APIKey{protocol.FindCoordinator, protocol.InitProducerID, protocol.AddPartitionsToTxn, protocol.AddOffsetsToTxn, protocol.TxnOffsetCommit, protocol.Produce, protocol.EndTxn}
	for _, fault := range []quilltest.Fault{{DisconnectBefore: true}, {DisconnectAfter: true}, {DropAnswer: true}} {
		for _, api := range apis {
			inTransactions(t, func(cfg *quill.Config) { cfg.RequestTimeout = 5 * time.Second }, func(x *txnLab) {
				f := fault
				f.APIs = []protocol.APIKey{api}
				x.c.Inject(f)
				for i := range 3 {
					x.begin()
					x.send(0, fmt.Sprint(i))
					offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: int64(i)}}
					require.NoError(x, x.p.SendOffsetsToTransaction(x.Context(), offsets, quill.GroupMetadata{GroupID: "g"}))
					x.commit()
				}
				x.requireCommitted("0", "1", "2")
				require.EqualValues(x, 2, x.c.GroupOffsets("g")[quilltest.TopicPartition{Topic: "t"}].Offset)
			})
		}
	}
}

// The finding of KAFKA-17754: what was sent for one transaction must not end the next.
func TestNoLateEndReachesTheNextTransaction(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.RequestTimeout = 5 * time.Second }, func(x *txnLab) {
		var ended []string
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, Times: -1, Do: func(r *quilltest.Request) {
			before, _ := x.c.Transaction(txnID)
			ended = append(ended, fmt.Sprint(before.ProducerID, "/", before.ProducerEpoch))
		}})
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, DropAnswer: true})
		x.begin()
		x.send(0, "a")
		x.commit()
		first := slices.Clone(ended)
		x.begin()
		x.send(0, "b")
		x.commit()
		require.NotContains(x, ended[len(first):], first[0], "the next transaction has another epoch")
		x.requireCommitted("a", "b")
	})
}

func TestCallsWaitAsLongAsAllowed(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.MaxBlock = 2 * time.Second }, func(x *txnLab) {
		x.begin()
		x.send(0, "a")
		require.NoError(x, x.p.Flush(x.Context()))
		pauseAll(x.T, x.c)
		within(x.T, time.Second, time.Second, func() {
			require.ErrorIs(x, x.p.CommitTransaction(after(x.T, time.Second)), context.DeadlineExceeded)
		})
		within(x.T, 2*time.Second, 2*time.Second, func() {
			require.ErrorIs(x, x.p.CommitTransaction(x.Context()), quill.ErrTimeout)
		})
		for _, err := range []error{x.p.BeginTransaction(), x.p.AbortTransaction(x.Context()), x.p.InitTransactions(x.Context())} {
			require.ErrorIs(x, err, quill.ErrInvalidTxnState)
			require.ErrorContains(x, err, "CommitTransaction")
		}
		resumeAll(x.T, x.c)
		x.commit()
		x.requireCommitted("a")
		x.begin()
		x.abort()
	})
}

func TestCloseAbortsTheTransaction(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.Linger = time.Hour; cfg.DeliveryTimeout = 2 * time.Hour }, func(x *txnLab) {
		x.begin()
		x.send(0, "a")
		require.NoError(x, x.p.Flush(x.Context()))
		left := x.send(0, "b")
		closeProducer(x.T, x.p)
		_, err := left.Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrTransactionAborted)
		x.requireCommitted()
		require.ErrorIs(x, x.p.BeginTransaction(), quill.ErrClosed)
		require.ErrorIs(x, x.p.CommitTransaction(x.Context()), quill.ErrClosed)
		txn, _ := x.c.Transaction(txnID)
		require.Equal(x, quilltest.TransactionAborted, txn.State)
	})
}
