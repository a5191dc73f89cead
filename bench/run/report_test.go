package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/bench/driver"
	"github.com/quill-kafka/quill/bench/null"
)

func TestSpreadIsMedianAndExtremes(t *testing.T) {
	require.Equal(t, span{3, 2, 1, 9}, spread([]float64{9, 1, 2}))
	require.Equal(t, span{4, 2.5, 1, 9}, spread([]float64{9, 1, 3, 2}))
	require.Equal(t, span{1, 5, 5, 5}, spread([]float64{5}))
	require.Equal(t, "–", spread(nil).format(short))
	require.Equal(t, "5", spread([]float64{5}).format(short))
	require.Equal(t, "2.00 (1.00–9.00)", spread([]float64{9, 1, 2}).format(ratio))
	v := []float64{3, 1, 2}
	spread(v)
	require.Equal(t, []float64{3, 1, 2}, v, "the caller's values stay as they are")
}

func TestNumbersAreShort(t *testing.T) {
	for v, want := range map[float64]string{0.5: "0.5", 999: "999", 1500: "1.5k", 25_000: "25k", 3_324_000: "3.32M"} {
		require.Equal(t, want, short(v))
	}
	for v, want := range map[float64]string{44: "44 µs", 1300: "1.3 ms", 349_000: "349 ms"} {
		require.Equal(t, want, micros(v))
	}
}

func played(series, peer string, round int, rpcs float64, ok bool) outcome {
	s := &null.Stats{}
	s.Records, s.Batches, s.Requests, s.BatchBytes = 1000, 10, 5, 110_000
	return outcome{Series: series, Workload: "W1b", Peer: peer, Round: round, OK: ok, Null: s, Result: driver.Result{PerCPU: rpcs, PerWall: 5e6, Size: 100, Mallocs: 1}}
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	all := outcomes{
		played("a", "franz", 0, 1e6, true), played("a", "quill", 0, 3e6, true),
		played("a", "franz", 1, 2e6, true), played("a", "quill", 1, 8e6, true),
		played("b", "franz", 0, 4e6, true), played("b", "quill", 0, 8e6, true),
		played("b", "franz", 1, 9e6, false), played("b", "quill", 1, 9e6, true), // no base to compare to
		played("b", "franz", 2, 1e6, true), played("b", "quill", 2, 9e6, false), // a wrong run does not count
	}
	require.ElementsMatch(t, []float64{3, 4, 2}, all.ratioTo("franz", "W1b", "quill"))
	require.Empty(t, all.ratioTo("franz", "W1b", "sarama"))
	require.Empty(t, all.ratioTo("franz", "W7", "quill"))
}

func TestReportIsAMarkdownTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.jsonl")
	f, err := os.Create(file)
	require.NoError(t, err)
	enc := json.NewEncoder(f)
	for _, o := range []outcome{played("a", "quill", 0, 3e6, true), played("a", "franz", 0, 1e6, true), played("a", "franz", 1, 1e6, false)} {
		require.NoError(t, enc.Encode(o))
	}
	require.NoError(t, f.Close())
	var out strings.Builder
	require.NoError(t, report(file, "franz", &out))
	got := out.String()
	require.Contains(t, got, "| workload | franz, records per CPU-s | quill, ratio |\n|---|---|---|\n")
	require.Contains(t, got, "| W1b: async, 100 B, 12 partitions, no codec; 1 MB / 10 ms | 1.00M | 3.00 |\n")
	require.Contains(t, got, "| quill | 3.00M | 3.00 | 5.00M | 1.00 |")
	require.Contains(t, got, "| 100 | 200 | 1.10 | 1/1 |\n")
	require.Contains(t, got, " 1/2 |\n")
	require.NotContains(t, got, "W7")
	for row := range strings.Lines(got) {
		if strings.HasPrefix(row, "| quill") {
			require.Equal(t, 15, strings.Count(row, "|"))
		}
	}
}

func TestBrokenResultsAreAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.jsonl")
	require.NoError(t, os.WriteFile(file, []byte("{\"workload\":\"W1a\"}\n{\"wor"), 0o600))
	require.Error(t, report(file, "franz", &strings.Builder{}))
}

func TestWorkloadsAreChosenByName(t *testing.T) {
	ws, err := choose("W7,W1a")
	require.NoError(t, err)
	require.Len(t, ws, 2)
	require.Equal(t, "W1a", ws[0].name)
	_, err = choose("W99")
	require.Error(t, err)
	ws, err = choose("")
	require.NoError(t, err)
	require.Len(t, ws, len(workloads))
	w := ws[0].scaled(0.1)
	require.Equal(t, workloads[0].records/10, w.records)
	require.Equal(t, workloads[0].warmup/10, w.warmup)
	require.Equal(t, workloads[0].warmup, ws[0].scaled(3).warmup)
}

func TestFactors(t *testing.T) {
	m, err := factors("java=20,other=3")
	require.NoError(t, err)
	require.Equal(t, map[string]int{"java": 20, "other": 3}, m)
	for _, bad := range []string{"java", "java=0", "java=x"} {
		_, err := factors(bad)
		require.Error(t, err)
	}
}
