package integration

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
)

// TestNothingIsLostAtSIGTERM asks processes to end while they send: each closes its producer as docs/closing.md teaches,
// and what it reported is what Kafka's consumer finds in the log. One sends at an even pace, one has a full buffer when
// the signal comes, and one has a node that stands still for a second then.
func TestNothingIsLostAtSIGTERM(t *testing.T) {
	c := oneNode(t)
	binary := filepath.Join(t.TempDir(), "terminated")
	build, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./terminated").CombinedOutput()
	require.NoError(t, err, "%s", build)
	for i, k := range []struct {
		name   string
		flags  []string
		frozen bool
	}{
		{name: "even", flags: []string{"-pause=200us"}},
		{name: "full-buffer", flags: []string{"-buffer=262144"}},
		{name: "frozen-node", flags: []string{"-pause=200us"}, frozen: true},
	} {
		t.Run(k.name, func(t *testing.T) {
			topic := newTopic(t, c, "terminated-"+k.name, 6)
			run := uint32(70 + i)
			out := filepath.Join(t.TempDir(), "out")
			flags := append([]string{"-bootstrap", strings.Join(c.Bootstrap(), ","), "-topic", topic, "-run", fmt.Sprint(run)}, k.flags...)
			program, err := kafkaharness.StartProgram(out, binary, flags...)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return strings.Contains(textOf(t, out), "going\n") || !program.Running() }, time.Minute, 5*time.Millisecond)
			if k.frozen {
				require.NoError(t, c.Node(1).Pause())
				resume := time.AfterFunc(time.Second, func() { _ = c.Node(1).Resume() }) // sharedCluster resumes it in any case
				defer resume.Stop()
				time.Sleep(300 * time.Millisecond) // more than a thousand records wait for their answers
			}
			require.NoError(t, program.Stop(time.Minute), "%s", program.LogTail(5))
			judgeTerminated(t, c, topic, run, out)
		})
	}
}

// judgeTerminated holds what the process printed against the log.
func judgeTerminated(t *testing.T, c *kafkaharness.Cluster, topic string, run uint32, out string) {
	sent, failed := readTerminated(t, out)
	copies := make([]int, sent)
	rows, err := c.Rows(within(t, time.Minute), topic)
	require.NoError(t, err)
	stored := 0
	for row, err := range rows {
		require.NoError(t, err)
		require.Equal(t, run, row.Run)
		require.Less(t, int(row.Counter), sent)
		copies[row.Counter]++
		stored++
	}
	lost, twice, unlike := 0, 0, 0
	for number, n := range copies {
		outcome, reported := failed[number]
		switch {
		case n > 1:
			twice++
		case n == 0 && !reported:
			lost++
		case n == 1 && reported && outcome != quill.MaybeWritten:
			unlike++
		}
	}
	t.Logf("%d sent, %d reported as failed, %d in the log: %d lost without a report, %d twice, %d reported as not written", sent, len(failed), stored, lost, twice, unlike)
	require.Zero(t, lost+twice+unlike)
	require.Greater(t, stored, 500)
}

// readTerminated returns how many records the process sent, and the outcomes of those that it reported as failed.
func readTerminated(t *testing.T, file string) (sent int, failed map[int]quill.Outcome) {
	failed = map[int]quill.Outcome{}
	delivered, failures, last := 0, 0, ""
	lines := bufio.NewScanner(strings.NewReader(textOf(t, file)))
	for lines.Scan() {
		last = lines.Text()
		var number int
		var outcome uint8
		if n, _ := fmt.Sscanf(last, "failed %d %d", &number, &outcome); n == 2 {
			require.LessOrEqual(t, quill.Outcome(outcome), quill.Rejected, last)
			require.NotContains(t, failed, number, "reported twice")
			failed[number] = quill.Outcome(outcome)
		}
	}
	_, err := fmt.Sscanf(last, "sent %d delivered %d failed %d close: <nil>", &sent, &delivered, &failures)
	require.NoError(t, err, last)
	require.Len(t, failed, failures)
	require.Equal(t, sent, delivered+failures, "each has one outcome")
	return sent, failed
}

func textOf(t *testing.T, file string) string {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}
