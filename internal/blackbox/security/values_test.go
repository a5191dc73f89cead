package security_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/network/keystore"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/network/sasl/oauthbearer"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
)

// holders are values of the exported types that can hold a secret, with planted ones in them, by the package's directory and the type.
func holders(t *testing.T, w *planted.Watch) map[string]any {
	t.Helper()
	password, secret, phrase := sasl.NewSecret(planted.Password), sasl.NewSecret(planted.ClientSecret), sasl.NewSecret(planted.PassPhrase)
	credentials := oauthbearer.ClientCredentials{ClientID: "quill", ClientSecret: secret, Assertion: assertion()}
	users := quilltest.SASL{Users: map[string]string{"alice": planted.Password}, DelegationTokens: map[string]quilltest.DelegationToken{"id": {HMAC: planted.Token}}}
	store := keystore.Store{Certificates: phrase, PrivateKey: secret, Password: password, KeyPassword: phrase}
	return map[string]any{
		"network/sasl.Secret":                        password,
		"network/sasl.Credentials":                   sasl.Credentials{Username: "alice", Password: password},
		"network/sasl.Token":                         sasl.Token{Value: sasl.NewSecret(planted.Token)},
		"network/sasl.Settings":                      sasl.Settings{Mechanism: "PLAIN", Options: map[string]sasl.Secret{"password": password}},
		"network/sasl.Scram":                         sasl.ScramSHA256("alice", planted.Password),
		"network/sasl/oauthbearer.ClientCredentials": &credentials,
		"network/sasl/oauthbearer.JWTBearer":         &oauthbearer.JWTBearer{Assertion: assertion()},
		"network/sasl/oauthbearer.SignedAssertion":   signed(t, w),
		"network/sasl/oauthbearer.AssertionFile":     readAssertion(t),
		"network/sasl/oauthbearer.File":              readToken(t),
		"network/sasl/oauthbearer.Login":             &oauthbearer.Login{Retriever: &credentials},
		"network/sasl/oauthbearer.Endpoint":          &oauthbearer.Endpoint{URL: "https://idp.invalid", Client: http.DefaultClient},
		"network/keystore.Config":                    keystore.Config{Own: &store, Trust: &store},
		"network/keystore.Store":                     store,
		"network/keystore.Source":                    opened(t),
		"network/keystore.Contents":                  keystore.Contents{Keys: keys(t, w)},
		"network/keystore.Key":                       keys(t, w),
		"quilltest.SASL":                             users,
		"quilltest.DelegationToken":                  users.DelegationTokens["id"],
		"quilltest.Options":                          quilltest.Options{SASL: &users, TLS: quilltest.NewCA().ServerConfig()},
		"quilltest.CA":                               quilltest.NewCA(),
		"quilltest.Request":                          quilltest.Request{API: protocol.SaslAuthenticate, Body: []byte("\x00alice\x00" + planted.Password), Message: struct{ AuthBytes []byte }{[]byte(planted.Password)}},
		"..Config":                                   quill.Config{SASL: sasl.Plain("alice", planted.Password)},
	}
}

func assertion() oauthbearer.Assertion { return &oauthbearer.AssertionFile{Path: "assertion.jwt"} }

// jwt returns a token with a planted part.
func jwt() string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"RS256"}`)) + "." + part([]byte(`{"sub":"alice"}`)) + "." + part([]byte(planted.Token))
}

func write(t *testing.T, content []byte) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, content, 0o600))
	return file
}

// readToken returns an oauthbearer.File that has been read, so that the token is kept.
func readToken(t *testing.T) any {
	t.Helper()
	f := &oauthbearer.File{Path: write(t, []byte(jwt()))}
	token, err := f.Retrieve(t.Context())
	require.NoError(t, err)
	require.Equal(t, jwt(), token.Reveal())
	return f
}

func readAssertion(t *testing.T) any {
	t.Helper()
	a := &oauthbearer.AssertionFile{Path: write(t, []byte(jwt()))}
	_, err := a.Assert(t.Context())
	require.NoError(t, err)
	return a
}

// signed has signed an assertion, so that the key is kept.
func signed(t *testing.T, w *planted.Watch) any {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	addKey(t, w, key)
	a := &oauthbearer.SignedAssertion{KeyFile: write(t, pemOf(t, key)), Passphrase: sasl.NewSecret(planted.PassPhrase), Subject: "alice"}
	_, err = a.Assert(t.Context())
	require.NoError(t, err)
	return a
}

// opened has read a key store.
func opened(t *testing.T) any {
	t.Helper()
	ca := quilltest.NewCA()
	cert := ca.Issue(quilltest.Certificate{})
	var chain strings.Builder
	for _, der := range cert.Certificate {
		require.NoError(t, pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	own := keystore.Store{Type: "PEM", PrivateKey: sasl.NewSecret(string(pemOf(t, cert.PrivateKey.(crypto.Signer)))), Certificates: sasl.NewSecret(chain.String()), Password: sasl.NewSecret(planted.PassPhrase)}
	s, err := keystore.Open(keystore.Config{Own: &own})
	require.NoError(t, err)
	return s
}

func pemOf(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// keys returns private keys of the kinds that there are.
func keys(t *testing.T, w *planted.Watch) (list []keystore.Key) {
	t.Helper()
	_, short, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for _, key := range []crypto.Signer{short, long, quilltest.NewCA().Issue(quilltest.Certificate{}).PrivateKey.(crypto.Signer)} {
		addKey(t, w, key)
		list = append(list, keystore.Key{Alias: "client", Private: key})
	}
	return list
}

// addKey adds what is secret of a key to what is looked for: as bytes, and as the number that JSON makes of it.
func addKey(t *testing.T, w *planted.Watch, key crypto.Signer) {
	t.Helper()
	switch k := key.(type) {
	case ed25519.PrivateKey:
		w.Add("private key", string(k.Seed()))
	case *rsa.PrivateKey:
		w.Add("private key", string(k.D.Bytes())) //nolint:staticcheck // it is what must not show
		w.Add("private key's number", k.D.String())
	case *ecdsa.PrivateKey:
		b, err := k.Bytes()
		require.NoError(t, err)
		w.Add("private key", string(b))
	}
}

// holdNone are types of which a field sounds like a secret's, and why it is none.
var holdNone = map[string]string{
	"..Record":         "keys and values are what the program sends; printing a record is up to it",
	"..PartitionInput": "the key of a record",
	"..Producer":       "TestNoSecretShowsWhenLoggingIn prints one",
	"network.Config":   "its mechanism is printed by itself, TLS is a func",
	"metrics.Tag":      "a name", "network/sasl.Peer": "the state of TLS has no keys that print",
	"quilltest.Record": "what a test has sent", "quilltest/quillmock.Sent": "the same", "quilltest/quillmock.Producer": "the same",
}

var sounds = regexp.MustCompile(`(?i)secret|password|passphrase|token|\bkey\b|hmac|credential|private|\bbody\b|\busers\b|sasl\.Mechanism|tls\.C|crypto\.|cachedFile|Assertion|Retriever|Endpoint\b|\bStore\b`)

// Each exported struct with a field that sounds like a secret's, by its name or type, is among the holders, or it is said why it holds none.
func TestEachTypeThatCanHoldASecretIsLookedAt(t *testing.T) {
	known := holders(t, planted.NewWatch(t, nil))
	found := map[string]bool{}
	var unknown []string
	for _, dir := range []string{".", "network", "network/sasl", "network/sasl/oauthbearer", "network/keystore", "quilltest", "quilltest/quillmock", "metrics"} {
		for name, fields := range structs(t, filepath.Join("..", "..", "..", dir)) {
			if !sounds.MatchString(fields) {
				continue
			}
			name = dir + "." + name
			found[name] = true
			if known[name] == nil && holdNone[name] == "" {
				unknown = append(unknown, name)
			}
		}
	}
	require.Empty(t, unknown, "can they hold a secret? Then add one of each to holders, with a planted secret; or say in holdNone why they can't")
	for name := range holdNone {
		if !found[name] {
			unknown = append(unknown, name)
		}
	}
	require.Empty(t, unknown, "such a type is not there any more")
}

// structs returns the source text of the fields of each exported struct of a package.
func structs(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	found := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, file, text, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() {
				if s, ok := spec.Type.(*ast.StructType); ok {
					var b strings.Builder
					for _, f := range s.Fields.List {
						b.Write(text[fset.Position(f.Pos()).Offset:fset.Position(f.End()).Offset])
						b.WriteByte('\n')
					}
					found[spec.Name.Name] = b.String()
				}
			}
			return true
		})
	}
	return found
}

// No type shows what it holds, whatever prints it: by itself, behind a pointer, in a struct, a list and a map of a user's.
func TestNoSecretShowsInValues(t *testing.T) {
	w := planted.NewWatch(t, nil)
	for name, value := range holders(t, w) {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, w.FindIn(value))
			require.Empty(t, w.FindIn(&value))
			require.Empty(t, w.FindIn([]any{value}))
			require.Empty(t, w.FindIn(map[string]any{"value": value}))
			require.Empty(t, w.FindIn(struct{ Value any }{value}))
		})
	}
	users := quilltest.SASL{Users: map[string]string{"alice": planted.Password}}
	require.Empty(t, w.FindIn(&users), "a pointer")
	text, err := json.Marshal(quilltest.DelegationToken{HMAC: planted.Token, Owner: "alice"})
	require.NoError(t, err)
	require.Contains(t, string(text), "alice")
}
