package integration

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/integration/ledger"
)

// TestDeadBrokerMemory lets 64 goroutines send to a cluster whose only node is dead: frozen with its connections open, or
// gone (M1). The heap stays bounded by buffer.memory, sends that find no room fail at max.block.ms, and when the
// node returns everything that was taken in arrives.
func TestDeadBrokerMemory(t *testing.T) {
	t.Run("frozen", func(t *testing.T) {
		testDeadNode(t, 30, (*kafkaharness.Node).Pause, func(n *kafkaharness.Node, _ context.Context) error { return n.Resume() })
	})
	t.Run("killed", func(t *testing.T) {
		testDeadNode(t, 31, (*kafkaharness.Node).Kill, (*kafkaharness.Node).Restart)
	})
}

func testDeadNode(t *testing.T, run uint32, die func(*kafkaharness.Node) error, revive func(*kafkaharness.Node, context.Context) error) {
	const (
		bufferMemory = 32 << 20
		maxBlock     = 2 * time.Second
		dead         = 9 * time.Second
	)
	c := oneNode(t)
	topic := newTopic(t, c, "dead-"+t.Name()[len("TestDeadBrokerMemory/"):], 6)
	plan := ledger.Plan{Run: run, Streams: 64, PerStream: 2000, Keys: 16, ValueSize: 1000}
	l := ledger.New(plan)
	p := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), BufferMemory: bufferMemory, MaxBlock: maxBlock})
	ctx := within(t, 3*time.Minute)
	_, err := p.SendSync(ctx, quill.Record[[]byte, []byte]{Topic: topic, Value: []byte("the producer knows the topic")})
	require.NoError(t, err)

	node := c.Node(1)
	require.NoError(t, die(node))
	var longest atomic.Int64
	stop := make(chan struct{})
	sending := &load{producer: p, topic: topic, ledger: l, stop: stop, slowSend: func(d time.Duration) {
		for before := longest.Load(); int64(d) > before && !longest.CompareAndSwap(before, int64(d)); before = longest.Load() {
		}
	}}
	heap := watchHeap()
	var wg sync.WaitGroup
	wg.Go(func() { sending.run(ctx) })
	time.Sleep(dead)
	taken := l.Totals()
	grown, resident := heap.stop()
	require.NoError(t, revive(node, ctx))
	time.Sleep(2 * time.Second)
	close(stop)
	wg.Wait()
	require.NoError(t, p.Flush(ctx))

	totals := l.Totals()
	t.Logf("while dead %d records waited (%d MiB) and %d failed; heap grew %.1f MiB, resident %d MiB; longest send %v; in the end %d acknowledged, failures %v",
		taken.Open, taken.Open*plan.ValueSize>>20, taken.Failed, float64(grown)/(1<<20), resident, time.Duration(longest.Load()).Round(time.Millisecond),
		totals.Acknowledged, totals.Failures)
	require.LessOrEqual(t, grown, int64(bufferMemory*13/10+16<<20), "heap over 1.3 times buffer.memory and 16 MiB")
	require.Greater(t, taken.Open*plan.ValueSize, bufferMemory/2, "the buffer was really filled")
	require.GreaterOrEqual(t, taken.Failed, plan.Streams, "every goroutine met a full buffer")
	require.Less(t, time.Duration(longest.Load()), maxBlock+10*time.Second, "the machine may be busy")
	for class, n := range totals.Failures {
		require.Contains(t, []string{
			ledger.NotSent.String() + ": " + quill.ErrBufferExhausted.Error(), ledger.NotSent.String() + ": " + quill.ErrMemoryShare.Error(),
		}, class, "%d times", n)
	}
	require.Zero(t, totals.Open)
	report := audit(t, c, l, topic, "none", rulesOf())
	require.Equal(t, totals.Acknowledged+1, report.Rows, "all that was taken in, and the first record")
}

// heapWatch samples the live heap.
type heapWatch struct {
	end      chan struct{}
	ended    chan struct{}
	base     int64
	peak     int64 // read after ended
	resident int
}

// watchHeap begins to sample the live heap, four times a second, each time after a collection.
func watchHeap() *heapWatch {
	w := &heapWatch{end: make(chan struct{}), ended: make(chan struct{}), base: liveHeap()}
	go func() { // ends with stop
		defer close(w.ended)
		for {
			select {
			case <-w.end:
				return
			case <-time.After(250 * time.Millisecond):
				w.peak = max(w.peak, liveHeap())
				w.resident = max(w.resident, kafkaharness.ResidentMB())
			}
		}
	}()
	return w
}

// stop ends the sampling. It returns how far the heap grew beyond its size at the start, in bytes, and the
// largest resident size of the process in MiB.
func (w *heapWatch) stop() (int64, int) {
	close(w.end)
	<-w.ended
	return w.peak - w.base, w.resident
}

func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
