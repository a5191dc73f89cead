package quill_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// How records are delivered when the cluster is in trouble, as callers, callbacks, the log and the
// requests show it.

// lab is a cluster with topic "t", whose partitions 0 and 1 are led by nodes 1 and 2, and a producer
// that sends each record as a batch of its own, at once.
type lab struct {
	*testing.T
	c  *quilltest.Cluster
	p  *quill.Producer[string, string]
	mu sync.Mutex
	// +checklocks:mu
	seen []onWire // all batches in Produce requests, as they arrived
}

// onWire is a batch in a request.
type onWire struct {
	quilltest.TopicPartition
	header  protocol.BatchHeader
	bytes   []byte
	node    int32
	version int16
	at      time.Time
}

func (w onWire) String() string {
	return fmt.Sprintf("%d:%d", w.header.ProducerEpoch, w.header.BaseSequence)
}

// inLab runs a test in a lab, with changes to the producer's configuration.
func inLab(t *testing.T, opts quilltest.Options, change func(cfg *quill.Config), test func(x *lab)) {
	t.Helper()
	bubble(t, opts, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
		x := &lab{T: t, c: c}
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: -1, Do: x.watch})
		cfg := config(c)
		cfg.BatchSize, cfg.Linger = -1, -1
		if change != nil {
			change(&cfg)
		}
		x.p = open(t, cfg)
		test(x)
		if err := x.p.Close(after(t, time.Minute)); err != nil {
			require.ErrorIs(t, err, quill.ErrForceClosed, "the test closed it so before")
		}
		require.EqualValues(t, 32<<20, freeMemory(x.p), "all memory is back")
	})
}

func (x *lab) watch(r *quilltest.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, tp := range r.Partitions() {
		if h, ok := r.Batch(tp.Topic, tp.Partition); ok {
			x.seen = append(x.seen, onWire{tp, h, bytes.Clone(r.Records(tp.Topic, tp.Partition)), r.Node, r.Version, time.Now()})
		}
	}
}

// wire is what arrived for a partition of "t".
func (x *lab) wire(partition int32) []onWire {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(x.seen), func(w onWire) bool { return w.Topic != "t" || w.Partition != partition })
}

// send sends to a partition of "t".
func (x *lab) send(partition int32, value string) quill.Future {
	return x.p.Send(x.Context(), quill.Record[string, string]{Topic: "t", Partition: quill.Partition(partition), Key: "k", Value: value})
}

// deliver is send that has to succeed; it returns the offset.
func (x *lab) deliver(partition int32, value string) int64 {
	x.Helper()
	return x.delivered(x.send(partition, value))
}

func (x *lab) delivered(f quill.Future) int64 {
	x.Helper()
	m, err := f.Wait(x.Context())
	require.NoError(x, err)
	return m.Offset
}

// failed waits for a failure.
func (x *lab) failed(f quill.Future) *quill.Error {
	x.Helper()
	_, err := f.Wait(x.Context())
	var e *quill.Error
	require.ErrorAs(x, err, &e)
	return e
}

// produce injects a fault of Produce requests.
func (x *lab) produce(f quilltest.Fault) *quilltest.Injection {
	f.APIs = []protocol.APIKey{protocol.Produce}
	return x.c.Inject(f)
}

// log is what the partition of "t" holds: value@epoch:sequence.
func (x *lab) log(partition int32) []string {
	x.Helper()
	var all []string
	for _, r := range logged(x.T, x.c, "t", partition) {
		all = append(all, fmt.Sprintf("%s@%d:%d", r.Value, r.ProducerEpoch, r.Sequence))
	}
	return all
}

func noIdempotence(cfg *quill.Config) { cfg.Idempotence = quill.Disabled }

// Java: SenderTest.testSimple
func TestARecordIsDeliveredWithItsOffset(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.produce(quilltest.Fault{AnswerDelay: time.Second})
		a := x.send(0, "a")
		time.Sleep(999 * time.Millisecond)
		require.Len(x, x.wire(0), 1)
		require.False(x, a.Done())
		require.Less(x, x.p.BufferAvailable(), int64(32<<20))
		require.EqualValues(x, 0, x.delivered(a))
		require.EqualValues(x, 32<<20, x.p.BufferAvailable())
		require.EqualValues(x, 1, x.deliver(0, "b"))
		require.Equal(x, []string{"a@0:0", "b@0:1"}, x.log(0))
	})
}

// The sender waits for the network alone: between connecting, asking for versions, metadata and a
// producer id, and sending, no time passes.
//
// Java: SenderTest.testDoNotPollWhenNoRequestSent
func TestNoTurnOfTheSenderWaitsForNothing(t *testing.T) {
	inLab(t, quilltest.Options{Nodes: 1}, nil, func(x *lab) {
		start := time.Now()
		x.deliver(0, "a")
		x.deliver(1, "b")
		require.Zero(x, time.Since(start))
	})
}

// Java: SenderTest.testQuotaMetrics
func TestAThrottledNodeIsLeftAlone(t *testing.T) {
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.RequestTimeout = time.Second }, func(x *lab) {
		x.produce(quilltest.Fault{Nodes: []int32{1}, Throttle: 3 * time.Second})
		x.deliver(0, "a")
		start := time.Now()
		slow := x.send(0, "b")
		x.deliver(1, "elsewhere")
		require.Zero(x, time.Since(start), "the other node takes records")
		x.delivered(slow)
		require.Equal(x, 3*time.Second, time.Since(start))
		require.Len(x, x.wire(0), 2, "no time-out, no retry")
	})
}

// The answer to ApiVersions may throttle too. Requests that were sent all the same would time out.
func TestANewConnectionMayBeThrottled(t *testing.T) {
	inLab(t, quilltest.Options{Nodes: 1}, func(cfg *quill.Config) { cfg.RequestTimeout = time.Second }, func(x *lab) {
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Throttle: 3 * time.Second})
		start := time.Now()
		x.deliver(0, "a")
		require.Equal(x, 3*time.Second, time.Since(start))
		require.EqualValues(x, 1, x.c.RequestCount(protocol.Metadata), "no time-out, no retry")
	})
}

// Before KIP-219 a node waited itself before it answered, and told for how long: that is over by then.
func TestAnOldNodeThrottlesByItself(t *testing.T) {
	inLab(t, quilltest.Options{Release: "1.0"}, nil, func(x *lab) {
		x.produce(quilltest.Fault{Nodes: []int32{1}, Throttle: 3 * time.Second})
		start := time.Now()
		x.deliver(0, "a")
		require.Equal(x, 3*time.Second, time.Since(start))
		x.deliver(0, "b")
		require.Equal(x, 3*time.Second, time.Since(start))
	})
}

// Java: SenderTest.testRetries
func TestRetriesHaveAnEnd(t *testing.T) {
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.Retries = 1 }, func(x *lab) {
		x.produce(quilltest.Fault{DisconnectBefore: true})
		x.deliver(0, "a")
		x.produce(quilltest.Fault{DisconnectBefore: true, Times: 2})
		e := x.failed(x.send(0, "b"))
		require.Equal(x, 2, e.Attempts)
		require.Equal(x, quill.MaybeWritten, e.Outcome())
		require.True(x, e.Retriable())
		require.ErrorIs(x, e, quill.ErrDisconnected)
		require.Equal(x, []string{"a@0:0"}, x.log(0))
		x.deliver(0, "c")
		require.Equal(x, []string{"a@0:0", "c@1:0"}, x.log(0), "b may be in the log, so its number is not used again")
	})
}

// Java: SenderTest.testSendInOrder
func TestOneInFlightMeansOnePerPartition(t *testing.T) {
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		noIdempotence(cfg)
		cfg.MaxInFlightRequestsPerConnection, cfg.MetadataMaxAge = 1, 200*time.Millisecond
	}, func(x *lab) {
		x.deliver(0, "a")
		x.produce(quilltest.Fault{AnswerDelay: 2 * time.Second})
		b := x.send(0, "b")
		time.Sleep(100 * time.Millisecond)
		require.NoError(x, x.c.MoveLeader("t", 0, 2))
		time.Sleep(time.Second) // the new leader is known by now, and has nothing to do
		c := x.send(0, "c")
		time.Sleep(500 * time.Millisecond)
		require.Len(x, x.wire(0), 2)
		require.EqualValues(x, 1, x.delivered(b))
		require.EqualValues(x, 2, x.delivered(c))
		require.EqualValues(x, 2, x.wire(0)[2].node)
	})
}

// Java: SenderTest.testCanRetryWithoutIdempotence
func TestWithoutIdempotenceOnlyTheRefusedRecordFails(t *testing.T) {
	inLab(t, quilltest.Options{}, noIdempotence, func(x *lab) {
		x.produce(quilltest.Fault{Err: protocol.NotEnoughReplicas})
		x.produce(quilltest.Fault{Err: protocol.TopicAuthorizationFailed, Skip: 1})
		e := x.failed(x.send(0, "a"))
		require.ErrorIs(x, e, protocol.TopicAuthorizationFailed)
		require.Equal(x, quill.Rejected, e.Outcome())
		require.Equal(x, 2, e.Attempts)
		x.deliver(0, "b")
		require.Equal(x, []string{"b@-1:-1"}, x.log(0))
		require.Zero(x, x.c.RequestCount(protocol.InitProducerID))
	})
}

// A batch that is sent again has the same bytes as the first time (librdkafka issue 4736).
func TestARetryIsByteIdentical(t *testing.T) {
	for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionGzip, quill.CompressionSnappy, quill.CompressionLZ4, quill.CompressionZstd} {
		inLab(t, quilltest.Options{}, func(cfg *quill.Config) {
			cfg.Compression, cfg.BatchSize, cfg.Linger = codec, 0, 10*time.Millisecond
		}, func(x *lab) {
			x.produce(quilltest.Fault{DisconnectAfter: true})
			x.produce(quilltest.Fault{Skip: 1, Err: protocol.NotEnoughReplicas})
			var last quill.Future
			for i := range 50 {
				last = x.send(0, fmt.Sprint("value", i))
			}
			x.delivered(last)
			sent := x.wire(0)
			require.Len(x, sent, 3)
			require.Equal(x, sent[0].bytes, sent[1].bytes)
			require.Equal(x, sent[0].bytes, sent[2].bytes)
			require.Len(x, x.log(0), 50)
		})
	}
}

func TestAcks(t *testing.T) {
	for _, acks := range []quill.Acks{quill.AcksAll, quill.AcksLeader, quill.AcksNone} {
		inLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.Acks = acks }, func(x *lab) {
			for i := range 3 {
				offset := x.deliver(0, fmt.Sprint(i))
				if acks == quill.AcksNone {
					require.EqualValues(x, -1, offset)
				} else {
					require.EqualValues(x, i, offset)
				}
			}
			require.NoError(x, x.c.WaitRecords(x.Context(), "t", 3))
		})
	}
}

// With acks=0 a request is done when it is written: nothing tells that the node has refused it, but
// the connection that the node closes is made anew (B56).
func TestAcksNoneSurvivesRefusals(t *testing.T) {
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.Acks = quill.AcksNone }, func(x *lab) {
		x.produce(quilltest.Fault{Err: protocol.InvalidRecord, Skip: 2})
		for i := range 10 {
			x.deliver(0, fmt.Sprint(i))
			time.Sleep(200 * time.Millisecond)
		}
		require.Len(x, x.log(0), 9)
	})
}

// Java: SenderTest.testProducerBatchRetriesWhenPartitionLeaderChanges
func TestANewLeaderEndsTheBackoffOnce(t *testing.T) {
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.RetryBackoff, cfg.RetryBackoffMax = time.Second, time.Second }, func(x *lab) {
		x.deliver(0, "a")
		require.NoError(x, x.c.MoveLeader("t", 0, 3)) // node 1 will tell
		x.produce(quilltest.Fault{Nodes: []int32{3}, Err: protocol.NotEnoughReplicas})
		start := time.Now()
		x.deliver(0, "b")
		sent := x.wire(0)[1:]
		require.Equal(x, []int32{1, 3, 3}, []int32{sent[0].node, sent[1].node, sent[2].node})
		require.Equal(x, start, sent[0].at)
		require.Equal(x, start, sent[1].at, "a new leader: at once")
		require.InDelta(x, time.Second, sent[2].at.Sub(start), float64(200*time.Millisecond), "the same leader again: wait")
		require.Equal(x, []string{"a@0:0", "b@0:1"}, x.log(0))
	})
}

// Java: SenderTest.testWhenProduceResponseReturnsWithALeaderShipChangeErrorButNoNewLeaderInformation
func TestALeaderChangeWithoutInformationAsksForMetadata(t *testing.T) {
	inLab(t, quilltest.Options{Release: "3.3"}, nil, func(x *lab) { // no KIP-951 there
		x.deliver(0, "a")
		x.deliver(1, "b")
		time.Sleep(time.Second)
		before := x.c.RequestCount(protocol.Metadata)
		require.NoError(x, x.c.MoveLeader("t", 0, 3))
		start := time.Now()
		moved, other := x.send(0, "c"), x.send(1, "d")
		x.delivered(other)
		require.Zero(x, time.Since(start), "the other partition does not wait")
		x.delivered(moved)
		require.Greater(x, x.c.RequestCount(protocol.Metadata), before)
		require.EqualValues(x, 3, x.wire(0)[2].node)
	})
}

// Java: SenderTest.testWhenProduceResponseReturnsWithALeaderShipChangeErrorAndNewLeaderInformation
func TestALeaderChangeWithInformationNeedsNoMetadata(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.deliver(0, "a")
		time.Sleep(time.Second)
		before := x.c.RequestCount(protocol.Metadata)
		require.NoError(x, x.c.MoveLeader("t", 0, 3))
		start := time.Now()
		x.deliver(0, "b")
		require.Zero(x, time.Since(start), "no back-off")
		require.Equal(x, before, x.c.RequestCount(protocol.Metadata))
		require.Equal(x, []string{"a@0:0", "b@0:1"}, x.log(0))
	})
}

// Java: SenderTest.testMetadataTopicExpiry
func TestAnIdleTopicIsForgotten(t *testing.T) {
	asked := func(c *quilltest.Cluster) func() int64 {
		i := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "t", Times: -1})
		return i.Hits
	}
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		cfg.MetadataMaxAge, cfg.MetadataMaxIdle = 2*time.Second, 10*time.Second
	}, func(x *lab) {
		n := asked(x.c)
		for range 20 {
			x.deliver(0, "a")
			time.Sleep(time.Second)
		}
		require.GreaterOrEqual(x, n(), int64(8), "refreshed while used")
		time.Sleep(15 * time.Second)
		before := n()
		time.Sleep(time.Minute)
		require.Equal(x, before, n(), "forgotten")
		x.deliver(0, "b")
		require.Greater(x, n(), before)
	})
}

// keyless sends n records for the partitioner to place, with a pause after each, and waits for them.
// It returns how many each node got.
func (x *lab) keyless(n int, pause time.Duration) (perNode map[int32]int) {
	x.Helper()
	view, err := quill.Share(x.p, nullSerializer, quill.String)
	require.NoError(x, err)
	var all []quill.Future
	for range n {
		all = append(all, view.Send(x.Context(), quill.Record[string, string]{Topic: "t", Value: "v"}))
		time.Sleep(pause)
	}
	perNode = map[int32]int{}
	for _, f := range all {
		m, err := f.Wait(x.Context())
		require.NoError(x, err)
		perNode[m.Partition+1]++
	}
	return perNode
}

// A node is avoided from partitioner.availability.timeout.ms after it has something that it does not
// take, until it takes it.
//
// Java: SenderTest.testNodeLatencyStats
func TestKeylessRecordsAvoidANodeThatTakesNothing(t *testing.T) {
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.PartitionerAvailabilityTimeout = 200 * time.Millisecond }, func(x *lab) {
		throttle := quilltest.Fault{Nodes: []int32{1}, Throttle: 3 * time.Second}
		x.produce(throttle)
		x.deliver(0, "a")
		time.Sleep(time.Second)
		require.Greater(x, x.keyless(200, 0)[1], 20, "it had nothing to take, so nobody knows")

		x.produce(throttle)
		x.deliver(0, "b")
		held := x.send(0, "c")
		time.Sleep(time.Second)
		require.LessOrEqual(x, x.keyless(40, 10*time.Millisecond)[1], 3, "it does not take what it has; where the first ones go was decided before")
		x.delivered(held)
		require.Greater(x, x.keyless(200, 10*time.Millisecond)[1], 20, "it takes records again")
	})
}

// Java: SenderTest.testDefaultErrorMessage
// Java: SenderTest.testCustomErrorMessage
func TestTheBrokersOwnWordsReachTheCaller(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.produce(quilltest.Fault{Err: protocol.InvalidRequest})
		e := x.failed(x.send(0, "a"))
		require.Contains(x, e.Error(), strings.TrimSuffix(protocol.InvalidRequest.Message(), "."))
		x.produce(quilltest.Fault{Err: protocol.InvalidRequest, ErrMessage: "told by the broker"})
		e = x.failed(x.send(0, "b"))
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
				cfg.BatchSize, cfg.Linger, cfg.Idempotence = 0, 10*time.Millisecond, quill.Disabled
			}
		}
		inLab(t, quilltest.Options{}, change, func(x *lab) {
			x.deliver(0, "first")
			x.produce(quilltest.Fault{RecordErrors: map[int32]string{0: "bad", 2: "worse", 3: ""}, AnswerDelay: 50 * time.Millisecond})
			var order []string
			var all []quill.Future
			for i := range 6 {
				r := quill.Record[string, string]{Topic: "t", Partition: quill.Partition(0), Key: "k", Value: fmt.Sprint(i)}
				x.p.SendFunc(x.Context(), r, func(quill.RecordMetadata, error) { order = append(order, r.Value) })
				all = append(all, x.send(0, "and "+r.Value))
			}
			time.Sleep(20 * time.Millisecond)
			behind := x.send(0, "behind")
			for i, f := range all {
				if i != 1 {
					x.delivered(f)
					continue
				}
				e := x.failed(f)
				require.ErrorIs(x, e, quill.ErrInvalidRecord)
				require.ErrorIs(x, e, protocol.InvalidRecord)
				require.Equal(x, quill.Rejected, e.Outcome())
			}
			x.delivered(behind)
			require.Equal(x, []string{"0", "1", "2", "3", "4", "5"}, order)
			var log []string
			for _, r := range logged(x.T, x.c, "t", 0) {
				log = append(log, string(r.Value))
			}
			require.Equal(x, []string{"first", "and 0", "2", "and 2", "3", "and 3", "4", "and 4", "5", "and 5", "behind"}, idempotentOrder(log, idempotent))
			require.NoError(x, x.p.Flush(x.Context()))
		})
	}
}

// idempotentOrder is the log as it must be; without idempotence what was in flight behind a refused
// batch overtakes it, as in Java.
func idempotentOrder(log []string, idempotent bool) []string {
	if at := slices.Index(log, "behind"); !idempotent && at >= 0 {
		log = append(slices.Delete(log, at, at+1), "behind")
	}
	return log
}

func TestWithoutRetriesAllRecordsOfARefusedBatchFail(t *testing.T) {
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) {
		cfg.BatchSize, cfg.Linger, cfg.Retries, cfg.Idempotence = 0, 10*time.Millisecond, -1, quill.Disabled
	}, func(x *lab) {
		x.produce(quilltest.Fault{RecordErrors: map[int32]string{0: "first", 2: "third", 3: ""}})
		var all []quill.Future
		for i := range 5 {
			all = append(all, x.send(0, fmt.Sprint(i)))
		}
		for i, f := range all {
			e := x.failed(f)
			require.Equal(x, quill.Rejected, e.Outcome())
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
	inLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.BatchSize, cfg.Linger = 0, 10*time.Millisecond }, func(x *lab) {
		x.produce(quilltest.Fault{RecordErrors: map[int32]string{0: "first", 1: "second"}})
		a, b := x.send(0, "a"), x.send(0, "b")
		require.Equal(x, "first", x.failed(a).Detail)
		require.Equal(x, "second", x.failed(b).Detail)
		x.deliver(0, "next")
		require.Equal(x, []string{"next@0:0"}, x.log(0))
	})
}

// closeNow closes the producer without time to drain.
func (x *lab) closeNow() error {
	ctx, cancel := context.WithCancel(x.Context())
	cancel()
	return x.p.Close(ctx)
}
