package main

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/stretchr/testify/require"
)

// TestLinesAreJavas compares with what ProducerPerformance's format strings give in Java.
func TestLinesAreJavas(t *testing.T) {
	require.Equal(t,
		"249999 records sent, 49989.8 records/sec (4.77 MB/sec), 3.2 ms avg latency, 211.0 ms max latency.",
		windowLine(249999, 24999900, 5001*time.Millisecond, sampled{4, 12800 * time.Microsecond, 211 * time.Millisecond}))

	m := newMeter(nil)
	for i := range 1000 {
		m.outcome(quill.RecordMetadata{}, nil)
		m.sample(time.Duration(i+1) * time.Millisecond)
	}
	s := m.summary(100, 2*time.Second)
	require.Equal(t,
		"1000 records sent, 500.000000 records/sec (0.05 MB/sec), 500.50 ms avg latency, 1000.34 ms max latency, 500 ms 50th, 950 ms 95th, 990 ms 99th, 999 ms 99.9th.",
		s.line(""))
	require.Regexp(t, "^1000 steady state records sent, ", s.line(" steady state"))
	require.Equal(t,
		"2000 records sent, 500.000000 records/sec (0.05 MB/sec), 500.50 ms avg latency, 1000.34 ms max latency, 500 ms 50th, 950 ms 95th, 990 ms 99th, 999 ms 99.9th.",
		s.plus(s).line(""))
	require.Equal(t, int64(1000), s.samples(), "plus leaves its parts alone")
}

func TestNothingSentHasASummary(t *testing.T) {
	require.Equal(t,
		"0 records sent, 0.000000 records/sec (0.00 MB/sec), 0.00 ms avg latency, 0.00 ms max latency, 0 ms 50th, 0 ms 95th, 0 ms 99th, 0 ms 99.9th.",
		newMeter(nil).summary(100, 0).line(""))
}

func TestWindowsAreSeparate(t *testing.T) {
	m := newMeter(nil)
	m.sample(time.Second)
	m.sample(3 * time.Second)
	require.Equal(t, sampled{2, 4 * time.Second, 3 * time.Second}, m.takeWindow())
	require.Equal(t, sampled{}, m.takeWindow())
	m.sample(2 * maxLatency)
	m.sample(-1)
	require.Equal(t, sampled{2, maxLatency + 1, maxLatency}, m.takeWindow(), "clocks may do anything")
}

func TestFailuresAreCountedAndTheFirstKept(t *testing.T) {
	var fatal error
	warm, steady := newMeter(nil), newMeter(func(err error) { fatal = err })
	require.NoError(t, undeliveredBy(warm, steady))
	first := errors.New("first")
	steady.outcome(quill.RecordMetadata{}, first)
	steady.outcome(quill.RecordMetadata{}, errors.New("second"))
	require.NoError(t, fatal)
	require.EqualError(t, undeliveredBy(warm, steady), "2 records were not delivered; the first: first")
	require.ErrorIs(t, undeliveredBy(warm, steady), first)
	steady.outcome(quill.RecordMetadata{}, &quill.Error{Class: quill.ErrFatal})
	require.Error(t, fatal)
}

func TestPacerKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for rate, records := range map[float64]int{10: 50, 1000: 5000, 100_000: 500_000} {
			p := pacer{begin: time.Now(), rate: rate}
			for i := range records + 1 {
				p.wait(t.Context(), i)
			}
			require.InDelta(t, 5, time.Since(p.begin).Seconds(), 0.01, "%v per second", rate)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p := pacer{begin: time.Now(), rate: 0.001}
		p.wait(ctx, 1)
		require.Zero(t, time.Since(p.begin))
	})
}

func TestIntervalsAreShownWhileRecordsComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := &display{out: &out, interval: 5 * time.Second}
		m := newMeter(nil)
		stop := d.watch(m, 1<<20, 0)
		m.outcome(quill.RecordMetadata{}, nil)
		m.sample(20 * time.Millisecond)
		time.Sleep(5*time.Second + 1)
		time.Sleep(5 * time.Second) // nothing comes back: no line
		m.outcome(quill.RecordMetadata{}, nil)
		m.sample(40 * time.Millisecond)
		time.Sleep(5 * time.Second)
		stop()
		require.Equal(t, "1 records sent, 0.2 records/sec (0.20 MB/sec), 20.0 ms avg latency, 20.0 ms max latency.\n"+
			"1 records sent, 0.1 records/sec (0.10 MB/sec), 40.0 ms avg latency, 40.0 ms max latency.\n", out.String())
	})
}

func TestBarMakesWayForLines(t *testing.T) {
	var out, terminal bytes.Buffer
	d := &display{out: &out, bar: newBar(1000, &terminal)}
	d.move(250)
	require.Contains(t, terminal.String(), "250/1000")
	d.line("a line")
	d.close()
	d.close()
	d.move(500)
	require.NotContains(t, terminal.String(), "500/1000", "the bar is gone")
	require.Equal(t, "a line\n", out.String())
}
