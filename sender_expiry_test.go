package quill_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Records that run out of time, before they are sent, between two attempts, and in flight; and
// batches that are too large.

// expiring gives records three seconds, of which a request may take all.
func expiring(cfg *quill.Config) {
	cfg.RequestTimeout, cfg.DeliveryTimeout = 3*time.Second, 3*time.Second
}

// hold has node 1 take nothing for nearly a second, after "a" was delivered. What is sent now leaves
// then, and expires as long before its request times out.
func (x *lab) hold() {
	x.Helper()
	x.produce(quilltest.Fault{Nodes: []int32{1}, Throttle: 900 * time.Millisecond})
	x.deliver(0, "a")
}

// slowly answers the next request to node 1 when a record sent right after hold has expired.
func (x *lab) slowly(f quilltest.Fault) {
	f.Nodes, f.AnswerDelay = []int32{1}, 2200*time.Millisecond
	x.produce(f)
}

func (x *lab) expired(f quill.Future, outcome quill.Outcome) {
	x.Helper()
	e := x.failed(f)
	require.ErrorIs(x, e, quill.ErrDeliveryTimeout)
	require.Equal(x, outcome, e.Outcome(), e)
}

// Java: SenderTest.testExpiryOfUnsentBatchesShouldNotCauseUnresolvedSequences
func TestExpiryBeforeSendingLeavesNoGap(t *testing.T) {
	inLab(t, quilltest.Options{}, expiring, func(x *lab) {
		x.produce(quilltest.Fault{Nodes: []int32{1}, Throttle: 5 * time.Second})
		x.deliver(0, "a")
		start := time.Now()
		x.expired(x.send(0, "b"), quill.NotSent)
		require.Equal(x, 3*time.Second, time.Since(start))
		x.deliver(0, "c")
		require.Equal(x, []string{"a@0:0", "c@0:1"}, x.log(0))
	})
}

// Java: SenderTest.testExpiryOfFirstBatchShouldNotCauseUnresolvedSequencesIfFutureBatchesSucceed
func TestExpiryInFlightIsSettledByASuccessor(t *testing.T) {
	inLab(t, quilltest.Options{}, expiring, func(x *lab) {
		x.hold()
		x.slowly(quilltest.Fault{})
		start := time.Now()
		b := x.send(0, "b")
		time.Sleep(500 * time.Millisecond)
		c := x.send(0, "c")
		x.expired(b, quill.MaybeWritten)
		require.Equal(x, 3*time.Second, time.Since(start))
		d := x.send(0, "d") // waits until b and c are settled
		x.delivered(c)
		x.delivered(d)
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2", "d@0:3"}, x.log(0))
	})
}

// Java: SenderTest.testExpiryOfFirstBatchShouldCauseEpochBumpIfFutureBatchesFail
func TestExpiryInFlightEndsTheEpochIfASuccessorIsOutOfOrder(t *testing.T) {
	inLab(t, quilltest.Options{}, expiring, func(x *lab) {
		x.hold()
		x.slowly(quilltest.Fault{Err: protocol.RequestTimedOut})
		b := x.send(0, "b")
		time.Sleep(500 * time.Millisecond)
		c := x.send(0, "c")
		x.expired(b, quill.MaybeWritten)
		d := x.send(0, "d")
		x.delivered(c)
		x.delivered(d)
		require.Equal(x, []string{"a@0:0", "c@1:0", "d@1:1"}, x.log(0))
	})
}

// Java: SenderTest.testExpiryOfAllSentBatchesShouldCauseUnresolvedSequences
func TestExpiryOfAllInFlightEndsTheEpoch(t *testing.T) {
	inLab(t, quilltest.Options{}, expiring, func(x *lab) {
		x.hold()
		x.produce(quilltest.Fault{Nodes: []int32{1}, DropRequest: true})
		b, c := x.send(0, "b"), x.send(0, "c")
		x.expired(b, quill.MaybeWritten)
		x.expired(c, quill.MaybeWritten)
		x.deliver(0, "d")
		require.Equal(x, []string{"a@0:0", "d@1:0"}, x.log(0))
		log := logged(x.T, x.c, "t", 0)
		require.Equal(x, log[0].ProducerID, log[1].ProducerID)
	})
}

// Java begins the new epoch at once; ours waits for the request's end first, since its answer may
// save the epoch (deviation 1).
//
// Java: TransactionManagerTest.testDuplicateSequenceAfterProducerReset
func TestWhatFollowsAnExpiredRetryBeginsANewEpoch(t *testing.T) {
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		cfg.RequestTimeout, cfg.DeliveryTimeout = 3*time.Second, 5*time.Second
	}, func(x *lab) {
		x.deliver(0, "a")
		x.produce(quilltest.Fault{Nodes: []int32{1}, DropRequest: true, Times: 3})
		start := time.Now()
		x.expired(x.send(0, "b"), quill.MaybeWritten)
		require.Equal(x, 5*time.Second, time.Since(start))
		require.Equal(x, "[0:0 0:1 0:1]", fmt.Sprint(x.wire(0)), "the retry is still out")
		c := x.send(0, "c")
		time.Sleep(time.Second)
		require.Len(x, x.wire(0), 3)
		x.delivered(c) // in its second request
		require.Equal(x, "[0:0 0:1 0:1 1:0 1:0]", fmt.Sprint(x.wire(0)))
		require.Equal(x, []string{"a@0:0", "c@1:0"}, x.log(0))
	})
}

// Java: SenderTest.testWhenFirstBatchExpireNoSendSecondBatchIfGuaranteeOrder
func TestTheSecondBatchWaitsForTheAnswerToTheExpiredFirst(t *testing.T) {
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		expiring(cfg)
		noIdempotence(cfg)
		cfg.MaxInFlightRequestsPerConnection = 1
	}, func(x *lab) {
		x.hold()
		x.slowly(quilltest.Fault{})
		start := time.Now()
		b := x.send(0, "b")
		x.expired(b, quill.MaybeWritten)
		x.deliver(0, "c")
		require.Equal(x, 3100*time.Millisecond, time.Since(start))
		require.Equal(x, []string{"a@-1:-1", "b@-1:-1", "c@-1:-1"}, x.log(0))
	})
}

// Java: SenderTest.testExpiredBatchDoesNotRetry
// Java: SenderTest.testExpiredBatchDoesNotSplitOnMessageTooLargeError
func TestALateRefusalOfAnExpiredBatchChangesNothing(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.NotEnoughReplicas, protocol.MessageTooLarge, protocol.OutOfOrderSequenceNumber, protocol.InvalidRecord, protocol.DuplicateSequenceNumber} {
		inLab(t, quilltest.Options{}, func(cfg *quill.Config) {
			expiring(cfg)
			cfg.BatchSize, cfg.Linger = 0, -1
		}, func(x *lab) {
			x.hold()
			x.slowly(quilltest.Fault{Err: code})
			b, c := x.send(0, "b"), x.send(0, "c")
			x.expired(b, quill.MaybeWritten)
			x.expired(c, quill.MaybeWritten)
			time.Sleep(time.Minute)
			require.Len(x, x.wire(0), 2, "sent once, never again")
			x.deliver(0, "d")
		})
	}
}

// Java: SenderTest.testExpiredBatchesInMultiplePartitions
func TestBatchesOfManyPartitionsExpireTogether(t *testing.T) {
	inLab(t, quilltest.Options{Nodes: 1}, expiring, func(x *lab) {
		const partitions = 500
		x.c.MustCreateTopic("many", partitions, quilltest.TopicConfig{})
		_, err := x.p.PartitionsFor(x.Context(), "many")
		require.NoError(x, err)
		x.hold()
		x.produce(quilltest.Fault{DropRequest: true})
		start := time.Now()
		failures := 0
		for p := range int32(partitions) {
			x.p.SendFunc(x.Context(), quill.Record[string, string]{Topic: "many", Partition: quill.Partition(p)}, func(_ quill.RecordMetadata, err error) {
				if errors.Is(err, quill.ErrDeliveryTimeout) && time.Since(start) == 3*time.Second {
					failures++
				}
			})
		}
		require.NoError(x, x.p.Flush(x.Context()))
		require.Equal(x, partitions, failures)
	})
}

// Java: SenderTest.testAppendInExpiryCallback
func TestACallbackOfAnExpiredRecordMaySend(t *testing.T) {
	inLab(t, quilltest.Options{}, expiring, func(x *lab) {
		x.produce(quilltest.Fault{Nodes: []int32{1}, Throttle: 5 * time.Second})
		x.deliver(0, "a")
		calls := 0
		var again []quill.Future
		for i := range 10 {
			rec := quill.Record[string, string]{Topic: "t", Partition: quill.Partition(0), Value: fmt.Sprint(i)}
			x.p.SendFunc(x.Context(), rec, func(_ quill.RecordMetadata, err error) {
				calls++
				if !errors.Is(err, quill.ErrDeliveryTimeout) {
					x.Error(err)
				}
				again = append(again, x.p.Send(x.Context(), rec))
			})
		}
		require.NoError(x, x.p.Flush(x.Context()))
		for _, f := range again {
			x.delivered(f)
		}
		require.Equal(x, 10, calls)
		require.Len(x, x.log(0), 11)
	})
}

// Java: SenderTest.testNoDoubleDeallocation
func TestATimedOutRequestGivesItsMemoryBackOnce(t *testing.T) {
	inLab(t, quilltest.Options{}, expiring, func(x *lab) {
		x.hold()
		x.produce(quilltest.Fault{Nodes: []int32{1}, DropAnswer: true})
		x.expired(x.send(0, "b"), quill.MaybeWritten)
		require.Less(x, x.p.BufferAvailable(), int64(32<<20), "the request is not back")
		time.Sleep(1100 * time.Millisecond)
		require.EqualValues(x, 32<<20, x.p.BufferAvailable())
	})
}

// A batch that expires while the connection is in the middle of writing it keeps its memory until the
// connection has let go of it (KAFKA-19012, CVE-2026-35554).
//
// Java: SenderTest.testNoBufferReuseWhenBatchExpires
func TestExpiredInFlightKeepsItsBuffer(t *testing.T) {
	const size = 600 << 10 // more than a connection buffers
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		expiring(cfg)
		cfg.BufferMemory, cfg.BatchSize = 2<<20, 700<<10
	}, func(x *lab) {
		defer func() { x.p = open(x.T, config(x.c)) }() // the lab closes a producer with the usual memory
		x.c.MustCreateTopic("other", 1, quilltest.TopicConfig{})
		other, _, err := x.c.Leader("other", 0)
		require.NoError(x, err)
		require.EqualValues(x, 1, other)
		require.NoError(x, x.c.MoveLeader("other", 0, 2))
		x.hold()
		require.NoError(x, x.c.PauseNode(1))
		b := x.send(0, strings.Repeat("b", size))
		x.expired(b, quill.MaybeWritten)
		require.Less(x, x.p.BufferAvailable(), int64(2<<20-size))
		for range 3 { // all the memory there is, used and used again
			_, err := x.p.SendSync(x.Context(), quill.Record[string, string]{Topic: "other", Value: strings.Repeat("x", size)})
			require.NoError(x, err)
		}
		require.NoError(x, x.c.ResumeNode(1))
		time.Sleep(time.Minute)
		for _, r := range logged(x.T, x.c, "t", 0) {
			require.NotContains(x, string(r.Value), "x")
		}
		require.EqualValues(x, 2<<20, x.p.BufferAvailable())
		closeProducer(x.T, x.p)
	})
}

// A batch that may be in the log is not renumbered while a copy of one before it may still arrive and
// let its own copy in: here both lie in a frozen node's connection that the producer has left.
func TestLateCopiesBehindAGivenUpBatchMakeNoDuplicate(t *testing.T) {
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		cfg.RequestTimeout, cfg.DeliveryTimeout, cfg.ReconnectBackoff = time.Second, 2*time.Second, 10*time.Millisecond
	}, func(x *lab) {
		x.deliver(0, "a")
		x.produce(quilltest.Fault{Delay: 2200 * time.Millisecond}) // the first connection is slow to read on
		b := x.send(0, "b")
		time.Sleep(300 * time.Millisecond)
		c := x.send(0, "c")
		x.produce(quilltest.Fault{DropRequest: true}) // b's second attempt gets lost
		x.expired(b, quill.MaybeWritten)
		m, err := c.Wait(x.Context())
		if err == nil {
			require.EqualValues(x, 2, m.Offset)
		} else {
			x.expired(c, quill.MaybeWritten)
		}
		time.Sleep(time.Minute)
		copies := 0
		for _, r := range logged(x.T, x.c, "t", 0) {
			if string(r.Value) == "c" {
				copies++
			}
		}
		require.LessOrEqual(x, copies, 1)
	})
}

// Sequences of a batch that was given up although it may be in the log are not used again: new
// records would be taken for copies of the old (KAFKA-14397, franz-go issue 1217).
func TestALateCopyDoesNotSwallowANewRecord(t *testing.T) {
	inLab(t, quilltest.Options{}, expiring, func(x *lab) {
		x.hold()
		x.slowly(quilltest.Fault{Err: protocol.RequestTimedOut, AfterAppend: true})
		x.expired(x.send(0, "b"), quill.MaybeWritten)
		time.Sleep(time.Second) // the request is back, and has told nothing
		x.deliver(0, "c")
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@1:0"}, x.log(0))
	})
}

// A batch whose attempt may be in the log is not renumbered because a later one is refused for good
// (KAFKA-14034).
func TestARefusedSuccessorDoesNotRenumberWhatMayBeWritten(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.deliver(0, "a")
		x.produce(quilltest.Fault{Err: protocol.RequestTimedOut, AfterAppend: true, Delay: time.Second})
		x.produce(quilltest.Fault{Skip: 1, Err: protocol.InvalidRecord})
		b, c := x.send(0, "b"), x.send(0, "c")
		x.delivered(b)
		require.Equal(x, quill.Rejected, x.failed(c).Outcome())
		x.deliver(0, "d")
		require.Len(x, x.log(0), 3)
		require.Equal(x, "b@0:1", x.log(0)[1])
	})
}

// Java: SenderTest.testIdempotentSplitBatchAndSend
// Java: SenderTest.testTooLargeBatchesAreSafelyRemoved
func TestATooLargeBatchIsSplit(t *testing.T) {
	for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionGzip, quill.CompressionSnappy, quill.CompressionLZ4, quill.CompressionZstd} {
		inLab(t, quilltest.Options{}, func(cfg *quill.Config) {
			cfg.Compression, cfg.BatchSize, cfg.Linger = codec, 16<<10, 50*time.Millisecond
			cfg.RequestTimeout, cfg.DeliveryTimeout = 3*time.Second, 4*time.Second
		}, func(x *lab) {
			x.c.MustCreateTopic("small", 1, quilltest.TopicConfig{MaxMessageBytes: 400})
			var all []quill.Future
			var order []int
			for i := range 40 {
				rec := quill.Record[string, string]{Topic: "small", Partition: quill.Partition(0), Value: chaosText(i), Headers: quill.Headers{{Key: "n", Value: []byte{byte(i)}}}}
				if i%2 == 0 {
					all = append(all, x.p.Send(x.Context(), rec))
					continue
				}
				x.p.SendFunc(x.Context(), rec, func(m quill.RecordMetadata, err error) {
					if err != nil || m.Offset != int64(i) {
						x.Error(i, m, err)
					}
					order = append(order, i)
				})
			}
			require.NoError(x, x.p.Flush(x.Context()))
			require.Len(x, order, 20, "Flush waits for the parts")
			for i, f := range all {
				require.True(x, f.Done())
				require.EqualValues(x, 2*i, x.delivered(f))
			}
			records := logged(x.T, x.c, "small", 0)
			require.Len(x, records, 40)
			for i, r := range records {
				require.Equal(x, chaosText(i), string(r.Value))
				require.Equal(x, []protocol.Header{{Key: "n", Value: []byte{byte(i)}}}, r.Headers)
				require.EqualValues(x, i, r.Sequence)
				require.Zero(x, r.ProducerEpoch)
			}
			time.Sleep(time.Minute) // past the time at which the split batch would have expired
			require.NoError(x, x.p.Flush(x.Context()))
		})
	}
}

// chaosText is text that does not compress to nothing.
func chaosText(i int) string {
	var b strings.Builder
	for j := range 60 {
		fmt.Fprint(&b, (i+1)*(j+7)*7919%977)
	}
	return b.String()
}

// A split that ends at single records: what is too large even alone fails, the rest is delivered.
func TestASplitSparesTheRecordsThatFit(t *testing.T) {
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.BatchSize, cfg.Linger = 16<<10, 50*time.Millisecond }, func(x *lab) {
		x.c.MustCreateTopic("small", 1, quilltest.TopicConfig{MaxMessageBytes: 400})
		var all []quill.Future
		for i := range 20 {
			size := 50
			if i == 7 || i == 8 {
				size = 500
			}
			all = append(all, x.p.Send(x.Context(), quill.Record[string, string]{Topic: "small", Partition: quill.Partition(0), Value: strings.Repeat("v", size)}))
		}
		for i, f := range all {
			if i != 7 && i != 8 {
				x.delivered(f)
				continue
			}
			e := x.failed(f)
			require.ErrorIs(x, e, quill.ErrRecordTooLarge)
			require.Equal(x, quill.Rejected, e.Outcome())
		}
		require.Len(x, logged(x.T, x.c, "small", 0), 18)
	})
}
