package integration

import (
	"bufio"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
)

// mockCluster is librdkafka's mock cluster, the double that clients in most languages are tested with. It lives in a
// kcat that reads the topic; lines is what kcat reads. Later versions send a byte too many behind Metadata: see package network.
func mockCluster(t *testing.T, topic string) (bootstrap []string, lines <-chan string) {
	_, err := kafkaharness.FindKcat(t.Context())
	kafkaharness.RequireFound(t, err)
	cmd := exec.CommandContext(t.Context(), "kcat", "-C", "-u", "-q", "-t", topic, "-b", "ignored:1", "-o", "beginning", "-f", `%k=%s\n`,
		"-X", "test.mock.num.brokers=3", "-X", "debug=mock", "-X", "topic.metadata.refresh.interval.ms=500")
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	servers := make(chan []string, 1)
	go func() {
		listening := regexp.MustCompile(`bootstrap\.servers=(\S+)`)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			if m := listening.FindStringSubmatch(s.Text()); m != nil {
				select {
				case servers <- strings.Split(m[1], ","):
				default:
				}
			}
		}
	}()
	out := make(chan string, 10_000)
	go func() {
		defer close(out)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			out <- s.Text()
		}
	}()
	select {
	case bootstrap = <-servers:
	case <-within(t, 30*time.Second).Done():
		t.Fatal("kcat starts no mock cluster")
	}
	return bootstrap, out
}

// receive takes n lines.
func receive(t *testing.T, lines <-chan string, n int) []string {
	ctx := within(t, time.Minute)
	var got []string
	for len(got) < n {
		select {
		case line, ok := <-lines:
			require.True(t, ok, "kcat has ended after %d records", len(got))
			got = append(got, line)
		case <-ctx.Done():
			t.Fatalf("%d of %d records", len(got), n)
		}
	}
	return got
}

// TestLibrdkafkasMockCluster sends to the double of other languages, with and without a transaction, with each codec.
func TestLibrdkafkasMockCluster(t *testing.T) {
	for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionGzip, quill.CompressionSnappy, quill.CompressionLZ4, quill.CompressionZstd} {
		for _, id := range []string{"", "mock-tx"} {
			t.Run(fmt.Sprint(codec, " ", id), func(t *testing.T) {
				bootstrap, lines := mockCluster(t, "quill")
				p := newProducer(t, quill.Config{BootstrapServers: bootstrap, Compression: codec, TransactionalID: id})
				ctx := within(t, time.Minute)
				if id != "" {
					require.NoError(t, p.InitTransactions(ctx))
					require.NoError(t, p.BeginTransaction())
				}
				const n = 500
				var want []string
				for i := range n {
					key, value := fmt.Sprint("k", i), strings.Repeat("v", i%100+1)
					want = append(want, key+"="+value)
					p.Send(ctx, quill.Record[[]byte, []byte]{Topic: "quill", Key: []byte(key), Value: []byte(value)})
				}
				if id != "" {
					require.NoError(t, p.CommitTransaction(ctx))
				} else {
					require.NoError(t, p.Flush(ctx))
				}
				got := receive(t, lines, n)
				slices.Sort(got)
				slices.Sort(want)
				require.Equal(t, want, got)
			})
		}
	}
}
