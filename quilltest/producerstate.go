package quilltest

import (
	"fmt"
	"math"

	"github.com/quill-kafka/quill/protocol"
)

// A partition remembers for each producer id its epoch and its last five batches (KIP-98,
// KAFKA-5494; Kafka: ProducerStateManager). By these it distinguishes a batch that continues the sequence
// from one that was sent twice and from one that comes out of order:
//
//	epoch below the known one                → INVALID_PRODUCER_EPOCH
//	same epoch and the sequences of one of
//	the last five batches                    → success, with that batch's offset
//	a new epoch, base sequence 0             → appended
//	a new epoch, other base sequence         → OUT_OF_ORDER_SEQUENCE_NUMBER
//	same epoch, base sequence = last + 1     → appended (0 follows 2^31-1)
//	same epoch, anything else                → OUT_OF_ORDER_SEQUENCE_NUMBER
//	in sequence, but outside the producer's
//	transaction, which is open here          → INVALID_TXN_STATE
//	unknown producer id                      → appended, whatever its base sequence (KIP-360, KAFKA-7190),
//	but in a transaction                     → OUT_OF_ORDER_SEQUENCE_NUMBER if it is not 0 (version 2), or
//	                                           not the lowest that came so far (version 1; KIP-890)
//
// Before release 2.5 an unknown producer id with another base sequence than 0 was refused with
// UNKNOWN_PRODUCER_ID, and 0.11 had DUPLICATE_SEQUENCE_NUMBER for sequences older than what it
// remembers.

// remembered is how many batches a partition knows of each producer id.
const remembered = 5

// sentBatch is what is remembered of one batch.
type sentBatch struct {
	baseSequence, lastSequence int32
	baseOffset                 int64
	timestamp                  int64
}

// producerState is what a partition knows of one producer id.
type producerState struct {
	epoch   int16
	batches []sentBatch // oldest first, at most remembered; none after a marker of a new epoch
	// transaction is the offset at which the open transaction begins, or noTransaction.
	transaction int64
}

const noTransaction int64 = -1

// verdict is what the state says about a batch: append it, answer with an earlier one's offset, or
// refuse it.
type verdict struct {
	duplicate *sentBatch
	code      protocol.ErrorCode
	reason    string
}

// check says what is to be done with a batch. A nil receiver is an unknown producer id.
func (s *producerState) check(h *protocol.BatchHeader, rules sequenceRules) verdict {
	base, last := h.BaseSequence, h.LastSequence()
	switch {
	case s != nil:
	case h.ProducerEpoch < protocol.NoProducerEpoch:
		return verdict{code: protocol.InvalidProducerEpoch, reason: fmt.Sprintf("epoch %d of producer id %d", h.ProducerEpoch, h.ProducerID)}
	case rules.refuseUnknown && base != 0:
		return verdict{code: protocol.UnknownProducerID, reason: fmt.Sprintf("found no record of producer id %d", h.ProducerID)}
	case base > rules.latestStart:
		return verdict{code: protocol.OutOfOrderSequenceNumber, reason: fmt.Sprintf(
			"invalid sequence number for producer id %d at an empty partition: %d", h.ProducerID, base)}
	default:
		return verdict{}
	}
	if h.ProducerEpoch < s.epoch {
		return verdict{code: protocol.InvalidProducerEpoch, reason: fmt.Sprintf(
			"epoch of producer id %d is %d, which is smaller than the last seen epoch %d", h.ProducerID, h.ProducerEpoch, s.epoch)}
	}
	if h.ProducerEpoch > s.epoch {
		if base != 0 {
			return verdict{code: protocol.OutOfOrderSequenceNumber, reason: fmt.Sprintf(
				"invalid sequence number for new epoch %d of producer id %d: %d (incoming), %d (current epoch)", h.ProducerEpoch, h.ProducerID, base, s.epoch)}
		}
		return verdict{}
	}
	for i := range s.batches {
		if b := &s.batches[i]; b.baseSequence == base && b.lastSequence == last {
			return verdict{duplicate: b}
		}
	}
	expected := int32(0)
	if len(s.batches) > 0 {
		expected = protocol.IncrementSequence(s.batches[len(s.batches)-1].lastSequence, 1)
	}
	switch {
	case base == expected && s.transaction != noTransaction && !h.Transactional():
		return verdict{code: protocol.InvalidTxnState, reason: fmt.Sprintf("expected transactional write from producer id %d", h.ProducerID)}
	case base == expected:
		return verdict{}
	}
	code := protocol.OutOfOrderSequenceNumber
	if rules.nameDuplicates && precedes(base, expected) {
		code = protocol.DuplicateSequenceNumber
	}
	return verdict{code: code, reason: fmt.Sprintf("out of order sequence number for producer id %d: %d (incoming), %d (expected)", h.ProducerID, base, expected)}
}

// sequenceRules are where releases and versions differ.
type sequenceRules struct {
	refuseUnknown  bool  // before 2.5 (KIP-360)
	latestStart    int32 // the highest base sequence with which an unknown producer id may begin
	nameDuplicates bool  // before 1.0 (KAFKA-5494)
}

// An attempt is the lowest base sequence that a producer tried in its present epoch at a partition
// that does not know it yet. If the first batch was refused because its transaction was not ready,
// the second must not overtake it.
type attempt struct {
	epoch    int16
	lowest   int32
	version2 bool // the first attempt was of that version: then it is 0 or nothing
}

// attemptLocked notes a batch of a transaction and returns the highest base sequence with which its
// producer may begin.
//
// +checklocks:p.mu
func (p *partition) attemptLocked(h *protocol.BatchHeader, version int16) int32 {
	switch {
	case !h.Transactional(), p.producers[h.ProducerID] != nil, p.cluster.release.before(3, 6):
		return math.MaxInt32
	}
	a, known := p.attempts[h.ProducerID]
	switch {
	case !known:
		a = attempt{h.ProducerEpoch, h.BaseSequence, version >= addingProduce}
	case a.epoch < h.ProducerEpoch:
		a.epoch, a.lowest = h.ProducerEpoch, h.BaseSequence
	case a.epoch == h.ProducerEpoch:
		a.lowest = min(a.lowest, h.BaseSequence)
	}
	if p.attempts == nil {
		p.attempts = make(map[int64]attempt)
	}
	p.attempts[h.ProducerID] = a
	if a.version2 {
		return 0
	}
	return a.lowest
}

// precedes says whether a lies before b on the circle of sequence numbers.
func precedes(a, b int32) bool {
	distance := protocol.DecrementSequence(b, a)
	return distance != 0 && distance < math.MaxInt32/2
}

// A transaction marker has the epoch that goes on from there. If that is a new one, the sequences
// start again at 0.

// add notes an appended batch. A new epoch forgets the batches of the old one.
func (s *producerState) add(h *protocol.BatchHeader, b sentBatch) {
	if h.Transactional() && s.transaction == noTransaction {
		s.transaction = b.baseOffset
	}
	if h.ProducerEpoch != s.epoch {
		s.epoch = h.ProducerEpoch
		s.batches = s.batches[:0]
	}
	if len(s.batches) == remembered {
		copy(s.batches, s.batches[1:])
		s.batches = s.batches[:remembered-1]
	}
	s.batches = append(s.batches, b)
}
