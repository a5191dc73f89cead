package quilltest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

func ExampleNewCluster() {
	cluster, err := quilltest.NewCluster(quilltest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 1, quilltest.TopicConfig{})

	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	for _, value := range []string{"tea", "milk"} {
		producer.Send(ctx, quill.Record[string, string]{Topic: "orders", Key: "ada", Value: value})
	}
	if err := producer.Close(ctx); err != nil {
		log.Fatal(err)
	}

	records, err := cluster.Records("orders", 0)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range records {
		fmt.Println(r.Offset, string(r.Key), string(r.Value))
	}
	// Output:
	// 0 ada tea
	// 1 ada milk
}

// TestProducerInABubble runs the whole producer and the whole cluster on a virtual clock: the answer
// that gets lost costs a request time-out, and no real time.
func TestProducerInABubble(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		cluster := quilltest.Start(t, quilltest.Options{Pipes: true})
		cluster.MustCreateTopic("orders", 3, quilltest.TopicConfig{})
		lost := cluster.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, DropAnswer: true})

		producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers(), DialContext: cluster.DialContext}, quill.String, quill.String)
		require.NoError(t, err)
		start := time.Now()
		m, err := producer.SendSync(t.Context(), quill.Record[string, string]{Topic: "orders", Value: "tea", Partition: quill.Partition(2)})
		require.NoError(t, err)
		require.Equal(t, int64(1), lost.Hits())
		require.Zero(t, m.Offset)
		require.Equal(t, int32(2), m.Partition)
		require.GreaterOrEqual(t, time.Since(start), 30*time.Second)
		require.NoError(t, producer.Close(t.Context()))

		records, err := cluster.AllRecords("orders")
		require.NoError(t, err)
		require.Len(t, records, 1, "sent twice, written once")
	})
	require.Less(t, time.Since(began), 10*time.Second)
}

// A topic's settings change while a producer is at work: what was taken before is refused.
func ExampleCluster_AlterTopic() {
	cluster, err := quilltest.NewCluster(quilltest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 1, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	order := quill.Record[string, string]{Topic: "orders", Value: "tea, milk, sugar"}
	_, err = producer.SendSync(ctx, order)
	fmt.Println(err)

	err = cluster.AlterTopic("orders", func(cfg *quilltest.TopicConfig) { cfg.MaxMessageBytes = 70 })
	if err != nil {
		log.Fatal(err)
	}
	_, err = producer.SendSync(ctx, order)
	fmt.Println(errors.Is(err, quill.ErrRecordTooLarge))
	if err := producer.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// <nil>
	// true
}
