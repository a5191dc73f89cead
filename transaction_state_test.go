package quill

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/invariant"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// The tables of transactions, without a cluster: states, what is due in each, and what answers mean.

// way is a state with those that it may become, as Kafka's documentation of TransactionManager draws them.
var ways = map[txnState]string{
	txnUninitialized:  "INITIALIZING FATAL_ERROR",
	txnInitializing:   "READY ABORTABLE_ERROR FATAL_ERROR",
	txnReady:          "IN_TRANSACTION FATAL_ERROR",
	txnInTransaction:  "COMMITTING_TRANSACTION ABORTING_TRANSACTION ABORTABLE_ERROR FATAL_ERROR",
	txnCommitting:     "READY INITIALIZING ABORTABLE_ERROR FATAL_ERROR",
	txnAborting:       "READY INITIALIZING FATAL_ERROR",
	txnAbortableError: "ABORTING_TRANSACTION UNINITIALIZED ABORTABLE_ERROR FATAL_ERROR",
	txnFatalError:     "FATAL_ERROR",
}

func eachState(f func(s txnState)) {
	for s := range txnStates {
		f(s)
	}
}

func TestTransactionStatesFollowTheTable(t *testing.T) {
	eachState(func(from txnState) {
		legal := map[string]bool{}
		for name := range strings.FieldsSeq(ways[from]) {
			legal[name] = true
		}
		eachState(func(to txnState) {
			t.Run(fmt.Sprint(from, " to ", to), func(t *testing.T) {
				require.Equal(t, legal[to.String()], from.mayBecome(to))
				withTransaction(t, from, func(t *testing.T, x *transaction) {
					if invariant.Enabled && from != to && !legal[to.String()] {
						require.Panics(t, func() { x.enter(to, nil) })
						return
					}
					x.enter(to, nil)
					switch {
					case from == to || legal[to.String()]:
						require.Equal(t, to, x.state)
					default: // as in Java it poisons the producer (KAFKA-14831)
						require.Equal(t, txnFatalError, x.state)
						require.NotNil(t, x.s.aborting)
						require.ErrorContains(t, x.s.aborting, fmt.Sprintf("from %v to %v", from, to))
					}
				})
			})
		})
	})
}

// The calls, with the states in which each is right.
var callsByState = []struct {
	call  string
	make  func(x *transaction) *Error
	right []txnState
	then  txnState
}{
	{callInit, func(x *transaction) *Error { _, err := x.initialize(callInit); return err }, []txnState{txnUninitialized}, txnInitializing},
	{callBegin, func(x *transaction) *Error { return x.open(callBegin) }, []txnState{txnReady}, txnInTransaction},
	{callSendOffsets, func(x *transaction) *Error {
		return x.sendOffsets(&offsetsOrder{operation: operation{call: callSendOffsets, done: make(chan struct{})}})
	}, []txnState{txnInTransaction}, txnInTransaction},
	{callCommit, func(x *transaction) *Error { _, err := x.complete(callCommit, true); return err }, []txnState{txnInTransaction}, txnCommitting},
	{callAbort, func(x *transaction) *Error { _, err := x.complete(callAbort, false); return err }, []txnState{txnInTransaction, txnAbortableError}, txnAborting},
}

func TestEachCallNeedsItsState(t *testing.T) {
	for _, c := range callsByState {
		eachState(func(s txnState) {
			t.Run(fmt.Sprint(c.call, " in ", s), func(t *testing.T) {
				withTransaction(t, s, func(t *testing.T, x *transaction) {
					err := c.make(x)
					if slices.Contains(c.right, s) {
						require.Nil(t, err)
						require.Equal(t, c.then, x.state)
						return
					}
					require.ErrorIs(t, err, ErrInvalidTxnState)
					require.ErrorContains(t, err, c.call)
					require.ErrorContains(t, err, "the producer is "+s.String())
					require.Equal(t, s, x.state, "a wrong call changes nothing")
					require.Equal(t, s == txnFatalError, err.Fatal())
					require.Equal(t, s == txnAbortableError, err.Abortable())
					if x.err != nil {
						require.ErrorIs(t, err, protocol.InvalidRecord, "and tells why")
					}
				})
			})
		})
	}
}

func TestOnlyTheCallThatTimedOutMayBeRepeated(t *testing.T) {
	for _, first := range callsByState {
		if first.call == callBegin || first.call == callSendOffsets {
			continue // they leave nothing behind
		}
		for _, second := range callsByState {
			withTransaction(t, first.right[0], func(t *testing.T, x *transaction) {
				require.Nil(t, first.make(x))
				pending := x.pending
				for range 2 { // before and after its end, as long as nobody heard of that
					err := second.make(x)
					if second.call == first.call {
						require.Nil(t, err)
					} else {
						require.ErrorIs(t, err, ErrInvalidTxnState)
						require.ErrorContains(t, err, first.call)
					}
					require.Same(t, pending, x.pending)
					pending.end(nil)
				}
				pending.heard.Store(true)
				o, err := x.resume(second.call)
				require.Nil(t, o)
				require.Nil(t, err)
			})
		}
	}
}

func TestSendsAreLetInInATransactionOnly(t *testing.T) {
	eachState(func(s txnState) {
		withTransaction(t, s, func(t *testing.T, x *transaction) {
			refused := x.s.acc.refused.Load()
			switch s {
			case txnInTransaction, txnFatalError: // the latter has a refusal of its own
				require.Nil(t, refused)
			default:
				require.ErrorIs(t, refused, ErrInvalidTxnState)
			}
		})
	})
}

func TestTheGravestRefusalIsTold(t *testing.T) {
	a := &accumulator{}
	fatal, closed, txn := &Error{Op: "f"}, &Error{Op: "c"}, &Error{Op: "t"}
	a.refuse(refusedByTransaction, txn)
	require.Same(t, txn, a.refused.Load())
	a.refuse(refusedByClose, closed)
	require.Same(t, closed, a.refused.Load())
	a.refuse(refusedByTransaction, nil)
	require.Same(t, closed, a.refused.Load(), "a new transaction does not open a closed producer")
	a.refuse(refusedByFatal, fatal)
	a.refuse(refusedByTransaction, txn)
	require.Same(t, fatal, a.refused.Load())
	b := &accumulator{}
	b.refuse(refusedByTransaction, txn)
	open := func() *batch {
		return b.open(&partitionQueue{topic: &topicState{}}, nil, make([]byte, 0, protocol.BatchOverhead), 0, time.Now())
	}
	require.Nil(t, open(), "no batch is opened while one holds")
	b.refuse(refusedByTransaction, nil)
	require.Nil(t, b.refused.Load())
	require.NotNil(t, open())
}

func TestRequestsAreDueInOrder(t *testing.T) {
	queue, order, added := []*partitionQueue{{}}, &offsetsOrder{}, &offsetsOrder{added: true}
	for _, c := range []struct {
		state    txnState
		version2 bool
		toAdd    []*partitionQueue
		offsets  []*offsetsOrder
		settled  bool
		want     txnRequestKind
	}{
		{txnUninitialized, false, nil, nil, true, askNothing},
		{txnInitializing, false, nil, nil, true, askInit},
		{txnReady, false, nil, nil, true, askNothing},
		{txnInTransaction, false, nil, nil, true, askNothing},
		{txnInTransaction, false, queue, []*offsetsOrder{order}, false, askAddPartitions},
		{txnInTransaction, false, nil, []*offsetsOrder{order}, false, askAddOffsets},
		{txnInTransaction, false, nil, []*offsetsOrder{added}, false, askCommitOffsets},
		{txnInTransaction, true, nil, []*offsetsOrder{order}, false, askCommitOffsets},
		{txnCommitting, false, queue, []*offsetsOrder{order}, false, askAddPartitions},
		{txnCommitting, false, nil, []*offsetsOrder{order}, true, askAddOffsets},
		{txnCommitting, true, nil, []*offsetsOrder{order}, true, askCommitOffsets},
		{txnCommitting, false, nil, nil, false, askNothing},
		{txnCommitting, false, nil, nil, true, askEnd},
		{txnAborting, false, queue, []*offsetsOrder{order}, false, askNothing},
		{txnAborting, true, nil, nil, true, askEnd},
		{txnAbortableError, false, queue, []*offsetsOrder{order}, true, askNothing},
		{txnFatalError, false, queue, []*offsetsOrder{order}, true, askNothing},
	} {
		x := &transaction{state: c.state, version2: c.version2, toAdd: c.toAdd, offsets: c.offsets}
		require.Equal(t, c.want, x.next(c.settled), "%+v", c)
	}
}

func TestWhatIsAskedForAgain(t *testing.T) {
	for _, c := range []struct {
		kind  txnRequestKind
		lost  bool
		state string // in which it still makes sense
	}{
		{askInit, true, "INITIALIZING"},
		{askAddPartitions, false, "IN_TRANSACTION COMMITTING_TRANSACTION"},
		{askAddPartitions, true, "IN_TRANSACTION COMMITTING_TRANSACTION ABORTING_TRANSACTION ABORTABLE_ERROR"},
		{askAddOffsets, false, "IN_TRANSACTION COMMITTING_TRANSACTION"},
		{askAddOffsets, true, "IN_TRANSACTION COMMITTING_TRANSACTION ABORTING_TRANSACTION ABORTABLE_ERROR"},
		{askCommitOffsets, true, "IN_TRANSACTION COMMITTING_TRANSACTION"},
		{askEnd, true, "COMMITTING_TRANSACTION ABORTING_TRANSACTION"},
	} {
		wanted := map[string]bool{}
		for name := range strings.FieldsSeq(c.state) {
			wanted[name] = true
		}
		eachState(func(s txnState) {
			require.Equal(t, wanted[s.String()], (&transaction{state: s}).wants(&txnRequest{kind: c.kind, lost: c.lost}), "%v in %v", c.kind, s)
		})
	}
}

// withTransaction runs a test on the transaction of a rig, in the given state.
func withTransaction(t *testing.T, s txnState, test func(t *testing.T, x *transaction)) {
	t.Helper()
	withRig(t, func(cfg *settings) { cfg.idempotent, cfg.transactionTimeout = true, time.Minute }, func(t *testing.T, r *rig) {
		r.s.idem.transactional = true
		x := newTransaction(r.s, "mover")
		r.s.txn = x
		if x.state = s; s == txnAbortableError || s == txnFatalError {
			x.err = &Error{Op: "send", Code: protocol.InvalidRecord, Partition: -1, Node: -1}
		}
		x.letIn()
		test(t, x)
	})
}
