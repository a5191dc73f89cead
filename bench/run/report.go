package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
)

// report prints the tables of a results file: the ratios first, then one table per workload. Runs
// that went wrong are counted and otherwise left out.
func report(file, base string, out io.Writer) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	all, err := readOutcomes(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	w := bufio.NewWriter(out)
	all.ratios(w, base)
	for _, wl := range workloads {
		all.details(w, wl, base)
	}
	return w.Flush()
}

type outcomes []outcome

func readOutcomes(r io.Reader) (outcomes, error) {
	var all outcomes
	for dec := json.NewDecoder(r); ; {
		var o outcome
		err := dec.Decode(&o)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
}

// of are the runs of a workload that count, by a peer.
func (all outcomes) of(workload, peer string) (ok outcomes, played int) {
	for _, o := range all {
		if o.Workload != workload || o.Peer != peer {
			continue
		}
		if played++; o.OK {
			ok = append(ok, o)
		}
	}
	return ok, played
}

// peers in the order they first played, the base left out.
func (all outcomes) peers(base string) (peers []string) {
	for _, o := range all {
		if o.Peer != base && !slices.Contains(peers, o.Peer) {
			peers = append(peers, o.Peer)
		}
	}
	return peers
}

// ratioTo are the ratios of records per CPU-second, each to the base's run in the same round.
func (all outcomes) ratioTo(base, workload, peer string) (v []float64) {
	bases, _ := all.of(workload, base)
	runs, _ := all.of(workload, peer)
	for _, r := range runs {
		for _, b := range bases {
			if b.Series == r.Series && b.Round == r.Round && b.Result.PerCPU > 0 {
				v = append(v, r.Result.PerCPU/b.Result.PerCPU)
			}
		}
	}
	return v
}

func (all outcomes) ratios(w io.Writer, base string) {
	peers := all.peers(base)
	line(w, "| workload | %s, records per CPU-s |", base)
	for _, p := range peers {
		line(w, " %s, ratio |", p)
	}
	line(w, "\n|---|---|")
	for range peers {
		line(w, "---|")
	}
	line(w, "\n")
	for _, wl := range workloads {
		if !slices.ContainsFunc(all, func(o outcome) bool { return o.Workload == wl.name }) {
			continue
		}
		runs, _ := all.of(wl.name, base)
		line(w, "| %s: %s | %s |", wl.name, wl.what, spread(runs.values(perCPU)).format(short))
		for _, p := range peers {
			line(w, " %s |", spread(all.ratioTo(base, wl.name, p)).format(ratio))
		}
		line(w, "\n")
	}
}

func (all outcomes) details(w io.Writer, wl workload, base string) {
	if !slices.ContainsFunc(all, func(o outcome) bool { return o.Workload == wl.name }) {
		return
	}
	line(w, "\n**%s**: %s\n\n", wl.name, wl.what)
	line(w, "| peer | records per CPU-s | ratio | records/s | mallocs/record | bytes/record | peak RSS MiB | p50 | p99 | p99.9 | records/batch | records/request | wire/values | runs |\n")
	line(w, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, p := range append([]string{base}, all.peers(base)...) {
		runs, played := all.of(wl.name, p)
		if played == 0 {
			continue
		}
		med := func(f func(outcome) float64) float64 { return spread(runs.values(f)).median }
		r := "–"
		if p != base {
			r = spread(all.ratioTo(base, wl.name, p)).format(ratio)
		}
		line(w, "| %s | %s | %s | %s | %s | %.0f | %.0f | %s | %s | %s |", p, spread(runs.values(perCPU)).format(short), r,
			short(med(func(o outcome) float64 { return o.Result.PerWall })), mallocs(med(func(o outcome) float64 { return o.Result.Mallocs })),
			med(func(o outcome) float64 { return o.Result.AllocBytes }), med(func(o outcome) float64 { return float64(o.Result.PeakKiB) / 1024 }),
			micros(med(func(o outcome) float64 { return o.Result.P50 })), micros(med(func(o outcome) float64 { return o.Result.P99 })),
			micros(med(func(o outcome) float64 { return o.Result.P999 })))
		for _, f := range onWire {
			line(w, " %s |", spread(runs.values(f)).medianOnly())
		}
		line(w, " %d/%d |\n", len(runs), played)
	}
}

func perCPU(o outcome) float64 { return o.Result.PerCPU }

// onWire are what the null cluster saw; a real one tells nothing.
var onWire = []func(outcome) float64{
	func(o outcome) float64 {
		return seen(o, func() (int64, int64) { return o.Null.Records, o.Null.Batches })
	},
	func(o outcome) float64 {
		return seen(o, func() (int64, int64) { return o.Null.Records, o.Null.Requests })
	},
	func(o outcome) float64 {
		return seen(o, func() (int64, int64) { return o.Null.BatchBytes, o.Null.Records * int64(o.Result.Size) })
	},
}

func seen(o outcome, f func() (a, b int64)) float64 {
	if o.Null == nil {
		return 0
	}
	a, b := f()
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func (all outcomes) values(f func(outcome) float64) (v []float64) {
	for _, o := range all {
		v = append(v, f(o))
	}
	return v
}

// line writes to a bufio.Writer, which keeps the first error for its Flush.
func line(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
