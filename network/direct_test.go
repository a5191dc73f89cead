//go:build unix

package network

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// writerless is a connection on a socket without its goroutines: what reaches the node, the test has written.
type writerless struct {
	*conn
	socket *net.TCPConn
	node   net.Conn
	posted []Event
}

func newWriterless(t *testing.T) *writerless {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	node, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close(); node.Close() })
	require.NoError(t, nc.(*net.TCPConn).SetWriteBuffer(16<<10))
	x := &writerless{socket: nc.(*net.TCPConn), node: node}
	cfg := Config{ClientID: "me", Post: func(e Event) { x.posted = append(x.posted, e) }}.withDefaults()
	x.conn = &conn{
		cfg: &cfg, measures: cfg.Measures.node(1), nc: nc,
		stop: make(chan struct{}), bell: make(chan struct{}, 1), cancel: func() {},
	}
	x.out.vector = true
	x.out.direct.allow(nc)
	return x
}

// requires checks that these requests reach the node next.
func (x *writerless) requires(t *testing.T, requests ...*Request) {
	t.Helper()
	require.NoError(t, x.node.SetReadDeadline(time.Now().Add(10*time.Second)))
	for _, r := range requests {
		want := wireOf(r.CorrelationID, r.Exchange.(*layered).parts...)
		got := make([]byte, len(want))
		_, err := io.ReadFull(x.node, got)
		require.NoError(t, err)
		require.True(t, want == string(got), "request %d", r.CorrelationID)
	}
}

// rings reports whether the writer was woken.
func (x *writerless) rings() bool {
	select {
	case <-x.bell:
		return true
	default:
		return false
	}
}

func sized(id int32, n int) *Request {
	return request(id, nil, "head", strings.Repeat(string('a'+id%20), n))
}

func TestASmallRequestLeavesWithoutTheWriter(t *testing.T) {
	x := newWriterless(t)
	one, two := sized(1, 100), sized(2, 2_000)
	x.send(one, true)
	x.send(two, true)
	require.False(t, x.rings())
	x.requires(t, one, two)
	require.True(t, one.MaybeSent)
	require.False(t, x.waiting()[1].writtenAt.IsZero(), "its time runs")
	require.EqualValues(t, 2, x.out.writes)
	x.deliver(2, Event{kind: answered, request: two})
	require.Len(t, x.posted, 1, "an answer does not wait for the writer")
	noAnswer := sized(3, 10)
	noAnswer.NoAnswer = true
	x.send(noAnswer, true)
	require.Equal(t, noAnswer, x.posted[1].request)
}

func TestTheWriterHasWhatIsLargeOrMustWait(t *testing.T) {
	for name, prepare := range map[string]func(x *writerless) *Request{
		"large":                func(*writerless) *Request { return sized(1, smallFrame) },
		"the writer is at it":  func(x *writerless) *Request { x.begin(); return sized(1, 1) },
		"a session that ends":  func(x *writerless) *Request { x.session.due = time.Now(); return sized(1, 1) },
		"not a socket":         func(x *writerless) *Request { x.out.direct.raw = nil; return sized(1, 1) },
		"something else first": func(x *writerless) *Request { x.send(sized(2, smallFrame), true); x.rings(); return sized(1, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			x := newWriterless(t)
			x.send(prepare(x), true)
			require.True(t, x.rings())
			require.NoError(t, x.node.SetReadDeadline(time.Now().Add(time.Millisecond)))
			_, err := x.node.Read(make([]byte, 1))
			require.Error(t, err, "nothing has left")
		})
	}
	x := newWriterless(t)
	x.send(sized(1, 1), false)
	require.True(t, x.rings(), "something is in flight to the node")
}

// The owner is not blocked by a node that does not read. The writer goes on where the owner has stopped.
func TestWhatASocketDoesNotTakeIsLeftToTheWriter(t *testing.T) {
	x := newWriterless(t)
	var sent []*Request
	for id := int32(1); len(x.out.direct.rest) == 0; id++ {
		require.False(t, x.rings())
		require.Less(t, id, int32(100_000), "the socket takes everything")
		r := sized(id, 3_000)
		sent = append(sent, r)
		x.send(r, true)
	}
	require.True(t, x.rings())
	last := sized(100_001, 3_000)
	x.send(last, true) // it queues behind
	large := sized(100_002, 100_000)
	x.send(large, true)
	sent = append(sent, last, large)
	written := make(chan error)
	go func() { written <- x.write(context.Background(), x.socket) }() // ends when the connection fails
	x.requires(t, sent...)
	require.Len(t, x.waiting(), len(sent))
	x.fail(errGoroutineEnded)
	<-written
}

// waiting returns the requests whose answers are to come, once the writer has noted that they were written.
func (x *writerless) waiting() []expected {
	x.writing.Lock()
	defer x.writing.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.awaiting
}

// queued returns how many requests wait for the writer.
func (x *writerless) queued() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.queue)
}

// begin lets the writer be at work.
//
// +checklocksignore
func (x *writerless) begin() { x.writing.Lock() }

func TestABrokenSocketEndsTheConnectionOfWhoWritesToIt(t *testing.T) {
	x := newWriterless(t)
	require.NoError(t, x.socket.Close())
	r := sized(1, 10)
	x.send(r, true)
	require.ErrorIs(t, x.reason(), net.ErrClosed)
	require.False(t, r.MaybeSent)
	require.Len(t, x.waiting(), 1, "it goes back when the connection has ended")
	x.send(sized(2, 10), true)
	require.Equal(t, 1, x.queued())
}

// A request that can't be encoded goes back, and the others leave.
func TestARequestThatIsNotEncodedStopsNoOther(t *testing.T) {
	x := newWriterless(t)
	bad, good := request(1, io.ErrShortBuffer, "bad"), request(2, nil, "good")
	x.send(bad, true)
	x.send(good, true)
	x.requires(t, good)
	require.Len(t, x.posted, 1)
	require.Equal(t, bad, x.posted[0].request)
	require.ErrorIs(t, x.posted[0].err, io.ErrShortBuffer)
	require.False(t, x.rings())
}

func TestSmallRoundTripsDoNotAllocate(t *testing.T) {
	c := newTCPClient(t, tcpNode(t, tcpEcho(100)))
	now := time.Now()
	r := &Request{Exchange: &unallocated{batch: make([]byte, 200)}}
	trip := func() {
		*r = Request{Exchange: r.Exchange, Small: true}
		c.roundTrips(now, r)
	}
	for range 100 {
		trip()
	}
	require.NoError(t, r.Err)
	require.Less(t, testing.AllocsPerRun(200, trip), 1.0)
}

// What authenticates the client is not left behind in the writer's memory, also where a small frame is copied.
func TestTheWriterKeepsNoCopyOfALogin(t *testing.T) {
	x := newWriterless(t)
	x.begin()
	require.NoError(t, x.out.frame.add(request(1, nil, "alice-secret"), "me"))
	x.out.joined = append(x.out.joined, placed{request: request(1, nil), reply: make(chan<- error, 1)})
	require.NoError(t, x.flush(x.socket))
	got := make([]byte, 100)
	n, err := x.node.Read(got)
	require.NoError(t, err)
	require.Contains(t, string(got[:n]), "alice-secret")
	require.NotContains(t, string(x.out.scratch[:cap(x.out.scratch)]), "secret")
	require.NotContains(t, string(x.out.frame.Buf[:cap(x.out.frame.Buf)]), "secret")
}
