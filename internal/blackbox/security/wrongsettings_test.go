package security_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/network/sasl/oauthbearer"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
)

var update = flag.Bool("update", false, "rewrite the table of docs/security.md")

// authorities are who signs: ca is the nodes', other is another authority.
type authorities struct{ ca, other *quilltest.CA }

// wrong is a setting that can't work, of the client or of the node.
type wrong struct {
	name   string
	node   func(a authorities, o *quilltest.Options)
	client func(a authorities, cfg *quill.Config)
	props  map[string]string // instead of client
	fault  quilltest.Fault   // what the node answers
	text   string            // part of what the user sees, the whole of which is in docs/security.md
	kind   error             // ErrTLS or ErrAuthentication; nil: another
}

// certified makes nodes show a certificate of the authority.
func certified(c quilltest.Certificate) func(authorities, *quilltest.Options) {
	return func(a authorities, o *quilltest.Options) {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{a.ca.Issue(c)}}
	}
}

// mutually makes nodes ask for a certificate of the authority.
func mutually(a authorities, o *quilltest.Options) {
	o.TLS = a.ca.ServerConfig()
	o.TLS.ClientAuth, o.TLS.ClientCAs = tls.RequireAndVerifyClientCert, a.ca.Pool()
}

func serving(a authorities, o *quilltest.Options) { o.TLS = a.ca.ServerConfig() }
func trusting(a authorities, cfg *quill.Config)   { cfg.TLS = &tls.Config{RootCAs: a.ca.Pool()} }

// users makes nodes want a login of alice, behind TLS.
func users(mechanisms ...string) func(authorities, *quilltest.Options) {
	return func(a authorities, o *quilltest.Options) {
		serving(a, o)
		o.SASL = &quilltest.SASL{Users: map[string]string{"alice": "alice-secret"}, Mechanisms: mechanisms}
	}
}

// bearers makes nodes want a token, and accept none.
func bearers(a authorities, o *quilltest.Options) {
	serving(a, o)
	o.SASL = &quilltest.SASL{CheckToken: func(string, map[string]string) (string, time.Time, error) {
		return "", time.Time{}, &quilltest.TokenError{Status: "invalid_token"}
	}}
}

// as makes the client log in by a mechanism, behind TLS.
func as(mechanism func() sasl.Mechanism) func(authorities, *quill.Config) {
	return func(a authorities, cfg *quill.Config) {
		trusting(a, cfg)
		cfg.SASL = mechanism()
	}
}

// retrieved is a Retriever of tokens that end after so long.
type retrieved time.Duration

func (r retrieved) Retrieve(context.Context) (sasl.Secret, error) {
	part := func(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }
	return sasl.NewSecret(part(`{"alg":"RS256"}`) + "." + part(fmt.Sprintf(`{"sub":"alice","exp":%d}`, time.Now().Add(time.Duration(r)).Unix())) + ".c2ln"), nil
}

// refusing is a token endpoint that answers with an error.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(`{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided."}`))}, nil
}

func endpoint(url string) sasl.Mechanism {
	return &oauthbearer.Login{Retriever: &oauthbearer.ClientCredentials{
		Endpoint: oauthbearer.Endpoint{URL: url, Client: &http.Client{Transport: refusing{}}}, ClientID: "id", ClientSecret: sasl.NewSecret("s3cr3t"),
	}}
}

var wrongSettings = []wrong{
	{name: "the broker's authority is not trusted", node: serving, kind: network.ErrTLS, text: "signed by an authority that is not trusted",
		client: func(a authorities, cfg *quill.Config) { cfg.TLS = &tls.Config{RootCAs: a.other.Pool()} }},
	{name: "the broker's certificate has expired", node: certified(quilltest.Certificate{NotAfter: time.Date(1999, 12, 24, 18, 0, 0, 0, time.UTC)}),
		client: trusting, kind: network.ErrTLS, text: "has expired at 1999-12-24T18:00:00Z"},
	{name: "the broker's certificate is not valid yet", node: certified(quilltest.Certificate{NotBefore: time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC)}),
		client: trusting, kind: network.ErrTLS, text: "is not valid before 2000-01-02T00:00:00Z"},
	{name: "the broker's certificate is for another host", node: certified(quilltest.Certificate{Hosts: []string{"kafka-1.example.com", "10.0.0.1"}}),
		client: trusting, kind: network.ErrTLS, text: `its names are "kafka-1.example.com", "10.0.0.1"`},
	{name: "the broker's certificate has a common name alone", node: certified(quilltest.Certificate{Name: "kafka-1.example.com", Hosts: []string{}}),
		client: trusting, kind: network.ErrTLS, text: `common name "kafka-1.example.com" does not count`},
	{name: "the broker wants a certificate, and the client has none", node: mutually, client: trusting, kind: network.ErrTLS, text: "got none"},
	{name: "the client's certificate is of an authority that the broker does not trust", node: mutually, kind: network.ErrTLS, text: "unknown certificate authority",
		client: func(a authorities, cfg *quill.Config) {
			trusting(a, cfg)
			cfg.TLS.Certificates = []tls.Certificate{a.other.Issue(quilltest.Certificate{})}
		}},
	{name: "the client's certificate has expired", node: mutually, kind: network.ErrTLS, text: "does not accept the certificate",
		client: func(a authorities, cfg *quill.Config) {
			trusting(a, cfg)
			cfg.TLS.Certificates = []tls.Certificate{a.ca.Issue(quilltest.Certificate{NotAfter: time.Date(1999, 12, 24, 18, 0, 0, 0, time.UTC)})}
		}},
	{name: "the broker has TLS 1.2 only, and the client 1.3", kind: network.ErrTLS, text: "protocol version",
		node:   func(a authorities, o *quilltest.Options) { serving(a, o); o.TLS.MaxVersion = tls.VersionTLS12 },
		client: func(a authorities, cfg *quill.Config) { trusting(a, cfg); cfg.TLS.MinVersion = tls.VersionTLS13 }},
	{name: "the client speaks plaintext to a TLS listener", node: serving, client: func(authorities, *quill.Config) {}, kind: network.ErrTLS, text: "set Config.TLS"},
	{name: "the client speaks TLS to a plaintext listener", client: trusting, kind: network.ErrTLS, text: "the listener speaks plaintext"},
	{name: "PLAIN with a wrong password", node: users(), client: as(func() sasl.Mechanism { return sasl.Plain("alice", "wrong") }), kind: quill.ErrAuthentication, text: "Invalid username or password"},
	{name: "SCRAM with a wrong password", node: users(), client: as(func() sasl.Mechanism { return sasl.ScramSHA512("alice", "wrong") }), kind: quill.ErrAuthentication, text: "invalid credentials"},
	{name: "a mechanism that the broker has not enabled", node: users("SCRAM-SHA-256", "SCRAM-SHA-512"), client: as(func() sasl.Mechanism { return sasl.Plain("alice", "alice-secret") }),
		kind: quill.ErrAuthentication, text: `"SCRAM-SHA-256", "SCRAM-SHA-512"`},
	{name: "the broker wants a login, and the client has none", node: users(), client: trusting, kind: quill.ErrAuthentication, text: `it has "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512": set Config.SASL`},
	{name: "a login for a listener that wants none", node: serving, client: as(func() sasl.Mechanism { return sasl.Plain("alice", "alice-secret") }), kind: quill.ErrAuthentication, text: "SaslHandshake"},
	{name: "the broker refuses the token", node: bearers, client: as(func() sasl.Mechanism { return &oauthbearer.Login{Retriever: retrieved(time.Hour)} }), kind: quill.ErrAuthentication, text: "invalid_token"},
	{name: "the clock is ahead of the token's end", node: bearers, client: as(func() sasl.Mechanism { return &oauthbearer.Login{Retriever: retrieved(-37 * time.Second)} }),
		kind: quill.ErrAuthentication, text: "is the clock of this machine right?"},
	{name: "the token endpoint refuses the client's secret", node: bearers, client: as(func() sasl.Mechanism { return endpoint("https://idp.example.com/token") }),
		kind: quill.ErrAuthentication, text: `"invalid_client": "AADSTS7000215: Invalid client secret provided."`},
	{name: "the token endpoint is not https", node: bearers, client: as(func() sasl.Mechanism { return endpoint("http://idp.example.com/token") }), kind: quill.ErrAuthentication, text: "use https"},
	{name: "no right to write to the topic", text: "TOPIC_AUTHORIZATION_FAILED", fault: quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.TopicAuthorizationFailed, Times: -1}},
	{name: "no right to be idempotent", text: "CLUSTER_AUTHORIZATION_FAILED", fault: quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.ClusterAuthorizationFailed, Times: -1}},
	{name: "no right to the transactional id", client: func(_ authorities, cfg *quill.Config) { cfg.TransactionalID = "orders" }, text: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
		fault: quilltest.Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Err: protocol.TransactionalIDAuthorizationFailed, Times: -1}},
	{name: "a trust store that is not there", text: "no such file", props: map[string]string{"security.protocol": "SSL", "ssl.truststore.type": "PEM", "ssl.truststore.location": "no/such.pem"}},
	{name: "PKCS12 without the import", text: "plugin/keystore", props: map[string]string{"security.protocol": "SSL", "ssl.truststore.location": "../../../plugin/keystore/testdata/trust.p12", "ssl.truststore.type": "PKCS12"}},
	{name: "Kerberos without the import", text: "plugin/kerberos", props: map[string]string{"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI", "sasl.jaas.config": "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true keyTab=\"k\" principal=\"p\" serviceName=\"kafka\";"}},
	{name: "a login module without a password", text: "password", props: map[string]string{"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512",
		"sasl.jaas.config": `org.apache.kafka.common.security.scram.ScramLoginModule required username="alice";`}},
	{name: "a login module whose line does not end", text: "sasl.jaas.config", props: map[string]string{"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN",
		"sasl.jaas.config": `org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="alice-secret"`}},
	{name: "TLS is set up, and the protocol is plaintext", text: "does not use TLS", client: func(a authorities, cfg *quill.Config) {
		trusting(a, cfg)
		cfg.SASL, cfg.SecurityProtocol = sasl.Plain("alice", "alice-secret"), quill.SASLPlaintext
	}},
}

// provoke plays a wrong setting until the user sees an error.
func (w wrong) provoke(t *testing.T, a authorities) (took time.Duration, err error) {
	opts := quilltest.Options{Nodes: 1}
	if w.node != nil {
		w.node(a, &opts)
	}
	testkit.Bubble(t, opts, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("orders", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		if w.props != nil {
			var wrong error
			if cfg, wrong = quill.ParseProperties(w.props); wrong != nil {
				err = wrong
				return
			}
			cfg.BootstrapServers, cfg.DialContext = c.BootstrapServers(), c.DialContext
		} else if w.client != nil {
			w.client(a, &cfg)
		}
		if w.fault.Err != 0 {
			c.Inject(w.fault)
		}
		begin := time.Now()
		var p *quill.Producer[string, string]
		if p, err = quill.New(cfg, quill.String, quill.String); err == nil {
			if cfg.TransactionalID != "" {
				err = p.InitTransactions(t.Context())
			} else {
				_, err = p.SendSync(t.Context(), testkit.Rec("orders", "k", "v"))
			}
			took = time.Since(begin)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = p.Close(ctx)
		}
	})
	return took, err
}

// host is the name that a node has here.
const host = "node-1.set-dialcontext-to-that-of-the-quilltest-cluster.invalid"

// rounded returns a time as the table has it.
func rounded(d time.Duration) string {
	if d < time.Second {
		return "at once"
	}
	return d.Round(time.Second).String()
}

// varying is what depends on how goroutines take turns: an alert of TLS may come while the next connection is made.
var varying = regexp.MustCompile(`\((?:\d+ attempts, )?after [\d.µm]+s, `)

// Settings that can't work, each with the whole text that a user sees, and after how long, in docs/security.md. None takes longer
// than the time-out for setting up a connection, not even where a node hangs up without a word, as Kafka's do.
func TestWrongSettingsSayWhatIsWrong(t *testing.T) {
	a := authorities{quilltest.NewCA(), quilltest.NewCA()}
	var b strings.Builder
	b.WriteString("| what is wrong | what one sees | after |\n|---|---|---|\n")
	for _, w := range wrongSettings {
		t.Run(w.name, func(t *testing.T) {
			took, err := w.provoke(t, a)
			require.ErrorContains(t, err, w.text)
			if w.kind != nil {
				require.ErrorIs(t, err, w.kind)
				require.Less(t, took, 10*time.Second, "socket.connection.setup.timeout.ms")
			}
			for _, secret := range []string{"alice-secret", "s3cr3t", "c2ln"} {
				require.NotContains(t, err.Error(), secret)
			}
			text := strings.ReplaceAll(varying.ReplaceAllString(err.Error(), "("), host, "kafka-1")
			fmt.Fprintf(&b, "| %s | `%s` | %s |\n", w.name, strings.ReplaceAll(text, "|", `\|`), rounded(took))
		})
	}
	const file, head, tail = "../../../docs/security.md", "<!-- wrong settings: made by go test ./internal/blackbox/security -update -->\n", "<!-- end of wrong settings -->\n"
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(page), head)
	require.True(t, found)
	table, after, found := strings.Cut(rest, tail)
	require.True(t, found)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(before+head+b.String()+tail+after), 0o644))
		return
	}
	require.Equal(t, table, b.String(), "run the test with -update, and read what changed")
}
