package network

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/metadata"
)

// numbered returns a request whose memory is overwritten as soon as it is back. Its body says a hundred
// times which one it is, so a peer sees if that was too early (KAFKA-19012).
func numbered(n uint64) (*Request, []byte) {
	b := make([]byte, 0, 800)
	for range 100 {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return &Request{Exchange: &echo{attach: b}}, b
}

// fickle returns a node that does this and that. It checks that requests are whole and come in order.
func fickle(t *testing.T, seed uint64) func(*peer) {
	return func(p *peer) {
		rnd := rand.New(rand.NewPCG(seed, uint64(time.Now().UnixNano())))
		if rnd.IntN(10) == 0 {
			return
		}
		p.handshake()
		last := uint64(0)
		for {
			q := p.request()
			n := binary.BigEndian.Uint64(q.body)
			if n <= last {
				t.Errorf("request %d after %d", n, last)
			}
			last = n
			for i := 0; i < len(q.body); i += 8 {
				if got := binary.BigEndian.Uint64(q.body[i:]); got != n {
					t.Errorf("request %d has %x inside", n, got)
				}
			}
			time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
			switch rnd.IntN(60) {
			case 0:
				return
			case 1:
				p.answer(q.id+1, "")
			case 2:
				p.raw(frame(q.id, make([]byte, 100))[:50]...)
				return
			case 3:
				silent(p)
			default:
				p.answer(q.id, string(q.body))
			}
		}
	}
}

func TestEachRequestComesBackOnceWhateverHappens(t *testing.T) {
	asides := 0 // of the requests
	defer func() { require.Greater(t, asides, 20) }()
	for seed := range uint64(20) {
		bubble(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			r := newRig(t, nil, func(c *Config) { c.RequestTimeout, c.MaxIdle, c.Logger = 2*time.Second, 3*time.Second, nil })
			r.aside = true
			all := []metadata.Node{node1, node2, {ID: 3, Host: "three", Port: 9092}}
			for i, addr := range []string{"one:9092", "two:9092", "three:9092"} {
				r.listen(addr, fickle(t, seed+uint64(i)))
			}
			r.SetNodes(nodes(all...))
			memory := map[*Request][]byte{}
			known, answered := 0, 0
			collect := func() {
				for _, req := range r.done[known:] {
					b, ok := memory[req]
					require.True(t, ok, "came back twice")
					delete(memory, req)
					if req.Err == nil {
						answered++
						require.True(t, req.MaybeSent)
						require.Len(t, req.Exchange.(*echo).in, len(b))
					}
					for i := range b {
						b[i] = 0xdb
					}
				}
				known = len(r.done)
			}
			for n := uint64(1); n <= 1000; n++ {
				now := time.Now()
				id := int32(1 + rnd.IntN(3))
				switch rnd.IntN(100) {
				case 0:
					r.Disconnect(id, now)
				case 1:
					r.SetNodes(nodes(all[:1+rnd.IntN(3)]...))
				case 2:
					r.SetNodes(nodes(all...))
				case 3:
					r.Throttle(id, time.Duration(rnd.IntN(500))*time.Millisecond, now)
				case 4:
					r.pass(time.Duration(rnd.IntN(8000)) * time.Millisecond)
				case 5:
					r.Rebootstrap(now)
					r.SetNodes(nodes(all...))
				case 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19:
					r.pass(time.Duration(rnd.IntN(300)) * time.Millisecond)
				}
				if n%7 == 0 {
					if x, ok, _ := r.Soonest(time.Now()); ok {
						id = x
					}
					if id == asideKey {
						asides++
					}
				}
				if r.Ready(id, time.Now()) {
					req, b := numbered(n)
					memory[req] = b
					r.Send(id, req, time.Now())
				}
				collect()
				require.Len(t, memory, r.InFlightTotal())
			}
			r.Close()
			r.Wait()
			r.settle()
			collect()
			require.Empty(t, memory)
			require.Greater(t, answered, 20)
		})
	}
}
