package keystore

import (
	"crypto"
	"crypto/sha1" // #nosec G505 -- the format's own; nothing is written with it
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"

	"github.com/quill-kafka/quill/network/sasl"
)

// Java's own format, as keytool wrote it up to Java 8:
//
//	FE ED FE ED | version 4 | entries 4 | entry … | SHA-1 of password, "Mighty Aphrodite" and all that is before 20
//	entry: 1 key | alias | time 8 | length 4, encrypted key | certificates 4, certificate …
//	       2 trusted certificate | alias | time 8 | certificate
//	certificate: type ("X.509", from version 2 on) | length 4, DER
//
// Text is a length of two bytes and then modified UTF-8.

// jksReader reads the fields of a store; after the first that is cut off, failed is true and all are empty.
type jksReader struct {
	data   []byte
	failed bool
}

func (r *jksReader) bytes(n uint32) []byte {
	if r.failed || uint64(n) > uint64(len(r.data)) {
		r.failed = true
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *jksReader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *jksReader) text() string {
	if b := r.bytes(2); b != nil {
		return string(r.bytes(uint32(binary.BigEndian.Uint16(b))))
	}
	return ""
}

func (r *jksReader) certificate(version uint32) []byte {
	if version >= 2 {
		r.text()
	}
	return r.bytes(r.uint32())
}

// decodeJKS reads a store. Without a password its integrity is not checked, as in Java.
func decodeJKS(data []byte, password, keyPassword sasl.Secret) (Contents, error) {
	cutOff := fail("is the file complete?", "the JKS file is cut off or malformed")
	if len(data) < 12+sha1.Size {
		return Contents{}, cutOff
	}
	body, digest := data[:len(data)-sha1.Size], data[len(data)-sha1.Size:]
	if !password.IsZero() {
		sum := sha1.Sum(append(append(utf16BE(password.Reveal()), "Mighty Aphrodite"...), body...)) // #nosec G401 -- the format's own
		if subtle.ConstantTimeCompare(sum[:], digest) == 0 {
			return Contents{}, fail("is the password right, and the file complete?", "the password does not open the JKS file, or it was changed")
		}
	}
	r := &jksReader{data: body}
	r.bytes(4)
	version, entries := r.uint32(), r.uint32()
	if version < 1 || version > 2 {
		return Contents{}, fail("", "version %d of JKS is not known", version)
	}
	var c Contents
	for n := uint32(0); n < entries && !r.failed; n++ {
		tag, alias := r.uint32(), r.text()
		r.bytes(8)
		switch {
		case r.failed:
		case tag == 2:
			if der := r.certificate(version); !r.failed {
				c.add(der, int(n)+1)
			}
		case tag == 1:
			key, err := r.key(version, alias, keyPassword)
			if err != nil {
				return Contents{}, err
			}
			c.Keys = append(c.Keys, key)
		default:
			return Contents{}, fail("turn it into PKCS12 with keytool -importkeystore", "entry %d of the JKS file has the unknown type %d", n+1, tag)
		}
	}
	if r.failed || len(r.data) > 0 {
		return Contents{}, cutOff
	}
	return c, nil
}

// key reads the rest of a key's entry. Without a password the key is nil: a trust store may hold keys, of which only the
// certificates count.
func (r *jksReader) key(version uint32, alias string, password sasl.Secret) (Key, error) {
	k := Key{Alias: alias}
	encrypted := r.bytes(r.uint32())
	for n := r.uint32(); n > 0 && !r.failed; n-- {
		der := r.certificate(version)
		if r.failed {
			break
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return Key{}, fail("", "a certificate of the entry %q can't be read: %v", alias, err)
		}
		k.Certificates = append(k.Certificates, cert)
	}
	if r.failed || password.IsZero() {
		return k, nil // decodeJKS reports it
	}
	var err error
	k.Private, err = jksKey(encrypted, alias, password)
	return k, err
}

// jksKey opens Java's key protector: the key is combined with a stream of SHA-1 sums, of the password and the sum before.
func jksKey(der []byte, alias string, password sasl.Secret) (crypto.Signer, error) {
	var k encryptedKey
	rest, err := asn1.Unmarshal(der, &k)
	if err != nil || len(rest) > 0 || k.Algorithm.Algorithm.String() != "1.3.6.1.4.1.42.2.17.1.1" || len(k.Data) < 2*sha1.Size {
		return nil, fail("turn the file into PKCS12 with keytool -importkeystore", "the key of the entry %q is not protected as JKS does it", alias)
	}
	secret := utf16BE(password.Reveal())
	sum, check := k.Data[:sha1.Size], k.Data[len(k.Data)-sha1.Size:]
	plain := make([]byte, len(k.Data)-2*sha1.Size)
	for i := range plain {
		if i%sha1.Size == 0 {
			next := sha1.Sum(append(secret[:len(secret):len(secret)], sum...)) // #nosec G401 -- the format's own
			sum = next[:]
		}
		plain[i] = k.Data[sha1.Size+i] ^ sum[i%sha1.Size]
	}
	want := sha1.Sum(append(secret[:len(secret):len(secret)], plain...)) // #nosec G401 -- the format's own
	if subtle.ConstantTimeCompare(want[:], check) == 0 {
		return nil, fail("is ssl.key.password right?", "the password does not open the key of the entry %q", alias)
	}
	return parsePKCS8(plain)
}
