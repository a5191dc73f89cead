package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/protocol"
)

// SASL begins when the versions are known: SaslHandshake names the mechanism, then its messages go back and forth in
// SaslAuthenticate. Brokers before 1.0 serve only version 0 of SaslHandshake, behind which the messages travel raw, each with
// its size in front. Java: SaslClientAuthenticator.

const (
	// opAuthenticate is the Op of an Error of SASL.
	opAuthenticate = "authenticate"
	// The steps of an AuthenticationError.
	stepStart, stepHandshake, stepAuthenticate = "start", "SaslHandshake", "SaslAuthenticate"
	// maxMessages bounds the messages of one authentication (H73): no mechanism needs more than a few.
	maxMessages = 32
	// firstSaslID is the first of the correlation ids that are reserved for SASL, as in Java, so that an answer to something
	// else is not taken for one of SASL's.
	firstSaslID = lastCorrelation + 1
)

// dialog is one authentication: what is asked of the node, and how.
type dialog struct {
	conn      *conn
	mechanism sasl.Mechanism
	versions  *versions
	renewal   bool
	raw       bool  // the node does not serve SaslAuthenticate
	lifetime  int64 // of the session, in ms, as the node named it last; 0: without end
	line      net.Conn
	// ask makes a round trip. During the set-up the writer reads the answer itself, later the reader does.
	ask func(req, resp message.Message, version int16) error
}

// authenticate runs SASL during the set-up, synchronously and with a deadline set by the caller.
func (c *conn) authenticate(ctx context.Context, until time.Time, line net.Conn, v *versions) error {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	c.session = session{versions: v, tls: peerState(line)}
	d := c.dialog()
	d.line = line
	d.ask = func(req, resp message.Message, version int16) error { return c.askSasl(line, req, resp, version) }
	s, msg, err := d.start(ctx)
	if err != nil {
		return err
	}
	req, resp := d.handshake()
	if err := d.heard(resp, d.ask(req, resp, d.handshakeVersion())); err != nil {
		return err
	}
	answer, err := d.exchange(msg)
	if err == nil {
		err = d.talk(ctx, s, answer)
	}
	if err == nil {
		c.session.granted(d.lifetime, time.Now())
	}
	return err
}

// dialog returns a dialog that has not begun.
func (c *conn) dialog() *dialog {
	d := &dialog{conn: c, mechanism: c.cfg.SASL, versions: c.session.versions}
	_, _, served := d.versions.get(protocol.SaslAuthenticate)
	d.raw = !served
	return d
}

// start begins the mechanism's part, and returns its first message. In Kafka it is always the client that speaks first, so a
// mechanism that would rather not sends an empty message, as in Java.
func (d *dialog) start(ctx context.Context) (sasl.Session, []byte, error) {
	c := d.conn
	host, _, _ := net.SplitHostPort(c.addr)
	s, initial, err := d.mechanism.Start(ctx, sasl.Peer{Host: host, Port: portOf(c.addr), Node: c.id, TLS: c.session.tls})
	if err == nil && s == nil {
		err = errors.New("the mechanism began no session")
	}
	if err != nil {
		return nil, nil, d.fail(&AuthenticationError{Step: stepStart, Err: err, Lasting: ctx.Err() == nil && !temporary(err)})
	}
	return s, initial, nil
}

// handshake returns the request that names the mechanism to the node, and what takes the answer.
func (d *dialog) handshake() (*message.SaslHandshakeRequest, *message.SaslHandshakeResponse) {
	req, resp := new(message.SaslHandshakeRequest), new(message.SaslHandshakeResponse)
	req.Reset()
	resp.Reset()
	req.Mechanism = d.mechanism.Name()
	return req, resp
}

// heard judges the node's answer to the mechanism's name; err is the error of asking.
func (d *dialog) heard(resp *message.SaslHandshakeResponse, err error) error {
	if err != nil {
		return d.fail(&AuthenticationError{Step: stepHandshake, Err: err})
	}
	if resp.ErrorCode == protocol.None {
		return nil
	}
	e := &AuthenticationError{Step: stepHandshake, Code: resp.ErrorCode, Lasting: true}
	switch resp.ErrorCode {
	case protocol.UnsupportedSaslMechanism:
		e.Offered = kept(resp.Mechanisms)
		e.Hint = d.offeredHint(resp.Mechanisms)
	case protocol.IllegalSaslState:
		e.Hint = "the listener may not use SASL: then leave Config.SASL out (security.protocol PLAINTEXT or SSL)"
	}
	return d.fail(e)
}

// offeredHint says which mechanisms the node has.
func (d *dialog) offeredHint(offered []string) string {
	for _, name := range offered {
		if strings.EqualFold(name, d.mechanism.Name()) {
			return "the node spells it " + foreign.Quote(name) + ": Config.SASL (sasl.mechanism) has to name it so"
		}
	}
	return "the listener has " + nameList(offered) + ": let Config.SASL (sasl.mechanism) be one of these, or enable it in the brokers"
}

// handshakeVersion returns the version of SaslHandshake that announces how messages travel behind it.
func (d *dialog) handshakeVersion() int16 {
	if d.raw {
		return 0
	}
	_, highest, _ := d.versions.get(protocol.SaslHandshake)
	return min(highest, message.SaslHandshakeMaxVersion)
}

// talk answers the node's messages until the mechanism is done; answer is the first of them.
func (d *dialog) talk(ctx context.Context, s sasl.Session, answer []byte) error {
	for range maxMessages {
		response, done, err := s.Next(ctx, answer)
		switch {
		case err != nil:
			return d.refuse(response, err)
		case response == nil && done:
			return nil
		case response == nil:
			return d.fail(&AuthenticationError{Step: stepAuthenticate, Err: errors.New("the mechanism has neither an answer nor an end")})
		case done && d.raw: // the node shows by going on that it agrees
			return d.sent(d.conn.sendRaw(d.line, response))
		}
		if answer, err = d.exchange(response); err != nil {
			return err
		}
		if done && len(answer) > 0 {
			return d.fail(&AuthenticationError{Step: stepAuthenticate, Err: malformed("%d bytes after the mechanism's end", len(answer))})
		}
		if done {
			return nil
		}
	}
	return d.fail(&AuthenticationError{Step: stepAuthenticate, Err: malformed("no end after %d messages", maxMessages)})
}

// refuse ends an authentication in which the mechanism refused what the node says. What it wants the node to know is sent,
// and the node's answer may say more.
func (d *dialog) refuse(response []byte, failure error) error {
	e := &AuthenticationError{Step: stepAuthenticate, Err: failure, Lasting: !temporary(failure)}
	if response != nil {
		if _, err := d.exchange(response); err != nil {
			if more, ok := errors.AsType[*AuthenticationError](err); ok {
				e.Code, e.Detail = more.Code, more.Detail
			}
		}
	}
	return d.fail(e)
}

// exchange sends a message of the mechanism and returns the node's, which is valid until the next.
func (d *dialog) exchange(msg []byte) ([]byte, error) {
	if d.raw {
		err := d.conn.sendRaw(d.line, msg)
		if err != nil {
			return nil, d.sent(err)
		}
		answer, err := d.conn.in.token(d.line)
		return answer, d.sent(err)
	}
	req, resp := d.message(msg)
	return d.answer(resp, d.ask(req, resp, d.messageVersion()))
}

// sent returns err of sending or reading a message as an error of the dialog.
func (d *dialog) sent(err error) error {
	if err == nil {
		return nil
	}
	return d.fail(&AuthenticationError{Step: stepAuthenticate, Err: err})
}

// message returns the request with a message of the mechanism, and what takes the answer.
func (d *dialog) message(msg []byte) (*message.SaslAuthenticateRequest, *message.SaslAuthenticateResponse) {
	req, resp := new(message.SaslAuthenticateRequest), new(message.SaslAuthenticateResponse)
	req.Reset()
	resp.Reset()
	req.AuthBytes = msg
	return req, resp
}

func (d *dialog) messageVersion() int16 {
	_, highest, _ := d.versions.get(protocol.SaslAuthenticate)
	return min(highest, message.SaslAuthenticateMaxVersion)
}

// answer returns the node's message; err is the error of asking.
func (d *dialog) answer(resp *message.SaslAuthenticateResponse, err error) ([]byte, error) {
	if err != nil {
		return nil, d.sent(err)
	}
	if resp.ErrorCode != protocol.None {
		e := &AuthenticationError{Step: stepAuthenticate, Code: resp.ErrorCode}
		if resp.ErrorMessage != nil {
			e.Detail = foreign.Cut(*resp.ErrorMessage, keptText)
		}
		return nil, d.fail(e)
	}
	if resp.SessionLifetimeMs > 0 {
		d.lifetime = resp.SessionLifetimeMs
	}
	return resp.AuthBytes, nil
}

// fail completes an error of the dialog.
func (d *dialog) fail(e *AuthenticationError) error {
	c := d.conn
	e.Node, e.Addr, e.Mechanism, e.Renewal = c.id, c.addr, d.mechanism.Name(), d.renewal
	switch {
	case e.Code == protocol.SaslAuthenticationFailed:
		e.Lasting = true
		e.Hint = credentialsHint(e.Mechanism)
	case e.Code != protocol.None: // the node's own trouble, if not said otherwise
	case e.Lasting:
	case errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, os.ErrDeadlineExceeded):
		e.Err = fmt.Errorf("%w: %v", ErrSetupTimeout, e.Err) // the caller's own contexts did not end
	case closedByPeer(e.Err):
		e.Err = fmt.Errorf("the node closed the connection (%w)", e.Err)
		if d.raw {
			e.Hint = "brokers before 1.0 do so without a word when they refuse; " + credentialsHint(e.Mechanism)
		}
	}
	return c.errorf(opAuthenticate, e)
}

// temporary reports whether a mechanism's error says that it may pass by itself.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// credentialsHint says what may be wrong when the node refuses credentials.
func credentialsHint(mechanism string) string {
	switch {
	case mechanism == "PLAIN":
		return "look at user and password in Config.SASL (sasl.jaas.config)"
	case strings.HasPrefix(mechanism, "SCRAM-"): // a node that does not know a delegation token, or no longer, says no more than that
		return "look at user and password in Config.SASL (sasl.jaas.config); if they are those of a delegation token, it may have expired"
	case mechanism == "OAUTHBEARER":
		return "look at the token's issuer, audience, scope and times, and at this machine's clock (Config.SASL, sasl.oauthbearer.*)"
	}
	return "look at the credentials in Config.SASL (sasl.jaas.config)"
}

// askSasl makes a round trip of the set-up.
func (c *conn) askSasl(nc net.Conn, req, resp message.Message, version int16) error {
	id := c.saslID()
	frame, err := c.ask(nc, req, version, id)
	if err != nil {
		return err
	}
	rd := protocol.NewReader(frame)
	if got := message.DecodeResponseHeader(&rd, req.APIKey(), version); got != id {
		return malformed("correlation id %d, want %d", got, id)
	}
	resp.Decode(&rd, version)
	err = rd.Err()
	if err == nil {
		err = c.spareBytes(&rd, req.APIKey(), version)
	}
	if err != nil {
		return malformed("%v version %d: %w", req.APIKey(), version, err)
	}
	return nil
}

// saslID returns the next correlation id of those reserved for SASL. At most one of each is on its way.
func (c *conn) saslID() int32 {
	id := firstSaslID + c.session.asked%(math.MaxInt32-firstSaslID+1)
	c.session.asked++
	return id
}

// sendRaw sends a message with its size in front.
func (c *conn) sendRaw(line net.Conn, token []byte) error {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, sizeField+len(token)), uint32(len(token)))
	b = append(b, token...)
	_, err := line.Write(b)
	clear(b)
	return err
}

// token reads a message with its size in front, which may be empty.
func (x *frameReader) token(line net.Conn) ([]byte, error) {
	if err := x.want(line, sizeField); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(x.buf[x.r:])))
	if size < 0 || sizeField+size > len(x.buf) {
		return nil, malformed("a message of %d bytes", size)
	}
	if err := x.want(line, sizeField+size); err != nil {
		return nil, err
	}
	token := x.buf[x.r+sizeField : x.r+sizeField+size]
	x.r += sizeField + size
	return token, nil
}
