package quill_test

import (
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// H58: success for a batch that expired meanwhile changes nothing any more, but says that its
// sequences were used.
func TestSuccessForAnExpiredBatchComesTooLate(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, testkit.Expiring, func(x *testkit.Lab) {
		x.Hold()
		x.Slowly(quilltest.Fault{})
		told := 0
		b := x.Send(0, "b")
		x.P.SendFunc(x.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "c")), func(_ quill.RecordMetadata, err error) {
			told++
			require.ErrorIs(x, err, quill.ErrDeliveryTimeout)
		})
		x.Expired(b, quill.MaybeWritten)
		time.Sleep(time.Minute)
		x.Expired(b, quill.MaybeWritten)
		require.Equal(x, 1, told)
		require.EqualValues(x, 32<<20, x.P.BufferAvailable())
		x.Deliver(0, "d")
		log := x.Stored(0)
		require.Equal(x, []string{"a@0:0", "b@0:1"}, log[:2])
		require.Contains(x, log[len(log)-1], "d@")
	})
}

// Java: SenderTest.testNoDoubleDeallocation
func TestATimedOutRequestGivesItsMemoryBackOnce(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, testkit.Expiring, func(x *testkit.Lab) {
		x.Hold()
		x.Produce(quilltest.Fault{Nodes: []int32{1}, DropAnswer: true})
		x.Expired(x.Send(0, "b"), quill.MaybeWritten)
		require.Less(x, x.P.BufferAvailable(), int64(32<<20), "the request is not back")
		time.Sleep(1100 * time.Millisecond)
		require.EqualValues(x, 32<<20, x.P.BufferAvailable())
	})
}

// A batch that expires while the connection is in the middle of writing it keeps its memory until the
// connection has let go of it (KAFKA-19012, CVE-2026-35554).
//
// Java: SenderTest.testNoBufferReuseWhenBatchExpires
func TestExpiredInFlightKeepsItsBuffer(t *testing.T) {
	const size = 600 << 10 // more than a connection buffers
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		testkit.Expiring(cfg)
		cfg.BufferMemory, cfg.BatchSize = 2<<20, 700<<10
	}, func(x *testkit.Lab) {
		defer func() { x.P = testkit.Open(x.T, testkit.Config(x.C)) }() // the lab closes a producer with the usual memory
		x.C.MustCreateTopic("other", 1, quilltest.TopicConfig{})
		other, _, err := x.C.Leader("other", 0)
		require.NoError(x, err)
		require.EqualValues(x, 1, other)
		require.NoError(x, x.C.MoveLeader("other", 0, 2))
		x.Hold()
		require.NoError(x, x.C.PauseNode(1))
		b := x.Send(0, strings.Repeat("b", size))
		x.Expired(b, quill.MaybeWritten)
		require.Less(x, x.P.BufferAvailable(), int64(2<<20-size))
		for range 3 { // all the memory there is, used and used again
			_, err := x.P.SendSync(x.Context(), quill.Record[string, string]{Topic: "other", Value: strings.Repeat("x", size)})
			require.NoError(x, err)
		}
		require.NoError(x, x.C.ResumeNode(1))
		time.Sleep(time.Minute)
		for _, r := range testkit.Logged(x.T, x.C, "t", 0) {
			require.NotContains(x, string(r.Value), "x")
		}
		require.EqualValues(x, 2<<20, x.P.BufferAvailable())
		testkit.CloseProducer(x.T, x.P)
	})
}

// Java: SenderTest.testSimple
func TestARecordIsDeliveredWithItsOffset(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.Produce(quilltest.Fault{AnswerDelay: time.Second})
		a := x.Send(0, "a")
		time.Sleep(999 * time.Millisecond)
		require.Len(x, x.Wire(0), 1)
		require.False(x, a.Done())
		require.Less(x, x.P.BufferAvailable(), int64(32<<20))
		require.EqualValues(x, 0, x.Delivered(a))
		require.EqualValues(x, 32<<20, x.P.BufferAvailable())
		require.EqualValues(x, 1, x.Deliver(0, "b"))
		require.Equal(x, []string{"a@0:0", "b@0:1"}, x.Stored(0))
	})
}
