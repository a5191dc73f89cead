package security_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
)

// keyStore returns a certificate with its key as one PEM text, as ssl.keystore.location names it.
func keyStore(t *testing.T, cert tls.Certificate) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range cert.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	return string(text)
}

// lineOf makes a text the value of a line in a .properties file.
func lineOf(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", " \\\n    ")
}

// load makes a Config of a .properties file and of what reaches the cluster.
func load(t *testing.T, c *quilltest.Cluster, file string) quill.Config {
	t.Helper()
	cfg, err := quill.LoadProperties(strings.NewReader(file))
	require.NoError(t, err)
	cfg.BootstrapServers, cfg.DialContext = c.BootstrapServers(), c.DialContext
	return cfg
}

func mutual(ca, clients *quilltest.CA) *tls.Config {
	cfg := ca.ServerConfig()
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, clients.Pool()
	return cfg
}

// The stores are texts in the .properties file (KIP-651).
func TestPropertiesWithPEMTextsConnect(t *testing.T) {
	synctestCluster(t, func(t *testing.T, ca *quilltest.CA) *tls.Config { return mutual(ca, ca) }, func(t *testing.T, ca *quilltest.CA, c *quilltest.Cluster) {
		cert := ca.Issue(quilltest.Certificate{Name: "client"})
		store := keyStore(t, cert)
		at := strings.Index(store, "-----BEGIN CERTIFICATE")
		p := testkit.Open(t, load(t, c, "security.protocol=SSL\nssl.keystore.type=PEM\nssl.truststore.type=PEM\nssl.keystore.key="+lineOf(store[:at])+
			"\nssl.keystore.certificate.chain="+lineOf(store[at:])+"\nssl.truststore.certificates="+lineOf(string(ca.PEM()))+"\n"))
		testkit.SendOK(t, p, "t")
		testkit.CloseProducer(t, p)
	})
}

// synctestCluster runs a test with a cluster that serves TLS.
func synctestCluster(t *testing.T, server func(*testing.T, *quilltest.CA) *tls.Config, test func(*testing.T, *quilltest.CA, *quilltest.Cluster)) {
	t.Helper()
	ca := quilltest.NewCA()
	testkit.Bubble(t, quilltest.Options{Nodes: 1, TLS: server(t, ca)}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		test(t, ca, c)
	})
}

// S5: key store, trust store and the authority behind both are replaced while records are sent; the node takes the new ones only from
// then on. Nothing fails, and nothing is restarted.
func TestReplacedStoresCountWithoutARestart(t *testing.T) {
	old, renewed := quilltest.NewCA(), quilltest.NewCA()
	var current atomic.Pointer[tls.Config]
	current.Store(mutual(old, old))
	testkit.Bubble(t, quilltest.Options{Nodes: 1, TLS: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.Load(), nil }}}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		dir := t.TempDir()
		own, trust := filepath.Join(dir, "own.pem"), filepath.Join(dir, "trust.pem")
		write := func(ca *quilltest.CA) {
			require.NoError(t, os.WriteFile(own, []byte(keyStore(t, ca.Issue(quilltest.Certificate{Name: "client"}))), 0o600))
			require.NoError(t, os.WriteFile(trust, ca.PEM(), 0o600))
		}
		write(old)
		p := testkit.Open(t, load(t, c, "security.protocol=SSL\nssl.keystore.type=PEM\nssl.truststore.type=PEM\nssl.keystore.location="+own+"\nssl.truststore.location="+trust+"\n"))
		for round, ca := range []*quilltest.CA{old, renewed, old, renewed} {
			write(ca)
			current.Store(mutual(ca, ca))
			if round > 0 {
				require.NoError(t, c.Disconnect(c.NodeIDs()[0]))
			}
			for range 10 {
				testkit.SendOK(t, p, "t")
				time.Sleep(time.Second)
			}
		}
		testkit.CloseProducer(t, p)
	})
}

// A contradiction or a file that can't be used is a fault of New, together with the others; none of it shows a secret.
func TestFaultsOfStoresAreThoseOfNew(t *testing.T) {
	for _, row := range []struct{ file, property, text string }{
		{"ssl.truststore.location=/none/trust.jks", "ssl.truststore.location", "no such file"},
		{"ssl.keystore.password=s3cret", "ssl.keystore.password", "is given without a key store"},
		{"ssl.keystore.type=PEM\nssl.keystore.key=s3cret\nssl.keystore.certificate.chain=s3cret", "ssl.keystore.key", "holds no PEM block"},
		{"ssl.engine.factory.class=com.example.Engine", "ssl.engine.factory.class", "set Config.TLS"},
		{"ssl.cipher.suites=AES", "ssl.cipher.suites", "is no cipher suite"},
	} {
		cfg, err := quill.LoadProperties(strings.NewReader("security.protocol=SSL\nacks=1\nenable.idempotence=true\nbootstrap.servers=127.0.0.1:1\n" + row.file))
		require.NoError(t, err)
		_, err = quill.New(cfg, quill.String, quill.String)
		var faults *quill.ConfigError
		require.ErrorAs(t, err, &faults)
		require.Len(t, faults.Faults, 2, "with that of enable.idempotence: %v", err)
		require.Equal(t, row.property, faults.Faults[1].Name)
		require.ErrorContains(t, err, row.text)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

// Java ignores ssl.* without TLS; here New warns of it, and reads nothing.
func TestPropertiesOfTLSWithoutTLSAreWarnedOf(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		var log testkit.LogText
		cfg := load(t, c, "ssl.truststore.location=/none/trust.jks\nssl.protocol=TLSv1.3\n")
		cfg.Logger = log.Logger()
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		testkit.CloseProducer(t, p)
		require.Contains(t, log.String(), "is security.protocol=SSL meant?")
		require.Contains(t, log.String(), "ssl.truststore.location")
	})
}

// S1, S2: only the empty text switches off the check of the host name, which is said in the log; an authority that is not trusted
// is refused all the same.
func TestOnlyTheHostNameIsNotChecked(t *testing.T) {
	ca, stranger := quilltest.NewCA(), quilltest.NewCA()
	elsewhere := func(ca *quilltest.CA) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.Issue(quilltest.Certificate{Name: "node", Hosts: []string{"elsewhere.example"}})}}
	}
	for name, row := range map[string]struct {
		server *tls.Config
		file   string
		want   string
	}{
		"checked":              {elsewhere(ca), "", "elsewhere.example"},
		"not checked":          {elsewhere(ca), "ssl.endpoint.identification.algorithm=\n", ""},
		"an unknown authority": {elsewhere(stranger), "ssl.endpoint.identification.algorithm=\n", "an authority that is not trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{Nodes: 1, TLS: row.server}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				var log testkit.LogText
				cfg := load(t, c, row.file+"max.block.ms=3000\nsecurity.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.certificates="+lineOf(string(ca.PEM()))+"\n")
				cfg.Logger = log.Logger()
				p := testkit.Open(t, cfg)
				_, err := p.SendSync(t.Context(), quill.Record[string, string]{Topic: "t", Value: "v"})
				if row.want == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, row.want)
				}
				testkit.CloseProducer(t, p)
				require.Equal(t, strings.Contains(row.file, "endpoint"), strings.Contains(log.String(), "host names are not checked"))
			})
		})
	}
}
