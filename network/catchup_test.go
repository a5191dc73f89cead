package network

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// drowsy is a connection whose reader the poller does not wake while it dozes: what arrives meanwhile
// lies there until it is read again, as in a process that stood still.
type drowsy struct {
	net.Conn
	changed chan struct{} // capacity 1

	mu sync.Mutex
	// +checklocks:mu
	arrived []byte
	// +checklocks:mu
	dozes bool
	// +checklocks:mu
	deadline time.Time
	// +checklocks:mu
	err error
}

func newDrowsy(nc net.Conn) *drowsy {
	d := &drowsy{Conn: nc, changed: make(chan struct{}, 1)}
	go func() { // ends with nc
		b := make([]byte, 4096)
		for {
			n, err := nc.Read(b)
			d.mu.Lock()
			d.arrived = append(d.arrived, b[:n]...)
			d.err = err
			wake := !d.dozes || err != nil
			d.mu.Unlock()
			if wake {
				d.wake()
			}
			if err != nil {
				return
			}
		}
	}()
	return d
}

func (d *drowsy) wake() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

func (d *drowsy) doze(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dozes = yes
}

func (d *drowsy) SetReadDeadline(t time.Time) error {
	d.mu.Lock()
	d.deadline = t
	d.mu.Unlock()
	d.wake()
	return nil
}

func (d *drowsy) SetDeadline(t time.Time) error {
	_ = d.SetWriteDeadline(t)
	return d.SetReadDeadline(t)
}

func (d *drowsy) Read(b []byte) (int, error) {
	first := true
	for {
		d.mu.Lock()
		deadline, err, dozes := d.deadline, d.err, d.dozes
		over := !deadline.IsZero() && !deadline.After(time.Now())
		n := 0
		if !over && (first || !dozes || err != nil) {
			n = copy(b, d.arrived)
			d.arrived = d.arrived[n:]
		}
		d.mu.Unlock()
		switch {
		case over:
			return 0, os.ErrDeadlineExceeded
		case n > 0:
			return n, nil
		case err != nil:
			return 0, err
		}
		first = false
		var timer <-chan time.Time
		if !deadline.IsZero() {
			timer = time.After(time.Until(deadline))
		}
		select {
		case <-d.changed:
		case <-timer:
		}
	}
}

// drowsyRig returns a rig whose connections doze when the test wants it.
func drowsyRig(t *testing.T, script func(*peer), options ...func(*Config)) (r *rig, doze func(bool)) {
	var made []*drowsy
	r = newRig(t, script, append(options, func(c *Config) {
		dial := c.DialContext
		c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			d := newDrowsy(nc)
			made = append(made, d)
			return d, nil
		}
	})...)
	return r, func(yes bool) {
		for _, d := range made {
			d.doze(yes)
		}
	}
}

func TestCatchUpBringsWhatHasArrived(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, doze := drowsyRig(t, echoes, func(c *Config) { c.RequestTimeout = time.Second })
		r.connect(-1)
		doze(true)
		first, second := r.send(-1, "a"), r.send(-1, "b")
		time.Sleep(10 * time.Second) // the process stands still: no turn
		r.settle()
		require.Empty(t, r.done, "nobody has read")
		require.True(t, r.Overdue(time.Now()))

		r.CatchUp(9*time.Second, time.Now())
		require.True(t, r.Behind())
		time.Sleep(2 * lookTime)
		r.settle()
		require.False(t, r.Behind())
		require.Equal(t, []*Request{first, second}, r.done)
		require.NoError(t, first.Err)
		require.NoError(t, second.Err)

		doze(false)
		third := r.send(-1, "c")
		r.pass(time.Minute)
		require.Contains(t, r.done, third, "the reader goes on as before")
		require.NoError(t, third.Err)
	})
}

func TestCatchUpWithoutAnswersGivesTheTimeBack(t *testing.T) {
	for _, c := range []struct {
		name       string
		late, more time.Duration
	}{
		{"as long as the standstill", 400 * time.Millisecond, 400 * time.Millisecond},
		{"at most the time-out", time.Hour, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, _ := drowsyRig(t, mute, func(c *Config) { c.RequestTimeout = time.Second })
				r.connect(-1)
				req := r.send(-1, "a")
				time.Sleep(time.Second + c.late) // the turn was meant for the deadline
				r.CatchUp(c.late, time.Now())
				begin := time.Now()
				r.back(req)
				require.ErrorIs(t, req.Err, ErrRequestTimeout)
				require.InDelta(t, c.more, time.Since(begin), float64(20*time.Millisecond))
			})
		})
	}
}

func TestCatchUpEndsWithTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, doze := drowsyRig(t, func(p *peer) {
			p.handshake()
			q := p.request()
			p.request()
			p.answer(q.id, "a") // and goes
		})
		r.connect(-1)
		doze(true)
		first, second := r.send(-1, "a"), r.send(-1, "b")
		r.CatchUp(time.Second, time.Now())
		r.settle()
		require.False(t, r.Behind())
		require.NoError(t, first.Err, "what came before the end counts")
		require.ErrorIs(t, second.Err, ErrDisconnected)
	})
}

// An answer that is here waits for the return of its write; caughtUp must not overtake it.
func TestCaughtUpComesAfterAnswersThatAreHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, echoes)
		r.connect(-1)
		x := r.nodes[-1].conn
		req := r.send(-1, "a")
		synctest.Wait()
		r.takeEvents()
		x.mu.Lock()
		x.ended-- // the write has not returned
		x.mu.Unlock()
		x.deliver(x.lastWrite, Event{kind: answered, conn: x, request: req})
		r.CatchUp(0, time.Now())
		time.Sleep(lookTime)
		synctest.Wait()
		require.Empty(t, r.takeEvents())
		x.markWritten()
		events := r.takeEvents()
		require.Len(t, events, 2)
		require.Equal(t, answered, events[0].kind)
		require.Equal(t, caughtUp, events[1].kind)
		for _, e := range events {
			r.done = r.Handle(e, time.Now(), r.done)
		}
	})
}

// stopped is a connection whose reader does not run for a while after the deadline of the set-up.
type stopped struct {
	net.Conn
	from, to time.Time
}

func (s *stopped) Read(b []byte) (int, error) {
	if now := time.Now(); now.Before(s.from) {
		time.Sleep(s.to.Sub(now))
		if len(b) > 0 {
			if _, err := s.Conn.Read(nil); err != nil {
				return 0, err
			}
			return 0, os.ErrDeadlineExceeded
		}
	}
	return s.Conn.Read(b)
}

func TestAHandshakeThatWasAnsweredDuringAStandstillCounts(t *testing.T) {
	for _, c := range []struct {
		name   string
		script func(*peer)
		ready  bool
	}{
		{"answered", func(p *peer) {
			q := p.request()
			m := versionsAnswer()
			go func() { _, _ = p.Write(frame(q.id, m.Append(nil, q.version))) }()
			_, _ = io.Copy(io.Discard, p)
		}, true},
		{"not answered", silent, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, c.script, func(cfg *Config) {
					dial := cfg.DialContext
					cfg.SetupTimeout = time.Second
					cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
						nc, err := dial(ctx, network, addr)
						now := time.Now()
						return &stopped{nc, now.Add(time.Second), now.Add(10 * time.Second)}, err
					}
				})
				require.False(t, r.Ready(-1, time.Now()))
				time.Sleep(10*time.Second + 2*lookTime)
				r.settle()
				require.Equal(t, c.ready, r.Connected(-1))
			})
		})
	}
}

// thin is a node on a thin line: it takes a request every two seconds, and answers each at once.
func thin(p *peer) {
	p.handshake()
	for {
		time.Sleep(2 * time.Second)
		q := p.request()
		p.answer(q.id, "ok")
	}
}

// bulky sends a request so large that it is not joined with others.
func bulky(r *rig) *Request {
	r.t.Helper()
	return r.send(-1, string(make([]byte, joinLimit)))
}

// What waits in line for a line that is full does not time out because of that.
func TestATimeOutIsCountedFromTheWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, thin, func(c *Config) { c.RequestTimeout = 3 * time.Second })
		r.connect(-1)
		var sent []*Request
		for range 5 {
			sent = append(sent, bulky(r))
		}
		begin := time.Now()
		for i, req := range sent {
			r.back(req)
			require.NoError(t, req.Err, "request %d", i)
		}
		require.InDelta(t, 10*time.Second, time.Since(begin), float64(100*time.Millisecond))
		require.Equal(t, 1, r.dialled())
	})
}

// trickle is a connection on a thin line: it reads 256 KiB a second.
type trickle struct{ net.Conn }

func (c *trickle) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	time.Sleep(time.Duration(n) * time.Second / (256 << 10))
	return n, err
}

// So long as a large write goes on it is not cut either: two requests that are joined, or one, may take longer than the time-out.
func TestAWriteThatGoesOnDoesNotTimeOut(t *testing.T) {
	script := func(p *peer) {
		p.handshake()
		p.Conn = &trickle{p.Conn}
		for {
			q := p.request()
			p.answer(q.id, "ok")
		}
	}
	for _, sizes := range [][]int{{joinLimit - 1000, joinLimit - 1000, joinLimit - 1000, joinLimit - 1000}, {4 * joinLimit}} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, script, func(c *Config) { c.RequestTimeout = 3 * time.Second })
			r.connect(-1)
			begin := time.Now()
			var sent []*Request
			for _, size := range sizes {
				sent = append(sent, r.send(-1, string(make([]byte, size))))
			}
			for i, req := range sent {
				r.back(req)
				require.NoError(t, req.Err, "request %d", i)
			}
			require.InDelta(t, 16*time.Second, time.Since(begin), float64(time.Second))
			require.Equal(t, 1, r.dialled())
		})
	}
}

// deepBuffer returns a node behind a line that takes all requests at once, as the system's send buffer does, and passes on one
// every two seconds. It answers this many.
func deepBuffer(answers int) func(*peer) {
	return func(p *peer) {
		p.handshake()
		var ids []int32
		for range 5 {
			ids = append(ids, p.request().id)
		}
		for _, id := range ids[:answers] {
			time.Sleep(2 * time.Second)
			p.answer(id, "ok")
		}
		time.Sleep(time.Minute)
	}
}

// What was written long ago, but is behind what is not answered yet, has its time from the answers before it on. When these
// end, it is given up as soon as that is over.
func TestARequestBehindOthersHasTimeFromTheirAnswersOn(t *testing.T) {
	for _, c := range []struct {
		answers int
		ends    time.Duration // of the last request
	}{{5, 10 * time.Second}, {3, 9 * time.Second}, {0, 3 * time.Second}} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, deepBuffer(c.answers), func(cfg *Config) { cfg.RequestTimeout = 3 * time.Second })
			r.connect(-1)
			var sent []*Request
			for range 5 {
				sent = append(sent, bulky(r))
			}
			begin := time.Now()
			for i, req := range sent {
				r.back(req)
				if i < c.answers {
					require.NoError(t, req.Err, "request %d", i)
				} else {
					require.ErrorIs(t, req.Err, ErrRequestTimeout, "request %d", i)
				}
			}
			require.InDelta(t, c.ends, time.Since(begin), float64(100*time.Millisecond))
			time.Sleep(time.Minute)
		})
	}
}

// Requests that get no answer by their nature are no answers: a node that only takes them is given up for another's sake.
func TestRequestsWithoutAnswersKeepNoConnectionOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, mute, func(cfg *Config) { cfg.RequestTimeout = 3 * time.Second })
		r.connect(-1)
		waits := r.send(-1, "a")
		begin := time.Now()
		for range 5 {
			time.Sleep(500 * time.Millisecond)
			req := &Request{Exchange: &echo{out: []byte("b")}, NoAnswer: true}
			r.Send(-1, req, time.Now())
			r.back(req)
		}
		r.back(waits)
		require.ErrorIs(t, waits.Err, ErrRequestTimeout)
		require.InDelta(t, 3*time.Second, time.Since(begin), float64(100*time.Millisecond))
	})
}

// A line that is stuck, or a node that does not answer, is given up as soon as before.
func TestALineThatIsStuckTimesOut(t *testing.T) {
	for _, c := range []struct {
		name   string
		script func(*peer)
		after  time.Duration
	}{
		{"from the beginning", func(p *peer) { p.handshake(); time.Sleep(time.Minute) }, 3 * time.Second},
		{"after one request", func(p *peer) {
			p.handshake()
			time.Sleep(2 * time.Second)
			p.request()
			time.Sleep(time.Minute)
		}, 5 * time.Second},
		{"with all written", mute, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, c.script, func(cfg *Config) { cfg.RequestTimeout = 3 * time.Second })
				r.connect(-1)
				first := bulky(r)
				for range 4 {
					bulky(r)
				}
				begin := time.Now()
				r.back(first)
				require.ErrorIs(t, first.Err, ErrRequestTimeout)
				require.InDelta(t, c.after, time.Since(begin), float64(100*time.Millisecond))
				time.Sleep(time.Minute)
			})
		})
	}
}

// Overdue and Tick are of one mind about the deadline itself.
func TestARequestIsOverdueAtItsDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := drowsyRig(t, mute, func(c *Config) { c.RequestTimeout = time.Second })
		r.connect(-1)
		req := r.send(-1, "a")
		time.Sleep(time.Second - 1)
		require.False(t, r.Overdue(time.Now()))
		r.Tick(time.Now(), nil)
		require.False(t, req.timedOut)
		time.Sleep(time.Nanosecond)
		require.True(t, r.Overdue(time.Now()))
		r.Tick(time.Now(), nil)
		require.True(t, req.timedOut)
		r.back(req)
	})
}
