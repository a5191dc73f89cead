// Freezer sends some records when it is told to, or makes a call that waits for an answer, and prints what became of
// each. It is the process that TestFrozenProducersMissNoAnswer and TestFrozenCallsMissNoAnswer stop while the answers come.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/quill-kafka/quill"
)

func main() {
	bootstrap := flag.String("bootstrap", "", "brokers as host:port,…")
	topic := flag.String("topic", "", "topic to send to")
	name := flag.String("name", "", "beginning of the values")
	records := flag.Int("records", 5, "how many to send")
	idempotent := flag.Bool("idempotent", true, "enable.idempotence")
	request := flag.Duration("request", time.Second, "request.timeout.ms")
	delivery := flag.Duration("delivery", time.Second, "delivery.timeout.ms")
	call := flag.String("call", "", "the call to make instead: "+strings.Join(slices.Sorted(maps.Keys(calls)), ", "))
	flag.Parse()
	// Each record is a batch of its own, so that all are sent at once: two partial ones at most go to a node that has yet to answer.
	cfg := quill.Config{BootstrapServers: strings.Split(*bootstrap, ","), RequestTimeout: *request, DeliveryTimeout: *delivery, BatchSize: -1, Linger: -1,
		Logger: slog.New(slog.NewTextHandler(os.Stdout, nil))}
	if !*idempotent {
		cfg.Idempotence = new(false)
	}
	var err error
	if *call == "" {
		err = run(cfg, *topic, *name, *records)
	} else if c, ok := calls[*call]; ok {
		err = c.run(cfg, *topic, *name, *records)
	} else {
		err = fmt.Errorf("no call %q", *call)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(cfg quill.Config, topic, name string, records int) error {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1)
	p, err := quill.New(cfg, quill.String, quill.String)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if _, err := p.SendSync(ctx, quill.Record[string, string]{Topic: topic, Value: "first of " + name}); err != nil {
		return err
	}
	fmt.Println("ready")
	<-told
	futures := make([]quill.Future, records)
	for i := range futures {
		futures[i] = p.Send(ctx, quill.Record[string, string]{Topic: topic, Value: fmt.Sprintf("%s-%d", name, i)})
		time.Sleep(5 * time.Millisecond) // a request of its own
	}
	fmt.Println("sent")
	for i, f := range futures {
		if _, err := f.Wait(ctx); err != nil {
			fmt.Printf("record %d failed: %v\n", i, err)
		} else {
			fmt.Printf("record %d acknowledged\n", i)
		}
	}
	closing, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return p.Close(closing)
}
