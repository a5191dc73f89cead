package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSecuredIsLetInAndRefused(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3)
	require.Equal(t, "written to orders-0 at offset 0", lines[0])
	require.Regexp(t, `^wrong password: .*SCRAM-SHA-512.*SASL_AUTHENTICATION_FAILED`, lines[1])
	require.Regexp(t, `^another authority: .*CN=quilltest CA`, lines[2])
	require.NotContains(t, out.String(), "a guess")
	require.NotContains(t, out.String(), "alice-secret")
}
