package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const sample = `package quill

type batch struct {
	open, full bool
	known      evidence
	part       struct{ lost bool }
	next       *facts
}

type evidence struct{ maybe bool }

type facts struct{ head bool }

// close closes it.
func (b *batch) close(n int) int {
	switch {
	case b.open && (b.full || !b.known.maybe) && n > 0:
		return 1
	case b.full:
		b.open = false
	}
	return 2
}

// size is its size, whatever that is, as somebody
// told.
func size() {}
`

// checkout writes the sample as the library of a checkout.
func checkout(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "batch.go"), []byte(sample), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "batch_test.go"), []byte("not read"), 0o644))
	return dir
}

func TestMeasures(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(&out, checkout(t), 0, 0))
	for _, want := range []string{
		"1 files,    28 lines,    3 comment lines",
		"3 words of the dialect: 1000.0 per 1,000 comment lines",
		`1 of 2 functions' comments are of the form "x is": 50.0 %`,
		"0 lines over 140 columns",
		"batch      3 booleans of its own, 4 with those of the structs in it",
		"facts      1 booleans of its own, 1 with",
		"largest case: 4 operands, 55 columns (batch.go:17)",
	} {
		require.Contains(t, out.String(), want)
	}
}

func TestTheSameSeedDrawsTheSameLines(t *testing.T) {
	dir := checkout(t)
	draw := func(n int, seed uint64) string {
		var out bytes.Buffer
		require.NoError(t, run(&out, dir, n, seed))
		return out.String()
	}
	require.Equal(t, draw(3, 7), draw(3, 7))
	require.NotEqual(t, draw(3, 7), draw(3, 8))
	all := draw(99, 1)
	require.Equal(t, 6, strings.Count(all, ", in batch.close\n"), all)
	for _, line := range []string{" >   16      switch {", " >   17      case b.open && (b.full", " >   18          return 1", " >   20          b.open = false", " >   22      return 2"} {
		require.Contains(t, all, line)
	}
}

func TestADirectoryWithoutCodeIsAnError(t *testing.T) {
	require.ErrorContains(t, run(new(bytes.Buffer), t.TempDir(), 0, 0), "no Go files below")
}
