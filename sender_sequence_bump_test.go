package quill

import (
	"math"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// How a partition begins again under another epoch or producer id, and how the others go on meanwhile.
// Partitions 0 and 2 are led by nodes 0 and 1, so that each is answered by itself.

// sendTo puts a record of the partition on the wire, in a batch of its own.
func sendTo(t *testing.T, r *rig, partition int32) *batch {
	t.Helper()
	r.append(partition, "key", "value")
	b := r.drainOne(rigLeaders[partition])
	require.Equal(t, partition, b.queue.index)
	require.EqualValues(t, 1, b.records)
	return b
}

// warmBoth lets both nodes see a first batch of the producer id, under this epoch.
func warmBoth(t *testing.T, r *rig, epoch int16) {
	t.Helper()
	r.s.idem.epoch = epoch
	for _, partition := range []int32{0, 2} {
		requireIdentity(t, sendTo(t, r, partition), epoch, 0)
		r.answer(rigLeaders[partition], accepted(0))
	}
}

// forgotten returns the answer of a node that has lost what it knew of the producer.
func forgotten(*batch) message.PartitionProduceResponse {
	p := answered(protocol.UnknownProducerID, -1)
	p.LogStartOffset = 500
	return p
}

// usedUp lets the node forget its oldest batch when there is no further epoch, and then gives the
// producer a new id.
func usedUp(t *testing.T, r *rig, node int32) {
	t.Helper()
	r.answer(node, forgotten)
	time.Sleep(time.Second)
	require.Empty(t, r.drain(node))
	require.Equal(t, idNone, r.s.idem.state)
	r.s.idem = idempotence{on: true, state: idReady, id: 8}
}

func (r *rig) sequences(partition int32) *sequences { return &r.topic.queue(partition).out.seq }

// Java: TransactionManagerTest.testBumpEpochAndResetSequenceNumbersAfterUnknownProducerId
func TestBatchesOfAForgottenProducerAreRenumberedInOrder(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, 1)
		var later []*batch
		for i := range int32(4) {
			later = append(later, sendTo(t, r, 0))
			requireIdentity(t, later[i], 1, 1+i)
		}
		for range later {
			r.answer(0, forgotten)
		}
		time.Sleep(time.Second)
		for i, b := range later {
			require.Same(t, b, r.drainOne(0))
			requireIdentity(t, b, 2, int32(i))
			r.answer(0, accepted(500+int64(i)))
		}
		require.Equal(t, 1, r.s.idem.bumps, "one for all four")
	})
}

// Java: TransactionManagerTest.testProducerIdReset
func TestAResetOfOnePartitionLeavesTheNumbersOfOthers(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, math.MaxInt16)
		for _, partition := range []int32{0, 2} {
			for range 2 {
				sendTo(t, r, partition)
				r.answer(rigLeaders[partition], accepted(1))
			}
			require.EqualValues(t, 3, r.sequences(partition).next)
		}
		b := sendTo(t, r, 0)
		usedUp(t, r, 0)
		require.EqualValues(t, 3, r.sequences(2).next)
		require.EqualValues(t, 2, r.sequences(2).lastAcked)
		require.Same(t, b, r.drainOne(0))
		requireIdentity(t, b, 0, 0)
		require.EqualValues(t, 8, b.producerID)
		require.EqualValues(t, 1, r.sequences(0).next)
		require.EqualValues(t, 3, r.sequences(2).next)
	})
}

// A batch under the old id that fails, and is sent again, keeps its numbers.
//
// Java: TransactionManagerTest.testBatchFailureAfterProducerReset
func TestAResetOfOnePartitionLeavesBatchesOfOthersInFlight(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, math.MaxInt16)
		a, b := sendTo(t, r, 0), sendTo(t, r, 2)
		usedUp(t, r, 0)
		require.Equal(t, []*batch{b}, r.sequences(2).inFlight)
		r.answer(1, refusedWith(protocol.NotLeaderOrFollower))
		require.Equal(t, []*batch{b}, r.sequences(2).inFlight)
		require.EqualValues(t, 2, r.sequences(2).next)

		require.Same(t, a, r.drainOne(0))
		requireIdentity(t, a, 0, 0)
		time.Sleep(time.Second)
		require.Same(t, b, r.drainOne(1))
		requireIdentity(t, b, math.MaxInt16, 1)
		require.EqualValues(t, 7, b.producerID)
	})
}

// Java: TransactionManagerTest.testBatchCompletedAfterProducerReset
func TestAPartitionKeepsItsIDUntilItsBatchesAreDone(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, math.MaxInt16)
		sendTo(t, r, 0)
		b := sendTo(t, r, 0)
		sendTo(t, r, 2)
		usedUp(t, r, 1)

		r.answer(0, accepted(500))
		require.EqualValues(t, 3, r.sequences(0).next)
		require.EqualValues(t, 1, r.sequences(0).lastAcked)
		require.Equal(t, []*batch{b}, r.sequences(0).inFlight)
		requireIdentity(t, b, math.MaxInt16, 2)
		r.append(0, "key", "value")
		require.Empty(t, r.drain(0), "the new id waits for the old one's batch")

		r.answer(0, accepted(501))
		c := r.drainOne(0)
		requireIdentity(t, c, 0, 0)
		require.EqualValues(t, 8, c.producerID)
		require.EqualValues(t, -1, r.sequences(0).lastAcked)
	})
}

// What is given up in flight leaves a doubt, which the batches behind it settle: an accepted one has
// everything before it in the log; if the last one fails, its outcome is unknown, and a new epoch is due.
func TestTheLastBatchInFlightDecidesAboutTheEpoch(t *testing.T) {
	lost, written := (*rig).lose, func(r *rig, node int32) { r.answer(node, accepted(500)) }
	for _, c := range []struct {
		name     string
		comeBack [3]func(r *rig, node int32) // the first two expired, the third will
		epoch    int16
		sequence int32
	}{
		// Java: TransactionManagerTest.testNoProducerIdResetAfterLastInFlightBatchSucceeds
		{"accepted", [3]func(*rig, int32){lost, lost, written}, 5, 4},
		// Java: TransactionManagerTest.testEpochBumpAfterLastInFlightBatchFailsIdempotentProducer
		{"lost", [3]func(*rig, int32){lost, written, lost}, 6, 0},
	} {
		withRig(t, idempotentRig, func(t *testing.T, r *rig) {
			warmBoth(t, r, 5)
			sendTo(t, r, 0)
			sendTo(t, r, 0)
			time.Sleep(time.Second)
			requireIdentity(t, sendTo(t, r, 0), 5, 3)
			time.Sleep(r.cfg.deliveryTimeout - time.Second)
			r.s.expire(time.Now())
			r.append(0, "key", "value")
			for _, comeBack := range c.comeBack {
				require.Empty(t, r.drain(0), "%s: no new batch before it is known which numbers are used", c.name)
				require.Zero(t, r.s.idem.bumps, "%s: nor a new epoch", c.name)
				comeBack(r, 0)
			}
			time.Sleep(time.Second)
			r.s.expire(time.Now())
			requireIdentity(t, r.drainOne(0), c.epoch, c.sequence)
			require.False(t, r.sequences(0).unsettled, c.name)
		})
	}
}

// Java: TransactionManagerTest.testBumpEpochAfterTimeoutWithoutPendingInflightRequests
func TestABatchThatExpiresAfterItWasSentEndsTheEpoch(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, 5)
		f := r.append(0, "key", "value")
		requireIdentity(t, r.drainOne(0), 5, 1)
		r.lose(0)
		require.False(t, r.sequences(0).unsettled, "it will be sent again")
		time.Sleep(r.cfg.deliveryTimeout)
		r.s.expire(time.Now())
		r.dispatch()
		_, err := outcomeOf(t, f)
		require.ErrorIs(t, err, ErrDeliveryTimeout)
		require.True(t, r.sequences(0).unsettled)
		require.EqualValues(t, 5, r.s.idem.epoch, "nothing is to be sent yet")
		requireIdentity(t, sendTo(t, r, 0), 6, 0)
		require.False(t, r.sequences(0).unsettled)
	})
}

// A node that forgets partition 0 takes nothing from partition 2: its batch is sent again under the
// old epoch, nothing new leaves before it is done, and then the partition moves over.
func TestAHealthyPartitionEndsItsOldEpochInPeace(t *testing.T) {
	for _, end := range []func(*batch) message.PartitionProduceResponse{
		// Java: TransactionManagerTest.testHealthyPartitionRetriesDuringEpochBump
		accepted(501),
		// Java: TransactionManagerTest.testFailedInflightBatchAfterEpochBump
		refusedWith(protocol.InvalidRecord),
	} {
		withRig(t, idempotentRig, func(t *testing.T, r *rig) {
			warmBoth(t, r, 1)
			a, _, b := sendTo(t, r, 0), sendTo(t, r, 0), sendTo(t, r, 2)
			r.answer(0, forgotten)
			r.answer(0, forgotten)
			time.Sleep(time.Second)
			require.Same(t, a, r.drainOne(0))
			requireIdentity(t, a, 2, 0)
			requireIdentity(t, b, 1, 1)

			r.append(2, "key", "value")
			require.Empty(t, r.drain(1), "not with a batch of the old epoch in flight")
			r.answer(1, refusedWith(protocol.NotLeaderOrFollower))
			time.Sleep(time.Second)
			require.Same(t, b, r.drainOne(1))
			requireIdentity(t, b, 1, 1)
			require.Len(t, r.queued(2), 1)
			require.Empty(t, r.drain(1))

			r.answer(1, end)
			require.Empty(t, r.sequences(2).inFlight)
			requireIdentity(t, r.drainOne(1), 2, 0)
			r.answer(1, accepted(502))
			require.Empty(t, r.sequences(2).inFlight)
			require.EqualValues(t, 1, r.sequences(2).next)
			require.Equal(t, 1, r.s.idem.bumps)
		})
	}
}

// Java: TransactionManagerTest.testNoFailedBatchHandlingWhenTxnManagerIsInFatalError
func TestAFatalErrorIsTheEndOfEpochs(t *testing.T) {
	for _, late := range []func(r *rig, node int32){
		(*rig).lose,
		func(r *rig, node int32) { r.answer(node, forgotten) },
		func(r *rig, node int32) { r.answer(node, refusedWith(protocol.OutOfOrderSequenceNumber)) },
		func(r *rig, node int32) { r.answer(node, refusedWith(protocol.RequestTimedOut)) },
		func(r *rig, node int32) { r.answer(node, refusedWith(protocol.InvalidRecord)) },
	} {
		withRig(t, idempotentRig, func(t *testing.T, r *rig) {
			warmBoth(t, r, 5)
			f := r.append(0, "key", "value")
			b := r.drainOne(0)
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
			time.Sleep(time.Second)
			require.Same(t, b, r.drainOne(0))
			requireIdentity(t, b, 6, 0)

			r.s.fatal(&Error{Kind: ErrUnsupportedVersion, Class: ErrFatal})
			r.s.abortAll(time.Now())
			late(r, 0)
			r.dispatch()
			_, err := outcomeOf(t, f)
			require.ErrorIs(t, err, ErrUnsupportedVersion)
			time.Sleep(time.Second)
			require.Empty(t, r.drain(0))
			require.Equal(t, idReady, r.s.idem.state)
			require.EqualValues(t, 6, r.s.idem.epoch)
			require.Equal(t, 1, r.s.idem.bumps)
			require.EqualValues(t, rigMemory, r.free())
		})
	}
}

// Answers of an old and a new leader that cross each other.
//
// Java: SenderTest.testCorrectHandlingOfDuplicateSequenceError
func TestALateDuplicateDoesNotTakeSequencesBack(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, 0)
		first := r.append(0, "key", "value")
		r.drainOne(0)
		r.setLeaders([]int32{1, 0, 1, 1}, 1)
		second := r.append(0, "key", "value")
		r.drainOne(1)

		r.answer(1, accepted(1000))
		require.EqualValues(t, 2, r.sequences(0).lastAcked)
		r.answer(0, refusedWith(protocol.DuplicateSequenceNumber))
		require.EqualValues(t, 2, r.sequences(0).lastAcked)
		require.EqualValues(t, 3, r.sequences(0).next)
		require.Empty(t, r.sequences(0).inFlight)
		r.dispatch()
		m, err := outcomeOf(t, first)
		require.NoError(t, err)
		require.False(t, m.HasOffset())
		require.EqualValues(t, -1, m.Offset)
		m, err = outcomeOf(t, second)
		require.NoError(t, err)
		require.EqualValues(t, 1000, m.Offset)
	})
}
