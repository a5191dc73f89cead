// Package metadata holds what a client knows about a Kafka cluster: which nodes there are, which
// partitions a topic has, and who leads them.
//
// A Snapshot never changes. Its owner (the producer's sender) makes the next one from the present
// one with Merge, WithLeaders or Doubt and publishes it; other goroutines may read it without a
// lock. Topics that an update leaves as they were are shared between snapshots, so
// the cost of an update follows what changed, and the cost of a lookup does not grow with the
// number of partitions known.
//
// Brokers answer from caches that lag behind each other, restart, and are sometimes not brokers at
// all. So a merge keeps these promises:
//
//   - The leader of a partition never goes back to one with a lower epoch while the topic id is the
//     same, not even across answers in which the topic is missing or in error. A new topic id lets
//     any epoch in: the topic was created again (KAFKA-12257, KAFKA-13488). Without topic ids (brokers
//     before 2.8) an answer with a topic error ends what was known of its epochs, because nothing
//     else shows that a topic was created again.
//   - A leader that is doubted (Doubt) gives way to the next answer, whatever its epoch.
//   - Epoch -1 means "no epoch". It replaces the leader but not the memory of epochs seen.
//   - A leader that is not among the nodes is an unknown leader, never a fault (KAFKA-9261).
//   - An answer without a usable node changes nothing. Unusable nodes and malformed topics are left
//     out; Update.Faults lists them.
//
// The package is a leaf: standard library only, no I/O, no clock.
package metadata

import (
	"iter"
	"maps"
	"slices"
)

// Snapshot is an immutable view of the cluster. The zero value is an empty one. All methods may be
// called concurrently, do not block and, if not said otherwise, do not allocate.
type Snapshot struct {
	version    int64
	clusterID  string
	controller *int32
	nodes      map[int32]Node
	topics     map[string]*Topic
	gone       map[string]*Topic // kept topics that the last full answer left out, for their epochs
}

// NewSnapshot makes a snapshot from one full update. Unlike Merge it accepts an update without
// nodes: then no partition has a known leader.
func NewSnapshot(u Update) *Snapshot {
	u.Partial = false
	return new(Snapshot).merge(u, u.usableNodes(), keepAll)
}

// Version returns a number that rises by one with each change. Two snapshots of which one was made from
// the other, directly or through others, are the same if they have the same version.
func (s *Snapshot) Version() int64 { return s.version }

// ClusterID returns the cluster's id, empty if no broker has reported it. A change of it means that the
// addresses now lead to another cluster.
func (s *Snapshot) ClusterID() string { return s.clusterID }

// Controller returns the node that the last answer which brought a change named as the cluster's controller; ok is false if none did,
// or if its address is not known. Another controller by itself is no change: the brokers of a KRaft cluster name any broker,
// another one in each answer, because clients do not talk to its controllers (KIP-590).
func (s *Snapshot) Controller() (n Node, ok bool) {
	if s.controller == nil {
		return Node{}, false
	}
	return s.Node(*s.controller)
}

// Empty reports whether no node is known.
func (s *Snapshot) Empty() bool { return len(s.nodes) == 0 }

// Node returns the node with the given id.
func (s *Snapshot) Node(id int32) (Node, bool) {
	n, ok := s.nodes[id]
	return n, ok
}

// NodeCount returns the number of nodes known.
func (s *Snapshot) NodeCount() int { return len(s.nodes) }

// Nodes walks the nodes in the order of their ids. It allocates.
func (s *Snapshot) Nodes() iter.Seq[Node] {
	return func(yield func(Node) bool) {
		for _, id := range slices.Sorted(maps.Keys(s.nodes)) {
			if !yield(s.nodes[id]) {
				return
			}
		}
	}
}

// Topic returns the topic with the given name; ok is false when nothing is known about it. A topic in
// error is known: look at Err before Partitions. The topic is shared and must not be changed.
func (s *Snapshot) Topic(name string) (t *Topic, ok bool) {
	t, ok = s.topics[name]
	return t, ok
}

// Topics walks the topics in no particular order.
func (s *Snapshot) Topics() iter.Seq[*Topic] { return maps.Values(s.topics) }

// Leader returns the node that leads a partition and its leader epoch (NoEpoch if not known). ok is
// false when the partition, its leader or the leader's address is not known.
func (s *Snapshot) Leader(topic string, partition int32) (leader Node, epoch int32, ok bool) {
	return s.LeaderOf(s.topics[topic], partition)
}

// LeaderOf returns what Leader does, for a topic that the caller has looked up. A nil topic has no leader.
func (s *Snapshot) LeaderOf(t *Topic, partition int32) (leader Node, epoch int32, ok bool) {
	if t == nil || partition < 0 || int(partition) >= len(t.Partitions) {
		return Node{}, NoEpoch, false
	}
	p := &t.Partitions[partition]
	leader, ok = s.nodes[p.Leader]
	if !ok || p.Leader < 0 {
		return Node{}, p.LeaderEpoch, false
	}
	return leader, p.LeaderEpoch, true
}

// Partitions walks the partitions of a topic by index; nothing for an unknown topic.
func (s *Snapshot) Partitions(topic string) iter.Seq[Partition] {
	return func(yield func(Partition) bool) {
		t := s.topics[topic]
		if t == nil {
			return
		}
		for i := range t.Partitions {
			if !yield(t.Partitions[i]) {
				return
			}
		}
	}
}
