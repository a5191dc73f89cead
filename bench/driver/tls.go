package driver

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// OnlyAES128 makes c, which is for a client or for a server, end every connection that is not TLS 1.3 with AES-128-GCM, and
// returns it. Go does not let a program choose among the cipher suites of TLS 1.3; it takes this one if both sides have
// instructions for AES. If one has none, the run fails, which is better than a figure of another cipher.
func OnlyAES128(c *tls.Config) *tls.Config {
	c.MinVersion = tls.VersionTLS13
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if s.Version != tls.VersionTLS13 || s.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
			return fmt.Errorf("%s with %s, want TLS 1.3 with TLS_AES_128_GCM_SHA256", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite))
		}
		return nil
	}
	return c
}

// clientTLS returns what a client needs that trusts the authority in a PEM file; nil without a file.
func clientTLS(authority string) (*tls.Config, error) {
	if authority == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, fmt.Errorf("-tls: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("-tls: %s has no certificate", authority)
	}
	return OnlyAES128(&tls.Config{RootCAs: pool}), nil
}
