package network

import (
	"math"
	"time"
)

// A node answers the requests of one connection one after the other, and Produce waits for replicas. A request that
// a caller waits for would queue behind those, for as long as they take together. So there may be one
// connection more, to one of the nodes: the aside. It is a node of its own in Client.nodes, under a key that no node of
// a cluster has, with the id and the address of the node that it leads to; it is made, kept and closed as all others
// are. Nothing depends on it: if it is not ready soon, LeastLoaded's choice takes the request.

const (
	// asideKey is the id of the aside in Ready, Send and so on. The ids of nodes are not negative, those of
	// bootstrap servers are small.
	asideKey = math.MinInt32
	// asideHead is how long the first connection that is made is waited for.
	asideHead = 15 * time.Millisecond
	// stuckAfter is how long a node's oldest request may be unanswered until other nodes are preferred.
	stuckAfter = time.Second
	// asidePatience is how long an answer on the aside may take until requests go elsewhere: its node may be dead.
	asidePatience = 100 * time.Millisecond
)

// asideCase says whether the aside can take a request that a caller waits for.
type asideCase uint8

const (
	asideNotNeeded asideCase = iota // the node that LeastLoaded chooses has nothing in flight, or there is none
	asideMissing                    // there is none, or it has failed and may be made again
	asideComing                     // it is being made for the first time, and has its head start
	asideFree                       // it is ready, with nothing in flight
	asideAnswering                  // it has a request in flight, but not for long
	asideMisled                     // it is free, but leads to a node that does not answer, while the chosen one does
	asideOfNoUse                    // it takes no requests, or does not answer
)

// asideFor decides whether the aside can take a request that otherwise goes to busy; nil means that no node can take it.
func (c *Client) asideFor(busy *node, now time.Time) asideCase {
	a := c.nodes[asideKey]
	switch {
	case busy == nil || busy.id < 0 || busy.state != ready || len(busy.inFlight) == 0:
		return asideNotNeeded
	case a == nil || a.state == down && a.canConnect(now):
		return asideMissing
	case a.state == connecting && a.failures == 0 && a.attemptAt.Add(asideHead).After(now):
		return asideComing
	case !a.usable(c.cfg.MaxInFlight, now):
		return asideOfNoUse
	case len(a.inFlight) > 0 && a.inFlight[0].SentAt.Add(asidePatience).After(now):
		return asideAnswering
	case len(a.inFlight) > 0:
		return asideOfNoUse
	}
	if home := c.nodes[a.id]; home != busy && home.stuck(now) && !busy.stuck(now) {
		return asideMisled
	}
	return asideFree
}

// Soonest chooses a node for a request that a caller waits for. It returns LeastLoaded's choice unless that has requests
// in flight; then it returns the aside, if that is ready. If not, it starts the aside and returns ok false until retryAt or
// the end of the attempt, but not for long, and not after an attempt has failed. A node without requests in flight is as
// good, so a client whose nodes are idle has no further connection. If the aside has a request in flight, retryAt is when
// another node will be chosen.
func (c *Client) Soonest(now time.Time) (id int32, ok bool, retryAt time.Time) {
	id, ok, retryAt = c.LeastLoaded(now)
	busy := c.nodes[id]
	if !ok {
		busy = c.leastFull(now)
	}
	a := c.nodes[asideKey]
	switch c.asideFor(busy, now) {
	case asideFree:
		return asideKey, true, now
	case asideAnswering:
		return asideKey, true, a.inFlight[0].SentAt.Add(asidePatience)
	case asideComing:
		return 0, false, a.attemptAt.Add(asideHead)
	case asideMissing:
		if a = c.connectAside(busy, now); a.failures == 0 {
			return 0, false, now.Add(asideHead)
		}
	case asideMisled:
		c.closeIdle(a) // the next aside leads to another node
	case asideNotNeeded, asideOfNoUse:
	}
	return id, ok, retryAt
}

// leastFull returns the node with the fewest requests in flight among those that could take one if they had a free
// slot; nil if there is none.
func (c *Client) leastFull(now time.Time) (least *node) {
	for _, n := range c.nodeList {
		if n.usable(math.MaxInt, now) && (least == nil || len(n.inFlight) < len(least.inFlight)) {
			least = n
		}
	}
	return least
}

// connectAside connects the aside to a node, which may be another one than the last time. It copies what is known of the
// node to the aside, whose back-off goes on, and returns the aside.
func (c *Client) connectAside(to *node, now time.Time) *node {
	a := c.nodes[asideKey]
	if a == nil {
		a = &node{key: asideKey}
		c.nodes[asideKey] = a
	}
	a.id, a.addr = to.id, to.addr
	a.throttledTo, a.hangUps, a.answered = to.throttledTo, to.hangUps, to.answered
	a.spare.Store(to.spare.Load())
	c.connect(a, now)
	return a
}

// beside returns the node with the other connection to the same broker; nil if there is none.
func (c *Client) beside(n *node) *node {
	if n.isAside() {
		return c.nodes[n.id]
	}
	if a := c.nodes[asideKey]; a != nil && a.id == n.id {
		return a
	}
	return nil
}

// stuck reports whether the node's oldest request has been unanswered for stuckAfter.
func (n *node) stuck(now time.Time) bool {
	return len(n.inFlight) > 0 && now.Sub(n.inFlight[0].SentAt) >= stuckAfter
}

// isAside reports whether the node is the aside.
func (n *node) isAside() bool { return n.key == asideKey }

// led reports whether the node that the aside leads to is still in the cluster, at the same address. Called within setNodes.
func (c *Client) led(a *node) bool {
	to := c.nodes[a.id]
	return to != nil && to.seen == c.generation && to.addr == a.addr
}

// forget removes a node that has no connection.
func (c *Client) forget(n *node) { delete(c.nodes, n.key) }
