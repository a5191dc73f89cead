package integration

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/metrics"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// measured are metrics by group, name and tags but for the client's, as "producer-metrics record-send-rate" and
// "producer-topic-metrics byte-total topic=plain".
type measured map[string]string

// measureJava does some work with Kafka's own producer (see Measured.java) and returns its metrics: the text of each value, and its class.
func measureJava(t *testing.T, call func(ctx context.Context, command string, words ...string) ([][]string, error), work string, bootstrap []string, settings ...string) (values, classes measured) {
	rows, err := call(within(t, time.Minute), "measure", append([]string{work, strings.Join(bootstrap, ",")}, settings...)...)
	require.NoError(t, err)
	values, classes = measured{}, measured{}
	for _, row := range rows {
		key := keyOf(row[0], row[1], strings.Split(row[2], ","))
		values[key], classes[key] = row[4], row[3]
	}
	return values, classes
}

func keyOf(group, name string, tags []string) string {
	words := []string{group, name}
	for _, tag := range tags {
		if !strings.HasPrefix(tag, "client-id=") {
			words = append(words, tag)
		}
	}
	return strings.Join(words, " ")
}

// measure does the same work with ours.
func measure(t *testing.T, work string, bootstrap []string, settings ...string) (values, classes measured) {
	props := map[string]string{"bootstrap.servers": strings.Join(bootstrap, ",")}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		props[name] = value
	}
	cfg, err := quill.ParseProperties(props)
	require.NoError(t, err)
	p, err := quill.New(cfg, quill.Bytes, quill.Bytes)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	defer func() {
		cancel()
		_ = p.Close(ctx) // what is held is given up
	}()
	doWork(t, p, work)
	values, classes = measured{}, measured{}
	s := p.Metrics()
	for m := range s.All() {
		var tags []string
		for _, tag := range m.Tags {
			tags = append(tags, tag.Key+"="+tag.Value)
		}
		key := keyOf(m.Group, m.Name, tags)
		if values[key], classes[key] = strconv.FormatFloat(m.Value, 'g', -1, 64), "number"; m.Kind == metrics.Info {
			values[key], classes[key] = m.Text, "String"
		}
	}
	return values, classes
}

// doWork is work of Measured.java.
func doWork(t *testing.T, p *quill.Producer[[]byte, []byte], work string) {
	random := uint32(1)
	send := func(topic string, size int) quill.Future {
		value := make([]byte, size)
		for i := range value {
			random = random*1103515245 + 12345
			value[i] = byte('a' + (random>>16)%26)
		}
		return p.Send(context.Background(), quill.Record[[]byte, []byte]{Topic: topic, Partition: quill.Partition(0), Value: value})
	}
	wait := func(f quill.Future) {
		_, err := f.Wait(within(t, 30*time.Second))
		require.NoError(t, err)
	}
	switch work {
	case "one":
		wait(send("plain", 100))
	case "batches":
		for range 10 {
			for range 19 {
				send("plain", 200)
			}
			wait(send("plain", 200))
		}
		wait(send("retried", 200))
		wait(send("throttled", 200))
		send("hold", 200)
		time.Sleep(time.Second)
	case "memory":
		for range 30 {
			send("plain", 10_000)
		}
		done := make(chan struct{})
		t.Cleanup(func() { <-done })
		go func() {
			defer close(done)
			for range 3 {
				send("hold", 10_000)
			}
		}()
		time.Sleep(1500 * time.Millisecond)
	}
}

// TestMetricsAreThoseOfALiveJavaProducer: names, groups, tags, and whether a value is a number or a text, on a real broker; and the list that
// tests without Java compare with.
func TestMetricsAreThoseOfALiveJavaProducer(t *testing.T) {
	c := threeNodes(t)
	newTopic(t, c, "plain", 1)
	settings := []string{"client.id=measured"}
	_, java := measureJava(t, c.Helper().Call, "one", c.Bootstrap(), settings...)
	_, ours := measure(t, "one", c.Bootstrap(), settings...)
	require.Equal(t, withoutNodes(t, java), withoutNodes(t, ours))

	var list []string
	for key := range java {
		words := strings.Split(key, " ")
		tags := []string{"client-id"}
		for _, tag := range words[2:] {
			name, _, _ := strings.Cut(tag, "=")
			tags = append(tags, name)
		}
		list = append(list, strings.Join([]string{words[0], words[1], strings.Join(tags, ",")}, "\t"))
	}
	slices.Sort(list)
	golden, err := os.ReadFile("../internal/blackbox/metrics/testdata/java-metrics.tsv")
	require.NoError(t, err)
	want := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(golden)), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
	require.Equal(t, want, slices.Compact(list))
}

// withoutNodes returns the classes with one node in the place of all, because the two producers begin with any of them, and with "number" for
// each class of numbers.
func withoutNodes(t *testing.T, classes measured) measured {
	all := measured{}
	nodes := map[string]bool{}
	for key, class := range classes {
		if before, node, ok := strings.Cut(key, " node-id="); ok {
			require.Regexp(t, `^node-(-[123]|[123])$`, node)
			nodes[node] = true
			key = before + " node-id"
		}
		if class == "Double" || class == "Integer" || class == "Long" {
			class = "number"
		}
		all[key] = class
	}
	require.GreaterOrEqual(t, len(nodes), 2, "a bootstrap server and the leader")
	return all
}

// TestMetricsHaveTheValuesOfJavas plays the same records with both producers, against the same cluster and faults: each within 10 %. A machine that
// has other work may delay one of the two, so there are three tries.
func TestMetricsHaveTheValuesOfJavas(t *testing.T) {
	java := startJava(t)()
	for work, x := range map[string]struct{ settings, names []string }{
		"batches": {
			[]string{"linger.ms=200", "retry.backoff.ms=10", "retry.backoff.max.ms=10", "compression.type=gzip"},
			[]string{"record-send-rate", "record-send-total", "batch-size-avg", "batch-size-max", "request-latency-avg", "record-queue-time-avg", "record-queue-time-max",
				"compression-rate-avg", "record-retry-rate", "record-retry-total", "produce-throttle-time-max", "requests-in-flight", "records-per-request-avg", "record-size-avg", "record-size-max"},
		},
		"memory": {
			[]string{"linger.ms=0", "buffer.memory=40000", "max.block.ms=60000", "max.in.flight.requests.per.connection=1"},
			[]string{"bufferpool-wait-ratio", "bufferpool-wait-time-ns-total", "waiting-threads", "buffer-available-bytes"},
		},
	} {
		t.Run(work, func(t *testing.T) {
			var apart []string
			for range 3 {
				if apart = compareWithJava(t, java, work, x.settings, x.names); len(apart) == 0 {
					return
				}
			}
			require.Empty(t, apart, "more than 10 % apart, three times")
		})
	}
}

// compareWithJava returns which of these metrics are more than 10 % apart after both producers did that work at the same time.
func compareWithJava(t *testing.T, java *kafkaharness.Helper, work string, settings, names []string) (apart []string) {
	c := quilltest.Start(t, quilltest.Options{Nodes: 1})
	for _, topic := range []string{"plain", "retried", "throttled", "hold"} {
		c.MustCreateTopic(topic, 1, quilltest.TopicConfig{})
	}
	produce := []protocol.APIKey{protocol.Produce}
	for _, id := range []string{"java", "quill"} {
		c.Inject(quilltest.Fault{APIs: produce, ClientID: id, Topic: "hold", DropRequest: true, Times: -1})
		c.Inject(quilltest.Fault{APIs: produce, ClientID: id, Topic: "retried", Err: protocol.NotEnoughReplicas, AnswerDelay: time.Second})
		c.Inject(quilltest.Fault{APIs: produce, ClientID: id, Topic: "throttled", Throttle: 400 * time.Millisecond, AnswerDelay: 100 * time.Millisecond})
	}
	c.Inject(quilltest.Fault{APIs: produce, AnswerDelay: 100 * time.Millisecond, Times: -1})
	theirs := make(chan measured, 1)
	go func() {
		values, _ := measureJava(t, java.Call, work, c.BootstrapServers(), append(slices.Clone(settings), "client.id=java")...)
		theirs <- values
	}()
	ours, _ := measure(t, work, c.BootstrapServers(), append(slices.Clone(settings), "client.id=quill")...)
	other := <-theirs
	for _, name := range names {
		a, b := number(t, other, "producer-metrics "+name), number(t, ours, "producer-metrics "+name)
		line := fmt.Sprintf("%-30s Java %14.4f  quill %14.4f  %+.1f %%", name, a, b, 100*(b/a-1))
		if t.Log(line); math.Abs(a-b) > 0.1*math.Abs(a) {
			apart = append(apart, line)
		}
	}
	return apart
}

func number(t *testing.T, values measured, key string) float64 {
	v, err := strconv.ParseFloat(values[key], 64)
	require.NoError(t, err, key)
	return v
}
