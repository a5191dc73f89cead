package quill_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/quilltest/quillmock"
)

func ExampleHeaders() {
	var h quill.Headers
	h.Add("trace", []byte("1"))
	h.Add("source", []byte("shop"))
	h.Add("trace", []byte("2"))

	last, _ := h.Last("trace")
	fmt.Printf("%s\n", last.Value)
	for e := range h.All("trace") {
		fmt.Printf("%s=%s ", e.Key, e.Value)
	}
	h.Remove("trace")
	fmt.Println(len(h))
	// Output:
	// 2
	// trace=1 trace=2 1
}

func ExampleJSON() {
	type Order struct {
		ID int `json:"id"`
	}
	value, _ := quill.JSON[Order]().Serialize(nil, "orders", nil, Order{ID: 7})
	fmt.Printf("%s\n", value)

	// With a pointer type a nil is null: a tombstone.
	value, _ = quill.JSON[*Order]().Serialize(nil, "orders", nil, nil)
	fmt.Println(value == nil)
	// Output:
	// {"id":7}
	// true
}

func ExampleNullable() {
	s := quill.Nullable(quill.String)
	empty := ""
	tombstone, _ := s.Serialize(nil, "users", nil, nil)
	value, _ := s.Serialize(nil, "users", nil, &empty)
	fmt.Println(tombstone == nil, value == nil)
	// Output: true false
}

// A serializer appends to the memory it is given, and may add headers.
func ExampleSerializerFunc() {
	type Celsius float64
	s := quill.SerializerFunc[Celsius](func(dst []byte, _ string, headers *quill.Headers, v Celsius) ([]byte, error) {
		headers.Add("unit", []byte("°C"))
		return fmt.Appendf(dst, "%.1f", v), nil
	})
	var headers quill.Headers
	value, _ := s.Serialize(nil, "weather", &headers, 21.55)
	fmt.Printf("%s %s\n", value, headers[0].Value)
	// Output: 21.6 °C
}

func ExampleKeyPartition() {
	fmt.Println(quill.KeyPartition([]byte("order-17"), 12))
	// Output: 9
}

// A partitioner that keeps the first partition for urgent records.
func ExamplePartitionerFunc() {
	p := quill.PartitionerFunc(func(in quill.PartitionInput) (int32, error) {
		if _, urgent := in.Headers.Last("urgent"); urgent {
			return 0, nil
		}
		others := len(in.Topic.Partitions) - 1
		if in.Key == nil { // KeyPartition would send all of these to one partition
			return 1 + rand.Int32N(int32(others)), nil
		}
		return 1 + quill.KeyPartition(in.Key, others), nil
	})
	in := quill.PartitionInput{
		Topic: &metadata.Topic{Name: "orders", Partitions: make([]metadata.Partition, 13)},
		Key:   []byte("order-17"),
	}
	fmt.Println(p.Partition(in))
	in.Headers.Add("urgent", nil)
	fmt.Println(p.Partition(in))
	// Output:
	// 10 <nil>
	// 0 <nil>
}

func ExampleRoundRobinPartitioner() {
	orders := &metadata.Topic{Name: "orders", Partitions: []metadata.Partition{
		{Index: 0, Leader: 1}, {Index: 1, Leader: metadata.NoLeader}, {Index: 2, Leader: 3},
	}}
	var p quill.RoundRobinPartitioner
	for range 4 {
		partition, _ := p.Partition(quill.PartitionInput{Topic: orders})
		fmt.Print(partition, " ")
	}
	// Output: 0 2 0 2
}

// tracer marks each record and counts the outcomes.
type tracer struct{ sent, failed int }

func (t *tracer) OnSend(_ context.Context, r quill.Record[string, string]) (quill.Record[string, string], error) {
	r.Headers.Add("trace", []byte("4711"))
	return r, nil
}

func (t *tracer) OnAcknowledgement(_ quill.RecordMetadata, _ quill.Headers, err error) {
	if err != nil {
		t.failed++
		return
	}
	t.sent++
}

// The compiler checks that OnAcknowledgement is as it has to be; otherwise it would never be called.
var _ quill.AcknowledgementInterceptor = (*tracer)(nil)

// An interceptor is given to New; it may implement OnAcknowledgement as well.
func ExampleInterceptor() {
	var i quill.Interceptor[string, string] = new(tracer)
	r, _ := i.OnSend(context.Background(), quill.Record[string, string]{Topic: "orders", Value: "v"})
	fmt.Printf("%s=%s\n", r.Headers[0].Key, r.Headers[0].Value)
	_, wantsMore := i.(quill.AcknowledgementInterceptor)
	fmt.Println(wantsMore)
	// Output:
	// trace=4711
	// true
}

// With KeepZero an empty key is a key, of size 0; without it there is none, and the size is -1.
func ExampleKeepZero() {
	p := quillmock.New(quill.KeepZero(quill.String), quill.String, quillmock.Options{})
	m, err := p.SendSync(context.Background(), quill.Record[string, string]{Topic: "orders", Value: "tea"})
	fmt.Println(m.KeySize, err)

	p = quillmock.New(quill.String, quill.String, quillmock.Options{})
	m, err = p.SendSync(context.Background(), quill.Record[string, string]{Topic: "orders", Value: "tea"})
	fmt.Println(m.KeySize, err)
	// Output:
	// 0 <nil>
	// -1 <nil>
}
