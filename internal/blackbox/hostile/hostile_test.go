package hostile_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/invariant"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// The producer against nodes that say what no sane broker says. The cases carry numbers, H1 to H75;
// internal/lint sees to it that each has a test. Those of framing stand here and, one connection at a
// time, in network; those of versions, metadata, produce answers and producer ids in the files
// hostile_*_test.go.
//
// However a node lies, five things hold: the record comes to a typed error in its time or is
// delivered once; other nodes' records do not notice; nothing is asked in a loop; what is logged has
// no control characters; and in the end no memory and no goroutine is left over.

// speech is what a hostile node says instead of an answer, given the answer's frame.
type speech struct {
	name string
	say  func(frame []byte) []byte
	cut  int           // close after this many bytes
	drip time.Duration // between two bytes
	want error         // what the cause of a failure is; nil: the answer counts all the same
}

// says makes a speech of fixed bytes.
func says(b ...byte) func([]byte) []byte { return func([]byte) []byte { return b } }

var speeches = []speech{
	{name: "H1 size -1", say: says(0xff, 0xff, 0xff, 0xff), want: network.ErrMalformedResponse},
	{name: "H2 size 0", say: says(0, 0, 0, 0), want: network.ErrMalformedResponse},
	{name: "H3 size 1", say: says(0, 0, 0, 1, 7), want: network.ErrMalformedResponse},
	{name: "H3 size 3", say: says(0, 0, 0, 3, 7, 7, 7), want: network.ErrMalformedResponse},
	{name: "H4 size 2^31-1", say: says(0x7f, 0xff, 0xff, 0xff), want: network.ErrResponseTooLarge},
	{name: "H5 limit+1", say: says(0x06, 0x40, 0, 1), want: network.ErrResponseTooLarge},
	{name: "H6 size without a body", say: says(0x06, 0x40, 0, 0, 0, 0), want: network.ErrRequestTimeout},
	{name: "H7 size smaller than the body", say: func(b []byte) []byte { return resized(b, -5) }, want: network.ErrMalformedResponse},
	{name: "H7 size larger by a few", say: func(b []byte) []byte { return resized(append(b, 1, 2, 3), 3) }, want: inInvariantBuilds(network.ErrMalformedResponse)},
	{name: "H8 one byte per second", drip: time.Second, want: network.ErrRequestTimeout},
	{name: "H9 HTTP", say: says([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")...), want: network.ErrWrongProtocol},
	{name: "H10 TLS alert", say: says(0x15, 3, 1, 0, 2, 2, 10), want: network.ErrWrongProtocol},
	{name: "H12 garbage after the answer", say: func(b []byte) []byte { return append(b, 0xde, 0xad, 0xbe, 0xef, 0) }},
	{name: "H14 split at every byte", drip: time.Microsecond},
	{name: "H15 unknown correlation id", say: func(b []byte) []byte { b[6] ^= 1; return b }, want: network.ErrMalformedResponse},
	{name: "H16 the answer twice", say: func(b []byte) []byte { return slices.Concat(b, b) }},
	{name: "H20 close between header and body", cut: 8, want: io.ErrUnexpectedEOF},
	{name: "H20 close in the size", cut: 2, want: io.ErrUnexpectedEOF},
}

// framed puts the right size in front of a frame, whose first four bytes are for it.
func framed(frame []byte) []byte {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

// resized returns the frame with another size in front.
func resized(frame []byte, by int) []byte {
	frame = bytes.Clone(frame)
	binary.BigEndian.PutUint32(frame, uint32(int(binary.BigEndian.Uint32(frame))+by))
	return frame
}

// least returns how often a node must be asked at least within ten seconds that says nothing else.
func (s speech) least() int {
	switch s.want {
	case nil:
		return 1
	case network.ErrRequestTimeout: // after two seconds each
		return 4
	default:
		return 8
	}
}

// fault makes some requests be answered so.
func (s speech) fault(api protocol.APIKey, times int, nodes ...int32) quilltest.Fault {
	f := quilltest.Fault{APIs: []protocol.APIKey{api}, Nodes: nodes, Times: times, CutAnswer: s.cut, Trickle: s.drip}
	if s.say != nil {
		f.Rewrite = func(_ *quilltest.Request, frame []byte) []byte { return s.say(bytes.Clone(frame)) }
	}
	return f
}

// inInvariantBuilds returns err there, else nil: bytes behind an answer are strictly looked at only there.
func inInvariantBuilds(err error) error {
	if invariant.Enabled {
		return err
	}
	return nil
}

// forSpeeches runs a test under each speech.
func forSpeeches(t *testing.T, change func(*quill.Config), test func(x *testkit.Siege, s speech)) {
	for _, s := range speeches {
		t.Run(s.name, func(t *testing.T) {
			testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) {
				cfg.RequestTimeout, cfg.DeliveryTimeout = 2*time.Second, 10*time.Second
				if change != nil {
					change(cfg)
				}
			}, func(x *testkit.Siege) { test(x, s) })
		})
	}
}

func TestHostileProduceAnswersLoseAndDoubleNothing(t *testing.T) {
	forSpeeches(t, nil, func(x *testkit.Siege, s speech) {
		x.Deliver(0, "a")
		hit := x.C.Inject(s.fault(protocol.Produce, 2, 1))
		b, c := x.Send(0, "b"), x.Send(0, "c")
		x.Elsewhere(b)
		x.Delivered(b)
		require.EqualValues(x, 2, x.Delivered(c))
		require.EqualValues(x, 2, hit.Hits())
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2"}, x.Stored(0))
		testkit.RequireBetween(x, x.Dialled(1), min(s.least(), 2), 5)
	})
}

func TestHostileProduceAnswersForEverEndAtTheDeadline(t *testing.T) {
	forSpeeches(t, nil, func(x *testkit.Siege, s speech) {
		x.Deliver(0, "a")
		hostile := x.C.Inject(s.fault(protocol.Produce, -1, 1))
		before := x.Dialled(1)
		start := time.Now()
		b := x.Send(0, "b")
		x.Elsewhere(b)
		testkit.RequireBetween(x, x.Dialled(1)-before, s.least()-1, 20)
		testkit.RequireBetween(x, int(hostile.Hits()), s.least(), 20)
		if s.want != nil {
			e := x.Failure(b)
			require.ErrorIs(x, e, quill.ErrDeliveryTimeout)
			require.ErrorIs(x, e, s.want)
			require.Equal(x, quill.MaybeWritten, e.Outcome)
			require.Greater(x, time.Since(start), 9*time.Second)
			testkit.RequireHarmless(x.T, e.Error())
		} else {
			x.Delivered(b)
		}
		hostile.Remove()
		time.Sleep(2 * time.Second)
		x.Deliver(0, "c")
		testkit.RequireBetween(x, len(testkit.Logged(x.T, x.C, "t", 0)), 2, 3)
	})
}

// Every node answers Metadata so: sends end at max.block.ms and say why, and no node is asked much.
func TestHostileMetadataAnswersEndAtMaxBlock(t *testing.T) {
	forSpeeches(t, testkit.BlockConfig(10*time.Second), func(x *testkit.Siege, s speech) {
		hostile := x.C.Inject(s.fault(protocol.Metadata, -1))
		start := time.Now()
		_, err := x.Send(0, "a").Wait(x.Context())
		if s.want == nil {
			require.NoError(x, err)
		} else {
			require.ErrorIs(x, err, quill.ErrTimeout)
			require.ErrorIs(x, err, s.want)
			require.Equal(x, 10*time.Second, time.Since(start))
			testkit.CheckNotSent(x.T, err, "t", -1)
		}
		testkit.RequireBetween(x, int(hostile.Hits()), s.least(), 40)
		testkit.RequireBetween(x, x.Dialled(), s.least(), 60, "20 for each of the three")
		hostile.Remove()
		x.Deliver(0, "b")
	})
}

// Every node answers InitProducerId so.
func TestHostileProducerIDAnswersEndAtTheDeadline(t *testing.T) {
	forSpeeches(t, nil, func(x *testkit.Siege, s speech) {
		hostile := x.C.Inject(s.fault(protocol.InitProducerID, -1))
		_, err := x.Send(0, "a").Wait(x.Context())
		if s.want == nil {
			require.NoError(x, err)
		} else {
			require.ErrorIs(x, err, quill.ErrDeliveryTimeout)
			testkit.CheckNotSent(x.T, err, "t", 0)
		}
		testkit.RequireBetween(x, int(hostile.Hits()), s.least(), 20)
		testkit.RequireBetween(x, x.Dialled(), s.least(), 60)
		hostile.Remove()
		time.Sleep(2 * time.Second)
		x.Deliver(0, "b")
	})
}

// H13, H17: the answers to two requests of one connection in one segment, in order and not.
func TestTwoAnswersAtOnceLoseNothing(t *testing.T) {
	for _, swapped := range []bool{false, true} {
		testkit.Besiege(t, quilltest.Options{}, nil, func(x *testkit.Siege) {
			x.Deliver(0, "a")
			before := x.Dialled(1)
			var held []byte
			x.Produce(quilltest.Fault{Nodes: []int32{1}, Times: 2, AnswerDelay: 100 * time.Millisecond, Rewrite: func(_ *quilltest.Request, frame []byte) []byte {
				if held == nil {
					held = bytes.Clone(frame)
					return nil
				}
				if swapped {
					return slices.Concat(frame, held)
				}
				return slices.Concat(held, frame)
			}})
			b := x.Send(0, "b")
			time.Sleep(10 * time.Millisecond)
			c := x.Send(0, "c")
			x.Delivered(b)
			require.EqualValues(x, 2, x.Delivered(c))
			require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2"}, x.Stored(0))
			require.Equal(x, swapped, x.Dialled(1) > before)
		})
	}
}

// H18: a node that answers before it is asked.
func TestAnAnswerBeforeAnyRequestIsNoTrouble(t *testing.T) {
	var sane atomic.Bool
	greet := func(node int32) []byte {
		if node == 1 && !sane.Load() {
			return []byte{0, 0, 0, 8, 0, 0, 0, 0, 1, 2, 3, 4}
		}
		return nil
	}
	testkit.Besiege(t, quilltest.Options{Greet: greet}, func(cfg *quill.Config) {
		cfg.RequestTimeout, cfg.DeliveryTimeout = 2*time.Second, 10*time.Second
	}, func(x *testkit.Siege) {
		x.Deliver(1, "a")
		b := x.Send(0, "b")
		x.Elsewhere(b)
		e := x.Failure(b)
		require.ErrorIs(x, e, quill.ErrDeliveryTimeout)
		require.ErrorIs(x, e, network.ErrMalformedResponse)
		require.Equal(x, quill.NotSent, e.Outcome)
		testkit.RequireBetween(x, x.Dialled(1), 8, 20)
		sane.Store(true)
		time.Sleep(2 * time.Second)
		x.Deliver(0, "c")
	})
}

// H19: an answer to a request that wants none.
func TestAnAnswerToAcksNoneIsNoTrouble(t *testing.T) {
	var quiet atomic.Bool
	testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) {
		cfg.Acks = quill.AcksNone
		dial := cfg.DialContext
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := dial(ctx, network, addr)
			return &talkative{Conn: nc, quiet: &quiet}, err
		}
	}, func(x *testkit.Siege) {
		for i := range 20 {
			_, err := x.P.SendSync(x.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", fmt.Sprint(i))))
			require.NoError(x, err)
			time.Sleep(500 * time.Millisecond)
		}
		testkit.RequireBetween(x, x.Dialled(1), 10, 21, "each answer costs a connection, no more")
		quiet.Store(true)
		x.Deliver(0, "last")
		require.NoError(x, x.C.WaitFor(testkit.After(x.T, time.Second), func() bool {
			records, err := x.C.Records("t", 0)
			return err == nil && len(records) > 0 && string(records[len(records)-1].Value) == "last"
		}))
	})
}

// talkative is a connection whose node answers each Produce request, wanted or not.
type talkative struct {
	net.Conn
	quiet  *atomic.Bool
	answer atomic.Pointer[[]byte]
}

func (c *talkative) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if !c.quiet.Load() && len(b) > 12 && protocol.APIKey(binary.BigEndian.Uint16(b[4:])) == protocol.Produce {
		answer := slices.Concat([]byte{0, 0, 0, 8}, b[8:12], []byte{0, 0, 0, 0})
		c.answer.Store(&answer)
		_ = c.SetReadDeadline(time.Now()) // wakes the reader
	}
	return n, err
}

func (c *talkative) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if answer := c.answer.Swap(nil); err != nil && answer != nil {
		return copy(b, *answer), c.SetReadDeadline(time.Time{})
	}
	return n, err
}
