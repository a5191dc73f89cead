package lint

import (
	"bytes"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// API returns the exported API of packages of the root module, one fact per line and sorted, by the directories given: names,
// types, values of constants, fields, methods with those of embedded types. It is read from the compiler's own export data, so it is exact.
func API(dirs []string) (map[string][]string, error) {
	packages, err := exported(dirs)
	api := map[string][]string{}
	for dir, pkg := range packages {
		api[dir] = describePackage(pkg)
	}
	return api, err
}

// mostNames is how many names the root may export: its documentation is one page.
const mostNames = 100

// Names returns the names that package dir exports at its top, without fields and methods.
func Names(dir string) ([]string, error) {
	packages, err := exported([]string{dir})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(packages[dir].Scope().Names(), func(name string) bool { return !token.IsExported(name) }), nil
}

// exported returns the packages of the root module with what they export, by the directories given.
func exported(dirs []string) (map[string]*types.Package, error) {
	files, err := exportFiles(dirs)
	if err != nil {
		return nil, err
	}
	lookup := func(path string) (io.ReadCloser, error) {
		if file := files[path]; file != "" {
			return os.Open(file)
		}
		return nil, fmt.Errorf("no export data of %s", path)
	}
	from := importer.ForCompiler(token.NewFileSet(), "gc", lookup)
	packages := map[string]*types.Package{}
	for _, dir := range dirs {
		if packages[dir], err = from.Import(importPath(dir)); err != nil {
			return nil, err
		}
	}
	return packages, nil
}

func importPath(dir string) string {
	if dir == "." {
		return Module
	}
	return Module + "/" + dir
}

// exportFiles has the go command build the packages and say where it put the export data of each of them and of what they import.
func exportFiles(dirs []string) (map[string]string, error) {
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}"}
	for _, dir := range dirs {
		args = append(args, importPath(dir))
	}
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(failed.Stderr))
		}
		return nil, fmt.Errorf("go list: %w", err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		files[path] = file
	}
	return files, nil
}

// Sealed reports whether other modules can't write a type that implements the interface: one of its methods is not exported, or has a
// parameter of an internal package's type.
func Sealed(i *types.Interface) bool {
	for m := range i.Methods() {
		if !m.Exported() {
			return true
		}
		for p := range m.Signature().Params().Variables() {
			if named, ok := p.Type().(*types.Named); ok && strings.Contains(named.Obj().Pkg().Path(), "/internal/") {
				return true
			}
		}
	}
	return false
}

// describer writes one package's API.
type describer struct {
	pkg   *types.Package
	lines []string
}

func describePackage(pkg *types.Package) []string {
	d := &describer{pkg: pkg}
	for _, name := range pkg.Scope().Names() {
		if token.IsExported(name) {
			d.object(pkg.Scope().Lookup(name))
		}
	}
	slices.Sort(d.lines)
	return slices.Compact(d.lines)
}

func (d *describer) add(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// qualify leaves the package's own name away.
func (d *describer) qualify(p *types.Package) string {
	if p == d.pkg {
		return ""
	}
	return p.Name()
}

func (d *describer) text(t types.Type) string { return types.TypeString(t, d.qualify) }

func (d *describer) object(o types.Object) {
	switch o := o.(type) {
	case *types.Const:
		d.add("const %s %s = %s", o.Name(), d.text(o.Type()), o.Val().ExactString())
	case *types.TypeName:
		if o.IsAlias() {
			d.add("%s", types.ObjectString(o, d.qualify))
			return
		}
		d.named(o.Type().(*types.Named))
	default: // variables and functions
		d.add("%s", types.ObjectString(o, d.qualify))
	}
}

// named describes a defined type: what it is made of and what it can do.
func (d *describer) named(t *types.Named) {
	name := t.Obj().Name()
	switch u := t.Underlying().(type) {
	case *types.Struct:
		d.add("type %s struct", d.text(t))
		for f := range u.Fields() {
			switch {
			case !f.Exported():
				d.add("type %s struct, with unexported fields", name)
			case f.Embedded():
				d.add("type %s struct, embeds %s", name, d.text(f.Type()))
			default:
				d.add("type %s struct, %s %s", name, f.Name(), d.text(f.Type()))
			}
		}
	case *types.Interface:
		d.add("type %s interface", d.text(t))
		for m := range u.Methods() { // those of embedded interfaces too
			if m.Exported() {
				d.add("type %s interface, %s%s", name, m.Name(), d.signature(m))
			} else {
				d.add("type %s interface, with unexported methods", name)
			}
		}
		return
	default:
		d.add("type %s %s", d.text(t), d.text(u))
	}
	byValue := types.NewMethodSet(t)
	for m := range types.NewMethodSet(types.NewPointer(t)).Methods() {
		if !m.Obj().Exported() {
			continue
		}
		star := ""
		if byValue.Lookup(m.Obj().Pkg(), m.Obj().Name()) == nil {
			star = "*"
		}
		d.add("method (%s%s) %s%s", star, receiver(t), m.Obj().Name(), d.signature(m.Obj()))
	}
}

// receiver returns a type's name with those of its type parameters, as a method names it.
func receiver(t *types.Named) string {
	var names []string
	for p := range t.TypeParams().TypeParams() {
		names = append(names, p.Obj().Name())
	}
	if len(names) == 0 {
		return t.Obj().Name()
	}
	return t.Obj().Name() + "[" + strings.Join(names, ", ") + "]"
}

func (d *describer) signature(f types.Object) string {
	return strings.TrimPrefix(d.text(f.Type()), "func")
}
