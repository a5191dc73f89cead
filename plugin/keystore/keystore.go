// Package keystore lets a producer read PKCS12 files (.p12, .pfx) as key stores and trust stores. A program links it in by
//
//	import _ "github.com/quill-kafka/quill/plugin/keystore"
//
// It is a module of its own, so that the producer does not depend on the library that it uses.
package keystore

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/quill-kafka/quill/network/keystore"
	"github.com/quill-kafka/quill/network/sasl"
)

func init() { keystore.Register("PKCS12", decode) }

// decode reads the one private key and the certificates of a file, or, without a key password, its trusted certificates.
func decode(data []byte, password, keyPassword sasl.Secret) (keystore.Contents, error) {
	if costly(data) {
		return keystore.Contents{}, &keystore.Error{Reason: "the PKCS12 file asks for more than 5,000,000 rounds of a hash, or is malformed", Fix: "is the file complete?"}
	}
	if keyPassword.IsZero() {
		return decodeTrusted(data, password)
	}
	if keyPassword.Reveal() != password.Reveal() {
		return keystore.Contents{}, &keystore.Error{Reason: "the key of a PKCS12 file has the file's own password, and ssl.key.password is another", Fix: "leave ssl.key.password out"}
	}
	private, own, others, err := pkcs12.DecodeChain(data, password.Reveal())
	if err != nil {
		return keystore.Contents{}, explain(err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return keystore.Contents{}, &keystore.Error{Reason: fmt.Sprintf("its private key, a %T, can't sign", private), Fix: "use an RSA, ECDSA or Ed25519 key"}
	}
	certs := append([]*x509.Certificate{own}, others...)
	return keystore.Contents{Keys: []keystore.Key{{Private: signer, Certificates: certs}}}, nil
}

// decodeTrusted takes certificates that are marked as trusted, as keytool -importcert does. Java ignores others.
func decodeTrusted(data []byte, password sasl.Secret) (keystore.Contents, error) {
	certs, err := pkcs12.DecodeTrustStore(data, password.Reveal())
	switch {
	case err == nil:
		return keystore.Contents{Trusted: certs}, nil
	case password.IsZero():
		return keystore.Contents{}, &keystore.Error{Reason: fmt.Sprintf("can't be read without a password: %v", err), Fix: "set ssl.truststore.password"}
	case errors.Is(err, pkcs12.ErrIncorrectPassword) || errors.Is(err, pkcs12.ErrDecryption):
		return keystore.Contents{}, explain(err)
	}
	return keystore.Contents{}, &keystore.Error{
		Reason: fmt.Sprintf("is no trust store with trusted certificates alone: %v", err),
		Fix:    "make it with keytool -importcert, which marks certificates as trusted (openssl does so with -jdktrust), or use PEM",
	}
}

// maxIterations bounds what a file may cost: openssl writes 2,048, Java 10,000. The library takes what the file says, which a
// damaged byte can make hours of.
const maxIterations = 5_000_000

// costly reports whether a number in the open part of the file, where only the version and the parameters of its check sum
// stand, is beyond maxIterations; also if the file is no DER. What the check sum protects is not looked at.
func costly(der []byte) bool {
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return true
		}
		switch {
		case v.IsCompound:
			if costly(v.Bytes) {
				return true
			}
		case v.Class == asn1.ClassUniversal && v.Tag == asn1.TagInteger:
			if new(big.Int).SetBytes(v.Bytes).Cmp(big.NewInt(maxIterations)) > 0 {
				return true
			}
		}
		der = rest
	}
	return false
}

// explain adds what to do to an error of the library, whose texts name no content.
func explain(err error) error {
	fault := &keystore.Error{Reason: fmt.Sprintf("can't be read: %v", err)}
	if errors.Is(err, pkcs12.ErrIncorrectPassword) || errors.Is(err, pkcs12.ErrDecryption) {
		fault.Reason, fault.Fix = "the password does not open the PKCS12 file", "is the password right? (ssl.keystore.password, ssl.truststore.password)"
	}
	return fault
}
