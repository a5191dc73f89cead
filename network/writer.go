package network

import (
	"context"
	"net"
	"slices"
	"time"
)

// scratchSize is how much is copied together for connections without writev.
const scratchSize = 32 << 10

// partSize is how much of a frame is written at a time. A connection that can't pass on that much within
// request.timeout.ms is closed.
const partSize = 256 << 10

// outbox holds the writer's memory. It is used again only when a write has returned; the answer
// can arrive before that. Whoever holds conn.writing has it: the writer while it works, or the owner.
type outbox struct {
	direct  direct
	frame   Frame
	taken   []*Request  // from the queue, not yet encoded
	joined  []placed    // in the frame
	calls   int         // of the connection's Write since that was counted
	writes  int64       // begun
	toPost  []Event     // to be posted
	part    net.Buffers // of a frame that is written in parts
	buffers net.Buffers // what the write consumes
	scratch []byte      // small frames in one piece; more for connections without writev
	vector  bool        // the connection has writev
}

// placed is a request in a frame.
type placed struct {
	request  *Request
	start    int64 // of its bytes
	noAnswer bool  // copy of request.NoAnswer, which must not be read once the reader may have the request
	reply    chan<- error
}

// write writes what is queued until the connection ends. It returns why the connection can't go on, or
// nil if fail was called between writes.
func (c *conn) write(ctx context.Context, nc net.Conn) error {
	c.writing.Lock()
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		c.out.vector = true
		c.out.direct.allow(nc)
	}
	c.writing.Unlock()
	for {
		select {
		case <-c.bell:
		case <-c.stop:
			return nil
		}
		if err := c.writeQueued(ctx, nc); err != nil {
			return c.asError("write", err)
		}
	}
}

// writeQueued writes until nothing is queued.
func (c *conn) writeQueued(ctx context.Context, nc net.Conn) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.out.unfinished() {
		if err := c.finish(nc); err != nil {
			return err
		}
	}
	for {
		if err := c.keepSession(ctx, nc); err != nil {
			return err
		}
		if !c.take() {
			return nil
		}
		if err := c.writeTaken(nc); err != nil {
			return err
		}
	}
}

// take moves the queue to the writer. It reports whether there is something to write.
func (c *conn) take() bool {
	o := &c.out
	clear(o.taken)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return false
	}
	o.taken, c.queue = c.queue, o.taken[:0]
	return len(o.taken) > 0
}

// writeTaken encodes what was taken and writes it, joined.
func (c *conn) writeTaken(nc net.Conn) error {
	o := &c.out
	for _, r := range o.taken {
		if err := c.reason(); err != nil {
			return err // what is joined stays unsent
		}
		c.join(r)
		if o.frame.size() >= joinLimit {
			if err := c.flush(nc); err != nil {
				return err
			}
		}
	}
	return c.flush(nc)
}

// join encodes a request behind those in the frame. One that can't be encoded goes back at once.
func (c *conn) join(r *Request) {
	o := &c.out
	start := int64(o.frame.size())
	if err := o.frame.add(r, c.cfg.ClientID); err != nil {
		c.cfg.Post(Event{kind: answered, conn: c, request: r, err: c.asError("encode", err)})
		return
	}
	o.joined = append(o.joined, placed{request: r, start: start, noAnswer: r.NoAnswer})
}

// flush writes the frame and marks its requests as written.
func (c *conn) flush(nc net.Conn) error {
	o := &c.out
	if len(o.joined) == 0 {
		return nil
	}
	if err := c.reason(); err != nil {
		return err
	}
	c.announce()
	return c.written(c.writeFrame(nc))
}

// written notes that the frame was written: n bytes of it, and err says why not the rest. It returns err.
func (c *conn) written(n int64, err error) error {
	o := &c.out
	for _, p := range o.joined {
		// Without writev the last write may have passed on more than it admits (TLS).
		p.request.MaybeSent = err == nil || p.start < n || !o.vector && p.start == n
	}
	requests, bytes, largest := o.ownSizes()
	if requests < len(o.joined) {
		o.erase()
	}
	o.frame.reset()
	// From here on the writer reads none of the requests that have answers.
	c.wrote(o.calls, bytes, requests, largest, c.markWritten())
	o.calls = 0
	if err != nil {
		return err
	}
	for _, p := range o.joined {
		if p.noAnswer {
			c.cfg.Post(Event{kind: answered, conn: c, request: p.request})
		}
	}
	clear(o.joined)
	o.joined = o.joined[:0]
	return nil
}

// erase empties the frame and overwrites all copies of what was in it: a password may have been.
func (o *outbox) erase() {
	o.frame.erase()
	clear(o.scratch[:cap(o.scratch)])
}

// ownSizes returns how many requests the frame has, how many bytes they are together, and how many the largest is. Those
// that authenticate the client again don't count, as in Java.
func (o *outbox) ownSizes() (requests int, bytes, largest int64) {
	end := int64(o.frame.size())
	for _, p := range slices.Backward(o.joined) {
		if size := end - p.start; p.reply == nil {
			requests, bytes, largest = requests+1, bytes+size, max(largest, size)
		}
		end = p.start
	}
	return requests, bytes, largest
}

// announce adds the requests of the frame to those whose answers the reader expects. It is called before the
// write, since answers may arrive before the write has returned.
func (c *conn) announce() {
	c.out.writes++
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.out.joined {
		if !p.noAnswer {
			c.awaiting = append(c.awaiting, expected{request: p.request, write: c.out.writes, reply: p.reply})
		}
	}
}

// markWritten notes that the writer no longer reads the requests of the last write, and posts the
// answers that came early, which waited for that. It returns when that was.
func (c *conn) markWritten() (now time.Time) {
	now = time.Now()
	c.mu.Lock()
	c.ended, c.movedAt = c.out.writes, now
	for i := len(c.awaiting) - 1; i >= 0 && c.awaiting[i].write == c.ended; i-- {
		c.awaiting[i].writtenAt = now
	}
	more := c.takeEarlyLocked()
	c.mu.Unlock()
	for more {
		for _, e := range c.out.toPost {
			c.cfg.Post(e)
		}
		c.mu.Lock()
		more = c.takeEarlyLocked()
		c.mu.Unlock()
	}
	return now
}

// takeEarlyLocked moves the early answers to the writer. It reports whether there are any.
//
// +checklocks:c.mu
func (c *conn) takeEarlyLocked() bool {
	clear(c.out.toPost)
	c.out.toPost, c.early = c.early, c.out.toPost[:0]
	c.posting = len(c.out.toPost) > 0
	return c.posting
}

// writeFrame writes the frame and returns how many bytes of it the connection took. It writes a large
// frame in parts, and notes after each that the connection is not stuck.
func (c *conn) writeFrame(nc net.Conn) (total int64, err error) {
	o := &c.out
	if o.frame.size() <= partSize {
		return o.write(nc, o.frame.Vectors())
	}
	for rest := o.frame.Vectors(); len(rest) > 0 && err == nil; {
		rest = o.cut(rest)
		var n int64
		n, err = o.write(nc, o.part)
		total += n
		clear(o.part)
		c.markMoved()
	}
	return total, err
}

// cut makes the first partSize bytes of the vectors the part to write, and returns the others.
func (o *outbox) cut(vectors net.Buffers) (rest net.Buffers) {
	o.part = o.part[:0]
	room := partSize
	for i, v := range vectors {
		if len(v) > room {
			if room > 0 {
				o.part = append(o.part, v[:room])
				vectors[i] = v[room:]
			}
			return vectors[i:]
		}
		o.part = append(o.part, v)
		room -= len(v)
	}
	return nil
}

// markMoved notes that a part of a frame was written.
func (c *conn) markMoved() {
	now := time.Now()
	c.mu.Lock()
	c.movedAt = now
	c.mu.Unlock()
}

// write writes the vectors and returns how many bytes of them the connection took.
func (o *outbox) write(nc net.Conn, vectors net.Buffers) (int64, error) {
	o.calls++
	if o.vector && o.frame.size() <= smallFrame {
		n, err := nc.Write(o.copied())
		return int64(n), err
	}
	if o.vector && len(vectors) > 1 {
		o.buffers = vectors // WriteTo consumes it
		n, err := o.buffers.WriteTo(nc)
		o.buffers = nil
		return n, err
	}
	if line, ok := nc.(*tlsLine); ok {
		return o.writeRecords(line, vectors)
	}
	if len(vectors) == 1 {
		n, err := nc.Write(vectors[0])
		return int64(n), err
	}
	return o.writeCopied(nc, vectors)
}

// writeCopied writes the vectors to a connection without writev: small ones together, since each
// write may be a packet, a TLS record, a system call.
func (o *outbox) writeCopied(nc net.Conn, vectors net.Buffers) (total int64, err error) {
	if cap(o.scratch) < scratchSize {
		o.scratch = make([]byte, 0, scratchSize)
	}
	put := func(b []byte) bool {
		if len(b) > 0 && err == nil {
			var n int
			n, err = nc.Write(b)
			total += int64(n)
		}
		return err == nil
	}
	joined := o.scratch[:0]
	for _, v := range vectors {
		if len(joined)+len(v) > scratchSize {
			if !put(joined) {
				return total, err
			}
			joined = joined[:0]
		}
		if len(v) < scratchSize {
			joined = append(joined, v...)
		} else if !put(v) {
			return total, err
		}
	}
	put(joined)
	return total, err
}
