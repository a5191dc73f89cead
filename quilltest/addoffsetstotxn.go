package quilltest

import (
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

var addOffsetsToTxnAPI = api{
	min: message.AddOffsetsToTxnMinVersion, max: message.AddOffsetsToTxnMaxVersion,
	handle: handleAddOffsetsToTxn,
}

func handleAddOffsetsToTxn(q *call) (message.Message, bool) {
	req := q.body.(*message.AddOffsetsToTxnRequest)
	res := newResponse[*message.AddOffsetsToTxnResponse](protocol.AddOffsetsToTxn)
	res.ErrorCode = q.carriedOut(func() protocol.ErrorCode {
		if code := q.coordinates(TransactionCoordinator, req.TransactionalID); code != protocol.None {
			return code
		}
		code := q.cluster.transactions.add(req.TransactionalID, producerID{req.ProducerID, req.ProducerEpoch}, member{group: req.GroupID})
		return q.spoken(code, 2)
	})
	return res, true
}

// carriedOut does the work of a request that names no partitions, unless a fault is in the way, and
// returns the error to answer.
func (q *call) carriedOut(work func() protocol.ErrorCode) protocol.ErrorCode {
	fault := q.plan.whole()
	if fault != nil && !fault.AfterAppend {
		return fault.code()
	}
	code := work()
	if fault != nil && code == protocol.None {
		return fault.code()
	}
	return code
}
