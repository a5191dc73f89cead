package quill_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
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

// leader is the node that leads a partition of topic "t".
func (x *txnLab) leader(partition int32) int32 {
	x.Helper()
	node, _, err := x.c.Leader("t", partition)
	require.NoError(x, err)
	return node
}

// apart gives partitions 0 and 1 a leader that is neither coordinator nor leads partition 2, and returns it.
func (x *txnLab) apart() int32 {
	x.Helper()
	require.NoError(x, x.c.MoveCoordinator(quilltest.TransactionCoordinator, txnID, 1))
	for p := range int32(3) {
		require.NoError(x, x.c.MoveLeader("t", p, 2+p/2))
	}
	return 2
}

// Java: TransactionManagerTest.testTransitionToAbortableErrorOnBatchExpiry
// Java: TransactionManagerTest.testTransitionToAbortableErrorOnMultipleBatchExpiry
func TestBatchesThatExpireMakeTheTransactionAbortable(t *testing.T) {
	for _, partitions := range []int32{1, 2} {
		inTransactions(t, unreachable, func(x *txnLab) {
			away := x.apart()
			x.begin()
			x.delivered(2, "first")
			require.NoError(x, x.c.PauseNode(away))
			var left []quill.Future
			for p := range partitions {
				left = append(left, x.send(p, "v"))
			}
			time.Sleep(4 * time.Second)
			x.requireState("IN_TRANSACTION")
			for _, f := range left {
				x.failed(f, quill.ErrDeliveryTimeout)
			}
			x.requireState("ABORTABLE_ERROR")
			require.NoError(x, x.c.ResumeNode(away))
			x.abort()
			x.requireGoesOn()
			x.requireCommitted("on")
		})
	}
}

// Java: TransactionManagerTest.testDropCommitOnBatchExpiry
func TestABatchThatExpiresCancelsTheCommit(t *testing.T) {
	inTransactions(t, unreachable, func(x *txnLab) {
		away := x.apart()
		x.begin()
		x.delivered(0, "first")
		wire := x.watch()
		require.NoError(x, x.c.PauseNode(away))
		f := x.send(0, "v")
		err := x.p.CommitTransaction(x.Context())
		x.failed(f, quill.ErrDeliveryTimeout)
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.ErrorIs(x, err, quill.ErrDeliveryTimeout)
		require.ErrorIs(x, x.p.CommitTransaction(x.Context()), quill.ErrAbortable)
		x.requireState("ABORTABLE_ERROR")
		txn, _ := x.c.Transaction(txnID)
		require.Equal(x, quilltest.TransactionOngoing, txn.State)
		require.NoError(x, x.c.ResumeNode(away))
		x.abort()
		require.Empty(x, wire.named("commit"))
		require.NotEmpty(x, wire.named("abort"))
		x.requireGoesOn()
		x.requireCommitted("on")
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
			inRelease(t, quilltest.Options{Release: c.release}, unreachable, func(x *txnLab) {
				require.NoError(x, x.p.InitTransactions(x.Context()))
				x.begin()
				x.delivered(0, "first")
				trouble := x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: -1,
					Err: c.answer, DisconnectBefore: c.answer == protocol.None})
				f := x.send(0, "v")
				require.ErrorIs(x, x.p.CommitTransaction(x.Context()), quill.ErrAbortable)
				x.failed(f, quill.ErrDeliveryTimeout)
				x.requireState("ABORTABLE_ERROR")
				trouble.Remove()
				x.abort()
				if c.fatal {
					x.requireFatal(quill.ErrUnsupportedVersion)
					x.requireCommitted()
					return
				}
				x.requireGoesOn()
				x.requireCommitted("on")
			})
		})
	}
}

// What failed after two batches of partition 0 were written, where the cluster can raise the epoch.
var bumps = []struct {
	name     string
	fail     func(x *txnLab)
	version1 bool // there is nothing like it in version 2
}{
	// Java: TransactionManagerTest.testBumpTransactionalEpochOnAbortableError
	{"a refused batch", func(x *txnLab) {
		x.refuse(protocol.Produce, protocol.TopicAuthorizationFailed)
		x.failed(x.send(0, "v"), protocol.TopicAuthorizationFailed)
	}, false},
	// Java: TransactionManagerTest.testBumpTransactionalEpochOnUnknownProducerIdError
	{"a producer that is not known", func(x *txnLab) {
		x.c.Inject(unknownProducer)
		x.failed(x.send(0, "v"), protocol.UnknownProducerID)
	}, false},
	// Java: TransactionManagerTest.testBumpTransactionalEpochOnTimeout
	{"a batch that expired on its way", func(x *txnLab) {
		away := x.leader(0)
		require.NoError(x, x.c.CutOffNode(away))
		x.failed(x.send(0, "v"), quill.ErrDeliveryTimeout)
		require.NoError(x, x.c.ResumeNode(away))
	}, false},
	// Java: TransactionManagerTest.testBumpTransactionalEpochOnRecoverableAddPartitionRequestError
	{"AddPartitionsToTxn", func(x *txnLab) {
		x.refuse(protocol.AddPartitionsToTxn, protocol.UnknownProducerID)
		x.failed(x.send(1, "v"), protocol.UnknownProducerID)
	}, true},
	// Java: TransactionManagerTest.testBumpTransactionalEpochOnRecoverableAddOffsetsRequestError
	{"AddOffsetsToTxn", func(x *txnLab) {
		x.refuse(protocol.AddOffsetsToTxn, protocol.UnknownProducerID)
		require.ErrorIs(x, x.sendOffsets(), protocol.UnknownProducerID)
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
			inTransactions(t, unreachable, func(x *txnLab) {
				if c.version1 && x.version2 {
					return
				}
				x.begin()
				x.delivered(0, "0")
				x.delivered(0, "1")
				wire := x.watch()
				c.fail(x)
				x.requireState("ABORTABLE_ERROR")
				x.abort()
				x.begin()
				x.delivered(0, "next")
				x.commit()
				sent := wire.named("produce t-0")
				last := sent[len(sent)-1]
				require.EqualValues(x, 1, last.epoch)
				require.Zero(x, last.first)
				if !x.version2 {
					require.Equal(x, []string{"abort", "init"}, namesFrom(wire, "abort")[:2])
					require.EqualValues(x, 0, wire.named("init")[0].epoch, "the present id and epoch are named (KIP-360)")
				}
				x.requireCommitted("next")
			})
		})
	}
}

// namesFrom is what was asked from the first of these requests on.
func namesFrom(w *txnWire, what string) (names []string) {
	for _, a := range w.all() {
		if a.what == what || names != nil {
			names = append(names, a.what)
		}
	}
	return names
}

// Nothing was added in the transaction, so it is not ended; there is a new epoch nevertheless.
//
// Java: TransactionManagerTest.testBumpTransactionalEpochOnRecoverableAddPartitionRequestError
func TestAnUnknownProducerInTheFirstRequestGetsANewEpoch(t *testing.T) {
	inVersion1(t, nil, func(x *txnLab) {
		wire := x.watch()
		x.begin()
		x.refuse(protocol.AddPartitionsToTxn, protocol.UnknownProducerID)
		x.failed(x.send(0, "v"), protocol.UnknownProducerID)
		x.abort()
		require.Equal(x, []string{"add t-0", "init"}, wire.take())
		require.EqualValues(x, 1, x.epoch())
		x.requireGoesOn()
	})
}

// Whether the epoch can be raised is known even while the coordinator can't be reached.
//
// Java: TransactionManagerTest.testNeedToTriggerEpochBumpFromClientDuringCoordinatorDisconnect
func TestTheEpochIsRaisedAfterTheCoordinatorWasLost(t *testing.T) {
	inVersion1(t, nil, func(x *txnLab) {
		x.begin()
		x.delivered(0, "first")
		wire := x.watch()
		require.NoError(x, x.c.Disconnect(x.c.Coordinator(quilltest.TransactionCoordinator, txnID)))
		x.refuse(protocol.Produce, protocol.OutOfOrderSequenceNumber)
		x.failed(x.send(0, "v"), protocol.OutOfOrderSequenceNumber)
		wire.take()
		x.abort()
		asked := wire.take()
		require.Equal(x, []string{"abort", "init"}, asked[len(asked)-2:])
		x.requireGoesOn()
		x.requireCommitted("on")
	})
}

// Java: TransactionManagerTest.testEpochUpdateAfterBumpFromEndTxnResponseInV2
func TestVersion2AdoptsTheEpochOfTheEnd(t *testing.T) {
	inRelease(t, quilltest.Options{}, nil, func(x *txnLab) {
		require.NoError(x, x.p.InitTransactions(x.Context()))
		wire := x.watch()
		for i, end := range []func(){x.abort, x.commit, x.commit} {
			x.begin()
			x.delivered(0, "v")
			sent := wire.named("produce t-0")
			require.EqualValues(x, i, sent[i].epoch)
			require.Equal(x, sent[0].id, sent[i].id)
			require.Zero(x, sent[i].first, "a new epoch begins at 0")
			end()
		}
		require.Empty(x, wire.named("init"))
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
			inRelease(t, quilltest.Options{Release: "2.4"}, unreachable, func(x *txnLab) {
				require.NoError(x, x.p.InitTransactions(x.Context()))
				x.begin()
				x.delivered(1, "0")
				x.delivered(0, "0")
				x.delivered(0, "1")
				wire := x.watch()
				x.c.Inject(c.fault)
				x.failed(x.send(0, "v"), c.fault.Err)
				x.abort()
				if c.next == 0 {
					require.NoError(x, x.c.ForgetProducers("t", 0))
				}
				wire.take()
				for i := range int32(3) {
					x.begin()
					x.delivered(0, fmt.Sprint("next ", i))
					x.delivered(1, fmt.Sprint("next ", i))
					x.commit()
					for p, next := range []int32{c.next, 1} {
						sent := wire.named(fmt.Sprint("produce t-", p))
						require.Equal(x, next+i, sent[i].first, "partition %d", p)
						require.EqualValues(x, 0, sent[i].epoch)
					}
				}
				x.requireCommitted("next 0", "next 1", "next 2", "next 0", "next 1", "next 2")
			})
		})
	}
}
