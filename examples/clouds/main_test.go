package main

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
)

func TestEachCloudsWayWorksInGoAndByFile(t *testing.T) {
	for name, value := range environment {
		t.Setenv(name, value) // which puts back what was there
	}
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	names, err := fs.Glob(files, "*.properties")
	require.NoError(t, err)
	require.Len(t, names, 8)
	for _, name := range names {
		if name = strings.TrimSuffix(name, ".properties"); name != "msk-iam" { // plugin/awsmsk tests that one
			require.Contains(t, out.String(), name+": sent in Go and by file\n")
		}
	}
}

// What a file says is all known, and none of it is without effect.
func TestFilesHaveNoPropertyThatIsNotUsed(t *testing.T) {
	for name, value := range environment {
		t.Setenv(name, value)
	}
	names, err := fs.Glob(files, "*.properties")
	require.NoError(t, err)
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		require.NoError(t, err)
		if strings.Contains(string(text), "/etc/kafka") {
			continue // files that are not here
		}
		cfg, err := quill.LoadProperties(strings.NewReader(string(text)))
		require.NoError(t, err, name)
		require.Empty(t, cfg.Warnings(), name)
	}
}
