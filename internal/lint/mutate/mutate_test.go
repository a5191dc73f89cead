package main

import (
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func repositoryRoot(t *testing.T) string {
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	return root
}

// The code changes; a mutation that can't be made any more would be noticed only by a run of
// them all.
func TestEveryMutationCanBeMade(t *testing.T) {
	names := map[string]bool{}
	all := mutations()
	for _, m := range all {
		require.False(t, names[m.name], "%s is there twice", m.name)
		names[m.name] = true
		require.NotEqual(t, m.old, m.new, m.name)
		require.NotEmpty(t, m.breaks, m.name)
	}
	_, err := plant(repositoryRoot(t), all)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(all), 150)
}

// An edit that leaves a variable unused parses, and would keep all others from being built.
func TestAllMutationsCompile(t *testing.T) {
	r := runner{root: repositoryRoot(t), all: mutations(), dir: t.TempDir()}
	overlay, err := r.overlay()
	require.NoError(t, err)
	packages := map[string]bool{}
	for _, m := range r.all {
		packages["./"+path.Dir(m.file)] = true
	}
	build := exec.Command("go", append([]string{"build", "-gcflags=-N -l", "-overlay", overlay}, slices.Sorted(maps.Keys(packages))...)...)
	build.Dir = r.root
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// A test that was renamed would notice nothing any more.
func TestEveryWitnessIsThere(t *testing.T) {
	root := repositoryRoot(t)
	outside, err := testsOutside(root)
	require.NoError(t, err)
	texts := map[string]string{}
	for _, m := range mutations() {
		for _, w := range m.witnesses(outside) {
			if texts[w.pkg] == "" {
				files, err := filepath.Glob(filepath.Join(root, w.pkg, "*_test.go"))
				require.NoError(t, err)
				for _, f := range files {
					text, err := os.ReadFile(f)
					require.NoError(t, err)
					texts[w.pkg] += string(text)
				}
			}
			if w.tests == "" {
				continue
			}
			for name := range strings.SplitSeq(w.tests, "|") {
				if !strings.Contains(texts[w.pkg], "func "+name+"(") {
					t.Errorf("%s: package %s has no test %s", m.name, w.pkg, name)
				}
			}
		}
	}
}

// What is named for the root package is run where it is; what is named for another package stays there.
func TestWitnessesAreInOnePackageEach(t *testing.T) {
	outside := map[string]string{"TestB": "internal/blackbox/b", "TestC": "internal/blackbox/b"}
	for _, row := range []struct {
		file, tests string
		want        []witness
	}{
		{"a.go", "TestA", []witness{{pkg: ".", tests: "TestA"}}},
		{"a.go", "TestA|TestB|TestC", []witness{{pkg: ".", tests: "TestA"}, {pkg: "internal/blackbox/b", tests: "TestB|TestC"}}},
		{"a.go", "TestB", []witness{{pkg: "internal/blackbox/b", tests: "TestB"}}},
		{"a.go", "", []witness{{pkg: "."}}},
		{"network/a.go", "TestB", []witness{{pkg: "network", tests: "TestB"}}},
	} {
		m := mutation{file: row.file, by: by(row.tests)}
		require.Equal(t, row.want, m.witnesses(outside))
	}
}

const plantedProgram = `package main

import "fmt"

type box[T any] struct{ v T }

func (box[T]) sum(_ string, n ...int) (s int) {
	for _, i := range n {
		s += i
	}
	return
}

func pair[A, B any](a A, _ int) (A, *B) { return a, nil }

func show(int) {
	fmt.Print("shown ")
}

var (
	table = map[string]int{"a": 1, "b": 2}
	limit = 5
)

func main() {
	a, _ := pair[string, int]("pair", 1)
	show(1)
	fmt.Println(box[int]{}.sum("", 1, 2), a, table["b"], limit)
}
`

// Each number switches its own edit on, and no other; 0 is the program as it was.
func TestOneProgramHasAllMutations(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, text []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	write("main.go", []byte(plantedProgram))
	write("go.mod", []byte("module planted\n\ngo 1.26\n"))
	all := []mutation{
		{name: "variadic, without names", file: "main.go", old: "s += i", new: "s -= i"},
		{name: "the same function", file: "main.go", old: "	return\n", new: "	s *= 10; return\n"},
		{name: "generic", file: "main.go", old: "return a, nil", new: "return *new(A), nil"},
		{name: "without a result", file: "main.go", old: `"shown "`, new: `"hidden "`},
		{name: "a table", file: "main.go", old: `"b": 2`, new: `"b": 3`},
		{name: "the same table", file: "main.go", old: `"a": 1, "b"`, new: `"b": 4, "a"`},
		{name: "a number", file: "main.go", old: "5\n", new: "6\n"},
	}
	planted, err := plant(dir, all)
	require.NoError(t, err)
	for name, text := range planted {
		write(name, text)
	}
	build := exec.Command("go", "build", "-o", "planted", ".")
	build.Dir = dir
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for number, want := range []string{"shown 3 pair 2 5", "shown -3 pair 2 5", "shown 30 pair 2 5", "shown 3  2 5", "hidden 3 pair 2 5",
		"shown 3 pair 3 5", "shown 3 pair 4 5", "shown 3 pair 2 6"} {
		cmd := exec.Command(filepath.Join(dir, "planted"))
		cmd.Env = append(os.Environ(), switchName+"="+string(rune('0'+number)))
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimSpace(string(out)), number)
	}
}

// What replaces nothing, or something twice, or lies between functions is refused by name.
func TestWrongMutationsAreRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a\n\ntype t int\n\nvar x, y = 1.5, 2.5\n\nfunc f() int { return 1 + 1 + 1 }\n"), 0o600))
	for old, want := range map[string]string{
		"return 2":     "there 0 times",
		"1 +":          "there 2 times",
		"int\n\nvar":   "not inside",
		"type t int\n": "declarations",
		"1.5, 2.5":     "more than the value",
		"return":       "does not parse",
	} {
		with := map[string]string{"int\n\nvar": "uint\n\nvar", "return": "retur n(", "1.5, 2.5": "2.5, 1.5"}[old]
		_, err := plant(dir, []mutation{{name: "the-name", file: "a.go", old: old, new: with}})
		require.ErrorContains(t, err, "the-name")
		require.ErrorContains(t, err, want)
	}
}
