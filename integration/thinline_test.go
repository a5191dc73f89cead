package integration

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/ledger"
)

// TestAThinLineIsNotCut fills the buffer of a producer whose line to the node passes on 600 KB a second, much less than
// five requests of a megabyte each in request.timeout.ms. Java's producer closes such a connection again and again, since the
// clocks of requests run while these wait to be written, and sends everything once more each time. After a while the
// line gets wide, so that the rest is delivered soon.
func TestAThinLineIsNotCut(t *testing.T) {
	const thinFor = 13 * time.Second
	c := oneNode(t)
	topic := newTopic(t, c, "thin-line", 100) // a batch of each is more than max.request.size
	l := ledger.New(ledger.Plan{Run: 80, Streams: 4, PerStream: 12_000, ValueSize: 1000})
	line := startThinLine(t, 600_000)
	p := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), RequestTimeout: 3 * time.Second, DialContext: line.dial})
	ctx := within(t, 3*time.Minute)
	sending := &load{producer: p, topic: topic, ledger: l}
	var running sync.WaitGroup
	running.Go(func() { sending.run(ctx) })
	time.Sleep(thinFor)
	thin, dialled := line.passed.Load(), line.dialled.Load()
	line.rate.Store(1 << 40)
	running.Wait()
	require.NoError(t, p.Flush(ctx))
	totals := l.Totals()
	t.Logf("%d KB in %v, %d connections; in the end %d, %d acknowledged, failures %v", thin/1000, thinFor, dialled, line.dialled.Load(), totals.Acknowledged, totals.Failures)
	require.Empty(t, totals.Failures)
	require.Zero(t, totals.Open)
	// To the bootstrap server, to the node, and one for metadata. A loaded machine may be slow enough for one more; it was 16.
	require.LessOrEqual(t, line.dialled.Load(), int64(4))
	audit(t, c, l, topic, "none", rulesOf())
}

// thinLine is a proxy for connections that share a line of so many bytes a second towards the nodes.
type thinLine struct {
	listener net.Listener
	rate     atomic.Int64 // bytes a second
	passed   atomic.Int64 // bytes
	dialled  atomic.Int64 // connections

	mu sync.Mutex // the line: one connection at a time sends on it
	// +checklocks:mu
	freeAt time.Time
}

// startThinLine returns a line that ends with the test.
func startThinLine(t *testing.T, rate int64) *thinLine {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &thinLine{listener: listener}
	l.rate.Store(rate)
	t.Cleanup(func() { _ = listener.Close() })
	return l
}

// dial connects to a node through the line.
func (l *thinLine) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	node, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock() // the connections are accepted in the order of their dialling
	defer l.mu.Unlock()
	near, err := new(net.Dialer).DialContext(ctx, network, l.listener.Addr().String())
	if err != nil {
		_ = node.Close()
		return nil, err
	}
	far, err := l.listener.Accept()
	if err != nil {
		_ = near.Close()
		_ = node.Close()
		return nil, err
	}
	l.dialled.Add(1)
	_ = far.(*net.TCPConn).SetReadBuffer(64 << 10) // what waits waits at the producer
	go func() {                                    // ends with either connection
		_, _ = io.Copy(&metered{line: l, to: node}, onlyReader{far})
		_ = node.Close()
		_ = far.Close()
	}()
	go func() { // likewise
		_, _ = io.Copy(far, node)
		_ = node.Close()
		_ = far.Close()
	}()
	return near, nil
}

// onlyReader has Copy write through the meter.
type onlyReader struct{ io.Reader }

// metered passes on what the line has time for.
type metered struct {
	line *thinLine
	to   net.Conn
}

// Write implements io.Writer.
func (m *metered) Write(b []byte) (int, error) {
	time.Sleep(time.Until(m.line.reserve(len(b))))
	m.line.passed.Add(int64(len(b)))
	return m.to.Write(b)
}

// reserve returns when n more bytes will have passed the line.
func (l *thinLine) reserve(n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.freeAt.Before(now) {
		l.freeAt = now
	}
	l.freeAt = l.freeAt.Add(time.Duration(n) * time.Second / time.Duration(l.rate.Load()))
	return l.freeAt
}
