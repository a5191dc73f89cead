package lint

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"maps"
	"path"
	"slices"
	"strings"
)

// rooms is the table of the root package's rooms. A file belongs to the room that its name begins with, up to the first underscore:
// sender_drain.go is the sender's. Rooms are one package, so the compiler lets each name what it likes; this table does not.
var rooms = house{
	"face":        {[]string{"doc", "producer", "future", "interceptor", "serializer", "plugin"}, []string{"engine", "transaction", "sender", "dispatcher", "accumulator", "inbox", "board", "partitioner", "config", "metrics", "record", "errors"}},
	"engine":      {[]string{"engine"}, []string{"face", "transaction", "sender", "dispatcher", "accumulator", "inbox", "board", "memory", "partitioner", "config", "clock", "metrics", "record", "errors"}},
	"transaction": {[]string{"transaction"}, []string{"sender", "accumulator", "board", "config", "record", "errors"}},
	"sender":      {[]string{"sender"}, []string{"transaction", "dispatcher", "accumulator", "inbox", "board", "memory", "config", "clock", "metrics", "record", "errors"}},
	"dispatcher":  {[]string{"dispatcher"}, []string{"accumulator", "metrics", "record"}},
	"accumulator": {[]string{"accumulator", "batch"}, []string{"sender", "inbox", "memory", "partitioner", "config", "clock", "metrics", "record", "errors"}},
	"inbox":       {[]string{"inbox"}, []string{"sender", "accumulator"}},
	"board":       {[]string{"board"}, []string{}},
	"memory":      {[]string{"bufferpool"}, []string{"clock", "errors"}},
	"partitioner": {[]string{"partitioner"}, []string{"face", "record", "errors"}},
	"config":      {[]string{"config", "properties"}, []string{"face", "partitioner", "errors"}},
	"clock":       {[]string{"clock"}, []string{}},
	"metrics":     {[]string{"metrics"}, []string{"errors"}},
	"record":      {[]string{"record"}, []string{"errors"}},
	"errors":      {[]string{"errors"}, []string{}},
}

// house is the rooms by name.
type house map[string]room

// room is what belongs together in the root package.
type room struct {
	files []string // first words of the names of its files
	names []string // the rooms whose functions, types, fields and variables it may name, besides its own
}

// Rooms checks that every file of the root package belongs to a room, and that rooms name each other as the table says.
func Rooms(t *Tree) []string { return checkRooms(t, rooms) }

func checkRooms(t *Tree, rooms house) []string {
	found, faults := rooms.arrows(t)
	for _, from := range slices.Sorted(maps.Keys(rooms)) {
		for _, to := range slices.Sorted(maps.Keys(found[from])) {
			if to != from && !slices.Contains(rooms[from].names, to) {
				places := found[from][to]
				faults = append(faults, fmt.Sprintf("%s: %s may not name what belongs to %s (%d places)", strings.Join(places[:min(len(places), 5)], ", "), from, to, len(places)))
			}
		}
		for _, to := range rooms[from].names {
			if len(found[from][to]) == 0 {
				faults = append(faults, fmt.Sprintf("%s names nothing of %s any more: take it off the table in internal/lint/rooms.go", from, to))
			}
		}
	}
	return faults
}

// arrows lists, by room and room, where the one names something of the other.
func (rooms house) arrows(t *Tree) (found map[string]map[string][]string, faults []string) {
	found = map[string]map[string][]string{}
	var files []*ast.File
	for _, s := range t.sources {
		if s.dir != "." || s.test {
			continue
		}
		if rooms.of(s.name) == "" {
			faults = append(faults, s.name+": the file belongs to no room: name it by one of those in internal/lint/rooms.go")
		}
		files = append(files, s.ast)
	}
	for id, object := range uses(t.fset, files) {
		if object.Pkg() == nil || object.Pkg().Path() != Module || object.Parent() != object.Pkg().Scope() && !isMember(object) {
			continue
		}
		from, to := rooms.of(t.fset.Position(id.Pos()).Filename), rooms.of(t.fset.Position(object.Pos()).Filename)
		if from == "" || to == "" || from == to {
			continue
		}
		if found[from] == nil {
			found[from] = map[string][]string{}
		}
		found[from][to] = append(found[from][to], fmt.Sprintf("%s %s", t.at(id), object.Name()))
	}
	for _, row := range found {
		for _, places := range row {
			slices.Sort(places)
		}
	}
	return found, faults
}

// roomWords are what a test file of the root package may begin with besides the words of the rooms: benchmarks, what tests of several
// rooms have in common, and the examples of the documentation.
var roomWords = []string{"bench", "testkit", "example"}

// The root's listing tells a stranger its rooms only as long as it is short.
const (
	mostCodeFiles = 75
	mostTestFiles = 80
)

// Listing checks that the root directory stays short, and that its test files are named by the rooms that they test.
func Listing(t *Tree) []string { return checkListing(t, rooms, mostCodeFiles, mostTestFiles) }

func checkListing(t *Tree, rooms house, mostCode, mostTests int) (faults []string) {
	code, tests := 0, 0
	for _, s := range t.sources {
		if s.dir != "." {
			continue
		}
		if !s.test {
			code++
			continue
		}
		tests++
		if rooms.of(strings.TrimSuffix(s.name, "_test.go")) == "" && !slices.Contains(roomWords, firstWord(s.name)) {
			faults = append(faults, fmt.Sprintf("%s: the test file belongs to no room: name it by one of those in internal/lint/rooms.go, or by one of %s; a black-box test goes to internal/blackbox", s.name, strings.Join(roomWords, ", ")))
		}
	}
	if code > mostCode {
		faults = append(faults, fmt.Sprintf("the root directory has %d code files, at most %d are to be there: put a small one into another of its room", code, mostCode))
	}
	if tests > mostTests {
		faults = append(faults, fmt.Sprintf("the root directory has %d test files, at most %d are to be there: put a small one into another of its room, or black-box tests into internal/blackbox", tests, mostTests))
	}
	return faults
}

// firstWord returns the name of a Go file up to the first underscore.
func firstWord(file string) string {
	first, _, _ := strings.Cut(strings.TrimSuffix(path.Base(file), ".go"), "_")
	return first
}

// isMember reports whether the object is a field or a method.
func isMember(object types.Object) bool {
	switch o := object.(type) {
	case *types.Var:
		return o.IsField()
	case *types.Func:
		return o.Signature().Recv() != nil
	}
	return false
}

// uses resolves the identifiers of a package without its imports: what comes from elsewhere stays unknown, which is no matter here.
func uses(fset *token.FileSet, files []*ast.File) map[*ast.Ident]types.Object {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: nothing{}, Error: func(error) {}}
	_, _ = config.Check(Module, fset, files, info) // there are errors, for the imports are empty
	return info.Uses
}

// nothing is an importer whose packages are empty.
type nothing struct{}

var _ types.Importer = nothing{}

// Import implements types.Importer.
func (nothing) Import(name string) (*types.Package, error) {
	if name == "unsafe" {
		return importer.Default().Import(name)
	}
	p := types.NewPackage(name, path.Base(name))
	p.MarkComplete()
	return p, nil
}

// of returns the room that a file of the root package belongs to, "" if none.
func (rooms house) of(file string) string {
	first := firstWord(file)
	for name, r := range rooms {
		if slices.Contains(r.files, first) {
			return name
		}
	}
	return ""
}
