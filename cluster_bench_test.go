package quill

import (
	"context"
	"testing"
	"time"

	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// The whole producer against an in-memory cluster, in one process. cpu-ns/record counts both.

// BenchmarkCluster is the same load with little known of the cluster, with much known, and with much of
// that in use, always on three nodes. The first one is what the others are measured by.
func BenchmarkCluster(b *testing.B) {
	for _, c := range []struct {
		name                    string
		nodes, partitions, used int
	}{
		{"12Partitions3Nodes", 3, 12, 12},
		{"100kPartitions", 3, 100_000, 100},
		{"100Partitions", 3, 100, 100},
		{"1000Nodes", 1000, 4000, 12},
		{"100kPartitions1000Nodes", 1000, 100_000, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			cluster := quilltest.Start(b, quilltest.Options{Nodes: c.nodes, Pipes: true, Retain: -1, RetainRequests: -1})
			cluster.MustCreateTopic("t", c.partitions, quilltest.TopicConfig{})
			p, err := New(Config{BootstrapServers: cluster.BootstrapServers()[:1], DialContext: cluster.DialContext, BufferMemory: 64 << 20}, Bytes, Bytes)
			require.NoError(b, err)
			value := stageValue()
			sendMany(b, p, 1, func(i int) Record[[]byte, []byte] {
				at := i % c.used // partition n is led by node n % nodes
				return Record[[]byte, []byte]{Topic: "t", Partition: Partition(int32(at%3 + at/3*c.nodes)), Value: value}
			})
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			require.NoError(b, p.Close(ctx))
		})
	}
}
