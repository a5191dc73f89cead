// Custom-partitioner keeps one partition free for urgent records, and spreads the others over the rest by their keys.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/examples/internal/demo"
)

func main() { demo.Main(run) }

// urgentFirst is the partitioner. Many goroutines call it at the same time, and it keeps no state.
func urgentFirst(in quill.PartitionInput) (int32, error) {
	n := len(in.Topic.Partitions)
	if _, urgent := in.Headers.Last("urgent"); urgent || n == 1 {
		return 0, nil
	}
	if in.Key == nil { // KeyPartition would send all of these to one partition
		return 1 + rand.Int32N(int32(n-1)), nil // #nosec G404 -- spreads records
	}
	return 1 + quill.KeyPartition(in.Key, n-1), nil // the same hash as Java's
}

func run(ctx context.Context, cfg quill.Config, out io.Writer) (err error) {
	cfg.Partitioner = quill.PartitionerFunc(urgentFirst)
	p, err := quill.New(cfg, quill.String, quill.String)
	if err != nil {
		return err
	}
	defer func() { // with a context of its own: when a signal ends ctx, what is buffered still has to be delivered
		last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, p.Close(last))
	}()

	var (
		mu     sync.Mutex
		counts = map[int32]int{}
		failed error
	)
	for i := range 10_000 {
		r := quill.Record[string, string]{Topic: "alarms", Key: fmt.Sprintf("sensor-%d", i%500), Value: "all is well"}
		if i%100 == 0 {
			r.Value = "fire"
			r.Headers.Add("urgent", nil)
		}
		p.SendFunc(ctx, r, func(m quill.RecordMetadata, err error) {
			mu.Lock()
			defer mu.Unlock()
			counts[m.Partition]++
			failed = errors.Join(failed, err)
		})
	}
	if err := p.Flush(ctx); err != nil { // all callbacks have run then
		return err
	}

	mu.Lock()
	defer mu.Unlock()
	for _, partition := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(out, "partition %d: %d records\n", partition, counts[partition])
	}
	return failed
}
