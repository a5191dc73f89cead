package quill_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What coordinators refuse: to find one, to give a producer id, to take partitions and offsets; what the
// caller hears, and what can be done afterwards.

// requireAbortable shows that the transaction can only be aborted, and that this helps.
func (x *txnLab) requireAbortable(is error) {
	x.Helper()
	_, sent := x.send(0, "refused").Wait(x.Context())
	for _, err := range []error{sent, x.p.BeginTransaction(), x.sendOffsets(), x.p.CommitTransaction(x.Context())} {
		require.ErrorIs(x, err, is)
		require.ErrorIs(x, err, quill.ErrAbortable)
	}
	x.abort()
	x.requireGoesOn()
}

// requireUseless shows that each call fails for the same reason.
func (x *txnLab) requireUseless(is error) {
	x.Helper()
	x.requireFatal(is)
	_, sent := x.send(0, "refused").Wait(x.Context())
	for _, err := range []error{sent, x.sendOffsets(), x.p.CommitTransaction(x.Context()), x.p.InitTransactions(x.Context())} {
		require.ErrorIs(x, err, is)
		require.ErrorIs(x, err, quill.ErrFatal)
	}
}

func sendOne(x *txnLab) error {
	_, err := x.p.SendSync(x.Context(), to(0, "v"))
	return err
}

// Refusals in a transaction, with the call that runs into each.
var transactionRefusals = []struct {
	api      protocol.APIKey
	code     protocol.ErrorCode
	call     func(x *txnLab) error
	fatal    bool // else abortable
	group    bool // the error names the group
	version1 bool // version 2 has no such request
}{
	// Java: TransactionManagerTest.testGroupAuthorizationFailureInFindCoordinator
	{protocol.FindCoordinator, protocol.GroupAuthorizationFailed, (*txnLab).sendOffsets, false, true, false},
	// Java: TransactionManagerTest.testTransactionalIdAuthorizationFailureInAddOffsetsToTxn
	{protocol.AddOffsetsToTxn, protocol.TransactionalIDAuthorizationFailed, (*txnLab).sendOffsets, true, false, true},
	// Java: TransactionManagerTest.testInvalidTxnStateFailureInAddOffsetsToTxn
	{protocol.AddOffsetsToTxn, protocol.InvalidTxnState, (*txnLab).sendOffsets, true, false, true},
	{protocol.AddOffsetsToTxn, protocol.GroupAuthorizationFailed, (*txnLab).sendOffsets, false, true, true},
	// Java: TransactionManagerTest.testGroupAuthorizationFailureInTxnOffsetCommit
	{protocol.TxnOffsetCommit, protocol.GroupAuthorizationFailed, (*txnLab).sendOffsets, false, true, false},
	// Java: TransactionManagerTest.testUnsupportedForMessageFormatInTxnOffsetCommit
	{protocol.TxnOffsetCommit, protocol.UnsupportedForMessageFormat, (*txnLab).sendOffsets, true, false, false},
	// Java: TransactionManagerTest.testTransactionalIdAuthorizationFailureInTxnOffsetCommit
	{protocol.TxnOffsetCommit, protocol.TransactionalIDAuthorizationFailed, (*txnLab).sendOffsets, true, false, false},
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
			inTransactions(t, nil, func(x *txnLab) {
				if c.version1 && x.version2 {
					return
				}
				refusal := x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{c.api}, Err: c.code})
				x.begin()
				err := c.call(x)
				require.ErrorIs(x, err, c.code)
				require.EqualValues(x, 1, refusal.Hits())
				require.Empty(x, x.c.PendingGroupOffsets("g"))
				if c.group {
					require.ErrorContains(x, err, `consumer group "g"`)
				}
				if c.fatal {
					x.requireUseless(c.code)
					x.over()
					return
				}
				x.requireAbortable(c.code)
				x.begin()
				require.NoError(x, x.sendOffsets(), "the right was given meanwhile, and nothing is left of what failed")
				x.commit()
				require.Len(x, x.c.GroupOffsets("g"), 1)
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
			inTransactions(t, nil, func(x *txnLab) {
				x.c.SetGroup("g", quilltest.Group{Generation: 5, Members: []quilltest.GroupMember{{ID: "member", InstanceID: "instance"}}})
				var told quill.GroupMetadata
				x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.TxnOffsetCommit}, Do: func(r *quilltest.Request) {
					m := r.Message.(*message.TxnOffsetCommitRequest)
					told = quill.GroupMetadata{GroupID: m.GroupID, GenerationID: m.GenerationIDOrMemberEpoch, MemberID: m.MemberID}
					if m.GroupInstanceID != nil {
						told.GroupInstanceID = *m.GroupInstanceID
					}
				}})
				x.begin()
				err := x.p.SendOffsetsToTransaction(x.Context(), testOffsets, c.group)
				require.ErrorIs(x, err, c.code)
				require.ErrorIs(x, err, quill.ErrAbortable)
				require.Equal(x, c.group, told, "all that is known goes over the wire")
				x.requireAbortable(c.code)
				require.Empty(x, x.c.GroupOffsets("g"))
			})
		})
	}
}

// Java: TransactionManagerTest.testDisconnectAndRetry
func TestTheCoordinatorIsLookedUpUntilThereIsAnAnswer(t *testing.T) {
	for _, fault := range []quilltest.Fault{{DisconnectBefore: true}, {DisconnectAfter: true}} {
		inRelease(t, quilltest.Options{}, nil, func(x *txnLab) {
			w := x.watch()
			fault.APIs = []protocol.APIKey{protocol.FindCoordinator}
			x.c.Inject(fault)
			require.NoError(x, x.p.InitTransactions(x.Context()))
			require.Equal(x, []string{"find mover", "find mover", "init"}, w.take())
			require.Equal(x, x.c.Coordinator(quilltest.TransactionCoordinator, txnID), x.lastInit())
		})
	}
}

// lastInit is the node that got the last InitProducerId.
func (x *txnLab) lastInit() int32 {
	node := int32(-1)
	for _, r := range x.c.Requests() {
		if r.API == protocol.InitProducerID {
			node = r.Node
		}
	}
	return node
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
			inRelease(t, quilltest.Options{}, func(cfg *quill.Config) {
				dial := cfg.DialContext
				cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if at := away.Load(); at != nil && *at == addr {
						return nil, net.ErrClosed
					}
					return dial(ctx, network, addr)
				}
			}, func(x *txnLab) {
				w := x.watch()
				x.c.Inject(c.fault)
				x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Times: 2, Do: func(r *quilltest.Request) {
					if away.Swap(nil) != nil {
						return // it can be reached by now
					}
					node := r.Node%3 + 1 // another one than who is asked
					require.NoError(x, x.c.MoveCoordinator(quilltest.TransactionCoordinator, txnID, node))
					if addr := x.c.NodeAddr(node); c.away {
						away.Store(&addr)
					}
				}})
				require.NoError(x, x.p.InitTransactions(x.Context()))
				require.Nil(x, away.Load())
				require.Equal(x, x.c.Coordinator(quilltest.TransactionCoordinator, txnID), x.lastInit())
				require.Equal(x, c.want, w.take())
				x.requireGoesOn()
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
			inRelease(t, quilltest.Options{MaxVersions: map[protocol.APIKey]int16{c.lacks: -1}}, nil, func(x *txnLab) {
				w := x.watch()
				err := x.p.InitTransactions(x.Context())
				require.ErrorIs(x, err, quill.ErrUnsupportedVersion)
				require.ErrorIs(x, err, quill.ErrFatal)
				require.Equal(x, c.asked, w.take())
				x.requireFatal(quill.ErrUnsupportedVersion)
			})
		})
	}
}

// Java: TransactionManagerTest.testTransactionalIdAuthorizationFailureInFindCoordinator
func TestAForbiddenTransactionalIDIsFatal(t *testing.T) {
	inRelease(t, quilltest.Options{}, nil, func(x *txnLab) {
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Err: protocol.TransactionalIDAuthorizationFailed})
		err := x.p.InitTransactions(x.Context())
		require.ErrorIs(x, err, protocol.TransactionalIDAuthorizationFailed)
		require.ErrorIs(x, err, quill.ErrFatal)
		x.requireUseless(protocol.TransactionalIDAuthorizationFailed)
	})
}

// In Java the producer is then in ABORTABLE_ERROR, where a second InitTransactions is allowed. Here there is
// nothing to abort: it is as if InitTransactions had not been called.
//
// Java: TransactionManagerTest.testTransactionalIdAuthorizationFailureInInitProducerId
func TestADeniedProducerIDMayBeAskedForAgain(t *testing.T) {
	inRelease(t, quilltest.Options{}, nil, func(x *txnLab) {
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.TransactionalIDAuthorizationFailed, Times: 2})
		for range 2 {
			err := x.p.InitTransactions(x.Context())
			require.ErrorIs(x, err, protocol.TransactionalIDAuthorizationFailed)
			require.NotErrorIs(x, err, quill.ErrFatal)
			_, sent := x.send(0, "v").Wait(x.Context())
			for _, err := range []error{sent, x.p.BeginTransaction(), x.sendOffsets(), x.p.CommitTransaction(x.Context()), x.p.AbortTransaction(x.Context())} {
				require.ErrorIs(x, err, quill.ErrInvalidTxnState)
				require.ErrorContains(x, err, "the producer is UNINITIALIZED")
			}
		}
		require.NoError(x, x.p.InitTransactions(x.Context()))
		x.requireGoesOn()
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
				inRelease(t, quilltest.Options{Release: release}, nil, func(x *txnLab) {
					for _, api := range []protocol.APIKey{protocol.FindCoordinator, protocol.InitProducerID, protocol.AddPartitionsToTxn,
						protocol.AddOffsetsToTxn, protocol.TxnOffsetCommit, protocol.EndTxn} {
						x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{api}, Err: code})
					}
					w := x.watch()
					require.NoError(x, x.p.InitTransactions(x.Context()))
					x.begin()
					_, err := x.p.SendSync(x.Context(), to(0, "v"))
					require.NoError(x, err)
					require.NoError(x, x.exchangeOffsets())
					x.commit()
					for what, times := range map[string]int{"init": 2, "add t-0": 2, "produce t-0": 1, "add group g": 2, "offsets t-1": 2, "commit": 2} {
						if x.version2 && (what == "add t-0" || what == "add group g") {
							times = 0
						}
						require.Len(x, w.named(what), times, what)
					}
					require.GreaterOrEqual(x, len(w.named("find mover")), 2)
					x.requireCommitted("v")
					require.Len(x, x.c.GroupOffsets("g"), 1)
				})
			})
		}
	}
}

// Java: TransactionManagerTest.testCoordinatorNotAvailable
func TestACoordinatorThatIsNotThereYetIsWaitedFor(t *testing.T) {
	inRelease(t, quilltest.Options{}, nil, func(x *txnLab) {
		w := x.watch()
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Err: protocol.CoordinatorNotAvailable, Times: 3})
		require.NoError(x, x.p.InitTransactions(x.Context()))
		require.Equal(x, []string{"find mover", "find mover", "find mover", "find mover", "init"}, w.take())
		x.requireGoesOn()
	})
}

// Java: TransactionManagerTest.testInitializeTransactionsTwiceRaisesError
func TestOneInitIsEnough(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		w := x.watch()
		twice := func(state string) {
			x.Helper()
			require.ErrorIs(x, x.p.InitTransactions(x.Context()), quill.ErrInvalidTxnState)
			x.requireState(state)
		}
		twice("READY")
		x.begin()
		twice("IN_TRANSACTION")
		x.commit()
		twice("READY")
		require.Empty(x, w.take())
		x.requireGoesOn()
	})
}
