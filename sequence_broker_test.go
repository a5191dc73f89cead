package quill

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// A partition as nodes keep it, for TestSenderFollowsTheSequenceModel. It judges batches in the order
// in which Kafka does: leader, contents, producer state (ProducerStateManager), log.

// modelRules are where releases and topics differ.
type modelRules struct {
	old            bool // before 2.5: an unknown producer must begin with 0 (KIP-360)
	nameDuplicates bool // as in 1.0: sequences long past are DUPLICATE_SEQUENCE_NUMBER
	maxRecords     int  // a batch with more is too large; 0: none is
}

// badRecord marks records that nodes refuse.
const badRecord = "!"

type modelPartition struct {
	m             *sequenceModel
	index         int32
	leader, epoch int32
	rules         modelRules
	producers     map[int64]*producerEntry
	log           []string        // values
	numbers       []modelIdentity // under which they were written
}

// producerEntry is what a partition knows of a producer id.
type producerEntry struct {
	epoch  int16
	recent []keptBatch // the last five, newest last
}

type keptBatch struct {
	first, last int32
	offset      int64
}

func (b modelBatch) String() string {
	return fmt.Sprintf("%d[%s] %d/%d:%d", b.partition, strings.Join(b.values, " "), b.header.ProducerID, b.header.ProducerEpoch, b.header.BaseSequence)
}

// noTrouble is a byte of the tape with which nothing goes wrong.
const noTrouble = 255

// trouble is produce with something going wrong, as a byte of the tape says. Without an answer ok is
// false.
func (p *modelPartition) trouble(node int32, b modelBatch, how byte) (answer message.PartitionProduceResponse, ok bool) {
	before := []protocol.ErrorCode{protocol.NotEnoughReplicas, protocol.NotLeaderOrFollower, protocol.KafkaStorageError,
		protocol.UnknownTopicOrPartition, protocol.ThrottlingQuotaExceeded, protocol.CorruptMessage}
	after := []protocol.ErrorCode{protocol.RequestTimedOut, protocol.NotEnoughReplicasAfterAppend, protocol.NotLeaderOrFollower,
		protocol.UnknownTopicOrPartition, protocol.KafkaStorageError, protocol.UnknownServerError}
	switch n := int(how); {
	case n < 40:
		return answered(before[n%len(before)], -1), true
	case n < 80:
		answer = p.produce(node, b)
		if answer.ErrorCode == protocol.None {
			answer = answered(after[n%len(after)], -1)
		}
		return answer, true
	case n < 86:
		return p.produce(node, b), false
	}
	return p.produce(node, b), true
}

// produce judges a batch that arrived at a node, and writes it if all is right.
func (p *modelPartition) produce(node int32, b modelBatch) message.PartitionProduceResponse {
	if node != p.leader {
		answer := answered(protocol.NotLeaderOrFollower, -1)
		if len(p.log)%2 == 0 { // KIP-951
			answer.CurrentLeader.LeaderID, answer.CurrentLeader.LeaderEpoch = p.leader, p.epoch
		}
		return answer
	}
	if p.rules.maxRecords > 0 && len(b.values) > p.rules.maxRecords {
		return answered(protocol.MessageTooLarge, -1)
	}
	if at := slices.IndexFunc(b.values, func(v string) bool { return strings.HasSuffix(v, badRecord) }); at >= 0 {
		answer := answered(protocol.InvalidRecord, -1)
		if len(p.log)%2 == 0 { // KIP-467
			answer.RecordErrors = []message.BatchIndexAndErrorMessage{{BatchIndex: int32(at)}}
		}
		return answer
	}
	offset, code := p.judge(b.header)
	if code != protocol.None {
		answer := answered(code, -1)
		answer.LogStartOffset = 0
		return answer
	}
	if offset < 0 {
		offset = p.write(b)
	}
	return answered(protocol.None, offset)
}

// judge holds the sequences against what is known of the producer. offset is that of the batch if it
// is here already, else -1.
func (p *modelPartition) judge(h protocol.BatchHeader) (offset int64, code protocol.ErrorCode) {
	known := p.producers[h.ProducerID]
	switch {
	case known == nil && p.rules.old && h.BaseSequence != 0:
		return -1, protocol.UnknownProducerID
	case known == nil:
		return -1, protocol.None
	case h.ProducerEpoch < known.epoch:
		return -1, protocol.InvalidProducerEpoch
	case h.ProducerEpoch > known.epoch && h.BaseSequence != 0:
		return -1, protocol.OutOfOrderSequenceNumber
	case h.ProducerEpoch > known.epoch:
		return -1, protocol.None
	}
	for _, b := range known.recent {
		if b.first == h.BaseSequence && b.last == h.LastSequence() {
			return b.offset, protocol.None
		}
	}
	next := protocol.IncrementSequence(known.recent[len(known.recent)-1].last, 1)
	switch behind := protocol.DecrementSequence(next, h.BaseSequence); {
	case behind == 0:
		return -1, protocol.None
	case p.rules.nameDuplicates && behind < math.MaxInt32/2:
		return -1, protocol.DuplicateSequenceNumber
	}
	return -1, protocol.OutOfOrderSequenceNumber
}

// write appends the batch and remembers it.
func (p *modelPartition) write(b modelBatch) (offset int64) {
	h := b.header
	known := p.producers[h.ProducerID]
	if known == nil || known.epoch != h.ProducerEpoch {
		known = &producerEntry{epoch: h.ProducerEpoch}
		p.producers[h.ProducerID] = known
	}
	offset = int64(len(p.log))
	known.recent = append(known.recent, keptBatch{h.BaseSequence, h.LastSequence(), offset})
	known.recent = known.recent[max(0, len(known.recent)-maxInFlightPerPartition):]
	for i, value := range b.values {
		m := p.m
		m.holds(!slices.Contains(p.log, value), "%s is written twice", value)
		if last := len(p.log) - 1; last >= 0 && p.numbers[last].id == h.ProducerID { // a new id fences no copies of the old one, in no client
			m.holds(p.log[last] < value, "%s is written after %s", value, p.log[last])
		}
		if err, told := m.fates[value]; told {
			failed, ok := err.(*Error)
			m.holds(ok && failed.Outcome() == MaybeWritten, "%s is written; it was told as %v", value, err)
		}
		p.log = append(p.log, value)
		p.numbers = append(p.numbers, modelIdentity{p.index, h.ProducerID, h.ProducerEpoch, protocol.IncrementSequence(h.BaseSequence, int32(i))})
	}
	return offset
}
