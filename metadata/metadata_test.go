package metadata

import (
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	idA = [16]byte{1}
	idB = [16]byte{2}

	errUnknownTopic = errors.New("UNKNOWN_TOPIC_OR_PARTITION")
	errUnauthorized = errors.New("TOPIC_AUTHORIZATION_FAILED")
)

func nodes(ids ...int32) []Node {
	var list []Node
	for _, id := range ids {
		list = append(list, Node{ID: id, Host: "localhost", Port: 9092 + id})
	}
	return list
}

// topic makes a topic whose partition i is led by node 1 with leader epoch epochs[i].
func topic(name string, id [16]byte, epochs ...int32) Topic {
	t := Topic{Name: name, ID: id}
	for i, e := range epochs {
		t.Partitions = append(t.Partitions, Partition{
			Index: int32(i), Leader: 1, LeaderEpoch: e, Replicas: []int32{1, 2}, ISR: []int32{1, 2},
		})
	}
	return t
}

func full(topics ...Topic) Update {
	return Update{ClusterID: "c", Nodes: nodes(1, 2), Topics: topics}
}

func partial(topics ...Topic) Update {
	u := full(topics...)
	u.Partial = true
	return u
}

func epochOf(s *Snapshot, name string, partition int32) int32 {
	_, epoch, _ := s.Leader(name, partition)
	return epoch
}

func TestEmptySnapshotAnswersNothing(t *testing.T) {
	var s Snapshot
	require.True(t, s.Empty())
	_, ok := s.Node(1)
	require.False(t, ok)
	_, ok = s.Topic("a")
	require.False(t, ok)
	_, epoch, ok := s.Leader("a", 0)
	require.False(t, ok)
	require.Equal(t, NoEpoch, epoch)
	require.Empty(t, slices.Collect(s.Partitions("a")))
	require.Empty(t, slices.Collect(s.Nodes()))
	require.Same(t, &s, s.WithLeaders([]LeaderChange{{Topic: "a", Leader: 1, LeaderEpoch: 1}}, nodes(1)))
}

func TestSnapshotTellsNodesAndLeaders(t *testing.T) {
	u := full(topic("a", idA, 7, NoEpoch))
	u.Nodes[0].Rack = "r1"
	s := NewSnapshot(u)
	require.EqualValues(t, 1, s.Version())
	require.Equal(t, "c", s.ClusterID())
	require.Equal(t, u.Nodes, slices.Collect(s.Nodes()))
	require.Equal(t, 2, s.NodeCount())
	require.Equal(t, 1, len(s.topics))

	leader, epoch, ok := s.Leader("a", 0)
	require.True(t, ok)
	require.Equal(t, Node{ID: 1, Host: "localhost", Port: 9093, Rack: "r1"}, leader)
	require.EqualValues(t, 7, epoch)
	require.Equal(t, NoEpoch, epochOf(s, "a", 1))
	for _, partition := range []int32{-1, 2, 1 << 30} {
		_, _, ok = s.Leader("a", partition)
		require.False(t, ok)
	}
	require.Len(t, slices.Collect(s.Partitions("a")), 2)
	for p := range s.Partitions("a") {
		require.Zero(t, p.Index)
		break
	}
	require.Len(t, slices.Collect(s.Topics()), 1)
}

// KAFKA-9261, H34.
func TestLeaderWithoutNodeIsUnknown(t *testing.T) {
	a := topic("a", idA, 3, 3, 3)
	a.Partitions[1].Leader = 99
	a.Partitions[2].Leader = NoLeader
	s := NewSnapshot(full(a))
	_, epoch, ok := s.Leader("a", 1)
	require.False(t, ok)
	require.EqualValues(t, 3, epoch)
	_, _, ok = s.Leader("a", 2)
	require.False(t, ok)
	got, _ := s.Topic("a")
	require.Equal(t, []int32{0}, got.Available())

	// The node comes: the same answer makes the leader known.
	u := full(a)
	u.Nodes = nodes(1, 99)
	s = s.Merge(u, nil)
	leader, _, ok := s.Leader("a", 1)
	require.True(t, ok)
	require.EqualValues(t, 99, leader.ID)
	got, _ = s.Topic("a")
	require.Equal(t, []int32{0, 1}, got.Available())
}

func TestAvailabilityOfOtherTopicsFollowsTheNodes(t *testing.T) {
	b := topic("b", idB, 1, 1)
	b.Partitions[1].Leader = 2
	s := NewSnapshot(full(topic("a", idA, 1), b))
	a1, _ := s.Topic("a")
	u := partial(topic("c", idA, 1))
	u.Nodes = nodes(1)
	s = s.Merge(u, nil)
	got, _ := s.Topic("b")
	require.Equal(t, []int32{0}, got.Available())
	a2, _ := s.Topic("a")
	require.Same(t, a1, a2, "a topic that does not change is shared")
}

func TestLeaderRackFollowsTheNodes(t *testing.T) {
	b := topic("b", idB, 1)
	b.Partitions[0].Leader = 2
	u := full(topic("a", idA, 1), b)
	u.Nodes[0].Rack = "r1"
	s := NewSnapshot(u)
	a1, _ := s.Topic("a")
	b1, _ := s.Topic("b")
	require.Equal(t, "r1", a1.LeaderRack(0))
	require.Empty(t, a1.LeaderRack(1))
	require.Empty(t, a1.LeaderRack(-1))
	require.Empty(t, b1.LeaderRack(0))

	moved := nodes(1, 2)
	moved[0].Rack = "r2"
	s = s.Merge(Update{Nodes: moved, Partial: true}, nil)
	a2, _ := s.Topic("a")
	require.Equal(t, "r2", a2.LeaderRack(0))
	require.Equal(t, "r1", a1.LeaderRack(0), "the old topic is as it was")
	b2, _ := s.Topic("b")
	require.Same(t, b1, b2)
}

func TestTopicThatComesBackKnowsTheNodesOfToday(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 5)))
	u := full()
	u.Nodes = nodes(2)
	s = s.Merge(u, nil) // both the topic and its leader are gone
	u.Topics = []Topic{topic("a", idA, 4)}
	s = s.Merge(u, nil)
	got, _ := s.Topic("a")
	require.Empty(t, got.Available())
	s = s.WithLeaders([]LeaderChange{{"a", 0, 2, 6}}, nil)
	got, _ = s.Topic("a")
	require.Equal(t, []int32{0}, got.Available())
}

func TestAvailableOfHandMadeTopic(t *testing.T) {
	a := topic("a", idA, 1, 1, 1)
	a.Partitions[1].Leader = NoLeader
	require.Equal(t, []int32{0, 2}, a.Available())
}

func TestEpochNeverGoesBack(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 10)))
	old := topic("a", idA, 9)
	old.Partitions[0].Leader = 2
	old.Partitions[0].ISR = []int32{1}
	for _, u := range []Update{full(old), partial(old)} {
		next := s.Merge(u, nil)
		require.Same(t, s, next, "nothing of an older answer is taken")
	}
	newer := topic("a", idA, 11)
	newer.Partitions[0].Leader = 2
	s = s.Merge(partial(newer), nil)
	leader, epoch, _ := s.Leader("a", 0)
	require.EqualValues(t, 2, leader.ID)
	require.EqualValues(t, 11, epoch)
	require.EqualValues(t, 2, s.Version())

	highest := topic("a", idA, 1<<31-1)
	s = s.Merge(full(highest), nil)
	require.EqualValues(t, 1<<31-1, epochOf(s, "a", 0))
	s = s.Merge(full(newer), nil)
	require.EqualValues(t, 1<<31-1, epochOf(s, "a", 0))
}

func TestSameEpochTakesTheLaterAnswer(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 10)))
	later := topic("a", idA, 10)
	later.Partitions[0].ISR = []int32{1}
	s = s.Merge(full(later), nil)
	for p := range s.Partitions("a") {
		require.Equal(t, []int32{1}, p.ISR)
	}
}

// B22: -1 replaces the leader, not the memory.
func TestNoEpochIsNotAnEpoch(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 10)))
	leaderless := topic("a", idA, NoEpoch)
	leaderless.Partitions[0].Leader = NoLeader
	for range 6 {
		s = s.Merge(full(leaderless), nil)
		_, epoch, ok := s.Leader("a", 0)
		require.False(t, ok)
		require.Equal(t, NoEpoch, epoch)
	}
	require.EqualValues(t, 2, s.Version())

	s = s.Merge(full(topic("a", idA, 9)), nil)
	_, _, ok := s.Leader("a", 0)
	require.False(t, ok, "an old leader does not come back through a leaderless time")
	s = s.Merge(full(topic("a", idA, 11)), nil)
	_, epoch, ok := s.Leader("a", 0)
	require.True(t, ok)
	require.EqualValues(t, 11, epoch)

	below := topic("a", idA, -7)
	s = s.Merge(full(below), nil)
	require.Equal(t, NoEpoch, epochOf(s, "a", 0))
}

// KAFKA-9212: epochs of answers below version 9 count for nothing.
func TestUnreliableEpochsAreIgnored(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 10)))
	u := full(topic("a", idA, 4))
	u.Topics[0].Partitions[0].Leader = 2
	u.IgnoreEpochs = true
	s = s.Merge(u, nil)
	leader, epoch, ok := s.Leader("a", 0)
	require.True(t, ok)
	require.EqualValues(t, 2, leader.ID)
	require.Equal(t, NoEpoch, epoch)
	s = s.Merge(full(topic("a", idA, 3)), nil)
	require.EqualValues(t, 3, epochOf(s, "a", 0))
}

// B20: KAFKA-12257, KAFKA-13488.
func TestNewTopicIDLetsLowerEpochsIn(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 10, 10, 10)))
	s = s.Merge(full(topic("a", idB, 2)), nil)
	require.EqualValues(t, 2, epochOf(s, "a", 0))
	got, _ := s.Topic("a")
	require.Len(t, got.Partitions, 1, "a topic made anew may have fewer partitions")
	require.Equal(t, idB, got.ID)

	s = s.Merge(full(topic("a", idA, 1, 1)), nil)
	require.EqualValues(t, 1, epochOf(s, "a", 1))
}

func TestEpochsOutliveTopicErrorsAndAbsence(t *testing.T) {
	failed := Topic{Name: "a", Err: errUnknownTopic}
	for name, gap := range map[string][]Update{
		"error":                  {full(failed)},
		"error with id":          {full(Topic{Name: "a", ID: idA, Err: errUnknownTopic})},
		"missing":                {full(), full(), full()},
		"missing, then an error": {full(), full(failed)},
		"error, then missing":    {full(failed), full()},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSnapshot(full(topic("a", idA, 10, 4)))
			for _, u := range gap {
				s = s.Merge(u, nil)
				_, _, ok := s.Leader("a", 0)
				require.False(t, ok)
			}
			stale := s.Merge(full(topic("a", idA, 9, 4)), nil)
			if _, epoch, ok := stale.Leader("a", 0); ok {
				require.EqualValues(t, 10, epoch, "an old leader does not come back, the last one may")
			} else {
				got, _ := stale.Topic("a")
				require.ErrorIs(t, got.Partitions[0].Err, ErrStale)
			}
			require.EqualValues(t, 4, epochOf(stale, "a", 1))
			require.EqualValues(t, 12, epochOf(stale.Merge(full(topic("a", idA, 12, 4)), nil), "a", 0))

			anew := s.Merge(full(topic("a", idB, 0, 0)), nil)
			require.EqualValues(t, 0, epochOf(anew, "a", 0))
			_, _, ok := anew.Leader("a", 0)
			require.True(t, ok)
		})
	}
}

func TestEpochsWithoutTopicIDEndWithATopicError(t *testing.T) {
	var none [16]byte
	s := NewSnapshot(full(topic("a", none, 10)))
	require.EqualValues(t, 10, epochOf(s.Merge(full(topic("a", none, 3)), nil), "a", 0))
	s = s.Merge(full(Topic{Name: "a", Err: errUnknownTopic}), nil)
	s = s.Merge(full(topic("a", none, 3)), nil)
	require.EqualValues(t, 3, epochOf(s, "a", 0))
}

func TestTopicIDMayBeMissingForAWhile(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 10)))
	s = s.Merge(full(topic("a", [16]byte{}, 10)), nil)
	got, _ := s.Topic("a")
	require.Zero(t, got.ID, "the id follows the answer")
	require.EqualValues(t, 10, epochOf(s.Merge(full(topic("a", idA, 9)), nil), "a", 0))
	require.EqualValues(t, 9, epochOf(s.Merge(full(topic("a", idB, 9)), nil), "a", 0))
	s = NewSnapshot(full(topic("a", [16]byte{}, 10)))
	require.EqualValues(t, 2, epochOf(s.Merge(full(topic("a", idA, 2)), nil), "a", 0), "brokers were upgraded")
}

func TestPartitionsGrowAndDoNotShrink(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 5, 5)))
	s = s.Merge(full(topic("a", idA, 5, 5, 0)), nil)
	got, _ := s.Topic("a")
	require.Equal(t, []int32{0, 1, 2}, got.Available())
	require.Same(t, s, s.Merge(full(topic("a", idA, 5)), nil), "a broker that lags behind")

	s = NewSnapshot(full(topic("a", [16]byte{}, 5, 5)))
	s = s.Merge(full(topic("a", [16]byte{}, 5)), nil)
	got, _ = s.Topic("a")
	require.Len(t, got.Partitions, 1, "without an id it may be a new topic")
}

func TestPartialUpdateKeepsOtherTopics(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 1), topic("b", idB, 1)))
	b1, _ := s.Topic("b")
	s = s.Merge(partial(topic("a", idA, 2), topic("c", idA, 1)), nil)
	b2, _ := s.Topic("b")
	require.Same(t, b1, b2)
	require.EqualValues(t, 2, epochOf(s, "a", 0))
	require.EqualValues(t, 1, epochOf(s, "c", 0))

	s = s.Merge(partial(Topic{Name: "a", Err: errUnauthorized}), nil)
	a, ok := s.Topic("a")
	require.True(t, ok)
	require.ErrorIs(t, a.Err, errUnauthorized)
	require.Empty(t, a.Partitions)
	require.Empty(t, a.Available())
}

func TestFullUpdateDropsOtherTopics(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 1), topic("b", idB, 1)))
	s = s.Merge(full(topic("b", idB, 1)), nil)
	_, ok := s.Topic("a")
	require.False(t, ok)
	require.Equal(t, 1, len(s.topics))
}

// H37: only topics that are wanted stay; their epochs go with them.
func TestUnwantedTopicsAreLeftOut(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 9), topic("b", idB, 1)))
	keep := func(name string) bool { return name != "a" }
	for _, u := range []Update{full(topic("a", idA, 9), topic("b", idB, 1)), partial(topic("a", idA, 9)), partial()} {
		next := s.Merge(u, keep)
		_, ok := next.Topic("a")
		require.False(t, ok)
		require.Empty(t, next.gone)
		_, ok = next.Topic("b")
		require.True(t, ok)
		require.EqualValues(t, 3, epochOf(next.Merge(partial(topic("a", idA, 3)), nil), "a", 0))
	}
}

func TestEquivalentAnswerIsTheSameSnapshot(t *testing.T) {
	answer := func() Update {
		a := topic("a", idA, 1, 2)
		a.Partitions[1].Err = errors.New("LEADER_NOT_AVAILABLE")
		return full(a, Topic{Name: "b", Err: errUnknownTopic})
	}
	s := NewSnapshot(answer())
	require.Same(t, s, s.Merge(answer(), nil))
	u := answer()
	u.ClusterID = ""
	require.Same(t, s, s.Merge(u, nil), "a broker that does not tell the cluster id")
	u = answer()
	slices.Reverse(u.Topics)
	slices.Reverse(u.Nodes)
	require.Same(t, s, s.Merge(u, nil))
}

func TestEachChangeRaisesTheVersion(t *testing.T) {
	base := func() Update { return full(topic("a", idA, 1)) }
	s := NewSnapshot(base())
	for name, change := range map[string]func(u *Update){
		"cluster id":  func(u *Update) { u.ClusterID = "other" },
		"address":     func(u *Update) { u.Nodes[0].Host = "elsewhere" },
		"rack":        func(u *Update) { u.Nodes[0].Rack = "r" },
		"node more":   func(u *Update) { u.Nodes = nodes(1, 2, 3) },
		"node less":   func(u *Update) { u.Nodes = nodes(1) },
		"topic id":    func(u *Update) { u.Topics[0].ID = idB },
		"internal":    func(u *Update) { u.Topics[0].Internal = true },
		"topic error": func(u *Update) { u.Topics[0] = Topic{Name: "a", Err: errUnknownTopic} },
		"epoch":       func(u *Update) { u.Topics[0].Partitions[0].LeaderEpoch++ },
		"leader":      func(u *Update) { u.Topics[0].Partitions[0].Leader = 2 },
		"isr":         func(u *Update) { u.Topics[0].Partitions[0].ISR = nil },
		"offline":     func(u *Update) { u.Topics[0].Partitions[0].Offline = []int32{2} },
		"error":       func(u *Update) { u.Topics[0].Partitions[0].Err = errUnknownTopic },
		"no topic":    func(u *Update) { u.Topics = nil },
	} {
		t.Run(name, func(t *testing.T) {
			u := base()
			change(&u)
			next := s.Merge(u, nil)
			require.Equal(t, s.Version()+1, next.Version())
			require.EqualValues(t, 1, epochOf(s, "a", 0), "the old snapshot is as it was")
		})
	}
}

func TestMergeOwnsWhatItKeeps(t *testing.T) {
	u := full(topic("a", idA, 1))
	s := NewSnapshot(u)
	clear(u.Topics[0].Partitions[0].ISR)
	clear(u.Topics[0].Partitions)
	clear(u.Nodes)
	for p := range s.Partitions("a") {
		require.Equal(t, []int32{1, 2}, p.ISR)
		require.Equal(t, []int32{1, 2}, p.Replicas)
		require.EqualValues(t, 1, p.LeaderEpoch)
	}
	_, _, ok := s.Leader("a", 0)
	require.True(t, ok)
}

// KIP-951.
func TestLeaderHintsCountOnlyWithAHigherEpoch(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 5, 5), topic("b", idB, 5), Topic{Name: "c", Err: errUnknownTopic}))
	for name, c := range map[string]LeaderChange{
		"same epoch":        {"a", 0, 2, 5},
		"lower epoch":       {"a", 0, 2, 4},
		"no epoch":          {"a", 0, 2, NoEpoch},
		"no leader":         {"a", 0, NoLeader, 6},
		"leader not known":  {"a", 0, 77, 6},
		"partition":         {"a", 2, 2, 6},
		"negative":          {"a", -1, 2, 6},
		"topic not known":   {"x", 0, 2, 6},
		"topic with error":  {"c", 0, 2, 6},
		"partition overrun": {"a", 1<<31 - 1, 2, 6},
	} {
		require.Same(t, s, s.WithLeaders([]LeaderChange{c}, nodes(1)), name)
	}

	b1, _ := s.Topic("b")
	next := s.WithLeaders([]LeaderChange{{"a", 0, 2, 6}, {"a", 0, 1, 5}, {"a", 1, 3, 9}}, nodes(3))
	leader, epoch, _ := next.Leader("a", 0)
	require.EqualValues(t, 2, leader.ID)
	require.EqualValues(t, 6, epoch)
	leader, epoch, ok := next.Leader("a", 1)
	require.True(t, ok, "the hint brought the node along")
	require.EqualValues(t, 3, leader.ID)
	require.EqualValues(t, 9, epoch)
	b2, _ := next.Topic("b")
	require.Same(t, b1, b2)
	require.EqualValues(t, 5, epochOf(s, "a", 0), "the old snapshot is as it was")
	require.Equal(t, s.Version()+1, next.Version())

	// A metadata answer that has not heard of it does not undo it.
	require.EqualValues(t, 6, epochOf(next.Merge(full(topic("a", idA, 5, 5)), nil), "a", 0))
}

func TestLeaderHintBringsPartitionBack(t *testing.T) {
	a := topic("a", idA, 5)
	a.Partitions[0].Leader, a.Partitions[0].Err = NoLeader, errors.New("LEADER_NOT_AVAILABLE")
	b := topic("b", idB, 5)
	b.Partitions[0].Leader = 3
	s := NewSnapshot(full(a, b))
	s = s.WithLeaders([]LeaderChange{{"a", 0, 3, 6}}, nodes(3))
	for _, name := range []string{"a", "b"} {
		got, _ := s.Topic(name)
		require.Equal(t, []int32{0}, got.Available())
		require.NoError(t, got.Partitions[0].Err)
	}
}

func TestHintMovesANodesAddress(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 5)))
	s = s.WithLeaders([]LeaderChange{{"a", 0, 2, 6}}, []Node{{ID: 2, Host: "moved", Port: 1}})
	leader, _, _ := s.Leader("a", 0)
	require.Equal(t, "moved", leader.Host)
	require.Equal(t, 2, s.NodeCount())
}

// one returns a sequence of one partition.
func one(topic string, partition int32) iter.Seq2[string, int32] {
	return func(yield func(string, int32) bool) { yield(topic, partition) }
}

// A node that answers for a thousand partitions that it does not lead them is doubted at the cost of one.
func TestManyDoubtsAreOneSnapshot(t *testing.T) {
	const partitions = 1000
	s := NewSnapshot(full(topic("a", idA, slices.Repeat([]int32{9}, partitions)...), topic("b", idB, 1)))
	all := func(yield func(string, int32) bool) {
		for i := range int32(partitions) {
			if !yield("a", i) {
				return
			}
		}
	}
	doubted := s.Doubt(all)
	require.Equal(t, s.Version()+1, doubted.Version())
	for i := range int32(partitions) {
		require.Equal(t, NoEpoch, epochOf(doubted, "a", i))
		require.EqualValues(t, 9, epochOf(s, "a", i))
	}
	require.EqualValues(t, 1, epochOf(doubted, "b", 0))
	require.Less(t, testing.AllocsPerRun(5, func() { s.Doubt(all) }), 20.0)
}

// A leader that is doubted gives way to the next answer with any epoch, even if the epoch is only remembered (the
// last answer had none). Others of the topic keep theirs.
func TestADoubtedLeaderGivesWayToTheNextAnswer(t *testing.T) {
	for _, remembered := range []bool{false, true} {
		s := NewSnapshot(full(topic("a", idA, 9, 9)))
		if remembered {
			s = s.Merge(partial(topic("a", idA, -1, -1)), nil)
		}
		older := topic("a", idA, 3, 3)
		older.Partitions[0].Leader, older.Partitions[1].Leader = 2, 2
		require.NotEqual(t, int32(3), epochOf(s.Merge(partial(older), nil), "a", 0))

		doubted := s.Doubt(one("a", 0))
		require.Equal(t, s.Version()+1, doubted.Version())
		leader, epoch, ok := doubted.Merge(partial(older), nil).Leader("a", 0)
		require.True(t, ok)
		require.EqualValues(t, 2, leader.ID, "remembered: %v", remembered)
		require.EqualValues(t, 3, epoch)
		require.NotEqual(t, int32(3), epochOf(doubted.Merge(partial(older), nil), "a", 1))
		require.NotEqual(t, int32(3), epochOf(s.Merge(partial(older), nil), "a", 0), "the snapshot before is as it was")
	}
	s := NewSnapshot(full(topic("a", idA, -1)))
	for _, same := range []*Snapshot{s.Doubt(one("a", 0)), s.Doubt(one("a", 1)), s.Doubt(one("a", -1)), s.Doubt(one("b", 0))} {
		require.Same(t, s, same)
	}
}
