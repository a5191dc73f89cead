package quill_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// badInput is one way to use a producer wrongly, or against a cluster that does not want it, and
// what comes of it: the same typed error through the future, the callback, SendSync and the
// interceptors, in time, with nothing left behind.
type badInput struct {
	name string

	opts   quilltest.Options
	before func(c *quilltest.Cluster) // besides creating topic "t" with three partitions
	props  map[string]string          // what the Config begins with
	change func(c *quilltest.Cluster, cfg *quill.Config)
	value  quill.Serializer[string]
	key    quill.Serializer[string]
	record quill.Record[string, string] // topic "t" if it names none
	noName bool                         // no topic at all

	faults    []string // properties that New complains about; nothing is sent then
	is        []error  // what errors.Is finds; none: the records are delivered
	partition int32    // named in the error
	outcome   quill.Outcome
	code      protocol.ErrorCode
	text      string // in the error's text
	logs      string // in the log
	least     time.Duration
	once      bool          // least is for the first send, and the others fail at once
	most      time.Duration // longest virtual time of one send
}

const anyTopic = "t"

var badInputs = []badInput{
	// The configuration.
	{name: "unknown property", props: map[string]string{"lingre.ms": "5"}, logs: "lingre.ms", most: 10 * time.Millisecond},
	{name: "wrong type", props: map[string]string{"batch.size": "large", "acks": "some"}, faults: []string{"batch.size", "acks"}},
	{name: "out of range", change: withConfig(func(cfg *quill.Config) { cfg.SendBufferBytes = -2 }), faults: []string{"send.buffer.bytes"}},
	{name: "impossible combination", change: withConfig(func(cfg *quill.Config) {
		cfg.DeliveryTimeout, cfg.RequestTimeout = time.Second, time.Minute
		cfg.Idempotence, cfg.Acks = new(true), quill.AcksLeader
	}), faults: []string{"delivery.timeout.ms", "acks"}},
	{name: "no bootstrap servers", change: withConfig(func(cfg *quill.Config) { cfg.BootstrapServers = nil }), faults: []string{"bootstrap.servers"}},
	{name: "bootstrap server without port", change: withConfig(func(cfg *quill.Config) { cfg.BootstrapServers = []string{"kafka"} }), faults: []string{"bootstrap.servers"}},

	// Wrong addresses.
	{name: "unreachable bootstrap address", before: func(c *quilltest.Cluster) { stopAll(c) }, change: withConfig(blockFor(2 * time.Second)),
		is: []error{quill.ErrTimeout, quill.ErrRetriable, testkit.Refused}, partition: -1, least: 2 * time.Second, most: 2 * time.Second},
	{name: "bootstrap address that swallows packets", before: func(c *quilltest.Cluster) { testkit.CutOffAll(c) }, change: withConfig(blockFor(40 * time.Second)),
		is: []error{quill.ErrTimeout, network.ErrSetupTimeout}, partition: -1, least: 40 * time.Second, most: 40 * time.Second},
	{name: "bootstrap port that answers HTTP", opts: quilltest.Options{Greet: testkit.Greet("HTTP/1.1 400 Bad Request\r\n\r\n")}, change: withConfig(blockFor(2 * time.Second)),
		is: []error{quill.ErrTimeout, network.ErrWrongProtocol}, partition: -1, text: "HTTP", least: 2 * time.Second, most: 2 * time.Second},
	{name: "bootstrap port that speaks something else", opts: quilltest.Options{Greet: testkit.Greet("SSH-2.0-OpenSSH_9.9\r\n")}, change: withConfig(blockFor(2 * time.Second)),
		is: []error{quill.ErrTimeout, network.ErrWrongProtocol}, partition: -1, least: 2 * time.Second, most: 2 * time.Second},
	{name: "bootstrap port that hangs up", before: func(c *quilltest.Cluster) { c.Inject(quilltest.Fault{DisconnectBefore: true, Times: -1}) }, change: withConfig(blockFor(2 * time.Second)),
		is: []error{quill.ErrTimeout, io.EOF}, partition: -1, text: "no broker?", least: 2 * time.Second, most: 2 * time.Second},
	{name: "bootstrap port that never says a word", change: func(_ *quilltest.Cluster, cfg *quill.Config) {
		blockFor(40 * time.Second)(cfg)
		cfg.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }() // ends with the connection
			return near, nil
		}
	}, is: []error{quill.ErrTimeout, network.ErrSetupTimeout}, partition: -1, least: 40 * time.Second, most: 40 * time.Second},
	{name: "TLS port spoken to in plaintext", opts: quilltest.Options{TLS: &tls.Config{}},
		is: []error{network.ErrTLS, quill.ErrAuthentication}, partition: -1, text: "set Config.TLS", most: 10 * time.Millisecond},

	// Topics.
	{name: "no topic", noName: true, is: []error{quill.ErrInvalidTopic}, partition: -1},
	{name: "invalid topic name", record: quill.Record[string, string]{Topic: "no spaces please"}, is: []error{quill.ErrInvalidTopic}, partition: -1},
	{name: "topic name too long", record: quill.Record[string, string]{Topic: strings.Repeat("x", 250)}, is: []error{quill.ErrInvalidTopic}, partition: -1},
	{name: "topic name that only the cluster refuses", before: refuse(protocol.Metadata, protocol.InvalidTopicException),
		is: []error{quill.ErrInvalidTopic, protocol.InvalidTopicException}, partition: -1, code: protocol.InvalidTopicException, most: 200 * time.Millisecond},
	{name: "topic that may not be seen", before: refuse(protocol.Metadata, protocol.TopicAuthorizationFailed),
		is: []error{protocol.TopicAuthorizationFailed}, partition: -1, code: protocol.TopicAuthorizationFailed, text: "grant", most: 200 * time.Millisecond},
	{name: "topic that may not be written", before: refuse(protocol.Produce, protocol.TopicAuthorizationFailed),
		is: []error{protocol.TopicAuthorizationFailed}, partition: 2, outcome: quill.Rejected, code: protocol.TopicAuthorizationFailed, most: 10 * time.Millisecond},
	{name: "topic that does not exist", once: true, record: quill.Record[string, string]{Topic: "missing"}, change: withConfig(blockFor(3 * time.Second)),
		is: []error{quill.ErrTimeout, quill.ErrRetriable, protocol.UnknownTopicOrPartition}, partition: -1, text: "does the topic exist", least: 3 * time.Second, most: 3 * time.Second},

	// Sizes.
	{name: "record larger than max.request.size", change: withConfig(func(cfg *quill.Config) { cfg.MaxRequestSize = 1000 }),
		record: quill.Record[string, string]{Value: strings.Repeat("x", 1000)}, is: []error{quill.ErrRecordTooLarge}, partition: 2, text: "max.request.size"},
	{name: "record larger than buffer.memory", change: withConfig(func(cfg *quill.Config) { cfg.BufferMemory, cfg.BatchSize = 2000, 1000 }),
		record: quill.Record[string, string]{Value: strings.Repeat("x", 2000)}, is: []error{quill.ErrRecordTooLarge}, partition: 2, text: "buffer.memory"},
	{name: "record larger than the broker's limit", before: func(c *quilltest.Cluster) {
		c.MustCreateTopic("small", 3, quilltest.TopicConfig{MaxMessageBytes: 500})
	}, record: quill.Record[string, string]{Topic: "small", Value: strings.Repeat("x", 500)},
		is: []error{quill.ErrRecordTooLarge, protocol.MessageTooLarge}, partition: 2, outcome: quill.Rejected, code: protocol.MessageTooLarge, most: 10 * time.Millisecond},

	// The user's own code.
	{name: "serializer that fails", value: failingSerializer(func() error { return testkit.ErrOwn }), is: []error{quill.ErrSerialization, testkit.ErrOwn}, partition: -1},
	{name: "serializer that panics", key: failingSerializer(func() error { panic("own panic") }), is: []error{quill.ErrSerialization}, partition: -1, text: "own panic"},
	{name: "partitioner that fails", change: withPartitioner(func(quill.PartitionInput) (int32, error) { return 0, testkit.ErrOwn }), is: []error{quill.ErrPartitioner, testkit.ErrOwn}, partition: -1},
	{name: "partitioner that panics", change: withPartitioner(func(quill.PartitionInput) (int32, error) { panic("own panic") }), is: []error{quill.ErrPartitioner}, partition: -1, text: "own panic"},
	{name: "partitioner that answers too much", change: withPartitioner(func(quill.PartitionInput) (int32, error) { return 3, nil }), is: []error{quill.ErrInvalidPartition}, partition: -1, text: "3 of 3"},
	{name: "partitioner that answers too little", change: withPartitioner(func(quill.PartitionInput) (int32, error) { return -1, nil }), is: []error{quill.ErrInvalidPartition}, partition: -1},

	// The record.
	{name: "partition out of range", record: quill.Record[string, string]{Partition: quill.Partition(3)}, is: []error{quill.ErrInvalidPartition}, partition: 3, text: "3 partitions", most: 200 * time.Millisecond},
	{name: "negative partition", record: quill.Record[string, string]{Partition: quill.Partition(-1)}, is: []error{quill.ErrInvalidPartition}, partition: -1},
	{name: "time before 1970", record: quill.Record[string, string]{Timestamp: time.Unix(-1, 0)}, is: []error{quill.ErrInvalidRecord}, partition: -1},
	{name: "null key and value", key: testkit.NullSerializer, value: testkit.NullSerializer, most: 10 * time.Millisecond},
	{name: "tombstone", value: testkit.NullSerializer, record: quill.Record[string, string]{Key: "gone"}, most: 10 * time.Millisecond},
	{name: "empty key and value", most: 10 * time.Millisecond},
}

// blockFor sets max.block.ms.
func blockFor(d time.Duration) func(*quill.Config) {
	return func(cfg *quill.Config) { cfg.MaxBlock = d }
}

func withConfig(change func(*quill.Config)) func(*quilltest.Cluster, *quill.Config) {
	return func(_ *quilltest.Cluster, cfg *quill.Config) { change(cfg) }
}

func withPartitioner(f quill.PartitionerFunc) func(*quilltest.Cluster, *quill.Config) {
	return withConfig(func(cfg *quill.Config) { cfg.Partitioner = f })
}

// refuse makes an API answer an error about topic "t" every time.
func refuse(api protocol.APIKey, code protocol.ErrorCode) func(*quilltest.Cluster) {
	return func(c *quilltest.Cluster) {
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{api}, Topic: anyTopic, Err: code, Times: -1})
	}
}

func stopAll(c *quilltest.Cluster) {
	for _, id := range c.NodeIDs() {
		_ = c.StopNode(id)
	}
}

func failingSerializer(fail func() error) quill.Serializer[string] {
	return quill.SerializerFunc[string](func([]byte, string, *quill.Headers, string) ([]byte, error) { return nil, fail() })
}

func TestBadInputIsATypedErrorInTime(t *testing.T) {
	for _, row := range badInputs {
		t.Run(row.name, func(t *testing.T) { testkit.Bubble(t, row.opts, row.run) })
	}
}

func (row badInput) run(t *testing.T, c *quilltest.Cluster) {
	c.MustCreateTopic(anyTopic, 3, quilltest.TopicConfig{})
	if row.before != nil {
		row.before(c)
	}
	var log testkit.LogText
	seen := &testkit.Acknowledged{}
	p, err := row.open(c, &log, seen)
	if len(row.faults) > 0 {
		row.checkFaults(t, err)
		return
	}
	require.NoError(t, err)
	testkit.GiveUpIfFailed(t, p)
	before := p.BufferAvailable()

	r := row.record
	if !row.noName {
		r.Topic = cmp.Or(r.Topic, anyTopic)
	}
	if row.is != nil && !hasPartition(r) && r.Key == "" {
		r.Key = "k" // goes to partition 2
	}
	for i, send := range []func() (quill.RecordMetadata, error){
		func() (quill.RecordMetadata, error) { return p.Send(t.Context(), r).Wait(t.Context()) },
		func() (quill.RecordMetadata, error) { return testkit.SendFunc(t, p, r) },
		func() (quill.RecordMetadata, error) { return p.SendSync(t.Context(), r) },
	} {
		start := time.Now()
		m, err := send()
		elapsed := time.Since(start)
		if i == 0 || !row.once {
			require.GreaterOrEqual(t, elapsed, row.least)
		} else {
			require.Zero(t, elapsed)
		}
		require.LessOrEqual(t, elapsed, row.most)
		told := seen.Take(t)
		if row.is == nil {
			require.NoError(t, err)
			require.NoError(t, told.Err)
			continue
		}
		row.check(t, m, err, r.Topic)
		require.Same(t, err, told.Err, "send %d: the interceptor is told the same", i)
		require.Equal(t, m.Topic, told.M.Topic)
		require.Equal(t, m.Partition, told.M.Partition)
		require.EqualValues(t, -1, told.M.Offset)
	}
	synctest.Wait()
	require.Equal(t, before, p.BufferAvailable(), "all memory is back")
	require.Contains(t, log.String(), row.logs)
	start := time.Now()
	require.NoError(t, p.Close(t.Context()))
	require.Zero(t, time.Since(start), "nothing is left to wait for")
}

func (row badInput) open(c *quilltest.Cluster, log io.Writer, seen *testkit.Acknowledged) (*quill.Producer[string, string], error) {
	cfg, err := quill.ParseProperties(row.props)
	if err != nil {
		return nil, err
	}
	cfg.BootstrapServers, cfg.DialContext = c.BootstrapServers(), c.DialContext
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	if row.change != nil {
		row.change(c, &cfg)
	}
	key, value := quill.String, quill.String
	if row.key != nil {
		key = row.key
	}
	if row.value != nil {
		value = row.value
	}
	return quill.New(cfg, key, value, quill.Interceptor[string, string](seen))
}

func (row badInput) checkFaults(t *testing.T, err error) {
	require.ErrorAs(t, err, new(*quill.ConfigError))
	e, ok := errors.AsType[*quill.ConfigError](err)
	require.True(t, ok)
	for _, name := range row.faults {
		require.True(t, slices.ContainsFunc(e.Faults, func(f quill.ConfigFault) bool { return f.Name == name }), "%s in %v", name, err)
	}
}

func (row badInput) check(t *testing.T, m quill.RecordMetadata, err error, topic string) {
	e, ok := errors.AsType[*quill.Error](err)
	require.True(t, ok, "%T: %v", err, err)
	for _, want := range row.is {
		require.ErrorIs(t, err, want)
	}
	require.Equal(t, topic, e.Topic)
	require.Equal(t, row.partition, e.Partition, "%v", err)
	require.Equal(t, row.outcome, e.Outcome, "%v", err)
	require.Equal(t, row.code, e.Code)
	require.Contains(t, err.Error(), row.text)
	require.Equal(t, topic, m.Topic)
	require.Equal(t, row.partition, m.Partition)
	require.EqualValues(t, -1, m.Offset)
}

func hasPartition(r quill.Record[string, string]) bool {
	_, ok := r.Partition.Get()
	return ok
}
