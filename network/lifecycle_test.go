package network

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/message"
)

// NetworkClientTest.testRequestTimeout, testDefaultRequestTimeout; InFlightRequestsTest: timed-out
// nodes found.
func TestRequestTimeoutClosesTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, mute)
		r.connect(-1)
		first := r.send(-1, "x")
		r.pass(10 * time.Second)
		second := r.send(-1, "x")
		r.pass(20*time.Second - time.Millisecond)
		require.Empty(t, r.done)
		r.pass(time.Millisecond)
		require.Equal(t, []*Request{first, second}, r.done)
		require.ErrorIs(t, first.Err, ErrRequestTimeout)
		require.True(t, first.MaybeSent)
		require.ErrorIs(t, second.Err, ErrDisconnected)
		e, ok := errors.AsType[*Error](first.Err)
		require.True(t, ok)
		require.True(t, e.Timeout())
		require.Equal(t, bootAddr, e.Addr)
		require.ErrorIs(t, r.LastError(-1), ErrRequestTimeout)
		require.False(t, r.Ready(-1, time.Now()))
	})
}

func TestRequestMayHaveItsOwnTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, mute)
		r.connect(-1)
		long := r.send(-1, "x")
		short := &Request{Exchange: &echo{}, Timeout: time.Second}
		require.True(t, r.Ready(-1, time.Now()))
		r.Send(-1, short, time.Now())
		r.pass(time.Second)
		require.ErrorIs(t, short.Err, ErrRequestTimeout)
		require.ErrorIs(t, long.Err, ErrDisconnected)
		require.NotErrorIs(t, long.Err, ErrClosed)
	})
}

// NetworkClientTest.testConnectionThrottling, ClusterConnectionStatesTest.testThrottled.
func TestThrottledNodeIsNotReady(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, echoes)
		r.connect(-1)
		start := time.Now()
		r.Throttle(-1, time.Second, start)
		r.Throttle(-1, time.Millisecond, start) // never shortened
		r.Throttle(-1, -time.Second, start)
		require.False(t, r.Ready(-1, time.Now()))
		require.True(t, r.Connected(-1))
		require.Equal(t, start.Add(time.Second), r.CanRetryAt(-1, start))
		_, ok, at := r.LeastLoaded(start)
		require.False(t, ok)
		require.Equal(t, start.Add(time.Second), at)
		r.pass(time.Second)
		require.True(t, r.Ready(-1, time.Now()))
	})
}

func TestAbsurdThrottleIsCut(t *testing.T) {
	bubble(t, func(t *testing.T) { // H53
		r := newRig(t, echoes)
		r.connect(-1)
		r.Throttle(-1, (1<<31-1)*time.Millisecond, time.Now())
		require.Equal(t, time.Now().Add(maxThrottle), r.CanRetryAt(-1, time.Now()))
	})
}

// NetworkClientTest.testConnectionTimeoutAfterThrottling (KAFKA-16083, B24).
func TestThrottledTimeIsNoRequestTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			q := p.request()
			time.Sleep(50 * time.Second)
			p.answer(q.id, "late")
			silent(p)
		})
		r.connect(-1)
		req := r.send(-1, "x")
		r.Throttle(-1, 40*time.Second, time.Now())
		r.back(req)
		require.NoError(t, req.Err)
		require.Equal(t, 50*time.Second, req.DoneAt.Sub(req.SentAt).Truncate(time.Second))
		require.Equal(t, 1, r.dialled())

		req = r.send(-1, "y")
		r.Throttle(-1, 40*time.Second, time.Now())
		r.pass(70*time.Second - time.Millisecond)
		require.NotContains(t, r.done, req)
		r.pass(time.Millisecond)
		require.ErrorIs(t, req.Err, ErrRequestTimeout)
	})
}

// NetworkClientTest.testConnectionSetupTimeout,
// testConnectionDoesNotRemainStuckInCheckingApiVersionsStateIfChannelNeverBecomesReady (B18, H6).
func TestSilentPeerIsLeftAfterTheSetupTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, silent)
		require.False(t, r.Ready(-1, time.Now()))
		r.pass(10*time.Second - time.Millisecond)
		require.NoError(t, r.LastError(-1))
		r.pass(2 * time.Millisecond)
		require.ErrorIs(t, r.LastError(-1), ErrSetupTimeout)
		require.ErrorContains(t, r.LastError(-1), "ApiVersions")
	})
}

// request.timeout.ms holds for the handshake, too, if it is shorter than the set-up time-out.
func TestSilentPeerIsLeftAfterTheRequestTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, silent, func(cfg *Config) { cfg.RequestTimeout = 2 * time.Second })
		require.False(t, r.Ready(-1, time.Now()))
		r.pass(2*time.Second - time.Millisecond)
		require.NoError(t, r.LastError(-1))
		r.pass(2 * time.Millisecond)
		require.ErrorIs(t, r.LastError(-1), ErrSetupTimeout)
	})
}

// The log says at which point a connection failed, and calls a bootstrap server that. It warns at once of what does
// not pass by itself.
func TestTheLogSaysHowAConnectionFailed(t *testing.T) {
	for _, c := range []struct {
		name   string
		script func(*peer)
		text   string
		err    string
		level  string
	}{
		{"refused", nil, "could not connect to node", "bootstrap server boot:9092: dial: connection refused", "INFO"},
		{"no Kafka", func(p *peer) { p.request(); p.raw([]byte("HTTP/1.1 400 Bad Request")...) }, "connected to node, but could not agree on versions",
			"bootstrap server boot:9092: negotiate: the peer speaks another protocol: it answers with HTTP; is the port that of a Kafka listener?", "WARN"},
		{"hangs up", func(p *peer) { p.request() }, "connected to node, but could not agree on versions",
			"bootstrap server boot:9092: negotiate: the peer closed the connection on ApiVersions version 4 (EOF): does the listener want TLS or SASL, or is it no broker?", "INFO"},
		{"wants SASL", func(p *peer) { p.handshake(); p.request() }, "connection to node lost",
			"bootstrap server boot:9092: read: disconnected: EOF: the node closed the connection on the first request; does the listener want SASL?", "INFO"},
		{"breaks later", func(p *peer) { p.handshake(); q := p.request(); p.answer(q.id, "x"); p.request() }, "connection to node lost",
			"bootstrap server boot:9092: read: disconnected: EOF", "INFO"},
		{"a controller", func(p *peer) {
			p.versions(&message.APIVersionsResponse{APIKeys: []message.APIVersion{{APIKey: 1, MaxVersion: 17}, {APIKey: 18, MaxVersion: 4}, {APIKey: 52, MaxVersion: 2}}, FinalizedFeaturesEpoch: -1})
			silent(p)
		}, "connected to node, but could not agree on versions",
			"bootstrap server boot:9092: negotiate: no common version: the node does not serve Produce: it is a KRaft controller; name the listeners of brokers", "WARN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var log lockedBuffer
				r := newRig(t, c.script, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
				r.Ready(-1, time.Now())
				r.settle()
				for range 2 {
					if r.Ready(-1, time.Now()) {
						r.send(-1, "x")
						r.settle()
					}
				}
				require.EqualError(t, r.LastError(-1), c.err)
				require.Contains(t, log.String(), "level="+c.level+" msg=\""+c.text+"\" node=bootstrap addr=boot:9092")
				require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
			})
		})
	}
}

// ClusterConnectionStatesTest.testExponentialConnectionSetupTimeout, testTimedOutConnections (KIP-601).
func TestSetupTimeoutGrows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var waits []time.Duration
		r := newRig(t, echoes)
		black := true
		r.cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if !black {
				return r.dial(ctx, network, addr)
			}
			start := time.Now()
			<-ctx.Done()
			waits = append(waits, time.Since(start))
			return nil, ctx.Err()
		}
		for range 4 {
			require.False(t, r.Ready(-1, time.Now()))
			require.False(t, r.Ready(-1, time.Now()))
			r.pass(35 * time.Second)
			require.ErrorIs(t, r.LastError(-1), ErrSetupTimeout)
		}
		require.Equal(t, []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second, 30 * time.Second}, waits)
		black = false
		r.connect(-1)
		require.Zero(t, r.nodes[-1].failedDials)
		require.NoError(t, r.LastError(-1))
		r.Disconnect(-1, time.Now())
		r.pass(5 * time.Second)
		black = true
		require.False(t, r.Ready(-1, time.Now()))
		r.pass(35 * time.Second)
		require.Equal(t, 10*time.Second, waits[4])
	})
}

// NetworkClientTest.testConnectionDelay…, ClusterConnectionStatesTest.testExponentialReconnectBackoff,
// testMaxReconnectBackoff; testDnsLookupFailure.
func TestReconnectBackoffGrows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		want := []time.Duration{50, 100, 200, 400, 800, 1000, 1000}
		for _, ms := range want {
			require.False(t, r.Ready(-1, time.Now()))
			r.settle()
			require.ErrorIs(t, r.LastError(-1), errRefused)
			now := time.Now()
			require.Equal(t, ms*time.Millisecond, r.CanRetryAt(-1, now).Sub(now))
			_, ok, at := r.LeastLoaded(now)
			require.False(t, ok)
			require.Equal(t, r.CanRetryAt(-1, now), at)
			tries := r.dialled()
			r.pass(ms*time.Millisecond - time.Microsecond)
			require.False(t, r.Ready(-1, time.Now()))
			require.Equal(t, tries, r.dialled())
			r.pass(time.Microsecond)
		}
		// A connection that stands for a while brings it back to the first.
		r.listen(bootAddr, echoes)
		r.connect(-1)
		r.pass(time.Second)
		r.Disconnect(-1, time.Now())
		r.settle()
		require.Equal(t, 50*time.Millisecond, time.Until(r.CanRetryAt(-1, time.Now())))
	})
}

func TestReconnectBackoffIsShaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		for i, x := range []float64{0, 0.999999} {
			r.random = func() float64 { return x }
			r.nodes[-1].failures = 2
			require.False(t, r.Ready(-1, time.Now()))
			r.settle()
			require.InDelta(t, []int{160, 240}[i], time.Until(r.CanRetryAt(-1, time.Now())).Milliseconds(), 1)
			r.pass(time.Second)
		}
	})
}

func TestNoBackoffIfNegative(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, func(c *Config) { c.ReconnectBackoff, c.ReconnectBackoffMax = -1, -1 })
		for i := range 5 {
			require.False(t, r.Ready(-1, time.Now()))
			r.settle()
			require.Equal(t, i+1, r.dialled())
		}
	})
}

// A node that accepts each connection and then fails is not tried every 50 ms (S17).
func TestBackoffGrowsForNodesThatDoNotLast(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			q := p.request()
			p.answer(q.id, "all is well")
		})
		reqs := r.hammer()
		require.GreaterOrEqual(t, len(reqs), 8)
		for _, req := range reqs {
			require.NoError(t, req.Err)
		}
		r.requireDials(8, 20)
	})
}

// NetworkClientTest.testCallDisconnect: counts as a failure.
func TestDisconnectOnRequest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, mute)
		r.Disconnect(-1, time.Now()) // nothing to do
		r.connect(-1)
		req := r.send(-1, "x")
		r.settle()
		r.Disconnect(-1, time.Now())
		r.Disconnect(-1, time.Now())
		require.Empty(t, r.done, "not before it is off the wire")
		require.False(t, r.Ready(-1, time.Now()))
		r.settle()
		require.ErrorIs(t, req.Err, ErrDisconnected)
		require.False(t, r.Ready(-1, time.Now()))
		require.Equal(t, time.Now().Add(50*time.Millisecond), r.CanRetryAt(-1, time.Now()))
		r.pass(50 * time.Millisecond)
		r.connect(-1)
		require.Equal(t, 2, r.dialled())
	})
}

// NetworkClientTest.testServerDisconnectAfterInternalApiVersionRequest and
// testClientDisconnectAfterInternalApiVersionRequest.
func TestDisconnectDuringHandshake(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) { p.request() })
		require.False(t, r.Ready(-1, time.Now()))
		r.settle()
		require.ErrorIs(t, r.LastError(-1), io.EOF)
		require.ErrorContains(t, r.LastError(-1), "TLS")
		require.Equal(t, 50*time.Millisecond, time.Until(r.CanRetryAt(-1, time.Now())))

		r.listen(bootAddr, silent)
		r.pass(50 * time.Millisecond)
		require.False(t, r.Ready(-1, time.Now()))
		r.settle()
		r.Disconnect(-1, time.Now())
		r.settle()
		require.Empty(t, r.done)
		require.Equal(t, down, r.nodes[-1].state)
	})
}

// NetworkClientTest.testClose, testCloseConnectingNode.
//
// C10: in each state of a connection.
func TestCloseGivesEverythingBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, mute)
		r.listen("quiet:1", silent)
		r.SetBootstrap([]string{bootAddr, "quiet:1"})
		r.connect(-1)
		req := r.send(-1, "x")
		require.False(t, r.Ready(-2, time.Now()))
		r.settle()
		r.Close()
		r.Close()
		late := &Request{Exchange: &echo{}}
		r.Send(-1, late, time.Now())
		r.Wait()
		r.settle()
		require.ErrorIs(t, req.Err, ErrClosed)
		require.ErrorIs(t, late.Err, ErrClosed)
		require.False(t, r.Ready(-1, time.Now()))
		require.False(t, r.Ready(-2, time.Now()))
		_, ok, _ := r.LeastLoaded(time.Now())
		require.False(t, ok)
		r.settle()
		require.Equal(t, 2, r.dialled())
		require.Equal(t, idle, r.nodes[-1].state)
	})
}

func TestIdleConnectionIsClosedWithoutPenalty(t *testing.T) {
	bubble(t, func(t *testing.T) { // B63
		r := newRig(t, echoes)
		r.connect(-1)
		r.pass(8 * time.Minute)
		r.back(r.send(-1, "x"))
		r.pass(9*time.Minute - time.Second)
		require.True(t, r.Connected(-1))
		r.pass(2 * time.Second)
		require.False(t, r.Connected(-1))
		require.NoError(t, r.LastError(-1))
		require.Equal(t, idle, r.nodes[-1].state)
		id, ok, _ := r.LeastLoaded(time.Now())
		require.Equal(t, []any{int32(-1), true}, []any{id, ok})
		require.False(t, r.Ready(-1, time.Now()))
		r.settle()
		require.True(t, r.Ready(-1, time.Now()), "at once, without a back-off")
	})
}

func TestBusyConnectionIsNotIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, mute, func(c *Config) { c.MaxIdle, c.RequestTimeout = time.Second, time.Minute })
		r.connect(-1)
		req := r.send(-1, "x")
		r.pass(59 * time.Second)
		require.True(t, r.Connected(-1))
		r.pass(time.Second)
		require.ErrorIs(t, req.Err, ErrRequestTimeout)
	})
}

func TestMaxIdleOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, echoes, func(c *Config) { c.MaxIdle = -1 })
		r.connect(-1)
		_, next := r.Tick(time.Now(), nil)
		require.Zero(t, next)
		r.pass(time.Hour)
		require.True(t, r.Connected(-1))
	})
}

func TestNodeStatesFollowTheTable(t *testing.T) {
	for from := range state(len(stateNames)) {
		for to := range state(len(stateNames)) {
			n := &node{state: from}
			allowed := false
			for _, s := range transitions[from] {
				allowed = allowed || s == to
			}
			if allowed {
				require.NotPanics(t, func() { n.become(to) })
				require.Equal(t, to, n.state)
			} else {
				require.Panics(t, func() { n.become(to) }, "%v to %v", from, to)
				require.Equal(t, from, n.state)
			}
		}
	}
}

// B61: no arithmetic overflows when every wait is as long as can be.
func TestEndlessTimeouts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const forever = time.Duration(math.MaxInt64)
		r := newRig(t, echoes, func(c *Config) {
			c.RequestTimeout, c.SetupTimeout, c.SetupTimeoutMax, c.MaxIdle = forever, forever, forever, forever
			c.ReconnectBackoff, c.ReconnectBackoffMax = forever, forever
		})
		r.connect(-1)
		req := r.send(-1, "x")
		r.Throttle(-1, forever, time.Now())
		r.back(req)
		require.NoError(t, req.Err)
		r.pass(maxThrottle)
		require.True(t, r.Ready(-1, time.Now()))
		r.Disconnect(-1, time.Now())
		r.pass(time.Hour)
		require.False(t, r.Ready(-1, time.Now()))
		require.Equal(t, 1, r.dialled())
		require.True(t, r.CanRetryAt(-1, time.Now()).After(time.Now()))
	})
}
