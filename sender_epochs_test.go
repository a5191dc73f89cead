package quill_test

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Java: SenderTest.testEpochBumpOnOutOfOrderSequenceForNextBatchWhenThereIsNoBatchInFlight
func TestAnIdlePartitionMovesToTheNewEpochWithItsNextBatch(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Deliver(1, "z")
		x.Produce(quilltest.Fault{Err: protocol.OutOfOrderSequenceNumber, Topic: "t", Partitions: []int32{0}})
		x.Deliver(0, "b")
		x.Deliver(1, "y")
		x.Deliver(1, "x")
		require.Equal(x, []string{"z@0:0", "y@1:0", "x@1:1"}, x.Stored(1))
		testkit.CloseProducer(x.T, x.P)
		require.Equal(x, 1, x.P.EpochBumps())
	})
}

// Java: SenderTest.testUnknownProducerErrorShouldBeRetriedForFutureBatchesWhenFirstFails
func TestBatchesBehindAForgottenProducerFollowInOrder(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Release: "2.1"}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		require.NoError(x, x.C.DeleteRecords("t", 0, 1))
		require.NoError(x, x.C.ForgetProducers("t", 0))
		b, c, d := x.Send(0, "b"), x.Send(0, "c"), x.Send(0, "d")
		for i, f := range []quill.Future{b, c, d} {
			require.EqualValues(x, i+1, x.Delivered(f))
		}
		require.Equal(x, []string{"b@1:0", "c@1:1", "d@1:2"}, x.Stored(0))
		testkit.CloseProducer(x.T, x.P)
		require.Equal(x, 1, x.P.EpochBumps(), "one reset for all")
	})
}

// Java: SenderTest.testCancelInFlightRequestAfterFatalError
func TestAFatalErrorFailsWhatIsInFlightButKeepsItsMemory(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Deliver(1, "z")
		x.Produce(quilltest.Fault{Nodes: []int32{2}, AnswerDelay: 2 * time.Second})
		start := time.Now()
		inFlight := x.Send(1, "y")
		time.Sleep(time.Second)
		x.Produce(quilltest.Fault{Nodes: []int32{1}, Err: protocol.ClusterAuthorizationFailed})
		require.True(x, x.Failure(x.Send(0, "b")).Fatal())
		require.Equal(x, quill.MaybeWritten, x.Failure(inFlight).Outcome)
		require.Equal(x, time.Second, time.Since(start))
		require.Less(x, x.P.BufferAvailable(), int64(32<<20))
		time.Sleep(1500 * time.Millisecond)
		require.EqualValues(x, 32<<20, x.P.BufferAvailable())
		require.Len(x, x.Stored(1), 2, "the late success is harmless")
	})
}
