package network

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/protocol"
)

// A node may say for how long it takes a client for who it is (KIP-368). Before that time is over the client authenticates
// again on the same connection:
//
//	writer:  … request · request · ┆ SaslHandshake · SaslAuthenticate ┆   wait   ┆ request · request …
//	reader:      … answer · answer · answer · ┆ answers of SASL ┆ answer …
//
// From SaslHandshake until it agrees the node takes nothing else, so the writer holds requests back meanwhile: for one round
// trip if the mechanism needs one message, and for that the first of them goes out with the handshake. Nothing is held back
// while the mechanism begins, which may take as long as fetching a token does. As in Java it is a write that begins it: a
// connection that is idle is left alone.

const (
	// renewFrom and renewSpread say which part of a session's life passes before it is renewed: 85 to 95 %, by chance, so
	// that connections don't do it all at once.
	renewFrom, renewSpread = 0.85, 0.10
	// leastRest is how much of a session is left at least when it is renewed, unless that is more than half of it. The node takes
	// requests one after the other, and hangs up on one that it comes to after the session's end: those in flight when SaslHandshake
	// is sent need their time. Of sessions of 40 seconds and more, 5 % are as much.
	leastRest = 2 * time.Second
	// leastRenewal is the least time between two renewals: brokers refuse more than one a second.
	leastRenewal = 1100 * time.Millisecond
	// renewRetry is how long a mechanism that could not begin is left alone while the session goes on.
	renewRetry = time.Second
)

// session is for how long the node takes the client for who it is. The writer's.
type session struct {
	versions *versions
	tls      *tls.ConnectionState
	asked    int32      // correlation ids used for SASL
	due      time.Time  // a write begins to renew it from then on; zero: never
	ends     time.Time  // the node may refuse requests from then on
	coming   chan begun // where the mechanism's beginning comes; nil if it has not been asked for
	warned   bool
}

// begun is an authentication that the mechanism has begun.
type begun struct {
	session sasl.Session
	initial []byte
	err     error
}

// granted notes that the node agreed, for lifetime milliseconds; 0 or less means for ever, as does a time that no clock counts.
func (s *session) granted(lifetime int64, now time.Time) {
	s.due, s.ends, s.warned = time.Time{}, time.Time{}, false
	if lifetime <= 0 || lifetime > int64(math.MaxInt64/time.Millisecond) {
		return
	}
	life := time.Duration(lifetime) * time.Millisecond
	s.ends = now.Add(life)
	part := renewFrom + renewSpread*rand.Float64() // #nosec G404 -- spreads the renewals of many connections
	latest := life - min(leastRest, life/2)
	s.due = now.Add(max(min(time.Duration(float64(life)*part), latest), leastRenewal))
}

// keepSession renews the session if it is time for that. It waits for the mechanism to begin only if the session is over.
func (c *conn) keepSession(ctx context.Context, nc net.Conn) error {
	s := &c.session
	if s.due.IsZero() {
		return nil
	}
	now := time.Now()
	if now.Before(s.due) {
		return nil
	}
	if s.coming == nil {
		c.beginRenewal(ctx)
	}
	var b begun
	select {
	case b = <-s.coming:
	default:
		if now.Before(s.ends) {
			return nil // the bell rings when it has come
		}
		select {
		case b = <-s.coming:
		case <-c.stop:
			return c.reason()
		}
		now = time.Now()
	}
	s.coming = nil
	if b.err != nil {
		return c.putOff(b.err, now)
	}
	done := c.judge()
	err := c.renew(ctx, nc, b)
	if err != nil {
		c.fail(err) // before the reader does
	}
	done()
	return err
}

// beginRenewal has the mechanism begin, and rings the bell when it has.
func (c *conn) beginRenewal(ctx context.Context) {
	coming := make(chan begun, 1)
	c.session.coming = coming
	d := c.dialog()
	d.renewal = true
	c.helpers.Go(func() { // ends with ctx at the latest, which fail ends
		ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
		defer cancel()
		b := begun{err: c.errorf(opAuthenticate, errGoroutineEnded)}
		defer func() {
			coming <- b
			c.ring()
		}()
		b.session, b.initial, b.err = d.start(ctx)
	})
}

// putOff handles that the mechanism could not begin: it may do so later, as long as the session goes on.
func (c *conn) putOff(err error, now time.Time) error {
	s := &c.session
	if !now.Before(s.ends) {
		return err
	}
	s.due = now.Add(max(s.ends.Sub(now)/8, renewRetry))
	if !s.warned {
		s.warned = true
		c.cfg.Logger.Warn("could not authenticate again to node yet, which is tried again before the session ends",
			nodeName(c.id), "addr", c.addr, "session_ends_in", s.ends.Sub(now).Round(time.Millisecond), "err", err)
	}
	return nil
}

// renew authenticates again.
func (c *conn) renew(ctx context.Context, nc net.Conn, b begun) error {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	d := c.dialog()
	d.renewal = true
	d.ask = func(req, resp message.Message, version int16) error {
		a, err := c.place(req, resp, version)
		if err == nil {
			err = c.flush(nc)
		}
		if err == nil {
			err = c.await(a)
		}
		return err
	}
	answer, err := d.open(nc, b.initial)
	if err == nil {
		err = d.talk(ctx, b.session, answer)
	}
	if err != nil {
		return err
	}
	now := time.Now()
	c.session.granted(d.lifetime, now)
	c.cfg.Measures.renewed.Record(now, float64(now.Sub(begin))/float64(time.Millisecond))
	c.cfg.Logger.Debug("authenticated again to node", nodeName(c.id), "addr", c.addr, "elapsed", now.Sub(begin))
	return nil
}

// open sends the handshake and the mechanism's first message together, and returns the node's answer to the latter.
func (d *dialog) open(nc net.Conn, initial []byte) ([]byte, error) {
	c := d.conn
	req, resp := d.handshake()
	msg, answer := d.message(initial)
	first, err := c.place(req, resp, d.handshakeVersion())
	if err != nil {
		return nil, d.heard(resp, err)
	}
	second, err := c.place(msg, answer, d.messageVersion())
	if err == nil {
		err = c.flush(nc)
	}
	if err == nil {
		err = c.await(first)
	}
	if err := d.heard(resp, err); err != nil {
		return nil, err
	}
	return d.answer(answer, c.await(second))
}

// asking is a request of the writer's own whose answer it waits for.
type asking struct {
	request *Request
	reply   <-chan error
}

// place puts a request of the writer's own into the frame.
func (c *conn) place(req, resp message.Message, version int16) (asking, error) {
	r := &Request{Exchange: ownMessage{&Message{Request: req, Response: resp}}, Version: version, CorrelationID: c.saslID()}
	start := int64(c.out.frame.size())
	if err := c.out.frame.add(r, c.cfg.ClientID); err != nil {
		return asking{}, err
	}
	reply := make(chan error, 1)
	c.out.joined = append(c.out.joined, placed{request: r, start: start, reply: reply})
	return asking{r, reply}, nil
}

// ownMessage is a Message whose answer does not alias the reader's memory.
type ownMessage struct{ *Message }

// Decode implements Exchange.
func (m ownMessage) Decode(r *protocol.Reader, version int16) error {
	err := m.Message.Decode(r, version)
	if resp, ok := m.Response.(*message.SaslAuthenticateResponse); ok {
		resp.AuthBytes = slices.Clone(resp.AuthBytes)
	}
	return err
}

// await waits for the answer to a request of the writer's own. Its time begins when those before it are answered, which the
// owner sees to.
func (c *conn) await(a asking) error {
	for wait := c.cfg.RequestTimeout; ; {
		next, begin := c.isNext(a.request), time.Now()
		timer := time.NewTimer(wait)
		select {
		case err := <-a.reply:
			timer.Stop()
			return err
		case <-c.unread:
			timer.Stop()
			select {
			case err := <-a.reply: // the last thing that was read
				return err
			default:
				return c.readErr
			}
		case <-c.stop:
			timer.Stop()
			return c.reason()
		case <-timer.C:
		}
		switch late := time.Since(begin) - wait; {
		case !next:
			wait = c.cfg.RequestTimeout
		case late >= TimerSlack && wait > lookTime: // the process stood still, and the answer may be in the socket
			wait = lookTime
		default:
			return fmt.Errorf("%w: no answer for %v", ErrRequestTimeout, c.cfg.RequestTimeout)
		}
	}
}

// letJudge tells the writer that nothing more is read, and lets it judge what was: a node that refuses to go on with the client
// says so, and hangs up.
func (c *conn) letJudge(err error) {
	c.readErr = err
	close(c.unread)
	c.mu.Lock()
	judging := c.judging
	c.mu.Unlock()
	if judging == nil {
		return
	}
	select {
	case <-judging:
	case <-c.stop:
	}
}

// judge notes that the writer authenticates again, until the function that it returns is called.
func (c *conn) judge() (done func()) {
	judging := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judging = judging
	return func() {
		c.mu.Lock()
		c.judging = nil
		c.mu.Unlock()
		close(judging)
	}
}

// isNext reports whether r is the oldest request without an answer, or has been answered.
func (c *conn) isNext(r *Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.awaiting, func(x expected) bool { return x.request == r })
	return i <= 0
}
