package driver

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/quilltest"
)

func TestValuesAreAlwaysTheSameAndExactlyAsLong(t *testing.T) {
	for _, size := range []int{1, 10, 100, 1024, 70_000} {
		v := Values(size, 20)
		require.Equal(t, v, Values(size, 20))
		for _, b := range v {
			require.Len(t, b, size)
			require.Equal(t, size, cap(b))
		}
	}
	require.True(t, bytes.HasPrefix(Values(1024, 1)[0], []byte(`{"at":17`)))
}

// fake is a client that delivers at once, from another goroutine.
type fake struct {
	m       *Meter
	sends   atomic.Int64
	syncs   atomic.Int64
	keys    atomic.Int64
	flushes atomic.Int64
	lose    int64 // this Send has no outcome
	fail    int64 // this one fails
	closed  bool
}

var errFake = errors.New("refused")

func (f *fake) Send(key, _ []byte, sample int) {
	n := f.sends.Add(1)
	if key != nil {
		f.keys.Add(1)
	}
	switch n {
	case f.lose:
	case f.fail:
		f.m.Done(sample, errFake)
	default:
		go f.m.Done(sample, nil)
	}
}

func (f *fake) SendSync(_, _ []byte) error {
	f.syncs.Add(1)
	return nil
}
func (f *fake) Flush() error { f.flushes.Add(1); return nil }
func (f *fake) Close() error { f.closed = true; return nil }

func (f *fake) open(_ Config, m *Meter) (Client, error) {
	f.m = m
	return f, nil
}

func config(t *testing.T, args ...string) Config {
	c, err := parse("peer", append([]string{"-records=1000", "-warmup=100"}, args...), io.Discard)
	require.NoError(t, err)
	return c
}

func TestEveryDeliveryIsWaitedFor(t *testing.T) {
	for name, test := range map[string]struct {
		args                  []string
		sends, syncs, samples int
	}{
		"async":                     {[]string{"-keyed", "-keys=10"}, 1100, 0, 16},
		"async, several goroutines": {[]string{"-goroutines=3"}, 1100, 0, 18},
		"paced":                     {[]string{"-rate=100000"}, 1100, 0, 1000},
		"sync":                      {[]string{"-mode=sync"}, 0, 1100, 1000},
		"parallel":                  {[]string{"-mode=parallel:8"}, 0, 1100, 1000},
		"no warm-up":                {[]string{"-warmup=0"}, 1000, 0, 16},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			r, err := Run("fake", config(t, test.args...), f.open)
			require.NoError(t, err)
			require.EqualValues(t, test.sends, f.sends.Load())
			require.EqualValues(t, test.syncs, f.syncs.Load())
			require.Equal(t, test.samples, r.Samples)
			require.True(t, f.closed)
			require.Zero(t, r.Errors)
			require.Equal(t, 1000, r.Records)
			require.Positive(t, r.PerWall)
			require.LessOrEqual(t, r.P50, r.P99)
			require.LessOrEqual(t, r.P99, r.Max)
			if name == "async" {
				require.EqualValues(t, 1100, f.keys.Load())
			}
			b, err := json.Marshal(r)
			require.NoError(t, err)
			require.Contains(t, string(b), `"rpcs":`)
		})
	}
}

func TestPaceIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		r, err := Run("fake", config(t, "-records=500", "-warmup=0", "-rate=5000", "-goroutines=2"), f.open)
		require.NoError(t, err)
		require.InDelta(t, 0.1, r.Wall, 0.01)
	})
}

func TestGroupsAreWaitedFor(t *testing.T) {
	f := &fake{}
	_, err := Run("fake", config(t, "-group=300"), f.open)
	require.NoError(t, err)
	require.EqualValues(t, 1+4, f.flushes.Load(), "one of the warm-up, and 300, 300, 300, 100")
	_, err = Run("fake", config(t, "-group=300", "-transaction"), (&fake{}).open)
	require.ErrorContains(t, err, "no transactions")
	in := &transacting{}
	_, err = Run("fake", config(t, "-group=300", "-transaction"), in.open)
	require.NoError(t, err)
	require.Equal(t, []string{"begin", "commit", "begin", "commit", "begin", "commit", "begin", "commit", "begin", "commit"}, in.calls)
}

// transacting is a fake that has transactions.
type transacting struct {
	fake
	calls []string
}

func (f *transacting) open(_ Config, m *Meter) (Client, error) {
	f.m = m
	return f, nil
}

func (f *transacting) Begin() error  { f.calls = append(f.calls, "begin"); return nil }
func (f *transacting) Commit() error { f.calls = append(f.calls, "commit"); return nil }

func TestLostDeliveryEndsTheRunInTime(t *testing.T) {
	f := &fake{lose: 500}
	begun := time.Now()
	_, err := Run("fake", config(t, "-timeout=2s"), f.open)
	require.ErrorContains(t, err, "999 of 1000 delivered")
	require.Less(t, time.Since(begun), 20*time.Second)
}

func TestFailuresAreCountedAndNamed(t *testing.T) {
	f := &fake{fail: 500}
	r, err := Run("fake", config(t), f.open)
	require.NoError(t, err)
	require.EqualValues(t, 1, r.Errors)
	require.Equal(t, "refused", r.FirstError)
}

// quiet is a client that costs nothing.
type quiet struct{ m *Meter }

func (q quiet) Send(_, _ []byte, sample int) { q.m.Done(sample, nil) }
func (q quiet) SendSync(_, _ []byte) error   { return nil }
func (q quiet) Flush() error                 { return nil }
func (q quiet) Close() error                 { return nil }

func TestMeasuringAllocatesNothingPerRecord(t *testing.T) {
	for _, mode := range []string{"async", "sync"} {
		r, err := Run("quiet", config(t, "-records=100000", "-keyed", "-mode="+mode), func(_ Config, m *Meter) (Client, error) { return quiet{m}, nil })
		require.NoError(t, err)
		require.Less(t, r.Mallocs, 0.001)
	}
}

func TestProfilesAreWritten(t *testing.T) {
	dir := t.TempDir()
	cpu, mem := filepath.Join(dir, "cpu"), filepath.Join(dir, "mem")
	_, err := Run("fake", config(t, "-cpuprofile="+cpu, "-memprofile="+mem), (&fake{}).open)
	require.NoError(t, err)
	for _, f := range []string{cpu, mem} {
		s, err := os.Stat(f)
		require.NoError(t, err)
		require.Positive(t, s.Size())
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, arg := range []string{"-mode=quick", "-mode=parallel:0", "-acks=2", "-compression=rar", "-records=0", "-brokers=example.org:9092", "-brokers=127.0.0.1", "-keys=0", "-group=-1", "-transaction"} {
		_, err := parse("peer", []string{arg}, io.Discard)
		require.Error(t, err, arg)
	}
}

func TestOnlyOneCipherIsMeasured(t *testing.T) {
	ca := quilltest.NewCA()
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, ca.PEM(), 0o600))
	c := config(t, "-tls="+file)
	handshake := func(client, server *tls.Config) error {
		a, b := net.Pipe()
		defer func() { require.NoError(t, errors.Join(a.Close(), b.Close())) }()
		go func() { _ = tls.Server(b, server).Handshake() }()
		client = client.Clone()
		client.ServerName = "localhost"
		return tls.Client(a, client).Handshake()
	}
	require.NoError(t, handshake(c.TLS, OnlyAES128(ca.ServerConfig())))
	old := ca.ServerConfig()
	old.MaxVersion = tls.VersionTLS12
	require.Error(t, handshake(c.TLS, old))
	require.ErrorContains(t, c.TLS.VerifyConnection(tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_CHACHA20_POLY1305_SHA256}), "TLS_CHACHA20_POLY1305_SHA256")
	require.Error(t, handshake(c.TLS, OnlyAES128(quilltest.NewCA().ServerConfig())), "another authority")
	require.Nil(t, config(t).TLS)
	_, err := parse("peer", []string{"-tls=" + file + ".not"}, io.Discard)
	require.ErrorContains(t, err, "-tls")
	_, err = parse("peer", []string{"-tls=/dev/null"}, io.Discard)
	require.ErrorContains(t, err, "no certificate")
}

func TestPercentilesComeFromTheSortedValues(t *testing.T) {
	v := make([]int64, 100)
	for i := range v {
		v[i] = int64(i) * 1000
	}
	require.Equal(t, 50.0, percentile(v, .5))
	require.Equal(t, 99.0, percentile(v, .99))
	require.Equal(t, 99.0, percentile(v, 1))
	require.Zero(t, percentile(nil, .5))
	require.Equal(t, 7.0, percentile([]int64{7000}, .999))
}
