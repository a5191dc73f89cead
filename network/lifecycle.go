package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
)

// connect starts a connection.
func (c *Client) connect(n *node, now time.Time) {
	n.become(connecting)
	n.attemptAt, n.usedAt = now, now
	ctx, cancel := context.WithCancel(context.Background())
	x := newConn(c, n, c.setup.Next(n.failedDials, c.random), cancel)
	n.conn = x
	c.cfg.Logger.Debug("connecting to node", n.name(), "addr", n.addr, "attempt", n.failures+1)
	c.wg.Go(func() { x.run(ctx) }) // ends soon after x.fail; closed is the last that it posts
}

// opened handles the event that a connection is ready.
func (c *Client) opened(ev Event, now time.Time) {
	n := ev.conn.node
	c.cfg.Measures.countArrived(ev.conn.measures, ev.arrived, -1, now)
	if c.cfg.TLS != nil || c.cfg.SASL != nil {
		c.cfg.Measures.authenticated.Record(now, 1)
	}
	if n.state != connecting {
		return // it was closed meanwhile
	}
	n.become(ready)
	n.versions, n.err = ev.versions, nil
	n.failedDials, n.missed = 0, false
	c.trouble = nil
	c.noteResolved(nil)
	if n.id >= 0 { // a bootstrap server may know nothing but wrong nodes
		c.failedInARow, c.pausedUntil = 0, time.Time{}
	}
	n.readyAt, n.usedAt = now, now
	c.throttle(n, n.versions.throttle, now)
	if c.cfg.MaxIdle > 0 {
		c.wakeBy(now.Add(c.cfg.MaxIdle))
	}
	c.cfg.Logger.Debug("connected to node", n.name(), "addr", n.addr, "remote", ev.conn.dialled, "elapsed", now.Sub(n.attemptAt))
}

// lost handles the end of a connection. It appends the requests that the connection held to done.
func (c *Client) lost(ev Event, now time.Time, done []*Request) []*Request {
	n := ev.conn.node
	cause := ev.conn.asError("read", ev.err)
	c.cfg.Measures.countEnd(cause, ev.phase, now)
	next := down
	switch n.state {
	case connecting:
		c.noteResolved(cause)
		if _, ok := errors.AsType[hungUp](cause); ok {
			n.hangUps++
		}
		c.failed(n, cause, ev.phase, now)
	case ready:
		n.hangUps = 0
		cause = n.onFirstRequest(cause)
		c.failed(n, cause.disconnected(), established, now)
	}
	// In the state closing, what led to it has been counted.
	if n.planned {
		next = idle
	}
	n.become(next)
	n.lastTried = ev.conn.dialled
	cause = cause.disconnected()
	for _, r := range n.inFlight {
		err := error(cause)
		if r.timedOut {
			err = &Error{Node: n.id, Addr: ev.conn.addr, Op: "request", Err: ErrRequestTimeout}
		}
		done = append(done, c.finish(r, err, now))
	}
	clear(n.inFlight)
	n.inFlight, n.conn, n.versions, n.draining, n.planned = n.inFlight[:0], nil, nil, false, false
	if n.gone || n.isAside() && n.state == idle { // the aside stays for its back-off only
		c.forget(n)
	}
	return done
}

// failed counts a failure and sets the back-off. phase is how far the connection had come. The end of a connection to an
// address that the node has left says nothing about its new one, and does not count.
func (c *Client) failed(n *node, err *Error, phase setupPhase, now time.Time) {
	if n.planned = n.moved(); n.planned {
		c.cfg.Logger.Debug("connection to the address that a node had before is lost", n.name(), "addr", n.conn.addr, "err", err)
		return
	}
	if n.state == ready && now.Sub(n.readyAt) >= c.cfg.ReconnectBackoffMax {
		n.failures = 0
	}
	level := n.loudness(err, now)
	n.err, n.attemptAt = err, now
	n.retryAt = now.Add(c.reconnect.Next(n.failures, c.random))
	n.failures++
	if !n.isAside() {
		c.missed(n, err, now)
		c.noteDenial(err)
	}
	if phase == dialling {
		n.failedDials++
	} else {
		n.failedDials = 0
	}
	c.cfg.Logger.LogAttrs(context.Background(), level, n.failure(phase), n.name(), slog.String("addr", n.addr),
		slog.Int("failures", max(1, n.spell.Failures())), slog.Int("in_flight", len(n.inFlight)),
		slog.Duration("retry_in", n.retryAt.Sub(now).Round(time.Millisecond)), slog.Any("err", err))
}

// loudness returns the level to log the end of a connection at. A node that restarts loses its connections and refuses
// new ones for a while; that is worth a warning only if it lasts.
func (n *node) loudness(err *Error, now time.Time) slog.Level {
	if n.isAside() {
		return slog.LevelDebug // nothing depends on it
	}
	began := n.attemptAt
	if n.state == ready {
		if len(n.inFlight) == 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && !errors.Is(err, ErrAuthentication) {
			return slog.LevelDebug // the node has closed an idle connection
		}
		if began = now; now.Sub(n.readyAt) >= steadyAfter {
			n.spell.Ended()
		}
	}
	if errors.Is(err, ErrRequestTimeout) || errors.Is(err, ErrWrongProtocol) || errors.Is(err, ErrUnsupportedVersion) || Lasting(err) {
		return n.spell.FailedForGood(now) // it has lasted already, or does not pass by itself
	}
	return n.spell.Failed(began, now)
}

// back notes that the node answers again after connections that failed. A connection alone does not show that:
// some nodes hang up on the first request.
func (c *Client) back(n *node, now time.Time) {
	if away, warned := n.spell.Back(now); warned {
		c.cfg.Logger.Info("node is back again", n.name(), "addr", n.addr, "away", away.Round(time.Millisecond))
	}
}

// missed counts a failure for the cluster as a whole.
func (c *Client) missed(n *node, err *Error, now time.Time) {
	c.trouble = err
	if n.state != connecting {
		return
	}
	n.missed = true
	if c.failedInARow++; c.failedInARow >= freeMisses {
		c.pausedUntil = now.Add(c.reconnect.Next(c.failedInARow-freeMisses, c.random))
	}
}

// failure returns the log's message for the end of a connection.
func (n *node) failure(phase setupPhase) string {
	if n.state == ready {
		return "connection to node lost"
	}
	switch phase {
	case dialling:
		return "could not connect to node"
	case securing:
		return "connected to node, but could not secure the connection"
	case authenticating:
		return "connected to node, but could not authenticate"
	}
	return "connected to node, but could not agree on versions"
}

// onFirstRequest returns err, with a hint at SASL if the node has answered ApiVersions and closed the connection on the
// first request after it, as a listener with SASL does. The next connection then asks, see wantsLogin.
func (n *node) onFirstRequest(err *Error) *Error {
	if n.answered || len(n.inFlight) == 0 || !closedByPeer(err.Err) {
		return err
	}
	n.loginDoubt = true
	return &Error{Node: err.Node, Addr: err.Addr, Op: err.Op,
		Err: fmt.Errorf("%w: the node closed the connection on the first request; does the listener want SASL?", err.Err)}
}

// fail closes a node's connection because of err, and counts that as a failure.
func (c *Client) fail(n *node, err *Error, now time.Time) {
	c.failed(n, err.disconnected(), established, now)
	n.become(closing)
	n.versions = nil
	n.conn.fail(err)
}

// closeIdle closes a node's connection as planned: nothing is in flight, and it does not count as a failure.
func (c *Client) closeIdle(n *node) {
	c.cfg.Logger.Debug("closing connection to node that is not needed", n.name(), "addr", n.conn.addr)
	n.become(closing)
	n.planned = true
	n.versions = nil
	n.conn.fail(n.conn.errorf("close", errUnused))
}

// Tick closes connections whose oldest request has timed out, and those that were idle for long. It
// returns when to call it again, zero if there is no need. The requests come back through Handle when they
// are off the wire. A call before that time does nothing.
func (c *Client) Tick(now time.Time, done []*Request) (_ []*Request, next time.Time) {
	if c.nextAt.IsZero() || now.Before(c.nextAt) {
		return done, c.nextAt
	}
	c.nextAt = time.Time{}
	for _, n := range c.nodes {
		if n.state == ready {
			c.tick(n, now)
		}
	}
	return done, c.nextAt
}

// tick closes a ready connection if a request has timed out or it was idle for long, and otherwise notes when that will be.
func (c *Client) tick(n *node, now time.Time) {
	timedOut := 0
	for _, r := range n.inFlight {
		if r.timedOut = c.overdue(n, r, now); r.timedOut {
			timedOut++
		}
	}
	switch {
	case timedOut > 0:
		c.fail(n, n.conn.errorf("request", fmt.Errorf("%w (%d of %d in flight)", ErrRequestTimeout, timedOut, len(n.inFlight))), now)
	case len(n.inFlight) > 0:
		for _, r := range n.inFlight {
			c.wakeBy(r.deadline)
		}
	case c.cfg.MaxIdle > 0:
		if at := n.usedAt.Add(c.cfg.MaxIdle); at.After(now) {
			c.wakeBy(at)
		} else {
			c.closeIdle(n)
		}
	}
}

// overdue reports whether r has timed out, without the time that extend gives back.
func (c *Client) overdue(n *node, r *Request, now time.Time) bool {
	return !r.deadline.After(now) && !c.extend(n, r).After(now)
}

// extend moves on the deadline of a request that had to wait, to be written or for the answers to those before it, and
// returns it. A node answers in order, and a written request may stay in the system's buffer for long, behind others that
// are not answered yet (megabytes, where the system chooses the size). So the time-out starts again with each answer.
func (c *Client) extend(n *node, r *Request) time.Time {
	for _, at := range [...]time.Time{n.conn.waitsSince(r), n.answeredAt} {
		if at.After(r.SentAt) {
			r.deadline = backoff.Later(r.deadline, at.Add(c.timeout(r)))
		}
	}
	return r.deadline
}

// wakeBy makes Tick's next time at most t.
func (c *Client) wakeBy(t time.Time) {
	if c.nextAt.IsZero() || t.Before(c.nextAt) {
		c.nextAt = t
	}
}

// Close closes every connection. It does not wait: requests come back through Handle as the
// connections end, those sent from now on with ErrClosed. A second call does nothing.
func (c *Client) Close() {
	c.closed = true
	for _, n := range c.nodes {
		if n.state == connecting || n.state == ready {
			n.become(closing)
			n.planned = true
			n.versions = nil
			n.conn.fail(n.conn.errorf("close", ErrClosed))
		}
	}
}

// Wait blocks until no goroutine of the client is left. Call it after Close; everything is posted
// when it returns. It may be called on any goroutine.
func (c *Client) Wait() { c.wg.Wait() }
