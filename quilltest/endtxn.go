package quilltest

import (
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

var endTxnAPI = api{
	min: message.EndTxnMinVersion, max: message.EndTxnMaxVersion,
	handle: handleEndTxn,
}

func handleEndTxn(q *call) (message.Message, bool) {
	req := q.body.(*message.EndTxnRequest)
	res := newResponse[*message.EndTxnResponse](protocol.EndTxn)
	producer := noProducer
	res.ErrorCode = q.carriedOut(func() protocol.ErrorCode {
		if code := q.coordinates(TransactionCoordinator, req.TransactionalID); code != protocol.None {
			return code
		}
		now, code, ended := q.cluster.transactions.end(req.TransactionalID, producerID{req.ProducerID, req.ProducerEpoch}, req.Committed, q.Version >= 5)
		producer = now
		if ended {
			q.cluster.endTransaction(req.TransactionalID)
		}
		return q.spoken(code, 2)
	})
	if res.ErrorCode == protocol.None {
		res.ProducerID, res.ProducerEpoch = producer.id, producer.epoch // sent from version 5 on
	}
	return res, true
}
