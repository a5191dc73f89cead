package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"io"
	"regexp"
	"slices"
	"strings"
)

// dialect are words that take the place of the thing's name, or of a verb that says more: Go's own packages hardly have them.
var dialect = []*regexp.Regexp{
	word(`what (?:is|was)`), word(`told`), word(`nobody`), word(`tells`), word(`fates?`), word(`somebody`), word(`whatever`), word(`anew`),
	word(`so (?:many|far)`), word(`for ever`), word(`company`), word(`whoever`),
}

func word(pattern string) *regexp.Regexp { return regexp.MustCompile(`(?i)\b` + pattern + `\b`) }

// widest is how many columns a line may have to be read beside another window.
const widest = 140

// states are the types of which the flags are counted: whoever adds one doubles the number of states.
var states = []string{"batch", "facts", "verdict"}

func printMeasures(w io.Writer, files []file) {
	for _, dir := range packages {
		var of []file
		for _, f := range files {
			if f.dir == dir {
				of = append(of, f)
			}
		}
		comments, words := dialectIn(of)
		is, functions := isComments(of)
		fmt.Fprintf(w, "%-9s %3d files, %5d lines, %4d comment lines\n", dir, len(of), count(of, func(string) bool { return true }), comments)
		fmt.Fprintf(w, "          %4d words of the dialect: %.1f per 1,000 comment lines\n", words, per(words, comments, 1000))
		fmt.Fprintf(w, "          %4d of %d functions' comments are of the form \"x is\": %.1f %%\n", is, functions, per(is, functions, 100))
		fmt.Fprintf(w, "          %4d lines over %d columns\n", count(of, func(line string) bool { return columns(line) > widest }), widest)
	}
	for _, name := range states {
		own, all := booleans(files, name)
		fmt.Fprintf(w, "%-9s %2d booleans of its own, %d with those of the structs in it\n", name, own, all)
	}
	operands, at, width := largestCase(files)
	fmt.Fprintf(w, "largest case: %d operands, %d columns (%s)\n", operands, width, at)
}

func per(n, of, each int) float64 { return float64(n) * float64(each) / float64(max(of, 1)) }

func count(files []file, counts func(line string) bool) (n int) {
	for _, f := range files {
		for _, line := range f.lines {
			if counts(line) {
				n++
			}
		}
	}
	return n
}

// dialectIn counts the lines of comments and the words of the dialect in them.
func dialectIn(files []file) (lines, words int) {
	for _, f := range files {
		for _, group := range f.ast.Comments {
			for _, c := range group.List {
				lines += 1 + strings.Count(c.Text, "\n")
			}
			for _, w := range dialect {
				words += len(w.FindAllString(group.Text(), -1))
			}
		}
	}
	return lines, words
}

// isComments counts the functions with a comment, and those whose comment says what they are instead of what they do.
func isComments(files []file) (is, functions int) {
	for _, f := range files {
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Doc == nil {
				continue
			}
			functions++
			if second := strings.Fields(fn.Doc.Text() + " - -")[1]; second == "is" || second == "are" {
				is++
			}
		}
	}
	return is, functions
}

// booleans counts the flags of a struct type, and those with the flags of the structs that it holds by value.
func booleans(files []file, name string) (own, all int) {
	structs := map[string]*ast.StructType{}
	for _, f := range files {
		if f.dir != "." {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if s, ok := spec.Type.(*ast.StructType); ok {
					structs[spec.Name.Name] = s
				}
			}
			return true
		})
	}
	var flags func(s *ast.StructType, deep bool) int
	flags = func(s *ast.StructType, deep bool) (n int) {
		if s == nil {
			return 0
		}
		for _, field := range s.Fields.List {
			switch typ := field.Type.(type) {
			case *ast.Ident:
				if typ.Name == "bool" {
					n += max(len(field.Names), 1)
				} else if deep {
					n += flags(structs[typ.Name], deep)
				}
			case *ast.StructType:
				n += flags(typ, deep)
			}
		}
		return n
	}
	return flags(structs[name], false), flags(structs[name], true)
}

// columns returns the width of a line on a screen where a tab is four columns.
func columns(line string) int { return len([]rune(line)) + 3*strings.Count(line, "\t") }

// largestCase finds the condition among the cases of a switch that has the most operands, and returns how many, where, and the width of
// its first line.
func largestCase(files []file) (operands int, at string, width int) {
	for _, f := range files {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			s, ok := n.(*ast.SwitchStmt)
			if !ok || s.Tag != nil {
				return true
			}
			for _, clause := range s.Body.List {
				n := 0
				for _, condition := range clause.(*ast.CaseClause).List {
					n += operandsOf(condition)
				}
				if n > operands {
					line := f.fset.Position(clause.Pos()).Line
					operands, at, width = n, fmt.Sprintf("%s:%d", f.name, line), columns(f.lines[line-1])
				}
			}
			return true
		})
	}
	return operands, at, width
}

// operandsOf counts what && and || join.
func operandsOf(e ast.Expr) int {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return operandsOf(e.X)
	case *ast.UnaryExpr:
		return operandsOf(e.X)
	case *ast.BinaryExpr:
		if slices.Contains([]token.Token{token.LAND, token.LOR}, e.Op) {
			return operandsOf(e.X) + operandsOf(e.Y)
		}
	}
	return 1
}
