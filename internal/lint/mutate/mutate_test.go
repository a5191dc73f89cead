package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The code changes; a mutation that can't be made any more would be missed only when somebody runs
// them all.
func TestEveryMutationCanBeMade(t *testing.T) {
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	names := map[string]bool{}
	for _, m := range mutations {
		require.False(t, names[m.name], "%s is there twice", m.name)
		names[m.name] = true
		_, err := m.apply(root)
		require.NoError(t, err, m.name)
		require.NotEqual(t, m.old, m.new, m.name)
		require.NotEmpty(t, m.breaks, m.name)
	}
	require.GreaterOrEqual(t, len(mutations), 12)
}
