package quillmock_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/metrics"
	"github.com/quill-kafka/quill/quilltest/quillmock"
	"github.com/stretchr/testify/require"
)

type record = quill.Record[string, string]

func newMock(opts quillmock.Options) *quillmock.Producer[string, string] {
	return quillmock.New(quill.String, quill.String, opts)
}

// sender is what both producers are to code under test.
type sender interface {
	Send(ctx context.Context, r record) quill.Future
	SendFunc(ctx context.Context, r record, fn quill.Callback)
	SendSync(ctx context.Context, r record) (quill.RecordMetadata, error)
	TrySend(r record) bool
	TrySendFunc(r record, fn quill.Callback) bool
	Flush(ctx context.Context) error
	Close(ctx context.Context) error
}

var (
	_ sender = (*quillmock.Producer[string, string])(nil)
	_ sender = (*quill.Producer[string, string])(nil)
)

// TestTheMockHasAllMethodsOfAProducer, so that code under test may ask for any of them.
func TestTheMockHasAllMethodsOfAProducer(t *testing.T) {
	producer, mock := reflect.TypeFor[*quill.Producer[string, string]](), reflect.TypeFor[*quillmock.Producer[string, string]]()
	for m := range producer.Methods() {
		own, ok := mock.MethodByName(m.Name)
		require.True(t, ok, m.Name)
		require.Equal(t, signature(m.Type), signature(own.Type), m.Name)
	}
}

// signature returns a method's without its receiver.
func signature(f reflect.Type) string {
	var types []string
	for i := 1; i < f.NumIn(); i++ {
		types = append(types, f.In(i).String())
	}
	types = append(types, "→")
	for out := range f.Outs() {
		types = append(types, out.String())
	}
	return strings.Join(types, " ")
}

func TestRecordsCompleteAtOnce(t *testing.T) {
	p := newMock(quillmock.Options{Topics: map[string]int{"orders": 2}})
	at := time.UnixMilli(1_700_000_000_123)
	for i := range int64(3) {
		f := p.Send(t.Context(), record{Topic: "orders", Partition: quill.Partition(1), Value: "v", Timestamp: at.Add(time.Microsecond)})
		require.True(t, f.Done())
		m, err := f.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, quill.RecordMetadata{Topic: "orders", Partition: 1, Offset: i, Timestamp: at, KeySize: -1, ValueSize: 1}, m)
	}
	m, err := p.SendSync(t.Context(), record{Topic: "orders", Partition: quill.Partition(0)})
	require.NoError(t, err)
	require.Zero(t, m.Offset, "offsets are counted per partition")
	require.Len(t, p.History(), 4)
	require.True(t, p.TrySend(record{Topic: "orders"}))
	require.False(t, p.TrySend(record{Topic: "others"}))
}

func TestManualCompletionIsInOrder(t *testing.T) {
	p := newMock(quillmock.Options{Manual: true})
	var told []string
	note := func(name string) quill.Callback {
		return func(m quill.RecordMetadata, err error) {
			told = append(told, fmt.Sprint(name, " ", m.Offset, " ", err))
		}
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		p.SendFunc(t.Context(), record{Topic: "orders", Key: "k"}, note(name))
	}
	f := p.Send(t.Context(), record{Topic: "orders", Key: "k"})
	require.Empty(t, told)
	require.Equal(t, 5, p.Pending())
	require.True(t, p.CompleteNext())
	require.True(t, p.ErrorNext(errors.New("lost")))
	require.True(t, p.CompleteNext())
	require.Equal(t, []string{"a 0 <nil>", "b -1 lost", "c 1 <nil>"}, told)
	history := p.History()
	require.True(t, history[1].Done)
	require.EqualError(t, history[1].Err, "lost")
	require.False(t, history[3].Done)
	require.Equal(t, int64(-1), history[3].Metadata.Offset)

	require.False(t, f.Done())
	require.False(t, p.Flushed())
	require.NoError(t, p.Flush(t.Context()))
	require.True(t, f.Done())
	require.True(t, p.Flushed())
	require.Equal(t, "d 2 <nil>", told[3])
	require.False(t, p.CompleteNext())
}

func TestClearForgetsButOffsetsGoOn(t *testing.T) {
	p := newMock(quillmock.Options{})
	p.Send(t.Context(), record{Topic: "orders"})
	p.Fail(quillmock.Errors{Send: errors.New("x")})
	p.Clear()
	require.Empty(t, p.History())
	m, err := p.SendSync(t.Context(), record{Topic: "orders"})
	require.NoError(t, err)
	require.Equal(t, int64(1), m.Offset)
}

func TestPartitioning(t *testing.T) {
	p := newMock(quillmock.Options{Partitions: 6})
	partition := func(r record) int32 {
		r.Topic = "orders"
		m, err := p.SendSync(t.Context(), r)
		require.NoError(t, err)
		return m.Partition
	}
	require.Equal(t, quill.KeyPartition([]byte("ada"), 6), partition(record{Key: "ada"}))
	require.Equal(t, []int32{0, 1, 2}, []int32{partition(record{}), partition(record{}), partition(record{})}, "a key left out is none")
	require.Equal(t, int32(5), partition(record{Key: "ada", Partition: quill.Partition(5)}))
	_, err := p.SendSync(t.Context(), record{Topic: "orders", Partition: quill.Partition(6)})
	require.ErrorIs(t, err, quill.ErrInvalidPartition)

	keeps := quillmock.New(quill.KeepZero(quill.String), quill.String, quillmock.Options{Partitions: 6})
	m, err := keeps.SendSync(t.Context(), record{Topic: "orders"})
	require.NoError(t, err)
	require.Equal(t, quill.KeyPartition([]byte(""), 6), m.Partition, "an empty key is a key if asked for")

	keyless := quillmock.New(quill.Void, quill.String, quillmock.Options{Partitions: 3})
	var turn []int32
	for range 4 {
		m, err := keyless.SendSync(t.Context(), quill.Record[struct{}, string]{Topic: "orders"})
		require.NoError(t, err)
		turn = append(turn, m.Partition)
		require.Equal(t, int32(-1), m.KeySize)
	}
	require.Equal(t, []int32{0, 1, 2, 0}, turn)

	fault := errors.New("no idea")
	custom := newMock(quillmock.Options{Partitions: 3, Partitioner: quill.PartitionerFunc(func(in quill.PartitionInput) (int32, error) {
		require.Len(t, in.Topic.Partitions, 3)
		_, _, known := in.Cluster.Leader(in.Topic.Name, 2)
		require.True(t, known)
		switch string(in.Value) {
		case "bad":
			return 0, fault
		case "wild":
			return 3, nil
		}
		return 2, nil
	})})
	m, err = custom.SendSync(t.Context(), record{Topic: "orders", Key: "ada"})
	require.NoError(t, err)
	require.Equal(t, int32(2), m.Partition)
	_, err = custom.SendSync(t.Context(), record{Topic: "orders", Value: "bad"})
	require.ErrorIs(t, err, quill.ErrPartitioner)
	require.ErrorIs(t, err, fault)
	_, err = custom.SendSync(t.Context(), record{Topic: "orders", Value: "wild"})
	require.ErrorIs(t, err, quill.ErrInvalidPartition)
}

func TestSerializersAreTheRealOnes(t *testing.T) {
	broken := quill.SerializerFunc[int32](func(_ []byte, _ string, h *quill.Headers, v int32) ([]byte, error) {
		h.Add("seen", nil)
		switch v {
		case 1:
			return nil, errors.New("not ones")
		case 2:
			panic("not twos")
		}
		return nil, nil
	})
	p := quillmock.New(quill.Int64, broken, quillmock.Options{})
	headers := quill.Headers{{Key: "own"}}
	send := func(v int32) error {
		_, err := p.SendSync(t.Context(), quill.Record[int64, int32]{Topic: "orders", Key: 7, Value: v, Headers: headers})
		return err
	}
	require.ErrorIs(t, send(1), quill.ErrSerialization)
	require.ErrorIs(t, send(2), quill.ErrSerialization)
	require.NoError(t, send(3))
	require.Len(t, p.History(), 1)
	sent := p.History()[0]
	require.Equal(t, []byte{0, 0, 0, 0, 0, 0, 0, 7}, sent.Key)
	require.Nil(t, sent.Value)
	require.Equal(t, int32(-1), sent.Metadata.ValueSize)
	require.Len(t, sent.Record.Headers, 2)
	require.Len(t, headers, 1)
}

func TestInjectedErrors(t *testing.T) {
	p := newMock(quillmock.Options{Manual: true, Topics: map[string]int{"orders": 2}})
	bad := errors.New("bad")
	p.Fail(quillmock.Errors{Send: bad, Flush: bad, PartitionsFor: bad, Ping: bad, Cluster: bad, Health: bad, Close: bad})
	calls := 0
	p.SendFunc(t.Context(), record{Topic: "orders"}, func(m quill.RecordMetadata, err error) {
		calls++
		require.Equal(t, bad, err)
		require.Equal(t, int64(-1), m.Offset)
	})
	require.Equal(t, 1, calls)
	require.False(t, p.TrySendFunc(record{Topic: "orders"}, func(quill.RecordMetadata, error) { calls++ }))
	require.Equal(t, 1, calls)
	require.Equal(t, bad, p.Flush(t.Context()))
	require.Equal(t, bad, p.Close(t.Context()))
	_, err := p.PartitionsFor(t.Context(), "orders")
	require.Equal(t, bad, err)
	_, err = p.Cluster(t.Context())
	require.Equal(t, bad, err)
	require.Equal(t, bad, p.Ping(t.Context()))
	require.Equal(t, bad, p.Health())
	require.Empty(t, p.History())

	p.Fail(quillmock.Errors{})
	partitions, err := p.PartitionsFor(t.Context(), "orders")
	require.NoError(t, err)
	require.Len(t, partitions, 2)
	_, err = p.PartitionsFor(t.Context(), "others")
	require.ErrorIs(t, err, quill.ErrTimeout)
	cluster, err := p.Cluster(t.Context())
	require.NoError(t, err)
	leader, _, ok := cluster.Leader("orders", 1)
	require.True(t, ok)
	controller, ok := cluster.Controller()
	require.True(t, ok)
	require.Equal(t, leader, controller)
	require.NoError(t, p.Ping(t.Context()))
	require.NoError(t, p.Health())
	require.Empty(t, p.Metrics().ClientID)
	p.SetMetrics(metrics.Snapshot{ClientID: "c"})
	require.Equal(t, "c", p.Metrics().ClientID)
	f := p.Send(t.Context(), record{Topic: "orders"})
	require.False(t, p.Closed())
	require.NoError(t, p.Close(t.Context()))
	require.NoError(t, p.Close(t.Context()))
	require.True(t, p.Closed())
	require.True(t, f.Done(), "Close delivers what is there")
	_, err = p.SendSync(t.Context(), record{Topic: "orders"})
	require.ErrorIs(t, err, quill.ErrClosed)
	_, err = p.PartitionsFor(t.Context(), "orders")
	require.ErrorIs(t, err, quill.ErrClosed)
	_, err = p.Cluster(t.Context())
	require.ErrorIs(t, err, quill.ErrClosed)
	require.ErrorIs(t, p.Ping(t.Context()), quill.ErrClosed)
	require.ErrorIs(t, p.Health(), quill.ErrClosed)
}

func TestEndedContextSendsNothing(t *testing.T) {
	p := newMock(quillmock.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.SendSync(ctx, record{Topic: "orders"})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, p.History())
}

func TestCallbacksMayUseTheProducer(t *testing.T) {
	p := newMock(quillmock.Options{})
	var order []string
	var inner quill.Future
	p.SendFunc(t.Context(), record{Topic: "orders"}, func(quill.RecordMetadata, error) {
		inner = p.Send(t.Context(), record{Topic: "orders"})
		p.SendFunc(t.Context(), record{Topic: "orders"}, func(quill.RecordMetadata, error) { order = append(order, "inner") })
		require.ErrorIs(t, p.Flush(t.Context()), quill.ErrInCallback)
		_, err := p.SendSync(t.Context(), record{Topic: "orders"})
		require.ErrorIs(t, err, quill.ErrInCallback)
		order = append(order, "outer")
	})
	require.Equal(t, []string{"outer", "inner"}, order)
	require.True(t, inner.Done())
	require.Len(t, p.History(), 4)

	require.PanicsWithValue(t, "oops", func() {
		p.SendFunc(t.Context(), record{Topic: "orders"}, func(quill.RecordMetadata, error) { panic("oops") })
	})
	require.True(t, p.Send(t.Context(), record{Topic: "orders"}).Done(), "a panic stops nothing but its own call")
}

func TestConcurrentSendsKeepTheirOrder(t *testing.T) {
	p := newMock(quillmock.Options{Partitions: 4})
	last := make(map[int32]int64) // callbacks never run two at a time
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				p.SendFunc(t.Context(), record{Topic: "orders", Key: fmt.Sprint(i)}, func(m quill.RecordMetadata, err error) {
					if m.Offset != last[m.Partition] || err != nil {
						t.Errorf("partition %d: offset %d after %d, %v", m.Partition, m.Offset, last[m.Partition]-1, err)
					}
					last[m.Partition]++
				})
			}
		})
	}
	wg.Wait()
	require.NoError(t, p.Flush(t.Context()))
	require.Len(t, p.History(), 1600)
	require.Zero(t, p.Pending())
}

func TestSendAllAndWaitInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newMock(quillmock.Options{Manual: true})
		done := make(chan []int64)
		go func() {
			var offsets []int64
			for m, err := range p.SendAll(t.Context(), slices.Values([]record{{Topic: "a"}, {Topic: "a"}, {Topic: "b"}})) {
				if err == nil {
					offsets = append(offsets, m.Offset)
				}
			}
			done <- offsets
		}()
		synctest.Wait()
		require.Equal(t, 3, p.Pending())
		p.CompleteNext()
		p.ErrorNext(errors.New("x"))
		p.CompleteNext()
		require.Equal(t, []int64{0, 0}, <-done)
	})
}
