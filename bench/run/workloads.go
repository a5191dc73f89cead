package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// workload is one row of the table: what every peer has to do.
type workload struct {
	name    string
	what    string
	records int
	warmup  int
	size    int
	flags   []string // for the peer, besides the common ones
	topic   string   // "" for real: made anew for each run
	latency time.Duration
	group   int  // records after which all is waited for; with -transaction each group is one
	real    bool // needs a real cluster
	tls     bool // TLS 1.3 with AES-128-GCM
}

// The two settings: Java's defaults and franz-go's.
const (
	settingA = "-batch=16384 -linger=5ms"
	settingB = "-batch=1000000 -linger=10ms"
	noLinger = "-batch=16384 -linger=0"
)

var workloads = []workload{
	{name: "W1a", what: "async, 100 B, 12 partitions, no codec; 16 KiB / 5 ms", records: 4_000_000, warmup: 500_000, size: 100, flags: split(settingA)},
	{name: "W1b", what: "async, 100 B, 12 partitions, no codec; 1 MB / 10 ms", records: 4_000_000, warmup: 500_000, size: 100, flags: split(settingB)},
	{name: "W2a", what: "async, 1 KiB, no codec; 16 KiB / 5 ms", records: 1_500_000, warmup: 200_000, size: 1024, flags: split(settingA)},
	{name: "W2b", what: "async, 1 KiB, no codec; 1 MB / 10 ms", records: 1_500_000, warmup: 200_000, size: 1024, flags: split(settingB)},
	{name: "W3a", what: "async, 100 B, keyed, lz4; 16 KiB / 5 ms", records: 3_000_000, warmup: 500_000, size: 100, flags: split("-keyed -compression=lz4", settingA)},
	{name: "W3b", what: "async, 100 B, keyed, lz4; 1 MB / 10 ms", records: 3_000_000, warmup: 500_000, size: 100, flags: split("-keyed -compression=lz4", settingB)},
	{name: "W4", what: "async, 1 KiB, zstd; 1 MB / 10 ms", records: 400_000, warmup: 50_000, size: 1024, flags: split("-compression=zstd", settingB)},
	{name: "W5", what: "async, 1 KiB, snappy; 1 MB / 10 ms", records: 1_000_000, warmup: 100_000, size: 1024, flags: split("-compression=snappy", settingB)},
	{name: "W6", what: "async, 1 KiB, gzip; 1 MB / 10 ms", records: 150_000, warmup: 20_000, size: 1024, flags: split("-compression=gzip", settingB)},
	{name: "W7", what: "sync, 1 goroutine, 100 B, no linger", records: 40_000, warmup: 5_000, size: 100, flags: split("-mode=sync", noLinger)},
	{name: "W8a", what: "64 goroutines send and wait, 100 B, no linger", records: 300_000, warmup: 30_000, size: 100, flags: split("-mode=parallel:64", noLinger)},
	{name: "W8b", what: "64 goroutines send and wait, 100 B, 5 ms", records: 40_000, warmup: 5_000, size: 100, flags: split("-mode=parallel:64", settingA)},
	{name: "W9", what: "W1b with 8 sending goroutines", records: 4_000_000, warmup: 500_000, size: 100, flags: split("-goroutines=8", settingB)},
	{name: "W10", what: "async, 100 B, keyed, 1,000 partitions, no codec; 16 KiB / 5 ms", records: 1_000_000, warmup: 200_000, size: 100,
		flags: split("-keyed -parts=1000", settingA), topic: "t1000"},
	{name: "W11", what: "memory: answers after 200 ms, 32 MiB buffer, 1 KiB; 1 MB / 10 ms", records: 300_000, warmup: 10_000, size: 1024,
		flags: split("-bufbytes=33554432", settingB), latency: 200 * time.Millisecond},
	{name: "W12a", what: "W1b against a real cluster", records: 4_000_000, warmup: 500_000, size: 100, flags: split(settingB), real: true},
	{name: "W12b", what: "W2b against a real cluster", records: 1_000_000, warmup: 200_000, size: 1024, flags: split(settingB), real: true},
	{name: "W7r", what: "W7 against a real cluster", records: 15_000, warmup: 2_000, size: 100, flags: split("-mode=sync", noLinger), real: true},
	{name: "W1bT", what: "W1b with TLS", records: 4_000_000, warmup: 500_000, size: 100, flags: split(settingB), tls: true},
	{name: "W2bT", what: "W2b with TLS", records: 1_500_000, warmup: 200_000, size: 1024, flags: split(settingB), tls: true},
	{name: "W7T", what: "W7 with TLS", records: 40_000, warmup: 5_000, size: 100, flags: split("-mode=sync", noLinger), tls: true},
	{name: "W13a", what: "paced at 50,000 records/s, 100 B, no linger", records: 100_000, warmup: 50_000, size: 100, flags: split("-rate=50000", noLinger)},
	{name: "W13b", what: "paced at 50,000 records/s, 100 B, 5 ms", records: 100_000, warmup: 50_000, size: 100, flags: split("-rate=50000", settingA)},
	{name: "W14", what: "1 KiB in groups of 1,000 that are waited for; 16 KiB / 5 ms (a peer as quill:transaction makes each group a transaction)",
		records: 1_000_000, warmup: 100_000, size: 1024, flags: split(settingA), group: 1000},
}

func split(flags ...string) []string { return strings.Fields(strings.Join(flags, " ")) }

// scaled is w with fewer (or more) records. More do not need a longer warm-up.
func (w workload) scaled(by float64) workload {
	w.records = max(1, int(float64(w.records)*by))
	w.warmup = int(float64(w.warmup) * min(1, by))
	return w
}

// choose picks the workloads named, in the order of the table; all if names is empty.
func choose(names string) ([]workload, error) {
	if names == "" {
		return workloads, nil
	}
	wanted := strings.Split(names, ",")
	for _, n := range wanted {
		if !slices.ContainsFunc(workloads, func(w workload) bool { return w.name == n }) {
			return nil, fmt.Errorf("no workload %q", n)
		}
	}
	return slices.DeleteFunc(slices.Clone(workloads), func(w workload) bool { return !slices.Contains(wanted, w.name) }), nil
}
