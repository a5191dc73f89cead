package keystore

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/network/sasl"
)

// trusting returns a source's configuration that trusts the authority.
func trusting(t testing.TB, ca *identity, change func(*Config)) *tls.Config {
	t.Helper()
	cfg := Config{Trust: &Store{Type: "PEM", Certificates: sasl.NewSecret(ca.pem())}}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(cfg)
	require.NoError(t, err)
	return config(t, s)
}

// S1, S2: an empty ssl.endpoint.identification.algorithm switches off the check of the host name, and nothing else.
func TestAnyHostStillChecksTheChain(t *testing.T) {
	ca := newIdentity(t, nil, nil)
	elsewhere := func(c *x509.Certificate) { c.DNSNames = []string{"elsewhere.example"} }
	over := func(c *x509.Certificate) { c.NotAfter = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC) }
	node := func(id *identity) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{id.tls()}} }
	anyHost := trusting(t, ca, func(c *Config) { c.AnyHost = true })

	clientErr, _ := handshake(t, trusting(t, ca, nil), node(newIdentity(t, ca, elsewhere)))
	require.ErrorAs(t, clientErr, new(x509.HostnameError))
	clientErr, _ = handshake(t, anyHost, node(newIdentity(t, ca, elsewhere)))
	require.NoError(t, clientErr)
	clientErr, _ = handshake(t, anyHost, node(newIdentity(t, nil, nil)))
	require.ErrorAs(t, clientErr, new(x509.UnknownAuthorityError))
	clientErr, _ = handshake(t, anyHost, node(newIdentity(t, ca, over)))
	require.ErrorAs(t, clientErr, new(x509.CertificateInvalidError))

	middle := newIdentity(t, ca, nil)
	leaf := newIdentity(t, middle, elsewhere)
	chain := leaf.tls()
	chain.Certificate = append(chain.Certificate, middle.cert.Raw)
	clientErr, _ = handshake(t, anyHost, &tls.Config{Certificates: []tls.Certificate{chain}})
	require.NoError(t, clientErr, "with the node's intermediate certificate")
}

func TestHostMayBeAnAddress(t *testing.T) {
	ca := newIdentity(t, nil, nil)
	byAddress := newIdentity(t, ca, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{net.IPv4(127, 0, 0, 1)} })
	clientErr, _ := handshake(t, trusting(t, ca, nil), &tls.Config{Certificates: []tls.Certificate{byAddress.tls()}})
	require.ErrorAs(t, clientErr, new(x509.HostnameError), "the name is localhost, and the certificate is for the address")
}

// Suites of TLS 1.3 can't be chosen among in Go: one that the user did not name is refused after the node chose it.
func TestSuiteThatWasNotNamedIsRefused(t *testing.T) {
	ca := newIdentity(t, nil, nil)
	node := &tls.Config{Certificates: []tls.Certificate{newIdentity(t, ca, nil).tls()}}
	suites := []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256}
	accepted := 0
	for i := range suites {
		only := slices.Delete(slices.Clone(suites), i, i+1)
		clientErr, _ := handshake(t, trusting(t, ca, func(c *Config) { c.CipherSuites = only }), node)
		if clientErr == nil {
			accepted++
			continue
		}
		require.ErrorContains(t, clientErr, "ssl.cipher.suites does not name")
	}
	require.Equal(t, 2, accepted, "the node chose one of the three")
}

func TestOldProtocolIsNeverSpoken(t *testing.T) {
	ca := newIdentity(t, nil, nil)
	node := &tls.Config{Certificates: []tls.Certificate{newIdentity(t, ca, nil).tls()}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	clientErr, _ := handshake(t, trusting(t, ca, func(c *Config) { c.MinVersion = tls.VersionTLS10 }), node)
	require.Error(t, clientErr)
}

// The chain that is sent begins with the key's certificate, in whichever order the file has them; what does not belong to it is left out.
func TestChainIsPutInOrder(t *testing.T) {
	root := newIdentity(t, nil, nil)
	middle := newIdentity(t, root, nil)
	leaf := newIdentity(t, middle, nil)
	stranger := newIdentity(t, nil, nil)
	for _, order := range [][]*identity{{leaf, middle, root}, {root, middle, leaf}, {middle, stranger, leaf, root}, {leaf, middle}, {leaf, stranger}} {
		var certs []*x509.Certificate
		for _, id := range order {
			certs = append(certs, id.cert)
		}
		want := []*x509.Certificate{leaf.cert}
		if slices.Contains(order, middle) {
			want = append(want, middle.cert)
		}
		if slices.Contains(order, root) {
			want = append(want, root.cert)
		}
		require.Equal(t, want, chainOf(leaf.key.Public(), certs))
	}
	require.Nil(t, chainOf(newIdentity(t, nil, nil).key.Public(), []*x509.Certificate{leaf.cert, root.cert}))
}

func TestOfARenewedCertificateTheLaterIsShown(t *testing.T) {
	ca := newIdentity(t, nil, nil)
	id := newIdentity(t, ca, nil)
	renewed := *id.cert
	renewed.NotAfter = renewed.NotAfter.AddDate(1, 0, 0)
	require.Same(t, &renewed, chainOf(id.key.Public(), []*x509.Certificate{id.cert, &renewed, ca.cert})[0])
}

func TestFormatsAreRegisteredOnce(t *testing.T) {
	require.Contains(t, Formats(), "JKS")
	require.Panics(t, func() { Register("jks", decodeJKS) })
	require.Panics(t, func() { Register("pem", decodeJKS) })
	require.Panics(t, func() { Register("BCFKS", nil) })
	name := fmt.Sprintf("test-format-%d", time.Now().UnixNano()) // the test may run more than once
	Register(name, func([]byte, sasl.Secret, sasl.Secret) (Contents, error) {
		return Contents{Trusted: []*x509.Certificate{newIdentity(t, nil, nil).cert}}, nil
	})
	_, err := Open(Config{Trust: &Store{Type: strings.ToUpper(name), File: "doc.go"}})
	require.NoError(t, err)
}
