package quilltest

import (
	"slices"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

var saslHandshakeAPI = api{
	min: message.SaslHandshakeMinVersion, max: message.SaslHandshakeMaxVersion,
	handle: handleSaslHandshake,
}

func handleSaslHandshake(q *call) (message.Message, bool) {
	req := q.body.(*message.SaslHandshakeRequest)
	res := newResponse[*message.SaslHandshakeResponse](protocol.SaslHandshake)
	cfg, s := q.cluster.sasl.load(), q.sasl
	res.ErrorCode = q.plan.failure()
	if s.state == saslNone || s.state == saslComplete { // not a SASL listener, or too soon after the last time
		if res.ErrorCode == protocol.None {
			res.ErrorCode = protocol.IllegalSaslState
		}
		return res, true
	}
	res.Mechanisms = cfg.Mechanisms
	if res.ErrorCode == protocol.None && !slices.Contains(cfg.Mechanisms, req.Mechanism) {
		res.ErrorCode = protocol.UnsupportedSaslMechanism
	}
	if res.ErrorCode != protocol.None {
		q.last = true
		return res, true
	}
	s.begin(req.Mechanism, q.cluster.newSaslServer(cfg, req.Mechanism), q.Version)
	return res, true
}
