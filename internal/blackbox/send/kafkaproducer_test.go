package send_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What Kafka's own KafkaProducerTest expects of a producer. Each test names its model; those about
// transactions and metrics stand elsewhere.

// checkIdempotence sends one record with these properties; refused: New refuses them.
func checkIdempotence(t *testing.T, idempotent, refused bool, props map[string]string) {
	t.Helper()
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg, err := quill.ParseProperties(props)
		require.NoError(t, err)
		cfg.BootstrapServers, cfg.DialContext = c.BootstrapServers(), c.DialContext
		p, err := quill.New(cfg, quill.String, quill.String)
		if refused {
			require.ErrorAs(t, err, new(*quill.ConfigError), "%v", props)
			return
		}
		require.NoError(t, err, "%v", props)
		m := testkit.SendOK(t, p, "t")
		testkit.CloseProducer(t, p)
		require.NoError(t, c.WaitRecords(t.Context(), "t", 1)) // with acks=0 it may still be on its way
		got := testkit.Logged(t, c, "t", m.Partition)
		require.Equal(t, idempotent, got[0].ProducerID >= 0, "%v", props)
	})
}

// Java: KafkaProducerTest.testAcksAndIdempotenceForIdempotentProducers
func TestAcksDecideAboutIdempotence(t *testing.T) {
	checkIdempotence(t, true, false, map[string]string{"acks": "all"})
	checkIdempotence(t, true, false, map[string]string{"acks": "-1", "enable.idempotence": "true"})
	checkIdempotence(t, false, false, map[string]string{"acks": "0"})
	checkIdempotence(t, false, false, map[string]string{"acks": "1"})
	checkIdempotence(t, false, false, map[string]string{"acks": "all", "enable.idempotence": "false"})
	checkIdempotence(t, false, true, map[string]string{"acks": "0", "enable.idempotence": "true"})
	checkIdempotence(t, false, true, map[string]string{"acks": "1", "enable.idempotence": "true"})
}

// Java: KafkaProducerTest.testRetriesAndIdempotenceForIdempotentProducers
func TestRetriesDecideAboutIdempotence(t *testing.T) {
	checkIdempotence(t, true, false, map[string]string{"retries": "1"})
	checkIdempotence(t, false, false, map[string]string{"retries": "0"})
	checkIdempotence(t, false, true, map[string]string{"retries": "0", "enable.idempotence": "true"})
}

// Java: KafkaProducerTest.testInflightRequestsAndIdempotenceForIdempotentProducers
func TestInFlightLimitOfIdempotentProducers(t *testing.T) {
	checkIdempotence(t, true, false, map[string]string{"max.in.flight.requests.per.connection": "5"})
	checkIdempotence(t, false, false, map[string]string{"max.in.flight.requests.per.connection": "6", "enable.idempotence": "false"})
	checkIdempotence(t, false, true, map[string]string{"max.in.flight.requests.per.connection": "6"})
	checkIdempotence(t, false, true, map[string]string{"max.in.flight.requests.per.connection": "6", "enable.idempotence": "true"})
}

// Java: KafkaProducerTest.testConstructorWithSerializers
func TestSerializersAreGivenAsValues(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p, err := quill.New(testkit.Config(c), quill.Bytes, quill.Int64)
		require.NoError(t, err)
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testNoSerializerProvided
func TestMissingSerializerIsAConfigError(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		_, err := quill.New[string](testkit.Config(c), nil, quill.String)
		require.ErrorAs(t, err, new(*quill.ConfigError))
		_, err = quill.New[string, string](testkit.Config(c), quill.String, nil)
		require.ErrorAs(t, err, new(*quill.ConfigError))
		require.ErrorContains(t, err, "serializer")
	})
}

// Java: KafkaProducerTest.testConstructorFailureCloseResource
func TestFailingNewClosesWhatItOpened(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		key, value, part := &testkit.ClosingSerializer{}, &testkit.ClosingSerializer{}, &testkit.Closer{}
		cfg := testkit.Config(c)
		cfg.Partitioner = part
		_, err := quill.New(cfg, key, value, quill.Interceptor[string, string](&testkit.Closer{Fail: testkit.ErrOwn}))
		require.ErrorIs(t, err, testkit.ErrOwn)
		for _, x := range []*testkit.Closer{part, &key.Closer, &value.Closer} {
			require.EqualValues(t, 1, x.Configured.Load())
			require.EqualValues(t, 1, x.Closed.Load())
		}
		cfg.Partitioner = &testkit.Closer{Fail: testkit.ErrOwn}
		_, err = quill.New(cfg, key, value)
		require.ErrorIs(t, err, testkit.ErrOwn)
		require.EqualValues(t, 1, key.Configured.Load(), "the partitioner comes first")
	})
}

// Java: KafkaProducerTest.testSerializerClose
func TestSerializersAreClosedOnce(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		key, value := &testkit.ClosingSerializer{}, &testkit.ClosingSerializer{}
		p, err := quill.New(testkit.Config(c), key, value)
		require.NoError(t, err)
		require.Zero(t, key.Closed.Load()+value.Closed.Load())
		testkit.CloseProducer(t, p)
		testkit.CloseProducer(t, p)
		require.EqualValues(t, 1, key.Closed.Load())
		require.EqualValues(t, 1, value.Closed.Load())
	})
}

// Java: KafkaProducerTest.testInterceptorConstructClose
func TestInterceptorsAreClosedOnce(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		x := &testkit.Closer{}
		p, err := quill.New(testkit.Config(c), quill.String, quill.String, quill.Interceptor[string, string](x))
		require.NoError(t, err)
		require.EqualValues(t, 1, x.Configured.Load())
		require.Zero(t, x.Closed.Load())
		testkit.CloseProducer(t, p)
		testkit.CloseProducer(t, p)
		require.EqualValues(t, 1, x.Closed.Load())
	})
}

// Java: KafkaProducerTest.testInterceptorConstructorConfigurationWithExceptionShouldCloseRemainingInstances
func TestFaultyInterceptorClosesTheOthers(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		good, faulty, late := &testkit.Closer{}, &testkit.Closer{Fail: testkit.ErrOwn}, &testkit.Closer{}
		_, err := quill.New(testkit.Config(c), quill.String, quill.String, quill.Interceptor[string, string](good), faulty, late)
		require.ErrorIs(t, err, testkit.ErrOwn)
		require.EqualValues(t, 1, good.Closed.Load())
		require.Zero(t, late.Configured.Load())
		require.Zero(t, late.Closed.Load())
	})
}

// Java: KafkaProducerTest.testPartitionerClose
func TestPartitionerIsClosedOnce(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		x := &testkit.Closer{}
		cfg := testkit.Config(c)
		cfg.Partitioner = x
		p := testkit.Open(t, cfg)
		require.EqualValues(t, 1, x.Configured.Load())
		require.Zero(t, x.Closed.Load())
		testkit.CloseProducer(t, p)
		testkit.CloseProducer(t, p)
		require.EqualValues(t, 1, x.Closed.Load())
	})
}

// Java: KafkaProducerTest.shouldCloseProperlyAndThrowIfInterrupted
func TestCancelledCloseStillCloses(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		x := &testkit.Closer{}
		p, err := quill.New(testkit.Config(c), quill.String, quill.String, quill.Interceptor[string, string](x))
		require.NoError(t, err)
		testkit.Known(t, p, "t")
		testkit.PauseAll(t, c)
		f := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
		ctx, cancel := context.WithCancelCause(t.Context())
		closed := make(chan error, 1)
		go func() { closed <- p.Close(ctx) }()
		time.Sleep(time.Second)
		require.False(t, f.Done(), "it waits for the send")
		cancel(testkit.ErrOwn)
		testkit.Within(t, 0, 0, func() {
			err := <-closed
			require.ErrorIs(t, err, quill.ErrForceClosed)
			require.ErrorIs(t, err, testkit.ErrOwn)
		})
		require.True(t, f.Done())
		require.EqualValues(t, 1, x.Closed.Load())
		testkit.ResumeAll(t, c)
	})
}

// Java: KafkaProducerTest.testOsDefaultSocketBufferSizes
func TestSocketBuffersOfTheOperatingSystem(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.SendBufferBytes, cfg.ReceiveBufferBytes = -1, -1
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testInvalidSocketSendBufferSize
func TestSendBufferBelowMinusOneIsRefused(t *testing.T) {
	_, err := quill.New(quill.Config{BootstrapServers: []string{"localhost:9092"}, SendBufferBytes: -2}, quill.String, quill.String)
	require.ErrorAs(t, err, new(*quill.ConfigError))
	require.ErrorContains(t, err, "send.buffer.bytes")
}

// Java: KafkaProducerTest.testInvalidSocketReceiveBufferSize
func TestReceiveBufferBelowMinusOneIsRefused(t *testing.T) {
	_, err := quill.New(quill.Config{BootstrapServers: []string{"localhost:9092"}, ReceiveBufferBytes: -2}, quill.String, quill.String)
	require.ErrorAs(t, err, new(*quill.ConfigError))
	require.ErrorContains(t, err, "receive.buffer.bytes")
}

// Java: KafkaProducerTest.testMetadataFetch
func TestSendAsksForMetadataOnlyOnce(t *testing.T) {
	for _, idempotence := range []bool{true, false} {
		testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
			cfg := testkit.Config(c)
			cfg.Idempotence = &idempotence
			p := testkit.Open(t, cfg)
			testkit.SendOK(t, p, "t")
			n := c.RequestCount(protocol.Metadata)
			require.EqualValues(t, 1, n)
			for range 4 {
				testkit.SendOK(t, p, "t")
			}
			_, err := p.PartitionsFor(t.Context(), "t")
			require.NoError(t, err)
			require.Equal(t, n, c.RequestCount(protocol.Metadata))
			testkit.CloseProducer(t, p)
		})
	}
}

// Java: KafkaProducerTest.testMetadataExpiry
func TestExpiredTopicIsAskedForOnce(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MetadataMaxAge, cfg.MetadataMaxIdle = time.Minute, time.Minute
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		require.EqualValues(t, 1, c.RequestCount(protocol.Metadata))
		time.Sleep(10*time.Minute + time.Second) // forgotten
		n := c.RequestCount(protocol.Metadata)
		testkit.SendOK(t, p, "t")
		require.Equal(t, n+1, c.RequestCount(protocol.Metadata))
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testMetadataTimeoutWithMissingTopic
func TestMissingTopicTimesOut(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MaxBlock = time.Minute
		p := testkit.Open(t, cfg)
		testkit.Within(t, time.Minute, time.Minute, func() {
			_, err := p.Send(t.Context(), testkit.Rec("missing", "k", "v")).Wait(t.Context())
			require.ErrorIs(t, err, quill.ErrTimeout)
			testkit.CheckNotSent(t, err, "missing", -1)
		})
		require.Greater(t, c.RequestCount(protocol.Metadata), int64(10))
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testMetadataWithPartitionOutOfRange
func TestNewPartitionIsFoundByARefresh(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		testkit.SendOK(t, p, "t")
		require.NoError(t, c.AddPartitions("t", 3))
		m, err := p.SendSync(t.Context(), testkit.OnPartition(2, testkit.Rec("t", "k", "v")))
		require.NoError(t, err)
		require.EqualValues(t, 2, m.Partition)
		testkit.CloseProducer(t, p)
	})
}

// Java waits for max.block.ms here; we take one fresh look (deviation 5).
//
// Java: KafkaProducerTest.testMetadataTimeoutWithPartitionOutOfRange
func TestMissingPartitionFailsAfterOneLook(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		testkit.SendOK(t, p, "t")
		time.Sleep(time.Second)
		n := c.RequestCount(protocol.Metadata)
		testkit.Within(t, 0, 10*time.Millisecond, func() {
			_, err := p.SendSync(t.Context(), testkit.OnPartition(2, testkit.Rec("t", "k", "v")))
			require.ErrorIs(t, err, quill.ErrInvalidPartition)
			testkit.CheckNotSent(t, err, "t", 2)
		})
		require.Equal(t, n+1, c.RequestCount(protocol.Metadata))
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testTopicRefreshInMetadata
func TestWaitingSendGoesOnAskingAndTellsTheCause(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MaxBlock = 10 * time.Second
		p := testkit.Open(t, cfg)
		done := make(chan error, 1)
		go func() {
			_, err := p.SendSync(t.Context(), testkit.Rec("missing", "k", "v"))
			done <- err
		}()
		for range 4 {
			n := c.RequestCount(protocol.Metadata)
			time.Sleep(2 * time.Second)
			require.Greater(t, c.RequestCount(protocol.Metadata), n)
		}
		err := <-done
		require.ErrorIs(t, err, quill.ErrTimeout)
		require.ErrorIs(t, err, protocol.UnknownTopicOrPartition)
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testTopicNotExistingInMetadata
func TestPartitionsOfAMissingTopicTimeOut(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MaxBlock = time.Second
		p := testkit.Open(t, cfg)
		testkit.Within(t, time.Second, time.Second, func() {
			_, err := p.PartitionsFor(t.Context(), "missing")
			require.ErrorIs(t, err, quill.ErrTimeout)
			require.ErrorIs(t, err, protocol.UnknownTopicOrPartition)
		})
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testTopicExpiryInMetadata
func TestTopicThatIsWaitedForDoesNotExpire(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MaxBlock, cfg.MetadataMaxIdle, cfg.MetadataMaxAge = 5*time.Minute, 5*time.Second, 5*time.Second
		p := testkit.Open(t, cfg)
		go func() {
			time.Sleep(4 * time.Minute)
			c.MustCreateTopic("late", 1, quilltest.TopicConfig{})
		}()
		testkit.Within(t, 4*time.Minute, 4*time.Minute+2*time.Second, func() { testkit.SendOK(t, p, "late") })
		testkit.CloseProducer(t, p)
	})
}

// Go has no frozen slices: a copy is taken instead, so what the caller does later is without effect.
//
// Java: KafkaProducerTest.testHeadersSuccess
func TestHeadersReachTheRecordAndAreNotShared(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		value := quill.SerializerFunc[string](func(dst []byte, _ string, headers *quill.Headers, v string) ([]byte, error) {
			headers.Add("by", []byte("serializer"))
			return append(dst, v...), nil
		})
		p, err := quill.New(testkit.Config(c), quill.String, value)
		require.NoError(t, err)
		r := testkit.Rec("t", "k", "v")
		r.Headers.Add("test", []byte("header2"))
		f := p.Send(t.Context(), r)
		require.Len(t, r.Headers, 1, "the caller's headers are as they were")
		r.Headers[0].Key = "changed"
		r.Headers.Add("test", []byte("test"))
		m, err := f.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, []protocol.Header{{Key: "test", Value: []byte("header2")}, {Key: "by", Value: []byte("serializer")}},
			testkit.Logged(t, c, "t", m.Partition)[0].Headers)
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testHeadersFailure
func TestHeadersOfAFailedSendAreAsTheyWere(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MaxBlock = 5 * time.Millisecond
		p := testkit.Open(t, cfg)
		r := testkit.Rec("missing", "k", "v")
		r.Headers.Add("test", []byte("header2"))
		_, err := p.SendSync(t.Context(), r)
		require.ErrorIs(t, err, quill.ErrTimeout)
		require.Equal(t, quill.Headers{{Key: "test", Value: []byte("header2")}}, r.Headers)
		r.Headers.Add("test", []byte("test"))
		require.Len(t, r.Headers, 2)
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.closeShouldBeIdempotent
func TestSecondCloseIsHarmless(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		testkit.CloseProducer(t, p)
		testkit.CloseProducer(t, p)
	})
}

// A negative time-out is a deadline that has passed: no time at all.
//
// Java: KafkaProducerTest.closeWithNegativeTimestampShouldThrow
func TestCloseWithADeadlineThatHasPassed(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		testkit.Known(t, p, "t")
		f := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
		testkit.Within(t, 0, 0, func() { require.ErrorIs(t, p.Close(testkit.After(t, -time.Hour)), context.DeadlineExceeded) })
		_, err := f.Wait(t.Context())
		require.ErrorIs(t, err, quill.ErrForceClosed)
	})
}

// Java: KafkaProducerTest.testFlushCompleteSendOfInflightBatches
func TestFlushCompletesEarlierSends(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		var futures []quill.Future
		for range 50 {
			futures = append(futures, p.Send(t.Context(), testkit.Rec("t", "k", "v")))
		}
		for _, f := range futures {
			require.False(t, f.Done())
		}
		require.NoError(t, p.Flush(t.Context()))
		for _, f := range futures {
			require.True(t, f.Done())
		}
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testInterceptorPartitionSetOnTooLargeRecord
func TestInterceptorIsToldThePartitionOfATooLargeRecord(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MaxRequestSize = 500
		seen := &testkit.Acknowledged{}
		p, err := quill.New(cfg, quill.String, quill.String, quill.Interceptor[string, string](seen))
		require.NoError(t, err)
		_, err = p.SendSync(t.Context(), testkit.Rec("t", "k", strings.Repeat("x", 500)))
		require.ErrorIs(t, err, quill.ErrRecordTooLarge)
		told := seen.Take(t)
		require.Same(t, err, told.Err)
		require.Equal(t, "t", told.M.Topic)
		require.Equal(t, quill.KeyPartition([]byte("k"), 2), told.M.Partition)
		_, err = p.SendSync(t.Context(), quill.Record[string, string]{Topic: "t", Value: strings.Repeat("x", 500), Partition: quill.Partition(1)})
		require.ErrorIs(t, err, quill.ErrRecordTooLarge)
		require.EqualValues(t, 1, seen.Take(t).M.Partition)
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testPartitionsForWithNullTopic
func TestPartitionsForNeedsATopic(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		_, err := p.PartitionsFor(t.Context(), "")
		require.ErrorIs(t, err, quill.ErrInvalidTopic)
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testClusterAuthorizationFailure
func TestClusterAuthorizationMayBeGivenLater(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		forbidden := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.ClusterAuthorizationFailed, Times: -1})
		p := testkit.Open(t, testkit.Config(c))
		_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
		require.ErrorIs(t, err, protocol.ClusterAuthorizationFailed)
		testkit.CheckNotSent(t, err, "t", quill.KeyPartition([]byte("k"), 2))
		forbidden.Remove()
		time.Sleep(2 * time.Second)
		testkit.SendOK(t, p, "t")
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testSendToInvalidTopic
func TestInvalidTopicFailsAtOnceAndIsNotAskedFor(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		testkit.Within(t, 0, 0, func() {
			_, err := p.Send(t.Context(), testkit.Rec("topic abc", "k", "v")).Wait(t.Context())
			require.ErrorIs(t, err, quill.ErrInvalidTopic)
		})
		require.Zero(t, c.RequestCount(protocol.Metadata))
		// A cluster with narrower ideas of names than ours says it once per send.
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "t", Err: protocol.InvalidTopicException, Times: 2})
		for range 2 {
			_, err := p.Send(t.Context(), testkit.Rec("t", "k", "v")).Wait(t.Context())
			require.ErrorIs(t, err, quill.ErrInvalidTopic)
			time.Sleep(500 * time.Millisecond) // it is asked about again, not for every send
		}
		testkit.SendOK(t, p, "t")
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testCloseWhenWaitingForMetadataUpdate
func TestCloseWakesASendWithoutAnyLimit(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MaxBlock = math.MaxInt64
		p := testkit.Open(t, cfg)
		told := make(chan error, 1)
		go func() {
			_, err := p.SendSync(t.Context(), testkit.Rec("missing", "k", "v"))
			told <- err
		}()
		time.Sleep(time.Hour)
		testkit.Within(t, 0, 0, func() {
			require.NoError(t, p.Close(testkit.Ended(testkit.ErrOwn)), "the send that waits was never taken")
			require.ErrorIs(t, <-told, quill.ErrClosed)
		})
	})
}

// Java: KafkaProducerTest.testCloseIsForcedOnPendingInitProducerId
func TestCloseIsForcedWhileTheProducerIDIsPending(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, DropRequest: true, Times: -1})
		p := testkit.Open(t, testkit.Config(c))
		f := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
		testkit.Within(t, time.Second, time.Second, func() { require.ErrorIs(t, p.Close(testkit.After(t, time.Second)), quill.ErrForceClosed) })
		_, err := f.Wait(t.Context())
		require.ErrorIs(t, err, quill.ErrForceClosed)
		testkit.CheckNotSent(t, err, "t", quill.KeyPartition([]byte("k"), 2))
	})
}

// Java: KafkaProducerTest.configurableObjectsShouldSeeGeneratedClientId
func TestPluginsSeeTheGeneratedClientID(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		part, tap, key, value := &testkit.Closer{}, &testkit.Closer{}, &testkit.ClosingSerializer{}, &testkit.ClosingSerializer{}
		cfg := testkit.Config(c)
		cfg.Partitioner = part
		p, err := quill.New(cfg, key, value, quill.Interceptor[string, string](tap))
		require.NoError(t, err)
		testkit.SendOK(t, p, "t")
		onTheWire := c.Requests()[0].ClientID
		require.True(t, strings.HasPrefix(onTheWire, "producer-"))
		for _, x := range []*testkit.Closer{part, tap, &key.Closer, &value.Closer} {
			require.Equal(t, onTheWire, *x.ClientID.Load())
		}
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testUnusedConfigs
func TestUnusedPropertiesAreReported(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg, err := quill.ParseProperties(map[string]string{"interceptor.classes": "com.example.I", "my.own": "x"})
		require.NoError(t, err)
		var log testkit.LogText
		cfg.BootstrapServers, cfg.DialContext = c.BootstrapServers(), c.DialContext
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		p := testkit.Open(t, cfg)
		require.Contains(t, log.String(), "my.own")
		require.Contains(t, log.String(), "interceptor.classes")
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testNullTopicName
func TestRecordNeedsATopic(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		_, err := p.SendSync(t.Context(), testkit.Rec("", "k", "v"))
		require.ErrorIs(t, err, quill.ErrInvalidTopic)
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testCallbackAndInterceptorHandleError
func TestCallbackAndInterceptorAreToldOfAFailedSend(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		seen := &testkit.Acknowledged{}
		p, err := quill.New(testkit.Config(c), quill.String, quill.String, quill.Interceptor[string, string](seen))
		require.NoError(t, err)
		m, err := testkit.SendFunc(t, p, testkit.Rec("topic abc", "k", "v"))
		require.ErrorIs(t, err, quill.ErrInvalidTopic)
		want := quill.RecordMetadata{Topic: "topic abc", Partition: -1, Offset: -1, KeySize: -1, ValueSize: -1}
		require.Equal(t, want, m)
		told := seen.Take(t)
		require.Equal(t, want, told.M)
		require.Same(t, err, told.Err)
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.shouldNotInvokeFlushInCallback
func TestFlushOfACallbackIsAnError(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		told := make(chan error, 1)
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) { told <- p.Flush(t.Context()) })
		require.ErrorIs(t, <-told, quill.ErrInCallback)
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.negativePartitionShouldThrow
func TestNegativePartitionOfAPartitionerIsAnError(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.Partitioner = quill.PartitionerFunc(func(quill.PartitionInput) (int32, error) { return -2, nil })
		p := testkit.Open(t, cfg)
		_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
		require.ErrorIs(t, err, quill.ErrInvalidPartition)
		testkit.CloseProducer(t, p)
	})
}

// Java: KafkaProducerTest.testDeliveryTimeoutAndLingerMsConfig
func TestDeliveryTimeoutCoversLingerAndRequest(t *testing.T) {
	testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.Linger, cfg.RequestTimeout, cfg.DeliveryTimeout = time.Second, time.Second, 1999*time.Millisecond
		_, err := quill.New(cfg, quill.String, quill.String)
		require.ErrorAs(t, err, new(*quill.ConfigError))
		e, ok := errors.AsType[*quill.ConfigError](err)
		require.True(t, ok)
		require.Equal(t, "delivery.timeout.ms", e.Faults[0].Name)

		cfg.Linger, cfg.RequestTimeout, cfg.DeliveryTimeout = 4*time.Minute, time.Minute, 0 // by default 2m: raised
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.NotEnoughReplicas, Times: -1})
		testkit.Within(t, 5*time.Minute, 5*time.Minute, func() {
			_, err = p.Send(t.Context(), testkit.Rec("t", "k", "v")).Wait(t.Context())
			require.ErrorIs(t, err, quill.ErrDeliveryTimeout)
		})
		testkit.CloseProducer(t, p)
	})
}
