package quill

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/invariant"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
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
	{callBegin, func(x *transaction) *Error { return x.begin(callBegin) }, []txnState{txnReady}, txnInTransaction},
	{callSendOffsets, func(x *transaction) *Error {
		return x.sendOffsets(&offsetsCall{operation: operation{call: callSendOffsets, done: make(chan struct{})}})
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
				for range 2 { // before and after its end, as long as the producer did not hear of that
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
			refused := x.s.acc.closedBy.Load()
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
	a.closeFor(closedByTransaction, txn)
	require.Same(t, txn, a.closedBy.Load())
	a.closeFor(closedByClose, closed)
	require.Same(t, closed, a.closedBy.Load())
	a.closeFor(closedByTransaction, nil)
	require.Same(t, closed, a.closedBy.Load(), "a new transaction does not open a closed producer")
	a.closeFor(closedByFatal, fatal)
	a.closeFor(closedByTransaction, txn)
	require.Same(t, fatal, a.closedBy.Load())
	b := &accumulator{}
	b.closeFor(closedByTransaction, txn)
	open := func() *batch {
		return b.beginBatch(&partitionQueue{topic: &topicState{}}, nil, make([]byte, 0, protocol.BatchOverhead), 0, time.Now())
	}
	require.Nil(t, open(), "no batch is opened while one holds")
	b.closeFor(closedByTransaction, nil)
	require.Nil(t, b.closedBy.Load())
	require.NotNil(t, open())
}

func TestRequestsAreDueInOrder(t *testing.T) {
	queue, order, added := []*partitionQueue{{}}, &offsetsCall{}, &offsetsCall{added: true}
	for _, c := range []struct {
		state    txnState
		version2 bool
		toAdd    []*partitionQueue
		offsets  []*offsetsCall
		settled  bool
		want     txnRequestKind
	}{
		{txnUninitialized, false, nil, nil, true, askNothing},
		{txnInitializing, false, nil, nil, true, askInit},
		{txnReady, false, nil, nil, true, askNothing},
		{txnInTransaction, false, nil, nil, true, askNothing},
		{txnInTransaction, false, queue, []*offsetsCall{order}, false, askAddPartitions},
		{txnInTransaction, false, nil, []*offsetsCall{order}, false, askAddOffsets},
		{txnInTransaction, false, nil, []*offsetsCall{added}, false, askCommitOffsets},
		{txnInTransaction, true, nil, []*offsetsCall{order}, false, askCommitOffsets},
		{txnCommitting, false, queue, []*offsetsCall{order}, false, askAddPartitions},
		{txnCommitting, false, nil, []*offsetsCall{order}, true, askAddOffsets},
		{txnCommitting, true, nil, []*offsetsCall{order}, true, askCommitOffsets},
		{txnCommitting, false, nil, nil, false, askNothing},
		{txnCommitting, false, nil, nil, true, askEnd},
		{txnAborting, false, queue, []*offsetsCall{order}, false, askNothing},
		{txnAborting, true, nil, nil, true, askEnd},
		{txnAbortableError, false, queue, []*offsetsCall{order}, true, askNothing},
		{txnFatalError, false, queue, []*offsetsCall{order}, true, askNothing},
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

// What each code means in the answer to each request: the tables of Kafka 4.4's request handlers. Codes
// that a table does not name are retried if Kafka calls them retriable; else they are what rest says.

type verdicts map[protocol.ErrorCode]txnVerdict

var verdictTables = []struct {
	name   string
	decide func(code protocol.ErrorCode) txnVerdict
	rest   txnVerdict
	codes  verdicts
}{
	{"FindCoordinator", decideFind, txnUnexpected, verdicts{
		protocol.TransactionalIDAuthorizationFailed: txnFatal,
		protocol.GroupAuthorizationFailed:           txnAbort,
		protocol.TransactionAbortable:               txnAbort,
	}},
	{"InitProducerId", decideInit, txnUnexpected, verdicts{
		protocol.NotCoordinator:                     txnFind,
		protocol.CoordinatorNotAvailable:            txnFind,
		protocol.TransactionalIDAuthorizationFailed: txnDenied,
		protocol.ClusterAuthorizationFailed:         txnDenied,
		protocol.InvalidProducerEpoch:               txnFenced,
		protocol.ProducerFenced:                     txnFenced,
		protocol.TransactionAbortable:               txnAbort,
	}},
	{"AddPartitionsToTxn, the first ones", func(code protocol.ErrorCode) txnVerdict { return decideAddPartition(code, true) }, txnAbort, addPartitions(txnRetrySoon)},
	{"AddPartitionsToTxn, more", func(code protocol.ErrorCode) txnVerdict { return decideAddPartition(code, false) }, txnAbort, addPartitions(txnRetry)},
	{"AddOffsetsToTxn", decideAddOffsets, txnUnexpected, verdicts{
		protocol.NotCoordinator:                     txnFind,
		protocol.CoordinatorNotAvailable:            txnFind,
		protocol.TransactionalIDAuthorizationFailed: txnFatal,
		protocol.InvalidTxnState:                    txnFatal,
		protocol.InvalidProducerIDMapping:           txnFatal,
		protocol.UnknownProducerID:                  txnAbortBump,
		protocol.InvalidProducerEpoch:               txnFenced,
		protocol.ProducerFenced:                     txnFenced,
		protocol.GroupAuthorizationFailed:           txnAbort,
		protocol.TransactionAbortable:               txnAbort,
	}},
	{"TxnOffsetCommit", decideOffset, txnUnexpected, verdicts{
		protocol.NotCoordinator:                     txnFind,
		protocol.CoordinatorNotAvailable:            txnFind,
		protocol.RequestTimedOut:                    txnFind,
		protocol.TransactionalIDAuthorizationFailed: txnFatal,
		protocol.UnsupportedForMessageFormat:        txnFatal,
		protocol.InvalidTxnState:                    txnFatal,
		protocol.InvalidProducerIDMapping:           txnFatal,
		protocol.InvalidProducerEpoch:               txnFenced,
		protocol.ProducerFenced:                     txnFenced,
		protocol.GroupAuthorizationFailed:           txnAbort,
		protocol.FencedInstanceID:                   txnAbort,
		protocol.UnknownMemberID:                    txnAbort,
		protocol.IllegalGeneration:                  txnAbort,
		protocol.StaleMemberEpoch:                   txnAbort,
		protocol.GroupIDNotFound:                    txnAbort,
		protocol.TransactionAbortable:               txnAbort,
		protocol.OffsetMetadataTooLarge:             txnAbort, // in Java fatal, for a text of the caller's
		protocol.TopicAuthorizationFailed:           txnAbort, // the same
	}},
	{"EndTxn, a commit", func(code protocol.ErrorCode) txnVerdict { return decideEnd(code, true) }, txnUnexpected, endTxn(txnAbort)},
	{"EndTxn, an abort", func(code protocol.ErrorCode) txnVerdict { return decideEnd(code, false) }, txnUnexpected, endTxn(txnFatal)},
}

func addPartitions(concurrent txnVerdict) verdicts {
	return verdicts{
		protocol.ConcurrentTransactions:             concurrent,
		protocol.NotCoordinator:                     txnFind,
		protocol.CoordinatorNotAvailable:            txnFind,
		protocol.TransactionalIDAuthorizationFailed: txnFatal,
		protocol.InvalidTxnState:                    txnFatal,
		protocol.InvalidProducerIDMapping:           txnFatal,
		protocol.UnknownProducerID:                  txnAbortBump,
		protocol.InvalidProducerEpoch:               txnFenced,
		protocol.ProducerFenced:                     txnFenced,
	}
}

func endTxn(abortable txnVerdict) verdicts {
	return verdicts{
		protocol.NotCoordinator:                     txnFind,
		protocol.CoordinatorNotAvailable:            txnFind,
		protocol.TransactionalIDAuthorizationFailed: txnFatal,
		protocol.InvalidTxnState:                    txnFatal,
		protocol.InvalidProducerIDMapping:           txnFatal,
		protocol.UnknownProducerID:                  txnAbortBump,
		protocol.InvalidProducerEpoch:               txnFenced,
		protocol.ProducerFenced:                     txnFenced,
		protocol.TransactionAbortable:               abortable,
	}
}

func TestAnswersOfCoordinatorsFollowKafkasTables(t *testing.T) {
	for _, table := range verdictTables {
		for code := protocol.UnknownServerError; code < 140; code++ { // some unknown ones, too
			want, named := table.codes[code]
			switch {
			case named:
			case code == protocol.None:
				want = txnDone
			case code.Retriable():
				want = txnRetry
			default:
				want = table.rest
			}
			require.Equal(t, want, table.decide(code), "%s: %v", table.name, code)
		}
	}
}

// Transactions on the sender's rig, where the test itself takes the turns: what may be drained, and what is
// done without a coordinator to ask.

// silence is connections over which no request may leave.
type silence struct {
	connections
	t *testing.T
}

func (c silence) Send(_ int32, r *network.Request, _ time.Time) {
	c.t.Errorf("%v was sent", r.Exchange.APIKey())
}

// withOpenTransaction runs a test on a rig with a transaction of version 1 that has just begun.
func withOpenTransaction(t *testing.T, test func(t *testing.T, r *rig, x *transaction)) {
	t.Helper()
	withRig(t, func(cfg *settings) { cfg.idempotent, cfg.transactionTimeout = true, time.Minute }, func(t *testing.T, r *rig) {
		r.s.idem.transactional, r.s.sealer.attributes = true, protocol.AttrTransactional
		r.s.client = silence{r.s.client, t}
		x := newTransaction(r.s, "mover")
		r.s.txn, x.state = x, txnReady
		require.Nil(t, x.begin(callBegin))
		test(t, r, x)
	})
}

// added lets the coordinator answer that it has added what is asked for, and returns the partitions.
func (x *transaction) added() (partitions []int32) {
	request, resp := x.due(time.Now()), &message.AddPartitionsToTxnResponse{}
	for _, topic := range groupByTopic(request.partitions) {
		results := message.AddPartitionsToTxnTopicResult{Name: topic.Name}
		for _, p := range topic.Partitions {
			partitions = append(partitions, p)
			results.ResultsByPartition = append(results.ResultsByPartition, message.AddPartitionsToTxnPartitionResult{PartitionIndex: p})
		}
		resp.ResultsByTopicV3AndBelow = append(resp.ResultsByTopicV3AndBelow, results)
	}
	x.partitionsAdded(request, resp, time.Now())
	return partitions
}

// Java: TransactionManagerTest.testNoDrainWhenPartitionsPending
// Java: TransactionManagerTest.testRaiseErrorWhenNoPartitionsPendingOnDrain
func TestNoBatchIsDrainedBeforeItsPartitionIsAdded(t *testing.T) {
	withOpenTransaction(t, func(t *testing.T, r *rig, x *transaction) {
		r.append(0, "", "a")
		r.append(2, "", "b")
		time.Sleep(r.cfg.linger)
		for range 2 {
			require.Empty(t, r.drain(0))
			require.Empty(t, r.drain(1))
			r.acc.markFlush() // a flush changes nothing
		}
		require.Equal(t, txnInTransaction, x.state)
		require.Equal(t, []int32{0, 2}, x.added(), "to be added, once")
		require.Equal(t, []int32{0}, partitionsOf(r.drain(0)))
		require.Equal(t, []int32{2}, partitionsOf(r.drain(1)))
		require.Empty(t, x.toAdd)
	})
}

// Batches that left are settled in the abortable state. Others are not: here they never were to be sent,
// where Java drains what gets into a batch of an added partition.
//
// Java: TransactionManagerTest.testAllowDrainInAbortableErrorState
func TestOnlyWhatHasLeftIsDrainedInTheAbortableState(t *testing.T) {
	withOpenTransaction(t, func(t *testing.T, r *rig, x *transaction) {
		r.append(0, "", "a")
		r.append(1, "", "b")
		r.ready()
		require.Equal(t, []int32{0, 1}, x.added())
		time.Sleep(r.cfg.linger)
		require.Len(t, r.drain(0), 2)
		r.answer(0, func(b *batch) message.PartitionProduceResponse {
			if b.queue.index == 0 {
				return answered(protocol.None, 0)
			}
			return answered(protocol.NotLeaderOrFollower, -1)
		})
		unsent := r.append(0, "", "c")
		r.append(2, "", "d")
		time.Sleep(r.cfg.retryBackoffMax)
		r.ready()
		x.abortable(&Error{Op: "add partitions to the transaction", Code: protocol.TopicAuthorizationFailed, Partition: 2, Node: -1})
		require.Equal(t, []int32{1}, partitionsOf(r.drain(0)))
		require.Empty(t, r.drain(1))
		require.Equal(t, txnAbortableError, x.state)
		x.step(time.Now())
		r.dispatch()
		_, err := outcomeOf(t, unsent)
		require.ErrorIs(t, err, ErrTransactionAborted)
		require.ErrorIs(t, err, protocol.TopicAuthorizationFailed, "and says why")
	})
}

// Java: TransactionManagerTest.testCancelUnsentAddPartitionsAndProduceOnAbort
func TestAnAbortBeforeAnythingWasSentSendsNothing(t *testing.T) {
	withOpenTransaction(t, func(t *testing.T, r *rig, x *transaction) {
		f := r.append(0, "", "a")
		r.ready()
		require.Len(t, x.toAdd, 1)
		aborted, err := x.complete(callAbort, false)
		require.Nil(t, err)
		x.step(time.Now())
		r.dispatch()
		x.step(time.Now())
		require.True(t, aborted.ended())
		require.Nil(t, aborted.err)
		require.Equal(t, txnReady, x.state)
		_, failed := outcomeOf(t, f)
		require.ErrorIs(t, failed, ErrTransactionAborted)
	})
}

// Java: RecordAccumulatorTest.testRecordsDrainedWhenTransactionCompleting
func TestABatchLingersUntilTheTransactionCompletes(t *testing.T) {
	withOpenTransaction(t, func(t *testing.T, r *rig, x *transaction) {
		r.append(0, "", "a")
		r.append(0, "", "b")
		r.ready()
		x.added()
		require.Empty(t, r.drain(0), "it lingers")
		_, err := x.complete(callCommit, true)
		require.Nil(t, err)
		require.EqualValues(t, 2, r.drainOne(0).records)
	})
}

// Java: TransactionManagerTest.testProducerIdAndEpochUpdateAfterOverflowFromEndTxnResponseInV2
func TestVersion2AdoptsANewIDWhenTheEpochsAreUsedUp(t *testing.T) {
	withOpenTransaction(t, func(t *testing.T, r *rig, x *transaction) {
		x.version2 = true
		r.s.idem.epoch = math.MaxInt16 - 1
		r.append(0, "", "a")
		time.Sleep(r.cfg.linger)
		require.EqualValues(t, 7, r.drainOne(0).producerID)
		r.answer(0, accepted(0))
		r.dispatch()
		x.started = true
		committed, err := x.complete(callCommit, true)
		require.Nil(t, err)
		request := x.due(time.Now())
		require.Equal(t, askEnd, request.kind)
		x.ended(request, &message.EndTxnResponse{ProducerID: 8, ProducerEpoch: 0}, time.Now())
		require.True(t, committed.ended())
		committed.heard.Store(true)
		require.Nil(t, x.begin(callBegin))
		r.append(0, "", "b")
		time.Sleep(r.cfg.linger)
		b := r.drainOne(0)
		require.Equal(t, [3]int64{8, 0, 0}, [3]int64{b.producerID, int64(b.producerEpoch), int64(b.baseSequence)})
	})
}

// A state that can't be is a fault of ours. Nothing is sure then, and no call goes on as if nothing had
// happened (KAFKA-14831).
//
// Java: TransactionManagerTest.testBackgroundInvalidStateTransitionIsFatal
func TestAnImpossibleStateEndsTheProducer(t *testing.T) {
	withTransaction(t, txnReady, func(t *testing.T, x *transaction) {
		wrong := func() { x.enter(txnAbortableError, &Error{Op: "send", Partition: -1, Node: -1}) }
		if invariant.Enabled {
			require.Panics(t, wrong)
			return
		}
		wrong()
		require.Equal(t, txnFatalError, x.state)
		for _, c := range callsByState {
			err := c.make(x)
			require.True(t, err.Fatal(), c.call)
			require.ErrorIs(t, err, ErrInvalidTxnState)
		}
		require.True(t, x.s.aborting.Fatal(), "nor is any record sent")
		require.ErrorIs(t, x.s.aborting, ErrInvalidTxnState)
	})
}

// A batch of a transaction says so, and never goes without an identity.
//
// Java: MemoryRecordsBuilderTest.testWriteTransactionalRecordSet
// Java: MemoryRecordsBuilderTest.testWriteTransactionalWithInvalidPID
func TestATransactionalBatchHasItsMarkAndItsIdentity(t *testing.T) {
	withOpenTransaction(t, func(t *testing.T, r *rig, x *transaction) {
		r.append(0, "", "a")
		r.ready()
		x.added()
		time.Sleep(r.cfg.linger)
		r.s.idem.state = idNone
		require.Empty(t, r.drain(0), "without an id it does not leave")
		r.s.idem.state, r.s.idem.id, r.s.idem.epoch = idReady, 9809, 15
		h, _ := r.sealed(r.drainOne(0))
		require.True(t, h.Transactional())
		require.False(t, h.Control())
		require.EqualValues(t, 9809, h.ProducerID)
		require.EqualValues(t, 15, h.ProducerEpoch)
		require.Zero(t, h.BaseSequence)
	})
}

// The log was emptied behind us and has forgotten the producer: nothing is missing from it that was not to
// be deleted, so the transaction goes on, at sequence 0 under the same epoch.
//
// Java: SenderTest.testTransactionalUnknownProducerHandlingWhenRetentionLimitReached
func TestRetentionThatForgetsTheProducerSparesTheTransaction(t *testing.T) {
	for _, logStart := range []int64{1001, 1010} { // right behind the last record, and later
		withOpenTransaction(t, func(t *testing.T, r *rig, x *transaction) {
			second := forgottenInTransaction(t, r, x, logStart)
			require.False(t, second.Done())
			require.Equal(t, txnInTransaction, x.state)
			time.Sleep(r.cfg.retryBackoffMax)
			b := r.drainOne(0)
			require.Equal(t, [3]int64{7, 0, 0}, [3]int64{b.producerID, int64(b.producerEpoch), int64(b.baseSequence)})
			r.answer(0, accepted(1011))
			r.dispatch()
			m, err := outcomeOf(t, second)
			require.NoError(t, err)
			require.EqualValues(t, 1012, m.Offset)
		})
	}
}

// As long as the last record is in the log, the broker should know its producer.
func TestAProducerForgottenWithItsRecordsInTheLogHasToAbort(t *testing.T) {
	withOpenTransaction(t, func(t *testing.T, r *rig, x *transaction) {
		second := forgottenInTransaction(t, r, x, 1000)
		_, err := outcomeOf(t, second)
		require.ErrorIs(t, err, ErrAbortable)
		require.ErrorIs(t, err, protocol.UnknownProducerID)
		require.Equal(t, txnAbortableError, x.state)
	})
}

// forgottenInTransaction writes a record at offset 1000, and has the next batch refused by a broker that does not
// know its producer and whose log begins at logStart. It returns the last future of that batch.
func forgottenInTransaction(t *testing.T, r *rig, x *transaction, logStart int64) Future {
	t.Helper()
	first := r.append(0, "", "a")
	r.ready()
	x.added()
	time.Sleep(r.cfg.linger)
	require.Zero(t, r.drainOne(0).baseSequence)
	r.answer(0, accepted(1000))
	r.dispatch()
	_, err := outcomeOf(t, first)
	require.NoError(t, err)

	r.append(0, "", "b")
	second := r.append(0, "", "c")
	time.Sleep(r.cfg.linger)
	require.EqualValues(t, 1, r.drainOne(0).baseSequence)
	r.answer(0, func(*batch) message.PartitionProduceResponse {
		p := answered(protocol.UnknownProducerID, -1)
		p.LogStartOffset = logStart
		return p
	})
	r.dispatch()
	return second
}

// Java: KafkaProducerTest.testOverwriteAcksAndRetriesForIdempotentProducers
func TestATransactionalIDBringsIdempotence(t *testing.T) {
	s, err := resolveProperties(map[string]string{"transactional.id": "transactionalId"})
	require.NoError(t, err)
	require.True(t, s.idempotent)
	require.EqualValues(t, -1, s.acks)
	require.EqualValues(t, math.MaxInt32, s.retries)
	require.Equal(t, "producer-transactionalId", s.clientID)
}

// The epoch after ours is the next one of our id, or the first of another when ours are used up.
func TestWhichEpochSucceedsOurs(t *testing.T) {
	for _, c := range []struct {
		epoch int16 // of id 7
		id    int64
		next  int16
		is    bool
	}{
		{0, 7, 1, true}, {0, 7, 0, false}, {0, 7, 2, false}, {0, 8, 1, false}, {0, 8, 0, false},
		{math.MaxInt16 - 2, 7, math.MaxInt16 - 1, true}, {math.MaxInt16 - 2, 8, 0, false},
		{math.MaxInt16 - 1, 8, 0, true}, {math.MaxInt16 - 1, 8, 1, false}, {math.MaxInt16 - 1, 7, 0, false},
		{math.MaxInt16 - 1, 7, math.MaxInt16, false}, {math.MaxInt16, 8, 0, true}, {math.MaxInt16, 7, math.MinInt16, false},
	} {
		i := idempotence{id: 7, epoch: c.epoch}
		require.Equal(t, c.is, i.succeeds(c.id, c.next), "%d, %d after 7, %d", c.id, c.next, c.epoch)
	}
}
