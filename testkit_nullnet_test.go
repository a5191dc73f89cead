package quill

import (
	"context"
	"fmt"
	"iter"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// Connections to nodes that cost nothing, in the process, for benchmarks of the engine as a whole: a
// request is encoded by its node's goroutine, as a connection's writer does, and is then answered
// without a look at its bytes. All that is asked for exists.

type nullNet struct {
	t     testing.TB
	box   *inbox
	nodes int                // in the metadata
	size  func(t string) int // partitions of a topic; partition p is led by node p modulo leaders
	leads int

	slots map[int32]int // requests in flight by node; the sender's alone
	lines map[int32]chan *network.Request
	known []metadata.Node
	wg    sync.WaitGroup
	calls map[string]int // what the sender asked, for tests; nil: not counted
	topic map[string]*message.MetadataResponseTopic

	mu sync.Mutex
	// +checklocks:mu
	posts []*network.Request
	// +checklocks:mu
	offsets int64
}

const nullInFlight = 5

// newNullEngine returns a running engine over such nodes. It is closed with the test.
func newNullEngine(t testing.TB, cfg Config, nodes, leads int, size func(topic string) int) (*Producer[[]byte, []byte], *nullNet) {
	e, n := assembleNull(t, cfg, nodes, leads, size)
	if e.cfg.codec != compress.None {
		e.sender.sealer.crew.hire(e.box)
	}
	go e.dispatch.run()
	go e.sender.run()
	p, err := newView[[]byte, []byte](e, Bytes, Bytes, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close(context.Background())) })
	return p, n
}

// assembleNull returns an engine over such nodes that does not run.
func assembleNull(t testing.TB, cfg Config, nodes, leads int, size func(topic string) int) (*engine, *nullNet) {
	cfg.BootstrapServers = []string{"null:9092"}
	cfg.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }
	e, err := assemble(cfg)
	require.NoError(t, err)
	n := &nullNet{t: t, box: e.box, nodes: nodes, leads: leads, size: size, slots: map[int32]int{}, lines: map[int32]chan *network.Request{},
		topic: map[string]*message.MetadataResponseTopic{}}
	e.sender.client = n
	return e, n
}

// known sends the topics' first records, so that nothing is looked up any more.
func nullKnown(t testing.TB, p *Producer[[]byte, []byte], topics ...string) {
	for _, topic := range topics {
		_, err := p.PartitionsFor(context.Background(), topic)
		require.NoError(t, err)
	}
}

func (n *nullNet) count(what string) {
	if n.calls != nil {
		n.calls[what]++
	}
}

// line returns the queue of a node, whose goroutine it starts if there is none; that ends with Close.
func (n *nullNet) line(id int32) chan *network.Request {
	line := n.lines[id]
	if line == nil {
		line = make(chan *network.Request, nullInFlight)
		n.lines[id] = line
		n.wg.Go(func() {
			var f network.Frame
			for r := range line {
				f = network.Frame{Buf: f.Buf[:0]}
				r.Err = r.Exchange.Encode(&f, r.Version)
				n.post(r)
			}
		})
	}
	return line
}

func (n *nullNet) post(r *network.Request) {
	n.mu.Lock()
	if r.Err == nil {
		n.answerLocked(r)
	}
	n.posts = append(n.posts, r)
	n.mu.Unlock()
	n.box.post(network.Event{})
}

// +checklocks:n.mu
func (n *nullNet) answerLocked(r *network.Request) {
	if p, ok := r.Exchange.(*produceRequest); ok {
		n.offsets += 1 << 20
		p.response.Reset()
		accept(p, n.offsets)
		return
	}
	switch res := r.Exchange.(*network.Message).Response.(type) {
	case *message.MetadataResponse:
		n.describeLocked(r.Exchange.(*network.Message).Request.(*message.MetadataRequest), res)
	case *message.InitProducerIDResponse:
		res.ProducerID, res.ProducerEpoch = 7, 0
	}
}

// accept is the answer that all batches are in the log.
func accept(r *produceRequest, offset int64) {
	at := 0
	for _, t := range r.topics {
		var answer *message.TopicProduceResponse
		if have := len(r.response.Responses); have < cap(r.response.Responses) {
			r.response.Responses = r.response.Responses[:have+1]
			answer = &r.response.Responses[have]
			answer.Reset()
		} else {
			r.response.Responses = append(r.response.Responses, message.TopicProduceResponse{})
			answer = &r.response.Responses[have]
		}
		answer.TopicID = t.id
		for _, b := range r.batches[at : at+t.n] {
			p := answered(protocol.None, offset)
			p.Index = b.queue.index
			answer.PartitionResponses = append(answer.PartitionResponses, p)
		}
		at += t.n
	}
}

// +checklocks:n.mu
func (n *nullNet) describeLocked(req *message.MetadataRequest, res *message.MetadataResponse) {
	res.Reset()
	for id := range int32(n.nodes) {
		res.Brokers = append(res.Brokers, message.MetadataResponseBroker{NodeID: id, Host: fmt.Sprint("node-", id), Port: 9092})
	}
	for _, asked := range req.Topics {
		name := *asked.Name
		t := n.topic[name]
		if t == nil {
			t = &message.MetadataResponseTopic{Name: &name, TopicID: [16]byte{1, byte(len(n.topic)), byte(len(n.topic) >> 8)}}
			for p := range int32(n.size(name)) {
				t.Partitions = append(t.Partitions, message.MetadataResponsePartition{PartitionIndex: p, LeaderID: p % int32(n.leads)})
			}
			n.topic[name] = t
		}
		res.Topics = append(res.Topics, *t)
	}
}

// SetNodes implements connections.
func (n *nullNet) SetNodes(nodes iter.Seq[metadata.Node]) {
	n.count("SetNodes")
	n.known = n.known[:0]
	for node := range nodes {
		n.known = append(n.known, node)
	}
}

// Ready implements connections.
func (n *nullNet) Ready(id int32, _ time.Time) bool {
	n.count("Ready")
	return n.slots[id] < nullInFlight
}

// Connected implements connections.
func (n *nullNet) Connected(int32) bool { n.count("Connected"); return true }

// InFlight implements connections.
func (n *nullNet) InFlight(id int32) int { n.count("InFlight"); return n.slots[id] }

// CanRetryAt implements connections.
func (n *nullNet) CanRetryAt(int32, time.Time) (at time.Time) { n.count("CanRetryAt"); return at }

// Denied implements connections.
func (n *nullNet) Denied() network.Denial { return network.Denial{} }

// Inspect implements connections.
func (n *nullNet) Inspect(time.Time) []inspect.Node { return nil }

// NoBroker implements connections.
func (n *nullNet) NoBroker() error { return nil }

// LeastLoaded implements connections.
func (n *nullNet) LeastLoaded(now time.Time) (int32, bool, time.Time) {
	n.count("LeastLoaded")
	return 0, n.slots[0] < nullInFlight, now
}

// Soonest implements connections.
func (n *nullNet) Soonest(now time.Time) (int32, bool, time.Time) { return n.LeastLoaded(now) }

// LastError implements connections.
func (n *nullNet) LastError(int32) error { return nil }

// Trouble implements connections.
func (n *nullNet) Trouble() error { return nil }

// Unreachable implements connections.
func (n *nullNet) Unreachable() bool { return false }

// Throttle implements connections.
func (n *nullNet) Throttle(int32, time.Duration, time.Time) {}

// Send implements connections.
func (n *nullNet) Send(id int32, r *network.Request, _ time.Time) {
	n.count("Send")
	n.slots[id]++
	_, r.Version = r.Exchange.Versions()
	r.Node = id
	n.line(id) <- r // has room for all that may be in flight
}

// Handle implements connections.
func (n *nullNet) Handle(_ network.Event, _ time.Time, done []*network.Request) []*network.Request {
	n.mu.Lock()
	r := n.posts[0]
	n.posts = slices.Delete(n.posts, 0, 1)
	n.mu.Unlock()
	n.slots[r.Node]--
	return append(done, r)
}

// Tick implements connections.
func (n *nullNet) Tick(_ time.Time, done []*network.Request) ([]*network.Request, time.Time) {
	n.count("Tick")
	return done, time.Time{}
}

// Rebootstrap implements connections.
func (n *nullNet) Rebootstrap(time.Time) {}

// Close implements connections.
func (n *nullNet) Close() {
	for _, line := range n.lines {
		close(line)
	}
}

// Wait implements connections.
func (n *nullNet) Wait() { n.wg.Wait() }

// Versions implements connections: it is not called.
func (n *nullNet) Versions(int32, protocol.APIKey) (lowest, highest int16, ok bool) {
	return 0, 0, false
}

// Features implements connections.
func (n *nullNet) Features(int32, string) (level int16, ok bool) { return 0, false }

// Overdue, CatchUp and Behind implement connections: nothing is ever late.
func (n *nullNet) Overdue(time.Time) bool           { return false }
func (n *nullNet) CatchUp(time.Duration, time.Time) {}
func (n *nullNet) Behind() bool                     { return false }

// Busy implements connections: it is not called.
func (n *nullNet) Busy(int32, time.Time) error { return nil }

func (n *nullNet) Unanswered(time.Time) error { return nil }

// Unresolved implements connections.
func (n *nullNet) Unresolved() error { return nil }
