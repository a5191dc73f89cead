package quill_test

import (
	"log"
	"log/slog"
	"os"
	"testing"
)

// Most tests give their producers no Logger and make them fail on purpose: what they log is not for the eyes
// of who runs the tests. A test about the log has one of its own.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	log.SetOutput(os.Stderr) // SetDefault took that too; a failing example says why
	os.Exit(m.Run())
}
