package network

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
)

// A process may stand still for seconds while clocks go on: stopped by a signal, throttled with its
// container, suspended with its machine. When it runs again all its time-outs are over, although the
// answers may have been in the sockets for long: no reader could fetch them. So an owner whose turn
// begins much later than it should does not give up requests yet. It calls CatchUp, after which
// each reader that expects answers posts those that have arrived, and then caughtUp:
//
//	owner ── CatchUp ──▶ read deadline in the past ──▶ reader wakes
//	  ▲                                                  │ reads until nothing comes for lookTime
//	  └──── answered · answered · caughtUp ──────────────┘
//
// A reader that waited in the poller says nothing about what has come since. A read with a fresh
// deadline does: it asks the socket first, and waits only if that is empty.

const (
	// TimerSlack is how much later than it was set a timer may go off without a reason to think that the
	// process stood still: what timers and a busy machine take. To assume it wrongly costs a read of the sockets.
	TimerSlack = 2 * time.Millisecond
	// lookTime is how long a reader that catches up waits for more.
	lookTime = 5 * time.Millisecond
	// lookTries is how often it reads if it is kept from reading in time.
	lookTries = 10
)

// longAgo is a deadline that is over on any clock.
var longAgo = time.Unix(1, 0)

// Overdue reports whether Tick would give up a request.
func (c *Client) Overdue(now time.Time) bool {
	if c.nextAt.IsZero() || now.Before(c.nextAt) {
		return false
	}
	for _, n := range c.nodes {
		if n.state != ready {
			continue
		}
		for _, r := range n.inFlight {
			if c.overdue(n, r, now) {
				return true
			}
		}
	}
	return false
}

// CatchUp makes the readers post what has arrived, for an owner whose turn began late by that much. They have done so
// when Behind is false again. Requests in flight get the time back, and at least as much from now on, up to their
// time-out: the node could not answer what the process had not written yet.
func (c *Client) CatchUp(late time.Duration, now time.Time) {
	for _, n := range c.nodes {
		if n.state != ready || len(n.inFlight) == 0 {
			continue
		}
		for _, r := range n.inFlight {
			r.deadline = backoff.Later(r.deadline.Add(late), now.Add(min(late, c.timeout(r))))
		}
		if x := n.conn; !x.behind {
			x.behind = true
			c.behind++
			x.catchUp()
		}
	}
}

// Behind reports whether a reader has not caught up yet.
func (c *Client) Behind() bool { return c.behind > 0 }

// caughtUp notes that a connection has posted all that arrived before CatchUp.
func (c *Client) caughtUp(x *conn) {
	if x.behind {
		x.behind = false
		c.behind--
	}
}

// timeout returns how long r may take.
func (c *Client) timeout(r *Request) time.Duration {
	if r.Timeout > 0 {
		return r.Timeout
	}
	return c.cfg.RequestTimeout
}

// catchUp asks the reader of an open connection to post caughtUp. Called by the owner, which waits for
// that before it asks again.
func (c *conn) catchUp() {
	c.asked.Store(true)
	c.mu.Lock()
	nc := c.nc
	c.mu.Unlock()
	_ = nc.SetReadDeadline(longAgo) // wakes the reader; one that is closed posts closed
}

// attentive is a connection as its reader sees it: catching up happens within Read.
type attentive struct {
	conn *conn
	nc   net.Conn
}

// Read implements io.Reader.
func (a attentive) Read(b []byte) (int, error) {
	for {
		n, err := a.nc.Read(b)
		if n > 0 || !isTimeout(err) || !a.conn.asked.Load() {
			return a.count(n), err
		}
		if n, err = a.look(b); n > 0 || err != nil {
			return a.count(n), err
		}
	}
}

// count notes that n bytes were read.
func (a attentive) count(n int) int {
	a.conn.arrived.reads++
	a.conn.arrived.bytes += int64(n)
	return n
}

// look reads what has arrived. If that is nothing, it posts caughtUp.
func (a attentive) look(b []byte) (int, error) {
	for range lookTries {
		if err := a.nc.SetReadDeadline(time.Now().Add(lookTime)); err != nil {
			return 0, err
		}
		begin := time.Now()
		if n, err := a.nc.Read(b); n > 0 || !isTimeout(err) {
			return n, err
		}
		if time.Since(begin) >= lookTime/2 {
			break // else this goroutine was kept from reading until the deadline was over: nothing is known
		}
	}
	err := a.nc.SetReadDeadline(time.Time{})
	a.conn.asked.Store(false)
	a.conn.deliver(a.conn.lastWrite, Event{kind: caughtUp, conn: a.conn})
	return 0, err
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// unhurried is a connection during the handshake, which has until a deadline. If the process stood still
// when that passed, an answer that has come meanwhile counts.
type unhurried struct {
	net.Conn
	until time.Time
	again bool // the second read was made
}

// Read implements io.Reader.
func (u *unhurried) Read(b []byte) (int, error) {
	n, err := u.Conn.Read(b)
	if n > 0 || !isTimeout(err) || u.again || time.Since(u.until) < TimerSlack {
		return n, err
	}
	u.again = true
	if err := u.SetReadDeadline(time.Now().Add(lookTime)); err != nil {
		return 0, err
	}
	return u.Conn.Read(b)
}
