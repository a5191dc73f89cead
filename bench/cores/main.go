// Command cores shows how much faster one producer compresses with two processors than with one. It
// plays each codec with the quill peer against a null cluster of one node, so that all batches go
// over one connection, with GOMAXPROCS 1 and 2 in turns, and prints the records per second of wall
// time and the ratio of the two, round by round.
//
//	go run ./cores                        # zstd, 5 rounds: half a minute
//	go run ./cores -codecs zstd,gzip,lz4,snappy -rounds 3
//
// It needs two processors that are free: the ratio is bounded by what others leave. On Linux the column
// "wanted" tells of a busy machine too: it is how many processors the peer's threads used or waited
// for, on average over the run.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quill-kafka/quill/bench/driver"
	"github.com/quill-kafka/quill/bench/null"
)

type options struct {
	codecs, procs, dir string
	rounds             int
	records, size      int
	batch              int
	linger, timeout    time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.codecs, "codecs", "zstd", "compression.type, comma-separated")
	flag.StringVar(&o.procs, "procs", "1,2", "values of GOMAXPROCS, in the order of play; ratios are to the first")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each is played")
	flag.IntVar(&o.records, "records", 200_000, "records of one run")
	flag.IntVar(&o.size, "size", 1024, "bytes of a value")
	flag.IntVar(&o.batch, "batch", 1_000_000, "batch.size")
	flag.DurationVar(&o.linger, "linger", 10*time.Millisecond, "linger.ms")
	flag.DurationVar(&o.timeout, "timeout", time.Minute, "of one run")
	flag.StringVar(&o.dir, "dir", ".", "directory of this module")
	flag.Parse()
	if err := run(o, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(o options, out io.Writer) (err error) {
	bin, err := os.MkdirTemp("", "quill-cores-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bin)) }()
	peer := filepath.Join(bin, "quill")
	build := exec.Command("go", "build", "-o", peer, ".")
	build.Dir = filepath.Join(o.dir, "peers", "quill")
	if b, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, b)
	}
	cluster, err := null.Start(null.Options{Nodes: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	for codec := range strings.SplitSeq(o.codecs, ",") {
		if err := o.play(codec, peer, cluster, out); err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
	}
	return nil
}

// play plays all rounds of one codec.
func (o *options) play(codec, peer string, cluster *null.Cluster, out io.Writer) error {
	procs := strings.Split(o.procs, ",")
	ratios := make([][]float64, len(procs))
	for round := range o.rounds {
		first := 0.0
		for i, n := range procs {
			r, wanted, err := o.once(codec, n, peer, cluster)
			if err != nil {
				return err
			}
			if i == 0 {
				first = r.PerWall
			}
			ratios[i] = append(ratios[i], r.PerWall/first)
			_, _ = fmt.Fprintf(out, "%-6s round %d GOMAXPROCS %s: %8.0f records/s, %8.0f per CPU-s, wanted %.2f, ratio %.2f\n", codec, round+1, n, r.PerWall, r.PerCPU, wanted, r.PerWall/first)
		}
	}
	for i, n := range procs[1:] {
		v := slices.Sorted(slices.Values(ratios[i+1]))
		_, _ = fmt.Fprintf(out, "%-6s GOMAXPROCS %s to %s: median %.2f (%.2f–%.2f)\n", codec, n, procs[0], v[len(v)/2], v[0], v[len(v)-1])
	}
	return nil
}

// once is one run. It fails unless the cluster has exactly the records that were sent.
func (o *options) once(codec, procs, peer string, cluster *null.Cluster) (r driver.Result, wanted float64, err error) {
	cluster.Reset()
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	warmup := o.records / 10
	c := exec.CommandContext(ctx, peer, "-brokers="+strings.Join(cluster.Addrs(), ","), "-topic=t12", "-compression="+codec, "-records="+strconv.Itoa(o.records),
		"-warmup="+strconv.Itoa(warmup), "-size="+strconv.Itoa(o.size), "-batch="+strconv.Itoa(o.batch), "-linger="+o.linger.String())
	c.Env = append(os.Environ(), "GOMAXPROCS="+procs)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err = c.Start(); err == nil {
		ended, watched := make(chan struct{}), make(chan float64)
		go func() { watched <- watch(c.Process.Pid, ended) }()
		err = c.Wait()
		close(ended)
		wanted = <-watched
	}
	if err == nil {
		err = json.Unmarshal(stdout.Bytes(), &r)
	}
	if err != nil {
		return r, 0, fmt.Errorf("%w: %s", err, stderr.String())
	}
	s := cluster.Stats()
	if want := int64(o.records + warmup); s.Records != want || s.Faults() != 0 || r.Errors != 0 {
		return r, 0, fmt.Errorf("%d of %d records arrived, %d faults, %d errors", s.Records, want, s.Faults(), r.Errors)
	}
	return r, wanted, nil
}

// watch returns how many processors a process wanted on average, from its first look to its last, just
// before the process ended; 0 if the system does not tell.
func watch(pid int, ended <-chan struct{}) float64 {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var start, last time.Time
	var before, after time.Duration
	for {
		select {
		case <-ended:
			if after == 0 || !last.After(start) {
				return 0
			}
			return (after - before).Seconds() / last.Sub(start).Seconds()
		case <-tick.C:
		}
		if t := demand(pid); t > after { // less: threads have ended, with the process
			after, last = t, time.Now()
			if start.IsZero() {
				start, before = last, after
			}
		}
	}
}

// demand is the time that threads of a process ran or waited for a processor so far (see proc(5), schedstat).
func demand(pid int) (total time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		var ran, waited, slices int64
		if _, err := fmt.Sscan(string(b), &ran, &waited, &slices); err == nil { // else the thread has ended
			total += time.Duration(ran + waited)
		}
	}
	return total
}
