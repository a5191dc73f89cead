package null

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/bench/driver"
	"github.com/quill-kafka/quill/quilltest"
)

// Topic is a topic that the cluster has from the start. Partition p is led by node p modulo nodes.
type Topic struct {
	Name       string
	Partitions int
}

// Options say what cluster to start. The zero value of each field is its default.
type Options struct {
	Nodes   int           // if zero, 3
	Port    int           // of the first node, the others follow; if zero, any that are free
	Topics  []Topic       // if nil, DefaultTopics
	Latency time.Duration // how long every answer is held back
	Verify  bool          // look at whole batches, not only at their headers
	TLS     bool          // speak TLS 1.3 with AES-128-GCM; clients trust CA
}

// DefaultTopics are what the workloads of this module need.
var DefaultTopics = []Topic{{"t12", 12}, {"t1000", 1000}, {"t1", 1}}

// Cluster is a running null cluster. Its methods may be called concurrently.
type Cluster struct {
	nodes  []*node // read-only after Start
	topics []*topic
	byName map[string]*topic
	byID   map[[16]byte]*topic

	latency    atomic.Int64 // nanoseconds
	verify     atomic.Bool
	producerID atomic.Int64

	badRequests   atomic.Int64 // not understood, or for a partition that is not here
	otherRequests atomic.Int64
	transactions  atomic.Int64 // that were ended
	accepted      atomic.Int64

	ca  []byte         // PEM; nil without TLS
	tls *tls.Config    // nil without TLS
	wg  sync.WaitGroup // accepting and serving goroutines

	mu sync.Mutex
	// +checklocks:mu
	open map[net.Conn]struct{}
	// +checklocks:mu
	closed bool
}

type node struct {
	id int32
	ln *net.TCPListener
}

func (n *node) port() int { return n.ln.Addr().(*net.TCPAddr).Port }

// Start starts a cluster on 127.0.0.1. It runs until Close.
func Start(o Options) (*Cluster, error) {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Topics == nil {
		o.Topics = DefaultTopics
	}
	c := &Cluster{byName: map[string]*topic{}, byID: map[[16]byte]*topic{}, open: map[net.Conn]struct{}{}}
	c.SetLatency(o.Latency)
	c.SetVerify(o.Verify)
	if o.TLS {
		authority := quilltest.NewCA()
		c.ca, c.tls = authority.PEM(), driver.OnlyAES128(authority.ServerConfig())
	}
	for i, t := range o.Topics {
		nt := newTopic(t, byte(i+1))
		c.topics = append(c.topics, nt)
		c.byName[nt.name], c.byID[nt.id] = nt, nt
	}
	for i := range o.Nodes {
		port := 0
		if o.Port != 0 {
			port = o.Port + i
		}
		ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("null node %d: %w", i, err), c.Close())
		}
		c.nodes = append(c.nodes, &node{id: int32(i), ln: ln})
	}
	for _, n := range c.nodes {
		c.wg.Go(func() { c.accept(n) })
	}
	return c, nil
}

// Addrs are the nodes' addresses.
func (c *Cluster) Addrs() []string {
	var a []string
	for _, n := range c.nodes {
		a = append(a, net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port())))
	}
	return a
}

// CA returns the authority that a client of a cluster with TLS must trust, as PEM; nil without TLS. It is made by Start.
func (c *Cluster) CA() []byte { return c.ca }

// SetLatency holds back answers from now on for d.
func (c *Cluster) SetLatency(d time.Duration) { c.latency.Store(int64(d)) }

// SetVerify switches the look at whole batches on or off.
func (c *Cluster) SetVerify(on bool) { c.verify.Store(on) }

// Close stops the cluster and waits until nothing of it runs any more.
func (c *Cluster) Close() error {
	c.mu.Lock()
	c.closed = true
	conns := c.open
	c.open = nil
	c.mu.Unlock()
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.ln.Close())
	}
	for nc := range conns {
		_ = nc.Close()
	}
	c.wg.Wait()
	return errors.Join(errs...)
}

// accept ends when the listener is closed.
func (c *Cluster) accept(n *node) {
	for {
		nc, err := n.ln.AcceptTCP()
		if err != nil {
			return
		}
		if !c.admit(nc) {
			_ = nc.Close()
			return
		}
		c.accepted.Add(1)
		c.wg.Go(func() { c.serve(n, nc) })
	}
}

func (c *Cluster) admit(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.open[nc] = struct{}{}
	return true
}

func (c *Cluster) serve(n *node, nc *net.TCPConn) {
	k := newConn(c, n, nc)
	if c.tls != nil {
		secure := tls.Server(nc, c.tls)
		k.nc, k.in = secure, newStream(secure) // the handshake is part of the first read
	}
	ctx, cancel := context.WithCancel(context.Background())
	err := k.run(ctx)
	cancel()
	_ = nc.Close()
	k.wg.Wait()
	if errors.Is(err, errBadRequest) {
		c.badRequests.Add(1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, nc)
}
