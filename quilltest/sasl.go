package quilltest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// SASL says who may connect to a cluster, and how. The nodes then do what Kafka's do on a SASL listener: a connection gets no
// further than ApiVersions without a login, a wrong one is answered and the connection closed, and a session
// that has ended is closed at the next request. With Options.TLS it is SASL_SSL, else SASL_PLAINTEXT.
//
// It prints without passwords and tokens, so that a test may log its options.
type SASL struct {
	// Users are usernames with their passwords, for PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
	Users map[string]string
	// DelegationTokens are tokens by their ids, for SCRAM (KIP-48).
	DelegationTokens map[string]DelegationToken
	// CheckToken decides about the tokens of OAUTHBEARER and their extensions (KIP-342). It returns the principal's name and when
	// the token ends, which is the end of the session, too; zero for never. A *TokenError says what the client is answered; any
	// other error is answered with the status invalid_token. It is called on the connection's goroutine and may call any method
	// of the Cluster except Close.
	CheckToken func(token string, extensions map[string]string) (principal string, expiresAt time.Time, err error)

	// Mechanisms are the enabled mechanisms. If nil, all that there is something for: PLAIN and SCRAM with Users or
	// DelegationTokens, OAUTHBEARER with CheckToken. Kafka: sasl.enabled.mechanisms.
	Mechanisms []string
	// Iterations is the number of iterations of SCRAM. If zero, 4096.
	Iterations int
	// SessionLifetime is how long a session lasts unless the client authenticates once more (KIP-368). If zero, without end, or as
	// long as the token. Kafka: connections.max.reauth.ms.
	SessionLifetime time.Duration
}

// Format writes the settings with *** for each password and token. It implements fmt.Formatter.
func (s SASL) Format(f fmt.State, verb rune) {
	type bare SASL // without this method
	users := make(map[string]string, len(s.Users))
	for name := range s.Users {
		users[name] = masked
	}
	s.Users = users
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), bare(s))
}

// masked stands for a secret that would be printed.
const masked = "***"

// A DelegationToken is what a token's id stands for. It prints without the secret.
type DelegationToken struct {
	HMAC      string    `json:"-"` // the secret, in base64 as clients get it
	Owner     string    // the principal's name
	ExpiresAt time.Time // zero: never
}

// Format writes the token with *** for its secret. It implements fmt.Formatter.
func (d DelegationToken) Format(f fmt.State, verb rune) {
	type bare DelegationToken // without this method
	d.HMAC = masked
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), bare(d))
}

// A TokenError is the answer to a token that is refused, as RFC 7628 §3.2.2 has it.
type TokenError struct {
	Status              string // such as "invalid_token"
	Scope               string
	OpenIDConfiguration string
}

// Error implements error.
func (e *TokenError) Error() string { return "token refused: " + e.Status }

// The mechanisms that a node has.
const (
	plainMechanism       = "PLAIN"
	scram256Mechanism    = "SCRAM-SHA-256"
	scram512Mechanism    = "SCRAM-SHA-512"
	oauthBearerMechanism = "OAUTHBEARER"
)

// resolve fills in the defaults.
func (s SASL) resolve() (SASL, error) {
	s.Users, s.DelegationTokens, s.Mechanisms = maps.Clone(s.Users), maps.Clone(s.DelegationTokens), slices.Clone(s.Mechanisms)
	s.Iterations = orDefault(s.Iterations, 4096)
	if s.Mechanisms == nil {
		if s.Users != nil {
			s.Mechanisms = append(s.Mechanisms, plainMechanism)
		}
		if s.Users != nil || s.DelegationTokens != nil {
			s.Mechanisms = append(s.Mechanisms, scram256Mechanism, scram512Mechanism)
		}
		if s.CheckToken != nil {
			s.Mechanisms = append(s.Mechanisms, oauthBearerMechanism)
		}
	}
	for _, name := range s.Mechanisms {
		if !slices.Contains([]string{plainMechanism, scram256Mechanism, scram512Mechanism, oauthBearerMechanism}, name) {
			return s, fmt.Errorf("quilltest: SASL mechanism %q: the nodes have PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER", name)
		}
	}
	return s, nil
}

// saslSettings are a cluster's settings of SASL, which can change. What load returned never changes.
type saslSettings struct {
	mu sync.Mutex // held for memory work only
	// given is what the user has set, resolved what it means; nil without SASL.
	// +checklocks:mu
	given, resolved *SASL
	// +checklocks:mu
	credentials map[scramUser]func() scramCredential
}

func (s *saslSettings) load() *SASL {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resolved
}

func (s *saslSettings) store(given *SASL) error {
	resolved, err := given.resolve()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given, s.resolved = given, &resolved
	return nil
}

// AlterSASL changes who may connect while clients are connected: to change a password, to withdraw a mechanism, to shorten
// sessions. change gets a copy of the present settings. Connections that have authenticated stay; the next authentication meets
// the new settings. It returns an error for a cluster without SASL, and for an unknown mechanism.
//
//	err := cluster.AlterSASL(func(s *quilltest.SASL) { s.Users["alice"] = "new-password" })
func (c *Cluster) AlterSASL(change func(s *SASL)) error {
	c.sasl.mu.Lock()
	given := c.sasl.given
	c.sasl.mu.Unlock()
	if given == nil {
		return fmt.Errorf("quilltest: the cluster has no SASL: %w", protocol.IllegalSaslState)
	}
	next := *given
	next.Users, next.DelegationTokens, next.Mechanisms = maps.Clone(given.Users), maps.Clone(given.DelegationTokens), slices.Clone(given.Mechanisms)
	change(&next)
	return c.sasl.store(&next)
}

// identity is whom a client has shown to be.
type identity struct {
	principal string
	expiresAt time.Time // of the token; zero: never
}

// saslServer is a node's side of one exchange. Its last answer comes with an identity.
type saslServer interface {
	next(message []byte) (challenge []byte, who *identity, err error)
}

// toldError is an error whose text the client gets; of others it only learns that its credentials are wrong (Java:
// SaslAuthenticationException and SaslException).
type toldError string

func (r toldError) Error() string { return string(r) }

// newSaslServer begins an exchange of an enabled mechanism.
func (c *Cluster) newSaslServer(cfg *SASL, mechanism string) saslServer {
	switch mechanism {
	case plainMechanism:
		return plainServer{cfg}
	case oauthBearerMechanism:
		return &oauthBearerServer{check: cfg.CheckToken}
	default:
		return &scramServer{cluster: c, cfg: cfg, mechanism: mechanism}
	}
}
