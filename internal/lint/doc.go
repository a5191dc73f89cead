// Package lint holds the rules of this repository that no general tool knows, as tests over its files.
//
// A rule is a function from a Tree to a list of faults, each "file:line: what is wrong". The tests run every rule over the repository,
// and over small trees with planted faults, so that a rule that sees nothing any more is noticed too.
//
// The rules: imports go one way (imports.go); who starts goroutines, reads the clock or waits on it in the engine is on a list
// (engine.go); a test that is skipped says so loudly in CI (skips.go); no file names a machine or leaves work behind (text.go); the
// exported API changes only together with its golden file (api.go); every exported name is documented (docs.go), and
// comments say what functions do, in plain English (english.go); each numbered case of hostile
// nodes, of Close and Flush and of memory has a test (cases.go); the rooms of the root package name each other as a table says, and
// its directory stays short (rooms.go); the picture of it in DESIGN.md is true (picture.go); the pages name tests and files that are
// there, and DESIGN.md is two pages (notices.go); errors about no partition are made by one constructor (literals.go).
//
// Only the standard library is used, and the go command.
package lint
