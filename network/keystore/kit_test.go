package keystore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/network/sasl"
)

// changeit is the password of everything in testdata.
var changeit = sasl.NewSecret("changeit")

// sample returns a file of testdata, which testdata/make.sh makes.
func sample(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	require.NoError(t, err)
	return data
}

func samplePath(file string) string { return filepath.Join("testdata", file) }

// identity is a certificate with its key.
type identity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serials int64

// newIdentity makes a certificate that issuer signed, or itself if that is nil.
func newIdentity(t testing.TB, issuer *identity, change func(*x509.Certificate)) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serials++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serials), Subject: pkix.Name{CommonName: "name " + big.NewInt(serials).String()},
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC),
		DNSNames: []string{"localhost"}, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(template)
	}
	signer := &identity{template, key}
	if issuer != nil {
		signer = issuer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, key.Public(), signer.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &identity{cert, key}
}

func (id *identity) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.cert.Raw}))
}

func (id *identity) keyPEM(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(id.key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (id *identity) tls() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{id.cert.Raw}, PrivateKey: id.key, Leaf: id.cert}
}

// handshake lets a client with the configuration meet a node, and returns the errors of both.
func handshake(t testing.TB, client, node *tls.Config) (clientErr, nodeErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // not net.Pipe, where two sides that both write wait for each other
	require.NoError(t, err)
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer a.Close()
	b, err := l.Accept()
	require.NoError(t, err)
	defer b.Close()
	ended := make(chan error, 1)
	go func() { // ends with the handshake, at the latest when b is closed
		conn := tls.Server(b, node)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte{1}) // with TLS 1.3 the client's handshake is over before its certificate is checked
		}
		b.Close()
		ended <- err
	}()
	client = client.Clone()
	client.ServerName = "localhost"
	conn := tls.Client(a, client)
	if clientErr = conn.Handshake(); clientErr == nil {
		_, clientErr = conn.Read(make([]byte, 1))
	}
	a.Close()
	return clientErr, <-ended
}

// requireFault checks that err is one of this package, with the texts, and that it holds nothing of the secrets.
func requireFault(t testing.TB, err error, texts ...string) {
	t.Helper()
	var fault *Error
	require.ErrorAs(t, err, &fault)
	for _, text := range texts {
		require.ErrorContains(t, err, text)
	}
	require.NotContains(t, err.Error(), "changeit")
	require.NotContains(t, err.Error(), "keypass-secret")
	for line := range strings.Lines(string(sample(t, "client.key"))) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-") {
			require.NotContains(t, err.Error(), line)
		}
	}
}

// public returns the key that the samples are about.
func samplePublic(t testing.TB) crypto.PublicKey {
	t.Helper()
	block, _ := pem.Decode(sample(t, "client.pem"))
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return cert.PublicKey
}
