package main

import (
	"path"
	"slices"
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
	pkg   string   // from the module's root; "": that of the file
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

// witness is the mutation's, with its package.
func (m *mutation) witness() witness {
	w := m.by
	if w.pkg == "" {
		w.pkg = path.Dir(m.file)
	}
	return w
}

// mutations is the whole list.
func mutations() []mutation {
	return slices.Concat(ofSender, ofSending, ofTransactions, ofMemory, ofMetadata, ofNetwork, ofProtocol, ofConfig, ofPlugins, ofTrials)
}
