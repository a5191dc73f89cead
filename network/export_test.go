package network

import (
	"errors"
	"time"
)

// Usable reports what Ready would, and starts nothing.
func (c *Client) Usable(id int32, now time.Time) bool {
	n := c.nodes[id]
	return n != nil && n.usable(c.cfg.MaxInFlight, now)
}

// InFlightTotal returns the number of requests that are not back yet.
func (c *Client) InFlightTotal() int { return c.inFlight }

// Disconnect closes the node's connection as a failure does.
func (c *Client) Disconnect(id int32, now time.Time) {
	if n := c.nodes[id]; n != nil && (n.state == connecting || n.state == ready) {
		c.fail(n, n.conn.errorf("close", errors.New("closed on request")), now)
	}
}
