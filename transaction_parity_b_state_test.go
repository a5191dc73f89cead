package quill

import (
	"math"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/invariant"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// Transactions on the sender's rig, where the test itself takes the turns: what may be drained, and what is
// done with nobody to ask.

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
		require.Nil(t, x.open(callBegin))
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
		require.Nil(t, x.open(callBegin))
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
