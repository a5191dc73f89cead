package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// display shows how the run goes. Lines go to out; a progress bar goes to the terminal on standard
// error, if there is one.
type display struct {
	out      io.Writer
	interval time.Duration
	quiet    bool // the result is one line of JSON

	mu sync.Mutex
	// +checklocks:mu
	bar *progressbar.ProgressBar // nil: none
}

// barInterval is how often the bar moves.
const barInterval = 200 * time.Millisecond

func newDisplay(o options, stdout, stderr io.Writer) *display {
	d := &display{out: stdout, interval: o.interval, quiet: o.json}
	if f, ok := stderr.(*os.File); ok && !o.json && term.IsTerminal(int(f.Fd())) {
		d.bar = newBar(o.records, stderr)
	}
	return d
}

func newBar(records int, w io.Writer) *progressbar.ProgressBar {
	return progressbar.NewOptions(records,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetRenderBlankState(true), // starts its clock
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("records"),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true))
}

// line prints a line in place of the bar, which comes back with its next move.
func (d *display) line(s string) {
	if d.quiet {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar != nil {
		_ = d.bar.Clear() // a bar that cannot be drawn is no reason to stop
	}
	fmt.Fprintln(d.out, s)
}

// move moves the bar.
func (d *display) move(records int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar != nil {
		_ = d.bar.Set64(records)
	}
}

// close takes the bar away. It may be called again.
func (d *display) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar != nil {
		_ = d.bar.Clear()
		d.bar = nil
	}
}

// watch shows what m counts until the function it returns is called. before is how many records the
// run had when m began.
func (d *display) watch(m *meter, size, before int) (stop func()) {
	quit := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { d.follow(m, size, before, quit) })
	return func() {
		close(quit)
		watching.Wait()
	}
}

func (d *display) follow(m *meter, size, before int, quit <-chan struct{}) {
	lines, moves := time.NewTicker(d.interval), time.NewTicker(barInterval)
	defer lines.Stop()
	defer moves.Stop()
	begin, shown := time.Now(), int64(0)
	for {
		select {
		case <-quit:
			return
		case <-moves.C:
			d.move(int64(before) + m.acknowledged.Load() + m.failed.Load())
		case now := <-lines.C:
			n := m.acknowledged.Load()
			if n == shown {
				continue // Java is silent too when nothing comes back
			}
			d.line(windowLine(n-shown, (n-shown)*int64(size), now.Sub(begin), m.takeWindow()))
			begin, shown = now, n
		}
	}
}

// json prints the result as one line. The names are those of the benchmark drivers, so that the same
// tools read both.
func (d *display) json(s summary, m *meter, used usage, o options) error {
	cpu := used.user + used.system
	n := max(1, float64(s.records))
	micros := func(t time.Duration) float64 { return float64(t) / 1e3 }
	out := struct {
		Client     string  `json:"client"`
		Records    int64   `json:"records"`
		Warmup     int     `json:"warmup"`
		Size       int     `json:"size"`
		Wall       float64 `json:"wall"`
		User       float64 `json:"user"`
		System     float64 `json:"sys"`
		RPS        float64 `json:"rps"`
		MBPS       float64 `json:"mbps"` // of 10^6 bytes
		RPCS       float64 `json:"rpcs"` // records per CPU second
		Mallocs    float64 `json:"mallocs"`
		AllocBytes float64 `json:"alloc_bytes"`
		GCs        uint32  `json:"gcs"`
		PeakKiB    int64   `json:"hwm_kib"`
		P50        float64 `json:"p50"`
		P99        float64 `json:"p99"`
		P999       float64 `json:"p999"`
		Max        float64 `json:"max"`
		Samples    int64   `json:"samples"`
		Errors     int64   `json:"errors"`
		FirstError string  `json:"first_error,omitempty"`
	}{
		Client: "quill", Records: s.records, Warmup: o.warmup, Size: o.size,
		Wall: s.elapsed.Seconds(), User: used.user.Seconds(), System: used.system.Seconds(),
		RPS: perSecond(s.records, s.elapsed), MBPS: perSecond(s.bytes, s.elapsed) / 1e6, RPCS: perSecond(s.records, cpu),
		Mallocs: float64(used.mallocs) / n, AllocBytes: float64(used.allocated) / n, GCs: used.gcs, PeakKiB: used.peakKiB,
		P50: micros(s.quantile(50)), P99: micros(s.quantile(99)), P999: micros(s.quantile(99.9)), Max: micros(time.Duration(s.latency.Max())),
		Samples: s.samples(), Errors: m.failed.Load(),
	}
	if first := m.first.Load(); first != nil {
		out.FirstError = (*first).Error()
	}
	return json.NewEncoder(d.out).Encode(out)
}
