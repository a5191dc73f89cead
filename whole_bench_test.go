package quill

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// All stages together, and whether they cost more when more is known of the cluster than is in use.

// BenchmarkWhole is the engine with all its goroutines, over nodes that cost nothing: send, deliver,
// run callbacks. cpu-ns/record counts all goroutines, those of the nodes too.
func BenchmarkWhole(b *testing.B) {
	for _, c := range []struct {
		name       string
		batch      int
		codec      Compression
		goroutines int
	}{
		{"16KiB", 16 << 10, CompressionNone, 1},
		{"1MB", 1_000_000, CompressionNone, 1},
		{"16KiB/8", 16 << 10, CompressionNone, 8},
		{"1MB/8", 1_000_000, CompressionNone, 8},
		{"16KiB/lz4", 16 << 10, CompressionLZ4, 1},
		{"1MB/zstd", 1_000_000, CompressionZstd, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, _ := newNullEngine(b, Config{BatchSize: c.batch, BufferMemory: 64 << 20, MaxRequestSize: 8 << 20, Compression: c.codec}, 3, 3, func(string) int { return 12 })
			nullKnown(b, p, "t")
			values := stageValues(4096)
			sendMany(b, p, c.goroutines, func(i int) Record[[]byte, []byte] {
				return Record[[]byte, []byte]{Topic: "t", Value: values[i%len(values)]}
			})
		})
	}
}

// sendMany sends a thousand records per iteration, and reports what all of it cost by record.
func sendMany(b *testing.B, p *BytesProducer, goroutines int, record func(i int) Record[[]byte, []byte]) {
	const per = 1000
	var failed error
	fn := Callback(func(_ RecordMetadata, err error) {
		if err != nil {
			failed = err // the dispatcher's; read after Flush
		}
	})
	ctx := context.Background()
	send := func(from, to int) {
		for i := from; i < to; i++ {
			p.SendFunc(ctx, record(i), fn)
		}
	}
	send(0, 20*per)
	require.NoError(b, p.Flush(ctx))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := processTime()
	at := 0
	for b.Loop() {
		if goroutines == 1 {
			send(at, at+per)
		} else {
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() { send(at+g*per/goroutines, at+(g+1)*per/goroutines) })
			}
			wg.Wait()
		}
		at += per
	}
	require.NoError(b, p.Flush(ctx))
	cpu = processTime() - cpu
	runtime.ReadMemStats(&after)
	require.NoError(b, failed)
	records := float64(b.N) * per
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/records, "ns/record")
	b.ReportMetric(float64(cpu.Nanoseconds())/records, "cpu-ns/record")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/records, "allocs/record")
	b.ReportMetric(0, "ns/op")
}

// The same load with few partitions and nodes known, with many, and with many in use. The first is
// what the others are measured by; TestWhatIsNotInUseCostsNothing holds why they don't differ.

func BenchmarkSend12Partitions3Nodes(b *testing.B) {
	sendAtScale(b, scale{nodes: 3, leads: 3, topics: 1, partitions: 12, used: 12})
}

// 100,000 partitions in one topic, 100 of them in use.
func BenchmarkSend100kPartitions(b *testing.B) {
	sendAtScale(b, scale{nodes: 3, leads: 3, topics: 1, partitions: 100_000, used: 100})
}

// 100,000 partitions in 1,000 topics, 100 of them in use, in ten topics.
func BenchmarkSend1000Topics(b *testing.B) {
	sendAtScale(b, scale{nodes: 3, leads: 3, topics: 1000, partitions: 100, used: 100})
}

// What of that is due to the number in use: 100 batches are open at a time instead of 12.
func BenchmarkSend100Partitions3Nodes(b *testing.B) {
	sendAtScale(b, scale{nodes: 3, leads: 3, topics: 1, partitions: 100, used: 100})
}

// 1,000 nodes, three of which lead what is in use.
func BenchmarkSend1000Nodes(b *testing.B) {
	sendAtScale(b, scale{nodes: 1000, leads: 3, topics: 1, partitions: 12, used: 12})
}

// 1,000 nodes, all in use: a request has one batch.
func BenchmarkSend1000NodesInUse(b *testing.B) {
	sendAtScale(b, scale{nodes: 1000, leads: 1000, topics: 1, partitions: 1000, used: 1000})
}

// Keyless records to a topic of 100,000 partitions: in use are those that the sticky partitioner chose.
func BenchmarkSend100kSticky(b *testing.B) {
	sendAtScale(b, scale{nodes: 3, leads: 3, topics: 1, partitions: 100_000})
}

// scale is how much is known, and how much of it is in use.
type scale struct{ nodes, leads, topics, partitions, used int }

// topicsInUse is among how many topics the partitions in use lie.
const topicsInUse = 10

func sendAtScale(b *testing.B, s scale) {
	p, _ := newNullEngine(b, Config{BatchSize: 16 << 10, BufferMemory: 64 << 20}, s.nodes, s.leads, func(string) int { return s.partitions })
	names := make([]string, s.topics)
	for i := range names {
		names[i] = "topic-" + strconv.Itoa(i)
	}
	nullKnown(b, p, names...)
	value := stageValue()
	sendMany(b, p, 1, func(i int) Record[[]byte, []byte] {
		r := Record[[]byte, []byte]{Topic: names[0], Value: value}
		if s.used == 0 {
			return r
		}
		at := i % s.used
		if s.topics > 1 {
			r.Topic, at = names[at%topicsInUse], at/topicsInUse
		}
		r.Partition = Partition(int32(at))
		return r
	})
}
