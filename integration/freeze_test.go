package integration

// A process stands still while the answers to its requests come: it is stopped with requests in flight and goes on when
// request.timeout.ms and delivery.timeout.ms are over, as in a suspended virtual machine or a throttled container.
//
// In CI there are a few short freezes. QUILL_FREEZES is how many there are, of five to twenty seconds each.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/integration/kafkaharness"
)

// TestFrozenProducersMissNoAnswer: whatever was answered while the process stood still is acknowledged, and without
// idempotence nothing is in the log twice. The node is frozen first, so that the requests are in flight for sure when
// the producers are; it answers them while these stand still.
func TestFrozenProducersMissNoAnswer(t *testing.T) {
	const records = 5
	freezes, shortest, longest := 6, 2500*time.Millisecond, 3*time.Second
	if n, err := strconv.Atoi(os.Getenv("QUILL_FREEZES")); err == nil {
		freezes, shortest, longest = n, 5*time.Second, 20*time.Second
	}
	c := oneNode(t)
	ctx := within(t, 5*time.Minute)
	topic := newTopic(t, c, "frozen-producers", 1)
	dir, binary := buildFreezer(ctx, t)
	var err error
	var frozen []*frozenProducer
	for i := range freezes {
		f := &frozenProducer{name: fmt.Sprintf("producer-%d", i), idempotent: i%2 == 0, freeze: shortest + rand.N(longest-shortest)}
		f.log = filepath.Join(dir, f.name+".log")
		delivery := "2s"
		if i%3 == 2 {
			delivery = "2m" // the time-out of the request alone is over
		}
		f.program, err = kafkaharness.StartProgram(f.log, binary, "-bootstrap", strings.Join(c.Bootstrap(), ","), "-topic", topic, "-name", f.name,
			"-records", strconv.Itoa(records), "-idempotent="+strconv.FormatBool(f.idempotent), "-request", "2s", "-delivery", delivery)
		require.NoError(t, err)
		frozen = append(frozen, f)
	}
	for _, f := range frozen {
		f.await(t, "ready")
	}
	require.NoError(t, c.Node(1).Pause())
	for _, f := range frozen {
		require.NoError(t, f.program.Signal(syscall.SIGUSR1))
	}
	for _, f := range frozen {
		f.await(t, "sent")
	}
	time.Sleep(100 * time.Millisecond) // the last requests are written
	for _, f := range frozen {
		require.NoError(t, f.program.Pause())
	}
	require.NoError(t, c.Node(1).Resume())
	begin := time.Now()
	t.Run("thaw", func(t *testing.T) { // returns when all have ended
		for _, f := range frozen {
			f.thaw(t, begin)
		}
	})
	copies := map[string]int{}
	stored, err := c.Records(ctx, topic)
	require.NoError(t, err)
	for _, r := range stored {
		copies[string(r.Value)]++
	}
	for _, f := range frozen {
		require.Equal(t, records, strings.Count(f.text(t), " acknowledged"), "%s, frozen for %v:\n%s", f.name, f.freeze, f.text(t))
		for i := range records {
			require.Equal(t, 1, copies[fmt.Sprintf("%s-%d", f.name, i)], "copies of record %d of %s, idempotent: %v:\n%s", i, f.name, f.idempotent, f.text(t))
		}
	}
}

// buildFreezer returns the program, and a directory for what it prints.
func buildFreezer(ctx context.Context, t *testing.T) (dir, binary string) {
	t.Helper()
	dir = t.TempDir()
	binary = filepath.Join(dir, "freezer")
	build, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./freezer").CombinedOutput()
	require.NoError(t, err, "%s", build)
	return dir, binary
}

// frozenProducer is a process that stands still for a while.
type frozenProducer struct {
	name, log  string
	idempotent bool
	freeze     time.Duration
	program    *kafkaharness.Program
}

func (f *frozenProducer) text(t *testing.T) string {
	text, err := os.ReadFile(f.log)
	require.NoError(t, err)
	return string(text)
}

// await waits until the process has printed the line.
func (f *frozenProducer) await(t *testing.T, line string) {
	t.Helper()
	for begin := time.Now(); !strings.Contains(f.text(t), line+"\n"); time.Sleep(5 * time.Millisecond) {
		require.True(t, f.program.Running() && time.Since(begin) < time.Minute, "%s has not printed %q:\n%s", f.name, line, f.text(t))
	}
}

// thaw lets the process go on when its time is over; others are waiting for theirs.
func (f *frozenProducer) thaw(t *testing.T, begin time.Time) {
	t.Run(f.name, func(t *testing.T) {
		t.Parallel()
		time.Sleep(time.Until(begin.Add(f.freeze)))
		require.NoError(t, f.program.Resume())
		require.Eventually(t, func() bool { return !f.program.Running() }, time.Minute, 20*time.Millisecond)
	})
}
