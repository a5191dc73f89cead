package lint

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

// Fuzz finds fuzz targets that begin with nothing: neither does a call of Add, in the target or in what it calls in its package,
// give them examples, nor a directory of testdata/fuzz.
func Fuzz(t *Tree) []string {
	var faults []string
	for dir, functions := range t.testFunctions() {
		for name, f := range functions {
			if !strings.HasPrefix(name, "Fuzz") || addsExamples(f, functions, map[string]bool{name: true}) || t.holds(path.Join(dir, "testdata", "fuzz", name)) {
				continue
			}
			faults = append(faults, fmt.Sprintf("%s: %s has no examples: call f.Add, or keep some in testdata/fuzz", t.at(f), name))
		}
	}
	return faults
}

// holds reports whether there are files in a directory.
func (t *Tree) holds(dir string) bool {
	return slices.ContainsFunc(t.files, func(f string) bool { return within(dir, f) })
}

// testFunctions returns the functions of tests by directory and name. Of methods of the same name one stands for all.
func (t *Tree) testFunctions() map[string]map[string]*ast.FuncDecl {
	all := map[string]map[string]*ast.FuncDecl{}
	for _, s := range t.sources {
		if !s.test {
			continue
		}
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				if all[s.dir] == nil {
					all[s.dir] = map[string]*ast.FuncDecl{}
				}
				all[s.dir][f.Name.Name] = f
			}
		}
	}
	return all
}

// addsExamples reports whether a function calls Add, or another of its package that does.
func addsExamples(f *ast.FuncDecl, functions map[string]*ast.FuncDecl, seen map[string]bool) (adds bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return !adds
		}
		name := ""
		switch fn := call.Fun.(type) {
		case *ast.Ident:
			name = fn.Name
		case *ast.SelectorExpr:
			name = fn.Sel.Name
		}
		if name == "Add" {
			adds = true
		} else if callee := functions[name]; callee != nil && !seen[name] {
			seen[name] = true
			adds = adds || addsExamples(callee, functions, seen)
		}
		return !adds
	})
	return adds
}
