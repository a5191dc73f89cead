package plugin_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// turning is a partitioner that stays with a partition until its batch is full.
type turning struct{ at, moves atomic.Int32 }

func (x *turning) Partition(quill.PartitionInput) (int32, error) { return x.at.Load(), nil }

func (x *turning) OnNewBatch(topic *metadata.Topic, previous int32) {
	x.moves.Add(1)
	x.at.CompareAndSwap(previous, (previous+1)%int32(len(topic.Partitions)))
}

// A partitioner that changes its mind at the border of batches is asked there, and only there.
func TestABatchPartitionerIsToldOfNewBatches(t *testing.T) {
	for name, partitioner := range map[string]quill.Partitioner{"own": &turning{}, "sticky": &quill.StickyPartitioner{}} {
		t.Run(name, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
				cfg := testkit.Config(c)
				cfg.Partitioner, cfg.BatchSize, cfg.Linger = partitioner, 1000, time.Minute
				p := testkit.Open(t, cfg)
				var futures []quill.Future
				for range 80 {
					futures = append(futures, p.Send(t.Context(), testkit.Rec("t", "", strings.Repeat("x", 100))))
				}
				require.NoError(t, p.Flush(t.Context()))
				runs, last := 0, int32(-1)
				for _, f := range futures {
					m, err := f.Wait(t.Context())
					require.NoError(t, err)
					if m.Partition != last {
						runs, last = runs+1, m.Partition
					}
				}
				require.GreaterOrEqual(t, runs, 9, "eight records fill a batch, then it is another partition's turn")
				require.LessOrEqual(t, runs, 12)
				testkit.CloseProducer(t, p)
			})
		})
	}
}
