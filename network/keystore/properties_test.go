package keystore

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func parseProperties(props map[string]string) (Config, []string, error) {
	return FromProperties(func(name string) (string, bool) {
		text, given := props[name]
		return text, given
	})
}

func TestPropertiesDefaultToKafkas(t *testing.T) {
	cfg, notes, err := parseProperties(nil)
	require.NoError(t, err)
	require.Empty(t, notes)
	require.Equal(t, Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13}, cfg)
}

// The rows are those of Java's DefaultSslEngineFactory, createKeystore and createTruststore.
func TestContradictionsAreRefusedAsInJava(t *testing.T) {
	for want, lines := range map[string]string{
		"ssl.keystore.key: can be used with PEM only":              "ssl.keystore.key=k ssl.keystore.certificate.chain=c",
		"ssl.keystore.key: is given without the certificate chain": "ssl.keystore.type=PEM ssl.keystore.key=k",
		"ssl.keystore.key: and ssl.keystore.location":              "ssl.keystore.type=PEM ssl.keystore.key=k ssl.keystore.certificate.chain=c ssl.keystore.location=f",
		"ssl.keystore.certificate.chain: is given without":         "ssl.keystore.type=PEM ssl.keystore.certificate.chain=c",
		"ssl.keystore.password: can't be used with PEM; leave":     "ssl.keystore.type=PEM ssl.keystore.location=f ssl.keystore.password=p",
		"ssl.keystore.password: can't be used with PEM":            "ssl.keystore.type=PEM ssl.keystore.key=k ssl.keystore.certificate.chain=c ssl.keystore.password=",
		"ssl.keystore.password: is given without a key store":      "ssl.keystore.password=p",
		"ssl.keystore.location: is given without its password":     "ssl.keystore.location=f",
		"ssl.truststore.certificates: can be used with PEM only":   "ssl.truststore.certificates=c",
		"ssl.truststore.certificates: and ssl.truststore.location": "ssl.truststore.type=PEM ssl.truststore.certificates=c ssl.truststore.location=f",
		"ssl.truststore.password: can't be used with PEM":          "ssl.truststore.type=PEM ssl.truststore.location=f ssl.truststore.password=p",
		"ssl.truststore.password: is given without a trust store":  "ssl.truststore.password=p",
		"ssl.keystore.location: is empty":                          "ssl.keystore.location=",
		`ssl.truststore.type: "pem" is not known; write PEM`:       "ssl.truststore.type=pem ssl.truststore.location=f",
		`ssl.enabled.protocols: "TLSv1.4" is no protocol`:          "ssl.enabled.protocols=TLSv1.2,TLSv1.4",
		"ssl.enabled.protocols: has an empty element":              "ssl.enabled.protocols=TLSv1.2,,TLSv1.3",
		"leave neither TLS 1.2 nor TLS 1.3; write":                 "ssl.enabled.protocols=TLSv1,TLSv1.1",
		"leave neither TLS 1.2 nor TLS 1.3":                        "ssl.enabled.protocols=TLSv1.3 ssl.protocol=TLSv1.2",
		"ssl.protocol: must be one of":                             "ssl.protocol=DTLS",
		`ssl.cipher.suites: "AES" is no cipher suite`:              "ssl.cipher.suites=AES",
		"ssl.cipher.suites: names none that Go has":                "ssl.cipher.suites=TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
		"ssl.cipher.suites: has none for the protocols":            "ssl.cipher.suites=TLS_AES_128_GCM_SHA256 ssl.enabled.protocols=TLSv1.2",
		`ssl.endpoint.identification.algorithm: "none"`:            "ssl.endpoint.identification.algorithm=none",
		"ssl.engine.factory.class: names a Java class; set":        "ssl.engine.factory.class=com.example.Factory",
	} {
		props := map[string]string{}
		for word := range strings.FieldsSeq(lines) {
			name, value, _ := strings.Cut(word, "=")
			props[name] = value
		}
		_, _, err := parseProperties(props)
		require.ErrorContains(t, err, want, lines)
		require.NotContains(t, err.Error(), "\n", "one fault")
	}
}

func TestWhatJavaTakesIsTaken(t *testing.T) {
	for _, lines := range []string{
		"ssl.truststore.location=f",
		"ssl.truststore.location=f ssl.truststore.password=p",
		"ssl.keystore.location=f ssl.keystore.password=p ssl.key.password=k ssl.keystore.type=PKCS12",
		"ssl.keystore.type=PEM ssl.keystore.location=f ssl.key.password=k",
		"ssl.key.password=k",
		"ssl.endpoint.identification.algorithm=HTTPS",
		"ssl.engine.factory.class=org.apache.kafka.common.security.ssl.DefaultSslEngineFactory",
		"ssl.protocol=TLS",
	} {
		props := map[string]string{}
		for word := range strings.FieldsSeq(lines) {
			name, value, _ := strings.Cut(word, "=")
			props[name] = value
		}
		_, notes, err := parseProperties(props)
		require.NoError(t, err, lines)
		require.Empty(t, notes)
	}
}

func TestAllFaultsAreReportedTogether(t *testing.T) {
	_, _, err := parseProperties(map[string]string{"ssl.truststore.password": "p", "ssl.keystore.password": "p", "ssl.protocol": "x"})
	all, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok)
	require.Len(t, all.Unwrap(), 3)
	for _, e := range all.Unwrap() {
		require.NotEmpty(t, e.(*Error).Property)
	}
}

func TestProtocolsAndSuitesBoundTheVersions(t *testing.T) {
	for _, row := range []struct {
		protocols, highest, suites string
		least, greatest            uint16
		notes                      int
	}{
		{"TLSv1.2,TLSv1.3", "TLSv1.3", "", tls.VersionTLS12, tls.VersionTLS13, 0},
		{"TLSv1.3,TLSv1.2", "TLS", "", tls.VersionTLS12, tls.VersionTLS13, 0},
		{"TLSv1.3", "TLSv1.3", "", tls.VersionTLS13, tls.VersionTLS13, 0},
		{"TLSv1.2", "TLSv1.3", "", tls.VersionTLS12, tls.VersionTLS12, 0},
		{"TLSv1.2,TLSv1.3", "TLSv1.2", "", tls.VersionTLS12, tls.VersionTLS12, 0},
		{"TLSv1,TLSv1.1,TLSv1.2", "TLSv1.3", "", tls.VersionTLS12, tls.VersionTLS12, 2},
		{"", "TLSv1.3", "", tls.VersionTLS12, tls.VersionTLS13, 0},
		{"TLSv1.2,TLSv1.3", "TLSv1.3", "TLS_AES_256_GCM_SHA384", tls.VersionTLS13, tls.VersionTLS13, 0},
		{"TLSv1.2,TLSv1.3", "TLSv1.3", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_DHE_RSA_WITH_AES_256_CBC_SHA", tls.VersionTLS12, tls.VersionTLS12, 1},
		{"TLSv1.2,TLSv1.3", "TLSv1.3", "TLS_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", tls.VersionTLS12, tls.VersionTLS13, 0},
		{"TLSv1.2", "TLSv1.3", "SSL_RSA_WITH_3DES_EDE_CBC_SHA", tls.VersionTLS12, tls.VersionTLS12, 0},
	} {
		cfg, notes, err := parseProperties(map[string]string{"ssl.enabled.protocols": row.protocols, "ssl.protocol": row.highest, "ssl.cipher.suites": row.suites})
		require.NoError(t, err, "%v", row)
		require.Equal(t, row.least, cfg.MinVersion, "%v", row)
		require.Equal(t, row.greatest, cfg.MaxVersion, "%v", row)
		require.Len(t, notes, row.notes, "%v", row)
	}
}
