package quill

import (
	"sync/atomic"
	"time"
)

// watchdog notices callbacks that do not return: the dispatcher waits for them, and with it Flush, Close,
// the futures, and in the end, when no memory comes back, every Send.
//
// Callbacks are many and mostly short, so none reads a clock. The watchdog looks every few seconds while
// callbacks run, and stops when it finds none running. If series of callbacks (those of a batch) have ended
// since the look before, all is well; only if not, the callbacks of the one that runs are counted.
type watchdog struct {
	on     atomic.Bool  // it will look again
	series atomic.Int64 // how many have begun
	asks   atomic.Bool  // callbacks that return are to be counted
	count  atomic.Int64 // how many did

	// The look's own: there is one at a time.
	lastSeries int64 // series at the look before
	last       int64 // count then
	looks      int   // how many found no callback returned
}

const (
	watchEvery  = 5 * time.Second
	slowAfter   = 2      // looks without a callback that returned: it is logged
	repeatAfter = 60 / 5 // looks until it is logged again
)

// returned is called after each callback.
func (w *watchdog) returned() {
	if w.asks.Load() {
		w.count.Add(1)
	}
}

// startWatch begins to watch.
func (d *dispatcher) startWatch() {
	if w := &d.watch; w.on.CompareAndSwap(false, true) {
		w.last, w.lastSeries = -1, w.series.Load()-1
		time.AfterFunc(watchEvery, d.watchCallbacks) // the last is the one that finds no callback running
	}
}

// watchCallbacks is one look.
func (d *dispatcher) watchCallbacks() {
	w, q := &d.watch, d.calling.Load()
	if q == nil {
		w.asks.Store(false)
		if w.on.Store(false); d.calling.Load() != nil { // one began in between, and found the watchdog there
			d.startWatch()
		}
		return
	}
	series := w.series.Load()
	ended := series-w.lastSeries > 1 // one more began, and so the one before it ended
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
