package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/ledger"
)

// TestEveryCodecDeliversInOrder sends keyed records over twelve partitions with each codec. All must be acknowledged,
// and three readers must find each of them once, whole, in order, where it was reported.
func TestEveryCodecDeliversInOrder(t *testing.T) {
	c := threeNodes(t)
	const streams, codecs = 8, 5
	perStream := recordsOfRun(t) / streams / codecs
	for codec := range quill.Compression(codecs) {
		t.Run(codec.String(), func(t *testing.T) {
			topic := newTopic(t, c, "codec-"+codec.String(), 12)
			l := ledger.New(ledger.Plan{Run: 10 + uint32(codec), Streams: streams, PerStream: perStream, Keys: 50, ValueSize: 100, Headers: int(codec) % 3})
			p := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), Compression: codec})
			ctx := within(t, 10*time.Minute)
			begin := time.Now()
			sending := &load{producer: p, topic: topic, ledger: l}
			sending.run(ctx)
			require.NoError(t, p.Flush(ctx))
			took := time.Since(begin)
			t.Logf("%d records in %v, %.0f a second", l.Plan().Records(), took.Round(time.Millisecond), float64(l.Plan().Records())/took.Seconds())
			totals := l.Totals()
			require.Empty(t, totals.Failures)
			require.Zero(t, totals.Open, "Flush waits for every record")
			report := audit(t, c, l, topic, codec.String(), rulesOf())
			require.Equal(t, l.Plan().Records(), report.Rows)
			require.Equal(t, 12, report.Partitions)
		})
	}
}

// TestLeaderKilledTwice kills a leader at a third and at two thirds of the run and restarts it (F2). No record may fail, be lost,
// doubled or out of order.
func TestLeaderKilledTwice(t *testing.T) {
	for _, codec := range codecsOfRun(t) {
		t.Run(codec.String(), func(t *testing.T) { testLeaderKilledTwice(t, codec) })
	}
}

func testLeaderKilledTwice(t *testing.T, codec quill.Compression) {
	c := threeNodes(t)
	topic := newTopic(t, c, "killed-"+codec.String(), 12)
	const streams = 8
	records := recordsOfRun(t)
	l := ledger.New(ledger.Plan{Run: 50 + uint32(codec), Streams: streams, PerStream: records / streams, Keys: 50, ValueSize: 100})
	p := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), Compression: codec})
	ctx := within(t, 15*time.Minute)
	sending := &load{producer: p, topic: topic, ledger: l, rate: records / 40}
	sending.hold.Store(int64(records) * 5 / 6) // however slowly a node starts, the second dies while records are sent
	done := make(chan struct{})
	go func() { // ends with the load
		defer close(done)
		sending.run(ctx)
	}()
	for i := range 2 {
		for sending.sent.Load() < int64((i+1)*records/3) {
			time.Sleep(10 * time.Millisecond)
		}
		require.NoError(t, c.WaitInSync(ctx, topic), "a second failure at the same time is more than three replicas promise to survive")
		leader, err := c.Leader(ctx, topic, int32(i))
		require.NoError(t, err)
		require.Less(t, sending.sent.Load(), int64(records), "the node must die while records are sent")
		begin := time.Now()
		require.NoError(t, leader.Kill())
		if i == 1 {
			sending.hold.Store(0)
		}
		time.Sleep(3 * time.Second)
		require.NoError(t, leader.Restart(ctx))
		t.Logf("leader %d killed, back after %v", leader.ID, time.Since(begin).Round(time.Millisecond))
	}
	<-done
	require.NoError(t, p.Flush(ctx))
	totals := l.Totals()
	require.Empty(t, totals.Failures)
	require.Zero(t, totals.Open)
	report := audit(t, c, l, topic, codec.String(), rulesOf())
	require.Equal(t, l.Plan().Records(), report.Rows)
}

// TestMovedLeadersKeepOrder moves every partition's leader again and again while records are sent (F15).
func TestMovedLeadersKeepOrder(t *testing.T) {
	c := threeNodes(t)
	topic := newTopic(t, c, "moved", 3)
	const streams, rate = 4, 5000
	l := ledger.New(ledger.Plan{Run: 22, Streams: streams, PerStream: 12 * rate / streams, Keys: 20, ValueSize: 100})
	p := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), Compression: quill.CompressionSnappy})
	ctx := within(t, 5*time.Minute)
	sending := &load{producer: p, topic: topic, ledger: l, rate: rate}
	done := make(chan struct{})
	go func() { // ends with the load
		defer close(done)
		sending.run(ctx)
	}()
	moves := 0
	for running := true; running; {
		for partition := range int32(3) {
			leader, err := c.Leader(ctx, topic, partition)
			require.NoError(t, err)
			require.NoError(t, c.MoveLeader(ctx, topic, partition, leader.ID%3+1))
			moves++
		}
		select {
		case <-done:
			running = false
		case <-time.After(500 * time.Millisecond):
		}
	}
	require.NoError(t, p.Flush(ctx))
	t.Logf("leaders moved %d times", moves)
	require.Greater(t, moves, 5)
	totals := l.Totals()
	require.Empty(t, totals.Failures)
	require.Zero(t, totals.Open)
	audit(t, c, l, topic, "snappy", rulesOf())
}

// TestNewTopicKeepsOrder sends to topics in the moment they are made: some leaders do not know yet that they lead, and refuse
// the first batch while they accept the second. A broker that never heard of a producer takes any sequence for its
// first, so that only the producer can keep the order.
func TestNewTopicKeepsOrder(t *testing.T) {
	c := threeNodes(t)
	p := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), BatchSize: 500})
	for round := range 10 {
		ctx := within(t, 2*time.Minute)
		topic := fmt.Sprintf("new-%d", round)
		require.NoError(t, c.CreateTopicUnready(ctx, topic, 12))
		l := ledger.New(ledger.Plan{Run: 100 + uint32(round), Streams: 8, PerStream: 500, Keys: 50, ValueSize: 50})
		sending := &load{producer: p, topic: topic, ledger: l}
		sending.run(ctx)
		require.NoError(t, p.Flush(ctx))
		require.Empty(t, l.Totals().Failures)
		rows, err := c.Rows(ctx, topic)
		require.NoError(t, err)
		report, err := l.Audit(rulesOf(), rows)
		require.NoError(t, err)
		assert.NoError(t, report.Violations.Err(), topic)
		require.NoError(t, c.WaitInSync(ctx, topic))
		dump, err := c.Batches(ctx, c.Node(1), topic)
		require.NoError(t, err)
		batches, err := ledger.CheckBatches(ledger.BatchRules{Codec: "none", Idempotent: true}, dump)
		require.NoError(t, err)
		assert.NoError(t, batches.Violations.Err(), topic)
		require.NoError(t, c.DeleteTopic(ctx, topic))
	}
}
