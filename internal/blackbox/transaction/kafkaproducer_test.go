package transaction_test

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// The calls of a transactional producer as Java's users know them.

func halfASecond(cfg *quill.Config) { cfg.MaxBlock = time.Second / 2 }

// The call gives up, not the work: its outcome is there for the next call.
//
// Java: KafkaProducerTest.testInitTransactionsResponseAfterTimeout
func TestInitMayBeAnsweredAfterItsTimeOut(t *testing.T) {
	inVersions(t, halfASecond, func(x *testkit.TxnLab) {
		x.Delay(protocol.InitProducerID, time.Second)
		testkit.Within(x.T, time.Second/2, time.Second/2, func() {
			err := x.P.InitTransactions(x.Context())
			require.ErrorIs(x, err, quill.ErrTimeout)
			require.ErrorContains(x, err, "InitTransactions")
		})
		time.Sleep(time.Second)
		testkit.Within(x.T, 0, 0, func() { require.NoError(x, x.P.InitTransactions(x.Context())) })
		x.RequireGoesOn()
	})
}

// Java: KafkaProducerTest.testInitTransactionTimeout
func TestInitMayBeRepeatedAfterItsTimeOut(t *testing.T) {
	inVersions(t, func(cfg *quill.Config) { cfg.MaxBlock, cfg.RequestTimeout = 5*time.Second, time.Second/5 }, func(x *testkit.TxnLab) {
		trouble := x.Silent(protocol.InitProducerID)
		for range 2 {
			testkit.Within(x.T, 5*time.Second, 5*time.Second, func() { require.ErrorIs(x, x.P.InitTransactions(x.Context()), quill.ErrTimeout) })
		}
		trouble.Remove()
		require.NoError(x, x.P.InitTransactions(x.Context()))
		x.RequireGoesOn()
	})
}

// Java: KafkaProducerTest.testInitTransactionWhileThrottled
func TestInitWaitsForAThrottledNode(t *testing.T) {
	for _, release := range []string{"4.4", "3.9"} {
		testkit.InRelease(t, quilltest.Options{Release: release, Nodes: 1}, func(cfg *quill.Config) { cfg.MaxBlock = 10 * time.Second }, func(x *testkit.TxnLab) {
			x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Throttle: 5 * time.Second})
			testkit.Within(x.T, 5*time.Second, 5100*time.Millisecond, func() { require.NoError(x, x.P.InitTransactions(x.Context())) })
			x.RequireGoesOn()
		})
	}
}

// Java: KafkaProducerTest.testAbortTransaction
func TestATransactionMayBeAbortedAtOnce(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		x.Begin()
		x.Abort()
		x.RequireState("READY")
		x.RequireGoesOn()
	})
}

// Java: KafkaProducerTest.testTransactionV2Produce
// Java: KafkaProducerTest.testTransactionV2ProduceWithConcurrentTransactionError
func TestVersion2ProducesWithoutAskingTheCoordinator(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.None, protocol.ConcurrentTransactions} {
		testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
			require.NoError(x, x.P.InitTransactions(x.Context()))
			wire := x.Watch()
			x.Refuse(protocol.Produce, code)
			x.Begin()
			x.Delivered(0, "v")
			x.Commit()
			want := []string{"produce t-0", "commit"}
			if code != protocol.None {
				want = append([]string{"produce t-0"}, want...)
			}
			require.Equal(x, want, wire.Take())
			x.RequireCommitted("v")
		})
	}
}

// What keeps a record out of its batch keeps the transaction from being committed.
func TestACommitIsRefusedAfterASendThatFailed(t *testing.T) {
	for _, c := range []struct {
		name string
		send quill.Record[string, string]
		is   error
	}{
		// Java: KafkaProducerTest.testCommitTransactionWithRecordTooLargeException
		{"too large", testkit.To(0, string(make([]byte, 1000))), quill.ErrRecordTooLarge},
		// Java: KafkaProducerTest.testCommitTransactionWithMetadataTimeoutForMissingTopic
		{"missing topic", testkit.Rec("missing", "", "v"), quill.ErrTimeout},
		// Java's Send waits for the partition as long as for a topic; here one look at new metadata is enough.
		//
		// Java: KafkaProducerTest.testCommitTransactionWithMetadataTimeoutForPartitionOutOfRange
		{"missing partition", testkit.To(9, "v"), quill.ErrInvalidPartition},
		// Java: KafkaProducerTest.testCommitTransactionWithSendToInvalidTopic
		{"invalid topic", testkit.Rec("topic abc", "", "v"), quill.ErrInvalidTopic},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTransactions(t, func(cfg *quill.Config) { cfg.MaxRequestSize, cfg.MaxBlock = 1000, 15*time.Second }, func(x *testkit.TxnLab) {
				x.Begin()
				wire := x.Watch()
				_, err := x.P.Send(x.Context(), c.send).Wait(x.Context())
				require.ErrorIs(x, err, c.is)
				err = commits(x)
				require.ErrorIs(x, err, c.is)
				require.ErrorIs(x, err, quill.ErrAbortable)
				require.Empty(x, wire.Take())
				x.Abort()
				x.RequireGoesOn()
			})
		})
	}
}

// Java: KafkaProducerTest.testSendTxnOffsetsWithGroupId
// Java: KafkaProducerTest.testSendTxnOffsetsWithGroupIdTransactionV2
func TestOffsetsOfAGroupThatIsNoMoreThanAnID(t *testing.T) {
	inVersions(t, func(cfg *quill.Config) { cfg.MaxBlock = 10 * time.Second }, func(x *testkit.TxnLab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Throttle: 5 * time.Second})
		require.NoError(x, x.P.InitTransactions(x.Context()))
		wire := x.Watch()
		sent := x.OffsetRequests()
		x.Begin()
		require.NoError(x, x.SendOffsets())
		x.Commit()
		want := []string{"add group g", "find g", "offsets t-0", "commit"}
		if x.Version2 {
			want = want[1:]
		}
		require.Equal(x, want, wire.Take())
		require.Equal(x, quill.GroupMetadata{GroupID: "g", GenerationID: -1}, sent()[0])
		require.Len(x, x.C.GroupOffsets("g"), 1)
	})
}

// Java: KafkaProducerTest.testSendTxnOffsetsWithGroupMetadata
func TestTheGroupsMemberIsTold(t *testing.T) {
	for _, release := range []string{"2.5", "3.9", "4.4"} { // 2.5 is the first that takes it
		testkit.InRelease(t, quilltest.Options{Release: release}, nil, func(x *testkit.TxnLab) {
			group := quill.GroupMetadata{GroupID: "g", GenerationID: 5, MemberID: "member", GroupInstanceID: "instance"}
			x.C.SetGroup("g", quilltest.Group{Generation: 5, Members: []quilltest.GroupMember{{ID: "member", InstanceID: "instance"}}})
			require.NoError(x, x.P.InitTransactions(x.Context()))
			sent := x.OffsetRequests()
			x.Begin()
			require.NoError(x, x.P.SendOffsetsToTransaction(x.Context(), testkit.GroupOffsets, group))
			x.Commit()
			require.Equal(x, []quill.GroupMetadata{group}, sent())
		})
	}
}

// Java: KafkaProducerTest.testNullGroupMetadataInSendOffsets
// Java: KafkaProducerTest.testInvalidGenerationIdAndMemberIdCombinedInSendOffsets
func TestOffsetsNeedAGroupThatCanBe(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		x.Begin()
		wire := x.Watch()
		for reason, group := range map[string]quill.GroupMetadata{"group id": {}, "member id": {GroupID: "g", GenerationID: 2}} {
			for _, offsets := range []map[quill.TopicPartition]quill.OffsetAndMetadata{nil, testkit.GroupOffsets} {
				err := x.P.SendOffsetsToTransaction(x.Context(), offsets, group)
				require.ErrorContains(x, err, reason)
				require.NotErrorIs(x, err, quill.ErrAbortable)
			}
		}
		require.Empty(x, wire.Take())
		x.Send(0, "v")
		x.Commit()
		x.RequireCommitted("v")
	})
}

// Java: KafkaProducerTest.testOnlyCanExecuteCloseAfterInitTransactionsTimeout
func TestAfterATimeOutOfInitThereIsNothingToBegin(t *testing.T) {
	inVersions(t, func(cfg *quill.Config) { cfg.MaxBlock = 5 * time.Millisecond }, func(x *testkit.TxnLab) {
		trouble := x.Silent(protocol.FindCoordinator)
		require.ErrorIs(x, x.P.InitTransactions(x.Context()), quill.ErrTimeout)
		for _, err := range []error{x.P.BeginTransaction(), commits(x), aborts(x), x.SendOffsets()} {
			require.ErrorIs(x, err, quill.ErrInvalidTxnState)
		}
		testkit.Within(x.T, 0, 0, func() { testkit.CloseProducer(x.T, x.P) })
		trouble.Remove()
	})
}

// Java: KafkaProducerTest.testTransactionalMethodThrowsWhenSenderClosed
func TestNoCallIsTakenAfterClose(t *testing.T) {
	inVersions(t, nil, func(x *testkit.TxnLab) {
		testkit.CloseProducer(x.T, x.P)
		testkit.Within(x.T, 0, 0, func() {
			for _, err := range []error{x.P.InitTransactions(x.Context()), x.P.BeginTransaction(), commits(x), aborts(x), x.SendOffsets()} {
				require.ErrorIs(x, err, quill.ErrClosed)
			}
		})
	})
}

// What is part of a transaction fails because it is aborted first; the abort itself has one second.
//
// Java: KafkaProducerTest.testCloseIsForcedOnPendingFindCoordinator
// Java: KafkaProducerTest.testCloseIsForcedOnPendingAddOffsetRequest
func TestCloseEndsCallsThatGetNoAnswer(t *testing.T) {
	inits := func(x *testkit.TxnLab) error { return x.P.InitTransactions(x.Context()) }
	for _, c := range []struct {
		api           protocol.APIKey
		inTransaction bool
		version1      bool
		call          func(x *testkit.TxnLab) error
	}{
		{protocol.FindCoordinator, false, false, inits},
		{protocol.InitProducerID, false, false, inits},
		{protocol.AddOffsetsToTxn, true, true, (*testkit.TxnLab).SendOffsets},
		{protocol.TxnOffsetCommit, true, false, (*testkit.TxnLab).SendOffsets},
	} {
		t.Run(c.api.String(), func(t *testing.T) {
			inVersions(t, nil, func(x *testkit.TxnLab) {
				if c.version1 && x.Version2 {
					return
				}
				is := quill.ErrClosed
				if c.inTransaction {
					require.NoError(x, x.P.InitTransactions(x.Context()))
					x.Begin()
					is = quill.ErrTransactionAborted
				}
				trouble := x.Silent(c.api)
				waiting := in(func() error { return c.call(x) })
				time.Sleep(time.Second)
				testkit.Within(x.T, 0, time.Second, func() { _ = x.P.Close(testkit.After(x.T, time.Second)) })
				require.ErrorIs(x, <-waiting, is)
				trouble.Remove()
				time.Sleep(2 * time.Minute) // the coordinator's time-out
			})
		})
	}
}

// Java: KafkaProducerTest.testPartitionAddedToTransaction
func TestThePartitionThatIsChosenIsAdded(t *testing.T) {
	inVersion1(t, nil, func(x *testkit.TxnLab) {
		wire := x.Watch()
		x.Begin()
		for _, key := range []string{"key", "other", "key"} {
			m, err := x.P.SendSync(x.Context(), testkit.Rec("t", key, "v"))
			require.NoError(x, err)
			require.Equal(x, quill.KeyPartition([]byte(key), 3), m.Partition)
			partition := quill.TopicPartition{Topic: "t", Partition: m.Partition}.String()
			require.Len(x, wire.Named("add "+partition), 1)
			txn, _ := x.C.Transaction(testkit.TxnID)
			require.Contains(x, txn.Partitions, quilltest.TopicPartition{Topic: "t", Partition: m.Partition})
		}
		x.Commit()
	})
}

// A wrong call is an error to its caller and nothing else.
//
// Java: TransactionManagerTest.testForegroundInvalidStateTransitionIsRecoverable
func TestAWrongCallChangesNothing(t *testing.T) {
	inVersions(t, nil, func(x *testkit.TxnLab) {
		wrong := func(calls ...error) {
			x.Helper()
			for _, err := range calls {
				require.ErrorIs(x, err, quill.ErrInvalidTxnState)
				require.NotErrorIs(x, err, quill.ErrFatal)
				require.NotErrorIs(x, err, quill.ErrAbortable)
			}
		}
		wrong(aborts(x), commits(x), x.SendOffsets(), x.P.BeginTransaction())
		require.NoError(x, x.P.InitTransactions(x.Context()))
		wrong(aborts(x), commits(x), x.SendOffsets(), x.P.InitTransactions(x.Context()))
		x.Begin()
		x.Delivered(0, "v")
		wrong(x.P.BeginTransaction(), x.P.InitTransactions(x.Context()))
		x.Commit()
		x.RequireCommitted("v")
	})
}
