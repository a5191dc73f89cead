package send_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

func TestSendDelivers(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("orders", 3, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		m, err := p.Send(t.Context(), testkit.Rec("orders", "k", "v")).Wait(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 0, m.Offset)
		require.Equal(t, quill.KeyPartition([]byte("k"), 3), m.Partition)
		testkit.CloseProducer(t, p)
		got := testkit.Logged(t, c, "orders", m.Partition)
		require.Len(t, got, 1)
		require.Equal(t, "k", string(got[0].Key))
		require.Equal(t, "v", string(got[0].Value))
	})
}

func TestEveryRecordOnceInOrder(t *testing.T) {
	for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionGzip, quill.CompressionSnappy, quill.CompressionLZ4, quill.CompressionZstd} {
		t.Run(codec.String(), func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
				cfg := testkit.Config(c)
				cfg.Compression = codec
				p := testkit.Open(t, cfg)
				const keys, each = 50, 200
				var wg sync.WaitGroup
				for g := range 4 {
					wg.Go(func() {
						for i := range each {
							for k := g; k < keys; k += 4 {
								p.SendFunc(t.Context(), testkit.Rec("t", fmt.Sprint("key", k), fmt.Sprint(i)), func(_ quill.RecordMetadata, err error) {
									if err != nil {
										t.Error(err)
									}
								})
							}
						}
					})
				}
				wg.Wait()
				testkit.CloseProducer(t, p)
				next := map[string]int{}
				for partition := range int32(6) {
					for _, r := range testkit.Logged(t, c, "t", partition) {
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
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		p := testkit.Open(t, cfg)
		for i := range 500 {
			if i%100 == 50 {
				c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, DisconnectAfter: true})
			}
			p.SendFunc(t.Context(), testkit.Rec("t", "k", fmt.Sprint(i)), func(_ quill.RecordMetadata, err error) {
				if err != nil {
					t.Error(err)
				}
			})
			if i%10 == 0 {
				time.Sleep(3 * time.Millisecond)
			}
		}
		testkit.CloseProducer(t, p)
		got := testkit.Logged(t, c, "t", quill.KeyPartition([]byte("k"), 2))
		require.Len(t, got, 500)
		for i, r := range got {
			require.Equal(t, fmt.Sprint(i), string(r.Value))
		}
	})
}
