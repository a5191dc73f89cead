package delivery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// How records are delivered when the cluster is in trouble, as callers, callbacks, the log and the
// requests show it.

func noIdempotence(cfg *quill.Config) { cfg.Idempotence = new(false) }

// The sender waits for the network alone: between connecting, asking for versions, metadata and a
// producer id, and sending, no time passes.
//
// Java: SenderTest.testDoNotPollWhenNoRequestSent
func TestNoTurnOfTheSenderWaitsForNothing(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Nodes: 1}, nil, func(x *testkit.Lab) {
		start := time.Now()
		x.Deliver(0, "a")
		x.Deliver(1, "b")
		require.Zero(x, time.Since(start))
	})
}

// Java: SenderTest.testQuotaMetrics
func TestAThrottledNodeIsLeftAlone(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.RequestTimeout = time.Second }, func(x *testkit.Lab) {
		x.Produce(quilltest.Fault{Nodes: []int32{1}, Throttle: 3 * time.Second})
		x.Deliver(0, "a")
		start := time.Now()
		slow := x.Send(0, "b")
		x.Deliver(1, "elsewhere")
		require.Zero(x, time.Since(start), "the other node takes records")
		x.Delivered(slow)
		require.Equal(x, 3*time.Second, time.Since(start))
		require.Len(x, x.Wire(0), 2, "no time-out, no retry")
	})
}

// The answer to ApiVersions may throttle too. Requests that were sent all the same would time out.
func TestANewConnectionMayBeThrottled(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) { cfg.RequestTimeout = time.Second }, func(x *testkit.Lab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Throttle: 3 * time.Second})
		start := time.Now()
		x.Deliver(0, "a")
		require.Equal(x, 3*time.Second, time.Since(start))
		require.EqualValues(x, 1, x.C.RequestCount(protocol.Metadata), "no time-out, no retry")
	})
}

// Before KIP-219 a node waited itself before it answered, and said for how long: that is over by then.
func TestAnOldNodeThrottlesByItself(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Release: "1.0"}, nil, func(x *testkit.Lab) {
		x.Produce(quilltest.Fault{Nodes: []int32{1}, Throttle: 3 * time.Second})
		start := time.Now()
		x.Deliver(0, "a")
		require.Equal(x, 3*time.Second, time.Since(start))
		x.Deliver(0, "b")
		require.Equal(x, 3*time.Second, time.Since(start))
	})
}

// Java: SenderTest.testRetries
func TestRetriesHaveAnEnd(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.Retries = 1 }, func(x *testkit.Lab) {
		x.Produce(quilltest.Fault{DisconnectBefore: true})
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{DisconnectBefore: true, Times: 2})
		e := x.Failure(x.Send(0, "b"))
		require.Equal(x, 2, e.Attempts)
		require.Equal(x, quill.MaybeWritten, e.Outcome)
		require.True(x, e.Retriable())
		require.ErrorIs(x, e, quill.ErrDisconnected)
		require.Equal(x, []string{"a@0:0"}, x.Stored(0))
		x.Deliver(0, "c")
		require.Equal(x, []string{"a@0:0", "c@1:0"}, x.Stored(0), "b may be in the log, so its number is not used again")
	})
}

// Java: SenderTest.testSendInOrder
func TestOneInFlightMeansOnePerPartition(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		noIdempotence(cfg)
		cfg.MaxInFlightRequestsPerConnection, cfg.MetadataMaxAge = 1, 200*time.Millisecond
	}, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{AnswerDelay: 2 * time.Second})
		b := x.Send(0, "b")
		time.Sleep(100 * time.Millisecond)
		require.NoError(x, x.C.MoveLeader("t", 0, 2))
		time.Sleep(time.Second) // the new leader is known by now, and has nothing to do
		c := x.Send(0, "c")
		time.Sleep(500 * time.Millisecond)
		require.Len(x, x.Wire(0), 2)
		require.EqualValues(x, 1, x.Delivered(b))
		require.EqualValues(x, 2, x.Delivered(c))
		require.EqualValues(x, 2, x.Wire(0)[2].Node)
	})
}

// Java: SenderTest.testCanRetryWithoutIdempotence
func TestWithoutIdempotenceOnlyTheRefusedRecordFails(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, noIdempotence, func(x *testkit.Lab) {
		x.Produce(quilltest.Fault{Err: protocol.NotEnoughReplicas})
		x.Produce(quilltest.Fault{Err: protocol.TopicAuthorizationFailed, Skip: 1})
		e := x.Failure(x.Send(0, "a"))
		require.ErrorIs(x, e, protocol.TopicAuthorizationFailed)
		require.Equal(x, quill.Rejected, e.Outcome)
		require.Equal(x, 2, e.Attempts)
		x.Deliver(0, "b")
		require.Equal(x, []string{"b@-1:-1"}, x.Stored(0))
		require.Zero(x, x.C.RequestCount(protocol.InitProducerID))
	})
}

// A batch that is sent again has the same bytes as the first time (librdkafka issue 4736).
func TestARetryIsByteIdentical(t *testing.T) {
	for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionGzip, quill.CompressionSnappy, quill.CompressionLZ4, quill.CompressionZstd} {
		testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) {
			cfg.Compression, cfg.BatchSize, cfg.Linger = codec, 0, 10*time.Millisecond
		}, func(x *testkit.Lab) {
			x.Produce(quilltest.Fault{DisconnectAfter: true})
			x.Produce(quilltest.Fault{Skip: 1, Err: protocol.NotEnoughReplicas})
			var last quill.Future
			for i := range 50 {
				last = x.Send(0, fmt.Sprint("value", i))
			}
			x.Delivered(last)
			sent := x.Wire(0)
			require.Len(x, sent, 3)
			require.Equal(x, sent[0].Bytes, sent[1].Bytes)
			require.Equal(x, sent[0].Bytes, sent[2].Bytes)
			require.Len(x, x.Stored(0), 50)
		})
	}
}

func TestAcks(t *testing.T) {
	for _, acks := range []quill.Acks{quill.AcksAll, quill.AcksLeader, quill.AcksNone} {
		testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.Acks = acks }, func(x *testkit.Lab) {
			for i := range 3 {
				offset := x.Deliver(0, fmt.Sprint(i))
				if acks == quill.AcksNone {
					require.EqualValues(x, -1, offset)
				} else {
					require.EqualValues(x, i, offset)
				}
			}
			require.NoError(x, x.C.WaitRecords(x.Context(), "t", 3))
		})
	}
}

// With acks=0 a request is done when it is written: there is no answer in which the node could refuse it, but
// the connection that the node closes is made again (B56).
func TestAcksNoneSurvivesRefusals(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.Acks = quill.AcksNone }, func(x *testkit.Lab) {
		x.Produce(quilltest.Fault{Err: protocol.InvalidRecord, Skip: 2})
		for i := range 10 {
			x.Deliver(0, fmt.Sprint(i))
			time.Sleep(200 * time.Millisecond)
		}
		require.Len(x, x.Stored(0), 9)
	})
}

// Java: SenderTest.testProducerBatchRetriesWhenPartitionLeaderChanges
func TestANewLeaderEndsTheBackoffOnce(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.RetryBackoff, cfg.RetryBackoffMax = time.Second, time.Second }, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		require.NoError(x, x.C.MoveLeader("t", 0, 3)) // node 1 will say so
		x.Produce(quilltest.Fault{Nodes: []int32{3}, Err: protocol.NotEnoughReplicas})
		start := time.Now()
		x.Deliver(0, "b")
		sent := x.Wire(0)[1:]
		require.Equal(x, []int32{1, 3, 3}, []int32{sent[0].Node, sent[1].Node, sent[2].Node})
		require.Equal(x, start, sent[0].At)
		require.Equal(x, start, sent[1].At, "a new leader: at once")
		require.InDelta(x, time.Second, sent[2].At.Sub(start), float64(200*time.Millisecond), "the same leader again: wait")
		require.Equal(x, []string{"a@0:0", "b@0:1"}, x.Stored(0))
	})
}

// Java: SenderTest.testWhenProduceResponseReturnsWithALeaderShipChangeErrorButNoNewLeaderInformation
func TestALeaderChangeWithoutInformationAsksForMetadata(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Release: "3.3"}, nil, func(x *testkit.Lab) { // no KIP-951 there
		x.Deliver(0, "a")
		x.Deliver(1, "b")
		time.Sleep(time.Second)
		before := x.C.RequestCount(protocol.Metadata)
		require.NoError(x, x.C.MoveLeader("t", 0, 3))
		start := time.Now()
		moved, other := x.Send(0, "c"), x.Send(1, "d")
		x.Delivered(other)
		require.Zero(x, time.Since(start), "the other partition does not wait")
		x.Delivered(moved)
		require.Greater(x, x.C.RequestCount(protocol.Metadata), before)
		require.EqualValues(x, 3, x.Wire(0)[2].Node)
	})
}

// Java: SenderTest.testWhenProduceResponseReturnsWithALeaderShipChangeErrorAndNewLeaderInformation
func TestALeaderChangeWithInformationNeedsNoMetadata(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		time.Sleep(time.Second)
		before := x.C.RequestCount(protocol.Metadata)
		require.NoError(x, x.C.MoveLeader("t", 0, 3))
		start := time.Now()
		x.Deliver(0, "b")
		require.Zero(x, time.Since(start), "no back-off")
		require.Equal(x, before, x.C.RequestCount(protocol.Metadata))
		require.Equal(x, []string{"a@0:0", "b@0:1"}, x.Stored(0))
	})
}

// Java: SenderTest.testMetadataTopicExpiry
func TestAnIdleTopicIsForgotten(t *testing.T) {
	asked := func(c *quilltest.Cluster) func() int64 {
		i := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "t", Times: -1})
		return i.Hits
	}
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		cfg.MetadataMaxAge, cfg.MetadataMaxIdle = 2*time.Second, 10*time.Second
	}, func(x *testkit.Lab) {
		n := asked(x.C)
		for range 20 {
			x.Deliver(0, "a")
			time.Sleep(time.Second)
		}
		require.GreaterOrEqual(x, n(), int64(8), "refreshed while used")
		time.Sleep(15 * time.Second)
		before := n()
		time.Sleep(time.Minute)
		require.Equal(x, before, n(), "forgotten")
		x.Deliver(0, "b")
		require.Greater(x, n(), before)
	})
}

// A node is avoided from partitioner.availability.timeout.ms after it has something that it does not
// take, until it takes it.
//
// Java: SenderTest.testNodeLatencyStats
func TestKeylessRecordsAvoidANodeThatTakesNothing(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.PartitionerAvailabilityTimeout = 200 * time.Millisecond }, func(x *testkit.Lab) {
		throttle := quilltest.Fault{Nodes: []int32{1}, Throttle: 3 * time.Second}
		x.Produce(throttle)
		x.Deliver(0, "a")
		time.Sleep(time.Second)
		require.Greater(x, x.Keyless(200, 0)[1], 20, "it had nothing to take, so nobody knows")

		x.Produce(throttle)
		x.Deliver(0, "b")
		held := x.Send(0, "c")
		time.Sleep(time.Second)
		require.LessOrEqual(x, x.Keyless(40, 10*time.Millisecond)[1], 3, "it does not take what it has; where the first ones go was decided before")
		x.Delivered(held)
		require.Greater(x, x.Keyless(200, 10*time.Millisecond)[1], 20, "it takes records again")
	})
}

// Java: SenderTest.testDefaultErrorMessage
// Java: SenderTest.testCustomErrorMessage
func TestTheBrokersOwnWordsReachTheCaller(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.Produce(quilltest.Fault{Err: protocol.InvalidRequest})
		e := x.Failure(x.Send(0, "a"))
		require.Contains(x, e.Error(), strings.TrimSuffix(protocol.InvalidRequest.Message(), "."))
		x.Produce(quilltest.Fault{Err: protocol.InvalidRequest, ErrMessage: "told by the broker"})
		e = x.Failure(x.Send(0, "b"))
		require.Contains(x, e.Error(), "told by the broker")
		require.Equal(x, "told by the broker", e.Detail)
	})
}

// Java: SenderTest.testRecordErrorPropagatedToApplication
func TestOnlyNamedRecordsFailAndTheOthersAreSentAgain(t *testing.T) {
	for _, idempotent := range []bool{true, false} {
		change := func(cfg *quill.Config) { cfg.BatchSize, cfg.Linger = 0, 10*time.Millisecond }
		if !idempotent {
			change = func(cfg *quill.Config) {
				cfg.BatchSize, cfg.Linger, cfg.Idempotence = 0, 10*time.Millisecond, new(false)
			}
		}
		testkit.InLab(t, quilltest.Options{}, change, func(x *testkit.Lab) {
			x.Deliver(0, "first")
			x.Produce(quilltest.Fault{RecordErrors: map[int32]string{0: "bad", 2: "worse", 3: ""}, AnswerDelay: 50 * time.Millisecond})
			var order []string
			var all []quill.Future
			for i := range 6 {
				r := quill.Record[string, string]{Topic: "t", Partition: quill.Partition(0), Key: "k", Value: fmt.Sprint(i)}
				x.P.SendFunc(x.Context(), r, func(quill.RecordMetadata, error) { order = append(order, r.Value) })
				all = append(all, x.Send(0, "and "+r.Value))
			}
			time.Sleep(20 * time.Millisecond)
			behind := x.Send(0, "behind")
			for i, f := range all {
				if i != 1 {
					x.Delivered(f)
					continue
				}
				e := x.Failure(f)
				require.ErrorIs(x, e, quill.ErrInvalidRecord)
				require.ErrorIs(x, e, protocol.InvalidRecord)
				require.Equal(x, quill.Rejected, e.Outcome)
			}
			x.Delivered(behind)
			require.Equal(x, []string{"0", "1", "2", "3", "4", "5"}, order)
			var log []string
			for _, r := range testkit.Logged(x.T, x.C, "t", 0) {
				log = append(log, string(r.Value))
			}
			require.Equal(x, []string{"first", "and 0", "2", "and 2", "3", "and 3", "4", "and 4", "5", "and 5", "behind"}, idempotentOrder(log, idempotent))
			require.NoError(x, x.P.Flush(x.Context()))
		})
	}
}

// idempotentOrder returns the log as it must be; without idempotence what was in flight behind a refused
// batch overtakes it, as in Java.
func idempotentOrder(log []string, idempotent bool) []string {
	if at := slices.Index(log, "behind"); !idempotent && at >= 0 {
		log = append(slices.Delete(log, at, at+1), "behind")
	}
	return log
}

func TestWithoutRetriesAllRecordsOfARefusedBatchFail(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		cfg.BatchSize, cfg.Linger, cfg.Retries, cfg.Idempotence = 0, 10*time.Millisecond, -1, new(false)
	}, func(x *testkit.Lab) {
		x.Produce(quilltest.Fault{RecordErrors: map[int32]string{0: "first", 2: "third", 3: ""}})
		var all []quill.Future
		for i := range 5 {
			all = append(all, x.Send(0, fmt.Sprint(i)))
		}
		for i, f := range all {
			e := x.Failure(f)
			require.Equal(x, quill.Rejected, e.Outcome)
			require.ErrorIs(x, e, protocol.InvalidRecord)
			switch i {
			case 0, 2, 3:
				require.ErrorIs(x, e, quill.ErrInvalidRecord)
				require.Equal(x, []string{"first", "", "third", ""}[i], e.Detail)
			default:
				require.ErrorIs(x, e, quill.ErrBatchRejected)
			}
		}
	})
}

func TestWhenAllRecordsAreNamedTheirNumbersAreFree(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.BatchSize, cfg.Linger = 0, 10*time.Millisecond }, func(x *testkit.Lab) {
		x.Produce(quilltest.Fault{RecordErrors: map[int32]string{0: "first", 1: "second"}})
		a, b := x.Send(0, "a"), x.Send(0, "b")
		require.Equal(x, "first", x.Failure(a).Detail)
		require.Equal(x, "second", x.Failure(b).Detail)
		x.Deliver(0, "next")
		require.Equal(x, []string{"next@0:0"}, x.Stored(0))
	})
}
