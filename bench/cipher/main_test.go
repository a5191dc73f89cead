package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The command starts itself as the process that reads: the test's program does the same.
func TestMain(m *testing.M) {
	for _, arg := range os.Args[1:] {
		if strings.HasPrefix(arg, "-sink=") {
			main()
			return
		}
	}
	m.Run()
}

func TestLimitsAreMeasuredWithTheSizesOfARun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(`{"workload":"W7T","peer":"quill","ok":true,"r":{"rpcs":100},"null":{"records":10,"bytes":3330}}
{"workload":"W7T","peer":"franz","ok":true,"r":{"rpcs":50},"null":{"records":10,"bytes":4000}}
{"workload":"W7T","peer":"franz","ok":false,"r":{"rpcs":9},"null":{"records":10,"bytes":4000}}
{"workload":"W7","peer":"quill","ok":true,"r":{"rpcs":9},"null":{"records":10,"bytes":10}}
`), 0o600))
	var out strings.Builder
	require.NoError(t, run(file, 1, 0.05, &out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 2+3)
	require.Contains(t, lines[0], "| quill, share of TLS | franz, share of TLS |")
	require.Contains(t, lines[2], "| W1bT | 107 |")
	require.Regexp(t, `^\| W7T \| 333 \|.* 0\.1 k, 0 % \| 0\.1 k, 0 % \|$`, lines[4])
}
