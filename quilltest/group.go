package quilltest

import (
	"maps"
	"slices"
	"sync"

	"github.com/quill-kafka/quill/protocol"
)

// A CommittedOffset is what a consumer group has committed for a partition.
type CommittedOffset struct {
	Offset int64
	// LeaderEpoch is -1 if the client did not say.
	LeaderEpoch int32
	Metadata    string
}

// A Group describes a consumer group whose offsets only its members may commit.
type Group struct {
	Generation int32
	Members    []GroupMember
}

// A GroupMember is a member of a Group. InstanceID is empty for a dynamic member.
type GroupMember struct {
	ID         string
	InstanceID string
}

// check says whether a commit comes from the group's present generation (KIP-447). One that names
// neither generation nor member is from a client before that, and passes.
func (g *Group) check(generation int32, memberID string, instanceID *string) protocol.ErrorCode {
	if g == nil {
		return protocol.None // the test did not say
	}
	if generation < 0 && (len(g.Members) == 0 || memberID == "" && instanceID == nil) {
		return protocol.None
	}
	member := slices.IndexFunc(g.Members, func(m GroupMember) bool {
		if instanceID != nil {
			return m.InstanceID == *instanceID
		}
		return m.ID == memberID
	})
	switch {
	case member < 0:
		return protocol.UnknownMemberID
	case g.Members[member].ID != memberID:
		return protocol.FencedInstanceID
	case g.Generation != generation:
		return protocol.IllegalGeneration
	}
	return protocol.None
}

// groups holds the offsets of all consumer groups. There are no real members: no consumer can join.
type groups struct {
	mu sync.Mutex // held for memory work only; that of the transactions may be taken inside
	// +checklocks:mu
	byID map[string]*groupState
}

type groupState struct {
	members *Group // nil: not checked
	offsets map[TopicPartition]CommittedOffset
	// pending is by producer id, what waits for the end of its transaction.
	pending map[int64]map[TopicPartition]CommittedOffset
}

// +checklocks:g.mu
func (g *groups) groupLocked(id string) *groupState {
	s := g.byID[id]
	if s == nil {
		s = &groupState{offsets: make(map[TopicPartition]CommittedOffset), pending: make(map[int64]map[TopicPartition]CommittedOffset)}
		if g.byID == nil {
			g.byID = make(map[string]*groupState)
		}
		g.byID[id] = s
	}
	return s
}

// mark makes the offsets that wait for the end of a transaction valid, or drops them.
func (g *groups) mark(id string, m *marker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.groupLocked(id)
	if m.commit {
		maps.Copy(s.offsets, s.pending[m.producer.id])
	}
	delete(s.pending, m.producer.id)
}

// SetGroup makes the cluster check who commits offsets of a group: its generation and its members.
// Of a group that was never set any generation and member is accepted, since the cluster has no
// consumers that could join.
func (c *Cluster) SetGroup(id string, group Group) {
	group.Members = slices.Clone(group.Members)
	c.groups.mu.Lock()
	defer c.groups.mu.Unlock()
	c.groups.groupLocked(id).members = &group
}

// GroupOffsets returns what a group has committed. Offsets of a transaction are there once it is
// committed. The map is the caller's; it is empty for an unknown group.
func (c *Cluster) GroupOffsets(id string) map[TopicPartition]CommittedOffset {
	c.groups.mu.Lock()
	defer c.groups.mu.Unlock()
	offsets := make(map[TopicPartition]CommittedOffset)
	if s := c.groups.byID[id]; s != nil {
		maps.Copy(offsets, s.offsets)
	}
	return offsets
}

// PendingGroupOffsets returns the partitions for which a group's offsets wait for the end of a
// transaction, sorted: a consumer that fetches them with require_stable has to wait too (KIP-447).
func (c *Cluster) PendingGroupOffsets(id string) []TopicPartition {
	c.groups.mu.Lock()
	defer c.groups.mu.Unlock()
	var waiting []TopicPartition
	if s := c.groups.byID[id]; s != nil {
		for _, offsets := range s.pending {
			for tp := range offsets {
				waiting = append(waiting, tp)
			}
		}
	}
	slices.SortFunc(waiting, comparePartitions)
	return slices.Compact(waiting)
}
