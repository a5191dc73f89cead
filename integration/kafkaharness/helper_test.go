package kafkaharness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAnswersAreRead reads the three forms of a line, escaped words included.
func TestAnswersAreRead(t *testing.T) {
	in := bufio.NewReader(strings.NewReader("+\t1\ta%09b+c\n+\t\n.\n!\tSomeException\tit+is%0Abroken\n.\n?\n"))
	a, err := readAnswer(in)
	require.NoError(t, err)
	require.Equal(t, [][]string{{"1", "a\tb c"}, {""}}, a.rows)
	a, err = readAnswer(in)
	require.NoError(t, err)
	require.Equal(t, &HelperError{Class: "SomeException", Message: "it is\nbroken"}, a.err)
	_, err = readAnswer(in)
	require.NoError(t, err)
	_, err = readAnswer(in)
	require.Error(t, err)
}

// TestHelperAnswersAndEnds calls the real helper, lets it refuse, and checks that calls after its end fail at once.
func TestHelperAnswersAndEnds(t *testing.T) {
	h, err := StartHelper(Require(t), t.TempDir())
	require.NoError(t, err)
	defer h.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rows, err := h.Call(ctx, "ping")
	require.NoError(t, err)
	require.Equal(t, [][]string{{"pong"}}, rows)
	_, err = h.Call(ctx, "no such\tcommand")
	refused, ok := errors.AsType[*HelperError](err)
	require.True(t, ok, "%v", err)
	require.Contains(t, refused.Message, "no such\tcommand")
	_, err = h.Call(ctx, "dump", t.TempDir()+"/out", "no-such-file.log")
	require.Error(t, err, "a tool's exit must not end the helper")
	_, err = h.Call(ctx, "ping")
	require.NoError(t, err)
	require.NoError(t, h.Close())
	_, err = h.Call(ctx, "ping")
	require.Error(t, err)
}

// TestMain also serves as the parent whose end TestOrphansEnd watches.
func TestMain(m *testing.M) {
	if os.Getenv("QUILL_TEST_ORPHAN") == "1" {
		p, err := startProcess(exec.Command("sleep", "60"))
		if err != nil {
			panic(err)
		}
		fmt.Println(p.cmd.Process.Pid)
		time.Sleep(time.Minute)
	}
	os.Exit(m.Run())
}

// TestProcessStops covers the ways to end a child: asked, deaf, frozen.
func TestProcessStops(t *testing.T) {
	for name, script := range map[string]string{"asked": "sleep 60", "deaf": "trap '' TERM; echo ready; while :; do sleep 0.05; done"} {
		t.Run(name, func(t *testing.T) {
			p, err := startProcess(exec.Command("sh", "-c", script))
			require.NoError(t, err)
			time.Sleep(50 * time.Millisecond)
			require.NoError(t, p.signal(syscall.SIGSTOP))
			require.True(t, p.running())
			require.NoError(t, p.stop(300*time.Millisecond))
			require.False(t, p.running())
			require.NoError(t, p.kill(), "once more changes nothing")
		})
	}
}

// TestPortsAreFree takes ports that can be listened on, and none twice.
func TestPortsAreFree(t *testing.T) {
	ports, err := freePorts(6)
	require.NoError(t, err)
	seen := map[int]bool{}
	for _, port := range ports {
		require.False(t, seen[port])
		seen[port] = true
	}
	require.Len(t, seen, 6)
}

// TestPartialCacheIsNotUsed fills the cache directory in one step: a failed filling leaves nothing under its name.
func TestPartialCacheIsNotUsed(t *testing.T) {
	base := t.TempDir()
	dir := base + "/jars"
	fault := errors.New("no network")
	require.ErrorIs(t, once(dir, func(part string) error {
		require.NoError(t, os.WriteFile(part+"/half.jar", nil, 0o644))
		return fault
	}), fault)
	require.NoDirExists(t, dir)
	entries, err := os.ReadDir(base)
	require.NoError(t, err)
	require.Empty(t, entries)
	require.NoError(t, once(dir, func(part string) error { return os.WriteFile(part+"/whole.jar", nil, 0o644) }))
	require.FileExists(t, dir+"/whole.jar")
	require.NoError(t, once(dir, func(string) error { return fault }), "a full directory is not filled again")
}

// What a machine lacks is a MissingError, which RequireFound takes for a failure where CI=true.
func TestMissingKDCIsNamed(t *testing.T) {
	t.Setenv("PATH", "")
	_, err := StartKDC(t.Context())
	var missing *MissingError
	require.ErrorAs(t, err, &missing)
	require.ErrorContains(t, err, "krb5-kdc")
}
