package integration

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/quilltest"
)

// secureNode is a broker with a listener for each protocol.
type secureNode struct {
	*kafkaharness.Cluster
	ca *quilltest.CA
}

const user, password = "alice", planted.Password

// startSecureNode starts a broker whose listeners are SSL, MTLS (which wants a certificate of the client), SASLPLAIN, SASLTLS, and
// BRIEF (like SASLPLAIN), where a session lasts five seconds.
func startSecureNode(t *testing.T) *secureNode {
	t.Helper()
	n := &secureNode{ca: quilltest.NewCA()}
	dir := t.TempDir()
	cert := n.ca.Issue(quilltest.Certificate{Name: "node", Hosts: []string{"localhost"}})
	chain, key := quilltest.EncodePEM(cert)
	store, trust := filepath.Join(dir, "node.pem"), filepath.Join(dir, "ca.pem")
	require.NoError(t, os.WriteFile(store, append(key, chain...), 0o600))
	require.NoError(t, os.WriteFile(trust, n.ca.PEM(), 0o600))
	stores := map[string]string{"ssl.keystore.type": "PEM", "ssl.keystore.location": store, "ssl.truststore.type": "PEM", "ssl.truststore.location": trust}
	mutual := map[string]string{"ssl.client.auth": "required"}
	maps.Copy(mutual, stores)
	module := "org.apache.kafka.common.security."
	logins := map[string]string{
		"sasl.enabled.mechanisms":        "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"plain.sasl.jaas.config":         module + `plain.PlainLoginModule required user_` + user + `="` + password + `";`,
		"scram-sha-256.sasl.jaas.config": module + "scram.ScramLoginModule required;",
		"scram-sha-512.sasl.jaas.config": module + "scram.ScramLoginModule required;",
	}
	both, brief := maps.Clone(logins), maps.Clone(logins)
	maps.Copy(both, stores)
	for _, m := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		brief[m+".connections.max.reauth.ms"] = "5000"
	}
	tools := kafkaharness.Require(t)
	var err error
	n.Cluster, err = kafkaharness.Start(within(t, 3*time.Minute), tools, kafkaharness.Options{Listeners: []kafkaharness.Listener{
		{Name: "TLS", Protocol: "SSL", Properties: stores}, {Name: "MTLS", Protocol: "SSL", Properties: mutual},
		{Name: "SASLPLAIN", Protocol: "SASL_PLAINTEXT", Properties: logins}, {Name: "SASLTLS", Protocol: "SASL_SSL", Properties: both},
		{Name: "BRIEF", Protocol: "SASL_PLAINTEXT", Properties: brief},
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	n.ReportFailure(t)
	n.addUser(t, user, password)
	return n
}

// addUser gives a user a password for SCRAM.
func (n *secureNode) addUser(t *testing.T, user, password string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Bootstrap()...))
	require.NoError(t, err)
	defer client.Close()
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	for mechanism := range int8(2) { // a user may stand in a request once
		req.Upsertions = nil
		up := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
		up.Name, up.Mechanism, up.Iterations, up.Salt = user, mechanism+1, 4096, []byte(salt)
		if mechanism == 0 {
			up.SaltedPassword, err = pbkdf2.Key(sha256.New, password, up.Salt, 4096, sha256.Size)
		} else {
			up.SaltedPassword, err = pbkdf2.Key(sha512.New, password, up.Salt, 4096, sha512.Size)
		}
		require.NoError(t, err)
		req.Upsertions = append(req.Upsertions, up)
		answer, err := req.RequestWith(within(t, time.Minute), client)
		require.NoError(t, err)
		for _, r := range answer.Results {
			requireNoCode(t, r.ErrorCode, r.ErrorMessage)
		}
	}
}

// requireNoCode requires that a broker answered without an error.
func requireNoCode(t *testing.T, code int16, message *string) {
	t.Helper()
	if message == nil {
		message = new("without a message")
	}
	require.Zero(t, code, *message)
}

// config returns a configuration for one of the node's listeners.
func (n *secureNode) config(listener string) quill.Config {
	return quill.Config{BootstrapServers: []string{n.ListenerAddr(n.Node(1), listener)}, MaxBlock: 20 * time.Second}
}

func (n *secureNode) trusting() *tls.Config { return &tls.Config{RootCAs: n.ca.Pool()} }

// mechanisms are the logins that are tried.
func mechanisms(password string) map[string]sasl.Mechanism {
	return map[string]sasl.Mechanism{
		"PLAIN": sasl.Plain(user, password), "SCRAM-SHA-256": sasl.ScramSHA256(user, password), "SCRAM-SHA-512": sasl.ScramSHA512(user, password),
	}
}

func TestSecuredListeners(t *testing.T) {
	n := startSecureNode(t)
	t.Run("records arrive", func(t *testing.T) {
		topic := newTopic(t, n.Cluster, "secured", 3)
		mtls := n.config("MTLS")
		mtls.TLS = n.trusting()
		mtls.TLS.Certificates = []tls.Certificate{n.ca.Issue(quilltest.Certificate{Name: "client"})}
		tlsOnly := n.config("TLS")
		tlsOnly.TLS = n.trusting()
		configs := map[string]quill.Config{"SSL": tlsOnly, "mTLS": mtls}
		for name, m := range mechanisms(password) {
			bare, secured := n.config("SASLPLAIN"), n.config("SASLTLS")
			bare.SASL, secured.SASL, secured.TLS = m, m, n.trusting()
			configs["SASL_PLAINTEXT "+name], configs["SASL_SSL "+name] = bare, secured
		}
		for _, name := range slices.Sorted(maps.Keys(configs)) {
			cfg := configs[name]
			cfg.Logger = watch(t).Logger()
			p := newProducer(t, cfg)
			ctx := within(t, time.Minute)
			begin := time.Now()
			for i := range 10 {
				_, err := p.SendSync(ctx, withHeader(quill.Record[[]byte, []byte]{Topic: topic, Value: fmt.Appendf(nil, "%s %d %s", name, i, strings.Repeat("x", 50_000))}))
				require.NoError(t, err, name)
			}
			require.NoError(t, p.Close(ctx))
			t.Logf("%s: 10 records after %v", name, time.Since(begin).Round(time.Millisecond))
		}
	})
	t.Run("wrong settings are named", func(t *testing.T) { n.testWrongSettings(t) })
	t.Run("one file drives Java and Go with SCRAM", n.testScramFiles)
	t.Run("old brokers", n.testOldLogins)
	t.Run("sessions are renewed under load", func(t *testing.T) {
		for _, name := range []string{"PLAIN", "SCRAM-SHA-512"} {
			t.Run(name, func(t *testing.T) { n.testRenewal(t, mechanisms(password)[name]) })
		}
	})
}

// wrongSetting is a configuration that can't work.
type wrongSetting struct {
	name, listener string
	change         func(cfg *quill.Config)
	kind           error
	text           string
}

func (n *secureNode) testWrongSettings(t *testing.T) {
	topic := newTopic(t, n.Cluster, "wrong", 1)
	for _, w := range []wrongSetting{
		{"plaintext to a TLS listener", "TLS", func(*quill.Config) {}, network.ErrTLS, "set Config.TLS"},
		{"TLS to a plaintext listener", "PLAINTEXT", func(cfg *quill.Config) { cfg.TLS = n.trusting() }, network.ErrTLS, "the listener speaks plaintext"},
		{"unknown authority", "TLS", func(cfg *quill.Config) { cfg.TLS = new(tls.Config) }, network.ErrTLS, "authority that is not trusted"},
		{"wrong host", "TLS", func(cfg *quill.Config) {
			cfg.TLS, cfg.BootstrapServers[0] = n.trusting(), strings.Replace(cfg.BootstrapServers[0], "localhost", "127.0.0.1", 1)
		}, network.ErrTLS, `its names are "localhost"`},
		{"no certificate of the client", "MTLS", func(cfg *quill.Config) { cfg.TLS = n.trusting() }, network.ErrTLS, "asked for a certificate and got none"},
		{"no certificate of the client, TLS 1.2", "MTLS", func(cfg *quill.Config) { cfg.TLS = n.trusting(); cfg.TLS.MaxVersion = tls.VersionTLS12 }, network.ErrTLS, "asked for a certificate and got none"},
		{"certificate of another authority", "MTLS", func(cfg *quill.Config) {
			cfg.TLS = n.trusting()
			cfg.TLS.Certificates = []tls.Certificate{quilltest.NewCA().Issue(quilltest.Certificate{Name: "client"})}
		}, network.ErrTLS, "certificate"},
		{"wrong password, PLAIN", "SASLPLAIN", func(cfg *quill.Config) { cfg.SASL = mechanisms("wrong")["PLAIN"] }, quill.ErrAuthentication, "SASL_AUTHENTICATION_FAILED"},
		{"wrong password, SCRAM", "SASLPLAIN", func(cfg *quill.Config) { cfg.SASL = mechanisms("wrong")["SCRAM-SHA-512"] }, quill.ErrAuthentication, "SASL_AUTHENTICATION_FAILED"},
		{"mechanism that is not enabled", "SASLPLAIN", func(cfg *quill.Config) {
			cfg.SASL = sasl.OAuthBearer(func(context.Context) (sasl.Token, error) { return sasl.Token{Value: sasl.NewSecret("x.y.z")}, nil })
		}, quill.ErrAuthentication, `the listener has "PLAIN", "SCRAM`},
		{"SASL to a listener without", "PLAINTEXT", func(cfg *quill.Config) { cfg.SASL = mechanisms(password)["PLAIN"] }, quill.ErrAuthentication, "leave Config.SASL out"},
		{"no SASL to a listener with it", "SASLPLAIN", func(*quill.Config) {}, quill.ErrAuthentication, `it has "PLAIN", "SCRAM`},
		{"no SASL to a TLS listener with it", "SASLTLS", func(cfg *quill.Config) { cfg.TLS = n.trusting() }, quill.ErrAuthentication, `it has "PLAIN", "SCRAM`},
		{"SASL without TLS to a TLS listener", "SASLTLS", func(cfg *quill.Config) { cfg.SASL = mechanisms(password)["PLAIN"] }, network.ErrTLS, "set Config.TLS"},
	} {
		cfg := n.config(w.listener)
		if w.listener == "PLAINTEXT" {
			cfg.BootstrapServers = n.Bootstrap()
		}
		cfg.BootstrapServers = slices.Clone(cfg.BootstrapServers)
		seen := watch(t)
		cfg.MaxBlock, cfg.Logger = time.Minute, seen.Logger() // all of them are heard of sooner, but a busy machine may need some attempts
		w.change(&cfg)
		p := newProducer(t, cfg)
		begin := time.Now()
		_, err := p.SendSync(within(t, time.Minute), quill.Record[[]byte, []byte]{Topic: topic})
		took := time.Since(begin).Round(time.Millisecond)
		t.Logf("%s, after %v:\n\t%v", w.name, took, err)
		seen.Check(err, cfg)
		require.ErrorContains(t, err, w.text, w.name)
		require.ErrorIs(t, err, w.kind, w.name)
		require.NotErrorIs(t, err, quill.ErrTimeout, w.name)
		require.NoError(t, p.Close(within(t, time.Minute)))
	}
}

// testRenewal sends for long enough that sessions of five seconds are renewed, and finds each record once and in order.
func (n *secureNode) testRenewal(t *testing.T, m sasl.Mechanism) {
	topic := newTopic(t, n.Cluster, "brief-"+strings.ToLower(m.Name()), 1)
	log := &renewals{Handler: watch(t).Logger().Handler()}
	cfg := n.config("BRIEF")
	cfg.SASL, cfg.Logger, cfg.Linger = m, slog.New(log), -1
	load := &steadyLoad{producer: newProducer(t, cfg), topic: topic, rate: securityRate}
	d := securityTime(t, 10*time.Second)
	until, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	load.run(until)
	all := load.end(t)
	t.Logf("%v; %d renewals, %d connections lost, around renewals %v", all, log.renewed.Load(), log.lost.Load(), all.near(log.times()))
	// The broker takes requests one after the other, and hangs up on one that it comes to after the session's end: two seconds before that
	// the session is renewed at the latest.
	log.check(t, all.slowest() < 2*time.Second, int64(d.Seconds()/5))
}

// renewals counts what a producer logs about its connections, and hands it on.
type renewals struct {
	slog.Handler
	renewed atomic.Int64
	lost    atomic.Int64

	mu sync.Mutex
	// +checklocks:mu
	at []time.Time // of renewals
	// +checklocks:mu
	reasons []string // why connections were lost
}

// check demands that each of so many sessions was renewed on the live connection, if all was in time for that. If not, a connection may
// be lost instead of renewed, and for no other reason.
func (r *renewals) check(t *testing.T, inTime bool, sessions int64) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if inTime {
		require.Empty(t, r.reasons)
		require.GreaterOrEqual(t, r.renewed.Load(), sessions)
		return
	}
	for _, reason := range r.reasons {
		require.Contains(t, reason, "authenticate again with")
	}
	require.Positive(t, r.renewed.Load()+r.lost.Load())
}

// times returns when sessions were renewed.
func (r *renewals) times() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.at)
}

// Enabled implements slog.Handler.
func (*renewals) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (r *renewals) Handle(ctx context.Context, line slog.Record) error {
	switch {
	case strings.HasPrefix(line.Message, "authenticated again"):
		r.renewed.Add(1)
		r.mu.Lock()
		r.at = append(r.at, line.Time)
		r.mu.Unlock()
	case strings.HasPrefix(line.Message, "connection to node lost"):
		r.lost.Add(1)
		r.mu.Lock()
		var last time.Time
		if len(r.at) > 0 {
			last = r.at[len(r.at)-1]
		}
		text := fmt.Sprintf("%v after the last renewal:", line.Time.Sub(last).Round(time.Millisecond))
		line.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
		r.reasons = append(r.reasons, text)
		r.mu.Unlock()
	}
	return r.Handler.Handle(ctx, line)
}

// WithAttrs implements slog.Handler.
func (r *renewals) WithAttrs([]slog.Attr) slog.Handler { return r }
