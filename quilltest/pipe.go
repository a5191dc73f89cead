package quilltest

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeBuffer is how many bytes one direction of a pipe holds before a writer waits for the reader,
// like a socket's buffers.
const pipeBuffer = 256 << 10

// A pipeConn is one end of an in-process connection. Unlike net.Pipe it is buffered, as a TCP
// socket is: a writer waits only when the buffer is full. Closing behaves like TCP too: what was
// written before is still read by the other end, then it sees io.EOF; its writes fail with
// ECONNRESET. A reset end throws away what was under way. All waiting is done in sync.Cond, so it
// counts as durably blocked in a testing/synctest bubble.
type pipeConn struct {
	in, out       *stream
	local, remote net.Addr
}

// pipe returns the two ends of a new connection.
func pipe(client, server net.Addr) (*pipeConn, *pipeConn) {
	up, down := newStream(pipeBuffer), newStream(pipeBuffer)
	return &pipeConn{in: down, out: up, local: client, remote: server},
		&pipeConn{in: up, out: down, local: server, remote: client}
}

func (c *pipeConn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.opError("read", err)
}

func (c *pipeConn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.opError("write", err)
}

// Close closes both directions. Bytes already written stay readable at the other end.
func (c *pipeConn) Close() error {
	c.out.closeWrite()
	c.in.closeRead()
	return nil
}

// CloseWrite closes the sending direction only (TCP's half close): the other end reads what is
// left, then io.EOF.
func (c *pipeConn) CloseWrite() error {
	c.out.closeWrite()
	return nil
}

// reset closes both directions and drops what was under way, as a TCP RST does.
func (c *pipeConn) reset() {
	c.out.reset()
	c.in.closeRead()
}

func (c *pipeConn) LocalAddr() net.Addr  { return c.local }
func (c *pipeConn) RemoteAddr() net.Addr { return c.remote }

func (c *pipeConn) SetDeadline(t time.Time) error {
	c.in.setReadDeadline(t)
	c.out.setWriteDeadline(t)
	return nil
}

func (c *pipeConn) SetReadDeadline(t time.Time) error {
	c.in.setReadDeadline(t)
	return nil
}

func (c *pipeConn) SetWriteDeadline(t time.Time) error {
	c.out.setWriteDeadline(t)
	return nil
}

// opError dresses err as the net package does; io.EOF stays bare because readers compare it.
func (c *pipeConn) opError(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// A stream is one direction of a pipe: a ring of bytes with one writing and one reading end.
type stream struct {
	limit int // set by newStream, read-only after

	mu sync.Mutex // held for copying at most limit bytes
	// readable wakes readers: bytes, end of the stream, deadline.
	readable sync.Cond
	// writable wakes writers: room, a reader that has gone, deadline.
	writable sync.Cond
	// ring holds size bytes from start on; it grows up to limit.
	// +checklocks:mu
	ring []byte
	// +checklocks:mu
	start int
	// +checklocks:mu
	size int
	// ended: the writer has closed; the reader gets io.EOF after the last byte.
	// +checklocks:mu
	ended bool
	// gone: the reader has closed; writes fail.
	// +checklocks:mu
	gone bool
	// broken: the writer has reset; reads fail at once.
	// +checklocks:mu
	broken bool
	// +checklocks:mu
	readLimit deadline
	// +checklocks:mu
	writeLimit deadline
}

// A deadline is an instant with the timer that wakes those who wait for it.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// set moves the deadline; wake runs when it passes.
func (d *deadline) set(t time.Time, wake func()) {
	d.stop()
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, wake)
	}
}

func newStream(limit int) *stream {
	s := &stream{limit: limit}
	s.readable.L = &s.mu
	s.writable.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.gone:
			return 0, net.ErrClosed
		case s.broken:
			return 0, errReset
		case s.readLimit.passed():
			return 0, os.ErrDeadlineExceeded
		case s.size > 0 || len(p) == 0:
			return s.takeLocked(p), nil
		case s.ended:
			return 0, io.EOF
		}
		s.readable.Wait()
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := 0
	for {
		switch {
		case s.ended || s.broken:
			return done, net.ErrClosed
		case s.gone:
			return done, errReset
		case s.writeLimit.passed():
			return done, os.ErrDeadlineExceeded
		}
		done += s.putLocked(p[done:])
		if done == len(p) {
			return done, nil
		}
		s.writable.Wait()
	}
}

// takeLocked copies out what is there and wakes a waiting writer.
//
// +checklocks:s.mu
func (s *stream) takeLocked(p []byte) int {
	total := 0
	for total < len(p) && s.size > 0 {
		n := copy(p[total:], s.ring[s.start:min(s.start+s.size, len(s.ring))])
		s.start = (s.start + n) % len(s.ring)
		s.size -= n
		total += n
	}
	if s.size == 0 {
		s.start = 0
	}
	s.writable.Broadcast()
	return total
}

// putLocked copies in what fits and wakes a waiting reader.
//
// +checklocks:s.mu
func (s *stream) putLocked(p []byte) int {
	s.growLocked(len(p))
	total := 0
	for total < len(p) && s.size < len(s.ring) {
		end := (s.start + s.size) % len(s.ring)
		room := len(s.ring) - s.size
		n := copy(s.ring[end:min(end+room, len(s.ring))], p[total:])
		s.size += n
		total += n
	}
	if total > 0 {
		s.readable.Broadcast()
	}
	return total
}

// growLocked makes the ring large enough for n more bytes, within the limit.
//
// +checklocks:s.mu
func (s *stream) growLocked(n int) {
	want := min(s.size+n, s.limit)
	if want <= len(s.ring) {
		return
	}
	ring := make([]byte, min(max(want, 2*len(s.ring), 4096), s.limit))
	if s.size > 0 {
		k := copy(ring, s.ring[s.start:min(s.start+s.size, len(s.ring))])
		copy(ring[k:], s.ring[:s.size-k])
	}
	s.ring, s.start = ring, 0
}

func (s *stream) closeWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.wakeLocked()
}

func (s *stream) closeRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	s.ring, s.start, s.size = nil, 0, 0
	s.wakeLocked()
}

func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
	s.ring, s.start, s.size = nil, 0, 0
	s.wakeLocked()
}

// wakeLocked wakes all waiters and forgets deadlines that are not needed any more.
//
// +checklocks:s.mu
func (s *stream) wakeLocked() {
	if s.gone || s.broken {
		s.readLimit.stop()
	}
	if s.ended || s.gone || s.broken {
		s.writeLimit.stop()
	}
	s.readable.Broadcast()
	s.writable.Broadcast()
}

func (s *stream) setReadDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gone && !s.broken {
		s.readLimit.set(t, s.wakeReader)
		s.readable.Broadcast()
	}
}

func (s *stream) setWriteDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && !s.gone && !s.broken {
		s.writeLimit.set(t, s.wakeWriter)
		s.writable.Broadcast()
	}
}

func (s *stream) wakeReader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readable.Broadcast()
}

func (s *stream) wakeWriter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writable.Broadcast()
}
