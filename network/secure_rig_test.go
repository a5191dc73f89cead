package network

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority is a certificate authority of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// began is before any time in a bubble, ended long after.
var began, ended = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2098, 1, 1, 0, 0, 0, 0, time.UTC)

func newAuthority(t testing.TB, name string) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{t: t, key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: began, NotAfter: ended,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &key.PublicKey, key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return a
}

// issue makes a certificate for hosts, changed by options.
func (a *authority) issue(hosts []string, options ...func(*x509.Certificate)) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: began, NotAfter: ended,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
	for _, o := range options {
		o(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// trusting returns a client's configuration that trusts the authority.
func (a *authority) trusting() *tls.Config { return &tls.Config{RootCAs: a.pool()} }

// withTLS makes a client use TLS.
func withTLS(conf *tls.Config) func(*Config) {
	return func(c *Config) { c.TLS = func(context.Context) (*tls.Config, error) { return conf, nil } }
}

// patient reads ahead what arrives: a pipe has no room, so that a node which writes while the client does too would wait for
// ever.
func patient(p *peer) *peer { return &peer{newDrowsy(p.Conn)} }

// secured plays script behind TLS.
func secured(conf *tls.Config, script func(*peer)) func(*peer) {
	conf = conf.Clone()
	conf.SessionTicketsDisabled = true
	return func(p *peer) {
		s := tls.Server(patient(p), conf)
		if s.Handshake() != nil {
			return
		}
		script(&peer{s})
	}
}

// serving returns a node's configuration with a certificate.
func serving(cert tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}
