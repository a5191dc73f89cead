package network

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/protocol"
)

// Client knows the nodes and the state of their connections. All methods but Wait belong to one
// goroutine, its owner; none of them blocks.
type Client struct {
	cfg       Config // read-only after New
	reconnect backoff.Backoff
	setup     backoff.Backoff
	random    func() float64
	wg        sync.WaitGroup // writers; each waits for its reader

	bootstrap   []string
	nodes       map[int32]*node // those of the cluster, and those that still drain
	order       []*node         // those of the cluster
	generation  uint64          // of the set of nodes
	correlation int32           // the next id
	inFlight    int             // requests that are not back yet
	unresolved  error           // of the last look-up, while none has found an address; nil: one has, or there was none
	resolved    bool            // some name of a node had an address, or its dialer looks for it
	misses      int             // attempts to connect that failed since the last that did not, whatever the node
	trouble     error           // of the last connection that failed, since the last one that came up
	restTo      time.Time       // after many of them: LeastLoaded tries no further node before
	nextAt      time.Time       // no deadline is before; zero: there is none
	behind      int             // connections that are asked to catch up
	closed      bool
}

const (
	// lastCorrelation is the highest correlation id used; those above are reserved for SASL, as in
	// Java.
	lastCorrelation = math.MaxInt32 - 8
	// maxThrottle bounds how long a node can silence us. Quotas of Kafka ask for seconds.
	maxThrottle = 5 * time.Minute
	// freeMisses is how many nodes are tried in a row without a pause.
	freeMisses = 16
	// steadyAfter is how long a connection has worked when its end is no more part of earlier trouble.
	steadyAfter = 10 * time.Second
)

// New makes a Client without nodes. It starts nothing.
func New(cfg Config) *Client {
	if cfg.Post == nil {
		panic("network: Config.Post is nil")
	}
	cfg = cfg.withDefaults()
	return &Client{
		cfg:       cfg,
		reconnect: backoff.New(cfg.ReconnectBackoff, cfg.ReconnectBackoffMax),
		setup:     backoff.New(cfg.SetupTimeout, cfg.SetupTimeoutMax),
		random:    rand.Float64,
		nodes:     map[int32]*node{},
	}
}

// Ready reports whether the node can take a request: it is connected, its versions are known, it is
// not throttled and has a slot. If there is no connection and the back-off allows, one is started.
// An unknown node is never ready.
func (c *Client) Ready(id int32, now time.Time) bool {
	n := c.nodes[id]
	if n == nil || c.closed {
		return false
	}
	if n.usable(c.cfg.MaxInFlight, now) {
		return true
	}
	if !n.gone && n.canConnect(now) {
		c.connect(n, now)
	}
	return false
}

// Usable is Ready without starting anything.
func (c *Client) Usable(id int32, now time.Time) bool {
	n := c.nodes[id]
	return n != nil && n.usable(c.cfg.MaxInFlight, now)
}

// Connected reports whether the node has a connection that takes requests, slots and throttling
// aside.
func (c *Client) Connected(id int32) bool {
	n := c.nodes[id]
	return n != nil && n.state == ready && !n.draining
}

// InFlight is the number of requests the node has and that are not back yet.
func (c *Client) InFlight(id int32) int {
	if n := c.nodes[id]; n != nil {
		return len(n.inFlight)
	}
	return 0
}

// Busy is why a node that is connected may take no request, nil if it has nothing to do: it asked to be left alone,
// or has not answered yet. It is for errors, and allocates.
func (c *Client) Busy(id int32, now time.Time) error {
	n := c.nodes[id]
	switch {
	case n == nil || n.state != ready:
		return nil
	case n.throttledTo.After(now):
		return fmt.Errorf("node %d asks to be left alone for %v more (a quota)", id, n.throttledTo.Sub(now).Round(time.Millisecond))
	case len(n.inFlight) == 1:
		return fmt.Errorf("a request to node %d is unanswered after %v", id, now.Sub(n.inFlight[0].SentAt).Round(time.Millisecond))
	case len(n.inFlight) > 1:
		return fmt.Errorf("%d requests to node %d are unanswered, the first after %v", len(n.inFlight), id, now.Sub(n.inFlight[0].SentAt).Round(time.Millisecond))
	}
	return nil
}

// Unanswered returns an error about the node that has kept the client waiting longest, for a connection or for an
// answer; nil if none does. It is for errors, and allocates.
func (c *Client) Unanswered(now time.Time) error {
	var silent *node
	var since time.Time
	for _, n := range c.order {
		if at := n.waitsSince(); !at.IsZero() && (silent == nil || at.Before(since)) {
			silent, since = n, at
		}
	}
	if silent == nil {
		return nil
	}
	return silent.unanswered(now.Sub(since).Round(time.Millisecond))
}

// InFlightTotal is the number of requests that are not back yet.
func (c *Client) InFlightTotal() int { return c.inFlight }

// CanRetryAt is the time from which on it makes sense to ask Ready or LeastLoaded again. The zero
// time means that an event will tell: something is in flight, or the node is unknown.
func (c *Client) CanRetryAt(id int32, now time.Time) time.Time {
	if n := c.nodes[id]; n != nil && !n.gone && !c.closed {
		return n.canRetryAt(now)
	}
	return time.Time{}
}

// Versions is the range of versions of an API that the node serves; ok is false when it is not
// connected or does not serve it.
func (c *Client) Versions(id int32, key protocol.APIKey) (lowest, highest int16, ok bool) {
	if n := c.nodes[id]; n != nil {
		return n.versions.get(key)
	}
	return 0, 0, false
}

// Features is the finalized level of a feature of the cluster (like transaction.version) as the node
// told it when it was connected to; ok is false if it is not connected or did not tell (KIP-584).
func (c *Client) Features(id int32, name string) (level int16, ok bool) {
	if n := c.nodes[id]; n != nil && n.versions != nil {
		level, ok = n.versions.features[name]
	}
	return level, ok
}

// LastError is why the node's last connection failed, nil if it did not or a later one is up.
func (c *Client) LastError(id int32) error {
	if n := c.nodes[id]; n != nil {
		return n.err
	}
	return nil
}

// Trouble is why connections fail: the last error of a node, nil if none has one. That of a node that was
// left because of it counts until some connection is up.
func (c *Client) Trouble() error {
	for _, n := range c.order {
		if n.err != nil {
			return n.err
		}
	}
	return c.trouble
}

// Unreachable reports whether no node can be connected to: each was tried since its last connection, or so
// many of them one after the other that the rest is not worth it. A lost connection alone says nothing.
func (c *Client) Unreachable() bool {
	if c.misses >= freeMisses {
		return true
	}
	for _, n := range c.order {
		if !n.missed {
			return false
		}
	}
	return true
}

// Unresolved is why no name of a node could be resolved, from the first attempt that failed for it
// until the first that did not; nil before and after. Names that are left to a DialContext count as resolved.
func (c *Client) Unresolved() error { return c.unresolved }

// noteResolved takes in how far an attempt to connect came.
func (c *Client) noteResolved(cause *Error) {
	switch {
	case c.resolved:
	case cause != nil && cause.Op == opResolve:
		c.unresolved = cause
	default:
		c.resolved, c.unresolved = true, nil
	}
}

// NoBroker is why none of the nodes is of use: each has answered, and is a KRaft controller. It is nil if
// one may be of use.
func (c *Client) NoBroker() error {
	var last error
	for _, n := range c.order {
		if last = n.err; !errors.Is(last, ErrController) {
			return nil
		}
	}
	return last
}

// Throttle keeps requests from the node for d, as its answer asked (KIP-219). The time does not
// count for the requests in flight (KAFKA-16083). Absurd values are cut.
func (c *Client) Throttle(id int32, d time.Duration, now time.Time) {
	if n := c.nodes[id]; n != nil && d > 0 {
		c.throttle(n, d, now)
	}
}

func (c *Client) throttle(n *node, d time.Duration, now time.Time) {
	if d > maxThrottle {
		c.cfg.Logger.Warn("node asks for an absurd throttle time, which is cut", n.name(), "throttle", d, "limit", maxThrottle)
		d = maxThrottle
	}
	for _, x := range [...]*node{n, c.beside(n)} { // it is the client's, whatever the connection
		if x == nil {
			continue
		}
		x.throttledTo = backoff.Later(now.Add(d), x.throttledTo)
		for _, r := range x.inFlight {
			r.deadline = r.deadline.Add(d)
		}
	}
}

// Send hands r over to the node's connection; requests leave in the order of the calls. Only after
// Ready said so in the same turn. If the request can't be sent after all, because no version fits or
// the node is not ready, it comes back through Post and Handle with an error.
func (c *Client) Send(id int32, r *Request, now time.Time) {
	n := c.nodes[id]
	c.inFlight++
	r.Node = id
	if n != nil {
		r.Node = n.id
	}
	r.SentAt, r.DoneAt, r.Err, r.MaybeSent, r.timedOut = now, time.Time{}, nil, false, false
	switch {
	case c.closed:
		c.refuse(n, r, ErrClosed)
		return
	case n == nil || !n.usable(c.cfg.MaxInFlight, now):
		c.refuse(n, r, ErrNotReady)
		return
	}
	version, err := n.versions.choose(r.Exchange)
	if err != nil {
		c.refuse(n, r, err)
		return
	}
	r.Version, r.CorrelationID = version, c.correlationIDs(1)
	r.deadline = now.Add(c.timeout(r))
	c.wakeBy(r.deadline)
	n.inFlight = append(n.inFlight, r)
	n.usedAt = now
	n.conn.send(r) // from here on the connection owns r, until it posts answered or closed
}

func (c *Client) refuse(n *node, r *Request, err error) {
	e := &Error{Node: r.Node, Op: "send", Err: err}
	if n != nil {
		e.Addr = n.addr
	}
	c.cfg.Post(Event{kind: refused, request: r, err: e})
}

// correlationIDs takes n ids in a row.
func (c *Client) correlationIDs(n int32) int32 {
	if c.correlation > lastCorrelation-n {
		c.correlation = 0
	}
	first := c.correlation
	c.correlation += n
	return first
}

// Handle takes in what a connection posted. Requests that come back with it are appended to done.
func (c *Client) Handle(ev Event, now time.Time, done []*Request) []*Request {
	switch ev.kind {
	case opened:
		c.opened(ev, now)
	case answered:
		n := ev.conn.node
		if n.forget(ev.request) {
			n.usedAt = now
			if ev.err == nil && !ev.request.NoAnswer {
				n.answered, n.answeredAt = true, now
			}
			if ev.err == nil && n.spell.Away() {
				c.back(n, now)
			}
			done = append(done, c.finish(ev.request, ev.err, now))
			if n.draining {
				c.drain(n)
			}
		}
	case caughtUp:
		c.caughtUp(ev.conn)
	case closed:
		c.caughtUp(ev.conn)
		done = c.lost(ev, now, done)
	case refused:
		done = append(done, c.finish(ev.request, ev.err, now))
	}
	return done
}

// finish makes r ready to be given back.
func (c *Client) finish(r *Request, err error, now time.Time) *Request {
	c.inFlight--
	r.DoneAt, r.Err = now, err
	return r
}
