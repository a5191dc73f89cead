package lint

import (
	"fmt"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A comment on a function says what it does, with a verb, as Go's own packages do: "size returns the length". "size is the length" is for a
// function that only returns a field or a constant. Words that belong to no one's English but ours are rare.

// maxNouns is the largest share, in per cent, of function comments of the form "x is" in a package where the function does more than return
// a field or a constant. In Go's own packages and in those that are models for this one it is less than ten.
const maxNouns = 10

// maxDialect is the largest number of words of the dialect for a thousand lines of comments.
const maxDialect = 20

var dialect = regexp.MustCompile(`(?i)\b(told|tells?|nobody|somebody|everybody|whoever|whatever|anew|fate|company|for good|for ever|comes? about|of no use|so (many|far))\b`)

// few is a number of faults that a small package may have, as its share says little.
const few = 3

// account counts what the comments of one package have.
type account struct {
	functions, nouns []string // places of function comments, and of those of the form "x is"
	lines            int
	words            []string
}

// English finds packages whose comments have too many functions that "are" something, or too many words of the dialect. The tests of a package
// are counted apart. Generated files are left out, and so is the list of words itself.
func English(t *Tree) []string {
	packages := map[string]*account{}
	for _, s := range t.sources {
		if s.nested || ast.IsGenerated(s.ast) || s.name == "internal/lint/english.go" {
			continue
		}
		name := s.dir
		if s.test {
			name += ", tests"
		}
		if packages[name] == nil {
			packages[name] = &account{}
		}
		packages[name].count(t, s)
	}
	var faults []string
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		a := packages[dir]
		if n := len(a.nouns); n > few && n*100 > len(a.functions)*maxNouns {
			faults = append(faults, fmt.Sprintf("%s: %d of %d function comments say what the function is, not what it does; at most %d %% may: %s",
				dir, n, len(a.functions), maxNouns, strings.Join(a.nouns, ", ")))
		}
		if n := len(a.words); n > few && n*1000 > a.lines*maxDialect {
			faults = append(faults, fmt.Sprintf("%s: %d words of the dialect in %d lines of comments, at most %d in 1,000: %s",
				dir, n, a.lines, maxDialect, strings.Join(a.words, ", ")))
		}
	}
	return faults
}

// count adds the comments of a file.
func (a *account) count(t *Tree, s *source) {
	for _, d := range s.ast.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Doc == nil {
			continue
		}
		a.functions = append(a.functions, t.at(f))
		first := strings.Fields(f.Doc.Text())
		if len(first) > 1 && first[0] == f.Name.Name && (first[1] == "is" || first[1] == "are") && !returnsSimple(f) {
			a.nouns = append(a.nouns, t.at(f))
		}
	}
	for _, group := range s.ast.Comments {
		text := group.Text()
		a.lines += strings.Count(text, "\n")
		for _, word := range dialect.FindAllString(text, -1) {
			a.words = append(a.words, fmt.Sprintf("%s %q", t.at(group), word))
		}
	}
}

// returnsSimple reports whether a function only returns fields, elements or constants.
func returnsSimple(f *ast.FuncDecl) bool {
	if f.Body == nil || len(f.Body.List) != 1 {
		return false
	}
	r, ok := f.Body.List[0].(*ast.ReturnStmt)
	return ok && !slices.ContainsFunc(r.Results, func(e ast.Expr) bool { return !simple(e) })
}

func simple(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident, *ast.BasicLit:
		return true
	case *ast.SelectorExpr:
		return simple(e.X)
	case *ast.StarExpr:
		return simple(e.X)
	case *ast.IndexExpr:
		return simple(e.X) && simple(e.Index)
	}
	return false
}
