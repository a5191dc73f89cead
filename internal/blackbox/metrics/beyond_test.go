package metrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/metrics"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// TestFailedRecordsAreCountedByOutcome: whether they may be in the log.
func TestFailedRecordsAreCountedByOutcome(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) {
		cfg.DeliveryTimeout, cfg.RequestTimeout = 10*time.Second, 3*time.Second
	}, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		testkit.Known(t, p, "t")
		fail := func(f quilltest.Fault, partition int32) {
			f.APIs = []protocol.APIKey{protocol.Produce}
			i := c.Inject(f)
			_, err := p.SendSync(t.Context(), to(partition, "v"))
			require.Error(t, err)
			i.Remove()
		}
		fail(quilltest.Fault{Err: protocol.TopicAuthorizationFailed}, 0)
		fail(quilltest.Fault{}, 9) // no such partition
		fail(quilltest.Fault{DropAnswer: true, Times: -1}, 1)
		s := p.Metrics()
		require.EqualValues(t, 1, s.Outcomes.Rejected.Total)
		require.EqualValues(t, 1, s.Outcomes.NotSent.Total)
		require.EqualValues(t, 1, s.Outcomes.MaybeWritten.Total)
		require.EqualValues(t, 3, s.Producer.RecordError.Total)
	})
}

// TestRetriesAreCountedByCause.
func TestRetriesAreCountedByCause(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) { cfg.RequestTimeout = time.Second }, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		testkit.Known(t, p, "t")
		for _, f := range []quilltest.Fault{{Err: protocol.NotEnoughReplicas, Times: 2}, {DisconnectBefore: true}, {DropRequest: true}} {
			f.APIs = []protocol.APIKey{protocol.Produce}
			c.Inject(f)
			_, err := p.SendSync(t.Context(), to(0, "v"))
			require.NoError(t, err)
		}
		total := map[string]float64{}
		s := p.Metrics()
		for _, r := range s.Retries {
			total[r.Cause] = r.Records.Total
		}
		require.Equal(t, map[string]float64{"NOT_ENOUGH_REPLICAS": 2, "disconnected": 1, "timed out": 1}, total)
	})
}

// TestLatencyHasPercentilesByStage.
func TestLatencyHasPercentilesByStage(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) { cfg.Linger = 100 * time.Millisecond }, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "t", AnswerDelay: 300 * time.Millisecond})
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 50 * time.Millisecond, Times: -1})
		for range 10 {
			for range 3 {
				p.Send(t.Context(), to(0, "v"))
			}
			time.Sleep(time.Second)
		}
		l := p.Metrics().Latency
		for name, x := range map[string]struct {
			h     metrics.Histogram
			count int64
			want  time.Duration
		}{
			"metadata": {l.Metadata, 1, 300 * time.Millisecond}, "queue": {l.Queue, 30, 100 * time.Millisecond},
			"request": {l.Request, 10, 50 * time.Millisecond}, "end to end": {l.EndToEnd, 30, 150 * time.Millisecond}, "memory": {l.Memory, 0, 0},
		} {
			require.Equal(t, x.count, x.h.Count(), name)
			require.InEpsilon(t, 1+x.want, 1+x.h.Quantile(0.99), 0.13, name)
			require.InDelta(t, x.want*time.Duration(x.count), x.h.Sum(), float64(5*time.Millisecond), name)
			last := int64(0)
			for bound, below := range x.h.Buckets() {
				require.GreaterOrEqual(t, below, last)
				if last = below; bound >= 0 && bound < x.want {
					require.Zero(t, below, name)
				}
			}
			require.Equal(t, x.count, last, name)
		}
		time.Sleep(2 * time.Minute)
		require.Zero(t, p.Metrics().Latency.Queue.Quantile(0.5), "percentiles are of the windows")
		require.EqualValues(t, 30, p.Metrics().Latency.Queue.Count())
		require.Zero(t, metrics.Histogram{}.Quantile(0.5))
	})
}

// TestTheSlowestCallbackIsNamed: it keeps all other outcomes waiting.
func TestTheSlowestCallbackIsNamed(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, c *quilltest.Cluster, p *producer) {
		c.MustCreateTopic("slow", 1, quilltest.TopicConfig{})
		for _, topic := range []string{"t", "slow", "t"} {
			p.SendFunc(t.Context(), quill.Record[string, string]{Topic: topic, Partition: quill.Partition(0), Value: "v"}, func(m quill.RecordMetadata, _ error) {
				if m.Topic == "slow" {
					time.Sleep(3 * time.Second)
				}
			})
			require.NoError(t, p.Flush(t.Context()))
		}
		s := p.Metrics().Callbacks
		require.Equal(t, "slow", s.Slowest.Topic)
		require.Equal(t, 3*time.Second, s.Slowest.Took)
		require.Equal(t, 1, s.Slowest.Records)
		require.Equal(t, 3000.0, s.Average.Max)
		require.InDelta(t, 3e9, s.Busy.Total, 1)
		require.Positive(t, s.Busy.Ratio)
	})
}

// TestMemoryIsCountedByNode.
func TestMemoryIsCountedByNode(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) { cfg.Linger = time.Hour; cfg.DeliveryTimeout = 2 * time.Hour }, func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		testkit.Known(t, p, "t")
		p.Send(t.Context(), to(0, strings.Repeat("v", 1000)))
		s := p.Metrics()
		held := int64(0)
		for _, m := range s.Memory {
			if m.Node == 1 {
				held = m.Bytes
			}
		}
		require.Greater(t, held, int64(1000))
		require.EqualValues(t, held, s.Producer.BufferTotal-s.Producer.BufferAvailable)
	})
}

// TestSealingIsCounted, only of batches that are compressed.
func TestSealingIsCounted(t *testing.T) {
	inCluster(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		_, err := p.SendSync(t.Context(), to(0, "v"))
		require.NoError(t, err)
		require.Zero(t, p.Metrics().Sealing)
	})
}
