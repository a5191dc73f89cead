package network

import (
	"net"
	"syscall"
)

// smallFrame is how many bytes are copied into one piece rather than written in several. No more than that is written
// without the writer.
const smallFrame = 8 << 10

// direct is how the owner of a connection writes a small request itself when nothing else is on its way to the node: then no
// goroutine has to be woken for it. It tries once, without blocking. What the socket does not take is left to the writer.
type direct struct {
	raw  syscall.RawConn              // nil: the connection does not allow it (TLS, one of the application's)
	once func(fd uintptr) (done bool) // for raw.Write; made once, since it would be allocated each time
	data []byte                       // what once writes
	n    int                          // how much of it was written
	err  error                        // why the rest was not; nil if the socket was full
	rest []byte                       // what the writer has to write before anything else
}

// allow lets the owner write to nc, if it is a socket of the system.
func (d *direct) allow(nc net.Conn) {
	s, ok := nc.(syscall.Conn)
	if !ok || attempt == nil {
		return
	}
	if raw, err := s.SyscallConn(); err == nil {
		d.raw = raw
		d.once = func(fd uintptr) bool {
			d.n, d.err = attempt(fd, d.data)
			return true // even if the socket was full: false would block until it is not
		}
	}
}

// write writes what a socket takes of b at once.
func (d *direct) write(b []byte) (int, error) {
	d.data, d.n, d.err = b, 0, nil
	err := d.raw.Write(d.once)
	if err == nil {
		err = d.err
	}
	return d.n, err
}

// sendNow writes what is queued without the writer, as long as that is little and the writer has nothing to do. It reports
// whether all of it has left; else the writer has to be woken. Called by the owner, which it does not block.
//
// +checklocksignore: it knows no TryLock.
func (c *conn) sendNow() bool {
	if !c.writing.TryLock() {
		return false
	}
	defer c.writing.Unlock()
	return c.writeSmall()
}

// writeSmall is sendNow for who holds c.writing.
func (c *conn) writeSmall() bool {
	o := &c.out
	if o.direct.raw == nil || !c.session.due.IsZero() || o.unfinished() || !c.take() {
		return false
	}
	for _, r := range o.taken {
		c.join(r)
	}
	if len(o.joined) == 0 {
		return true
	}
	if o.frame.size() > smallFrame {
		return false
	}
	c.announce()
	o.calls++
	all := o.copied()
	n, err := o.direct.write(all)
	if n < len(all) && err == nil {
		o.direct.rest = all[n:]
		return false
	}
	if err = c.written(int64(n), err); err != nil {
		c.fail(c.asError("write", err))
	}
	return true
}

// unfinished reports whether the owner has left something to the writer.
func (o *outbox) unfinished() bool { return len(o.joined) > 0 }

// finish writes what the owner has left.
func (c *conn) finish(nc net.Conn) error {
	o := &c.out
	if len(o.direct.rest) == 0 {
		return c.flush(nc)
	}
	before := o.frame.size() - len(o.direct.rest)
	o.calls++
	n, err := nc.Write(o.direct.rest)
	o.direct.rest = nil
	return c.written(int64(before+n), err)
}

// copied returns the bytes of a small frame in one piece.
func (o *outbox) copied() []byte {
	o.scratch = o.scratch[:0]
	for _, v := range o.frame.Vectors() {
		o.scratch = append(o.scratch, v...)
	}
	return o.scratch
}
