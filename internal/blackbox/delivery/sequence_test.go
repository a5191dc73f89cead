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

// Producer ids, epochs and sequences as brokers see them.

// Java: SenderTest.testInitProducerIdRequest
// Java: SenderTest.testSequenceNumberIncrement
// Java: TransactionManagerTest.testFailIfNotReadyForSendIdempotentProducer
func TestAProducerIDComesBeforeTheFirstBatch(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Delay: time.Second})
		start := time.Now()
		x.Deliver(0, "a")
		require.Equal(x, time.Second, time.Since(start))
		x.Deliver(0, "b")
		first := x.Wire(0)[0].Header
		require.EqualValues(x, 1000, first.ProducerID)
		require.Equal(x, []string{"a@0:0", "b@0:1"}, x.Stored(0))
	})
}

// Java: SenderTest.testIdempotentInitProducerIdWithMaxInFlightOne
func TestAProducerIDComesWithOneNodeAndOneInFlight(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) { cfg.MaxInFlightRequestsPerConnection = 1 }, func(x *testkit.Lab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Delay: time.Second})
		x.Deliver(0, "a")
		x.Deliver(1, "b")
	})
}

// Java: SenderTest.testNodeNotReady
func TestANodeThatIsNotReadyDelaysTheProducerIDOnly(t *testing.T) {
	impatient := func(cfg *quill.Config) { cfg.RequestTimeout = time.Second }
	testkit.InLab(t, quilltest.Options{Nodes: 1}, impatient, func(x *testkit.Lab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.CoordinatorLoadInProgress, Throttle: 5 * time.Second})
		start := time.Now()
		x.Deliver(0, "a")
		require.Equal(x, 5*time.Second, time.Since(start))
	})
	testkit.InLab(t, quilltest.Options{Nodes: 1}, impatient, func(x *testkit.Lab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Do: func(*quilltest.Request) { _ = x.C.StopNode(1) }})
		f := x.Send(0, "a")
		time.Sleep(5 * time.Second)
		require.False(x, f.Done())
		require.NoError(x, x.C.StartNode(1))
		x.Delivered(f)
		require.Equal(x, []string{"a@0:0"}, x.Stored(0))
	})
}

// Java: SenderTest.testSenderShouldRetryWithBackoffOnRetriableError
func TestTheProducerIDIsAskedForWithBackoff(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		var at []time.Time
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Times: -1, Do: func(*quilltest.Request) { at = append(at, time.Now()) }})
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Times: 3, Err: protocol.CoordinatorLoadInProgress})
		x.Deliver(0, "a")
		require.Len(x, at, 4)
		for i, backoff := range []time.Duration{100, 200, 400} {
			require.InDelta(x, backoff*time.Millisecond, at[i+1].Sub(at[i]), float64(backoff*time.Millisecond)*0.21)
		}
	})
}

// Java: SenderTest.testClusterAuthorizationExceptionInInitProducerIdRequest
func TestAProducerIDThatIsRefusedMayBeGrantedLater(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		i := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Times: -1, Err: protocol.ClusterAuthorizationFailed})
		e := x.Failure(x.Send(0, "a"))
		require.ErrorIs(x, e, protocol.ClusterAuthorizationFailed)
		require.Equal(x, quill.NotSent, e.Outcome)
		require.False(x, e.Fatal(), "the producer goes on")
		require.True(x, e.Retriable())
		i.Remove()
		x.Deliver(0, "b")
		require.Equal(x, []string{"b@0:0"}, x.Stored(0))
	})
}

// Java: SenderTest.testIdempotenceWithMultipleInflights
func TestBatchesInFlightCarryTheirSequences(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{AnswerDelay: time.Second, Times: 2})
		start := time.Now()
		b, c := x.Send(0, "b"), x.Send(0, "c")
		time.Sleep(1500 * time.Millisecond)
		require.Len(x, x.Stored(0), 3)
		require.EqualValues(x, 1, x.Delivered(b))
		require.EqualValues(x, 2, x.Delivered(c))
		require.Equal(x, 2*time.Second, time.Since(start))
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2"}, x.Stored(0))
	})
}

// A broker takes any sequence from a producer id that it does not know, so a second batch would pass
// a first one that was refused.
func TestTheFirstBatchOfAPartitionIsNotOvertaken(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.Produce(quilltest.Fault{Err: protocol.NotEnoughReplicas})
		var last quill.Future
		for i := range 5 {
			last = x.Send(0, fmt.Sprint(i))
		}
		x.Delivered(last)
		require.Equal(x, []string{"0@0:0", "1@0:1", "2@0:2", "3@0:3", "4@0:4"}, x.Stored(0))
	})
}

// Java: SenderTest.testIdempotenceWithMultipleInflightsRetriedInOrder
func TestRetriesGoOneAtATimeInOrder(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Err: protocol.NotEnoughReplicas, Delay: time.Second})
		b, c, d := x.Send(0, "b"), x.Send(0, "c"), x.Send(0, "d")
		time.Sleep(1050 * time.Millisecond) // b is refused, c and d are out of order: all wait to be sent again
		require.Len(x, x.Wire(0), 4)
		e := x.Send(0, "e")
		time.Sleep(20 * time.Millisecond)
		require.Len(x, x.Wire(0), 4, "nothing new before the retries")
		for i, f := range []quill.Future{b, c, d, e} {
			require.EqualValues(x, i+1, x.Delivered(f))
		}
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2", "d@0:3", "e@0:4"}, x.Stored(0))
		retries := x.Wire(0)[4:7]
		require.Equal(x, "[0:1 0:2 0:3]", fmt.Sprint(retries))
	})
}

// Java: SenderTest.testIdempotenceWithMultipleInflightsWhereFirstFailsFatallyAndSequenceOfFutureBatchesIsAdjusted
func TestARefusedBatchDoesNotTakeItsSuccessorsAlong(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Err: protocol.MessageTooLarge, Delay: time.Second})
		b, c, d := x.Send(0, "b"), x.Send(0, "c"), x.Send(0, "d")
		require.Equal(x, quill.Rejected, x.Failure(b).Outcome)
		require.EqualValues(x, 1, x.Delivered(c))
		require.EqualValues(x, 2, x.Delivered(d))
		require.Equal(x, []string{"a@0:0", "c@1:0", "d@1:1"}, x.Stored(0))
	})
}

// Java: SenderTest.testEpochBumpOnOutOfOrderSequenceForNextBatch
// Java: SenderTest.testBumpEpochWhenOutOfOrderSequenceReceived
func TestARealGapStartsANewEpoch(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Err: protocol.OutOfOrderSequenceNumber})
		x.Deliver(0, "b")
		require.Equal(x, []string{"a@0:0", "b@1:0"}, x.Stored(0))
	})
}

// Java: SenderTest.testEpochBumpOnOutOfOrderSequenceForNextBatchWhenBatchInFlightFails
// Java: SenderTest.testBatchesDrainedWithOldProducerIdShouldSucceedOnSubsequentRetry
func TestAPartitionKeepsItsEpochWhileItHasBatchesInFlight(t *testing.T) {
	for _, fails := range []bool{false, true} {
		testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
			x.Deliver(0, "a")
			x.Deliver(1, "z")
			refused := x.Produce(quilltest.Fault{Topic: "t", Partitions: []int32{1}, Err: protocol.NotEnoughReplicas, Times: 4})
			y := x.Send(1, "y") // is sent again for about a second
			x.Produce(quilltest.Fault{Topic: "t", Partitions: []int32{0}, Err: protocol.OutOfOrderSequenceNumber})
			x.Deliver(0, "b")
			if fails {
				refused.Remove()
				x.Produce(quilltest.Fault{Topic: "t", Partitions: []int32{1}, Err: protocol.InvalidRecord})
				require.Equal(x, quill.Rejected, x.Failure(y).Outcome)
			} else {
				x.Delivered(y)
			}
			x.Deliver(1, "x")
			if fails {
				require.Equal(x, []string{"z@0:0", "x@1:0"}, x.Stored(1))
			} else {
				require.Equal(x, []string{"z@0:0", "y@0:1", "x@1:0"}, x.Stored(1))
			}
		})
	}
}

// movingLeader has the leader of t-0 move from node 1 to node 2 while an answer of node 1 is out.
func movingLeader(cfg *quill.Config) { cfg.MetadataMaxAge = 200 * time.Millisecond }

// Java: SenderTest.testCorrectHandlingOfOutOfOrderResponses
func TestErrorsInTheWrongOrderKeepTheOrder(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, movingLeader, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Nodes: []int32{1}, Err: protocol.NotEnoughReplicas, AnswerDelay: 2 * time.Second})
		b := x.Send(0, "b")
		time.Sleep(100 * time.Millisecond)
		require.NoError(x, x.C.MoveLeader("t", 0, 2))
		time.Sleep(time.Second)
		c := x.Send(0, "c") // the new leader misses b
		require.EqualValues(x, 1, x.Delivered(b))
		require.EqualValues(x, 2, x.Delivered(c))
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2"}, x.Stored(0))
	})
}

// Java: SenderTest.testCorrectHandlingOfOutOfOrderResponsesWhenSecondSucceeds
func TestCallbacksKeepTheOrderOfSendsIfAnswersDoNot(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, movingLeader, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Nodes: []int32{1}, Err: protocol.RequestTimedOut, AfterAppend: true, AnswerDelay: 2 * time.Second})
		var order []string
		send := func(value string) {
			rec := quill.Record[string, string]{Topic: "t", Partition: quill.Partition(0), Value: value}
			x.P.SendFunc(x.Context(), rec, func(m quill.RecordMetadata, err error) { order = append(order, fmt.Sprint(value, m.Offset, err)) })
		}
		send("b")
		time.Sleep(100 * time.Millisecond)
		require.NoError(x, x.C.MoveLeader("t", 0, 2))
		time.Sleep(time.Second)
		send("c")
		require.NoError(x, x.P.Flush(x.Context()))
		require.Equal(x, []string{"b1 <nil>", "c2 <nil>"}, order)
		x.Deliver(0, "d")
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2", "d@0:3"}, x.Stored(0))
	})
}

func TestADuplicateIsASuccessWithoutOffset(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Err: protocol.DuplicateSequenceNumber, AfterAppend: true})
		m, err := x.Send(0, "b").Wait(x.Context())
		require.NoError(x, err)
		require.False(x, m.HasOffset())
		x.Deliver(0, "c")
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2"}, x.Stored(0))
	})
}

// Java: SenderTest.testIdempotentUnknownProducerHandlingWhenRetentionLimitReached
func TestRetentionThatForgetsTheProducerStartsANewEpoch(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Release: "2.1"}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Deliver(0, "b")
		require.NoError(x, x.C.DeleteRecords("t", 0, 2))
		require.NoError(x, x.C.ForgetProducers("t", 0))
		x.Deliver(0, "c")
		require.Equal(x, []string{"c@1:0"}, x.Stored(0))
	})
}

// Java: SenderTest.testUnknownProducerErrorShouldBeRetriedWhenLogStartOffsetIsUnknown
func TestAnUnknownProducerWithoutLogStartIsSentAgainAsItIs(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Release: "2.1"}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Err: protocol.UnknownProducerID}) // such an answer has log start offset -1
		x.Deliver(0, "b")
		require.Equal(x, []string{"a@0:0", "b@0:1"}, x.Stored(0))
	})
}

// Java: SenderTest.testShouldRaiseOutOfOrderSequenceExceptionToUserIfLogWasNotTruncated
func TestAForgottenProducerIsNoErrorEvenIfTheLogIsWhole(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Release: "2.1"}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		require.NoError(x, x.C.ForgetProducers("t", 0))
		x.Deliver(0, "b")
		require.Equal(x, []string{"a@0:0", "b@1:0"}, x.Stored(0))
	})
}

// lastEpoch makes the cluster hand out ids whose epochs are used up but for `left`.
func lastEpoch(x *testkit.Lab, times int, left int16) {
	x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Times: times, Edit: func(_ *quilltest.Request, response any) {
		response.(*message.InitProducerIDResponse).ProducerEpoch = 32767 - left
	}})
}

// Java gives a batch the new id although its old copy may be in the log; ours keeps its numbers
// (deviation 1), so the node knows the copy.
//
// Java: SenderTest.testRetryWhenProducerIdChanges
func TestARetryGoesOnWhenTheProducerIDChanges(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		lastEpoch(x, 1, 0)
		x.Deliver(0, "a")
		x.Deliver(1, "z")
		x.Produce(quilltest.Fault{Topic: "t", Partitions: []int32{0}, DisconnectAfter: true})
		x.Produce(quilltest.Fault{Topic: "t", Partitions: []int32{1}, Err: protocol.OutOfOrderSequenceNumber})
		b, y := x.Send(0, "b"), x.Send(1, "y")
		x.Delivered(y)
		require.EqualValues(x, 1, x.Delivered(b))
		x.Deliver(0, "c")
		require.Equal(x, []string{"a@32767:0", "b@32767:1", "c@0:0"}, x.Stored(0))
		require.Equal(x, []string{"z@32767:0", "y@0:0"}, x.Stored(1))
		require.Len(x, x.Wire(0), 4, "b twice")
	})
}

// Java: SenderTest.testResetOfProducerStateShouldAllowQueuedBatchesToDrain
func TestTheLastEpochIsFollowedByANewProducerID(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		lastEpoch(x, 1, 1)
		x.Deliver(0, "a")
		for _, value := range []string{"b", "c"} {
			x.Produce(quilltest.Fault{Topic: "t", Partitions: []int32{0}, Err: protocol.OutOfOrderSequenceNumber})
			gap, other := x.Send(0, value), x.Send(1, value)
			x.Delivered(gap)
			x.Delivered(other)
		}
		require.Equal(x, []string{"a@32766:0", "b@32767:0", "c@0:0"}, x.Stored(0))
		require.EqualValues(x, 1001, testkit.Logged(x.T, x.C, "t", 0)[2].ProducerID)
		require.Len(x, x.Stored(1), 2)
	})
}

// Java: SenderTest.testCloseWithProducerIdReset
// Java: SenderTest.testForceCloseWithProducerIdReset
//
// C11
func TestCloseWhileANewProducerIDIsFetched(t *testing.T) {
	for _, forced := range []bool{false, true} {
		testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
			lastEpoch(x, 1, 0)
			x.Deliver(0, "a")
			x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Delay: 2 * time.Second})
			x.Produce(quilltest.Fault{Err: protocol.OutOfOrderSequenceNumber})
			b := x.Send(0, "b")
			time.Sleep(time.Second)
			c := x.Send(1, "c")
			if forced {
				require.ErrorIs(x, x.CloseNow(), quill.ErrForceClosed)
				require.ErrorIs(x, x.Failure(b), quill.ErrForceClosed)
				require.Equal(x, quill.NotSent, x.Failure(c).Outcome)
				return
			}
			testkit.CloseProducer(x.T, x.P)
			x.Delivered(b)
			x.Delivered(c)
			require.Equal(x, []string{"a@32767:0", "b@0:0"}, x.Stored(0))
		})
	}
}

// Java: SenderTest.testClusterAuthorizationExceptionInProduceRequest
// Java: SenderTest.testUnsupportedForMessageFormatInProduceRequest
func TestWhichRefusalsAreFatal(t *testing.T) {
	for code, fatal := range map[protocol.ErrorCode]bool{
		protocol.ClusterAuthorizationFailed: true, protocol.UnsupportedVersion: true,
		protocol.UnsupportedForMessageFormat: false, protocol.TopicAuthorizationFailed: false, protocol.InvalidTimestamp: false,
	} {
		testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
			x.Deliver(0, "a")
			x.Produce(quilltest.Fault{Err: code})
			e := x.Failure(x.Send(0, "b"))
			require.ErrorIs(x, e, code)
			require.Equal(x, fatal, e.Fatal(), code)
			require.Equal(x, quill.Rejected, e.Outcome)
			if !fatal {
				x.Deliver(0, "c")
				return
			}
			again := x.Failure(x.Send(1, "c"))
			require.ErrorIs(x, again, code)
			require.True(x, again.Fatal())
			require.Equal(x, quill.NotSent, again.Outcome)
		})
	}
}
