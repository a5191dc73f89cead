package delivery_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// deadNode runs the test with a cluster of three nodes that lead four partitions each, one of which
// answers nothing any more.
func deadNode(t *testing.T, test func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], dead int32)) {
	t.Helper()
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 12, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.BufferMemory, cfg.BatchSize, cfg.MaxBlock = 1<<20, 16<<10, 20*time.Second
		dead, _, err := c.Leader("t", 0)
		require.NoError(t, err)
		p := testkit.Open(t, cfg)
		for partition := range int32(12) {
			r := testkit.Rec("t", "", "first")
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
		var senders sync.WaitGroup
		stop := time.Now().Add(2 * time.Second)
		for partition := range int32(12) {
			senders.Go(func() {
				for time.Now().Before(stop) {
					r := testkit.Rec("t", "", strings.Repeat("x", 1000))
					r.Partition = quill.Partition(partition)
					p.SendFunc(t.Context(), r, nil)
					n := sent[partition].Add(1)
					if n%10 == 0 {
						time.Sleep(5 * time.Millisecond)
					}
				}
			})
		}
		time.Sleep(3 * time.Second)
		for partition := range int32(12) {
			leader, _, err := c.Leader("t", partition)
			require.NoError(t, err)
			if leader == dead {
				testkit.RequireBetween(t, int(sent[partition].Load()), 20, 400, "they wait, once the node has its share of the buffer")
			} else {
				require.Greater(t, sent[partition].Load(), int64(3_800), "of 4,000 if all nodes were up")
			}
		}
		require.NoError(t, c.ResumeNode(dead))
		senders.Wait() // those that waited for memory
		testkit.CloseProducer(t, p)
	})
}

// A node that stops takes its partitions' share with it, and leaves the metadata. Records to the other one go on
// although others go on to be sent to the dead partitions, in a buffer of two batches already.
func TestADeadNodeLeavesRoomInSmallBuffers(t *testing.T) {
	for _, batches := range []int64{2, 3, 4, 8, 12, 16} {
		for _, size := range []int{100, 1000, 15_000} {
			testkit.Bubble(t, quilltest.Options{Nodes: 2}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 8, quilltest.TopicConfig{Replicas: 1})
				cfg := testkit.Config(c)
				cfg.BufferMemory, cfg.MaxBlock = batches*16384, 4*time.Second
				p := testkit.Open(t, cfg)
				var dead []int32
				live := int32(-1)
				for i := range int32(8) {
					_, err := p.SendSync(t.Context(), testkit.OnPartition(i, testkit.Rec("t", "", "v")))
					require.NoError(t, err)
					if leader, _, _ := c.Leader("t", i); leader == 1 {
						dead = append(dead, i)
					} else {
						live = i
					}
				}
				require.NoError(t, c.StopNode(1))
				ctx, cancel := context.WithCancel(t.Context())
				var senders sync.WaitGroup
				defer senders.Wait()
				defer cancel()
				for i := range 3 * len(dead) {
					senders.Go(func() {
						for ctx.Err() == nil {
							p.SendFunc(ctx, testkit.OnPartition(dead[i%len(dead)], testkit.Rec("t", "", strings.Repeat("x", size))), nil)
							time.Sleep(5 * time.Millisecond)
						}
					})
				}
				time.Sleep(20 * time.Second)
				for range 5 {
					testkit.Within(t, 0, time.Second, func() {
						_, err := p.SendSync(t.Context(), testkit.OnPartition(live, testkit.Rec("t", "", "v")))
						require.NoError(t, err, "%d batches, records of %d bytes", batches, size)
					})
				}
				cancel()
				senders.Wait()
				require.NoError(t, c.StartNode(1))
				testkit.CloseProducer(t, p)
			})
		}
	}
}

func TestKeylessRecordsGoRoundADeadNode(t *testing.T) {
	deadNode(t, func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], dead int32) {
		const n = 5_000
		keyless, err := quill.Share(p, quill.Bytes, quill.Bytes)
		require.NoError(t, err)
		var f testkit.Outcomes
		value := make([]byte, 1000)
		for i := range n {
			testkit.Within(t, 0, 100*time.Millisecond, func() {
				keyless.SendFunc(t.Context(), quill.Record[[]byte, []byte]{Topic: "t", Value: value}, f.Callback)
			})
			if i%10 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		delivered, failed := f.Count()
		require.Greater(t, delivered, n*8/10)
		require.Zero(t, failed)
		require.NoError(t, c.ResumeNode(dead))
		testkit.CloseProducer(t, p)
		delivered, failed = f.Count()
		require.Equal(t, n, delivered)
		require.Zero(t, failed)
		records, err := c.AllRecords("t")
		require.NoError(t, err)
		require.Len(t, records, 12+n)
	})
}
