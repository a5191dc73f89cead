package network

import (
	"cmp"
	"slices"
	"time"

	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/protocol"
)

// Inspect returns what there is to see of the nodes and their connections, by id. It allocates, and is meant for people who look
// into a producer.
func (c *Client) Inspect(now time.Time) []inspect.Node {
	nodes := make([]inspect.Node, 0, len(c.nodes))
	for _, n := range c.nodes {
		nodes = append(nodes, n.inspect(now))
	}
	slices.SortFunc(nodes, func(a, b inspect.Node) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(btoi(a.Second), btoi(b.Second)))
	})
	return nodes
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (n *node) inspect(now time.Time) inspect.Node {
	x := inspect.Node{ID: n.id, Address: n.addr, Second: n.isAside(), Connection: n.state.String(), InFlight: len(n.inFlight),
		Throttle: max(0, n.throttledTo.Sub(now)), Failures: n.failures, Answered: n.answeredAt, Transaction: -1}
	switch n.state {
	case connecting:
		x.Since = n.attemptAt
	case ready:
		x.Since = n.readyAt
	case down:
		x.RetryIn = max(0, n.retryAt.Sub(now))
	}
	if len(n.inFlight) > 0 {
		x.Waits = now.Sub(n.inFlight[0].SentAt)
	}
	if n.err != nil {
		x.LastError = n.err.Error()
	}
	if n.versions != nil {
		x.Versions = n.versions.inspect()
		if level, ok := n.versions.features["transaction.version"]; ok {
			x.Transaction = level
		}
	}
	return x
}

// inspect lists the versions of the APIs that are served.
func (v *versions) inspect() (served []inspect.Version) {
	for key := range protocol.APIKey(trackedAPIs) {
		if lowest, highest, ok := v.get(key); ok {
			served = append(served, inspect.Version{API: key.String(), Lowest: lowest, Highest: highest})
		}
	}
	return served
}
