// Quickstart delivers 100,000 records, half of them with a callback and half with a future, and tells how fast. It fails unless all of them were
// delivered.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/examples/internal/demo"
)

const (
	records   = 100_000
	valueSize = 100
)

func main() { demo.Main(run) }

func run(ctx context.Context, cfg quill.Config, out io.Writer) (err error) {
	p, err := quill.New(cfg, quill.String, quill.Bytes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close(ctx)) }()

	// Outcomes come in from two goroutines: the producer's dispatcher and ours that waits for futures.
	took, failed := make([]time.Duration, records), make([]error, records)
	var byCallback sync.WaitGroup
	byCallback.Add(records / 2)
	type sent struct {
		future quill.Future
		i      int
		at     time.Time
	}
	futures := make(chan sent, records/2)
	var byFuture sync.WaitGroup
	byFuture.Go(func() {
		for s := range futures {
			_, failed[s.i] = s.future.Wait(ctx)
			took[s.i] = time.Since(s.at)
		}
	})

	value, start := make([]byte, valueSize), time.Now()
	for i := range records {
		r := quill.Record[string, []byte]{Topic: "quickstart", Key: "customer-" + strconv.Itoa(i%1000), Value: value}
		at := time.Now()
		if i%2 == 1 {
			futures <- sent{p.Send(ctx, r), i, at}
			continue
		}
		p.SendFunc(ctx, r, func(_ quill.RecordMetadata, err error) {
			took[i], failed[i] = time.Since(at), err
			byCallback.Done()
		})
	}
	close(futures)
	byCallback.Wait()
	byFuture.Wait()
	elapsed := time.Since(start)

	failed = slices.DeleteFunc(failed, func(err error) bool { return err == nil })
	slices.Sort(took)
	fmt.Fprintf(out, "delivered %d of %d records in %v, half with a callback, half with a future\n", records-len(failed), records, elapsed.Round(time.Millisecond))
	fmt.Fprintf(out, "rate      %.0f records/s, %.1f MB/s\n", records/elapsed.Seconds(), records*valueSize/1e6/elapsed.Seconds())
	fmt.Fprintf(out, "latency   p50 %v, p95 %v, p99 %v, max %v\n", took[records/2], took[records*95/100], took[records*99/100], took[records-1])
	if len(failed) > 0 {
		return fmt.Errorf("%d records were not delivered; the first: %w", len(failed), failed[0])
	}
	return nil
}
