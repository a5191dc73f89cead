package metadata

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func bigUpdate(topics, partitions int) Update {
	u := Update{Nodes: nodes(1, 2)}
	epochs := make([]int32, partitions)
	for i := range topics {
		u.Topics = append(u.Topics, topic(fmt.Sprint("topic-", i), idA, epochs...))
	}
	return u
}

func TestLookupsDoNotAllocate(t *testing.T) {
	s := NewSnapshot(bigUpdate(1000, 100))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		topic, ok := s.Topic("topic-7")
		_, _, led := s.LeaderOf(topic, 3)
		if !ok || !led || len(topic.Available()) != 100 {
			t.Error("lookup")
		}
		for p := range s.Partitions("topic-8") {
			_ = p.Index
		}
	}))
}

func TestSmallUpdateIsCheapAmongManyPartitions(t *testing.T) {
	s := NewSnapshot(bigUpdate(1000, 100))
	u := partial(topic("topic-7", idA, make([]int32, 100)...))
	u.Topics[0].Partitions[5].LeaderEpoch = 3
	next := s.Merge(u, nil)
	for other := range s.Topics() {
		if other.Name != "topic-7" {
			got, _ := next.Topic(other.Name)
			require.Same(t, other, got)
		}
	}
	require.Less(t, testing.AllocsPerRun(5, func() { s.Merge(u, nil) }), 200.0)
}

// H33.
func TestHundredThousandNodes(t *testing.T) {
	var u Update
	for i := range int32(100_000) {
		u.Nodes = append(u.Nodes, Node{ID: i, Host: "h", Port: 1})
	}
	s := NewSnapshot(u)
	require.Equal(t, 100_000, s.NodeCount())
	require.Same(t, s, s.Merge(u, nil))
}

func TestReadersSeeWholeSnapshots(t *testing.T) {
	var current atomic.Pointer[Snapshot]
	current.Store(NewSnapshot(full(topic("a", idA, 0, 0))))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			last := int64(0)
			for !stop.Load() {
				s := current.Load()
				e0, e1 := epochOf(s, "a", 0), epochOf(s, "a", 1)
				if e0 != e1 || s.Version() < last {
					t.Error("torn snapshot")
					return
				}
				last = s.Version()
			}
		})
	}
	for e := int32(1); e < 500; e++ {
		current.Store(current.Load().Merge(full(topic("a", idA, e, e)), nil))
	}
	stop.Store(true)
	wg.Wait()
}

// TestRandomAnswersKeepThePromises feeds random answers, good and bad, and checks after each what
// the package promises.
func TestRandomAnswersKeepThePromises(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	names := []string{"a", "b", "c", ""}
	for range 100 {
		s := new(Snapshot)
		highest := map[string]int32{} // by topic, id and partition
		for range 60 {
			before := *s
			next := randomStep(rnd, s, names)
			require.Equal(t, before, *s, "snapshots do not change")
			if next != s {
				require.Equal(t, s.Version()+1, next.Version())
			}
			s = next
			checkInvariants(t, s, highest)
		}
	}
}

func randomStep(rnd *rand.Rand, s *Snapshot, names []string) *Snapshot {
	if rnd.IntN(10) == 0 {
		return s.WithLeaders([]LeaderChange{{
			names[rnd.IntN(3)], rnd.Int32N(6) - 1, rnd.Int32N(5) - 1, rnd.Int32N(12) - 1,
		}}, randomNodes(rnd))
	}
	u := Update{Nodes: randomNodes(rnd), Partial: rnd.IntN(2) == 0}
	for _, i := range rnd.Perm(len(names))[:rnd.IntN(len(names))] {
		t := Topic{Name: names[i], ID: [16]byte{byte(rnd.IntN(3))}}
		if rnd.IntN(6) == 0 {
			t.Err = errUnknownTopic
		}
		for i := range rnd.Int32N(5) {
			p := Partition{Index: i, Leader: rnd.Int32N(5) - 1, LeaderEpoch: rnd.Int32N(10) - 2}
			if rnd.IntN(20) == 0 {
				p.Index = rnd.Int32N(14) - 1
			}
			t.Partitions = append(t.Partitions, p)
		}
		u.Topics = append(u.Topics, t)
	}
	return s.Merge(u, nil)
}

func randomNodes(rnd *rand.Rand) []Node {
	var list []Node
	for range rnd.IntN(4) {
		list = append(list, Node{ID: rnd.Int32N(4), Host: "h", Port: rnd.Int32N(3)})
	}
	return list
}

func checkInvariants(t *testing.T, s *Snapshot, highest map[string]int32) {
	for topic := range s.Topics() {
		require.Equal(t, topic.Err == nil, len(topic.Partitions) > 0)
		available := 0
		for i, p := range topic.Partitions {
			require.EqualValues(t, i, p.Index)
			require.GreaterOrEqual(t, p.LeaderEpoch, NoEpoch)
			if _, _, ok := s.Leader(topic.Name, p.Index); ok {
				require.Equal(t, p.Index, topic.Available()[available])
				available++
			}
			if p.LeaderEpoch == NoEpoch || topic.ID == [16]byte{} {
				continue
			}
			key := fmt.Sprint(topic.Name, topic.ID, i)
			if last, ok := highest[key]; ok {
				require.GreaterOrEqual(t, p.LeaderEpoch, last, key)
			}
			highest[key] = p.LeaderEpoch
		}
		require.Len(t, topic.Available(), available)
		// Ids come and go here, and only the present one is remembered.
		present := fmt.Sprint(topic.Name, topic.ID)
		maps.DeleteFunc(highest, func(key string, _ int32) bool {
			return topic.ID != [16]byte{} && strings.HasPrefix(key, topic.Name) && !strings.HasPrefix(key, present)
		})
	}
}

func BenchmarkMergeOfHundredThousandPartitions(b *testing.B) {
	u := bigUpdate(1000, 100)
	s := NewSnapshot(u)
	for b.Loop() {
		s.Merge(u, nil)
	}
}
