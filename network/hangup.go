package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// A node that hangs up without a word may restart, or have other settings than this client: Kafka's listeners without TLS do so
// when they get a TLS handshake, those with SASL at a request before a login. Java's client tries again until max.block.ms is over.
// Here the node is asked which of the two it is, so that a wrong setting is reported at once, with the setting to change:
//
//   - after a TLS handshake: by a request for the versions, without TLS, on a connection of its own, which is closed then. A node
//     that answers it speaks plaintext. The request holds nothing of this client's, not even its id, and the answer changes no
//     more than the error: nothing else is ever sent in the clear.
//   - after the first request without a login: by a SaslHandshake without a mechanism, on the next connection. A listener with
//     SASL answers with its mechanisms, another one that it has none (ILLEGAL_SASL_STATE), and the connection is used.

// hangUpPatience is how long a node may take to answer the question without TLS.
const hangUpPatience = 2 * time.Second

// hungUpOnTLS returns e, the error of a handshake on which the node hung up before it said anything; explained, if the node turns
// out to speak plaintext. A node with which TLS has worked once is not asked.
func (c *conn) hungUpOnTLS(ctx context.Context, e *TLSError, line *tlsLine, until time.Time) *TLSError {
	if !c.unproven || !closedByPeer(e.Err) || line.ConnectionState().Version != 0 {
		return e
	}
	_ = line.NetConn().Close() // a node never has two connections of this kind
	if !c.speaksPlaintext(ctx, until) {
		return e
	}
	e.Err = fmt.Errorf("%w: the listener speaks plaintext: %w", ErrWrongProtocol, e.Err)
	e.Hint, e.Lasting = "leave Config.TLS out (security.protocol PLAINTEXT or SASL_PLAINTEXT), or name a listener with TLS", true
	return e
}

// speaksPlaintext reports whether the node answers a request for its versions without TLS.
func (c *conn) speaksPlaintext(ctx context.Context, until time.Time) bool {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	ctx, cancelToo := context.WithTimeout(ctx, hangUpPatience)
	defer cancelToo()
	nc, err := c.dialOne(ctx, c.dialled, hangUpPatience)
	if err != nil {
		return false
	}
	defer func() { _ = nc.Close() }()
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })() // also when the client is closed
	const asked = 0
	b := message.AppendRequestHeader(make([]byte, sizeField), protocol.APIVersions, asked, c.correlation, "")
	binary.BigEndian.PutUint32(b, uint32(len(b)-sizeField))
	if _, err := nc.Write(b); err != nil {
		return false
	}
	var in frameReader
	frame, err := in.next(nc, min(maxHandshake, c.cfg.MaxResponse))
	if err != nil {
		return false
	}
	rd := protocol.NewReader(frame)
	id := message.DecodeResponseHeader(&rd, protocol.APIVersions, asked)
	var resp message.APIVersionsResponse
	resp.Reset()
	resp.Decode(&rd, asked)
	return rd.Err() == nil && id == c.correlation
}

// errLoginWanted is the cause of an AuthenticationError about a listener that wants a login.
var errLoginWanted = errors.New("the listener wants a login (SASL), and none is configured")

// wantsLogin asks a node that has hung up on the first request whether it wants a login, and returns the error that says so.
func (c *conn) wantsLogin(line net.Conn, v *versions) error {
	_, highest, served := v.get(protocol.SaslHandshake)
	if c.cfg.SASL != nil || !c.loginDoubt || !served {
		return nil
	}
	req, resp := new(message.SaslHandshakeRequest), new(message.SaslHandshakeResponse)
	req.Reset()
	resp.Reset()
	if err := c.askSasl(line, req, resp, min(highest, message.SaslHandshakeMaxVersion)); err != nil {
		return c.errorf("ask whether the listener wants SASL", err)
	}
	if resp.ErrorCode != protocol.UnsupportedSaslMechanism {
		return nil
	}
	c.reach(authenticating) // for the log
	return c.errorf(opAuthenticate, &AuthenticationError{Node: c.id, Addr: c.addr, Step: stepHandshake, Err: errLoginWanted, Lasting: true,
		Offered: kept(resp.Mechanisms), Hint: "it has " + nameList(resp.Mechanisms) +
			": set Config.SASL (security.protocol SASL_SSL or SASL_PLAINTEXT, sasl.mechanism, sasl.jaas.config), or name a listener without SASL"})
}
