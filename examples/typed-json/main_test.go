package main

import (
	"strings"
	"testing"

	"github.com/quill-kafka/quill/examples/internal/demo"
	"github.com/stretchr/testify/require"
)

func TestTypedJSONSendsOrdersAndTombstone(t *testing.T) {
	var out strings.Builder
	require.NoError(t, demo.Run(t.Context(), "", &out, run))
	require.Contains(t, out.String(), "offset 0, in ")
	require.Contains(t, out.String(), "at offset 1\n")
	require.Contains(t, out.String(), "1000 more went to 6 partitions")
}
