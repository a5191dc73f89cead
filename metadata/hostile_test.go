package metadata

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Answers that no sane broker gives.

// H29.
func TestAnswerWithoutNodesChangesNothing(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 5)))
	u := Update{Topics: []Topic{topic("b", idB, 1)}}
	require.False(t, u.HasNodes())
	require.Same(t, s, s.Merge(u, nil))
	u.Nodes = []Node{{ID: 1}}
	require.False(t, u.HasNodes())
	require.Same(t, s, s.Merge(u, nil))
	require.True(t, full().HasNodes())
	require.Len(t, NewSnapshot(Update{Topics: []Topic{topic("b", idB, 1)}}).topics, 1)
}

// H30, H31, H32.
func TestUnusableNodesAreLeftOut(t *testing.T) {
	good := Node{ID: 1, Host: "fe80::1%eth0", Port: 65535}
	for name, bad := range map[string]Node{
		"no host":     {ID: 2, Port: 9092},
		"long":        {ID: 2, Host: strings.Repeat("x", 300), Port: 9092},
		"nul":         {ID: 2, Host: "a\x00b", Port: 9092},
		"newline":     {ID: 2, Host: "a\nb", Port: 9092},
		"escape":      {ID: 2, Host: "\x1b[31mred", Port: 9092},
		"space":       {ID: 2, Host: "a b", Port: 9092},
		"not utf-8":   {ID: 2, Host: "a\xff", Port: 9092},
		"override":    {ID: 2, Host: "a\u202eb", Port: 9092},
		"port 0":      {ID: 2, Host: "a"},
		"port -1":     {ID: 2, Host: "a", Port: -1},
		"port 70000":  {ID: 2, Host: "a", Port: 70000},
		"negative id": {ID: -2, Host: "a", Port: 9092},
	} {
		a := topic("a", idA, 1)
		a.Partitions[0].Leader = bad.ID
		u := Update{Nodes: []Node{bad, good}, Topics: []Topic{a}}
		s := NewSnapshot(u)
		require.Equal(t, []Node{good}, slices.Collect(s.Nodes()), name)
		_, _, ok := s.Leader("a", 0)
		require.False(t, ok, name)
		require.Len(t, u.Faults(), 1, name)
	}
	twice := Update{Nodes: []Node{good, {ID: 1, Host: "evil", Port: 1}}}
	require.Equal(t, []Node{good}, slices.Collect(NewSnapshot(twice).Nodes()))
	require.Len(t, twice.Faults(), 1)
}

// H35.
func TestOddPartitionIndexes(t *testing.T) {
	list := func(indexes ...int32) Topic {
		var ps []Partition
		for _, i := range indexes {
			ps = append(ps, Partition{Index: i, Leader: 1, LeaderEpoch: 5})
		}
		return Topic{Name: "a", ID: idA, Partitions: ps}
	}
	for name, bad := range map[string]Topic{
		"negative": list(0, -1),
		"huge":     list(0, 1<<31-1),
		"far":      list(0, 12),
		"twice":    list(0, 1, 1),
	} {
		u := full(bad)
		s := NewSnapshot(u)
		got, ok := s.Topic("a")
		require.True(t, ok, name)
		require.ErrorIs(t, got.Err, ErrMalformed, name)
		require.Empty(t, got.Partitions, name)
		require.ErrorIs(t, u.Faults()[0], ErrMalformed, name)

		s = NewSnapshot(full(topic("a", idA, 1, 1)))
		require.Same(t, s, s.Merge(u, nil), "what is known survives a malformed answer: "+name)
	}

	s := NewSnapshot(full(list(2, 0)))
	got, _ := s.Topic("a")
	require.Len(t, got.Partitions, 3, "keys are mapped by the number of partitions")
	require.Equal(t, []int32{0, 2}, got.Available())
	require.ErrorIs(t, got.Partitions[1].Err, ErrPartitionMissing)
	s = s.Merge(full(list(0, 1, 2)), nil)
	require.Same(t, s, s.Merge(full(list(0, 2)), nil), "a gap does not take away what is known")
}

// H39: no false success.
func TestTopicWithoutPartitionsIsAnError(t *testing.T) {
	s := NewSnapshot(full(Topic{Name: "a", ID: idA}))
	got, ok := s.Topic("a")
	require.True(t, ok)
	require.ErrorIs(t, got.Err, ErrNoPartitions)
}

// H42.
func TestTopicWithoutNameIsLeftOut(t *testing.T) {
	u := full(Topic{ID: idA, Partitions: topic("", idA, 1).Partitions}, topic("b", idB, 1))
	require.Len(t, NewSnapshot(u).topics, 1)
	require.Len(t, u.Faults(), 1)
}

func TestTopicNamedTwiceIsMergedTwice(t *testing.T) {
	s := NewSnapshot(full(topic("a", idA, 5), topic("a", idA, 4)))
	require.EqualValues(t, 5, epochOf(s, "a", 0))
}

// H40: an id that changes with each answer.
func TestTopicIDThatChangesEachTime(t *testing.T) {
	var s Snapshot
	next := &s
	for i := range 100 {
		next = next.Merge(full(topic("a", [16]byte{byte(i + 1)}, int32(100-i))), nil)
		require.EqualValues(t, 100-i, epochOf(next, "a", 0))
	}
}

// H44.
// Brokers of a KRaft cluster name any broker as the controller, another one in each answer (KIP-590).
func TestAnotherControllerIsNoChange(t *testing.T) {
	one, two := int32(1), int32(2)
	nodes := []Node{{ID: 1, Host: "a", Port: 1}, {ID: 2, Host: "b", Port: 1}}
	_, ok := NewSnapshot(Update{Nodes: nodes}).Controller()
	require.False(t, ok)
	s := NewSnapshot(Update{Nodes: nodes, Controller: &one})
	n, ok := s.Controller()
	require.True(t, ok)
	require.Equal(t, nodes[0], n)
	require.Same(t, s, s.Merge(Update{Nodes: nodes, Controller: &two}, nil))

	s = s.Merge(Update{Nodes: append(nodes, Node{ID: 3, Host: "c", Port: 1}), Controller: &two}, nil)
	n, _ = s.Controller()
	require.Equal(t, nodes[1], n)
	s = s.Merge(Update{Nodes: nodes[:1]}, nil)
	_, ok = s.Controller()
	require.False(t, ok, "its address is not known any more")
}

func TestClusterIDChangeIsVisible(t *testing.T) {
	s := NewSnapshot(full())
	u := full()
	u.ClusterID = "another"
	require.Equal(t, "another", s.Merge(u, nil).ClusterID())
	require.Equal(t, "c", s.ClusterID())
}

func TestFaultsAreBounded(t *testing.T) {
	for _, u := range []Update{
		{Nodes: make([]Node, 1000)},
		{Nodes: slices.Repeat(nodes(1), 1000)},
		{Topics: make([]Topic, 1000)},
		{Topics: slices.Repeat([]Topic{{Name: "a"}}, 1000)},
	} {
		require.Len(t, u.Faults(), maxFaults)
	}
	require.Empty(t, full(topic("a", idA, 1), Topic{Name: "b", Err: errUnknownTopic}).Faults())
}
