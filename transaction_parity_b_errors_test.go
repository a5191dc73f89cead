package quill_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Answers of coordinators that end the producer, that end the transaction, and that mean to ask again, in
// the order of Java's tests.

// inVersions is inRelease for both versions of the protocol.
func inVersions(t *testing.T, change func(cfg *quill.Config), test func(x *txnLab)) {
	t.Helper()
	for _, release := range []string{"4.4", "3.9"} {
		t.Run(release, func(t *testing.T) { inRelease(t, quilltest.Options{Release: release}, change, test) })
	}
}

// twoOffsets are of partitions 0 and 1.
var twoOffsets = map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: 1}, {Topic: "t", Partition: 1}: {Offset: 1}}

// sendTwoOffsets is sendOffsets for a group that tells its id only.
func (x *txnLab) sendTwoOffsets() error {
	return x.p.SendOffsetsToTransaction(x.Context(), twoOffsets, quill.GroupMetadata{GroupID: "g"})
}

// Java: TransactionManagerTest.testCoordinatorNotAvailable
func TestACoordinatorThatIsNotThereYetIsLookedForAgain(t *testing.T) {
	inVersions(t, nil, func(x *txnLab) {
		wire := x.watch()
		x.refuse(protocol.FindCoordinator, protocol.CoordinatorNotAvailable)
		require.NoError(x, x.p.InitTransactions(x.Context()))
		require.Equal(x, []string{"find " + txnID, "find " + txnID, "init"}, wire.take())
	})
}

// What ends the producer, by request and answer. partitions: only those are refused.
var deadlyAnswers = []struct {
	api        protocol.APIKey
	code       protocol.ErrorCode
	is         error
	partitions []int32
	version1   bool // the request is part of version 1 only
}{
	// Java: TransactionManagerTest.testProducerFencedExceptionInInitProducerId
	{protocol.InitProducerID, protocol.ProducerFenced, quill.ErrProducerFenced, nil, false},
	// Java: TransactionManagerTest.testInvalidProducerEpochConvertToProducerFencedInInitProducerId
	{protocol.InitProducerID, protocol.InvalidProducerEpoch, quill.ErrProducerFenced, nil, false},
	// Java: TransactionManagerTest.testProducerFencedInAddPartitionToTxn
	{protocol.AddPartitionsToTxn, protocol.ProducerFenced, quill.ErrProducerFenced, nil, true},
	// Java: TransactionManagerTest.testInvalidProducerEpochConvertToProducerFencedInAddPartitionToTxn
	{protocol.AddPartitionsToTxn, protocol.InvalidProducerEpoch, quill.ErrProducerFenced, nil, true},
	// Java: TransactionManagerTest.testProducerFencedInAddOffSetsToTxn
	{protocol.AddOffsetsToTxn, protocol.ProducerFenced, quill.ErrProducerFenced, nil, true},
	// Java: TransactionManagerTest.testInvalidProducerEpochConvertToProducerFencedInAddOffSetsToTxn
	{protocol.AddOffsetsToTxn, protocol.InvalidProducerEpoch, quill.ErrProducerFenced, nil, true},
	// Java: TransactionManagerTest.testInvalidProducerEpochConvertToProducerFencedInEndTxn
	{protocol.EndTxn, protocol.InvalidProducerEpoch, quill.ErrProducerFenced, nil, false},
	// Java: TransactionManagerTest.testHandlingOfProducerFencedErrorOnTxnOffsetCommit
	{protocol.TxnOffsetCommit, protocol.ProducerFenced, quill.ErrProducerFenced, []int32{1}, false},
	// Java: TransactionManagerTest.testHandlingOfInvalidProducerEpochErrorOnTxnOffsetCommit
	{protocol.TxnOffsetCommit, protocol.InvalidProducerEpoch, quill.ErrProducerFenced, []int32{1}, false},
	// Java: TransactionManagerTest.testHandlingOfTransactionalIdAuthorizationFailedErrorOnTxnOffsetCommit
	{protocol.TxnOffsetCommit, protocol.TransactionalIDAuthorizationFailed, protocol.TransactionalIDAuthorizationFailed, []int32{1}, false},
	// Java: TransactionManagerTest.testHandlingOfUnsupportedForMessageFormatErrorOnTxnOffsetCommit
	{protocol.TxnOffsetCommit, protocol.UnsupportedForMessageFormat, protocol.UnsupportedForMessageFormat, []int32{1}, false},
}

func TestDeadlyAnswersEndTheCallTheRecordsAndTheProducer(t *testing.T) {
	for _, c := range deadlyAnswers {
		t.Run(fmt.Sprint(c.api, " ", c.code.Name()), func(t *testing.T) {
			inVersions(t, lingering, func(x *txnLab) {
				if c.version1 && x.version2 {
					return
				}
				x.refuse(c.api, c.code, c.partitions...)
				err := x.p.InitTransactions(x.Context())
				if c.api != protocol.InitProducerID {
					require.NoError(x, err)
					x.begin()
					left := x.send(0, "v")
					if err = x.sendTwoOffsets(); err == nil {
						err = x.p.CommitTransaction(x.Context())
					}
					if _, fate := left.Wait(x.Context()); c.api == protocol.EndTxn {
						require.NoError(x, fate)
					} else {
						require.ErrorIs(x, fate, c.is)
						require.ErrorIs(x, fate, quill.ErrFatal)
					}
				}
				require.ErrorIs(x, err, c.is)
				require.ErrorIs(x, err, quill.ErrFatal)
				for _, err := range []error{x.p.BeginTransaction(), x.p.CommitTransaction(x.Context()), x.p.AbortTransaction(x.Context()),
					x.sendTwoOffsets(), x.p.InitTransactions(x.Context())} {
					require.ErrorIs(x, err, c.is)
					require.ErrorIs(x, err, quill.ErrFatal)
				}
				x.over()
			})
		})
	}
}

// What makes the transaction abortable, with the call that is told. Java's TRANSACTION_ABORTABLE is KIP-1050's.
var abortableAnswers = []struct {
	api      protocol.APIKey
	version1 bool // the request is part of version 1 only
	call     func(x *txnLab) error
}{
	// Java: TransactionManagerTest.testTransactionAbortableExceptionInAddPartitions
	{protocol.AddPartitionsToTxn, true, func(x *txnLab) error {
		_, err := x.send(0, "v").Wait(x.Context())
		return err
	}},
	// Java: TransactionManagerTest.testTransactionAbortableExceptionInFindCoordinator
	{protocol.FindCoordinator, false, func(x *txnLab) error { return x.sendOffsets() }},
	// Java: TransactionManagerTest.testTransactionAbortableExceptionInEndTxn
	{protocol.EndTxn, false, func(x *txnLab) error {
		f := x.send(0, "v")
		err := x.p.CommitTransaction(x.Context())
		_, fate := f.Wait(x.Context())
		require.NoError(x, fate, "the record itself was delivered")
		return err
	}},
	// Java: TransactionManagerTest.testTransactionAbortableExceptionInAddOffsetsToTxn
	{protocol.AddOffsetsToTxn, true, func(x *txnLab) error { return x.sendOffsets() }},
	// Java: TransactionManagerTest.testTransactionAbortableExceptionInTxnOffsetCommit
	{protocol.TxnOffsetCommit, false, func(x *txnLab) error { return x.sendOffsets() }},
	// Java: SenderTest.testTransactionAbortableExceptionIsAnAbortableError
	{protocol.Produce, false, func(x *txnLab) error {
		_, err := x.send(0, "v").Wait(x.Context())
		return err
	}},
}

func TestTransactionAbortableLeavesAbortAsTheOnlyWay(t *testing.T) {
	for _, c := range abortableAnswers {
		t.Run(c.api.String(), func(t *testing.T) {
			inTransactions(t, nil, func(x *txnLab) {
				if c.version1 && x.version2 {
					return
				}
				x.begin()
				x.refuse(c.api, protocol.TransactionAbortable)
				for _, err := range []error{c.call(x), x.p.CommitTransaction(x.Context()), x.sendOffsets(), x.p.BeginTransaction()} {
					require.ErrorIs(x, err, protocol.TransactionAbortable)
					require.ErrorIs(x, err, quill.ErrAbortable)
					require.NotErrorIs(x, err, quill.ErrFatal)
				}
				x.abort()
				x.requireGoesOn()
				x.requireCommitted("on")
			})
		})
	}
}

// Java: TransactionManagerTest.testTransactionAbortableExceptionInInitProducerId
func TestTransactionAbortableInInitIsAbortable(t *testing.T) {
	inVersions(t, nil, func(x *txnLab) {
		x.refuse(protocol.InitProducerID, protocol.TransactionAbortable)
		err := x.p.InitTransactions(x.Context())
		for _, err := range []error{err, x.p.CommitTransaction(x.Context()), x.p.BeginTransaction()} {
			require.ErrorIs(x, err, protocol.TransactionAbortable)
			require.ErrorIs(x, err, quill.ErrAbortable)
		}
		x.abort()
		x.requireGoesOn()
	})
}

// An abort that the coordinator wants aborted leads nowhere.
//
// Java: SenderTest.testAbortableErrorIsConvertedToFatalErrorDuringAbort
func TestTransactionAbortableInAnAbortIsFatal(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		x.begin()
		x.send(0, "v")
		x.refuse(protocol.EndTxn, protocol.TransactionAbortable)
		err := x.p.CommitTransaction(x.Context())
		require.ErrorIs(x, err, quill.ErrAbortable)
		x.refuse(protocol.EndTxn, protocol.TransactionAbortable)
		err = x.p.AbortTransaction(x.Context())
		require.ErrorIs(x, err, quill.ErrFatal)
		require.NotErrorIs(x, err, quill.ErrAbortable)
		x.requireFatal(protocol.TransactionAbortable)
		x.over()
	})
}

// What is to be asked again, for one of the two partitions whose offsets are committed.
var passingOffsetErrors = []protocol.ErrorCode{
	// Java: TransactionManagerTest.testHandlingOfUnknownTopicPartitionErrorOnTxnOffsetCommit
	protocol.UnknownTopicOrPartition,
	// Java: TransactionManagerTest.testHandlingOfCoordinatorLoadingErrorOnTxnOffsetCommit
	// Java: TransactionManagerTest.testSendOffsetsWithGroupMetadata
	protocol.CoordinatorLoadInProgress,
	// Java: TransactionManagerTest.testHandlingOfNetworkExceptionOnTxnOffsetCommit
	protocol.NetworkException,
}

func TestOnlyOffsetsThatFailedAreCommittedAgain(t *testing.T) {
	group := quill.GroupMetadata{GroupID: "g", GenerationID: 5, MemberID: "m", GroupInstanceID: "i"}
	for _, code := range passingOffsetErrors {
		t.Run(code.Name(), func(t *testing.T) {
			inTransactions(t, nil, func(x *txnLab) {
				x.c.SetGroup("g", quilltest.Group{Generation: 5, Members: []quilltest.GroupMember{{ID: "m", InstanceID: "i"}}})
				wire := x.watch()
				x.refuse(protocol.TxnOffsetCommit, code, 1)
				x.begin()
				require.NoError(x, x.p.SendOffsetsToTransaction(x.Context(), twoOffsets, group))
				want := []string{"add group g", "find g", "offsets t-0 t-1", "offsets t-1"}
				if x.version2 {
					want = want[1:]
				}
				require.Equal(x, want, wire.take(), "it is over when the last partition is")
				x.commit()
				require.Len(x, x.c.GroupOffsets("g"), 2)
			})
		})
	}
}

// The member of a group is part of what fences zombies (KIP-447): it is not left out because a node is too
// old to take it.
//
// Java: TransactionManagerTest.testSendOffsetWithGroupMetadataFailAsAutoDowngradeTxnCommitNotEnabled
func TestTheGroupsMemberIsNeverLeftOut(t *testing.T) {
	inRelease(t, quilltest.Options{Release: "3.9", MaxVersions: map[protocol.APIKey]int16{protocol.TxnOffsetCommit: 2}}, nil, func(x *txnLab) {
		require.NoError(x, x.p.InitTransactions(x.Context()))
		x.begin()
		require.NoError(x, x.sendTwoOffsets(), "of a group's id alone nothing is left out")
		err := x.p.SendOffsetsToTransaction(x.Context(), twoOffsets, quill.GroupMetadata{GroupID: "g", GenerationID: 5, MemberID: "m", GroupInstanceID: "i"})
		require.ErrorIs(x, err, quill.ErrUnsupportedVersion)
		require.ErrorIs(x, err, quill.ErrFatal)
		x.requireFatal(quill.ErrUnsupportedVersion)
		x.over()
	})
}

// What is asked for while the transaction is being aborted still counts.
func TestAnAbortDuringAddOffsets(t *testing.T) {
	for _, c := range []struct {
		code  protocol.ErrorCode
		fatal bool
	}{
		// Java: TransactionManagerTest.shouldNotSendAbortTxnRequestWhenOnlyAddOffsetsRequestFailed
		{protocol.GroupAuthorizationFailed, false},
		// Java: TransactionManagerTest.shouldFailAbortIfAddOffsetsFailsWithFatalError
		{protocol.UnknownServerError, true},
	} {
		t.Run(c.code.Name(), func(t *testing.T) {
			inVersion1(t, nil, func(x *txnLab) {
				wire := x.watch()
				x.delay(protocol.AddOffsetsToTxn, time.Second)
				x.refuse(protocol.AddOffsetsToTxn, c.code)
				x.begin()
				offsets := make(chan error, 1)
				go func() { offsets <- x.sendOffsets() }()
				time.Sleep(time.Second / 2)
				err := x.p.AbortTransaction(x.Context())
				require.ErrorIs(x, <-offsets, quill.ErrTransactionAborted)
				require.Equal(x, []string{"add group g"}, wire.take(), "the coordinator knows of no transaction")
				if c.fatal {
					require.ErrorIs(x, err, quill.ErrFatal)
					x.requireFatal(c.code)
					return
				}
				require.NoError(x, err)
				x.requireGoesOn()
			})
		})
	}
}

// Nothing was added, so nothing is to be aborted, and the partition is no part of the next transaction.
//
// Java: TransactionManagerTest.shouldNotAddPartitionsToTransactionWhenTopicAuthorizationFailed
// Java: TransactionManagerTest.shouldNotSendAbortTxnRequestWhenOnlyAddPartitionsRequestFailed
func TestARefusedPartitionIsNotAdded(t *testing.T) {
	inVersion1(t, nil, func(x *txnLab) {
		wire := x.watch()
		x.refuse(protocol.AddPartitionsToTxn, protocol.TopicAuthorizationFailed)
		x.begin()
		_, err := x.send(0, "v").Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.ErrorIs(x, err, protocol.TopicAuthorizationFailed)
		require.Equal(x, quill.NotSent, outcome(err))
		x.abort()
		require.Equal(x, []string{"add t-0"}, wire.take())
		x.begin()
		x.send(0, "v")
		x.commit()
		require.Equal(x, []string{"add t-0", "produce t-0", "commit"}, wire.take())
	})
}

// outcome is what an error says about its record.
func outcome(err error) quill.Outcome {
	e, _ := errors.AsType[*quill.Error](err)
	return e.Outcome()
}
