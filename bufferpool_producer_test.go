package quill_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
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

// How much memory a producer takes at worst. The cases carry numbers, M1 to M12; internal/lint sees to
// it that each has a test. Limits on the heap are for what is live, after a collection, beyond what
// was there before the producer; they hold for a buffer.memory of 32 MiB, Kafka's default. The
// resident size of a whole process is looked at in integration.

// heapLimit returns what the heap may grow by: factor times the buffer, and 16 MiB.
func heapLimit(factor float64) uint64 { return uint64(factor*testkit.Buffer) + 16*testkit.Megabyte }

// growth returns how much the heap grew beyond base.
func growth(base uint64) uint64 {
	now := testkit.HeapInUse()
	return now - min(now, base)
}

// M1: ten minutes in which every node is a black hole, 64 goroutines that send all the time.
func TestABlackHoleHoldsNoMoreThanTheBuffer(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Retain: -1, RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
		base := testkit.HeapInUse()
		p := testkit.Open(t, testkit.Config(c))
		testkit.Known(t, p, "t")
		testkit.CutOffAll(c)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var accepted, told, exhausted atomic.Int64
		value := strings.Repeat("x", 1024)
		var wg sync.WaitGroup
		for g := range 64 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					accepted.Add(1)
					p.SendFunc(ctx, testkit.OnPartition(int32((g+i)%6), testkit.Rec("t", "", value)), func(_ quill.RecordMetadata, err error) {
						told.Add(1)
						switch {
						case err == nil, errors.Is(err, quill.ErrDeliveryTimeout), errors.Is(err, context.DeadlineExceeded):
						case errors.Is(err, quill.ErrBufferExhausted):
							exhausted.Add(1)
						default:
							t.Error(err)
						}
					})
				}
			})
		}
		for minute := 0; ctx.Err() == nil; minute++ {
			for range 60 {
				require.GreaterOrEqual(t, p.BufferAvailable(), int64(0))
				time.Sleep(time.Second)
			}
			require.Less(t, growth(base), heapLimit(1.3), "after %d minutes", minute)
		}
		wg.Wait()
		require.GreaterOrEqual(t, exhausted.Load(), int64(64), "the buffer was full")
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.ResumeNode(id))
		}
		testkit.CloseProducer(t, p)
		require.Equal(t, accepted.Load(), told.Load())
		require.EqualValues(t, testkit.Buffer, p.BufferAvailable())
	})
}

// M2: small records, each with a callback of its own, fill the buffer.
func TestBookkeepingOfSmallRecordsIsBounded(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Retain: -1, RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
		base := testkit.HeapInUse()
		p := testkit.Open(t, testkit.Config(c))
		testkit.Known(t, p, "t")
		testkit.PauseAll(t, c)
		value := strings.Repeat("x", 100)
		sent, told := 0, atomic.Int64{}
		for p.TrySendFunc(testkit.Rec("t", fmt.Sprint(sent%1000), value), func(_ quill.RecordMetadata, err error) {
			if err == nil && sent > 0 {
				told.Add(1)
			}
		}) {
			sent++
		}
		require.Greater(t, sent, 40_000)
		require.Less(t, growth(base), heapLimit(2.2), "%d records", sent)
		t.Logf("%d records of %d bytes: %d bytes of heap for each", sent, len(value), growth(base)/uint64(sent))
		testkit.ResumeAll(t, c)
		testkit.CloseProducer(t, p)
		require.EqualValues(t, sent, told.Load())
	})
}

// M3: each codec under load. What it needs for itself is pooled, and does not grow.
func TestCodecsTakeLittleAndDoNotGrow(t *testing.T) {
	for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionGzip, quill.CompressionSnappy, quill.CompressionLZ4, quill.CompressionZstd} {
		t.Run(codec.String(), func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{Retain: -1, RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
				base := testkit.HeapInUse()
				cfg := testkit.Config(c)
				cfg.Compression, cfg.BufferMemory = codec, testkit.Megabyte
				p := testkit.Open(t, cfg)
				testkit.Known(t, p, "t")
				rnd := rand.New(rand.NewPCG(1, 1))
				text := words(rnd, 100_000)
				early, late := uint64(0), uint64(math.MaxUint64) // the most at first, the least afterwards
				for round := range 8 {
					testkit.PauseAll(t, c)
					for i := 0; p.TrySend(testkit.OnPartition(int32(i%6), testkit.Rec("t", "", text[rnd.IntN(len(text)-1000):][:1000]))); i++ {
					}
					runtime.GC()
					var full runtime.MemStats // what pools hold included
					runtime.ReadMemStats(&full)
					require.Less(t, full.HeapAlloc, base+uint64(cfg.BufferMemory)+16*testkit.Megabyte, "round %d", round)
					testkit.ResumeAll(t, c)
					require.NoError(t, p.Flush(t.Context()))
					if now := growth(base); round < 4 {
						early = max(early, now)
					} else {
						late = min(late, now)
					}
				}
				require.Less(t, late, early+2*testkit.Megabyte)
				testkit.CloseProducer(t, p)
				require.EqualValues(t, cfg.BufferMemory, p.BufferAvailable())
			})
		})
	}
}

// words returns n bytes of text that compresses well.
func words(rnd *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "word-%d ", rnd.IntN(5000))
	}
	return b.String()[:n]
}

// M4: records fail faster than their callbacks run. Senders are slowed down; outcomes do not pile up.
func TestFailuresDoNotPileUpBehindSlowCallbacks(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic(anyTopic, 6, quilltest.TopicConfig{})
		refuse(protocol.Produce, protocol.TopicAuthorizationFailed)(c)
		cfg := testkit.Config(c)
		cfg.BufferMemory, cfg.BatchSize, cfg.MaxBlock = 256<<10, 4096, time.Hour
		p := testkit.Open(t, cfg)
		_, err := p.PartitionsFor(t.Context(), "t")
		require.NoError(t, err)
		base := testkit.HeapInUse()
		const n = 10_000
		var told atomic.Int64
		var most int64
		value := strings.Repeat("x", 100)
		for i := range int64(n) {
			p.SendFunc(t.Context(), testkit.OnPartition(int32(i%6), testkit.Rec("t", "", value)), func(_ quill.RecordMetadata, err error) {
				if !errors.Is(err, protocol.TopicAuthorizationFailed) {
					t.Error(err)
				}
				told.Add(1)
				time.Sleep(time.Millisecond)
			})
			most = max(most, i+1-told.Load())
			if i%5000 == 4999 {
				require.Less(t, growth(base), uint64(2*testkit.Megabyte)) // the buffer 2.2 times, and some
			}
		}
		require.LessOrEqual(t, most, int64(256<<10/100), "records without an outcome that was told")
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.NoError(t, p.Close(ctx))
		require.EqualValues(t, n, told.Load())
	})
}

// M5: many partitions with one record each take a chunk each, and never more than the buffer.
func TestManyPartitionsStayInsideTheBuffer(t *testing.T) {
	const partitions = 10_000
	testkit.Bubble(t, quilltest.Options{Retain: -1, RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", partitions, quilltest.TopicConfig{})
		for _, memory := range []int64{256 * testkit.Megabyte, 4 * testkit.Megabyte} {
			cfg := testkit.Config(c)
			cfg.Linger, cfg.DeliveryTimeout, cfg.BufferMemory, cfg.BatchSize = time.Hour, 2*time.Hour, memory, 2048
			p := testkit.Open(t, cfg)
			_, err := p.PartitionsFor(t.Context(), "t")
			require.NoError(t, err)
			base := testkit.HeapInUse()
			least := memory
			for i := range int32(partitions) {
				p.SendFunc(t.Context(), testkit.OnPartition(i, testkit.Rec("t", "k", "v")), func(_ quill.RecordMetadata, err error) {
					if err != nil {
						t.Error(err)
					}
				})
				least = min(least, p.BufferAvailable())
			}
			require.GreaterOrEqual(t, least, int64(0))
			require.LessOrEqual(t, memory-least, int64(partitions*(2048+1024)))
			require.Less(t, growth(base), uint64(partitions*(2048+1024)))
			testkit.CloseProducer(t, p)
			require.Equal(t, memory, p.BufferAvailable())
		}
		require.EqualValues(t, 2*partitions, c.Appended("t"))
	})
}

// M7: topics that were sent to once and not again for metadata.max.idle.ms are forgotten altogether,
// and sent to again as if for the first time: no record is lost or taken for one of before.
func TestTopicsUsedOnceLeaveNothing(t *testing.T) {
	const topics = 3000
	testkit.Bubble(t, quilltest.Options{RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
		for i := range topics {
			c.MustCreateTopic(fmt.Sprint("topic-", i), 1, quilltest.TopicConfig{})
		}
		cfg := testkit.Config(c)
		cfg.MetadataMaxIdle, cfg.MetadataMaxAge, cfg.BatchSize = time.Minute, 30*time.Second, 1024
		p, err := quill.New(cfg, quill.String, quill.String)
		require.NoError(t, err)
		t.Cleanup(func() {
			if p != nil { // not GiveUpIfFailed, which would hold on to it
				_ = p.Close(testkit.Ended(context.Canceled))
			}
		})
		var wg sync.WaitGroup
		for g := range 100 {
			wg.Go(func() {
				for i := g; i < topics; i += 100 {
					if _, err := p.SendSync(t.Context(), testkit.Rec(fmt.Sprint("topic-", i), "k", "first")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		known := testkit.HeapInUse()
		time.Sleep(3 * time.Minute)
		_, err = p.SendSync(t.Context(), testkit.Rec("topic-0", "k", "second"))
		require.NoError(t, err)
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.Disconnect(id)) // connections have buffers of their own
		}
		synctest.Wait()
		idle := testkit.HeapInUse()
		for i := 1; i < 20; i++ {
			topic := fmt.Sprint("topic-", i)
			for j := range int64(3) {
				require.Equal(t, 1+j, testkit.SendOK(t, p, topic).Offset)
			}
			require.Len(t, testkit.Logged(t, c, topic, 0), 4)
		}
		synctest.Wait()
		require.EqualValues(t, testkit.Buffer, p.BufferAvailable())
		testkit.CloseProducer(t, p)
		require.LessOrEqual(t, p.EpochBumps(), 1)
		p = nil
		synctest.Wait()
		without := testkit.HeapInUse()
		require.Less(t, 2*idle, known+without, "most of what the topics took is free again")
	})
}

// Topics are forgotten while others send to them.
func TestForgettingTopicsAmongSendsLosesNothing(t *testing.T) {
	const topics, goroutines, each = 24, 12, 150
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		for i := range topics {
			c.MustCreateTopic(fmt.Sprint(i), 1, quilltest.TopicConfig{})
		}
		cfg := testkit.Config(c)
		cfg.MetadataMaxIdle, cfg.MetadataMaxAge = 5*time.Second, time.Second
		p := testkit.Open(t, cfg)
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(g), 1))
				for i := range each {
					m, err := p.SendSync(t.Context(), testkit.Rec(fmt.Sprint(rnd.IntN(topics)), fmt.Sprint(g), fmt.Sprint(i)))
					if err != nil || m.Offset < 0 {
						t.Error(m, err)
					}
					time.Sleep(time.Duration(rnd.IntN(100)) * 100 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		testkit.CloseProducer(t, p)
		got := 0
		for i := range topics {
			last := map[string]int{}
			for _, r := range testkit.Logged(t, c, fmt.Sprint(i), 0) {
				n, err := strconv.Atoi(string(r.Value))
				require.NoError(t, err)
				require.Greater(t, n+1, last[string(r.Key)], "in order, and once")
				last[string(r.Key)] = n + 1
				got++
			}
		}
		require.Equal(t, goroutines*each, got)
		require.Greater(t, p.EpochBumps(), 10, "topics were forgotten all the time")
	})
}

// goroutineCount returns runtime.NumGoroutine without the runtime's own that is one of ours for a moment, when it
// runs finalizers.
func goroutineCount() int {
	least := runtime.NumGoroutine()
	for range 1000 {
		runtime.Gosched()
		least = min(least, runtime.NumGoroutine())
	}
	return least
}

// M8: producers come and go, some of which can't even begin.
func TestAThousandProducersLeaveNothing(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Retain: -1, RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cycle := func(i int) {
			cfg := testkit.Config(c)
			switch i % 4 {
			case 0:
				cfg.BatchSize, cfg.BufferMemory = -5, 1
			case 1:
				cfg.Partitioner = &testkit.Closer{Fail: testkit.ErrOwn}
			}
			p, err := quill.New(cfg, quill.String, quill.String)
			if i%4 == 1 {
				require.ErrorIs(t, err, testkit.ErrOwn)
				return
			}
			require.NoError(t, err)
			if i%4 == 0 {
				require.False(t, p.TrySend(testkit.Rec("t", "k", "v")))
			} else {
				testkit.Known(t, p, "t")
			}
			if i%4 == 3 {
				require.NoError(t, p.Close(testkit.Ended(testkit.ErrOwn)), "there is nothing to give up")
				return
			}
			testkit.CloseProducer(t, p)
		}
		for i := range 100 {
			cycle(i)
		}
		synctest.Wait()
		heap, goroutines := testkit.HeapInUse(), goroutineCount()
		for i := range 1000 {
			cycle(i)
		}
		synctest.Wait()
		require.LessOrEqual(t, goroutineCount(), goroutines)
		require.Less(t, testkit.HeapInUse(), heap+256<<10)
	})
}

// M9: connections are cut ten times a second.
func TestConnectionChurnLeavesNothing(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Retain: -1, RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		churn := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				for i, id := range c.NodeIDs() {
					require.NoError(t, c.Disconnect(id))
					p.Send(t.Context(), testkit.OnPartition(int32(i), testkit.Rec("t", "k", "v")))
				}
			}
			require.NoError(t, p.Flush(t.Context()))
			synctest.Wait()
		}
		churn(time.Minute)
		heap, goroutines, sent := testkit.HeapInUse(), runtime.NumGoroutine(), c.Appended("t")
		churn(5 * time.Minute)
		require.Greater(t, c.Appended("t"), sent+3*2500)
		require.LessOrEqual(t, runtime.NumGoroutine(), goroutines+6)
		require.Less(t, testkit.HeapInUse(), heap+512<<10)
		testkit.CloseProducer(t, p)
		require.EqualValues(t, testkit.Buffer, p.BufferAvailable())
	})
}

// M10: sizes that do not go together end at once, or go on one after the other.
func TestOddSizesNeverDeadlock(t *testing.T) {
	none, err := quill.ParseProperties(map[string]string{"bootstrap.servers": "a:1", "buffer.memory": "0"})
	require.NoError(t, err)
	for name, row := range map[string]struct {
		memory int64
		batch  int
		value  int
		is     error
	}{
		"buffer smaller than one record": {memory: 500, batch: 100, value: 1000, is: quill.ErrRecordTooLarge},
		"batch larger than the buffer":   {memory: 2000, batch: 1 << 20, value: 500},
		"a record fills the buffer":      {memory: 1200, batch: 100, value: 1000},
		"buffer of one byte":             {memory: 1, batch: 100, value: 1, is: quill.ErrRecordTooLarge},
		"no buffer":                      {memory: none.BufferMemory, batch: 100, value: 1, is: quill.ErrRecordTooLarge},
		"no buffer and no batches":       {memory: none.BufferMemory, batch: -1, value: 1, is: quill.ErrRecordTooLarge},
		"no batches":                     {memory: 2000, batch: -1, value: 500},
	} {
		for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionLZ4} {
			t.Run(name+", "+codec.String(), func(t *testing.T) {
				testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
					cfg := testkit.Config(c)
					cfg.BufferMemory, cfg.BatchSize, cfg.Compression, cfg.Linger = row.memory, row.batch, codec, time.Second
					p := testkit.Open(t, cfg)
					before := p.BufferAvailable()
					_, err := p.PartitionsFor(t.Context(), "t")
					require.NoError(t, err)
					start := time.Now()
					var wg sync.WaitGroup
					for g := range int32(8) {
						wg.Go(func() {
							for range 20 {
								_, err := p.Send(t.Context(), testkit.OnPartition(g%6, testkit.Rec("t", "", strings.Repeat("x", row.value)))).Wait(t.Context())
								if row.is == nil && err != nil || row.is != nil && !errors.Is(err, row.is) {
									t.Error(err)
								}
							}
						})
					}
					wg.Wait()
					if row.is != nil {
						require.Zero(t, time.Since(start))
					} else {
						require.EqualValues(t, 160, c.Appended("t"))
						require.Less(t, time.Since(start), 25*time.Second)
					}
					testkit.CloseProducer(t, p)
					require.Equal(t, before, p.BufferAvailable())
				})
			})
		}
	}
}
