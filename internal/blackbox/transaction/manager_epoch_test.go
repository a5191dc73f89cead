package transaction_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Epochs and sequences after a transaction that failed: a new epoch where the cluster can give one, and
// sequences that go on where the log has them where it can't (before 2.5).

// unreachable are time-outs within which a node that is cut off makes batches expire.
func unreachable(cfg *quill.Config) {
	cfg.Linger, cfg.RequestTimeout, cfg.DeliveryTimeout = -1, 3*time.Second, 5*time.Second
}

// Java: TransactionManagerTest.testTransitionToAbortableErrorOnBatchExpiry
// Java: TransactionManagerTest.testTransitionToAbortableErrorOnMultipleBatchExpiry
func TestBatchesThatExpireMakeTheTransactionAbortable(t *testing.T) {
	for _, partitions := range []int32{1, 2} {
		inTransactions(t, unreachable, func(x *testkit.TxnLab) {
			away := x.Apart()
			x.Begin()
			x.Delivered(2, "first")
			require.NoError(x, x.C.PauseNode(away))
			var left []quill.Future
			for p := range partitions {
				left = append(left, x.Send(p, "v"))
			}
			time.Sleep(4 * time.Second)
			x.RequireState("IN_TRANSACTION")
			for _, f := range left {
				x.Failure(f, quill.ErrDeliveryTimeout)
			}
			x.RequireState("ABORTABLE_ERROR")
			x.Resume(away)
			x.Abort()
			x.RequireGoesOn()
			x.RequireCommitted("on")
		})
	}
}

// Java: TransactionManagerTest.testDropCommitOnBatchExpiry
func TestABatchThatExpiresCancelsTheCommit(t *testing.T) {
	inTransactions(t, unreachable, func(x *testkit.TxnLab) {
		away := x.Apart()
		x.Begin()
		x.Delivered(0, "first")
		wire := x.Watch()
		require.NoError(x, x.C.PauseNode(away))
		f := x.Send(0, "v")
		err := x.P.CommitTransaction(x.Context())
		x.Failure(f, quill.ErrDeliveryTimeout)
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.ErrorIs(x, err, quill.ErrDeliveryTimeout)
		require.ErrorIs(x, x.P.CommitTransaction(x.Context()), quill.ErrAbortable)
		x.RequireState("ABORTABLE_ERROR")
		txn, _ := x.C.Transaction(testkit.TxnID)
		require.Equal(x, quilltest.TransactionOngoing, txn.State)
		x.Resume(away)
		x.Abort()
		require.Empty(x, wire.Named("commit"))
		require.NotEmpty(x, wire.Named("abort"))
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// Whether a batch that expired may still be written decides: then there has to be a new epoch. Where there
// can be none, Java's producer ends at once. This one lets the transaction be aborted first, and goes on if
// the batch was surely refused whenever it was sent.
var expiries = []struct {
	release string
	answer  protocol.ErrorCode // of each attempt; None: they got lost
	fatal   bool
}{
	// Java: TransactionManagerTest.testMaybeResolveSequencesTransactionalProducer
	{"4.4", protocol.None, false},
	{"3.9", protocol.None, false},
	{"2.4", protocol.None, true},
	{"4.4", protocol.NotLeaderOrFollower, false},
	{"3.9", protocol.NotLeaderOrFollower, false},
	// Java: TransactionManagerTest.testTransitionToFatalErrorWhenRetriedBatchIsExpired
	{"2.4", protocol.NotLeaderOrFollower, true},
	{"4.4", protocol.NotEnoughReplicas, false},
	{"3.9", protocol.NotEnoughReplicas, false},
	{"2.4", protocol.NotEnoughReplicas, false},
}

func TestAfterAnExpiryNoCopyGetsIntoTheNextTransaction(t *testing.T) {
	for _, c := range expiries {
		t.Run(fmt.Sprint(c.release, " ", c.answer.Name()), func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{Release: c.release}, unreachable, func(x *testkit.TxnLab) {
				require.NoError(x, x.P.InitTransactions(x.Context()))
				x.Begin()
				x.Delivered(0, "first")
				trouble := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: -1,
					Err: c.answer, DisconnectBefore: c.answer == protocol.None})
				f := x.Send(0, "v")
				require.ErrorIs(x, x.P.CommitTransaction(x.Context()), quill.ErrAbortable)
				x.Failure(f, quill.ErrDeliveryTimeout)
				x.RequireState("ABORTABLE_ERROR")
				trouble.Remove()
				x.Abort()
				if c.fatal {
					x.RequireFatal(quill.ErrUnsupportedVersion)
					x.RequireCommitted()
					return
				}
				x.RequireGoesOn()
				x.RequireCommitted("on")
			})
		})
	}
}

// What failed after two batches of partition 0 were written, where the cluster can raise the epoch.
var bumps = []struct {
	name     string
	fail     func(x *testkit.TxnLab)
	version1 bool // there is nothing like it in version 2
}{
	// Java: TransactionManagerTest.testBumpTransactionalEpochOnAbortableError
	{"a refused batch", func(x *testkit.TxnLab) {
		x.Refuse(protocol.Produce, protocol.TopicAuthorizationFailed)
		x.Failure(x.Send(0, "v"), protocol.TopicAuthorizationFailed)
	}, false},
	// Java: TransactionManagerTest.testBumpTransactionalEpochOnUnknownProducerIdError
	{"a producer that is not known", func(x *testkit.TxnLab) {
		x.C.Inject(unknownProducer)
		x.Failure(x.Send(0, "v"), protocol.UnknownProducerID)
	}, false},
	// Java: TransactionManagerTest.testBumpTransactionalEpochOnTimeout
	{"a batch that expired on its way", func(x *testkit.TxnLab) {
		away := x.Leader(0)
		require.NoError(x, x.C.CutOffNode(away))
		x.Failure(x.Send(0, "v"), quill.ErrDeliveryTimeout)
		x.Resume(away)
	}, false},
	// Java: TransactionManagerTest.testBumpTransactionalEpochOnRecoverableAddPartitionRequestError
	{"AddPartitionsToTxn", func(x *testkit.TxnLab) {
		x.Refuse(protocol.AddPartitionsToTxn, protocol.UnknownProducerID)
		x.Failure(x.Send(1, "v"), protocol.UnknownProducerID)
	}, true},
	// Java: TransactionManagerTest.testBumpTransactionalEpochOnRecoverableAddOffsetsRequestError
	{"AddOffsetsToTxn", func(x *testkit.TxnLab) {
		x.Refuse(protocol.AddOffsetsToTxn, protocol.UnknownProducerID)
		require.ErrorIs(x, x.SendOffsets(), protocol.UnknownProducerID)
	}, true},
}

// unknownProducer is the answer of a broker that has forgotten the producer although the log still has what
// it wrote.
var unknownProducer = quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.UnknownProducerID, Edit: func(_ *quilltest.Request, response any) {
	r := response.(*message.ProduceResponse)
	r.Responses[0].PartitionResponses[0].LogStartOffset = 0
}}

func TestAFailedTransactionIsFollowedByANewEpoch(t *testing.T) {
	for _, c := range bumps {
		t.Run(c.name, func(t *testing.T) {
			inTransactions(t, unreachable, func(x *testkit.TxnLab) {
				if c.version1 && x.Version2 {
					return
				}
				x.Begin()
				x.Delivered(0, "0")
				x.Delivered(0, "1")
				wire := x.Watch()
				c.fail(x)
				x.RequireState("ABORTABLE_ERROR")
				x.Abort()
				x.Begin()
				x.Delivered(0, "next")
				x.Commit()
				sent := wire.Named("produce t-0")
				last := sent[len(sent)-1]
				require.EqualValues(x, 1, last.Epoch)
				require.Zero(x, last.First)
				if !x.Version2 {
					require.Equal(x, []string{"abort", "init"}, namesFrom(wire, "abort")[:2])
					require.EqualValues(x, 0, wire.Named("init")[0].Epoch, "the present id and epoch are named (KIP-360)")
				}
				x.RequireCommitted("next")
			})
		})
	}
}

// namesFrom returns what was asked from the first of these requests on.
func namesFrom(w *testkit.TxnWire, what string) (names []string) {
	for _, a := range w.All() {
		if a.What == what || names != nil {
			names = append(names, a.What)
		}
	}
	return names
}

// Nothing was added in the transaction, so it is not ended; there is a new epoch nevertheless.
//
// Java: TransactionManagerTest.testBumpTransactionalEpochOnRecoverableAddPartitionRequestError
func TestAnUnknownProducerInTheFirstRequestGetsANewEpoch(t *testing.T) {
	inVersion1(t, nil, func(x *testkit.TxnLab) {
		wire := x.Watch()
		x.Begin()
		x.Refuse(protocol.AddPartitionsToTxn, protocol.UnknownProducerID)
		x.Failure(x.Send(0, "v"), protocol.UnknownProducerID)
		x.Abort()
		require.Equal(x, []string{"add t-0", "init"}, wire.Take())
		require.EqualValues(x, 1, x.Epoch())
		x.RequireGoesOn()
	})
}

// Whether the epoch can be raised is known even while the coordinator can't be reached.
//
// Java: TransactionManagerTest.testNeedToTriggerEpochBumpFromClientDuringCoordinatorDisconnect
func TestTheEpochIsRaisedAfterTheCoordinatorWasLost(t *testing.T) {
	inVersion1(t, nil, func(x *testkit.TxnLab) {
		x.Begin()
		x.Delivered(0, "first")
		wire := x.Watch()
		require.NoError(x, x.C.Disconnect(x.C.Coordinator(quilltest.TransactionCoordinator, testkit.TxnID)))
		x.Refuse(protocol.Produce, protocol.OutOfOrderSequenceNumber)
		x.Failure(x.Send(0, "v"), protocol.OutOfOrderSequenceNumber)
		wire.Take()
		x.Abort()
		asked := wire.Take()
		require.Equal(x, []string{"abort", "init"}, asked[len(asked)-2:])
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// Java: TransactionManagerTest.testEpochUpdateAfterBumpFromEndTxnResponseInV2
func TestVersion2AdoptsTheEpochOfTheEnd(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
		require.NoError(x, x.P.InitTransactions(x.Context()))
		wire := x.Watch()
		for i, end := range []func(){x.Abort, x.Commit, x.Commit} {
			x.Begin()
			x.Delivered(0, "v")
			sent := wire.Named("produce t-0")
			require.EqualValues(x, i, sent[i].Epoch)
			require.Equal(x, sent[0].ID, sent[i].ID)
			require.Zero(x, sent[i].First, "a new epoch begins at 0")
			end()
		}
		require.Empty(x, wire.Named("init"))
	})
}

// Sequences where the epoch can't be raised: partition 0 goes on behind what it has of partition 0, and
// others where they were. So it does for a broker that has forgotten the producer: it takes 0 again.
func TestOldClustersGoOnWithTheirSequences(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault quilltest.Fault
		next  int32
	}{
		// Java: TransactionManagerTest.testAbortTransactionAndReuseSequenceNumberOnError
		{"refused", quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.TopicAuthorizationFailed}, 2},
		// Java: TransactionManagerTest.testAbortTransactionAndResetSequenceNumberOnUnknownProducerId
		{"forgotten", unknownProducer, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{Release: "2.4"}, unreachable, func(x *testkit.TxnLab) {
				require.NoError(x, x.P.InitTransactions(x.Context()))
				x.Begin()
				x.Delivered(1, "0")
				x.Delivered(0, "0")
				x.Delivered(0, "1")
				wire := x.Watch()
				x.C.Inject(c.fault)
				x.Failure(x.Send(0, "v"), c.fault.Err)
				x.Abort()
				if c.next == 0 {
					require.NoError(x, x.C.ForgetProducers("t", 0))
				}
				wire.Take()
				for i := range int32(3) {
					x.Begin()
					x.Delivered(0, fmt.Sprint("next ", i))
					x.Delivered(1, fmt.Sprint("next ", i))
					x.Commit()
					for p, next := range []int32{c.next, 1} {
						sent := wire.Named(fmt.Sprint("produce t-", p))
						require.Equal(x, next+i, sent[i].First, "partition %d", p)
						require.EqualValues(x, 0, sent[i].Epoch)
					}
				}
				x.RequireCommitted("next 0", "next 1", "next 2", "next 0", "next 1", "next 2")
			})
		})
	}
}
