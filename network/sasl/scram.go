package sasl

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"

	_ "crypto/sha256" // SCRAM-SHA-256
	_ "crypto/sha512" // SCRAM-SHA-512
)

// What a node may ask for as the number of iterations, if nothing else is configured. Kafka's own
// credentials have 4096 to 16384.
const (
	DefaultMinIterations = 4096
	DefaultMaxIterations = 65536
)

// Scram is the mechanism SCRAM-SHA-256 or SCRAM-SHA-512 (RFC 5802, RFC 7677, KIP-84): the password
// never goes over the wire, and the node has to show that it knows it, too. [ScramSHA256] and
// [ScramSHA512] make one. Its fields must not change once it is in use, and it must not be copied.
//
// To make keys of a password is slow on purpose, so the keys are kept for the next connections, as
// secrets, for each password, salt and number of iterations.
type Scram struct {
	// Hash is crypto.SHA256 or crypto.SHA512.
	Hash crypto.Hash
	// Credentials returns username and password.
	Credentials CredentialsFunc

	// MinIterations is the least number of iterations that a node may ask for; fewer would make it
	// easy to guess the password from what is sent. If zero, 4096.
	MinIterations int
	// MaxIterations is the largest number; more would let a node keep the processor busy. If zero,
	// 65536.
	MaxIterations int

	// Prepare, if set, is applied to username and password before they are used. RFC 5802 asks for
	// SASLprep: set saslprep.Prepare, of the package below this one. Kafka's brokers and tools do
	// without, and so does Java's client: with Kafka, a password that SASLprep changes is refused. It
	// makes no difference to printable ASCII.
	Prepare func(text string) (string, error)

	keys keyCache
}

// ScramSHA256 returns the mechanism SCRAM-SHA-256.
func ScramSHA256(username, password string) *Scram {
	return &Scram{Hash: crypto.SHA256, Credentials: fixed(Credentials{Username: username, Password: NewSecret(password)})}
}

// ScramSHA512 returns the mechanism SCRAM-SHA-512.
func ScramSHA512(username, password string) *Scram {
	return &Scram{Hash: crypto.SHA512, Credentials: fixed(Credentials{Username: username, Password: NewSecret(password)})}
}

// Name implements [Mechanism].
func (m *Scram) Name() string { return "SCRAM-" + m.Hash.String() }

// Start implements [Mechanism].
func (m *Scram) Start(ctx context.Context, peer Peer) (Session, []byte, error) {
	if m.Hash != crypto.SHA256 && m.Hash != crypto.SHA512 {
		return nil, nil, fmt.Errorf("SCRAM: the hash must be SHA-256 or SHA-512, it is %v", m.Hash)
	}
	c, err := m.Credentials.fetch(ctx, m.Name(), peer)
	if err != nil {
		return nil, nil, err
	}
	if m.Prepare != nil {
		if c, err = c.prepared(m.Prepare); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", m.Name(), err)
		}
	}
	s := newScramSession(m, c, nonce())
	return s, []byte(s.header + s.first), nil
}

// nonce returns 24 random bytes in printable characters without a comma.
func nonce() string {
	random := make([]byte, 24)
	_, _ = rand.Read(random) // it never fails
	return base64.StdEncoding.EncodeToString(random)
}

// scramSession is one exchange of four messages:
//
//	client-first:  header + first   "n,," + "n=user,r=NONCE"
//	server-first:  "r=NONCE…,s=salt,i=4096"
//	client-final:  "c=biws,r=NONCE…,p=proof"
//	server-final:  "v=signature"
type scramSession struct {
	mechanism *Scram
	password  Secret
	nonce     string
	header    string // GS2: no channel binding, and the authorization id
	first     string // client-first-message-bare

	state     scramState
	signature []byte // what the node has to send
}

type scramState int

const (
	scramFirst scramState = iota // the node's salt and iterations are awaited
	scramFinal                   // the node's signature is awaited
	scramEnded                   // nothing more may come
)

func newScramSession(m *Scram, c Credentials, nonce string) *scramSession {
	s := &scramSession{mechanism: m, password: c.Password, nonce: nonce, header: "n,,", first: "n=" + saslName(c.Username) + ",r=" + nonce}
	if c.AuthorizationID != "" {
		s.header = "n,a=" + saslName(c.AuthorizationID) + ","
	}
	if c.DelegationToken {
		s.first += ",tokenauth=true"
	}
	return s
}

// saslName escapes a name as RFC 5802 §5.1 says.
func saslName(name string) string { return strings.NewReplacer("=", "=3D", ",", "=2C").Replace(name) }

// Next implements [Session].
func (s *scramSession) Next(_ context.Context, challenge []byte) (response []byte, done bool, err error) {
	state := s.state
	s.state = scramEnded
	switch state {
	case scramFirst:
		if response, err = s.answer(challenge); err == nil {
			s.state = scramFinal
		}
	case scramFinal:
		err = s.verify(challenge)
		done = err == nil
	default:
		err = errors.New("the node goes on after the end of the exchange")
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", s.mechanism.Name(), err)
	}
	return response, done, nil
}

// answer makes the proof that the client knows the password, and keeps the signature that shows it of the node.
func (s *scramSession) answer(challenge []byte) ([]byte, error) {
	server, err := parseServerFirst(challenge, s.nonce)
	if err != nil {
		return nil, err
	}
	if least, most := s.mechanism.iterations(); server.iterations < least || server.iterations > most {
		return nil, fmt.Errorf("the node asks for %d iterations, allowed are %d to %d (Scram.MinIterations, Scram.MaxIterations)", server.iterations, least, most)
	}
	keys, err := s.mechanism.keys.get(s.mechanism.Hash.New, s.password, server.salt, server.iterations)
	if err != nil {
		return nil, err
	}
	withoutProof := "c=" + base64.StdEncoding.EncodeToString([]byte(s.header)) + ",r=" + server.nonce
	exchange := s.first + "," + string(challenge) + "," + withoutProof
	s.signature = mac(s.mechanism.Hash.New, keys.server, exchange)
	return []byte(withoutProof + ",p=" + base64.StdEncoding.EncodeToString(keys.proof(s.mechanism.Hash.New, exchange))), nil
}

// verify checks the node's signature: whoever has it knows the password's keys, so it is no impostor.
func (s *scramSession) verify(challenge []byte) error {
	signature, err := parseServerFinal(challenge)
	if err != nil {
		return err
	}
	if !hmac.Equal(signature, s.signature) {
		return errors.New("the node's signature is wrong: it does not know the password, so it is not the node that it claims to be")
	}
	return nil
}

func (m *Scram) iterations() (least, most int) {
	least, most = m.MinIterations, m.MaxIterations
	if least <= 0 {
		least = DefaultMinIterations
	}
	if most <= 0 {
		most = max(DefaultMaxIterations, least)
	}
	return least, most
}

// mac returns the HMAC of text.
func mac(newHash func() hash.Hash, key []byte, text string) []byte {
	h := hmac.New(newHash, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
