package quilltest

import (
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

var addPartitionsToTxnAPI = api{
	min: message.AddPartitionsToTxnMinVersion, max: message.AddPartitionsToTxnMaxVersion,
	partitions: addPartitionsToTxnPartitions,
	handle:     handleAddPartitionsToTxn,
}

// addPartitionsToTxnTransactions returns the request's transactions; up to version 3 it is one.
func addPartitionsToTxnTransactions(m message.Message, version int16) []message.AddPartitionsToTxnTransaction {
	req := m.(*message.AddPartitionsToTxnRequest)
	if version >= 4 {
		return req.Transactions
	}
	return []message.AddPartitionsToTxnTransaction{{
		TransactionalID: req.V3AndBelowTransactionalID, ProducerID: req.V3AndBelowProducerID,
		ProducerEpoch: req.V3AndBelowProducerEpoch, Topics: req.V3AndBelowTopics,
	}}
}

func addPartitionsToTxnPartitions(_ *Cluster, m message.Message, version int16) []TopicPartition {
	var named []TopicPartition
	for _, x := range addPartitionsToTxnTransactions(m, version) {
		for _, t := range x.Topics {
			for _, p := range t.Partitions {
				named = append(named, TopicPartition{t.Name, p})
			}
		}
	}
	return named
}

func handleAddPartitionsToTxn(q *call) (message.Message, bool) {
	res := newResponse[*message.AddPartitionsToTxnResponse](protocol.AddPartitionsToTxn)
	for _, x := range addPartitionsToTxnTransactions(q.body, q.Version) {
		topics := q.addPartitions(&x)
		if q.Version < 4 {
			res.ResultsByTopicV3AndBelow = topics
			continue
		}
		res.ResultsByTransaction = append(res.ResultsByTransaction, message.AddPartitionsToTxnResult{TransactionalID: x.TransactionalID, TopicResults: topics})
	}
	return res, true
}

// addPartitions handles one transaction: all of its partitions are added, or none.
func (q *call) addPartitions(x *message.AddPartitionsToTxnTransaction) []message.AddPartitionsToTxnTopicResult {
	var results []message.AddPartitionsToTxnTopicResult
	var members []member
	failed := false
	for _, t := range x.Topics {
		topic := message.AddPartitionsToTxnTopicResult{Name: t.Name}
		for _, index := range t.Partitions {
			code := protocol.None
			p, err := q.cluster.partition(t.Name, index)
			if err != nil {
				code = protocol.UnknownTopicOrPartition
			}
			if f := q.plan.failing(t.Name, index); f != nil && !f.AfterAppend {
				code = f.code()
			}
			members = append(members, member{partition: p})
			failed = failed || code != protocol.None
			topic.ResultsByPartition = append(topic.ResultsByPartition, message.AddPartitionsToTxnPartitionResult{PartitionIndex: index, PartitionErrorCode: code})
		}
		results = append(results, topic)
	}
	code := protocol.OperationNotAttempted
	if !failed {
		code = q.addOrVerify(x, members)
	}
	for _, t := range results {
		for i := range t.ResultsByPartition {
			p := &t.ResultsByPartition[i]
			if p.PartitionErrorCode == protocol.None {
				p.PartitionErrorCode = code
			}
			if f := q.plan.failing(t.Name, p.PartitionIndex); f != nil && p.PartitionErrorCode == protocol.None {
				p.PartitionErrorCode = f.code()
			}
		}
	}
	return results
}

func (q *call) addOrVerify(x *message.AddPartitionsToTxnTransaction, members []member) protocol.ErrorCode {
	code := q.coordinates(TransactionCoordinator, x.TransactionalID)
	producer := producerID{x.ProducerID, x.ProducerEpoch}
	if code == protocol.None && !x.VerifyOnly {
		code = q.cluster.transactions.add(x.TransactionalID, producer, members...)
	}
	for _, m := range members {
		if code == protocol.None && x.VerifyOnly {
			code = q.cluster.transactions.verify(x.TransactionalID, producer, m)
		}
	}
	return q.spoken(code, 2)
}

// spoken puts PRODUCER_FENCED into the words of request versions that do not know it yet.
func (q *call) spoken(code protocol.ErrorCode, since int16) protocol.ErrorCode {
	if code == protocol.ProducerFenced && q.Version < since {
		return protocol.InvalidProducerEpoch
	}
	return code
}
