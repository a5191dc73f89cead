package security_test

// No secret shows where it must not: not in the logs of all levels, errors, panics, and what fmt, JSON and slog make of values, whether logins
// work or not. What is planted, and in what forms it would be found, says package planted.

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/network/sasl/oauthbearer"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
)

// plantedLogin is a login with planted secrets.
type plantedLogin struct {
	name    string
	cluster quilltest.SASL // what the cluster wants
	login   func(w *planted.Watch) sasl.Mechanism
	fails   bool
}

// welcome returns a cluster that takes all that is planted.
func welcome() quilltest.SASL {
	return quilltest.SASL{
		Users: map[string]string{"alice": planted.Password}, SessionLifetime: 5 * time.Second,
		CheckToken: func(token string, _ map[string]string) (string, time.Time, error) {
			if token != planted.Token && !strings.HasPrefix(token, "ey") {
				return "", time.Time{}, errors.New("another token")
			}
			return "alice", time.Time{}, nil
		},
	}
}

// unwelcome returns a cluster that knows nothing of what is planted.
func unwelcome() quilltest.SASL {
	return quilltest.SASL{Users: map[string]string{"alice": "another password"}, CheckToken: func(string, map[string]string) (string, time.Time, error) {
		return "", time.Time{}, &quilltest.TokenError{Status: "invalid_token"}
	}}
}

func plantedLogins() (logins []plantedLogin) {
	for name, login := range map[string]func(w *planted.Watch) sasl.Mechanism{
		"PLAIN":                          func(*planted.Watch) sasl.Mechanism { return sasl.Plain("alice", planted.Password) },
		"SCRAM":                          func(w *planted.Watch) sasl.Mechanism { return salted{sasl.ScramSHA512("alice", planted.Password), w} },
		"OAUTHBEARER":                    func(*planted.Watch) sasl.Mechanism { return sasl.OAuthBearer(plantedToken) },
		"client credentials":             func(w *planted.Watch) sasl.Mechanism { return credentials(granted(w), http.StatusOK, false) },
		"client credentials in the body": func(w *planted.Watch) sasl.Mechanism { return credentials(granted(w), http.StatusOK, true) },
	} {
		logins = append(logins, plantedLogin{name, welcome(), login, false}, plantedLogin{name + ", unwelcome", unwelcome(), login, true})
	}
	for name, answer := range map[string]string{
		"refused":              `{"error":"invalid_client","error_description":"who are you?"}`,
		"refused with an echo": `{"error":"invalid_client","error_description":"wrong: ` + planted.ClientSecret + `"}`,
		"no JSON":              `<html>no such page</html>`, "half a token": `{"access_token":"` + planted.Token, "a token for another": `{"access_token":"` + planted.Token + `","token_type":"mac"}`,
	} {
		status := http.StatusOK
		if strings.HasPrefix(name, "refused") {
			status = http.StatusUnauthorized
		}
		logins = append(logins, plantedLogin{"client credentials, " + name, welcome(), func(*planted.Watch) sasl.Mechanism { return credentials(answer, status, false) }, true})
	}
	return logins
}

// granted returns an endpoint's answer with a token, which it adds to what is looked for.
func granted(w *planted.Watch) string {
	part := base64.RawURLEncoding.EncodeToString
	now := time.Now().Unix()
	token := part([]byte(`{"alg":"RS256"}`)) + "." + part(fmt.Appendf(nil, `{"sub":"alice","iat":%d,"exp":%d}`, now, now+3600)) + "." + part([]byte(planted.Token))
	w.Add("JWT", token)
	return `{"access_token":"` + token + `","token_type":"Bearer","expires_in":3600}`
}

func plantedToken(context.Context) (sasl.Token, error) {
	return sasl.Token{Value: sasl.NewSecret(planted.Token)}, nil
}

// tokenAnswer answers requests for tokens.
type tokenAnswer struct {
	status int
	body   string
}

// RoundTrip implements http.RoundTripper.
func (e tokenAnswer) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: e.status, Status: fmt.Sprint(e.status, " ", http.StatusText(e.status)), Body: io.NopCloser(strings.NewReader(e.body)),
		Header: http.Header{"Content-Type": {"application/json"}}}, nil
}

func credentials(body string, status int, inBody bool) sasl.Mechanism {
	return &oauthbearer.Login{Retriever: &oauthbearer.ClientCredentials{
		Endpoint: oauthbearer.Endpoint{URL: "https://idp.invalid/token", Client: &http.Client{Transport: tokenAnswer{status, body}}},
		ClientID: "quill", ClientSecret: sasl.NewSecret(planted.ClientSecret),
	}}
}

// salted has the node's salt, by which it adds SCRAM's salted password to what is looked for.
type salted struct {
	sasl.Mechanism
	w *planted.Watch
}

// Start implements sasl.Mechanism.
func (m salted) Start(ctx context.Context, peer sasl.Peer) (sasl.Session, []byte, error) {
	s, initial, err := m.Mechanism.Start(ctx, peer)
	return saltedSession{s, m.w}, initial, err
}

type saltedSession struct {
	sasl.Session
	w *planted.Watch
}

var saltAndIterations = regexp.MustCompile(`,s=([^,]+),i=(\d+)$`)

// Next implements sasl.Session.
func (s saltedSession) Next(ctx context.Context, challenge []byte) ([]byte, bool, error) {
	if parts := saltAndIterations.FindSubmatch(challenge); parts != nil {
		salt, err := base64.StdEncoding.DecodeString(string(parts[1]))
		iterations, atoi := strconv.Atoi(string(parts[2]))
		key, pbkdf := pbkdf2.Key(sha512.New, planted.Password, salt, iterations, sha512.Size)
		if err := errors.Join(err, atoi, pbkdf); err != nil {
			return nil, false, err
		}
		s.w.Add("salted password", string(key))
	}
	return s.Session.Next(ctx, challenge)
}

func TestNoSecretShowsWhenLoggingIn(t *testing.T) {
	for _, l := range plantedLogins() {
		t.Run(l.name, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{SASL: &l.cluster}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				w := planted.NewWatch(t, t.Output())
				m := l.login(w)
				cfg := quill.Config{BootstrapServers: c.BootstrapServers(), DialContext: c.DialContext, SASL: m, Logger: w.Logger(), MaxBlock: 30 * time.Second, MaxRequestSize: 10_000}
				p, err := quill.New(cfg, quill.String, quill.String)
				require.NoError(t, err)
				errs := sendPlanted(t, p, c)
				require.Equal(t, l.fails, errs[0] != nil, "%v", errs[0])
				require.Error(t, errs[2], "a record that is too large")
				require.Contains(t, w.String(), "level=DEBUG")
				require.NoError(t, p.Close(context.Background()))
				if s, ok := m.(salted); ok {
					m = s.Mechanism
				}
				w.Check(cfg, &cfg, m, p)
				for _, err := range errs {
					w.Check(err)
				}
			})
		})
	}
}

// sendPlanted sends records with planted key, value and header: at first, when the session is renewed, and such as are refused. It returns their errors.
func sendPlanted(t *testing.T, p *quill.Producer[string, string], c *quilltest.Cluster) (errs []error) {
	r := quill.Record[string, string]{Topic: "t", Key: planted.HeaderValue, Value: planted.HeaderValue}
	r.Headers.Add("h", []byte(planted.HeaderValue))
	send := func(r quill.Record[string, string]) {
		_, err := p.SendSync(t.Context(), r)
		errs = append(errs, err)
	}
	send(r)
	time.Sleep(time.Minute)
	send(r)
	large := r
	large.Value = strings.Repeat(planted.HeaderValue, 1000)
	send(large)
	c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.InvalidRecord})
	send(r)
	p.SendFunc(t.Context(), r, func(quill.RecordMetadata, error) { panic("a callback's own") })
	return append(errs, p.Flush(t.Context()))
}

// Stores that can't be opened with the pass phrase, and properties that are wrong.
func TestNoSecretShowsInErrorsOfProperties(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	require.NoError(t, os.WriteFile(store, []byte("no key at all"), 0o600))
	w := planted.NewWatch(t, t.Output())
	module := "org.apache.kafka.common.security."
	for name, text := range map[string]string{
		"JKS":               "security.protocol=SSL\nssl.keystore.location=" + store + "\nssl.keystore.password=" + planted.PassPhrase + "\nssl.key.password=" + planted.PassPhrase,
		"trust":             "security.protocol=SSL\nssl.truststore.location=" + store + "\nssl.truststore.password=" + planted.PassPhrase,
		"PEM":               "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=" + store + "\nssl.key.password=" + planted.PassPhrase,
		"key as text":       "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.key=" + planted.PassPhrase + "\nssl.keystore.certificate.chain=x",
		"no module":         "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=password=\"" + planted.Password + "\";",
		"no end":            "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=" + module + "plain.PlainLoginModule required username=alice password=\"" + planted.Password + "\"",
		"a quote too much":  "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=" + module + "plain.PlainLoginModule required username=alice password=\"" + planted.Password + "\"\";",
		"no username":       "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config=" + module + "scram.ScramLoginModule required password=\"" + planted.Password + "\";",
		"foreign module":    "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=com.example.Login required password=\"" + planted.Password + "\";",
		"secret, no URL":    "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config=" + module + "oauthbearer.OAuthBearerLoginModule required clientId=quill clientSecret=\"" + planted.ClientSecret + "\";\nsasl.login.callback.handler.class=" + module + "oauthbearer.OAuthBearerLoginCallbackHandler",
		"nothing is wrong":  "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=" + module + "plain.PlainLoginModule required username=alice password=\"" + planted.Password + "\";",
		"unknown mechanism": "security.protocol=SASL_SSL\nsasl.mechanism=PLANE\nsasl.jaas.config=" + module + "plain.PlainLoginModule required username=alice password=\"" + planted.Password + "\";",
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := quill.LoadProperties(strings.NewReader("bootstrap.servers=localhost:1\n" + text + "\n"))
			w.Check(cfg, &cfg, err)
			cfg.Logger = w.Logger()
			p, errNew := quill.New(cfg, quill.String, quill.String)
			w.Check(errNew)
			if errNew == nil {
				require.NoError(t, p.Close(context.Background()))
				w.Check(p)
			}
			if name != "nothing is wrong" {
				require.Error(t, errors.Join(err, errNew))
			}
			t.Log(err, errNew)
		})
	}
}
