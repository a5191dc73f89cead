package lint

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFewLinesAreWide(t *testing.T) {
	faults, err := Wide(repository(t))
	require.NoError(t, err)
	report(t, faults)
}

func TestWideLinesAreCounted(t *testing.T) {
	line := func(n int) string { return "// " + strings.Repeat("é", n-3) + "\n" }
	files := map[string]string{
		"network/a.go":      "package network\n\n" + line(140) + strings.Repeat(line(141), maxWide),
		"network/a_test.go": "package network\n\n" + line(141),
		"protocol/a.go":     "package protocol\n\n" + line(141),
	}
	faults, err := Wide(plant(t, files))
	require.NoError(t, err)
	require.Empty(t, faults)
	files["network/b.go"] = "package network\n\nvar _ =\t" + strings.Repeat("1", 140-8+1-3) + "\n"
	faults, err = Wide(plant(t, files))
	require.NoError(t, err)
	require.Len(t, faults, maxWide+2)
	require.Equal(t, "network/b.go:3: 141 columns", faults[len(faults)-1])
}
