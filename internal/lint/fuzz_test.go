package lint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFuzzTargetsWithoutACorpusAreFound(t *testing.T) {
	// Indented, so that .ci/run takes none of them for a target of this package.
	const text = `package a

 func FuzzBare(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) {}) }
 func FuzzKept(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) {}) }
 func FuzzAdds(f *testing.F) { f.Add("x"); f.Fuzz(func(t *testing.T, b string) {}) }
 func FuzzCalls(f *testing.F) { model.fuzz(f) }
func (m model) fuzz(f *testing.F) { seed(f); m.fuzz(nil) }
func seed(f *testing.F) { f.Add("x") }
`
	faults := Fuzz(plant(t, map[string]string{"b/a_test.go": text, "b/testdata/fuzz/FuzzKept/1": "x", "b/testdata/fuzz/FuzzBareFoot/1": "x"}))
	require.Equal(t, []string{"b/a_test.go:3: FuzzBare has no examples: call f.Add, or keep some in testdata/fuzz"}, faults)
}
