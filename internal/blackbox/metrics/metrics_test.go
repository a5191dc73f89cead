package metrics_test

import (
	"context"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/metrics"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

type producer = quill.Producer[string, string]

// inCluster runs test with a producer on a cluster of one node with the topic t, of two partitions.
func inCluster(t *testing.T, opts quilltest.Options, change func(cfg *quill.Config), test func(t *testing.T, c *quilltest.Cluster, p *producer)) {
	testkit.Bubble(t, opts, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.ClientID = "shop"
		if change != nil {
			change(&cfg)
		}
		p := testkit.Open(t, cfg)
		test(t, c, p)
		testkit.CloseProducer(t, p)
	})
}

// to returns a record for a partition.
func to(partition int32, value string) quill.Record[string, string] {
	return quill.Record[string, string]{Topic: "t", Partition: quill.Partition(partition), Value: value}
}

// names returns group, name and tags of metrics, sorted.
func names(all []metrics.Metric) (lines []string) {
	for _, m := range all {
		var tags []string
		for _, tag := range m.Tags {
			tags = append(tags, tag.Key)
		}
		lines = append(lines, strings.Join([]string{m.Group, m.Name, strings.Join(tags, ",")}, "\t"))
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// TestMetricsHaveJavasNamesGroupsAndTags.
//
// Java: SenderTest.testSenderMetricsTemplates
func TestMetricsHaveJavasNamesGroupsAndTags(t *testing.T) {
	list, err := os.ReadFile("testdata/java-metrics.tsv")
	require.NoError(t, err)
	want := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(list)), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
	require.Len(t, want, 98)
	inCluster(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		_, err := p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		s := p.Metrics()
		all := slices.Collect(s.All())
		require.Equal(t, want, names(all))
		require.Equal(t, want, names(slices.Collect(metrics.Known())))
		require.Equal(t, len(all), s.Count())
		for _, m := range all {
			require.NotEmpty(t, m.Description, m.Name)
			require.Equal(t, metrics.Tag{Key: "client-id", Value: "shop"}, m.Tags[0], m.Name)
			suffix := map[metrics.Kind]string{metrics.Rate: "-rate", metrics.Counter: "-total", metrics.Max: "-max", metrics.Ratio: "-ratio"}[m.Kind]
			require.True(t, strings.HasSuffix(m.Name, suffix), "%s is a %v", m.Name, m.Kind)
			if m.Name == "count" {
				require.EqualValues(t, len(all), m.Value)
			}
		}
		var nodes []string
		for _, n := range s.Nodes {
			nodes = append(nodes, metricOf(t, &s, metrics.GroupNode, "request-total", metrics.Tag{Key: "node-id", Value: nodeTag(n.ID)}).Tags[1].Value)
		}
		require.Equal(t, []string{"node--1", "node-1"}, nodes)
	})
}

func nodeTag(id int32) string { return "node-" + strconv.Itoa(int(id)) }

// metricOf returns the metric with the name and tag.
func metricOf(t *testing.T, s *metrics.Snapshot, group, name string, tag metrics.Tag) metrics.Metric {
	for m := range s.All() {
		if m.Group == group && m.Name == name && slices.Contains(m.Tags, tag) {
			return m
		}
	}
	t.Fatalf("no metric %s of %s with %v", name, group, tag)
	return metrics.Metric{}
}

// TestAProducerThatHasDoneNothingHasNoAverages, but all its names.
func TestAProducerThatHasDoneNothingHasNoAverages(t *testing.T) {
	inCluster(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.BufferMemory = 1 << 20 }, func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		s := p.Metrics()
		require.True(t, math.IsNaN(s.Producer.RecordQueueTime.Max))
		require.True(t, math.IsNaN(s.Producer.RequestLatency.Avg))
		require.Zero(t, s.Producer.RecordSend)
		require.Equal(t, 1<<20, int(s.Producer.BufferTotal))
		require.Equal(t, s.Producer.BufferTotal, s.Producer.BufferAvailable)
		require.Empty(t, s.Topics)
		require.Equal(t, time.Now(), s.Taken)
		require.WithinDuration(t, time.Now(), s.App.StartTime, 0)
		require.Equal(t, "shop", s.ClientID)
	})
}

// TestRecordsAreCountedAsTheyLeave, in the producer's metrics and the topic's: once for a batch, not for a record.
func TestRecordsAreCountedAsTheyLeave(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) { cfg.Linger = 10 * time.Millisecond }, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		testkit.Known(t, p, "t")
		before := p.Metrics()
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 40 * time.Millisecond})
		var fs []quill.Future
		for i := range 5 {
			fs = append(fs, p.Send(t.Context(), to(int32(i%2), strings.Repeat("v", 100*(i+1)))))
		}
		for _, f := range fs {
			_, err := f.Wait(t.Context())
			require.NoError(t, err)
		}
		s := p.Metrics()
		require.EqualValues(t, 5, s.Producer.RecordSend.Total-before.Producer.RecordSend.Total)
		require.Equal(t, s.Producer.RecordSend, s.Topics[0].RecordSend)
		require.Equal(t, "t", s.Topics[0].Name)
		require.InDelta(t, 10, s.Producer.RecordQueueTime.Max, 1, "the linger, in milliseconds")
		require.InDelta(t, 40, s.Producer.RequestLatency.Max, 1)
		require.InDelta(t, 40, s.Nodes[len(s.Nodes)-1].RequestLatency.Max, 1)
		require.Greater(t, s.Producer.RecordSize.Max, 561.0)
		require.Less(t, s.Producer.RecordSize.Max, 600.0, "an upper bound of the largest record, with the header of a batch")
		require.Greater(t, s.Producer.BatchSize.Max, 900.0, "partition 0 has records of 100, 300 and 500 bytes")
		require.Equal(t, 1.0, s.Producer.CompressionRate)
		require.Zero(t, s.Producer.RecordError.Total)
		require.Zero(t, s.Producer.RequestsInFlight)
		require.InDelta(t, s.Producer.RecordSend.Total/30, s.Producer.RecordSend.Rate, 0.01, "a window counts as thirty seconds")
		time.Sleep(2 * time.Minute)
		late := p.Metrics()
		require.Zero(t, late.Producer.RecordSend.Rate)
		require.True(t, math.IsNaN(late.Producer.BatchSize.Avg))
		require.Equal(t, s.Producer.RecordSend.Total, late.Producer.RecordSend.Total)
	})
}

// TestWindowsAreThoseOfTheConfig: metrics.num.samples and metrics.sample.window.ms.
func TestWindowsAreThoseOfTheConfig(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) {
		cfg.MetricsNumSamples, cfg.MetricsSampleWindow = 5, time.Second
	}, func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		_, err := p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		require.InDelta(t, 1.0/4, p.Metrics().Producer.RecordSend.Rate, 0.001, "four of five windows are missing")
		time.Sleep(4999 * time.Millisecond)
		require.InDelta(t, 1.0/5, p.Metrics().Producer.RecordSend.Rate, 0.001)
		time.Sleep(time.Second)
		require.Zero(t, p.Metrics().Producer.RecordSend.Rate)
	})
}

// TestCompressionIsMeasured when the batch is back: it is compressed on its way.
func TestCompressionIsMeasured(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) { cfg.Compression = quill.CompressionLZ4 }, func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		_, err := p.SendSync(t.Context(), to(0, strings.Repeat("v", 5000)))
		require.NoError(t, err)
		s := p.Metrics()
		require.Less(t, s.Producer.CompressionRate, 0.1)
		require.Greater(t, s.Producer.CompressionRate, 0.001)
		require.Equal(t, s.Producer.CompressionRate, s.Topics[0].CompressionRate)
		require.Less(t, s.Producer.BatchSize.Max, 500.0)
		require.Equal(t, s.Producer.BatchSize.Max, s.Topics[0].Bytes.Total)
	})
}

// TestRetriesAndErrorsAreCounted in records, for the producer and its topic.
func TestRetriesAndErrorsAreCounted(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		testkit.Known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.NotEnoughReplicas, Times: 3})
		_, err := p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.TopicAuthorizationFailed})
		_, err = p.SendSync(t.Context(), to(0, "v"))
		require.Error(t, err)
		s := p.Metrics()
		require.EqualValues(t, 3, s.Producer.RecordRetry.Total)
		require.EqualValues(t, 3, s.Topics[0].RecordRetry.Total)
		require.EqualValues(t, 1, s.Producer.RecordError.Total)
		require.EqualValues(t, 1, s.Topics[0].RecordError.Total)
		require.Positive(t, s.Producer.RecordRetry.Rate)

		_, err = p.SendSync(t.Context(), to(7, "v"))
		require.ErrorIs(t, err, quill.ErrInvalidPartition)
		s = p.Metrics()
		require.EqualValues(t, 2, s.Producer.RecordError.Total, "a record that fails in Send counts")
		require.EqualValues(t, 1, s.Topics[0].RecordError.Total, "but was in no batch")
		require.False(t, p.TrySend(to(7, "v")))
	})
}

// TestSplitsAreCounted.
func TestSplitsAreCounted(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		testkit.Known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.MessageTooLarge})
		a, b := p.Send(t.Context(), to(0, "a")), p.Send(t.Context(), to(0, "b"))
		for _, f := range []quill.Future{a, b} {
			_, err := f.Wait(t.Context())
			require.NoError(t, err)
		}
		s := p.Metrics()
		require.EqualValues(t, 1, s.Producer.BatchSplit.Total)
		require.Greater(t, s.Producer.RecordSize.Max, 0.0)
	})
}

// TestWaitsAreMeasured: for metadata, and for memory, also those in vain.
func TestWaitsAreMeasured(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) {
		cfg.BufferMemory, cfg.BatchSize, cfg.MaxRequestSize, cfg.MaxBlock = 32<<10, 16<<10, 16<<10, 2*time.Second
	}, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "t", AnswerDelay: 300 * time.Millisecond})
		_, err := p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		require.InDelta(t, 300e6, p.Metrics().Producer.MetadataWaitTime, 20e6)

		testkit.PauseAll(t, c)
		large := strings.Repeat("v", 15<<10)
		for i := range int32(2) {
			p.Send(t.Context(), to(i, large))
		}
		done := make(chan error, 1)
		go func() { _, err := p.SendSync(context.Background(), to(0, large)); done <- err }()
		time.Sleep(time.Second)
		s := p.Metrics()
		require.EqualValues(t, 1, s.Producer.WaitingThreads)
		require.Less(t, s.Producer.BufferAvailable, s.Producer.BufferTotal)
		require.ErrorIs(t, <-done, quill.ErrBufferExhausted)
		s = p.Metrics()
		require.EqualValues(t, 0, s.Producer.WaitingThreads)
		require.EqualValues(t, 1, s.Producer.BufferExhausted.Total)
		require.InDelta(t, 2e9, s.Producer.BufferWait.Total, 1e6)
		require.InDelta(t, 2.0/30, s.Producer.BufferWait.Ratio, 0.01)
		require.EqualValues(t, 1, s.Producer.RecordError.Total)
		testkit.ResumeAll(t, c)
	})
}

// TestFlushIsMeasured.
//
// Java: KafkaProducerTest.testFlushMeasureLatency
func TestFlushIsMeasured(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		testkit.Known(t, p, "t")
		before := p.Metrics().Producer.FlushTime
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 700 * time.Millisecond})
		p.Send(t.Context(), to(0, "v"))
		require.NoError(t, p.Flush(t.Context()))
		require.InDelta(t, 700e6, p.Metrics().Producer.FlushTime-before, 10e6)
	})
}

// TestCallsAboutTransactionsAreMeasured.
//
// Java: KafkaProducerTest.testMeasureAbortTransactionDuration, KafkaProducerTest.testMeasureTransactionDurations
func TestCallsAboutTransactionsAreMeasured(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) { cfg.TransactionalID = "till" }, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		slowly := func(key protocol.APIKey) {
			c.Inject(quilltest.Fault{APIs: []protocol.APIKey{key}, AnswerDelay: 500 * time.Millisecond})
		}
		slowly(protocol.InitProducerID)
		require.NoError(t, p.InitTransactions(t.Context()))
		require.NoError(t, p.BeginTransaction())
		_, err := p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		c.SetGroup("g", quilltest.Group{})
		slowly(protocol.TxnOffsetCommit)
		require.NoError(t, p.SendOffsetsToTransaction(t.Context(), map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: 1}}, quill.GroupMetadata{GroupID: "g"}))
		slowly(protocol.EndTxn)
		require.NoError(t, p.CommitTransaction(t.Context()))
		require.NoError(t, p.BeginTransaction())
		_, err = p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		slowly(protocol.EndTxn)
		require.NoError(t, p.AbortTransaction(t.Context()))
		s := p.Metrics().Producer
		for call, took := range map[string]float64{"init": s.TxnInitTime, "offsets": s.TxnSendOffsetsTime, "commit": s.TxnCommitTime, "abort": s.TxnAbortTime} {
			require.InDelta(t, 500e6, took, 50e6, call)
		}
		require.Zero(t, s.TxnPrepareTime)
		require.Less(t, s.TxnBeginTime, 1e6)
	})
}

// TestConnectionsAndTrafficAreCounted by node, without what authenticates.
func TestConnectionsAndTrafficAreCounted(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		var requests int
		c.Inject(quilltest.Fault{Times: -1, Do: func(r *quilltest.Request) { requests++ }})
		_, err := p.SendSync(t.Context(), to(0, strings.Repeat("v", 1000)))
		require.NoError(t, err)
		synctest.Wait() // the connection to the bootstrap server is closed
		s := p.Metrics()
		traffic := s.Producer.Traffic
		require.EqualValues(t, requests, traffic.Request.Total)
		require.EqualValues(t, requests, traffic.Response.Total)
		require.EqualValues(t, len(s.Nodes), s.Producer.ConnectionCreation.Total)
		require.EqualValues(t, 1, s.Producer.ConnectionClose.Total, "that to the bootstrap server is not needed any more")
		require.EqualValues(t, 1, s.Producer.ConnectionCount)
		require.Greater(t, traffic.RequestSize.Max, 1000.0)
		require.Less(t, traffic.RequestSize.Max, 1300.0)
		var sum, in float64
		for _, n := range s.Nodes {
			sum, in = sum+n.Traffic.Outgoing.Total, in+n.Traffic.Incoming.Total
			require.Positive(t, n.Traffic.Request.Rate)
		}
		require.Equal(t, traffic.Outgoing.Total, sum)
		require.Equal(t, traffic.Incoming.Total, in)
		require.GreaterOrEqual(t, s.Producer.NetworkIO.Total, 2*float64(requests))
		require.Zero(t, s.Producer.SuccessfulAuthentication.Total, "a plaintext connection authenticates nobody")

		c.StopNode(1)
		time.Sleep(time.Second)
		require.EqualValues(t, 2, p.Metrics().Producer.ConnectionClose.Total)
	})
}

// TestThrottlingIsMeasured.
func TestThrottlingIsMeasured(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		testkit.Known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Throttle: 250 * time.Millisecond})
		_, err := p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		s := p.Metrics().Producer
		require.Equal(t, 250.0, s.ThrottleTime.Max)
		require.Less(t, s.ThrottleTime.Avg, 250.0, "other answers count, too")
	})
}

// TestAuthenticationIsCounted, and that sessions are renewed (KIP-368).
func TestAuthenticationIsCounted(t *testing.T) {
	opts := quilltest.Options{Nodes: 1, SASL: &quilltest.SASL{Users: map[string]string{"shop": "open"}, SessionLifetime: 10 * time.Second}}
	login := func(password string) func(cfg *quill.Config) {
		return func(cfg *quill.Config) { cfg.SASL = sasl.Plain("shop", password) }
	}
	inCluster(t, opts, login("open"), func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		for range 30 {
			_, err := p.SendSync(t.Context(), to(0, "v"))
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		s := p.Metrics()
		require.EqualValues(t, len(s.Nodes), s.Producer.SuccessfulAuthentication.Total)
		require.EqualValues(t, len(s.Nodes), s.Producer.SuccessfulAuthenticationNoReauth)
		require.GreaterOrEqual(t, s.Producer.SuccessfulReauthentication.Total, 2.0)
		require.False(t, math.IsNaN(s.Producer.ReauthenticationLatency.Max))
		require.Zero(t, s.Producer.FailedAuthentication.Total)
	})
	inCluster(t, opts, login("wrong"), func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		_, err := p.SendSync(t.Context(), to(0, "v"))
		require.ErrorIs(t, err, quill.ErrAuthentication)
		require.Positive(t, p.Metrics().Producer.FailedAuthentication.Total)
	})
}

// TestTheSendersTimeIsMeasured: a turn takes no time in a bubble, and it sleeps the rest.
func TestTheSendersTimeIsMeasured(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		_, err := p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		time.Sleep(20 * time.Second)
		_, err = p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		s := p.Metrics().Producer
		require.Positive(t, s.Select.Total)
		require.InDelta(t, 20e9, s.IOWait.Total, 1e9)
		require.InDelta(t, 0.4, s.IOWait.Ratio, 0.05, "20 of 50 seconds")
		require.Zero(t, s.IO.Total)
		require.InDelta(t, 20, s.MetadataAge, 1)
	})
}

// TestMetricsCanBeReadAnywhere: in a callback, and after Close.
func TestMetricsCanBeReadAnywhere(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		var inside metrics.Snapshot
		p.SendFunc(t.Context(), to(0, "v"), func(quill.RecordMetadata, error) { inside = p.Metrics() })
		require.NoError(t, p.Flush(t.Context()))
		require.EqualValues(t, 1, inside.Producer.RecordSend.Total)
		testkit.CloseProducer(t, p)
		require.EqualValues(t, 1, p.Metrics().Producer.RecordSend.Total)
		time.Sleep(time.Second)
		require.Zero(t, p.Metrics().Producer.ConnectionCount)
	})
}

// TestReadingMetricsWakesNobody: an idle producer sleeps on, and no timer runs for metrics.
func TestReadingMetricsWakesNobody(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		_, err := p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		before := p.Metrics().Producer.Select.Total
		for range 100 {
			p.Metrics()
			time.Sleep(time.Second)
		}
		require.Equal(t, before, p.Metrics().Producer.Select.Total, "turns of the sender")
	})
}
