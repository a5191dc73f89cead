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
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// How much memory a producer takes at worst. The cases carry numbers, M1 to M12; internal/lint sees to
// it that each has a test. Limits on the heap are for what is live, after a collection, beyond what
// was there before the producer; they hold for a buffer.memory of 32 MiB, Kafka's default. The
// resident size of a whole process is looked at in integration.

const (
	megabyte = 1 << 20
	buffer   = 32 * megabyte
)

// heapLimit is what the heap may grow by: factor times the buffer, and 16 MiB.
func heapLimit(factor float64) uint64 { return uint64(factor*buffer) + 16*megabyte }

// growth is how much the heap grew beyond base.
func growth(base uint64) uint64 {
	now := heapInUse()
	return now - min(now, base)
}

// M1: ten minutes in which every node is a black hole, 64 goroutines that send all the time.
func TestABlackHoleHoldsNoMoreThanTheBuffer(t *testing.T) {
	bubble(t, quilltest.Options{Retain: -1, RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
		base := heapInUse()
		p := open(t, config(c))
		known(t, p, "t")
		cutOffAll(c)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var accepted, told, exhausted atomic.Int64
		value := strings.Repeat("x", 1024)
		var wg sync.WaitGroup
		for g := range 64 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					accepted.Add(1)
					p.SendFunc(ctx, onPartition(int32((g+i)%6), rec("t", "", value)), func(_ quill.RecordMetadata, err error) {
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
		closeProducer(t, p)
		require.Equal(t, accepted.Load(), told.Load())
		require.EqualValues(t, buffer, p.BufferAvailable())
	})
}

// M2: small records, each with a callback of its own, fill the buffer.
func TestBookkeepingOfSmallRecordsIsBounded(t *testing.T) {
	bubble(t, quilltest.Options{Retain: -1, RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
		base := heapInUse()
		p := open(t, config(c))
		known(t, p, "t")
		pauseAll(t, c)
		value := strings.Repeat("x", 100)
		sent, told := 0, atomic.Int64{}
		for p.TrySendFunc(rec("t", fmt.Sprint(sent%1000), value), func(_ quill.RecordMetadata, err error) {
			if err == nil && sent > 0 {
				told.Add(1)
			}
		}) {
			sent++
		}
		require.Greater(t, sent, 40_000)
		require.Less(t, growth(base), heapLimit(2.2), "%d records", sent)
		t.Logf("%d records of %d bytes: %d bytes of heap for each", sent, len(value), growth(base)/uint64(sent))
		resumeAll(t, c)
		closeProducer(t, p)
		require.EqualValues(t, sent, told.Load())
	})
}

// M3: each codec under load. What it needs for itself is pooled, and does not grow.
func TestCodecsTakeLittleAndDoNotGrow(t *testing.T) {
	for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionGzip, quill.CompressionSnappy, quill.CompressionLZ4, quill.CompressionZstd} {
		t.Run(codec.String(), func(t *testing.T) {
			bubble(t, quilltest.Options{Retain: -1, RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
				base := heapInUse()
				cfg := config(c)
				cfg.Compression, cfg.BufferMemory = codec, megabyte
				p := open(t, cfg)
				known(t, p, "t")
				rnd := rand.New(rand.NewPCG(1, 1))
				text := words(rnd, 100_000)
				early, late := uint64(0), uint64(math.MaxUint64) // the most at first, the least afterwards
				for round := range 8 {
					pauseAll(t, c)
					for i := 0; p.TrySend(onPartition(int32(i%6), rec("t", "", text[rnd.IntN(len(text)-1000):][:1000]))); i++ {
					}
					runtime.GC()
					var full runtime.MemStats // what pools hold included
					runtime.ReadMemStats(&full)
					require.Less(t, full.HeapAlloc, base+uint64(cfg.BufferMemory)+16*megabyte, "round %d", round)
					resumeAll(t, c)
					require.NoError(t, p.Flush(t.Context()))
					if now := growth(base); round < 4 {
						early = max(early, now)
					} else {
						late = min(late, now)
					}
				}
				require.Less(t, late, early+2*megabyte)
				closeProducer(t, p)
				require.EqualValues(t, cfg.BufferMemory, p.BufferAvailable())
			})
		})
	}
}

// words is n bytes of text that compresses well.
func words(rnd *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "word-%d ", rnd.IntN(5000))
	}
	return b.String()[:n]
}

// M4: records fail faster than their callbacks run. Senders are slowed down; outcomes do not pile up.
func TestFailuresDoNotPileUpBehindSlowCallbacks(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic(anyTopic, 6, quilltest.TopicConfig{})
		refuse(protocol.Produce, protocol.TopicAuthorizationFailed)(c)
		cfg := config(c)
		cfg.BufferMemory, cfg.BatchSize, cfg.MaxBlock = 256<<10, 4096, time.Hour
		p := open(t, cfg)
		_, err := p.PartitionsFor(t.Context(), "t")
		require.NoError(t, err)
		base := heapInUse()
		const n = 10_000
		var told atomic.Int64
		var most int64
		value := strings.Repeat("x", 100)
		for i := range int64(n) {
			p.SendFunc(t.Context(), onPartition(int32(i%6), rec("t", "", value)), func(_ quill.RecordMetadata, err error) {
				if !errors.Is(err, protocol.TopicAuthorizationFailed) {
					t.Error(err)
				}
				told.Add(1)
				time.Sleep(time.Millisecond)
			})
			most = max(most, i+1-told.Load())
			if i%5000 == 4999 {
				require.Less(t, growth(base), uint64(2*megabyte)) // the buffer 2.2 times, and some
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
	bubble(t, quilltest.Options{Retain: -1, RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", partitions, quilltest.TopicConfig{})
		for _, memory := range []int64{256 * megabyte, 4 * megabyte} {
			cfg := config(c)
			cfg.Linger, cfg.DeliveryTimeout, cfg.BufferMemory, cfg.BatchSize = time.Hour, 2*time.Hour, memory, 2048
			p := open(t, cfg)
			_, err := p.PartitionsFor(t.Context(), "t")
			require.NoError(t, err)
			base := heapInUse()
			least := memory
			for i := range int32(partitions) {
				p.SendFunc(t.Context(), onPartition(i, rec("t", "k", "v")), func(_ quill.RecordMetadata, err error) {
					if err != nil {
						t.Error(err)
					}
				})
				least = min(least, p.BufferAvailable())
			}
			require.GreaterOrEqual(t, least, int64(0))
			require.LessOrEqual(t, memory-least, int64(partitions*(2048+1024)))
			require.Less(t, growth(base), uint64(partitions*(2048+1024)))
			closeProducer(t, p)
			require.Equal(t, memory, p.BufferAvailable())
		}
		require.EqualValues(t, 2*partitions, c.Appended("t"))
	})
}

// M7: topics that were sent to once and not again for metadata.max.idle.ms are forgotten altogether,
// and sent to again as if for the first time: no record is lost or taken for one of before.
func TestTopicsUsedOnceLeaveNothing(t *testing.T) {
	const topics = 3000
	bubble(t, quilltest.Options{RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
		for i := range topics {
			c.MustCreateTopic(fmt.Sprint("topic-", i), 1, quilltest.TopicConfig{})
		}
		cfg := config(c)
		cfg.MetadataMaxIdle, cfg.MetadataMaxAge, cfg.BatchSize = time.Minute, 30*time.Second, 1024
		p, err := quill.New(cfg, quill.String, quill.String)
		require.NoError(t, err)
		t.Cleanup(func() {
			if p != nil { // not giveUpIfFailed, which would hold on to it
				_ = p.Close(ended(context.Canceled))
			}
		})
		var wg sync.WaitGroup
		for g := range 100 {
			wg.Go(func() {
				for i := g; i < topics; i += 100 {
					if _, err := p.SendSync(t.Context(), rec(fmt.Sprint("topic-", i), "k", "first")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		known := heapInUse()
		time.Sleep(3 * time.Minute)
		_, err = p.SendSync(t.Context(), rec("topic-0", "k", "second"))
		require.NoError(t, err)
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.Disconnect(id)) // connections have buffers of their own
		}
		synctest.Wait()
		idle := heapInUse()
		for i := 1; i < 20; i++ {
			topic := fmt.Sprint("topic-", i)
			for j := range int64(3) {
				require.Equal(t, 1+j, sendOK(t, p, topic).Offset)
			}
			require.Len(t, logged(t, c, topic, 0), 4)
		}
		synctest.Wait()
		require.EqualValues(t, buffer, p.BufferAvailable())
		closeProducer(t, p)
		require.LessOrEqual(t, p.EpochBumps(), 1)
		p = nil
		synctest.Wait()
		without := heapInUse()
		require.Less(t, 2*idle, known+without, "most of what the topics took is free again")
	})
}

// Topics are forgotten while others send to them.
func TestForgettingTopicsAmongSendsLosesNothing(t *testing.T) {
	const topics, goroutines, each = 24, 12, 150
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		for i := range topics {
			c.MustCreateTopic(fmt.Sprint(i), 1, quilltest.TopicConfig{})
		}
		cfg := config(c)
		cfg.MetadataMaxIdle, cfg.MetadataMaxAge = 5*time.Second, time.Second
		p := open(t, cfg)
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(g), 1))
				for i := range each {
					m, err := p.SendSync(t.Context(), rec(fmt.Sprint(rnd.IntN(topics)), fmt.Sprint(g), fmt.Sprint(i)))
					if err != nil || m.Offset < 0 {
						t.Error(m, err)
					}
					time.Sleep(time.Duration(rnd.IntN(100)) * 100 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		closeProducer(t, p)
		got := 0
		for i := range topics {
			last := map[string]int{}
			for _, r := range logged(t, c, fmt.Sprint(i), 0) {
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

// goroutineCount is runtime.NumGoroutine without the runtime's own that is one of ours for a moment, when it
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
	bubble(t, quilltest.Options{Retain: -1, RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cycle := func(i int) {
			cfg := config(c)
			switch i % 4 {
			case 0:
				cfg.BatchSize, cfg.BufferMemory = -5, -5
			case 1:
				cfg.Partitioner = &closer{fail: errOwn}
			}
			p, err := quill.New(cfg, quill.String, quill.String)
			if i%4 == 1 {
				require.ErrorIs(t, err, errOwn)
				return
			}
			require.NoError(t, err)
			if i%4 == 0 {
				require.False(t, p.TrySend(rec("t", "k", "v")))
			} else {
				known(t, p, "t")
			}
			if i%4 == 3 {
				require.NoError(t, p.Close(ended(errOwn)), "there is nothing to give up")
				return
			}
			closeProducer(t, p)
		}
		for i := range 100 {
			cycle(i)
		}
		synctest.Wait()
		heap, goroutines := heapInUse(), goroutineCount()
		for i := range 1000 {
			cycle(i)
		}
		synctest.Wait()
		require.LessOrEqual(t, goroutineCount(), goroutines)
		require.Less(t, heapInUse(), heap+256<<10)
	})
}

// M9: connections are cut ten times a second.
func TestConnectionChurnLeavesNothing(t *testing.T) {
	bubble(t, quilltest.Options{Retain: -1, RetainRequests: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		p := open(t, config(c))
		churn := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				for i, id := range c.NodeIDs() {
					require.NoError(t, c.Disconnect(id))
					p.Send(t.Context(), onPartition(int32(i), rec("t", "k", "v")))
				}
			}
			require.NoError(t, p.Flush(t.Context()))
			synctest.Wait()
		}
		churn(time.Minute)
		heap, goroutines, sent := heapInUse(), runtime.NumGoroutine(), c.Appended("t")
		churn(5 * time.Minute)
		require.Greater(t, c.Appended("t"), sent+3*2500)
		require.LessOrEqual(t, runtime.NumGoroutine(), goroutines+6)
		require.Less(t, heapInUse(), heap+512<<10)
		closeProducer(t, p)
		require.EqualValues(t, buffer, p.BufferAvailable())
	})
}

// M10: sizes that do not go together end at once, or go on one after the other.
func TestOddSizesNeverDeadlock(t *testing.T) {
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
		"no buffer":                      {memory: -1, batch: 100, value: 1, is: quill.ErrRecordTooLarge},
		"no buffer and no batches":       {memory: -1, batch: -1, value: 1, is: quill.ErrRecordTooLarge},
		"no batches":                     {memory: 2000, batch: -1, value: 500},
	} {
		for _, codec := range []quill.Compression{quill.CompressionNone, quill.CompressionLZ4} {
			t.Run(name+", "+codec.String(), func(t *testing.T) {
				bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
					cfg := config(c)
					cfg.BufferMemory, cfg.BatchSize, cfg.Compression, cfg.Linger = row.memory, row.batch, codec, time.Second
					p := open(t, cfg)
					before := p.BufferAvailable()
					_, err := p.PartitionsFor(t.Context(), "t")
					require.NoError(t, err)
					start := time.Now()
					var wg sync.WaitGroup
					for g := range int32(8) {
						wg.Go(func() {
							for range 20 {
								_, err := p.Send(t.Context(), onPartition(g%6, rec("t", "", strings.Repeat("x", row.value)))).Wait(t.Context())
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
					closeProducer(t, p)
					require.Equal(t, before, p.BufferAvailable())
				})
			})
		}
	}
}
