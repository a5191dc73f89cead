package oauthbearer

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/quill-kafka/quill/network/sasl"
)

// ClientCredentials asks an endpoint for a token with the grant client_credentials (KIP-768): Java's
// ClientCredentialsJwtRetriever. It is used as a pointer.
type ClientCredentials struct {
	Endpoint

	// ClientID is the client's name at the identity provider. Kafka: sasl.oauthbearer.client.credentials.client.id.
	ClientID string
	// ClientSecret is its secret. Kafka: sasl.oauthbearer.client.credentials.client.secret.
	ClientSecret sasl.Secret
	// InBody sends id and secret as fields of the form (client_secret_post), and not in the header, as Java always does.
	InBody bool
	// URLEncode URL-encodes id and secret in the header, as RFC 6749 §2.3.1 demands and few endpoints do (KIP-1025).
	// Kafka: sasl.oauthbearer.header.urlencode.
	URLEncode bool

	// Assertion, if not nil, stands for the secret (KIP-1258, RFC 7523 §2.2). The ClientID may then be empty.
	Assertion Assertion
}

// Retrieve asks for a token, and again if that may help.
func (c *ClientCredentials) Retrieve(ctx context.Context) (sasl.Secret, error) {
	r, err := c.request(ctx)
	if err != nil {
		return sasl.Secret{}, err
	}
	return c.post(ctx, r)
}

func (c *ClientCredentials) request(ctx context.Context) (request, error) {
	id, secret := strings.TrimSpace(c.ClientID), strings.TrimSpace(c.ClientSecret.Reveal())
	if c.Assertion != nil {
		return c.asserted(ctx, id)
	}
	if id == "" || secret == "" {
		return request{}, errors.New("the grant client_credentials needs a client id and a client secret or an assertion: set sasl.oauthbearer.client.credentials.client.id and .client.secret")
	}
	r := request{form: "grant_type=client_credentials" + c.scope(), secrets: echoes(id, secret)}
	if c.InBody {
		r.form += "&client_id=" + url.QueryEscape(id) + "&client_secret=" + url.QueryEscape(secret)
		return r, nil
	}
	if c.URLEncode {
		id, secret = url.QueryEscape(id), url.QueryEscape(secret)
	}
	r.basic, r.user, r.pass = true, id, sasl.NewSecret(secret)
	return r, nil
}

func (c *ClientCredentials) asserted(ctx context.Context, id string) (request, error) {
	assertion, err := c.Assertion.Assert(ctx)
	if err != nil {
		return request{}, err
	}
	form := "client_assertion_type=" + url.QueryEscape("urn:ietf:params:oauth:client-assertion-type:jwt-bearer") +
		"&client_assertion=" + url.QueryEscape(assertion.Reveal()) + "&grant_type=client_credentials"
	if id != "" {
		form += "&client_id=" + url.QueryEscape(id)
	}
	return request{form: form + encodedScope(c.Scope), secrets: []string{assertion.Reveal()}}, nil
}

// scope is the form's field for the scope. Java sends it as it is unless header.urlencode is set, so that some have encoded it
// in their files: only what cannot stand in a form is encoded then.
func (c *ClientCredentials) scope() string {
	scope := strings.TrimSpace(c.Scope)
	if c.URLEncode || scope == "" {
		return encodedScope(scope)
	}
	var b strings.Builder
	for i := range len(scope) {
		if ch := scope[i]; ch <= ' ' || ch >= 0x7f || strings.IndexByte("&=#;", ch) >= 0 {
			b.WriteString(url.QueryEscape(scope[i : i+1]))
			continue
		}
		b.WriteByte(scope[i])
	}
	return "&scope=" + b.String()
}

func encodedScope(scope string) string {
	if scope = strings.TrimSpace(scope); scope == "" {
		return ""
	}
	return "&scope=" + url.QueryEscape(scope)
}

// echoes are the forms in which an answer may repeat a secret.
func echoes(id, secret string) []string {
	escaped := url.QueryEscape(secret)
	return []string{
		base64.StdEncoding.EncodeToString([]byte(id + ":" + secret)),
		base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id) + ":" + escaped)),
		secret, escaped,
	}
}

// JWTBearer asks an endpoint for a token with an assertion as the grant (KIP-1139, RFC 7523 §2.1): Java's
// JwtBearerJwtRetriever. It is used as a pointer.
type JWTBearer struct {
	Endpoint

	Assertion Assertion
}

// Retrieve asks for a token, and again if that may help.
func (j *JWTBearer) Retrieve(ctx context.Context) (sasl.Secret, error) {
	if j.Assertion == nil {
		return sasl.Secret{}, errors.New("the grant jwt-bearer needs an assertion: set sasl.oauthbearer.assertion.private.key.file or sasl.oauthbearer.assertion.file")
	}
	assertion, err := j.Assertion.Assert(ctx)
	if err != nil {
		return sasl.Secret{}, fmt.Errorf("making an assertion: %w", err)
	}
	form := "grant_type=" + url.QueryEscape("urn:ietf:params:oauth:grant-type:jwt-bearer") + "&assertion=" + url.QueryEscape(assertion.Reveal()) + encodedScope(j.Scope)
	return j.post(ctx, request{form: form, secrets: []string{assertion.Reveal()}})
}
