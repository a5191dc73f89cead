package main

import (
	"strings"
	"testing"

	"github.com/quill-kafka/quill/examples/internal/demo"
	"github.com/stretchr/testify/require"
)

func TestPartitionZeroIsForUrgentRecords(t *testing.T) {
	var out strings.Builder
	require.NoError(t, demo.Run(t.Context(), "", &out, run))
	require.Contains(t, out.String(), "partition 0: 100 records\n")
	require.Contains(t, out.String(), "partition 5: ")
	require.NotContains(t, out.String(), "partition -1")
}
