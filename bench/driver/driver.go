// Package driver is what all peers share: flags, payload, the loops that send, the measuring and the
// line of JSON that tells of it. A peer only says how to open its client and how to send with it.
//
//	flags → warm-up → [ clock, CPU, heap → send all, wait for the last delivery → clock, CPU, heap ] → JSON
//
// Only what stands in brackets is measured. CPU is the process's user and system time, so everything
// a client does in the background is in it, and so is this package's own share: about 5 ns per record
// to count a delivery.
package driver

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// Client is a peer's producer.
type Client interface {
	// Send hands over one record without waiting for its delivery; it may block for buffer space.
	// Exactly one meter.Done(sample, err) must follow. It is called by Config.Goroutines goroutines.
	Send(key, value []byte, sample int)
	// SendSync sends one record and waits for its delivery. It is called by Config.Parallel goroutines.
	SendSync(key, value []byte) error
	// Flush is called after the last Send; it may return before everything is delivered.
	Flush() error
	Close() error
}

// Transactor is a Client that can send in transactions. One goroutine calls it.
type Transactor interface {
	Begin() error
	// Commit ends the transaction when everything sent in it is delivered.
	Commit() error
}

// Open makes a client. It must tell m of every delivery.
type Open func(c Config, m *Meter) (Client, error)

// Main is a peer's main function: it runs what the flags say, prints the result and ends the process.
func Main(name string, open Open) {
	c, err := parse(os.Args[0], os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err == nil {
		var r Result
		if r, err = Run(name, c, open); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(r)
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Run opens a client, warms it up and measures it. It returns an error if not every record got an
// outcome within c.Timeout; failed deliveries are counted in the Result instead.
func Run(name string, c Config, open Open) (Result, error) {
	load := newLoad(c)
	m := newMeter(c)
	client, err := open(c, m)
	if err != nil {
		return Result{}, err
	}
	if _, can := client.(Transactor); c.Transaction && !can {
		return Result{}, errors.Join(fmt.Errorf("%s: no transactions", name), client.Close())
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.Timeout, fmt.Errorf("not done after %v", c.Timeout))
	defer cancel()
	if c.Warmup > 0 {
		if err := phase(ctx, c, load, m, client, c.Warmup); err != nil {
			return Result{}, fmt.Errorf("warm-up: %w", err)
		}
	}
	stopProfile, err := profile(c)
	if err != nil {
		return Result{}, err
	}
	before := measure()
	err = phase(ctx, c, load, m, client, c.Records)
	after := measure()
	if err := errors.Join(err, stopProfile()); err != nil {
		return Result{}, err
	}
	r := newResult(name, c, m, before, after)
	return r, client.Close()
}

// phase sends n records and waits for their deliveries.
func phase(ctx context.Context, c Config, l *load, m *Meter, client Client, n int) error {
	m.begin(n)
	senders := max(1, c.Goroutines)
	if c.Parallel > 0 {
		senders = c.Parallel
	}
	sent := make(chan error, 1)
	go func() { sent <- sendAll(c, l, m, client, n, senders) }()
	select { // a client that blocks for ever is left behind: the process ends
	case err := <-sent:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return fmt.Errorf("sending: %d of %d delivered: %w", m.Delivered(), n, context.Cause(ctx))
	}
	select {
	case <-m.all:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d of %d delivered: %w", m.Delivered(), n, context.Cause(ctx))
	}
}

// Config is what the flags say.
type Config struct {
	Brokers     []string
	Topic       string
	Partitions  int // of the topic, for clients that need telling
	Records     int
	Warmup      int // records before the measuring begins
	Size        int // of a value, in bytes
	Keyed       bool
	Keys        int // how many distinct ones
	Compression string
	AcksAll     bool // else the leader alone
	Idempotent  bool // where the client can
	Linger      time.Duration
	Batch       int  // bytes of one partition's batch
	Goroutines  int  // that call Send
	Parallel    int  // goroutines that call SendSync; if zero, Send is used
	Rate        int  // records per second in all; if zero, as fast as possible
	Group       int  // records after which async mode waits until all is delivered; if zero, only at the end
	Transaction bool // each group is a transaction
	BufBytes    int  // cap on what is buffered, where the client has one
	BufRecords  int  // the same in records
	InFlight    int  // requests per node
	Chunk       int  // records per call, for clients with a call for many
	Timeout     time.Duration
	TLS         *tls.Config // nil: plaintext
	CPUProfile  string
	MemProfile  string
}

func parse(name string, args []string, out io.Writer) (Config, error) {
	var c Config
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(out)
	brokers := fs.String("brokers", "127.0.0.1:29092", "addresses, comma-separated")
	mode := fs.String("mode", "async", "async, sync or parallel:N")
	acks := fs.String("acks", "all", "all or 1")
	fs.StringVar(&c.Topic, "topic", "t12", "topic")
	fs.IntVar(&c.Partitions, "parts", 12, "its partitions")
	fs.IntVar(&c.Records, "records", 1_000_000, "records that are measured")
	fs.IntVar(&c.Warmup, "warmup", 200_000, "records before that")
	fs.IntVar(&c.Size, "size", 100, "bytes of a value")
	fs.BoolVar(&c.Keyed, "keyed", false, "records have keys of 16 bytes")
	fs.IntVar(&c.Keys, "keys", 100_000, "distinct keys")
	fs.StringVar(&c.Compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	fs.BoolVar(&c.Idempotent, "idempotent", true, "where the client can")
	fs.DurationVar(&c.Linger, "linger", 5*time.Millisecond, "linger; 0 is none")
	fs.IntVar(&c.Batch, "batch", 16384, "bytes of a batch")
	fs.IntVar(&c.Goroutines, "goroutines", 1, "goroutines that send in async mode")
	fs.IntVar(&c.Rate, "rate", 0, "records per second in async mode; 0 is as fast as possible")
	fs.IntVar(&c.Group, "group", 0, "records after which async mode waits until all is delivered; 0 is only at the end")
	fs.BoolVar(&c.Transaction, "transaction", false, "each group is a transaction, where the client can")
	fs.IntVar(&c.BufBytes, "bufbytes", 64<<20, "buffered bytes at most, where the client has such a cap")
	fs.IntVar(&c.BufRecords, "bufrecords", 500_000, "buffered records at most")
	fs.IntVar(&c.InFlight, "inflight", 5, "requests in flight per node")
	fs.IntVar(&c.Chunk, "chunk", 1, "records per call, for clients with a call for many")
	fs.DurationVar(&c.Timeout, "timeout", 2*time.Minute, "when to give up")
	fs.StringVar(&c.CPUProfile, "cpuprofile", "", "file for a CPU profile of what is measured")
	fs.StringVar(&c.MemProfile, "memprofile", "", "file for an allocation profile of what is measured")
	authority := fs.String("tls", "", "PEM file of the authority that signed the nodes' certificates; TLS 1.3 with AES-128-GCM")
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	var err error
	if c.TLS, err = clientTLS(*authority); err != nil {
		return c, err
	}
	return c, c.complete(*brokers, *mode, *acks)
}
