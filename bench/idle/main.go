// Command idle shows what a producer costs while nothing is sent: it sends some records to a null
// cluster, waits until all is delivered and quiet, and then counts for a minute how often the threads
// of the process woke up, what was allocated, and the CPU time.
//
//	go run ./idle                 # 60 s; also a process without a producer, to compare with
//	go run ./idle -for 10s -codec zstd
//
// The producer has a process of its own, and so has what it is compared with: the Go runtime wakes up
// now and then too. Wake-ups are Linux's voluntary context switches, of all threads.
package main

import (
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
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/bench/null"
)

type options struct {
	brokers, codec string
	child          bool
	records        int
	duration       time.Duration
}

// figures are what a process measured.
type figures struct {
	WakeUps int64         `json:"wake_ups"` // -1: not known on this system
	Mallocs uint64        `json:"mallocs"`
	CPU     time.Duration `json:"cpu"`
}

func main() {
	var o options
	flag.StringVar(&o.codec, "codec", "none", "compression.type")
	flag.IntVar(&o.records, "records", 100_000, "records sent before")
	flag.DurationVar(&o.duration, "for", time.Minute, "how long it is idle")
	flag.BoolVar(&o.child, "child", false, "be the process that is measured (internal)")
	flag.StringVar(&o.brokers, "brokers", "", "of the child; none: without a producer (internal)")
	flag.Parse()
	run := parent
	if o.child {
		run = child
	}
	if err := run(o, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func parent(o options, out io.Writer) (err error) {
	cluster, err := null.Start(null.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var with, without figures
	var failed [2]error
	measure := func(f *figures, failed *error, brokers string) {
		c := exec.Command(self, "-child", "-brokers="+brokers, "-codec="+o.codec, "-for="+o.duration.String(), "-records="+strconv.Itoa(o.records))
		c.Stderr = os.Stderr
		b, err := c.Output()
		if err == nil {
			err = json.Unmarshal(b, f)
		}
		*failed = err
	}
	wg.Go(func() { measure(&with, &failed[0], strings.Join(cluster.Addrs(), ",")) })
	wg.Go(func() { measure(&without, &failed[1], "") })
	wg.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		return err
	}
	seconds := o.duration.Seconds()
	for _, row := range []struct {
		name string
		f    figures
	}{{"with a producer", with}, {"without", without}} {
		_, err = fmt.Fprintf(out, "%-16s %6.2f wake-ups/s  %5d mallocs  %7.2f ms of CPU, in %v\n", row.name, float64(row.f.WakeUps)/seconds, row.f.Mallocs,
			float64(row.f.CPU.Microseconds())/1000, o.duration)
	}
	return err
}

func child(o options, out io.Writer) error {
	stop := func() error { return nil }
	if o.brokers != "" {
		var err error
		if stop, err = start(o); err != nil {
			return err
		}
	}
	time.Sleep(2 * time.Second) // tickers end, what is free is collected
	runtime.GC()
	runtime.GC()
	time.Sleep(time.Second)
	var before, after runtime.MemStats
	wakeUps, cpu := switches(), cpuTime()
	runtime.ReadMemStats(&before)
	time.Sleep(o.duration)
	runtime.ReadMemStats(&after)
	cpu, wakeUps = cpuTime()-cpu, switches()-wakeUps
	if err := stop(); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(figures{WakeUps: wakeUps, Mallocs: after.Mallocs - before.Mallocs, CPU: cpu})
}

// start opens a producer and sends with it. It is closed with stop.
func start(o options) (stop func() error, err error) {
	codec, ok := map[string]quill.Compression{"none": quill.CompressionNone, "gzip": quill.CompressionGzip, "snappy": quill.CompressionSnappy,
		"lz4": quill.CompressionLZ4, "zstd": quill.CompressionZstd}[o.codec]
	if !ok {
		return nil, fmt.Errorf("no codec %q", o.codec)
	}
	ctx := context.Background()
	p, err := quill.New(quill.Config{BootstrapServers: strings.Split(o.brokers, ","), Compression: codec}, quill.Bytes, quill.Bytes)
	if err != nil {
		return nil, err
	}
	value := make([]byte, 100)
	var failed error
	fn := func(_ quill.RecordMetadata, err error) { failed = errors.Join(failed, err) } // read after Flush
	for range o.records {
		p.SendFunc(ctx, quill.Record[[]byte, []byte]{Topic: "t12", Value: value}, fn)
	}
	if err := errors.Join(p.Flush(ctx), failed); err != nil {
		return nil, errors.Join(err, p.Close(ctx))
	}
	return func() error { return p.Close(ctx) }, nil
}

// switches is how often threads of this process went to sleep, -1 if that is not known.
func switches() int64 {
	files, _ := filepath.Glob("/proc/self/task/*/status")
	if len(files) == 0 {
		return -1
	}
	total := int64(0)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		for line := range strings.Lines(string(b)) {
			if n, ok := strings.CutPrefix(line, "voluntary_ctxt_switches:"); ok {
				v, _ := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
				total += v
			}
		}
	}
	return total
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
