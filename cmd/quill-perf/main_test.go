package main

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// perf runs the program.
func perf(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = command(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

// toCluster starts a cluster with a topic and returns the flags that lead there.
func toCluster(t *testing.T) (*quilltest.Cluster, []string) {
	c := quilltest.Start(t, quilltest.Options{})
	c.MustCreateTopic("orders", 4, quilltest.TopicConfig{})
	return c, []string{"-bootstrap", strings.Join(c.BootstrapServers(), ","), "-topic", "orders"}
}

var summaryForm = regexp.MustCompile(`(?m)^(\d+)( steady state)? records sent, \d+\.\d{6} records/sec \(\d+\.\d\d MB/sec\), ` +
	`\d+\.\d\d ms avg latency, \d+\.\d\d ms max latency, \d+ ms 50th, \d+ ms 95th, \d+ ms 99th, \d+ ms 99\.9th\.$`)

func TestEveryRecordArrives(t *testing.T) {
	for _, args := range [][]string{
		{"-records", "3000"},
		{"-records", "3000", "-goroutines", "4", "-compression", "zstd", "-keys", "100"},
		{"-records", "200", "-mode", "sync", "-linger", "0s"},
		{"-records", "501", "-mode", "parallel:7", "-acks", "1"},
		{"-records", "300", "-throughput", "3000", "-producer-prop", "acks=0"},
	} {
		c, to := toCluster(t)
		code, out, errs := perf(t.Context(), append(to, args...)...)
		require.Zero(t, code, errs)
		found := summaryForm.FindStringSubmatch(out)
		require.NotNil(t, found, out)
		require.Equal(t, args[1], found[1])
		n := atoi(t, args[1])
		require.NoError(t, c.WaitRecords(t.Context(), "orders", int64(n))) // with acks=0 they may still be on their way
		records, err := c.AllRecords("orders")
		require.NoError(t, err)
		require.Len(t, records, n)
		keyed := map[string]bool{}
		for _, r := range records {
			require.Len(t, r.Value, 100)
			keyed[string(r.Key)] = true
		}
		if len(args) > 6 {
			require.Len(t, keyed, 100)
		}
	}
}

func atoi(t *testing.T, s string) (n int) {
	require.NoError(t, json.Unmarshal([]byte(s), &n))
	return n
}

func TestWarmupIsTakenOutOfTheSteadyState(t *testing.T) {
	code, out, errs := perf(t.Context(), "-embedded", "-records", "5000", "-warmup", "2000", "-partitions", "3")
	require.Zero(t, code, errs)
	require.Empty(t, errs)
	require.True(t, strings.HasPrefix(out, "Warmup first 2000 records. Steady state results will print after the complete test summary.\nIn steady state.\n"), out)
	found := summaryForm.FindAllStringSubmatch(out, -1)
	require.Len(t, found, 2, out)
	require.Equal(t, []string{"5000", ""}, found[0][1:])
	require.Equal(t, []string{"3000", " steady state"}, found[1][1:])
}

func TestJSONIsOneLineWithTheDriversNames(t *testing.T) {
	code, out, errs := perf(t.Context(), "-embedded", "-records", "5000", "-warmup", "1000", "-size", "200", "-json", "-interval", "1ms")
	require.Zero(t, code, errs)
	require.Equal(t, 1, strings.Count(out, "\n"), out)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	for _, name := range []string{"wall", "user", "sys", "rps", "mbps", "rpcs", "mallocs", "alloc_bytes", "gcs", "hwm_kib", "p50", "p99", "p999", "max"} {
		require.Contains(t, got, name)
	}
	for name, want := range map[string]any{"client": "quill", "records": 4000., "warmup": 1000., "size": 200., "samples": 63., "errors": 0.} {
		require.Equal(t, want, got[name], name)
	}
	require.Positive(t, got["rps"])
	require.GreaterOrEqual(t, got["max"], got["p50"])
	require.NotContains(t, got, "first_error")
}

func TestExitStatusTellsWhatHappened(t *testing.T) {
	_, to := toCluster(t)
	for _, c := range []struct {
		args   []string
		code   int
		reason string
	}{
		{[]string{"-mode", "fast", "-embedded"}, exitUsage, `quill-perf: -mode "fast" is not async`},
		{[]string{"-help"}, exitOK, "usage: quill-perf"},
		{[]string{"-embedded", "-compression", "lzo"}, exitNoStart, "compression.type"},
		{[]string{"-bootstrap", "127.0.0.1:1", "-topic", "t", "-producer-prop", "max.block.ms=100"}, exitNoStart, "t"},
		{append(to, "-topic", "nowhere", "-producer-prop", "max.block.ms=100"), exitNoStart, "nowhere"},
		{append(to, "-records", "20", "-size", "2000000"), exitUndelivered, "20 records were not delivered; the first: "},
		{append(to, "-records", "20", "-size", "2000000", "-mode", "sync", "-warmup", "5"), exitUndelivered, "20 records were not delivered; the first: "},
	} {
		code, out, errs := perf(t.Context(), c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, errs)
		require.Contains(t, errs, c.reason)
		if code == exitUndelivered {
			require.Contains(t, out, "0 records sent")
		} else {
			require.Empty(t, out)
		}
	}
}

func TestInterruptionLeavesASummary(t *testing.T) {
	for _, mode := range []string{"async", "sync"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		c, to := toCluster(t)
		stop, interrupt := context.WithCancel(ctx)
		context.AfterFunc(ctx, interrupt)
		go func() {
			for c.Appended("orders") < 100 && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			interrupt()
		}()
		code, out, errs := perf(stop, append(to, "-records", "100000000", "-throughput", "2000", "-mode", mode)...)
		require.Equal(t, exitInterrupted, code, errs)
		require.Contains(t, errs, "quill-perf: interrupted")
		require.Regexp(t, summaryForm, out)
		cancel()
	}
}

func TestFatalErrorsEndTheRun(t *testing.T) {
	c, to := toCluster(t)
	c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: -1, Err: protocol.ClusterAuthorizationFailed})
	code, _, errs := perf(t.Context(), append(to, "-records", "100000000", "-throughput", "1000")...)
	require.Equal(t, exitUndelivered, code, errs)
	require.Contains(t, errs, "the producer gave up")
}
