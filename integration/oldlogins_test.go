package integration

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/quilltest"
)

// oldListener is a secured listener of a broker of some version.
type oldListener struct {
	version, protocol, address, password string
	trust                                *x509.CertPool
}

// testOldLogins logs in to brokers of old versions. Before 1.0 their SaslHandshake has only version 0, behind which SASL's messages travel
// raw. They want ZooKeeper, so that the harness does not start them: started by hand, as for TestOldBrokers, with user alice, their listeners are named in
// QUILL_OLD_LOGINS, with the protocol before the address (SASL_PLAINTEXT without), and the authorities of their certificates in
// a file in QUILL_OLD_CA:
//
//	QUILL_OLD_LOGINS=0.11.0.3=127.0.0.1:27603,0.11.0.3=ssl://127.0.0.1:27602,0.11.0.3=sasl_ssl://127.0.0.1:27604 QUILL_OLD_CA=ca.pem \
//	  go -C integration test -v -run TestSecuredListeners/old .
//
// Without it the harness's own broker stands in for them.
func (n *secureNode) testOldLogins(t *testing.T) {
	words, trust, secret := os.Getenv("QUILL_OLD_LOGINS"), x509.NewCertPool(), "alice-secret"
	if words == "" {
		own := func(protocol, listener string) string {
			return n.Node(1).Version() + "=" + protocol + "://" + n.ListenerAddr(n.Node(1), listener)
		}
		words, trust = strings.Join([]string{own("ssl", "TLS"), own("sasl_plaintext", "SASLPLAIN"), own("sasl_ssl", "SASLTLS")}, ","), n.ca.Pool()
		newTopic(t, n.Cluster, "logins", 1)
		secret = password
	} else if file := os.Getenv("QUILL_OLD_CA"); file != "" {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.True(t, trust.AppendCertsFromPEM(text), "QUILL_OLD_CA: no certificate in %s", file)
	}
	for word := range strings.SplitSeq(words, ",") {
		version, address, ok := strings.Cut(word, "=")
		require.True(t, ok, "QUILL_OLD_LOGINS: %q is not version=host:port", word)
		protocol, rest, ok := strings.Cut(address, "://")
		if !ok {
			protocol, rest = "sasl_plaintext", address
		}
		l := oldListener{version, protocol, rest, secret, trust}
		t.Run(version+" "+protocol, l.test)
	}
}

// test tries what works, and what the listener must refuse.
func (l oldListener) test(t *testing.T) {
	switch l.protocol {
	case "ssl":
		l.works(t, "TLS", l.config())
		limited := l.config()
		limited.TLS.MaxVersion = tls.VersionTLS12
		l.works(t, "TLS 1.2 at most", limited)
		stranger := l.config()
		stranger.TLS = &tls.Config{RootCAs: quilltest.NewCA().Pool()}
		l.fails(t, stranger, network.ErrTLS, "authority that is not trusted")
		return
	case "sasl_plaintext", "sasl_ssl":
	default:
		t.Fatalf("no such protocol: %q", l.protocol)
	}
	for name, m := range mechanisms(l.password) {
		cfg := l.config()
		cfg.SASL = m
		l.works(t, name, cfg)
	}
	for _, m := range mechanisms("wrong") {
		cfg := l.config()
		cfg.SASL = m
		l.fails(t, cfg, quill.ErrAuthentication, "look at user and password in Config.SASL")
	}
}

// config returns a configuration that the listener agrees with, but for SASL.
func (l oldListener) config() quill.Config {
	cfg := quill.Config{BootstrapServers: []string{l.address}, MaxBlock: 20 * time.Second, Acks: quill.AcksLeader}
	if l.protocol != "sasl_plaintext" {
		cfg.TLS = &tls.Config{RootCAs: l.trust}
	}
	return cfg
}

func (l oldListener) works(t *testing.T, name string, cfg quill.Config) {
	t.Helper()
	var spoken atomic.Uint32
	if cfg.TLS != nil {
		cfg.TLS.VerifyConnection = func(s tls.ConnectionState) error { spoken.Store(uint32(s.Version)); return nil }
	}
	cfg.Logger = watch(t).Logger()
	p := newProducer(t, cfg)
	begin := time.Now()
	m, err := p.SendSync(within(t, time.Minute), quill.Record[[]byte, []byte]{Topic: "logins", Value: []byte(name)})
	require.NoError(t, err, "%s %s", l.version, name)
	t.Logf("%s %s %s: offset %d after %v, %s", l.version, l.protocol, name, m.Offset, time.Since(begin).Round(time.Millisecond),
		cmp.Or(strings.TrimPrefix(tls.VersionName(uint16(spoken.Load())), "0x0000"), "no TLS"))
	require.NoError(t, p.Close(within(t, time.Minute)))
}

// fails checks that a setting is refused for what it is, and not by a time-out, unless a broker before 1.0 hangs up on a wrong
// password without a word, which could be a restart too.
func (l oldListener) fails(t *testing.T, cfg quill.Config, kind error, text string) {
	t.Helper()
	seen := watch(t)
	cfg.MaxBlock, cfg.Logger = 3*time.Second, seen.Logger()
	p := newProducer(t, cfg)
	begin := time.Now()
	_, err := p.SendSync(within(t, time.Minute), quill.Record[[]byte, []byte]{Topic: "logins"})
	t.Logf("%s %s, after %v: %v", l.version, l.protocol, time.Since(begin).Round(time.Millisecond), err)
	seen.Check(err, cfg)
	require.ErrorIs(t, err, kind)
	require.ErrorContains(t, err, text)
	silent := kind == quill.ErrAuthentication && strings.HasPrefix(l.version, "0.")
	require.Equal(t, silent, errors.Is(err, quill.ErrTimeout))
	require.NoError(t, p.Close(within(t, time.Minute)))
}
