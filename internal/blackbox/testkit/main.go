// Package testkit is what the tests in internal/blackbox have in common, and the black-box tests of the root package with them:
// clusters in memory, producers, records, and what a test requires of them.
package testkit

import (
	"log"
	"log/slog"
	"os"
	"testing"
)

// Main runs the tests of a package. Most tests give their producers no Logger and make them fail on purpose: what they log is
// not for the eyes of who runs the tests. A test about the log has one of its own.
func Main(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	log.SetOutput(os.Stderr) // SetDefault took that too; a failing example says why
	os.Exit(m.Run())
}
