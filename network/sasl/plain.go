package sasl

import (
	"context"
	"errors"
)

// Plain returns the mechanism PLAIN (RFC 4616), which sends the password as it is: use it over TLS.
func Plain(username, password string) Mechanism {
	return PlainFrom(fixed(Credentials{Username: username, Password: NewSecret(password)}))
}

// PlainFrom is [Plain] with credentials that can change.
func PlainFrom(credentials CredentialsFunc) Mechanism { return plain{credentials} }

type plain struct{ credentials CredentialsFunc }

// Name implements [Mechanism].
func (plain) Name() string { return "PLAIN" }

// Start implements [Mechanism]. The message is "authorization id, NUL, username, NUL, password".
func (m plain) Start(ctx context.Context, peer Peer) (Session, []byte, error) {
	c, err := m.credentials.fetch(ctx, m.Name(), peer)
	if err != nil {
		return nil, nil, err
	}
	if c.DelegationToken {
		return nil, nil, errors.New("PLAIN: a delegation token can't be used: it needs SCRAM-SHA-256 or SCRAM-SHA-512 (KIP-48)")
	}
	return plainSession{}, []byte(c.AuthorizationID + "\x00" + c.Username + "\x00" + c.Password.Reveal()), nil
}

type plainSession struct{}

// Next implements [Session]. There is nothing to say after the first message. A node that sends some
// bytes along with its agreement is believed, as Java's client does.
func (plainSession) Next(context.Context, []byte) ([]byte, bool, error) { return nil, true, nil }
