package quilltest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// handshake connects to a node and says what the client thinks of it.
func handshake(t *testing.T, c *Cluster, cfg *tls.Config) error {
	r := dial(t, c, 1)
	plain := r.nc
	defer plain.Close()
	host, _, err := net.SplitHostPort(c.NodeAddr(1))
	require.NoError(t, err)
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	nc := tls.Client(plain, cfg)
	if err := nc.HandshakeContext(t.Context()); err != nil {
		return err
	}
	r.nc = nc
	if _, err := nc.Write(r.frame(apiVersions(), 3)); err != nil { // with TLS 1.3 the node looks at the certificate after the client's handshake
		return err
	}
	_, err = r.read()
	return err
}

func TestCAMakesWhatClientsTrust(t *testing.T) {
	ca, other := NewCA(), NewCA()
	inBubble(t, Options{TLS: ca.ServerConfig()}, func(t *testing.T, c *Cluster) {
		require.NoError(t, handshake(t, c, &tls.Config{RootCAs: ca.Pool()}), "the names of pipes are in the certificate")
		for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
			require.NoError(t, handshake(t, c, &tls.Config{RootCAs: ca.Pool(), ServerName: name}))
		}
		var name x509.HostnameError
		require.ErrorAs(t, handshake(t, c, &tls.Config{RootCAs: ca.Pool(), ServerName: "example.org"}), &name)
		var unknown x509.UnknownAuthorityError
		require.ErrorAs(t, handshake(t, c, &tls.Config{RootCAs: other.Pool()}), &unknown)
	})
	for _, c := range []Certificate{{NotAfter: time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)}, {NotBefore: time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC)}} {
		inBubble(t, Options{TLS: &tls.Config{Certificates: []tls.Certificate{ca.Issue(c)}}}, func(t *testing.T, cluster *Cluster) {
			var invalid x509.CertificateInvalidError
			require.ErrorAs(t, handshake(t, cluster, &tls.Config{RootCAs: ca.Pool()}), &invalid)
			require.Equal(t, x509.Expired, invalid.Reason)
		})
	}
}

func TestNodesAskForClientCertificates(t *testing.T) {
	ca, other := NewCA(), NewCA()
	cfg := ca.ServerConfig()
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	inBubble(t, Options{TLS: cfg}, func(t *testing.T, c *Cluster) {
		client := ca.Issue(Certificate{Name: "producer", Hosts: []string{}})
		require.Equal(t, "CN=producer", client.Leaf.Subject.String())
		require.Empty(t, client.Leaf.DNSNames)
		require.NoError(t, handshake(t, c, &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{client}}))
		require.Error(t, handshake(t, c, &tls.Config{RootCAs: ca.Pool()}))
		require.Error(t, handshake(t, c, &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{other.Issue(Certificate{})}}))
	})
}

func TestCAWritesPEM(t *testing.T) {
	ca := NewCA()
	cert := ca.Issue(Certificate{})
	chain, key := EncodePEM(cert)
	back, err := tls.X509KeyPair(chain, key)
	require.NoError(t, err)
	require.Equal(t, cert.Certificate, back.Certificate, "with the authority behind it")
	block, rest := pem.Decode(ca.PEM())
	require.Empty(t, rest)
	require.Equal(t, ca.cert.Raw, block.Bytes)
	block, _ = pem.Decode(key)
	require.Equal(t, "PRIVATE KEY", block.Type, "PKCS#8, which Java wants")
}
