package sasl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/planted"
)

func TestPlainSendsItsThreeFields(t *testing.T) {
	s, initial, err := Plain("alice", "alice-secret").Start(t.Context(), Peer{})
	require.NoError(t, err)
	require.Equal(t, "\x00alice\x00alice-secret", string(initial), "RFC 4616 §4")
	response, done, err := s.Next(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, done)
	require.Nil(t, response)

	m := PlainFrom(func(_ context.Context, peer Peer) (Credentials, error) {
		return Credentials{Username: "tim", Password: NewSecret("tänstå " + peer.Host), AuthorizationID: "Ursel"}, nil
	})
	require.Equal(t, "PLAIN", m.Name())
	_, initial, err = m.Start(t.Context(), Peer{Host: "node-1"})
	require.NoError(t, err)
	require.Equal(t, "Ursel\x00tim\x00tänstå node-1", string(initial))
}

func TestCredentialsAreFetchedForEachAuthentication(t *testing.T) {
	calls := 0
	source := func(context.Context, Peer) (Credentials, error) {
		calls++
		return Credentials{Username: "u", Password: NewSecret(fmt.Sprint("password ", calls))}, nil
	}
	m := PlainFrom(source)
	for i := range 3 {
		_, initial, err := m.Start(t.Context(), Peer{})
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("\x00u\x00password %d", i+1), string(initial))
	}
}

// TestBadCredentialsAreNotSent has what can't be put into a message, or would be read as another one.
func TestBadCredentialsAreNotSent(t *testing.T) {
	for want, c := range map[string]Credentials{
		"the username is empty":                   {Password: NewSecret(secretText)},
		"the password is empty":                   {Username: "u"},
		"the username has a NUL":                  {Username: "u\x00", Password: NewSecret(secretText)},
		"the password has a NUL":                  {Username: "u", Password: NewSecret(secretText + "\x00")},
		"the authorization id has a NUL":          {Username: "u", Password: NewSecret(secretText), AuthorizationID: "a\x00b"},
		"the username is not valid UTF-8":         {Username: "u\xff", Password: NewSecret(secretText)},
		"the password is not valid UTF-8":         {Username: "u", Password: NewSecret(secretText + "\xff")},
		"the authorization id is not valid UTF-8": {Username: "u", Password: NewSecret(secretText), AuthorizationID: "\xff"},
	} {
		scram := ScramSHA512("", "")
		scram.Credentials = fixed(c)
		for _, m := range []Mechanism{PlainFrom(fixed(c)), scram} {
			s, initial, err := m.Start(t.Context(), Peer{})
			require.ErrorContains(t, err, m.Name()+": "+want)
			require.Empty(t, leaks(err.Error()))
			require.Nil(t, s)
			require.Nil(t, initial)
		}
	}
	_, _, err := PlainFrom(fixed(Credentials{Username: "u", Password: NewSecret(secretText), DelegationToken: true})).Start(t.Context(), Peer{})
	require.ErrorContains(t, err, "a delegation token can't be used")
	_, _, err = PlainFrom(nil).Start(t.Context(), Peer{})
	require.ErrorContains(t, err, "no credentials are configured")
	vault := errors.New("vault is sealed")
	_, _, err = PlainFrom(func(context.Context, Peer) (Credentials, error) { return Credentials{}, vault }).Start(t.Context(), Peer{})
	require.ErrorIs(t, err, vault)
	require.ErrorContains(t, err, "PLAIN: fetch credentials: ")
}

func bearer(token Token) Mechanism {
	return OAuthBearer(func(context.Context) (Token, error) { return token, nil })
}

func TestOAuthBearerSendsTokenAndExtensions(t *testing.T) {
	m := bearer(Token{Value: NewSecret("123.345.567")})
	require.Equal(t, "OAUTHBEARER", m.Name())
	s, initial, err := m.Start(t.Context(), Peer{})
	require.NoError(t, err)
	require.Equal(t, "n,,\x01auth=Bearer 123.345.567\x01\x01", string(initial))
	response, done, err := s.Next(t.Context(), []byte{})
	require.NoError(t, err)
	require.True(t, done)
	require.Nil(t, response)

	_, initial, err = bearer(Token{Value: NewSecret("a-._~+/b=="), Extensions: map[string]string{"logicalCluster": "lkc-1", "identityPoolId": "pool 1\t\r\n~!", "Z": "z=z"}}).Start(t.Context(), Peer{})
	require.NoError(t, err)
	require.Equal(t, "n,,\x01auth=Bearer a-._~+/b==\x01Z=z=z\x01identityPoolId=pool 1\t\r\n~!\x01logicalCluster=lkc-1\x01\x01", string(initial))
}

func TestOAuthBearerRefusesWhatItCantSend(t *testing.T) {
	for _, value := range []string{"", "=", "==", "a b", "a\x01auth=Bearer b", "a\n", "tök", "a=b", "a,b", `"a"`} {
		_, _, err := bearer(Token{Value: NewSecret(value)}).Start(t.Context(), Peer{})
		require.ErrorContains(t, err, "OAUTHBEARER: the token is empty, or has characters", value)
	}
	for name, value := range map[string]string{"": "v", "auth": "v", "a b": "v", "a1": "v", "a=b": "v", "a\x01": "v", "ä": "v", "empty": "", "control": "a\x01b", "del": "a\x7f", "wide": "ä", "nul": "\x00"} {
		_, _, err := bearer(Token{Value: NewSecret("t"), Extensions: map[string]string{name: value}}).Start(t.Context(), Peer{})
		require.ErrorContains(t, err, "extension", "%q=%q", name, value)
	}
	down := errors.New("token endpoint is down")
	_, _, err := OAuthBearer(func(context.Context) (Token, error) { return Token{}, down }).Start(t.Context(), Peer{})
	require.ErrorIs(t, err, down)
	require.ErrorContains(t, err, "OAUTHBEARER: fetch token: ")
	_, _, err = OAuthBearer(nil).Start(t.Context(), Peer{})
	require.ErrorContains(t, err, "no source of tokens")
}

func TestOAuthBearerTellsWhyATokenIsRefused(t *testing.T) {
	for challenge, want := range map[string]string{
		`{"status":"invalid_token"}`: `the node refuses the token: status "invalid_token"`,
		`{"status":"insufficient_scope","scope":"kafka","openid-configuration":"https://idp/.well-known"}`: `status "insufficient_scope", it wants the scope "kafka", see "https://idp/.well-known"`,
		`{"status":"a\nlevel=ERROR"}`: `status "a\nlevel=ERROR"`,
		`{"status":5}`:                `refuses the token: "{\"status\":5}"`,
		`{}`:                          `refuses the token: "{}"`,
		"no JSON \x1b[31m\xff":        `refuses the token: "no JSON \x1b[31m\xff"`,
		"\x01":                        `refuses the token: "\x01"`,
	} {
		s, _, err := bearer(Token{Value: NewSecret("t")}).Start(t.Context(), Peer{})
		require.NoError(t, err)
		response, done, err := s.Next(t.Context(), []byte(challenge))
		require.ErrorContains(t, err, want)
		require.Equal(t, "\x01", string(response), "RFC 7628 §3.2.3")
		require.False(t, done)
	}
	s, _, _ := bearer(Token{Value: NewSecret("t")}).Start(t.Context(), Peer{})
	_, _, err := s.Next(t.Context(), []byte(`{"status":"`+strings.Repeat("x\u202e", 1<<20)+`"}`))
	require.Less(t, len(err.Error()), 2000, "cut")
	require.NotContains(t, err.Error(), "\u202e", "quoted")
}

// TestH73OAuthChallengeLoop: a node that goes on asking gets one ^A and then nothing more.
func TestH73OAuthChallengeLoop(t *testing.T) {
	for _, first := range []string{`{"status":"invalid_token"}`, ""} {
		s, _, err := bearer(Token{Value: NewSecret("t")}).Start(t.Context(), Peer{})
		require.NoError(t, err)
		_, _, _ = s.Next(t.Context(), []byte(first))
		for range 100 {
			for _, challenge := range []string{`{"status":"invalid_token"}`, "", "\x01"} {
				response, done, err := s.Next(t.Context(), []byte(challenge))
				require.ErrorContains(t, err, "after the end of the exchange")
				require.Nil(t, response)
				require.False(t, done)
			}
		}
	}
}

// TestS11MechanismsKeepTheirSecrets prints the mechanisms and their sessions, as they begin and as they go on; TestS11ScramKeepsItsSecrets has SCRAM's keys.
func TestS11MechanismsKeepTheirSecrets(t *testing.T) {
	token := Token{Value: NewSecret(planted.Token), Extensions: map[string]string{"a": "b"}}
	c := Credentials{Username: "u", Password: NewSecret(secretText)}
	for _, v := range []any{token, &token, c, &c, struct {
		hidden Credentials
		token  Token
	}{c, token}} {
		require.Empty(t, secrets.FindIn(v))
	}
	for _, m := range []Mechanism{Plain("u", planted.Password), ScramSHA256("u", planted.Password), ScramSHA512("u", secretText), bearer(token)} {
		require.Empty(t, secrets.FindIn(m), m.Name())
		for _, challenge := range []string{"", "x", "r=abc,s=c2FsdA==,i=4096", `{"status":"invalid_token"}`, "e=other-error", "v=c2FsdA=="} {
			s, initial, err := m.Start(t.Context(), Peer{})
			require.NoError(t, err)
			require.Empty(t, secrets.FindIn(s), m.Name())
			if _, nonce, found := strings.Cut(string(initial), "r="); found {
				challenge = strings.Replace(challenge, "abc", nonce+"abc", 1)
			}
			for range 2 {
				_, _, err = s.Next(t.Context(), []byte(challenge))
				require.Empty(t, secrets.FindIn(s), "%s: %q", m.Name(), challenge)
				require.Empty(t, secrets.FindIn(err), "%s: %q", m.Name(), challenge)
			}
		}
	}
}
