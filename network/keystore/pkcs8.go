package keystore

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" // #nosec G502 -- reads keys that others encrypted so; nothing is encrypted here
	"crypto/md5" // #nosec G501 -- likewise
	"crypto/pbkdf2"
	"crypto/rc4"  // #nosec G503 -- likewise
	"crypto/sha1" // #nosec G505 -- likewise
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"hash"
	"math/big"
	"unicode/utf16"

	"github.com/quill-kafka/quill/network/sasl"
)

// Encrypted private keys (RFC 5958, EncryptedPrivateKeyInfo): PBES2 with PBKDF2 as everything writes by now, and the older
// PBES1 (RFC 8018, and the schemes of PKCS#12) that openssl 1.0 wrote and openssl pkcs8 -v1 still does.

type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

// decrypter decrypts a key with the parameters of one algorithm.
type decrypter func(params asn1.RawValue, password string, data []byte) ([]byte, error)

var (
	errWrongPassword = errors.New("wrong password")
	errUnsupported   = errors.New("not supported")
)

// maxIterations bounds what a file may cost: openssl writes 2,048, Java 10,000.
const maxIterations = 5_000_000

// parseEncrypted decrypts and reads a private key.
func parseEncrypted(der []byte, password sasl.Secret) (crypto.Signer, error) {
	if password.IsZero() {
		return nil, fail("set ssl.key.password", "the private key is encrypted, and there is no password for it")
	}
	var k encryptedKey
	if rest, err := asn1.Unmarshal(der, &k); err != nil || len(rest) > 0 {
		return nil, fail("is the text complete?", "the encrypted private key is malformed")
	}
	decrypt := schemes[k.Algorithm.Algorithm.String()]
	if decrypt == nil {
		return nil, fail(toPKCS8, "the private key is encrypted by %s, which is not supported", k.Algorithm.Algorithm)
	}
	plain, err := decrypt(k.Algorithm.Parameters, password.Reveal(), k.Data)
	switch {
	case errors.Is(err, errUnsupported):
		return nil, fail(toPKCS8, "the private key is encrypted in a way that is not supported")
	case errors.Is(err, errWrongPassword):
		return nil, fail("is ssl.key.password right?", "the private key can't be decrypted with the password")
	case err != nil:
		return nil, fail("is the text complete?", "the encrypted private key is malformed")
	}
	// The padding of one wrong password in 256 looks right, so what does not begin as a key does is a wrong password as well.
	var raw asn1.RawValue
	if rest, err := asn1.Unmarshal(plain, &raw); err != nil || len(rest) > 0 || raw.Tag != asn1.TagSequence {
		return nil, fail("is ssl.key.password right?", "the private key can't be decrypted with the password")
	}
	return parsePKCS8(plain)
}

// schemes are the algorithms by object identifier.
var schemes = map[string]decrypter{
	"1.2.840.113549.1.5.13": decryptPBES2,
	"1.2.840.113549.1.5.3":  pbes1(md5.New),
	"1.2.840.113549.1.5.10": pbes1(sha1.New),
	"1.2.840.113549.1.12.1.1": pkcs12Scheme(16, 0, func(key, _, data []byte) ([]byte, error) {
		return streamRC4(key, data)
	}),
	"1.2.840.113549.1.12.1.2": pkcs12Scheme(5, 0, func(key, _, data []byte) ([]byte, error) {
		return streamRC4(key, data)
	}),
	"1.2.840.113549.1.12.1.3": pkcs12Scheme(24, 8, func(key, iv, data []byte) ([]byte, error) {
		return decryptBlocks(des.NewTripleDESCipher, key, iv, data)
	}),
	"1.2.840.113549.1.12.1.4": pkcs12Scheme(16, 8, func(key, iv, data []byte) ([]byte, error) {
		return decryptBlocks(des.NewTripleDESCipher, bytes.Join([][]byte{key, key[:8]}, nil), iv, data)
	}),
}

// decryptBlocks decrypts in CBC mode and cuts the padding.
func decryptBlocks(newCipher func([]byte) (cipher.Block, error), key, iv, data []byte) ([]byte, error) {
	block, err := newCipher(key)
	if err != nil {
		return nil, err
	}
	size := block.BlockSize()
	if len(iv) != size || len(data) == 0 || len(data)%size != 0 {
		return nil, errors.New("malformed")
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > size || !bytes.Equal(plain[len(plain)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, errWrongPassword
	}
	return plain[:len(plain)-pad], nil
}

func streamRC4(key, data []byte) ([]byte, error) {
	c, err := rc4.NewCipher(key) // #nosec G405 -- reads what others wrote
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(data))
	c.XORKeyStream(plain, data)
	return plain, nil
}

// decryptPBES2 is PBES2 of RFC 8018 with PBKDF2.
func decryptPBES2(params asn1.RawValue, password string, data []byte) ([]byte, error) {
	var p struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	if _, err := asn1.Unmarshal(params.FullBytes, &p); err != nil {
		return nil, err
	}
	c, known := ciphers[p.Cipher.Algorithm.String()]
	if !known || p.KDF.Algorithm.String() != "1.2.840.113549.1.5.12" { // another KDF: scrypt
		return nil, errUnsupported
	}
	var iv []byte
	if _, err := asn1.Unmarshal(p.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, err
	}
	key, err := pbkdf2Key(p.KDF.Parameters, password, c.keySize)
	if err != nil {
		return nil, err
	}
	return decryptBlocks(c.new, key, iv, data)
}

// pbesCipher is an encryption scheme of PBES2.
type pbesCipher struct {
	keySize int
	new     func([]byte) (cipher.Block, error)
}

var ciphers = map[string]pbesCipher{
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
}

func pbkdf2Key(params asn1.RawValue, password string, size int) ([]byte, error) {
	var p struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(params.FullBytes, &p); err != nil {
		return nil, err
	}
	newHash, known := sha1.New, true // the default of the RFC
	if len(p.PRF.Algorithm) > 0 {
		newHash, known = prfs[p.PRF.Algorithm.String()]
	}
	if !known || p.KeyLength != 0 && p.KeyLength != size {
		return nil, errUnsupported
	}
	if p.Iterations < 1 || p.Iterations > maxIterations {
		return nil, errUnsupported
	}
	return pbkdf2.Key(newHash, password, p.Salt, p.Iterations, size)
}

var prfs = map[string]func() hash.Hash{
	"1.2.840.113549.2.7":  sha1.New,
	"1.2.840.113549.2.8":  sha256.New224,
	"1.2.840.113549.2.9":  sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
	"1.2.840.113549.2.12": sha512.New512_224,
	"1.2.840.113549.2.13": sha512.New512_256,
}

type pbeParams struct {
	Salt       []byte
	Iterations int
}

func parsePBE(params asn1.RawValue) (p pbeParams, err error) {
	if _, err = asn1.Unmarshal(params.FullBytes, &p); err == nil && (p.Iterations < 1 || p.Iterations > maxIterations) {
		err = errUnsupported
	}
	return p, err
}

// pbes1 is PBES1 of RFC 8018 with DES: PBKDF1 makes eight bytes of key and eight of the vector.
func pbes1(newHash func() hash.Hash) decrypter {
	return func(params asn1.RawValue, password string, data []byte) ([]byte, error) {
		p, err := parsePBE(params)
		if err != nil {
			return nil, err
		}
		h := newHash()
		sum := append([]byte(password), p.Salt...)
		for range p.Iterations {
			h.Reset()
			h.Write(sum)
			sum = h.Sum(nil)
		}
		return decryptBlocks(des.NewCipher, sum[:8], sum[8:16], data)
	}
}

// pkcs12Scheme is one of the schemes of PKCS#12 (RFC 7292, appendix C).
func pkcs12Scheme(keySize, ivSize int, decrypt func(key, iv, data []byte) ([]byte, error)) decrypter {
	return func(params asn1.RawValue, password string, data []byte) ([]byte, error) {
		p, err := parsePBE(params)
		if err != nil {
			return nil, err
		}
		key := pkcs12KDF(1, p, password, keySize)
		iv := pkcs12KDF(2, p, password, ivSize)
		return decrypt(key, iv, data)
	}
}

// pkcs12KDF derives size bytes with SHA-1 (RFC 7292, appendix B.2). id says what for: 1 a key, 2 a vector.
func pkcs12KDF(id byte, p pbeParams, password string, size int) []byte {
	const block = 64
	diversifier := bytes.Repeat([]byte{id}, block)
	input := append(fill(p.Salt, block), fill(append(utf16BE(password), 0, 0), block)...)
	var out []byte
	for len(out) < size {
		sum := sha1.Sum(append(diversifier[:block:block], input...)) // #nosec G401 -- reads what others wrote
		for range p.Iterations - 1 {
			sum = sha1.Sum(sum[:]) // #nosec G401 -- likewise
		}
		out = append(out, sum[:]...)
		addend := new(big.Int).SetBytes(fill(sum[:], block)[:block])
		addend.Add(addend, big.NewInt(1))
		for i := 0; i < len(input); i += block {
			n := new(big.Int).SetBytes(input[i : i+block])
			full := n.Add(n, addend).FillBytes(make([]byte, block+1))
			copy(input[i:], full[1:])
		}
	}
	return out[:size]
}

// fill repeats b to a multiple of size bytes, cutting the last; none of nothing.
func fill(b []byte, size int) []byte {
	if len(b) == 0 {
		return nil
	}
	whole := (len(b) + size - 1) / size * size
	return bytes.Repeat(b, whole/len(b)+1)[:whole]
}

func utf16BE(s string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = append(b, byte(unit>>8), byte(unit))
	}
	return b
}
