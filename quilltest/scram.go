package quilltest

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"strings"
	"sync"
	"time"
)

// scramServer is SCRAM with either hash. Java: ScramSaslServer; and as RFC 5802 has it, the channel binding is checked.
type scramServer struct {
	cluster   *Cluster
	cfg       *SASL
	mechanism string

	credential  *scramCredential // nil before the first message
	who         identity
	header      string // GS2
	clientFirst string // without the header
	serverFirst string
	nonce       string
}

// scramUser names a credential.
type scramUser struct {
	mechanism, username, password string
	iterations                    int
}

// scramCredential is what a node keeps of a password.
type scramCredential struct {
	newHash              func() hash.Hash
	salt                 []byte
	storedKey, serverKey []byte
}

var (
	scramFirstMessage = regexp.MustCompile(`^(n,(?:a=((?:[\x01-\x2b\x2d-\x3c\x3e-\x7f]|=2C|=3D)+))?,)((?:m=[^,]+,)?n=((?:[\x01-\x2b\x2d-\x3c\x3e-\x7f]|=2C|=3D)+),r=([\x21-\x2b\x2d-\x7e]+)((?:,[A-Za-z]+=[^,]+)*))$`)
	scramFinalMessage = regexp.MustCompile(`^(c=([a-zA-Z0-9/+=]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]+=[^,]+)*),p=([a-zA-Z0-9/+=]+)$`)
	scramName         = strings.NewReplacer("=2C", ",", "=3D", "=")
)

func (s *scramServer) next(message []byte) ([]byte, *identity, error) {
	if s.credential == nil {
		challenge, err := s.first(string(message))
		return challenge, nil, err
	}
	return s.final(string(message))
}

// first answers salt and iterations.
func (s *scramServer) first(message string) ([]byte, error) {
	parts := scramFirstMessage.FindStringSubmatch(message)
	if parts == nil {
		return nil, errors.New("SCRAM: invalid first message")
	}
	s.header, s.clientFirst, s.nonce = parts[1], parts[3], parts[5]
	username := scramName.Replace(parts[4])
	password, err := s.password(username, strings.Contains(parts[6]+",", ",tokenauth=true,"))
	if err != nil {
		return nil, err
	}
	if authzid := scramName.Replace(parts[2]); authzid != "" && authzid != username {
		return nil, errOtherAuthorizationID
	}
	random := make([]byte, 18)
	_, _ = rand.Read(random) // never fails
	s.nonce += base64.StdEncoding.EncodeToString(random)
	s.credential = new(s.cluster.sasl.credential(scramUser{s.mechanism, username, password, s.cfg.Iterations}))
	s.serverFirst = fmt.Sprintf("r=%s,s=%s,i=%d", s.nonce, base64.StdEncoding.EncodeToString(s.credential.salt), s.cfg.Iterations)
	return []byte(s.serverFirst), nil
}

// password finds the secret of a user or a token, and whom it stands for.
func (s *scramServer) password(username string, token bool) (string, error) {
	if !token {
		password, ok := s.cfg.Users[username]
		if !ok {
			return "", errors.New("SCRAM: unknown user")
		}
		s.who = identity{principal: username}
		return password, nil
	}
	t, ok := s.cfg.DelegationTokens[username]
	if !ok || !t.ExpiresAt.IsZero() && time.Now().After(t.ExpiresAt) {
		return "", errors.New("SCRAM: unknown or expired token")
	}
	s.who = identity{t.Owner, t.ExpiresAt}
	return t.HMAC, nil
}

// final checks the client's proof, and answers with the node's.
func (s *scramServer) final(message string) ([]byte, *identity, error) {
	parts := scramFinalMessage.FindStringSubmatch(message)
	if parts == nil {
		return nil, nil, errors.New("SCRAM: invalid final message")
	}
	if parts[3] != s.nonce {
		return nil, nil, errors.New("SCRAM: another nonce")
	}
	if parts[2] != base64.StdEncoding.EncodeToString([]byte(s.header)) {
		return nil, nil, errors.New("SCRAM: another channel binding")
	}
	c := s.credential
	exchange := s.clientFirst + "," + s.serverFirst + "," + parts[1]
	key, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(key) != len(c.storedKey) {
		return nil, nil, errors.New("SCRAM: the proof is malformed")
	}
	for i, b := range c.sign(c.storedKey, exchange) {
		key[i] ^= b
	}
	stored := c.newHash()
	stored.Write(key)
	if !hmac.Equal(stored.Sum(nil), c.storedKey) {
		return nil, nil, errors.New("SCRAM: the proof is wrong")
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(c.sign(c.serverKey, exchange))), &s.who, nil
}

func (c scramCredential) sign(key []byte, text string) []byte {
	h := hmac.New(c.newHash, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// credential returns what the nodes keep of a password. It is made once, so that all nodes have the same salt.
func (s *saslSettings) credential(user scramUser) scramCredential {
	s.mu.Lock()
	made := s.credentials[user]
	if made == nil {
		if s.credentials == nil {
			s.credentials = make(map[scramUser]func() scramCredential)
		}
		made = sync.OnceValue(user.credential)
		s.credentials[user] = made
	}
	s.mu.Unlock()
	return made()
}

// credential makes what a node keeps. Kafka: ScramFormatter.generateCredential.
func (u scramUser) credential() scramCredential {
	c := scramCredential{newHash: sha256.New, salt: make([]byte, 16)}
	if u.mechanism == scram512Mechanism {
		c.newHash = sha512.New
	}
	_, _ = rand.Read(c.salt) // never fails
	salted, err := pbkdf2.Key(c.newHash, u.password, c.salt, u.iterations, c.newHash().Size())
	if err != nil {
		panic(fmt.Sprintf("quilltest: make the keys of a password: %v", err)) // the arguments are all ours
	}
	client := c.newHash()
	client.Write(c.sign(salted, "Client Key"))
	c.storedKey, c.serverKey = client.Sum(nil), c.sign(salted, "Server Key")
	return c
}
