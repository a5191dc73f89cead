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
// closed event, which is posted when both goroutines are through.
type conn struct {
	cfg         *Config // read-only after newConn, as all of this group
	node        *node   // only the owner looks into it
	id          int32
	addr        string
	bootstrap   bool
	setup       time.Duration      // limit for dialling, and once more for the handshake
	skip        string             // the address tried last time
	correlation int32              // the first of handshakeIDs ids for the handshake
	ask         int16              // the version of ApiVersions to begin with
	spare       *atomic.Bool       // bytes behind an answer were logged; the node's
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
	ended int64 // the last write that has returned: the writer looks no more at what was in it
	// +checklocks:mu
	movedAt time.Time // when the last write, or a part of the one that goes on, returned
	// held are answers to requests of the write that goes on. The writer posts them when it has
	// returned; posting says that it is about that, and that later answers have to queue behind.
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

// waitsSince returns from when on the node keeps r waiting: since r was written, or, as long as it is not, since
// something was; zero if nothing has been. A line that is full passes on one request after the other, and a large one
// bit by bit. It is not to be cut because the last in the queue has waited for its turn.
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

// setupPhase is how far the making of a connection has come.
type setupPhase uint8

const (
	dialling    setupPhase = iota // no connection yet
	negotiating                   // connected, versions not known
	established                   // ready for requests
)

// newConn makes a connection that is not running yet. cancel ends the context that run gets.
func newConn(c *Client, n *node, setup time.Duration, cancel context.CancelFunc) *conn {
	return &conn{
		cfg: &c.cfg, node: n, id: n.id, addr: n.addr, bootstrap: n.id < 0, setup: setup, skip: n.lastTried,
		correlation: c.correlationIDs(handshakeIDs), ask: n.askVersion(), spare: &n.spare,
		cancel: cancel,
		stop:   make(chan struct{}), bell: make(chan struct{}, 1),
	}
}

// run is the writer: it makes the connection, writes what is queued, and takes it down. It ends soon
// after fail.
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
		_ = nc.Close() // told to end while dialling; nobody else knows of it
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

// adopt makes nc the connection that fail closes. It reports whether there is still need for one.
func (c *conn) adopt(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return false
	}
	c.nc = nc
	return true
}

// connected reports whether there is a connection, whatever the node says on it.
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

// reason is why the connection ends.
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
	default: // it rings already
	}
}

// errorf is an error of this connection.
func (c *conn) errorf(op string, err error) *Error {
	return &Error{Node: c.id, Addr: c.addr, Op: op, Err: err}
}

// asError is err as an error of this connection, with op unless it has one.
func (c *conn) asError(op string, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return c.errorf(op, err)
}

// malformed is an error about what the node sent.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMalformedResponse, fmt.Errorf(format, args...))
}
