package quill_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// deadNode runs the test with a cluster of three nodes that lead four partitions each, one of which
// answers nothing any more.
func deadNode(t *testing.T, test func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], dead int32)) {
	t.Helper()
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 12, quilltest.TopicConfig{})
		cfg := config(c)
		cfg.BufferMemory, cfg.BatchSize, cfg.MaxBlock = 1<<20, 16<<10, 20*time.Second
		dead, _, err := c.Leader("t", 0)
		require.NoError(t, err)
		p := open(t, cfg)
		for partition := range int32(12) {
			r := rec("t", "", "first")
			r.Partition = quill.Partition(partition)
			_, err := p.SendSync(t.Context(), r)
			require.NoError(t, err)
		}
		require.NoError(t, c.PauseNode(dead))
		test(t, c, p, dead)
	})
}

func TestADeadNodeDoesNotStopRecordsToTheOthers(t *testing.T) {
	deadNode(t, func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], dead int32) {
		var sent [12]atomic.Int64
		stop := time.Now().Add(2 * time.Second)
		for partition := range int32(12) {
			go func() {
				for time.Now().Before(stop) {
					r := rec("t", "", strings.Repeat("x", 1000))
					r.Partition = quill.Partition(partition)
					p.SendFunc(t.Context(), r, nil)
					n := sent[partition].Add(1)
					if n%10 == 0 {
						time.Sleep(5 * time.Millisecond)
					}
				}
			}()
		}
		time.Sleep(3 * time.Second)
		for partition := range int32(12) {
			leader, _, err := c.Leader("t", partition)
			require.NoError(t, err)
			if leader == dead {
				requireBetween(t, int(sent[partition].Load()), 20, 400, "they wait, once the node has its share of the buffer")
			} else {
				require.Greater(t, sent[partition].Load(), int64(3_800), "of 4,000 if all nodes were up")
			}
		}
		require.NoError(t, c.ResumeNode(dead))
		closeProducer(t, p)
	})
}

func TestKeylessRecordsGoRoundADeadNode(t *testing.T) {
	deadNode(t, func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], dead int32) {
		const n = 5_000
		keyless, err := quill.Share(p, quill.Bytes, quill.Bytes)
		require.NoError(t, err)
		var f fates
		value := make([]byte, 1000)
		for i := range n {
			within(t, 0, 100*time.Millisecond, func() {
				keyless.SendFunc(t.Context(), quill.Record[[]byte, []byte]{Topic: "t", Value: value}, f.callback)
			})
			if i%10 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		delivered, failed := f.count()
		require.Greater(t, delivered, n*8/10)
		require.Zero(t, failed)
		require.NoError(t, c.ResumeNode(dead))
		closeProducer(t, p)
		delivered, failed = f.count()
		require.Equal(t, n, delivered)
		require.Zero(t, failed)
		records, err := c.AllRecords("t")
		require.NoError(t, err)
		require.Len(t, records, 12+n)
	})
}
