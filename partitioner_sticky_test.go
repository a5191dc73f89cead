package quill

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill/metadata"
	"github.com/stretchr/testify/require"
)

// counter gives 0, 1, 2 ... so that every remainder comes equally often.
func counter() func() uint32 {
	n := uint32(math.MaxUint32)
	return func() uint32 { n++; return n }
}

func seeded(seed uint64) func() uint32 { return rand.New(rand.NewPCG(seed, 7)).Uint32 }

// visits makes n moves and counts the partitions chosen.
func visits(s *stickyPartitioner, topic *metadata.Topic, n int) []int {
	counts := make([]int, len(topic.Partitions))
	for range n {
		p := s.peek(s.lane(), topic)
		counts[p]++
		s.update(topic, p, int(s.size), true)
	}
	return counts
}

func TestStickyStaysUntilTheBatchSize(t *testing.T) {
	topic := topicOf(0, 1, 2)
	s := newStickyPartitioner(3, true, false, "", counter())
	first := s.peek(s.lane(), topic)
	for range 2 {
		s.update(topic, first, 1, true)
		require.Equal(t, first, s.peek(s.lane(), topic))
	}
	s.update(topic, first, 1, true)
	require.NotEqual(t, first, s.peek(s.lane(), topic))

	one := topicOf(0)
	s = newStickyPartitioner(1, true, false, "", counter())
	require.Equal(t, []int{10}, visits(s, one, 10), "moving on works with one partition")
}

func TestStickyMovesAtTheBorderOfABatchOnly(t *testing.T) {
	topic := topicOf(0, 1, 2)
	s := newStickyPartitioner(100, true, false, "", counter())
	first := s.peek(s.lane(), topic)
	s.update(topic, first, 150, false)
	require.Equal(t, first, s.peek(s.lane(), topic), "past the size, but the batch is open")
	s.update(topic, first, 0, true)
	second := s.peek(s.lane(), topic)
	require.NotEqual(t, first, second)

	s.update(topic, second, 99, false)
	s.update(topic, second, 0, true)
	require.Equal(t, second, s.peek(s.lane(), topic), "at a border, but below the size")
	s.update(topic, second, 100, false)
	require.Equal(t, second, s.peek(s.lane(), topic))
	s.update(topic, second, 1, false)
	require.NotEqual(t, second, s.peek(s.lane(), topic), "twice the size moves in any case")
}

func TestStickyCountsOnlyThePresentPartition(t *testing.T) {
	topic := topicOf(0, 1, 2)
	s := newStickyPartitioner(10, true, false, "", counter())
	p := s.peek(s.lane(), topic)
	s.update(topic, p+1, 1000, true)
	require.Equal(t, p, s.peek(s.lane(), topic))
	s.update(topic, p, -5, true)
	require.Equal(t, p, s.peek(s.lane(), topic))
}

func TestStickySizeIsAtLeastOne(t *testing.T) {
	topic := topicOf(0, 1, 2)
	for _, size := range []int{-1, 0, 1} {
		s := newStickyPartitioner(size, true, false, "", counter())
		p := s.peek(s.lane(), topic)
		s.update(topic, p, 1, true)
		require.NotEqual(t, p, s.peek(s.lane(), topic))
	}
	huge := newStickyPartitioner(math.MaxInt32, true, false, "", counter())
	p := huge.peek(huge.lane(), topic)
	huge.update(topic, p, math.MaxInt32, false)
	require.Equal(t, p, huge.peek(huge.lane(), topic))
	huge.update(topic, p, math.MaxInt32, false)
	require.NotEqual(t, p, huge.peek(huge.lane(), topic))
}

func TestStickySkipsUnavailablePartitions(t *testing.T) {
	for seed := range uint64(10) {
		s := newStickyPartitioner(1, true, false, "", seeded(seed))
		counts := visits(s, topicOf(0, -1, 2, 3), 1000)
		require.Zero(t, counts[1])
		require.Zero(t, counts[3], "its leader is not known")
		require.InDelta(t, 500, counts[0], 80)

		s = newStickyPartitioner(1, true, false, "", seeded(seed))
		require.Equal(t, []int{0, 100}, visits(s, topicOf(-1, 1), 100))
		s = newStickyPartitioner(1, true, false, "", seeded(seed))
		for _, n := range visits(s, topicOf(-1, 3, -1), 3000) {
			require.InDelta(t, 1000, n, 150, "none is available: any will do")
		}
	}
}

func TestStickyIsUniformWithoutLoad(t *testing.T) {
	leaders := make([]int32, 10)
	for _, load := range []*partitionLoad{
		nil,
		{total: 10, partitions: upTo(10), queued: slices.Repeat([]int32{7}, 10)}, // all equal
		{total: 10}, // all nodes are slow
		{total: 1, partitions: []int32{0}, queued: []int32{3}}, // the only one with a leader
	} {
		s := newStickyPartitioner(1, true, false, "", seeded(3))
		s.setLoad(load)
		for _, n := range visits(s, topicOf(leaders...), 10_000) {
			require.InDelta(t, 1000, n, 120)
		}
	}
}

func upTo(n int32) (list []int32) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

// As Java's test: the odds are the longest queue + 1 - the own one.
func TestStickyPrefersShortQueues(t *testing.T) {
	topic := topicOf(0, 1, 2, 0, 1)
	s := newStickyPartitioner(1, true, false, "", counter())
	s.setLoad(&partitionLoad{total: 5, partitions: upTo(5), queued: []int32{5, 0, 3, 0, 1}})
	require.Equal(t, []int{2, 12, 6, 12, 10}, visits(s, topic, 2*21))

	s = newStickyPartitioner(1, true, false, "", seeded(1))
	s.setLoad(&partitionLoad{total: 5, partitions: upTo(5), queued: []int32{5, 0, 3, 0, 1}})
	for i, n := range visits(s, topic, 21_000) {
		require.InDelta(t, []int{1000, 6000, 3000, 6000, 5000}[i], n, 300)
	}
	s.setLoad(nil)
	for _, n := range visits(s, topic, 5000) {
		require.InDelta(t, 1000, n, 150)
	}
}

func TestStickyLeavesOutSlowNodes(t *testing.T) {
	topic := topicOf(0, 1, 2)
	s := newStickyPartitioner(1, true, false, "", seeded(1))
	s.setLoad(&partitionLoad{total: 3, partitions: []int32{0, 2}, queued: []int32{4, 4}})
	counts := visits(s, topic, 1000)
	require.Zero(t, counts[1])
	require.InDelta(t, 500, counts[0], 80)

	s.setLoad(&partitionLoad{total: 3, partitions: []int32{1}, queued: []int32{9}})
	s.update(topic, s.peek(s.lane(), topic), 1, true)
	require.Equal(t, []int{0, 100, 0}, visits(s, topic, 100))
}

func TestStickyIgnoresLoadUnlessAdaptive(t *testing.T) {
	s := newStickyPartitioner(1, false, false, "", seeded(1))
	s.setLoad(&partitionLoad{total: 2, partitions: []int32{0, 1}, queued: []int32{1000, 0}})
	require.InDelta(t, 500, visits(s, topicOf(0, 1), 1000)[0], 80)
}

func TestStickyNeverLeavesTheTopic(t *testing.T) {
	s := newStickyPartitioner(1, true, false, "", seeded(1))
	require.EqualValues(t, -1, s.peek(s.lane(), nil))
	require.EqualValues(t, -1, s.peek(s.lane(), &metadata.Topic{Name: "t"}))
	s.update(nil, -1, 10, true)

	big, small := topicOf(0, 1, 2, 0, 1, 2), topicOf(0, 1)
	s.setLoad(&partitionLoad{total: 6, partitions: upTo(6), queued: []int32{9, 9, 9, 0, 0, 0}})
	visits(s, big, 50)
	for range 100 { // made again with fewer partitions, the load is still the old one
		p := s.peek(s.lane(), small)
		require.Less(t, p, int32(2))
		s.update(small, p, 1, true)
	}
	last := s.peek(s.lane(), small)
	s.update(nil, last, 10, true)
	require.Equal(t, last, s.peek(s.lane(), nil), "a topic that is not known at present stays where it is")
}

// KIP-1123.
func TestStickyPrefersItsRack(t *testing.T) {
	topic := topicOf(0, 1, 2, 1, -1) // rack "odd" has 1 and 3
	s := newStickyPartitioner(1, true, true, "odd", seeded(1))
	counts := visits(s, topic, 1000)
	require.InDelta(t, 500, counts[1], 80)
	require.Equal(t, 1000, counts[1]+counts[3])

	s = newStickyPartitioner(1, true, false, "odd", seeded(1))
	require.InDelta(t, 250, visits(s, topic, 1000)[0], 80, "only if it is on")

	s = newStickyPartitioner(1, true, true, "elsewhere", seeded(1))
	for i, n := range visits(s, topic, 1000) {
		require.InDelta(t, []int{250, 250, 250, 250, 0}[i], n, 80, "nobody is near: all count")
	}
	s = newStickyPartitioner(1, true, true, "odd", counter())
	require.Equal(t, []int{2, 2}, visits(s, topicOf(-1, -1), 4), "nobody leads: any will do")
}

func TestStickyWeighsLoadWithinItsRack(t *testing.T) {
	topic := topicOf(0, 1, 2, 1)
	s := newStickyPartitioner(1, true, true, "odd", counter())
	s.setLoad(&partitionLoad{total: 4, partitions: upTo(4), queued: []int32{0, 4, 50, 1}})
	require.Equal(t, []int{0, 2, 0, 8}, visits(s, topic, 10), "longest queue of the rack + 1 - own")

	s = newStickyPartitioner(1, true, true, "odd", counter())
	s.setLoad(&partitionLoad{total: 4, partitions: []int32{0, 2}, queued: []int32{1, 0}})
	require.Equal(t, []int{1, 0, 2, 0}, visits(s, topic, 3), "the near nodes are slow: the others count")
	s.setLoad(nil)
	s.update(topic, s.peek(s.lane(), topic), 1, true)
	counts := visits(s, topic, 100)
	require.Equal(t, 100, counts[1]+counts[3])
}

func TestStickyFollowsLeadersToAnotherRack(t *testing.T) {
	s := newStickyPartitioner(1, true, true, "odd", seeded(1))
	s1 := cluster(0, 1)
	t1, _ := s1.Topic("t")
	require.Equal(t, []int{0, 10}, visits(s, t1, 10))
	t2, _ := s1.WithLeaders([]metadata.LeaderChange{
		{Topic: "t", Partition: 0, Leader: 1, LeaderEpoch: 1}, {Topic: "t", Partition: 1, Leader: 2, LeaderEpoch: 1},
	}, nil).Topic("t")
	s.update(t2, s.peek(s.lane(), t2), 1, true)
	require.Equal(t, []int{10, 0}, visits(s, t2, 10))
}

func TestStickyIsSafeForConcurrentUse(t *testing.T) {
	topic := topicOf(0, 1, 2, 0)
	s := newStickyPartitioner(100, true, true, "odd", nil)
	var locks [4]sync.Mutex
	var counts [4]int
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for done := 0; done < 5000; { // as the accumulator does it
				p := s.peek(s.lane(), topic)
				locks[p].Lock()
				if s.peek(s.lane(), topic) == p {
					counts[p]++
					s.update(topic, p, 20, counts[p]%5 == 0)
					done++
				}
				locks[p].Unlock()
			}
		})
	}
	wg.Go(func() {
		for i := range int32(500) {
			s.setLoad(&partitionLoad{total: 4, partitions: upTo(4), queued: []int32{i % 3, i % 5, i % 7, 0}})
			s.setLoad(nil)
		}
	})
	wg.Wait()
	require.Equal(t, 20_000, counts[0]+counts[1]+counts[2]+counts[3])
}

func TestStickyDoesNotAllocate(t *testing.T) {
	topic := topicOf(0, 1, 2)
	for _, rackAware := range []bool{false, true} {
		s := newStickyPartitioner(2, true, rackAware, "odd", nil)
		s.setLoad(&partitionLoad{total: 3, partitions: upTo(3), queued: []int32{0, 1, 2}})
		equal := &partitionLoad{total: 3, partitions: upTo(3), queued: []int32{1, 1, 1}}
		s.update(topic, s.peek(s.lane(), topic), 9, true)
		require.Zero(t, testing.AllocsPerRun(100, func() { s.update(topic, s.peek(s.lane(), topic), 1, true) }))
		s.setLoad(equal)
		s.update(topic, s.peek(s.lane(), topic), 9, true)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			s.setLoad(equal)
			s.update(topic, s.peek(s.lane(), topic), 1, true)
		}))
	}
}

func BenchmarkStickyPeekAndUpdate(b *testing.B) {
	topic := topicOf(0, 1, 2)
	s := newStickyPartitioner(16384, true, false, "", nil)
	b.ReportAllocs()
	for b.Loop() {
		s.update(topic, s.peek(s.lane(), topic), 110, false)
	}
}

func BenchmarkStickyMoveAmongHundredThousandPartitions(b *testing.B) {
	topic := topicOf(make([]int32, 100_000)...)
	s := newStickyPartitioner(1, true, false, "", nil)
	queued := make([]int32, 100_000)
	queued[5] = 9
	s.setLoad(&partitionLoad{total: 100_000, partitions: upTo(100_000), queued: queued})
	b.ReportAllocs()
	for b.Loop() {
		s.update(topic, s.peek(s.lane(), topic), 110, true)
	}
}

func BenchmarkRoundRobin(b *testing.B) {
	var p RoundRobinPartitioner
	in := input(topicOf(0, 1, 2))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = p.Partition(in)
	}
}

func TestStickySpreadsWhereACrowdFillsBatches(t *testing.T) {
	topic := topicOf(0, 1, 2, 3)
	for name, c := range map[string]struct {
		lanes            int
		topic            *metadata.Topic
		bytes            int
		records, crowded int32
		spread           bool
	}{
		"a crowd":                 {4, topic, 100, 64, 2, true},
		"nobody else":             {4, topic, 100, 64, 0, false},
		"a few":                   {4, topic, 100, 640, 10, false},
		"batches are not full":    {4, topic, 99, 64, 64, false},
		"one processor":           {1, topic, 100, 64, 64, false},
		"one partition":           {4, topicOf(0), 100, 64, 64, false},
		"the topic is gone again": {4, nil, 100, 64, 64, false},
	} {
		s := newStickyPartitioner(100, false, false, "", counter()).setLanes(c.lanes)
		s.decideSpread(c.topic, c.bytes, c.records, c.crowded)
		require.Equal(t, c.spread, s.spread.Load(), name)
	}

	s := newStickyPartitioner(100, false, false, "", counter()).setLanes(4)
	s.decideSpread(topic, 100, 64, 64)
	s.decideSpread(topic, 50, 64, 0)
	require.True(t, s.spread.Load(), "half full is full enough to stay spread")
	s.decideSpread(topic, 49, 64, 64)
	require.False(t, s.spread.Load(), "records are too few for many open batches")
	require.Same(t, &s.lanes[0], s.lane())
}

func TestStickyLanesKeepApart(t *testing.T) {
	topic := topicOf(0, 1, 2, 0, 1, 2, 0, 1)
	s := newStickyPartitioner(10, false, false, "", seeded(1)).setLanes(3)
	s.spread.Store(true)
	counts, together := make([]int, len(topic.Partitions)), 0
	const rounds = 8000
	for i := range rounds {
		l := &s.lanes[i%len(s.lanes)]
		p := s.peek(l, topic)
		counts[p]++
		s.update(topic, p, 10, true)
		for j := range s.lanes {
			if other := &s.lanes[j]; other != l && other.present() == l.present() {
				together++
			}
		}
	}
	require.Less(t, together, rounds/50)
	for _, n := range counts {
		require.InDelta(t, rounds/len(counts), n, 150, "every partition gets its share")
	}
}

func TestStickyUpdateMovesEveryLaneThatIsThere(t *testing.T) {
	topic := topicOf(0, 1, 2)
	s := newStickyPartitioner(10, false, false, "", func() uint32 { return 1 }).setLanes(2)
	s.spread.Store(true)
	require.EqualValues(t, 1, s.peek(&s.lanes[0], topic))
	require.EqualValues(t, 1, s.peek(&s.lanes[1], topic), "the odds leave no other")
	s.rnd = counter()
	s.update(topic, 1, 10, true)
	require.NotEqualValues(t, 1, s.lanes[0].present())
	require.NotEqualValues(t, 1, s.lanes[1].present())
}

func TestASeatMovesFromACrowdedLane(t *testing.T) {
	at := &seat{lane: 1}
	for range missesToMove - 1 {
		at.miss(2)
	}
	require.Equal(t, 1, at.lane)
	at.miss(2)
	require.Equal(t, seat{lane: 0}, *at)
}

// Java: RecordAccumulatorTest.testUniformBuiltInPartitioner
func TestKeylessRecordsStayUntilABatchIsFull(t *testing.T) {
	withRig(t, func(s *settings) { s.batchSize = 1024; s.bufferMemory = 1 << 20 }, func(t *testing.T, r *rig) {
		next := uint32(0)
		r.topic.sticky = newStickyPartitioner(r.cfg.batchSize, false, false, "", func() uint32 { next++; return next - 1 })
		small, large := one("", "value"), one("", string(make([]byte, 1024)))
		require.EqualValues(t, 0, r.appendSticky(small))
		require.EqualValues(t, 0, r.appendSticky(small))
		require.EqualValues(t, 1, next)
		for i := range int32(8) {
			// Each of these fills a batch by itself. The first one closes that of the small ones.
			require.Equal(t, (i+1)%4, r.appendSticky(large))
		}
		n := int32(0)
		for r.appendSticky(small) == 1 {
			n++
		}
		require.Greater(t, n, int32(1024/2/12), "a move only at the border of a batch")
		require.Len(t, r.queued(1), 3)
		require.Equal(t, n, r.queued(1)[2].records)
		require.True(t, r.queued(1)[2].closed)
	})
}

// Java: RecordAccumulatorTest.testAdaptiveBuiltInPartitioner
func TestKeylessRecordsPreferShortQueues(t *testing.T) {
	withRig(t, func(s *settings) { s.batchSize, s.bufferMemory, s.adaptive, s.linger = 128, 1<<20, true, 0 }, func(t *testing.T, r *rig) {
		r.setLeaders([]int32{0, 0, 1}, 1)
		next := uint32(0)
		r.topic.queues.Store(new((*r.topic.queues.Load())[:3]))
		r.topic.sticky = newStickyPartitioner(r.cfg.batchSize, true, false, "", func() uint32 { next++; return next - 1 })
		large := one("", string(make([]byte, 128)))
		lengths := []int{1, 7, 2}
		for p, n := range lengths {
			for range n {
				r.appendInput(int32(p), large)
			}
			require.EqualValues(t, n, r.topic.queue(int32(p)).length.Load())
		}
		time.Sleep(balanceEvery * time.Millisecond)
		r.acc.balance(r.topic) // queues are looked at every few milliseconds: not again in this test
		r.appendSticky(large)  // begins somewhere
		const rounds = 2
		counts := make([]int, len(lengths))
		for range rounds * (7 + 1 + 6) {
			counts[r.appendSticky(large)]++
		}
		require.Equal(t, []int{7 * rounds, 1 * rounds, 6 * rounds}, counts, "the odds are 8 - length")

		r.ready() // the sender has put the queues into the rings of their nodes, which say whether they keep up
		r.s.nodes[0].slow.Store(true)
		time.Sleep(balanceEvery * time.Millisecond)
		r.acc.balance(r.topic)
		r.appendSticky(large)
		for range 10 {
			require.EqualValues(t, 2, r.appendSticky(large), "node 0 is slow")
		}
	})
}

// Java: RecordAccumulatorTest.testBuiltInPartitionerFractionalBatches
func TestStickyMovesLeaveNoFractions(t *testing.T) {
	withRig(t, func(s *settings) { s.batchSize, s.bufferMemory = 512, 1<<20 }, func(t *testing.T, r *rig) {
		in := one("", string(make([]byte, 32)))
		for range 10 {
			for range 512 * 2 / 3 / 40 {
				r.appendSticky(in)
			}
			time.Sleep(r.cfg.linger)
			ids := r.ready()
			require.Len(t, ids, 1)
			size := r.drainOne(ids[0]).size()
			require.Greater(t, size, 256)
			require.Less(t, size, 512)
		}
	})
}
