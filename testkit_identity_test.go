package quill

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// What is in flight behind a batch whose refusal ends the producer is answered with what follows from that: out of
// order, or lost. The error is the reason, not the consequence. What a batch is refused for by itself stays.
func TestBatchesBehindAFatalRefusalFailForItsReason(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		var futures []Future
		for range 5 {
			futures = append(futures, r.append(0, "key", "value"))
			r.drainOne(0)
		}
		r.answer(0, refusedWith(protocol.ClusterAuthorizationFailed))
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		r.answer(0, refusedWith(protocol.UnknownProducerID))
		r.answer(0, refusedWith(protocol.InvalidTimestamp))
		r.lose(0)
		r.dispatch()
		for i, f := range futures {
			_, err := outcomeOf(t, f)
			e := err.(*Error)
			require.Equal(t, Rejected, e.Outcome, "none is in the log without the first: %v", err)
			if i == 3 {
				require.ErrorIs(t, err, protocol.InvalidTimestamp)
				continue
			}
			require.ErrorIs(t, err, protocol.ClusterAuthorizationFailed)
			require.ErrorIs(t, err, ErrFatal)
		}
	})
}

// Of a duplicate a broker reports the batch's largest timestamp as log append time. It is not one: the records keep
// their own. In a first answer it is what it says, though it be the same.
func TestTheLogAppendTimeOfADuplicateIsNone(t *testing.T) {
	for _, again := range []bool{true, false} {
		withRig(t, idempotentRig, func(t *testing.T, r *rig) {
			warm(t, r)
			var futures []Future
			for _, at := range []int64{1_000, 5_000, 3_000} {
				in := one("key", "value")
				in.timestamp = at
				futures = append(futures, r.appendInput(0, in))
			}
			r.s.acc.linger = 0
			b := r.drainOne(0)
			require.EqualValues(t, 3, b.records)
			if r.topic.ownTimes = again; again {
				r.lose(0)
				askAgain(t, r, b)
			}
			r.answer(0, appendedAt(10, 5_000))
			r.dispatch()
			for i, f := range futures {
				m, err := outcomeOf(t, f)
				require.NoError(t, err)
				want := int64(5_000)
				if again {
					want = []int64{1_000, 5_000, 3_000}[i]
				}
				require.Equal(t, want, m.Timestamp.UnixMilli())
			}
		})
	}
}

// A batch that was only refused until now, and is answered as a duplicate with its own timestamp, is not in the log: what
// is there is another producer's, of the same millisecond.
func TestABatchThatWasOnlyRefusedIsNoDuplicate(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.InvalidProducerEpoch, protocol.NotEnoughReplicas, protocol.OutOfOrderSequenceNumber} {
		withRig(t, idempotentRig, func(t *testing.T, r *rig) {
			warm(t, r) // the answer to which had no log append time
			in := one("key", "value")
			in.timestamp = 5_000
			f := r.appendInput(0, in)
			b := r.drainOne(0)
			r.answer(0, refusedWith(code))
			time.Sleep(time.Second)
			if code != protocol.NotEnoughReplicas { // it gets new numbers
				r.s.idem = idempotence{on: true, state: idReady, id: 8}
			}
			r.s.look(b.queue, time.Now())
			require.Same(t, b, r.drainOne(0))
			r.answer(0, appendedAt(10, 5_000))
			r.dispatch()
			_, err := outcomeOf(t, f)
			require.Error(t, err, code)
			require.Equal(t, MaybeWritten, err.(*Error).Outcome, code)
			require.ErrorContains(t, err, "another producer")
		})
	}
}

// Where brokers set the timestamps, one that happens to be that of a record which was refused before is what it says.
func TestALogAppendTimeAfterARefusalIsWhatItSays(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		var futures []Future
		for _, at := range []int64{1_000, 5_000} {
			in := one("key", "value")
			in.timestamp = at
			futures = append(futures, r.appendInput(0, in))
		}
		b := r.drainOne(0)
		require.EqualValues(t, 2, b.records)
		r.answer(0, refusedWith(protocol.NotEnoughReplicas))
		askAgain(t, r, b)
		r.answer(0, appendedAt(10, 5_000))
		r.dispatch()
		for _, f := range futures {
			m, err := outcomeOf(t, f)
			require.NoError(t, err)
			require.EqualValues(t, 5_000, m.Timestamp.UnixMilli())
		}
	})
}

// A duplicate with another timestamp than the batch's own is that of another producer's batch, on a topic whose records
// keep their timestamps.
func TestADuplicateWithAnotherTimestampIsAnotherProducers(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r) // the answer to which had no log append time
		in := one("key", "value")
		in.timestamp = 5_000
		f := r.appendInput(0, in)
		b := r.drainOne(0)
		r.lose(0)
		askAgain(t, r, b)
		r.answer(0, appendedAt(10, 5_001))
		r.dispatch()
		_, err := outcomeOf(t, f)
		require.Equal(t, MaybeWritten, err.(*Error).Outcome)
		require.ErrorContains(t, err, "another producer")
		require.Equal(t, idNone, r.s.idem.state)
	})
}

// Answers that come late, to batches of the producer id before, say nothing about the next one.
func TestAnswersToOldBatchesDoNotEndTheNextProducerID(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, 0)
		sendTo(t, r, 0)
		sendTo(t, r, 2)
		r.answer(0, refusedWith(protocol.InvalidProducerEpoch))
		require.NotEqual(t, idReady, r.s.idem.state)
		r.s.idem.state, r.s.idem.id, r.s.idem.epoch = idReady, 8, 0
		r.answer(1, refusedWith(protocol.InvalidProducerEpoch))
		require.Equal(t, idReady, r.s.idem.state)
		require.EqualValues(t, 8, r.s.idem.id)
	})
}
