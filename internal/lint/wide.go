package lint

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"unicode/utf8"
)

// A line that is wider than a screen beside another window is read by scrolling.

const (
	wideColumns = 140 // a tab counts as four
	// maxWide is how many wider lines there may be in the packages that are read most, tables aside.
	maxWide = 15
)

// narrowDirs are the packages whose lines are counted. wideTables are files of theirs whose rows are tables.
var (
	narrowDirs = []string{".", "network", "metadata"}
	wideTables = []string{"properties_table.go", "properties_sasl.go", "properties_ssl.go"}
)

// Wide finds the wide lines if there are too many of them. Tests, tables and generated files are left out.
func Wide(t *Tree) ([]string, error) {
	var wide []string
	for _, s := range t.sources {
		if s.test || s.nested || !slices.Contains(narrowDirs, s.dir) || slices.Contains(wideTables, s.name) || ast.IsGenerated(s.ast) {
			continue
		}
		text, err := t.read(s.name)
		if err != nil {
			return nil, err
		}
		for i, line := range strings.Split(text, "\n") {
			if n := utf8.RuneCountInString(line) + 3*strings.Count(line, "\t"); n > wideColumns {
				wide = append(wide, fmt.Sprintf("%s:%d: %d columns", s.name, i+1, n))
			}
		}
	}
	if len(wide) <= maxWide {
		return nil, nil
	}
	return append([]string{fmt.Sprintf("%d lines are wider than %d columns, at most %d may be: break some", len(wide), wideColumns, maxWide)}, wide...), nil
}
