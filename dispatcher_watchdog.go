package quill

import (
	"sync/atomic"
	"time"
)

// watchdog notices callbacks that do not return: the dispatcher waits for them, and with it Flush, Close,
// the futures, and in the end, when no memory comes back, every Send.
//
// Callbacks are many and mostly short, so no clock is read for them. The watchdog checks every few seconds
// while callbacks run, and stops when it finds none running. If a series of callbacks (those of a batch) has
// ended since the last check, all is well; otherwise it counts the callbacks of the running series.
type watchdog struct {
	on     atomic.Bool  // a check is scheduled
	series atomic.Int64 // how many have begun
	asks   atomic.Bool  // callbacks that return are to be counted
	count  atomic.Int64 // how many did

	// Used by the check alone: only one runs at a time.
	lastSeries int64 // series at the last check
	last       int64 // count at the last check
	looks      int   // checks in a row that found that no callback had returned
}

const (
	watchEvery  = 5 * time.Second
	slowAfter   = 2      // checks without a callback that returned, after which it is logged
	repeatAfter = 60 / 5 // checks until it is logged again
)

// returned counts a callback that has returned, if callbacks are counted at present.
func (w *watchdog) returned() {
	if w.asks.Load() {
		w.count.Add(1)
	}
}

// startWatch begins to watch.
func (d *dispatcher) startWatch() {
	if w := &d.watch; w.on.CompareAndSwap(false, true) {
		w.last, w.lastSeries = -1, w.series.Load()-1
		time.AfterFunc(watchEvery, d.watchCallbacks) // it sets itself again until it finds no callback running
	}
}

// watchCallbacks does one check, and schedules the next one if a callback may be running.
func (d *dispatcher) watchCallbacks() {
	w, q := &d.watch, d.calling.Load()
	if q == nil {
		w.asks.Store(false)
		if w.on.Store(false); d.calling.Load() != nil { // a series began in between, and did not start a watchdog because on was set
			d.startWatch()
		}
		return
	}
	series := w.series.Load()
	ended := series-w.lastSeries > 1 // two have begun since, so the first of them has ended
	w.lastSeries = series
	w.asks.Store(!ended)
	if count := w.count.Load(); ended || count != w.last {
		w.last, w.looks = count, 0
	} else if w.looks++; w.looks%repeatAfter == slowAfter {
		d.logger.Warn("a callback has not returned: no other outcome is reported until it does", "for_more_than", time.Duration(w.looks)*watchEvery,
			"topic", q.topic.name, "partition", q.index)
	}
	time.AfterFunc(watchEvery, d.watchCallbacks)
}
