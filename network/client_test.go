package network

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// NetworkClientTest.testSimpleRequestResponse.
func TestRequestIsAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, echoes)
		r.connect(-1)
		req := r.send(-1, "hello")
		require.Equal(t, 1, r.InFlight(-1))
		sent := time.Now()
		r.back(req)
		require.NoError(t, req.Err)
		require.True(t, req.MaybeSent)
		require.Equal(t, "hello", string(req.Exchange.(*echo).in))
		require.Equal(t, int32(-1), req.Node)
		require.Equal(t, int16(8), req.Version)
		require.Equal(t, sent, req.SentAt)
		require.False(t, req.DoneAt.Before(sent))
		require.Zero(t, r.InFlight(-1))
		require.Zero(t, r.InFlightTotal())
	})
}

// The node that has kept the client waiting longest is named, connected or not.
func TestTheLongestWaitIsNamed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, silent)
		r.listen("answers:1", echoes)
		r.SetBootstrap([]string{bootAddr, "answers:1"})
		require.NoError(t, r.Unanswered(time.Now()))
		r.connect(-2)
		require.NoError(t, r.Unanswered(time.Now()))
		r.Ready(-1, time.Now())
		r.pass(2 * time.Second)
		req := r.send(-2, "hello")
		silent := r.Unanswered(time.Now())
		require.ErrorContains(t, silent, "bootstrap server "+bootAddr+": negotiate: it accepts connections, but has not answered ApiVersions for 2s; does")
		r.back(req)
	})
	bubble(t, func(t *testing.T) {
		r := newRig(t, mute)
		r.connect(-1)
		r.send(-1, "hello")
		r.pass(time.Second)
		require.EqualError(t, r.Unanswered(time.Now()), "bootstrap server "+bootAddr+": request: no answer to Metadata for 1s")
	})
}

func TestABusyNodeSaysWithWhat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, echoes)
		require.NoError(t, r.Busy(-1, time.Now()), "not connected")
		r.connect(-1)
		require.NoError(t, r.Busy(-1, time.Now()))
		req := r.send(-1, "hello")
		require.EqualError(t, r.Busy(-1, req.SentAt.Add(time.Second)), "a request to node -1 is unanswered after 1s")
		second := r.send(-1, "there")
		require.EqualError(t, r.Busy(-1, req.SentAt.Add(2*time.Second)), "2 requests to node -1 are unanswered, the first after 2s")
		r.Throttle(-1, time.Minute, time.Now())
		require.EqualError(t, r.Busy(-1, time.Now()), "node -1 asks to be left alone for 1m0s more (a quota)")
		r.back(req)
		r.back(second)
	})
}

// NetworkClientTest.testSendToUnreadyNode: an error of the caller's, reported and not a crash.
func TestSendToUnreadyNodeComesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, echoes)
		for _, id := range []int32{-1, 99} {
			req := &Request{Exchange: &echo{}}
			r.Send(id, req, time.Now())
			require.Equal(t, 1, r.InFlightTotal())
			r.back(req)
			require.ErrorIs(t, req.Err, ErrNotReady)
			require.False(t, req.MaybeSent)
		}
	})
}

// NetworkClientTest.testApiVersionsRequest, ClusterConnectionStatesTest.testIsPreparingConnection.
func TestReadyOnlyAfterVersions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		answer := make(chan struct{})
		var question asked
		r := newRig(t, func(p *peer) {
			question = p.request()
			<-answer
			p.answer(question.id, string(versionsAnswer().Append(nil, question.version)))
			silent(p)
		})
		require.False(t, r.Ready(-1, time.Now()))
		r.settle()
		require.False(t, r.Ready(-1, time.Now()))
		require.False(t, r.Connected(-1))
		require.False(t, r.Usable(-1, time.Now()))
		_, _, ok := r.Versions(-1, protocol.Produce)
		require.False(t, ok)
		close(answer)
		r.settle()
		require.True(t, r.Ready(-1, time.Now()))
		require.True(t, r.Usable(-1, time.Now()))
		require.Equal(t, 1, r.dialled())

		require.Equal(t, protocol.APIVersions, question.key)
		require.Equal(t, apiVersionsVersion, question.version)
		require.Equal(t, "tester", question.client)
		rd := protocol.NewReader(question.body)
		var m message.APIVersionsRequest
		m.Decode(&rd, question.version)
		require.NoError(t, rd.Err())
		require.Equal(t, "quill-test", m.ClientSoftwareName) // brokers refuse the blank
		require.Equal(t, "v1.2", m.ClientSoftwareVersion)

		low, high, ok := r.Versions(-1, protocol.Produce)
		require.Equal(t, []any{int16(3), int16(12), true}, []any{low, high, ok})
		level, ok := r.Features(-1, "transaction.version")
		require.Equal(t, []any{int16(2), true}, []any{level, ok})
		_, ok = r.Features(-1, "metadata.version")
		require.False(t, ok)
	})
}

func TestInFlightIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, mute, func(c *Config) { c.MaxInFlight = 3 })
		r.connect(-1)
		for range 3 {
			r.send(-1, "x")
		}
		require.False(t, r.Ready(-1, time.Now()))
		require.True(t, r.Connected(-1))
		require.Zero(t, r.CanRetryAt(-1, time.Now()), "an event will tell")
		_, ok, at := r.LeastLoaded(time.Now())
		require.False(t, ok)
		require.Zero(t, at)
	})
}

// InFlightRequestsTest: first in, first out, pipelined in the order of Send; ids unique
// (NetworkClientTest.testCorrelationId).
func TestRequestsArePipelinedInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var got []string
		r := newRig(t, func(p *peer) {
			p.handshake()
			var ids []int32
			for range 5 {
				q := p.request()
				got = append(got, string(q.body))
				ids = append(ids, q.id)
			}
			for _, id := range ids {
				p.answer(id, fmt.Sprintf("%d", id))
			}
			silent(p)
		})
		r.connect(-1)
		seen := map[int32]bool{}
		var reqs []*Request
		for i := range 5 {
			req := r.send(-1, fmt.Sprint(i))
			require.False(t, seen[req.CorrelationID])
			seen[req.CorrelationID] = true
			reqs = append(reqs, req)
		}
		r.settle()
		require.Equal(t, []string{"0", "1", "2", "3", "4"}, got)
		require.Equal(t, reqs, r.done)
		for _, req := range reqs {
			require.NoError(t, req.Err)
			require.Equal(t, fmt.Sprint(req.CorrelationID), string(req.Exchange.(*echo).in))
		}
	})
}

func TestCorrelationIDsStayBelowThoseOfSASL(t *testing.T) {
	c := New(Config{Post: func(Event) {}})
	c.correlation = lastCorrelation - 1
	require.Equal(t, int32(lastCorrelation-1), c.correlationIDs(1))
	require.Zero(t, c.correlationIDs(1))
	c.correlation = lastCorrelation - 1
	require.Zero(t, c.correlationIDs(handshakeIDs), "a block does not wrap around")
}

// NetworkClientTest.testDisconnectWithMultipleInFlights, testDisconnectDuringUserMetadataRequest.
func TestDisconnectFailsAllInFlightInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			for range 3 {
				p.request()
			}
		})
		r.connect(-1)
		reqs := []*Request{r.send(-1, "1"), r.send(-1, "2"), r.send(-1, "3")}
		r.settle()
		require.Equal(t, reqs, r.done)
		for _, req := range reqs {
			require.ErrorIs(t, req.Err, ErrDisconnected)
			require.ErrorIs(t, req.Err, io.EOF)
			require.True(t, req.MaybeSent)
		}
		require.ErrorContains(t, reqs[0].Err, "bootstrap server boot:9092: read: disconnected: EOF: the node closed the connection on the first request; does the listener want SASL?")
	})
}

// acks=0 (B56): done when written, and a disconnect later does not matter to it.
func TestNoAnswerIsDoneWhenWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		read := make(chan struct{})
		r := newRig(t, func(p *peer) {
			p.handshake()
			<-read
			p.request()
			q := p.request()
			p.request()
			p.answer(q.id, "second")
		})
		r.connect(-1)
		quiet := func() *Request {
			require.True(t, r.Ready(-1, time.Now()))
			q := &Request{Exchange: &echo{out: []byte("x")}, NoAnswer: true}
			r.Send(-1, q, time.Now())
			return q
		}
		first, second, third := quiet(), r.send(-1, "y"), quiet()
		r.settle()
		require.Empty(t, r.done)
		close(read)
		r.settle()
		require.ElementsMatch(t, []*Request{first, second, third}, r.done)
		for _, req := range r.done {
			require.NoError(t, req.Err)
			require.True(t, req.MaybeSent)
		}
		require.ErrorIs(t, r.LastError(-1), io.EOF)
	})
}

func TestNoAnswerFailsIfNotWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			time.Sleep(time.Second) // reads nothing
		})
		r.connect(-1)
		req := &Request{Exchange: &echo{}, NoAnswer: true}
		r.Send(-1, req, time.Now())
		r.back(req)
		require.ErrorIs(t, req.Err, ErrDisconnected)
	})
}

func TestUnsupportedVersionComesBackUnsent(t *testing.T) {
	bubble(t, func(t *testing.T) { // NetworkClientTest.testUnsupportedVersionDuringInternalMetadataRequest
		r := newRig(t, func(p *peer) {
			m := versionsAnswer()
			m.APIKeys[1].MinVersion = 9
			p.versions(m)
			p.request()
		})
		r.connect(-1)
		req := r.send(-1, "x")
		r.settle()
		require.Equal(t, []*Request{req}, r.done)
		require.ErrorIs(t, req.Err, ErrUnsupportedVersion)
		require.ErrorContains(t, req.Err, "the node has 9 to 13, the client 1 to 8")
		require.False(t, req.MaybeSent)
		require.True(t, r.Ready(-1, time.Now()))
	})
}

func TestEncodeErrorLeavesTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, echoes)
		r.connect(-1)
		oops := errors.New("oops")
		first := r.send(-1, "1st")
		bad := &Request{Exchange: &echo{out: []byte("bad"), attach: []byte("bad"), encode: func() error { return oops }}}
		r.Send(-1, bad, time.Now())
		last := r.send(-1, "last")
		r.settle()
		require.Len(t, r.done, 3)
		require.ErrorIs(t, bad.Err, oops)
		require.False(t, bad.MaybeSent)
		require.NoError(t, first.Err)
		require.NoError(t, last.Err)
		require.Equal(t, "last", string(last.Exchange.(*echo).in))
		require.Equal(t, 1, r.dialled())
	})
}

// A request in a closing connection is not given back while its memory may be read (KAFKA-19012).
func TestRequestComesBackOnlyWhenOffTheWire(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, mute, func(c *Config) { c.RequestTimeout = time.Second })
		r.connect(-1)
		inEncode, resume := make(chan struct{}), make(chan struct{})
		slow := &Request{Exchange: &echo{encode: func() error { close(inEncode); <-resume; return nil }}}
		r.Send(-1, slow, time.Now())
		<-inEncode
		r.pass(10 * time.Second)
		require.Equal(t, closing, r.nodes[-1].state)
		require.Empty(t, r.done)
		require.False(t, r.Ready(-1, time.Now()), "no second connection before the first is through")
		require.Equal(t, 1, r.dialled())
		close(resume)
		r.settle()
		require.Equal(t, []*Request{slow}, r.done)
		require.ErrorIs(t, slow.Err, ErrRequestTimeout)
		require.False(t, slow.MaybeSent)
	})
}

// A request whose answer is here before its write has returned is still the writer's.
func TestAnswerBeforeTheWriteHasReturned(t *testing.T) {
	bubble(t, func(t *testing.T) {
		early := make(chan struct{})
		r := newRig(t, func(p *peer) {
			p.handshake()
			q := p.request()
			p.answer(q.id, "1") // the rest of the same write is still in the pipe
			<-early
			q = p.request()
			p.answer(q.id, "2")
			p.request()
		})
		r.connect(-1)
		big := make([]byte, 2*scratchSize)
		first := &Request{Exchange: &echo{attach: big}}
		second := &Request{Exchange: &echo{attach: big}}
		release := r.hold(-1)
		r.Send(-1, first, time.Now())
		r.Send(-1, second, time.Now())
		release()
		require.Empty(t, r.done)
		r.pass(time.Second)
		require.Empty(t, r.done)
		close(early)
		r.settle()
		require.Equal(t, []*Request{first, second}, r.done)
		require.NoError(t, first.Err)
		require.NoError(t, second.Err)
	})
}

// Of a write that failed half-way, what was not reached is known to be unsent.
func TestMaybeSentIsExact(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			b := make([]byte, scratchSize)
			_, err := io.ReadFull(p, b)
			p.must(err)
		})
		r.connect(-1)
		var reqs []*Request
		for range 3 {
			req := &Request{Exchange: &echo{attach: make([]byte, 2*scratchSize)}}
			reqs = append(reqs, req)
			r.Send(-1, req, time.Now())
		}
		r.settle()
		require.Equal(t, reqs, r.done)
		require.True(t, reqs[0].MaybeSent)
		require.False(t, reqs[1].MaybeSent)
		require.False(t, reqs[2].MaybeSent)
		for _, req := range reqs {
			require.ErrorIs(t, req.Err, ErrDisconnected)
		}
	})
}

func TestSecretsStayOutOfTheLog(t *testing.T) { // S13: no record, key or header in logs
	bubble(t, func(t *testing.T) {
		var log lockedBuffer
		r := newRig(t, func(p *peer) {
			p.handshake()
			q := p.request()
			p.answer(q.id+1, string(q.body))
		}, func(c *Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		r.connect(-1)
		req := r.send(-1, "s3cret")
		r.settle()
		require.Error(t, req.Err)
		require.NotContains(t, log.String()+req.Err.Error(), "s3cret")
		require.Contains(t, log.String(), "connection to node lost")
	})
}

func TestConfigDefaults(t *testing.T) {
	c := Config{SetupTimeout: time.Minute, ReconnectBackoff: -1, SoftwareName: "-ä-", SoftwareVersion: "(devel)"}.withDefaults()
	require.Equal(t, "quill", c.SoftwareName)
	require.Equal(t, "devel", c.SoftwareVersion)
	require.Equal(t, 5, c.MaxInFlight)
	require.Equal(t, 30*time.Second, c.RequestTimeout)
	require.Equal(t, time.Minute, c.SetupTimeoutMax)
	require.Zero(t, c.ReconnectBackoff)
	require.Equal(t, time.Second, c.ReconnectBackoffMax)
	require.Equal(t, 9*time.Minute, c.MaxIdle)
	require.Equal(t, 100<<20, c.MaxResponse)
	require.Panics(t, func() { New(Config{}) })
}

func TestMessageVersions(t *testing.T) {
	m := &Message{Request: message.NewRequest(protocol.Metadata), Response: message.NewResponse(protocol.Metadata)}
	low, high := m.Versions()
	require.Equal(t, []int16{message.MetadataMinVersion, message.MetadataMaxVersion}, []int16{low, high})
	m.Highest = 9
	_, high = m.Versions()
	require.Equal(t, int16(9), high)
	// What a version can't say is an error, not dropped.
	req := m.Request.(*message.MetadataRequest)
	req.AllowAutoTopicCreation = false
	require.ErrorIs(t, m.Encode(&Frame{}, 3), ErrUnsupportedVersion)
	require.NoError(t, m.Encode(&Frame{}, 4))
}

// Requests that wait for the writer leave together. The pipe has no buffer, and the node reads the
// next request only when its answer to the last is taken: the reader must not wait for the writer.
func TestQueuedRequestsAreJoined(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, echoes)
		r.connect(-1)
		before := r.open[bootAddr][0].writes.Load()
		release := r.hold(-1)
		var reqs []*Request
		for range 4 {
			reqs = append(reqs, r.send(-1, "small"))
		}
		release()
		require.Equal(t, reqs, r.done)
		require.Equal(t, before+1, r.open[bootAddr][0].writes.Load())

		var frame Frame
		require.NoError(t, frame.add(&Request{Exchange: &echo{attach: make([]byte, joinLimit)}}, ""))
		require.GreaterOrEqual(t, frame.size(), joinLimit, "a request above the limit goes alone")
	})
}
