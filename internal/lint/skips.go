package lint

import (
	"fmt"
	"go/ast"
	"slices"
	"strconv"
)

// Skips finds tests that are skipped without notice: a function that calls Skip must ask for CI as well, because there a missing tool is
// a failure.
func Skips(t *Tree) []string {
	var faults []string
	for _, s := range t.sources {
		if !importsPackage(s.ast, "testing") {
			continue
		}
		asks := map[string]bool{} // by function
		s.enclosing(func(fn string, n ast.Node) {
			asks[fn] = asks[fn] || asksForCI(n)
		})
		s.enclosing(func(fn string, n ast.Node) {
			if skips(n) && !asks[fn] {
				faults = append(faults, fmt.Sprintf("%s: %s skips without asking for CI", t.at(n), fn))
			}
		})
	}
	return faults
}

func importsPackage(f *ast.File, name string) bool {
	return slices.ContainsFunc(f.Imports, func(s *ast.ImportSpec) bool { return s.Path.Value == strconv.Quote(name) })
}

// skips finds calls of the Skip methods of a test, by the names such values have.
func skips(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, f.Sel.Name) {
		return false
	}
	x, ok := f.X.(*ast.Ident)
	return ok && slices.Contains([]string{"t", "b", "f", "tb"}, x.Name)
}

// asksForCI finds os.Getenv("CI").
func asksForCI(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || f.Sel.Name != "Getenv" && f.Sel.Name != "LookupEnv" {
		return false
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	return ok && lit.Value == `"CI"`
}
