package integration

// OAUTHBEARER with signed tokens that the broker checks by a JWKS: from a callback, a file, and an endpoint that the test runs.

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/network/sasl/oauthbearer"
)

const (
	oauthClasses = "org.apache.kafka.common.security.oauthbearer."
	oauthModule  = oauthClasses + "OAuthBearerLoginModule required"
)

// identityProvider issues tokens that the broker accepts, over https, to whom it knows.
type identityProvider struct {
	dir    string
	server *httptest.Server
	key    *rsa.PrivateKey // signs tokens
	client *rsa.PrivateKey // signs clients' assertions
	life   atomic.Int64    // of tokens, in seconds
	down   atomic.Bool

	turnedAway atomic.Int64 // while it was down

	mu sync.Mutex
	// +checklocks:mu
	grants []string // what tokens were given for
}

func newIdentityProvider(t *testing.T) *identityProvider {
	t.Helper()
	p := &identityProvider{dir: t.TempDir()}
	p.life.Store(3600)
	var err error
	p.key, err = rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p.client, err = rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(p.answer))
	p.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	p.server.StartTLS()
	t.Cleanup(p.server.Close)
	jwks := fmt.Sprintf(`{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"k1","n":%q,"e":"AQAB"}]}`, base64.RawURLEncoding.EncodeToString(p.key.N.Bytes()))
	p.write(t, "jwks.json", []byte(jwks))
	p.write(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw}))
	der, err := x509.MarshalPKCS8PrivateKey(p.client)
	require.NoError(t, err)
	p.write(t, "client.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return p
}

func (p *identityProvider) write(t *testing.T, name string, content []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(p.path(name), content, 0o600))
}

func (p *identityProvider) path(name string) string { return filepath.Join(p.dir, name) }

// flags allow a JVM what it does not allow by itself since Kafka 4.0.
func (p *identityProvider) flags() []string {
	urls := []string{"file://" + p.path("jwks.json"), "file://" + p.path("token.jwt"), p.server.URL + "/token"}
	files := []string{p.path("client.pem")}
	return []string{
		"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + strings.Join(urls, ","),
		"-Dorg.apache.kafka.sasl.oauthbearer.allowed.files=" + strings.Join(files, ","),
	}
}

// token is one for alice.
func (p *identityProvider) token() string {
	now := time.Now().Unix()
	return signed(p.key, "k1", map[string]any{"iss": "idp", "aud": "kafka", "sub": "alice", "iat": now, "exp": now + p.life.Load()})
}

func signed(key *rsa.PrivateKey, id string, claims map[string]any) string {
	part := func(v any) string {
		data, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	content := part(map[string]string{"alg": "RS256", "kid": id, "typ": "JWT"}) + "." + part(claims)
	sum := sha256.Sum256([]byte(content))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return content + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// answer is the token endpoint.
func (p *identityProvider) answer(w http.ResponseWriter, r *http.Request) {
	if p.down.Load() {
		p.turnedAway.Add(1)
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	grant, fault := p.judge(r)
	w.Header().Set("Content-Type", "application/json")
	if fault != "" {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"`+fault+`"}`)
		return
	}
	p.mu.Lock()
	p.grants = append(p.grants, grant)
	p.mu.Unlock()
	_, _ = io.WriteString(w, `{"access_token":"`+p.token()+`","token_type":"Bearer","expires_in":3600}`)
}

// judge returns what a request asks for a token with, or why it gets none.
func (p *identityProvider) judge(r *http.Request) (grant, fault string) {
	_ = r.ParseForm()
	grant = r.PostForm.Get("grant_type")
	assertion := r.PostForm.Get("client_assertion")
	if grant == "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		assertion = r.PostForm.Get("assertion")
	}
	if assertion != "" {
		if r.PostForm.Get("client_assertion_type") != "" {
			grant += " with assertion"
		}
		return grant, p.refusal(assertion)
	}
	if user, pass, _ := r.BasicAuth(); user != "quill" || pass != "cl1ent-s3cret" {
		return "", "who are you?"
	}
	return grant, ""
}

// refusal returns what is wrong with an assertion, if something is.
func (p *identityProvider) refusal(assertion string) string {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return "no JWT"
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(&p.client.PublicKey, crypto.SHA256, sum[:], signature) != nil {
		return "the signature is wrong"
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Iss, Sub, Aud string
		Exp, Nbf      int64
	}
	now := time.Now().Unix()
	if json.Unmarshal(payload, &claims) != nil || claims.Iss != "quill" || claims.Aud != "idp" || claims.Exp < now || claims.Nbf > now {
		return "the claims are wrong"
	}
	return ""
}

// granted returns what tokens were given for since the last call.
func (p *identityProvider) granted() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.grants
	p.grants = nil
	return g
}

// oauthCluster is a node with a listener for tokens of the provider. Sessions end after 4 s at the latest.
func oauthCluster(t *testing.T, p *identityProvider) *kafkaharness.Cluster {
	t.Helper()
	const oauth = "oauthbearer."
	cluster, err := kafkaharness.Start(t.Context(), kafkaharness.RequireVersion(t, kafkaharness.BrokerVersion()), kafkaharness.Options{
		Flags: p.flags(),
		Listeners: []kafkaharness.Listener{
			{Name: "OAUTH", Protocol: "SASL_PLAINTEXT", Properties: map[string]string{
				"sasl.enabled.mechanisms":                    "OAUTHBEARER",
				oauth + "sasl.jaas.config":                   oauthModule + ";",
				oauth + "sasl.server.callback.handler.class": oauthClasses + "OAuthBearerValidatorCallbackHandler",
				oauth + "sasl.oauthbearer.jwks.endpoint.url": "file://" + p.path("jwks.json"),
				oauth + "sasl.oauthbearer.expected.audience": "kafka",
				oauth + "sasl.oauthbearer.expected.issuer":   "idp",
				oauth + "connections.max.reauth.ms":          "4000",
			}},
			{Name: "PLAIN", Protocol: "SASL_PLAINTEXT", Properties: map[string]string{
				"sasl.enabled.mechanisms": "PLAIN",
				"plain.sasl.jaas.config":  `org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="` + quotedPassword + `";`,
			}},
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	cluster.ReportFailure(t)
	return cluster
}

// quotedPassword is p'a"s\\s; as JAAS has it in quotes.
const quotedPassword = `p'a\"s\\s;`

// TestOneFileDrivesJavaAndGo: PLAIN, with a password that has to be escaped twice.
func TestOneFileDrivesJavaAndGo(t *testing.T) {
	p := newIdentityProvider(t)
	c := oauthCluster(t, p)
	addr, topic := c.ListenerAddr(c.Node(1), "PLAIN"), newTopic(t, c, "plain", 1)
	file := filepath.Join(t.TempDir(), "client.properties")
	write := func(password string) {
		text := `bootstrap.servers = ` + addr + `
security.protocol = sasl_plaintext
sasl.mechanism = PLAIN
sasl.jaas.config = org.apache.kafka.common.security.plain.PlainLoginModule required /* the user */ \
    username = alice \
    password = "` + strings.ReplaceAll(password, `\`, `\\`) + `" ;
`
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	write(quotedPassword)
	ctx := within(t, 2*time.Minute)
	require.NoError(t, c.ConsoleProducer(ctx, addr, topic, file, strings.NewReader("from Java\n")))
	require.NoError(t, sendByFile(ctx, t, file, topic, "from Go"))
	require.ElementsMatch(t, []string{"from Java", "from Go"}, values(t, c, topic))
	write("wr0ng")
	begun := time.Now()
	err := sendByFile(ctx, t, file, topic, "never")
	require.ErrorContains(t, err, "PLAIN")
	require.NotContains(t, err.Error(), "wr0ng")
	t.Logf("%v after %v", err, time.Since(begun).Round(time.Millisecond))
}

// ways are the properties by which a client gets its token, and what the endpoint says that it gave it for.
func (p *identityProvider) ways() map[string]struct{ properties, grant string } {
	handler := "sasl.login.callback.handler.class=" + oauthClasses + "OAuthBearerLoginCallbackHandler\n"
	trust := ` ssl.truststore.type="PEM" ssl.truststore.location="` + p.path("ca.pem") + `"`
	endpoint := handler + "sasl.oauthbearer.token.endpoint.url=" + p.server.URL + "/token\n"
	plain := "sasl.jaas.config=" + oauthModule + trust + ";\n"
	assertion := "sasl.oauthbearer.assertion.private.key.file=" + p.path("client.pem") + "\nsasl.oauthbearer.assertion.claim.iss=quill\nsasl.oauthbearer.assertion.claim.aud=idp\nsasl.oauthbearer.assertion.claim.sub=quill\n"
	return map[string]struct{ properties, grant string }{
		"file":                 {handler + "sasl.oauthbearer.token.endpoint.url=file://" + p.path("token.jwt") + "\nsasl.jaas.config=" + oauthModule + ";\n", ""},
		"secret in JAAS":       {endpoint + "sasl.jaas.config=" + oauthModule + ` \` + "\n  clientId='quill' clientSecret=\"cl1ent-s3\\\\143ret\"" + trust + " ;\n", "client_credentials"},
		"secret in properties": {endpoint + plain + "sasl.oauthbearer.client.credentials.client.id=quill\nsasl.oauthbearer.client.credentials.client.secret=cl1ent-s3cret\n", "client_credentials"},
		"client assertion":     {endpoint + plain + assertion, "client_credentials with assertion"},
		"jwt-bearer":           {endpoint + plain + assertion + "sasl.oauthbearer.jwt.retriever.class=" + oauthClasses + "JwtBearerJwtRetriever\n", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
	}
}

// TestOAuthTokensOfAllKinds: the same .properties file drives Java's console producer and quill.
func TestOAuthTokensOfAllKinds(t *testing.T) {
	p := newIdentityProvider(t)
	c := oauthCluster(t, p)
	addr := c.ListenerAddr(c.Node(1), "OAUTH")
	p.write(t, "token.jwt", []byte(p.token()+"\n"))
	n := 0
	for name, way := range p.ways() {
		n++
		topic := newTopic(t, c, fmt.Sprint("oauth-", n), 1)
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "client.properties")
			require.NoError(t, os.WriteFile(file, []byte("bootstrap.servers="+addr+"\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n"+way.properties), 0o600))
			ctx := within(t, 2*time.Minute)
			require.NoError(t, c.ConsoleProducer(ctx, addr, topic, file, strings.NewReader("from Java\n"), p.flags()...))
			require.NoError(t, sendByFile(ctx, t, file, topic, "from Go"))
			require.ElementsMatch(t, []string{"from Java", "from Go"}, values(t, c, topic))
			grants := p.granted()
			if way.grant == "" {
				require.Empty(t, grants)
				return
			}
			require.Len(t, grants, 2, "one token each")
			require.Equal(t, []string{way.grant, way.grant}, grants)
		})
	}
	t.Run("callback", func(t *testing.T) {
		topic := newTopic(t, c, "oauth-callback", 1)
		config := quill.Config{BootstrapServers: []string{addr}, SecurityProtocol: quill.SASLPlaintext, SASL: sasl.OAuthBearer(func(context.Context) (sasl.Token, error) {
			return sasl.Token{Value: sasl.NewSecret(p.token())}, nil
		})}
		require.NoError(t, sendBy(within(t, time.Minute), t, config, topic, "from Go"))
		require.Equal(t, []string{"from Go"}, values(t, c, topic))
	})
	t.Run("wrong secret", func(t *testing.T) {
		wrong := &oauthbearer.ClientCredentials{Endpoint: oauthbearer.Endpoint{URL: p.server.URL + "/token", Client: p.server.Client()}, ClientID: "quill", ClientSecret: sasl.NewSecret("wr0ng")}
		config := quill.Config{BootstrapServers: []string{addr}, SecurityProtocol: quill.SASLPlaintext, SASL: &oauthbearer.Login{Retriever: wrong}}
		begun := time.Now()
		err := sendBy(within(t, time.Minute), t, config, "oauth-callback", "never")
		require.ErrorContains(t, err, `answered 401 Unauthorized: "invalid_client": "who are you?"`)
		require.NotContains(t, err.Error(), "wr0ng")
		t.Logf("%v after %v", err, time.Since(begun).Round(time.Millisecond))
	})
}

func sendByFile(ctx context.Context, t *testing.T, file, topic, value string) error {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	config, err := quill.LoadProperties(f)
	if err != nil {
		return err
	}
	return sendBy(ctx, t, config, topic, value)
}

func sendBy(ctx context.Context, t *testing.T, config quill.Config, topic, value string) error {
	t.Helper()
	seen := watch(t)
	config.Logger = seen.Logger()
	p, err := quill.New(config, quill.String, quill.String)
	if err != nil {
		return err
	}
	_, err = p.SendSync(ctx, withHeader(quill.Record[string, string]{Topic: topic, Value: value}))
	require.NoError(t, p.Close(ctx))
	seen.Check(err, config, p)
	return err
}

func values(t *testing.T, c *kafkaharness.Cluster, topic string) (values []string) {
	t.Helper()
	records, err := c.Records(within(t, time.Minute), topic)
	require.NoError(t, err)
	for _, r := range records {
		values = append(values, string(r.Value))
	}
	return values
}

// TestATokenEndpointMayBeDownForHalfATokensLife: tokens of 16 s, sessions of 4 s, and an endpoint that is down for 8 s, also when the token
// is to be replaced.
func TestATokenEndpointMayBeDownForHalfATokensLife(t *testing.T) {
	p := newIdentityProvider(t)
	c := oauthCluster(t, p)
	p.life.Store(16)
	topic := newTopic(t, c, "oauth-outage", 3)
	login := &oauthbearer.Login{
		Retriever: &oauthbearer.ClientCredentials{
			Endpoint: oauthbearer.Endpoint{URL: p.server.URL + "/token", Client: p.server.Client()},
			ClientID: "quill", ClientSecret: sasl.NewSecret("cl1ent-s3cret"),
		},
		Refresh: oauthbearer.Refresh{WindowJitter: -1}, // after 12.8 s
	}
	producer, err := quill.New(quill.Config{BootstrapServers: []string{c.ListenerAddr(c.Node(1), "OAUTH")}, SecurityProtocol: quill.SASLPlaintext, SASL: login}, quill.String, quill.String)
	require.NoError(t, err)
	ctx := within(t, 2*time.Minute)
	var failed, sent atomic.Int64
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // a token's times are whole seconds
	begun := time.Now()
	for time.Since(begun) < 19*time.Second {
		p.down.Store(time.Since(begun) > 5800*time.Millisecond && time.Since(begun) < 13800*time.Millisecond)
		producer.SendFunc(ctx, quill.Record[string, string]{Topic: topic, Value: "v"}, func(_ quill.RecordMetadata, err error) {
			if err != nil {
				failed.Add(1)
			}
		})
		sent.Add(1)
		time.Sleep(2 * time.Millisecond)
	}
	require.NoError(t, producer.Close(ctx))
	require.Zero(t, failed.Load())
	require.Len(t, values(t, c, topic), int(sent.Load()))
	require.Len(t, p.granted(), 2, "the token was replaced once")
	require.Positive(t, p.turnedAway.Load(), "the endpoint was asked while it was down")
	t.Logf("%d sent, 0 failed; the endpoint turned %d requests away", sent.Load(), p.turnedAway.Load())
}
