package oauthbearer

import (
	"crypto"
	"errors"

	"github.com/quill-kafka/quill/network/keystore"
	"github.com/quill-kafka/quill/network/sasl"
)

// readPrivateKey reads the private key of a PEM text: PKCS#8 as in Java, encrypted or not, and the older forms of openssl.
func readPrivateKey(content []byte, passphrase sasl.Secret) (crypto.Signer, error) {
	key, err := keystore.ParsePrivateKey(string(content), passphrase)
	if e, ok := errors.AsType[*keystore.Error](err); ok {
		return nil, errors.New(e.Reason) // its fix names properties of TLS
	}
	return key, err
}
