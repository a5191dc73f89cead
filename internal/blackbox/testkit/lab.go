package testkit

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Expiring gives records three seconds, of which a request may take all.
func Expiring(cfg *quill.Config) {
	cfg.RequestTimeout, cfg.DeliveryTimeout = 3*time.Second, 3*time.Second
}

// Hold has node 1 take nothing for nearly a second, after "a" was delivered. What is sent now leaves
// then, and expires as long before its request times out.
func (x *Lab) Hold() {
	x.Helper()
	x.Produce(quilltest.Fault{Nodes: []int32{1}, Throttle: 900 * time.Millisecond})
	x.Deliver(0, "a")
}

// Slowly answers the next request to node 1 when a record sent right after hold has expired.
func (x *Lab) Slowly(f quilltest.Fault) {
	f.Nodes, f.AnswerDelay = []int32{1}, 2200*time.Millisecond
	x.Produce(f)
}

// Expired requires that a record failed with delivery.timeout.ms, and with this outcome.
func (x *Lab) Expired(f quill.Future, outcome quill.Outcome) {
	x.Helper()
	e := x.Failure(f)
	require.ErrorIs(x, e, quill.ErrDeliveryTimeout)
	require.Equal(x, outcome, e.Outcome, e)
}

// Lab is a cluster with topic "t", whose partitions 0 and 1 are led by nodes 1 and 2, and a producer
// that sends each record as a batch of its own, at once.
type Lab struct {
	*testing.T
	C  *quilltest.Cluster
	P  *quill.Producer[string, string]
	mu sync.Mutex
	// +checklocks:mu
	seen []onWire // all batches in Produce requests, as they arrived
}

// onWire is a batch in a request.
type onWire struct {
	quilltest.TopicPartition
	Header  protocol.BatchHeader
	Bytes   []byte
	Node    int32
	version int16
	At      time.Time
}

func (w onWire) String() string {
	return fmt.Sprintf("%d:%d", w.Header.ProducerEpoch, w.Header.BaseSequence)
}

// InLab runs a test in a lab, with changes to the producer's configuration.
func InLab(t *testing.T, opts quilltest.Options, change func(cfg *quill.Config), test func(x *Lab)) {
	t.Helper()
	Bubble(t, opts, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
		x := &Lab{T: t, C: c}
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: -1, Do: x.watch})
		cfg := Config(c)
		cfg.BatchSize, cfg.Linger = -1, -1
		if change != nil {
			change(&cfg)
		}
		x.P = Open(t, cfg)
		test(x)
		if err := x.P.Close(After(t, time.Minute)); err != nil {
			require.ErrorIs(t, err, quill.ErrForceClosed, "the test closed it so before")
		}
		require.EqualValues(t, 32<<20, FreeMemory(x.P), "all memory is back")
	})
}

func (x *Lab) watch(r *quilltest.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, tp := range r.Partitions() {
		if h, ok := r.Batch(tp.Topic, tp.Partition); ok {
			x.seen = append(x.seen, onWire{tp, h, bytes.Clone(r.Records(tp.Topic, tp.Partition)), r.Node, r.Version, time.Now()})
		}
	}
}

// Wire returns what arrived for a partition of "t".
func (x *Lab) Wire(partition int32) []onWire {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(x.seen), func(w onWire) bool { return w.Topic != "t" || w.Partition != partition })
}

// Send sends to a partition of "t".
func (x *Lab) Send(partition int32, value string) quill.Future {
	return x.P.Send(x.Context(), quill.Record[string, string]{Topic: "t", Partition: quill.Partition(partition), Key: "k", Value: value})
}

// Deliver sends a record, which has to succeed; it returns the offset.
func (x *Lab) Deliver(partition int32, value string) int64 {
	x.Helper()
	return x.Delivered(x.Send(partition, value))
}

// Delivered requires that a record was delivered, and returns its offset.
func (x *Lab) Delivered(f quill.Future) int64 {
	x.Helper()
	m, err := f.Wait(x.Context())
	require.NoError(x, err)
	return m.Offset
}

// Failure waits for a failure.
func (x *Lab) Failure(f quill.Future) *quill.Error {
	x.Helper()
	_, err := f.Wait(x.Context())
	var e *quill.Error
	require.ErrorAs(x, err, &e)
	return e
}

// Produce injects a fault of Produce requests.
func (x *Lab) Produce(f quilltest.Fault) *quilltest.Injection {
	f.APIs = []protocol.APIKey{protocol.Produce}
	return x.C.Inject(f)
}

// Stored returns what the partition of "t" holds: value@epoch:sequence.
func (x *Lab) Stored(partition int32) []string {
	x.Helper()
	var all []string
	for _, r := range Logged(x.T, x.C, "t", partition) {
		all = append(all, fmt.Sprintf("%s@%d:%d", r.Value, r.ProducerEpoch, r.Sequence))
	}
	return all
}

// Keyless sends n records for the partitioner to place, with a pause after each, and waits for them.
// It returns how many each node got.
func (x *Lab) Keyless(n int, pause time.Duration) (perNode map[int32]int) {
	x.Helper()
	view, err := quill.Share(x.P, NullSerializer, quill.String)
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

// CloseNow closes the producer without time to drain.
func (x *Lab) CloseNow() error {
	ctx, cancel := context.WithCancel(x.Context())
	cancel()
	return x.P.Close(ctx)
}
