package quill_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest"
)

func ExampleProducer_Send() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := producer.Close(ctx); err != nil {
			log.Print(err)
		}
	}()
	ctx := context.Background()

	tea := producer.Send(ctx, quill.Record[string, string]{Topic: "orders", Key: "ada", Value: "tea"})
	milk := producer.Send(ctx, quill.Record[string, string]{Topic: "orders", Key: "ada", Value: "milk"})
	for _, future := range []quill.Future{tea, milk} {
		m, err := future.Wait(ctx)
		fmt.Println(m.Topic, m.Offset, err)
	}
	// Output:
	// orders 0 <nil>
	// orders 1 <nil>
}

func ExampleProducer_SendFunc() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := producer.Close(ctx); err != nil {
			log.Print(err)
		}
	}()

	done := make(chan struct{})
	producer.SendFunc(context.Background(), quill.Record[string, string]{Topic: "orders", Value: "tea"}, func(m quill.RecordMetadata, err error) {
		fmt.Println(m.Topic, m.Offset, err)
		close(done)
	})
	<-done
	// Output: orders 0 <nil>
}

// SendSync does not wait out linger.ms.
func ExampleProducer_SendSync() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := producer.Close(ctx); err != nil {
			log.Print(err)
		}
	}()

	m, err := producer.SendSync(context.Background(), quill.Record[string, string]{Topic: "orders", Key: "ada", Value: "tea"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Topic, m.Offset)

	_, err = producer.SendSync(context.Background(), quill.Record[string, string]{Topic: "no topic", Value: "tea"})
	fmt.Println(errors.Is(err, quill.ErrInvalidTopic))
	// Output:
	// orders 0
	// true
}

// SendAll sends ahead of the results it yields, which come in the order of the records.
func ExampleProducer_SendAll() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := producer.Close(ctx); err != nil {
			log.Print(err)
		}
	}()

	orders := func(yield func(quill.Record[string, string]) bool) {
		for _, what := range []string{"tea", "milk", "sugar"} {
			if !yield(quill.Record[string, string]{Topic: "orders", Key: "ada", Value: what}) {
				return
			}
		}
	}
	for m, err := range producer.SendAll(context.Background(), orders) {
		fmt.Println(m.Offset, m.ValueSize, err)
	}
	// Output:
	// 0 3 <nil>
	// 1 4 <nil>
	// 2 5 <nil>
}

// TrySend refuses what it would have to wait for: here the metadata of a topic that is sent to for
// the first time.
func ExampleProducer_TrySend() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := producer.Close(ctx); err != nil {
			log.Print(err)
		}
	}()

	record := quill.Record[string, string]{Topic: "orders", Value: "tea"}
	fmt.Println(producer.TrySend(record))

	if _, err := producer.PartitionsFor(context.Background(), "orders"); err != nil { // waits for them
		log.Fatal(err)
	}
	fmt.Println(producer.TrySend(record))
	// Output:
	// false
	// true
}

// Flush sends what lingers and waits for everything sent before.
func ExampleProducer_Flush() {
	cluster, err := quilltest.NewCluster(quilltest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers(), Linger: time.Hour}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := producer.Close(ctx); err != nil {
			log.Print(err)
		}
	}()

	ctx := context.Background()
	future := producer.Send(ctx, quill.Record[string, string]{Topic: "orders", Value: "tea"})
	fmt.Println(future.Done())
	if err := producer.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(future.Done())
	// Output:
	// false
	// true
}

// Close delivers what is buffered, for as long as its context allows. Give it one of its own: the context
// that a signal ends is over when Close is called.
func ExampleProducer_Close() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}

	for range 100 {
		producer.Send(context.Background(), quill.Record[string, string]{Topic: "orders", Value: "tea"})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	fmt.Println(producer.Close(ctx), cluster.Appended("orders"))

	_, err = producer.SendSync(ctx, quill.Record[string, string]{Topic: "orders", Value: "tea"})
	fmt.Println(errors.Is(err, quill.ErrClosed))
	// Output:
	// <nil> 100
	// true
}

// One producer, records of several types.
func ExampleShare() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := producer.Close(ctx); err != nil {
			log.Print(err)
		}
	}()

	type order struct{ What string }
	orders, err := quill.Share(producer, quill.Int64, quill.JSON[order]())
	if err != nil {
		log.Fatal(err)
	}
	if _, err := orders.SendSync(context.Background(), quill.Record[int64, order]{Topic: "orders", Key: 7, Value: order{"tea"}}); err != nil {
		log.Fatal(err)
	}
	records, err := cluster.AllRecords("orders")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(records[0].Key, string(records[0].Value))
	// Output: [0 0 0 0 0 0 0 7] {"What":"tea"}
}

func ExamplePartition() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := producer.Close(ctx); err != nil {
			log.Print(err)
		}
	}()

	m, err := producer.SendSync(context.Background(), quill.Record[string, string]{Topic: "orders", Value: "tea", Partition: quill.Partition(1)})
	fmt.Println(m.Partition, err)

	_, err = producer.SendSync(context.Background(), quill.Record[string, string]{Topic: "orders", Value: "tea", Partition: quill.Partition(2)})
	fmt.Println(errors.Is(err, quill.ErrInvalidPartition))
	// Output:
	// 1 <nil>
	// true
}

// The same callback for all records is the cheapest way to hear of failures.
func ExampleCallback() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := producer.Close(ctx); err != nil {
			log.Print(err)
		}
	}()

	var mu sync.Mutex
	failed := 0
	var count quill.Callback = func(_ quill.RecordMetadata, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed++
		}
	}
	for _, value := range []string{"tea", strings.Repeat("too large ", 200000), "milk"} {
		producer.SendFunc(context.Background(), quill.Record[string, string]{Topic: "orders", Value: value}, count)
	}
	if err := producer.Flush(context.Background()); err != nil { // comes after the callbacks
		log.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	fmt.Println(failed)
	// Output: 1
}

// With acks=0 no broker reports where the record went.
func ExampleRecordMetadata() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers(), Acks: quill.AcksNone}, quill.String, quill.Nullable(quill.String))
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := producer.Close(ctx); err != nil {
			log.Print(err)
		}
	}()

	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m, err := producer.SendSync(context.Background(), quill.Record[string, *string]{Topic: "orders", Key: "ada", Timestamp: when})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("offset", m.Offset, m.HasOffset())
	fmt.Println("time", m.Timestamp.UTC().Format(time.DateTime), m.HasTimestamp())
	fmt.Println("sizes", m.KeySize, m.ValueSize)
	// Output:
	// offset -1 false
	// time 2026-01-02 03:04:05 true
	// sizes 3 -1
}

// A wait that ends early changes nothing about the record.
func ExampleFuture() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers(), Linger: time.Hour}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}

	future := producer.Send(context.Background(), quill.Record[string, string]{Topic: "orders", Value: "tea"})
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = future.Wait(ctx) // the record is on its way all the same
	fmt.Println(errors.Is(err, context.DeadlineExceeded))

	last, cancelLast := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancelLast()
	if err := producer.Close(last); err != nil {
		log.Fatal(err)
	}
	m, err := future.Wait(context.Background())
	fmt.Println(m.Offset, err)
	// Output:
	// true
	// 0 <nil>
}

// Records that failed and will not be retried go to another topic. The callback hands them to a goroutine and never sends
// itself: a Send may have to wait, and all other outcomes would wait with it.
func ExampleProducer_SendRecord() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 2, quilltest.TopicConfig{Compacted: true}) // refuses records without a key
	cluster.MustCreateTopic("orders.dead", 2, quilltest.TopicConfig{})
	cfg := quill.Config{BootstrapServers: cluster.BootstrapServers()}
	producer, err := quill.New(cfg, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	dead, err := quill.New(cfg, quill.String, quill.String) // another one: the first may be the reason
	if err != nil {
		log.Fatal(err)
	}

	type letter struct {
		record quill.Record[string, string]
		err    error
	}
	letters := make(chan letter, 1000)
	sending, stop := context.WithCancel(context.Background())
	var writer sync.WaitGroup
	writer.Go(func() {
		for l := range letters {
			r := l.record
			r.Topic += ".dead"
			r.Partition = quill.PartitionID{}   // let the partitioner choose again
			r.Headers = slices.Clone(r.Headers) // other records may share the slice
			r.Headers.Add("error", []byte(l.err.Error()))
			dead.SendFunc(sending, r, func(_ quill.RecordMetadata, err error) {
				if err != nil {
					log.Print("lost: ", err)
				}
			})
		}
	})
	setAside := func(r quill.Record[string, string], _ quill.RecordMetadata, err error) {
		if err == nil {
			return
		}
		select {
		case letters <- letter{r, err}:
		default: // the channel is full, and a callback must not wait
			log.Print("lost: ", err)
		}
	}

	ctx := context.Background()
	producer.SendRecord(ctx, quill.Record[string, string]{Topic: "orders", Key: "ada", Value: "tea"}, setAside)
	producer.SendRecord(ctx, quill.Record[string, string]{Topic: "orders", Value: "for nobody"}, setAside)

	// At the end: first the producer, which runs the last callbacks, then the channel, then the other producer.
	closing, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = producer.Close(closing)
	close(letters)
	context.AfterFunc(closing, stop) // when the time is up, what is left in the channel fails
	writer.Wait()
	err = errors.Join(err, dead.Close(closing))

	fmt.Println(cluster.Appended("orders"), "delivered,", cluster.Appended("orders.dead"), "set aside", err)
	// Output: 1 delivered, 1 set aside <nil>
}
