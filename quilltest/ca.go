package quilltest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// A CA is a certificate authority for tests: it makes the certificates that nodes and clients show each other, so that no files
// and no openssl are needed. Its methods may be called concurrently.
//
//	ca := quilltest.NewCA()
//	cluster := quilltest.Start(t, quilltest.Options{TLS: ca.ServerConfig()})
//	client := &tls.Config{RootCAs: ca.Pool()}
type CA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// A Certificate says what a certificate of a CA is for. The zero value is one for the nodes of a Cluster.
type Certificate struct {
	// Name is the subject's common name. If empty, "quilltest".
	Name string
	// Hosts are the names and IP addresses of its holder. If nil, localhost, 127.0.0.1, ::1 and the names that nodes have with
	// Options.Pipes; if empty but not nil, none, as for a client.
	Hosts []string
	// NotBefore and NotAfter are when it is valid. If zero, from 1990 to 2090, so that it is valid in a testing/synctest bubble, too.
	NotBefore, NotAfter time.Time
}

// The years in which certificates are valid by default. A bubble's clock begins in 2000.
var (
	validFrom  = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)
)

// NewCA makes an authority with a fresh key. Clients do not trust the certificates of another.
func NewCA() *CA {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "quilltest CA"}, NotBefore: validFrom, NotAfter: validUntil,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	ca := &CA{cert: template, key: newKey()}
	der := ca.sign(template, ca.key.Public())
	cert, err := x509.ParseCertificate(der)
	must(err)
	ca.cert = cert
	return ca
}

// Issue makes a certificate with a fresh key. It serves nodes and clients alike.
func (ca *CA) Issue(c Certificate) tls.Certificate {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: orDefault(c.Name, "quilltest")},
		NotBefore: orDefault(c.NotBefore, validFrom), NotAfter: orDefault(c.NotAfter, validUntil),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	hosts := c.Hosts
	if hosts == nil {
		hosts = []string{"localhost", "127.0.0.1", "::1", "*" + pipeDomain}
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	key := newKey()
	der := ca.sign(template, key.Public())
	leaf, err := x509.ParseCertificate(der)
	must(err)
	return tls.Certificate{Certificate: [][]byte{der, ca.cert.Raw}, PrivateKey: key, Leaf: leaf}
}

// ServerConfig returns a configuration for Options.TLS, with a certificate for the nodes. For mTLS, set its ClientAuth and ClientCAs:
// tls.RequireAndVerifyClientCert and Pool.
func (ca *CA) ServerConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{ca.Issue(Certificate{})}, MinVersion: tls.VersionTLS12}
}

// Pool returns the authority as what a client trusts.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// PEM returns the authority's certificate for clients that want a file. Kafka: ssl.truststore.certificates.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

// EncodePEM returns a certificate with its chain, and its key in PKCS#8, for clients that want files. Kafka:
// ssl.keystore.certificate.chain, ssl.keystore.key.
func EncodePEM(cert tls.Certificate) (chain, key []byte) {
	for _, der := range cert.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	must(err)
	return chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// sign completes a certificate.
func (ca *CA) sign(template *x509.Certificate, public crypto.PublicKey) []byte {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	must(err)
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, public, ca.key)
	must(err)
	return der
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	return key
}

// must panics where only a mistake in this file, or of the caller's types, makes an error.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("quilltest: certificates: %v", err))
	}
}
