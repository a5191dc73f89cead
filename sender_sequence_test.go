package quill_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
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
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Delay: time.Second})
		start := time.Now()
		x.deliver(0, "a")
		require.Equal(x, time.Second, time.Since(start))
		x.deliver(0, "b")
		first := x.wire(0)[0].header
		require.EqualValues(x, 1000, first.ProducerID)
		require.Equal(x, []string{"a@0:0", "b@0:1"}, x.log(0))
	})
}

// Java: SenderTest.testIdempotentInitProducerIdWithMaxInFlightOne
func TestAProducerIDComesWithOneNodeAndOneInFlight(t *testing.T) {
	inLab(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) { cfg.MaxInFlightRequestsPerConnection = 1 }, func(x *lab) {
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Delay: time.Second})
		x.deliver(0, "a")
		x.deliver(1, "b")
	})
}

// Java: SenderTest.testNodeNotReady
func TestANodeThatIsNotReadyDelaysTheProducerIDOnly(t *testing.T) {
	impatient := func(cfg *quill.Config) { cfg.RequestTimeout = time.Second }
	inLab(t, quilltest.Options{Nodes: 1}, impatient, func(x *lab) {
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.CoordinatorLoadInProgress, Throttle: 5 * time.Second})
		start := time.Now()
		x.deliver(0, "a")
		require.Equal(x, 5*time.Second, time.Since(start))
	})
	inLab(t, quilltest.Options{Nodes: 1}, impatient, func(x *lab) {
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Do: func(*quilltest.Request) { _ = x.c.StopNode(1) }})
		f := x.send(0, "a")
		time.Sleep(5 * time.Second)
		require.False(x, f.Done())
		require.NoError(x, x.c.StartNode(1))
		x.delivered(f)
		require.Equal(x, []string{"a@0:0"}, x.log(0))
	})
}

// Java: SenderTest.testSenderShouldRetryWithBackoffOnRetriableError
func TestTheProducerIDIsAskedForWithBackoff(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		var at []time.Time
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Times: -1, Do: func(*quilltest.Request) { at = append(at, time.Now()) }})
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Times: 3, Err: protocol.CoordinatorLoadInProgress})
		x.deliver(0, "a")
		require.Len(x, at, 4)
		for i, backoff := range []time.Duration{100, 200, 400} {
			require.InDelta(x, backoff*time.Millisecond, at[i+1].Sub(at[i]), float64(backoff*time.Millisecond)*0.21)
		}
	})
}

// Java: SenderTest.testClusterAuthorizationExceptionInInitProducerIdRequest
func TestAProducerIDThatIsRefusedMayBeGrantedLater(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		i := x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Times: -1, Err: protocol.ClusterAuthorizationFailed})
		e := x.failed(x.send(0, "a"))
		require.ErrorIs(x, e, protocol.ClusterAuthorizationFailed)
		require.Equal(x, quill.NotSent, e.Outcome())
		require.False(x, e.Fatal(), "the producer goes on")
		require.True(x, e.Retriable())
		i.Remove()
		x.deliver(0, "b")
		require.Equal(x, []string{"b@0:0"}, x.log(0))
	})
}

// Java: SenderTest.testIdempotenceWithMultipleInflights
func TestBatchesInFlightCarryTheirSequences(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.deliver(0, "a")
		x.produce(quilltest.Fault{AnswerDelay: time.Second, Times: 2})
		start := time.Now()
		b, c := x.send(0, "b"), x.send(0, "c")
		time.Sleep(1500 * time.Millisecond)
		require.Len(x, x.log(0), 3)
		require.EqualValues(x, 1, x.delivered(b))
		require.EqualValues(x, 2, x.delivered(c))
		require.Equal(x, 2*time.Second, time.Since(start))
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2"}, x.log(0))
	})
}

// A broker takes any sequence from a producer id that it does not know, so a second batch would pass
// a first one that was refused.
func TestTheFirstBatchOfAPartitionIsNotOvertaken(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.produce(quilltest.Fault{Err: protocol.NotEnoughReplicas})
		var last quill.Future
		for i := range 5 {
			last = x.send(0, fmt.Sprint(i))
		}
		x.delivered(last)
		require.Equal(x, []string{"0@0:0", "1@0:1", "2@0:2", "3@0:3", "4@0:4"}, x.log(0))
	})
}

// Java: SenderTest.testIdempotenceWithMultipleInflightsRetriedInOrder
func TestRetriesGoOneAtATimeInOrder(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.deliver(0, "a")
		x.produce(quilltest.Fault{Err: protocol.NotEnoughReplicas, Delay: time.Second})
		b, c, d := x.send(0, "b"), x.send(0, "c"), x.send(0, "d")
		time.Sleep(1050 * time.Millisecond) // b is refused, c and d are out of order: all wait to be sent again
		require.Len(x, x.wire(0), 4)
		e := x.send(0, "e")
		time.Sleep(20 * time.Millisecond)
		require.Len(x, x.wire(0), 4, "nothing new before the retries")
		for i, f := range []quill.Future{b, c, d, e} {
			require.EqualValues(x, i+1, x.delivered(f))
		}
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2", "d@0:3", "e@0:4"}, x.log(0))
		retries := x.wire(0)[4:7]
		require.Equal(x, "[0:1 0:2 0:3]", fmt.Sprint(retries))
	})
}

// Java: SenderTest.testIdempotenceWithMultipleInflightsWhereFirstFailsFatallyAndSequenceOfFutureBatchesIsAdjusted
func TestARefusedBatchDoesNotTakeItsSuccessorsAlong(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.deliver(0, "a")
		x.produce(quilltest.Fault{Err: protocol.MessageTooLarge, Delay: time.Second})
		b, c, d := x.send(0, "b"), x.send(0, "c"), x.send(0, "d")
		require.Equal(x, quill.Rejected, x.failed(b).Outcome())
		require.EqualValues(x, 1, x.delivered(c))
		require.EqualValues(x, 2, x.delivered(d))
		require.Equal(x, []string{"a@0:0", "c@1:0", "d@1:1"}, x.log(0))
	})
}

// Java: SenderTest.testEpochBumpOnOutOfOrderSequenceForNextBatch
// Java: SenderTest.testBumpEpochWhenOutOfOrderSequenceReceived
func TestARealGapStartsANewEpoch(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.deliver(0, "a")
		x.produce(quilltest.Fault{Err: protocol.OutOfOrderSequenceNumber})
		x.deliver(0, "b")
		require.Equal(x, []string{"a@0:0", "b@1:0"}, x.log(0))
	})
}

// Java: SenderTest.testEpochBumpOnOutOfOrderSequenceForNextBatchWhenThereIsNoBatchInFlight
func TestAnIdlePartitionMovesToTheNewEpochWithItsNextBatch(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.deliver(0, "a")
		x.deliver(1, "z")
		x.produce(quilltest.Fault{Err: protocol.OutOfOrderSequenceNumber, Topic: "t", Partitions: []int32{0}})
		x.deliver(0, "b")
		x.deliver(1, "y")
		x.deliver(1, "x")
		require.Equal(x, []string{"z@0:0", "y@1:0", "x@1:1"}, x.log(1))
		closeProducer(x.T, x.p)
		require.Equal(x, 1, x.p.EpochBumps())
	})
}

// Java: SenderTest.testEpochBumpOnOutOfOrderSequenceForNextBatchWhenBatchInFlightFails
// Java: SenderTest.testBatchesDrainedWithOldProducerIdShouldSucceedOnSubsequentRetry
func TestAPartitionKeepsItsEpochWhileItHasBatchesInFlight(t *testing.T) {
	for _, fails := range []bool{false, true} {
		inLab(t, quilltest.Options{}, nil, func(x *lab) {
			x.deliver(0, "a")
			x.deliver(1, "z")
			refused := x.produce(quilltest.Fault{Topic: "t", Partitions: []int32{1}, Err: protocol.NotEnoughReplicas, Times: 4})
			y := x.send(1, "y") // is sent again for about a second
			x.produce(quilltest.Fault{Topic: "t", Partitions: []int32{0}, Err: protocol.OutOfOrderSequenceNumber})
			x.deliver(0, "b")
			if fails {
				refused.Remove()
				x.produce(quilltest.Fault{Topic: "t", Partitions: []int32{1}, Err: protocol.InvalidRecord})
				require.Equal(x, quill.Rejected, x.failed(y).Outcome())
			} else {
				x.delivered(y)
			}
			x.deliver(1, "x")
			if fails {
				require.Equal(x, []string{"z@0:0", "x@1:0"}, x.log(1))
			} else {
				require.Equal(x, []string{"z@0:0", "y@0:1", "x@1:0"}, x.log(1))
			}
		})
	}
}

// movingLeader has the leader of t-0 move from node 1 to node 2 while an answer of node 1 is out.
func movingLeader(cfg *quill.Config) { cfg.MetadataMaxAge = 200 * time.Millisecond }

// Java: SenderTest.testCorrectHandlingOfOutOfOrderResponses
func TestErrorsInTheWrongOrderKeepTheOrder(t *testing.T) {
	inLab(t, quilltest.Options{}, movingLeader, func(x *lab) {
		x.deliver(0, "a")
		x.produce(quilltest.Fault{Nodes: []int32{1}, Err: protocol.NotEnoughReplicas, AnswerDelay: 2 * time.Second})
		b := x.send(0, "b")
		time.Sleep(100 * time.Millisecond)
		require.NoError(x, x.c.MoveLeader("t", 0, 2))
		time.Sleep(time.Second)
		c := x.send(0, "c") // the new leader misses b
		require.EqualValues(x, 1, x.delivered(b))
		require.EqualValues(x, 2, x.delivered(c))
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2"}, x.log(0))
	})
}

// Java: SenderTest.testCorrectHandlingOfOutOfOrderResponsesWhenSecondSucceeds
func TestCallbacksKeepTheOrderOfSendsIfAnswersDoNot(t *testing.T) {
	inLab(t, quilltest.Options{}, movingLeader, func(x *lab) {
		x.deliver(0, "a")
		x.produce(quilltest.Fault{Nodes: []int32{1}, Err: protocol.RequestTimedOut, AfterAppend: true, AnswerDelay: 2 * time.Second})
		var order []string
		send := func(value string) {
			rec := quill.Record[string, string]{Topic: "t", Partition: quill.Partition(0), Value: value}
			x.p.SendFunc(x.Context(), rec, func(m quill.RecordMetadata, err error) { order = append(order, fmt.Sprint(value, m.Offset, err)) })
		}
		send("b")
		time.Sleep(100 * time.Millisecond)
		require.NoError(x, x.c.MoveLeader("t", 0, 2))
		time.Sleep(time.Second)
		send("c")
		require.NoError(x, x.p.Flush(x.Context()))
		require.Equal(x, []string{"b1 <nil>", "c2 <nil>"}, order)
		x.deliver(0, "d")
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2", "d@0:3"}, x.log(0))
	})
}

func TestADuplicateIsASuccessWithoutOffset(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.deliver(0, "a")
		x.produce(quilltest.Fault{Err: protocol.DuplicateSequenceNumber, AfterAppend: true})
		m, err := x.send(0, "b").Wait(x.Context())
		require.NoError(x, err)
		require.False(x, m.HasOffset())
		x.deliver(0, "c")
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2"}, x.log(0))
	})
}

// Java: SenderTest.testIdempotentUnknownProducerHandlingWhenRetentionLimitReached
func TestRetentionThatForgetsTheProducerStartsANewEpoch(t *testing.T) {
	inLab(t, quilltest.Options{Release: "2.1"}, nil, func(x *lab) {
		x.deliver(0, "a")
		x.deliver(0, "b")
		require.NoError(x, x.c.DeleteRecords("t", 0, 2))
		require.NoError(x, x.c.ForgetProducers("t", 0))
		x.deliver(0, "c")
		require.Equal(x, []string{"c@1:0"}, x.log(0))
	})
}

// Java: SenderTest.testUnknownProducerErrorShouldBeRetriedWhenLogStartOffsetIsUnknown
func TestAnUnknownProducerWithoutLogStartIsSentAgainAsItIs(t *testing.T) {
	inLab(t, quilltest.Options{Release: "2.1"}, nil, func(x *lab) {
		x.deliver(0, "a")
		x.produce(quilltest.Fault{Err: protocol.UnknownProducerID}) // such an answer has log start offset -1
		x.deliver(0, "b")
		require.Equal(x, []string{"a@0:0", "b@0:1"}, x.log(0))
	})
}

// Java: SenderTest.testUnknownProducerErrorShouldBeRetriedForFutureBatchesWhenFirstFails
func TestBatchesBehindAForgottenProducerFollowInOrder(t *testing.T) {
	inLab(t, quilltest.Options{Release: "2.1"}, nil, func(x *lab) {
		x.deliver(0, "a")
		require.NoError(x, x.c.DeleteRecords("t", 0, 1))
		require.NoError(x, x.c.ForgetProducers("t", 0))
		b, c, d := x.send(0, "b"), x.send(0, "c"), x.send(0, "d")
		for i, f := range []quill.Future{b, c, d} {
			require.EqualValues(x, i+1, x.delivered(f))
		}
		require.Equal(x, []string{"b@1:0", "c@1:1", "d@1:2"}, x.log(0))
		closeProducer(x.T, x.p)
		require.Equal(x, 1, x.p.EpochBumps(), "one reset for all")
	})
}

// Java: SenderTest.testShouldRaiseOutOfOrderSequenceExceptionToUserIfLogWasNotTruncated
func TestAForgottenProducerIsNoErrorEvenIfTheLogIsWhole(t *testing.T) {
	inLab(t, quilltest.Options{Release: "2.1"}, nil, func(x *lab) {
		x.deliver(0, "a")
		require.NoError(x, x.c.ForgetProducers("t", 0))
		x.deliver(0, "b")
		require.Equal(x, []string{"a@0:0", "b@1:0"}, x.log(0))
	})
}

// lastEpoch makes the cluster hand out ids whose epochs are used up but for `left`.
func lastEpoch(x *lab, times int, left int16) {
	x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Times: times, Edit: func(_ *quilltest.Request, response any) {
		response.(*message.InitProducerIDResponse).ProducerEpoch = 32767 - left
	}})
}

// Java gives a batch the new id although its old copy may be in the log; ours keeps its numbers
// (deviation 1), so the node knows the copy.
//
// Java: SenderTest.testRetryWhenProducerIdChanges
func TestARetryGoesOnWhenTheProducerIDChanges(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		lastEpoch(x, 1, 0)
		x.deliver(0, "a")
		x.deliver(1, "z")
		x.produce(quilltest.Fault{Topic: "t", Partitions: []int32{0}, DisconnectAfter: true})
		x.produce(quilltest.Fault{Topic: "t", Partitions: []int32{1}, Err: protocol.OutOfOrderSequenceNumber})
		b, y := x.send(0, "b"), x.send(1, "y")
		x.delivered(y)
		require.EqualValues(x, 1, x.delivered(b))
		x.deliver(0, "c")
		require.Equal(x, []string{"a@32767:0", "b@32767:1", "c@0:0"}, x.log(0))
		require.Equal(x, []string{"z@32767:0", "y@0:0"}, x.log(1))
		require.Len(x, x.wire(0), 4, "b twice")
	})
}

// Java: SenderTest.testResetOfProducerStateShouldAllowQueuedBatchesToDrain
func TestTheLastEpochIsFollowedByANewProducerID(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		lastEpoch(x, 1, 1)
		x.deliver(0, "a")
		for _, value := range []string{"b", "c"} {
			x.produce(quilltest.Fault{Topic: "t", Partitions: []int32{0}, Err: protocol.OutOfOrderSequenceNumber})
			gap, other := x.send(0, value), x.send(1, value)
			x.delivered(gap)
			x.delivered(other)
		}
		require.Equal(x, []string{"a@32766:0", "b@32767:0", "c@0:0"}, x.log(0))
		require.EqualValues(x, 1001, logged(x.T, x.c, "t", 0)[2].ProducerID)
		require.Len(x, x.log(1), 2)
	})
}

// Java: SenderTest.testCloseWithProducerIdReset
// Java: SenderTest.testForceCloseWithProducerIdReset
//
// C11
func TestCloseWhileANewProducerIDIsFetched(t *testing.T) {
	for _, forced := range []bool{false, true} {
		inLab(t, quilltest.Options{}, nil, func(x *lab) {
			lastEpoch(x, 1, 0)
			x.deliver(0, "a")
			x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Delay: 2 * time.Second})
			x.produce(quilltest.Fault{Err: protocol.OutOfOrderSequenceNumber})
			b := x.send(0, "b")
			time.Sleep(time.Second)
			c := x.send(1, "c")
			if forced {
				require.ErrorIs(x, x.closeNow(), quill.ErrForceClosed)
				require.ErrorIs(x, x.failed(b), quill.ErrForceClosed)
				require.Equal(x, quill.NotSent, x.failed(c).Outcome())
				return
			}
			closeProducer(x.T, x.p)
			x.delivered(b)
			x.delivered(c)
			require.Equal(x, []string{"a@32767:0", "b@0:0"}, x.log(0))
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
		inLab(t, quilltest.Options{}, nil, func(x *lab) {
			x.deliver(0, "a")
			x.produce(quilltest.Fault{Err: code})
			e := x.failed(x.send(0, "b"))
			require.ErrorIs(x, e, code)
			require.Equal(x, fatal, e.Fatal(), code)
			require.Equal(x, quill.Rejected, e.Outcome())
			if !fatal {
				x.deliver(0, "c")
				return
			}
			again := x.failed(x.send(1, "c"))
			require.ErrorIs(x, again, code)
			require.True(x, again.Fatal())
			require.Equal(x, quill.NotSent, again.Outcome())
		})
	}
}

// Java: SenderTest.testCancelInFlightRequestAfterFatalError
func TestAFatalErrorFailsWhatIsInFlightButKeepsItsMemory(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.deliver(0, "a")
		x.deliver(1, "z")
		x.produce(quilltest.Fault{Nodes: []int32{2}, AnswerDelay: 2 * time.Second})
		start := time.Now()
		inFlight := x.send(1, "y")
		time.Sleep(time.Second)
		x.produce(quilltest.Fault{Nodes: []int32{1}, Err: protocol.ClusterAuthorizationFailed})
		require.True(x, x.failed(x.send(0, "b")).Fatal())
		require.Equal(x, quill.MaybeWritten, x.failed(inFlight).Outcome())
		require.Equal(x, time.Second, time.Since(start))
		require.Less(x, x.p.BufferAvailable(), int64(32<<20))
		time.Sleep(1500 * time.Millisecond)
		require.EqualValues(x, 32<<20, x.p.BufferAvailable())
		require.Len(x, x.log(1), 2, "the late success is harmless")
	})
}
