package quilltest

import (
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

var saslAuthenticateAPI = api{
	min: message.SaslAuthenticateMinVersion, max: message.SaslAuthenticateMaxVersion,
	handle: handleSaslAuthenticate,
}

func handleSaslAuthenticate(q *call) (message.Message, bool) {
	req := q.body.(*message.SaslAuthenticateRequest)
	res := newResponse[*message.SaslAuthenticateResponse](protocol.SaslAuthenticate)
	s := q.sasl
	if s.state != saslTokens {
		res.ErrorCode, res.ErrorMessage = protocol.IllegalSaslState, new("SaslAuthenticate request received after successful authentication")
		return res, true
	}
	if f := q.plan.whole(); f != nil {
		res.ErrorCode = f.code()
		if f.ErrMessage != "" {
			res.ErrorMessage = new(f.ErrMessage)
		}
	} else if err := authenticate(q, s, req.AuthBytes, res); err != nil {
		res.ErrorCode, res.ErrorMessage = protocol.SaslAuthenticationFailed, new(s.failure(err))
	}
	if res.ErrorCode == protocol.None {
		return res, true
	}
	if q.Version == bareToken {
		return nil, false // there is no place for an error
	}
	q.last = true
	return res, true
}

// authenticate takes one message of the client, and fills in the answer.
func authenticate(q *call, s *saslConn, token []byte, res *message.SaslAuthenticateResponse) error {
	challenge, who, err := s.server.next(token)
	if err != nil {
		return err
	}
	if who != nil {
		lifetime, err := s.complete(who, q.cluster.sasl.load().SessionLifetime, time.Now())
		if err != nil {
			return err
		}
		res.SessionLifetimeMs = lifetime.Milliseconds()
	}
	res.AuthBytes = challenge
	for _, f := range q.plan {
		if f.Challenge != nil {
			res.AuthBytes = f.Challenge(q.Request, res.AuthBytes)
		}
	}
	return nil
}
