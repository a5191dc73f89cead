package keystore

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// certificates returns the keys as crypto/tls wants them: each with its chain, the own certificate first.
func (c *Contents) certificates() ([]tls.Certificate, error) {
	if len(c.Keys) == 0 {
		return nil, fail("a key store needs the private key and its certificate; for a trust store set ssl.truststore.location", "holds no private key")
	}
	certs := make([]tls.Certificate, 0, len(c.Keys))
	for i := range c.Keys {
		cert, err := c.Keys[i].certificate()
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

func (k *Key) certificate() (tls.Certificate, error) {
	of := ""
	if k.Alias != "" {
		of = fmt.Sprintf(" of the entry %q", printable(k.Alias))
	}
	switch {
	case len(k.Certificates) == 0:
		return tls.Certificate{}, fail("add the certificate, and those of the authorities between it and the root", "holds the private key%s and no certificate", of)
	case k.Private == nil:
		return tls.Certificate{}, fail("", "the private key%s was not read", of)
	}
	chain := chainOf(k.Private.Public(), k.Certificates)
	if chain == nil {
		return tls.Certificate{}, fail("put the certificate of this key into it", "the private key%s fits none of the certificates (first: %s)", of, name(k.Certificates[0]))
	}
	cert := tls.Certificate{PrivateKey: k.Private, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}

// chainOf returns the certificate of the key, then that of its issuer, and so on as far as they are there, in whatever order
// they come; nil if none is the key's. Java wants them in order and refuses others.
func chainOf(public crypto.PublicKey, certs []*x509.Certificate) []*x509.Certificate {
	own, comparable := public.(interface{ Equal(x crypto.PublicKey) bool })
	if !comparable {
		return nil
	}
	var chain []*x509.Certificate
	for _, c := range certs {
		if own.Equal(c.PublicKey) && (chain == nil || c.NotAfter.After(chain[0].NotAfter)) { // of an old and a renewed one, the renewed
			chain = []*x509.Certificate{c}
		}
	}
	for chain != nil && len(chain) < len(certs) {
		last := chain[len(chain)-1]
		next := issuerOf(last, certs)
		if next == nil || next.Equal(last) {
			break
		}
		chain = append(chain, next)
	}
	return chain
}

func issuerOf(c *x509.Certificate, certs []*x509.Certificate) *x509.Certificate {
	for _, issuer := range certs {
		if bytes.Equal(issuer.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(issuer) == nil {
			return issuer
		}
	}
	return nil
}

// anchors returns the certificates that are trusted: those of the trust store's own entries, and the first of each key's, as
// Java's PKIX trust manager takes them.
func (c *Contents) anchors() ([]*x509.Certificate, error) {
	anchors := c.Trusted
	for _, k := range c.Keys {
		if len(k.Certificates) > 0 {
			anchors = append(anchors[:len(anchors):len(anchors)], k.Certificates[0])
		}
	}
	if len(anchors) == 0 {
		fix := "put the certificate of the authority that signed the brokers' into it"
		if len(c.Skipped) > 0 {
			return nil, fail(fix, "holds no certificate that can be used: %s", c.Skipped[0])
		}
		return nil, fail(fix, "holds no trusted certificate")
	}
	return anchors, nil
}

// name names a certificate for an error or the log.
func name(c *x509.Certificate) string {
	return fmt.Sprintf("subject %q, serial %x", c.Subject.String(), c.SerialNumber)
}

// validity returns what is wrong with the certificate's dates at the time now, "" if nothing is.
func validity(c *x509.Certificate, now time.Time) string {
	switch {
	case now.After(c.NotAfter):
		return "ended at " + c.NotAfter.UTC().Format(time.RFC3339)
	case now.Before(c.NotBefore):
		return "begins at " + c.NotBefore.UTC().Format(time.RFC3339)
	}
	return ""
}
