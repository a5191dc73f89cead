package network

import (
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
)

// state is where a node's connection stands.
type state uint8

const (
	// idle: no connection, and no reason to wait with one. Every node begins so.
	idle state = iota
	// connecting: a writer dials and negotiates.
	connecting
	// ready: negotiated; it takes requests.
	ready
	// closing: the owner has closed it; its requests are not back yet.
	closing
	// down: the last connection failed; the next one waits for the back-off.
	down
)

var stateNames = [...]string{"idle", "connecting", "ready", "closing", "down"}

func (s state) String() string { return stateNames[s] }

// transitions says which state may follow which.
//
//	idle ──▶ connecting ──▶ ready          the way up
//	             │            │
//	             ├──▶ closing ◀──┤         closed by us: idle if planned, else down
//	             └──▶ down ◀─────┘         failed, or closed by the node
//	down ──▶ connecting, after the back-off; down ──▶ idle when the address changes
//	ready ──▶ idle when it is lost and the address has changed since it was made
var transitions = [...][]state{
	idle:       {connecting},
	connecting: {ready, closing, down},
	ready:      {closing, down, idle},
	closing:    {idle, down},
	down:       {connecting, idle},
}

// node is a connection target. The client's owner alone touches it.
type node struct {
	key   int32 // in Client.nodes: its id, unless it is the aside
	id    int32
	addr  string // host:port
	state state

	// conn is the one connection; nil exactly when idle or down.
	conn     *conn
	versions *versions // what it speaks; nil unless ready
	// inFlight are the requests that conn holds, oldest first. They stay here until they are off
	// the wire, so a node with requests never gets a second connection.
	inFlight []*Request

	// draining: the connection takes no more requests and closes when it has none, because the node
	// has moved (addr is the new address) or is gone.
	draining bool
	gone     bool // no longer in the cluster: forgotten when the connection is closed
	seen     uint64

	failures    int  // connections in a row that did not work
	failedDials int  // of these, dials in a row
	missed      bool // the last attempt to connect failed
	attemptAt   time.Time
	retryAt     time.Time // down: not before
	readyAt     time.Time
	usedAt      time.Time // last activity, for the idle time-out
	answeredAt  time.Time // last answer
	throttledTo time.Time
	planned     bool          // closing: without a failure
	lastTried   string        // the address that was dialled last; the next attempt begins behind it
	err         error         // why the last connection failed; nil once one is ready
	spell       backoff.Spell // of connections that do not work
	hangUps     int           // handshakes in a row in which the peer closed the connection; see askVersion
	answered    bool          // it has answered something besides ApiVersions, on any connection
	loginDoubt  bool          // it hung up on the first request: the next connection asks whether it wants a login

	spare atomic.Bool // bytes behind an answer were logged; set by connections
}

// waitsSince returns since when the node has kept the client waiting; the zero time if it does not.
func (n *node) waitsSince() time.Time {
	switch {
	case n.state == connecting:
		return n.attemptAt
	case len(n.inFlight) > 0:
		return n.inFlight[0].SentAt
	}
	return time.Time{}
}

// unanswered returns an error that says what the node has not done for that long.
func (n *node) unanswered(waited time.Duration) *Error {
	if n.state == connecting {
		return n.conn.unanswered(waited)
	}
	return n.conn.errorf("request", fmt.Errorf("no answer to %v for %v", n.inFlight[0].Exchange.APIKey(), waited))
}

// moved reports whether the node has another address than the one that its connection leads to.
func (n *node) moved() bool { return n.conn != nil && n.conn.addr != n.addr }

// name returns the node as an attribute for the log.
func (n *node) name() slog.Attr {
	if n.isAside() {
		return slog.String("node", fmt.Sprintf("%d (second connection)", n.id))
	}
	return nodeName(n.id)
}

// nodeName returns a node as an attribute for the log: bootstrap servers have no id of Kafka's.
func nodeName(id int32) slog.Attr {
	if id < 0 {
		return slog.String("node", "bootstrap")
	}
	return slog.Int("node", int(id))
}

// askVersions are the versions of ApiVersions to try in turn with a node that closes the connection instead
// of answering: some proxies and old brokers do that to a version they don't know. Each is tried twice, since
// a broker that is being stopped does it too; after the last comes the first again.
var askVersions = [...]int16{apiVersionsVersion, apiVersionsVersion, 3, 3, 0, 0}

// askVersion returns the version to begin the next handshake with.
func (n *node) askVersion() int16 { return askVersions[n.hangUps%len(askVersions)] }

// become changes the state. It panics if transitions does not allow that.
func (n *node) become(to state) {
	if !slices.Contains(transitions[n.state], to) {
		panic(fmt.Sprintf("network: node %d can't become %v from %v", n.id, to, n.state))
	}
	n.state = to
}

// usable reports whether the node can take a request now.
func (n *node) usable(maxInFlight int, now time.Time) bool {
	return n.state == ready && !n.draining && len(n.inFlight) < maxInFlight && !n.throttledTo.After(now)
}

// canConnect reports whether a connection may be started now.
func (n *node) canConnect(now time.Time) bool {
	return n.state == idle || n.state == down && !n.retryAt.After(now)
}

// connectPatience is how long a request waits for a connection that is being made before another
// node is tried.
const connectPatience = time.Second

// hanging reports whether the present attempt to connect has taken connectPatience or more.
func (n *node) hanging(now time.Time) bool {
	return n.state == connecting && now.Sub(n.attemptAt) >= connectPatience
}

// canRetryAt returns the time from which on it makes sense to try the node again; zero if only an event
// can change its state.
func (n *node) canRetryAt(now time.Time) time.Time {
	switch n.state {
	case idle:
		return now
	case down:
		return backoff.Later(n.retryAt, now)
	case connecting:
		if !n.hanging(now) {
			return n.attemptAt.Add(connectPatience)
		}
		return now.Add(connectPatience)
	case ready:
		if n.throttledTo.After(now) && !n.draining {
			return n.throttledTo
		}
	case closing:
	}
	return time.Time{}
}

// forget removes r from the requests in flight. It reports whether it was there.
func (n *node) forget(r *Request) bool {
	i := slices.Index(n.inFlight, r)
	if i < 0 {
		return false
	}
	n.inFlight = slices.Delete(n.inFlight, i, i+1)
	return true
}
