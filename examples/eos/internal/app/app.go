// Package app is what the examples share: flags, and an end on interrupt.
package app

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Args are the flags.
type Args struct {
	Bootstrap   []string // brokers
	In, Out     string   // topics
	Group       string   // of consumers
	ID          string   // transactional id, and group.instance.id
	Transaction int      // records, at most
}

// Main is the main function of an example.
func Main(run func(ctx context.Context, a Args) error) {
	var a Args
	bootstrap := flag.String("bootstrap", "localhost:9092", "brokers as `host:port,…`")
	flag.StringVar(&a.In, "in", "orders", "topic to read")
	flag.StringVar(&a.Out, "out", "orders-upper", "topic to write")
	flag.StringVar(&a.Group, "group", "upper", "consumer group")
	flag.StringVar(&a.ID, "id", "upper-1", "transactional id, and the member's group.instance.id: of this process alone")
	flag.IntVar(&a.Transaction, "records", 1000, "records of a transaction, at most")
	flag.Parse()
	a.Bootstrap = strings.Split(*bootstrap, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, a)
	ended := ctx.Err() != nil
	stop()
	if err != nil && !ended {
		log.Fatal(err)
	}
}
