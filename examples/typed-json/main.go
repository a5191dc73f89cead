// Typed-json sends structs as JSON: one and its offset, a tombstone, then a sequence whose results come back in order.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/examples/internal/demo"
)

// Order is what the topic holds.
type Order struct {
	ID     string    `json:"id"`
	Cents  int64     `json:"cents"`
	Placed time.Time `json:"placed"`
}

func main() { demo.Main(run) }

func run(ctx context.Context, cfg quill.Config, out io.Writer) (err error) {
	// The value's type is *Order, so that nil can be sent: Kafka's null, which deletes a key in a compacted topic.
	p, err := quill.New(cfg, quill.String, quill.JSON[*Order]())
	if err != nil {
		return err
	}
	defer func() { // with a context of its own: when a signal ends ctx, what is buffered still has to be delivered
		last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, p.Close(last))
	}()

	first, err := p.SendSync(ctx, record(&Order{ID: "order-1", Cents: 1999, Placed: time.Now()}))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "order-1 is at %s-%d, offset %d, in %d bytes\n", first.Topic, first.Partition, first.Offset, first.ValueSize)

	gone, err := p.SendSync(ctx, quill.Record[string, *Order]{Topic: "orders", Key: "order-1"})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "its tombstone follows in partition %d at offset %d\n", gone.Partition, gone.Offset)

	n, last := 0, map[int32]int64{}
	for m, err := range p.SendAll(ctx, orders(1000)) {
		if err != nil {
			return err
		}
		n++
		last[m.Partition] = m.Offset
	}
	fmt.Fprintf(out, "%d more went to %d partitions\n", n, len(last))
	return nil
}

// record is an order as a record. The order's id is the key: what happens to one order stays in one partition, in sequence.
func record(o *Order) quill.Record[string, *Order] {
	return quill.Record[string, *Order]{Topic: "orders", Key: o.ID, Value: o, Timestamp: o.Placed}
}

// orders makes n orders, one at a time, while they are sent.
func orders(n int) iter.Seq[quill.Record[string, *Order]] {
	return func(yield func(quill.Record[string, *Order]) bool) {
		for i := range n {
			o := &Order{ID: fmt.Sprintf("order-%d", i+2), Cents: int64(i) * 100, Placed: time.Now()}
			if !yield(record(o)) {
				return
			}
		}
	}
}
