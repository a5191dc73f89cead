package keystore

import (
	"crypto"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/network/sasl"
)

// Every way in which openssl 1.0 to 3 writes a private key. S6: an error about a key has nothing of it.
func TestPrivateKeysAsOpenSSLWritesThem(t *testing.T) {
	files, err := filepath.Glob("testdata/pbes*.key")
	require.NoError(t, err)
	require.Greater(t, len(files), 10)
	files = append(files, "testdata/client.key", "testdata/pkcs1.key")
	chain := string(sample(t, "client.pem"))
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text := string(sample(t, filepath.Base(file))) + chain
			st := &Store{Type: "PEM", KeyPassword: changeit}
			c, err := st.decode([]byte(text), true)
			if strings.Contains(file, "RC2") {
				requireFault(t, err, "1.2.840.113549.1.12.1.6", "openssl pkcs8 -topk8")
				return
			}
			require.NoError(t, err)
			require.Len(t, c.Keys, 1)
			own := samplePublic(t).(interface{ Equal(crypto.PublicKey) bool })
			require.True(t, own.Equal(c.Keys[0].Private.Public()))
			certs, err := c.certificates()
			require.NoError(t, err)
			require.Len(t, certs, 1)

			if strings.HasPrefix(filepath.Base(file), "pbes") {
				_, err = (&Store{Type: "PEM", KeyPassword: sasl.NewSecret("keypass-secret")}).decode([]byte(text), true)
				requireFault(t, err, "ssl.key.password")
				_, err = (&Store{Type: "PEM"}).decode([]byte(text), true)
				requireFault(t, err, "set ssl.key.password", "is encrypted")
			}
		})
	}
}

func TestKeysThatCannotBeReadSayWhatToDo(t *testing.T) {
	for file, want := range map[string]string{
		"legacy.key": "Proc-Type: 4,ENCRYPTED",
		"scrypt.key": "not supported",
	} {
		_, err := (&Store{Type: "PEM", KeyPassword: changeit}).decode(sample(t, file), true)
		requireFault(t, err, want, "openssl pkcs8 -topk8 -v2 aes256")
	}
}

func TestECKeyAfterItsParameters(t *testing.T) {
	c, err := (&Store{Type: "PEM"}).decode(append(sample(t, "ec.key"), sample(t, "ec.pem")...), true)
	require.NoError(t, err)
	certs, err := c.certificates()
	require.NoError(t, err)
	require.Equal(t, "quill test client, EC", certs[0].Leaf.Subject.CommonName)
}

// In a .properties file a PEM value is one line, or several that a backslash joins; Java's PemParser takes any white space.
func TestPEMWithoutLineEnds(t *testing.T) {
	text := string(sample(t, "client.key")) + string(sample(t, "client.pem")) + string(sample(t, "ca.pem"))
	for name, change := range map[string]func(string) string{
		"as it is":      func(s string) string { return s },
		"CRLF":          func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"blanks":        func(s string) string { return strings.ReplaceAll(s, "\n", " ") },
		"nothing":       func(s string) string { return strings.ReplaceAll(s, "\n", "") },
		"no last":       func(s string) string { return strings.TrimRight(s, "\n") },
		"indented":      func(s string) string { return strings.ReplaceAll(s, "\n", "\n    ") },
		"text between":  func(s string) string { return "Bag Attributes\n    friendlyName: x\n" + s },
		"byte order":    func(s string) string { return "\xef\xbb\xbf" + s },
		"text at end":   func(s string) string { return s + "subject=CN = x\n" },
		"empty at ends": func(s string) string { return "\n\n" + s + "\n\n" },
	} {
		c, err := (&Store{Type: "PEM"}).decode([]byte(change(text)), true)
		require.NoError(t, err, name)
		require.Len(t, c.Keys, 1, name)
		require.Len(t, c.Trusted, 2, name)
	}
}

func TestMalformedPEMSaysWhereAndNotWhat(t *testing.T) {
	key, cert := string(sample(t, "client.key")), string(sample(t, "client.pem"))
	for want, text := range map[string]string{
		"has no END line":                key[:len(key)/2],
		"does not end in -----":          "-----BEGIN PRIVATE KEY\n" + key,
		"PEM block 1 (PRIVATE KEY)":      strings.Replace(key, "M", "*", 1),
		"holds no PEM block":             "changeit",
		"holds 2 private keys":           key + key + cert,
		"holds no private key":           cert,
		"is empty":                       "",
		"and no certificate":             key,
		"fits none of the certificates":  key + string(sample(t, "ec.pem")),
		"private key can't be read":      strings.Replace(key, key[30:90], "", 1) + cert,
		`in the form "FOO PRIVATE KEY"`:  strings.ReplaceAll(key, "PRIVATE", "FOO PRIVATE") + cert,
		"its type is set to PEM":         string(sample(t, "client.jks")),
		"is a JKS file":                  string(sample(t, "client.jks")),
		"is a PKCS12 file":               string(sample(t, "client.p12")),
		"certificate that can be used: ": key + strings.Replace(cert, "M", "N", 1),
	} {
		w := &watched{store: &Store{Type: "PEM"}, properties: ownProperties, keys: true}
		err := w.use([]byte(text))
		requireFault(t, err, want)
	}
}
