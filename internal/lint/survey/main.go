// Command survey looks at the library's code as a stranger does.
//
//	go run ./internal/lint/survey -lines 12 -seed 7     # random lines, to be asked: which room, which goroutine, which lock?
//	go run ./internal/lint/survey                       # measures of how the code reads
//	go run ./internal/lint/survey -dir DIR              # the same of another checkout, to compare
package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// packages are the parts of the library that a record goes through.
var packages = []string{".", "network", "metadata"}

// file is a Go file of the library.
type file struct {
	dir, name string // name is from the root of the checkout
	lines     []string
	ast       *ast.File
	fset      *token.FileSet
}

// library reads the files of the packages, tests left out.
func library(root string) ([]file, error) {
	var files []file
	for _, dir := range packages {
		names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, path := range names {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			f := file{dir: dir, name: filepath.ToSlash(filepath.Join(dir, filepath.Base(path))), lines: strings.Split(string(text), "\n"), fset: token.NewFileSet()}
			if f.ast, err = parser.ParseFile(f.fset, f.name, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no Go files below %s", root)
	}
	return files, nil
}

func main() {
	lines := flag.Int("lines", 0, "print `N` random lines instead of the measures")
	seed := flag.Uint64("seed", 1, "which lines")
	dir := flag.String("dir", ".", "the `checkout` to look at")
	flag.Parse()
	if err := run(os.Stdout, *dir, *lines, *seed); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(w io.Writer, dir string, lines int, seed uint64) error {
	files, err := library(dir)
	if err != nil {
		return err
	}
	if lines > 0 {
		printLines(w, files, lines, seed)
		return nil
	}
	printMeasures(w, files)
	return nil
}
