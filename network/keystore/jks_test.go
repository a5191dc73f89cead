package keystore

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/network/sasl"
)

// The files are keytool's.
func TestJKSAsKeytoolWritesIt(t *testing.T) {
	for _, st := range []*Store{
		{Type: "JKS", File: samplePath("client.jks"), Password: changeit},
		{Type: "", File: samplePath("client.jks"), Password: changeit},
		{Type: "jks", File: samplePath("client.jks"), Password: changeit, KeyPassword: changeit},
		{Type: "PKCS12", File: samplePath("client.jks"), Password: changeit}, // Java's PKCS12 reads JKS as well
		{Type: "JKS", File: samplePath("keypass.jks"), Password: changeit, KeyPassword: sasl.NewSecret("keypass")},
	} {
		s, err := Open(Config{Own: st, Trust: &Store{File: samplePath("trust.jks"), Password: changeit}})
		require.NoError(t, err)
		config, err := s.TLS(t.Context())
		require.NoError(t, err)
		require.Equal(t, "quill test client", config.Certificates[0].Leaf.Subject.CommonName)
		require.Len(t, config.Certificates[0].Certificate, 2)
		require.Len(t, s.trust.anchors, 1)
	}
}

func TestJKSTrustStoreNeedsNoPassword(t *testing.T) {
	s, err := Open(Config{Trust: &Store{File: samplePath("trust.jks")}})
	require.NoError(t, err)
	require.Len(t, s.trust.anchors, 1)
	// The first certificate of a key is trusted as well, as by Java's PKIX trust manager; the key itself is not opened.
	s, err = Open(Config{Trust: &Store{File: samplePath("client.jks")}})
	require.NoError(t, err)
	require.Equal(t, "quill test client", s.trust.anchors[0].Subject.CommonName)
}

func TestJKSFaultsNameFileAndFix(t *testing.T) {
	wrong := sasl.NewSecret("keypass-secret")
	for want, cfg := range map[string]Config{
		`ssl.keystore.location "testdata/client.jks": the password does not open the JKS file`: {Own: &Store{File: samplePath("client.jks"), Password: wrong}},
		"is ssl.key.password right?":              {Own: &Store{File: samplePath("keypass.jks"), Password: changeit}},
		"holds no private key":                    {Own: &Store{File: samplePath("trust.jks"), Password: changeit}},
		`ssl.truststore.location "testdata/none"`: {Trust: &Store{File: samplePath("none")}},
		"is not a regular file":                   {Trust: &Store{File: "testdata"}},
		"its type is set to JKS; set the type to": {Trust: &Store{File: samplePath("ca.pem")}},
		"neither a JKS nor a PKCS12 file":         {Trust: &Store{File: "doc.go"}},
		`type "BKS" is not known`:                 {Trust: &Store{Type: "BKS", File: samplePath("trust.jks")}},
		"plugin/keystore":                         {Trust: &Store{Type: "JKS", File: samplePath("client.p12"), Password: changeit}},
	} {
		_, err := Open(cfg)
		requireFault(t, err, want)
	}
}

func TestJKSCutOffAnywhereIsAFault(t *testing.T) {
	data := sample(t, "client.jks")
	for n := range data {
		_, err := decodeJKS(data[:n], sasl.Secret{}, changeit)
		require.Error(t, err, n)
	}
	_, err := decodeJKS(data, changeit, changeit)
	require.NoError(t, err)
}
