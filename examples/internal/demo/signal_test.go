//go:build unix

package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// childEnv makes the test's binary the program that gets the signal: its brokers.
const childEnv = "QUILL_DEMO_BOOTSTRAP"

func TestMain(m *testing.M) {
	if bootstrap := os.Getenv(childEnv); bootstrap != "" {
		os.Args = []string{os.Args[0], "-bootstrap", bootstrap}
		Main(sendUntilStopped)
		return
	}
	os.Exit(m.Run())
}

// sendUntilStopped sends until ctx ends, and closes as all examples do.
func sendUntilStopped(ctx context.Context, cfg quill.Config, out io.Writer) (err error) {
	var sent, delivered, failed atomic.Int64
	p, err := quill.New(cfg, quill.String, quill.String)
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, p.Close(last))
		fmt.Fprintf(out, "sent %d delivered %d failed %d\n", sent.Load(), delivered.Load(), failed.Load())
	}()
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		p.SendFunc(context.Background(), quill.Record[string, string]{Topic: "clicks", Value: "a click"}, func(_ quill.RecordMetadata, err error) {
			if err != nil {
				failed.Add(1)
			} else if delivered.Add(1) == 500 {
				fmt.Fprintln(out, "going")
			}
		})
		sent.Add(1)
		<-tick.C
	}
	return nil
}

// A program that closes its producer as the examples do loses nothing when it is asked to end.
func TestNothingIsLostAtSIGTERM(t *testing.T) {
	c, err := quilltest.NewCluster(quilltest.Options{AutoCreate: true, DefaultPartitions: 6})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+strings.Join(c.BootstrapServers(), ","))
	child.Stderr = t.Output()
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	require.Equal(t, "going", lines.Text())
	require.NoError(t, child.Process.Signal(syscall.SIGTERM))
	require.True(t, lines.Scan())
	var sent, delivered, failed int64
	_, err = fmt.Sscanf(lines.Text(), "sent %d delivered %d failed %d", &sent, &delivered, &failed)
	require.NoError(t, err, lines.Text())
	require.NoError(t, child.Wait())
	require.Zero(t, failed)
	require.Equal(t, sent, delivered)
	require.EqualValues(t, sent, c.Appended("clicks"))
}

// No example closes its producer with a context that its caller may have ended.
func TestExamplesCloseWithAFreshContext(t *testing.T) {
	files, err := filepath.Glob("../../*/*.go")
	require.NoError(t, err)
	more, err := filepath.Glob("../../*/*/*.go")
	require.NoError(t, err)
	files = append(append(files, more...), "../../../doc.go", "../../../example_test.go", "../../../example_transaction_test.go", "../../../example_plugins_test.go", "../../../example_config_test.go")
	require.Greater(t, len(files), 12)
	stale := regexp.MustCompile(`Close\((ctx|context\.Background\(\))\)`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for i, line := range strings.Split(string(text), "\n") {
			if stale.MatchString(line) && !strings.Contains(line, "nothing to wait for") {
				fresh := strings.Join(strings.Split(string(text), "\n")[max(0, i-3):i], "\n")
				require.Contains(t, fresh, "context.WithTimeout(", "%s:%d: %s", name, i+1, line)
			}
		}
	}
}
