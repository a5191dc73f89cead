package quill_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What Kafka's own KafkaProducerTest expects of a producer. Each test names its model; those about
// transactions and metrics stand elsewhere.

// withTopic runs the test with a cluster that has topic "t" of two partitions.
func withTopic(t *testing.T, test func(t *testing.T, c *quilltest.Cluster)) {
	t.Helper()
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
		test(t, c)
	})
}

// checkIdempotence sends one record with these properties; refused: New refuses them.
func checkIdempotence(t *testing.T, idempotent, refused bool, props map[string]string) {
	t.Helper()
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg, err := quill.ParseProperties(props)
		require.NoError(t, err)
		cfg.BootstrapServers, cfg.DialContext = c.BootstrapServers(), c.DialContext
		p, err := quill.New(cfg, quill.String, quill.String)
		if refused {
			require.ErrorIs(t, err, quill.ErrConfig, "%v", props)
			return
		}
		require.NoError(t, err, "%v", props)
		m := sendOK(t, p, "t")
		closeProducer(t, p)
		require.NoError(t, c.WaitRecords(t.Context(), "t", 1)) // with acks=0 it may still be on its way
		got := logged(t, c, "t", m.Partition)
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
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p, err := quill.New(config(c), quill.Bytes, quill.Int64)
		require.NoError(t, err)
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testNoSerializerProvided
func TestMissingSerializerIsAConfigError(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		_, err := quill.New[string](config(c), nil, quill.String)
		require.ErrorIs(t, err, quill.ErrConfig)
		_, err = quill.New[string, string](config(c), quill.String, nil)
		require.ErrorIs(t, err, quill.ErrConfig)
		require.ErrorContains(t, err, "serializer")
	})
}

// Java: KafkaProducerTest.testConstructorFailureCloseResource
func TestFailingNewClosesWhatItOpened(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		key, value, part := &closingSerializer{}, &closingSerializer{}, &closer{}
		cfg := config(c)
		cfg.Partitioner = part
		_, err := quill.New(cfg, key, value, quill.Interceptor[string, string](&closer{fail: errOwn}))
		require.ErrorIs(t, err, errOwn)
		for _, x := range []*closer{part, &key.closer, &value.closer} {
			require.EqualValues(t, 1, x.configured.Load())
			require.EqualValues(t, 1, x.closed.Load())
		}
		cfg.Partitioner = &closer{fail: errOwn}
		_, err = quill.New(cfg, key, value)
		require.ErrorIs(t, err, errOwn)
		require.EqualValues(t, 1, key.configured.Load(), "the partitioner comes first")
	})
}

// Java: KafkaProducerTest.testSerializerClose
func TestSerializersAreClosedOnce(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		key, value := &closingSerializer{}, &closingSerializer{}
		p, err := quill.New(config(c), key, value)
		require.NoError(t, err)
		require.Zero(t, key.closed.Load()+value.closed.Load())
		closeProducer(t, p)
		closeProducer(t, p)
		require.EqualValues(t, 1, key.closed.Load())
		require.EqualValues(t, 1, value.closed.Load())
	})
}

// Java: KafkaProducerTest.testInterceptorConstructClose
func TestInterceptorsAreClosedOnce(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		x := &closer{}
		p, err := quill.New(config(c), quill.String, quill.String, quill.Interceptor[string, string](x))
		require.NoError(t, err)
		require.EqualValues(t, 1, x.configured.Load())
		require.Zero(t, x.closed.Load())
		closeProducer(t, p)
		closeProducer(t, p)
		require.EqualValues(t, 1, x.closed.Load())
	})
}

// Java: KafkaProducerTest.testInterceptorConstructorConfigurationWithExceptionShouldCloseRemainingInstances
func TestFaultyInterceptorClosesTheOthers(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		good, faulty, late := &closer{}, &closer{fail: errOwn}, &closer{}
		_, err := quill.New(config(c), quill.String, quill.String, quill.Interceptor[string, string](good), faulty, late)
		require.ErrorIs(t, err, errOwn)
		require.EqualValues(t, 1, good.closed.Load())
		require.Zero(t, late.configured.Load())
		require.Zero(t, late.closed.Load())
	})
}

// Java: KafkaProducerTest.testPartitionerClose
func TestPartitionerIsClosedOnce(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		x := &closer{}
		cfg := config(c)
		cfg.Partitioner = x
		p := open(t, cfg)
		require.EqualValues(t, 1, x.configured.Load())
		require.Zero(t, x.closed.Load())
		closeProducer(t, p)
		closeProducer(t, p)
		require.EqualValues(t, 1, x.closed.Load())
	})
}

// Java: KafkaProducerTest.shouldCloseProperlyAndThrowIfInterrupted
func TestCancelledCloseStillCloses(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		x := &closer{}
		p, err := quill.New(config(c), quill.String, quill.String, quill.Interceptor[string, string](x))
		require.NoError(t, err)
		known(t, p, "t")
		pauseAll(t, c)
		f := p.Send(t.Context(), rec("t", "k", "v"))
		ctx, cancel := context.WithCancelCause(t.Context())
		closed := make(chan error, 1)
		go func() { closed <- p.Close(ctx) }()
		time.Sleep(time.Second)
		require.False(t, f.Done(), "it waits for the send")
		cancel(errOwn)
		within(t, 0, 0, func() {
			err := <-closed
			require.ErrorIs(t, err, quill.ErrForceClosed)
			require.ErrorIs(t, err, errOwn)
		})
		require.True(t, f.Done())
		require.EqualValues(t, 1, x.closed.Load())
		resumeAll(t, c)
	})
}

// Java: KafkaProducerTest.testOsDefaultSocketBufferSizes
func TestSocketBuffersOfTheOperatingSystem(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.SendBufferBytes, cfg.ReceiveBufferBytes = -1, -1
		p := open(t, cfg)
		sendOK(t, p, "t")
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testInvalidSocketSendBufferSize
func TestSendBufferBelowMinusOneIsRefused(t *testing.T) {
	_, err := quill.New(quill.Config{BootstrapServers: []string{"localhost:9092"}, SendBufferBytes: -2}, quill.String, quill.String)
	require.ErrorIs(t, err, quill.ErrConfig)
	require.ErrorContains(t, err, "send.buffer.bytes")
}

// Java: KafkaProducerTest.testInvalidSocketReceiveBufferSize
func TestReceiveBufferBelowMinusOneIsRefused(t *testing.T) {
	_, err := quill.New(quill.Config{BootstrapServers: []string{"localhost:9092"}, ReceiveBufferBytes: -2}, quill.String, quill.String)
	require.ErrorIs(t, err, quill.ErrConfig)
	require.ErrorContains(t, err, "receive.buffer.bytes")
}

// Java: KafkaProducerTest.testMetadataFetch
func TestSendAsksForMetadataOnlyOnce(t *testing.T) {
	for _, idempotence := range []quill.Toggle{quill.Enabled, quill.Disabled} {
		withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
			cfg := config(c)
			cfg.Idempotence = idempotence
			p := open(t, cfg)
			sendOK(t, p, "t")
			n := c.RequestCount(protocol.Metadata)
			require.EqualValues(t, 1, n)
			for range 4 {
				sendOK(t, p, "t")
			}
			_, err := p.PartitionsFor(t.Context(), "t")
			require.NoError(t, err)
			require.Equal(t, n, c.RequestCount(protocol.Metadata))
			closeProducer(t, p)
		})
	}
}

// Java: KafkaProducerTest.testMetadataExpiry
func TestExpiredTopicIsAskedForOnce(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.MetadataMaxAge, cfg.MetadataMaxIdle = time.Minute, time.Minute
		p := open(t, cfg)
		sendOK(t, p, "t")
		require.EqualValues(t, 1, c.RequestCount(protocol.Metadata))
		time.Sleep(10*time.Minute + time.Second) // forgotten
		n := c.RequestCount(protocol.Metadata)
		sendOK(t, p, "t")
		require.Equal(t, n+1, c.RequestCount(protocol.Metadata))
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testMetadataTimeoutWithMissingTopic
func TestMissingTopicTimesOut(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.MaxBlock = time.Minute
		p := open(t, cfg)
		within(t, time.Minute, time.Minute, func() {
			_, err := p.Send(t.Context(), rec("missing", "k", "v")).Wait(t.Context())
			require.ErrorIs(t, err, quill.ErrTimeout)
			checkNotSent(t, err, "missing", -1)
		})
		require.Greater(t, c.RequestCount(protocol.Metadata), int64(10))
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testMetadataWithPartitionOutOfRange
func TestNewPartitionIsFoundByARefresh(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := open(t, config(c))
		sendOK(t, p, "t")
		require.NoError(t, c.AddPartitions("t", 3))
		m, err := p.SendSync(t.Context(), onPartition(2, rec("t", "k", "v")))
		require.NoError(t, err)
		require.EqualValues(t, 2, m.Partition)
		closeProducer(t, p)
	})
}

// Java waits for max.block.ms here; we take one fresh look (deviation 5).
//
// Java: KafkaProducerTest.testMetadataTimeoutWithPartitionOutOfRange
func TestMissingPartitionFailsAfterOneLook(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := open(t, config(c))
		sendOK(t, p, "t")
		time.Sleep(time.Second)
		n := c.RequestCount(protocol.Metadata)
		within(t, 0, 10*time.Millisecond, func() {
			_, err := p.SendSync(t.Context(), onPartition(2, rec("t", "k", "v")))
			require.ErrorIs(t, err, quill.ErrInvalidPartition)
			checkNotSent(t, err, "t", 2)
		})
		require.Equal(t, n+1, c.RequestCount(protocol.Metadata))
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testTopicRefreshInMetadata
func TestWaitingSendGoesOnAskingAndTellsTheCause(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.MaxBlock = 10 * time.Second
		p := open(t, cfg)
		done := make(chan error, 1)
		go func() {
			_, err := p.SendSync(t.Context(), rec("missing", "k", "v"))
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
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testTopicNotExistingInMetadata
func TestPartitionsOfAMissingTopicTimeOut(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.MaxBlock = time.Second
		p := open(t, cfg)
		within(t, time.Second, time.Second, func() {
			_, err := p.PartitionsFor(t.Context(), "missing")
			require.ErrorIs(t, err, quill.ErrTimeout)
			require.ErrorIs(t, err, protocol.UnknownTopicOrPartition)
		})
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testTopicExpiryInMetadata
func TestTopicThatIsWaitedForDoesNotExpire(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.MaxBlock, cfg.MetadataMaxIdle, cfg.MetadataMaxAge = 5*time.Minute, 5*time.Second, 5*time.Second
		p := open(t, cfg)
		go func() {
			time.Sleep(4 * time.Minute)
			c.MustCreateTopic("late", 1, quilltest.TopicConfig{})
		}()
		within(t, 4*time.Minute, 4*time.Minute+2*time.Second, func() { sendOK(t, p, "late") })
		closeProducer(t, p)
	})
}

// Go has no frozen slices: a copy is taken instead, so what the caller does later is without effect.
//
// Java: KafkaProducerTest.testHeadersSuccess
func TestHeadersReachTheRecordAndAreNotShared(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		value := quill.SerializerFunc[string](func(dst []byte, _ string, headers *quill.Headers, v string) ([]byte, error) {
			headers.Add("by", []byte("serializer"))
			return append(dst, v...), nil
		})
		p, err := quill.New(config(c), quill.String, value)
		require.NoError(t, err)
		r := rec("t", "k", "v")
		r.Headers.Add("test", []byte("header2"))
		f := p.Send(t.Context(), r)
		require.Len(t, r.Headers, 1, "the caller's headers are as they were")
		r.Headers[0].Key = "changed"
		r.Headers.Add("test", []byte("test"))
		m, err := f.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, []protocol.Header{{Key: "test", Value: []byte("header2")}, {Key: "by", Value: []byte("serializer")}},
			logged(t, c, "t", m.Partition)[0].Headers)
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testHeadersFailure
func TestHeadersOfAFailedSendAreAsTheyWere(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.MaxBlock = 5 * time.Millisecond
		p := open(t, cfg)
		r := rec("missing", "k", "v")
		r.Headers.Add("test", []byte("header2"))
		_, err := p.SendSync(t.Context(), r)
		require.ErrorIs(t, err, quill.ErrTimeout)
		require.Equal(t, quill.Headers{{Key: "test", Value: []byte("header2")}}, r.Headers)
		r.Headers.Add("test", []byte("test"))
		require.Len(t, r.Headers, 2)
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.closeShouldBeIdempotent
func TestSecondCloseIsHarmless(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := open(t, config(c))
		closeProducer(t, p)
		closeProducer(t, p)
	})
}

// A negative time-out is a deadline that has passed: no time at all.
//
// Java: KafkaProducerTest.closeWithNegativeTimestampShouldThrow
func TestCloseWithADeadlineThatHasPassed(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := open(t, config(c))
		known(t, p, "t")
		f := p.Send(t.Context(), rec("t", "k", "v"))
		within(t, 0, 0, func() { require.ErrorIs(t, p.Close(after(t, -time.Hour)), context.DeadlineExceeded) })
		_, err := f.Wait(t.Context())
		require.ErrorIs(t, err, quill.ErrForceClosed)
	})
}

// Java: KafkaProducerTest.testFlushCompleteSendOfInflightBatches
func TestFlushCompletesEarlierSends(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := open(t, config(c))
		var futures []quill.Future
		for range 50 {
			futures = append(futures, p.Send(t.Context(), rec("t", "k", "v")))
		}
		for _, f := range futures {
			require.False(t, f.Done())
		}
		require.NoError(t, p.Flush(t.Context()))
		for _, f := range futures {
			require.True(t, f.Done())
		}
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testInterceptorPartitionSetOnTooLargeRecord
func TestInterceptorIsToldThePartitionOfATooLargeRecord(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.MaxRequestSize = 500
		seen := &acknowledged{}
		p, err := quill.New(cfg, quill.String, quill.String, quill.Interceptor[string, string](seen))
		require.NoError(t, err)
		_, err = p.SendSync(t.Context(), rec("t", "k", strings.Repeat("x", 500)))
		require.ErrorIs(t, err, quill.ErrRecordTooLarge)
		told := seen.take(t)
		require.Same(t, err, told.err)
		require.Equal(t, "t", told.m.Topic)
		require.Equal(t, quill.KeyPartition([]byte("k"), 2), told.m.Partition)
		_, err = p.SendSync(t.Context(), quill.Record[string, string]{Topic: "t", Value: strings.Repeat("x", 500), Partition: quill.Partition(1)})
		require.ErrorIs(t, err, quill.ErrRecordTooLarge)
		require.EqualValues(t, 1, seen.take(t).m.Partition)
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testPartitionsForWithNullTopic
func TestPartitionsForNeedsATopic(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := open(t, config(c))
		_, err := p.PartitionsFor(t.Context(), "")
		require.ErrorIs(t, err, quill.ErrInvalidTopic)
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testClusterAuthorizationFailure
func TestClusterAuthorizationMayBeGivenLater(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		forbidden := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.ClusterAuthorizationFailed, Times: -1})
		p := open(t, config(c))
		_, err := p.SendSync(t.Context(), rec("t", "k", "v"))
		require.ErrorIs(t, err, protocol.ClusterAuthorizationFailed)
		checkNotSent(t, err, "t", quill.KeyPartition([]byte("k"), 2))
		forbidden.Remove()
		time.Sleep(2 * time.Second)
		sendOK(t, p, "t")
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testSendToInvalidTopic
func TestInvalidTopicFailsAtOnceAndIsNotAskedFor(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := open(t, config(c))
		within(t, 0, 0, func() {
			_, err := p.Send(t.Context(), rec("topic abc", "k", "v")).Wait(t.Context())
			require.ErrorIs(t, err, quill.ErrInvalidTopic)
		})
		require.Zero(t, c.RequestCount(protocol.Metadata))
		// A cluster with narrower ideas of names than ours says it once per send.
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "t", Err: protocol.InvalidTopicException, Times: 2})
		for range 2 {
			_, err := p.Send(t.Context(), rec("t", "k", "v")).Wait(t.Context())
			require.ErrorIs(t, err, quill.ErrInvalidTopic)
			time.Sleep(500 * time.Millisecond) // it is asked about again, not for every send
		}
		sendOK(t, p, "t")
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testCloseWhenWaitingForMetadataUpdate
func TestCloseWakesASendWithoutAnyLimit(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.MaxBlock = math.MaxInt64
		p := open(t, cfg)
		told := make(chan error, 1)
		go func() {
			_, err := p.SendSync(t.Context(), rec("missing", "k", "v"))
			told <- err
		}()
		time.Sleep(time.Hour)
		within(t, 0, 0, func() {
			require.NoError(t, p.Close(ended(errOwn)), "the send that waits was never taken")
			require.ErrorIs(t, <-told, quill.ErrClosed)
		})
	})
}

// Java: KafkaProducerTest.testCloseIsForcedOnPendingInitProducerId
func TestCloseIsForcedWhileTheProducerIDIsPending(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, DropRequest: true, Times: -1})
		p := open(t, config(c))
		f := p.Send(t.Context(), rec("t", "k", "v"))
		within(t, time.Second, time.Second, func() { require.ErrorIs(t, p.Close(after(t, time.Second)), quill.ErrForceClosed) })
		_, err := f.Wait(t.Context())
		require.ErrorIs(t, err, quill.ErrForceClosed)
		checkNotSent(t, err, "t", quill.KeyPartition([]byte("k"), 2))
	})
}

// Java: KafkaProducerTest.configurableObjectsShouldSeeGeneratedClientId
func TestPluginsSeeTheGeneratedClientID(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		part, tap, key, value := &closer{}, &closer{}, &closingSerializer{}, &closingSerializer{}
		cfg := config(c)
		cfg.Partitioner = part
		p, err := quill.New(cfg, key, value, quill.Interceptor[string, string](tap))
		require.NoError(t, err)
		sendOK(t, p, "t")
		onTheWire := c.Requests()[0].ClientID
		require.True(t, strings.HasPrefix(onTheWire, "producer-"))
		for _, x := range []*closer{part, tap, &key.closer, &value.closer} {
			require.Equal(t, onTheWire, *x.clientID.Load())
		}
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testUnusedConfigs
func TestUnusedPropertiesAreReported(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg, err := quill.ParseProperties(map[string]string{"metric.reporters": "com.example.Reporter", "my.own": "x"})
		require.NoError(t, err)
		var log logText
		cfg.BootstrapServers, cfg.DialContext = c.BootstrapServers(), c.DialContext
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		p := open(t, cfg)
		require.Contains(t, log.String(), "my.own")
		require.Contains(t, log.String(), "metric.reporters")
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testNullTopicName
func TestRecordNeedsATopic(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := open(t, config(c))
		_, err := p.SendSync(t.Context(), rec("", "k", "v"))
		require.ErrorIs(t, err, quill.ErrInvalidTopic)
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testCallbackAndInterceptorHandleError
func TestCallbackAndInterceptorAreToldOfAFailedSend(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		seen := &acknowledged{}
		p, err := quill.New(config(c), quill.String, quill.String, quill.Interceptor[string, string](seen))
		require.NoError(t, err)
		m, err := sendFunc(t, p, rec("topic abc", "k", "v"))
		require.ErrorIs(t, err, quill.ErrInvalidTopic)
		want := quill.RecordMetadata{Topic: "topic abc", Partition: -1, Offset: -1, KeySize: -1, ValueSize: -1}
		require.Equal(t, want, m)
		told := seen.take(t)
		require.Equal(t, want, told.m)
		require.Same(t, err, told.err)
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.shouldNotInvokeFlushInCallback
func TestFlushOfACallbackIsAnError(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		p := open(t, config(c))
		told := make(chan error, 1)
		p.SendFunc(t.Context(), rec("t", "k", "v"), func(quill.RecordMetadata, error) { told <- p.Flush(t.Context()) })
		require.ErrorIs(t, <-told, quill.ErrInCallback)
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.negativePartitionShouldThrow
func TestNegativePartitionOfAPartitionerIsAnError(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.Partitioner = quill.PartitionerFunc(func(quill.PartitionInput) (int32, error) { return -2, nil })
		p := open(t, cfg)
		_, err := p.SendSync(t.Context(), rec("t", "k", "v"))
		require.ErrorIs(t, err, quill.ErrInvalidPartition)
		closeProducer(t, p)
	})
}

// Java: KafkaProducerTest.testDeliveryTimeoutAndLingerMsConfig
func TestDeliveryTimeoutCoversLingerAndRequest(t *testing.T) {
	withTopic(t, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.Linger, cfg.RequestTimeout, cfg.DeliveryTimeout = time.Second, time.Second, 1999*time.Millisecond
		_, err := quill.New(cfg, quill.String, quill.String)
		require.ErrorIs(t, err, quill.ErrConfig)
		e, ok := errors.AsType[*quill.ConfigError](err)
		require.True(t, ok)
		require.Equal(t, "delivery.timeout.ms", e.Faults[0].Name)

		cfg.Linger, cfg.RequestTimeout, cfg.DeliveryTimeout = 4*time.Minute, time.Minute, 0 // by default 2m: raised
		p := open(t, cfg)
		known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.NotEnoughReplicas, Times: -1})
		within(t, 5*time.Minute, 5*time.Minute, func() {
			_, err = p.Send(t.Context(), rec("t", "k", "v")).Wait(t.Context())
			require.ErrorIs(t, err, quill.ErrDeliveryTimeout)
		})
		closeProducer(t, p)
	})
}
