package network

import (
	"errors"
	"iter"
	"net"
	"strconv"
	"time"

	"github.com/quill-kafka/quill/metadata"
)

// SetBootstrap sets the servers ("host:port") to begin with; they are the nodes -1, -2 and so on
// until SetNodes. Call it once, before anything else.
func (c *Client) SetBootstrap(servers []string) {
	c.bootstrap = servers
	c.setNodes(c.bootstrapNodes())
}

// bootstrapNodes walks the bootstrap servers as nodes.
func (c *Client) bootstrapNodes() iter.Seq2[int32, string] {
	return func(yield func(int32, string) bool) {
		for i, server := range c.bootstrap {
			if !yield(int32(-1-i), server) {
				return
			}
		}
	}
}

// SetNodes replaces the nodes by those of the cluster. A node with another address under its id
// gets a new connection, and that of a node which is not named is closed, both when nothing is in
// flight to them. An empty set changes nothing.
func (c *Client) SetNodes(nodes iter.Seq[metadata.Node]) {
	c.setNodes(func(yield func(int32, string) bool) {
		for n := range nodes {
			if !yield(n.ID, net.JoinHostPort(n.Host, strconv.Itoa(int(n.Port)))) {
				return
			}
		}
	})
}

func (c *Client) setNodes(nodes iter.Seq2[int32, string]) {
	c.generation++
	order := make([]*node, 0, len(c.nodes))
	for id, addr := range nodes {
		n := c.nodes[id]
		if n == nil {
			n = &node{key: id, id: id, addr: addr}
			c.nodes[id] = n
		}
		if n.seen == c.generation {
			continue
		}
		n.seen, n.gone = c.generation, false
		order = append(order, n)
		c.setAddr(n, addr)
	}
	if len(order) == 0 {
		return
	}
	c.nodeList = order
	for _, n := range c.nodes {
		if n.seen != c.generation && !(n.isAside() && c.led(n)) {
			n.gone = true
			c.drain(n)
		}
	}
}

// setAddr notes the node's address. A connection that leads elsewhere is drained.
func (c *Client) setAddr(n *node, addr string) {
	if n.addr != addr {
		if n.err != nil {
			c.trouble = n.err // until another connection has failed, or is ready
		}
		c.cfg.Logger.Info("node has moved", n.name(), "from", n.addr, "to", addr)
		n.addr, n.lastTried = addr, ""
		n.failures, n.failedDials, n.missed, n.answered, n.err = 0, 0, false, false, nil
		switch n.state {
		case down:
			n.become(idle)
		case closing:
			n.planned = true // why it is closed says nothing about the new address
		}
	}
	n.draining = false
	if n.conn != nil && n.conn.addr != addr {
		c.drain(n)
	}
}

// drain lets no more requests onto the node's connection and closes it when it has none. A node that
// is gone and has no connection is forgotten.
func (c *Client) drain(n *node) {
	n.draining = true
	switch {
	case n.conn == nil:
		if n.gone {
			c.forget(n)
		}
	case n.state != closing && len(n.inFlight) == 0:
		c.closeIdle(n)
	}
}

// Rebootstrap forgets the cluster and begins again with the bootstrap servers: all connections are
// closed, and their requests come back as disconnected (KIP-899, KIP-1102). When the bootstrap
// servers are the nodes already, it does nothing, so that their back-offs count.
func (c *Client) Rebootstrap(now time.Time) {
	bootstrapping := true
	for _, n := range c.nodeList {
		bootstrapping = bootstrapping && n.id < 0
	}
	if bootstrapping || c.closed {
		return
	}
	trouble := c.Trouble() // kept: that connections are closed now is no failure
	c.cfg.Logger.Info("going back to the bootstrap servers", "servers", len(c.bootstrap))
	for _, n := range c.nodes {
		if n.state == connecting || n.state == ready {
			c.fail(n, n.conn.errorf("rebootstrap", errors.New("going back to the bootstrap servers")), now)
		}
	}
	c.setNodes(c.bootstrapNodes())
	c.trouble = trouble
}

// LeastLoaded chooses a node for a request that any node can answer: the usable one with the fewest
// requests in flight, else one that is being connected to, else the one whose last attempt is
// longest ago. Call Ready with it. If no node qualifies, ok is false and retryAt is when one will,
// zero if only an event can change that. When many attempts in a row have failed there is a growing
// pause before the next, even at another node: all nodes of a long list may be wrong.
func (c *Client) LeastLoaded(now time.Time) (id int32, ok bool, retryAt time.Time) {
	var up, coming, next *node
	if len(c.nodeList) == 0 || c.closed {
		return 0, false, time.Time{}
	}
	offset := min(int(c.random()*float64(len(c.nodeList))), len(c.nodeList)-1)
	for i := range c.nodeList {
		n := c.nodeList[(offset+i)%len(c.nodeList)]
		switch {
		case n.usable(c.cfg.MaxInFlight, now):
			if up == nil || len(n.inFlight) < len(up.inFlight) {
				up = n
			}
			if len(up.inFlight) == 0 {
				return up.id, true, now
			}
		case n.state == connecting && !n.draining:
			if coming == nil || coming.attemptAt.Before(n.attemptAt) {
				coming = n // the latest is the least likely to hang
			}
		case n.canConnect(now):
			if next == nil || n.attemptAt.Before(next.attemptAt) {
				next = n
			}
		default:
			if at := n.canRetryAt(now); !at.IsZero() && (retryAt.IsZero() || at.Before(retryAt)) {
				retryAt = at
			}
		}
	}
	switch {
	case up != nil:
		return up.id, true, now
	case coming != nil && (next == nil || !coming.hanging(now)):
		return coming.id, true, now
	case next != nil && !c.pausedUntil.After(now):
		return next.id, true, now
	case next != nil && (retryAt.IsZero() || c.pausedUntil.Before(retryAt)):
		return 0, false, c.pausedUntil
	}
	return 0, false, retryAt
}
