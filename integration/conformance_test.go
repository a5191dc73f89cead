package integration

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/internal/conformance"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/quill-kafka/quill/quilltest/quillmock"
)

type (
	bytesSerializer  = quill.Serializer[[]byte]
	bytesInterceptor = quill.Interceptor[[]byte, []byte]
	bytesMock        = quillmock.Producer[[]byte, []byte]
)

// TestMockAndQuilltestConformToKafka plays one script of a producer's calls with the mock, in front of quilltest and in front of
// Kafka. What comes back, and what is in the log then, is the same field by field.
func TestMockAndQuilltestConformToKafka(t *testing.T) {
	c := threeNodes(t)
	topic := newTopic(t, c, "conformance", 3, "retention.ms=-1")
	kafka := producerTarget(t, topic, c.Bootstrap())
	kafka.Log = func() ([]conformance.Logged, error) {
		records, err := c.IsolatedRecords(within(t, time.Minute), topic, kafkaharness.ReadCommitted)
		var log []conformance.Logged
		for _, r := range records {
			logged := conformance.Logged{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				logged.Headers = append(logged.Headers, h.Name+"="+string(h.Value))
			}
			log = append(log, logged)
		}
		return log, err
	}
	want, err := conformance.Play(within(t, 5*time.Minute), kafka)
	require.NoError(t, err)
	require.Greater(t, len(want), 150)

	cluster := quilltest.Start(t, quilltest.Options{})
	cluster.MustCreateTopic(topic, 3, quilltest.TopicConfig{})
	ours := producerTarget(t, topic, cluster.BootstrapServers())
	ours.Log = func() (log []conformance.Logged, err error) {
		records, err := cluster.AllCommittedRecords(topic)
		for _, r := range records {
			logged := conformance.Logged{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				logged.Headers = append(logged.Headers, h.Key+"="+string(h.Value))
			}
			log = append(log, logged)
		}
		return log, err
	}
	got, err := conformance.Play(within(t, 5*time.Minute), ours)
	require.NoError(t, err)
	require.Equal(t, want, got, "quilltest")

	got, err = conformance.Play(t.Context(), mockTarget(topic))
	require.NoError(t, err)
	require.Equal(t, want, got, "the mock")
}

// producerTarget is the real producer in front of a cluster.
func producerTarget(t *testing.T, topic string, bootstrap []string) conformance.Target {
	config := quill.Config{BootstrapServers: bootstrap}
	return conformance.Target{
		Topic: topic, Absent: "conformance-to-nothing",
		New: func(key, value bytesSerializer, id string, i bytesInterceptor) (conformance.Producer, error) {
			config.TransactionalID = id
			if config.MaxBlock = 3 * time.Second; id != "" {
				config.MaxBlock = time.Minute // a new cluster has no coordinators at once
			}
			return quill.New(config, key, value, i)
		},
		Fence: func(_ conformance.Producer, id string) error {
			config.TransactionalID = id
			other, err := quill.New(config, quill.Bytes, quill.Bytes)
			if err != nil {
				return err
			}
			defer func() { _ = other.Close(context.Background()) }()
			return other.InitTransactions(t.Context())
		},
	}
}

// mockTarget is mocks whose histories together are the log.
func mockTarget(topic string) conformance.Target {
	var mocks []*bytesMock
	return conformance.Target{
		Topic: topic, Absent: "conformance-to-nothing",
		New: func(key, value bytesSerializer, id string, i bytesInterceptor) (conformance.Producer, error) {
			options := quillmock.Options{Topics: map[string]int{topic: 3}, TransactionalID: id}
			if len(mocks) > 0 {
				options.Offsets = mocks[len(mocks)-1].Offsets()
			}
			mocks = append(mocks, quillmock.New(key, value, options, i))
			return mocks[len(mocks)-1], nil
		},
		Fence: func(p conformance.Producer, _ string) error {
			p.(*bytesMock).FenceProducer()
			return nil
		},
		Log: func() (log []conformance.Logged, err error) {
			for _, p := range mocks {
				for _, s := range p.History() {
					r := conformance.Logged{Partition: s.Metadata.Partition, Offset: s.Metadata.Offset, Key: s.Key, Value: s.Value}
					for _, h := range s.Record.Headers {
						r.Headers = append(r.Headers, h.Key+"="+string(h.Value))
					}
					log = append(log, r)
				}
			}
			return log, nil
		},
	}
}
