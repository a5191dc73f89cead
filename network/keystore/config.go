package keystore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/quill-kafka/quill/network/sasl"
)

// Config says what a [Source] makes of which stores. It must not be changed after Open.
type Config struct {
	// Own is the key store: what this client shows to nodes that ask for a certificate. Nil: nothing.
	// Kafka: ssl.keystore.*.
	Own *Store
	// Trust is the trust store: the authorities that nodes' certificates are checked against. Nil: those of the operating
	// system. Kafka: ssl.truststore.*.
	Trust *Store
	// MinVersion and MaxVersion bound the protocol, as in [tls.Config]. If zero, TLS 1.2 and TLS 1.3.
	// Kafka: ssl.enabled.protocols, ssl.protocol.
	MinVersion, MaxVersion uint16
	// CipherSuites are the allowed ones. If empty, those of crypto/tls. Kafka: ssl.cipher.suites.
	CipherSuites []uint16
	// AnyHost accepts a certificate whatever host name it is for. The chain is checked all the same.
	// Kafka: an empty ssl.endpoint.identification.algorithm.
	AnyHost bool
}

// Store is a key store or a trust store: either a file, or PEM text.
type Store struct {
	// Type is PEM, JKS, PKCS12, or what was registered. If empty, JKS. JKS and PKCS12 stand for each other.
	// Kafka: ssl.keystore.type, ssl.truststore.type.
	Type string
	// File is the path. It is read again when the file changes. Kafka: ssl.keystore.location, ssl.truststore.location.
	File string
	// Certificates is PEM text instead of a file. Kafka: ssl.keystore.certificate.chain, ssl.truststore.certificates.
	Certificates sasl.Secret
	// PrivateKey is the PEM text of the key that Certificates begin with. Kafka: ssl.keystore.key.
	PrivateKey sasl.Secret
	// Password is that of the file, if it is JKS or PKCS12. Kafka: ssl.keystore.password, ssl.truststore.password.
	Password sasl.Secret
	// KeyPassword is that of the private key. If empty, Password. Kafka: ssl.key.password.
	KeyPassword sasl.Secret
}

// properties are the names of Kafka's for the parts of a store.
type properties struct{ location, inline string }

var (
	ownProperties   = properties{"ssl.keystore.location", "ssl.keystore.key"}
	trustProperties = properties{"ssl.truststore.location", "ssl.truststore.certificates"}
)

// text returns the content of a store that is given as text.
func (st *Store) text() []byte {
	return []byte(st.PrivateKey.Reveal() + "\n" + st.Certificates.Reveal())
}

// material is what the stores held when they were read.
type material struct {
	own   []tls.Certificate
	roots *x509.CertPool // nil: those of the operating system
}

// tlsConfig returns the configuration for connections that are made from now on.
func (cfg *Config) tlsConfig(m material) *tls.Config {
	c := &tls.Config{
		MinVersion:   max(cfg.MinVersion, tls.VersionTLS12),
		MaxVersion:   cfg.MaxVersion,
		CipherSuites: cfg.CipherSuites,
		Certificates: m.own,
		RootCAs:      m.roots,
	}
	if cfg.AnyHost {
		c.InsecureSkipVerify = true // #nosec G402 -- VerifyConnection checks the chain
	}
	if cfg.AnyHost || len(cfg.CipherSuites) > 0 {
		c.VerifyConnection = func(state tls.ConnectionState) error { return cfg.verify(state, m.roots) }
	}
	return c
}

// verify checks what crypto/tls does not: the chain if any host will do, and the cipher suite, since those of TLS 1.3 can't be
// chosen among.
func (cfg *Config) verify(state tls.ConnectionState, roots *x509.CertPool) error {
	if len(cfg.CipherSuites) > 0 && !slices.Contains(cfg.CipherSuites, state.CipherSuite) {
		return fmt.Errorf("the node chose the cipher suite %s, which ssl.cipher.suites does not name", tls.CipherSuiteName(state.CipherSuite))
	}
	if !cfg.AnyHost {
		return nil
	}
	if len(state.PeerCertificates) == 0 {
		return errors.New("the node showed no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := state.PeerCertificates[0].Verify(opts); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}
