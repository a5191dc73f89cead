package quill_test

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// The calls of a transactional producer as Java's users know them.

// silent lets the nodes swallow all requests of a kind until it is removed.
func (x *txnLab) silent(api protocol.APIKey) *quilltest.Injection {
	return x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{api}, DropRequest: true, Times: -1})
}

func halfASecond(cfg *quill.Config) { cfg.MaxBlock = time.Second / 2 }

// The call gives up, not the work: its outcome is there for the next call.
//
// Java: KafkaProducerTest.testInitTransactionsResponseAfterTimeout
func TestInitMayBeAnsweredAfterItsTimeOut(t *testing.T) {
	inVersions(t, halfASecond, func(x *txnLab) {
		x.delay(protocol.InitProducerID, time.Second)
		within(x.T, time.Second/2, time.Second/2, func() {
			err := x.p.InitTransactions(x.Context())
			require.ErrorIs(x, err, quill.ErrTimeout)
			require.ErrorContains(x, err, "InitTransactions")
		})
		time.Sleep(time.Second)
		within(x.T, 0, 0, func() { require.NoError(x, x.p.InitTransactions(x.Context())) })
		x.requireGoesOn()
	})
}

// Java: KafkaProducerTest.testInitTransactionTimeout
func TestInitMayBeRepeatedAfterItsTimeOut(t *testing.T) {
	inVersions(t, func(cfg *quill.Config) { cfg.MaxBlock, cfg.RequestTimeout = 5*time.Second, time.Second/5 }, func(x *txnLab) {
		trouble := x.silent(protocol.InitProducerID)
		for range 2 {
			within(x.T, 5*time.Second, 5*time.Second, func() { require.ErrorIs(x, x.p.InitTransactions(x.Context()), quill.ErrTimeout) })
		}
		trouble.Remove()
		require.NoError(x, x.p.InitTransactions(x.Context()))
		x.requireGoesOn()
	})
}

// Java: KafkaProducerTest.testInitTransactionWhileThrottled
func TestInitWaitsForAThrottledNode(t *testing.T) {
	for _, release := range []string{"4.4", "3.9"} {
		inRelease(t, quilltest.Options{Release: release, Nodes: 1}, func(cfg *quill.Config) { cfg.MaxBlock = 10 * time.Second }, func(x *txnLab) {
			x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Throttle: 5 * time.Second})
			within(x.T, 5*time.Second, 5100*time.Millisecond, func() { require.NoError(x, x.p.InitTransactions(x.Context())) })
			x.requireGoesOn()
		})
	}
}

// Java: KafkaProducerTest.testAbortTransaction
func TestATransactionMayBeAbortedAtOnce(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		x.begin()
		x.abort()
		x.requireState("READY")
		x.requireGoesOn()
	})
}

// Java: KafkaProducerTest.testTransactionV2Produce
// Java: KafkaProducerTest.testTransactionV2ProduceWithConcurrentTransactionError
func TestVersion2ProducesWithoutAskingTheCoordinator(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.None, protocol.ConcurrentTransactions} {
		inRelease(t, quilltest.Options{}, nil, func(x *txnLab) {
			require.NoError(x, x.p.InitTransactions(x.Context()))
			wire := x.watch()
			x.refuse(protocol.Produce, code)
			x.begin()
			x.delivered(0, "v")
			x.commit()
			want := []string{"produce t-0", "commit"}
			if code != protocol.None {
				want = append([]string{"produce t-0"}, want...)
			}
			require.Equal(x, want, wire.take())
			x.requireCommitted("v")
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
		{"too large", to(0, string(make([]byte, 1000))), quill.ErrRecordTooLarge},
		// Java: KafkaProducerTest.testCommitTransactionWithMetadataTimeoutForMissingTopic
		{"missing topic", rec("missing", "", "v"), quill.ErrTimeout},
		// Java's Send waits for the partition as long as for a topic; here one look at new metadata is enough.
		//
		// Java: KafkaProducerTest.testCommitTransactionWithMetadataTimeoutForPartitionOutOfRange
		{"missing partition", to(9, "v"), quill.ErrInvalidPartition},
		// Java: KafkaProducerTest.testCommitTransactionWithSendToInvalidTopic
		{"invalid topic", rec("topic abc", "", "v"), quill.ErrInvalidTopic},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTransactions(t, func(cfg *quill.Config) { cfg.MaxRequestSize, cfg.MaxBlock = 1000, 15*time.Second }, func(x *txnLab) {
				x.begin()
				wire := x.watch()
				_, err := x.p.Send(x.Context(), c.send).Wait(x.Context())
				require.ErrorIs(x, err, c.is)
				err = commits(x)
				require.ErrorIs(x, err, c.is)
				require.ErrorIs(x, err, quill.ErrAbortable)
				require.Empty(x, wire.take())
				x.abort()
				x.requireGoesOn()
			})
		})
	}
}

// Java: KafkaProducerTest.testSendTxnOffsetsWithGroupId
// Java: KafkaProducerTest.testSendTxnOffsetsWithGroupIdTransactionV2
func TestOffsetsOfAGroupThatIsNoMoreThanAnID(t *testing.T) {
	inVersions(t, func(cfg *quill.Config) { cfg.MaxBlock = 10 * time.Second }, func(x *txnLab) {
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Throttle: 5 * time.Second})
		require.NoError(x, x.p.InitTransactions(x.Context()))
		wire := x.watch()
		sent := x.offsetRequests()
		x.begin()
		require.NoError(x, x.sendOffsets())
		x.commit()
		want := []string{"add group g", "find g", "offsets t-0", "commit"}
		if x.version2 {
			want = want[1:]
		}
		require.Equal(x, want, wire.take())
		require.Equal(x, quill.GroupMetadata{GroupID: "g", GenerationID: -1}, sent()[0])
		require.Len(x, x.c.GroupOffsets("g"), 1)
	})
}

// offsetRequests returns a function that tells on whose behalf offsets were committed since.
func (x *txnLab) offsetRequests() func() []quill.GroupMetadata {
	var all []quill.GroupMetadata
	x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.TxnOffsetCommit}, Times: -1, Do: func(r *quilltest.Request) {
		m := r.Message.(*message.TxnOffsetCommitRequest)
		g := quill.GroupMetadata{GroupID: m.GroupID, GenerationID: m.GenerationIDOrMemberEpoch, MemberID: m.MemberID}
		if m.GroupInstanceID != nil {
			g.GroupInstanceID = *m.GroupInstanceID
		}
		all = append(all, g)
	}})
	return func() []quill.GroupMetadata { return all } // the test has waited for their answers
}

// Java: KafkaProducerTest.testSendTxnOffsetsWithGroupMetadata
func TestTheGroupsMemberIsTold(t *testing.T) {
	for _, release := range []string{"2.5", "3.9", "4.4"} { // 2.5 is the first that takes it
		inRelease(t, quilltest.Options{Release: release}, nil, func(x *txnLab) {
			group := quill.GroupMetadata{GroupID: "g", GenerationID: 5, MemberID: "member", GroupInstanceID: "instance"}
			x.c.SetGroup("g", quilltest.Group{Generation: 5, Members: []quilltest.GroupMember{{ID: "member", InstanceID: "instance"}}})
			require.NoError(x, x.p.InitTransactions(x.Context()))
			sent := x.offsetRequests()
			x.begin()
			require.NoError(x, x.p.SendOffsetsToTransaction(x.Context(), testOffsets, group))
			x.commit()
			require.Equal(x, []quill.GroupMetadata{group}, sent())
		})
	}
}

// Java: KafkaProducerTest.testNullGroupMetadataInSendOffsets
// Java: KafkaProducerTest.testInvalidGenerationIdAndMemberIdCombinedInSendOffsets
func TestOffsetsNeedAGroupThatCanBe(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		x.begin()
		wire := x.watch()
		for reason, group := range map[string]quill.GroupMetadata{"group id": {}, "member id": {GroupID: "g", GenerationID: 2}} {
			for _, offsets := range []map[quill.TopicPartition]quill.OffsetAndMetadata{nil, testOffsets} {
				err := x.p.SendOffsetsToTransaction(x.Context(), offsets, group)
				require.ErrorContains(x, err, reason)
				require.NotErrorIs(x, err, quill.ErrAbortable)
			}
		}
		require.Empty(x, wire.take())
		x.send(0, "v")
		x.commit()
		x.requireCommitted("v")
	})
}

// Java: KafkaProducerTest.testOnlyCanExecuteCloseAfterInitTransactionsTimeout
func TestAfterATimeOutOfInitThereIsNothingToBegin(t *testing.T) {
	inVersions(t, func(cfg *quill.Config) { cfg.MaxBlock = 5 * time.Millisecond }, func(x *txnLab) {
		trouble := x.silent(protocol.FindCoordinator)
		require.ErrorIs(x, x.p.InitTransactions(x.Context()), quill.ErrTimeout)
		for _, err := range []error{x.p.BeginTransaction(), commits(x), aborts(x), x.sendOffsets()} {
			require.ErrorIs(x, err, quill.ErrInvalidTxnState)
		}
		within(x.T, 0, 0, func() { closeProducer(x.T, x.p) })
		trouble.Remove()
	})
}

// Java: KafkaProducerTest.testTransactionalMethodThrowsWhenSenderClosed
func TestNoCallIsTakenAfterClose(t *testing.T) {
	inVersions(t, nil, func(x *txnLab) {
		closeProducer(x.T, x.p)
		within(x.T, 0, 0, func() {
			for _, err := range []error{x.p.InitTransactions(x.Context()), x.p.BeginTransaction(), commits(x), aborts(x), x.sendOffsets()} {
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
	inits := func(x *txnLab) error { return x.p.InitTransactions(x.Context()) }
	for _, c := range []struct {
		api           protocol.APIKey
		inTransaction bool
		version1      bool
		call          func(x *txnLab) error
	}{
		{protocol.FindCoordinator, false, false, inits},
		{protocol.InitProducerID, false, false, inits},
		{protocol.AddOffsetsToTxn, true, true, (*txnLab).sendOffsets},
		{protocol.TxnOffsetCommit, true, false, (*txnLab).sendOffsets},
	} {
		t.Run(c.api.String(), func(t *testing.T) {
			inVersions(t, nil, func(x *txnLab) {
				if c.version1 && x.version2 {
					return
				}
				is := quill.ErrClosed
				if c.inTransaction {
					require.NoError(x, x.p.InitTransactions(x.Context()))
					x.begin()
					is = quill.ErrTransactionAborted
				}
				trouble := x.silent(c.api)
				waiting := in(func() error { return c.call(x) })
				time.Sleep(time.Second)
				within(x.T, 0, time.Second, func() { _ = x.p.Close(after(x.T, time.Second)) })
				require.ErrorIs(x, <-waiting, is)
				trouble.Remove()
				time.Sleep(2 * time.Minute) // the coordinator's time-out
			})
		})
	}
}

// Java: KafkaProducerTest.testPartitionAddedToTransaction
func TestThePartitionThatIsChosenIsAdded(t *testing.T) {
	inVersion1(t, nil, func(x *txnLab) {
		wire := x.watch()
		x.begin()
		for _, key := range []string{"key", "other", "key"} {
			m, err := x.p.SendSync(x.Context(), rec("t", key, "v"))
			require.NoError(x, err)
			require.Equal(x, quill.KeyPartition([]byte(key), 3), m.Partition)
			partition := quill.TopicPartition{Topic: "t", Partition: m.Partition}.String()
			require.Len(x, wire.named("add "+partition), 1)
			txn, _ := x.c.Transaction(txnID)
			require.Contains(x, txn.Partitions, quilltest.TopicPartition{Topic: "t", Partition: m.Partition})
		}
		x.commit()
	})
}

// A wrong call is an error to its caller and nothing else.
//
// Java: TransactionManagerTest.testForegroundInvalidStateTransitionIsRecoverable
func TestAWrongCallChangesNothing(t *testing.T) {
	inVersions(t, nil, func(x *txnLab) {
		wrong := func(calls ...error) {
			x.Helper()
			for _, err := range calls {
				require.ErrorIs(x, err, quill.ErrInvalidTxnState)
				require.NotErrorIs(x, err, quill.ErrFatal)
				require.NotErrorIs(x, err, quill.ErrAbortable)
			}
		}
		wrong(aborts(x), commits(x), x.sendOffsets(), x.p.BeginTransaction())
		require.NoError(x, x.p.InitTransactions(x.Context()))
		wrong(aborts(x), commits(x), x.sendOffsets(), x.p.InitTransactions(x.Context()))
		x.begin()
		x.delivered(0, "v")
		wrong(x.p.BeginTransaction(), x.p.InitTransactions(x.Context()))
		x.commit()
		x.requireCommitted("v")
	})
}
