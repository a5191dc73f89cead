package oauthbearer

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/network/sasl"
)

// Assertion is a JWT by which a client shows who it is, in place of a secret or as a grant (RFC 7523). Assert
// returns one for one request; it may block until ctx ends.
type Assertion interface {
	Assert(ctx context.Context) (sasl.Secret, error)
}

// AssertionFile is an assertion that something else writes to a file. The file is read again when it has
// changed. Kafka: sasl.oauthbearer.assertion.file. It is used as a pointer.
type AssertionFile struct {
	Path string

	cache cachedFile[sasl.Secret]
}

// Assert returns the assertion in the file.
func (a *AssertionFile) Assert(context.Context) (sasl.Secret, error) {
	assertion, err := a.cache.get(a.Path, checkedJWT)
	if err != nil {
		return sasl.Secret{}, fmt.Errorf("reading the assertion's file %w", err)
	}
	return assertion, nil
}

// SignedAssertion makes assertions and signs them with a private key. It is used as a pointer.
type SignedAssertion struct {
	// Algorithm is RS256, with an RSA key, or ES256, with a key on the curve P-256.
	// Kafka: sasl.oauthbearer.assertion.algorithm. If empty, RS256.
	Algorithm string
	// KeyFile is a PEM file with the key, which is read again when it has changed.
	// Kafka: sasl.oauthbearer.assertion.private.key.file.
	KeyFile string
	// Passphrase opens a key that is encrypted. Kafka: sasl.oauthbearer.assertion.private.key.passphrase.
	Passphrase sasl.Secret

	// Issuer, Subject and Audience are the claims iss, sub and aud; empty ones are left out.
	// Kafka: sasl.oauthbearer.assertion.claim.iss, .sub and .aud.
	Issuer, Subject, Audience string
	// TemplateFile is a JSON file {"header": {…}, "payload": {…}} with further headers and claims; its claims replace
	// those above. It is read again when it has changed. Kafka: sasl.oauthbearer.assertion.template.file.
	TemplateFile string

	// Expires is how long an assertion is good, up to a day. Kafka: sasl.oauthbearer.assertion.claim.exp.seconds.
	// If zero, 300s; if negative, no time.
	Expires time.Duration
	// NotBefore is how long before now it becomes good, up to an hour, for clocks that differ.
	// Kafka: sasl.oauthbearer.assertion.claim.nbf.seconds. If zero, 60s; if negative, none.
	NotBefore time.Duration
	// ID gives each assertion a claim jti of its own. Kafka: sasl.oauthbearer.assertion.claim.jti.include.
	ID bool

	key      cachedFile[crypto.Signer]
	template cachedFile[template]
}

// template is what a template file holds.
type template struct {
	Header  map[string]any `json:"header"`
	Payload map[string]any `json:"payload"`
}

// Assert makes an assertion.
func (a *SignedAssertion) Assert(context.Context) (sasl.Secret, error) {
	key, err := a.key.get(a.KeyFile, a.readKey)
	if err != nil {
		return sasl.Secret{}, fmt.Errorf("reading the private key for assertions %w", err)
	}
	header, payload, err := a.parts(time.Now())
	if err != nil {
		return sasl.Secret{}, err
	}
	content, err := encodePart(header)
	if err != nil {
		return sasl.Secret{}, err
	}
	body, err := encodePart(payload)
	if err != nil {
		return sasl.Secret{}, err
	}
	content += "." + body
	signature, err := sign(key, content)
	if err != nil {
		return sasl.Secret{}, fmt.Errorf("signing an assertion: %w", err)
	}
	return sasl.NewSecret(content + "." + base64.RawURLEncoding.EncodeToString(signature)), nil
}

// parts returns header and payload in Java's order of precedence: the fields' claims, then the file's, then those of the time.
func (a *SignedAssertion) parts(now time.Time) (header, payload map[string]any, err error) {
	header, payload = map[string]any{}, map[string]any{}
	for name, value := range map[string]string{"iss": a.Issuer, "sub": a.Subject, "aud": a.Audience} {
		if value != "" {
			payload[name] = value
		}
	}
	if a.TemplateFile != "" {
		t, err := a.template.get(a.TemplateFile, readTemplate)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the template for assertions %w", err)
		}
		maps.Copy(header, t.Header)
		maps.Copy(payload, t.Payload)
	}
	header["alg"], header["typ"] = a.algorithm(), "JWT"
	seconds := now.Unix()
	payload["iat"] = seconds
	payload["exp"] = seconds + int64(orDefault(a.Expires, 5*time.Minute)/time.Second)
	payload["nbf"] = seconds - int64(orDefault(a.NotBefore, time.Minute)/time.Second)
	if a.ID {
		payload["jti"] = newID()
	}
	return header, payload, nil
}

func (a *SignedAssertion) algorithm() string { return strings.ToUpper(cmp.Or(a.Algorithm, "RS256")) }

// readTemplate keeps numbers as they are written.
func readTemplate(content []byte) (template, error) {
	var t template
	d := json.NewDecoder(bytes.NewReader(content))
	d.UseNumber()
	if err := d.Decode(&t); err != nil {
		return t, errors.New(`it is not JSON of the form {"header": {…}, "payload": {…}}`)
	}
	return t, nil
}

// newID returns a random UUID (version 4), as Java's jti.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// readKey reads the key, and checks that it fits the algorithm.
func (a *SignedAssertion) readKey(content []byte) (crypto.Signer, error) {
	key, err := readPrivateKey(content, a.Passphrase)
	if err != nil {
		return nil, err
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if a.algorithm() == "RS256" {
			return k, nil
		}
	case *ecdsa.PrivateKey:
		if a.algorithm() == "ES256" && k.Curve == elliptic.P256() {
			return k, nil
		}
	}
	switch a.algorithm() {
	case "RS256":
		return nil, errors.New("the algorithm RS256 needs an RSA key")
	case "ES256":
		return nil, errors.New("the algorithm ES256 needs a key on the curve P-256")
	}
	return nil, fmt.Errorf("the algorithm %s is neither RS256 nor ES256", foreign.Quote(a.algorithm()))
}

// sign returns the signature as JWTs have it: for ES256 both numbers in 32 bytes each (RFC 7518 §3.4).
func sign(key crypto.Signer, content string) ([]byte, error) {
	sum := sha256.Sum256([]byte(content))
	if k, ok := key.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			return nil, err
		}
		signature := make([]byte, 64)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signature, nil
	}
	return key.Sign(rand.Reader, sum[:], crypto.SHA256)
}
