package sasl

import (
	"crypto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzScramServerFirst takes any first message of a node: a proof is made only for one that is as RFC 5802 says.
func FuzzScramServerFirst(f *testing.F) {
	f.Add([]byte("r=Nn,s=c2FsdA==,i=16"))
	f.Add([]byte("m=x,r=Nn,s=c2FsdA==,i=16,x=y"))
	f.Fuzz(func(t *testing.T, message []byte) {
		m := &Scram{Hash: crypto.SHA256, MinIterations: 2, MaxIterations: 16}
		s := newScramSession(m, Credentials{Username: "u", Password: NewSecret(secretText)}, "N")
		response, done, err := s.Next(t.Context(), message)
		require.False(t, done)
		if err != nil {
			require.Nil(t, response)
			require.Less(t, len(err.Error()), 1200)
			requirePrintable(t, err.Error())
			return
		}
		require.True(t, strings.HasPrefix(string(response), "c=biws,r=N"))
		require.True(t, strings.HasPrefix(string(message), "r=N"))
		require.Empty(t, leaks(string(response)))
	})
}

// FuzzScramServerFinal takes any last message of a node: only the one right signature ends the exchange well.
func FuzzScramServerFinal(f *testing.F) {
	v := vectors[0]
	f.Add([]byte(v.serverFinal))
	f.Add([]byte("e=invalid-proof"))
	m := &Scram{Hash: v.hash}
	f.Fuzz(func(t *testing.T, message []byte) {
		s := newScramSession(m, Credentials{Username: v.username, Password: NewSecret(v.password)}, v.nonce)
		_, _, err := s.Next(t.Context(), []byte(v.server))
		require.NoError(t, err)
		response, done, err := s.Next(t.Context(), message)
		require.Nil(t, response)
		text := string(message)
		require.Equal(t, text == v.serverFinal || strings.HasPrefix(text, v.serverFinal+",") && done, done)
		require.Equal(t, done, err == nil)
		if err != nil {
			require.Less(t, len(err.Error()), 1200)
			requirePrintable(t, err.Error())
		}
	})
}

// FuzzOAuthBearerChallenge takes any answer of a node to a token.
func FuzzOAuthBearerChallenge(f *testing.F) {
	f.Add([]byte(`{"status":"invalid_token","scope":"a","openid-configuration":"https://idp"}`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, message []byte) {
		s := &oauthBearerSession{}
		response, done, err := s.Next(t.Context(), message)
		require.Equal(t, len(message) == 0, done)
		require.Equal(t, done, err == nil)
		if err != nil {
			require.Equal(t, []byte{1}, response)
			require.Less(t, len(err.Error()), 3*1200)
			requirePrintable(t, err.Error())
		}
	})
}

// requirePrintable makes sure that a text can't forge a line of a log or steer a terminal.
func requirePrintable(t *testing.T, text string) {
	t.Helper()
	for _, r := range strings.ReplaceAll(text, "…", "") {
		if r < ' ' || r > '~' {
			t.Fatalf("%q has %q", text, r)
		}
	}
}
