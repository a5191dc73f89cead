//go:build !race && !invariant

// The race detector moves to the heap what otherwise stays on the stack, and the checks of the invariant build
// allocate for each batch.

package quill

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/quill-kafka/quill/metadata"
	"github.com/stretchr/testify/require"
)

// What a Send allocates. Most records take the fast path; but each batch is opened by a record that takes the
// slow one, and so does every record that is waited for or that a partitioner of the user's is asked about.

// still is an engine that knows topic "t". Its sender does not run: full batches are thrown away by drain.
type still struct {
	*stage
	in mail
}

func newStill(t *testing.T, cfg Config) *still {
	e := assembleStage(t, cfg)
	t.Cleanup(e.clock.close)
	return &still{stage: &stage{e: e}}
}

func (s *still) drain() {
	s.e.box.take(&s.in)
	s.discard(s.in.queues)
}

func stillView[K, V any](t *testing.T, s *still, key Serializer[K], value Serializer[V]) *Producer[K, V] {
	p, err := newView(s.e, key, value, nil)
	require.NoError(t, err)
	return p
}

// toSecond is a partitioner.
var toSecond = PartitionerFunc(func(PartitionInput) (int32, error) { return 1, nil })

// byText is a partitioner that wants the key as it was sent.
type byText struct{ PartitionerFunc }

func (byText) PartitionTyped(_ PartitionInput, key, value any) (int32, error) {
	return int32(len(key.(string))+len(value.(string))) % 3, nil
}

// batchesOf counts, and so is a BatchPartitioner.
type batchesOf struct {
	PartitionerFunc
	n int
}

func (b *batchesOf) OnNewBatch(*metadata.Topic, int32) { b.n++ }

func TestSendAllocatesNothing(t *testing.T) {
	const (
		inOneBatch = 16 << 10
		alone      = -1 // each record opens a batch, fills it, and closes it
	)
	ctx := context.Background()
	fn := func(RecordMetadata, error) {}
	for _, c := range []struct {
		name        string
		batchSize   int
		partitioner Partitioner
		texts       int // what the texts of a record take that the partitioner wants as they are
	}{
		{"the fast path", inOneBatch, nil, 0},
		{"the long way", alone, nil, 0},
		{"a partitioner", inOneBatch, toSecond, 0},
		{"a partitioner, the long way", alone, toSecond, 0},
		{"a partitioner that is told of new batches", alone, &batchesOf{PartitionerFunc: toSecond}, 0},
		{"a partitioner of what was sent", inOneBatch, byText{}, 2},
		{"a partitioner of what was sent, the long way", alone, byText{}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStill(t, Config{BatchSize: c.batchSize, Partitioner: c.partitioner})
			texts := stillView(t, s, String, String)
			raw := stillView(t, s, Bytes, Bytes)
			bytes := bytesRecord{Topic: "t", Value: []byte("value"), Partition: Partition(0)}
			if c.partitioner != nil {
				bytes.Partition = PartitionID{}
			}
			allocs := func(send func()) int {
				run := func() { send(); s.drain() }
				for range 10 { // the first batches
					run()
				}
				return int(testing.AllocsPerRun(100, run))
			}
			result := 0
			if c.batchSize == alone {
				result = 1 // futures keep looking at it
			}
			if c.texts == 0 {
				require.Equal(t, 0, allocs(func() { raw.SendFunc(ctx, bytes, fn) }), "SendFunc")
				require.Equal(t, result, allocs(func() { raw.Send(ctx, bytes) }), "Send")
				require.Equal(t, 0, allocs(func() {
					if !raw.TrySendFunc(bytes, fn) {
						t.Error("not sent")
					}
				}), "TrySend")
			}
			text := textRecord{Topic: "t", Key: "key", Value: "value"}
			require.Equal(t, c.texts, allocs(func() { texts.SendFunc(ctx, text, fn) }), "SendFunc of texts")
			require.Equal(t, result+c.texts, allocs(func() { texts.Send(ctx, text) }), "Send of texts")
			if b, ok := c.partitioner.(*batchesOf); ok {
				require.Positive(t, b.n)
			}
		})
	}
}

// A record that is waited for has a batch of its own: its result, and the channel that its sender waits on.
func TestSendSyncAllocatesTwice(t *testing.T) {
	for _, c := range []struct {
		name        string
		partitioner Partitioner
		texts       int
	}{{"no partitioner", nil, 0}, {"a partitioner", toSecond, 0}, {"a partitioner of what was sent", byText{}, 2}} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := newNullEngine(t, Config{Partitioner: c.partitioner}, 1, 1, func(string) int { return 12 })
			texts, err := newView(p.e, String, String, nil)
			require.NoError(t, err)
			nullKnown(t, p, "t")
			ctx := context.Background()
			send := func() {
				if _, err := texts.SendSync(ctx, textRecord{Topic: "t", Key: "key", Value: "value"}); err != nil {
					t.Error(err)
				}
			}
			for range 100 {
				send()
			}
			const frame = 1 // of a node of nullNet, which makes one for each request; a connection keeps its own
			require.Equal(t, 2+c.texts+frame, int(testing.AllocsPerRun(500, send)))
		})
	}
}

// Most lines of the log are of a level that is off: with the handlers of the standard library, and without a Config.Logger,
// they cost neither an allocation nor a goroutine.
func TestALineOfALevelThatIsOffCostsNothing(t *testing.T) {
	text, lines := slog.New(slog.NewTextHandler(io.Discard, nil)), slog.New(slog.NewJSONHandler(io.Discard, nil))
	for name, logger := range map[string]*slog.Logger{"none given": nil, "text": text, "JSON": lines, "with": text.With("a", 1), "discarded": slog.New(slog.DiscardHandler)} {
		s := newStill(t, Config{BootstrapServers: []string{"127.0.0.1:1"}, Logger: logger})
		require.Zero(t, testing.AllocsPerRun(100, func() { s.e.cfg.logger.LogAttrs(t.Context(), slog.LevelDebug, "a line") }), name)
	}
}
