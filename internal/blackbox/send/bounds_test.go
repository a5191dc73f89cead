package send_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Both sides of a bound: what just fits goes through, what is one more does not.

// With many small records and a large batch.size a batch has more than 8,191 of them, whose offsets take a byte more.
func TestABatchOfTenThousandRecordsCanBeRead(t *testing.T) {
	const records = 10_000
	for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionLZ4} {
		t.Run(codec.String(), func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				var batches []protocol.BatchHeader
				c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: -1, Do: func(r *quilltest.Request) {
					h, _ := r.Batch("t", 0)
					batches = append(batches, h)
				}})
				cfg := testkit.Config(c)
				cfg.BatchSize, cfg.Linger, cfg.DeliveryTimeout, cfg.Compression = 1_000_000, time.Hour, 2*time.Hour, codec
				p := testkit.Open(t, cfg)
				value := func(i int) string { return fmt.Sprint("value ", i) }
				for i := range records {
					p.SendFunc(t.Context(), testkit.Rec("t", "", value(i)), func(m quill.RecordMetadata, err error) {
						require.NoError(t, err)
						require.EqualValues(t, i, m.Offset)
					})
				}
				testkit.CloseProducer(t, p)
				require.Len(t, batches, 1)
				require.EqualValues(t, records, batches[0].Count)
				got := testkit.Logged(t, c, "t", 0)
				require.Len(t, got, records)
				for i, r := range got {
					require.Equal(t, value(i), string(r.Value))
					require.EqualValues(t, i, r.Offset)
				}
			})
		})
	}
}

func TestATopicNameMayHave249Characters(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		name := strings.Repeat("x", 249)
		c.MustCreateTopic(name, 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		_, err := p.SendSync(t.Context(), testkit.Rec(name, "", "v"))
		require.NoError(t, err)
		_, err = p.SendSync(t.Context(), testkit.Rec(name+"x", "", "v"))
		require.ErrorIs(t, err, quill.ErrInvalidTopic)
		testkit.CloseProducer(t, p)
	})
}

// The size that counts is the record's upper bound in a batch of its own, as in Java.
func TestARecordMayBeAsLargeAsMaxRequestSize(t *testing.T) {
	const limit = 2000
	const fits = limit - protocol.BatchOverhead - 21 - 1 - 2 - 1 // lengths of key and value, number of headers
	require.Equal(t, limit, protocol.BatchOverhead+protocol.MaxRecordSize([]byte{}, make([]byte, fits), nil))
	for _, row := range []struct {
		name   string
		change func(cfg *quill.Config)
	}{
		{"max.request.size", func(cfg *quill.Config) { cfg.MaxRequestSize = limit }},
		{"buffer.memory", func(cfg *quill.Config) { cfg.BufferMemory, cfg.BatchSize = limit, 1000 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				cfg := testkit.Config(c)
				row.change(&cfg)
				p := testkit.Open(t, cfg)
				_, err := p.SendSync(t.Context(), testkit.Rec("t", "", strings.Repeat("x", fits)))
				require.NoError(t, err)
				_, err = p.SendSync(t.Context(), testkit.Rec("t", "", strings.Repeat("x", fits+1)))
				require.ErrorIs(t, err, quill.ErrRecordTooLarge)
				require.ErrorContains(t, err, row.name)
				testkit.CloseProducer(t, p)
				require.Len(t, testkit.Logged(t, c, "t", 0), 1)
			})
		})
	}
}

// A view on bytes takes the fast path, and no longer when it is closed: neither into a batch that another view
// has open.
func TestAClosedViewOnBytesSendsNothing(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger, cfg.DeliveryTimeout = time.Hour, 2*time.Hour
		p := testkit.Open(t, cfg)
		view, err := quill.Share(p, quill.Bytes, quill.Bytes)
		require.NoError(t, err)
		r := quill.Record[[]byte, []byte]{Topic: "t", Partition: quill.Partition(0), Value: []byte("from the view")}
		view.SendFunc(t.Context(), r, nil)
		require.True(t, view.TrySend(r), "into the open batch")
		require.NoError(t, view.Close(t.Context()))
		p.SendFunc(t.Context(), testkit.Rec("t", "", "opens a batch"), nil)
		require.False(t, view.TrySend(r))
		require.False(t, view.TrySendFunc(r, nil))
		_, err = view.Send(t.Context(), r).Wait(t.Context())
		require.ErrorIs(t, err, quill.ErrClosed)
		told := make(chan error, 1)
		view.SendFunc(t.Context(), r, func(_ quill.RecordMetadata, err error) { told <- err })
		require.ErrorIs(t, <-told, quill.ErrClosed)
		p.SendFunc(t.Context(), testkit.Rec("t", "", "more"), nil)
		testkit.CloseProducer(t, p)
		require.Len(t, testkit.Logged(t, c, "t", 0), 4)
	})
}

// Of the records of one batch each gets its own offset, time and sizes, also if they have a callback in common.
func TestEachCallbackTellsItsOwnRecord(t *testing.T) {
	for _, refused := range []bool{false, true} {
		testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			if refused {
				c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.TopicAuthorizationFailed})
			}
			cfg := testkit.Config(c)
			cfg.Linger, cfg.DeliveryTimeout = time.Hour, 2*time.Hour
			p := testkit.Open(t, cfg)
			var told []quill.RecordMetadata
			callback := func(m quill.RecordMetadata, err error) {
				require.Equal(t, refused, err != nil)
				told = append(told, m)
			}
			for i := range 5 {
				r := testkit.Rec("t", strings.Repeat("k", 1+i), strings.Repeat("v", 10*i))
				r.Timestamp = time.UnixMilli(int64(1_000_000 - 7*i))
				p.SendFunc(t.Context(), r, callback)
			}
			testkit.CloseProducer(t, p)
			require.Len(t, told, 5)
			for i, m := range told {
				offset := int64(i)
				if refused {
					offset = -1
				}
				require.Equal(t, offset, m.Offset)
				require.EqualValues(t, 1_000_000-7*i, m.Timestamp.UnixMilli())
				require.EqualValues(t, 1+i, m.KeySize)
				require.EqualValues(t, 10*i, m.ValueSize)
			}
		})
	}
}
