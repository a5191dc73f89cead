package metrics_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/quill-kafka/quill/metrics"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table of docs/metrics.md")

// TestMetricsAreDocumented: docs/metrics.md has them all, by group.
func TestMetricsAreDocumented(t *testing.T) {
	const file, begin, end = "../../../docs/metrics.md", "-update -->\n", "<!-- end of table -->"
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), begin)
	require.True(t, found)
	_, after, found := strings.Cut(rest, end)
	require.True(t, found)
	var b strings.Builder
	group := ""
	for m := range metrics.Known() {
		if m.Group != group {
			group = m.Group
			var tags []string
			for _, tag := range m.Tags {
				tags = append(tags, "`"+tag.Key+"`")
			}
			fmt.Fprintf(&b, "\n### %s\n\nTags: %s.\n\n| name | kind | unit | meaning |\n|---|---|---|---|\n", group, strings.Join(tags, ", "))
		}
		fmt.Fprintf(&b, "| `%s` | %v | %s | %s |\n", m.Name, m.Kind, m.Unit, m.Description)
	}
	b.WriteString("\n")
	want := before + begin + b.String() + end + after
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "go test ./internal/blackbox/metrics -run TestMetricsAreDocumented -update")
}
