package quill

import (
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// runDispatcher starts the rig's dispatcher; stop ends it.
func (r *rig) runDispatcher() (stop func()) {
	d := r.s.dispatch
	go d.run()
	synctest.Wait()
	return func() {
		d.close()
		<-d.done
	}
}

// concluded returns a batch whose n records were accepted from offset on, handed to the dispatcher.
func (r *rig) concluded(partition int32, offset int64, fns ...Callback) Future {
	r.t.Helper()
	var f Future
	for _, fn := range fns {
		in := one("", "value")
		in.callback = fn
		f = r.appendInput(partition, in)
	}
	node := rigLeaders[partition]
	r.drainOne(node)
	r.answer(node, accepted(offset))
	return f
}

func TestCallbacksRunInOrderBeforeFutures(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = 0 }, func(t *testing.T, r *rig) {
		defer r.runDispatcher()()
		var offsets []int64
		var f Future
		note := func(m RecordMetadata, err error) {
			require.NoError(t, err)
			require.False(t, m.Offset < 20 && f.Done(), "the futures come after the callbacks")
			offsets = append(offsets, m.Offset)
		}
		for _, fn := range []Callback{note, nil, note, note} {
			in := one("", "value")
			in.callback = fn
			f = r.appendInput(0, in)
		}
		r.drainOne(0)
		r.answer(0, accepted(10))
		r.concluded(0, 20, note)
		r.s.dispatch.kick()
		synctest.Wait()
		require.Equal(t, []int64{10, 12, 13, 20}, offsets)
		require.True(t, f.Done())
		require.EqualValues(t, rigMemory, r.free())
	})
}

func TestAPanicInACallbackIsLoggedAndNoMore(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = 0 }, func(t *testing.T, r *rig) {
		var log strings.Builder
		r.s.dispatch.logger = slog.New(slog.NewTextHandler(&log, nil))
		stop := r.runDispatcher()
		calls := 0
		fn := func(m RecordMetadata, _ error) {
			calls++
			if m.Offset%2 == 1 {
				panic("odd")
			}
		}
		f := r.concluded(0, 10, fn, fn, fn, fn)
		r.s.dispatch.kick()
		synctest.Wait()
		require.Equal(t, 4, calls)
		require.True(t, f.Done())
		require.Nil(t, r.s.dispatch.calling.Load())
		stop()
		require.Equal(t, 2, strings.Count(log.String(), "panic=odd"))
		require.Contains(t, log.String(), "offset=11")
	})
}

func TestTheDispatcherKnowsItsCallbacks(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = 0 }, func(t *testing.T, r *rig) {
		d := r.s.dispatch
		stop := r.runDispatcher()
		require.False(t, d.inside())
		inside, elsewhere := false, true
		r.concluded(0, 0, func(RecordMetadata, error) {
			inside = d.inside()
			done := make(chan struct{})
			go func() { elsewhere = d.inside(); close(done) }()
			<-done
		})
		d.kick()
		synctest.Wait()
		require.True(t, inside)
		require.False(t, elsewhere)
		stop()
	})
}

func TestTheDispatcherEmptiesItsQueueBeforeItEnds(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = 0 }, func(t *testing.T, r *rig) {
		stop := r.runDispatcher()
		calls := 0
		for range 5 {
			r.concluded(0, 0, func(RecordMetadata, error) { calls++; time.Sleep(time.Second) })
		}
		r.s.dispatch.kick()
		stop()
		require.Equal(t, 5, calls)
	})
}

func TestACallbackThatEndsItsGoroutineHarmsNobody(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = 0 }, func(t *testing.T, r *rig) {
		defer r.runDispatcher()()
		var offsets []int64
		note := func(m RecordMetadata, _ error) {
			offsets = append(offsets, m.Offset)
			if m.Offset%10 == 1 {
				runtime.Goexit() // as t.FailNow does
			}
		}
		f := r.concluded(0, 10, note, note, note)
		g := r.concluded(0, 20, note)
		r.s.dispatch.kick()
		synctest.Wait()
		require.Equal(t, []int64{10, 11, 12, 20}, offsets)
		require.True(t, f.Done())
		require.True(t, g.Done())
	})
}

// The watchdog sleeps while no callback runs, and is awake again with the next that does.
func TestTheWatchdogRestsWithTheCallbacks(t *testing.T) {
	var log strings.Builder
	withRig(t, func(s *settings) { s.linger, s.logger = 0, slog.New(slog.NewTextHandler(&log, nil)) }, func(t *testing.T, r *rig) {
		defer r.runDispatcher()()
		watch := &r.s.dispatch.watch
		for range 2 {
			r.concluded(0, 0, func(RecordMetadata, error) { require.True(t, watch.on.Load()) })
			r.s.dispatch.kick()
			time.Sleep(time.Minute)
			require.False(t, watch.on.Load())
		}
		synctest.Wait() // the race detector knows of no order by time
		require.Empty(t, log.String())
		r.concluded(0, 0, func(RecordMetadata, error) { time.Sleep(20 * time.Second) })
		r.s.dispatch.kick()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(log.String(), "a callback has not returned"))
		require.False(t, watch.on.Load())
	})
}

// Who only waits for its future needs no goroutine but the sender's and its own.
func TestFuturesWithoutCallbacksDoNotWaitForTheDispatcher(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = 0 }, func(t *testing.T, r *rig) {
		d := r.s.dispatch
		d.kick()
		require.Empty(t, d.woken, "there is nothing to do")
		early := r.concluded(0, 10, nil)
		d.kick()
		require.False(t, early.Done(), "the dispatcher has not begun")
		require.Len(t, d.woken, 1)
		defer r.runDispatcher()()
		require.True(t, early.Done())
		two := r.concluded(0, 20, nil, nil)
		d.kick()
		require.True(t, two.Done(), "in the sender's turn")
		require.EqualValues(t, rigMemory, r.free())

		var held Future
		slow := r.concluded(0, 30, func(RecordMetadata, error) {
			held = r.concluded(1, 40, nil) // the sender goes on meanwhile
			d.kick()
			require.False(t, held.Done(), "it comes after the callbacks of the batch before it")
		})
		d.kick()
		require.False(t, slow.Done())
		synctest.Wait()
		require.True(t, slow.Done())
		require.True(t, held.Done())

		looked := make(chan struct{})
		d.mark([]chan struct{}{looked})
		d.kick()
		<-looked
	})
}

func TestFuturesComeAfterWhatIsQueuedForTheDispatcher(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = 0 }, func(t *testing.T, r *rig) {
		d := r.s.dispatch
		d.mu.Lock()
		d.resting = true // it has been woken, but has not yet run
		d.mu.Unlock()
		r.concluded(0, 10, func(RecordMetadata, error) {})
		d.kick()
		behind := r.concluded(0, 20, nil)
		d.kick()
		require.False(t, behind.Done())
		defer r.runDispatcher()()
		require.True(t, behind.Done())
	})
}

// A batch that is decided may be reused as soon as its memory is back. Until the turn ends the sender may still come across it:
// it goes through all incomplete batches when it gives them up.
func TestBatchesStayTheSendersUntilItsTurnEnds(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = 0 }, func(t *testing.T, r *rig) {
		defer r.runDispatcher()()
		r.concluded(0, 10, nil)
		synctest.Wait()
		require.Less(t, r.free(), int64(rigMemory))
		r.s.dispatch.kick()
		require.EqualValues(t, rigMemory, r.free())
	})
}
