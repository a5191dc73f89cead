package main

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// mutation is one way to break the producer: an edit of a text that is there exactly once, inside one
// function or one value of a variable.
type mutation struct {
	name     string
	file     string // from the module's root
	old, new string
	breaks   string // what goes wrong
	by       witness
}

// witness names the tests that have to notice.
type witness struct {
	pkg   string   // from the module's root; "": that of the file. The root package's tests may be in internal/blackbox as well
	tests string   // names, apart by |; "": all of the package
	tags  string   // for the build
	env   []string // settings of the tests
}

// The simulator gives up on a mutation after 20,000 schedules.
var (
	bySimulator    = witness{pkg: ".", tests: "TestSimulator", env: []string{"QUILL_SIM_BRIEF=1", "QUILL_SIM_SEEDS=20000"}}
	byTransactions = witness{pkg: ".", tests: "TestSimulatorTransactions", env: []string{"QUILL_SIM_BRIEF=1", "QUILL_SIM_TX_SEEDS=20000"}}
)

// by names tests of the package of the mutation's file.
func by(tests string) witness { return witness{tests: tests} }

// byRoot names tests of the root package.
func byRoot(tests string) witness { return witness{pkg: ".", tests: tests} }

// witnesses returns the mutation's, one for each package that its tests are in. What is named for the root package may be a black-box
// test: outside has the packages of those, by name.
func (m *mutation) witnesses(outside map[string]string) []witness {
	w := m.by
	if w.pkg == "" {
		w.pkg = path.Dir(m.file)
	}
	if w.pkg != "." || w.tests == "" {
		return []witness{w}
	}
	tests := map[string][]string{} // by package
	for name := range strings.SplitSeq(w.tests, "|") {
		pkg := w.pkg
		if o, ok := outside[name]; ok {
			pkg = o
		}
		tests[pkg] = append(tests[pkg], name)
	}
	var all []witness
	for _, pkg := range slices.Sorted(maps.Keys(tests)) {
		part := w
		part.pkg, part.tests = pkg, strings.Join(tests[pkg], "|")
		all = append(all, part)
	}
	return all
}

// blackBox is where the packages are that test the root package from outside.
const blackBox = "internal/blackbox"

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testsOutside returns the black-box tests, with the package of each.
func testsOutside(root string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(root, blackBox, "*", "*_test.go"))
	if err != nil {
		return nil, err
	}
	outside := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			outside[string(m[1])] = path.Join(blackBox, filepath.Base(filepath.Dir(f)))
		}
	}
	return outside, nil
}

// mutations returns the whole list.
func mutations() []mutation {
	return slices.Concat(ofSender, ofSending, ofTransactions, ofMemory, ofMetadata, ofNetwork, ofSASL, ofSecurity, ofProtocol, ofConfig, ofPlugins, ofMetrics, ofTrials)
}
