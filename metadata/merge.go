package metadata

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// Update is one answer of a broker to a metadata request, in this package's terms. A merge copies
// what it keeps, so the slices may be reused afterwards.
type Update struct {
	ClusterID  string // empty if the broker did not report it
	Controller *int32 // the id of the controller's node; nil if the broker did not report it
	Nodes      []Node
	Topics     []Topic // each with Err or Partitions; partitions in any order
	// Partial: only the topics named were asked for, others stay as they are. Otherwise topics that
	// are not named are gone.
	Partial bool
	// IgnoreEpochs: the answer's version is below 9, where brokers report epochs that may be old
	// (KAFKA-9212). Leaders are taken as they come.
	IgnoreEpochs bool
}

// LeaderChange is the new leader of a partition as a produce response reports it (KIP-951).
type LeaderChange struct {
	Topic       string
	Partition   int32
	Leader      int32
	LeaderEpoch int32
}

func keepAll(string) bool { return true }

// Merge returns the snapshot after an update. keep says which topics the caller still wants (nil: all);
// others are left out, whether the update names them or not.
//
// If nothing changed, the result is the same snapshot: an equivalent answer, that should make the
// caller's refresh back-off grow. The same holds for an update without a usable node (see
// Update.HasNodes), which the caller should treat as a failed refresh, as Java does.
func (s *Snapshot) Merge(u Update, keep func(topic string) bool) *Snapshot {
	nodes := u.usableNodes()
	if len(nodes) == 0 {
		return s
	}
	if keep == nil {
		keep = keepAll
	}
	return s.merge(u, nodes, keep)
}

func (s *Snapshot) merge(u Update, nodes map[int32]Node, keep func(topic string) bool) *Snapshot {
	size := len(u.Topics)
	if u.Partial {
		size = max(size, len(s.topics))
	}
	next := &Snapshot{
		version:    s.version + 1,
		clusterID:  cmp.Or(u.ClusterID, s.clusterID),
		controller: cmp.Or(u.Controller, s.controller),
		nodes:      nodes,
		topics:     make(map[string]*Topic, size),
	}
	for i := range u.Topics {
		in := &u.Topics[i]
		if in.Name == "" || !keep(in.Name) {
			continue
		}
		known := cmp.Or(next.topics[in.Name], s.topics[in.Name], s.gone[in.Name])
		t := successor(known, in, u.IgnoreEpochs)
		if t != known {
			t.place(nodes)
			if known != nil && t.same(known) {
				t = known
			}
		}
		next.topics[in.Name] = t
	}
	next.carryOver(s, u.Partial, keep)
	next.placeAll(s.nodes)
	if next.clusterID == s.clusterID && maps.Equal(next.nodes, s.nodes) &&
		maps.Equal(next.topics, s.topics) && maps.Equal(next.gone, s.gone) {
		return s
	}
	return next
}

// carryOver keeps topics that the update did not name and the caller still wants: as they are after a partial update,
// else only for their epochs.
func (s *Snapshot) carryOver(old *Snapshot, partial bool, keep func(topic string) bool) {
	forget := func(name string) bool {
		_, named := s.topics[name]
		return named || !keep(name)
	}
	var gone map[string]*Topic
	leave := func(name string, t *Topic) {
		if gone == nil {
			gone = make(map[string]*Topic)
		}
		gone[name] = t
	}
	for name, t := range old.gone {
		if !forget(name) {
			leave(name, t)
		}
	}
	for name, t := range old.topics {
		switch {
		case forget(name):
		case partial:
			s.topics[name] = t
		default:
			leave(name, t)
		}
	}
	s.gone = gone
}

// successor returns the topic after an answer about it; known is nil if there was none. The result is known
// itself, or a new topic that has yet to be placed.
func successor(known, in *Topic, ignoreEpochs bool) *Topic {
	t := &Topic{Name: in.Name, ID: in.ID, Internal: in.Internal, knownID: in.ID}
	if known != nil {
		t.knownID = cmp.Or(in.ID, known.knownID)
		if in.ID != [16]byte{} && in.ID != known.knownID {
			known = nil // made again under another id: nothing that was known counts
		}
	}
	switch list, err := arrange(in.Partitions); {
	case in.Err != nil:
		t.Err = in.Err
	case err != nil:
		if known != nil && known.Err == nil {
			return known
		}
		t.Err = err
	default:
		t.Partitions = list
	}
	if t.Err != nil {
		if known != nil && t.knownID != [16]byte{} {
			t.seen = known.lastEpochs()
		}
		return t
	}
	t.own()
	if ignoreEpochs {
		for i := range t.Partitions {
			t.Partitions[i].LeaderEpoch = NoEpoch
		}
		return t
	}
	t.settle(known)
	return t
}

// settle chooses, partition by partition, between the answer and what is known: the higher leader
// epoch counts, or the answer if there is nothing to compare.
func (t *Topic) settle(known *Topic) {
	if known == nil {
		known = new(Topic)
	}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		last := known.lastEpoch(i)
		p.LeaderEpoch = max(p.LeaderEpoch, NoEpoch)
		listed := p.Err != ErrPartitionMissing
		switch {
		case listed && (p.LeaderEpoch == NoEpoch || p.LeaderEpoch >= last):
		case i < len(known.Partitions):
			*p = known.Partitions[i]
		case listed:
			p.Leader, p.LeaderEpoch, p.Err = NoLeader, NoEpoch, ErrStale
		}
	}
	// A topic never loses partitions, so a shorter answer is an old one. Without a topic id it
	// may also be about a new topic.
	if n := len(t.Partitions); t.ID != [16]byte{} && n < len(known.Partitions) {
		t.Partitions = append(t.Partitions, known.Partitions[n:]...)
	}
	for i := range max(len(known.Partitions), len(known.seen)) {
		if known.lastEpoch(i) > t.lastEpoch(i) {
			t.seen = known.lastEpochs()
			break
		}
	}
}

// arrange returns a copy of the partitions in which each stands at its index. Gaps are filled with
// partitions without a leader, because keys are mapped by the number of partitions.
func arrange(in []Partition) ([]Partition, error) {
	size, err := places(in)
	if err != nil {
		return nil, err
	}
	out := make([]Partition, size)
	if size > len(in) {
		for i := range out {
			out[i] = Partition{Index: int32(i), Leader: NoLeader, LeaderEpoch: NoEpoch, Err: ErrPartitionMissing}
		}
	}
	for i := range in {
		out[in[i].Index] = in[i]
	}
	return out, nil
}

// places returns how many elements arrange needs, or an error if the indexes can't be right.
func places(in []Partition) (size int, err error) {
	for i := range in {
		index := in[i].Index
		if index < 0 || int(index) >= 2*len(in)+8 {
			return 0, ErrMalformed
		}
		size = max(size, int(index)+1)
	}
	if size == 0 {
		return 0, ErrNoPartitions
	}
	taken := make([]bool, size)
	for i := range in {
		if taken[in[i].Index] {
			return 0, ErrMalformed // twice
		}
		taken[in[i].Index] = true
	}
	return size, nil
}

// place sets what follows from the nodes of a topic's snapshot. No other goroutine may have the topic yet.
func (t *Topic) place(nodes map[int32]Node) {
	t.nodes = nodes
	t.available = t.reachable(func(id int32) bool { _, ok := nodes[id]; return ok })
	t.placed = true
}

// placeAll places all topics, if nodes came, went or moved to another rack. Topics for which that
// changes nothing stay the same.
func (s *Snapshot) placeAll(before map[int32]Node) {
	if samePlaces(before, s.nodes) {
		return
	}
	replace(s.topics, s.nodes)
	replace(s.gone, s.nodes)
}

// replace puts placed copies into the map for the topics that nodes change. No other goroutine may have the map yet.
func replace(topics map[string]*Topic, nodes map[int32]Node) {
	for name, t := range topics {
		moved := *t
		moved.place(nodes)
		if !slices.Equal(moved.available, t.available) || !moved.sameRacks(t) {
			topics[name] = &moved
		}
	}
}

// WithLeaders returns the snapshot after leader changes that came outside of a metadata answer (KIP-951).
// A change counts only if its epoch is higher than any seen for the partition, the partition is
// known, and the new leader is a known node or among nodes. Nodes replace known ones of the same
// id. It returns the same snapshot if no change counts.
func (s *Snapshot) WithLeaders(changes []LeaderChange, nodes []Node) *Snapshot {
	update := Update{Nodes: nodes}
	merged := s.nodes
	if hints := update.usableNodes(); len(hints) > 0 {
		merged = maps.Clone(s.nodes)
		if merged == nil {
			merged = hints
		}
		maps.Copy(merged, hints)
	}
	renewed := renewal{s: s}
	for _, c := range changes {
		t := renewed.topic(c.Topic)
		if _, ok := merged[c.Leader]; !ok || t == nil || c.Leader < 0 || c.Partition < 0 ||
			int(c.Partition) >= len(t.Partitions) || c.LeaderEpoch <= t.lastEpoch(int(c.Partition)) {
			continue
		}
		p := &renewed.own(c.Topic).Partitions[c.Partition]
		p.Leader, p.LeaderEpoch, p.Err = c.Leader, c.LeaderEpoch, nil
	}
	next := renewed.snapshot()
	if next == s {
		return s
	}
	next.nodes = merged
	next.gone = maps.Clone(s.gone)
	for _, t := range renewed.topics {
		t.place(merged)
	}
	next.placeAll(s.nodes)
	return next
}

// Doubt returns a snapshot that accepts the next answer about the leaders of the partitions, given by topic and index, with
// any epoch. It is for leaders that keep answering that they do not lead. It returns the same snapshot if no epoch of them
// is known.
func (s *Snapshot) Doubt(partitions iter.Seq2[string, int32]) *Snapshot {
	renewed := renewal{s: s}
	for topic, partition := range partitions {
		t := renewed.topic(topic)
		if t == nil || partition < 0 || int(partition) >= len(t.Partitions) || t.lastEpoch(int(partition)) == NoEpoch {
			continue
		}
		own := renewed.own(topic)
		own.Partitions[partition].LeaderEpoch = NoEpoch
		if int(partition) < len(own.seen) {
			own.seen[partition] = NoEpoch
		}
	}
	return renewed.snapshot()
}

// renewal is a snapshot with some topics changed. However many of its partitions change, a topic is copied once.
type renewal struct {
	s      *Snapshot
	topics map[string]*Topic // the copies
}

// topic returns a topic as it has become so far, nil if it is not known.
func (r *renewal) topic(name string) *Topic {
	if t := r.topics[name]; t != nil {
		return t
	}
	return r.s.topics[name]
}

// own returns the copy of a topic that is known.
func (r *renewal) own(name string) *Topic {
	if t := r.topics[name]; t != nil {
		return t
	}
	own := *r.s.topics[name]
	own.Partitions, own.seen = slices.Clone(own.Partitions), slices.Clone(own.seen)
	if r.topics == nil {
		r.topics = map[string]*Topic{}
	}
	r.topics[name] = &own
	return &own
}

// snapshot returns the next snapshot, or the same if no topic was copied.
func (r *renewal) snapshot() *Snapshot {
	if len(r.topics) == 0 {
		return r.s
	}
	next := *r.s
	next.version++
	next.topics = maps.Clone(r.s.topics)
	maps.Copy(next.topics, r.topics)
	return &next
}

// samePlaces reports whether the same ids stand in the same racks.
func samePlaces(a, b map[int32]Node) bool {
	return maps.EqualFunc(a, b, func(x, y Node) bool { return x.Rack == y.Rack })
}
