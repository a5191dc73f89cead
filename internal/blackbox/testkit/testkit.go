package testkit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Number parses a setting of a test from its environment; "" is 0.
func Number(t *testing.T, s string) int {
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

// ChaosLimit is the real time after which a seed counts as stuck: virtual time has stopped.
const ChaosLimit = 30 * time.Second

// Within fails the test unless f takes from least to most of virtual time.
func Within(t *testing.T, least, most time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	took := time.Since(start)
	require.GreaterOrEqual(t, took, least)
	require.LessOrEqual(t, took, most)
}

// After returns a context that ends so much later.
func After(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Outcomes collects the outcomes of callbacks.
type Outcomes struct {
	mu      sync.Mutex
	offsets []int64
	errs    []error
}

// Callback collects, as a callback.
func (f *Outcomes) Callback(m quill.RecordMetadata, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.errs = append(f.errs, err)
		return
	}
	f.offsets = append(f.offsets, m.Offset)
}

// Count returns how many records were delivered, and how many failed.
func (f *Outcomes) Count() (delivered, failed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.offsets), len(f.errs)
}

// Known sends one record, so that connections are up, metadata are there and a producer id is known.
func Known(t *testing.T, p *quill.Producer[string, string], topic string) {
	t.Helper()
	_, err := p.SendSync(t.Context(), Rec(topic, "k", "first"))
	require.NoError(t, err)
	synctest.Wait() // its memory comes back after its callback
}

// PauseAll keeps all nodes from answering.
func PauseAll(t *testing.T, c *quilltest.Cluster) {
	for _, id := range c.NodeIDs() {
		require.NoError(t, c.PauseNode(id))
	}
}

// ResumeAll lets all nodes answer again.
func ResumeAll(t *testing.T, c *quilltest.Cluster) {
	for _, id := range c.NodeIDs() {
		require.NoError(t, c.ResumeNode(id))
	}
}

// OnPartition returns the record with a partition chosen by its sender.
func OnPartition(p int32, r quill.Record[string, string]) quill.Record[string, string] {
	r.Partition = quill.Partition(p)
	return r
}

// Closer is a plug-in of every kind that counts its configurations and closes.
type Closer struct {
	Configured, Closed atomic.Int32
	ClientID           atomic.Pointer[string]
	Fail               error // of Configure
	FailClose          error
}

func (x *Closer) OnSend(_ context.Context, r quill.Record[string, string]) (quill.Record[string, string], error) {
	return r, nil
}

func (x *Closer) Partition(quill.PartitionInput) (int32, error) { return 0, nil }

func (x *Closer) Configure(info quill.ClientInfo) error {
	x.Configured.Add(1)
	x.ClientID.Store(&info.ClientID)
	return x.Fail
}

func (x *Closer) Close() error {
	x.Closed.Add(1)
	return x.FailClose
}

// ClosingSerializer is a closer as a serializer.
type ClosingSerializer struct{ Closer }

func (x *ClosingSerializer) Configure(info quill.ClientInfo) error {
	return x.Closer.Configure(info)
}

func (x *ClosingSerializer) Serialize(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
	return append(dst, v...), nil
}

// WithTopic runs the test with a cluster that has topic "t" of two partitions.
func WithTopic(t *testing.T, test func(t *testing.T, c *quilltest.Cluster)) {
	t.Helper()
	Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
		test(t, c)
	})
}

const (
	Megabyte = 1 << 20
	Buffer   = 32 * Megabyte
)

// SendOK sends a record that has to be delivered.
func SendOK(t *testing.T, p *quill.Producer[string, string], topic string) quill.RecordMetadata {
	t.Helper()
	m, err := p.SendSync(t.Context(), Rec(topic, "k", "v"))
	require.NoError(t, err)
	return m
}

// Bubble runs a test with an in-memory cluster in a synctest bubble: time is virtual, and a goroutine
// left over fails the test.
func Bubble(t *testing.T, opts quilltest.Options, test func(t *testing.T, c *quilltest.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts.Pipes, opts.Strict = true, true
		c, err := quilltest.NewCluster(opts)
		require.NoError(t, err)
		defer c.Close()
		test(t, c)
	})
}

// Config returns a Config for the cluster.
func Config(c *quilltest.Cluster) quill.Config {
	return quill.Config{BootstrapServers: c.BootstrapServers(), DialContext: c.DialContext}
}

// Open makes a producer of strings. The test closes it; the one of a failed test is given up.
func Open(t *testing.T, cfg quill.Config) *quill.Producer[string, string] {
	t.Helper()
	p, err := quill.New(cfg, quill.String, quill.String)
	require.NoError(t, err)
	GiveUpIfFailed(t, p)
	return p
}

// GiveUpIfFailed keeps a failed test from leaving goroutines in its bubble, which would end them all.
func GiveUpIfFailed(t *testing.T, p interface{ Close(context.Context) error }) {
	t.Cleanup(func() {
		if t.Failed() {
			_ = p.Close(Ended(context.Canceled))
		}
	})
}

// Ended returns a context that is over.
func Ended(cause error) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	return ctx
}

// CloseProducer closes a producer, which takes at most a minute and succeeds.
func CloseProducer(t *testing.T, p interface{ Close(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, p.Close(ctx))
}

// Logged returns what the partition's log holds.
func Logged(t *testing.T, c *quilltest.Cluster, topic string, partition int32) []quilltest.Record {
	t.Helper()
	records, err := c.Records(topic, partition)
	require.NoError(t, err)
	return records
}

// Rec returns a record.
func Rec(topic, key, value string) quill.Record[string, string] {
	return quill.Record[string, string]{Topic: topic, Key: key, Value: value}
}

// FreeMemory returns how much of the buffer no batch holds. The public API does not say it, so it looks inside, without a lock: only after Close, or when all in a bubble wait.
func FreeMemory(p *quill.Producer[string, string]) int64 {
	pool := reflect.ValueOf(p).Elem().FieldByName("e").Elem().FieldByName("acc").Elem().FieldByName("pool").Elem()
	free, chunks, sizes := pool.FieldByName("unallocated").Int(), pool.FieldByName("free"), pool.FieldByName("sizes")
	for i := range chunks.Len() {
		free += int64(chunks.Index(i).Len()) * sizes.Index(i).Int()
	}
	return free
}

// Numbered returns n records with their number as the value; read counts how far it was read.
func Numbered(topic string, n int, read *int) iter.Seq[quill.Record[string, string]] {
	return func(yield func(quill.Record[string, string]) bool) {
		for i := range n {
			*read = i + 1
			if !yield(Rec(topic, fmt.Sprint(i), fmt.Sprint(i))) {
				return
			}
		}
	}
}

// CheckNotSent requires that err says that a record to a partition was not sent.
func CheckNotSent(t *testing.T, err error, topic string, partition int32) {
	t.Helper()
	e, ok := errors.AsType[*quill.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, topic, e.Topic)
	require.Equal(t, partition, e.Partition)
	require.Equal(t, quill.NotSent, e.Outcome)
}

// BlockConfig returns a change of max.block.ms.
func BlockConfig(d time.Duration) func(*quill.Config) {
	return func(cfg *quill.Config) { cfg.MaxBlock = d }
}
