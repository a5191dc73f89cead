package quilltest

import (
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

var initProducerIDAPI = api{
	min: message.InitProducerIDMinVersion, max: message.InitProducerIDMaxVersion,
	handle: handleInitProducerID,
}

// firstProducerID is an arbitrary start: large enough to be seen as what it is in a log.
const firstProducerID = 1000

// producerIDs hands out producer ids.
type producerIDs struct {
	handedOut atomic.Int64
}

func (p *producerIDs) next() int64 { return firstProducerID + p.handedOut.Add(1) - 1 }

func handleInitProducerID(q *call) (message.Message, bool) {
	req := q.body.(*message.InitProducerIDRequest)
	res := newResponse[*message.InitProducerIDResponse](protocol.InitProducerID)
	producer := noProducer
	res.ErrorCode = q.carriedOut(func() (code protocol.ErrorCode) {
		producer, code = q.initProducerID(req)
		return q.spoken(code, 4)
	})
	if res.ErrorCode != protocol.None {
		producer = noProducer
	}
	res.ProducerID, res.ProducerEpoch = producer.id, producer.epoch
	return res, true
}

func (q *call) initProducerID(req *message.InitProducerIDRequest) (producerID, protocol.ErrorCode) {
	c := q.cluster
	known := producerID{req.ProducerID, req.ProducerEpoch}
	timeout := time.Duration(req.TransactionTimeoutMs) * time.Millisecond
	switch {
	case (known.id == protocol.NoProducerID) != (known.epoch == protocol.NoProducerEpoch),
		req.TransactionalID != nil && *req.TransactionalID == "":
		return noProducer, protocol.InvalidRequest
	case req.TransactionalID == nil:
		// An idempotent producer gets a new id in any case: it raises its epoch itself
		// (KIP-360).
		return producerID{id: c.producers.next()}, protocol.None
	case timeout <= 0 || timeout > c.opts.MaxTransactionTimeout:
		return noProducer, protocol.InvalidTransactionTimeout
	}
	if code := q.coordinates(TransactionCoordinator, *req.TransactionalID); code != protocol.None {
		return noProducer, code
	}
	p, code, ended := c.transactions.initialize(*req.TransactionalID, known, timeout)
	if ended {
		c.endTransaction(*req.TransactionalID)
	}
	return p, code
}
