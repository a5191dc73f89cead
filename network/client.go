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

	bootstrap    []string
	nodes        map[int32]*node // those of the cluster, and those that still drain
	nodeList     []*node         // those of the cluster
	generation   uint64          // of the set of nodes
	correlation  int32           // the next id
	inFlight     int             // requests that are not back yet
	unresolved   error           // error of the last look-up, as long as none has found an address; nil once one has
	resolved     bool            // a node's name had an address, or was left to DialContext
	failedInARow int             // attempts to connect that have failed, over all nodes, since a node of the cluster was connected to
	trouble      error           // error of the last failed connection; nil once a connection is ready
	pausedUntil  time.Time       // after many failed attempts: LeastLoaded starts none before this time
	denial       Denial          // the last one
	nextAt       time.Time       // no deadline is earlier; zero if there is none
	behind       int             // connections that have not caught up yet
	closed       bool
}

const (
	// lastCorrelation is the highest correlation id used; those above are reserved for SASL, as in
	// Java.
	lastCorrelation = math.MaxInt32 - 8
	// maxThrottle bounds how long one answer can keep requests from a node. Kafka's quotas ask for seconds.
	maxThrottle = 5 * time.Minute
	// freeMisses is how many nodes are tried in a row without a pause.
	freeMisses = 16
	// steadyAfter is how long a connection must have worked for its end to count as a new trouble.
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

// Connected reports whether the node has a connection that takes requests, slots and throttling
// aside.
func (c *Client) Connected(id int32) bool {
	n := c.nodes[id]
	return n != nil && n.state == ready && !n.draining
}

// InFlight returns the number of requests to the node that are not back yet.
func (c *Client) InFlight(id int32) int {
	if n := c.nodes[id]; n != nil {
		return len(n.inFlight)
	}
	return 0
}

// Busy returns why a node without a failed connection may take no request: it has not been connected to for a second or
// longer, it asked for a pause, or has requests that it has not answered yet. It returns nil if none of these is so. It is
// meant for error texts, and allocates.
func (c *Client) Busy(id int32, now time.Time) error {
	n := c.nodes[id]
	switch {
	case n == nil:
		return nil
	case n.hanging(now):
		return n.unanswered(now.Sub(n.attemptAt).Round(time.Millisecond))
	case n.state != ready:
		return nil
	case n.throttledTo.After(now):
		return fmt.Errorf("node %d asks to be left alone for %v more (a quota)", id, n.throttledTo.Sub(now).Round(time.Millisecond))
	case len(n.inFlight) == 1:
		return fmt.Errorf("a request to node %d is unanswered after %v", id, now.Sub(n.inFlight[0].SentAt).Round(time.Millisecond))
	case len(n.inFlight) > 1:
		return fmt.Errorf("%d requests to node %d are unanswered, the first after %v", len(n.inFlight), id,
			now.Sub(n.inFlight[0].SentAt).Round(time.Millisecond))
	}
	return nil
}

// Unanswered returns an error about the node that has kept the client waiting longest, for a connection or for an
// answer; nil if none does. It is meant for error texts, and allocates.
func (c *Client) Unanswered(now time.Time) error {
	var silent *node
	var since time.Time
	for _, n := range c.nodeList {
		if at := n.waitsSince(); !at.IsZero() && (silent == nil || at.Before(since)) {
			silent, since = n, at
		}
	}
	if silent == nil {
		return nil
	}
	return silent.unanswered(now.Sub(since).Round(time.Millisecond))
}

// CanRetryAt returns the time from which on it makes sense to ask Ready or LeastLoaded again. The zero
// time means that only an event can change the answer, or that the node is unknown.
func (c *Client) CanRetryAt(id int32, now time.Time) time.Time {
	if n := c.nodes[id]; n != nil && !n.gone && !c.closed {
		return n.canRetryAt(now)
	}
	return time.Time{}
}

// Versions returns the range of versions of an API that the node serves; ok is false if the node is not
// connected or does not serve the API.
func (c *Client) Versions(id int32, key protocol.APIKey) (lowest, highest int16, ok bool) {
	if n := c.nodes[id]; n != nil {
		return n.versions.get(key)
	}
	return 0, 0, false
}

// Features returns the finalized level of a feature of the cluster (like transaction.version), as the node
// reported it during the handshake; ok is false if it is not connected or reported none (KIP-584).
func (c *Client) Features(id int32, name string) (level int16, ok bool) {
	if n := c.nodes[id]; n != nil && n.versions != nil {
		level, ok = n.versions.features[name]
	}
	return level, ok
}

// LastError returns why the node's last connection failed; nil if it did not, or once a later one is ready.
func (c *Client) LastError(id int32) error {
	if n := c.nodes[id]; n != nil {
		return n.err
	}
	return nil
}

// Trouble returns why connections fail: the last error of a node of the cluster, or else that of a node which is no
// longer in the cluster, until any connection is ready. It returns nil if there is neither.
func (c *Client) Trouble() error {
	for _, n := range c.nodeList {
		if n.err != nil {
			return n.err
		}
	}
	return c.trouble
}

// Unreachable reports whether no node can be connected to: the last attempt at each has failed, or so many attempts
// in a row that the others are not worth waiting for. A lost connection alone does not count.
func (c *Client) Unreachable() bool {
	if c.failedInARow >= freeMisses {
		return true
	}
	for _, n := range c.nodeList {
		if !n.missed {
			return false
		}
	}
	return true
}

// Unresolved returns why no node's name could be resolved. It returns nil until an attempt has failed for that reason, and
// always after the first attempt that got further. Names that are left to a DialContext count as resolved.
func (c *Client) Unresolved() error { return c.unresolved }

// noteResolved notes whether an attempt to connect got beyond resolving the node's name.
func (c *Client) noteResolved(cause *Error) {
	switch {
	case c.resolved:
	case cause != nil && cause.Op == opResolve:
		c.unresolved = cause
	default:
		c.resolved, c.unresolved = true, nil
	}
}

// NoBroker returns an error if every node has answered that it is a KRaft controller, nil if one may be a
// broker.
func (c *Client) NoBroker() error {
	var last error
	for _, n := range c.nodeList {
		if last = n.err; !errors.Is(last, ErrController) {
			return nil
		}
	}
	return last
}

// Denial says that no node lets the client in.
type Denial struct {
	Number int       // how often that was found; 0: never
	Err    error     // of the last attempt; it is Lasting
	Until  time.Time // no further attempt is made before
}

// Denied returns the last time that all nodes were found to be out of reach, of which at least one refuses the client, or is
// refused by it (Lasting). A later connection does not change it.
func (c *Client) Denied() Denial { return c.denial }

// noteDenial notes a denial if err is the last of the reasons why no node is or gets ready.
func (c *Client) noteDenial(err *Error) {
	var reason error
	var until time.Time
	for _, n := range c.nodeList {
		if n.err != err && (n.err == nil || n.state == connecting || n.state == ready) { // the one that has just failed is still called so
			return // it may let the client in
		}
		if until.IsZero() || n.retryAt.Before(until) {
			until = n.retryAt
		}
		if Lasting(n.err) && (reason == nil || n.err == err) {
			reason = n.err
		}
	}
	if reason != nil {
		c.denial = Denial{c.denial.Number + 1, reason, backoff.Later(until, c.pausedUntil)}
	}
}

// Throttle keeps requests from the node for d, as its answer asked (KIP-219). The time does not
// count for the requests in flight (KAFKA-16083). More than five minutes are cut to that.
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
	for _, x := range [...]*node{n, c.beside(n)} { // the quota is the client's: it holds for both connections to the broker
		if x == nil {
			continue
		}
		x.throttledTo = backoff.Later(now.Add(d), x.throttledTo)
		for _, r := range x.inFlight {
			r.deadline = r.deadline.Add(d)
		}
	}
}

// Send hands r over to the node's connection; requests leave in the order of the calls. Call it
// only if Ready returned true in the same turn. If the request can't be sent after all, because no version fits or
// the node is not ready, it comes back through Post and Handle with an error.
func (c *Client) Send(id int32, r *Request, now time.Time) {
	n := c.nodes[id]
	c.inFlight++
	c.cfg.Measures.inFlight.Store(int32(c.inFlight))
	r.Node = id
	if n != nil {
		r.Node = n.id
	}
	r.SentAt, r.DoneAt, r.Err, r.MaybeSent, r.timedOut = now, time.Time{}, nil, false, false
	switch {
	case c.closed:
		c.giveBackUnsent(n, r, ErrClosed)
		return
	case n == nil || !n.usable(c.cfg.MaxInFlight, now):
		c.giveBackUnsent(n, r, ErrNotReady)
		return
	}
	version, err := n.versions.choose(r.Exchange)
	if err != nil {
		c.giveBackUnsent(n, r, err)
		return
	}
	r.Version, r.CorrelationID = version, c.correlationIDs(1)
	r.deadline = now.Add(c.timeout(r))
	c.wakeBy(r.deadline)
	n.inFlight = append(n.inFlight, r)
	n.usedAt = now
	n.conn.send(r, r.Small && len(n.inFlight) == 1) // from here on the connection owns r, until it posts answered or closed
}

// giveBackUnsent gives r back as one that was not sent, because of err.
func (c *Client) giveBackUnsent(n *node, r *Request, err error) {
	e := &Error{Node: r.Node, Op: "send", Err: err}
	if n != nil {
		e.Addr = n.addr
	}
	c.cfg.Post(Event{kind: unsent, request: r, err: e})
}

// correlationIDs reserves n ids in a row and returns the first.
func (c *Client) correlationIDs(n int32) int32 {
	if c.correlation > lastCorrelation-n {
		c.correlation = 0
	}
	first := c.correlation
	c.correlation += n
	return first
}

// Handle processes an event that was posted. It appends the requests that come back with it to done.
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
				c.cfg.Measures.countArrived(ev.conn.measures, ev.arrived, ev.request.latency(now), now)
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
	case unsent:
		done = append(done, c.finish(ev.request, ev.err, now))
	}
	return done
}

// finish notes in r how and when it ended, and returns it to be given back.
func (c *Client) finish(r *Request, err error, now time.Time) *Request {
	c.inFlight--
	c.cfg.Measures.inFlight.Store(int32(c.inFlight))
	r.DoneAt, r.Err = now, err
	return r
}
