package integration

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/integration/ledger"
	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/network"
	_ "github.com/quill-kafka/quill/plugin/keystore"
	"github.com/quill-kafka/quill/quilltest"
)

// tlsBroker is a broker with a listener for TLS and one that wants a certificate of the client, with all stores in a directory.
type tlsBroker struct {
	*kafkaharness.Cluster
	dir string
}

// replace writes a file as careful people do: beside it first, then renamed.
func (s *tlsBroker) replace(t *testing.T, file, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, file)
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
	return path
}

// issue returns a certificate and its key of an authority as one PEM text.
func issue(t *testing.T, ca *quilltest.CA, name string) string {
	t.Helper()
	cert := ca.Issue(quilltest.Certificate{Name: name, Hosts: []string{"localhost"}})
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range cert.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	return string(text)
}

func startTLSBroker(t *testing.T, ca *quilltest.CA) *tlsBroker {
	t.Helper()
	s := &tlsBroker{dir: t.TempDir()}
	stores := map[string]string{
		"ssl.keystore.type": "PEM", "ssl.keystore.location": s.replace(t, "node.pem", issue(t, ca, "node")),
		"ssl.truststore.type": "PEM", "ssl.truststore.location": s.replace(t, "clients.pem", string(ca.PEM())),
	}
	mutual := map[string]string{"ssl.client.auth": "required"}
	maps.Copy(mutual, stores)
	tools := kafkaharness.Require(t)
	cluster, err := kafkaharness.Start(within(t, 3*time.Minute), tools, kafkaharness.Options{Listeners: []kafkaharness.Listener{
		{Name: "TLS", Protocol: "SSL", Properties: stores}, {Name: "MTLS", Protocol: "SSL", Properties: mutual},
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	cluster.ReportFailure(t)
	s.Cluster = cluster
	return s
}

// reload makes the broker read the stores of its listener for mutual TLS again.
func (s *tlsBroker) reload(t *testing.T) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Bootstrap()...))
	require.NoError(t, err)
	defer client.Close()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	broker := kmsg.NewIncrementalAlterConfigsRequestResource()
	broker.ResourceType, broker.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	for name, file := range map[string]string{"ssl.keystore.location": "node.pem", "ssl.truststore.location": "clients.pem"} {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = "listener.name.mtls."+name, new(filepath.Join(s.dir, file))
		broker.Configs = append(broker.Configs, c)
	}
	req.Resources = append(req.Resources, broker)
	answer, err := req.RequestWith(within(t, time.Minute), client)
	require.NoError(t, err)
	for _, r := range answer.Resources {
		requireNoCode(t, r.ErrorCode, r.ErrorMessage)
	}
}

// file returns a .properties file for a listener.
func (s *tlsBroker) file(listener string, lines ...string) string {
	return "bootstrap.servers=" + s.ListenerAddr(s.Node(1), listener) + "\nsecurity.protocol=SSL\n" + strings.Join(lines, "\n") + "\n"
}

func tool(t *testing.T, words ...string) {
	t.Helper()
	out, err := exec.CommandContext(within(t, time.Minute), words[0], words[1:]...).CombinedOutput() // #nosec G204 -- the test's own words
	require.NoError(t, err, "%s", out)
}

// TestTLSAgainstRealKafka shares a broker among its parts; the last one replaces its authority.
func TestTLSAgainstRealKafka(t *testing.T) {
	ca := quilltest.NewCA()
	s := startTLSBroker(t, ca)
	t.Run("stores", func(t *testing.T) { storesOfEveryType(t, s, ca) })
	t.Run("rotation", func(t *testing.T) { rotationUnderLoad(t, s, ca) })
}

// storesOfEveryType has the stores that keytool and openssl make work as in Kafka's own producer, which reads the same properties.
func storesOfEveryType(t *testing.T, s *tlsBroker, ca *quilltest.CA) {
	topic := newTopic(t, s.Cluster, "tls-stores", 1)
	client := s.replace(t, "client.pem", issue(t, ca, "client"))
	trust := s.replace(t, "trust.pem", string(ca.PEM()))
	in := func(file string) string { return filepath.Join(s.dir, file) }
	tool(t, "openssl", "pkcs12", "-export", "-in", client, "-inkey", client, "-name", "client", "-passout", "pass:"+planted.PassPhrase, "-out", in("client.p12"))
	certificate, err := os.ReadFile(client)
	require.NoError(t, err)
	for _, scheme := range [][]string{{"pbes1.pem", "-v1", "PBE-SHA1-3DES"}, {"pbes2.pem", "-v2", "aes-256-cbc"}} {
		tool(t, append([]string{"openssl", "pkcs8", "-topk8", "-in", client, "-passout", "pass:" + planted.PassPhrase, "-out", in(scheme[0])}, scheme[1:]...)...)
		key, err := os.ReadFile(in(scheme[0]))
		require.NoError(t, err)
		s.replace(t, scheme[0], string(key)+string(certificate[strings.Index(string(certificate), "-----BEGIN CERT"):]))
	}
	tool(t, "keytool", "-importkeystore", "-srckeystore", in("client.p12"), "-srcstoretype", "PKCS12", "-srcstorepass", planted.PassPhrase,
		"-destkeystore", in("client.jks"), "-deststoretype", "JKS", "-deststorepass", planted.PassPhrase)
	for _, typ := range []string{"JKS", "PKCS12"} {
		tool(t, "keytool", "-importcert", "-noprompt", "-file", trust, "-alias", "ca", "-keystore", in("trust."+typ), "-storetype", typ, "-storepass", planted.PassPhrase)
	}
	pemTrust := "ssl.truststore.type=PEM\nssl.truststore.location=" + trust
	for name, file := range map[string]string{
		"TLS, PEM":           s.file("TLS", pemTrust),
		"TLS, JKS":           s.file("TLS", "ssl.truststore.location="+in("trust.JKS")),
		"mTLS, PEM":          s.file("MTLS", pemTrust, "ssl.keystore.type=PEM", "ssl.keystore.location="+client),
		"mTLS, PEM, PBES1":   s.file("MTLS", pemTrust, "ssl.keystore.type=PEM", "ssl.keystore.location="+in("pbes1.pem"), "ssl.key.password="+planted.PassPhrase),
		withoutJava:          s.file("MTLS", pemTrust, "ssl.keystore.type=PEM", "ssl.keystore.location="+in("pbes2.pem"), "ssl.key.password="+planted.PassPhrase),
		"mTLS, PKCS12":       s.file("MTLS", "ssl.truststore.type=PKCS12", "ssl.truststore.location="+in("trust.PKCS12"), "ssl.truststore.password="+planted.PassPhrase, "ssl.keystore.type=PKCS12", "ssl.keystore.location="+in("client.p12"), "ssl.keystore.password="+planted.PassPhrase),
		"mTLS, JKS":          s.file("MTLS", "ssl.truststore.location="+in("trust.JKS"), "ssl.truststore.password="+planted.PassPhrase, "ssl.keystore.location="+in("client.jks"), "ssl.keystore.password="+planted.PassPhrase, "ssl.key.password="+planted.PassPhrase),
		"mTLS, JKS is P12":   s.file("MTLS", "ssl.truststore.location="+in("trust.PKCS12"), "ssl.truststore.password="+planted.PassPhrase, "ssl.keystore.location="+in("client.p12"), "ssl.keystore.password="+planted.PassPhrase),
		"TLS 1.2, one suite": s.file("TLS", pemTrust, "ssl.enabled.protocols=TLSv1.2", "ssl.cipher.suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := within(t, time.Minute)
			cfg, err := quill.LoadProperties(strings.NewReader(file))
			require.NoError(t, err)
			seen := watch(t)
			cfg.Logger = seen.Logger()
			p, err := quill.New(cfg, quill.String, quill.String)
			require.NoError(t, err)
			_, err = p.SendSync(ctx, quill.Record[string, string]{Topic: topic, Value: name})
			require.NoError(t, err)
			require.NoError(t, p.Close(ctx))
			seen.Check(cfg, p)
			if name == withoutJava {
				return
			}
			l := ledger.New(ledger.Plan{Run: 1, Streams: 1, PerStream: 1, Keys: 1, ValueSize: 40})
			require.NoError(t, s.ProduceWithJava(ctx, topic, l, strings.Split(strings.TrimSpace(file), "\n")...), "Kafka's own producer with the same properties")
		})
	}
	for name, file := range map[string]string{
		"no certificate":       s.file("MTLS", pemTrust),
		"an unknown authority": s.file("TLS", "ssl.truststore.type=PEM", "ssl.truststore.location="+s.replace(t, "stranger.pem", string(quilltest.NewCA().PEM()))),
	} {
		require.ErrorIs(t, sendOnce(t, file, topic), network.ErrTLS, name)
	}
}

// withoutJava is a key that Kafka's own producer does not read (4.3.1 on Java 17).
const withoutJava = "mTLS, PEM, PBES2"

// sendOnce sends a record with a producer of its own.
func sendOnce(t *testing.T, file, topic string) error {
	t.Helper()
	cfg, err := quill.LoadProperties(strings.NewReader(file + "max.block.ms=20000\n"))
	require.NoError(t, err)
	seen := watch(t)
	cfg.Logger = seen.Logger()
	p, err := quill.New(cfg, quill.String, quill.String)
	require.NoError(t, err)
	ctx := within(t, time.Minute)
	_, err = p.SendSync(ctx, quill.Record[string, string]{Topic: topic, Value: "v"})
	err = errors.Join(err, p.Close(ctx))
	seen.Check(err, cfg, p)
	return err
}

// cutter dials and can cut all connections.
type cutter struct {
	mu sync.Mutex
	// +checklocks:mu
	conns []net.Conn
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// rotationUnderLoad replaces certificates, keys and trusted authorities on both sides while records are sent, until the
// broker trusts the old authority no more. Connections are cut after each step, so that each step is used. No send fails, and each record is in the log once, in order.
func rotationUnderLoad(t *testing.T, s *tlsBroker, old *quilltest.CA) {
	renewed := quilltest.NewCA()
	topic := newTopic(t, s.Cluster, "tls-rotation", 1)
	both := string(old.PEM()) + string(renewed.PEM())
	client := s.replace(t, "client.pem", issue(t, old, "client"))
	trust := s.replace(t, "trust.pem", string(old.PEM()))
	lines := []string{"ssl.keystore.type=PEM", "ssl.keystore.location=" + client, "ssl.truststore.type=PEM", "ssl.truststore.location=" + trust, "reconnect.backoff.ms=10"}
	cfg, err := quill.LoadProperties(strings.NewReader(s.file("MTLS", lines...)))
	require.NoError(t, err)
	dialer := new(cutter)
	cfg.DialContext, cfg.Logger = dialer.dial, watch(t).Logger()
	load := &steadyLoad{producer: newProducer(t, cfg), topic: topic, rate: securityRate}
	until, stop := context.WithCancel(t.Context())
	defer stop()
	var loading sync.WaitGroup
	loading.Go(func() { load.run(until) })

	oldClient, oldTrust := s.replace(t, "old-client.pem", issue(t, old, "client")), s.replace(t, "old-trust.pem", string(old.PEM()))
	steps := []func(){
		func() { s.replace(t, "trust.pem", both) },
		func() { s.replace(t, "clients.pem", both); s.reload(t) },
		func() { s.replace(t, "client.pem", issue(t, renewed, "client")) },
		func() { s.replace(t, "node.pem", issue(t, renewed, "node")); s.reload(t) },
		func() { s.replace(t, "clients.pem", string(renewed.PEM())); s.reload(t) },
		func() { s.replace(t, "trust.pem", string(renewed.PEM())) },
	}
	const cuts, pause = 5, 100 * time.Millisecond
	each := securityTime(t, 0) / time.Duration(len(steps))
	begin := time.Now()
	for _, step := range steps {
		begun := time.Now()
		step()
		for range cuts {
			dialer.cut()
			time.Sleep(pause)
		}
		time.Sleep(time.Until(begun.Add(each)))
	}
	stop()
	loading.Wait()
	all := load.end(t)
	rows, err := s.Records(within(t, time.Minute), topic)
	require.NoError(t, err)
	require.Len(t, rows, len(all))
	t.Logf("%v; connections were cut %d times in %v", all, cuts*len(steps), time.Since(begin).Round(time.Second))

	with := func(client, trust string) string {
		return s.file("MTLS", "ssl.keystore.type=PEM", "ssl.keystore.location="+client, "ssl.truststore.type=PEM", "ssl.truststore.location="+trust)
	}
	require.ErrorIs(t, sendOnce(t, with(oldClient, trust), topic), network.ErrTLS, "the broker trusts the old authority no more")
	require.ErrorIs(t, sendOnce(t, with(client, oldTrust), topic), network.ErrTLS, "the broker's certificate is a new one")
	require.NoError(t, sendOnce(t, with(client, trust), topic))
}
