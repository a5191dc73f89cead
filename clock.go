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
// without a reader; an idle or slow producer has none. The price is a timestamp that may be a
// scheduling delay late, never one from before the producer's own previous reading of that burst.
type coarseClock struct {
	ms      atomic.Int64 // the ticker's time; 0: no ticker runs, read the real clock
	used    atomic.Bool  // somebody read since the last tick
	second  atomic.Int64 // the millisecond that reads counts
	reads   atomic.Int32
	closing atomic.Bool
	stop    chan struct{}
	stopped chan struct{} // one token: held by the ticker while it runs
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

// millis is the present time; at most a few milliseconds old while the ticker runs.
func (c *coarseClock) millis() int64 {
	if ms := c.ms.Load(); ms != 0 {
		if !c.used.Load() {
			c.used.Store(true)
		}
		return ms
	}
	return c.read()
}

func (c *coarseClock) read() int64 {
	ms := time.Now().UnixMilli()
	if c.second.Load() != ms {
		c.second.Store(ms)
		c.reads.Store(0)
	} else if c.reads.Add(1) == tickAfter && !c.closing.Load() {
		select {
		case <-c.stopped: // the token: no other ticker runs
			c.used.Store(true)
			c.ms.Store(ms)
			go c.tick()
		default:
		}
	}
	return ms
}

// tick runs until nobody reads any more, or close.
func (c *coarseClock) tick() {
	t := time.NewTicker(time.Millisecond)
	defer func() {
		t.Stop()
		c.ms.Store(0)
		c.stopped <- struct{}{}
	}()
	for idle := 0; idle < idleTicks; idle++ {
		select {
		case now := <-t.C:
			c.ms.Store(now.UnixMilli())
			if c.used.Swap(false) {
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
