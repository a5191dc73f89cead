package quill

import (
	"slices"
	"testing"

	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// Kafka's own lists, written down once more: RetriableException, those of it that are
// InvalidMetadataException (or say that the node is no longer the leader), and the answers after
// which the batch may be in the log.
var (
	retriableCodes = []protocol.ErrorCode{
		protocol.CorruptMessage, protocol.UnknownTopicOrPartition, protocol.LeaderNotAvailable, protocol.NotLeaderOrFollower,
		protocol.RequestTimedOut, protocol.NetworkException, protocol.CoordinatorLoadInProgress, protocol.CoordinatorNotAvailable,
		protocol.NotCoordinator, protocol.NotEnoughReplicas, protocol.NotEnoughReplicasAfterAppend, protocol.KafkaStorageError,
		protocol.FencedLeaderEpoch, protocol.UnknownLeaderEpoch, protocol.ConcurrentTransactions, protocol.ThrottlingQuotaExceeded,
		protocol.UnknownTopicID, protocol.InconsistentTopicID, protocol.ReplicaNotAvailable, protocol.ListenerNotFound,
		// These no Produce answer carries, but a table is a table.
		protocol.NotController, protocol.FetchSessionIDNotFound, protocol.InvalidFetchSessionEpoch, protocol.FetchSessionTopicIDError,
		protocol.OffsetNotAvailable, protocol.PreferredLeaderNotAvailable, protocol.EligibleLeadersNotAvailable, protocol.ElectionNotNeeded,
		protocol.UnstableOffsetCommit, protocol.ShareSessionNotFound, protocol.InvalidShareSessionEpoch, protocol.ShareSessionLimitReached,
	}
	doubtfulCodes = []protocol.ErrorCode{
		protocol.UnknownServerError, protocol.RequestTimedOut, protocol.NetworkException, protocol.NotEnoughReplicasAfterAppend,
		protocol.KafkaStorageError, protocol.NotLeaderOrFollower, protocol.UnknownTopicOrPartition,
	}
	fatalCodes = []protocol.ErrorCode{
		protocol.ClusterAuthorizationFailed, protocol.TransactionalIDAuthorizationFailed, protocol.UnsupportedVersion,
	}
	// identityCodes are the answers that are the same for every batch of a producer id: another id is needed.
	// They are fatal where the id is that of a transactional id.
	identityCodes = []protocol.ErrorCode{
		protocol.InvalidProducerEpoch, protocol.ProducerFenced, protocol.InvalidProducerIDMapping, protocol.InvalidTxnState,
	}
	sequenceCodes = []protocol.ErrorCode{protocol.OutOfOrderSequenceNumber, protocol.UnknownProducerID}
)

// everyFact calls test for every error code (and some unknown ones) in every circumstance.
func everyFact(test func(f facts)) {
	for code := protocol.ErrorCode(-2); code < 200; code++ {
		for bits := range 1 << 9 {
			for _, records := range []int32{1, 2} {
				is := func(i int) bool { return bits>>i&1 == 1 }
				test(facts{idempotent: is(0),
					answer: answerFacts{code: code, logStart: int64(bits>>6&1) - 1, blamed: is(7) && records > 1},
					batch:  batchFacts{records: records, mayRetry: is(1), decided: is(3), wasMaybe: is(4)},
					near:   nearFacts{head: is(2), passed: is(5) && is(0), followed: is(8), laterGivenUp: is(7)}})
			}
		}
	}
}

// sentAgain reports whether the batch is sent again as it is, now or later.
func sentAgain(v verdict) bool { return v.act == actRetry || v.act == actPark }

// actionFor follows Kafka's table (Sender.completeBatch, canRetry) in other words than decide's.
func actionFor(f facts) action {
	sequence := f.idempotent && slices.Contains(sequenceCodes, f.answer.code)
	switch {
	case f.batch.decided:
		return actForget
	case f.answer.code == protocol.None, f.answer.code == protocol.DuplicateSequenceNumber, sequence && f.near.passed && f.batch.wasMaybe:
		return actAccept
	case f.answer.code == protocol.MessageTooLarge && f.batch.records > 1 && !(f.idempotent && f.batch.wasMaybe):
		return actSplit
	case f.answer.code == protocol.OutOfOrderSequenceNumber && f.idempotent && f.near.head && f.batch.wasMaybe && f.near.laterGivenUp && !f.near.followed:
		return actFail // it will never be known
	case f.answer.code == protocol.UnknownProducerID && f.idempotent && f.near.head && f.batch.wasMaybe && f.answer.logStart >= 0:
		return actFail // the broker has forgotten whether it has the batch; Java sends it again
	case f.batch.mayRetry && f.idempotent && !f.batch.wasMaybe && slices.Contains(identityCodes, f.answer.code):
		return actRetry
	case f.batch.mayRetry && (sequence || slices.Contains(retriableCodes, f.answer.code)):
		return actRetry
	case f.idempotent && slices.Contains(identityCodes, f.answer.code):
		return actFail // the others would be refused too
	case f.batch.mayRetry && f.answer.blamed && !f.batch.wasMaybe && f.answer.code.Known() && !slices.Contains(doubtfulCodes, f.answer.code):
		return actSieve
	}
	return actFail
}

func TestDecideFollowsKafkasTable(t *testing.T) {
	everyFact(func(f facts) {
		v := decide(f)
		act := v.act
		if act == actPark {
			act = actRetry
		}
		require.Equal(t, actionFor(f), act, "%v %+v", f.answer.code, f)
		doubt := f.batch.wasMaybe || slices.Contains(doubtfulCodes, f.answer.code) || !f.answer.code.Known()
		switch sequence := f.idempotent && slices.Contains(sequenceCodes, f.answer.code); {
		case v.log.written():
			require.Contains(t, append([]protocol.ErrorCode{protocol.None, protocol.DuplicateSequenceNumber}, sequenceCodes...), f.answer.code)
			require.Equal(t, v.log == inLogAt, f.answer.code == protocol.None)
		case sequence:
			require.False(t, v.refresh)
			require.Equal(t, v.log == maybeInLog, f.batch.wasMaybe && !v.numbers.gap(), "%+v", f)
			require.Equal(t, v.cure.newEpoch(), v.numbers.gap(), "%+v", f)
			require.True(t, !v.numbers.gap() || f.near.head, "only the head is known not to be in the log")
			forgotten := f.answer.code == protocol.OutOfOrderSequenceNumber && f.batch.wasMaybe && (f.near.followed || f.near.laterGivenUp)
			require.False(t, v.numbers.gap() && forgotten, "nor if the node may remember another one only: %+v", f)
			require.Equal(t, v.act == actPark, sentAgain(v) && f.near.head && f.batch.wasMaybe && !v.numbers.gap(), "%+v", f)
		case f.idempotent && slices.Contains(identityCodes, f.answer.code):
			require.True(t, v.cure == cureID, "%+v", f)
			require.Equal(t, v.act == actRetry, v.numbers == numbersRenewed, "%+v", f)
			require.Equal(t, f.batch.wasMaybe, v.log == maybeInLog, "%+v", f)
			require.False(t, v.cure.newEpoch(), "an epoch of the same id is no cure: %+v", f)
		default:
			require.Equal(t, doubt, v.log == maybeInLog, "%v %+v", f.answer.code, f)
			require.Equal(t, f.answer.code.RefreshMetadata(), v.refresh)
			require.False(t, v.cure.newEpoch())
			require.False(t, v.numbers == numbersRenewed)
		}
		require.Equal(t, v.fatal, v.act == actFail && f.idempotent && slices.Contains(fatalCodes, f.answer.code), "%v %+v", f.answer.code, f)
	})
}

func TestDecideOnALostRequest(t *testing.T) {
	for bits := range 1 << 6 {
		is := func(i int) bool { return bits>>i&1 == 1 }
		f := facts{idempotent: is(1), answer: answerFacts{lost: true, unsent: is(0)}, near: nearFacts{head: is(3)},
			batch: batchFacts{records: 2, mayRetry: is(2), decided: is(4), wasMaybe: is(5)}}
		v := decide(f)
		want := actFail
		if f.batch.mayRetry {
			want = actRetry
		}
		if f.batch.decided {
			want = actForget
		}
		require.Equal(t, want, v.act, "%+v", f)
		require.Equal(t, !f.answer.unsent, v.refresh)
		require.Equal(t, f.batch.wasMaybe || !f.answer.unsent, v.log == maybeInLog)
		if !sentAgain(v) && f.idempotent {
			require.Equal(t, v.log == maybeInLog, v.numbers.open())
			require.Equal(t, v.log != maybeInLog, v.numbers.gap())
		}
	}
}

// What sequences rely on: a batch never gets new numbers while it may be in the log, and one that is
// given up leaves either a gap or a doubt, never nothing.
func TestDecideKeepsSequencesHonest(t *testing.T) {
	everyFact(func(f facts) {
		v := decide(f)
		require.False(t, v.numbers.gap() && v.log == maybeInLog, "%v %+v", f.answer.code, f)
		require.False(t, v.numbers.gap() && v.numbers.open(), "%v %+v", f.answer.code, f)
		require.False(t, v.numbers == numbersRenewed && (v.log == maybeInLog || !v.numbers.gap() || !sentAgain(v)), "%v %+v", f.answer.code, f)
		require.False(t, v.log.written() && (v.numbers.gap() || v.numbers.open() || v.fatal), "%v %+v", f.answer.code, f)
		givenUp := !v.log.written() && (v.act == actFail || v.act == actForget || v.act == actSieve)
		require.Equal(t, givenUp && f.idempotent, (v.numbers.gap() || v.numbers.open()) && !sentAgain(v), "%v %+v", f.answer.code, f)
		if !f.idempotent {
			require.False(t, v.numbers.gap() || v.numbers.open() || v.cure.newEpoch() || v.fatal)
		}
	})
}

// An out-of-order head with copies under way that a batch given up before it could let in is never renumbered. It
// is asked for again if that one's copy is expected, and given up if it was refused.
func TestDecideInDoubt(t *testing.T) {
	everyFact(func(f facts) {
		if !slices.Contains(sequenceCodes, f.answer.code) || !f.idempotent || !f.batch.wasMaybe || f.near.passed {
			return
		}
		f.batch.unanswered = true
		for _, f.near.late = range []lateCopy{likelyLateCopy, unlikelyLateCopy} {
			v := decide(f)
			require.False(t, v.numbers.gap() || v.numbers == numbersRenewed, "%+v", f)
			require.True(t, v.log == maybeInLog, "%+v", f)
			forgotten := f.answer.code == protocol.OutOfOrderSequenceNumber && (f.near.followed || f.near.laterGivenUp)
			givenUp := f.batch.decided || !f.batch.mayRetry || f.near.head && !f.near.followed && (f.near.late == unlikelyLateCopy || forgotten)
			require.Equal(t, givenUp, !sentAgain(v), "%+v", f)
			require.Equal(t, givenUp && f.batch.mayRetry, v.numbers == numbersRefused, "%+v", f)
		}
	})
}

// A broker that answers UNKNOWN_PRODUCER_ID without the log's start has forgotten the producer if it says so twice. But an
// attempt before that may be in its log, and then new sequences would write it once more.
func TestDecideOnABrokerThatForgotTheProducerTwice(t *testing.T) {
	f := facts{idempotent: true, answer: answerFacts{code: protocol.UnknownProducerID, logStart: -1, again: true},
		batch: batchFacts{records: 1, mayRetry: true}, near: nearFacts{head: true}}
	v := decide(f)
	require.True(t, v.act == actRetry && v.numbers == numbersRenewed && v.cure.newEpoch())
	f.batch.wasMaybe = true
	v = decide(f)
	require.True(t, sentAgain(v))
	require.False(t, v.numbers == numbersRenewed || v.numbers.gap())
	require.True(t, v.log == maybeInLog)
}

// In a transaction only the coordinator gives out epochs: where another producer would begin a new one,
// the batch fails and with it the transaction. One that the broker forgot with all it had begins at 0
// under the same epoch (brokers before 2.5).
func TestDecideInATransaction(t *testing.T) {
	everyFact(func(f facts) {
		if !f.idempotent {
			return
		}
		for _, truncated := range []bool{false, true} {
			f.transactional, f.answer.truncated = false, truncated
			other := decide(f)
			f.transactional = true
			v := decide(f)
			if slices.Contains(identityCodes, f.answer.code) && !v.log.written() {
				fatal := f.answer.code == protocol.InvalidProducerIDMapping || f.answer.code == protocol.ProducerFenced
				require.Equal(t, fatal && v.act == actFail, v.fatal, "%v %+v", f.answer.code, f)
				require.False(t, v.cure == cureID, "%v %+v", f.answer.code, f)
				continue
			}
			if v.cure == cureRestart { // which is for later
				v.cure = cureEpoch
			}
			forgotten := f.answer.code == protocol.UnknownProducerID && truncated && f.answer.logStart >= 0
			if other.numbers != numbersRenewed || forgotten {
				require.Equal(t, other, v, "%v %+v", f.answer.code, f)
				continue
			}
			require.Equal(t, actFail, v.act, "%v %+v", f.answer.code, f)
			require.True(t, v.numbers.gap() && v.log != maybeInLog && !v.numbers.open() && v.numbers != numbersRenewed && !v.fatal, "%v %+v", f.answer.code, f)
		}
	})
}

func TestActionsHaveNames(t *testing.T) {
	var names []string
	for a := range action(len(actionNames)) {
		names = append(names, a.String())
	}
	require.Equal(t, []string{"accept", "retry", "park", "split", "sieve", "fail", "forget"}, names)
}
