package network

import (
	"net"
	"sync"
)

// A TLS connection makes a record, and a write, of each call and of each 16 KiB. So what goes out is joined into full records,
// and the records of one flush are collected below TLS:
//
//	pieces of a frame ─▶ records of 16 KiB ─▶ tls.Conn ─▶ cork ─▶ socket
//
// A piece that fills records is not copied; what is left of it is joined with the beginning of the next.

const (
	// recordSize is what a TLS record holds at most (RFC 8446, section 5.1).
	recordSize = 16 << 10
	// corkSize is how much is collected below TLS: a few records with what TLS adds to each. More is not faster, since it no longer
	// stays in the processor's own cache.
	corkSize = 4 * (recordSize + 64)
)

// writeRecords writes the vectors to a TLS connection, in full records and few writes.
func (o *outbox) writeRecords(line *tlsLine, vectors net.Buffers) (total int64, err error) {
	size := 0
	for _, v := range vectors {
		size += len(v)
	}
	if size > recordSize { // else it is one write anyway
		line.cork.put()
		defer func() {
			if failure := line.cork.pull(); err == nil {
				err = failure
			}
		}()
	}
	put := func(b []byte) bool {
		if len(b) > 0 && err == nil {
			var n int
			n, err = line.Conn.Write(b)
			total += int64(n)
		}
		return err == nil
	}
	joined := o.scratch[:0]
	for _, v := range vectors {
		if len(joined) > 0 {
			n := min(recordSize-len(joined), len(v))
			joined, v = append(joined, v[:n]...), v[n:]
			if len(joined) < recordSize {
				continue
			}
			if !put(joined) {
				return total, err
			}
			joined = joined[:0]
		}
		full := len(v) - len(v)%recordSize
		if !put(v[:full]) {
			return total, err
		}
		if v = v[full:]; len(v) > 0 {
			if o.scratch == nil {
				o.scratch = make([]byte, 0, recordSize)
				joined = o.scratch
			}
			joined = append(joined, v...)
		}
	}
	put(joined)
	return total, err
}

// cork is the connection below TLS. Between put and pull it collects what is written. The reader writes too: TLS answers
// a change of keys, between two records of the writer's.
type cork struct {
	net.Conn

	mu sync.Mutex // held while writing, too, so that records stay in order
	// +checklocks:mu
	in bool
	// +checklocks:mu
	joined []byte
}

// put makes Write collect.
func (k *cork) put() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.in = true
	if k.joined == nil {
		k.joined = make([]byte, 0, corkSize)
	}
}

// pull writes what was collected, and lets Write write.
func (k *cork) pull() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.in = false
	return k.drainLocked()
}

// drainLocked writes what was collected.
//
// +checklocks:k.mu
func (k *cork) drainLocked() error {
	if len(k.joined) == 0 {
		return nil
	}
	_, err := k.Conn.Write(k.joined)
	k.joined = k.joined[:0]
	return err
}

// Write implements net.Conn.
func (k *cork) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.in {
		return k.Conn.Write(b)
	}
	if len(k.joined)+len(b) > cap(k.joined) {
		if err := k.drainLocked(); err != nil {
			return 0, err
		}
	}
	if len(b) > cap(k.joined) {
		return k.Conn.Write(b)
	}
	k.joined = append(k.joined, b...)
	return len(b), nil
}
