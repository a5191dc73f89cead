package quill

import (
	"github.com/quill-kafka/quill/protocol"
)

// The verdict on a batch after one request. decide is pure: it reads facts and changes nothing; the
// sender's apply carries the verdict out and reads no error codes.

// action is what happens to a batch whose request is back.
type action uint8

const (
	actAccept action = iota // done: the records are in the log
	actRetry                // send it again, later
	actPark                 // the same, but not before later batches were sent again, whose answers may show whether this one was written
	actSplit                // too large: cut it and send the parts
	actSieve                // some records are to blame: fail these and send the others again
	actFail                 // give it up: its records fail
	actForget               // it was completed before (it expired); only its sequence and memory are left
)

var actionNames = [...]string{"accept", "retry", "park", "split", "sieve", "fail", "forget"}

func (a action) String() string { return actionNames[a] }

// facts are the input of decide.
type facts struct {
	idempotent    bool
	transactional bool // only the coordinator gives out epochs
	answer        answerFacts
	batch         batchFacts
	near          nearFacts
}

// answerFacts describe the answer.
type answerFacts struct {
	code      protocol.ErrorCode // the broker's verdict; None if lost is set
	lost      bool               // no answer: disconnected, timed out, or the answer left the partition out
	unsent    bool               // lost, and no byte had left
	again     bool               // the answer to the attempt before had the same code
	blamed    bool               // the broker names some of the records, not all, as the ones it refuses (KIP-467)
	foreign   bool               // success, but the log has another producer's records under the batch's numbers; see sender.foreign
	logStart  int64              // the log's first offset, -1 if the broker did not say
	truncated bool               // every record that was acknowledged under the batch's epoch has been deleted from the log since
}

// batchFacts describe the batch.
type batchFacts struct {
	records    int32
	decided    bool // its records were completed before
	mayRetry   bool // retries and delivery time are left
	wasMaybe   bool // an earlier attempt may be in the log
	unanswered bool // an attempt, this one included, had no answer: a copy may still arrive
}

// nearFacts describe the batches before and behind it in its partition.
type nearFacts struct {
	head         bool     // the first batch of its partition in flight: nothing earlier is unsettled
	late         lateCopy // whether a copy of one before it that was given up may still arrive
	passed       bool     // a later batch of the same epoch was accepted: this one must be in the log
	followed     bool     // a later batch that can be sent again may be in the log too
	laterGivenUp bool     // a later batch that was given up may be in the log
}

// verdict is decide's answer.
type verdict struct {
	act     action
	log     logState
	numbers numbersState
	cure    cure
	refresh bool // ask for metadata: the leader may have moved
	fatal   bool // the producer can't go on
}

// logState says whether the records are in the log, as far as is known after the answer.
type logState uint8

const (
	notInLog   logState = iota
	maybeInLog          // without our knowing
	inLog               // but the answer does not say where: for a duplicate its offset does not count
	inLogAt             // at the answer's offset
)

// written reports whether the records are in the log.
func (l logState) written() bool { return l >= inLog }

// doubtful returns maybeInLog if the records may be in the log, else notInLog.
func doubtful(maybe bool) logState {
	if maybe {
		return maybeInLog
	}
	return notInLog
}

// numbersState says what becomes of the sequences of a batch that is not in the log for all that is known.
type numbersState uint8

const (
	// numbersKept: it is sent again under them, or as parts that share them; or it has none.
	numbersKept numbersState = iota
	// numbersUnused: the batch is given up, is surely not in the log under them, and never will be. Later batches of the
	// partition need new ones, under a new epoch.
	numbersUnused
	// numbersRenewed: the same, but the batch is to be sent again itself, under new ones.
	numbersRenewed
	// numbersOpen: the batch is given up while it may be in the log. Whether they are used up is not known until a later
	// batch is answered.
	numbersOpen
	// numbersRefused: the same, and it is given up because a broker refused it, not for want of time. That proves nothing
	// about its other copies, which another broker, or this one under other settings, may have taken or may take yet.
	numbersRefused
)

// gap reports whether no record will ever be in the log under these sequences.
func (n numbersState) gap() bool { return n == numbersUnused || n == numbersRenewed }

// open reports whether it is unknown if they are used up.
func (n numbersState) open() bool { return n == numbersOpen || n == numbersRefused }

// outOfTime returns what becomes of the sequences of a batch that is given up because its time is over.
func outOfTime(maybe bool) numbersState {
	if maybe {
		return numbersOpen
	}
	return numbersUnused
}

// givenUp returns what becomes of the sequences of a batch that is given up after an answer.
func (f facts) givenUp(log logState) numbersState {
	if log == maybeInLog && f.batch.mayRetry {
		return numbersRefused
	}
	return outOfTime(log == maybeInLog)
}

// cure is what the producer needs before brokers take its sequences again.
type cure uint8

const (
	cureNone    cure = iota
	cureEpoch        // a new epoch: the broker's idea of the sequences is not ours
	cureRestart      // of a transactional producer, whose epoch can't change: the broker does not know it any more, and takes 0 again
	cureID           // another producer id: this one is no longer accepted, or another producer has it too
)

// newEpoch reports whether the broker's idea of the sequences is not ours.
func (c cure) newEpoch() bool { return c == cureEpoch || c == cureRestart }

// decide returns the verdict on a batch. The table is that of Kafka 4.4 (Sender.completeBatch,
// TransactionManager.canRetry), with two deviations on purpose: only batches that are known not to be
// in the log get new sequences (KAFKA-14397, KAFKA-14034), and records that were only in the same batch
// as one that the broker refuses are sent again.
func decide(f facts) verdict {
	if f.answer.foreign {
		return decideIdentity(f, verdict{log: maybeInLog})
	}
	if f.answer.code == protocol.None && !f.answer.lost {
		return verdict{act: acceptOr(f.batch.decided), log: inLogAt}
	}
	if f.answer.code == protocol.DuplicateSequenceNumber {
		return verdict{act: acceptOr(f.batch.decided), log: inLog}
	}
	v := verdict{refresh: f.answer.lost && !f.answer.unsent || f.answer.code.RefreshMetadata(),
		log: doubtful(f.batch.wasMaybe || f.answer.leavesDoubt())}
	if f.idempotent && (f.answer.code == protocol.OutOfOrderSequenceNumber || f.answer.code == protocol.UnknownProducerID) {
		return decideSequence(f, v)
	}
	if f.idempotent && !f.transactional && endsIdentity(f.answer.code) {
		return decideIdentity(f, v)
	}
	switch {
	case f.batch.decided:
		v.act = actForget
	case f.answer.code == protocol.MessageTooLarge && f.batch.records > 1 && !(f.idempotent && v.log == maybeInLog):
		// If it may be written, its parts would be written again.
		v.act = actSplit
		return v
	case f.batch.mayRetry && (f.answer.lost || f.answer.code.Retriable()):
		v.act = actRetry
		return v
	case f.batch.mayRetry && f.answer.blamed && v.log == notInLog: // a copy in the log would have the others in it
		v.act = actSieve
	default:
		v.act = actFail
		v.fatal = f.idempotent && fatalForProducer(f.answer.code, f.transactional)
	}
	// Given up: what follows in the partition depends on whether its sequences were used.
	if f.idempotent {
		v.numbers = f.givenUp(v.log)
	}
	return v
}

// trouble is the meaning of a complaint about sequences: OUT_OF_ORDER_SEQUENCE_NUMBER or UNKNOWN_PRODUCER_ID,
// which a broker answers if the batch does not follow the last one that it knows of.
type trouble uint8

const (
	// alreadyWritten: later batches were accepted, and each follows the one before without a gap, so the batch is in
	// the log. The broker remembers the last five only, and this one was sent again after them. Not so if every attempt
	// was refused: then the broker took the later ones because it had forgotten us.
	alreadyWritten trouble = iota
	// earlierMissing: a batch before it, which is in flight too, is not in the log yet. This one waits for that one.
	earlierMissing
	// lastOnlyKnown: it may be in the log, and a later one too. A broker that was stopped in good order remembers only
	// the last batch of each producer, because its snapshots hold only that. So this one is parked until the later ones
	// were sent again: a batch that the broker knows proves that all before it are in the log. If it knows none, none is
	// there. But if one of them was given up meanwhile, there is no proof any more. The reason for giving it up does not
	// matter: a broker that refuses it for its content may have taken it before, because settings change
	// (max.message.bytes, cleanup.policy …), and so do releases and leaders.
	lastOnlyKnown
	// lateCopies: an earlier batch was given up while a copy of it may still arrive (from a connection to a node that
	// was frozen, say), and so may a copy of this one. If the first is accepted the second will be too, so this one is
	// not given new sequences. It is sent again under its old ones until it expires. But if the earlier one was refused
	// when it was sent again, its copy most likely will be too: then this one is given up as well, and later batches
	// need not wait.
	lateCopies
	// producerForgotten: the broker (before 2.5) has lost its state of the producer, so it can't be found out whether an
	// earlier attempt is in its log. Not so if it forgot the producer because all of its records were deleted: an attempt
	// that was written since would have made it known again.
	producerForgotten
	// stateLost: nothing before it is unsettled, and yet it is out of order. The broker does not have what it
	// acknowledged before (lost or expired producer state). The batch and all after it are not in the log, and start
	// again under a new epoch (KIP-360).
	stateLost
)

// trouble returns the meaning of the complaint in f.
func (f facts) trouble() trouble {
	switch {
	case f.near.passed && f.batch.wasMaybe:
		return alreadyWritten
	case !f.near.head:
		return earlierMissing
	case f.batch.wasMaybe && (f.near.followed || f.near.laterGivenUp) && f.answer.code == protocol.OutOfOrderSequenceNumber:
		return lastOnlyKnown
	case f.lateCopies():
		return lateCopies
	case f.batch.wasMaybe && f.answer.code == protocol.UnknownProducerID && f.answer.logStart >= 0 && !f.answer.truncated:
		return producerForgotten
	}
	return stateLost
}

// lateCopies reports whether copies of the batch and of one before it that was given up may still arrive.
func (f facts) lateCopies() bool { return f.batch.unanswered && f.near.late != noLateCopy }

// decideSequence returns the verdict on a batch whose sequences the broker complains about.
func decideSequence(f facts, v verdict) verdict {
	hopeless := false // no later answer will show whether the batch was written
	switch v.refresh = false; f.trouble() {
	case alreadyWritten:
		return verdict{act: acceptOr(f.batch.decided), log: inLog}
	case stateLost:
		return decideLost(f, v)
	case lastOnlyKnown:
		hopeless = !f.near.followed
	case lateCopies:
		hopeless = f.near.late == unlikelyLateCopy && !f.near.followed
	case producerForgotten:
		hopeless = true
	}
	if f.batch.decided || !f.batch.mayRetry || hopeless {
		v.act, v.log, v.numbers = failOr(f.batch.decided), doubtful(f.batch.wasMaybe), f.givenUp(maybeInLog)
		return v
	}
	v.act = retryOrPark(f.near.head && f.batch.wasMaybe)
	return v
}

// decideLost returns the verdict on a batch whose broker has lost its state of the producer.
func decideLost(f facts, v verdict) verdict {
	unknown := f.answer.code == protocol.UnknownProducerID
	// Without the log's start the broker may just be losing the partition, and the next leader may know us. A broker that
	// answers the same again has forgotten us, which is proof enough if no earlier attempt may be in the log.
	sure := !unknown || f.answer.logStart >= 0 || f.answer.again && !f.batch.wasMaybe
	// A transaction can't start again under a new epoch, because only the coordinator gives those. It goes on only if the
	// broker forgot the producer because its records were deleted, and so takes sequence 0 again.
	stuck := f.transactional && (!unknown || sure && !f.answer.truncated)
	switch {
	case f.batch.decided || !f.batch.mayRetry || stuck:
		v.act, v.log, v.numbers = failOr(f.batch.decided), notInLog, numbersUnused
	case sure:
		v.act, v.log, v.numbers = actRetry, notInLog, numbersRenewed
	default:
		v.act = retryOrPark(f.batch.wasMaybe)
		return v
	}
	if v.cure = cureEpoch; f.transactional && unknown {
		v.cure = cureRestart
	}
	return v
}

// decideIdentity returns the verdict after an answer that every batch would get under the same producer id, under any
// epoch. The batch is sent again under the next id if it is surely not in the log.
func decideIdentity(f facts, v verdict) verdict {
	if !f.transactional {
		v.cure = cureID
	}
	if f.batch.mayRetry && !f.batch.decided && v.log == notInLog {
		v.act, v.numbers = actRetry, numbersRenewed
		return v
	}
	v.act, v.numbers = failOr(f.batch.decided), f.givenUp(v.log)
	return v
}

// worthRetry reports whether the batch would be sent again if retries and delivery time were left.
func (f facts) worthRetry() bool {
	f.batch.mayRetry = true
	switch decide(f).act {
	case actRetry, actPark, actSieve:
		return true
	}
	return false
}

// acceptOr returns actAccept, or actForget if the records' outcome was reported before.
func acceptOr(decided bool) action {
	if decided {
		return actForget
	}
	return actAccept
}

// retryOrPark returns actPark if later answers may show whether the batch was written, else actRetry.
func retryOrPark(park bool) action {
	if park {
		return actPark
	}
	return actRetry
}

// failOr returns actFail, or actForget if the records' outcome was reported before.
func failOr(decided bool) action {
	if decided {
		return actForget
	}
	return actFail
}

// leavesDoubt reports whether the records of this attempt may be in the log after this answer, or after
// none.
func (a answerFacts) leavesDoubt() bool {
	if a.lost {
		return !a.unsent
	}
	switch a.code {
	case protocol.RequestTimedOut, protocol.NotEnoughReplicasAfterAppend, protocol.NetworkException,
		protocol.UnknownServerError, protocol.KafkaStorageError:
		return true
	case protocol.NotLeaderOrFollower, protocol.UnknownTopicOrPartition:
		return true // the leader may have lost the partition while the appended batch waited for its replicas (DelayedProduce)
	}
	return !a.code.Known()
}

// fatalForProducer reports whether nothing can be sent any more after that answer to an idempotent Produce.
func fatalForProducer(code protocol.ErrorCode, transactional bool) bool {
	switch code {
	case protocol.ClusterAuthorizationFailed, protocol.TransactionalIDAuthorizationFailed, protocol.UnsupportedVersion:
		return true
	case protocol.InvalidProducerIDMapping, protocol.ProducerFenced:
		return transactional // its id comes from the coordinator
	}
	return false
}

// endsIdentity reports whether a producer without a transactional id needs another producer id after that answer. The
// broker knows the id under a higher epoch, or as that of a transactional producer, or not at all: ids were given out
// twice, after a restore or by mirroring, or several processes go on from one snapshot of a virtual machine.
// A higher epoch of the same id is no cure, for the other producer may be about to take that one.
func endsIdentity(code protocol.ErrorCode) bool {
	switch code {
	case protocol.InvalidProducerEpoch, protocol.ProducerFenced, protocol.InvalidProducerIDMapping, protocol.InvalidTxnState:
		return true
	}
	return false
}
