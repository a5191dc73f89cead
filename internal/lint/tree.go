package lint

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the path of the root module.
const Module = "github.com/quill-kafka/quill"

// Tree is the files of a repository.
type Tree struct {
	fsys    fs.FS
	files   []string // slash-separated, sorted
	modules []string // directories with a go.mod below the root, sorted
	fset    *token.FileSet
	sources []*source // the parsed Go files
}

// source is one Go file.
type source struct {
	name   string // from the root of the repository
	dir    string // "." for the root
	nested bool   // belongs to another module than the root's
	test   bool
	ast    *ast.File
}

// Open reads the repository that contains the working directory. What git ignores does not count.
func Open() (*Tree, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	fsys := os.DirFS(root)
	files, err := gitFiles(root)
	if err != nil { // not a checkout: take what is there
		files, err = allFiles(fsys)
	}
	if err != nil {
		return nil, err
	}
	return newTree(fsys, files)
}

// findRoot returns the directory of the root module's go.mod.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && slices.Contains(strings.Split(string(mod), "\n"), "module "+Module) {
			return dir, nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return "", fmt.Errorf("no go.mod of module %s above the working directory", Module)
	}
}

// gitFiles returns what git tracks, and what it would track after "git add .".
func gitFiles(root string) ([]string, error) {
	out, err := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return nil, err
	}
	files := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	return slices.DeleteFunc(files, func(f string) bool { // deleted, not yet committed
		_, err := os.Lstat(filepath.Join(root, filepath.FromSlash(f)))
		return err != nil
	}), nil
}

func allFiles(fsys fs.FS) ([]string, error) {
	var files []string
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, name)
		}
		return err
	})
	return files, err
}

func newTree(fsys fs.FS, files []string) (*Tree, error) {
	t := &Tree{fsys: fsys, files: slices.Sorted(slices.Values(files)), fset: token.NewFileSet()}
	t.files = slices.Compact(t.files)
	for _, f := range t.files {
		if dir := path.Dir(f); path.Base(f) == "go.mod" && dir != "." {
			t.modules = append(t.modules, dir)
		}
	}
	for _, f := range t.files {
		if path.Ext(f) != ".go" || slices.Contains(strings.Split(f, "/"), "testdata") {
			continue
		}
		text, err := fs.ReadFile(fsys, f)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(t.fset, f, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		t.sources = append(t.sources, &source{name: f, dir: path.Dir(f), nested: t.inNested(f), test: strings.HasSuffix(f, "_test.go"), ast: file})
	}
	return t, nil
}

func (t *Tree) inNested(file string) bool {
	return slices.ContainsFunc(t.modules, func(dir string) bool { return strings.HasPrefix(file, dir+"/") })
}

// Public returns the directories of the packages others may import, sorted.
func (t *Tree) Public() []string {
	var dirs []string
	for _, s := range t.sources {
		hidden := strings.Contains("/"+s.dir+"/", "/internal/") || strings.HasPrefix(s.dir, "examples/")
		if !s.nested && !s.test && !hidden && s.ast.Name.Name != "main" {
			dirs = append(dirs, s.dir)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// at returns where a node stands: "file:line".
func (t *Tree) at(n ast.Node) string {
	p := t.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// enclosing calls visit for every node inside the file's functions, with the name of the declared function it is in. Code
// outside functions has the name "".
func (s *source) enclosing(visit func(fn string, n ast.Node)) {
	for _, d := range s.ast.Decls {
		name := ""
		if f, ok := d.(*ast.FuncDecl); ok {
			name = funcName(f)
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if n != nil {
				visit(name, n)
			}
			return true
		})
	}
}

// funcName returns "New" or "Producer.Send".
func funcName(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return f.Name.Name
	}
	return baseName(f.Recv.List[0].Type) + "." + f.Name.Name
}

// baseName returns the name of a receiver's type, without pointer and type parameters.
func baseName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return baseName(e.X)
	case *ast.IndexExpr:
		return baseName(e.X)
	case *ast.IndexListExpr:
		return baseName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}

// difference compares two lists as sets: what is missing from got with "-", what is new in it with "+", in order of the text.
func difference(want, got []string) []string {
	var diff []string
	for _, line := range want {
		if !slices.Contains(got, line) {
			diff = append(diff, "-"+line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			diff = append(diff, "+"+line)
		}
	}
	slices.SortStableFunc(diff, func(a, b string) int { return cmp.Compare(a[1:], b[1:]) })
	return diff
}
