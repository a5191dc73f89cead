// Quill-perf measures how fast records get into a cluster, as kafka-producer-perf-test does, and
// prints the same lines.
//
//	quill-perf -bootstrap localhost:9092 -topic orders -records 5000000 -size 100
//	quill-perf -embedded -records 1000000 -compression zstd -mode parallel:64
//	quill-perf -bootstrap localhost:9092 -topic orders -properties client.properties \
//	           -producer-prop linger.ms=10 -throughput 50000 -json
//
// Values are JSON-like text of exactly -size bytes, about 4 MiB of different ones, always the same
// from run to run. Settings come from -properties, then -producer-prop, then the flags: the later
// wins. What is not set has Kafka's default, but for the client id, perf-producer-client.
//
// # Output
//
// Every -interval a line tells about the records that got their acknowledgement since the line
// before; a summary closes the run. With -warmup the first records of the run are counted in that
// summary, and a second one tells about the others; in between everything sent is waited for.
// Latency is the time from the call of Send to the acknowledgement. It is taken of every record, but
// when the tool sends as fast as it can only of every 64th: reading the clock would be a good part
// of the work. -json prints one line instead, about the records after the warm-up; times in it are in
// seconds, latencies in microseconds. CPU time includes the cluster's with -embedded.
//
// # Exit status
//
//	0    every record was acknowledged
//	1    the run could not start: bad configuration, no cluster, no such topic
//	2    bad flags
//	3    some records were not delivered; the first reason is on standard error
//	130  interrupted; the summary covers what was acknowledged until then
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest"
)

const (
	exitOK          = 0
	exitNoStart     = 1
	exitUsage       = 2
	exitUndelivered = 3
	exitInterrupted = 130
)

// errInterrupted is the cause of a run that was cut short from outside.
var errInterrupted = errors.New("interrupted")

// undelivered is the error of a run in which records failed.
type undelivered struct {
	records int64
	first   error
}

func (u *undelivered) Error() string {
	return fmt.Sprintf("%d records were not delivered; the first: %v", u.records, u.first)
}

func (u *undelivered) Unwrap() error { return u.first }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is the whole program but for the process around it.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "quill-perf: %v\n", err)
		return exitUsage
	}
	err = run(ctx, o, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "quill-perf: %v\n", err)
	}
	_, failed := errors.AsType[*undelivered](err)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case failed:
		return exitUndelivered
	default:
		return exitNoStart
	}
}

// run makes the producer, and the cluster if asked to, and measures.
func run(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	cfg.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if o.embedded {
		cluster, err := quilltest.NewCluster(quilltest.Options{Retain: -1, RetainRequests: -1})
		if err != nil {
			return fmt.Errorf("embedded cluster: %w", err)
		}
		defer cluster.Close()
		if err := cluster.CreateTopic(o.topic, o.partitions, quilltest.TopicConfig{}); err != nil {
			return fmt.Errorf("embedded cluster: %w", err)
		}
		cfg.BootstrapServers = cluster.BootstrapServers()
	}
	p, err := quill.New(cfg, quill.Bytes, quill.Bytes)
	if err != nil {
		return err
	}
	defer func() {
		// The run has flushed; what is left was given up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if closed := p.Close(ctx); err == nil && closed != nil {
			err = fmt.Errorf("close: %w", closed)
		}
	}()
	// Ask first: otherwise each record would wait max.block.ms for a topic that is not there.
	if _, err := p.PartitionsFor(ctx, o.topic); err != nil {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return err
	}
	return measure(ctx, p, o, newDisplay(o, stdout, stderr))
}

const closeTimeout = 10 * time.Second
