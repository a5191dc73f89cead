package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/protocol"
)

// conn is one connection with its two goroutines, the writer (run) and the reader.
//
// A request goes from queue (the owner put it there) to the writer, to awaiting (an answer is
// expected), to the reader, and sometimes to early (answered, but the write has not returned). Wherever
// it is when the connection fails, it stays there untouched, and the owner gives it back upon the
// closed event, which is posted when both goroutines have ended.
type conn struct {
	cfg         *Config // read-only after newConn, as all of this group
	node        *node   // only the owner reads or changes what it points to
	id          int32
	addr        string
	bootstrap   bool
	setup       time.Duration // limit for dialling, and once more for the handshake
	skip        string        // the address dialled last time
	correlation int32         // the first of handshakeIDs ids for the handshake
	firstAsk    int16         // the version of ApiVersions to begin with
	measures    *nodeMeasures
	unproven    bool               // no connection to the node has got ready yet
	loginDoubt  bool               // the node hung up on the first request: does it want a login?
	spare       *atomic.Bool       // set once bytes behind an answer were logged; the node's
	cancel      context.CancelFunc // ends dialling
	stop        chan struct{}      // closed by the first fail
	unread      chan struct{}      // closed when the reader can't go on
	helpers     sync.WaitGroup     // the reader, and a mechanism that begins
	bell        chan struct{}      // to the writer: queue is not empty; capacity 1

	dialled string          // the address dialled last. The writer's until it posts opened or closed
	writing sync.Mutex      // held by who writes: the writer, or the owner, which only tries to get it
	session session         // of who writes: how long the node takes this client for who it is
	out     outbox          // of who writes
	in      frameReader     // the writer's during the handshake, then the reader's
	body    protocol.Reader // the reader's; here because it would escape to the heap with each answer

	behind    bool        // the owner's: asked to catch up, and caughtUp has not come
	asked     atomic.Bool // the reader is to catch up
	arrived   arrived     // the writer's during the handshake, then the reader's
	lastWrite int64       // the reader's: of the request that was answered last
	readErr   error       // why the reader can't go on; set before unread is closed

	mu sync.Mutex // held only for memory work
	// +checklocks:mu
	queue []*Request // sent by the owner, not yet taken by the writer
	// awaiting are the requests whose answers are to come, in this order: written, or being written.
	// +checklocks:mu
	awaiting []expected
	// +checklocks:mu
	ended int64 // the last write that has returned: the writer no longer reads its requests
	// +checklocks:mu
	movedAt time.Time // when the last write, or a part of the one that goes on, returned
	// early are answers to requests of a write that has not returned. The writer posts them afterwards;
	// posting is set while it does, and later answers then queue behind them.
	// +checklocks:mu
	early []Event
	// +checklocks:mu
	posting bool
	// +checklocks:mu
	nc net.Conn // nil until dialled
	// +checklocks:mu
	phase setupPhase // how far the set-up has come
	// +checklocks:mu
	judging chan struct{} // closed when the writer has authenticated again, or could not; nil: it does not
	// +checklocks:mu
	cause error // why the connection ends; nil while it lives
}

// expected is a request with the number of the write it is in.
type expected struct {
	request   *Request
	write     int64
	writtenAt time.Time    // zero: it is being written
	reply     chan<- error // of the writer's own requests: where it waits for the answer; capacity 1
}

// waitsSince returns since when the node has kept r waiting: since r was written or, before that, since the last write
// or part of one returned; zero if none has. A connection with full buffers passes on one request after the other, and a
// large one in parts. It must not be closed because the last request in the queue has waited for its turn.
func (c *conn) waitsSince(r *Request) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.awaiting {
		if x.request == r && !x.writtenAt.IsZero() {
			return x.writtenAt
		}
	}
	return c.movedAt
}

// setupPhase says how far the set-up of a connection has come.
type setupPhase uint8

const (
	dialling       setupPhase = iota // no connection yet
	securing                         // connected; the TLS handshake goes on
	negotiating                      // versions not known
	authenticating                   // SASL goes on
	established                      // ready for requests
)

// newConn returns a connection that is not running yet. cancel ends the context that run gets.
func newConn(c *Client, n *node, setup time.Duration, cancel context.CancelFunc) *conn {
	x := &conn{
		cfg: &c.cfg, node: n, id: n.id, addr: n.addr, bootstrap: n.id < 0, setup: setup, skip: n.lastTried,
		correlation: c.correlationIDs(handshakeIDs), firstAsk: n.askVersion(), spare: &n.spare,
		measures: c.cfg.Measures.node(n.id), cancel: cancel,
		stop: make(chan struct{}), unread: make(chan struct{}), bell: make(chan struct{}, 1),
		unproven: n.readyAt.IsZero(), loginDoubt: n.loginDoubt,
	}
	n.loginDoubt = false // one connection asks; if it fails, the next one does without
	return x
}

// run does the writer's work, on a goroutine of its own: it makes the connection, writes what is queued, waits for the
// reader and posts closed. It ends soon after fail.
func (c *conn) run(ctx context.Context) {
	defer c.cancel()
	defer func() { // also if a dialer's connection ended this goroutine
		c.fail(c.errorf("use", errGoroutineEnded)) // unless it has failed, as it usually has
		c.helpers.Wait()
		c.cfg.Post(Event{kind: closed, conn: c, err: c.reason(), phase: c.reached()})
	}()
	nc, v, err := c.open(ctx)
	if err != nil {
		c.fail(err)
		return
	}
	c.reach(established)
	c.cfg.Post(Event{kind: opened, conn: c, versions: v, arrived: c.arrived})
	c.arrived = arrived{}
	c.helpers.Go(func() {
		defer c.fail(c.errorf("use", errGoroutineEnded))
		err := c.read(attentive{c, nc})
		c.letJudge(err)
		c.fail(err)
	})
	c.fail(c.write(ctx, nc)) // stops the reader too
}

// errGoroutineEnded is why a connection ends whose Read or Write does not return.
var errGoroutineEnded = errors.New("code of the application ended the goroutine (runtime.Goexit), in DialContext, its connection, or a SASL mechanism")

// open makes the connection: it dials, secures it, asks for the node's versions, and authenticates.
func (c *conn) open(ctx context.Context) (net.Conn, *versions, error) {
	raw, err := c.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !c.adopt(raw) {
		_ = raw.Close() // told to end while dialling, so fail did not close it
		return nil, nil, c.reason()
	}
	now := time.Now()
	c.cfg.Measures.created.Record(now, 1)
	until := now.Add(min(c.setup, c.cfg.RequestTimeout))
	if err := raw.SetDeadline(until); err != nil {
		return nil, nil, c.errorf("negotiate", err)
	}
	nc, v, err := c.setUp(ctx, &unhurried{Conn: raw, until: until})
	if err == nil {
		err = raw.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, nil, c.asError("negotiate", err)
	}
	return nc, v, nil
}

// setUp makes a connection that was dialled one for requests, and returns what to read from and to write to.
func (c *conn) setUp(ctx context.Context, patient *unhurried) (net.Conn, *versions, error) {
	nc, line := patient.Conn, net.Conn(patient)
	var secured *tlsLine
	if c.cfg.TLS != nil {
		var err error
		if secured, err = c.secure(ctx, patient); err != nil {
			return nil, nil, err
		}
		nc, line = secured, secured
	}
	c.reach(negotiating)
	v, err := c.negotiate(line)
	if err == nil {
		err = c.wantsLogin(line, v)
	}
	if err == nil && c.cfg.SASL != nil {
		c.reach(authenticating)
		err = c.authenticate(ctx, patient.until, line, v)
	}
	patient.again = true // only a handshake has a second look
	return nc, v, c.alerted(secured, err)
}

// adopt makes nc the connection that fail closes. It returns false, and does not, if fail was called before.
func (c *conn) adopt(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return false
	}
	c.nc, c.phase = nc, securing
	return true
}

// reach notes how far the set-up has come.
func (c *conn) reach(phase setupPhase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = phase
}

// reached returns how far the set-up has come.
func (c *conn) reached() setupPhase {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase
}

// unanswered returns an error that says which step of the set-up the node has kept waiting for that long.
func (c *conn) unanswered(waited time.Duration) *Error {
	switch phase := c.reached(); {
	case phase == dialling:
		return c.errorf("dial", fmt.Errorf("no connection for %v; is the address right, and does no firewall drop what goes there?", waited))
	case phase == securing && c.cfg.TLS != nil:
		return c.errorf("TLS handshake", fmt.Errorf("it accepts connections, but the TLS handshake has not ended for %v; %s",
			waited, plaintextHint))
	case phase == authenticating && c.cfg.SASL != nil:
		return c.errorf(opAuthenticate, fmt.Errorf("authentication with %s has not ended for %v", foreign.Quote(c.cfg.SASL.Name()), waited))
	}
	return c.errorf("negotiate", fmt.Errorf("it accepts connections, but has not answered ApiVersions for %v; does it hang, or %s", waited, otherProtocol))
}

// fail ends the connection; the first cause counts. Any goroutine may call it, any number of times.
// It does not wait.
func (c *conn) fail(cause error) {
	c.mu.Lock()
	first := c.cause == nil
	if first {
		c.cause = cause
	}
	nc := c.nc
	c.mu.Unlock()
	if !first {
		return
	}
	close(c.stop)
	c.cancel()
	if nc != nil {
		_ = nc.Close() // ends reads and writes; there is nothing to do about an error
	}
}

// reason returns why the connection ends; nil while it lives.
func (c *conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// send queues a request for the writer, or writes it if it is quick. Called by the owner.
func (c *conn) send(r *Request, quick bool) {
	c.mu.Lock()
	c.queue = append(c.queue, r)
	c.mu.Unlock()
	if !quick || !c.sendNow() {
		c.ring()
	}
}

// ring wakes the writer.
func (c *conn) ring() {
	select {
	case c.bell <- struct{}{}:
	default: // the writer has not taken the last signal yet
	}
}

// errorf returns err as an error of this connection during op.
func (c *conn) errorf(op string, err error) *Error {
	return &Error{Node: c.id, Addr: c.addr, Op: op, Err: err}
}

// asError returns the *Error that err is or wraps, or else err as an error of this connection during op.
func (c *conn) asError(op string, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return c.errorf(op, err)
}

// malformed returns an error about what the node sent. It wraps ErrMalformedResponse.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMalformedResponse, fmt.Errorf(format, args...))
}
