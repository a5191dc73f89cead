package lint

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheFastPathIsInlined(t *testing.T) {
	faults, err := Inlined("../..")
	require.NoError(t, err)
	require.Empty(t, faults)
}

func TestACallThatIsNotInlinedIsFound(t *testing.T) {
	var report strings.Builder
	for _, want := range inlined[1:] {
		report.WriteString("./" + want.file + ":10:20: inlining call to " + want.callee + "\n")
	}
	first := "./" + inlined[0].file + ":1:2: inlining call to " + inlined[0].callee + "\n"
	require.Empty(t, notInlined(first+report.String()))
	require.Len(t, notInlined(report.String()), 1)
	require.Contains(t, notInlined(report.String())[0], inlined[0].callee)
	require.Len(t, notInlined("./other.go:1:2: inlining call to "+inlined[0].callee+"\n"+report.String()), 1, "in another file")
	require.Len(t, notInlined(""), len(inlined))
}
