// Quickstart delivers 100,000 records, half of them with a callback and half with a future, and prints how fast. It fails unless all arrive.
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
	defer func() { // with a context of its own: when a signal ends ctx, what is buffered still has to be delivered
		last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, p.Close(last))
	}()

	// New connects in the background. Ask for the topic first, so that without a cluster this ends soon.
	start, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := p.PartitionsFor(start, "quickstart"); err != nil {
		return err
	}
	return deliver(ctx, p, out)
}

// deliver sends the records and waits for their outcomes.
func deliver(ctx context.Context, p *quill.Producer[string, []byte], out io.Writer) error {
	// Outcomes come in from two goroutines: the producer's dispatcher and ours that waits for futures.
	took, failed := make([]time.Duration, records), make([]error, records)
	var outcomes sync.WaitGroup
	type sent struct {
		future quill.Future
		i      int
		at     time.Time
	}
	futures := make(chan sent, records/2)
	outcomes.Go(func() {
		for s := range futures {
			_, failed[s.i] = s.future.Wait(ctx)
			took[s.i] = time.Since(s.at)
		}
	})

	outcomes.Add(records / 2) // the callbacks
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
			outcomes.Done()
		})
	}
	close(futures)
	outcomes.Wait()
	elapsed := time.Since(start)
	failed = slices.DeleteFunc(failed, func(err error) bool { return err == nil })
	slices.Sort(took)
	fmt.Fprintf(out, "delivered %d of %d records in %v, half with a callback, half with a future\n", records-len(failed), records, elapsed.Round(time.Millisecond))
	fmt.Fprintf(out, "rate      %.0f records/s, %.1f MB/s\n", records/elapsed.Seconds(), records*valueSize/1e6/elapsed.Seconds())
	fmt.Fprintf(out, "latency   p50 %v, p95 %v, p99 %v, max %v\n", percentile(took, 50), percentile(took, 95), percentile(took, 99), percentile(took, 100))
	if len(failed) > 0 {
		return fmt.Errorf("%d records were not delivered; the first: %w", len(failed), failed[0])
	}
	return nil
}

// percentile is the time within which p of 100 records were delivered.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[(len(sorted)-1)*p/100].Round(10 * time.Microsecond)
}
