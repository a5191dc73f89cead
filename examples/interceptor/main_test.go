package main

import (
	"strings"
	"testing"

	"github.com/quill-kafka/quill/examples/internal/demo"
	"github.com/stretchr/testify/require"
)

func TestInterceptorSeesEveryOutcome(t *testing.T) {
	var out strings.Builder
	require.NoError(t, demo.Run(t.Context(), "", &out, run))
	require.Equal(t, "1000 traces begun; 1000 records accepted, 1 failed\n", out.String())
}
