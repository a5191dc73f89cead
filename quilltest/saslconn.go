package quilltest

import (
	"errors"
	"fmt"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// A saslConn is how far a connection has come with its login. Java: SaslServerAuthenticator, and what SocketServer asks it.
type saslConn struct {
	state     saslState
	mechanism string     // of the exchange that has begun last
	server    saslServer // while state is saslTokens
	bare      bool       // tokens come as frames without a header: after SaslHandshake version 0

	principal string
	again     bool      // the exchange is not the connection's first
	begun     time.Time // when it authenticated again last
	endsAt    time.Time // of the session; zero: never
}

type saslState int

const (
	saslNone         saslState = iota // the cluster has no SASL
	saslFirst                         // ApiVersions or SaslHandshake is awaited
	saslHandshake                     // SaslHandshake is awaited: ApiVersions was there
	saslTokens                        // the mechanism's messages are awaited
	saslBadMechanism                  // a client wants to authenticate again with another mechanism
	saslComplete
)

// saslVerdict is what becomes of a request.
type saslVerdict int

const (
	saslPass saslVerdict = iota
	saslClose
	saslRefuse // answer ILLEGAL_SASL_STATE and close
)

const (
	// mostLoginBytes is the largest request before a login. Kafka: sasl.server.max.receive.size.
	mostLoginBytes = 512 << 10
	// leastReauthentication is how soon a client may authenticate again. Kafka: KafkaChannel.
	leastReauthentication = time.Second
	// bareToken is the version of a request that was no request, but a token after SaslHandshake version 0.
	bareToken int16 = -1
)

// permit decides whether a request may be handled now.
func (s *saslConn) permit(api protocol.APIKey, now time.Time) saslVerdict {
	switch s.state {
	case saslNone:
		return saslPass
	case saslFirst:
		if api == protocol.APIVersions || api == protocol.SaslHandshake {
			return saslPass
		}
	case saslHandshake:
		if api == protocol.SaslHandshake {
			return saslPass
		}
	case saslTokens:
		if api == protocol.SaslAuthenticate {
			return saslPass
		}
		return saslRefuse
	case saslComplete:
		return s.permitComplete(api, now)
	}
	return saslClose
}

func (s *saslConn) permitComplete(api protocol.APIKey, now time.Time) saslVerdict {
	if api == protocol.SaslHandshake && (s.begun.IsZero() || now.Sub(s.begun) >= leastReauthentication) {
		s.begun, s.again, s.bare, s.state = now, true, false, saslHandshake
		return saslPass
	}
	if !s.endsAt.IsZero() && now.After(s.endsAt) {
		return saslClose // KIP-368
	}
	return saslPass
}

// begin starts an exchange.
func (s *saslConn) begin(mechanism string, server saslServer, version int16) {
	if s.again && mechanism != s.mechanism {
		s.state = saslBadMechanism
		return
	}
	s.mechanism, s.server, s.bare, s.state = mechanism, server, version == 0, saslTokens
}

// complete ends an exchange, and returns how long the session lasts, 0 without end.
func (s *saslConn) complete(who *identity, lifetime time.Duration, now time.Time) (time.Duration, error) {
	if s.again && who.principal != s.principal {
		return 0, toldError(fmt.Sprintf("Cannot change principals during re-authentication from User.%s: User.%s", s.principal, who.principal))
	}
	s.principal, s.server, s.state, s.endsAt = who.principal, nil, saslComplete, time.Time{}
	if !who.expiresAt.IsZero() {
		left := max(who.expiresAt.Sub(now), 0)
		if lifetime > 0 {
			left = min(left, lifetime)
		}
		lifetime = left
	} else if lifetime <= 0 {
		return 0, nil
	}
	s.endsAt = now.Add(lifetime)
	return lifetime, nil
}

// failure returns the text that a client gets about an error.
func (s *saslConn) failure(err error) string {
	if told, ok := errors.AsType[toldError](err); ok {
		return string(told)
	}
	what := "authentication"
	if s.again {
		what = "re-authentication"
	}
	return fmt.Sprintf("Authentication failed during %s due to invalid credentials with SASL mechanism %s", what, s.mechanism)
}
