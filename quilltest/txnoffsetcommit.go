package quilltest

import (
	"maps"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

var txnOffsetCommitAPI = api{
	min: message.TxnOffsetCommitMinVersion, max: message.TxnOffsetCommitMaxVersion,
	partitions: txnOffsetCommitPartitions,
	handle:     handleTxnOffsetCommit,
}

// maxOffsetMetadata is the longest text that may go with an offset. Kafka: offset.metadata.max.bytes.
const maxOffsetMetadata = 4096

// txnOffsetCommitPartitions names the partitions in the request's order. An unknown topic id gives
// an empty name.
func txnOffsetCommitPartitions(c *Cluster, m message.Message, version int16) []TopicPartition {
	req := m.(*message.TxnOffsetCommitRequest)
	var named []TopicPartition
	for i := range req.Topics {
		t := &req.Topics[i]
		name := t.Name
		if version >= 6 {
			name = c.topicName(t.TopicID)
		}
		for _, p := range t.Partitions {
			named = append(named, TopicPartition{name, p.PartitionIndex})
		}
	}
	return named
}

func handleTxnOffsetCommit(q *call) (message.Message, bool) {
	req := q.body.(*message.TxnOffsetCommitRequest)
	res := newResponse[*message.TxnOffsetCommitResponse](protocol.TxnOffsetCommit)
	offsets := make(map[TopicPartition]CommittedOffset)
	i := 0 // q.partitions lists the same partitions in the same order
	for _, t := range req.Topics {
		topic := message.TxnOffsetCommitResponseTopic{Name: t.Name, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			code := q.mayCommit(q.partitions[i], text(p.CommittedMetadata))
			if code == protocol.None {
				offsets[q.partitions[i]] = CommittedOffset{Offset: p.CommittedOffset, LeaderEpoch: p.CommittedLeaderEpoch, Metadata: text(p.CommittedMetadata)}
			}
			i++
			topic.Partitions = append(topic.Partitions, message.TxnOffsetCommitResponsePartition{PartitionIndex: p.PartitionIndex, ErrorCode: code})
		}
		res.Topics = append(res.Topics, topic)
	}
	code := protocol.None
	if len(offsets) > 0 {
		code = q.commitOffsets(req, offsets)
	}
	i = 0
	for _, t := range res.Topics {
		for j := range t.Partitions {
			p, tp := &t.Partitions[j], q.partitions[i]
			i++
			if p.ErrorCode == protocol.None {
				p.ErrorCode = code
			}
			if f := q.plan.failing(tp.Topic, tp.Partition); f != nil && p.ErrorCode == protocol.None {
				p.ErrorCode = f.code()
			}
		}
	}
	return res, true
}

// mayCommit checks what does not depend on the group.
func (q *call) mayCommit(tp TopicPartition, metadata string) protocol.ErrorCode {
	if f := q.plan.failing(tp.Topic, tp.Partition); f != nil && !f.AfterAppend {
		return f.code()
	}
	_, err := q.cluster.partition(tp.Topic, tp.Partition)
	switch {
	case q.Version >= 6 && tp.Topic == "":
		return protocol.UnknownTopicID
	case err != nil:
		return protocol.UnknownTopicOrPartition
	case len(metadata) > maxOffsetMetadata:
		return protocol.OffsetMetadataTooLarge
	}
	return protocol.None
}

// commitOffsets makes offsets wait for the end of the producer's transaction. From version 5 on, the
// group is added to the transaction (KIP-890, part 2); before, it must have been added.
func (q *call) commitOffsets(req *message.TxnOffsetCommitRequest, offsets map[TopicPartition]CommittedOffset) protocol.ErrorCode {
	if req.GroupID == "" {
		return protocol.InvalidGroupID
	}
	if code := q.coordinates(GroupCoordinator, req.GroupID); code != protocol.None {
		return code
	}
	g, t := &q.cluster.groups, &q.cluster.transactions
	producer := producerID{req.ProducerID, req.ProducerEpoch}
	g.mu.Lock()
	defer g.mu.Unlock()
	var code protocol.ErrorCode
	if q.Version >= 5 {
		code = t.add(req.TransactionalID, producer, member{group: req.GroupID})
	} else {
		code = t.verify(req.TransactionalID, producer, member{group: req.GroupID})
	}
	switch {
	case code == protocol.ProducerFenced:
		return protocol.InvalidProducerEpoch
	case code == protocol.TransactionAbortable && q.Version < 4:
		return protocol.InvalidTxnState
	case code == protocol.ConcurrentTransactions && q.Version < 5:
		return protocol.CoordinatorNotAvailable
	case code != protocol.None:
		return code
	}
	s := g.groupLocked(req.GroupID)
	if code := s.members.check(req.GenerationIDOrMemberEpoch, req.MemberID, req.GroupInstanceID); code != protocol.None {
		return code
	}
	if s.pending[producer.id] == nil {
		s.pending[producer.id] = make(map[TopicPartition]CommittedOffset)
	}
	maps.Copy(s.pending[producer.id], offsets)
	return protocol.None
}
