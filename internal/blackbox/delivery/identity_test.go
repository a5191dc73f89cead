package delivery_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Producer ids that are another producer's too, or that brokers don't take any more.

// The broker knows the id under a higher epoch, for another producer has it too. No record fails for it.
func TestATooLowEpochIsLeftForANewProducerID(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, nil, func(x *testkit.Siege) {
		lie := x.Lend(3)
		x.Deliver(0, "a")
		lie.Remove()
		higher := x.Lend(9)
		other := x.Sharing()
		_, err := other.SendSync(x.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "other")))
		require.NoError(x, err)
		higher.Remove()
		want, before := []string{"a@3:0", "other@9:0"}, x.Asks()
		for i := range 20 {
			start := time.Now()
			require.EqualValues(x, 2+i, x.Deliver(0, fmt.Sprint(i)))
			require.Less(x, time.Since(start), time.Second)
			want = append(want, fmt.Sprintf("%d@0:%d", i, i))
		}
		require.Equal(x, want, x.Stored(0))
		require.EqualValues(x, 1, x.Asks()-before, "one new id")
		require.NotEqualValues(x, 4711, testkit.Logged(x.T, x.C, "t", 0)[2].ProducerID)
		require.Contains(x, x.Told.String(), "the producer id is of no use any more, a new one is taken")
		testkit.CloseProducer(x.T, other)
	})
}

// So with every answer that all batches of the id would always get.
func TestNoAnswerAboutTheProducerIDStopsAPartitionForGood(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.InvalidProducerEpoch, protocol.ProducerFenced, protocol.InvalidProducerIDMapping, protocol.InvalidTxnState} {
		testkit.Besiege(t, quilltest.Options{}, nil, func(x *testkit.Siege) {
			x.Deliver(0, "a")
			x.Deliver(1, "z")
			id := testkit.Logged(x.T, x.C, "t", 0)[0].ProducerID
			x.Produce(quilltest.Fault{Nodes: []int32{1}, Times: -1, Err: code, When: func(r *quilltest.Request) bool {
				h, ok := r.Batch("t", 0)
				return ok && h.ProducerID == id
			}})
			futures := []quill.Future{x.Send(0, "b"), x.Send(0, "c"), x.Send(0, "d")}
			for i, f := range futures {
				require.EqualValues(x, 1+i, x.Delivered(f), code)
			}
			x.Deliver(1, "y")
			require.Equal(x, []string{"a@0:0", "b@0:0", "c@0:1", "d@0:2"}, x.Stored(0))
			require.Equal(x, []string{"z@0:0", "y@0:0"}, x.Stored(1))
		})
	}
}

// A batch that may be in the log already is not written again under the new id.
func TestABatchInDoubtIsNotTakenToTheNextProducerID(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, nil, func(x *testkit.Siege) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Nodes: []int32{1}, DisconnectAfter: true})
		x.Produce(quilltest.Fault{Nodes: []int32{1}, Skip: 1, Err: protocol.InvalidProducerEpoch})
		e := x.Failure(x.Send(0, "b"))
		require.Equal(x, quill.MaybeWritten, e.Outcome)
		require.True(x, e.Retriable())
		require.ErrorIs(x, e, protocol.InvalidProducerEpoch)
		require.ErrorContains(x, e, "producer id 1000 is of no use any more")
		require.EqualValues(x, 2, x.Deliver(0, "c"))
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:0"}, x.Stored(0))
	})
}

// A cluster that gives out the same id again and again, and takes nothing under it, is asked with pauses.
func TestProducerIDsOfNoUseAreReplacedWithPauses(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, testkit.Impatient, func(x *testkit.Siege) {
		x.Lend(3)
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Nodes: []int32{1}, Times: -1, Err: protocol.InvalidProducerEpoch})
		before := x.Asks()
		e := x.Failure(x.Send(0, "b"))
		require.ErrorIs(x, e, protocol.InvalidProducerEpoch)
		require.Equal(x, quill.Rejected, e.Outcome)
		asks := x.Asks() - before
		require.GreaterOrEqual(x, asks, int64(5), "ten seconds with pauses of at most one")
		require.LessOrEqual(x, asks, int64(20))
	})
}

// Two producers go on from one snapshot. What the broker acknowledges to the second one is the first one's, and is
// in the log once. It notices, and takes an id of its own.
func TestABatchOfAnotherProducerIsNoSuccess(t *testing.T) {
	for _, later := range []time.Duration{0, time.Second} { // 0: with the same timestamp
		testkit.Besiege(t, quilltest.Options{}, nil, func(x *testkit.Siege) { testAnothersBatch(x, later) })
	}
}

func testAnothersBatch(x *testkit.Siege, later time.Duration) {
	lie := x.Lend(3)
	first := x.Sharing()
	x.C.MustCreateTopic("elsewhere", 1, quilltest.TopicConfig{})
	_, err := first.SendSync(x.Context(), testkit.Rec("elsewhere", "k", "v"))
	require.NoError(x, err)
	x.Deliver(1, "z") // records keep their timestamps, as this answer shows
	lie.Remove()
	before := x.Asks()
	_, err = first.SendSync(x.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "first")))
	require.NoError(x, err)
	time.Sleep(later)
	e := x.Failure(x.Send(0, "second"))
	require.Equal(x, quill.MaybeWritten, e.Outcome)
	require.True(x, e.Retriable())
	require.ErrorContains(x, e, "the broker took the batch for one of another producer, which uses producer id 4711 too")
	require.Contains(x, x.Told.String(), "another producer uses the same producer id")
	for i := range 5 {
		require.EqualValues(x, 1+2*i, x.Deliver(0, fmt.Sprint("second", i)))
		_, err = first.SendSync(x.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", fmt.Sprint("first", i))))
		require.NoError(x, err)
	}
	require.EqualValues(x, 1, x.Asks()-before)
	require.Len(x, x.Stored(0), 11)
	testkit.CloseProducer(x.T, first)
}

// Where brokers set the timestamps every answer has one, and means what it says.
func TestLogAppendTimesAreNotAnotherProducers(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, nil, func(x *testkit.Siege) {
		x.C.MustCreateTopic("by-broker", 1, quilltest.TopicConfig{LogAppendTime: true})
		x.Deliver(0, "a")
		for range 3 {
			m, err := x.P.SendSync(x.Context(), testkit.Rec("by-broker", "k", "v"))
			require.NoError(x, err)
			require.True(x, m.HasTimestamp())
		}
		require.EqualValues(x, 1, x.Asks())
	})
}

// If that begins while the producer runs, it takes one answer for another producer's, and then knows.
func TestATopicWhoseTimestampsBecomeTheBrokersIsUnderstood(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, nil, func(x *testkit.Siege) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Times: -1, Edit: func(_ *quilltest.Request, response any) {
			for _, t := range response.(*message.ProduceResponse).Responses {
				for i := range t.PartitionResponses {
					t.PartitionResponses[i].LogAppendTimeMs = time.Now().UnixMilli()
				}
			}
		}})
		time.Sleep(time.Second)
		require.Equal(x, quill.MaybeWritten, x.Failure(x.Send(0, "b")).Outcome)
		for i := range 5 {
			require.EqualValues(x, 2+i, x.Deliver(0, fmt.Sprint(i)))
		}
		require.EqualValues(x, 2, x.Asks())
		require.Len(x, x.Stored(0), 7)
	})
}

// Brokers before 2.5 that keep saying so without the log's start have forgotten the producer.
func TestAnUnknownProducerWithoutLogStartIsNotAskedForEver(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Release: "2.1"}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		id := testkit.Logged(x.T, x.C, "t", 0)[0].ProducerID
		x.Produce(quilltest.Fault{Nodes: []int32{1}, Times: -1, Err: protocol.UnknownProducerID, When: func(r *quilltest.Request) bool {
			h, ok := r.Batch("t", 0)
			return ok && h.ProducerID == id && h.ProducerEpoch == 0
		}})
		start := time.Now()
		x.Deliver(0, "b")
		require.Less(x, time.Since(start), time.Second)
		require.Equal(x, []string{"a@0:0", "b@1:0"}, x.Stored(0))
	})
}

// However many batches are refused meanwhile, ids are asked for with pauses that grow; success ends that.
func TestPausesBetweenProducerIDsGrowUntilOneIsOfUse(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, nil, func(x *testkit.Siege) {
		x.C.MustCreateTopic("many", 50, quilltest.TopicConfig{})
		x.Deliver(0, "a")
		refused := x.Produce(quilltest.Fault{Times: -1, Err: protocol.InvalidProducerEpoch})
		before := x.Asks()
		var last quill.Future
		for i := range int32(50) { // each partition has pauses of its own
			r := testkit.Rec("many", "k", "v")
			r.Partition = quill.Partition(i)
			last = x.P.Send(x.Context(), r)
			time.Sleep(200 * time.Millisecond)
		}
		asks := x.Asks() - before
		require.GreaterOrEqual(x, asks, int64(8))
		require.LessOrEqual(x, asks, int64(16), "100, 200, 400, 800 ms, and then each second, give or take a fifth")
		refused.Remove()
		x.Delivered(last)
		x.Produce(quilltest.Fault{Nodes: []int32{1}, Err: protocol.InvalidProducerEpoch})
		start := time.Now()
		x.Deliver(0, "z")
		require.Less(x, time.Since(start), 300*time.Millisecond)
	})
}
