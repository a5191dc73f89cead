package oauthbearer

import (
	"crypto/x509"
	"encoding/pem"
	"errors"

	"github.com/quill-kafka/quill/network/sasl"
)

// readPrivateKey reads the first private key of a PEM text: PKCS#8 as in Java, and the older forms of openssl.
func readPrivateKey(content []byte, passphrase sasl.Secret) (any, error) {
	for {
		block, rest := pem.Decode(content)
		if block == nil {
			return nil, errors.New("it has no private key in PEM form (-----BEGIN PRIVATE KEY-----)")
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return decryptKey(block.Bytes, passphrase)
		case block.Type == "PRIVATE KEY":
			return plainKey(x509.ParsePKCS8PrivateKey(block.Bytes))
		case block.Type == "RSA PRIVATE KEY":
			return plainKey[any](x509.ParsePKCS1PrivateKey(block.Bytes))
		case block.Type == "EC PRIVATE KEY":
			return plainKey[any](x509.ParseECPrivateKey(block.Bytes))
		}
		content = rest // a certificate, or the parameters of a curve
	}
}

// plainKey replaces a parser's error, which might show a part of the key.
func plainKey[T any](key T, err error) (any, error) {
	if err != nil {
		return nil, errors.New("its private key is damaged, or of a kind that is not known")
	}
	return key, nil
}

// decryptKey is what an encrypted key leads to.
func decryptKey([]byte, sasl.Secret) (any, error) {
	return nil, errors.New("its private key is encrypted, which is not supported yet: openssl pkcs8 -topk8 -nocrypt decrypts it")
}
