package quillmock_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/conformance"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/quill-kafka/quill/quilltest/quillmock"
)

type (
	bytesSerializer  = quill.Serializer[[]byte]
	bytesInterceptor = quill.Interceptor[[]byte, []byte]
)

// TestTheMockConforms plays one script with the mock and with the real producer in front of quilltest.
// integration's TestMockAndQuilltestConformToKafka plays it in front of Kafka.
func TestTheMockConforms(t *testing.T) {
	mock, err := conformance.Play(t.Context(), mockTarget())
	require.NoError(t, err)
	var real []string
	synctest.Test(t, func(t *testing.T) {
		real, err = conformance.Play(t.Context(), clusterTarget(t))
		require.NoError(t, err)
	})
	require.Equal(t, real, mock)
	require.Greater(t, len(real), 150)
}

// mockTarget plays with mocks, whose histories together are the log.
func mockTarget() conformance.Target {
	var mocks []*quillmock.Producer[[]byte, []byte]
	return conformance.Target{
		Topic: "orders", Absent: "none",
		New: func(key, value bytesSerializer, id string, i bytesInterceptor) (conformance.Producer, error) {
			var p *quillmock.Producer[[]byte, []byte]
			opts := quillmock.Options{Topics: map[string]int{"orders": 3}, TransactionalID: id}
			if len(mocks) > 0 {
				opts.Offsets = mocks[len(mocks)-1].Offsets()
			}
			p = quillmock.New(key, value, opts, i)
			mocks = append(mocks, p)
			return p, nil
		},
		Fence: func(p conformance.Producer, _ string) error {
			p.(*quillmock.Producer[[]byte, []byte]).FenceProducer()
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

// clusterTarget plays with the real producer in front of quilltest.
func clusterTarget(t *testing.T) conformance.Target {
	c := quilltest.Start(t, quilltest.Options{Pipes: true})
	c.MustCreateTopic("orders", 3, quilltest.TopicConfig{})
	config := quill.Config{BootstrapServers: c.BootstrapServers(), DialContext: c.DialContext, MaxBlock: 500 * time.Millisecond}
	return conformance.Target{
		Topic: "orders", Absent: "none",
		New: func(key, value bytesSerializer, id string, i bytesInterceptor) (conformance.Producer, error) {
			config.TransactionalID = id
			return quill.New(config, key, value, i)
		},
		Fence: func(_ conformance.Producer, id string) error {
			config.TransactionalID = id
			other, err := quill.New(config, quill.Bytes, quill.Bytes)
			if err != nil {
				return err
			}
			defer other.Close(context.Background())
			return other.InitTransactions(t.Context())
		},
		Log: func() (log []conformance.Logged, err error) {
			records, err := c.AllCommittedRecords("orders")
			for _, s := range records {
				r := conformance.Logged{Partition: s.Partition, Offset: s.Offset, Key: s.Key, Value: s.Value}
				for _, h := range s.Headers {
					r.Headers = append(r.Headers, h.Key+"="+string(h.Value))
				}
				log = append(log, r)
			}
			return log, err
		},
	}
}
