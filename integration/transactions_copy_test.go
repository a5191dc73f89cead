package integration

// Three processes copy a topic, each with transactions of its own, while they are killed again and again and brokers go down and
// come back. Whatever a process had done when it died counts wholly or not at all: in the end, readers that
// see committed records only must find in each partition of the copy just what is in the original, in its order.
//
// In CI the topic is small. QUILL_TX_RECORDS makes it as large as one likes; 100,000 take one or two minutes.

import (
	"context"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/integration/ledger"
)

const (
	copiers    = 3
	copyMost   = 750                    // records of a transaction
	copyPause  = 500 * time.Millisecond // how long such a transaction takes
	copierLife = 5 * time.Second        // then it is killed
)

func TestExactlyOnceCopy(t *testing.T) { testExactlyOnceCopy(t, threeNodes(t), 60) }

// copyRun is one copy of a topic. Partition n of it holds stream n of the plan.
type copyRun struct {
	cluster        *kafkaharness.Cluster
	plan           ledger.Plan
	in, out, group string
	binary         string
	dir            string
	programs       [copiers]*kafkaharness.Program
}

func testExactlyOnceCopy(t *testing.T, c *kafkaharness.Cluster, run uint32) {
	const partitions = 8
	ctx := within(t, 10*time.Minute)
	r := &copyRun{
		cluster: c, plan: ledger.Plan{Run: run, Streams: partitions, PerStream: numberFrom(t, "QUILL_TX_RECORDS", 12_000) / partitions, ValueSize: 100},
		in: newTopic(t, c, fmt.Sprintf("original-%d", run), partitions), out: newTopic(t, c, fmt.Sprintf("copy-%d", run), partitions),
		group: fmt.Sprintf("copiers-%d", run), dir: t.TempDir(),
	}
	r.fill(ctx, t)
	r.binary = filepath.Join(r.dir, "copier")
	build, err := exec.CommandContext(ctx, "go", "build", "-o", r.binary, "./copier").CombinedOutput()
	require.NoError(t, err, "%s", build)
	defer func() {
		for i, p := range r.programs {
			if p != nil && t.Failed() {
				t.Logf("%s, last lines of its log:\n%s", r.id(i), p.LogTail(15))
			}
		}
	}()
	r.copy(ctx, t)
	require.NoError(t, c.WaitInSync(ctx, r.out))
	waiting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	require.NoError(t, c.WaitNoTransactions(waiting, r.in, r.out))
	ends, err := c.EndOffsets(ctx, r.in)
	require.NoError(t, err)
	offsets, err := c.GroupOffsets(ctx, r.group, r.in)
	require.NoError(t, err)
	require.Equal(t, ends, offsets, "offsets go with the data")
	r.check(ctx, t)
}

// fill writes the original.
func (r *copyRun) fill(ctx context.Context, t *testing.T) {
	t.Helper()
	p := newProducer(t, quill.Config{BootstrapServers: r.cluster.Bootstrap()})
	var failed atomic.Int32
	for counter := range r.plan.PerStream {
		for stream := range r.plan.Streams {
			p.SendFunc(ctx, quill.Record[[]byte, []byte]{Topic: r.in, Partition: quill.Partition(int32(stream)), Value: r.plan.AppendValue(nil, stream, counter)},
				func(_ quill.RecordMetadata, err error) {
					if err != nil {
						failed.Add(1)
					}
				})
		}
	}
	require.NoError(t, p.Flush(ctx))
	require.Zero(t, failed.Load())
}

func (r *copyRun) id(copier int) string { return fmt.Sprintf("%s-%d", r.group, copier) }

func (r *copyRun) start(copier int) (err error) {
	id := r.id(copier)
	r.programs[copier], err = kafkaharness.StartProgram(filepath.Join(r.dir, id+".log"), r.binary, "-bootstrap", strings.Join(r.cluster.Bootstrap(), ","),
		"-in", r.in, "-out", r.out, "-group", r.group, "-id", id, "-most", strconv.Itoa(copyMost), "-pause", copyPause.String())
	return err
}

// copy runs the processes until all is copied, and nothing lives long meanwhile.
func (r *copyRun) copy(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	stop := make(chan struct{})
	var bounces, kills int
	var bounceErr error
	var bouncing sync.WaitGroup
	begin := time.Now()
	for i := range copiers {
		require.NoError(t, r.start(i))
	}
	bouncing.Go(func() { bounces, bounceErr = r.bounce(ctx, stop) })
	defer bouncing.Wait()
	defer cancel()
	for progress := (progress{}); !r.copied(ctx, t, &progress) || kills < copiers; kills++ {
		time.Sleep(time.Until(begin.Add(time.Duration(kills+1) * copierLife / copiers)))
		victim := r.programs[kills%copiers]
		require.True(t, victim.Running(), "%s ended by itself", r.id(kills%copiers))
		require.NoError(t, victim.Kill())
		require.NoError(t, r.start(kills%copiers))
	}
	took := time.Since(begin)
	close(stop)
	bouncing.Wait()
	require.NoError(t, bounceErr)
	for _, p := range r.programs {
		assert.NoError(t, p.Stop(30*time.Second))
	}
	t.Logf("%d records copied in %v; copiers were killed %d times, nodes %d times", r.plan.Records(), took.Round(time.Millisecond), kills, bounces)
	require.Positive(t, bounces)
}

// progress is how much was copied, and since when it is no more than that.
type progress struct {
	records int
	since   time.Time
}

// copied looks how far the group has come.
func (r *copyRun) copied(ctx context.Context, t *testing.T, last *progress) bool {
	t.Helper()
	offsets, err := r.cluster.GroupOffsets(ctx, r.group, r.in)
	require.NoError(t, err)
	total := 0
	for _, offset := range offsets {
		total += int(offset)
	}
	if total != last.records || last.since.IsZero() {
		*last = progress{total, time.Now()}
	}
	if time.Since(last.since) > time.Minute {
		open, err := r.cluster.OpenTransactions(ctx, r.in, r.out)
		t.Fatalf("no progress for a minute: offsets %v, open %q, %v", offsets, open, err)
	}
	return total == r.plan.Records()
}

// bounce kills or stops one node after the other until told to stop. The next goes down only when all replicas are in sync.
func (r *copyRun) bounce(ctx context.Context, stop <-chan struct{}) (times int, err error) {
	for {
		for _, topic := range []string{r.in, r.out, "__consumer_offsets", "__transaction_state"} {
			if err := r.cluster.WaitInSync(ctx, topic); err != nil {
				return times, err
			}
		}
		select {
		case <-stop:
			return times, nil
		case <-time.After(2 * time.Second):
		}
		n := r.cluster.Nodes()[times%len(r.cluster.Nodes())]
		end := n.Stop
		if times%2 == 0 {
			end = n.Kill
		}
		if err := end(); err != nil {
			return times, err
		}
		time.Sleep(time.Second)
		if err := n.Restart(ctx); err != nil {
			return times, err
		}
		times++
	}
}

// check reads the copy with two readers that share nothing.
func (r *copyRun) check(ctx context.Context, t *testing.T) {
	t.Helper()
	rows, err := r.cluster.IsolatedRows(ctx, r.out, kafkaharness.ReadCommitted)
	require.NoError(t, err)
	committed := r.checkRows(t, rows, "Java's consumer")
	kcat, err := kafkaharness.FindKcat(ctx)
	kafkaharness.RequireFound(t, err)
	r.checkRows(t, kcat.IsolatedRows(ctx, r.cluster.Bootstrap(), r.out, kafkaharness.ReadCommitted), "kcat")
	rows, err = r.cluster.Rows(ctx, r.out)
	require.NoError(t, err)
	all := 0
	for _, err := range rows {
		require.NoError(t, err)
		all++
	}
	t.Logf("%d records committed, %d more in the log, of aborted transactions", committed, all-committed)
	require.Greater(t, all, committed, "some transactions were aborted")
}

// checkRows holds what a reader found against the original.
func (r *copyRun) checkRows(t *testing.T, rows iter.Seq2[ledger.Row, error], reader string) int {
	t.Helper()
	next, n, faults := make([]int, r.plan.Streams), 0, 0
	for row, err := range rows {
		require.NoError(t, err)
		n++
		want := ledger.NewRow(row.Partition, row.Offset, row.Timestamp, nil, r.plan.AppendValue(nil, int(row.Partition), next[row.Partition]), nil)
		if row != want {
			faults++
			if faults <= 10 {
				t.Errorf("%s: partition %d offset %d: record %d of stream %d (run %d) where record %d belongs",
					reader, row.Partition, row.Offset, row.Counter, row.Stream, row.Run, next[row.Partition])
			}
		}
		next[row.Partition]++
	}
	require.Equal(t, r.plan.Records(), n, "%s: each record once", reader)
	require.Zero(t, faults, reader)
	return n
}

// numberFrom is a number in an environment variable, or the one for CI.
func numberFrom(t *testing.T, name string, otherwise int) int {
	t.Helper()
	words := os.Getenv(name)
	if words == "" {
		return otherwise
	}
	n, err := strconv.Atoi(words)
	require.NoError(t, err, name)
	return n
}
