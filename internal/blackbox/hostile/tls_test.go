package hostile_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	mathbig "math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// TLS by way of a dialer of the user's: what the peer does wrong there.

// dressed makes the dialer speak TLS over connections that under may change first.
func dressed(cfg *quill.Config, under func(net.Conn) net.Conn) {
	dial := cfg.DialContext
	cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if under != nil {
			nc = under(nc)
		}
		secure := tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) // what this is about is not who the peer is
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		return secure, nil
	}
}

func testCertificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: mathbig.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// H11: a plaintext listener, spoken to in TLS.
func TestAPlaintextPeerOfATLSDialerIsToldInTime(t *testing.T) {
	for name, row := range map[string]struct {
		opts quilltest.Options
		text string
	}{
		"it hangs up": {quilltest.Options{}, "EOF"},
		"it talks":    {quilltest.Options{Greet: testkit.Greet("HTTP/1.1 400 Bad Request\r\n\r\n")}, "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Bubble(t, row.opts, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
				cfg := testkit.Config(c)
				cfg.MaxBlock = 5 * time.Second
				var dials atomic.Int32
				dressed(&cfg, func(nc net.Conn) net.Conn { dials.Add(1); return nc })
				p := testkit.Open(t, cfg)
				testkit.Within(t, 5*time.Second, 5*time.Second, func() {
					_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
					require.ErrorIs(t, err, quill.ErrTimeout)
					require.ErrorContains(t, err, row.text)
					testkit.CheckNotSent(t, err, "t", -1)
				})
				testkit.RequireBetween(t, int(dials.Load()), 12, 45, "each of three nodes, with growing pauses")
				testkit.Within(t, 0, 0, func() { testkit.CloseProducer(t, p) })
			})
		})
	}
}

// truncated is a connection that ends without a word (of TLS) when the test wants it.
type truncated struct {
	net.Conn
	left *atomic.Int64 // bytes that may still be read; negative: any number
}

func (c *truncated) Read(b []byte) (int, error) {
	left := c.left.Load()
	if left == 0 {
		c.Conn.Close()
		return 0, io.EOF
	}
	if left > 0 && int64(len(b)) > left {
		b = b[:left]
	}
	n, err := c.Conn.Read(b)
	if left > 0 {
		c.left.Add(-int64(n))
	}
	return n, err
}

// H75: the stream ends, at the border of a TLS record or within one, without close_notify. What was
// asked then is a lost answer like any other.
func TestATruncatedTLSStreamIsALostConnection(t *testing.T) {
	for _, after := range []int64{0, 3, 5, 20, 40} {
		testkit.Bubble(t, quilltest.Options{Nodes: 1, TLS: &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}}}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			cfg := testkit.Config(c)
			var current atomic.Pointer[truncated]
			dressed(&cfg, func(nc net.Conn) net.Conn {
				left := &atomic.Int64{}
				left.Store(-1)
				x := &truncated{nc, left}
				current.Store(x)
				return x
			})
			p := testkit.Open(t, cfg)
			testkit.Known(t, p, "t")
			for i := range 3 {
				x := current.Load()
				x.left.Store(after)
				for j := range 2 { // the first answer is for the read under way
					testkit.Within(t, 0, time.Second, func() { require.EqualValues(t, 1+2*i+j, testkit.SendOK(t, p, "t").Offset) })
				}
				require.NotSame(t, x, current.Load(), "a new connection")
			}
			testkit.CloseProducer(t, p)
			require.Len(t, testkit.Logged(t, c, "t", 0), 7, "once each")
			require.EqualValues(t, testkit.Buffer, testkit.FreeMemory(p))
		})
	}
}
