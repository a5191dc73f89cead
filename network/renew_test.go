package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/protocol"
)

// guest plays a node that answers requests, and SASL between them as Kafka does: from SaslHandshake until it agrees it takes
// nothing else. rounds is the number of the mechanism's messages.
func (d *doorkeeper) guest(p *peer, rounds int) {
	for {
		q := p.request()
		switch q.key {
		case protocol.SaslHandshake:
			d.shake(p, q)
			for range rounds {
				q = p.request()
				if q.key != protocol.SaslAuthenticate {
					d.heard = append(d.heard, "unexpected "+q.key.String())
					return
				}
				d.told(p, q)
			}
		default:
			d.heard = append(d.heard, string(q.body))
			p.answer(q.id, string(q.body))
		}
	}
}

// shakes returns how often a mechanism was named.
func (d *doorkeeper) shakes() (n int) {
	for _, h := range d.heard {
		if strings.HasPrefix(h, "SaslHandshake") {
			n++
		}
	}
	return n
}

// KIP-368; S10.
func TestASessionIsRenewedOnTheLiveConnection(t *testing.T) {
	for rounds := range 3 {
		bubble(t, func(t *testing.T) {
			d := &doorkeeper{lifetime: 10_000}
			m := words(slices.Repeat([]string{planted.Token}, rounds+1)...)
			r := newRig(t, func(p *peer) { d.open(p, rounds+1); d.guest(p, rounds+1) }, withSASL(m))
			r.connect(-1)
			var want []string
			for i := range 250 { // 25 seconds
				body := fmt.Sprint("request ", i)
				want = append(want, body)
				req := r.send(-1, body)
				r.pass(100 * time.Millisecond)
				require.NoError(t, req.Err)
				require.Contains(t, r.done, req)
			}
			require.Equal(t, 1, r.dialled())
			require.Equal(t, 4, d.shakes(), "at the beginning, and every 8 s")
			require.Equal(t, want, slices.DeleteFunc(d.heard, func(h string) bool { return !strings.HasPrefix(h, "request") }), "in order")
			require.EqualValues(t, 4, m.starts.Load())
		})
	}
}

// The node takes requests one after the other, so that those in flight need time before it comes to SaslHandshake: 5 % of a short session are
// too little on a busy machine.
func TestAShortSessionIsRenewedTwoSecondsBeforeItsEnd(t *testing.T) {
	begin := time.Now()
	for life, want := range map[time.Duration]time.Duration{
		time.Second: leastRenewal, 2 * time.Second: leastRenewal, 3 * time.Second: 1500 * time.Millisecond, 4 * time.Second: 2 * time.Second,
		5 * time.Second: 3 * time.Second, 10 * time.Second: 8 * time.Second, 13 * time.Second: 11 * time.Second,
	} {
		for range 100 {
			var s session
			s.granted(life.Milliseconds(), begin)
			require.Equal(t, want, s.due.Sub(begin), life)
		}
	}
	for range 2000 {
		var s session
		s.granted(20_000, begin)
		require.LessOrEqual(t, s.due.Sub(begin), 18*time.Second)
		require.GreaterOrEqual(t, s.due.Sub(begin), 17*time.Second)
	}
}

// As SaslClientAuthenticator does.
func TestASessionIsRenewedAt85To95Percent(t *testing.T) {
	begin := time.Now()
	var s session
	least, most := math.Inf(1), 0.0
	for range 2000 {
		s.granted(100_000, begin)
		part := s.due.Sub(begin).Seconds() / 100
		least, most = min(least, part), max(most, part)
	}
	require.GreaterOrEqual(t, least, 0.85)
	require.LessOrEqual(t, most, 0.95)
	require.Less(t, least, 0.86)
	require.Greater(t, most, 0.94)
}

func TestLifetimesOfSessions(t *testing.T) { // H71
	for _, lifetime := range []int64{0, -1, math.MinInt64, math.MaxInt64, math.MaxInt64/int64(time.Millisecond) + 1} {
		s := session{due: time.Now()}
		s.granted(lifetime, time.Now())
		require.Zero(t, s.due, lifetime)
	}
	for _, lifetime := range []int64{1, 1000, math.MaxInt64 / int64(time.Millisecond)} {
		bubble(t, func(t *testing.T) {
			d := &doorkeeper{lifetime: lifetime}
			r := newRig(t, func(p *peer) { d.open(p, 1); d.guest(p, 1) }, withSASL(words(planted.Token)))
			r.connect(-1)
			for range 200 { // 10 seconds
				req := r.send(-1, "x")
				r.pass(50 * time.Millisecond)
				require.NoError(t, req.Err)
			}
			require.Equal(t, 1, r.dialled())
			if lifetime <= 1000 {
				require.GreaterOrEqual(t, d.shakes(), 9)
				require.LessOrEqual(t, d.shakes(), 10, "brokers refuse more than one a second")
			} else {
				require.Equal(t, 1, d.shakes())
			}
		})
	}
}

// The mechanism may take its time, as to fetch a token, and requests go on meanwhile. They are held back for one round trip.
func TestRequestsAreHeldBackForOneRoundTrip(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const away = 40 * time.Millisecond // from the node and back
		d := &doorkeeper{lifetime: 100_000}
		m := words(planted.Token)
		r := newRig(t, func(p *peer) {
			d.open(p, 1)
			p, end := distant(p, away)
			defer end()
			d.guest(p, 1)
		}, withSASL(m))
		r.connect(-1)
		m.begin = func(context.Context) error { time.Sleep(3 * time.Second); return nil }
		r.pass(96 * time.Second)
		longest := time.Duration(0)
		for range 500 {
			req := r.send(-1, "x")
			for !slices.Contains(r.done, req) {
				r.pass(time.Millisecond)
			}
			require.NoError(t, req.Err)
			longest = max(longest, req.DoneAt.Sub(req.SentAt))
		}
		require.Equal(t, 2, d.shakes())
		require.Less(t, longest, 2*away+5*time.Millisecond)
		require.GreaterOrEqual(t, longest, 2*away, "it was held back")
	})
}

// delayed is a line on which what is written arrives later.
type delayed struct {
	*drowsy
	by    time.Duration
	queue chan late
}

type late struct {
	b  []byte
	at time.Time
}

// distant delays what the node says. It reads on meanwhile.
func distant(p *peer, by time.Duration) (*peer, func()) {
	d := &delayed{newDrowsy(p.Conn), by, make(chan late, 100)}
	go func() {
		for l := range d.queue {
			time.Sleep(time.Until(l.at))
			_, _ = p.Conn.Write(l.b)
		}
	}()
	return &peer{d}, func() { close(d.queue) }
}

// Write implements net.Conn.
func (d *delayed) Write(b []byte) (int, error) {
	d.queue <- late{slices.Clone(b), time.Now().Add(d.by)}
	return len(b), nil
}

func TestASessionThatIsOverIsRenewedFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &doorkeeper{lifetime: 10_000}
		r := newRig(t, func(p *peer) { d.open(p, 1); d.guest(p, 1) }, withSASL(words(planted.Token)))
		r.connect(-1)
		r.pass(time.Minute)
		require.Equal(t, 1, d.shakes(), "an idle connection is left alone")
		req := r.send(-1, "x")
		r.back(req)
		require.NoError(t, req.Err)
		require.Equal(t, []string{"SaslHandshake v1 WORDS", planted.Token, "SaslHandshake v1 WORDS", planted.Token, "x"}, d.heard)
	})
}

// A token that can't be fetched does no harm as long as the session goes on.
func TestARenewalThatCanNotBeginIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &doorkeeper{lifetime: 100_000}
		m := words(planted.Token)
		var log lockedBuffer
		r := newRig(t, func(p *peer) { d.open(p, 1); d.guest(p, 1) }, withSASL(m), func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		r.connect(-1)
		m.begin = func(context.Context) error { return errEndpoint }
		begin := time.Now()
		for time.Since(begin) < 99*time.Second {
			req := r.send(-1, "x")
			r.pass(500 * time.Millisecond)
			require.NoError(t, req.Err)
		}
		require.Equal(t, 1, strings.Count(log.String(), "could not authenticate again"), log.String())
		require.GreaterOrEqual(t, m.starts.Load(), int32(3))
		require.LessOrEqual(t, m.starts.Load(), int32(14))
		require.Equal(t, 1, d.shakes())

		r.pass(2 * time.Second)
		req := r.send(-1, "x") // the session is over
		r.back(req)
		require.ErrorIs(t, req.Err, ErrDisconnected)
		require.ErrorIs(t, req.Err, errEndpoint)
		require.False(t, req.MaybeSent)
		require.True(t, Lasting(r.LastError(-1)))

		m.begin = nil
		r.pass(time.Second)
		r.connect(-1)
	})
}

func TestARenewalThatIsRefusedEndsTheConnection(t *testing.T) {
	for name, refuse := range map[string]func(*doorkeeper){
		"mechanism":   func(d *doorkeeper) { d.mechanisms = []string{"PLAIN"} },
		"credentials": func(d *doorkeeper) { d.refusal = protocol.SaslAuthenticationFailed },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := &doorkeeper{lifetime: 10_000}
				r := newRig(t, func(p *peer) { d.open(p, 1); d.guest(patient(p), 1) }, withSASL(words(planted.Token)))
				r.connect(-1)
				r.pass(11 * time.Second)
				refuse(d)
				req := r.send(-1, "x")
				r.back(req)
				require.ErrorIs(t, req.Err, ErrDisconnected)
				require.False(t, req.MaybeSent, "it was held back")
				e, ok := errors.AsType[*AuthenticationError](req.Err)
				require.True(t, ok, "%v", req.Err)
				require.True(t, e.Renewal)
				require.True(t, e.Lasting)
				require.ErrorContains(t, req.Err, "disconnected: authenticate again")
				require.Equal(t, 1, strings.Count(req.Err.Error(), bootAddr), req.Err.Error())
			})
		})
	}
}

func TestARenewalWithoutAnAnswerTimesOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &doorkeeper{lifetime: 10_000}
		r := newRig(t, func(p *peer) { d.open(p, 1); p.request(); silent(p) }, withSASL(words(planted.Token)))
		r.connect(-1)
		r.pass(9600 * time.Millisecond)
		r.nodes[-1].conn.ring() // nothing is sent that could time out by itself
		r.pass(30*time.Second - time.Millisecond)
		require.True(t, r.Connected(-1))
		r.pass(time.Millisecond)
		require.False(t, r.Connected(-1))
		require.ErrorIs(t, r.LastError(-1), ErrRequestTimeout)
		require.ErrorIs(t, r.LastError(-1), ErrAuthentication)
		require.False(t, Lasting(r.LastError(-1)))
	})
}

func TestCloseEndsARenewal(t *testing.T) { // C10
	for name, script := range map[string]func(d *doorkeeper, m *wordplay, p *peer){
		"the mechanism begins": func(_ *doorkeeper, m *wordplay, p *peer) { silent(p) },
		"the node is silent":   func(_ *doorkeeper, _ *wordplay, p *peer) { p.request(); silent(p) },
		"between its answers":  func(d *doorkeeper, _ *wordplay, p *peer) { d.shake(p, p.request()); p.request(); silent(p) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d, m := &doorkeeper{lifetime: 10_000}, words(planted.Token)
				r := newRig(t, func(p *peer) { d.open(p, 1); script(d, m, p) }, withSASL(m))
				r.connect(-1)
				if name == "the mechanism begins" {
					m.begin = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
				}
				r.pass(11 * time.Second)
				req := r.send(-1, "x")
				r.pass(time.Second)
				start := time.Now()
				r.Close()
				r.Wait()
				require.Zero(t, time.Since(start))
				r.settle()
				require.ErrorIs(t, req.Err, ErrClosed)
				require.False(t, req.MaybeSent)
			})
		})
	}
}

// A request whose answer takes long is not in the way, and nor does it count as the node's silence about SASL.
func TestARenewalWaitsBehindSlowAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &doorkeeper{lifetime: 10_000}
		r := newRig(t, func(p *peer) {
			d.open(p, 1)
			p = patient(p)
			for range 2 {
				q := p.request()
				time.Sleep(25 * time.Second)
				p.answer(q.id, string(q.body))
			}
			time.Sleep(25 * time.Second)
			d.guest(p, 1)
		}, withSASL(words(planted.Token)))
		r.connect(-1)
		r.pass(8 * time.Second)
		first, second := r.send(-1, "1"), r.send(-1, "2")
		r.pass(2 * time.Second)
		third := r.send(-1, "3")
		for _, req := range []*Request{first, second, third} {
			r.back(req)
			require.NoError(t, req.Err)
		}
		require.Equal(t, 2, d.shakes())
		synctest.Wait()
	})
}
