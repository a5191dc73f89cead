package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// minShare is the least time that one of several addresses gets.
const minShare = 2 * time.Second

// opResolve is the Op of an Error about a name that has no address.
const opResolve = "resolve"

// dial resolves the node's name, again each time, and tries the addresses in turn. It begins behind
// the one that was dialled last, since that may be the one that does not work. All of it takes the
// set-up time-out at most; each address gets its share of the time that remains.
func (c *conn) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.setup)
	defer cancel()
	addrs, err := c.resolve(ctx)
	if err != nil {
		return nil, c.setupError(ctx, opResolve, err)
	}
	deadline, _ := ctx.Deadline()
	for i, addr := range addrs {
		var nc net.Conn
		c.dialled = addr
		share := max(time.Until(deadline)/time.Duration(len(addrs)-i), minShare)
		if nc, err = c.dialOne(ctx, addr, share); err == nil {
			c.tune(nc)
			return nc, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(addrs) > 1 {
		err = fmt.Errorf("none of %d addresses, at last: %w", len(addrs), err)
	}
	return nil, c.setupError(ctx, "dial", err)
}

func (c *conn) setupError(ctx context.Context, op string, err error) error {
	timeout := false
	if t, ok := errors.AsType[net.Error](err); ok {
		timeout = t.Timeout()
	}
	if timeout || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %v", ErrSetupTimeout, err) // the caller's own contexts did not end: nothing here is context.DeadlineExceeded
	}
	return c.errorf(op, err)
}

func (c *conn) dialOne(ctx context.Context, addr string, share time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	if c.cfg.DialContext != nil {
		return c.cfg.DialContext(ctx, "tcp", addr)
	}
	return c.cfg.dialIP(ctx, "tcp", addr)
}

// resolve returns what to dial: the addresses of the node's name, or the name itself if DialContext is set. The one that
// was dialled last comes last.
func (c *conn) resolve(ctx context.Context) ([]string, error) {
	host, port, err := net.SplitHostPort(c.addr)
	if err != nil {
		return nil, err
	}
	hosts := []string{host}
	if c.bootstrap && c.cfg.CanonicalNames {
		if hosts, err = c.canonical(ctx, host); err != nil {
			return nil, err
		}
	}
	if c.cfg.DialContext == nil {
		if hosts, err = c.lookupAll(ctx, hosts); err != nil {
			return nil, err
		}
	}
	addrs := make([]string, len(hosts))
	for i, h := range hosts {
		addrs[i] = net.JoinHostPort(h, port)
	}
	last := slices.Index(addrs, c.skip)
	return slices.Concat(addrs[last+1:], addrs[:last+1]), nil
}

// lookupAll returns the addresses of all hosts; an error only if there are none.
func (c *conn) lookupAll(ctx context.Context, hosts []string) ([]string, error) {
	var found []string
	var failure error
	for _, host := range hosts {
		addrs, err := c.lookup(ctx, host)
		if err != nil {
			failure = err
		}
		found = append(found, addrs...)
	}
	if len(found) == 0 {
		return nil, failure
	}
	return found, nil
}

// lookup returns the addresses of one host, or the host itself if it is an address.
func (c *conn) lookup(ctx context.Context, host string) ([]string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{host}, nil
	}
	addrs, err := c.cfg.Lookup(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("%s has no address", host)
	}
	return addrs, err
}

// canonical returns the names of the addresses of a host, as Kerberos needs them. An address without a
// name stands for itself.
func (c *conn) canonical(ctx context.Context, host string) ([]string, error) {
	addrs, err := c.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var hosts []string
	for _, addr := range addrs {
		if names, err := c.cfg.LookupAddr(ctx, addr); err == nil && len(names) > 0 {
			addr = strings.TrimSuffix(names[0], ".")
		}
		if !slices.Contains(hosts, addr) {
			hosts = append(hosts, addr)
		}
	}
	return hosts, nil
}

// tune sets the socket's options. One that the system refuses is no reason to fail.
func (c *conn) tune(nc net.Conn) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetNoDelay(true)
	if c.cfg.SendBuffer > 0 {
		_ = tcp.SetWriteBuffer(c.cfg.SendBuffer)
	}
	if c.cfg.ReceiveBuffer > 0 {
		_ = tcp.SetReadBuffer(c.cfg.ReceiveBuffer)
	}
}
