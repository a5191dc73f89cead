package main

import (
	"strings"
	"testing"

	"github.com/quill-kafka/quill/examples/internal/demo"
	"github.com/stretchr/testify/require"
)

func TestQuickstartDeliversAll(t *testing.T) {
	var out strings.Builder
	require.NoError(t, demo.Run(t.Context(), "", &out, run))
	require.Contains(t, out.String(), "delivered 100000 of 100000 records")
	require.Contains(t, out.String(), "latency")
}
