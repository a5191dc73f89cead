package quill_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// The wire between a producer and its nodes, for the tests of bufferpool_reuse_test.go: it keeps every byte, stops
// Produce requests half-way on order, and knows afterwards what each byte should have been.

// wireTap is on all connections of a producer.
type wireTap struct {
	mu sync.Mutex
	// +checklocks:mu
	conns []*tappedConn
	// +checklocks:mu
	stalled string // the address of the node to which Produce requests stop
	// +checklocks:mu
	after  int    // this many bytes
	narrow string // of tcp: the address of the node whose connections buffer little
	// +checklocks:mu
	deaf bool // what comes is kept, and no longer passed on
	// +checklocks:mu
	moved chan struct{} // closed when one of these changes

	pumps sync.WaitGroup // of tcp
	ends  []net.Conn     // of tcp; under mu
}

// tappedConn is one connection as seen from the producer: requests.
type tappedConn struct {
	tap  *wireTap
	addr string
	stop chan struct{} // closed when the producer has closed it

	// under the tap's mutex
	frames [][]byte // whole requests
	frame  []byte   // the beginning of the next
}

func newWireTap() *wireTap { return &wireTap{moved: make(chan struct{})} }

func (w *wireTap) conn(addr string) *tappedConn {
	c := &tappedConn{tap: w, addr: addr, stop: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, c)
	return c
}

// changedLocked wakes those that wait for a change of how requests pass.
//
// +checklocks:w.mu
func (w *wireTap) changedLocked() {
	close(w.moved)
	w.moved = make(chan struct{})
}

// stall stops Produce requests to a node after this many bytes.
func (w *wireTap) stall(addr string, after int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stalled, w.after = addr, after
	w.changedLocked()
}

// squeeze leaves the connections to a node with small buffers.
func (w *wireTap) squeeze(addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.narrow = addr
}

func (w *wireTap) resume() { w.stall("", 0) }

// stopped reports whether a Produce request is being held up.
func (w *wireTap) stopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		if n, _ := w.roomLocked(c); n == 0 && len(c.frame) > 0 {
			return true
		}
	}
	return false
}

// room waits until bytes may pass, and says how many. It is 0 when stop is closed.
func (c *tappedConn) room(stop <-chan struct{}) int {
	for {
		c.tap.mu.Lock()
		n, moved := c.tap.roomLocked(c)
		c.tap.mu.Unlock()
		if n > 0 {
			return n
		}
		select {
		case <-moved:
		case <-stop:
			return 0
		}
	}
}

// roomLocked: up to the API key all may pass, then it is known whether this is a Produce request.
//
// +checklocks:w.mu
func (w *wireTap) roomLocked(c *tappedConn) (int, <-chan struct{}) {
	const head, most = 6, 16 << 10
	if len(c.frame) < head {
		return head - len(c.frame), nil
	}
	rest := frameSize(c.frame) - len(c.frame)
	if c.addr == w.stalled && !w.deaf && binary.BigEndian.Uint16(c.frame[4:]) == uint16(protocol.Produce) {
		rest = min(rest, max(0, w.after-len(c.frame)))
	}
	return min(rest, most), w.moved
}

func frameSize(frame []byte) int { return 4 + int(binary.BigEndian.Uint32(frame)) }

// took keeps what passed. pass reports whether it is to be passed on.
func (c *tappedConn) took(p []byte) (pass bool) {
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	c.frame = append(c.frame, p...)
	if len(c.frame) >= 4 && len(c.frame) == frameSize(c.frame) {
		c.frames, c.frame = append(c.frames, c.frame), nil
	}
	return !c.tap.deaf
}

// pipe taps a connection in the bubble.
func (w *wireTap) pipe(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &tappedPipe{Conn: nc, c: w.conn(addr)}, nil
	}
}

// tappedPipe reads from the writer's memory only when bytes may pass, as the kernel does.
type tappedPipe struct {
	net.Conn
	c    *tappedConn
	once sync.Once
}

func (p *tappedPipe) Write(b []byte) (n int, err error) {
	for n < len(b) {
		room := p.c.room(p.c.stop)
		if room == 0 {
			return n, net.ErrClosed
		}
		piece := bytes.Clone(b[n:min(len(b), n+room)])
		p.c.took(piece)
		wrote, err := p.Conn.Write(piece)
		if n += wrote; err != nil {
			return n, err
		}
	}
	return n, nil
}

func (p *tappedPipe) Close() error {
	p.once.Do(func() { close(p.c.stop) })
	return p.Conn.Close()
}

// tcp connects through a proxy with a small window. What the producer gets is a socket, so it writes
// with writev.
func (w *wireTap) tcp(ctx context.Context, _, addr string) (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	var d net.Dialer
	far, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	nc, err := d.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		far.Close()
		return nil, err
	}
	near, err := l.Accept()
	if err != nil {
		far.Close()
		nc.Close()
		return nil, err
	}
	c := w.conn(addr)
	w.mu.Lock()
	w.ends = append(w.ends, near, far)
	narrow := addr == w.narrow
	w.mu.Unlock()
	if narrow {
		_ = near.(*net.TCPConn).SetReadBuffer(8 << 10) // more would only make the test weaker
	}
	w.pumps.Go(func() { c.up(near, far) })
	w.pumps.Go(func() { // the node's answers
		buf := make([]byte, 16<<10)
		for {
			n, err := far.Read(buf)
			if _, failed := near.Write(buf[:n]); err != nil || failed != nil {
				_ = near.(*net.TCPConn).CloseWrite() // what the producer wrote is still read
				return
			}
		}
	})
	return nc, nil
}

// up passes requests on until the producer closes.
func (c *tappedConn) up(near, far net.Conn) {
	defer near.Close()
	defer far.Close()
	buf := make([]byte, 16<<10)
	for {
		room := c.room(c.stop)
		if room == 0 {
			return
		}
		n, err := near.Read(buf[:room])
		if pass := c.took(buf[:n]); pass {
			_, _ = far.Write(buf[:n]) // whether or not the node is there
		}
		if err != nil {
			return
		}
	}
}

// finish reads what is left on the wire of a producer that was closed, and ends the proxies.
func (w *wireTap) finish() {
	w.mu.Lock()
	w.deaf = true
	w.changedLocked()
	w.mu.Unlock()
	giveUp := time.AfterFunc(5*time.Second, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, nc := range w.ends {
			nc.Close()
		}
	})
	w.pumps.Wait()
	giveUp.Stop()
}

// wireAudit knows what each byte of a Produce request must be.
type wireAudit struct {
	t      *testing.T
	topics map[protocol.UUID]string
	start  time.Time // record n of a partition has this timestamp plus n milliseconds
	chunk  int       // batches are built, and compressed, in pieces of this many bytes, the header's place included; no record lies in two

	whole, cut int // Produce requests
	batches    int
	codecs     map[compress.Codec]*compress.Compressor
}

// check audits all that a tap saw.
func (a *wireAudit) check(w *wireTap) {
	a.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	a.codecs = map[compress.Codec]*compress.Compressor{}
	for _, c := range w.conns {
		for _, frame := range c.frames {
			a.request(frame, true)
		}
		if len(c.frame) > 0 {
			a.request(c.frame, false)
		}
	}
}

// request audits one request, or the beginning of one.
func (a *wireAudit) request(frame []byte, whole bool) {
	a.t.Helper()
	require.NotContains(a.t, string(frame), string(bytes.Repeat([]byte{0xDB}, 8)), "freed memory is on the wire")
	if len(frame) < 6 || binary.BigEndian.Uint16(frame[4:]) != uint16(protocol.Produce) {
		return
	}
	if whole {
		a.whole++
	} else {
		a.cut++
	}
	r := protocol.NewReader(frame[6:])
	version, _, client, tags := r.Int16(), r.Int32(), r.NullableString(), r.Uvarint()
	transaction, acks, timeout, topics := r.CompactNullableString(), r.Int16(), r.Int32(), r.Uvarint()
	if r.Err() == nil {
		require.True(a.t, version == 13 && client != nil && tags == 0 && transaction == nil && acks == -1 && timeout > 0,
			"the request begins with %x", frame[:len(frame)-r.Remaining()])
	}
	for range int(topics) - 1 {
		topic, partitions := a.topics[r.UUID()], r.Uvarint()
		require.True(a.t, topic != "" || r.Err() != nil)
		for range int(partitions) - 1 {
			partition, size := r.Int32(), int(r.Uvarint())-1
			if r.Err() != nil {
				break
			}
			got := r.Rest()
			end := min(len(got), size)
			a.batch(topic, partition, got[:end], size)
			r = protocol.NewReader(got[end:])
			require.True(a.t, r.Uvarint() == 0)
		}
		require.True(a.t, r.Uvarint() == 0)
	}
	require.True(a.t, r.Uvarint() == 0)
	require.True(a.t, !whole || r.Err() == nil && r.Remaining() == 0, "a whole request does not end where it should")
}

// batch audits the beginning of a batch that has size bytes in all: it must be that of the very batch
// which is encoded here once more, from its records.
func (a *wireAudit) batch(topic string, partition int32, got []byte, size int) {
	a.t.Helper()
	if len(got) < protocol.BatchOverhead {
		return // too little to know which batch
	}
	a.batches++
	want := a.encode(topic, partition, got)
	require.Equal(a.t, len(want), size, "size of a batch of %s-%d", topic, partition)
	if !bytes.Equal(want[:len(got)], got) {
		at := 0
		for want[at] == got[at] {
			at++
		}
		a.t.Fatalf("%s-%d: byte %d of %d is foreign: %x, should be %x", topic, partition, at, size, got[at:min(at+16, len(got))], want[at:min(at+16, len(want))])
	}
}

// encode makes the batch that a header belongs to: the timestamp says which records are in it.
func (a *wireAudit) encode(topic string, partition int32, header []byte) []byte {
	a.t.Helper()
	codec := compress.Codec(header[22] & 7)
	var h protocol.BatchHeader
	h.PartitionLeaderEpoch, h.Magic, h.Attributes = -1, 2, int16(codec)
	h.BaseTimestamp = int64(binary.BigEndian.Uint64(header[27:]))
	h.ProducerID, h.ProducerEpoch = int64(binary.BigEndian.Uint64(header[43:])), int16(binary.BigEndian.Uint16(header[51:]))
	h.BaseSequence, h.Count = int32(binary.BigEndian.Uint32(header[53:])), int32(binary.BigEndian.Uint32(header[57:]))
	first := int(h.BaseTimestamp - a.start.UnixMilli())
	require.True(a.t, first >= 0 && first < 1<<20 && h.Count > 0 && h.Count < 1<<16, "header of a batch of %s-%d: %x", topic, partition, header[:protocol.BatchOverhead])
	h.LastOffsetDelta, h.MaxTimestamp = h.Count-1, h.BaseTimestamp+int64(h.Count-1)
	chunks := [][]byte{make([]byte, protocol.BatchOverhead)}
	for i := range h.Count {
		key, value := reuseRecord(topic, partition, first+int(i))
		record := protocol.AppendRecord(nil, i, int64(i), []byte(key), []byte(value), nil)
		last := len(chunks) - 1
		if len(chunks[last])+len(record) > a.chunk {
			chunks, last = append(chunks, nil), last+1
		}
		chunks[last] = append(chunks[last], record...)
	}
	chunks[0] = chunks[0][protocol.BatchOverhead:]
	section := slices.Concat(chunks...)
	if codec != compress.None {
		c := a.codecs[codec]
		if c == nil {
			var err error
			c, err = compress.New(codec, compress.DefaultLevel)
			require.NoError(a.t, err)
			a.codecs[codec] = c
		}
		packed, err := c.Compress(nil, chunks...)
		require.NoError(a.t, err)
		section = packed
	}
	h.Length = int32(protocol.BatchOverhead + len(section) - 12)
	want := append(make([]byte, protocol.BatchOverhead), section...)
	protocol.PutBatchHeader(want, &h)
	protocol.PutBatchCRC(want, protocol.BatchCRC(want))
	return want
}

// reuseRecord returns record n of a partition: nothing in it is like anything in another.
func reuseRecord(topic string, partition int32, n int) (key, value string) {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
	key = fmt.Sprintf("%s-%d-%06d", topic, partition, n)
	rnd := rand.NewPCG(uint64(n), uint64(partition)<<32+uint64(topic[0]))
	b := make([]byte, 200+rnd.Uint64()%(12<<10))
	bits := uint64(0)
	for i := range b {
		if bits == 0 {
			bits = rnd.Uint64()
		}
		if i%512 > 256 {
			b[i] = b[i-200] // it shrinks, but not to nothing
		} else {
			b[i] = letters[bits%64]
			bits >>= 6
		}
	}
	return key, string(b)
}
