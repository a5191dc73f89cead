package sasl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Credentials are what [Plain] and [Scram] authenticate with.
type Credentials struct {
	Username string
	Password Secret

	// AuthorizationID is the identity to act as. It is nearly always empty: Kafka accepts none but the
	// username itself.
	AuthorizationID string

	// DelegationToken says that Username is the id of a delegation token and Password its HMAC, in
	// base64 as Kafka prints it (KIP-48). It is for SCRAM only. Java: ScramLoginModule's tokenauth.
	DelegationToken bool
}

// CredentialsFunc returns the credentials for one authentication, so that they can change without a
// restart. It is called for each connection and each re-authentication, also concurrently, and may
// block until ctx ends.
type CredentialsFunc func(ctx context.Context, peer Peer) (Credentials, error)

// fixed returns credentials that do not change.
func fixed(c Credentials) CredentialsFunc {
	return func(context.Context, Peer) (Credentials, error) { return c, nil }
}

// fetch asks for the credentials and checks what every mechanism wants of them.
func (f CredentialsFunc) fetch(ctx context.Context, mechanism string, peer Peer) (Credentials, error) {
	if f == nil {
		return Credentials{}, fmt.Errorf("%s: no credentials are configured", mechanism)
	}
	c, err := f(ctx, peer)
	if err != nil {
		return Credentials{}, fmt.Errorf("%s: fetch credentials: %w", mechanism, err)
	}
	for _, field := range []struct{ name, text string }{
		{"username", c.Username}, {"password", c.Password.Reveal()}, {"authorization id", c.AuthorizationID},
	} {
		if err := checkText(field.text, field.name != "authorization id"); err != nil {
			return Credentials{}, fmt.Errorf("%s: the %s %w", mechanism, field.name, err)
		}
	}
	return c, nil
}

// prepared returns the credentials with prepare applied to username and password.
func (c Credentials) prepared(prepare func(string) (string, error)) (Credentials, error) {
	username, err := prepare(c.Username)
	if err == nil {
		err = checkText(username, true)
	}
	if err != nil {
		return c, fmt.Errorf("the username can't be prepared: %w", err)
	}
	password, err := prepare(c.Password.Reveal())
	if err == nil {
		err = checkText(password, true)
	}
	if err != nil {
		return c, fmt.Errorf("the password can't be prepared: %w", err)
	}
	c.Username, c.Password = username, NewSecret(password)
	return c, nil
}

// checkText checks a text that is to go into a message of SASL. The error never cites it.
func checkText(text string, required bool) error {
	switch {
	case required && text == "":
		return errors.New("is empty")
	case strings.ContainsRune(text, 0):
		return errors.New("has a NUL character, which SASL can't send") // in PLAIN it would end the field (RFC 4616 §2)
	case !utf8.ValidString(text):
		return errors.New("is not valid UTF-8")
	}
	return nil
}

// mostCited is how many bytes of a foreign text go into an error.
const mostCited = 256

// cite returns a text of the node as it goes into an error: cut, and quoted, so that it can't forge log lines.
func cite(text []byte) string {
	if len(text) <= mostCited {
		return strconv.QuoteToASCII(string(text))
	}
	return strconv.QuoteToASCII(strings.ToValidUTF8(string(text[:mostCited]), "")) + "…"
}
