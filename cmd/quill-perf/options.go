package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quill-kafka/quill"
)

// options is what the flags say.
type options struct {
	bootstrap  string
	embedded   bool
	partitions int
	topic      string

	records    int
	warmup     int
	size       int
	keys       int
	throughput float64

	mode       string
	goroutines int  // senders, whatever the mode
	wait       bool // each sender waits for each record

	properties    string
	producerProps []string
	compression   string
	acks          string
	linger        time.Duration
	batchSize     int

	json     bool
	interval time.Duration

	set map[string]bool // flags given on the command line
}

const defaultTopic = "quill-perf"

// parseOptions reads the flags. Its errors are for the user; usage has been printed to stderr only if
// it was asked for.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	o := options{set: map[string]bool{}}
	fs := flag.NewFlagSet("quill-perf", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.bootstrap, "bootstrap", "", "`host:port,...` of the cluster; wins over bootstrap.servers in properties")
	fs.BoolVar(&o.embedded, "embedded", false, "start an in-memory cluster in this process and send to it")
	fs.IntVar(&o.partitions, "partitions", 12, "partitions of the topic, with -embedded")
	fs.StringVar(&o.topic, "topic", "", "topic to send to (with -embedded by default "+defaultTopic+")")
	fs.IntVar(&o.records, "records", 1_000_000, "how many records to send, warm-up included")
	fs.IntVar(&o.warmup, "warmup", 0, "how many of them come before the steady state")
	fs.IntVar(&o.size, "size", 100, "`bytes` of each value")
	fs.IntVar(&o.keys, "keys", 0, "how many distinct keys of 16 bytes; 0: records have no key")
	fs.Float64Var(&o.throughput, "throughput", -1, "records per second at most, roughly; -1: as fast as possible")
	fs.StringVar(&o.mode, "mode", "async", "async, sync (wait for each record) or parallel:N (N goroutines that each do)")
	fs.IntVar(&o.goroutines, "goroutines", 1, "how many goroutines send, in mode async")
	fs.StringVar(&o.properties, "properties", "", "producer properties `file`, as Java's")
	fs.Func("producer-prop", "a producer property, as `name=value`; wins over -properties; may be repeated", func(s string) error {
		o.producerProps = append(o.producerProps, s)
		return nil
	})
	fs.StringVar(&o.compression, "compression", "", "compression.type: none, gzip, snappy, lz4 or zstd")
	fs.StringVar(&o.acks, "acks", "", "acks: all, 1 or 0")
	fs.DurationVar(&o.linger, "linger", 0, "linger.ms, as a `duration`")
	fs.IntVar(&o.batchSize, "batch-size", 0, "batch.size in `bytes`")
	fs.BoolVar(&o.json, "json", false, "print one line of JSON instead of the summary")
	fs.DurationVar(&o.interval, "interval", 5*time.Second, "how often to tell how it goes")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stderr, "usage: quill-perf -bootstrap host:port -topic name [flags], or quill-perf -embedded [flags]\n\n")
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return o, err
	case err != nil:
		return o, fmt.Errorf("%w (-help lists the flags)", err)
	case fs.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q (-help lists the flags)", fs.Arg(0))
	}
	fs.Visit(func(f *flag.Flag) { o.set[f.Name] = true })
	if o.embedded && o.topic == "" {
		o.topic = defaultTopic
	}
	return o, o.check()
}

// check finds contradictions and settles what follows from the mode.
func (o *options) check() error {
	switch {
	case o.topic == "":
		return errors.New("-topic is required")
	case o.embedded && o.bootstrap != "":
		return errors.New("-embedded and -bootstrap exclude each other")
	case !o.embedded && o.bootstrap == "" && o.properties == "" && len(o.producerProps) == 0:
		return errors.New("no cluster: give -bootstrap, bootstrap.servers in -properties or -producer-prop, or -embedded")
	case !o.embedded && o.set["partitions"]:
		return errors.New("-partitions goes with -embedded")
	case o.partitions < 1:
		return errors.New("-partitions must be at least 1")
	case o.records < 1:
		return errors.New("-records must be at least 1")
	case o.warmup < 0 || o.warmup >= o.records:
		return errors.New("-warmup must be less than -records, and not negative")
	case o.size < 1:
		return errors.New("-size must be at least 1")
	case o.keys < 0:
		return errors.New("-keys must not be negative")
	case o.throughput <= 0 && o.throughput != -1:
		return errors.New("-throughput must be positive, or -1")
	case o.interval <= 0:
		return errors.New("-interval must be positive")
	case o.linger < 0 || o.batchSize < 0:
		return errors.New("-linger and -batch-size must not be negative")
	case o.goroutines < 1:
		return errors.New("-goroutines must be at least 1")
	case o.mode != "async" && o.set["goroutines"]:
		return errors.New("-goroutines goes with -mode async; parallel:N has its own number")
	}
	if i := slices.IndexFunc(o.producerProps, func(s string) bool { return strings.Index(s, "=") < 1 }); i >= 0 {
		return fmt.Errorf("-producer-prop %q is not name=value", o.producerProps[i])
	}
	n, parallel := strings.CutPrefix(o.mode, "parallel:")
	switch {
	case o.mode == "async":
	case o.mode == "sync":
		o.wait = true
	case parallel:
		var err error
		if o.goroutines, err = strconv.Atoi(n); err != nil || o.goroutines < 1 {
			return fmt.Errorf("-mode %s: N must be a number, at least 1", o.mode)
		}
		o.wait = true
	default:
		return fmt.Errorf("-mode %q is not async, sync or parallel:N", o.mode)
	}
	return nil
}

// config makes the producer's configuration. What comes later in the text wins.
func (o *options) config() (quill.Config, error) {
	var text bytes.Buffer
	text.WriteString("client.id=perf-producer-client\n")
	if o.properties != "" {
		file, err := os.ReadFile(o.properties) // #nosec G703 -- who starts the command names it
		if err != nil {
			return quill.Config{}, fmt.Errorf("-properties: %w", err)
		}
		text.Write(file)
		text.WriteString("\n")
	}
	for _, p := range o.producerProps {
		name, value, _ := strings.Cut(p, "=")
		writeProperty(&text, name, value)
	}
	for flag, p := range map[string]struct{ name, value string }{
		"bootstrap":   {"bootstrap.servers", o.bootstrap},
		"compression": {"compression.type", o.compression},
		"acks":        {"acks", o.acks},
		"batch-size":  {"batch.size", strconv.Itoa(o.batchSize)},
	} {
		if o.set[flag] {
			writeProperty(&text, p.name, p.value)
		}
	}
	cfg, err := quill.LoadProperties(&text)
	if err != nil {
		return quill.Config{}, err
	}
	if o.set["linger"] { // not by linger.ms: it may be less than a millisecond
		cfg.Linger = o.linger
		if o.linger == 0 {
			cfg.Linger = -1
		}
	}
	return cfg, nil
}

var (
	escapeName  = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\f", `\f`, " ", `\ `, "=", `\=`, ":", `\:`, "#", `\#`, "!", `\!`)
	escapeValue = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\f", `\f`, " ", `\ `)
)

// writeProperty writes a line of a .properties file that means exactly name and value.
func writeProperty(w *bytes.Buffer, name, value string) {
	fmt.Fprintf(w, "%s=%s\n", escapeName.Replace(name), escapeValue.Replace(value))
}
