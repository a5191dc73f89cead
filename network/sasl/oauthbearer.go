package sasl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Token is what [OAuthBearer] authenticates with.
type Token struct {
	// Value is the token in the form of the "Authorization: Bearer" header: a JWT, or an opaque text
	// of letters, digits and "-._~+/", with "=" at its end.
	Value Secret

	// Extensions go along with the token (KIP-342), such as logicalCluster and identityPoolId for
	// Confluent Cloud. Names are letters; values are printable ASCII and white space; "auth" is reserved.
	Extensions map[string]string

	// ExpiresAt is when the token ends; zero if that isn't known. The mechanism sends the token
	// whatever it says, since the node's clock decides; it is for what keeps tokens fresh.
	ExpiresAt time.Time
}

// TokenFunc returns the token for one authentication. It is called for each connection and each
// re-authentication, also concurrently, and may block until ctx ends: a func that asks a token
// endpoint should keep what it got as long as that is good.
type TokenFunc func(ctx context.Context) (Token, error)

// OAuthBearer returns the mechanism OAUTHBEARER (RFC 7628, KIP-255). The token is sent as it is: use it
// over TLS.
func OAuthBearer(token TokenFunc) Mechanism { return oauthBearer{token} }

type oauthBearer struct{ token TokenFunc }

// Name implements [Mechanism].
func (oauthBearer) Name() string { return "OAUTHBEARER" }

// Start implements [Mechanism].
func (m oauthBearer) Start(ctx context.Context, _ Peer) (Session, []byte, error) {
	if m.token == nil {
		return nil, nil, errors.New("OAUTHBEARER: no source of tokens is configured")
	}
	token, err := m.token(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("OAUTHBEARER: fetch token: %w", err)
	}
	initial, err := token.initial()
	if err != nil {
		return nil, nil, fmt.Errorf("OAUTHBEARER: %w", err)
	}
	return &oauthBearerSession{}, initial, nil
}

// initial returns the client's first message. Java: OAuthBearerClientInitialResponse.
//
//	n,,^Aauth=Bearer TOKEN^Aname=value^A^A
func (t Token) initial() ([]byte, error) {
	value := t.Value.Reveal()
	if !validToken(value) {
		return nil, errors.New("the token is empty, or has characters that a bearer token can't have (RFC 6750 §2.1)")
	}
	if err := t.CheckExtensions(); err != nil {
		return nil, err
	}
	message := append(make([]byte, 0, len(value)+128), "n,,\x01auth=Bearer "+value...)
	for _, name := range slices.Sorted(maps.Keys(t.Extensions)) {
		message = append(message, "\x01"+name+"="+t.Extensions[name]...)
	}
	return append(message, 1, 1), nil
}

// CheckExtensions returns why the extensions can't be sent, if so. An authentication checks them by itself;
// this is for those who want to know before.
func (t Token) CheckExtensions() error {
	for _, name := range slices.Sorted(maps.Keys(t.Extensions)) {
		if err := checkExtension(name, t.Extensions[name]); err != nil {
			return err
		}
	}
	return nil
}

// validToken reports whether value is a b64token of RFC 6750, which is what Kafka's brokers take.
func validToken(value string) bool {
	text := strings.TrimRight(value, "=")
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return !isLetter(r) && !('0' <= r && r <= '9') && !strings.ContainsRune("-._~+/", r)
	})
}

func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// checkExtension has the rules of RFC 7628 §3.1 and of Java's validateExtensions.
func checkExtension(name, value string) error {
	switch {
	case name == "auth":
		return errors.New(`the extension name "auth" is reserved for the token`)
	case name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isLetter(r) }):
		return fmt.Errorf("the extension name %s has characters other than letters", cite([]byte(name)))
	case value == "" || strings.ContainsFunc(value, func(r rune) bool { return (r < ' ' || r > '~') && !strings.ContainsRune("\t\r\n", r) }):
		return fmt.Errorf("the value of the extension %q is empty, or has characters other than printable ASCII and white space", name)
	}
	return nil
}

type oauthBearerSession struct{ ended bool }

// Next implements [Session]. An empty message of the node is its agreement. Another one is why it refuses the token; the client
// has to answer with a single ^A before the node ends the exchange (RFC 7628 §3.2.3).
func (s *oauthBearerSession) Next(_ context.Context, challenge []byte) (response []byte, done bool, err error) {
	switch {
	case s.ended:
		return nil, false, errors.New("OAUTHBEARER: the node goes on after the end of the exchange")
	case len(challenge) == 0:
		s.ended = true
		return nil, true, nil
	}
	s.ended = true
	return []byte{1}, false, fmt.Errorf("OAUTHBEARER: the node refuses the token: %s", refusal(challenge))
}

// refusal returns what a node says about a token, in words if it is the JSON of RFC 7628 §3.2.2.
func refusal(challenge []byte) string {
	var answer struct {
		Status string `json:"status"`
		Scope  string `json:"scope"`
		Config string `json:"openid-configuration"`
	}
	if json.Unmarshal(challenge, &answer) != nil || answer.Status == "" {
		return cite(challenge)
	}
	text := "status " + cite([]byte(answer.Status))
	if answer.Scope != "" {
		text += ", it wants the scope " + cite([]byte(answer.Scope))
	}
	if answer.Config != "" {
		text += ", see " + cite([]byte(answer.Config))
	}
	return text
}
