package inspect_test

import (
	"testing"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// TestInspectOfManyPartitionsIsWhole: the sender gives its part in several turns.
func TestInspectOfManyPartitionsIsWhole(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 3}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 5000, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		for _, partition := range []int32{0, 1023, 1024, 4999} {
			_, err := p.SendSync(t.Context(), to(partition, "v"))
			require.NoError(t, err)
		}
		s := p.Inspect(t.Context())
		require.Empty(t, s.Missing)
		require.Len(t, s.Partitions, 5000)
		used := 0
		for i, x := range s.Partitions {
			require.EqualValues(t, i, x.Partition)
			require.GreaterOrEqual(t, x.Leader, int32(0))
			if x.Sequences != nil {
				used++
			}
		}
		require.Equal(t, 4, used)
		testkit.CloseProducer(t, p)
	})
}

// BenchmarkInspectManyPartitions: 10,000 of them, with a batch in every tenth.
func BenchmarkInspectManyPartitions(b *testing.B) {
	c, err := quilltest.NewCluster(quilltest.Options{Nodes: 3, Pipes: true})
	require.NoError(b, err)
	defer c.Close()
	c.MustCreateTopic("t", 10_000, quilltest.TopicConfig{})
	p, err := quill.New(testkit.Config(c), quill.String, quill.String)
	require.NoError(b, err)
	for i := range int32(10_000) {
		if f := p.Send(b.Context(), to(i, "v")); i%1000 == 0 {
			_, err = f.Wait(b.Context())
			require.NoError(b, err)
		}
	}
	require.NoError(b, p.Flush(b.Context()))
	c.CutOffNode(1)
	for i := int32(0); i < 10_000; i += 10 {
		p.Send(b.Context(), to(i, "v"))
	}
	b.ReportAllocs()
	for b.Loop() {
		if s := p.Inspect(b.Context()); s.Missing != "" || len(s.Partitions) != 10_000 {
			b.Fatal(s.Missing, len(s.Partitions))
		}
	}
	b.StopTimer()
	c.ResumeNode(1)
	require.NoError(b, p.Close(b.Context()))
}
