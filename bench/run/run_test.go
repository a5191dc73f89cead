package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Builds two peers and plays every kind of workload with a handful of records.
func TestRunnerPlaysAndReports(t *testing.T) {
	all, out := runWhole(t, options{only: "W1a,W2b,W3b,W7,W8a,W9,W10,W12a,W1bT,W7T", peers: "quill,franz", base: "franz", rounds: 2, scale: 0.001})
	require.Len(t, all, 9*2*2, "W12a needs a real cluster and is left out")
	for i, r := range all {
		require.True(t, r.OK, "%s %s: %s", r.Workload, r.Peer, r.Note)
		require.Equal(t, []string{"quill", "franz"}[i%2], r.Peer, "peers take turns")
		require.Equal(t, i/2%2, r.Round)
		require.Positive(t, r.Result.Records)
		require.Positive(t, r.Null.Decoded)
	}
	require.Contains(t, out, "| quill |")
	require.NotContains(t, out, "WRONG")
}

// runWhole runs the whole program and returns its results file and what it printed.
func runWhole(t *testing.T, o options) (all outcomes, printed string) {
	o.dir, o.out, o.verify, o.timeout = "..", filepath.Join(t.TempDir(), "results.jsonl"), true, 20*time.Second
	var out strings.Builder
	require.NoError(t, run(o, &out))
	f, err := os.Open(o.out)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	all, err = readOutcomes(f)
	require.NoError(t, err)
	return all, out.String()
}

// script makes a peer that is a shell script.
func script(t *testing.T, bin, name, text string) {
	require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text), 0o700))
}

func TestWrongRunsDoNotCount(t *testing.T) {
	bin := t.TempDir()
	script(t, bin, "liar", `echo '{"client":"liar","records":4000,"rpcs":1e9}'`)
	script(t, bin, "silent", `exit 0`)
	script(t, bin, "broken", `echo "out of ink" >&2; exit 3`)
	script(t, bin, "stuck", `exec sleep 60`)
	ws, err := choose("W1a")
	require.NoError(t, err)
	var log, results strings.Builder
	p := &player{bin: bin, peers: []string{"liar", "silent", "broken", "stuck"}, rounds: 1, scale: 0.001, timeout: 300 * time.Millisecond, log: &log}
	begun := time.Now()
	require.NoError(t, p.play(t.Context(), ws, &results))
	require.Less(t, time.Since(begun), 10*time.Second)
	all, err := readOutcomes(strings.NewReader(results.String()))
	require.NoError(t, err)
	require.Len(t, all, 4)
	for i, note := range []string{"0 of 4500 records arrived", "unexpected end of JSON input", "out of ink", "killed"} {
		require.False(t, all[i].OK)
		require.Contains(t, all[i].Note, note)
	}
	require.Empty(t, all.ratioTo("liar", "W1a", "liar"))
	require.Equal(t, 4, strings.Count(log.String(), "WRONG"))
}

func TestTransactionsAreCounted(t *testing.T) {
	all, out := runWhole(t, options{only: "W14", peers: "quill,quill:transaction,franz:transaction", base: "quill", rounds: 1, scale: 0.01})
	require.Len(t, all, 3)
	for i, transactions := range []int64{0, 11, 11} {
		require.True(t, all[i].OK, "%s: %s", all[i].Peer, all[i].Note)
		require.Equal(t, transactions, all[i].Null.Transactions)
	}
	require.Contains(t, out, "| quill:transaction |")
}

func TestPlayEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &player{bin: t.TempDir(), peers: []string{"x"}, rounds: 1, scale: 1, timeout: time.Second, log: &strings.Builder{}}
	require.ErrorIs(t, p.play(ctx, workloads[:1], &strings.Builder{}), context.Canceled)
}

// A peer that sends in plaintext to the cluster of the TLS workloads has no run that counts.
func TestTLSWorkloadsCountOnlyWithTLS(t *testing.T) {
	all, _ := runWhole(t, options{only: "W2bT", peers: "quill,franz,sarama,kafkago", base: "franz", rounds: 1, scale: 0.001})
	require.Len(t, all, 4)
	for _, r := range all {
		require.True(t, r.OK, "%s: %s", r.Peer, r.Note)
	}
	bin := t.TempDir()
	script(t, bin, "plain", `for a; do case "$a" in -tls=*) ;; *) set -- "$@" "$a" ;; esac; shift; done; exec `+strconv.Quote(filepath.Join(buildQuill(t), "quill"))+` "$@" -timeout=2s`)
	ws, err := choose("W2bT")
	require.NoError(t, err)
	var results strings.Builder
	p := &player{bin: bin, peers: []string{"plain"}, rounds: 1, scale: 0.001, timeout: 20 * time.Second, log: &strings.Builder{}}
	require.NoError(t, p.play(t.Context(), ws, &results))
	all, err = readOutcomes(strings.NewReader(results.String()))
	require.NoError(t, err)
	require.False(t, all[0].OK)
	require.Zero(t, all[0].Null.Records)
}

func buildQuill(t *testing.T) (dir string) {
	dir = t.TempDir()
	require.NoError(t, build(t.Context(), "..", dir, []string{"quill"}))
	return dir
}

func TestUnknownPeerIsNamed(t *testing.T) {
	err := build(t.Context(), "..", t.TempDir(), []string{"nobody"})
	require.ErrorContains(t, err, `"nobody"`)
}
