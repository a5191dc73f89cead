package lint

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// mostDesignWords keeps internal/DESIGN.md at two pages, the picture aside: what is longer is not read before a change.
const mostDesignWords = 1300

var (
	testName   = regexp.MustCompile(`\bTest[A-Z]\w*`)
	quotedFile = regexp.MustCompile("`([\\w/]+\\.go)`")
	picture    = regexp.MustCompile(`(?s)<!-- picture.*<!-- end of picture -->`)
)

// Notices checks what the pages for people say about the sources: each test that they name, or the beginning of its name, and each file
// is there; and DESIGN.md is as short as it says.
func Notices(t *Tree) ([]string, error) {
	var tests []string
	for _, s := range t.sources {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test && f.Recv == nil {
				tests = append(tests, f.Name.Name)
			}
		}
	}
	var faults []string
	for _, page := range t.files {
		if path.Ext(page) != ".md" || path.Base(page) == "CHANGELOG.md" || t.inNested(page) {
			continue
		}
		text, err := t.read(page)
		if err != nil {
			return nil, err
		}
		for _, name := range testName.FindAllString(text, -1) {
			if !slices.ContainsFunc(tests, func(test string) bool { return strings.HasPrefix(test, name) }) {
				faults = append(faults, fmt.Sprintf("%s: there is no test %s", page, name))
			}
		}
		for _, file := range quotedFile.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(t.files, file[1]) {
				faults = append(faults, fmt.Sprintf("%s: there is no file %s", page, file[1]))
			}
		}
		if words := len(strings.Fields(picture.ReplaceAllString(text, ""))); path.Base(page) == "DESIGN.md" && words > mostDesignWords {
			faults = append(faults, fmt.Sprintf("%s has %d words beside the picture, at most %d are two pages: rules belong in INVARIANTS.md", page, words, mostDesignWords))
		}
	}
	return faults, nil
}
