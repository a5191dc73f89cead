package quill

import (
	"slices"
	"testing"
	"time"

	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// A node that was stopped in good order reads back from its snapshot the last batch of each producer
// only, and calls the ones before it out of order although it has them.

// threeLost leaves three batches of partition 0 that may be written, and asks for the first again.
func threeLost(t *testing.T, r *rig) (lost []*batch, futures []Future) {
	t.Helper()
	warmBoth(t, r, 5)
	for range 3 {
		futures = append(futures, r.append(0, "key", "value"))
		lost = append(lost, r.drainOne(0))
	}
	for range lost {
		r.answer(0, refusedWith(protocol.RequestTimedOut))
	}
	askAgain(t, r, lost[0])
	return lost, futures
}

// askAgain sends a batch again, under the numbers it has.
func askAgain(t *testing.T, r *rig, b *batch) {
	t.Helper()
	time.Sleep(time.Second)
	id, epoch, sequence := b.producerID, b.producerEpoch, b.baseSequence
	require.Same(t, b, r.drainOne(0))
	require.Equal(t, id, b.producerID)
	requireIdentity(t, b, epoch, sequence)
}

func TestTheOneBatchThatANodeRemembersProvesThoseBefore(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		lost, futures := threeLost(t, r)
		for _, next := range lost[1:] {
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
			askAgain(t, r, next)
		}
		r.append(0, "key", "value")
		require.Empty(t, r.drain(0), "nothing new leaves as long as it is not known what is there")
		r.answer(0, accepted(503))
		r.dispatch()
		for i, f := range futures {
			m, err := outcomeOf(t, f)
			require.NoError(t, err)
			require.Equal(t, []int64{-1, -1, 503}[i], m.Offset)
		}
		requireIdentity(t, r.drainOne(0), 5, 4)
		require.Zero(t, r.s.idem.bumps)
	})
}

func TestWhatANodeDoesNotRememberAtAllIsWrittenAnew(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		lost, futures := threeLost(t, r)
		for _, next := range lost[1:] {
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
			askAgain(t, r, next)
		}
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		time.Sleep(time.Second)
		for i, b := range lost {
			require.Same(t, b, r.drainOne(0))
			requireIdentity(t, b, 6, int32(i))
			r.answer(0, accepted(501+int64(i)))
		}
		r.dispatch()
		for i, f := range futures {
			m, err := outcomeOf(t, f)
			require.NoError(t, err)
			require.EqualValues(t, 501+i, m.Offset)
		}
		require.Equal(t, 1, r.s.idem.bumps)
	})
}

// The first batches of an epoch prove no less: the node would have taken none but the first.
func TestARememberedBatchProvesThoseBeforeFromTheFirstOfAnEpochOn(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, 4)
		r.s.idem.epoch = 5
		var lost []*batch
		for i := range int32(3) {
			lost = append(lost, sendTo(t, r, 0))
			requireIdentity(t, lost[i], 5, i)
		}
		for range lost {
			r.lose(0)
		}
		for _, b := range lost {
			askAgain(t, r, b)
			if b != lost[2] {
				r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
			}
		}
		r.answer(0, accepted(503))
		require.Empty(t, r.sequences(0).inFlight)
		require.Zero(t, r.s.idem.bumps)
	})
}

// However many came between, and if the numbers begin again.
func TestAnAcceptedBatchProvesThoseBeforeAfterBillionsOfRecords(t *testing.T) {
	p := noSequences()
	p.id, p.epoch, p.known = 7, 0, true
	at := func(sequence int32) *batch {
		return &batch{sequenced: true, producerID: 7, baseSequence: sequence, records: 10}
	}
	for sequence, i := int32(0), 0; i < 20; sequence, i = protocol.IncrementSequence(sequence, 300_000_000), i+1 {
		before, b := at(sequence), at(protocol.IncrementSequence(sequence, 10))
		require.False(t, p.passed(before), "%d", sequence)
		p.acknowledged(b, -1)
		require.True(t, p.passed(before), "%d", sequence)
		require.False(t, p.passed(at(protocol.IncrementSequence(sequence, 20))), "%d", sequence)
	}
}

func patientRig(s *settings) {
	idempotentRig(s)
	s.deliveryTimeout = time.Minute
}

// If the last batch is given up, nobody will ever know whether it is what the node remembers.
func TestABatchPutAsideIsNotForgotten(t *testing.T) {
	withRig(t, patientRig, func(t *testing.T, r *rig) {
		lost, futures := threeLost(t, r)
		for _, next := range lost[1:] {
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
			askAgain(t, r, next)
		}
		r.answer(0, refusedWith(protocol.TopicAuthorizationFailed))
		askAgain(t, r, lost[0])
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		askAgain(t, r, lost[1])
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		askAgain(t, r, lost[0])
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		r.dispatch()
		for _, f := range futures {
			_, err := outcomeOf(t, f)
			require.Equal(t, MaybeWritten, err.(*Error).Outcome())
		}
		require.EqualValues(t, rigMemory, r.free())
		requireIdentity(t, sendTo(t, r, 0), 6, 0)
	})
}

// A refusal proves nothing about earlier attempts: the broker may have taken the batch under other settings, and
// it is the one that it remembers. So the batches before it are not written again, for whatever it was refused.
func TestARefusalNowProvesNothingAboutEarlierAttempts(t *testing.T) {
	for _, code := range []protocol.ErrorCode{
		protocol.MessageTooLarge, protocol.RecordListTooLarge, protocol.InvalidRecord, protocol.InvalidTimestamp,
		protocol.UnsupportedForMessageFormat, protocol.UnsupportedCompressionType, protocol.PolicyViolation, protocol.TopicAuthorizationFailed,
	} {
		for _, lost := range []bool{false, true} { // false: answered, but with a doubt
			withRig(t, idempotentRig, func(t *testing.T, r *rig) {
				warmBoth(t, r, 5)
				first := r.append(0, "key", "value")
				a := r.drainOne(0)
				second := r.append(0, "key", "value")
				b := r.drainOne(0)
				for range 2 {
					if lost {
						r.lose(0)
					} else {
						r.answer(0, refusedWith(protocol.RequestTimedOut))
					}
				}
				askAgain(t, r, a)
				r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
				askAgain(t, r, b)
				r.answer(0, refusedWith(code))
				askAgain(t, r, a)
				r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
				r.dispatch()
				for _, f := range []Future{first, second} {
					_, err := outcomeOf(t, f)
					require.Equal(t, MaybeWritten, err.(*Error).Outcome(), "%v", err)
				}
				requireIdentity(t, sendTo(t, r, 0), 6, 0) // at once
				require.EqualValues(t, 1, r.s.idem.bumps)
			})
		}
	}
}

// A batch was refused when it was sent again, and one behind it is not in the log. Copies of both may still arrive,
// the refused one's too if the broker changes its mind, so the second one must not get new numbers. Nor is it
// worth waiting for: what comes after it goes on at once.
func TestWhatIsBehindARefusedBatchDoesNotWaitForItsCopies(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, 5)
		a, first := sendTo(t, r, 0), r.append(0, "key", "value")
		b := r.drainOne(0)
		r.lose(0)
		r.lose(0)
		askAgain(t, r, a)
		r.answer(0, refusedWith(protocol.MessageTooLarge))
		askAgain(t, r, b)
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		r.dispatch()
		_, err := outcomeOf(t, first)
		require.Equal(t, MaybeWritten, err.(*Error).Outcome())
		require.ErrorContains(t, err, "whether that one was written can no longer be found out")
		requireIdentity(t, sendTo(t, r, 0), 6, 0)
	})
}

// One that was given up for want of time is another matter: a node that was frozen takes its copy when it wakes up.
func TestWhatIsBehindAnExpiredBatchWaitsForItsCopies(t *testing.T) {
	withRig(t, patientRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, 5)
		sendTo(t, r, 0)
		time.Sleep(r.cfg.deliveryTimeout - 3*time.Second)
		b := sendTo(t, r, 0)
		r.lose(0)
		r.lose(0)
		time.Sleep(3 * time.Second)
		r.s.expire(time.Now())
		for range 2 {
			askAgain(t, r, b)
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		}
		askAgain(t, r, b)
		r.answer(0, accepted(7)) // both copies arrived
		require.Empty(t, r.sequences(0).inFlight)
		c := sendTo(t, r, 0)
		requireIdentity(t, c, 5, 3)

		// And that is the end of the doubt: a batch that is missing later is written anew.
		r.lose(0)
		askAgain(t, r, c)
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		time.Sleep(time.Second)
		require.Same(t, c, r.drainOne(0))
		requireIdentity(t, c, 6, 0)
	})
}

// Whatever gives a batch up, those put aside before it are asked for again if nothing is left to wait for.
func TestGivingUpABatchBringsBackThosePutAside(t *testing.T) {
	withRig(t, patientRig, func(t *testing.T, r *rig) {
		lost, _ := threeLost(t, r)
		for _, next := range lost[1:] {
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
			askAgain(t, r, next)
		}
		r.answer(0, refusedWith(protocol.NotEnoughReplicas))
		r.s.giveUp(lost[2], r.s.describe(lost[2], &Error{Kind: ErrDeliveryTimeout}, time.Now()), time.Now())
		require.Equal(t, lost[:2], r.queued(0))
		askAgain(t, r, lost[0])
	})
}

// A log that was made anew has none of them: there they go in their order.
func TestBatchesPutAsideGoFirstIntoANewLog(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		lost, _ := threeLost(t, r)
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		anew := *r.topic.info.Load()
		anew.ID, anew.Partitions = [16]byte{200}, slices.Clone(anew.Partitions)
		r.topic.setInfo(&anew)
		time.Sleep(time.Second)
		for i, b := range lost {
			askAgain(t, r, b)
			r.answer(0, accepted(int64(i)))
		}
		require.Zero(t, r.s.idem.bumps)
	})
}

// The log that was there before may have the records, whatever the new one says of them and of their parts.
func TestWhatANewLogRefusesMayBeInTheOneBefore(t *testing.T) {
	for _, c := range []struct{ lost, split bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		withRig(t, idempotentRig, func(t *testing.T, r *rig) {
			warm(t, r)
			futures := []Future{r.append(0, "key", "value"), r.append(0, "key", "value")}
			b := r.drainOne(0)
			if c.lost {
				r.lose(0)
			} else {
				r.answer(0, refusedWith(protocol.NotEnoughReplicas))
			}
			anew := *r.topic.info.Load()
			anew.ID, anew.Partitions = [16]byte{200}, slices.Clone(anew.Partitions)
			r.topic.setInfo(&anew)
			askAgain(t, r, b)
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber)) // it knows nothing of the producer
			time.Sleep(time.Second)
			require.Same(t, b, r.drainOne(0))
			requireIdentity(t, b, 1, 0)
			parts := 1
			if c.split {
				r.answer(0, refusedWith(protocol.MessageTooLarge))
				r.drainOne(0)
				parts = 2
			}
			for i := range parts {
				if i > 0 {
					r.drainOne(0)
				}
				r.answer(0, refusedWith(protocol.InvalidRecord))
			}
			r.dispatch()
			want := Rejected
			if c.lost {
				want = MaybeWritten
			}
			for _, f := range futures {
				_, err := outcomeOf(t, f)
				require.ErrorIs(t, err, protocol.InvalidRecord)
				require.Equal(t, want, err.(*Error).Outcome())
			}
		})
	}
}
