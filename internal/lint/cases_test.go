package lint

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNumberedCasesHaveTests(t *testing.T) { report(t, Cases(repository(t))) }

func TestCasesAreFoundWhereTestsNameThem(t *testing.T) {
	const text = `package a

// The story of H1 to H3 is no test.

// H4, H5: named above.
func TestAbove() {
	_ = 1 // H6: behind a line
	// C1: inside
}

// H7 belongs to a helper.
func help() {
	// H8 too
}

var table = []string{"H9 a row", "H10", "not H11 here", "M3 another"}

func TestS7IsNamedByItsFunction() {}

// S8 is not.
func helpTestS9() {}

// H70: this one waits for something.
func TestLater() {}

// H76, M13: unheard of.
func TestUnknown() {}
`
	laterCases["H70"], laterCases["H68"] = "something", "something else"
	t.Cleanup(func() { clear(laterCases) })
	faults := Cases(plant(t, map[string]string{"a_test.go": text, "a.go": "package a\n\n// H12\nfunc TestNotATest() {}\n"}))
	for _, id := range []string{"H4", "H5", "H6", "H9", "C1", "M3", "S7"} {
		require.NotContains(t, faults, "no test names case "+id)
	}
	for _, id := range []string{"H1", "H3", "H7", "H8", "H10", "H11", "H12", "C2", "M12", "S8", "S9"} {
		require.Contains(t, faults, "no test names case "+id)
	}
	has := func(part string) bool {
		return slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, part) })
	}
	require.True(t, has("a_test.go:23: case H70 has a test"))
	require.True(t, has("there is no case H76"))
	require.True(t, has("there is no case M13"))
	require.False(t, has("H68"))
}
