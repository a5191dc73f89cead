package quill_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest"
)

// A function that runs in a transaction: what it sends is committed when it returns nil.
func ExampleProducer_InTransaction() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 1, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers(), TransactionalID: "till-7"}, quill.String, quill.String)
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
	if err := producer.InitTransactions(context.Background()); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()

	type tx = quill.Tx[string, string]
	err = producer.InTransaction(ctx, func(tx *tx) error {
		tx.Send(ctx, quill.Record[string, string]{Topic: "orders", Key: "ada", Value: "tea"})
		tx.Send(ctx, quill.Record[string, string]{Topic: "orders", Key: "ada", Value: "milk"})
		return nil
	})
	fmt.Println(err)
	err = producer.InTransaction(ctx, func(tx *tx) error {
		tx.Send(ctx, quill.Record[string, string]{Topic: "orders", Key: "ada", Value: "caviar"})
		return errors.New("no money")
	})
	fmt.Println(err)
	records, err := cluster.CommittedRecords("orders", 0)
	fmt.Println(len(records), err)
	// Output:
	// <nil>
	// no money
	// 2 <nil>
}

// One step of consume, transform, produce: the offsets of the input are committed with the output. What
// the consumer says of itself goes into GroupMetadata.
func ExampleProducer_SendOffsetsToTransaction() {
	cluster, err := quilltest.NewCluster(quilltest.Options{}) // in the place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 1, quilltest.TopicConfig{})
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers(), TransactionalID: "till-7"}, quill.String, quill.String)
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
	if err := producer.InitTransactions(context.Background()); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()

	if err := producer.BeginTransaction(); err != nil {
		log.Fatal(err)
	}
	producer.Send(ctx, quill.Record[string, string]{Topic: "orders", Key: "ada", Value: "TEA"})
	offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "orders", Partition: 0}: {Offset: 1}}
	err = producer.SendOffsetsToTransaction(ctx, offsets, quill.GroupMetadata{GroupID: "shouters"})
	if err == nil {
		err = producer.CommitTransaction(ctx)
	}
	if errors.Is(err, quill.ErrAbortable) {
		err = producer.AbortTransaction(ctx) // and then read the input again
	}
	fmt.Println(err)
	fmt.Println(cluster.GroupOffsets("shouters")[quilltest.TopicPartition{Topic: "orders"}].Offset)
	// Output:
	// <nil>
	// 1
}
