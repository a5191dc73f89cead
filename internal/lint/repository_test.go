package lint

import (
	"flag"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files of the API")

var open = sync.OnceValues(Open)

// repository returns the tree this package is part of.
func repository(t *testing.T) *Tree {
	t.Helper()
	tree, err := open()
	require.NoError(t, err)
	return tree
}

func report(t *testing.T, faults []string) {
	t.Helper()
	for _, f := range faults {
		t.Error(f)
	}
}

// S18, S21: nothing but the standard library has to do with cryptography.
func TestImportsGoOneWay(t *testing.T) { report(t, Imports(repository(t))) }

// S18.
func TestRootDependsOnCodecsOnly(t *testing.T) {
	faults, err := Dependencies(repository(t))
	require.NoError(t, err)
	report(t, faults)
}

// S19: nor does it rely on the garbage collector.
func TestEngineStartsAndWaitsWhereListed(t *testing.T) { report(t, Engine(repository(t))) }

// S20.
func TestFuzzTargetsHaveACorpus(t *testing.T) { report(t, Fuzz(repository(t))) }

func TestSkippedTestsFailInCI(t *testing.T) { report(t, Skips(repository(t))) }

func TestPagesNameTestsAndFilesThatAreThere(t *testing.T) {
	faults, err := Notices(repository(t))
	require.NoError(t, err)
	report(t, faults)
}

func TestErrorsAboutNoPartitionAreMadeInOneWay(t *testing.T) { report(t, Literals(repository(t))) }

func TestCommentsArePlainEnglish(t *testing.T)    { report(t, English(repository(t))) }
func TestExportedNamesAreDocumented(t *testing.T) { report(t, Docs(repository(t))) }

func TestFilesNameNoMachineAndLeaveNothingBehind(t *testing.T) {
	faults, err := Text(repository(t))
	require.NoError(t, err)
	report(t, faults)
}

// A change of the exported API is made twice: in the code, and here with
//
//	go test ./internal/lint -update
func TestAPIChangesOnPurpose(t *testing.T) {
	dirs := repository(t).Public()
	require.Subset(t, dirs, []string{".", "metadata", "network", "protocol", "quilltest"})
	api, err := API(dirs)
	require.NoError(t, err)
	var files []string
	for _, dir := range dirs {
		file := filepath.Join("testdata", "api", goldenName(dir))
		files = append(files, file)
		if *update {
			require.NoError(t, os.WriteFile(file, []byte(strings.Join(api[dir], "\n")+"\n"), 0o644))
		}
		golden, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("package %s is new: go test ./internal/lint -update (%v)", dir, err)
			continue
		}
		if diff := difference(strings.Split(strings.TrimSuffix(string(golden), "\n"), "\n"), api[dir]); len(diff) > 0 {
			t.Errorf("the exported API of package %s changed; if that is meant: go test ./internal/lint -update\n%s", dir, strings.Join(diff, "\n"))
		}
	}
	present, err := filepath.Glob("testdata/api/*")
	require.NoError(t, err)
	for _, file := range present {
		if !slices.Contains(files, file) {
			t.Errorf("%s belongs to no package", file)
		}
	}
}

func TestTheRootHasFewNames(t *testing.T) {
	names, err := Names(".")
	require.NoError(t, err)
	if len(names) > mostNames {
		t.Errorf("the root exports %d names, at most %d may be: put the new one in a package of its room, or make it a method\n%s",
			len(names), mostNames, strings.Join(names, " "))
	}
}

func TestAnOutsidersExchangeDoesNotCompile(t *testing.T) {
	packages, err := exported([]string{"network", "."})
	require.NoError(t, err)
	lookUp := func(dir, name string) *types.Interface {
		return packages[dir].Scope().Lookup(name).Type().Underlying().(*types.Interface)
	}
	require.True(t, Sealed(lookUp("network", "Exchange")))
	require.False(t, Sealed(lookUp(".", "Partitioner")), "which is for others")
}

// goldenName returns the file of a package: quill.txt, quilltest.quillmock.txt.
func goldenName(dir string) string {
	if dir == "." {
		dir = "quill"
	}
	return strings.ReplaceAll(dir, "/", ".") + ".txt"
}
