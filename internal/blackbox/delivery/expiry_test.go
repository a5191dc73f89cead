package delivery_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Records that run out of time, before they are sent, between two attempts, and in flight; and
// batches that are too large.

// Java: SenderTest.testExpiryOfUnsentBatchesShouldNotCauseUnresolvedSequences
func TestExpiryBeforeSendingLeavesNoGap(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, testkit.Expiring, func(x *testkit.Lab) {
		x.Produce(quilltest.Fault{Nodes: []int32{1}, Throttle: 5 * time.Second})
		x.Deliver(0, "a")
		start := time.Now()
		x.Expired(x.Send(0, "b"), quill.NotSent)
		require.Equal(x, 3*time.Second, time.Since(start))
		x.Deliver(0, "c")
		require.Equal(x, []string{"a@0:0", "c@0:1"}, x.Stored(0))
	})
}

// Java: SenderTest.testExpiryOfFirstBatchShouldNotCauseUnresolvedSequencesIfFutureBatchesSucceed
func TestExpiryInFlightIsSettledByASuccessor(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, testkit.Expiring, func(x *testkit.Lab) {
		x.Hold()
		x.Slowly(quilltest.Fault{})
		start := time.Now()
		b := x.Send(0, "b")
		time.Sleep(500 * time.Millisecond)
		c := x.Send(0, "c")
		x.Expired(b, quill.MaybeWritten)
		require.Equal(x, 3*time.Second, time.Since(start))
		d := x.Send(0, "d") // waits until b and c are settled
		x.Delivered(c)
		x.Delivered(d)
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2", "d@0:3"}, x.Stored(0))
	})
}

// Java: SenderTest.testExpiryOfFirstBatchShouldCauseEpochBumpIfFutureBatchesFail
func TestExpiryInFlightEndsTheEpochIfASuccessorIsOutOfOrder(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, testkit.Expiring, func(x *testkit.Lab) {
		x.Hold()
		x.Slowly(quilltest.Fault{Err: protocol.RequestTimedOut})
		b := x.Send(0, "b")
		time.Sleep(500 * time.Millisecond)
		c := x.Send(0, "c")
		x.Expired(b, quill.MaybeWritten)
		d := x.Send(0, "d")
		x.Delivered(c)
		x.Delivered(d)
		require.Equal(x, []string{"a@0:0", "c@1:0", "d@1:1"}, x.Stored(0))
	})
}

// Java: SenderTest.testExpiryOfAllSentBatchesShouldCauseUnresolvedSequences
func TestExpiryOfAllInFlightEndsTheEpoch(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, testkit.Expiring, func(x *testkit.Lab) {
		x.Hold()
		x.Produce(quilltest.Fault{Nodes: []int32{1}, DropRequest: true})
		b, c := x.Send(0, "b"), x.Send(0, "c")
		x.Expired(b, quill.MaybeWritten)
		x.Expired(c, quill.MaybeWritten)
		x.Deliver(0, "d")
		require.Equal(x, []string{"a@0:0", "d@1:0"}, x.Stored(0))
		log := testkit.Logged(x.T, x.C, "t", 0)
		require.Equal(x, log[0].ProducerID, log[1].ProducerID)
	})
}

// Java begins the new epoch at once; ours waits for the request's end first, since its answer may
// save the epoch (deviation 1).
//
// Java: TransactionManagerTest.testDuplicateSequenceAfterProducerReset
func TestWhatFollowsAnExpiredRetryBeginsANewEpoch(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		cfg.RequestTimeout, cfg.DeliveryTimeout = 3*time.Second, 5*time.Second
	}, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Nodes: []int32{1}, DropRequest: true, Times: 3})
		start := time.Now()
		x.Expired(x.Send(0, "b"), quill.MaybeWritten)
		require.Equal(x, 5*time.Second, time.Since(start))
		require.Equal(x, "[0:0 0:1 0:1]", fmt.Sprint(x.Wire(0)), "the retry is still out")
		c := x.Send(0, "c")
		time.Sleep(time.Second)
		require.Len(x, x.Wire(0), 3)
		x.Delivered(c) // in its second request
		require.Equal(x, "[0:0 0:1 0:1 1:0 1:0]", fmt.Sprint(x.Wire(0)))
		require.Equal(x, []string{"a@0:0", "c@1:0"}, x.Stored(0))
	})
}

// Java: SenderTest.testWhenFirstBatchExpireNoSendSecondBatchIfGuaranteeOrder
func TestTheSecondBatchWaitsForTheAnswerToTheExpiredFirst(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		testkit.Expiring(cfg)
		noIdempotence(cfg)
		cfg.MaxInFlightRequestsPerConnection = 1
	}, func(x *testkit.Lab) {
		x.Hold()
		x.Slowly(quilltest.Fault{})
		start := time.Now()
		b := x.Send(0, "b")
		x.Expired(b, quill.MaybeWritten)
		x.Deliver(0, "c")
		require.Equal(x, 3100*time.Millisecond, time.Since(start))
		require.Equal(x, []string{"a@-1:-1", "b@-1:-1", "c@-1:-1"}, x.Stored(0))
	})
}

// Java: SenderTest.testExpiredBatchDoesNotRetry
// Java: SenderTest.testExpiredBatchDoesNotSplitOnMessageTooLargeError
func TestALateRefusalOfAnExpiredBatchChangesNothing(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.NotEnoughReplicas, protocol.MessageTooLarge, protocol.OutOfOrderSequenceNumber, protocol.InvalidRecord, protocol.DuplicateSequenceNumber} {
		testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) {
			testkit.Expiring(cfg)
			cfg.BatchSize, cfg.Linger = 0, -1
		}, func(x *testkit.Lab) {
			x.Hold()
			x.Slowly(quilltest.Fault{Err: code})
			b, c := x.Send(0, "b"), x.Send(0, "c")
			x.Expired(b, quill.MaybeWritten)
			x.Expired(c, quill.MaybeWritten)
			time.Sleep(time.Minute)
			require.Len(x, x.Wire(0), 2, "sent once, never again")
			x.Deliver(0, "d")
		})
	}
}

// Java: SenderTest.testExpiredBatchesInMultiplePartitions
func TestBatchesOfManyPartitionsExpireTogether(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Nodes: 1}, testkit.Expiring, func(x *testkit.Lab) {
		const partitions = 500
		x.C.MustCreateTopic("many", partitions, quilltest.TopicConfig{})
		_, err := x.P.PartitionsFor(x.Context(), "many")
		require.NoError(x, err)
		x.Hold()
		x.Produce(quilltest.Fault{DropRequest: true})
		start := time.Now()
		failures := 0
		for p := range int32(partitions) {
			x.P.SendFunc(x.Context(), quill.Record[string, string]{Topic: "many", Partition: quill.Partition(p)}, func(_ quill.RecordMetadata, err error) {
				if errors.Is(err, quill.ErrDeliveryTimeout) && time.Since(start) == 3*time.Second {
					failures++
				}
			})
		}
		require.NoError(x, x.P.Flush(x.Context()))
		require.Equal(x, partitions, failures)
	})
}

// Java: SenderTest.testAppendInExpiryCallback
func TestACallbackOfAnExpiredRecordMaySend(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, testkit.Expiring, func(x *testkit.Lab) {
		x.Produce(quilltest.Fault{Nodes: []int32{1}, Throttle: 5 * time.Second})
		x.Deliver(0, "a")
		calls := 0
		var again []quill.Future
		for i := range 10 {
			rec := quill.Record[string, string]{Topic: "t", Partition: quill.Partition(0), Value: fmt.Sprint(i)}
			x.P.SendFunc(x.Context(), rec, func(_ quill.RecordMetadata, err error) {
				calls++
				if !errors.Is(err, quill.ErrDeliveryTimeout) {
					x.Error(err)
				}
				again = append(again, x.P.Send(x.Context(), rec))
			})
		}
		require.NoError(x, x.P.Flush(x.Context()))
		for _, f := range again {
			x.Delivered(f)
		}
		require.Equal(x, 10, calls)
		require.Len(x, x.Stored(0), 11)
	})
}

// A batch that may be in the log is not renumbered while a copy of one before it may still arrive and
// let its own copy in: here both lie in a frozen node's connection that the producer has left.
func TestLateCopiesBehindAGivenUpBatchMakeNoDuplicate(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		cfg.RequestTimeout, cfg.DeliveryTimeout, cfg.ReconnectBackoff = time.Second, 2*time.Second, 10*time.Millisecond
	}, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Delay: 2200 * time.Millisecond}) // the first connection is slow to read on
		b := x.Send(0, "b")
		time.Sleep(300 * time.Millisecond)
		c := x.Send(0, "c")
		x.Produce(quilltest.Fault{DropRequest: true}) // b's second attempt gets lost
		x.Expired(b, quill.MaybeWritten)
		m, err := c.Wait(x.Context())
		if err == nil {
			require.EqualValues(x, 2, m.Offset)
		} else {
			x.Expired(c, quill.MaybeWritten)
		}
		time.Sleep(time.Minute)
		copies := 0
		for _, r := range testkit.Logged(x.T, x.C, "t", 0) {
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
	testkit.InLab(t, quilltest.Options{}, testkit.Expiring, func(x *testkit.Lab) {
		x.Hold()
		x.Slowly(quilltest.Fault{Err: protocol.RequestTimedOut, AfterAppend: true})
		x.Expired(x.Send(0, "b"), quill.MaybeWritten)
		time.Sleep(time.Second) // the request is back, and no outcome was reported
		x.Deliver(0, "c")
		require.Equal(x, []string{"a@0:0", "b@0:1", "c@1:0"}, x.Stored(0))
	})
}

// A batch whose attempt may be in the log is not renumbered because a later one is refused finally
// (KAFKA-14034).
func TestARefusedSuccessorDoesNotRenumberWhatMayBeWritten(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Err: protocol.RequestTimedOut, AfterAppend: true, Delay: time.Second})
		x.Produce(quilltest.Fault{Skip: 1, Err: protocol.InvalidRecord})
		b, c := x.Send(0, "b"), x.Send(0, "c")
		x.Delivered(b)
		require.Equal(x, quill.Rejected, x.Failure(c).Outcome)
		x.Deliver(0, "d")
		require.Len(x, x.Stored(0), 3)
		require.Equal(x, "b@0:1", x.Stored(0)[1])
	})
}

// Java: SenderTest.testIdempotentSplitBatchAndSend
// Java: SenderTest.testTooLargeBatchesAreSafelyRemoved
func TestATooLargeBatchIsSplit(t *testing.T) {
	for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionGzip, quill.CompressionSnappy, quill.CompressionLZ4, quill.CompressionZstd} {
		testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) {
			cfg.Compression, cfg.BatchSize, cfg.Linger = codec, 16<<10, 50*time.Millisecond
			cfg.RequestTimeout, cfg.DeliveryTimeout = 3*time.Second, 4*time.Second
		}, func(x *testkit.Lab) {
			x.C.MustCreateTopic("small", 1, quilltest.TopicConfig{MaxMessageBytes: 400})
			var all []quill.Future
			var order []int
			for i := range 40 {
				rec := quill.Record[string, string]{Topic: "small", Partition: quill.Partition(0), Value: chaosText(i), Headers: quill.Headers{{Key: "n", Value: []byte{byte(i)}}}}
				if i%2 == 0 {
					all = append(all, x.P.Send(x.Context(), rec))
					continue
				}
				x.P.SendFunc(x.Context(), rec, func(m quill.RecordMetadata, err error) {
					if err != nil || m.Offset != int64(i) {
						x.Error(i, m, err)
					}
					order = append(order, i)
				})
			}
			require.NoError(x, x.P.Flush(x.Context()))
			require.Len(x, order, 20, "Flush waits for the parts")
			for i, f := range all {
				require.True(x, f.Done())
				require.EqualValues(x, 2*i, x.Delivered(f))
			}
			records := testkit.Logged(x.T, x.C, "small", 0)
			require.Len(x, records, 40)
			for i, r := range records {
				require.Equal(x, chaosText(i), string(r.Value))
				require.Equal(x, []protocol.Header{{Key: "n", Value: []byte{byte(i)}}}, r.Headers)
				require.EqualValues(x, i, r.Sequence)
				require.Zero(x, r.ProducerEpoch)
			}
			time.Sleep(time.Minute) // past the time at which the split batch would have expired
			require.NoError(x, x.P.Flush(x.Context()))
		})
	}
}

// chaosText returns text that does not compress to nothing.
func chaosText(i int) string {
	var b strings.Builder
	for j := range 60 {
		fmt.Fprint(&b, (i+1)*(j+7)*7919%977)
	}
	return b.String()
}

// A split that ends at single records: what is too large even alone fails, the rest is delivered.
func TestASplitSparesTheRecordsThatFit(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.BatchSize, cfg.Linger = 16<<10, 50*time.Millisecond }, func(x *testkit.Lab) {
		x.C.MustCreateTopic("small", 1, quilltest.TopicConfig{MaxMessageBytes: 400})
		var all []quill.Future
		for i := range 20 {
			size := 50
			if i == 7 || i == 8 {
				size = 500
			}
			all = append(all, x.P.Send(x.Context(), quill.Record[string, string]{Topic: "small", Partition: quill.Partition(0), Value: strings.Repeat("v", size)}))
		}
		for i, f := range all {
			if i != 7 && i != 8 {
				x.Delivered(f)
				continue
			}
			e := x.Failure(f)
			require.ErrorIs(x, e, quill.ErrRecordTooLarge)
			require.Equal(x, quill.Rejected, e.Outcome)
		}
		require.Len(x, testkit.Logged(x.T, x.C, "small", 0), 18)
	})
}
