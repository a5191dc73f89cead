package kerberos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"github.com/quill-kafka/quill/network/sasl"
)

// ticket is what an authentication needs: the node's ticket, the key in it, and whose they are.
type ticket struct {
	messages.Ticket
	key     types.EncryptionKey
	client  types.PrincipalName
	realm   string // the client's
	service string // the principal of the node, for errors
}

// principal returns the client's name with its realm.
func (t *ticket) principal() string { return t.client.PrincipalNameString() + "@" + t.realm }

// session is one run of GSSAPI (RFC 4752): the node answers the ticket with a proof of its own, gets an empty message,
// offers its security layers, and is told that none is wanted.
type session struct {
	ticket *ticket
	authID string
	sentAt time.Time // as the authenticator has it, to the microsecond
	next   uint64    // number of the next message that is wrapped

	proven      bool // the node has shown that it knows the ticket's key
	acceptorKey bool // key is one that the node has chosen
	key         types.EncryptionKey
}

var _ sasl.Session = (*session)(nil)

// Format writes for whom the session is and to which node, for every verb: fmt would print the keys.
func (s *session) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "GSSAPI of %s to %s", s.ticket.principal(), s.ticket.service)
}

// newSession returns a session and its first message.
func newSession(t *ticket, now time.Time, authID string) (*session, []byte, error) {
	if authID == "" {
		authID = t.principal()
	}
	auth, err := newAuthenticator(t, now)
	if err != nil {
		return nil, nil, err
	}
	token, err := apReqToken(t, auth)
	if err != nil {
		return nil, nil, err
	}
	return &session{ticket: t, authID: authID, sentAt: now, next: uint64(auth.SeqNumber), key: t.key}, token, nil
}

// Next answers the node's proof, and then its offer of security layers.
func (s *session) Next(_ context.Context, challenge []byte) (response []byte, done bool, err error) {
	if !s.proven {
		if err := s.checkProof(challenge); err != nil {
			return nil, false, fmt.Errorf("GSSAPI: %s: %w", s.ticket.service, err)
		}
		s.proven = true
		return []byte{}, false, nil
	}
	response, err = s.chooseLayer(challenge)
	if err != nil {
		return nil, false, fmt.Errorf("GSSAPI: %s: %w", s.ticket.service, err)
	}
	return response, true, nil
}

// checkProof checks the node's context token: only who has the service's key could read the time that was sent to it.
func (s *session) checkProof(token []byte) error {
	part, err := readAPRep(token, s.ticket.key)
	if err != nil {
		return err
	}
	if !part.CTime.Equal(s.sentAt.Truncate(time.Second)) || part.Cusec != s.sentAt.Nanosecond()/1000 {
		return errors.New("the node did not prove its identity: its answer is to another message")
	}
	if len(part.Subkey.KeyValue) > 0 {
		s.key, s.acceptorKey = part.Subkey, true
		return checkKey(s.key)
	}
	return nil
}

// The security layers that a node may offer, and that a client chooses one of (RFC 4752 §3.3).
const (
	layerNone      = 1
	layerIntegrity = 2
	layerPrivacy   = 4
)

// chooseLayer reads the node's offer and returns the choice of no security layer, which is the only one that Kafka has. The
// choice names the largest message that this side would take, which must be 0 then, and the identity to act as.
func (s *session) chooseLayer(token []byte) ([]byte, error) {
	offer, err := s.unwrap(token)
	if err != nil {
		return nil, err
	}
	if len(offer) != 4 {
		return nil, fmt.Errorf("the offer of security layers has %d bytes, not 4", len(offer))
	}
	if offer[0]&layerNone == 0 {
		return nil, fmt.Errorf("the node insists on a security layer (it offers %s), which Kafka's protocol has no place for; set its sasl.qop to auth", layers(offer[0]))
	}
	return s.wrap(append([]byte{layerNone, 0, 0, 0}, s.authID...))
}

func layers(set byte) string {
	switch set & (layerIntegrity | layerPrivacy) {
	case layerIntegrity:
		return "auth-int"
	case layerPrivacy:
		return "auth-conf"
	case layerIntegrity | layerPrivacy:
		return "auth-int and auth-conf"
	}
	return "none"
}
