package transaction_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What coordinators refuse: to find one, to give a producer id, to take partitions and offsets; what the
// caller hears, and what can be done afterwards.

func sendOne(x *testkit.TxnLab) error {
	_, err := x.P.SendSync(x.Context(), testkit.To(0, "v"))
	return err
}

// Refusals in a transaction, with the call that runs into each.
var transactionRefusals = []struct {
	api      protocol.APIKey
	code     protocol.ErrorCode
	call     func(x *testkit.TxnLab) error
	fatal    bool // else abortable
	group    bool // the error names the group
	version1 bool // version 2 has no such request
}{
	// Java: TransactionManagerTest.testGroupAuthorizationFailureInFindCoordinator
	{protocol.FindCoordinator, protocol.GroupAuthorizationFailed, (*testkit.TxnLab).SendOffsets, false, true, false},
	// Java: TransactionManagerTest.testTransactionalIdAuthorizationFailureInAddOffsetsToTxn
	{protocol.AddOffsetsToTxn, protocol.TransactionalIDAuthorizationFailed, (*testkit.TxnLab).SendOffsets, true, false, true},
	// Java: TransactionManagerTest.testInvalidTxnStateFailureInAddOffsetsToTxn
	{protocol.AddOffsetsToTxn, protocol.InvalidTxnState, (*testkit.TxnLab).SendOffsets, true, false, true},
	{protocol.AddOffsetsToTxn, protocol.GroupAuthorizationFailed, (*testkit.TxnLab).SendOffsets, false, true, true},
	// Java: TransactionManagerTest.testGroupAuthorizationFailureInTxnOffsetCommit
	{protocol.TxnOffsetCommit, protocol.GroupAuthorizationFailed, (*testkit.TxnLab).SendOffsets, false, true, false},
	// Java: TransactionManagerTest.testUnsupportedForMessageFormatInTxnOffsetCommit
	{protocol.TxnOffsetCommit, protocol.UnsupportedForMessageFormat, (*testkit.TxnLab).SendOffsets, true, false, false},
	// Java: TransactionManagerTest.testTransactionalIdAuthorizationFailureInTxnOffsetCommit
	{protocol.TxnOffsetCommit, protocol.TransactionalIDAuthorizationFailed, (*testkit.TxnLab).SendOffsets, true, false, false},
	// Java: TransactionManagerTest.testTransactionalIdAuthorizationFailureInAddPartitions
	{protocol.AddPartitionsToTxn, protocol.TransactionalIDAuthorizationFailed, sendOne, true, false, true},
	// Java: TransactionManagerTest.testInvalidTxnStateInAddPartitions
	{protocol.AddPartitionsToTxn, protocol.InvalidTxnState, sendOne, true, false, true},
	// Java: TransactionManagerTest.testFatalErrorWhenProduceResponseWithInvalidPidMapping
	{protocol.Produce, protocol.InvalidProducerIDMapping, sendOne, true, false, false},
}

func TestRefusalsInATransaction(t *testing.T) {
	for _, c := range transactionRefusals {
		t.Run(fmt.Sprint(c.api, " ", c.code.Name()), func(t *testing.T) {
			inTransactions(t, nil, func(x *testkit.TxnLab) {
				if c.version1 && x.Version2 {
					return
				}
				refusal := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{c.api}, Err: c.code})
				x.Begin()
				err := c.call(x)
				require.ErrorIs(x, err, c.code)
				require.EqualValues(x, 1, refusal.Hits())
				require.Empty(x, x.C.PendingGroupOffsets("g"))
				if c.group {
					require.ErrorContains(x, err, `consumer group "g"`)
				}
				if c.fatal {
					x.RequireUseless(c.code)
					x.Over()
					return
				}
				x.RequireAbortable(c.code)
				x.Begin()
				require.NoError(x, x.SendOffsets(), "the right was given meanwhile, and nothing is left of what failed")
				x.Commit()
				require.Len(x, x.C.GroupOffsets("g"), 1)
			})
		})
	}
}

// Offsets are committed on behalf of a member of a group, and refused if another one has its place, or if
// the group has moved on. Java makes the latter two CommitFailedException.
func TestOffsetsOfAMemberThatWasReplaced(t *testing.T) {
	for _, c := range []struct {
		group quill.GroupMetadata
		code  protocol.ErrorCode
	}{
		// Java: TransactionManagerTest.testFencedInstanceIdInTxnOffsetCommitByGroupMetadata
		{quill.GroupMetadata{GroupID: "g", GenerationID: 5, MemberID: "fenced_member", GroupInstanceID: "instance"}, protocol.FencedInstanceID},
		// Java: TransactionManagerTest.testUnknownMemberIdInTxnOffsetCommitByGroupMetadata
		{quill.GroupMetadata{GroupID: "g", GenerationID: 5, MemberID: "unknownMember"}, protocol.UnknownMemberID},
		// Java: TransactionManagerTest.testIllegalGenerationInTxnOffsetCommitByGroupMetadata
		{quill.GroupMetadata{GroupID: "g", GenerationID: 1, MemberID: "member", GroupInstanceID: "instance"}, protocol.IllegalGeneration},
	} {
		t.Run(c.code.Name(), func(t *testing.T) {
			inTransactions(t, nil, func(x *testkit.TxnLab) {
				x.C.SetGroup("g", quilltest.Group{Generation: 5, Members: []quilltest.GroupMember{{ID: "member", InstanceID: "instance"}}})
				var told quill.GroupMetadata
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.TxnOffsetCommit}, Do: func(r *quilltest.Request) {
					m := r.Message.(*message.TxnOffsetCommitRequest)
					told = quill.GroupMetadata{GroupID: m.GroupID, GenerationID: m.GenerationIDOrMemberEpoch, MemberID: m.MemberID}
					if m.GroupInstanceID != nil {
						told.GroupInstanceID = *m.GroupInstanceID
					}
				}})
				x.Begin()
				err := x.P.SendOffsetsToTransaction(x.Context(), testkit.GroupOffsets, c.group)
				require.ErrorIs(x, err, c.code)
				require.ErrorIs(x, err, quill.ErrAbortable)
				require.Equal(x, c.group, told, "all that is known goes over the wire")
				x.RequireAbortable(c.code)
				require.Empty(x, x.C.GroupOffsets("g"))
			})
		})
	}
}

// Java: TransactionManagerTest.testDisconnectAndRetry
func TestTheCoordinatorIsLookedUpUntilThereIsAnAnswer(t *testing.T) {
	for _, fault := range []quilltest.Fault{{DisconnectBefore: true}, {DisconnectAfter: true}} {
		testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
			w := x.Watch()
			fault.APIs = []protocol.APIKey{protocol.FindCoordinator}
			x.C.Inject(fault)
			require.NoError(x, x.P.InitTransactions(x.Context()))
			require.Equal(x, []string{"find mover", "find mover", "init"}, w.Take())
			require.Equal(x, x.C.Coordinator(quilltest.TransactionCoordinator, testkit.TxnID), x.LastInit())
		})
	}
}

func TestTheCoordinatorIsLookedUpAgain(t *testing.T) {
	lost := protocol.InitProducerID
	for _, c := range []struct {
		name  string
		fault quilltest.Fault
		away  bool // the coordinator can't be reached until it is looked up again
		want  []string
	}{
		// Java: TransactionManagerTest.testLookupCoordinatorOnDisconnectAfterSend
		{"lost with the request", quilltest.Fault{APIs: []protocol.APIKey{lost}, DisconnectBefore: true}, false, []string{"find mover", "init", "find mover", "init"}},
		{"lost with the answer", quilltest.Fault{APIs: []protocol.APIKey{lost}, DisconnectAfter: true}, false, []string{"find mover", "init", "find mover", "init"}},
		// Java: TransactionManagerTest.testLookupCoordinatorOnDisconnectBeforeSend
		{"lost before the request", quilltest.Fault{APIs: []protocol.APIKey{lost}}, true, []string{"find mover", "find mover", "init"}},
		// Java: TransactionManagerTest.testLookupCoordinatorOnNotCoordinatorError
		{"not the coordinator", quilltest.Fault{APIs: []protocol.APIKey{lost}, Err: protocol.NotCoordinator}, false, []string{"find mover", "init", "find mover", "init"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var away atomic.Pointer[string]
			testkit.InRelease(t, quilltest.Options{}, func(cfg *quill.Config) {
				dial := cfg.DialContext
				cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if at := away.Load(); at != nil && *at == addr {
						return nil, net.ErrClosed
					}
					return dial(ctx, network, addr)
				}
			}, func(x *testkit.TxnLab) {
				w := x.Watch()
				x.C.Inject(c.fault)
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Times: 2, Do: func(r *quilltest.Request) {
					if away.Swap(nil) != nil {
						return // it can be reached by now
					}
					node := r.Node%3 + 1 // another one than who is asked
					require.NoError(x, x.C.MoveCoordinator(quilltest.TransactionCoordinator, testkit.TxnID, node))
					if addr := x.C.NodeAddr(node); c.away {
						away.Store(&addr)
					}
				}})
				require.NoError(x, x.P.InitTransactions(x.Context()))
				require.Nil(x, away.Load())
				require.Equal(x, x.C.Coordinator(quilltest.TransactionCoordinator, testkit.TxnID), x.LastInit())
				require.Equal(x, c.want, w.Take())
				x.RequireGoesOn()
			})
		})
	}
}

// A cluster without transactions.
func TestClustersThatKnowNoTransactions(t *testing.T) {
	for _, c := range []struct {
		lacks protocol.APIKey
		asked []string
	}{
		// Java: TransactionManagerTest.testUnsupportedFindCoordinator
		{protocol.FindCoordinator, nil},
		// Java: TransactionManagerTest.testUnsupportedInitTransactions
		{protocol.InitProducerID, []string{"find mover"}},
	} {
		t.Run(c.lacks.String(), func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{MaxVersions: map[protocol.APIKey]int16{c.lacks: -1}}, nil, func(x *testkit.TxnLab) {
				w := x.Watch()
				err := x.P.InitTransactions(x.Context())
				require.ErrorIs(x, err, quill.ErrUnsupportedVersion)
				require.ErrorIs(x, err, quill.ErrFatal)
				require.Equal(x, c.asked, w.Take())
				x.RequireFatal(quill.ErrUnsupportedVersion)
			})
		})
	}
}

// In Java this is fatal, though brokers refuse a transactional id here first, and only then in InitProducerId, after which Java goes on.
//
// Java: TransactionManagerTest.testTransactionalIdAuthorizationFailureInFindCoordinator
func TestAForbiddenTransactionalIDMayBeAskedForAgain(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Err: protocol.TransactionalIDAuthorizationFailed, Times: 2})
		for range 2 {
			err := x.P.InitTransactions(x.Context())
			require.ErrorIs(x, err, protocol.TransactionalIDAuthorizationFailed)
			require.NotErrorIs(x, err, quill.ErrFatal)
			require.ErrorContains(x, err, "grant this client WRITE and DESCRIBE on the transactional id")
			require.ErrorIs(x, x.P.BeginTransaction(), quill.ErrInvalidTxnState)
		}
		require.NoError(x, x.P.InitTransactions(x.Context()))
		x.RequireGoesOn()
	})
}

// In Java the producer is then in ABORTABLE_ERROR, where a second InitTransactions is allowed. Here there is
// nothing to abort: it is as if InitTransactions had not been called.
//
// Java: TransactionManagerTest.testTransactionalIdAuthorizationFailureInInitProducerId
func TestADeniedProducerIDMayBeAskedForAgain(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.TransactionalIDAuthorizationFailed, Times: 2})
		for range 2 {
			err := x.P.InitTransactions(x.Context())
			require.ErrorIs(x, err, protocol.TransactionalIDAuthorizationFailed)
			require.NotErrorIs(x, err, quill.ErrFatal)
			_, sent := x.Send(0, "v").Wait(x.Context())
			for _, err := range []error{sent, x.P.BeginTransaction(), x.SendOffsets(), x.P.CommitTransaction(x.Context()), x.P.AbortTransaction(x.Context())} {
				require.ErrorIs(x, err, quill.ErrInvalidTxnState)
				require.ErrorContains(x, err, "the producer is UNINITIALIZED")
			}
		}
		require.NoError(x, x.P.InitTransactions(x.Context()))
		x.RequireGoesOn()
	})
}

// What each coordinator may say for a while.
//
// Java: TransactionManagerTest.testRetriableErrors
func TestCoordinatorsAreAskedAgain(t *testing.T) {
	for _, code := range []protocol.ErrorCode{
		protocol.UnknownTopicOrPartition, protocol.RequestTimedOut, protocol.CoordinatorLoadInProgress, protocol.ConcurrentTransactions, protocol.NotCoordinator,
	} {
		for _, release := range []string{"4.4", "3.9"} {
			t.Run(code.Name()+" "+release, func(t *testing.T) {
				testkit.InRelease(t, quilltest.Options{Release: release}, nil, func(x *testkit.TxnLab) {
					for _, api := range []protocol.APIKey{protocol.FindCoordinator, protocol.InitProducerID, protocol.AddPartitionsToTxn,
						protocol.AddOffsetsToTxn, protocol.TxnOffsetCommit, protocol.EndTxn} {
						x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{api}, Err: code})
					}
					w := x.Watch()
					require.NoError(x, x.P.InitTransactions(x.Context()))
					x.Begin()
					_, err := x.P.SendSync(x.Context(), testkit.To(0, "v"))
					require.NoError(x, err)
					require.NoError(x, x.ExchangeOffsets())
					x.Commit()
					for what, times := range map[string]int{"init": 2, "add t-0": 2, "produce t-0": 1, "add group g": 2, "offsets t-1": 2, "commit": 2} {
						if x.Version2 && (what == "add t-0" || what == "add group g") {
							times = 0
						}
						require.Len(x, w.Named(what), times, what)
					}
					require.GreaterOrEqual(x, len(w.Named("find mover")), 2)
					x.RequireCommitted("v")
					require.Len(x, x.C.GroupOffsets("g"), 1)
				})
			})
		}
	}
}

// Java: TransactionManagerTest.testCoordinatorNotAvailable
func TestACoordinatorThatIsNotThereYetIsWaitedFor(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
		w := x.Watch()
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Err: protocol.CoordinatorNotAvailable, Times: 3})
		require.NoError(x, x.P.InitTransactions(x.Context()))
		require.Equal(x, []string{"find mover", "find mover", "find mover", "find mover", "init"}, w.Take())
		x.RequireGoesOn()
	})
}

// Java: TransactionManagerTest.testInitializeTransactionsTwiceRaisesError
func TestOneInitIsEnough(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		w := x.Watch()
		twice := func(state string) {
			x.Helper()
			require.ErrorIs(x, x.P.InitTransactions(x.Context()), quill.ErrInvalidTxnState)
			x.RequireState(state)
		}
		twice("READY")
		x.Begin()
		twice("IN_TRANSACTION")
		x.Commit()
		twice("READY")
		require.Empty(x, w.Take())
		x.RequireGoesOn()
	})
}
