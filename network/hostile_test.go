package network

import (
	"encoding/hex"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/invariant"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// hostile is what a broken node says instead of an answer to a request with the given id.
type hostile struct {
	name string
	say  func(p *peer, id int32)
	want error
	text string // in the error
}

// hostileAnswers are the cases of framing and correlation (H1 to H20).
var hostileAnswers = []hostile{
	{"H1 size -1", func(p *peer, _ int32) { p.raw(0xff, 0xff, 0xff, 0xff) }, ErrMalformedResponse, "size -1"},
	{"H2 size 0", func(p *peer, _ int32) { p.raw(0, 0, 0, 0) }, ErrMalformedResponse, "size 0"},
	{"H3 size 1", func(p *peer, _ int32) { p.raw(0, 0, 0, 1, 7) }, ErrMalformedResponse, "size 1"},
	{"H3 size 3", func(p *peer, _ int32) { p.raw(0, 0, 0, 3, 7, 7, 7) }, ErrMalformedResponse, "size 3"},
	{"H4 size 2^31-1", func(p *peer, _ int32) { p.raw(0x7f, 0xff, 0xff, 0xff) }, ErrResponseTooLarge, "2147483647"},
	{"H5 limit+1", func(p *peer, _ int32) { p.raw(0x06, 0x40, 0, 1) }, ErrResponseTooLarge, "104857601"},
	{"H9 HTTP", func(p *peer, _ int32) { p.raw([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")...) }, ErrWrongProtocol, "HTTP"},
	{"text", func(p *peer, _ int32) { p.raw([]byte("SSH-2.0-OpenSSH_9.6\r\n")...) }, ErrWrongProtocol, `"SSH-"`},
	{"H10 TLS alert", func(p *peer, _ int32) { p.raw(0x15, 3, 1, 0, 2, 2, 10) }, ErrWrongProtocol, "the listener speaks TLS"},
	{"H15 unknown id", func(p *peer, id int32) { p.answer(id+100, "x") }, ErrMalformedResponse, "correlation id"},
	{"H20 close between header and body", func(p *peer, id int32) { p.raw(frame(id, []byte("x"))[:8]...) }, io.ErrUnexpectedEOF, ""},
	{"close", func(*peer, int32) {}, io.EOF, ""},
}

// hammer keeps trying to get one request through for ten seconds.
func (r *rig) hammer() (reqs []*Request) {
	for range 1000 {
		if r.Ready(-1, time.Now()) {
			reqs = append(reqs, r.send(-1, "x"))
		}
		r.pass(10 * time.Millisecond)
	}
	return reqs
}

func TestHostileAnswers(t *testing.T) {
	for _, h := range hostileAnswers {
		t.Run(h.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, func(p *peer) {
					p.handshake()
					h.say(p, p.request().id)
				})
				reqs := r.hammer()
				require.GreaterOrEqual(t, len(reqs), 8)
				for _, req := range reqs {
					require.ErrorIs(t, req.Err, ErrDisconnected)
					require.ErrorIs(t, req.Err, h.want)
					require.ErrorContains(t, req.Err, h.text)
					require.True(t, req.MaybeSent)
				}
				r.requireDials(8, 20)
				// Better times.
				r.listen(bootAddr, echoes)
				r.pass(2 * time.Second)
				r.connect(-1)
				req := r.send(-1, "x")
				r.back(req)
				require.NoError(t, req.Err)
			})
		})
	}
}

func TestHostileHandshakes(t *testing.T) {
	for _, h := range hostileAnswers {
		t.Run(h.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, func(p *peer) { h.say(p, p.request().id) })
				require.Empty(t, r.hammer())
				r.requireDials(8, 20)
				require.ErrorIs(t, r.LastError(-1), h.want)
				require.ErrorContains(t, r.LastError(-1), h.text)
			})
		})
	}
}

func TestSizeLargerThanWhatFollows(t *testing.T) { // H6
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			p.request()
			p.raw(0x06, 0x40, 0, 0, 0, 0)
			silent(p)
		})
		r.connect(-1)
		req := r.send(-1, "x")
		r.pass(30*time.Second - time.Millisecond)
		require.Empty(t, r.done)
		require.LessOrEqual(t, cap(r.nodes[-1].conn.in.large), firstGrow, "memory follows the bytes, not the size")
		r.pass(time.Millisecond)
		require.ErrorIs(t, req.Err, ErrRequestTimeout)
	})
}

func TestOneByteASecondDoesNotExtendTheDeadline(t *testing.T) { // H8
	drip := func(p *peer, b []byte) {
		for _, x := range b {
			p.raw(x)
			time.Sleep(time.Second)
		}
	}
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			drip(p, frame(p.request().id, make([]byte, 1000)))
		})
		r.connect(-1)
		req := r.send(-1, "x")
		r.pass(30 * time.Second)
		require.ErrorIs(t, req.Err, ErrRequestTimeout)
	})
	bubble(t, func(t *testing.T) { // and in the handshake
		r := newRig(t, func(p *peer) {
			q := p.request()
			drip(p, frame(q.id, versionsAnswer().Append(nil, q.version)))
		})
		require.False(t, r.Ready(-1, time.Now()))
		r.pass(10*time.Second + time.Millisecond)
		require.ErrorIs(t, r.LastError(-1), ErrSetupTimeout)
	})
}

func TestSizeSmallerThanTheBody(t *testing.T) { // H7
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			p.raw(append(frame(p.request().id, []byte("mal")), "formed"...)...)
		})
		reqs := r.hammer()
		require.GreaterOrEqual(t, len(reqs), 8)
		for _, req := range reqs {
			require.NoError(t, req.Err) // an echo takes anything
		}
		require.ErrorIs(t, r.LastError(-1), ErrWrongProtocol)
		r.requireDials(8, 20)
	})
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			q := p.request()
			f := frame(q.id, versionsAnswer().Append(nil, q.version))
			f[3] -= 5
			p.raw(f...)
		})
		require.Empty(t, r.hammer())
		require.ErrorIs(t, r.LastError(-1), ErrMalformedResponse)
		r.requireDials(8, 20)
	})
}

func TestGarbageAfterAnAnswer(t *testing.T) { // H12
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			p.raw(append(frame(p.request().id, []byte("fine")), 0xde, 0xad, 0xbe, 0xef, 0)...)
		})
		r.connect(-1)
		req := r.send(-1, "x")
		r.settle()
		require.NoError(t, req.Err)
		require.ErrorIs(t, r.LastError(-1), ErrMalformedResponse)
	})
}

func TestTwoAnswersInOneSegment(t *testing.T) { // H13
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			a, b := p.request(), p.request()
			p.raw(append(frame(a.id, []byte("a")), frame(b.id, []byte("b"))...)...)
			silent(p)
		})
		r.connect(-1)
		a, b := r.send(-1, "x"), r.send(-1, "y")
		r.settle()
		require.Equal(t, []*Request{a, b}, r.done)
		require.Equal(t, "a", string(a.Exchange.(*echo).in))
		require.Equal(t, "b", string(b.Exchange.(*echo).in))
		require.True(t, r.Connected(-1))
	})
}

func TestAnswerSplitAtEveryByte(t *testing.T) { // H14
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			q := p.request()
			for _, b := range frame(q.id, versionsAnswer().Append(nil, q.version)) {
				p.raw(b)
			}
			for cut := 1; ; cut++ {
				q := p.request()
				f := frame(q.id, []byte("answer"))
				if cut == len(f) {
					silent(p)
				}
				p.raw(f[:cut]...)
				p.raw(f[cut:]...)
			}
		})
		r.connect(-1)
		for range len(frame(0, []byte("answer"))) - 1 {
			req := r.send(-1, "x")
			r.settle()
			require.NoError(t, req.Err)
			require.Equal(t, "answer", string(req.Exchange.(*echo).in))
		}
	})
}

func TestRepeatedAndSwappedAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) { // H16
		r := newRig(t, func(p *peer) {
			p.handshake()
			a := p.request()
			p.request()
			p.answer(a.id, "a")
			p.answer(a.id, "a")
		})
		r.connect(-1)
		a, b := r.send(-1, "x"), r.send(-1, "y")
		r.settle()
		require.NoError(t, a.Err)
		require.ErrorIs(t, b.Err, ErrMalformedResponse)
		require.ErrorIs(t, b.Err, ErrDisconnected)
	})
	bubble(t, func(t *testing.T) { // H17
		r := newRig(t, func(p *peer) {
			p.handshake()
			a, b := p.request(), p.request()
			p.answer(b.id, "b")
			p.answer(a.id, "a")
		})
		r.connect(-1)
		a, b := r.send(-1, "x"), r.send(-1, "y")
		r.settle()
		require.ErrorIs(t, a.Err, ErrMalformedResponse)
		require.ErrorIs(t, b.Err, ErrMalformedResponse)
	})
}

func TestAnswerWithoutARequest(t *testing.T) {
	bubble(t, func(t *testing.T) { // H18
		r := newRig(t, func(p *peer) {
			p.handshake()
			p.answer(0, "surprise")
			silent(p)
		})
		require.False(t, r.Ready(-1, time.Now()))
		r.settle()
		require.ErrorIs(t, r.LastError(-1), ErrMalformedResponse)
		require.ErrorContains(t, r.LastError(-1), "no request waits")
	})
	bubble(t, func(t *testing.T) { // H19
		r := newRig(t, func(p *peer) {
			p.handshake()
			p.answer(p.request().id, "unwanted")
			silent(p)
		})
		r.connect(-1)
		req := &Request{Exchange: &echo{}, NoAnswer: true}
		r.Send(-1, req, time.Now())
		r.settle()
		require.NoError(t, req.Err)
		require.ErrorIs(t, r.LastError(-1), ErrMalformedResponse)
	})
}

func TestUndecodableAnswerClosesTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			a := p.request()
			p.request()
			p.answer(a.id, "malformed")
			silent(p)
		})
		r.connect(-1)
		a, b := r.send(-1, "x"), r.send(-1, "y")
		r.settle()
		require.ErrorIs(t, a.Err, ErrMalformedResponse)
		require.ErrorIs(t, a.Err, protocol.ErrMalformed)
		require.ErrorContains(t, a.Err, "Metadata version 8")
		require.ErrorIs(t, b.Err, ErrDisconnected)
		require.True(t, a.MaybeSent)
	})
}

// The size of the frame says where the next answer begins, so bytes behind the last field do no harm, in the
// handshake or later. Invariant builds refuse them: there the nodes are our own.
func TestSpareBytesBehindAnAnswerAreIgnored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log lockedBuffer
		r := newRig(t, func(p *peer) {
			q := p.request()
			p.answer(q.id, string(append(versionsAnswer().Append(nil, q.version), 1)))
			for {
				q := p.request()
				var m message.InitProducerIDResponse
				p.answer(q.id, "\x00"+string(append(m.Append(nil, q.version), 1, 2, 3)))
			}
		}, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		if invariant.Enabled {
			require.False(t, r.Ready(-1, time.Now()))
			r.settle()
			require.ErrorIs(t, r.LastError(-1), ErrMalformedResponse)
			require.ErrorContains(t, r.LastError(-1), "1 bytes left over")
			return
		}
		r.connect(-1)
		for range 3 {
			req := &Request{Exchange: &Message{Request: message.NewRequest(protocol.InitProducerID), Response: message.NewResponse(protocol.InitProducerID)}}
			r.Send(-1, req, time.Now())
			r.settle()
			require.NoError(t, req.Err)
		}
		r.Disconnect(-1, time.Now())
		r.settle()
		r.connect(-1)
		require.Equal(t, 1, strings.Count(log.String(), "bytes left over"), "once for each node: %s", log.String())
		require.Contains(t, log.String(), "node=bootstrap addr=boot:9092 api=ApiVersions version=4 bytes=1")
	})
}

// A lying array length or size costs no memory (H4, H6, S16).
func TestHostileNodesCostNoMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			p.request()
			p.raw(0x06, 0x40, 0, 0)
			p.raw(make([]byte, 100<<10)...)
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r.connect(-1)
		req := r.send(-1, "x")
		r.settle()
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, req.Err, io.ErrUnexpectedEOF)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20))
	})
}

// metadataOfMockCluster is what a mock broker of librdkafka 2.16.0 answers to Metadata version 13 about the topic
// "quill", recorded from the socket, without the size in front: a zero too many comes in the end.
const metadataOfMockCluster = "00000007000000000004000000010a3132372e302e302e310000b0870000000000020a3132372e302e302e31000097010000000000" +
	"030a3132372e302e302e31000091930000186d6f636b436c757374657231353564326430313631643400000000020000067175696c6c26b02e3f4a3e4dab913a" +
	"f04dfb0b265e0005000000000000000000020000000004000000010000000200000003040000000100000002000000030100000000000001000000020000000004" +
	"000000010000000200000003040000000100000002000000030100000000000002000000020000000004000000010000000200000003040000000100000002000000" +
	"030100000000000003000000010000000004000000010000000200000003040000000100000002000000030100800000000000000000"

func TestTheMockClusterOfLibrdkafkaIsUnderstood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		recorded, err := hex.DecodeString(metadataOfMockCluster)
		require.NoError(t, err)
		r := newRig(t, func(p *peer) {
			p.handshake()
			for {
				p.answer(p.request().id, string(recorded[4:]))
			}
		})
		r.connect(-1)
		resp := new(message.MetadataResponse)
		question := &message.MetadataRequest{Topics: []message.MetadataRequestTopic{{Name: new("quill")}}}
		req := &Request{Exchange: &Message{Request: question, Response: resp}}
		r.Send(-1, req, time.Now())
		r.settle()
		if invariant.Enabled {
			require.ErrorContains(t, req.Err, "1 bytes left over")
			return
		}
		require.NoError(t, req.Err)
		require.Len(t, resp.Brokers, 3)
		require.Equal(t, "quill", *resp.Topics[0].Name)
		require.Len(t, resp.Topics[0].Partitions, 4)
		require.Equal(t, []int32{1, 2, 3}, resp.Topics[0].Partitions[3].ISRNodes.List())
		require.True(t, r.Connected(-1))
	})
}
