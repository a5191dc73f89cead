package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoSendFailsWhileCertificatesAreReplaced(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, 6, strings.Count(out.String(), ": 100 records sent\n"))
	require.True(t, strings.HasSuffix(out.String(), "client trusts the new one only: 100 records sent\n"))
}
