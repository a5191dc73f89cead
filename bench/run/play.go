package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/quill-kafka/quill/bench/driver"
	"github.com/quill-kafka/quill/bench/null"
)

// outcome is one run: a line of the results file.
type outcome struct {
	Series   string        `json:"series"` // when it was started; rounds are compared within one
	Workload string        `json:"workload"`
	Peer     string        `json:"peer"`
	Round    int           `json:"round"`
	OK       bool          `json:"ok"` // every record arrived once; else the figures do not count
	Note     string        `json:"note,omitempty"`
	Result   driver.Result `json:"r"`
	Null     *null.Stats   `json:"null,omitempty"` // nil for a real cluster
}

// player plays workloads. All fields are set before play and read-only after.
type player struct {
	bin     string
	peers   []string
	base    string
	rounds  int
	scale   float64
	timeout time.Duration
	verify  bool
	real    string
	warm    map[string]int
	extra   []string
	log     io.Writer

	authority string // file that play writes, for the workloads with TLS
}

// play plays all rounds of one workload after the other and writes every outcome to results at once.
// A run that goes wrong is an outcome too; an error means that nothing more can be played.
func (p *player) play(ctx context.Context, ws []workload, results io.Writer) error {
	plain, err := null.Start(null.Options{Verify: p.verify})
	if err != nil {
		return err
	}
	secured, err := p.startSecured()
	if err != nil {
		return errors.Join(err, plain.Close())
	}
	return errors.Join(p.playAll(ctx, ws, plain, secured, results), plain.Close(), secured.Close())
}

// startSecured starts the cluster that speaks TLS, and writes its authority where the peers find it. It is idle, and costs
// nothing, while workloads without TLS are played.
func (p *player) startSecured() (*null.Cluster, error) {
	c, err := null.Start(null.Options{Verify: p.verify, TLS: true})
	if err != nil {
		return nil, err
	}
	p.authority = filepath.Join(p.bin, "ca.pem")
	if err := os.WriteFile(p.authority, c.CA(), 0o600); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (p *player) playAll(ctx context.Context, ws []workload, plain, secured *null.Cluster, results io.Writer) error {
	series := time.Now().UTC().Format(time.RFC3339)
	enc := json.NewEncoder(results)
	for _, w := range ws {
		if w.real && p.real == "" {
			continue
		}
		w = w.scaled(p.scale)
		cluster := plain
		if w.tls {
			cluster = secured
		}
		for round := range p.rounds {
			for _, peer := range p.peers {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				o := p.one(ctx, cluster, w, peer)
				o.Series, o.Round = series, round
				if err := enc.Encode(o); err != nil {
					return err
				}
				p.tell(o)
			}
		}
	}
	return nil
}

func (p *player) tell(o outcome) {
	mark := ""
	if !o.OK {
		mark = " WRONG: " + o.Note
	}
	_, _ = fmt.Fprintf(p.log, "%-4s round %d %-9s %8s records per CPU-s %8s per s %6s mallocs, %4d MiB, p50 %s, p99 %s%s\n", o.Workload, o.Round+1, o.Peer,
		short(o.Result.PerCPU), short(o.Result.PerWall), mallocs(o.Result.Mallocs), o.Result.PeakKiB>>10, micros(o.Result.P50), micros(o.Result.P99), mark)
}

// one lets one peer play w once.
func (p *player) one(ctx context.Context, cluster *null.Cluster, w workload, peer string) outcome {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	o := outcome{Workload: w.name, Peer: peer}
	warmup := w.warmup * max(1, p.warm[peer])
	addrs, topic := cluster.Addrs(), w.topic
	if topic == "" {
		topic = "t12"
	}
	if w.real {
		addrs = []string{p.real}
		rt, err := newRealTopic(ctx, p.real)
		if err != nil {
			o.Note = err.Error()
			return o
		}
		defer rt.remove()
		topic = rt.name
		o.Result, err = p.peer(ctx, w, peer, warmup, addrs, topic)
		o.judge(w, warmup, err, rt.records(ctx), 0)
		return o
	}
	cluster.SetLatency(w.latency)
	cluster.Reset()
	var err error
	o.Result, err = p.peer(ctx, w, peer, warmup, addrs, topic)
	s := cluster.Stats()
	o.Null = &s
	o.judge(w, warmup, err, s.Records, s.Faults())
	if want := w.transactions(peer, warmup); o.OK && s.Transactions != want {
		o.OK, o.Note = false, fmt.Sprintf("%d of %d transactions ended", s.Transactions, want)
	}
	return o
}

// judge says whether the run counts.
func (o *outcome) judge(w workload, warmup int, err error, arrived, faults int64) {
	want := int64(w.records + warmup)
	o.OK = err == nil && arrived == want && faults == 0 && o.Result.Errors == 0
	if o.OK {
		return
	}
	o.Note = fmt.Sprintf("%d of %d records arrived, %d faults, %d errors %s", arrived, want, faults, o.Result.Errors, o.Result.FirstError)
	if err != nil {
		o.Note += ": " + err.Error()
	}
}

// peer runs the program and reads its line.
func (p *player) peer(ctx context.Context, w workload, peer string, warmup int, addrs []string, topic string) (driver.Result, error) {
	args := []string{"-brokers=" + strings.Join(addrs, ","), "-topic=" + topic, "-records=" + strconv.Itoa(w.records),
		"-warmup=" + strconv.Itoa(warmup), "-size=" + strconv.Itoa(w.size)}
	if w.group > 0 {
		args = append(args, "-group="+strconv.Itoa(w.group))
	}
	if w.tls {
		args = append(args, "-tls="+p.authority)
	}
	args = append(append(args, w.flags...), p.extra...)
	program, variant := variantOf(peer)
	if variant != "" {
		args = append(args, "-"+variant)
	}
	c := exec.CommandContext(ctx, filepath.Join(p.bin, program), args...)
	c.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var r driver.Result
	if err == nil {
		err = json.Unmarshal(stdout.Bytes(), &r)
	}
	if err != nil {
		said := strings.TrimSpace(stderr.String())
		err = fmt.Errorf("%w: %s", err, said[max(0, len(said)-300):])
	}
	return r, err
}

// variantOf splits the name of a peer that is a program with one more flag, as in quill:transaction.
func variantOf(peer string) (program, flag string) {
	program, flag, _ = strings.Cut(peer, ":")
	return program, flag
}

// transactions is how many a peer makes.
func (w workload) transactions(peer string, warmup int) int64 {
	if _, flag := variantOf(peer); flag != "transaction" || w.group == 0 {
		return 0
	}
	groups := func(n int) int64 { return int64((n + w.group - 1) / w.group) }
	return groups(warmup) + groups(w.records)
}

// factors reads "java=20,other=3".
func factors(s string) (map[string]int, error) {
	m := map[string]int{}
	if s == "" {
		return m, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		peer, n, _ := strings.Cut(part, "=")
		v, err := strconv.Atoi(n)
		if err != nil || v < 1 {
			return nil, fmt.Errorf("-warm: %q is not peer=factor", part)
		}
		m[peer] = v
	}
	return m, nil
}
