package quill

import (
	"sync/atomic"
	"time"
)

// coarseClock gives the wall time in milliseconds for record timestamps.
//
// Reading the real clock costs more than everything else Send does to a 100-byte record, so under
// load (more than tickAfter reads within a millisecond) a goroutine writes the time once a
// millisecond and callers only load it. The goroutine ends by itself after idleTicks milliseconds
// without a reader; an idle or slow producer has none.
//
// On a machine without a spare processor that goroutine may not get to run for a while. Therefore
// goroutines that read the real clock anyway pass it on while the ticker runs: the sender with each turn,
// and a Send with each batch that it opens. So a record's time is a few milliseconds old at most where
// goroutines get to run, and in any case not older than its batch.
type coarseClock struct {
	ms        atomic.Int64 // the ticker's time; negative until it is first read; 0: no ticker runs, read the real clock
	countedMs atomic.Int64 // the millisecond that reads belongs to
	reads     atomic.Int32
	closing   atomic.Bool
	stop      chan struct{}
	stopped   chan struct{} // one token: held by the ticker while it runs

	_ [24]byte // the rest of a cache line: each Send reads ms, so fields that other goroutines write must not share its line
}

const (
	tickAfter = 256
	idleTicks = 20
)

func newCoarseClock() *coarseClock {
	c := &coarseClock{stop: make(chan struct{}), stopped: make(chan struct{}, 1)}
	c.stopped <- struct{}{}
	return c
}

// millis returns the time, which is at most a few milliseconds old while the ticker runs.
func (c *coarseClock) millis() int64 {
	ms := c.ms.Load()
	if ms <= 0 {
		ms = c.read()
	}
	return ms
}

// read does the work of millis for the first reader after a tick, and for all readers while no ticker runs. It
// starts the ticker after many reads in one millisecond.
func (c *coarseClock) read() int64 {
	if ms := c.ms.Load(); ms < 0 {
		c.ms.CompareAndSwap(ms, -ms)
		return -ms
	} else if ms > 0 {
		return ms
	}
	ms := time.Now().UnixMilli()
	if c.countedMs.Load() != ms {
		c.countedMs.Store(ms)
		c.reads.Store(0)
	} else if c.reads.Add(1) == tickAfter && !c.closing.Load() {
		select {
		case <-c.stopped: // the token: no other ticker runs
			c.ms.Store(ms)
			go c.tick()
		default:
		}
	}
	return ms
}

// fresh returns the time by the real clock, and passes it on.
func (c *coarseClock) fresh() int64 {
	ms := time.Now().UnixMilli()
	c.advance(ms)
	return ms
}

// advance passes on a reading of the real clock, if the ticker runs. The time does not go back unless the
// clock was set.
func (c *coarseClock) advance(ms int64) {
	for {
		was := c.ms.Load()
		if was == 0 || !newer(ms, max(was, -was)) {
			return
		}
		to := ms
		if was < 0 {
			to = -ms
		}
		if c.ms.CompareAndSwap(was, to) {
			return
		}
	}
}

// newer reports whether a reading of the clock takes the place of another.
func newer(ms, was int64) bool { return ms > was || was-ms > clockSetBack }

// clockSetBack is the number of milliseconds beyond which an earlier reading means that the clock was set. A
// reading that is less behind comes from a goroutine that was kept from passing it on.
const clockSetBack = 1000

// tick runs the ticker. It returns when there were no reads for idleTicks milliseconds, or after close.
func (c *coarseClock) tick() {
	t := time.NewTicker(time.Millisecond)
	defer func() {
		t.Stop()
		c.ms.Store(0)
		c.stopped <- struct{}{}
	}()
	for idle := 0; idle < idleTicks; idle++ {
		select {
		case <-t.C: // the time that it delivers is when the tick was due, so the clock is read
			c.fresh()
			if was := c.ms.Load(); was > 0 && c.ms.CompareAndSwap(was, -was) { // fails if another goroutine passed a time on just now
				idle = 0
			}
		case <-c.stop:
			return
		}
	}
}

// close ends the ticker and waits for it.
func (c *coarseClock) close() {
	if c.closing.Swap(true) {
		return
	}
	close(c.stop)
	<-c.stopped
}

// forever is the wait when no end is known.
const forever = time.Hour

const (
	// catchUpTime is how long readers have to post the answers that have arrived. They need that long only if
	// they are kept from running.
	catchUpTime = 500 * time.Millisecond
	// lateWait is how much later than it should a Send's wait must end to be taken for a standstill. A busy
	// machine is some milliseconds late all the time, and max.block.ms should hold there.
	lateWait = 100 * time.Millisecond
)
