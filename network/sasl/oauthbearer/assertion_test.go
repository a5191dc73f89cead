package oauthbearer

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/network/sasl"
	"github.com/stretchr/testify/require"
)

// writePEM writes a key as PKCS#8, and returns its path.
func writePEM(t *testing.T, path string, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return path
}

func newECKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}

// opened returns the parts of an assertion and whether the key signed it, computed without the code that makes it.
func opened(t *testing.T, assertion sasl.Secret, key crypto.PublicKey) (header, payload map[string]any, signed bool) {
	t.Helper()
	parts := strings.Split(assertion.Reveal(), ".")
	require.Len(t, parts, 3)
	for i, into := range []*map[string]any{&header, &payload} {
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, into))
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	switch k := key.(type) {
	case *rsa.PublicKey:
		return header, payload, rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], signature) == nil
	case *ecdsa.PublicKey:
		require.Len(t, signature, 64)
		return header, payload, ecdsa.Verify(k, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	return header, payload, false
}

func TestAssertionsAreSignedByTheKeyOfTheFile(t *testing.T) {
	dir := t.TempDir()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey := newECKey(t, elliptic.P256())
	rsaFile, ecFile := writePEM(t, filepath.Join(dir, "rsa"), rsaKey), writePEM(t, filepath.Join(dir, "ec"), ecKey)
	older := filepath.Join(dir, "older")
	require.NoError(t, os.WriteFile(older, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}), 0o600))
	for algorithm, c := range map[string]struct {
		file   string
		public crypto.PublicKey
	}{"": {rsaFile, rsaKey.Public()}, "rs256": {rsaFile, rsaKey.Public()}, "RS256": {older, rsaKey.Public()}, "ES256": {ecFile, ecKey.Public()}} {
		synctest.Test(t, func(t *testing.T) {
			a := &SignedAssertion{Algorithm: algorithm, KeyFile: c.file, Issuer: "i", Subject: "s", Audience: "a"}
			assertion, err := a.Assert(t.Context())
			require.NoError(t, err)
			header, payload, signed := opened(t, assertion, c.public)
			require.True(t, signed, algorithm)
			require.Equal(t, map[string]any{"alg": strings.ToUpper(cmp.Or(algorithm, "RS256")), "typ": "JWT"}, header)
			now := float64(time.Now().Unix())
			require.Equal(t, map[string]any{"iss": "i", "sub": "s", "aud": "a", "iat": now, "exp": now + 300, "nbf": now - 60}, payload)
		})
	}
}

func TestTemplatesComeBetweenClaimsAndTime(t *testing.T) {
	dir := t.TempDir()
	key := newECKey(t, elliptic.P256())
	file, template := writePEM(t, filepath.Join(dir, "key"), key), filepath.Join(dir, "template")
	require.NoError(t, os.WriteFile(template, []byte(`{"header":{"kid":"k","alg":"none"},"payload":{"sub":"from file","exp":1,"big":12345678901234567890,"list":["x"]}}`), 0o600))
	a := &SignedAssertion{Algorithm: "ES256", KeyFile: file, Subject: "from field", Issuer: "i", TemplateFile: template, ID: true, Expires: -1, NotBefore: time.Hour}
	assertion, err := a.Assert(t.Context())
	require.NoError(t, err)
	header, payload, signed := opened(t, assertion, key.Public())
	require.True(t, signed)
	require.Equal(t, map[string]any{"kid": "k", "alg": "ES256", "typ": "JWT"}, header)
	require.Equal(t, "from file", payload["sub"])
	require.Equal(t, "i", payload["iss"])
	require.Equal(t, payload["iat"], payload["exp"])
	require.Equal(t, 3600.0, payload["iat"].(float64)-payload["nbf"].(float64))
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, payload["jti"])
	body, _ := base64.RawURLEncoding.DecodeString(strings.Split(assertion.Reveal(), ".")[1])
	require.Contains(t, string(body), `"big":12345678901234567890`)

	require.NoError(t, os.WriteFile(template, []byte(`{"payload":{"sub":"changed"}}`), 0o600))
	assertion, err = a.Assert(t.Context())
	require.NoError(t, err)
	_, payload, _ = opened(t, assertion, key.Public())
	require.Equal(t, "changed", payload["sub"])

	require.NoError(t, os.WriteFile(template, []byte(`{"payload":[secret`), 0o600))
	_, err = a.Assert(t.Context())
	require.EqualError(t, err, `reading the template for assertions "`+template+`": it is not JSON of the form {"header": {…}, "payload": {…}}`)
}

// testdata/encrypted.pem: openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes256 -passout pass:pa55phrase
func TestAnEncryptedKeyIsOpenedByItsPassphrase(t *testing.T) {
	a := &SignedAssertion{KeyFile: "testdata/encrypted.pem", Passphrase: sasl.NewSecret("pa55phrase")}
	assertion, err := a.Assert(t.Context())
	require.NoError(t, err)
	key, err := readPrivateKey(mustRead(t, "testdata/encrypted.pem"), a.Passphrase)
	require.NoError(t, err)
	_, _, signed := opened(t, assertion, key.Public())
	require.True(t, signed)
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return content
}

func TestAKeyIsReadAgainWhenItsFileChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	first, second := newECKey(t, elliptic.P256()), newECKey(t, elliptic.P256())
	a := &SignedAssertion{Algorithm: "ES256", KeyFile: writePEM(t, file, first)}
	assertion, err := a.Assert(t.Context())
	require.NoError(t, err)
	_, _, signed := opened(t, assertion, first.Public())
	require.True(t, signed)
	writePEM(t, file, second)
	later := time.Now().Add(time.Minute)
	require.NoError(t, os.Chtimes(file, later, later))
	assertion, err = a.Assert(t.Context())
	require.NoError(t, err)
	_, _, signed = opened(t, assertion, second.Public())
	require.True(t, signed)
}

func TestKeysThatDoNotFitSaySo(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	ec := writePEM(t, filepath.Join(dir, "ec"), newECKey(t, elliptic.P256()))
	p384 := writePEM(t, filepath.Join(dir, "p384"), newECKey(t, elliptic.P384()))
	for _, c := range []struct{ algorithm, file, err, passphrase string }{
		{"RS256", ec, "the algorithm RS256 needs an RSA key", ""},
		{"ES256", p384, "the algorithm ES256 needs a key on the curve P-256", ""},
		{"HS256", ec, `the algorithm "HS256" is neither RS256 nor ES256`, ""},
		{"ES256", write("text", "s3cr3t"), "holds no PEM block", ""},
		{"ES256", write("broken", "-----BEGIN PRIVATE KEY-----\nczNjcjN0\n-----END PRIVATE KEY-----\n"), "the private key can't be read", ""},
		{"RS256", "testdata/encrypted.pem", "the private key is encrypted, and there is no password for it", ""},
		{"RS256", "testdata/encrypted.pem", "the private key can't be decrypted with the password", "s3cr3t"},
		{"ES256", filepath.Join(dir, "none"), "no such file or directory", ""},
		{"ES256", write("large", strings.Repeat("x", maxFile+1)), "is larger than 1 MiB", ""},
	} {
		_, err := (&SignedAssertion{Algorithm: c.algorithm, KeyFile: c.file, Passphrase: sasl.NewSecret(c.passphrase)}).Assert(t.Context())
		require.ErrorContains(t, err, c.err)
		require.ErrorContains(t, err, `reading the private key for assertions "`+c.file+`"`)
		require.NotContains(t, err.Error(), "s3cr3t")
	}
}

func TestFilesOfTokensAndAssertionsAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	read := map[string]func() (sasl.Secret, error){}
	f, a := &File{Path: file}, &AssertionFile{Path: file}
	read["token's"] = func() (sasl.Secret, error) { return f.Retrieve(t.Context()) }
	read["assertion's"] = func() (sasl.Secret, error) { return a.Assert(t.Context()) }
	for what, get := range read {
		_ = os.Remove(file)
		_, err := get()
		require.EqualError(t, err, `reading the `+what+` file "`+file+`" can't be read: no such file or directory`)
		for n := range 3 {
			token := jwtFor(time.Hour, n)
			require.NoError(t, os.WriteFile(file, []byte("\n"+token+" \n"), 0o600))
			later := time.Now().Add(time.Duration(n) * time.Minute)
			require.NoError(t, os.Chtimes(file, later, later))
			for range 2 {
				got, err := get()
				require.NoError(t, err)
				require.Equal(t, token, got.Reveal())
			}
		}
		for content, want := range map[string]string{"s3cr3t": "is no JWT", "a.b.": "is no JWT", "!.e30.x": "the token's header is not base64url", "e30.W10.x": "the token's payload is not a JSON object"} {
			require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
			_, err := get()
			require.ErrorContains(t, err, want, content)
			require.NotContains(t, err.Error(), "s3cr3t")
		}
	}
}

// Two writes within the resolution of the file system leave the same time behind, and tokens of one kind often have the same
// length: a file that was written just before it was read is read again.
func TestASecondWriteAtTheSameTimeIsSeen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	young := time.Now().Add(time.Hour) // as young as a file can be, however slow the machine
	f := &File{Path: file}
	for n := range 3 {
		token := jwtFor(time.Hour, n)
		require.NoError(t, os.WriteFile(file, []byte(token), 0o600))
		require.NoError(t, os.Chtimes(file, young, young))
		got, err := f.Retrieve(t.Context())
		require.NoError(t, err)
		require.Equal(t, token, got.Reveal())
	}
}

// Reading a pipe would not end.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	_, err := (&File{Path: t.TempDir()}).Retrieve(t.Context())
	require.ErrorContains(t, err, "is not a regular file")
}

// What ClientJwtValidator and ClaimValidationUtils do in Java.
func TestTokensAreLookedAtAsInJava(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		claims map[string]any
		err    string
	}{
		{map[string]any{"sub": "a", "exp": 5}, ""},
		{map[string]any{"sub": " a ", "exp": 5.5, "iat": 1, "scope": "x y"}, ""},
		{map[string]any{"sub": "a", "exp": 5, "scope": []any{"x", "y"}}, ""},
		{map[string]any{"sub": "a", "exp": 1e300}, ""},
		{map[string]any{"exp": 5}, `the token has no claim "sub" that is a text`},
		{map[string]any{"sub": " ", "exp": 5}, `the token has no claim "sub" that is a text`},
		{map[string]any{"sub": 5, "exp": 5}, `the token has no claim "sub" that is a text`},
		{map[string]any{"sub": "a"}, "the token has no claim exp"},
		{map[string]any{"sub": "a", "exp": "5"}, "the token's claim exp is no number of seconds since 1970"},
		{map[string]any{"sub": "a", "exp": -5}, "the token's claim exp is no number of seconds since 1970"},
		{map[string]any{"sub": "a", "exp": 5, "iat": -5}, "the token's claim iat is no number of seconds since 1970"},
		{map[string]any{"sub": "a", "exp": 5, "scope": []any{"x", "x"}}, `the token's claim "scope" has a scope that is empty`},
		{map[string]any{"sub": "a", "exp": 5, "scope": " "}, `the token's claim "scope" has a scope that is empty`},
	} {
		_, err := readJWT(jwtOf(c.claims), "sub", "scope", false)
		if c.err == "" {
			require.NoError(t, err, c.claims)
			continue
		}
		require.ErrorContains(t, err, c.err)
	}
	for _, token := range []string{"", "a", "a.b", "a.b.c.d", "..", "a.b.", ".e30.c"} {
		_, err := readJWT(token, "sub", "scope", false)
		require.ErrorIs(t, err, errNoJWT, token)
	}
	unsigned := strings.TrimSuffix(jwtOf(map[string]any{"sub": "a", "exp": 5}), "c2lnbmVk")
	_, err := readJWT(unsigned, "sub", "scope", false)
	require.ErrorIs(t, err, errNoJWT, "a token that nobody has signed is taken from nobody else")
	_, err = readJWT(unsigned, "sub", "scope", true)
	require.NoError(t, err)
}
