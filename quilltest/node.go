package quilltest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/quill-kafka/quill/protocol"
)

// A node is one broker: an address, its connections, and whether it runs.
type node struct {
	cluster *Cluster // set by newNode, read-only after
	id      int32
	rack    string

	mu sync.Mutex // held for memory work only
	// host and port are set by the first start and kept over stops.
	// +checklocks:mu
	host string
	// +checklocks:mu
	port int32
	// +checklocks:mu
	up bool
	// +checklocks:mu
	listener net.Listener // nil with pipes
	// +checklocks:mu
	conns map[*conn]struct{}
	// gate is not nil while the node is paused; resuming closes it.
	// +checklocks:mu
	gate chan struct{}
	// lost: dialing hangs while the gate is there.
	// +checklocks:mu
	lost bool
}

// With pipes a node's address is a name that exists nowhere (RFC 6761), so that a client without the
// cluster's DialContext fails at once instead of dialing, and its error says what is missing.
const (
	pipeDomain = ".set-dialcontext-to-that-of-the-quilltest-cluster.invalid"
	pipeHost   = "node-%d" + pipeDomain
	pipePort   = 9092
	relocation = 100
)

func newNode(c *Cluster, id int32) *node {
	n := &node{cluster: c, id: id, conns: make(map[*conn]struct{})}
	if c.opts.Pipes {
		n.host, n.port = fmt.Sprintf(pipeHost, id), pipePort
	}
	return n
}

func (n *node) address() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return joinHostPort(n.host, n.port)
}

// advertised returns the address that clients are given.
func (n *node) advertised() (host string, port int32) {
	host, port = n.endpoint()
	if advertise := n.cluster.opts.Advertise; advertise != nil {
		host, port = advertise(n.id, host, port)
	}
	return host, port
}

// endpoint returns the address in parts.
func (n *node) endpoint() (host string, port int32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host, n.port
}

func (n *node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up
}

// start makes the node reachable, under its old address if it had one.
func (n *node) start() error {
	if n.running() {
		return nil
	}
	if n.cluster.opts.Pipes {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.up = true
		return nil
	}
	addr := "127.0.0.1:0"
	if host, port := n.endpoint(); host != "" {
		addr = joinHostPort(host, port)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("quilltest: node %d: %w", n.id, err)
	}
	n.mu.Lock()
	bound := l.Addr().(*net.TCPAddr)
	n.host, n.port = bound.IP.String(), int32(bound.Port)
	n.listener, n.up = l, true
	n.mu.Unlock()
	if !n.cluster.goUnlessClosed(func() { n.accept(l) }) {
		return errors.Join(net.ErrClosed, n.stop())
	}
	return nil
}

// accept runs until stop closes the listener.
func (n *node) accept(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		n.serve(nc)
	}
}

// serve starts a connection, or closes it if the node has stopped.
func (n *node) serve(nc net.Conn) bool {
	c := newConn(n, nc)
	n.mu.Lock()
	up := n.up
	if up {
		n.conns[c] = struct{}{}
	}
	n.mu.Unlock()
	if up && n.cluster.goUnlessClosed(c.serve) {
		return true
	}
	c.close()
	return false
}

// dialPipe connects in process.
func (n *node) dialPipe() (net.Conn, error) {
	_, port := n.endpoint()
	server := &net.TCPAddr{IP: net.IPv4(192, 0, 2, byte(n.id)), Port: int(port)} // TEST-NET-1 (RFC 5737)
	id := n.cluster.nextConn.Load() + 1
	local := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 255), Port: int(1024 + id%60000)}
	client, remote := pipe(local, server)
	if !n.serve(remote) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: server, Err: errRefused}
	}
	return client, nil
}

// stop closes the listener and cuts the connections.
func (n *node) stop() error {
	n.mu.Lock()
	l := n.listener
	n.listener, n.up = nil, false
	n.mu.Unlock()
	n.resume()
	n.disconnect()
	if l != nil {
		return l.Close()
	}
	return nil
}

func (n *node) disconnect() {
	n.mu.Lock()
	conns := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	clear(n.conns)
	n.mu.Unlock()
	for _, c := range conns {
		c.close()
	}
}

// forget drops a connection that has closed itself.
func (n *node) forget(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

func (n *node) pause(lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost = lost
	if n.gate == nil {
		n.gate = make(chan struct{})
	}
}

func (n *node) resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gate != nil {
		close(n.gate)
		n.gate, n.lost = nil, false
	}
}

// unreachable returns a channel that is closed when the node can be dialed, nil if it can now.
func (n *node) unreachable() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.lost {
		return nil
	}
	return n.gate
}

// paused returns a channel that is closed when the node goes on, nil if it is not paused.
func (n *node) paused() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.gate
}

// dress puts TLS around a server's connection if the cluster has it.
func (n *node) dress(nc net.Conn) net.Conn {
	if cfg := n.cluster.opts.TLS; cfg != nil {
		return saying{tls.Server(nc, cfg)}
	}
	return nc
}

// saying is a server's connection with TLS that says so to a client that speaks something else, as Kafka's nodes do by Java's
// SSLEngine; Go's only hang up.
type saying struct{ *tls.Conn }

// unexpectedMessage is an alert of TLS.
var unexpectedMessage = []byte{21, 3, 3, 0, 2, 2, 10}

// Read implements net.Conn.
func (s saying) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if no, ok := errors.AsType[tls.RecordHeaderError](err); ok && no.Conn != nil {
		_, _ = no.Conn.Write(unexpectedMessage) // a client that does not listen is gone
	}
	return n, err
}

func (c *Cluster) node(id int32) (*node, error) {
	if id < 1 || int(id) > len(c.nodes) {
		return nil, fmt.Errorf("quilltest: node %d: %w", id, protocol.BrokerNotAvailable)
	}
	return c.nodes[id-1], nil
}

func (c *Cluster) running(id int32) bool {
	n, err := c.node(id)
	return err == nil && n.running()
}

// NodeIDs returns the ids of all nodes, running or not.
func (c *Cluster) NodeIDs() []int32 {
	ids := make([]int32, 0, len(c.nodes))
	for _, n := range c.nodes {
		ids = append(ids, n.id)
	}
	return ids
}

// NodeAddr returns a node's host:port. It is empty for a node that does not exist.
func (c *Cluster) NodeAddr(id int32) string {
	n, err := c.node(id)
	if err != nil {
		return ""
	}
	return n.address()
}

// StopNode kills a node: its partitions get another leader from the replicas in sync, or none; its
// connections are cut; new ones are refused. Requests it had not begun to append are lost.
func (c *Cluster) StopNode(id int32) error {
	n, err := c.node(id)
	if err != nil {
		return err
	}
	defer c.changed.fire()
	err = n.stop()
	for _, p := range c.allPartitions() {
		p.nodeStopped(id, c.running)
	}
	return err
}

// StartNode starts a stopped node under its old address. Its replicas are in sync at once; it leads
// only what has no leader.
func (c *Cluster) StartNode(id int32) error {
	n, err := c.node(id)
	if err != nil {
		return err
	}
	defer c.changed.fire()
	if err := n.start(); err != nil {
		return err
	}
	for _, p := range c.allPartitions() {
		p.nodeStarted(id, c.running)
	}
	c.resumeTransactions()
	return nil
}

// RelocateNode restarts a node under a new address, as when a container comes back with another IP.
// NodeAddr has the new one.
func (c *Cluster) RelocateNode(id int32) error {
	n, err := c.node(id)
	if err != nil {
		return err
	}
	if err := c.StopNode(id); err != nil {
		return err
	}
	n.mu.Lock()
	if c.opts.Pipes {
		n.port += relocation
	} else {
		n.host, n.port = "", 0
	}
	n.mu.Unlock()
	return c.StartNode(id)
}

// PauseNode freezes a node as SIGSTOP does: connections stay and new ones are accepted, bytes are
// taken as far as buffers go, nothing is answered. Leaders do not move by themselves.
func (c *Cluster) PauseNode(id int32) error {
	n, err := c.node(id)
	if err == nil {
		n.pause(false)
	}
	return err
}

// CutOffNode is PauseNode for a network that drops all packets: in addition, DialContext hangs
// until the node resumes or its ctx ends.
func (c *Cluster) CutOffNode(id int32) error {
	n, err := c.node(id)
	if err == nil {
		n.pause(true)
	}
	return err
}

// ResumeNode lets a paused or cut off node go on with what has arrived.
func (c *Cluster) ResumeNode(id int32) error {
	n, err := c.node(id)
	if err == nil {
		n.resume()
	}
	return err
}

// Disconnect cuts all connections of a node, which runs on.
func (c *Cluster) Disconnect(id int32) error {
	n, err := c.node(id)
	if err == nil {
		n.disconnect()
	}
	return err
}

// allPartitions returns the partitions of all topics.
func (c *Cluster) allPartitions() []*partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*partition
	for _, t := range c.topics {
		all = append(all, t.partitions...)
	}
	return all
}
