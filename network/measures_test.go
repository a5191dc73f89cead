package network

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/stat"
	"github.com/quill-kafka/quill/metrics"
	"github.com/stretchr/testify/require"
)

// TestJoinedRequestsAreCountedOneByOne: one write, each request with its size, and those that authenticate not at all.
func TestJoinedRequestsAreCountedOneByOne(t *testing.T) {
	m := NewMeasures(&stat.Windows{Samples: 2, Length: time.Minute, Began: time.Now()}, func() {})
	cfg := Config{Post: func(Event) {}, Measures: m}.withDefaults()
	x := &conn{cfg: &cfg, measures: m.node(7)}
	sizes := 0
	for i, body := range []string{"0123456", "x", "own", "012"} {
		r := &Request{Exchange: &echo{out: []byte(body)}, Version: 1}
		start := x.out.frame.size()
		require.NoError(t, x.out.frame.add(r, "c"))
		p := placed{request: r, start: int64(start)}
		if i == 2 {
			p.reply = make(chan error, 1)
		} else {
			sizes += x.out.frame.size() - start
		}
		x.out.joined = append(x.out.joined, p)
	}
	require.NoError(t, x.flush(&stingyConn{left: 1 << 20}))
	var s metrics.Snapshot
	m.Read(&s, time.Now())
	require.Len(t, s.Nodes, 1)
	for _, traffic := range []metrics.Traffic{s.Producer.Traffic, s.Nodes[0].Traffic} {
		require.EqualValues(t, 3, traffic.Request.Total)
		require.EqualValues(t, sizes, traffic.Outgoing.Total)
		require.InDelta(t, float64(sizes)/3, traffic.RequestSize.Avg, 0.01)
	}
	require.EqualValues(t, 1, s.Producer.NetworkIO.Total)
}

// TestFailedAuthenticationIsCountedByItsKind: a refusal, and a session that could not be renewed by itself.
func TestFailedAuthenticationIsCountedByItsKind(t *testing.T) {
	m := NewMeasures(&stat.Windows{Samples: 2, Length: time.Minute, Began: time.Now()}, func() {})
	now := time.Now()
	m.created.Record(now, 1)
	m.countEnd(&Error{Err: &AuthenticationError{}}, authenticating, now)
	m.created.Record(now, 1)
	m.countEnd(&Error{Err: &AuthenticationError{Renewal: true}}, established, now)
	m.countEnd(&Error{Err: ErrSetupTimeout}, dialling, now)
	var s metrics.Snapshot
	m.Read(&s, now)
	require.EqualValues(t, 1, s.Producer.FailedAuthentication.Total)
	require.EqualValues(t, 1, s.Producer.FailedReauthentication.Total)
	require.EqualValues(t, 2, s.Producer.ConnectionClose.Total, "one that was never made is not closed")
	require.Zero(t, s.Producer.ConnectionCount)
}
