package transaction_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Answers of coordinators that end the producer, that end the transaction, and that mean to ask again, in
// the order of Java's tests.

// inVersions is InRelease for both versions of the protocol.
func inVersions(t *testing.T, change func(cfg *quill.Config), test func(x *testkit.TxnLab)) {
	t.Helper()
	for _, release := range []string{"4.4", "3.9"} {
		t.Run(release, func(t *testing.T) { testkit.InRelease(t, quilltest.Options{Release: release}, change, test) })
	}
}

// Java: TransactionManagerTest.testCoordinatorNotAvailable
func TestACoordinatorThatIsNotThereYetIsLookedForAgain(t *testing.T) {
	inVersions(t, nil, func(x *testkit.TxnLab) {
		wire := x.Watch()
		x.Refuse(protocol.FindCoordinator, protocol.CoordinatorNotAvailable)
		require.NoError(x, x.P.InitTransactions(x.Context()))
		require.Equal(x, []string{"find " + testkit.TxnID, "find " + testkit.TxnID, "init"}, wire.Take())
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
			inVersions(t, lingering, func(x *testkit.TxnLab) {
				if c.version1 && x.Version2 {
					return
				}
				x.Refuse(c.api, c.code, c.partitions...)
				err := x.P.InitTransactions(x.Context())
				if c.api != protocol.InitProducerID {
					require.NoError(x, err)
					x.Begin()
					left := x.Send(0, "v")
					if err = x.SendTwoOffsets(); err == nil {
						err = x.P.CommitTransaction(x.Context())
					}
					if _, outcome := left.Wait(x.Context()); c.api == protocol.EndTxn {
						require.NoError(x, outcome)
					} else {
						require.ErrorIs(x, outcome, c.is)
						require.ErrorIs(x, outcome, quill.ErrFatal)
					}
				}
				require.ErrorIs(x, err, c.is)
				require.ErrorIs(x, err, quill.ErrFatal)
				for _, err := range []error{x.P.BeginTransaction(), x.P.CommitTransaction(x.Context()), x.P.AbortTransaction(x.Context()),
					x.SendTwoOffsets(), x.P.InitTransactions(x.Context())} {
					require.ErrorIs(x, err, c.is)
					require.ErrorIs(x, err, quill.ErrFatal)
				}
				x.Over()
			})
		})
	}
}

// What makes the transaction abortable, with the call that gets the error. Java's TRANSACTION_ABORTABLE is KIP-1050's.
var abortableAnswers = []struct {
	api      protocol.APIKey
	version1 bool // the request is part of version 1 only
	call     func(x *testkit.TxnLab) error
}{
	// Java: TransactionManagerTest.testTransactionAbortableExceptionInAddPartitions
	{protocol.AddPartitionsToTxn, true, func(x *testkit.TxnLab) error {
		_, err := x.Send(0, "v").Wait(x.Context())
		return err
	}},
	// Java: TransactionManagerTest.testTransactionAbortableExceptionInFindCoordinator
	{protocol.FindCoordinator, false, func(x *testkit.TxnLab) error { return x.SendOffsets() }},
	// Java: TransactionManagerTest.testTransactionAbortableExceptionInEndTxn
	{protocol.EndTxn, false, func(x *testkit.TxnLab) error {
		f := x.Send(0, "v")
		err := x.P.CommitTransaction(x.Context())
		_, outcome := f.Wait(x.Context())
		require.NoError(x, outcome, "the record itself was delivered")
		return err
	}},
	// Java: TransactionManagerTest.testTransactionAbortableExceptionInAddOffsetsToTxn
	{protocol.AddOffsetsToTxn, true, func(x *testkit.TxnLab) error { return x.SendOffsets() }},
	// Java: TransactionManagerTest.testTransactionAbortableExceptionInTxnOffsetCommit
	{protocol.TxnOffsetCommit, false, func(x *testkit.TxnLab) error { return x.SendOffsets() }},
	// Java: SenderTest.testTransactionAbortableExceptionIsAnAbortableError
	{protocol.Produce, false, func(x *testkit.TxnLab) error {
		_, err := x.Send(0, "v").Wait(x.Context())
		return err
	}},
}

func TestTransactionAbortableLeavesAbortAsTheOnlyWay(t *testing.T) {
	for _, c := range abortableAnswers {
		t.Run(c.api.String(), func(t *testing.T) {
			inTransactions(t, nil, func(x *testkit.TxnLab) {
				if c.version1 && x.Version2 {
					return
				}
				x.Begin()
				x.Refuse(c.api, protocol.TransactionAbortable)
				for _, err := range []error{c.call(x), x.P.CommitTransaction(x.Context()), x.SendOffsets(), x.P.BeginTransaction()} {
					require.ErrorIs(x, err, protocol.TransactionAbortable)
					require.ErrorIs(x, err, quill.ErrAbortable)
					require.NotErrorIs(x, err, quill.ErrFatal)
				}
				x.Abort()
				x.RequireGoesOn()
				x.RequireCommitted("on")
			})
		})
	}
}

// Java: TransactionManagerTest.testTransactionAbortableExceptionInInitProducerId
func TestTransactionAbortableInInitIsAbortable(t *testing.T) {
	inVersions(t, nil, func(x *testkit.TxnLab) {
		x.Refuse(protocol.InitProducerID, protocol.TransactionAbortable)
		err := x.P.InitTransactions(x.Context())
		for _, err := range []error{err, x.P.CommitTransaction(x.Context()), x.P.BeginTransaction()} {
			require.ErrorIs(x, err, protocol.TransactionAbortable)
			require.ErrorIs(x, err, quill.ErrAbortable)
		}
		x.Abort()
		x.RequireGoesOn()
	})
}

// An abort that the coordinator wants aborted leads nowhere.
//
// Java: SenderTest.testAbortableErrorIsConvertedToFatalErrorDuringAbort
func TestTransactionAbortableInAnAbortIsFatal(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		x.Begin()
		x.Send(0, "v")
		x.Refuse(protocol.EndTxn, protocol.TransactionAbortable)
		err := x.P.CommitTransaction(x.Context())
		require.ErrorIs(x, err, quill.ErrAbortable)
		x.Refuse(protocol.EndTxn, protocol.TransactionAbortable)
		err = x.P.AbortTransaction(x.Context())
		require.ErrorIs(x, err, quill.ErrFatal)
		require.NotErrorIs(x, err, quill.ErrAbortable)
		x.RequireFatal(protocol.TransactionAbortable)
		x.Over()
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
			inTransactions(t, nil, func(x *testkit.TxnLab) {
				x.C.SetGroup("g", quilltest.Group{Generation: 5, Members: []quilltest.GroupMember{{ID: "m", InstanceID: "i"}}})
				wire := x.Watch()
				x.Refuse(protocol.TxnOffsetCommit, code, 1)
				x.Begin()
				require.NoError(x, x.P.SendOffsetsToTransaction(x.Context(), testkit.TwoOffsets, group))
				want := []string{"add group g", "find g", "offsets t-0 t-1", "offsets t-1"}
				if x.Version2 {
					want = want[1:]
				}
				require.Equal(x, want, wire.Take(), "it is over when the last partition is")
				x.Commit()
				require.Len(x, x.C.GroupOffsets("g"), 2)
			})
		})
	}
}

// The member of a group is part of what fences zombies (KIP-447): it is not left out because a node is too
// old to take it.
//
// Java: TransactionManagerTest.testSendOffsetWithGroupMetadataFailAsAutoDowngradeTxnCommitNotEnabled
func TestTheGroupsMemberIsNeverLeftOut(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{Release: "3.9", MaxVersions: map[protocol.APIKey]int16{protocol.TxnOffsetCommit: 2}}, nil, func(x *testkit.TxnLab) {
		require.NoError(x, x.P.InitTransactions(x.Context()))
		x.Begin()
		require.NoError(x, x.SendTwoOffsets(), "of a group's id alone nothing is left out")
		err := x.P.SendOffsetsToTransaction(x.Context(), testkit.TwoOffsets, quill.GroupMetadata{GroupID: "g", GenerationID: 5, MemberID: "m", GroupInstanceID: "i"})
		require.ErrorIs(x, err, quill.ErrUnsupportedVersion)
		require.ErrorIs(x, err, quill.ErrFatal)
		x.RequireFatal(quill.ErrUnsupportedVersion)
		x.Over()
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
			inVersion1(t, nil, func(x *testkit.TxnLab) {
				wire := x.Watch()
				x.Delay(protocol.AddOffsetsToTxn, time.Second)
				x.Refuse(protocol.AddOffsetsToTxn, c.code)
				x.Begin()
				offsets := make(chan error, 1)
				go func() { offsets <- x.SendOffsets() }()
				time.Sleep(time.Second / 2)
				err := x.P.AbortTransaction(x.Context())
				require.ErrorIs(x, <-offsets, quill.ErrTransactionAborted)
				require.Equal(x, []string{"add group g"}, wire.Take(), "the coordinator knows of no transaction")
				if c.fatal {
					require.ErrorIs(x, err, quill.ErrFatal)
					x.RequireFatal(c.code)
					return
				}
				require.NoError(x, err)
				x.RequireGoesOn()
			})
		})
	}
}

// Nothing was added, so nothing is to be aborted, and the partition is no part of the next transaction.
//
// Java: TransactionManagerTest.shouldNotAddPartitionsToTransactionWhenTopicAuthorizationFailed
// Java: TransactionManagerTest.shouldNotSendAbortTxnRequestWhenOnlyAddPartitionsRequestFailed
func TestARefusedPartitionIsNotAdded(t *testing.T) {
	inVersion1(t, nil, func(x *testkit.TxnLab) {
		wire := x.Watch()
		x.Refuse(protocol.AddPartitionsToTxn, protocol.TopicAuthorizationFailed)
		x.Begin()
		_, err := x.Send(0, "v").Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.ErrorIs(x, err, protocol.TopicAuthorizationFailed)
		require.Equal(x, quill.NotSent, outcome(err))
		x.Abort()
		require.Equal(x, []string{"add t-0"}, wire.Take())
		x.Begin()
		x.Send(0, "v")
		x.Commit()
		require.Equal(x, []string{"add t-0", "produce t-0", "commit"}, wire.Take())
	})
}

// outcome returns what an error says about its record.
func outcome(err error) quill.Outcome {
	e, _ := errors.AsType[*quill.Error](err)
	return e.Outcome
}
