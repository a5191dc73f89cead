package network

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/protocol"
)

// tcpNode returns a node on a real socket. It answers as echoes does, without allocating.
func tcpNode(t testing.TB, serve func(net.Conn)) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() { // ends when the listener is closed
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				serve(nc)
			}()
		}
	}()
	return l.Addr().String()
}

// tcpEcho answers each request with a body of the given size.
func tcpEcho(answer int) func(net.Conn) {
	return func(nc net.Conn) {
		(&peer{nc}).handshake()
		in, out := make([]byte, 4<<20), make([]byte, 8+answer)
		binary.BigEndian.PutUint32(out, uint32(4+answer))
		for {
			if _, err := io.ReadFull(nc, in[:4]); err != nil {
				return
			}
			body := in[:binary.BigEndian.Uint32(in)]
			if _, err := io.ReadFull(nc, body); err != nil {
				return
			}
			copy(out[4:8], body[4:8]) // the correlation id
			if _, err := nc.Write(out); err != nil {
				return
			}
		}
	}
}

// tcpClient is a client with one bootstrap server, connected.
type tcpClient struct {
	*Client
	events chan Event
	done   []*Request
}

func newTCPClient(t testing.TB, addr string, options ...func(*Config)) *tcpClient {
	c := &tcpClient{events: make(chan Event, 1000)}
	cfg := Config{Post: func(e Event) { c.events <- e }, SendBuffer: 128 << 10, ReceiveBuffer: 32 << 10}
	for _, o := range options {
		o(&cfg)
	}
	c.Client = New(cfg)
	c.SetBootstrap([]string{addr})
	t.Cleanup(func() {
		c.Close()
		c.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); !c.Ready(-1, time.Now()); {
		require.True(t, time.Now().Before(deadline))
		select {
		case e := <-c.events:
			c.Handle(e, time.Now(), nil)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return c
}

// roundTrips sends the requests and waits for all of them.
func (c *tcpClient) roundTrips(now time.Time, reqs ...*Request) {
	for _, r := range reqs {
		c.Send(-1, r, now)
	}
	c.done = c.done[:0]
	for len(c.done) < len(reqs) {
		c.done = c.Handle(<-c.events, now, c.done)
	}
}

// unallocated is an Exchange like Produce: a header, a batch that is not copied, an answer that is
// read in place.
type unallocated struct {
	echo
	batch []byte
	got   int
}

func (u *unallocated) Encode(f *Frame, _ int16) error {
	f.Buf = append(f.Buf, "header"...)
	f.Attach(u.batch)
	f.Buf = append(f.Buf, 0)
	return nil
}

func (u *unallocated) Decode(r *protocol.Reader, _ int16) error {
	u.got = len(r.Rest())
	return nil
}

func TestRealSockets(t *testing.T) {
	c := newTCPClient(t, tcpNode(t, tcpEcho(3_000_000)))
	now := time.Now()
	var reqs []*Request
	for range 5 {
		reqs = append(reqs, &Request{Exchange: &echo{out: []byte("header"), attach: bytes.Repeat([]byte("x"), 700_000)}})
	}
	c.roundTrips(now, reqs...)
	require.Equal(t, reqs, c.done)
	for _, r := range reqs {
		require.NoError(t, r.Err)
		require.Len(t, r.Exchange.(*echo).in, 3_000_000)
	}
}

// NetworkClientTest.testFailedConnectionToFirstAddress, with the plain dialer.
func TestRealDialerTriesAllAddresses(t *testing.T) {
	addr := tcpNode(t, tcpEcho(10))
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	c := newTCPClient(t, "kafka.test:"+port, func(c *Config) {
		c.Lookup = hosts(map[string][]string{"kafka.test": {"127.0.0.2", "127.0.0.1"}})
	})
	require.Equal(t, addr, c.nodes[-1].conn.dialled)
}

func TestResetConnectionIsNoticed(t *testing.T) {
	addr := tcpNode(t, func(nc net.Conn) {
		p := &peer{nc}
		p.handshake()
		p.request()
		_ = nc.(*net.TCPConn).SetLinger(0)
	})
	c := newTCPClient(t, addr)
	r := &Request{Exchange: &echo{}}
	c.roundTrips(time.Now(), r)
	require.ErrorIs(t, r.Err, ErrDisconnected)
	require.True(t, r.MaybeSent)
}

// A peer that stops reading blocks the writer; the time-out gets the memory back all the same.
func TestBlockedWriterIsFreedByTheTimeout(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	addr := tcpNode(t, func(nc net.Conn) {
		(&peer{nc}).handshake()
		<-stop
	})
	c := newTCPClient(t, addr)
	now := time.Now()
	r := &Request{Exchange: &echo{attach: make([]byte, 64<<20)}}
	behind := &Request{Exchange: &echo{}}
	c.Send(-1, r, now)
	c.Send(-1, behind, now)
	time.Sleep(50 * time.Millisecond)
	require.Empty(t, c.events)
	_, next := c.Tick(now, nil)
	require.Equal(t, now.Add(30*time.Second), next)
	next = next.Add(20 * time.Second) // parts of the request may have been written since now
	c.Tick(next, nil)
	c.done = c.Handle(<-c.events, next, nil)
	require.Equal(t, []*Request{r, behind}, c.done)
	require.ErrorIs(t, r.Err, ErrRequestTimeout)
	require.True(t, r.MaybeSent)
}

func TestRoundTripsDoNotAllocate(t *testing.T) {
	c := newTCPClient(t, tcpNode(t, tcpEcho(100)))
	now := time.Now()
	batch := make([]byte, 10_000)
	reqs := make([]*Request, 5)
	for i := range reqs {
		reqs[i] = &Request{Exchange: &unallocated{batch: batch}}
	}
	trip := func() {
		for _, r := range reqs {
			*r = Request{Exchange: r.Exchange}
		}
		c.roundTrips(now, reqs...)
	}
	for range 100 {
		trip()
	}
	require.NoError(t, reqs[4].Err)
	require.Less(t, testing.AllocsPerRun(200, trip), 1.0)
}

func BenchmarkRoundTrip(b *testing.B) {
	c := newTCPClient(b, tcpNode(b, tcpEcho(60)))
	now := time.Now()
	r := &Request{Exchange: &unallocated{batch: make([]byte, 200)}}
	b.ReportAllocs()
	for b.Loop() {
		c.roundTrips(now, r)
	}
	if r.Err != nil {
		b.Fatal(r.Err)
	}
}

func BenchmarkPipelined(b *testing.B) {
	c := newTCPClient(b, tcpNode(b, tcpEcho(60)))
	now := time.Now()
	var reqs []*Request
	for range 5 {
		reqs = append(reqs, &Request{Exchange: &unallocated{batch: make([]byte, 200_000)}})
	}
	b.SetBytes(1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		c.roundTrips(now, reqs...)
	}
}
