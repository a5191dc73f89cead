// Command run plays the workloads with every peer, side by side, and prints a table.
//
//	go run ./run                          # everything: about half an hour
//	go run ./run -only W1b,W7 -rounds 3
//	go run ./run -report results.jsonl    # only the table of what was played before
//
// It builds the peers, starts a null cluster in its own process, and plays round by round, in each
// all peers one after the other, so that what disturbs the machine for some minutes disturbs all. A
// run counts only if the cluster has exactly the records that were sent. Every run is one line of
// JSON in -out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

type options struct {
	only, peers, base string
	rounds            int
	scale             float64
	dir, bin          string
	out, report       string
	real              string
	verify            bool
	timeout           time.Duration
	warm              string
	extra             string
}

func main() {
	var o options
	flag.StringVar(&o.only, "only", "", "workloads, comma-separated; all if empty")
	flag.StringVar(&o.peers, "peers", "quill,franz,sarama,kafkago", "peers in the order of play; any program in -bin can be one; with a flag of its own as in quill:transaction")
	flag.StringVar(&o.base, "base", "franz", "the peer that ratios are taken to")
	flag.IntVar(&o.rounds, "rounds", 5, "how often every peer plays every workload")
	flag.Float64Var(&o.scale, "scale", 1, "multiplies the number of records")
	flag.StringVar(&o.dir, "dir", ".", "directory of this module")
	flag.StringVar(&o.bin, "bin", "", "directory for the built peers; if empty, a temporary one")
	flag.StringVar(&o.out, "out", "results.jsonl", "file that results are appended to")
	flag.StringVar(&o.report, "report", "", "print the table of this file and play nothing")
	flag.StringVar(&o.real, "real", "", "loopback address of a real cluster for W12 and W7r; without it they are left out")
	flag.BoolVar(&o.verify, "verify", true, "check the CRC-32C of each batch, and decode one in eight; without, headers only (the null cluster takes less CPU)")
	flag.DurationVar(&o.timeout, "timeout", 150*time.Second, "of one run")
	flag.StringVar(&o.warm, "warm", "", "longer warm-ups, as in java=20")
	flag.StringVar(&o.extra, "extra", "", "more flags for every peer")
	flag.Parse()
	if err := run(o, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(o options, out io.Writer) error {
	if o.report != "" {
		return report(o.report, o.base, out)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ws, err := choose(o.only)
	if err != nil {
		return err
	}
	p := &player{base: o.base, peers: strings.Split(o.peers, ","), rounds: o.rounds, scale: o.scale, timeout: o.timeout,
		verify: o.verify, real: o.real, extra: strings.Fields(o.extra), log: out}
	if p.warm, err = factors(o.warm); err != nil {
		return err
	}
	if p.bin = o.bin; p.bin == "" {
		if p.bin, err = os.MkdirTemp("", "quill-bench-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(p.bin) }()
	}
	if p.bin, err = filepath.Abs(p.bin); err != nil {
		return err
	}
	if err := build(ctx, o.dir, p.bin, p.peers); err != nil {
		return err
	}
	f, err := os.OpenFile(o.out, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = p.play(ctx, ws, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return report(o.out, o.base, out)
}

// build builds those peers that are part of this module; the others must be in bin already.
func build(ctx context.Context, dir, bin string, peers []string) error {
	for _, peer := range peers {
		p, _ := variantOf(peer)
		src := filepath.Join(dir, "peers", p)
		if _, err := os.Stat(filepath.Join(src, "main.go")); err != nil {
			if _, err := os.Stat(filepath.Join(bin, p)); err != nil {
				return fmt.Errorf("no peer %q: neither %s nor a program of that name in -bin", p, src)
			}
			continue
		}
		c := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(bin, p), ".")
		c.Dir = src // a peer may be a module of its own
		if b, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", p, err, b)
		}
	}
	return nil
}
