package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// mention is a test of Java's that a comment names.
type mention struct {
	name string // File.method
	at   string // file:line
}

var namePattern = regexp.MustCompile(`^\w+Test\.\w+$`)

func isName(s string) bool { return namePattern.MatchString(s) }

// scan reads the comments of all tests of the repository. Hidden directories and testdata don't count.
func scan(repository fs.FS) (mentions []mention, faults []string, err error) {
	err = fs.WalkDir(repository, ".", func(name string, d fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(base, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(repository, name)
		if err != nil {
			return err
		}
		found, wrong, err := scanFile(name, text)
		mentions, faults = append(mentions, found...), append(faults, wrong...)
		return err
	})
	return mentions, faults, err
}

// scanFile reads the comments of one file.
func scanFile(name string, text []byte) (mentions []mention, faults []string, err error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, err
	}
	for _, group := range file.Comments {
		for _, c := range group.List {
			names, ok := strings.CutPrefix(c.Text, "// Java:")
			if !ok {
				continue
			}
			at := fmt.Sprintf("%s:%d", name, fset.Position(c.Pos()).Line)
			if !atTest(file, c.Pos()) {
				faults = append(faults, at+": stands at no test")
				continue
			}
			for n := range strings.SplitSeq(names, ",") {
				if n = strings.TrimSpace(n); isName(n) {
					mentions = append(mentions, mention{n, at})
				} else {
					faults = append(faults, fmt.Sprintf("%s: %q is not File.method", at, n))
				}
			}
		}
	}
	return mentions, faults, nil
}

// atTest reports whether a comment belongs to a test, is inside one, or in a table of rows outside functions.
func atTest(file *ast.File, pos token.Pos) bool {
	for _, d := range file.Decls {
		from, doc := d.Pos(), (*ast.CommentGroup)(nil)
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv != nil || !strings.HasPrefix(d.Name.Name, "Test") && !strings.HasPrefix(d.Name.Name, "Fuzz") {
				continue
			}
			doc = d.Doc
		case *ast.GenDecl:
			if d.Tok != token.VAR {
				continue
			}
			doc = d.Doc
		}
		if doc != nil {
			from = doc.Pos()
		}
		if from <= pos && pos < d.End() {
			return true
		}
	}
	return false
}
