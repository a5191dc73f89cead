// Terminated sends until it is asked to end, closes its producer as docs/closing.md teaches, and prints what became of
// each record. It is the process that TestNothingIsLostAtSIGTERM ends.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/ledger"
)

func main() {
	bootstrap := flag.String("bootstrap", "", "brokers as host:port,…")
	topic := flag.String("topic", "", "topic to send to")
	run := flag.Uint("run", 1, "run of the ledger's plan that the values are of")
	pause := flag.Duration("pause", 0, "time between two sends")
	buffer := flag.Int64("buffer", 0, "buffer.memory; 0 is the default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t := &terminated{topic: *topic, plan: ledger.Plan{Run: uint32(*run), ValueSize: 100}, pause: *pause}
	err := t.send(ctx, quill.Config{BootstrapServers: strings.Split(*bootstrap, ","), BufferMemory: *buffer})
	t.print(err)
	if err != nil {
		log.Fatal(err)
	}
}

type terminated struct {
	topic string
	plan  ledger.Plan
	pause time.Duration

	sent int // by send

	mu sync.Mutex
	// +checklocks:mu
	delivered int
	// +checklocks:mu
	failed []string // a line each
}

// send sends until ctx ends.
func (t *terminated) send(ctx context.Context, cfg quill.Config) (err error) {
	p, err := quill.New(cfg, quill.Bytes, quill.Bytes)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		err = errors.Join(err, p.Close(closing))
	}()
	for ctx.Err() == nil {
		number := t.sent
		t.sent++
		p.SendFunc(ctx, quill.Record[[]byte, []byte]{Topic: t.topic, Value: t.plan.AppendValue(nil, 0, number)}, func(_ quill.RecordMetadata, err error) {
			t.done(number, err)
		})
		if t.pause > 0 {
			time.Sleep(t.pause)
		}
	}
	return nil
}

// done notes the outcome of a record.
func (t *terminated) done(number int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		if t.delivered++; t.delivered == 500 {
			fmt.Println("going")
		}
		return
	}
	outcome := quill.Outcome(255) // no quill.Error
	if e, ok := errors.AsType[*quill.Error](err); ok {
		outcome = e.Outcome
	}
	t.failed = append(t.failed, fmt.Sprintf("failed %d %d %v", number, outcome, err))
}

// print prints what TestNothingIsLostAtSIGTERM reads.
func (t *terminated) print(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := bufio.NewWriter(os.Stdout)
	for _, line := range t.failed {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "sent %d delivered %d failed %d close: %v\n", t.sent, t.delivered, len(t.failed), err)
	if err := out.Flush(); err != nil {
		log.Print(err)
	}
}
