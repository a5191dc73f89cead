package lint

import (
	"fmt"
	"go/ast"
	"slices"
)

// selfExplaining are methods whose interface says what they do.
var selfExplaining = []string{"Error", "Is", "String", "Unwrap"}

// Docs finds exported names without a comment in the public packages, and public packages without a comment. A comment on a group of constants
// or variables covers its members; fields are left to judgement.
func Docs(t *Tree) []string {
	var faults []string
	public := t.Public()
	documented := map[string]bool{} // directories with a package comment
	for _, s := range t.sources {
		if s.nested || s.test || !slices.Contains(public, s.dir) {
			continue
		}
		documented[s.dir] = documented[s.dir] || s.ast.Doc != nil
		for _, d := range s.ast.Decls {
			for _, n := range undocumented(d) {
				faults = append(faults, fmt.Sprintf("%s: %s has no comment", t.at(n), n.Name))
			}
		}
	}
	for _, dir := range public {
		if !documented[dir] {
			faults = append(faults, dir+": the package has no comment")
		}
	}
	return faults
}

// undocumented returns the exported names that a declaration introduces without a comment.
func undocumented(d ast.Decl) []*ast.Ident {
	var names []*ast.Ident
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil && (!ast.IsExported(baseName(d.Recv.List[0].Type)) || slices.Contains(selfExplaining, d.Name.Name)) {
			return nil
		}
		if d.Doc == nil {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					names = append(names, spec.Name)
				}
			case *ast.ValueSpec:
				if d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					names = append(names, spec.Names...)
				}
			}
		}
	}
	return slices.DeleteFunc(names, func(n *ast.Ident) bool { return !n.IsExported() })
}
