package errors_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// locked is a mechanism without credentials.
type locked struct{ starts atomic.Int32 }

var errNoCredentials = errors.New("the vault is locked")

func (*locked) Name() string { return "LOCKED" }

func (l *locked) Start(context.Context, sasl.Peer) (sasl.Session, []byte, error) {
	l.starts.Add(1)
	return nil, nil, errNoCredentials
}

// A failure of authentication fails at once what waits for a broker, as in Java, and is no reason to ask brokers in a storm.
func TestWhoIsNotLetInHearsItAtOnce(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 3}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		l := &locked{}
		cfg := testkit.Config(c)
		cfg.SASL = l
		p := testkit.Open(t, cfg)
		denied := func(err error) {
			t.Helper()
			require.ErrorIs(t, err, quill.ErrAuthentication)
			require.NotErrorIs(t, err, network.ErrTLS)
			require.NotErrorIs(t, err, quill.ErrTimeout)
			require.NotErrorIs(t, err, quill.ErrRetriable)
			require.ErrorIs(t, err, errNoCredentials)
			e, ok := errors.AsType[*network.AuthenticationError](err)
			require.True(t, ok)
			require.Equal(t, []string{"LOCKED", "start"}, []string{e.Mechanism, e.Step})
			require.Contains(t, c.BootstrapServers(), e.Addr)
			require.ErrorContains(t, err, `authenticate with "LOCKED": start: the vault is locked`)
		}
		begin := time.Now()
		_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
		denied(err)
		_, err = p.PartitionsFor(t.Context(), "t")
		denied(err)
		require.Less(t, time.Since(begin), 200*time.Millisecond)

		before := l.starts.Load()
		for begin := time.Now(); time.Since(begin) < 10*time.Second; {
			_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
			denied(err)
			time.Sleep(10 * time.Millisecond)
		}
		tried := l.starts.Load() - before
		require.GreaterOrEqual(t, tried, int32(15), "brokers are tried all the time")
		require.LessOrEqual(t, tried, int32(30), "at first after reconnect.backoff.ms each, after many misses one a second")
		testkit.CloseProducer(t, p)
	})
}

func TestTransactionsThatAreNotLetInHearItAtOnce(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.SASL, cfg.TransactionalID = &locked{}, "tx"
		p := testkit.Open(t, cfg)
		begin := time.Now()
		for range 3 {
			err := p.InitTransactions(t.Context())
			require.ErrorIs(t, err, quill.ErrAuthentication)
			require.ErrorIs(t, err, errNoCredentials)
			require.NotErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, quill.ErrFatal)
		}
		require.Less(t, time.Since(begin), 2*time.Second)
		testkit.CloseProducer(t, p)
	})
}

// terminator is TLS in front of a cluster.
type terminator struct {
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	working sync.WaitGroup

	mu sync.Mutex
	// +checklocks:mu
	certificate tls.Certificate
}

func (x *terminator) serve(cert tls.Certificate) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.certificate = cert
}

func (x *terminator) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	back, err := x.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	conf := &tls.Config{Certificates: []tls.Certificate{x.certificate}, SessionTicketsDisabled: true}
	x.mu.Unlock()
	ours, theirs := net.Pipe()
	x.working.Go(func() {
		defer back.Close()
		defer theirs.Close()
		front := tls.Server(theirs, conf)
		if front.Handshake() != nil {
			return
		}
		x.working.Go(func() { _, _ = io.Copy(front, back); _ = theirs.Close() })
		_, _ = io.Copy(back, front)
	})
	return ours, nil
}

// selfSigned returns a certificate for a host that is its own authority.
func selfSigned(t *testing.T, hosts ...string) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Date(2098, 1, 1, 0, 0, 0, 0, time.UTC), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// hostsOf returns the hosts of a cluster's nodes.
func hostsOf(t *testing.T, c *quilltest.Cluster) (hosts []string) {
	for _, addr := range c.BootstrapServers() {
		host, _, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		hosts = append(hosts, host)
	}
	return hosts
}

// Sends fail as long as brokers are not trusted, and work once they are, after the back-off. Records that were accepted before wait for
// delivery.timeout.ms, as in Java.
func TestSendsWorkAgainOnceBrokersAreTrusted(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 3}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		c.MustCreateTopic("u", 3, quilltest.TopicConfig{})
		good, trusted := selfSigned(t, hostsOf(t, c)...)
		other, _ := selfSigned(t, hostsOf(t, c)...)
		x := &terminator{dial: c.DialContext}
		x.serve(other)
		cfg := testkit.Config(c)
		cfg.DialContext, cfg.TLS = x.DialContext, &tls.Config{RootCAs: trusted}
		p := testkit.Open(t, cfg)
		begin := time.Now()
		_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
		require.ErrorIs(t, err, network.ErrTLS)
		require.ErrorIs(t, err, quill.ErrAuthentication)
		require.ErrorContains(t, err, "an authority that is not trusted")
		require.ErrorContains(t, err, "Config.TLS.RootCAs")
		e, ok := errors.AsType[*network.TLSError](err)
		require.True(t, ok)
		require.Equal(t, "handshake", e.Step)
		require.Less(t, time.Since(begin), 200*time.Millisecond)

		x.serve(good)
		time.Sleep(2 * time.Second)
		testkit.SendOK(t, p, "t")

		for _, id := range c.NodeIDs() { // the connections are lost, and no new one is trusted
			require.NoError(t, c.StopNode(id))
			require.NoError(t, c.StartNode(id))
		}
		x.serve(other)
		accepted := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
		_, err = p.SendSync(t.Context(), testkit.Rec("u", "k", "v"))
		require.ErrorIs(t, err, network.ErrTLS)
		time.Sleep(time.Minute)
		require.False(t, accepted.Done())
		x.serve(good)
		_, err = accepted.Wait(t.Context())
		require.NoError(t, err)
		testkit.CloseProducer(t, p)
		x.working.Wait()
	})
}
