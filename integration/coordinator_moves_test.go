package integration

import (
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// once makes a move once.
func (s *coordinatorSide) once(m move, x *txnClient) protocol.ErrorCode {
	s.t.Helper()
	switch m.kind {
	case "init":
		req := &message.InitProducerIDRequest{TransactionalID: &x.id, TransactionTimeoutMs: 60_000, ProducerID: -1, ProducerEpoch: -1}
		if m.flag {
			req.ProducerID, req.ProducerEpoch = x.producerID, x.epoch
		}
		res := s.ask(req, 5).(*message.InitProducerIDResponse)
		if res.ErrorCode == protocol.None {
			x.adopt(res.ProducerID, res.ProducerEpoch)
		}
		return res.ErrorCode
	case "add":
		topic := message.AddPartitionsToTxnTopic{Name: s.topic, Partitions: []int32{m.partition}}
		res := s.ask(&message.AddPartitionsToTxnRequest{V3AndBelowTransactionalID: x.id, V3AndBelowProducerID: x.producerID, V3AndBelowProducerEpoch: x.epoch,
			V3AndBelowTopics: []message.AddPartitionsToTxnTopic{topic}}, 3).(*message.AddPartitionsToTxnResponse)
		return res.ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode
	case "write":
		return s.write(m.partition, x, x.next[m.partition])
	case "write with a gap":
		return s.write(m.partition, x, x.next[m.partition]+5)
	case "group":
		return s.ask(&message.AddOffsetsToTxnRequest{TransactionalID: x.id, ProducerID: x.producerID, ProducerEpoch: x.epoch, GroupID: "group"}, 4).(*message.AddOffsetsToTxnResponse).ErrorCode
	case "offset":
		return s.offset(m.partition, x, s.topic)
	case "offset of no topic":
		return s.offset(m.partition, x, "nothing")
	default: // end
		res := s.ask(&message.EndTxnRequest{TransactionalID: x.id, ProducerID: x.producerID, ProducerEpoch: x.epoch, Committed: m.flag}, x.version(4, 5)).(*message.EndTxnResponse)
		if res.ErrorCode == protocol.None && x.version2 && m.kind == "end" {
			x.adopt(res.ProducerID, res.ProducerEpoch)
		}
		return res.ErrorCode
	}
}

// write writes a record with the given sequence.
func (s *coordinatorSide) write(partition int32, x *txnClient, sequence int32) protocol.ErrorCode {
	s.t.Helper()
	now := time.Now().UnixMilli()
	b := protocol.AppendRecord(make([]byte, protocol.BatchOverhead), 0, 0, nil, []byte("x"), nil)
	protocol.PutBatchHeader(b, &protocol.BatchHeader{Magic: 2, Length: int32(len(b)) - 12, PartitionLeaderEpoch: -1, Attributes: protocol.AttrTransactional,
		BaseTimestamp: now, MaxTimestamp: now, ProducerID: x.producerID, ProducerEpoch: x.epoch, BaseSequence: sequence, Count: 1})
	protocol.PutBatchCRC(b, protocol.BatchCRC(b))
	topic := message.TopicProduceData{Name: s.topic, TopicID: s.topicID, PartitionData: []message.PartitionProduceData{{Index: partition, Records: b}}}
	res := s.ask(&message.ProduceRequest{TransactionalID: &x.id, Acks: -1, TimeoutMs: 5000, TopicData: []message.TopicProduceData{topic}}, x.version(11, 13)).(*message.ProduceResponse)
	code := res.Responses[0].PartitionResponses[0].ErrorCode
	if code == protocol.None {
		x.next[partition] = sequence + 1
	}
	return code
}

// offset commits an offset of the group.
func (s *coordinatorSide) offset(partition int32, x *txnClient, topic string) protocol.ErrorCode {
	s.t.Helper()
	metadata := ""
	at := message.TxnOffsetCommitRequestPartition{PartitionIndex: partition, CommittedOffset: 1, CommittedLeaderEpoch: -1, CommittedMetadata: &metadata}
	res := s.ask(&message.TxnOffsetCommitRequest{TransactionalID: x.id, GroupID: "group", ProducerID: x.producerID, ProducerEpoch: x.epoch, GenerationIDOrMemberEpoch: -1,
		Topics: []message.TxnOffsetCommitRequestTopic{{Name: topic, Partitions: []message.TxnOffsetCommitRequestPartition{at}}}},
		x.version(4, 5)).(*message.TxnOffsetCommitResponse)
	return res.Topics[0].Partitions[0].ErrorCode
}
