package quill

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/backoff"
)

// farNode is a node behind a long line. It answers in order, and works on one request after the other for `service` each,
// or, with none, on all at once.
type farNode struct {
	pace          pace
	trip, service time.Duration
	busyTo        time.Time
	inFlight      []farRequest
}

type farRequest struct{ sentAt, doneAt time.Time }

// drain has the answers that have come noted.
func (f *farNode) drain(now time.Time) {
	for len(f.inFlight) > 0 && !f.inFlight[0].doneAt.After(now) {
		f.pace.answered(f.inFlight[0].sentAt, f.inFlight[0].doneAt, 5)
		f.inFlight = f.inFlight[1:]
	}
}

// send sends what is ready at a time as soon as the pace lets it, and returns how long it waited.
func (f *farNode) send(ready time.Time) (waited time.Duration) {
	now := ready
	for f.drain(now); len(f.inFlight) > 0; f.drain(now) {
		due := f.pace.freeAt(len(f.inFlight))
		if !due.After(now) && len(f.inFlight) < 5 {
			break
		}
		if first := f.inFlight[0].doneAt; first.Before(due) || !due.After(now) {
			due = first
		}
		now = due
	}
	f.pace.sent(len(f.inFlight) == 0, now)
	f.busyTo = backoff.Later(f.busyTo, now.Add(f.trip/2)).Add(f.service)
	f.inFlight = append(f.inFlight, farRequest{now, f.busyTo.Add(f.trip / 2)})
	return now.Sub(ready)
}

// Only the time that a node works is waited for, not the way there and back.
func TestPaceDoesNotCountTheWay(t *testing.T) {
	for name, c := range map[string]struct {
		trip, service, every, most time.Duration
	}{
		"far away, busy":        {200 * time.Millisecond, 5 * time.Millisecond, 41 * time.Millisecond, 5 * time.Millisecond},
		"far away, all at once": {200 * time.Millisecond, 0, 41 * time.Millisecond, time.Microsecond},
		"near, busy":            {time.Millisecond, 10 * time.Millisecond, 12 * time.Millisecond, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			f := &farNode{trip: c.trip, service: c.service}
			now := time.Unix(1000, 0)
			for i := range 1000 {
				waited := f.send(now)
				if i >= 10 { // by then it has shown how many requests it takes at once
					require.LessOrEqual(t, waited, c.most)
				}
				require.LessOrEqual(t, waited, c.trip+c.service)
				now = now.Add(waited + c.every)
			}
		})
	}
}

// A node that stood still once is not waited for later.
func TestPaceForgetsAStandstill(t *testing.T) {
	f := &farNode{trip: 200 * time.Millisecond}
	now, waits, waited := time.Unix(1000, 0), 0, time.Duration(0)
	for i := range 200 {
		if i == 20 {
			f.busyTo = now.Add(3 * time.Second)
		}
		waited = f.send(now)
		if i > 25 && waited > 0 {
			waits++
		}
		now = now.Add(waited + 41*time.Millisecond)
	}
	require.Less(t, waits, 60)
	require.Zero(t, waited)
}

// Two requests are out at a time to a node of which nothing is known: if each takes long, the fifth would have all others
// before it. One that takes them at once is sent more with each answer, up to five.
func TestANewNodeIsSentMoreAsItShowsThatItTakesMore(t *testing.T) {
	const every = 9 * time.Millisecond
	now := time.Unix(1000, 0)
	slow := &farNode{trip: time.Millisecond, service: 60 * time.Millisecond}
	for range 50 {
		now = now.Add(slow.send(now) + every)
		require.LessOrEqual(t, len(slow.inFlight), 2)
	}
	far := &farNode{trip: 50 * time.Millisecond}
	at := map[int]int{}
	for i := range 500 {
		now = now.Add(far.send(now) + every)
		if i >= 10 {
			at[len(far.inFlight)]++
		}
	}
	require.Equal(t, map[int]int{5: 490}, at)
}
