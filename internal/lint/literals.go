package lint

import (
	"go/ast"
	"go/token"
)

// Literals checks that errors about no particular partition are made by newError and nodeError. A literal has to give -1 for what it is
// not about, because the zero value names partition 0 of node 0; one that forgets it looks like any other.
func Literals(t *Tree) (faults []string) {
	for _, s := range t.sources {
		if s.nested || s.test || s.dir != "." && s.dir != "quilltest/quillmock" {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if literal, ok := n.(*ast.CompositeLit); ok && isError(literal.Type) && hasNoPartition(literal) {
				faults = append(faults, t.at(n)+": an Error with Partition: -1 is made by newError or nodeError")
			}
			return true
		})
	}
	return faults
}

// isError reports whether a type is written Error or quill.Error.
func isError(typ ast.Expr) bool {
	switch typ := typ.(type) {
	case *ast.Ident:
		return typ.Name == "Error"
	case *ast.SelectorExpr:
		return typ.Sel.Name == "Error"
	}
	return false
}

// hasNoPartition reports whether the literal says Partition: -1.
func hasNoPartition(literal *ast.CompositeLit) bool {
	for _, element := range literal.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		field, _ := pair.Key.(*ast.Ident)
		minus, ok := pair.Value.(*ast.UnaryExpr)
		if field != nil && field.Name == "Partition" && ok && minus.Op == token.SUB {
			return true
		}
	}
	return false
}
