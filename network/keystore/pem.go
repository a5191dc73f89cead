package keystore

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"strings"

	"github.com/quill-kafka/quill/network/sasl"
)

const beginning = "-----BEGIN "

// pemBlock is one block of a PEM text.
type pemBlock struct {
	label  string // "CERTIFICATE"
	data   []byte
	legacy bool // encrypted in the way of old openssl, with a header Proc-Type
}

// pemBlocks returns the blocks of a text. Unlike encoding/pem it takes any white space for a line end, also none, because a
// value in a .properties file has lost its line ends, and Java reads it so. What stands between the blocks does not count.
func pemBlocks(text string) ([]pemBlock, error) {
	var blocks []pemBlock
	for n := 1; ; n++ {
		_, rest, found := strings.Cut(text, beginning)
		if !found {
			return blocks, nil
		}
		label, body, found := strings.Cut(rest, "-----")
		if !found || len(label) > 64 || strings.ContainsAny(label, "\r\n") {
			return nil, fail("is the text complete?", "the first line of PEM block %d does not end in -----", n)
		}
		body, text, found = strings.Cut(body, "-----END "+label+"-----")
		if !found {
			return nil, fail("is the text complete?", "PEM block %d (%s) has no END line", n, printable(label))
		}
		b := pemBlock{label: label}
		var digits strings.Builder
		for line := range strings.Lines(body) {
			if name, value, header := strings.Cut(line, ":"); header {
				b.legacy = b.legacy || strings.TrimSpace(name) == "Proc-Type" && strings.Contains(value, "ENCRYPTED")
				continue
			}
			for word := range strings.FieldsSeq(line) {
				digits.WriteString(word)
			}
		}
		var err error
		if b.data, err = base64.StdEncoding.DecodeString(digits.String()); err != nil {
			return nil, fail("is the text complete, and are its line ends those of the original?", "PEM block %d (%s) is not base64", n, printable(label))
		}
		blocks = append(blocks, b)
	}
}

// printable returns a label for an error text.
func printable(label string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, label)
}

// decodePEM reads certificates, and the one private key if keys are wanted.
func decodePEM(text string, wantKey bool, password sasl.Secret) (Contents, error) {
	blocks, err := pemBlocks(text)
	if err != nil {
		return Contents{}, err
	}
	var c Contents
	var keys []pemBlock
	for i, b := range blocks {
		switch {
		case strings.HasSuffix(b.label, "PRIVATE KEY"):
			keys = append(keys, b)
		case b.label == "CERTIFICATE" || b.label == "X509 CERTIFICATE":
			c.add(b.data, i+1)
		}
	}
	switch {
	case len(blocks) == 0:
		return Contents{}, fail("one begins with -----BEGIN CERTIFICATE----- or the like", "holds no PEM block")
	case !wantKey || len(keys) == 0:
		return c, nil
	case len(keys) > 1:
		return Contents{}, fail("leave one of them", "holds %d private keys", len(keys))
	}
	private, err := parseKey(keys[0], password)
	if err != nil {
		return Contents{}, err
	}
	c.Keys = []Key{{Private: private, Certificates: c.Trusted}}
	return c, nil
}

// ParsePrivateKey reads the one private key of a PEM text: PKCS#8, encrypted or not, PKCS#1 or SEC 1. Its error is an [*Error]
// without Property. It may be called concurrently.
func ParsePrivateKey(text string, password sasl.Secret) (crypto.Signer, error) {
	c, err := decodePEM(text, true, password)
	switch {
	case err != nil:
		return nil, err
	case len(c.Keys) == 0:
		return nil, fail("one begins with -----BEGIN PRIVATE KEY-----", "holds no private key")
	}
	return c.Keys[0].Private, nil
}

// add takes a certificate as trusted. One that crypto/x509 refuses is left out: a bundle of a hundred would else be of no
// use because of one that Java takes (a negative serial number, say).
func (c *Contents) add(der []byte, n int) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.Skipped = append(c.Skipped, fail("", "certificate %d: %v", n, err).Reason)
		return
	}
	c.Trusted = append(c.Trusted, cert)
}

const toPKCS8 = "turn it into one with openssl pkcs8 -topk8 -v2 aes256"

// parseKey reads a private key of PKCS#8, encrypted or not, PKCS#1 or SEC 1.
func parseKey(b pemBlock, password sasl.Secret) (crypto.Signer, error) {
	switch {
	case b.legacy:
		return nil, fail(toPKCS8, "the private key is encrypted in the old way of openssl (Proc-Type: 4,ENCRYPTED), not as PKCS#8")
	case b.label == "ENCRYPTED PRIVATE KEY":
		return parseEncrypted(b.data, password)
	case b.label == "RSA PRIVATE KEY":
		key, err := x509.ParsePKCS1PrivateKey(b.data)
		if err != nil {
			return nil, fail("", "the private key can't be read: %v", err)
		}
		return key, nil
	case b.label == "EC PRIVATE KEY":
		key, err := x509.ParseECPrivateKey(b.data)
		if err != nil {
			return nil, fail("", "the private key can't be read: %v", err)
		}
		return key, nil
	case b.label == "PRIVATE KEY":
		return parsePKCS8(b.data)
	}
	return nil, fail(toPKCS8, "a private key in the form %q can't be read", printable(b.label))
}

func parsePKCS8(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fail("use an RSA, ECDSA or Ed25519 key", "the private key can't be read: %v", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fail("use an RSA, ECDSA or Ed25519 key", "the private key can't sign")
	}
	return signer, nil
}
