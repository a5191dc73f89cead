package send_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

func TestSendLingersAndSendSyncDoesNot(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger = time.Second
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		testkit.Within(t, time.Second, time.Second, func() {
			_, err := p.Send(t.Context(), testkit.Rec("t", "k", "a")).Wait(t.Context())
			require.NoError(t, err)
		})
		together := p.Send(t.Context(), testkit.Rec("t", "k", "b"))
		testkit.Within(t, 0, time.Millisecond, func() {
			m, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "c"))
			require.NoError(t, err)
			require.EqualValues(t, 3, m.Offset)
		})
		require.True(t, together.Done(), "what is in the same batch goes with it")
		records := testkit.Logged(t, c, "t", 2)
		require.Equal(t, records[2].Batch, records[3].Batch)
		testkit.CloseProducer(t, p)
	})
}

func TestSendSyncStopsWaitingWithItsContext(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		testkit.Known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Delay: 5 * time.Second})
		testkit.Within(t, time.Second, time.Second, func() {
			m, err := p.SendSync(testkit.After(t, time.Second), testkit.Rec("t", "k", "v"))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, "t", m.Topic)
			require.EqualValues(t, 2, m.Partition)
			require.EqualValues(t, -1, m.Offset)
		})
		testkit.CloseProducer(t, p)
		require.Len(t, testkit.Logged(t, c, "t", 2), 2, "the record is delivered all the same")
	})
}

func TestFutureTellsAgainAndAgain(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{LogAppendTime: true})
		p := testkit.Open(t, testkit.Config(c))
		testkit.Known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Delay: 5 * time.Second})
		f := p.Send(t.Context(), quill.Record[string, string]{Topic: "t", Key: "k", Value: "value", Timestamp: time.Unix(1000, 0)})
		require.False(t, f.Done())
		testkit.Within(t, time.Second, time.Second, func() {
			_, err := f.Wait(testkit.After(t, time.Second))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		first, err := f.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, quill.RecordMetadata{Topic: "t", Partition: 2, Offset: 1, Timestamp: first.Timestamp, KeySize: 1, ValueSize: 5}, first)
		require.True(t, first.Timestamp.Equal(time.Now()), "the broker's time")
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if m, err := f.Wait(t.Context()); err != nil || m != first || !f.Done() {
					t.Error(m, err)
				}
			})
		}
		wg.Wait()
		testkit.CloseProducer(t, p)
		again, err := f.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, first, again)
	})
}

func TestRecordIsTheCallersAgainAfterSend(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p, err := quill.New(testkit.Config(c), quill.Bytes, quill.Bytes)
		require.NoError(t, err)
		key, value := []byte("key"), []byte("value")
		headers := quill.Headers{{Key: "h", Value: []byte("header")}}
		p.Send(t.Context(), quill.Record[[]byte, []byte]{Topic: "t", Key: key, Value: value, Headers: headers})
		clear(key)
		clear(value)
		clear(headers[0].Value)
		headers[0].Key = "x"
		testkit.CloseProducer(t, p)
		got := testkit.Logged(t, c, "t", 0)
		require.Len(t, got, 1)
		require.Equal(t, "key", string(got[0].Key))
		require.Equal(t, "value", string(got[0].Value))
		require.Equal(t, []protocol.Header{{Key: "h", Value: []byte("header")}}, got[0].Headers)
	})
}

func TestNullAndEmptyPartsReachTheLog(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p, err := quill.New(testkit.Config(c), quill.Bytes, quill.Bytes)
		require.NoError(t, err)
		m, err := p.SendSync(t.Context(), quill.Record[[]byte, []byte]{Topic: "t"})
		require.NoError(t, err)
		require.EqualValues(t, -1, m.KeySize)
		require.EqualValues(t, -1, m.ValueSize)
		m, err = p.SendSync(t.Context(), quill.Record[[]byte, []byte]{Topic: "t", Key: []byte{}, Value: []byte{}})
		require.NoError(t, err)
		require.Zero(t, m.KeySize)
		require.Zero(t, m.ValueSize)
		testkit.CloseProducer(t, p)
		got := testkit.Logged(t, c, "t", 0)
		require.Nil(t, got[0].Key)
		require.Nil(t, got[0].Value)
		require.NotNil(t, got[1].Key)
		require.NotNil(t, got[1].Value)
	})
}

func TestTrySendNeverWaits(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.BufferMemory, cfg.BatchSize = 4096, 1024
		seen := &testkit.Acknowledged{}
		p, err := quill.New(cfg, quill.String, quill.String, quill.Interceptor[string, string](seen))
		require.NoError(t, err)
		testkit.Within(t, 0, 0, func() { require.False(t, p.TrySend(testkit.Rec("t", "k", "v")), "the topic is not known") })
		require.ErrorIs(t, seen.Take(t).Err, quill.ErrWouldBlock)
		time.Sleep(time.Second)
		testkit.Within(t, 0, 0, func() { require.True(t, p.TrySend(testkit.Rec("t", "k", "v")), "it was asked for") })
		time.Sleep(time.Second)
		require.NoError(t, seen.Take(t).Err)

		testkit.PauseAll(t, c)
		var f testkit.Outcomes
		n := 0
		for p.TrySendFunc(testkit.Rec("t", "k", strings.Repeat("x", 900)), f.Callback) {
			n++
		}
		require.Equal(t, 4, n)
		err = seen.Take(t).Err
		require.ErrorIs(t, err, quill.ErrWouldBlock)
		require.ErrorIs(t, err, quill.ErrRetriable)
		testkit.ResumeAll(t, c)
		require.NoError(t, p.Flush(t.Context()))
		delivered, failed := f.Count()
		require.Equal(t, 4, delivered)
		require.Zero(t, failed)
		require.True(t, p.TrySend(testkit.Rec("t", "k", "v")), "memory is back")
		testkit.CloseProducer(t, p)
	})
}

func TestSendAllYieldsInOrder(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger, cfg.DeliveryTimeout = time.Minute, time.Hour
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		const n = 20000
		got, read, ahead := 0, 0, 0
		testkit.Within(t, 0, 500*time.Millisecond, func() { // the last batches don't linger
			for m, err := range p.SendAll(t.Context(), testkit.Numbered("t", n, &read)) {
				require.NoError(t, err)
				key := fmt.Sprint(got)
				if m.Partition != quill.KeyPartition([]byte(key), 6) || int(m.ValueSize) != len(key) {
					require.Fail(t, "out of order", "%d: %+v", got, m)
				}
				ahead = max(ahead, read-got)
				got++
			}
		})
		require.Equal(t, n, got)
		require.LessOrEqual(t, ahead, 8192)
		require.Greater(t, ahead, 100, "it sends ahead")
		testkit.CloseProducer(t, p)
		require.EqualValues(t, n+1, c.Appended("t"))
	})
}

func TestSendAllStopsReadingWhenTheLoopEnds(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		read, got := 0, 0
		for _, err := range p.SendAll(t.Context(), testkit.Numbered("t", 100000, &read)) {
			require.NoError(t, err)
			if got++; got == 10 {
				break
			}
		}
		require.Equal(t, 10, got)
		require.Less(t, read, 10000)
		testkit.CloseProducer(t, p)
		require.EqualValues(t, read, c.Appended("t"), "what was sent is delivered")
	})
}

func TestSendAllTellsFailuresInTheirPlace(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		records := func(yield func(quill.Record[string, string]) bool) {
			_ = yield(testkit.Rec("t", "k", "a")) && yield(testkit.Rec("not a topic", "k", "b")) && yield(testkit.Rec("t", "k", "c"))
		}
		var told []string
		for m, err := range p.SendAll(t.Context(), records) {
			told = append(told, fmt.Sprint(m.Topic, m.Offset, errors.Is(err, quill.ErrInvalidTopic)))
		}
		require.Equal(t, []string{"t0 false", "not a topic-1 true", "t1 false"}, told)
		for range p.SendAll(t.Context(), func(func(quill.Record[string, string]) bool) {}) {
			require.Fail(t, "there is nothing to tell")
		}
		testkit.CloseProducer(t, p)
	})
}

func TestSendAllEndsWithItsContext(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		testkit.Known(t, p, "t")
		testkit.PauseAll(t, c)
		read, failed := 0, 0
		testkit.Within(t, time.Second, time.Second, func() {
			for _, err := range p.SendAll(testkit.After(t, time.Second), testkit.Numbered("t", 100, &read)) {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				failed++
			}
		})
		require.Equal(t, 100, failed)
		testkit.ResumeAll(t, c)
		testkit.CloseProducer(t, p)
		require.EqualValues(t, 101, c.Appended("t"))
	})
}

func TestContextEndsTheWaitForMetadata(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		testkit.Within(t, time.Second, time.Second, func() {
			_, err := p.Send(testkit.After(t, time.Second), testkit.Rec("missing", "k", "v")).Wait(t.Context())
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, protocol.UnknownTopicOrPartition)
			testkit.CheckNotSent(t, err, "missing", -1)
		})
		testkit.Within(t, 0, 0, func() {
			_, err := p.Send(testkit.Ended(testkit.ErrOwn), testkit.Rec("missing", "k", "v")).Wait(t.Context())
			require.ErrorIs(t, err, testkit.ErrOwn)
			testkit.CheckNotSent(t, err, "missing", -1)
		})
		testkit.CloseProducer(t, p)
	})
}

// tight returns a producer with memory for four records of 900 bytes, and a topic with one partition.
func tight(t *testing.T, c *quilltest.Cluster, change func(*quill.Config)) *quill.Producer[string, string] {
	c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
	cfg := testkit.Config(c)
	cfg.BufferMemory, cfg.BatchSize = 4096, 1024
	if change != nil {
		change(&cfg)
	}
	p := testkit.Open(t, cfg)
	testkit.Known(t, p, "t")
	return p
}

var big = strings.Repeat("x", 900)

func fill(t *testing.T, p *quill.Producer[string, string]) {
	t.Helper()
	for range 4 {
		require.True(t, p.TrySend(testkit.Rec("t", "k", big)))
	}
	require.False(t, p.TrySend(testkit.Rec("t", "k", big)))
}

func TestContextEndsTheWaitForMemory(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		p := tight(t, c, nil)
		testkit.PauseAll(t, c)
		fill(t, p)
		testkit.Within(t, time.Second, time.Second, func() {
			_, err := p.Send(testkit.After(t, time.Second), testkit.Rec("t", "k", big)).Wait(t.Context())
			require.ErrorIs(t, err, context.DeadlineExceeded)
			testkit.CheckNotSent(t, err, "t", 0)
		})
		testkit.ResumeAll(t, c)
		testkit.CloseProducer(t, p)
		require.EqualValues(t, 5, c.Appended("t"))
		require.EqualValues(t, 4096, testkit.FreeMemory(p))
	})
}

func TestMaxBlockIsSharedByMetadataAndMemory(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		p := tight(t, c, testkit.BlockConfig(10*time.Second))
		refused := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.NotEnoughReplicas, Times: -1})
		fill(t, p)
		go func() {
			time.Sleep(6 * time.Second)
			c.MustCreateTopic("late", 1, quilltest.TopicConfig{})
		}()
		testkit.Within(t, 10*time.Second, 10*time.Second, func() {
			_, err := p.Send(t.Context(), testkit.Rec("late", "k", big)).Wait(t.Context())
			require.ErrorIs(t, err, quill.ErrBufferExhausted)
			require.ErrorIs(t, err, quill.ErrTimeout)
			testkit.CheckNotSent(t, err, "late", 0)
		})
		refused.Remove()
		testkit.CloseProducer(t, p)
	})
}

func TestMaxBlockNoneNeverWaits(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.MaxBlock = -1
		p := testkit.Open(t, cfg)
		testkit.Within(t, 0, 0, func() {
			_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
			require.ErrorIs(t, err, quill.ErrTimeout)
		})
		time.Sleep(time.Second)
		_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
		require.NoError(t, err, "the first one asked")
		testkit.CloseProducer(t, p)
	})
}

// Deviation 2 of the list: Java sits the linger out.
func TestSenderWaitingForMemoryCutsLingers(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 20, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger, cfg.DeliveryTimeout = time.Hour, 2*time.Hour
		cfg.BufferMemory, cfg.BatchSize = 16*1024, 1024
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		n := int32(0)
		for p.TrySend(testkit.OnPartition(n, testkit.Rec("t", "k", "v"))) { // nearly empty batches
			n++
		}
		testkit.Within(t, 0, 10*time.Millisecond, func() {
			f := p.Send(t.Context(), testkit.OnPartition(n, testkit.Rec("t", "k", "v")))
			require.False(t, f.Done())
		})
		testkit.CloseProducer(t, p)
	})
}

func TestCallbacksOfAPartitionRunInOrderBeforeItsFutures(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.BatchSize = 256
		p := testkit.Open(t, cfg)
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.NotLeaderOrFollower, Skip: 1, Times: 3})
		var mu sync.Mutex
		next := map[int32]int64{}
		ran := 0
		for i := range 300 {
			p.SendFunc(t.Context(), testkit.OnPartition(int32(i%3), testkit.Rec("t", "k", fmt.Sprint(i))), func(m quill.RecordMetadata, err error) {
				mu.Lock()
				defer mu.Unlock()
				ran++
				if err != nil || m.Offset != next[m.Partition] {
					t.Error(m, err, next)
				}
				next[m.Partition]++
			})
			if i%10 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, 300, ran, "Flush comes after the callbacks")
		called := false
		p.SendFunc(t.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "slow")), func(quill.RecordMetadata, error) {
			time.Sleep(time.Second)
			called = true
		})
		_, err := p.Send(t.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "v"))).Wait(t.Context())
		require.NoError(t, err)
		require.True(t, called, "the futures of a batch are released after its callbacks")
		testkit.CloseProducer(t, p)
	})
}

func TestPanickingCallbackIsLoggedAndHarmless(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		var log testkit.LogText
		cfg := testkit.Config(c)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		p := testkit.Open(t, cfg)
		var f testkit.Outcomes
		for i := range 10 {
			callback := f.Callback
			if i == 4 {
				callback = func(quill.RecordMetadata, error) { panic("own panic") }
			}
			p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), callback)
		}
		p.SendFunc(t.Context(), testkit.Rec("no topic", "k", "v"), func(quill.RecordMetadata, error) { panic("in Send") })
		require.NoError(t, p.Flush(t.Context()))
		delivered, failed := f.Count()
		require.Equal(t, 9, delivered)
		require.Zero(t, failed)
		require.Equal(t, 2, strings.Count(log.String(), "callback panicked"))
		require.Contains(t, log.String(), "own panic")
		require.Contains(t, log.String(), "in Send")
		testkit.CloseProducer(t, p)
	})
}

func TestSendInACallbackWorksAsLongAsItNeedNotWait(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		p := tight(t, c, nil)
		var chain atomic.Int32
		var again quill.Callback
		again = func(_ quill.RecordMetadata, err error) {
			if err != nil {
				t.Error(err)
			}
			if n := chain.Add(1); n < 10 {
				p.SendFunc(t.Context(), testkit.Rec("t", "k", fmt.Sprint(n)), again)
			}
		}
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "0"), again)
		time.Sleep(time.Second)
		require.EqualValues(t, 10, chain.Load())

		told := make(chan error, 10)
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) {
			for range 5 { // the callback's own batch holds a quarter of the memory
				f := p.Send(t.Context(), testkit.Rec("t", "k", big))
				if !f.Done() {
					told <- nil
					continue
				}
				_, err := f.Wait(t.Context())
				told <- err
			}
			_, err := p.Send(t.Context(), testkit.Rec("unknown", "k", "v")).Wait(t.Context())
			told <- err
			_, err = p.PartitionsFor(t.Context(), "unknown")
			told <- err
			_, err = p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
			told <- err
		})
		testkit.Within(t, 0, 10*time.Millisecond, func() {
			for range 3 {
				require.NoError(t, <-told)
			}
			for range 5 {
				require.ErrorIs(t, <-told, quill.ErrInCallback)
			}
		})
		testkit.CloseProducer(t, p)
	})
}

func TestSendSyncInACallbackIsRefusedButSent(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		told := make(chan error, 1)
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) {
			_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "inner"))
			told <- err
		})
		err := <-told
		require.ErrorIs(t, err, quill.ErrInCallback)
		e, ok := errors.AsType[*quill.Error](err)
		require.True(t, ok)
		require.Equal(t, quill.MaybeWritten, e.Outcome)
		testkit.CloseProducer(t, p)
		require.Len(t, testkit.Logged(t, c, "t", 0), 2)
	})
}

// C13
func TestFlushInACallbackIsRefused(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		told := make(chan error, 2)
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) { told <- p.Flush(t.Context()) })
		require.ErrorIs(t, <-told, quill.ErrInCallback)
		// A callback that runs in Send itself is no such place.
		p.SendFunc(t.Context(), testkit.Rec("no topic", "k", "v"), func(quill.RecordMetadata, error) { told <- p.Flush(t.Context()) })
		require.NoError(t, <-told)
		testkit.CloseProducer(t, p)
	})
}

func TestPartitionsForTellsLeadersAndReplicas(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.MaxBlock = 2 * time.Second
		p := testkit.Open(t, cfg)
		got, err := p.PartitionsFor(t.Context(), "t")
		require.NoError(t, err)
		require.Len(t, got, 3)
		for i, part := range got {
			leader, epoch, err := c.Leader("t", int32(i))
			require.NoError(t, err)
			require.EqualValues(t, i, part.Index)
			require.Equal(t, leader, part.Leader)
			require.Equal(t, epoch, part.LeaderEpoch)
			require.Len(t, part.Replicas, 3)
		}
		got[0].Leader = 99 // a copy
		again, err := p.PartitionsFor(t.Context(), "t")
		require.NoError(t, err)
		require.EqualValues(t, 1, again[0].Leader)
		_, err = p.PartitionsFor(t.Context(), "")
		require.ErrorIs(t, err, quill.ErrInvalidTopic)
		testkit.Within(t, 2*time.Second, 2*time.Second, func() {
			_, err = p.PartitionsFor(t.Context(), "missing")
			require.ErrorIs(t, err, quill.ErrTimeout)
			require.ErrorIs(t, err, protocol.UnknownTopicOrPartition)
		})
		testkit.CloseProducer(t, p)
	})
}

func TestShareIsAViewOfTheSameProducer(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger = time.Second
		p := testkit.Open(t, cfg)
		value, tap := &testkit.ClosingSerializer{}, &testkit.Closer{}
		view, err := quill.Share(p, quill.Int32, value)
		require.NoError(t, err)
		other, err := quill.Share(view, quill.String, quill.String, quill.Interceptor[string, string](tap))
		require.NoError(t, err)
		a := p.Send(t.Context(), testkit.Rec("t", "k", "a"))
		b := view.Send(t.Context(), quill.Record[int32, string]{Topic: "t", Key: 7, Value: "b"})
		testkit.Within(t, 0, 10*time.Millisecond, func() { require.NoError(t, view.Close(t.Context())) })
		require.True(t, a.Done())
		require.True(t, b.Done())
		require.EqualValues(t, 1, value.Closed.Load())
		require.NoError(t, view.Close(t.Context()))
		require.EqualValues(t, 1, value.Closed.Load())
		last := other.Send(t.Context(), testkit.Rec("t", "k", "c"))
		testkit.CloseProducer(t, p)
		require.True(t, last.Done())
		_, err = other.SendSync(t.Context(), testkit.Rec("t", "k", "d"))
		require.ErrorIs(t, err, quill.ErrClosed)
		require.NoError(t, other.Close(t.Context()))
		require.EqualValues(t, 1, tap.Closed.Load())

		got := testkit.Logged(t, c, "t", 0)
		require.Len(t, got, 3)
		require.Equal(t, got[0].Batch, got[1].Batch, "one buffer")
		require.Equal(t, got[0].ProducerID, got[2].ProducerID)
		require.True(t, bytes.Equal([]byte{0, 0, 0, 7}, got[1].Key))
	})
}

func TestCallbackMayBeNil(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		testkit.Known(t, p, "t")
		require.True(t, p.TrySendFunc(testkit.Rec("t", "k", "v"), nil))
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), nil)
		p.SendFunc(t.Context(), testkit.Rec("no topic", "k", "v"), nil)
		synctest.Wait()
		testkit.CloseProducer(t, p)
		require.Len(t, testkit.Logged(t, c, "t", 0), 3)
	})
}
