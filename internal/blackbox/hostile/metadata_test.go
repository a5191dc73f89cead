package hostile_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// metadataLie is something that every node says in every answer to Metadata.
type metadataLie struct {
	name string
	tell func(m *message.MetadataResponse)

	// What comes of a record for partition 0, of which the lies are.
	delivered bool
	most      time.Duration // it takes; if zero, 100 ms
	blocked   error         // Send ends at max.block.ms, and errors.Is finds this
	text      string        // in the error
	// Otherwise it is taken in, and expires for want of a leader that can be reached.

	alone  bool // partition 1 has nothing to do with it
	faults bool // the log says what is wrong with the answer
}

// onNode1 changes what is said about node 1.
func onNode1(change func(b *message.MetadataResponseBroker)) func(*message.MetadataResponse) {
	return func(m *message.MetadataResponse) {
		for i := range m.Brokers {
			if m.Brokers[i].NodeID == 1 {
				change(&m.Brokers[i])
			}
		}
	}
}

func host(name string) func(*message.MetadataResponse) {
	return onNode1(func(b *message.MetadataResponseBroker) { b.Host = name })
}

func port(n int32) func(*message.MetadataResponse) {
	return onNode1(func(b *message.MetadataResponseBroker) { b.Port = n })
}

// onTopic changes what is said about topic "t", if it is asked about.
func onTopic(change func(t *message.MetadataResponseTopic)) func(*message.MetadataResponse) {
	return func(m *message.MetadataResponse) {
		for i := range m.Topics {
			change(&m.Topics[i])
		}
	}
}

func partitionIndex(at int, index int32) func(*message.MetadataResponse) {
	return onTopic(func(t *message.MetadataResponseTopic) { t.Partitions[at].PartitionIndex = index })
}

func leaderEpoch(next func() int32) func(*message.MetadataResponse) {
	return onTopic(func(t *message.MetadataResponseTopic) { t.Partitions[0].LeaderEpoch = next() })
}

var metadataLies = []metadataLie{
	{name: "H29 no brokers", tell: func(m *message.MetadataResponse) { m.Brokers = nil }, blocked: quill.ErrTimeout, text: "no usable node"},

	{name: "H30 host empty", tell: host(""), alone: true, faults: true},
	{name: "H30 host of 300 bytes", tell: host(strings.Repeat("x", 300)), alone: true, faults: true},
	{name: "H30 host with NUL", tell: host("a\x00b"), alone: true, faults: true},
	{name: "H30 host with newline", tell: host("a\nlevel=ERROR msg=\"all is lost\""), alone: true, faults: true},
	{name: "H30 host with ANSI escapes", tell: host("\x1b[31mred\x1b[0m"), alone: true, faults: true},
	{name: "H31 port 0", tell: port(0), alone: true, faults: true},
	{name: "H31 port -1", tell: port(-1), alone: true, faults: true},
	{name: "H31 port 70000", tell: port(70000), alone: true, faults: true},
	{name: "H32 a second host under the same id", tell: func(m *message.MetadataResponse) {
		m.Brokers = append(m.Brokers, message.MetadataResponseBroker{NodeID: 1, Host: "192.0.2.77", Port: 9092})
	}, delivered: true, alone: true, faults: true},
	{name: "H32 a wrong host first", tell: func(m *message.MetadataResponse) {
		m.Brokers = slices.Insert(m.Brokers, 0, message.MetadataResponseBroker{NodeID: 1, Host: "192.0.2.77", Port: 9092})
	}, alone: true, faults: true},
	{name: "H33 100,000 brokers", tell: func(m *message.MetadataResponse) {
		for id := range int32(100_000) {
			m.Brokers = append(m.Brokers, message.MetadataResponseBroker{NodeID: 10 + id, Host: "192.0.2.77", Port: 9092})
		}
	}, delivered: true, most: 10 * time.Second}, // the producer id is asked of anybody, and in the end of bootstrap servers

	{name: "H34 leader not in the list", tell: func(m *message.MetadataResponse) {
		m.Brokers = slices.DeleteFunc(m.Brokers, func(b message.MetadataResponseBroker) bool { return b.NodeID == 1 })
	}, alone: true},
	{name: "H35 partition -1", tell: partitionIndex(0, -1), blocked: metadata.ErrMalformed, faults: true},
	{name: "H35 partition 2^31-1", tell: partitionIndex(1, math.MaxInt32), blocked: metadata.ErrMalformed, faults: true},
	{name: "H35 a partition twice", tell: partitionIndex(1, 0), blocked: metadata.ErrMalformed, faults: true},
	{name: "H35 a gap", tell: onTopic(func(t *message.MetadataResponseTopic) { t.Partitions = t.Partitions[1:] }), alone: true},

	{name: "H37 a topic nobody asked for", tell: func(m *message.MetadataResponse) {
		if len(m.Topics) == 0 {
			return
		}
		stranger := m.Topics[0]
		stranger.Name, stranger.TopicID = new("stranger"), protocol.UUID{7}
		m.Topics = append([]message.MetadataResponseTopic{stranger}, m.Topics...)
	}, delivered: true, alone: true},
	{name: "H38 the topic is missing", tell: func(m *message.MetadataResponse) { m.Topics = nil }, blocked: quill.ErrTimeout},
	{name: "H39 no error and no partitions", tell: onTopic(func(t *message.MetadataResponseTopic) { t.Partitions = nil }), blocked: metadata.ErrNoPartitions, faults: true},
	{name: "H40 no topic id", tell: onTopic(func(t *message.MetadataResponseTopic) { t.TopicID = protocol.UUID{} }), delivered: true, alone: true},
	{name: "H41 leader epoch -1", tell: leaderEpoch(func() int32 { return -1 }), delivered: true, alone: true},
	{name: "H41 leader epoch 2^31-1", tell: leaderEpoch(func() int32 { return math.MaxInt32 }), delivered: true, alone: true},
	{name: "H42 null name", tell: func(m *message.MetadataResponse) {
		m.Topics = append([]message.MetadataResponseTopic{{TopicID: protocol.UUID{7}, Partitions: m.Topics[0].Partitions}}, m.Topics...)
	}, delivered: true, alone: true},
	{name: "H43 unknown controller", tell: func(m *message.MetadataResponse) { m.ControllerID = 77 }, delivered: true, alone: true},
}

func TestLiesAboutTheClusterEndInTimeOrAreHarmless(t *testing.T) {
	for _, l := range metadataLies {
		t.Run(l.name, func(t *testing.T) {
			testkit.Besiege(t, quilltest.Options{}, testkit.Impatient, func(x *testkit.Siege) { l.run(x) })
		})
	}
}

func (l metadataLie) run(x *testkit.Siege) {
	lie := x.Lie(l.tell)
	if l.alone {
		x.Deliver(1, "a")
	}
	start := time.Now()
	f := x.Send(0, "b")
	if l.alone {
		x.Elsewhere(f)
	}
	_, err := f.Wait(x.Context())
	elapsed := time.Since(start)
	switch {
	case l.delivered:
		require.NoError(x, err)
		require.Less(x, elapsed, cmp.Or(l.most, 100*time.Millisecond))
	case l.blocked != nil:
		require.ErrorIs(x, err, quill.ErrTimeout)
		require.ErrorIs(x, err, l.blocked)
		require.Equal(x, 10*time.Second, elapsed)
		testkit.CheckNotSent(x.T, err, "t", -1)
	default:
		require.ErrorIs(x, err, quill.ErrDeliveryTimeout)
		require.LessOrEqual(x, elapsed, 10*time.Second+20*time.Millisecond)
		testkit.CheckNotSent(x.T, err, "t", 0)
	}
	if err != nil {
		require.ErrorContains(x, err, l.text)
		testkit.RequireHarmless(x.T, err.Error())
	}
	least := 8
	if l.delivered {
		least = 1
	}
	testkit.RequireBetween(x, int(lie.Hits()), least, 25, "asked again and again, but with growing pauses")
	testkit.RequireBetween(x, x.Dialled(), 1, 60)
	require.Equal(x, l.faults, strings.Contains(x.Told.String(), `msg="metadata answer`), x.Told.String())
	lie.Remove()
	x.Deliver(0, "c")
}

// H36, M6: an array of 2^31-1 elements with 10 bytes behind it, in both encodings, at each place where the
// answer has one.
func TestAbsurdArrayLengthsCostNothing(t *testing.T) {
	for name, l := range map[string]struct {
		release string
		head    []byte // behind the correlation id
	}{
		"brokers, compact": {"4.4", []byte{0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07}}, // tags, throttle time
		"brokers":          {"2.1", []byte{0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff}},
		"topics, compact": {"4.4", slices.Concat([]byte{0, 0, 0, 0, 0}, []byte{2, 0, 0, 0, 1, 2, 'h', 0, 0, 0, 1, 0, 0},
			[]byte{0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x07})},
		"topics": {"2.1", slices.Concat([]byte{0, 0, 0, 0}, []byte{0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 'h', 0, 0, 0, 1, 0xff, 0xff},
			[]byte{0xff, 0xff, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff})},
		"negative":          {"2.1", []byte{0, 0, 0, 0, 0x80, 0, 0, 0}},
		"endless, compact":  {"4.4", []byte{0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		"string of 2^31-1":  {"4.4", []byte{0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x07}},
		"tags of 2^31-1":    {"4.4", []byte{0xff, 0xff, 0xff, 0xff, 0x07}},
		"one tag of 2^31-1": {"4.4", []byte{1, 9, 0xff, 0xff, 0xff, 0xff, 0x07}},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Besiege(t, quilltest.Options{Release: l.release}, testkit.Impatient, func(x *testkit.Siege) {
				lie := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Times: -1, Rewrite: func(_ *quilltest.Request, frame []byte) []byte {
					return framed(slices.Concat(bytes.Clone(frame[:8]), l.head, make([]byte, 10)))
				}})
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err := x.Send(0, "a").Wait(x.Context())
				runtime.ReadMemStats(&after)
				require.ErrorIs(x, err, quill.ErrTimeout)
				testkit.CheckNotSent(x.T, err, "t", -1)
				require.Less(x, after.TotalAlloc-before.TotalAlloc, uint64(8<<20), "all attempts together; M6")
				testkit.RequireBetween(x, int(lie.Hits()), 8, 60)
				testkit.RequireBetween(x, x.Dialled(), 8, 60)
				lie.Remove()
				x.Deliver(0, "b")
			})
		})
	}
}

// H40: the topic has another id in every answer, so that every Produce request is for a topic that
// the nodes don't know.
func TestATopicIDThatNeverStaysIsAskedAboutWithPauses(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, testkit.Impatient, func(x *testkit.Siege) {
		n := uint32(0)
		lie := x.Lie(onTopic(func(t *message.MetadataResponseTopic) {
			n++
			binary.BigEndian.PutUint32(t.TopicID[:], n)
		}))
		f, g := x.Send(0, "a"), x.Send(1, "b")
		for _, f := range []quill.Future{f, g} {
			e := x.Failure(f)
			require.ErrorIs(x, e, quill.ErrDeliveryTimeout)
			require.ErrorIs(x, e, protocol.UnknownTopicID)
		}
		testkit.RequireBetween(x, int(lie.Hits()), 16, 40)
		testkit.RequireBetween(x, int(x.C.RequestCount(protocol.Produce)), 16, 40)
		lie.Remove()
		x.Deliver(0, "c")
	})
}

// H41: each answer has a lower leader epoch than the one before, and another leader with it.
func TestLeaderEpochsThatGoBackAreNotFollowed(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, testkit.Impatient, func(x *testkit.Siege) {
		epoch := int32(100)
		lie := x.Lie(onTopic(func(t *message.MetadataResponseTopic) {
			t.Partitions[0].LeaderEpoch = epoch
			if epoch < 100 {
				t.Partitions[0].LeaderID = 3
			}
			epoch--
		}))
		for i := range 20 {
			x.Deliver(0, fmt.Sprint(i))
			time.Sleep(time.Second)                                                                 // the look before counts no longer
			_, err := x.P.SendSync(x.Context(), testkit.OnPartition(7, testkit.Rec("t", "k", "v"))) // makes it ask
			require.ErrorIs(x, err, quill.ErrInvalidPartition)
		}
		require.GreaterOrEqual(x, lie.Hits(), int64(10))
		for _, w := range x.Wire(0) {
			require.EqualValues(x, 1, w.Node)
		}
	})
}

// H44: a node that suddenly belongs to another cluster. That is logged once for each change.
func TestAnotherClusterIDIsTold(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.MetadataMaxAge, cfg.MetadataMaxIdle = time.Minute, time.Hour }, func(x *testkit.Siege) {
		x.Deliver(0, "a")
		time.Sleep(3 * time.Minute)
		require.NotContains(x, x.Told.String(), "another cluster")
		lie := x.Lie(func(m *message.MetadataResponse) { m.ClusterID = new("elsewhere\x1b[31m") })
		time.Sleep(3 * time.Minute)
		require.Equal(x, 1, strings.Count(x.Told.String(), "another cluster"))
		require.Contains(x, x.Told.String(), "elsewhere")
		lie.Remove()
		time.Sleep(3 * time.Minute)
		require.Equal(x, 2, strings.Count(x.Told.String(), "another cluster"))
		x.Deliver(0, "b")
	})
}

// H45: nodes are said to be where a cloud keeps its secrets, or on this machine. The producer gives
// such addresses no special trust, and a dialer of the user's can refuse them.
func TestADialerMayRefuseAddresses(t *testing.T) {
	for _, evil := range []string{"169.254.169.254", "localhost", "127.0.0.1", "::1"} {
		t.Run(evil, func(t *testing.T) {
			var reached atomic.Int32
			errForbidden := errors.New("address is not allowed")
			testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) {
				testkit.Impatient(cfg)
				dial := cfg.DialContext
				cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if host, _, err := net.SplitHostPort(addr); err != nil || host == evil {
						reached.Add(1)
						return nil, errForbidden
					}
					return dial(ctx, network, addr)
				}
			}, func(x *testkit.Siege) {
				lie := x.Lie(host(evil))
				x.Deliver(1, "a")
				f := x.Send(0, "b")
				x.Elsewhere(f)
				e := x.Failure(f)
				require.ErrorIs(x, e, quill.ErrDeliveryTimeout)
				require.ErrorIs(x, e, errForbidden)
				testkit.RequireBetween(x, int(reached.Load()), 8, 20)
				lie.Remove()
				time.Sleep(2 * time.Second)
				x.Deliver(0, "c")
			})
		})
	}
}
