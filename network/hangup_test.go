package network

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/protocol"
)

// hangsUp reads what a client says first, and closes the connection.
func hangsUp(p *peer) { _, _ = p.Read(make([]byte, 1000)) }

// inTurn plays one script for each connection; the last one for all that come after.
func inTurn(scripts ...func(*peer)) (play func(*peer), played *int) {
	played = new(int)
	return func(p *peer) {
		script := scripts[min(*played, len(scripts)-1)]
		*played++
		script(p)
	}, played
}

// refusedTLS makes one attempt of a client with TLS, and returns how it ended and how long it took.
func refusedTLS(r *rig) (*TLSError, time.Duration) {
	r.t.Helper()
	begin := time.Now()
	for r.LastError(-1) == nil {
		require.False(r.t, r.Ready(-1, time.Now()))
		r.pass(10 * time.Millisecond)
	}
	e, ok := errors.AsType[*TLSError](r.LastError(-1))
	require.True(r.t, ok, "%v", r.LastError(-1))
	return e, time.Since(begin)
}

// A listener that hangs up on a TLS handshake and answers without TLS is called so at once. What it is asked names nobody.
func TestAPlaintextListenerIsFoundByItsAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var question []byte
		play, played := inTurn(hangsUp, func(p *peer) {
			question = make([]byte, 100)
			n, err := p.Read(question)
			p.must(err)
			question = question[:n]
			p.answer(0, "") // of another request
		}, hangsUp, func(p *peer) { p.handshake() })
		r := newRig(t, play, withTLS(new(tls.Config)), func(c *Config) { c.ClientID = "a name of the client's" })
		e, took := refusedTLS(r)
		require.False(t, e.Lasting, "an answer to something else shows nothing")
		require.Less(t, took, 100*time.Millisecond)
		require.Len(t, question, 14, "%q", question)
		require.Equal(t, []byte{0, 0, 0, 10, 0, 18, 0, 0}, question[:8], "ApiVersions, version 0")
		require.Equal(t, []byte{0, 0}, question[12:], "no client id")

		for r.dialled() < 4 {
			r.Ready(-1, time.Now())
			r.pass(10 * time.Millisecond)
		}
		e, _ = refusedTLS(r)
		require.True(t, e.Lasting)
		require.ErrorIs(t, e, ErrWrongProtocol)
		require.ErrorContains(t, e, "TLS handshake: the peer speaks another protocol: the listener speaks plaintext")
		require.ErrorContains(t, e, "leave Config.TLS out (security.protocol PLAINTEXT or SASL_PLAINTEXT)")
		require.Equal(t, 4, *played)
		require.Equal(t, 1, r.Denied().Number, "what waits fails")
	})
}

// What answers otherwise, or not at all, is no plaintext listener: it hung up, which may pass. It is not waited for long.
func TestWhatHangsUpIsNotCalledPlaintextWithoutAnAnswer(t *testing.T) {
	for name, script := range map[string]func(*peer){
		"hangs up again": hangsUp,
		"is silent":      silent,
		"says too much":  func(p *peer) { p.raw(bytes.Repeat([]byte{0x7f}, 100)...) },
		"trickles": func(p *peer) {
			q := p.request()
			for _, b := range frame(q.id, make([]byte, 6)) { // a good answer, were it not for the time that it takes
				p.raw(b)
				time.Sleep(500 * time.Millisecond)
			}
		},
		"never stops": func(p *peer) {
			p.request()
			p.raw(0, 0xf, 0xff, 0xff)
			for {
				p.raw(make([]byte, 64)...)
				time.Sleep(time.Millisecond)
			}
		},
		"an alert of TLS":       func(p *peer) { p.raw(0x15, 3, 3, 0, 2, 2, 80) },
		"HTTP":                  func(p *peer) { p.raw([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")...) },
		"another request's":     func(p *peer) { q := p.request(); p.answer(q.id+1, "\x00\x00\x00\x00\x00\x00") },
		"half of an answer":     func(p *peer) { q := p.request(); p.answer(q.id, "\x00\x00\x00\x00\x00\x02\x00") },
		"a list without an end": func(p *peer) { q := p.request(); p.answer(q.id, "\x00\x00\x7f\xff\xff\xff") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				play, _ := inTurn(hangsUp, func(p *peer) { script(patient(p)) })
				r := newRig(t, play, withTLS(new(tls.Config)))
				e, took := refusedTLS(r)
				require.False(t, e.Lasting)
				require.Contains(t, e.Hint, "is it the port of a plaintext listener?")
				require.LessOrEqual(t, took, hangUpPatience+20*time.Millisecond)
				require.Equal(t, 2, r.dialled())
				require.Zero(t, r.Denied().Number)
			})
		})
	}
}

// A client that is closed does not wait for the answer.
func TestCloseEndsTheQuestionWithoutTLS(t *testing.T) {
	bubble(t, func(t *testing.T) {
		play, played := inTurn(hangsUp, silent)
		r := newRig(t, play, withTLS(new(tls.Config)))
		r.Ready(-1, time.Now())
		r.settle()
		require.Equal(t, 2, *played)
		begin := time.Now()
		r.Close()
		r.Wait()
		require.Zero(t, time.Since(begin))
	})
}

// A node with which TLS has worked is not asked: it restarts.
func TestANodeThatHasSpokenTLSIsNotAskedWithout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ca := newAuthority(t, "ca")
		play, played := inTurn(secured(serving(ca.issue([]string{"boot"})), func(p *peer) { p.handshake(); time.Sleep(500 * time.Millisecond) }), hangsUp)
		r := newRig(t, play, withTLS(ca.trusting()))
		r.connect(-1)
		r.pass(time.Second)
		require.False(t, r.Ready(-1, time.Now()), "it connects")
		r.settle()
		require.Equal(t, 2, r.dialled())
		require.Equal(t, 2, *played)
		e, ok := errors.AsType[*TLSError](r.LastError(-1))
		require.True(t, ok)
		require.False(t, e.Lasting)
	})
}

// Certificates that a node does not like are no case for the question: it has said something.
func TestANodeThatSaidSomethingIsNotAskedWithoutTLS(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ca := newAuthority(t, "ca")
		conf := serving(ca.issue([]string{"boot"}))
		conf.MaxVersion = tls.VersionTLS12
		conf.VerifyConnection = func(tls.ConnectionState) error {
			runtime.Goexit() // hangs up behind its certificate, without an alert
			return nil
		}
		r := newRig(t, secured(conf, echoes), withTLS(ca.trusting()))
		e, _ := refusedTLS(r)
		require.False(t, e.Lasting, "%v", e)
		require.ErrorContains(t, e, "the node closed the connection")
		require.Equal(t, 1, r.dialled())
	})
}

// loginListener is a node that hangs up on a request before a login, as Kafka's listeners with SASL do; enabled is what it says to SaslHandshake.
func loginListener(enabled *message.SaslHandshakeResponse, heard *[]asked) func(*peer) {
	d := new(doorkeeper)
	return func(p *peer) {
		p.versions(d.versions())
		q := p.request()
		*heard = append(*heard, q)
		if q.key == protocol.SaslHandshake {
			p.answer(q.id, string(enabled.Append(nil, q.version)))
		}
	}
}

// A listener that wants a login is called so on the second connection, with its mechanisms.
func TestAListenerThatWantsALoginIsNamed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var heard []asked
		var log lockedBuffer
		r := newRig(t, loginListener(&message.SaslHandshakeResponse{ErrorCode: protocol.UnsupportedSaslMechanism, Mechanisms: []string{"SCRAM-SHA-512", "a\nb"}}, &heard),
			func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		begin := time.Now()
		r.connect(-1)
		r.back(r.send(-1, "x"))
		require.ErrorContains(t, r.LastError(-1), "does the listener want SASL?")
		require.Zero(t, r.Denied().Number)
		for r.dialled() < 2 {
			r.Ready(-1, time.Now())
			r.pass(time.Millisecond)
		}
		r.settle()
		require.Less(t, time.Since(begin), time.Second)
		e, ok := errors.AsType[*AuthenticationError](r.LastError(-1))
		require.True(t, ok, "%v", r.LastError(-1))
		require.True(t, e.Lasting)
		require.Equal(t, 1, r.Denied().Number)
		require.Equal(t, []string{"SCRAM-SHA-512", "a\nb"}, e.Offered)
		require.ErrorContains(t, e, `authenticate: the listener wants a login (SASL), and none is configured; it has "SCRAM-SHA-512", "a\nb": set Config.SASL (security.protocol SASL_SSL or SASL_PLAINTEXT`)
		require.Contains(t, log.String(), `level=WARN msg="connected to node, but could not authenticate"`)
		require.Len(t, heard, 2)
		require.Equal(t, protocol.SaslHandshake, heard[1].key)
		require.Empty(t, strings.Trim(string(heard[1].body), "\x00"), "no mechanism is named")
	})
}

// A node that hung up for another reason is used as soon as it has said that it has no SASL; one that hangs up on the question, too, is not asked each time.
func TestANodeWithoutSASLIsUsedAfterTheQuestion(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(p *peer, q asked)
		dials  int
	}{
		"illegal state": {func(p *peer, q asked) {
			p.answer(q.id, string((&message.SaslHandshakeResponse{ErrorCode: protocol.IllegalSaslState}).Append(nil, q.version)))
			echoesOn(p)
		}, 2},
		"hangs up": {func(*peer, asked) {}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := new(doorkeeper)
				play, _ := inTurn(func(p *peer) { p.versions(d.versions()); p.request() }, func(p *peer) {
					p.versions(d.versions())
					q := p.request()
					require.Equal(t, protocol.SaslHandshake, q.key)
					c.answer(p, q)
				}, func(p *peer) { p.versions(d.versions()); echoesOn(p) })
				r := newRig(t, play)
				r.connect(-1)
				r.back(r.send(-1, "x"))
				r.connect(-1)
				req := r.send(-1, "y")
				r.back(req)
				require.NoError(t, req.Err)
				require.Equal(t, "y", string(req.Exchange.(*echo).in))
				require.Equal(t, c.dials, r.dialled())
				require.Zero(t, r.Denied().Number)
			})
		})
	}
}

// A node that lets its part of a handshake trickle, of TLS or of SASL, is given up when the set-up has taken its time, as one that is silent.
func TestASetUpThatTricklesEnds(t *testing.T) {
	trickle := func(p *peer, b []byte) {
		for {
			for i := range b {
				p.raw(b[i])
				time.Sleep(time.Second)
			}
		}
	}
	for name, c := range map[string]struct {
		node   func(p *peer)
		option func(*Config)
		kind   error
	}{
		"TLS": {func(p *peer) { trickle(patient(p), []byte{0x16, 3, 3, 0x40, 0, 2, 0, 0x3f, 0xfc}) }, withTLS(new(tls.Config)), ErrTLS},
		"SASL": {func(p *peer) {
			new(doorkeeper).open(p, 0)
			p.request()
			trickle(p, []byte{0, 0, 0x10, 0, 1})
		}, withSASL(words(planted.Password)), ErrAuthentication},
		"SASL, a long dialog": {func(p *peer) {
			d := &doorkeeper{answer: func(string) []byte { time.Sleep(time.Second); return []byte("ok") }}
			d.open(p, maxMessages)
		}, withSASL(words(slices.Repeat([]string{planted.Password}, 2*maxMessages)...)), ErrAuthentication},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, c.node, c.option)
				begin := time.Now()
				for r.LastError(-1) == nil {
					r.Ready(-1, time.Now())
					r.pass(10 * time.Millisecond)
				}
				require.ErrorIs(t, r.LastError(-1), c.kind)
				require.ErrorIs(t, r.LastError(-1), ErrSetupTimeout)
				require.LessOrEqual(t, time.Since(begin), 13*time.Second, "10 s, and the jitter of a fifth")
				require.Zero(t, r.Denied().Number, "it may pass")
			})
		})
	}
}
