package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/integration/kafkaharness"
)

// frozenCalls are the calls that wait for an answer while their process stands still. With each goes what comes of its
// records.
var frozenCalls = []struct {
	name      string
	open      bool // a record has no answer yet when the process is stopped
	committed bool // a read_committed consumer sees the records
}{
	{"flush", true, true},
	{"close", true, true},
	{"commit", false, true},
	{"abort", false, false},
	{"commit-records", true, true},
	{"close-commit", false, true},
}

// TestFrozenCallsMissNoAnswer: a call whose second is over in a standstill of two and a half returns what the answer says
// that came meanwhile, be delivery.timeout.ms over, too, or not. A commit that has more to ask for says that it is not
// done, and is when it is called again. No record is lost, in the log twice, or told of twice.
//
// As above the node is frozen first; here each process then stops itself when the request that its call waits for is
// written. QUILL_FREEZES is how often each call is frozen.
func TestFrozenCallsMissNoAnswer(t *testing.T) {
	const atOnce, standstill = 3, 2500 * time.Millisecond
	c := oneNode(t)
	ctx := within(t, 20*time.Minute)
	topic := newTopic(t, c, "frozen-calls", 1)
	dir, binary := buildFreezer(ctx, t)
	freezes, again := 0, 0
	for left, round := numberFrom(t, "QUILL_FREEZES", 2), 0; left > 0; left, round = left-atOnce, round+1 {
		var frozen []*frozenCall
		each := min(left, atOnce)
		for i := range each * len(frozenCalls) {
			k := i % len(frozenCalls)
			f := &frozenCall{kind: k, frozenProducer: frozenProducer{name: fmt.Sprintf("%s-%d-%d", frozenCalls[k].name, round, i), freeze: standstill}}
			f.log = filepath.Join(dir, f.name+".log")
			delivery := "2s"
			if i >= each*len(frozenCalls)/2 {
				delivery = "2m" // the time-out of the request alone is over
			}
			var err error
			f.program, err = kafkaharness.StartProgram(f.log, binary, "-bootstrap", strings.Join(c.Bootstrap(), ","), "-topic", topic, "-name", f.name,
				"-records", "3", "-call", frozenCalls[k].name, "-request", "2s", "-delivery", delivery)
			require.NoError(t, err)
			frozen = append(frozen, f)
		}
		freezeCalls(t, c.Node(1), frozen)
		again += judgeCalls(ctx, t, c, topic, frozen)
		freezes += len(frozen)
	}
	t.Logf("%d freezes, commits that were called again: %d", freezes, again)
}

// frozenCall is a process that stands still in a call.
type frozenCall struct {
	frozenProducer
	kind int // of frozenCalls
}

// freezeCalls has all make their calls, and the node answer them while they stand still. It returns when all have ended.
func freezeCalls(t *testing.T, node *kafkaharness.Node, frozen []*frozenCall) {
	t.Helper()
	for _, f := range frozen {
		f.await(t, "ready")
	}
	require.NoError(t, node.Pause())
	for _, f := range frozen {
		require.NoError(t, f.program.Signal(syscall.SIGUSR1))
	}
	for _, f := range frozen {
		f.await(t, "written")
		require.NoError(t, f.program.Pause()) // it does the same itself
	}
	require.NoError(t, node.Resume())
	begin := time.Now()
	t.Run("thaw", func(t *testing.T) { // returns when all have ended
		for _, f := range frozen {
			f.thaw(t, begin)
		}
	})
}

// judgeCalls compares what the processes said with what readers find. It returns how many commits were called again.
func judgeCalls(ctx context.Context, t *testing.T, c *kafkaharness.Cluster, topic string, frozen []*frozenCall) (again int) {
	t.Helper()
	require.NoError(t, c.WaitNoTransactions(ctx, topic))
	copies := map[kafkaharness.Isolation]map[string]int{kafkaharness.ReadCommitted: {}, kafkaharness.ReadUncommitted: {}}
	for isolation, values := range copies {
		stored, err := c.IsolatedRecords(ctx, topic, isolation)
		require.NoError(t, err)
		for _, r := range stored {
			values[string(r.Value)]++
		}
	}
	for _, f := range frozen {
		k, said := frozenCalls[f.kind], f.text(t)
		require.Contains(t, said, "call ended: <nil>\n", "%s:\n%s", f.name, said)
		require.NotContains(t, said, " failed: ", "%s", f.name)
		repeated := strings.Count(said, "call again: ")
		require.True(t, repeated == 0 || k.name == "commit-records", "%s:\n%s", f.name, said)
		again += min(repeated, 1)
		values := []string{f.name + "-0", f.name + "-1", f.name + "-2"}
		if k.open {
			values = append(values, f.name+"-open")
		}
		for _, value := range values {
			committed := 0
			if k.committed {
				committed = 1
			}
			require.Equal(t, 1, strings.Count(said, value+" acknowledged\n"), "how often the end of %s was told:\n%s", value, said)
			require.Equal(t, 1, copies[kafkaharness.ReadUncommitted][value], "copies of %s in the log:\n%s", value, said)
			require.Equal(t, committed, copies[kafkaharness.ReadCommitted][value], "copies of %s that are committed:\n%s", value, said)
		}
	}
	return again
}
