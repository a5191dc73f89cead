package quilltest

import (
	"math"
	"sync"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

var initProducerIDAPI = api{
	min: message.InitProducerIDMinVersion, max: message.InitProducerIDMaxVersion,
	handle: handleInitProducerID,
}

// firstProducerID is an arbitrary start: large enough to be seen as what it is in a log.
const firstProducerID = 1000

// producerIDs hands out producer ids. A transactional id keeps its own and gets a higher epoch each
// time, which fences the instance before.
type producerIDs struct {
	mu sync.Mutex
	// +checklocks:mu
	handedOut int64
	// +checklocks:mu
	transactional map[string]producerID
}

type producerID struct {
	id    int64
	epoch int16
}

func handleInitProducerID(q *call) (message.Message, bool) {
	req := q.body.(*message.InitProducerIDRequest)
	res := newResponse[*message.InitProducerIDResponse](protocol.InitProducerID)
	res.ErrorCode = q.plan.failure()
	switch {
	case res.ErrorCode != protocol.None:
	case (req.ProducerID == protocol.NoProducerID) != (req.ProducerEpoch == protocol.NoProducerEpoch),
		req.TransactionalID != nil && *req.TransactionalID == "":
		res.ErrorCode = protocol.InvalidRequest
	case req.TransactionalID != nil && req.TransactionTimeoutMs <= 0:
		res.ErrorCode = protocol.InvalidTransactionTimeout
	case req.TransactionalID == nil:
		// An idempotent producer gets a new id whatever it had: it raises its epoch itself
		// (KIP-360).
		res.ProducerID, res.ProducerEpoch = q.cluster.producers.next(), 0
	default:
		known := producerID{req.ProducerID, req.ProducerEpoch}
		p, ok := q.cluster.producers.bump(*req.TransactionalID, known)
		switch {
		case ok:
			res.ProducerID, res.ProducerEpoch = p.id, p.epoch
		case q.Version >= 4:
			res.ErrorCode = protocol.ProducerFenced
		default:
			res.ErrorCode = protocol.InvalidProducerEpoch
		}
	}
	if res.ErrorCode != protocol.None {
		res.ProducerID, res.ProducerEpoch = protocol.NoProducerID, protocol.NoProducerEpoch
	}
	return res, true
}

func (p *producerIDs) next() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nextLocked()
}

// +checklocks:p.mu
func (p *producerIDs) nextLocked() int64 {
	p.handedOut++
	return firstProducerID + p.handedOut - 1
}

// bump gives a transactional id its next epoch. A producer that names what it has (version 3) must
// name the present one.
func (p *producerIDs) bump(transactionalID string, known producerID) (producerID, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	current, exists := p.transactional[transactionalID]
	switch {
	case known.id != protocol.NoProducerID && exists && known != current:
		return producerID{}, false
	case !exists || current.epoch >= math.MaxInt16-1:
		current = producerID{id: p.nextLocked()}
	default:
		current.epoch++
	}
	if p.transactional == nil {
		p.transactional = make(map[string]producerID)
	}
	p.transactional[transactionalID] = current
	return current, true
}
