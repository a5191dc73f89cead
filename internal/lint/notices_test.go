package lint

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoticesThatAreFalseAreFound(t *testing.T) {
	faults, err := Notices(plant(t, map[string]string{
		"a.go":               "package quill\n",
		"a_test.go":          "package quill\n\nfunc TestOrderIsKept() {}\n\nfunc helper() {}\n",
		"internal/DESIGN.md": "`a.go` TestOrderIsKept `b.go` TestGone <!-- picture: x -->" + strings.Repeat(" o", mostDesignWords) + "<!-- end of picture -->" + strings.Repeat(" word", mostDesignWords-4),
		"docs/long.md":       "go test -run TestOrder" + strings.Repeat(" word", mostDesignWords),
		"x/DESIGN.md":        strings.Repeat(" word", mostDesignWords+1),
		"CHANGELOG.md":       "TestOfLongAgo",
	}))
	require.NoError(t, err)
	require.Equal(t, []string{
		"internal/DESIGN.md: there is no test TestGone",
		"internal/DESIGN.md: there is no file b.go",
		"x/DESIGN.md has 1301 words beside the picture, at most 1300 are two pages: rules belong in INVARIANTS.md",
	}, faults)
}
