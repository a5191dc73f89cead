package plugin_test

import (
	"context"
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

// One callback for all records gets each with its outcome, delivered or not.
func TestARecordCallbackGetsItsRecord(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{MaxMessageBytes: 3000})
		cfg := testkit.Config(c)
		cfg.BatchSize = 8000
		p := testkit.Open(t, cfg)
		told := map[string]error{}
		dead := func(r quill.Record[string, string], m quill.RecordMetadata, err error) {
			if r.Topic != m.Topic {
				t.Error(r, m)
			}
			told[r.Value] = err
		}
		for i := range 7 { // the batch is too large for the broker, and is split
			p.SendRecord(t.Context(), testkit.Rec("t", "k", fmt.Sprint(i, strings.Repeat("x", 1000))), dead)
		}
		require.NoError(t, p.Flush(t.Context()))
		require.Len(t, told, 7)
		for _, err := range told {
			require.NoError(t, err)
		}
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.TopicAuthorizationFailed})
		p.SendRecord(t.Context(), testkit.Rec("t", "k", "refused"), dead)
		p.SendRecord(t.Context(), testkit.Rec("no topic's name", "k", "not sent"), dead)
		p.SendRecord(t.Context(), testkit.Rec("no topic's name", "k", "nobody asks"), nil)
		require.NoError(t, p.Flush(t.Context()))
		require.ErrorIs(t, told["refused"], protocol.TopicAuthorizationFailed)
		require.ErrorIs(t, told["not sent"], quill.ErrInvalidTopic)
		testkit.CloseProducer(t, p)
	})
}

// Records of one batch get their own timestamps, sizes and offsets.
func TestCallbacksOfABatchAreToldTheirOwnTimestamps(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		testkit.Known(t, p, "t")
		var told []quill.RecordMetadata
		note := func(m quill.RecordMetadata, _ error) { told = append(told, m) }
		for i := range 5 {
			r := testkit.Rec("t", "k", strings.Repeat("x", i))
			r.Timestamp = time.UnixMilli(int64(1000 + i/2))
			p.SendFunc(t.Context(), r, note)
		}
		require.NoError(t, p.Flush(t.Context()))
		require.Len(t, told, 5)
		for i, m := range told {
			require.Equal(t, time.UnixMilli(int64(1000+i/2)), m.Timestamp)
			require.EqualValues(t, i, m.ValueSize)
			require.EqualValues(t, i+1, m.Offset)
		}
		testkit.CloseProducer(t, p)
	})
}

// spans is an interceptor that begins a span in Send and ends it with the outcome.
type spans struct {
	name string
	log  []string
	fail bool
}

type spanKey struct{}

func (s *spans) OnSend(context.Context, quill.Record[string, string]) (quill.Record[string, string], error) {
	panic("OnSendContext is called instead")
}

func (s *spans) OnSendContext(ctx context.Context, r quill.Record[string, string]) (context.Context, quill.Record[string, string], error) {
	if s.fail {
		return nil, r, testkit.ErrOwn
	}
	parent, _ := ctx.Value(spanKey{}).(string)
	return context.WithValue(ctx, spanKey{}, parent+"/"+s.name+":"+r.Value), r, nil
}

func (s *spans) OnAcknowledgementContext(ctx context.Context, m quill.RecordMetadata, _ quill.Headers, err error) {
	s.log = append(s.log, fmt.Sprint(ctx.Value(spanKey{}), " ", m.Topic, " ", err == nil))
}

// What an interceptor returned as a record's context in Send it gets with the outcome, so it can end a span.
func TestAnInterceptorGetsItsContextBackWithTheOutcome(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		a, failing, b, seen := &spans{name: "a"}, &spans{fail: true}, &spans{name: "b"}, &testkit.Acknowledged{}
		p, err := quill.New(testkit.Config(c), quill.String, quill.String, quill.Interceptor[string, string](a), failing, seen, b)
		require.NoError(t, err)
		testkit.GiveUpIfFailed(t, p)
		ctx := context.WithValue(t.Context(), spanKey{}, "root")
		r := testkit.Rec("t", "k", "1")
		_, err = p.SendSync(ctx, r)
		require.NoError(t, err)
		r.Topic = "no topic's name"
		_, err = p.SendSync(ctx, r)
		require.Error(t, err)
		require.Equal(t, []string{"root/a:1 t true", "root/a:1 no topic's name false"}, a.log)
		require.Equal(t, []string{"root/a:1 t true", "root/a:1 no topic's name false"}, failing.log)
		require.Equal(t, []string{"root/a:1/b:1 t true", "root/a:1/b:1 no topic's name false"}, b.log)
		testkit.CloseProducer(t, p)
	})
}

// byCustomer is a partitioner that looks at the key before it is serialized.
type byCustomer struct{ info quill.ClientInfo }

func (x *byCustomer) Configure(info quill.ClientInfo) error { x.info = info; return nil }

func (x *byCustomer) Partition(quill.PartitionInput) (int32, error) { return -1, testkit.ErrOwn }

func (x *byCustomer) PartitionTyped(in quill.PartitionInput, key, value any) (int32, error) {
	if string(in.Key) != key.(string) || string(in.Value) != value.(string) {
		return -1, errors.New("another record's")
	}
	return int32(len(key.(string))), nil
}

// A partitioner may see key and value as they were given to Send, and the properties of its producer.
func TestPluginsSeeTypedKeysAndProperties(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 4, quilltest.TopicConfig{})
		props := map[string]string{"bootstrap.servers": strings.Join(c.BootstrapServers(), ","), "linger.ms": " 7", "my.partitioner.customers": "gold,silver"}
		cfg, err := quill.ParseProperties(props)
		require.NoError(t, err)
		cfg.DialContext = c.DialContext
		x := &byCustomer{}
		cfg.Partitioner = x
		p := testkit.Open(t, cfg)
		require.Equal(t, props, x.info.Properties)
		m, err := p.SendSync(t.Context(), testkit.Rec("t", "abc", "v"))
		require.NoError(t, err)
		require.EqualValues(t, 3, m.Partition)
		testkit.CloseProducer(t, p)
	})
}

// A nil interceptor is a fault of the configuration.
func TestANilInterceptorIsAConfigError(t *testing.T) {
	_, err := quill.New(quill.Config{BootstrapServers: []string{"localhost:1"}}, quill.String, quill.String, nil)
	var fault *quill.ConfigError
	require.ErrorAs(t, err, &fault)
	require.ErrorAs(t, err, new(*quill.ConfigError))
	require.ErrorContains(t, err, "interceptor 0 is nil")
}

// A panic of user code carries its stack, in the error and in the log.
func TestPanicsCarryTheirStack(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		var log testkit.LogText
		cfg.Logger = log.Logger()
		value := quill.SerializerFunc[string](func(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
			if v == "bad" {
				panic("boom")
			}
			return append(dst, v...), nil
		})
		p, err := quill.New(cfg, quill.String, value)
		require.NoError(t, err)
		testkit.GiveUpIfFailed(t, p)
		_, err = p.Send(t.Context(), testkit.Rec("t", "k", "bad")).Wait(t.Context())
		fault, ok := errors.AsType[*quill.PanicError](err)
		require.True(t, ok)
		require.Equal(t, "boom", fault.Value)
		require.Contains(t, string(fault.Stack), "attached_test.go")
		require.Contains(t, log.Lines("records failed")[0], "attached_test.go")
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) { panic("in the callback") })
		require.NoError(t, p.Flush(t.Context()))
		require.Contains(t, log.Lines("callback panicked")[0], "attached_test.go")
		testkit.CloseProducer(t, p)
	})
}
