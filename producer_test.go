package quill_test

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// bubble runs a test with an in-memory cluster in a synctest bubble: time is virtual, and a goroutine
// left over fails the test.
func bubble(t *testing.T, opts quilltest.Options, test func(t *testing.T, c *quilltest.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts.Pipes, opts.Strict = true, true
		c, err := quilltest.NewCluster(opts)
		require.NoError(t, err)
		defer c.Close()
		test(t, c)
	})
}

// config is a Config for the cluster.
func config(c *quilltest.Cluster) quill.Config {
	return quill.Config{BootstrapServers: c.BootstrapServers(), DialContext: c.DialContext}
}

// open makes a producer of strings. The test closes it; the one of a failed test is given up.
func open(t *testing.T, cfg quill.Config) *quill.Producer[string, string] {
	t.Helper()
	p, err := quill.New(cfg, quill.String, quill.String)
	require.NoError(t, err)
	giveUpIfFailed(t, p)
	return p
}

// giveUpIfFailed keeps a failed test from leaving goroutines in its bubble, which would end them all.
func giveUpIfFailed(t *testing.T, p interface{ Close(context.Context) error }) {
	t.Cleanup(func() {
		if t.Failed() {
			_ = p.Close(ended(context.Canceled))
		}
	})
}

// ended is a context that is over.
func ended(cause error) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	return ctx
}

func closeProducer(t *testing.T, p interface{ Close(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, p.Close(ctx))
}

// logged is what the partition's log holds.
func logged(t *testing.T, c *quilltest.Cluster, topic string, partition int32) []quilltest.Record {
	t.Helper()
	records, err := c.Records(topic, partition)
	require.NoError(t, err)
	return records
}

func rec(topic, key, value string) quill.Record[string, string] {
	return quill.Record[string, string]{Topic: topic, Key: key, Value: value}
}

// freeMemory returns how much of the buffer no batch holds. The public API does not say it, so it looks inside, without a lock: only after Close, or when all in a bubble wait.
func freeMemory(p *quill.Producer[string, string]) int64 {
	pool := reflect.ValueOf(p).Elem().FieldByName("e").Elem().FieldByName("acc").Elem().FieldByName("pool").Elem()
	free, chunks, sizes := pool.FieldByName("unallocated").Int(), pool.FieldByName("free"), pool.FieldByName("sizes")
	for i := range chunks.Len() {
		free += int64(chunks.Index(i).Len()) * sizes.Index(i).Int()
	}
	return free
}

func TestSendDelivers(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("orders", 3, quilltest.TopicConfig{})
		p := open(t, config(c))
		m, err := p.Send(t.Context(), rec("orders", "k", "v")).Wait(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 0, m.Offset)
		require.Equal(t, quill.KeyPartition([]byte("k"), 3), m.Partition)
		closeProducer(t, p)
		got := logged(t, c, "orders", m.Partition)
		require.Len(t, got, 1)
		require.Equal(t, "k", string(got[0].Key))
		require.Equal(t, "v", string(got[0].Value))
	})
}

func TestEveryRecordOnceInOrder(t *testing.T) {
	for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionGzip, quill.CompressionSnappy, quill.CompressionLZ4, quill.CompressionZstd} {
		t.Run(codec.String(), func(t *testing.T) {
			bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
				cfg := config(c)
				cfg.Compression = codec
				p := open(t, cfg)
				const keys, each = 50, 200
				var wg sync.WaitGroup
				for g := range 4 {
					wg.Go(func() {
						for i := range each {
							for k := g; k < keys; k += 4 {
								p.SendFunc(t.Context(), rec("t", fmt.Sprint("key", k), fmt.Sprint(i)), func(_ quill.RecordMetadata, err error) {
									if err != nil {
										t.Error(err)
									}
								})
							}
						}
					})
				}
				wg.Wait()
				closeProducer(t, p)
				next := map[string]int{}
				for partition := range int32(6) {
					for _, r := range logged(t, c, "t", partition) {
						require.Equal(t, fmt.Sprint(next[string(r.Key)]), string(r.Value))
						next[string(r.Key)]++
					}
				}
				require.Len(t, next, keys)
				for _, n := range next {
					require.Equal(t, each, n)
				}
			})
		})
	}
}

func TestLostAnswersMakeNoDuplicates(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
		cfg := config(c)
		p := open(t, cfg)
		for i := range 500 {
			if i%100 == 50 {
				c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, DisconnectAfter: true})
			}
			p.SendFunc(t.Context(), rec("t", "k", fmt.Sprint(i)), func(_ quill.RecordMetadata, err error) {
				if err != nil {
					t.Error(err)
				}
			})
			if i%10 == 0 {
				time.Sleep(3 * time.Millisecond)
			}
		}
		closeProducer(t, p)
		got := logged(t, c, "t", quill.KeyPartition([]byte("k"), 2))
		require.Len(t, got, 500)
		for i, r := range got {
			require.Equal(t, fmt.Sprint(i), string(r.Value))
		}
	})
}
