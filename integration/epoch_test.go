package integration

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/integration/ledger"
	"github.com/quill-kafka/quill/protocol"
)

// TestAHigherEpochOfTheProducerIDStopsNothing makes a node know a producer's id under a higher epoch, as after a restore or with a
// second instance of a snapshot: it refuses what comes under the lower one with INVALID_PRODUCER_EPOCH from then on. Java
// loses a batch by that. The producer goes on under another id, once with one batch in flight and once with five.
func TestAHigherEpochOfTheProducerIDStopsNothing(t *testing.T) {
	for _, k := range []struct {
		name    string
		atATime int // records, each a batch of its own
	}{{"one-in-flight", 1}, {"five-in-flight", 5}} {
		t.Run(k.name, func(t *testing.T) { testHigherEpoch(t, k.atATime) })
	}
}

func testHigherEpoch(t *testing.T, atATime int) {
	const records = 20
	c := oneNode(t)
	ctx := within(t, time.Minute)
	topic := newTopic(t, c, fmt.Sprint("higher-epoch-", atATime), 1)
	said := &logLines{Handler: slog.NewTextHandler(t.Output(), nil)}
	p := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), Linger: -1, BatchSize: 1, Logger: slog.New(said)})
	send := func(value string) quill.Future {
		return p.Send(ctx, quill.Record[[]byte, []byte]{Topic: topic, Value: []byte(value)})
	}
	_, err := send("first").Wait(ctx)
	require.NoError(t, err)
	first := batchesOf(ctx, t, c, topic)
	require.Len(t, first, 1)
	require.NoError(t, raiseEpoch(t, c, topic, first[0]))

	want := []string{"first", "value", "value", "value"} // value: what the other instance wrote, see oddRecords
	failed := 0
	for begin := 0; begin < records; begin += atATime {
		var futures []quill.Future
		for i := range atATime {
			futures = append(futures, send(fmt.Sprint("record ", begin+i)))
		}
		for i, f := range futures {
			_, err := f.Wait(ctx)
			if err == nil {
				want = append(want, fmt.Sprint("record ", begin+i))
				continue
			}
			failed++
			requireFailure(t, err, protocol.InvalidProducerEpoch, quill.Rejected)
		}
	}
	stored, err := c.Records(ctx, topic)
	require.NoError(t, err)
	var got []string
	for _, r := range stored {
		got = append(got, string(r.Value))
	}
	require.Equal(t, want, got, "each that was acknowledged once and in order, none that was rejected")
	ids := map[int64]bool{}
	for _, b := range batchesOf(ctx, t, c, topic)[2:] {
		ids[b.ProducerID] = true
		require.NotEqual(t, first[0].ProducerID, b.ProducerID)
	}
	t.Logf("%d of %d failed, %d new producer ids", failed, records, len(ids))
	require.LessOrEqual(t, failed, 1)
	require.Len(t, ids, 1)
	require.Equal(t, 1, said.count("the producer id is of no use any more"))
}

// raiseEpoch writes a batch under the producer id of another one, with the next epoch.
func raiseEpoch(t *testing.T, c *kafkaharness.Cluster, topic string, of ledger.Batch) error {
	other := &oddSide{address: c.Bootstrap()[0], ids: map[string]protocol.UUID{}}
	defer other.close()
	batch := oddBatch{header: identity(of.ProducerID, of.ProducerEpoch+1, 0)}.bytes(t)
	if answer := other.ask(t, oddRequest(topic, batch, 0), 9); answer != "[0: NONE]" {
		return fmt.Errorf("the node answered %s", answer)
	}
	return nil
}

// batchesOf returns the batches of a topic on the disk of the only node.
func batchesOf(ctx context.Context, t *testing.T, c *kafkaharness.Cluster, topic string) (batches []ledger.Batch) {
	t.Helper()
	dump, err := c.Batches(ctx, c.Node(1), topic)
	require.NoError(t, err)
	for b, err := range dump {
		require.NoError(t, err)
		batches = append(batches, b)
	}
	return batches
}

// logLines is a handler that counts what it passes on.
type logLines struct {
	slog.Handler

	mu sync.Mutex
	// +checklocks:mu
	messages []string
}

// Handle implements slog.Handler.
func (l *logLines) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	l.messages = append(l.messages, r.Message)
	l.mu.Unlock()
	return l.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l *logLines) WithAttrs([]slog.Attr) slog.Handler { return l }

// count returns how many messages begin with these words.
func (l *logLines) count(words string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.messages {
		if strings.HasPrefix(m, words) {
			n++
		}
	}
	return n
}
