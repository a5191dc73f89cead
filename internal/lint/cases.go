package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// caseRange is a numbered list of cases that must all be tests: what a hostile node may say (H), Close and Flush (C), memory (M), security (S).
type caseRange struct {
	letter string
	last   int
}

var caseRanges = []caseRange{{"H", 75}, {"C", 18}, {"M", 12}, {"S", 21}}

// laterCases are those that can't be tests yet, with what they wait for.
var laterCases = map[string]string{}

// Cases finds the numbered cases that no test names. A test names a case in its own name, TestS7ScramNonceIsFresh, in its comment,
// in a comment within it, or at the beginning of a string, where tables have the names of their rows: "H21 empty list".
func Cases(t *Tree) []string {
	named := map[string]string{} // where
	for _, s := range t.sources {
		if s.test {
			s.cases(func(id string, n ast.Node) { named[id] = t.at(n) })
		}
	}
	var faults []string
	for _, r := range caseRanges {
		for i := range r.last {
			id := r.letter + strconv.Itoa(i+1)
			at, found := named[id]
			switch why, later := laterCases[id]; {
			case found && later:
				faults = append(faults, fmt.Sprintf("%s: case %s has a test: take it off the list of those that wait for %s", at, id, why))
			case !found && !later:
				faults = append(faults, "no test names case "+id)
			}
			delete(named, id)
		}
	}
	for id, at := range named {
		faults = append(faults, fmt.Sprintf("%s: there is no case %s", at, id))
	}
	slices.Sort(faults)
	return faults
}

var (
	caseID   = regexp.MustCompile(`\b[HCMS][1-9][0-9]?\b`)
	caseName = regexp.MustCompile(`^[HCMS][1-9][0-9]? `)
	caseFunc = regexp.MustCompile(`^Test([HCMS][1-9][0-9]?)[A-Z]`)
)

// cases calls visit for each case that a test file names.
func (s *source) cases(visit func(id string, n ast.Node)) {
	for _, d := range s.ast.Decls {
		f, ok := d.(*ast.FuncDecl)
		if ok {
			if name := caseFunc.FindStringSubmatch(f.Name.Name); name != nil {
				visit(name[1], f)
			}
		}
		for _, c := range s.ast.Comments {
			if !ok || !strings.HasPrefix(f.Name.Name, "Test") || f.Doc != c && (c.Pos() < f.Pos() || c.Pos() > f.End()) {
				continue
			}
			for _, id := range caseID.FindAllString(c.Text(), -1) {
				visit(id, c)
			}
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					if name := caseName.FindString(text); name != "" {
						visit(strings.TrimSpace(name), lit)
					}
				}
			}
			return true
		})
	}
}
