package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// conn is one connection with its two goroutines, the writer (run) and the reader.
//
// A request goes from queue (the owner put it there) to the writer, to awaiting (an answer is
// expected), to the reader, and sometimes to held (answered, but the write has not returned). Wherever
// it is when the connection fails, it stays there untouched, and the owner gives it back upon the
// closed event, which is posted when both goroutines have ended.
type conn struct {
	cfg         *Config // read-only after newConn, as all of this group
	node        *node   // only the owner reads or changes what it points to
	id          int32
	addr        string
	bootstrap   bool
	setup       time.Duration      // limit for dialling, and once more for the handshake
	skip        string             // the address dialled last time
	correlation int32              // the first of handshakeIDs ids for the handshake
	ask         int16              // the version of ApiVersions to begin with
	spare       *atomic.Bool       // set once bytes behind an answer were logged; the node's
	cancel      context.CancelFunc // ends dialling
	stop        chan struct{}      // closed by the first fail
	bell        chan struct{}      // to the writer: queue is not empty; capacity 1

	dialled string          // the address dialled last. The writer's until it posts opened or closed
	phase   setupPhase      // how far the set-up came. The writer's until it posts closed
	out     outbox          // the writer's
	in      inbox           // the writer's during the handshake, then the reader's
	body    protocol.Reader // the reader's; here because it would escape to the heap with each answer

	behind    bool        // the owner's: asked to catch up, and caughtUp has not come
	asked     atomic.Bool // the reader is to catch up
	lastWrite int64       // the reader's: of the request that was answered last

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
	// held are answers to requests of a write that has not returned. The writer posts them afterwards;
	// posting is set while it does, and later answers then queue behind them.
	// +checklocks:mu
	held []Event
	// +checklocks:mu
	posting bool
	// +checklocks:mu
	nc net.Conn // nil until dialled
	// +checklocks:mu
	cause error // why the connection ends; nil while it lives
}

// expected is a request with the number of the write it is in.
type expected struct {
	request   *Request
	write     int64
	writtenAt time.Time // zero: it is being written
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
	dialling    setupPhase = iota // no connection yet
	negotiating                   // connected, versions not known
	established                   // ready for requests
)

// newConn returns a connection that is not running yet. cancel ends the context that run gets.
func newConn(c *Client, n *node, setup time.Duration, cancel context.CancelFunc) *conn {
	return &conn{
		cfg: &c.cfg, node: n, id: n.id, addr: n.addr, bootstrap: n.id < 0, setup: setup, skip: n.lastTried,
		correlation: c.correlationIDs(handshakeIDs), ask: n.askVersion(), spare: &n.spare,
		cancel: cancel,
		stop:   make(chan struct{}), bell: make(chan struct{}, 1),
	}
}

// run does the writer's work, on a goroutine of its own: it makes the connection, writes what is queued, waits for the
// reader and posts closed. It ends soon after fail.
func (c *conn) run(ctx context.Context) {
	defer c.cancel()
	var reader sync.WaitGroup
	defer func() { // also if a dialer's connection ended this goroutine
		c.fail(c.errorf("use", errGoroutineEnded)) // unless it has failed, as it usually has
		reader.Wait()
		c.cfg.Post(Event{kind: closed, conn: c, err: c.reason(), phase: c.phase})
	}()
	nc, v, err := c.open(ctx)
	if err != nil {
		c.fail(err)
		return
	}
	c.phase = established
	c.cfg.Post(Event{kind: opened, conn: c, versions: v})
	reader.Go(func() {
		defer c.fail(c.errorf("use", errGoroutineEnded))
		c.fail(c.read(attentive{c, nc}))
	})
	c.fail(c.write(nc)) // stops the reader too
}

// errGoroutineEnded is why a connection ends whose Read or Write does not return.
var errGoroutineEnded = errors.New("the connection that DialContext returned ended the goroutine (runtime.Goexit)")

// open makes the connection and negotiates.
func (c *conn) open(ctx context.Context) (net.Conn, *versions, error) {
	nc, err := c.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	c.phase = negotiating
	if !c.adopt(nc) {
		_ = nc.Close() // told to end while dialling, so fail did not close it
		return nil, nil, c.reason()
	}
	until := time.Now().Add(min(c.setup, c.cfg.RequestTimeout))
	if err := nc.SetDeadline(until); err != nil {
		return nil, nil, c.errorf("negotiate", err)
	}
	v, err := c.negotiate(&unhurried{Conn: nc, until: until})
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, nil, c.asError("negotiate", err)
	}
	return nc, v, nil
}

// adopt makes nc the connection that fail closes. It returns false, and does not, if fail was called before.
func (c *conn) adopt(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return false
	}
	c.nc = nc
	return true
}

// connected reports whether dialling has succeeded.
func (c *conn) connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nc != nil
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

// send queues a request for the writer. Called by the owner.
func (c *conn) send(r *Request) {
	c.mu.Lock()
	c.queue = append(c.queue, r)
	c.mu.Unlock()
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
