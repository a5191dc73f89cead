package network

import (
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// tlsNode returns a node like tcpNode's, behind TLS 1.3 with AES-128-GCM.
func tlsNode(t testing.TB, script func(net.Conn)) (addr string, option func(*Config)) {
	ca := newAuthority(t, "ca")
	conf := serving(ca.issue([]string{"127.0.0.1"}))
	addr = tcpNode(t, func(nc net.Conn) {
		s := tls.Server(nc, conf)
		if s.Handshake() == nil {
			script(s)
		}
	})
	return addr, withTLS(ca.trusting())
}

func BenchmarkTLS(b *testing.B) {
	for name, c := range map[string]struct{ requests, pieces, size int }{
		"one small request": {1, 1, 200}, "5 of 200 KB": {5, 1, 200_000}, "5 of 200 batches of 1 KB": {5, 200, 1000}, "5 of 13 batches of 15 KB": {5, 13, 15_000},
	} {
		b.Run(name, func(b *testing.B) {
			addr, option := tlsNode(b, tcpEcho(60))
			client := newTCPClient(b, addr, option)
			now := time.Now()
			var reqs []*Request
			for range c.requests {
				reqs = append(reqs, &Request{Exchange: &manyPieces{unallocated: unallocated{batch: make([]byte, c.size)}, pieces: c.pieces}})
			}
			b.SetBytes(int64(c.requests * c.pieces * c.size))
			b.ReportAllocs()
			for b.Loop() {
				client.roundTrips(now, reqs...)
			}
			for _, r := range reqs {
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			}
		})
	}
}

// manyPieces is an Exchange like Produce with many batches.
type manyPieces struct {
	unallocated
	pieces int
}

func (m *manyPieces) Encode(f *Frame, _ int16) error {
	for range m.pieces {
		f.Buf = append(f.Buf, "header"...)
		f.Attach(m.batch)
	}
	return nil
}
