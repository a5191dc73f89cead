package lint

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// plant makes a tree of the files given.
func plant(t *testing.T, files map[string]string) *Tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := newTree(fsys, slices.Collect(maps.Keys(files)))
	require.NoError(t, err)
	return tree
}

// importing returns the text of a file that imports the packages.
func importing(pkg string, imports ...string) string {
	return "package " + pkg + "\n\nimport (\n\t_ \"" + strings.Join(imports, "\"\n\t_ \"") + "\"\n)\n"
}

// faultsIn leaves out what is about the import table's rows without a package: small trees have few packages.
func faultsIn(tree *Tree) []string {
	return slices.DeleteFunc(Imports(tree), func(f string) bool { return strings.HasPrefix(f, "import table: ") })
}

func TestImportTableIsHeld(t *testing.T) {
	const q = Module
	for _, c := range []struct {
		file    string
		imports []string
		fault   string // empty: fine
	}{
		{"a.go", []string{"net", q + "/network", q + "/protocol", q + "/internal/compress"}, ""},
		{"a.go", []string{q + "/quilltest"}, "a.go:4: " + q + "/quilltest may not be imported by package ."},
		{"a_test.go", []string{q + "/quilltest", "github.com/stretchr/testify/require"}, ""},
		{"batch_result.go", []string{"unsafe"}, ""},
		{"a.go", []string{"unsafe"}, "a.go:4: unsafe may be imported by batch_result.go, errors_context.go only"},
		{"network/batch_result.go", []string{"unsafe"}, "network/batch_result.go:4: unsafe may be imported by batch_result.go, errors_context.go only"},
		{"network/a_test.go", []string{"unsafe"}, ""},
		{"network/a.go", []string{q}, "network/a.go:4: " + q + " may not be imported by package network"},
		{"protocol/a.go", []string{q + "/metadata"}, "protocol/a.go:4: " + q + "/metadata may not be imported by package protocol"},
		{"internal/message/generate/a.go", []string{q + "/protocol"}, ""},
		{"internal/compress/a.go", []string{"github.com/klauspost/compress/zstd", "github.com/pierrec/lz4/v4"}, ""},
		{"internal/compress/a.go", []string{"github.com/stretchr/testify"}, "internal/compress/a.go:4: github.com/stretchr/testify is third-party code"},
		{"a.go", []string{"github.com/klauspost/compress/zstd"}, "a.go:4: github.com/klauspost/compress/zstd is third-party code"},
		{"a_test.go", []string{"github.com/klauspost/compress/zstd"}, "a_test.go:4: github.com/klauspost/compress/zstd is third-party code"},
		{"quilltest/a.go", []string{q}, "quilltest/a.go:4: " + q + " may not be imported by package quilltest"},
		{"quilltest/quillmock/a.go", []string{q}, ""},
		{"examples/x/a.go", []string{q, q + "/quilltest", q + "/examples/internal/demo"}, ""},
		{"examples/x/a.go", []string{q + "/protocol"}, "examples/x/a.go:4: " + q + "/protocol may not be imported by package examples/x"},
		{"network/a.go", []string{"C"}, "network/a.go:4: C is cgo"},
		{"newroom/a.go", []string{"net"}, "newroom/a.go: package newroom has no row in the import table"},
	} {
		faults := faultsIn(plant(t, map[string]string{c.file: importing("p", c.imports...)}))
		if c.fault == "" {
			require.Empty(t, faults, "%s importing %s", c.file, c.imports)
			continue
		}
		require.Len(t, faults, 1, "%s importing %s", c.file, c.imports)
		require.Contains(t, faults[0], c.fault)
	}
}

func TestNestedModulesImportWhatTheyLike(t *testing.T) {
	tree := plant(t, map[string]string{
		"bench/go.mod": "module x\n\nreplace " + Module + " => ../\n",
		"bench/a.go":   importing("bench", "github.com/stretchr/testify", "unsafe"),
	})
	require.Empty(t, faultsIn(tree))
}

func TestForgottenRowIsFound(t *testing.T) {
	require.Contains(t, Imports(plant(t, nil)), "import table: network: no such package")
}

func TestDependenciesAreFew(t *testing.T) {
	faults, err := Dependencies(plant(t, map[string]string{
		"go.mod":               "module " + Module + "\n\nrequire github.com/golang/snappy v1.0.0\n\nrequire (\n\tgithub.com/x/y v1.0.0\n\tgithub.com/x/z v1.0.0 // indirect\n)\n\nreplace github.com/x/y => ./y\n",
		"bench/go.mod":         "module x\n",
		"plugin/prom/go.mod":   "module x\n\nreplace " + Module + " => ../\n",
		"plugin/otel/go.mod":   "module x\n\nreplace " + Module + " => ../../\n",
		"integration/go.mod":   "module x\n\nreplace " + Module + " => ..\n",
		"integration/go.work":  "",
		"bench/testdata/a.txt": "",
	}))
	require.NoError(t, err)
	require.Len(t, faults, 5)
	require.Equal(t, "go.mod:6: github.com/x/y may not be a dependency of the root module", faults[0])
	require.Equal(t, "go.mod:10: users would not see this replacement", faults[1])
	require.Contains(t, faults[2], "integration/go.work")
	require.Contains(t, faults[3], "bench/go.mod")
	require.Contains(t, faults[4], "plugin/prom/go.mod") // one level short
}

const engineSource = `package quill

import (
	"runtime"
	"sync"
	"time"
)

func (p *Producer[K, V]) run() {
	go p.loop()
	var wg sync.WaitGroup
	wg.Go(func() { time.Sleep(1) })
	_ = time.Now()
	_ = time.Since(time.Now())
	p.now = time.Unix(0, 0)
	runtime.SetFinalizer(p, nil)
}
`

func TestNewGoroutinesAndClockReadsAreFound(t *testing.T) {
	tree := plant(t, map[string]string{"a.go": engineSource, "a_test.go": engineSource, "quilltest/a.go": engineSource})
	find := func(known ...int) []string {
		own := slices.Clone(budgets)
		for i := range own {
			own[i].known = map[string]int{"a.go Producer.run": known[i]}
		}
		return checkBudgets(tree, own)
	}
	require.Empty(t, find(2, 3, 1, 1))
	require.Equal(t, []string{
		"a.go:10, a.go:12: a.go Producer.run starts a goroutine 2 times, 1 known",
		"a.go:13, a.go:14, a.go:14: a.go Producer.run reads the clock 3 times, 0 known",
	}, find(1, 0, 1, 1))
	require.Equal(t, []string{"a.go:16: a.go Producer.run relies on the garbage collector 1 times, 0 known"}, find(2, 3, 1, 0))
	require.Equal(t, []string{"a.go Producer.run waits for the clock 1 times, 2 known: lower the number in internal/lint/engine.go"}, find(2, 3, 2, 1))
}

func TestQuietSkipIsFound(t *testing.T) {
	tree := plant(t, map[string]string{"a_test.go": `package p

import (
	"os"
	"testing"
)

func TestQuiet(t *testing.T) {
	t.Skip("no broker")
}

func TestLoud(t *testing.T) {
	if os.Getenv("CI") == "true" {
		t.Fatal("no broker")
	}
	t.Skipf("no broker")
}
`, "other.go": "package p\n\nfunc f(t reader) { t.Skip(4) }\n"})
	require.Equal(t, []string{"a_test.go:9: TestQuiet skips without asking for CI"}, Skips(tree))
}

func TestForbiddenWordsAreFound(t *testing.T) {
	todo := "TO" + "DO"
	tree := plant(t, map[string]string{
		"a.md":     "fine: go/root/x, https://example.org/home/x, GOPROXY, " + todo + "S\n",
		"b.md":     "\nsee /" + "home/me/x\n",
		".ci/run":  "curl proxy" + ".golang.org\n",
		"c.go":     "package c // " + todo + ": more\n",
		"d.txt":    "(/" + "tmp/x)",
		"e.bin":    "\x00 " + todo,
		"merge.md": "<<<<<<" + "< HEAD\n",
	})
	faults, err := Text(tree)
	require.NoError(t, err)
	require.Len(t, faults, 5)
	for i, start := range []string{".ci/run:1: ", "b.md:2: ", "c.go:1: ", "d.txt:1: ", "merge.md:1: "} {
		require.True(t, strings.HasPrefix(faults[i], start), "%s", faults[i])
	}
}

func TestUndocumentedNamesAreFound(t *testing.T) {
	tree := plant(t, map[string]string{"metadata/a.go": `package metadata

type Node struct{}

func (n Node) String() string { return "" }

func (n *Node) Close() {}

func (n hidden) Open() {}

// Kinds.
const (
	A = iota
	B
)

var (
	X = 1
	Y = 2 // Y is why.
)

func New() {}
`, "metadata/a_test.go": "package metadata\n\nfunc Helper() {}\n", "internal/deque/a.go": "package deque\n\nfunc New() {}\n"})
	require.Equal(t, []string{
		"metadata/a.go:3: Node has no comment",
		"metadata/a.go:7: Close has no comment",
		"metadata/a.go:18: X has no comment",
		"metadata/a.go:22: New has no comment",
		"metadata: the package has no comment",
	}, Docs(tree))
}

func TestAPIIsDescribedFactByFact(t *testing.T) {
	const text = `package p

type Code int16

const (
	None Code = iota
	Bad
	hidden
)

func (c Code) String() string { return "" }

type base struct{}

func (base) Close() error { return nil }

type Conn[K comparable, V any] struct {
	base
	Key  K
	Open func(name string) (V, error)
	n    int
}

func (c *Conn[K, V]) Get(k K) (v V, ok bool) { return }

func (c *Conn[K, V]) get() {}

type Closer interface {
	interface{ Close() error }
	Name() string
}

type Text = []byte

var Default Code = Bad

func New[T any](v T, more ...string) *Conn[string, T] { return nil }
`
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "p.go", text, 0)
	require.NoError(t, err)
	config := types.Config{Importer: importer.Default()}
	pkg, err := config.Check("p", fset, []*ast.File{file}, nil)
	require.NoError(t, err)
	require.Equal(t, strings.Split(strings.TrimSpace(`
const Bad Code = 1
const None Code = 0
func New[T any](v T, more ...string) *Conn[string, T]
method (*Conn[K, V]) Get(k K) (v V, ok bool)
method (Code) String() string
method (Conn[K, V]) Close() error
type Closer interface
type Closer interface, Close() error
type Closer interface, Name() string
type Code int16
type Conn struct, Key K
type Conn struct, Open func(name string) (V, error)
type Conn struct, with unexported fields
type Conn[K comparable, V any] struct
type Text = []byte
var Default Code
`), "\n"), describePackage(pkg))
}

func TestDifferenceShowsBothSides(t *testing.T) {
	require.Empty(t, difference([]string{"a", "b"}, []string{"b", "a"}))
	require.Equal(t, []string{"-func A()", "+func A(int)", "+func C()"}, difference([]string{"func A()", "func B()"}, []string{"func A(int)", "func B()", "func C()"}))
}
