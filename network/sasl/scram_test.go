package sasl

import (
	"context"
	"crypto"
	"crypto/hmac"
	_ "crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/network/sasl/saslprep"
)

// vectors are whole exchanges: those of RFC 7677 §3 and of RFC 5802 §5 (with SHA-1, which Start refuses), and one with SHA-512 that Python's
// hashlib has made of the values of RFC 7677.
var vectors = []struct {
	hash                              crypto.Hash
	username, password, nonce         string
	first, server, final, serverFinal string
}{
	{
		crypto.SHA256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO",
		"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	},
	{
		crypto.SHA1, "user", "pencil", "fyko+d2lbbFgONRv9qkxdawL",
		"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
		"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
	},
	{
		crypto.SHA512, "user", "pencil", "rOprNGfwEbeRWgbNEkqO",
		"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
		"v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
	},
}

func TestScramFollowsTheVectorsOfTheRFCs(t *testing.T) {
	for _, v := range vectors {
		m := &Scram{Hash: v.hash}
		s := newScramSession(m, Credentials{Username: v.username, Password: NewSecret(v.password)}, v.nonce)
		require.Equal(t, v.first, s.header+s.first)
		response, done, err := s.Next(t.Context(), []byte(v.server))
		require.NoError(t, err)
		require.False(t, done)
		require.Equal(t, v.final, string(response))
		response, done, err = s.Next(t.Context(), []byte(v.serverFinal))
		require.NoError(t, err)
		require.True(t, done)
		require.Nil(t, response)
	}
}

// scramNode is a node's side of SCRAM, written from RFC 5802 and not from the client: Hi() is its own loop.
type scramNode struct {
	newHash    func() hash.Hash
	username   string // as it is, not escaped
	password   string
	salt       string
	iterations int

	clientFirst, serverFirst string
	extensions               string
}

func (n *scramNode) hmac(key []byte, text string) []byte {
	h := hmac.New(n.newHash, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func (n *scramNode) saltedPassword() []byte {
	u := n.hmac([]byte(n.password), n.salt+"\x00\x00\x00\x01")
	sum := append([]byte(nil), u...)
	for range n.iterations - 1 {
		u = n.hmac([]byte(n.password), string(u))
		for i := range sum {
			sum[i] ^= u[i]
		}
	}
	return sum
}

// first answers the client's first message.
func (n *scramNode) first(message []byte) (string, error) {
	bare, found := strings.CutPrefix(string(message), "n,,")
	if !found {
		return "", fmt.Errorf("no GS2 header: %q", message)
	}
	name, rest, _ := strings.Cut(strings.TrimPrefix(bare, "n="), ",r=")
	nonce, extensions, _ := strings.Cut(rest, ",")
	n.extensions = extensions
	if escaped := strings.ReplaceAll(strings.ReplaceAll(n.username, "=", "=3D"), ",", "=2C"); name != escaped {
		return "", fmt.Errorf("user %q", name)
	}
	n.clientFirst = bare
	n.serverFirst = fmt.Sprintf("r=%s,s=%s,i=%d", nonce+"node", base64.StdEncoding.EncodeToString([]byte(n.salt)), n.iterations)
	return n.serverFirst, nil
}

// final checks the client's proof and returns the signature.
func (n *scramNode) final(message []byte) (string, error) {
	withoutProof, proof, _ := strings.Cut(string(message), ",p=")
	if !strings.HasPrefix(withoutProof, "c="+base64.StdEncoding.EncodeToString([]byte("n,,"))+",r=") {
		return "", fmt.Errorf("channel binding: %q", message)
	}
	exchange := n.clientFirst + "," + n.serverFirst + "," + withoutProof
	salted := n.saltedPassword()
	clientKey := n.hmac(salted, "Client Key")
	stored := n.newHash()
	stored.Write(clientKey)
	signature := n.hmac(stored.Sum(nil), exchange)
	for i := range signature {
		signature[i] ^= clientKey[i]
	}
	if base64.StdEncoding.EncodeToString(signature) != proof {
		return "", errors.New("the proof is wrong")
	}
	return "v=" + base64.StdEncoding.EncodeToString(n.hmac(n.hmac(salted, "Server Key"), exchange)), nil
}

// authenticate runs a whole exchange.
func (n *scramNode) authenticate(ctx context.Context, m Mechanism) error {
	s, initial, err := m.Start(ctx, Peer{})
	if err != nil {
		return err
	}
	first, err := n.first(initial)
	if err != nil {
		return err
	}
	response, done, err := s.Next(ctx, []byte(first))
	if err != nil || done {
		return errors.Join(err, errors.New("no final message"))
	}
	final, err := n.final(response)
	if err != nil {
		return err
	}
	if _, done, err = s.Next(ctx, []byte(final)); err == nil && !done {
		err = errors.New("not done")
	}
	return err
}

var scramHashes = map[crypto.Hash]func() hash.Hash{crypto.SHA256: sha256.New, crypto.SHA512: sha512.New}

func TestScramAuthenticatesToANodeWrittenFromTheRFC(t *testing.T) {
	for id, newHash := range scramHashes {
		for _, c := range []Credentials{
			{Username: "alice", Password: NewSecret("alice-secret")},
			{Username: "a=b,c==,,", Password: NewSecret("p,a=s,s==w=2C=3D")},
			{Username: "ätsch", Password: NewSecret("Pässwörd 密码 🔑 \u00a0")},
			{Username: "token-id", Password: NewSecret("aG1hYw=="), DelegationToken: true},
		} {
			m := &Scram{Hash: id, Credentials: fixed(c)}
			n := &scramNode{newHash: newHash, username: c.Username, password: c.Password.Reveal(), salt: "salt and pepper", iterations: 4096}
			require.NoError(t, n.authenticate(t.Context(), m), "%v %q", id, c.Username)
			require.Equal(t, c.DelegationToken, n.extensions == "tokenauth=true", "Java: ScramExtensions")
			n.password += "x"
			require.ErrorContains(t, n.authenticate(t.Context(), m), "the proof is wrong")
		}
	}
	require.Equal(t, "SCRAM-SHA-256", ScramSHA256("u", "p").Name())
	require.Equal(t, "SCRAM-SHA-512", ScramSHA512("u", "p").Name())
}

func TestScramSendsAnAuthorizationID(t *testing.T) {
	s := newScramSession(&Scram{Hash: crypto.SHA256}, Credentials{Username: "u", Password: NewSecret("p"), AuthorizationID: "other,one"}, "N")
	require.Equal(t, "n,a=other=2Cone,n=u,r=N", s.header+s.first)
	response, _, err := s.Next(t.Context(), []byte("r=N1,s=c2FsdA==,i=4096"))
	require.NoError(t, err)
	require.Contains(t, string(response), "c="+base64.StdEncoding.EncodeToString([]byte("n,a=other=2Cone,")))
}

// TestS7ScramNonceIsFresh: a nonce of at least 18 random bytes for each exchange.
func TestS7ScramNonceIsFresh(t *testing.T) {
	m, seen := ScramSHA256("u", "p"), map[string]bool{}
	for range 1000 {
		_, initial, err := m.Start(t.Context(), Peer{})
		require.NoError(t, err)
		nonce, found := strings.CutPrefix(string(initial), "n,,n=u,r=")
		require.True(t, found)
		random, err := base64.StdEncoding.DecodeString(nonce)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(random), 18)
		require.False(t, seen[nonce])
		seen[nonce] = true
	}
}

// TestS7ScramIsNotDoneWithoutTheSignature: only the right server signature makes an exchange done.
func TestS7ScramIsNotDoneWithoutTheSignature(t *testing.T) {
	v := vectors[0]
	for _, final := range []string{
		"", "v=", "v=AAAA", "v=" + base64.StdEncoding.EncodeToString(make([]byte, 32)), v.serverFinal[:len(v.serverFinal)-5] + "H" + v.serverFinal[len(v.serverFinal)-4:],
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4", "x=y", "e=invalid-proof", "e=", " " + v.serverFinal, "x=y," + v.serverFinal, v.server, "m=x," + v.serverFinal,
	} {
		s := newScramSession(&Scram{Hash: v.hash}, Credentials{Username: v.username, Password: NewSecret(v.password)}, v.nonce)
		_, _, err := s.Next(t.Context(), []byte(v.server))
		require.NoError(t, err)
		response, done, err := s.Next(t.Context(), []byte(final))
		require.Error(t, err, final)
		require.False(t, done)
		require.Nil(t, response)
		_, done, err = s.Next(t.Context(), []byte(v.serverFinal))
		require.ErrorContains(t, err, "after the end", "a second try counts no more")
		require.False(t, done)
	}
}

// H72: TestH72HostileServerFirst is what a node must not get a proof for.
func TestH72HostileServerFirst(t *testing.T) {
	const salt = "s=c2FsdA=="
	for message, want := range map[string]string{
		"r=Nn," + salt + ",i=0":                               "not a number from 1",
		"r=Nn," + salt + ",i=1":                               "asks for 1 iterations, allowed are 4096 to 65536",
		"r=Nn," + salt + ",i=4095":                            "asks for 4095 iterations",
		"r=Nn," + salt + ",i=65537":                           "asks for 65537 iterations",
		"r=Nn," + salt + ",i=1000000000":                      "asks for 1000000000 iterations",
		"r=Nn," + salt + ",i=99999999999999999999":            "not a number from 1",
		"r=Nn," + salt + ",i=+4096":                           "not a number from 1",
		"r=Nn," + salt + ",i=-4096":                           "not a number from 1",
		"r=Nn," + salt + ",i=04096":                           "not a number from 1",
		"r=Nn," + salt + ",i=4096x":                           "not a number from 1",
		"r=Nn," + salt + ",i= 4096":                           "not a number from 1",
		"r=Nn," + salt + ",i=4_096":                           "not a number from 1",
		"r=Nn," + salt + ",i=":                                "not a number from 1",
		"r=Nn,s=,i=4096":                                      "salt is empty or not base64",
		"r=Nn,s=c2FsdA,i=4096":                                "salt is empty or not base64",
		"r=Nn,s=c2FsdB==,i=4096":                              "salt is empty or not base64",
		"r=Nn,s=!!!!,i=4096":                                  "salt is empty or not base64",
		"r=Nn,s=c2Fs\ndA==,i=4096":                            "other than printable ASCII",
		"r=Nn,s=" + strings.Repeat("AAAA", 1<<18) + ",i=4096": "message has 1048590 bytes",
		"r=N," + salt + ",i=4096":                             "adds nothing to it",
		"r=," + salt + ",i=4096":                              "does not begin with the client's",
		"r=Xn," + salt + ",i=4096":                            "does not begin with the client's",
		"r=n," + salt + ",i=4096":                             "does not begin with the client's",
		"m=x,r=Nn," + salt + ",i=4096":                        "extension",
		"r=Nn,m=x," + salt + ",i=4096":                        "extension",
		salt + ",r=Nn,i=4096":                                 "no r= at its place",
		"r=Nn,i=4096," + salt:                                 "no s= at its place",
		"r=Nn," + salt:                                        `is not "r=…,s=…,i=…"`,
		"e=other-error":                                       `is not "r=…,s=…,i=…": "e=other-error"`,
		"":                                                    "not a list of attributes",
		",,":                                                  "not a list of attributes",
		"\x00\x01":                                            "other than printable ASCII",
		"r=N\u00e4," + salt + ",i=4096":                       "other than printable ASCII",
	} {
		s := newScramSession(ScramSHA256("u", "p"), Credentials{Username: "u", Password: NewSecret("p")}, "N")
		response, done, err := s.Next(t.Context(), []byte(message))
		require.ErrorContains(t, err, want, "%.100q", message)
		require.ErrorContains(t, err, "SCRAM-SHA-256: ")
		require.Less(t, len(err.Error()), 1200)
		require.Nil(t, response)
		require.False(t, done)
		require.Zero(t, len(s.mechanism.keys.kept()), "no work for a hostile node")
		_, _, err = s.Next(t.Context(), []byte("r=Nn,"+salt+",i=4096"))
		require.ErrorContains(t, err, "after the end")
	}
}

func TestScramIgnoresExtensionsBehind(t *testing.T) {
	s := newScramSession(ScramSHA256("u", "p"), Credentials{Username: "u", Password: NewSecret("p")}, "N")
	_, _, err := s.Next(t.Context(), []byte("r=Nn,s=c2FsdA==,i=4096,x=later"))
	require.NoError(t, err, "RFC 5802 §5.1: optional extensions are ignored")
}

func TestScramIterationsAreConfigurable(t *testing.T) {
	for _, row := range []struct {
		least, most, asked int
		refused            bool
	}{
		{0, 0, 4096, false}, {0, 0, 65536, false}, {0, 0, 65537, true}, {1, 0, 1, false}, {0, 70000, 70000, false}, {0, 70000, 70001, true},
		{8192, 0, 4096, true}, {8192, 0, 8192, false}, {0, 5000, 5001, true}, {100000, 0, 100000, false}, {100000, 0, 65536, true},
	} {
		m := &Scram{Hash: crypto.SHA256, MinIterations: row.least, MaxIterations: row.most}
		s := newScramSession(m, Credentials{Username: "u", Password: NewSecret("p")}, "N")
		_, _, err := s.Next(t.Context(), fmt.Appendf(nil, "r=Nn,s=c2FsdA==,i=%d", row.asked))
		require.Equal(t, row.refused, err != nil, "%+v", row)
	}
}

// kept returns what is in the cache.
func (c *keyCache) kept() []*keyEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.entries)
}

func TestScramMakesTheKeysOfAPasswordOnce(t *testing.T) {
	m := ScramSHA256("alice", "secret")
	n := scramNode{newHash: sha256.New, username: "alice", password: "secret", salt: "salt", iterations: 4096}
	var made sync.WaitGroup
	for range 8 {
		made.Go(func() {
			node := n
			if err := node.authenticate(context.Background(), m); err != nil {
				panic(err)
			}
		})
	}
	made.Wait()
	require.Len(t, m.keys.kept(), 1)
	first := m.keys.kept()[0]
	require.NoError(t, n.authenticate(t.Context(), m))
	require.Same(t, first, m.keys.kept()[0])
	for i := range 10 {
		n.salt = fmt.Sprint("salt ", i)
		require.NoError(t, n.authenticate(t.Context(), m), "another salt, other keys")
	}
	require.Len(t, m.keys.kept(), mostKeys)
	n.password = "another"
	m.Credentials = fixed(Credentials{Username: "alice", Password: NewSecret("another")})
	require.NoError(t, n.authenticate(t.Context(), m), "a changed password, other keys")
	n.iterations = 5000
	require.NoError(t, n.authenticate(t.Context(), m))
}

// TestS11ScramKeepsItsSecrets prints a mechanism and a session that have keys.
func TestS11ScramKeepsItsSecrets(t *testing.T) {
	m := ScramSHA256("alice", secretText)
	n := scramNode{newHash: sha256.New, username: "alice", password: secretText, salt: "salt", iterations: 4096}
	require.NoError(t, n.authenticate(t.Context(), m))
	s, _, err := m.Start(t.Context(), Peer{})
	require.NoError(t, err)
	salted := n.saltedPassword()
	for _, secret := range [][]byte{salted, n.hmac(salted, "Client Key"), n.hmac(salted, "Server Key")} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%q", "%d"} {
			for _, v := range []any{m, s, Mechanism(m), struct{ hidden *Scram }{m}, m.keys.kept()} {
				text := fmt.Sprintf(verb, v)
				require.Empty(t, leaks(text))
				require.NotContains(t, text, fmt.Sprintf("%x", secret))
				require.NotContains(t, text, strings.Trim(fmt.Sprint(secret), "[]"))
				require.NotContains(t, text, base64.StdEncoding.EncodeToString(secret))
			}
		}
	}
}

// TestScramPreparesNamesAndPasswordsIfAsked: Kafka doesn't, so the default is to send them as they are.
func TestScramPreparesNamesAndPasswordsIfAsked(t *testing.T) {
	m := ScramSHA256("\u2168", "I\u00adX")
	asIs := &scramNode{newHash: sha256.New, username: "\u2168", password: "I\u00adX", salt: "salt", iterations: 4096}
	prepared := &scramNode{newHash: sha256.New, username: "IX", password: "IX", salt: "salt", iterations: 4096}
	require.NoError(t, asIs.authenticate(t.Context(), m), "Java: ScramFormatter.normalize")
	m.Prepare = saslprep.Prepare
	require.NoError(t, prepared.authenticate(t.Context(), m))
	require.Error(t, asIs.authenticate(t.Context(), m))
	for _, c := range []Credentials{{Username: "u", Password: NewSecret(secretText + "\a")}, {Username: "u\a", Password: NewSecret(secretText)}, {Username: "u", Password: NewSecret("\u00ad")}} {
		m.Credentials = fixed(c)
		_, _, err := m.Start(t.Context(), Peer{})
		require.ErrorContains(t, err, "SCRAM-SHA-256: the ")
		require.Empty(t, leaks(err.Error()))
	}
}

func TestScramRefusesAnUnknownHash(t *testing.T) {
	for _, m := range []*Scram{{}, {Hash: crypto.MD5}, {Hash: crypto.SHA1}} {
		_, _, err := m.Start(t.Context(), Peer{})
		require.ErrorContains(t, err, "must be SHA-256 or SHA-512")
	}
}

func BenchmarkScram(b *testing.B) {
	for name, kept := range map[string]bool{"FirstConnection": false, "NextConnection": true} {
		b.Run(name, func(b *testing.B) {
			m := ScramSHA512("alice", "secret")
			for b.Loop() {
				if !kept {
					m = ScramSHA512("alice", "secret")
				}
				s, initial, err := m.Start(b.Context(), Peer{})
				require.NoError(b, err)
				_, nonce, _ := strings.Cut(string(initial), "r=")
				_, _, err = s.Next(b.Context(), []byte("r="+nonce+"x,s=c2FsdA==,i=16384"))
				require.NoError(b, err)
			}
		})
	}
}
