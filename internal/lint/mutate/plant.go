package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// All mutations are built into one program and switched on by their number, so that each costs a run of
// tests and no build. A function with a mutation in it is there twice: the copy has the edit, and the
// function begins with a jump to the copy.
//
//	func (q *queue) front() *batch { if mutantActive == 17 { return q.front__17() };
//		return q.batches[0]
//	}
//	func (q *queue) front__17() *batch {
//		return q.batches[1]
//	}
//
// The first line of a function stays one line, so that line numbers are those of the tree. The value of
// a variable of the package is chosen when the program starts: var limit = mutantPick(17, 5, 4).

// switchName is the environment variable that names the mutation that is on.
const switchName = "QUILL_MUTANT"

// switchFile is added to each package with mutations. It holds the package's name.
const switchFile = `package %s

import (
	"os"
	"strconv"
)

var mutantActive = func() int {
	n, _ := strconv.Atoi(os.Getenv("` + switchName + `"))
	return n
}()

func mutantPick[T any](number int, with, without T) T {
	if mutantActive == number {
		return with
	}
	return without
}
`

// edit replaces text[from:to].
type edit struct {
	from, to int
	with     string
}

// plant returns the text of every file that differs from the tree when all mutations are in it, by path
// from the module's root. The number of a mutation is its place in the list, from one.
func plant(root string, all []mutation) (map[string][]byte, error) {
	byFile := map[string][]int{}
	for i, m := range all {
		byFile[m.file] = append(byFile[m.file], i)
	}
	planted := map[string][]byte{}
	var wrong []error
	for _, file := range slices.Sorted(maps.Keys(byFile)) {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return nil, err
		}
		p := planter{text: string(text), edits: map[ast.Node]*place{}}
		if p.tree, err = parser.ParseFile(&p.positions, file, text, parser.SkipObjectResolution); err != nil {
			return nil, err
		}
		for _, i := range byFile[file] {
			if err := p.add(i+1, &all[i]); err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %s: %w", all[i].name, file, err))
			}
		}
		planted[file] = []byte(p.result())
		dir := filepath.Dir(file)
		planted[filepath.Join(dir, "mutant_switch.go")] = fmt.Appendf(nil, switchFile, p.tree.Name.Name)
	}
	return planted, errors.Join(wrong...)
}

// planter puts the mutations of one file into its text.
type planter struct {
	text      string
	positions token.FileSet
	tree      *ast.File
	edits     map[ast.Node]*place
	copies    []string
}

// place is a function or a value with mutations.
type place struct {
	node    ast.Node // *ast.FuncDecl or ast.Expr
	numbers []int
	values  []string // of an expression: the mutated ones
}

func (p *planter) offset(at token.Pos) int { return p.positions.Position(at).Offset }

// add takes one mutation in.
func (p *planter) add(number int, m *mutation) error {
	if n := strings.Count(p.text, m.old); n != 1 {
		return fmt.Errorf("the text to replace is there %d times", n)
	}
	at := strings.Index(p.text, m.old)
	broken := p.text[:at] + m.new + p.text[at+len(m.old):]
	tree, err := parser.ParseFile(token.NewFileSet(), "", broken, parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("with the mutation it does not parse: %w", err)
	}
	if len(tree.Decls) != len(p.tree.Decls) {
		return errors.New("the mutation changes the number of declarations")
	}
	for i, d := range p.tree.Decls {
		if at < p.offset(d.Pos()) || at+len(m.old) > p.offset(d.End()) {
			continue
		}
		switch d := d.(type) {
		case *ast.FuncDecl:
			return p.addFunction(number, d, tree.Decls[i], broken)
		case *ast.GenDecl:
			return p.addValue(number, at, d, tree.Decls[i], broken)
		}
	}
	return errors.New("the mutation is not inside one function or one value of a variable")
}

func (p *planter) addFunction(number int, d *ast.FuncDecl, to ast.Decl, broken string) error {
	changed, ok := to.(*ast.FuncDecl)
	if !ok || changed.Name.Name != d.Name.Name || d.Body == nil || d.Name.Name == "init" || d.Name.Name == "_" {
		return errors.New("the mutation is not inside a function that can be called")
	}
	name := changed.Name.Pos() - 1
	p.copies = append(p.copies, broken[changed.Type.Func-1:name]+copyName(d, number)+broken[int(name)+len(d.Name.Name):changed.End()-1])
	p.note(d, number, "")
	return nil
}

func (p *planter) addValue(number, at int, d *ast.GenDecl, to ast.Decl, broken string) error {
	changed, ok := to.(*ast.GenDecl)
	if !ok || d.Tok != token.VAR || len(changed.Specs) != len(d.Specs) {
		return errors.New("the mutation is not inside the value of a variable")
	}
	for i, s := range d.Specs {
		s, other := s.(*ast.ValueSpec), changed.Specs[i].(*ast.ValueSpec)
		for j, v := range s.Values {
			if at < p.offset(v.Pos()) || at >= p.offset(v.End()) {
				continue
			}
			w := other.Values[j]
			if p.text[:p.offset(v.Pos())] != broken[:w.Pos()-1] || p.text[p.offset(v.End()):] != broken[w.End()-1:] {
				return errors.New("the mutation changes more than the value of a variable")
			}
			p.note(v, number, broken[w.Pos()-1:w.End()-1]) // a file that was parsed alone begins at position 1
			return nil
		}
	}
	return errors.New("the mutation is not inside the value of a variable")
}

func (p *planter) note(n ast.Node, number int, value string) {
	if p.edits[n] == nil {
		p.edits[n] = &place{node: n}
	}
	p.edits[n].numbers = append(p.edits[n].numbers, number)
	p.edits[n].values = append(p.edits[n].values, value)
}

func copyName(d *ast.FuncDecl, number int) string { return fmt.Sprintf("%s__%d", d.Name.Name, number) }

// result returns the file with everything in it.
func (p *planter) result() string {
	var edits []edit
	for _, place := range p.edits {
		if d, ok := place.node.(*ast.FuncDecl); ok {
			edits = append(edits, p.jumps(d, place.numbers)...)
			continue
		}
		from, to := p.offset(place.node.Pos()), p.offset(place.node.End())
		value := p.text[from:to]
		for i, n := range place.numbers {
			value = fmt.Sprintf("mutantPick(%d, %s, %s)", n, place.values[i], value)
		}
		edits = append(edits, edit{from, to, value})
	}
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	var text strings.Builder
	done := 0
	for _, e := range edits {
		text.WriteString(p.text[done:e.from] + e.with)
		done = e.to
	}
	text.WriteString(p.text[done:])
	for _, c := range p.copies {
		text.WriteString("\n" + c + "\n")
	}
	return text.String()
}

// jumps returns the edits that make a function go on in one of its copies. What has no name in its signature
// gets one, to be passed on.
func (p *planter) jumps(d *ast.FuncDecl, numbers []int) (edits []edit) {
	names := func(list *ast.FieldList) (all []string) {
		for _, f := range list.List {
			if len(f.Names) == 0 {
				name := fmt.Sprintf("mutant%d", p.offset(f.Pos()))
				edits = append(edits, edit{p.offset(f.Type.Pos()), p.offset(f.Type.Pos()), name + " "})
				all = append(all, name)
			}
			for _, n := range f.Names {
				name := n.Name
				if name == "_" {
					name = fmt.Sprintf("mutant%d", p.offset(n.Pos()))
					edits = append(edits, edit{p.offset(n.Pos()), p.offset(n.End()), name})
				}
				all = append(all, name)
			}
		}
		return all
	}
	prefix, suffix, back := "", "", "return "
	if d.Recv != nil {
		prefix = names(d.Recv)[0] + "."
	}
	if d.Type.TypeParams != nil {
		suffix = "[" + strings.Join(names(d.Type.TypeParams), ", ") + "]"
	}
	args := strings.Join(names(d.Type.Params), ", ")
	if list := d.Type.Params.List; len(list) > 0 {
		if _, variadic := list[len(list)-1].Type.(*ast.Ellipsis); variadic {
			args += "..."
		}
	}
	after := ""
	if d.Type.Results == nil || len(d.Type.Results.List) == 0 {
		back, after = "", "; return"
	}
	var jump strings.Builder
	for _, n := range numbers {
		fmt.Fprintf(&jump, " if mutantActive == %d { %s%s%s%s(%s)%s };", n, back, prefix, copyName(d, n), suffix, args, after)
	}
	open := p.offset(d.Body.Lbrace) + 1
	return append(edits, edit{open, open, jump.String()})
}
