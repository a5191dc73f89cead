package quill

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// asleep runs sleep(until) in a goroutine and returns how long it slept, once it is awake.
func asleep(x *inbox, d time.Duration) func() time.Duration {
	start := time.Now()
	done := make(chan time.Duration, 1)
	go func() {
		timer := time.NewTimer(time.Hour)
		timer.Stop()
		x.sleep(start.Add(d), timer)
		done <- time.Since(start)
	}()
	synctest.Wait()
	return func() time.Duration { return <-done }
}

func TestInboxSleepsUntilItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newInbox()
		require.Equal(t, time.Minute, asleep(x, time.Minute)())
		require.Zero(t, asleep(x, 0)())
		require.Zero(t, asleep(x, -time.Minute)())
	})
}

func TestInboxWakesForWhatCannotWait(t *testing.T) {
	for name, leave := range map[string]func(x *inbox){
		"a queue":  func(x *inbox) { x.notify(notice{queue: &partitionQueue{}}, true) },
		"an order": func(x *inbox) { x.command(func(*sender, time.Time) {}) },
		"a topic":  func(x *inbox) { x.want(&topicState{}) },
		"a nudge":  func(x *inbox) { x.wakeNow() },
		"by a time": func(x *inbox) {
			x.notify(notice{queue: &partitionQueue{}, by: x.instant(time.Now().Add(time.Second))}, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newInbox()
				awake := asleep(x, time.Minute)
				time.Sleep(time.Second)
				leave(x)
				require.Equal(t, time.Second, awake())
				require.Zero(t, asleep(x, time.Minute)(), "there is mail")
				var m mail
				x.take(&m)
				require.Equal(t, 1, len(m.queues)+len(m.topics)+len(m.commands))
				require.Equal(t, time.Minute, asleep(x, time.Minute)(), "a bell of before is no reason to wake twice")
			})
		})
	}
}

func TestInboxLetsTheSenderSleepThroughALinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newInbox()
		awake := asleep(x, 5*time.Millisecond)
		x.notify(notice{queue: &partitionQueue{}, by: x.instant(time.Now().Add(5 * time.Millisecond))}, true)
		require.Equal(t, 5*time.Millisecond, awake(), "its timer covers that")
		var m mail
		x.take(&m)
		require.Len(t, m.queues, 1)
	})
}

func TestInboxLosesNoWakeUp(t *testing.T) {
	x := newInbox()
	const callers, each = 4, 2000
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(c), 1))
			for range each {
				x.command(func(*sender, time.Time) {})
				if rnd.IntN(50) == 0 {
					time.Sleep(time.Duration(rnd.IntN(100)) * time.Microsecond)
				}
			}
		})
	}
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	var m mail
	for got := 0; got < callers*each; got += len(m.commands) {
		start := time.Now()
		x.sleep(start.Add(10*time.Second), timer)
		require.Less(t, time.Since(start), 10*time.Second)
		x.take(&m)
	}
	wg.Wait()
}
