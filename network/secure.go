package network

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// tlsLine is a connection with TLS, and what is known of its handshake.
type tlsLine struct {
	*tls.Conn
	cork  cork // below it
	conf  *tls.Config
	asked bool // the node has asked for a certificate of the client
	given bool // and one was given to it
}

// secure makes a TLS connection of one that was dialled. The deadline of nc bounds the handshake, and fail ends it.
func (c *conn) secure(ctx context.Context, nc *unhurried) (secured *tlsLine, failure error) {
	defer func() {
		if v := recover(); v != nil { // a function of the application's in its tls.Config
			failure = c.tlsError(&TLSError{Step: "settings", Err: fmt.Errorf("panic: %v", v), Lasting: true})
		}
	}()
	conf, err := c.tlsConfig(ctx, nc.until)
	if err != nil {
		return nil, c.tlsError(&TLSError{Step: "settings", Err: err,
			Lasting: ctx.Err() == nil && !errors.Is(err, ErrSetupTimeout), Hint: "look at Config.TLS, or the ssl.* properties"})
	}
	line := &tlsLine{conf: conf}
	line.watchCertificate()
	line.cork.Conn = nc
	line.Conn = tls.Client(&line.cork, conf)
	if err := line.HandshakeContext(ctx); err != nil {
		return nil, c.tlsError(c.hungUpOnTLS(ctx, line.explain(err, "handshake"), line, nc.until))
	}
	return line, nil
}

// tlsConfig returns the settings of a new connection.
func (c *conn) tlsConfig(ctx context.Context, until time.Time) (*tls.Config, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	conf, err := c.cfg.TLS(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("%w: %v", ErrSetupTimeout, err) // the caller's own contexts did not end
	case err != nil:
		return nil, err
	case conf == nil:
		conf = new(tls.Config)
	}
	conf = conf.Clone()
	if conf.ServerName == "" {
		conf.ServerName = verifiedName(c.addr)
	}
	conf.DynamicRecordSizingDisabled = true // small records at first are for browsers, which can begin to draw
	conf.Renegotiation = tls.RenegotiateNever
	if conf.ClientSessionCache != nil {
		conf.ClientSessionCache = ownSessions{conf.ClientSessionCache, c.addr}
	}
	return conf, nil
}

// verifiedName returns the host of an address as it is sent to the node and looked for in its certificate: without the
// dot that may end an absolute name, and without the zone of an IPv6 address.
func verifiedName(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	if zone := strings.IndexByte(host, '%'); zone >= 0 && strings.Contains(host, ":") {
		host = host[:zone]
	}
	return strings.TrimSuffix(host, ".")
}

// ownSessions are the sessions in a cache of one node. The cache would go by the name of the host, on which several nodes
// may listen.
type ownSessions struct {
	tls.ClientSessionCache
	addr string
}

// Get implements tls.ClientSessionCache.
func (s ownSessions) Get(key string) (*tls.ClientSessionState, bool) {
	return s.ClientSessionCache.Get(s.addr + " " + key)
}

// Put implements tls.ClientSessionCache.
func (s ownSessions) Put(key string, state *tls.ClientSessionState) {
	s.ClientSessionCache.Put(s.addr+" "+key, state)
}

// watchCertificate notes whether the node asks for a certificate, and gets one. Without it nothing says so, and the
// node's alert about a missing one may be "bad certificate" or "handshake failure".
func (l *tlsLine) watchCertificate() {
	choose := l.conf.GetClientCertificate
	chains := l.conf.Certificates
	l.conf.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		l.asked = true
		cert, err := new(tls.Certificate), error(nil)
		if choose != nil {
			cert, err = choose(info)
		} else {
			for i := range chains { // as crypto/tls does
				if info.SupportsCertificate(&chains[i]) == nil {
					cert = &chains[i]
					break
				}
			}
		}
		l.given = cert != nil && len(cert.Certificate) > 0
		return cert, err
	}
}

// peerState returns the state of the TLS connection for a mechanism; nil if there is none.
func peerState(nc net.Conn) *tls.ConnectionState {
	if line, ok := nc.(*tlsLine); ok {
		return new(line.ConnectionState())
	}
	return nil
}

// alerted returns err of the set-up after the TLS handshake, explained if TLS is what it is about. In TLS 1.3 the client
// has finished before the node has looked at its certificate: that it is refused is read instead of the first answer.
func (c *conn) alerted(line *tlsLine, err error) error {
	if err == errTLSAnswer {
		return c.tlsError(&TLSError{Step: "handshake", Err: err, Lasting: true})
	}
	if err == nil || line == nil {
		return err
	}
	if _, ok := errors.AsType[*AuthenticationError](err); ok {
		return err
	}
	if isAlert(err) {
		return c.tlsError(line.explain(err, "handshake"))
	}
	if line.asked && !line.given && closedByPeer(err) {
		e := line.explain(err, "handshake")
		e.Hint = "the node has asked for a certificate and got none: " + certificateHint
		return c.tlsError(e)
	}
	return err
}

// tlsError returns e as the error of this connection.
func (c *conn) tlsError(e *TLSError) error {
	e.Node, e.Addr = c.id, c.addr
	if errors.Is(e.Err, os.ErrDeadlineExceeded) {
		e.Err = fmt.Errorf("%w: no answer", ErrSetupTimeout)
	}
	return c.errorf("TLS "+e.Step, e)
}

// portOf returns the port of an address, 0 if there is none.
func portOf(addr string) int {
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	return n
}
