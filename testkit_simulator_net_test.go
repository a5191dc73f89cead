package quill

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// The simulator's connections as the sender sees them: what network.Client promises (one connection
// per node, requests in order, each given back once and only when it is off the wire), without
// goroutines and sockets. testkit_simulator_wire_test.go has the other side.

type simNet struct {
	x        *simulation
	targets  map[int32]*simTarget
	all      []*simTarget // those in targets
	order    []*simTarget // of these, the nodes of the cluster
	posts    []simPost
	inFlight int
	conns    int
	ids      int32
	closed   bool
	open     int // connections that have not ended
}

// simTarget is a node as a target.
type simTarget struct {
	id          int32
	addr        string
	conn        *simConn // nil: none
	ready       bool     // it is open, and takes requests
	closing     bool     // asked to close
	planned     bool
	gone        bool
	draining    bool
	failures    int
	missed      bool // the last attempt to connect failed
	attemptAt   time.Time
	retryAt     time.Time
	throttledTo time.Time
	calls       []*simCall // in flight
	err         error
	level       int16 // transaction.version, as the node said when it was connected to
}

// simPost is what a connection posts; network.Event just says that there is one.
type simPost struct {
	kind simPostKind
	conn *simConn
	call *simCall
	err  error
}

type simPostKind uint8

const (
	postOpened simPostKind = iota
	postAnswered
	postClosed
	postRefused
)

// simCall is a request on its way.
type simCall struct {
	r        *network.Request
	conn     *simConn
	number   int
	deadline time.Time
	timedOut bool
	written  bool
	decoded  error
	answered bool
	over     bool // the sender has it back
}

func simHost(id int32) string { return fmt.Sprintf("node-%d", id) }

func newSimNet(x *simulation) *simNet {
	n := &simNet{x: x, targets: map[int32]*simTarget{}}
	n.setBootstrap()
	return n
}

func (n *simNet) setBootstrap() {
	n.set(func(yield func(int32, string) bool) {
		for i := range min(2, n.x.cfg.Nodes) {
			if !yield(int32(-1-i), simHost(int32(i+1))+":9092") {
				return
			}
		}
	})
}

// SetNodes implements connections.
func (n *simNet) SetNodes(nodes iter.Seq[metadata.Node]) {
	n.set(func(yield func(int32, string) bool) {
		for node := range nodes {
			if !yield(node.ID, net.JoinHostPort(node.Host, strconv.Itoa(int(node.Port)))) {
				return
			}
		}
	})
}

func (n *simNet) set(nodes iter.Seq2[int32, string]) {
	old := n.order
	n.order = nil
	for id, addr := range nodes {
		t := n.targets[id]
		if t == nil {
			t = &simTarget{id: id, addr: addr}
			n.targets[id] = t
			n.all = append(n.all, t)
		}
		t.gone, t.draining = false, false
		n.order = append(n.order, t)
	}
	for _, t := range old {
		t.gone = true
		for _, kept := range n.order {
			t.gone = t.gone && kept != t
		}
		if t.gone {
			n.drain(t)
		}
	}
}

// drain lets no more requests onto a node and leaves it when it has none.
func (n *simNet) drain(t *simTarget) {
	t.draining = true
	switch {
	case t.conn == nil:
		n.forget(t)
	case !t.closing && len(t.calls) == 0:
		n.shut(t, true)
	}
}

func (n *simNet) forget(t *simTarget) {
	delete(n.targets, t.id)
	n.all = slices.DeleteFunc(n.all, func(other *simTarget) bool { return other == t })
}

func (t *simTarget) usable(limit int, now time.Time) bool {
	return t.ready && !t.closing && !t.draining && len(t.calls) < limit && !t.throttledTo.After(now)
}

func (t *simTarget) canConnect(now time.Time) bool { return t.conn == nil && !t.retryAt.After(now) }

// Ready implements connections.
func (n *simNet) Ready(id int32, now time.Time) bool {
	t := n.targets[id]
	if t == nil || n.closed {
		return false
	}
	if t.usable(n.x.cfg.InFlight, now) {
		return true
	}
	if !t.gone && t.canConnect(now) {
		n.connect(t, now)
	}
	return false
}

// Connected implements connections.
func (n *simNet) Connected(id int32) bool {
	t := n.targets[id]
	return t != nil && t.ready && !t.closing && !t.draining
}

// Versions implements connections: without transactions, nodes serve all that is asked for.
func (n *simNet) Versions(id int32, key protocol.APIKey) (lowest, highest int16, ok bool) {
	if n.x.cfg.Txn != nil {
		return 0, n.x.highest(key), n.Connected(id)
	}
	return 0, math.MaxInt16, n.Connected(id)
}

// Features implements connections.
func (n *simNet) Features(id int32, _ string) (level int16, ok bool) {
	if t := n.targets[id]; t != nil && n.x.cfg.Txn != nil {
		return t.level, true
	}
	return 0, false
}

// InFlight implements connections.
func (n *simNet) InFlight(id int32) int {
	if t := n.targets[id]; t != nil {
		return len(t.calls)
	}
	return 0
}

// CanRetryAt implements connections.
func (n *simNet) CanRetryAt(id int32, now time.Time) time.Time {
	if t := n.targets[id]; t != nil && !t.gone && !n.closed {
		return t.canRetryAt(now)
	}
	return time.Time{}
}

func (t *simTarget) canRetryAt(now time.Time) time.Time {
	switch {
	case t.conn == nil:
		if t.retryAt.After(now) {
			return t.retryAt
		}
		return now
	case t.closing || t.draining:
		return time.Time{}
	case !t.ready:
		return now.Add(time.Second)
	case t.throttledTo.After(now):
		return t.throttledTo
	}
	return time.Time{}
}

// Denied implements connections.
func (n *simNet) Denied() network.Denial { return network.Denial{} }

// Inspect implements connections.
func (n *simNet) Inspect(time.Time) (nodes []inspect.Node) {
	for _, t := range n.order {
		nodes = append(nodes, inspect.Node{ID: t.id, InFlight: len(t.calls)})
	}
	return nodes
}

// NoBroker implements connections.
func (n *simNet) NoBroker() error { return nil }

// Soonest implements connections. Its network has one connection to each node.
func (n *simNet) Soonest(now time.Time) (id int32, ok bool, retryAt time.Time) {
	return n.LeastLoaded(now)
}

// LeastLoaded implements connections.
func (n *simNet) LeastLoaded(now time.Time) (id int32, ok bool, retryAt time.Time) {
	var up, coming, next *simTarget
	if len(n.order) == 0 || n.closed {
		return 0, false, time.Time{}
	}
	offset := n.x.draw(len(n.order))
	for i := range n.order {
		t := n.order[(offset+i)%len(n.order)]
		switch {
		case t.usable(n.x.cfg.InFlight, now):
			if up == nil || len(t.calls) < len(up.calls) {
				up = t
			}
		case t.conn != nil && !t.ready && !t.closing:
			if coming == nil || coming.attemptAt.Before(t.attemptAt) {
				coming = t
			}
		case t.canConnect(now):
			if next == nil || t.attemptAt.Before(next.attemptAt) {
				next = t
			}
		default:
			if at := t.canRetryAt(now); !at.IsZero() && (retryAt.IsZero() || at.Before(retryAt)) {
				retryAt = at
			}
		}
	}
	switch {
	case up != nil:
		return up.id, true, now
	case coming != nil && (next == nil || now.Sub(coming.attemptAt) < time.Second):
		return coming.id, true, now
	case next != nil:
		return next.id, true, now
	}
	return 0, false, retryAt
}

// Busy implements connections.
func (n *simNet) Busy(id int32, _ time.Time) error {
	if inFlight := n.InFlight(id); inFlight > 0 {
		return fmt.Errorf("%d requests to node %d are unanswered", inFlight, id)
	}
	return nil
}

// Unanswered implements connections.
func (n *simNet) Unanswered(time.Time) error {
	for _, t := range n.order {
		if err := n.Busy(t.id, time.Time{}); err != nil {
			return err
		}
	}
	return nil
}

// LastError implements connections.
func (n *simNet) LastError(id int32) error {
	if t := n.targets[id]; t != nil {
		return t.err
	}
	return nil
}

// Trouble implements connections.
func (n *simNet) Trouble() error {
	for _, t := range n.order {
		if t.err != nil {
			return t.err
		}
	}
	return nil
}

// Unreachable implements connections.
func (n *simNet) Unreachable() bool {
	return !slices.ContainsFunc(n.order, func(t *simTarget) bool { return !t.missed })
}

// Throttle implements connections.
func (n *simNet) Throttle(id int32, d time.Duration, now time.Time) {
	if t := n.targets[id]; t != nil && d > 0 {
		if until := now.Add(d); until.After(t.throttledTo) {
			t.throttledTo = until
		}
		for _, c := range t.calls {
			c.deadline = c.deadline.Add(d)
		}
	}
}

// Send implements connections.
func (n *simNet) Send(id int32, r *network.Request, now time.Time) {
	t := n.targets[id]
	n.inFlight++
	r.Node, r.SentAt, r.DoneAt, r.Err, r.MaybeSent = id, now, time.Time{}, nil, false
	call := &simCall{r: r, number: int(n.ids)}
	if t == nil || n.closed || !t.usable(n.x.cfg.InFlight, now) {
		n.x.violate("I9", "a request for node %d, which can't take it", id)
		n.post(simPost{kind: postRefused, call: call, err: n.fault(t, "send", network.ErrNotReady)})
		return
	}
	low, high := r.Exchange.Versions()
	r.Version = min(high, n.x.highest(r.Exchange.APIKey()))
	if r.Version < low {
		n.post(simPost{kind: postRefused, call: call, err: n.fault(t, "send", network.ErrUnsupportedVersion)})
		return
	}
	r.CorrelationID = n.ids
	n.ids++
	timeout := n.x.e.cfg.requestTimeout
	if r.Timeout > 0 {
		timeout = r.Timeout
	}
	call.conn, call.deadline = t.conn, now.Add(timeout)
	t.calls = append(t.calls, call)
	n.x.say("sender: request %d, %v, to node %d by connection %d", call.number, simExchange{r}, id, t.conn.number)
	t.conn.out = append(t.conn.out, call)
	t.conn.pump()
}

func (n *simNet) fault(t *simTarget, op string, err error) *network.Error {
	e := &network.Error{Op: op, Err: err}
	if t != nil {
		e.Node, e.Addr = t.id, t.addr
	}
	return e
}

// post posts an event to the sender.
func (n *simNet) post(p simPost) {
	n.posts = append(n.posts, p)
	n.x.e.box.post(network.Event{})
}

// Handle implements connections: the events come in the order of their posts.
func (n *simNet) Handle(_ network.Event, now time.Time, done []*network.Request) []*network.Request {
	p := n.posts[0]
	n.posts = n.posts[1:]
	switch p.kind {
	case postOpened:
		if t := p.conn.target; t.conn == p.conn && !t.closing {
			t.ready, t.missed, t.err = true, false, nil
		}
	case postAnswered:
		t := p.conn.target
		for i, c := range t.calls {
			if c == p.call {
				n.x.wrap(c.r)
				t.calls = append(t.calls[:i:i], t.calls[i+1:]...)
				done = append(done, n.finish(c, p.err, now))
				break
			}
		}
		if t.draining {
			n.drain(t)
		}
	case postClosed:
		done = n.lost(p, now, done)
	case postRefused:
		done = append(done, n.finish(p.call, p.err, now))
	}
	return done
}

func (n *simNet) finish(c *simCall, err error, now time.Time) *network.Request {
	n.inFlight--
	c.over = true
	c.r.DoneAt, c.r.Err = now, err
	return c.r
}

// lost takes in that a connection has ended.
func (n *simNet) lost(p simPost, now time.Time, done []*network.Request) []*network.Request {
	t := p.conn.target
	n.open--
	if !t.closing {
		n.failed(t, p.err, now)
	}
	cause := p.err
	if !errors.Is(cause, network.ErrClosed) {
		cause = fmt.Errorf("%w: %w", network.ErrDisconnected, p.err)
	}
	for _, c := range t.calls {
		err := n.fault(t, "read", cause)
		if c.timedOut {
			err = n.fault(t, "request", network.ErrRequestTimeout)
		}
		done = append(done, n.finish(c, err, now))
	}
	t.calls, t.conn, t.ready, t.closing, t.draining, t.planned = nil, nil, false, false, false, false
	if t.gone {
		n.forget(t)
	}
	return done
}

func (n *simNet) failed(t *simTarget, err error, now time.Time) {
	t.missed = t.missed || !t.ready
	t.err = n.fault(t, "read", err)
	t.attemptAt = now
	t.retryAt = now.Add(n.x.ms(min(max(n.x.cfg.Backoff, 10)<<min(t.failures, 4), 1000)))
	t.failures++
}

// shut closes a node's connection from this side.
func (n *simNet) shut(t *simTarget, planned bool) {
	t.closing = true
	err := network.ErrClosed
	if !planned {
		err = network.ErrRequestTimeout
		n.failed(t, err, n.x.now)
	}
	t.conn.leave(err)
}

// Tick implements connections.
func (n *simNet) Tick(now time.Time, done []*network.Request) (_ []*network.Request, next time.Time) {
	for _, t := range n.all {
		next = n.tick(t, now, next)
	}
	return done, next
}

func (n *simNet) tick(t *simTarget, now, next time.Time) time.Time {
	if !t.ready || t.closing {
		return next
	}
	late, first := false, next
	for _, c := range t.calls {
		c.timedOut = !c.deadline.After(now)
		late = late || c.timedOut
		if t.conn.late > 0 && now.Sub(c.deadline) > network.TimerSlack {
			n.x.violate("standstill", "connection %d is given up with %d answers in its socket", t.conn.number, t.conn.late)
		}
		first = earliest(now.Add(forever), first, c.deadline)
	}
	if late {
		n.x.say("connection %d: a request timed out", t.conn.number)
		n.shut(t, false)
		return next
	}
	return first
}

// Rebootstrap implements connections.
func (n *simNet) Rebootstrap(now time.Time) {
	if n.closed || len(n.order) > 0 && n.order[0].id < 0 {
		return
	}
	n.x.say("rebootstrap")
	for _, t := range n.all {
		if t.conn != nil && !t.closing {
			n.shut(t, false)
		}
	}
	n.setBootstrap()
}

// Close implements connections.
func (n *simNet) Close() {
	n.closed = true
	for _, t := range n.all {
		if t.conn != nil && !t.closing {
			n.shut(t, true)
		}
	}
}

// Wait implements connections: there is no waiting here, see simulation.end.
func (n *simNet) Wait() {}

// connect starts a connection.
func (n *simNet) connect(t *simTarget, now time.Time) {
	n.conns++
	n.open++
	c := &simConn{x: n.x, number: n.conns, target: t, node: n.x.cluster.nodeAt(t.addr)}
	t.conn, t.attemptAt, t.ready, t.closing = c, now, false, false
	limit := now.Add(simSetupTimeout)
	n.x.after(n.x.hop(), func() { c.dial(limit) })
}

const simSetupTimeout = time.Second

var errRefused = errors.New("connection refused")
var errSetup = errors.New("set-up timed out")
var errHungUp = io.EOF

// Overdue implements connections.
func (n *simNet) Overdue(now time.Time) bool {
	for _, t := range n.all {
		for _, c := range t.calls {
			if t.ready && !t.closing && !c.deadline.After(now) {
				return true
			}
		}
	}
	return false
}

// CatchUp implements connections: what came while the process was halted is taken by readers after that.
func (n *simNet) CatchUp(late time.Duration, now time.Time) {
	n.x.say("the sender is %v late: answers first", late)
	for _, t := range n.all {
		for _, c := range t.calls {
			c.deadline = backoff.Later(c.deadline.Add(late), now.Add(min(late, n.timeout(c.r))))
		}
	}
}

// Behind implements connections.
func (n *simNet) Behind() bool {
	for _, t := range n.all {
		if t.conn != nil && t.ready && t.conn.late > 0 {
			return true
		}
	}
	return false
}

func (n *simNet) timeout(r *network.Request) time.Duration {
	if r.Timeout > 0 {
		return r.Timeout
	}
	return n.x.e.cfg.requestTimeout
}

// Unresolved implements connections.
func (n *simNet) Unresolved() error { return nil }
