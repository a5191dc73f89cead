package keystore

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/network/keystore"
	"github.com/quill-kafka/quill/network/sasl"
)

var changeit = sasl.NewSecret("changeit")

// The files are those of testdata/make.sh.
func TestKeyStoresOfOpenSSLAndKeytool(t *testing.T) {
	for _, file := range []string{"openssl3.p12", "legacy.p12", "descert.p12", "keytool.p12", "mixed.p12"} {
		for _, typ := range []string{"PKCS12", "pkcs12", "JKS", ""} { // Java's JKS reads PKCS12 as well
			s, err := keystore.Open(keystore.Config{Own: &keystore.Store{Type: typ, File: filepath.Join("testdata", file), Password: changeit}})
			require.NoError(t, err, "%s as %s", file, typ)
			config, err := s.TLS(t.Context())
			require.NoError(t, err)
			require.Len(t, config.Certificates, 1)
			require.Equal(t, "quill test client", config.Certificates[0].Leaf.Subject.CommonName)
			require.Len(t, config.Certificates[0].Certificate, 2, "with the authority's")
		}
	}
}

func TestTrustStoreOfKeytool(t *testing.T) {
	s, err := keystore.Open(keystore.Config{Trust: &keystore.Store{Type: "PKCS12", File: "testdata/trust.p12", Password: changeit}})
	require.NoError(t, err)
	config, err := s.TLS(t.Context())
	require.NoError(t, err)
	require.NotNil(t, config.RootCAs)
}

// S6: errors name file and fix, and no password.
func TestFaultsNameFileAndFix(t *testing.T) {
	wrong := sasl.NewSecret("wrong-secret")
	for want, cfg := range map[string]keystore.Config{
		`ssl.keystore.location "testdata/keytool.p12": the password does not open`: {Own: &keystore.Store{File: "testdata/keytool.p12", Password: wrong}},
		`ssl.truststore.location "testdata/trust.p12": the password does not open`: {Trust: &keystore.Store{File: "testdata/trust.p12", Password: wrong}},
		"set ssl.truststore.password": {Trust: &keystore.Store{File: "testdata/trust.p12"}},
		"leave ssl.key.password out":  {Own: &keystore.Store{File: "testdata/keytool.p12", Password: changeit, KeyPassword: wrong}},
		"private key missing":         {Own: &keystore.Store{File: "testdata/trust.p12", Password: changeit}},
		"keytool -importcert":         {Trust: &keystore.Store{File: "testdata/unmarked.p12", Password: changeit}},
		"trusted certificates alone":  {Trust: &keystore.Store{File: "testdata/mixed.p12", Password: changeit}},
	} {
		_, err := keystore.Open(cfg)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "wrong-secret")
		require.NotContains(t, err.Error(), "changeit")
	}
}

// One byte of the number of rounds is damaged: the file is refused, and not worked on for hours.
func TestDamagedNumberOfRoundsIsRefused(t *testing.T) {
	data, err := os.ReadFile("testdata/keytool.p12")
	require.NoError(t, err)
	at := bytes.LastIndex(data, []byte{0x02, 0x02, 0x27, 0x10}) // 10,000, the last value of the file
	require.Positive(t, at)
	damaged := append(slices.Clone(data[:at]), 0x02, 0x02, 0x27, 0x10)
	require.Equal(t, data, damaged)
	require.False(t, costly(data))
	huge := []byte{0x30, 0x06, 0x02, 0x04, 0x7f, 0xff, 0xff, 0xff}
	require.True(t, costly(huge))
	require.True(t, costly(data[:len(data)-1]))
	_, err = decode(huge, changeit, changeit)
	require.ErrorContains(t, err, "rounds")
}

func FuzzPKCS12(f *testing.F) {
	files, err := filepath.Glob("testdata/*.p12")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = decode(data, changeit, changeit)
		_, _ = decode(data, changeit, sasl.Secret{})
	})
}
