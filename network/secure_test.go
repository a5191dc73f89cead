package network

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/message"
)

func TestRequestsOverTLS(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ca := newAuthority(t, "ca")
		r := newRig(t, secured(serving(ca.issue([]string{"boot"})), echoes), withTLS(ca.trusting()))
		r.connect(-1)
		for _, body := range []string{"x", strings.Repeat("large", 100_000)} {
			req := r.send(-1, body)
			r.back(req)
			require.NoError(t, req.Err)
			require.Equal(t, body, string(req.Exchange.(*echo).in))
		}
		require.Equal(t, 1, r.dialled())
	})
}

// unsecured is a wrong setting of TLS, and what is said about it.
type unsecured struct {
	name    string
	node    func(ca *authority) func(*peer)
	client  func(ca *authority, conf *tls.Config)
	addr    string // of the bootstrap server, if not bootAddr
	text    []string
	hint    string
	passing bool // it may pass by itself
}

func serve(hosts []string, options ...func(*x509.Certificate)) func(*authority) func(*peer) {
	return func(ca *authority) func(*peer) { return secured(serving(ca.issue(hosts, options...)), echoes) }
}

// mutual returns a node that wants a certificate from clients.
func mutual(version uint16) func(*authority) func(*peer) {
	return func(ca *authority) func(*peer) {
		conf := serving(ca.issue([]string{"boot"}))
		conf.ClientAuth, conf.ClientCAs, conf.MinVersion, conf.MaxVersion = tls.RequireAndVerifyClientCert, ca.pool(), version, version
		return secured(conf, echoes)
	}
}

func manyNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("name-%03d.example", i))
	}
	return names
}

var unsecuredCases = []unsecured{
	{name: "wrong host", node: serve([]string{"a.example", "b.example", "10.0.0.1"}),
		text: []string{`not one for "boot"`, `"a.example", "b.example", "10.0.0.1"`}, hint: "Config.TLS.ServerName"},
	{name: "100 names", node: serve(manyNames(100)), text: []string{`"name-007.example" and 92 more`}, hint: "bootstrap.servers"},
	{name: "name with control characters", node: serve([]string{"a\x1b[31m\n.example"}), text: []string{`"a\x1b[31m\n.example"`}, hint: "advertised.listeners"},
	{name: "common name only", node: serve(nil, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "boot"} }),
		text: []string{`common name "boot" does not count`}, hint: "subjectAltName"},
	{name: "IP address of a name", node: serve([]string{"localhost"}), addr: "127.0.0.1:9092", text: []string{`not one for "127.0.0.1"`, `"localhost"`}},
	{name: "wildcard for one level only", node: serve([]string{"*.example"}), addr: "a.b.example:9092", text: []string{`not one for "a.b.example"`, `"*.example"`}},
	{name: "IPv6 address without its zone", node: serve([]string{"fe80::2"}), addr: "[fe80::1%eth0]:9092", text: []string{`not one for "fe80::1"`}},
	{name: "unknown authority", node: serve([]string{"boot"}), client: func(_ *authority, conf *tls.Config) { conf.RootCAs = x509.NewCertPool() },
		text: []string{"signed by an authority that is not trusted", `"CN=ca"`}, hint: "Config.TLS.RootCAs (ssl.truststore.location"},
	{name: "expired", node: serve([]string{"boot"}, func(c *x509.Certificate) { c.NotAfter = began.Add(time.Hour) }),
		text: []string{"has expired at 1999-01-01T01:00:00Z, and it is 2000-01-01"}, hint: "clock"},
	{name: "not valid yet", node: serve([]string{"boot"}, func(c *x509.Certificate) { c.NotBefore = ended.Add(-time.Hour) }),
		text: []string{"not valid before 2097-12-31T23:00:00Z, and it is 2000-01-01"}, hint: "clock"},
	{name: "not for servers", node: serve([]string{"boot"}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }),
		text: []string{"extended key usage"}, hint: "server authentication"},
	{name: "no certificate of the client, TLS 1.3", node: mutual(tls.VersionTLS13), text: []string{"alert", "certificate"}, hint: "asked for a certificate and got none: set Config.TLS.Certificates (ssl.keystore"},
	{name: "no certificate of the client, TLS 1.2", node: mutual(tls.VersionTLS12), text: []string{"alert", "certificate"}, hint: "asked for a certificate and got none: set Config.TLS.Certificates (ssl.keystore"},
	{name: "certificate of another authority", node: mutual(tls.VersionTLS13), client: func(ca *authority, conf *tls.Config) {
		conf.Certificates = []tls.Certificate{newAuthority(ca.t, "other").issue(nil)}
	}, text: []string{"alert"}, hint: "none is of an authority that it accepts"},
	{name: "expired certificate of the client", node: mutual(tls.VersionTLS13), client: func(ca *authority, conf *tls.Config) {
		conf.Certificates = []tls.Certificate{ca.issue(nil, func(c *x509.Certificate) { c.NotAfter = began.Add(time.Hour) })}
	}, text: []string{"alert"}, hint: "does not accept the certificate of Config.TLS"},
	{name: "TLS 1.1", node: func(ca *authority) func(*peer) {
		conf := serving(ca.issue([]string{"boot"}))
		conf.MinVersion, conf.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		return secured(conf, echoes)
	}, text: []string{"protocol version not supported"}, hint: "ssl.enabled.protocols"},
	{name: "chain of 1 MiB", node: serve([]string{"boot"}, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Value: make([]byte, 1<<20)}}
	}), text: []string{"exceeds maximum"}},
	{name: "plaintext", node: func(*authority) func(*peer) {
		return func(p *peer) { patient(p).raw([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")...) }
	},
		text: []string{"not TLS", `"HTTP/"`}, hint: "plaintext listener? Then leave Config.TLS out (security.protocol"},
	{name: "closes, as a plaintext listener of Kafka does", node: func(*authority) func(*peer) { return func(p *peer) { _, _ = p.Read(make([]byte, 1000)) } },
		text: []string{"closed the connection"}, hint: "plaintext listener", passing: true},
	{name: "silent", node: func(*authority) func(*peer) { return silent }, text: []string{"connection setup timed out"}, hint: "plaintext listener", passing: true},
}

// H74, S1, S2, S4.
func TestErrorsOfTLSSayWhatIsWrong(t *testing.T) {
	for _, c := range unsecuredCases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { testUnsecured(t, c) })
		})
	}
}

func testUnsecured(t *testing.T, c unsecured) {
	ca := newAuthority(t, "ca")
	conf := ca.trusting()
	if c.client != nil {
		c.client(ca, conf)
	}
	r := newRig(t, nil, withTLS(conf))
	addr := bootAddr
	if c.addr != "" {
		addr = c.addr
		r.SetBootstrap([]string{addr})
	}
	r.listen(addr, c.node(ca))
	start := time.Now()
	for r.LastError(-1) == nil {
		require.False(t, r.Ready(-1, time.Now()))
		r.pass(10 * time.Millisecond)
	}
	err := r.LastError(-1)
	require.LessOrEqual(t, time.Since(start), 10*time.Second+20*time.Millisecond, "the set-up time-out")
	e, ok := errors.AsType[*TLSError](err)
	require.True(t, ok, "%v", err)
	require.ErrorIs(t, err, ErrTLS)
	require.Equal(t, []any{int32(-1), addr, "handshake", !c.passing}, []any{e.Node, e.Addr, e.Step, e.Lasting}, "%v", err)
	for _, text := range c.text {
		require.ErrorContains(t, err, text)
	}
	require.Contains(t, e.Hint, c.hint)
	require.Equal(t, 1, strings.Count(err.Error(), addr), err.Error())
	require.Equal(t, err.Error(), e.Error())
	require.Less(t, len(err.Error()), 1500)
	require.False(t, strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }), "%q", err.Error())
}

// A TLS listener that gets plaintext answers with an alert.
func TestPlaintextToATLSListenerIsNamed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) { patient(p).raw(0x15, 3, 3, 0, 2, 2, 80) })
		require.False(t, r.Ready(-1, time.Now()))
		r.settle()
		e, ok := errors.AsType[*TLSError](r.LastError(-1))
		require.True(t, ok, "%v", r.LastError(-1))
		require.True(t, e.Lasting)
		require.ErrorIs(t, e, ErrWrongProtocol)
		require.ErrorContains(t, e, "the listener speaks TLS; set Config.TLS (security.protocol SSL or SASL_SSL)")
	})
}

func TestNamesThatAreVerified(t *testing.T) { // S2, S3, H74
	for addr, want := range map[string]string{
		"kafka.example:9093": "kafka.example", "kafka.example.:9093": "kafka.example", "10.0.0.1:1": "10.0.0.1",
		"[::1]:1": "::1", "[fe80::1%eth0]:1": "fe80::1", "noport": "noport",
	} {
		require.Equal(t, want, verifiedName(addr), addr)
	}
	for _, c := range []struct {
		addr, own, sni string
		names          []string
	}{
		{addr: "kafka.example:9092", names: []string{"kafka.example"}, sni: "kafka.example"},
		{addr: "kafka.example.:9092", names: []string{"kafka.example"}, sni: "kafka.example"},
		{addr: "a.example:9092", names: []string{"*.example"}, sni: "a.example"},
		{addr: "10.0.0.1:9092", names: []string{"10.0.0.1"}},
		{addr: "elsewhere:9092", names: []string{"kafka.example"}, own: "kafka.example", sni: "kafka.example"},
	} {
		t.Run(c.addr, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ca := newAuthority(t, "ca")
				conf := ca.trusting()
				conf.ServerName = c.own
				r := newRig(t, nil, withTLS(conf))
				r.SetBootstrap([]string{c.addr})
				node := serving(ca.issue(c.names))
				var sni string
				node.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					sni = hello.ServerName
					return nil, nil
				}
				r.listen(c.addr, secured(node, echoes))
				r.connect(-1)
				require.Equal(t, c.sni, sni)
				require.Equal(t, c.own, conf.ServerName, "the configuration is not changed")
			})
		})
	}
}

func TestConfigOfTLSIsAskedForAtEachConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second := newAuthority(t, "first"), newAuthority(t, "second")
		conf := first.trusting()
		r := newRig(t, secured(serving(first.issue([]string{"boot"})), echoes), func(c *Config) {
			c.TLS = func(context.Context) (*tls.Config, error) { return conf, nil }
		})
		r.connect(-1)
		conf = second.trusting()
		r.listen(bootAddr, secured(serving(second.issue([]string{"boot"})), echoes))
		r.Disconnect(-1, time.Now())
		r.pass(time.Second)
		r.connect(-1)
	})
}

func TestABrokenConfigOfTLSIsNamed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, echoes, func(c *Config) {
			c.TLS = func(context.Context) (*tls.Config, error) { return nil, errors.New("no such file") }
		})
		require.False(t, r.Ready(-1, time.Now()))
		r.settle()
		require.EqualError(t, r.LastError(-1), "bootstrap server boot:9092: TLS settings: no such file; look at Config.TLS, or the ssl.* properties")
		require.True(t, Lasting(r.LastError(-1)))

		slow := newRig(t, echoes, func(c *Config) {
			c.TLS = func(ctx context.Context) (*tls.Config, error) { <-ctx.Done(); return nil, ctx.Err() }
		})
		require.False(t, slow.Ready(-1, time.Now()))
		slow.pass(10 * time.Second)
		require.ErrorIs(t, slow.LastError(-1), ErrSetupTimeout)
		require.False(t, Lasting(slow.LastError(-1)))
	})
}

func TestCloseEndsATLSHandshake(t *testing.T) { // C10
	bubble(t, func(t *testing.T) {
		r := newRig(t, silent, withTLS(newAuthority(t, "ca").trusting()))
		require.False(t, r.Ready(-1, time.Now()))
		r.pass(2 * time.Second)
		require.ErrorContains(t, r.Unanswered(time.Now()), "the TLS handshake has not ended for 2s")
		start := time.Now()
		r.Close()
		r.Wait()
		require.Zero(t, time.Since(start))
	})
}

func TestAnEndWithoutCloseNotifyIsADisconnect(t *testing.T) { // H75
	for _, idle := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			ca, logged := newAuthority(t, "ca"), &lockedBuffer{}
			cut := make(chan struct{})
			r := newRig(t, secured(serving(ca.issue([]string{"boot"})), func(p *peer) {
				p.handshake()
				if !idle {
					q := p.request()
					p.raw(frame(q.id, []byte("half of an answer"))[:10]...)
				}
				<-cut
			}), withTLS(ca.trusting()), func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(logged, nil)) })
			r.connect(-1)
			var reqs []*Request
			if !idle {
				reqs = append(reqs, r.send(-1, "x"))
			}
			close(cut)
			r.settle()
			require.False(t, r.Connected(-1))
			require.Equal(t, reqs, r.done)
			for _, req := range reqs {
				require.ErrorIs(t, req.Err, ErrDisconnected)
			}
			require.Equal(t, !idle, strings.Contains(logged.String(), "level=INFO") || strings.Contains(logged.String(), "level=WARN"), logged.String())
		})
	}
}

// A flush is written in full TLS records, four of them at a time; each would be a system call.
func TestAFlushIsWrittenInFullTLSRecords(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ca := newAuthority(t, "ca")
		r := newRig(t, secured(serving(ca.issue([]string{"boot"})), echoes), withTLS(ca.trusting()))
		r.connect(-1)
		nc := r.open[bootAddr][0]
		for _, c := range []struct {
			requests, size int
			writes         int64
		}{{4, 100, 1}, {4, 3000, 1}, {4, 15_000, 1}, {10, 20_000, 4}, {100, 1500, 3}, {1, 200_000, 4}} {
			before := nc.writes.Load()
			release := r.hold(-1)
			var reqs []*Request
			for range min(c.requests, 4) {
				x := &echo{out: []byte("header")}
				for range max(c.requests/4, 1) {
					x.attach = append(x.attach, make([]byte, c.size)...)
				}
				req := &Request{Exchange: x}
				r.Send(-1, req, time.Now())
				reqs = append(reqs, req)
			}
			release()
			for _, req := range reqs {
				r.back(req)
				require.NoError(t, req.Err)
				require.Len(t, req.Exchange.(*echo).in, 6+len(req.Exchange.(*echo).attach))
			}
			require.LessOrEqual(t, nc.writes.Load()-before, c.writes, "%+v", c)
		}
	})
}

// S4: a session of TLS is resumed with the node that it was made with, and with no other that goes by the same name: another node
// can't decrypt what is sent ahead with it. The sessions are in a cache of the application's.
func TestSessionsOfTLSAreOneNodesOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ca := newAuthority(t, "ca")
		conf := ca.trusting()
		conf.ServerName, conf.ClientSessionCache = "boot", tls.NewLRUClientSessionCache(8)
		node := serving(ca.issue([]string{"boot"})) // of both: they could decrypt each other's tickets
		var resumed []bool
		script := func(p *peer) {
			s := tls.Server(patient(p), node)
			if s.Handshake() != nil {
				return
			}
			resumed = append(resumed, s.ConnectionState().DidResume)
			echoes(&peer{s})
		}
		r := newRig(t, script, withTLS(conf))
		for _, addr := range []string{bootAddr, bootAddr, "other:9092", "other:9092"} {
			r.listen(addr, script)
			r.SetBootstrap([]string{addr})
			r.connect(-1)
			r.send(-1, "x") // with the answer come the tickets
			r.settle()
			r.Disconnect(-1, time.Now())
			r.pass(time.Second)
		}
		require.Equal(t, []bool{false, true, false, true}, resumed)
	})
}

// alerting is a connection that fails to write, with an alert to be read.
type alerting struct {
	net.Conn
	arrived error
}

func (a alerting) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (a alerting) Read([]byte) (int, error)  { return 0, a.arrived }

// With TLS 1.3 a node refuses the client's certificate when the client already writes its first request.
func TestAnAlertBeforeAFailedWriteIsTheReason(t *testing.T) {
	alert := &net.OpError{Op: remoteAlert, Err: tls.AlertError(116)}
	for arrived, want := range map[error]error{alert: alert, io.EOF: io.ErrClosedPipe} {
		cfg := Config{Post: func(Event) {}}.withDefaults()
		c := &conn{cfg: &cfg, measures: cfg.Measures.node(1)}
		req := new(message.APIVersionsRequest)
		req.Reset()
		_, err := c.ask(alerting{arrived: arrived}, req, 3, 1)
		require.ErrorIs(t, err, want)
	}
}
