package quillmock_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest/quillmock"
)

// orderSender is what the code under test needs of a producer.
type orderSender interface {
	SendFunc(ctx context.Context, r quill.Record[string, string], fn quill.Callback)
}

// place is the code under test.
func place(ctx context.Context, p orderSender, order string) {
	p.SendFunc(ctx, quill.Record[string, string]{Topic: "orders", Key: order, Value: "placed"}, func(m quill.RecordMetadata, err error) {
		switch {
		case err == nil:
			fmt.Println(order, "is at offset", m.Offset)
		case errors.Is(err, quill.ErrRetriable):
			fmt.Println(order, "may work later")
		default:
			fmt.Println(order, "failed")
		}
	})
}

// With Manual the test decides when a record has its outcome, and which.
func Example() {
	mock := quillmock.New(quill.String, quill.String, quillmock.Options{Manual: true})
	place(context.Background(), mock, "order-1")
	place(context.Background(), mock, "order-2")
	fmt.Println(mock.Pending(), "records wait")

	mock.CompleteNext()
	mock.ErrorNext(&quill.Error{Op: "send", Topic: "orders", Kind: quill.ErrDeliveryTimeout, Outcome: quill.MaybeWritten})

	for _, sent := range mock.History() {
		fmt.Println(sent.Record.Key, string(sent.Value), sent.Err == nil)
	}
	// Output:
	// 2 records wait
	// order-1 is at offset 0
	// order-2 may work later
	// order-1 placed true
	// order-2 placed false
}

// Without Manual each record is delivered at once.
func ExampleNew() {
	mock := quillmock.New(quill.String, quill.String, quillmock.Options{Partitions: 3})
	m, err := mock.SendSync(context.Background(), quill.Record[string, string]{Topic: "orders", Key: "order-1", Value: "placed"})
	fmt.Println(m.Topic, m.Offset, err)
	// Output: orders 0 <nil>
}

// After Fail, the calls named in Errors fail.
func ExampleProducer_Fail() {
	mock := quillmock.New(quill.String, quill.String, quillmock.Options{})
	mock.Fail(quillmock.Errors{Send: &quill.Error{Op: "send", Topic: "orders", Kind: quill.ErrBufferExhausted}})
	_, err := mock.SendSync(context.Background(), quill.Record[string, string]{Topic: "orders", Value: "placed"})
	fmt.Println(errors.Is(err, quill.ErrBufferExhausted), len(mock.History()))
	// Output: true 0
}
