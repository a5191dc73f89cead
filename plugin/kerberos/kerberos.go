// Package kerberos authenticates to Kafka by Kerberos: the SASL mechanism GSSAPI, as Java's client speaks it.
//
//	cfg.SASL = kerberos.Keytab("producer@EXAMPLE.COM", "/etc/producer.keytab", kerberos.Options{})
//
// With a file of Kafka's properties, importing the package makes sasl.mechanism=GSSAPI known, with the options of Java's
// Krb5LoginModule in sasl.jaas.config:
//
//	import _ "github.com/quill-kafka/quill/plugin/kerberos"
//
// Tickets come from the KDC that krb5.conf names, by github.com/jcmturner/gokrb5. Those of a keytab or a password are
// renewed in the background when five sixths of their time are over, and fetched anew if they have ended. A credential
// cache is kept by others (kinit, k5start, sssd). Keytab, cache and krb5.conf are read again when the files change; while a
// new one can't be read, the tickets of the old one are used.
//
// The node proves who it is, too (mutual authentication), which Java does not ask for. As in Java there is no security
// layer: use TLS (SASL_SSL) if others can read or change what is on the wire.
package kerberos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/quill-kafka/quill/network/sasl"
)

// Options are what a Mechanism needs besides its credentials. The zero value is right for most clusters.
type Options struct {
	// ServiceName is the first part of the brokers' principals. If empty, "kafka". Kafka:
	// sasl.kerberos.service.name, which has no default there.
	ServiceName string
	// ConfigFile is the path of krb5.conf. If empty, that of the environment variable KRB5_CONFIG, or else
	// /etc/krb5.conf.
	ConfigFile string
	// CanonicalHosts asks the name service for the canonical name of each node, for the second part of its principal:
	// the end of its CNAMEs and, unless krb5.conf has rdns = false, the name of its address. The name service must
	// be trusted then. If false, the name is the one by which the node is known, as in Java: a name without a dot is
	// completed (unless krb5.conf has dns_canonicalize_hostname = false), an address is looked up.
	CanonicalHosts bool
	// AuthorizationID is the identity to act as. If empty, the principal, as in Java.
	AuthorizationID string
}

// Mechanism is GSSAPI with the credentials of one principal. Its methods may be called concurrently. One Mechanism can
// serve any number of producers; close it after them.
type Mechanism struct {
	options Options
	source  source
	names   resolver

	turn chan struct{} // held by whoever talks to the KDC
	held *held         // what was read last; only with turn

	mu sync.Mutex
	// +checklocks:mu
	latest time.Time // time of the last authenticator
	// +checklocks:mu
	closed bool
}

var _ sasl.Mechanism = (*Mechanism)(nil)

// Keytab returns a Mechanism for a principal ("name@REALM", or "name" of the default realm) whose keys are in a keytab. The
// file is read at the first use; see Login.
func Keytab(principal, file string, options Options) *Mechanism {
	return newMechanism(source{kind: fromKeytab, principal: principal, file: file}, options)
}

// Password returns a Mechanism for a principal ("name@REALM", or "name" of the default realm) and its password.
func Password(principal string, password sasl.Secret, options Options) *Mechanism {
	return newMechanism(source{kind: fromPassword, principal: principal, password: password}, options)
}

// CredentialCache returns a Mechanism for the principal whose tickets are in a credential cache, as kinit writes it. If file
// is empty, it is that of the environment variable KRB5CCNAME, or else MIT's default, krb5cc_ and the user's id in /tmp.
func CredentialCache(file string, options Options) *Mechanism {
	return newMechanism(source{kind: fromCache, file: file}, options)
}

func newMechanism(s source, o Options) *Mechanism {
	if o.ServiceName == "" {
		o.ServiceName = "kafka"
	}
	return &Mechanism{options: o, source: s, names: net.DefaultResolver, turn: make(chan struct{}, 1)}
}

// Name returns "GSSAPI".
func (m *Mechanism) Name() string { return "GSSAPI" }

// String names the mechanism and the principal; it has no secrets.
func (m *Mechanism) String() string { return "GSSAPI of " + m.source.String() }

// GoString is String, for %#v.
func (m *Mechanism) GoString() string { return m.String() }

// Login gets a ticket-granting ticket, or returns the error because of which there is none: a file that is missing, a
// KDC that does not answer, a wrong password. Without it the first connection does so. It blocks until the KDC has
// answered or ctx ends.
func (m *Mechanism) Login(ctx context.Context) error {
	_, err := inTurn(ctx, m, func() (*held, error) { return m.login() })
	return err
}

// Close ends the renewal of tickets and forgets them. Authentications that begin later fail; connections that are
// authenticated live on. It may be called again.
func (m *Mechanism) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.turn <- struct{}{} // the KDC's answer is waited for, at most a few seconds
	defer func() { <-m.turn }()
	m.held.destroy()
	m.held = nil
	return nil
}

// Start gets a ticket for the node, from the KDC if it has none, and returns the context token that shows it.
func (m *Mechanism) Start(ctx context.Context, peer sasl.Peer) (sasl.Session, []byte, error) {
	t, err := inTurn(ctx, m, func() (*ticket, error) { return m.ticketFor(ctx, peer) })
	if err != nil {
		return nil, nil, fmt.Errorf("GSSAPI: %w", err)
	}
	s, token, err := newSession(t, m.now(), m.options.AuthorizationID)
	if err != nil {
		return nil, nil, fmt.Errorf("GSSAPI: %w", err)
	}
	return s, token, nil
}

// now returns a time with a microsecond of its own: nodes refuse the second of two authenticators with the same time.
func (m *Mechanism) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now().UTC().Truncate(time.Microsecond)
	if !now.After(m.latest) {
		now = m.latest.Add(time.Microsecond)
	}
	m.latest = now
	return now
}

var errClosed = errors.New("the mechanism is closed")

// inTurn calls f, which may talk to the KDC, when nobody else does, and returns its result. gokrb5 knows no contexts: if ctx
// ends first, f goes on until the KDC has answered or its own time-outs (5 seconds for each KDC) are over, and what
// it got serves the next one.
func inTurn[T any](ctx context.Context, m *Mechanism, f func() (T, error)) (T, error) {
	var none T
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("waiting for another request to the KDC: %w", context.Cause(ctx))
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-m.turn }()
		m.mu.Lock()
		closed := m.closed
		m.mu.Unlock()
		if closed {
			done <- result{err: errClosed}
			return
		}
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, fmt.Errorf("the KDC has not answered yet: %w", context.Cause(ctx))
	}
}
