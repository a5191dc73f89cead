package quill

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/metadata"
)

// cluster makes a snapshot with one topic "t" whose partition i is led by leaders[i] (-1: no node).
// Nodes are 0 to 3; node 3 is not known. Odd nodes stand in rack "odd", even ones in "even".
func cluster(leaders ...int32) *metadata.Snapshot {
	u := metadata.Update{Topics: []metadata.Topic{{Name: "t", ID: [16]byte{1}}}}
	for id := range int32(3) {
		u.Nodes = append(u.Nodes, metadata.Node{ID: id, Host: "h", Port: 1, Rack: []string{"even", "odd"}[id%2]})
	}
	for i, leader := range leaders {
		u.Topics[0].Partitions = append(u.Topics[0].Partitions, metadata.Partition{Index: int32(i), Leader: leader})
	}
	return metadata.NewSnapshot(u)
}

func topicOf(leaders ...int32) *metadata.Topic {
	t, _ := cluster(leaders...).Topic("t")
	return t
}

func input(topic *metadata.Topic) PartitionInput {
	return PartitionInput{Topic: topic, Cluster: new(metadata.Snapshot)}
}

// choices asks n times and counts the answers by partition.
func choices(t *testing.T, p Partitioner, in PartitionInput, n int) []int {
	t.Helper()
	counts := make([]int, len(in.Topic.Partitions))
	for range n {
		partition, err := choosePartition(p, in, [2]any{})
		require.NoError(t, err)
		counts[partition]++
	}
	return counts
}

// The expected partitions come from kafka-clients 4.4.0.
func TestKeysGoWhereJavaSendsThem(t *testing.T) {
	for _, c := range []struct {
		key       string
		n         int
		partition int32
	}{
		{"", 1, 0}, {"", 3, 0}, {"", 12, 9}, {"", 1000, 681},
		{"a", 1, 0}, {"a", 3, 1}, {"a", 12, 4}, {"a", 1000, 524},
		{"ab", 12, 2}, {"ab", 1000, 434}, {"abc", 12, 3}, {"abc", 1000, 107},
		{"abcd", 12, 8}, {"abcd", 1000, 100}, {"order-17", 12, 9}, {"order-17", 1000, 961},
		{"grüße €", 12, 2}, {"grüße €", 1000, 202}, {"\x00", 12, 8}, {"\x00", 1000, 588},
	} {
		require.Equal(t, c.partition, KeyPartition([]byte(c.key), c.n), "%q of %d", c.key, c.n)
	}
	require.EqualValues(t, -1, KeyPartition([]byte("a"), 0))
}

func TestBadChoiceOfAPartitionerIsAnError(t *testing.T) {
	topic := topicOf(0, 1, 2)
	for name, c := range map[string]struct {
		p    PartitionerFunc
		kind error
		text string
	}{
		"negative": {func(PartitionInput) (int32, error) { return -1, nil }, ErrInvalidPartition, "chose -1 of 3"},
		"too high": {func(PartitionInput) (int32, error) { return 3, nil }, ErrInvalidPartition, "chose 3 of 3"},
		"error":    {func(PartitionInput) (int32, error) { return 0, errPlugin }, ErrPartitioner, errPlugin.Error()},
		"panic":    {func(PartitionInput) (int32, error) { panic("lost") }, ErrPartitioner, "panic: lost"},
	} {
		partition, err := choosePartition(c.p, input(topic), [2]any{})
		require.EqualValues(t, -1, partition, name)
		require.ErrorIs(t, err, c.kind, name)
		require.ErrorContains(t, err, c.text, name)
		e, ok := errors.AsType[*Error](err)
		require.True(t, ok)
		require.Equal(t, "t", e.Topic)
	}
	good := PartitionerFunc(func(in PartitionInput) (int32, error) { return int32(len(in.Key)), nil })
	partition, err := choosePartition(good, PartitionInput{Topic: topic, Key: []byte("xx")}, [2]any{})
	require.NoError(t, err)
	require.EqualValues(t, 2, partition)
}

func TestRoundRobinGivesEveryPartitionItsTurn(t *testing.T) {
	var p RoundRobinPartitioner
	in := input(topicOf(0, -1, 2, 3, 1)) // partition 3 is led by a node that is not known
	var got []int32
	for range 7 {
		partition, err := p.Partition(in)
		require.NoError(t, err)
		got = append(got, partition)
	}
	require.Equal(t, []int32{0, 2, 4, 0, 2, 4, 0}, got)

	in = input(topicOf(0, 0, 2, 0, 1)) // they come back: the turn goes on from where it is
	got = nil
	for range 6 {
		partition, _ := p.Partition(in)
		got = append(got, partition)
	}
	require.Equal(t, []int32{1, 2, 3, 4, 0, 1}, got)
}

func TestRoundRobinWithoutAvailablePartitions(t *testing.T) {
	require.Equal(t, []int{5, 5, 5}, choices(t, new(RoundRobinPartitioner), input(topicOf(-1, 3, -1)), 15))
	for _, p := range []Partitioner{new(RoundRobinPartitioner), new(StickyPartitioner)} {
		_, err := p.Partition(input(&metadata.Topic{Name: "t"}))
		require.ErrorIs(t, err, metadata.ErrNoPartitions)
	}
	new(StickyPartitioner).OnNewBatch(&metadata.Topic{Name: "t"}, 0)
}

func TestRoundRobinIsFairAmongConcurrentCallers(t *testing.T) {
	var p RoundRobinPartitioner
	in := input(topicOf(0, 1, 2, 0, 1, 2, 0))
	var mu sync.Mutex
	counts := make([]int, 7)
	var wg sync.WaitGroup
	for range 7 {
		wg.Go(func() {
			for range 100 {
				partition, err := p.Partition(in)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				counts[partition]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Equal(t, slices.Repeat([]int{100}, 7), counts)
}

func TestRoundRobinKeepsTopicsApart(t *testing.T) {
	var p RoundRobinPartitioner
	a, b := input(topicOf(0, 1, 2)), input(&metadata.Topic{Name: "b", Partitions: topicOf(0, 1).Partitions})
	require.Equal(t, []int{1, 1, 0}, choices(t, &p, a, 2))
	require.Equal(t, []int{1, 0}, choices(t, &p, b, 1))
	require.Equal(t, []int{0, 0, 1}, choices(t, &p, a, 1))
}

func TestStickyPartitionerMovesOnlyWithANewBatch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	p := &StickyPartitioner{rnd: rnd.Uint32}
	in := input(topicOf(0, -1, 2, 1))
	seen := map[int32]bool{}
	last := int32(-1)
	for range 100 {
		current, err := p.Partition(in)
		require.NoError(t, err)
		require.NotEqual(t, last, current, "a new batch goes elsewhere")
		require.NotEqual(t, int32(1), current, "a partition without leader is not chosen")
		for range 5 {
			again, _ := p.Partition(in)
			require.Equal(t, current, again)
		}
		seen[current] = true
		p.OnNewBatch(in.Topic, 77) // the batch of another
		again, _ := p.Partition(in)
		require.Equal(t, current, again)
		p.OnNewBatch(in.Topic, current)
		last = current
	}
	require.Len(t, seen, 3)
}

func TestStickyPartitionerWithFewPartitions(t *testing.T) {
	one := new(StickyPartitioner)
	in := input(topicOf(0))
	require.Equal(t, []int{3}, choices(t, one, in, 3))
	one.OnNewBatch(in.Topic, 0)
	require.Equal(t, []int{3}, choices(t, one, in, 3))

	onlyOne := new(StickyPartitioner)
	in = input(topicOf(-1, 0))
	for range 5 {
		require.Equal(t, []int{0, 1}, choices(t, onlyOne, in, 1))
		onlyOne.OnNewBatch(in.Topic, 1)
	}
	none := new(StickyPartitioner)
	in = input(topicOf(-1, -1))
	seen := map[int32]bool{}
	for range 50 {
		current, err := none.Partition(in)
		require.NoError(t, err)
		seen[current] = true
		none.OnNewBatch(in.Topic, current)
	}
	require.Len(t, seen, 2)

	// The topic is made again with fewer partitions.
	fewer := new(StickyPartitioner)
	fewer.current.of("t").Store(5)
	require.Equal(t, []int{1}, choices(t, fewer, input(topicOf(0)), 1))
}

func TestStickyPartitionerFollowsKeys(t *testing.T) {
	in := input(topicOf(0, 1, 2))
	for _, key := range [][]byte{[]byte("a"), []byte("abcd"), {}} {
		in.Key = key
		for _, c := range []struct {
			p       *StickyPartitioner
			follows bool
		}{{new(StickyPartitioner), true}, {&StickyPartitioner{IgnoreKeys: true, rnd: func() uint32 { return 0 }}, false}} {
			current, err := c.p.Partition(in)
			require.NoError(t, err)
			want := int32(0)
			if c.follows {
				want = KeyPartition(key, 3)
			}
			require.Equal(t, want, current, "%q", key)
		}
	}
}

func TestPartitionersDoNotAllocate(t *testing.T) {
	in := input(topicOf(0, 1, 2))
	in.Topic.Name = fmt.Sprint("topic-", rand.Int())
	for _, p := range []BatchPartitioner{new(StickyPartitioner), batched{new(RoundRobinPartitioner)}} {
		require.Zero(t, testing.AllocsPerRun(100, func() {
			partition, err := choosePartition(p, in, [2]any{})
			if err != nil {
				t.Error(err)
			}
			p.OnNewBatch(in.Topic, partition)
		}))
	}
}

type batched struct{ Partitioner }

func (batched) OnNewBatch(*metadata.Topic, int32) {}
