package network

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/internal/seal"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/protocol"
)

// rig is a client with its owner's loop and a network of scripted peers. It lives in a bubble.
type rig struct {
	*Client
	t    *testing.T
	done []*Request // came back, in order

	playing sync.WaitGroup // peers

	mu sync.Mutex
	// +checklocks:mu
	events []Event
	dials  []string
	peers  map[string]func(*peer) // by address; without one, dialling is refused
	open   map[string][]*trackedConn
	aside  bool // a node may have a second connection, one at a time
}

// bootAddr is the rig's only bootstrap server, node -1.
const bootAddr = "boot:9092"

var errRefused = errors.New("connection refused")

// newRig makes a rig whose bootstrap server plays script (nil: refuses). When the test ends, nothing
// may be left: no goroutine (the bubble sees to that) and no request. No planted secret may be in a log or an error.
func newRig(t *testing.T, script func(*peer), options ...func(*Config)) *rig {
	r := &rig{t: t, peers: map[string]func(*peer){}, open: map[string][]*trackedConn{}}
	if script != nil {
		r.peers[bootAddr] = script
	}
	watch := planted.NewWatch(t, t.Output())
	cfg := Config{
		ClientID: "tester", SoftwareName: "quill test", SoftwareVersion: "v1.2",
		Post: r.post, DialContext: r.dial, Logger: watch.Logger(),
	}
	for _, o := range options {
		o(&cfg)
	}
	r.Client = New(cfg)
	r.random = func() float64 { return 0.5 } // no jitter
	r.SetBootstrap([]string{bootAddr})
	t.Cleanup(func() {
		r.Close()
		r.Wait()
		r.settle()
		r.playing.Wait()
		require.Empty(t, r.opened(), "connections left open")
		require.Zero(t, r.InFlightTotal(), "requests lost")
		require.Len(t, slices.Compact(r.done), len(r.done))
		for _, req := range r.done {
			watch.Check(req.Err)
		}
	})
	return r
}

func (r *rig) post(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *rig) takeEvents() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

func (r *rig) dial(_ context.Context, _, addr string) (net.Conn, error) {
	r.mu.Lock()
	r.dials = append(r.dials, addr)
	script := r.peers[addr]
	r.mu.Unlock()
	if n := r.opened()[addr]; n > 1 || n == 1 && !r.aside {
		r.t.Errorf("connection to %s that has %d", addr, n)
	}
	if script == nil {
		return nil, errRefused
	}
	ours, theirs := net.Pipe()
	p := &peer{theirs}
	r.playing.Go(func() {
		defer theirs.Close()
		script(p)
	})
	tracked := &trackedConn{Conn: ours}
	r.mu.Lock()
	r.open[addr] = append(r.open[addr], tracked)
	r.mu.Unlock()
	return tracked, nil
}

// opened returns how many connections each address has.
func (r *rig) opened() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	live := map[string]int{}
	for addr, conns := range r.open {
		for _, nc := range conns {
			if !nc.closed.Load() {
				live[addr]++
			}
		}
	}
	return live
}

// trackedConn knows whether it was closed, and counts its writes.
type trackedConn struct {
	net.Conn
	closed atomic.Bool
	writes atomic.Int64
}

func (c *trackedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

func (c *trackedConn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// dialled returns how many connections were tried.
func (r *rig) dialled() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.dials)
}

// requireDials holds the number of connections to both bounds: no loop, but tried to the end.
func (r *rig) requireDials(least, most int) {
	r.t.Helper()
	n := r.dialled()
	require.GreaterOrEqual(r.t, n, least)
	require.LessOrEqual(r.t, n, most)
}

// listen sets the script of an address.
func (r *rig) listen(addr string, script func(*peer)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers[addr] = script
}

// settle lets all goroutines run until they wait, and handles what was posted.
func (r *rig) settle() {
	for {
		synctest.Wait()
		events := r.takeEvents()
		if len(events) == 0 {
			return
		}
		for _, e := range events {
			r.done = r.Handle(e, time.Now(), r.done)
		}
	}
}

// pass lets time go by as the owner's loop sees it, ticking when asked to.
func (r *rig) pass(d time.Duration) {
	end := time.Now().Add(d)
	for {
		r.settle()
		var next time.Time
		r.done, next = r.Tick(time.Now(), r.done)
		now := time.Now()
		if !now.Before(end) {
			r.settle()
			return
		}
		step := min(end.Sub(now), 100*time.Millisecond)
		if !next.IsZero() {
			step = min(step, max(next.Sub(now), 0))
		}
		time.Sleep(step)
	}
}

// connect gets the node ready.
func (r *rig) connect(id int32) {
	r.t.Helper()
	for range 100 {
		if r.Ready(id, time.Now()) {
			return
		}
		r.pass(100 * time.Millisecond)
	}
	r.t.Fatalf("node %d does not get ready: %v", id, r.LastError(id))
}

// send sends a request with the body to a node that is ready.
func (r *rig) send(id int32, body string) *Request {
	r.t.Helper()
	require.True(r.t, r.Ready(id, time.Now()))
	req := &Request{Exchange: &echo{out: []byte(body)}}
	r.Send(id, req, time.Now())
	return req
}

// hold keeps the node's writer busy until release, so that what is sent meanwhile is taken at once.
func (r *rig) hold(id int32) (release func()) {
	busy, resume := make(chan struct{}), make(chan struct{})
	plug := &Request{Exchange: &echo{encode: func() error {
		close(busy)
		<-resume
		return io.ErrNoProgress
	}}}
	r.Send(id, plug, time.Now())
	<-busy
	return func() {
		close(resume)
		r.settle()
		require.ErrorIs(r.t, plug.Err, io.ErrNoProgress)
		r.done = slices.DeleteFunc(r.done, func(req *Request) bool { return req == plug })
	}
}

// back waits for the request to come back.
func (r *rig) back(req *Request) {
	r.t.Helper()
	for range 10000 {
		r.settle()
		if slices.Contains(r.done, req) {
			return
		}
		r.pass(10 * time.Millisecond)
	}
	r.t.Fatal("request does not come back")
}

// echo is an Exchange of plain bytes, as a Metadata request of an inflexible version.
type echo struct {
	out, in []byte
	attach  []byte
	encode  func() error
}

func (*echo) Sealed(seal.Key)          {}
func (*echo) APIKey() protocol.APIKey  { return protocol.Metadata }
func (*echo) Versions() (int16, int16) { return 1, 8 }

func (e *echo) Encode(f *Frame, _ int16) error {
	f.Buf = append(f.Buf, e.out...)
	f.Attach(e.attach)
	if e.encode != nil {
		return e.encode()
	}
	return nil
}

func (e *echo) Decode(r *protocol.Reader, _ int16) error {
	e.in = slices.Clone(r.Rest())
	if string(e.in) == "malformed" {
		return protocol.ErrMalformed
	}
	return nil
}

// peer is the other end of a connection. Its methods end the script when the connection is gone.
type peer struct {
	net.Conn
}

// asked is a request as the peer got it.
type asked struct {
	key     protocol.APIKey
	version int16
	id      int32
	client  string
	body    []byte
}

func (p *peer) must(err error) {
	if err != nil {
		p.Close()
		runtime.Goexit()
	}
}

// request reads one request.
func (p *peer) request() asked {
	var size [4]byte
	_, err := io.ReadFull(p, size[:])
	p.must(err)
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err = io.ReadFull(p, b)
	p.must(err)
	rd := protocol.NewReader(b)
	var q asked
	q.key, q.version, q.id, q.client = message.DecodeRequestHeader(&rd)
	q.body = rd.Rest()
	return q
}

// frame returns a complete answer on the wire.
func frame(id int32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	return append(binary.BigEndian.AppendUint32(b, uint32(id)), body...)
}

func (p *peer) raw(b ...byte) {
	_, err := p.Write(b)
	p.must(err)
}

func (p *peer) answer(id int32, body string) { p.raw(frame(id, []byte(body))...) }

// versionsAnswer returns what an ordinary broker serves.
func versionsAnswer() *message.APIVersionsResponse {
	m := new(message.APIVersionsResponse)
	m.Reset()
	m.APIKeys = []message.APIVersion{
		{APIKey: 0, MinVersion: 3, MaxVersion: 12}, {APIKey: 3, MinVersion: 0, MaxVersion: 13},
		{APIKey: 18, MinVersion: 0, MaxVersion: 4}, {APIKey: 22, MinVersion: 0, MaxVersion: 5},
	}
	m.FinalizedFeaturesEpoch = 7
	m.FinalizedFeatures = []message.FinalizedFeatureKey{{Name: "transaction.version", MaxVersionLevel: 2, MinVersionLevel: 0}}
	return m
}

// versions answers one ApiVersions request.
func (p *peer) versions(m *message.APIVersionsResponse) asked {
	q := p.request()
	p.answer(q.id, string(m.Append(nil, q.version)))
	return q
}

// handshake does what an ordinary broker does first.
func (p *peer) handshake() { p.versions(versionsAnswer()) }

// echoes plays a node that answers every request with its own body.
func echoes(p *peer) {
	p.handshake()
	for {
		q := p.request()
		p.answer(q.id, string(q.body))
	}
}

// mute plays a node that accepts requests and never answers them.
func mute(p *peer) {
	p.handshake()
	for {
		p.request()
	}
}

// silent plays a peer that accepts connections and says nothing at all (KAFKA-13388).
func silent(p *peer) {
	_, err := io.Copy(io.Discard, p)
	p.must(err)
}

func nodes(list ...metadata.Node) func(func(metadata.Node) bool) { return slices.Values(list) }

// bubble runs a test in a bubble.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// lockedBuffer is a buffer that goroutines may share.
type lockedBuffer struct {
	mu sync.Mutex
	// +checklocks:mu
	b []byte
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	return len(p), nil
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}
