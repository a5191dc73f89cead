package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/stretchr/testify/require"
)

func parse(t *testing.T, args ...string) options {
	t.Helper()
	o, err := parseOptions(args, io.Discard)
	require.NoError(t, err)
	return o
}

func TestModesAndTheirGoroutines(t *testing.T) {
	for _, c := range []struct {
		args       []string
		goroutines int
		wait       bool
	}{
		{nil, 1, false},
		{[]string{"-goroutines", "8"}, 8, false},
		{[]string{"-mode", "sync"}, 1, true},
		{[]string{"-mode", "parallel:64"}, 64, true},
	} {
		o := parse(t, append([]string{"-embedded"}, c.args...)...)
		require.Equal(t, c.goroutines, o.goroutines, "%v", c.args)
		require.Equal(t, c.wait, o.wait, "%v", c.args)
		require.Equal(t, defaultTopic, o.topic)
	}
}

func TestBadFlagsAreExplained(t *testing.T) {
	for want, args := range map[string][]string{
		"flag provided but not defined":      {"-no-such-flag"},
		`unexpected argument "x"`:            {"-embedded", "x"},
		"-topic is required":                 {"-bootstrap", "a:1"},
		"exclude each other":                 {"-embedded", "-bootstrap", "a:1"},
		"no cluster":                         {"-topic", "t"},
		"-partitions goes with -embedded":    {"-topic", "t", "-bootstrap", "a:1", "-partitions", "3"},
		"-partitions must":                   {"-embedded", "-partitions", "0"},
		"-records must":                      {"-embedded", "-records", "0"},
		"-warmup must":                       {"-embedded", "-records", "10", "-warmup", "10"},
		"-size must":                         {"-embedded", "-size", "0"},
		"-keys must":                         {"-embedded", "-keys", "-1"},
		"-throughput must":                   {"-embedded", "-throughput", "0"},
		"-interval must":                     {"-embedded", "-interval", "0s"},
		"-linger and -batch-size must":       {"-embedded", "-linger", "-1s"},
		"-goroutines must":                   {"-embedded", "-goroutines", "0"},
		"-goroutines goes with":              {"-embedded", "-mode", "sync", "-goroutines", "2"},
		`-producer-prop "linger.ms"`:         {"-embedded", "-producer-prop", "linger.ms"},
		"-mode parallel:x: N must":           {"-embedded", "-mode", "parallel:x"},
		`-mode "fast" is not`:                {"-embedded", "-mode", "fast"},
		`invalid value "often" for flag -re`: {"-embedded", "-records", "often"},
	} {
		var out bytes.Buffer
		_, err := parseOptions(args, &out)
		require.ErrorContains(t, err, want)
		require.Empty(t, out.String(), "the caller prints the error")
	}
}

func TestHelpListsTheFlags(t *testing.T) {
	var out bytes.Buffer
	_, err := parseOptions([]string{"-help"}, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.Contains(t, out.String(), "-producer-prop name=value")
}

func TestLaterSettingsWin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.properties")
	require.NoError(t, os.WriteFile(file, []byte("linger.ms=7\nbatch.size=1\nacks=1\ncompression.type=gzip\nbootstrap.servers=file:1"), 0o600))
	cfg := func(args ...string) quill.Config {
		o := parse(t, append([]string{"-topic", "t", "-properties", file}, args...)...)
		cfg, err := o.config()
		require.NoError(t, err)
		return cfg
	}

	fromFile := cfg()
	require.Equal(t, "perf-producer-client", fromFile.ClientID)
	require.Equal(t, []string{"file:1"}, fromFile.BootstrapServers)
	require.Equal(t, 7*time.Millisecond, fromFile.Linger)
	require.Equal(t, quill.CompressionGzip, fromFile.Compression)

	props := cfg("-producer-prop", "linger.ms=8", "-producer-prop", `client.id=\ a=b:\u0041`, "-producer-prop", "compression.type=zstd")
	require.Equal(t, 8*time.Millisecond, props.Linger)
	require.Equal(t, `\ a=b:\u0041`, props.ClientID)
	require.Equal(t, quill.CompressionZstd, props.Compression)

	flags := cfg("-producer-prop", "linger.ms=8", "-linger", "300us", "-batch-size", "65536", "-acks", "all", "-compression", "lz4", "-bootstrap", "a:1,b:2")
	require.Equal(t, 300*time.Microsecond, flags.Linger)
	require.Equal(t, 65536, flags.BatchSize)
	require.Equal(t, quill.AcksAll, flags.Acks)
	require.Equal(t, quill.CompressionLZ4, flags.Compression)
	require.Equal(t, []string{"a:1", "b:2"}, flags.BootstrapServers)

	none := cfg("-linger", "0s", "-batch-size", "0")
	require.Equal(t, time.Duration(-1), none.Linger)
	require.Equal(t, -1, none.BatchSize)
}

func TestBadPropertiesAreNamed(t *testing.T) {
	o := parse(t, "-embedded", "-acks", "most")
	_, err := o.config()
	require.ErrorContains(t, err, "acks")
	o = parse(t, "-embedded", "-properties", filepath.Join(t.TempDir(), "none"))
	_, err = o.config()
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestPayloadIsExactAndTheSameEachTime(t *testing.T) {
	for _, size := range []int{1, 2, 50, 100, 1024, 100_000} {
		vs := values(size)
		require.NotEmpty(t, vs)
		for _, v := range vs {
			require.Len(t, v, size)
		}
		require.Equal(t, vs, values(size))
	}
	require.NotEqual(t, values(100)[0], values(100)[1])
	ks := keys(3)
	require.Equal(t, []string{"user-00000000000", "user-00000000001", "user-00000000002"}, []string{string(ks[0]), string(ks[1]), string(ks[2])})
}
