package lint

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// forbidden is what no file of the repository may contain. The patterns are written so that they do not match themselves.
var forbidden = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`(^|[^\w.}/-])/(wor[k]|roo[t]|hom[e]|User[s]|tm[p]|privat[e])/`), "names a path of some machine"},
	{regexp.MustCompile(`\.\./share[d]\b`), "names a path outside the repository"},
	{regexp.MustCompile(`(proxy|sum)\.golang\.org|(repo1?|central)\.(maven|sonatype)\.|registry\.npmjs\.|\bpypi\.org|pythonhosted\.org|\bcrates\.io|\b(deb|security)\.debian\.org`), "names a package registry: the clients know theirs"},
	{regexp.MustCompile(`\b(TOD[O]|FIXM[E])\b`), "is work left behind: do it or open an issue"},
	{regexp.MustCompile(`(?m)^(<<<<<<<|>>>>>>>) `), "is left from a merge"},
}

// Text looks for forbidden words in every text file.
func Text(t *Tree) ([]string, error) {
	var faults []string
	for _, name := range t.files {
		text, err := t.read(name)
		if err != nil {
			return nil, err
		}
		if strings.Contains(text, "\x00") {
			continue // not text
		}
		for _, f := range forbidden {
			for _, at := range f.pattern.FindAllStringIndex(text, -1) {
				line := 1 + strings.Count(text[:at[0]], "\n")
				faults = append(faults, fmt.Sprintf("%s:%d: %q %s", name, line, strings.TrimSpace(text[at[0]:at[1]]), f.why))
			}
		}
	}
	return faults, nil
}

func (t *Tree) read(name string) (string, error) {
	text, err := fs.ReadFile(t.fsys, name)
	return string(text), err
}
