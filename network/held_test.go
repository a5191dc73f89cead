package network

import (
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// While the writer posts the answers that have waited for it, the reader's next one queues behind them.
func TestAnAnswerDoesNotOvertakeThoseThatWereHeld(t *testing.T) {
	var c *conn
	var posted []*Request
	first, second, third := &Request{}, &Request{}, &Request{}
	cfg := Config{Post: func(e Event) {
		posted = append(posted, e.request)
		if e.request == first {
			c.deliver(1, Event{kind: answered, request: third}) // the reader, at the worst moment
		}
	}}
	c = &conn{cfg: &cfg}
	c.out.writes = 1
	c.deliver(1, Event{kind: answered, request: first})
	c.deliver(1, Event{kind: answered, request: second})
	require.Empty(t, posted, "the write has not returned")
	c.markWritten()
	require.Equal(t, []*Request{first, second, third}, posted)
	c.deliver(1, Event{kind: answered, request: first})
	require.Len(t, posted, 5, "nothing is held for ever")
}

// stingyConn takes some bytes and then fails.
type stingyConn struct {
	net.Conn
	left int
}

func (s *stingyConn) Write(b []byte) (int, error) {
	n := min(s.left, len(b))
	if s.left -= n; n < len(b) {
		return n, errors.New("broken")
	}
	return n, nil
}

// A failed write that admits exactly the bytes before a request may have passed on some of it, unless it was
// writev: TLS counts whole records.
func TestABorderOfAFailedWriteIsInDoubtWithoutWritev(t *testing.T) {
	for _, vector := range []bool{false, true} {
		for _, c := range []struct {
			taken func(border int) int
			sent  []bool
		}{
			{func(int) int { return 0 }, []bool{!vector, false}},
			{func(border int) int { return border - 1 }, []bool{true, false}},
			{func(border int) int { return border }, []bool{true, !vector}},
			{func(border int) int { return border + 1 }, []bool{true, true}},
		} {
			cfg := Config{Post: func(Event) {}}.withDefaults()
			x := &conn{cfg: &cfg, measures: cfg.Measures.node(1)}
			x.out.vector = vector
			requests := []*Request{{Exchange: &echo{out: []byte("0123456")}, Version: 1}, {Exchange: &echo{out: []byte("x")}, Version: 1}}
			for _, r := range requests {
				start := int64(x.out.frame.size())
				require.NoError(t, x.out.frame.add(r, "c"))
				x.out.joined = append(x.out.joined, placed{request: r, start: start})
			}
			taken := c.taken(int(x.out.joined[1].start))
			require.Error(t, x.flush(&stingyConn{left: taken}))
			require.Equal(t, c.sent, []bool{requests[0].MaybeSent, requests[1].MaybeSent}, "writev %t, %d bytes taken", vector, taken)
		}
	}
}
