package main

import (
	"fmt"
	"go/ast"
	"io"
	"math/rand/v2"
	"strings"
)

// around is how many lines are printed before and after the one that was drawn.
const around = 3

// printLines prints n lines of code, drawn by the seed: where each stands, in which function, and the lines around it.
func printLines(w io.Writer, files []file, n int, seed uint64) {
	type place struct {
		f    *file
		line int // from 1
	}
	var all []place
	for i := range files {
		for _, line := range files[i].code() {
			all = append(all, place{&files[i], line})
		}
	}
	draw := rand.New(rand.NewPCG(seed, 0))
	for i, at := range draw.Perm(len(all))[:min(n, len(all))] {
		f, line := all[at].f, all[at].line
		fmt.Fprintf(w, "%d. %s:%d, in %s\n", i+1, f.name, line, f.function(line))
		for l := max(line-around, 1); l <= min(line+around, len(f.lines)); l++ {
			mark := "   "
			if l == line {
				mark = " > "
			}
			fmt.Fprintf(w, "%s%4d  %s\n", mark, l, strings.ReplaceAll(f.lines[l-1], "\t", "    "))
		}
		fmt.Fprintln(w)
	}
}

// code returns the lines within functions that hold a statement or the beginning of one.
func (f *file) code() (lines []int) {
	last := 0
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			if s, ok := n.(ast.Stmt); ok && s != fn.Body {
				if _, block := s.(*ast.BlockStmt); !block {
					if line := f.fset.Position(s.Pos()).Line; line > last {
						lines, last = append(lines, line), line
					}
				}
			}
			return true
		})
	}
	return lines
}

// function returns the name of the function that the line is in, with its receiver's type.
func (f *file) function(line int) string {
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || line < f.fset.Position(fn.Pos()).Line || line > f.fset.Position(fn.End()).Line {
			continue
		}
		if fn.Recv == nil {
			return fn.Name.Name
		}
		return receiver(fn.Recv.List[0].Type) + "." + fn.Name.Name
	}
	return "no function"
}

func receiver(typ ast.Expr) string {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return receiver(typ.X)
	case *ast.IndexExpr:
		return receiver(typ.X)
	case *ast.IndexListExpr:
		return receiver(typ.X)
	case *ast.Ident:
		return typ.Name
	}
	return "?"
}
