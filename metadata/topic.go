package metadata

import (
	"errors"
	"slices"
)

// Errors that a merge puts into Topic.Err and Partition.Err where the broker's answer itself is at
// fault. All of them pass with a better answer, so they call for another refresh.
var (
	// ErrNoPartitions marks a topic that a broker described without error and without partitions.
	ErrNoPartitions = errors.New("metadata: topic has no partitions")
	// ErrMalformed marks a topic whose partition indexes cannot be right: negative, twice the same,
	// or far above the number of partitions listed.
	ErrMalformed = errors.New("metadata: malformed partition indexes")
	// ErrPartitionMissing marks a partition that the answer left out between others.
	ErrPartitionMissing = errors.New("metadata: partition missing from the answer")
	// ErrStale marks a partition whose leader is older than one already seen, so that it is not
	// known who leads now.
	ErrStale = errors.New("metadata: leader epoch older than one already seen")
)

// NoEpoch is the leader epoch of a partition whose epoch is not known: the broker is too old to
// report it, or the partition has no leader. It is never compared with real epochs.
const NoEpoch int32 = -1

// NoLeader is the leader id of a partition without a leader.
const NoLeader int32 = -1

// Node is a broker as a connection target. An empty Rack means that the broker reported none.
type Node struct {
	ID   int32
	Host string
	Port int32
	Rack string
}

// Partition is one partition of a topic as the cluster last described it.
type Partition struct {
	Index       int32
	Leader      int32 // node id, NoLeader if there is none. May name a node that the snapshot does not have
	LeaderEpoch int32 // NoEpoch if not known
	Replicas    []int32
	ISR         []int32
	Offline     []int32
	Err         error // nil if the broker reported none; never "no error" as a value
}

// Topic is one topic of a snapshot. It never changes: every merge that finds a difference makes a
// new one, so a pointer to it also serves as its version.
//
// A topic with Err has no partitions. In a snapshot Partitions is dense: Partitions[i].Index == i.
type Topic struct {
	Name       string
	ID         [16]byte // zero if the broker is too old to have topic ids (before 2.8)
	Internal   bool
	Partitions []Partition
	Err        error

	// Set by the merge; a topic made by hand has none of them.
	placed    bool           // available and nodes are valid
	available []int32        // partitions whose leader is a known node, ascending
	nodes     map[int32]Node // of a snapshot with the topic; valid for the leaders' racks only
	knownID   [16]byte       // the last id that was not zero; epochs are only comparable under one id
	seen      epochList      // epochs seen before that Partitions does not show (any more)
}

// epochList is the highest leader epoch seen, by partition; it may be shorter than the partitions.
type epochList []int32

// Available lists the partitions that can be produced to now, in ascending order: those whose
// leader is a known node. The slice is shared and must not be changed. It does not allocate for a
// topic that comes from a Snapshot; in one made by hand every leader counts as known.
func (t *Topic) Available() []int32 {
	if t.placed {
		return t.available
	}
	return t.reachable(func(id int32) bool { return id >= 0 })
}

// LeaderRack returns the rack of the node that leads a partition, empty if that is not known. It does
// not allocate. A topic made by hand knows no racks.
func (t *Topic) LeaderRack(partition int32) string {
	if partition < 0 || int(partition) >= len(t.Partitions) {
		return ""
	}
	return t.nodes[t.Partitions[partition].Leader].Rack
}

// reachable lists the partitions whose leader is known.
func (t *Topic) reachable(known func(node int32) bool) []int32 {
	list := make([]int32, 0, len(t.Partitions))
	for i := range t.Partitions {
		if p := &t.Partitions[i]; p.Leader >= 0 && known(p.Leader) {
			list = append(list, p.Index)
		}
	}
	return list
}

// lastEpoch returns the highest leader epoch ever seen for a partition under the topic's known id.
func (t *Topic) lastEpoch(partition int) int32 {
	epoch := NoEpoch
	if partition < len(t.Partitions) {
		epoch = t.Partitions[partition].LeaderEpoch
	}
	if partition < len(t.seen) {
		epoch = max(epoch, t.seen[partition])
	}
	return epoch
}

// lastEpochs returns lastEpoch of all partitions as a list; nil if no epoch was ever seen.
func (t *Topic) lastEpochs() epochList {
	list := make(epochList, max(len(t.Partitions), len(t.seen)))
	found := false
	for i := range list {
		list[i] = t.lastEpoch(i)
		found = found || list[i] != NoEpoch
	}
	if !found {
		return nil
	}
	return list
}

// own gives the topic's lists memory of its own, one block for all of them: the update they came
// from is often decoded into slices that the next answer reuses.
func (t *Topic) own() {
	total := 0
	for i := range t.Partitions {
		p := &t.Partitions[i]
		total += len(p.Replicas) + len(p.ISR) + len(p.Offline)
	}
	block := make([]int32, 0, total)
	take := func(list []int32) []int32 {
		start := len(block)
		block = append(block, list...)
		return block[start:len(block):len(block)]
	}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		p.Replicas, p.ISR, p.Offline = take(p.Replicas), take(p.ISR), take(p.Offline)
	}
}

// same reports whether two topics are equal, remembered epochs and leaders' racks included.
func (t *Topic) same(o *Topic) bool {
	return t.Name == o.Name && t.ID == o.ID && t.knownID == o.knownID &&
		t.Internal == o.Internal && sameError(t.Err, o.Err) &&
		slices.Equal(t.seen, o.seen) &&
		slices.Equal(t.available, o.available) &&
		slices.EqualFunc(t.Partitions, o.Partitions, samePartition) && t.sameRacks(o)
}

// sameRacks reports whether the leaders of two topics with the same partitions are in the same racks.
func (t *Topic) sameRacks(o *Topic) bool {
	for _, i := range t.available {
		if t.LeaderRack(i) != o.LeaderRack(i) {
			return false
		}
	}
	return true
}

func samePartition(a, b Partition) bool {
	return a.Index == b.Index && a.Leader == b.Leader && a.LeaderEpoch == b.LeaderEpoch &&
		sameError(a.Err, b.Err) &&
		slices.Equal(a.Replicas, b.Replicas) && slices.Equal(a.ISR, b.ISR) && slices.Equal(a.Offline, b.Offline)
}

// sameError compares by text: errors are not always comparable, and a merge must not panic.
func sameError(a, b error) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Error() == b.Error()
}
