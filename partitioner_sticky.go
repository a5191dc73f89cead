package quill

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/quill-kafka/quill/metadata"
)

// stickyPartitioner is the built-in choice for records of one topic that have neither a partition
// nor a key (KIP-794). It stays with a partition until batch.size bytes were appended to it, so
// that batches become full, and moves on to a random one:
//
//   - Every partition gets the same number of bytes, however long its batches wait. The older
//     StickyPartitioner counts batches, and a slow node then draws records (KAFKA-10888).
//
//   - The move waits for the border of a batch, where the caller allows it (enableSwitch), so that
//     no fraction of a batch is left behind to linger. At twice the size it moves in any case.
//
//   - If it has the lengths of the queues (setLoad), it chooses a partition more often the shorter
//     its queue is: with the odds longest + 1 - its length. It does not choose partitions that are
//     not in the load. Without a load all available partitions have the same odds, and if none is
//     available, all partitions.
//
//   - If it is rack-aware, partitions led from other racks count only while none is led from the
//     client's (KIP-1123).
//
//   - Goroutines that send at the same time contend for the lock of the one partition's queue, which
//     costs several times as much as the append. When a batch was filled under such contention, the
//     partitioner spreads: each processor gets a lane of its own, which stays with a partition and
//     moves on as described. When a batch is closed before it is half full, there are too few records
//     for that, and one lane takes them all again, for fuller batches. Java always has one lane.
//
// The accumulator uses it like this: take a lane, peek at its partition, take that queue's lock, peek
// again; if the lane moved meanwhile, start over; append and update under the lock.
//
// All methods may be called concurrently, take no lock and, apart from rack views after a change of
// metadata or load, do not allocate.
type stickyPartitioner struct {
	size      uint32 // bytes after which it moves at a border
	hardSize  uint32 // bytes after which it moves anyway
	adaptive  bool
	rackAware bool
	rack      string
	rnd       func() uint32

	lanes  []stickyLane
	spread atomic.Bool // lanes beyond the first are in use
	seats  sync.Pool   // of *seat: as many as there are processors, in effect
	seated atomic.Uint32

	loads  atomic.Pointer[loadTable]
	nearby atomic.Pointer[rackView]
}

// stickyState is a partition (upper half, -1: none yet) and a number of bytes in one word. It does no harm
// if the lane leaves a partition and chooses it again between two reads.
type stickyState uint64

const noSticky = stickyState(math.MaxUint32 << 32)

func stickyAt(partition int32, bytes uint32) stickyState {
	return stickyState(uint64(uint32(partition))<<32 | uint64(bytes))
}

func (s stickyState) partition() int32 { return int32(s >> 32) }
func (s stickyState) bytes() uint32    { return uint32(s) }

// stickyLane holds one sticky partition. It fills two cache lines, so that lanes don't share any.
type stickyLane struct {
	state atomic.Uint64 // partition and bytes appended to it since it was chosen, see stickyState
	_     [120]byte
}

// seat says which lane a processor uses. The seats are in a sync.Pool because it keeps its elements by
// processor; a seat that the pool drops is replaced.
type seat struct {
	lane   int
	misses int // how often the lane's partition was locked although there are other lanes
}

// missesToMove is the number of misses after which a seat takes the next lane: two processors had the same.
const missesToMove = 32

// newStickyPartitioner makes the partitioner of one topic. A size below 1 counts as 1: a new
// partition for every record. rnd gives uniform random numbers, concurrently; nil: math/rand/v2.
func newStickyPartitioner(stickyBatchSize int, adaptive, rackAware bool, clientRack string, rnd func() uint32) *stickyPartitioner {
	if rnd == nil {
		rnd = rand.Uint32
	}
	size := uint64(max(1, stickyBatchSize))
	s := &stickyPartitioner{
		size:     uint32(min(size, math.MaxUint32)),
		hardSize: uint32(min(2*size, math.MaxUint32)),
		adaptive: adaptive, rackAware: rackAware, rack: clientRack, rnd: rnd,
	}
	s.setLanes(1)
	return s
}

// setLanes sets how many lanes there may be. It must be called before the partitioner is used.
func (s *stickyPartitioner) setLanes(n int) *stickyPartitioner {
	s.lanes = make([]stickyLane, max(1, n))
	for i := range s.lanes {
		s.lanes[i].state.Store(uint64(noSticky))
	}
	s.seats.New = func() any { return &seat{lane: int(s.seated.Add(1)-1) % len(s.lanes)} }
	return s
}

// lane returns the lane that the caller should use.
func (s *stickyPartitioner) lane() *stickyLane {
	if !s.spread.Load() {
		return &s.lanes[0]
	}
	return s.ownLane()
}

// ownLane returns the lane of the caller's processor.
func (s *stickyPartitioner) ownLane() *stickyLane {
	at := s.seats.Get().(*seat)
	lane := at.lane
	s.seats.Put(at)
	return &s.lanes[lane]
}

// miss notes that the queue of the caller's partition was locked.
func (s *stickyPartitioner) miss() {
	if !s.spread.Load() {
		return
	}
	at := s.seats.Get().(*seat)
	at.miss(len(s.lanes))
	s.seats.Put(at)
}

func (at *seat) miss(lanes int) {
	if at.misses++; at.misses == missesToMove {
		at.misses, at.lane = 0, (at.lane+1)%lanes
	}
}

// moveOff moves the lane from a partition that can't take records now to one that can, by the function
// can. It returns false if it found none, or if the lane changed at the same time.
func (s *stickyPartitioner) moveOff(l *stickyLane, topic *metadata.Topic, partition int32, can func(partition int32) bool) bool {
	available := topic.Available()
	if len(available) == 0 {
		return false
	}
	first := int(s.rnd() % uint32(len(available)))
	for i := range min(len(available), maxMoveOffTries) {
		if p := available[(first+i)%len(available)]; p != partition && can(p) {
			state := stickyState(l.state.Load())
			return state.partition() != partition || l.state.CompareAndSwap(uint64(state), uint64(stickyAt(p, 0)))
		}
	}
	return false
}

// maxMoveOffTries bounds the search for another partition.
const maxMoveOffTries = 64

// decideSpread decides whether to spread, from a batch that was just closed: by its size in bytes, and by how many
// of its records found the queue's lock taken.
func (s *stickyPartitioner) decideSpread(topic *metadata.Topic, bytes int, records, contended int32) {
	switch spread := s.spread.Load(); {
	case spread && bytes < int(s.size)/2:
		s.spread.Store(false)
	case !spread && len(s.lanes) > 1 && bytes >= int(s.size) && contended > records/contendedShare &&
		topic != nil && len(topic.Available()) > 1:
		s.spread.Store(true)
	}
}

// contendedShare: a batch was filled under contention if more than one record in contendedShare had to wait for the lock.
const contendedShare = 64

// peek returns the lane's partition, and chooses one if there is none. topic may be nil or without partitions
// while it is not known; then peek returns the last partition, -1 if there never was one.
func (s *stickyPartitioner) peek(l *stickyLane, topic *metadata.Topic) int32 {
	for {
		state := stickyState(l.state.Load())
		p := state.partition()
		if p >= 0 && (topic == nil || int(p) < len(topic.Partitions)) {
			return p
		}
		next := s.choose(topic)
		if next < 0 {
			return p
		}
		l.state.CompareAndSwap(uint64(state), uint64(stickyAt(next, 0)))
	}
}

// present returns the partition last chosen, -1 if none was: peek without the checks.
func (l *stickyLane) present() int32 { return stickyState(l.state.Load()).partition() }

// update counts bytes appended to the partition for the lanes that have it, and moves them on when they have
// their size. enableSwitch says that this is the border of a batch.
func (s *stickyPartitioner) update(topic *metadata.Topic, partition int32, appendedBytes int, enableSwitch bool) {
	s.updateLane(&s.lanes[0], topic, partition, appendedBytes, enableSwitch)
	if !s.spread.Load() {
		return
	}
	for i := range s.lanes[1:] {
		s.updateLane(&s.lanes[i+1], topic, partition, appendedBytes, enableSwitch)
	}
}

// updateLane does nothing if partition is not the lane's.
func (s *stickyPartitioner) updateLane(l *stickyLane, topic *metadata.Topic, partition int32, appendedBytes int, enableSwitch bool) {
	for {
		state := stickyState(l.state.Load())
		if state.partition() != partition {
			return
		}
		total := uint64(state.bytes()) + uint64(max(0, appendedBytes))
		next := stickyAt(partition, uint32(min(total, math.MaxUint32)))
		if total >= uint64(s.hardSize) || enableSwitch && total >= uint64(s.size) {
			if p := s.choose(topic); p >= 0 {
				next = stickyAt(p, 0)
			}
		}
		if next == state || l.state.CompareAndSwap(uint64(state), uint64(next)) {
			return
		}
	}
}

// choose returns the next partition for a lane; -1 if the topic has none. It tries to find one that no other lane has.
func (s *stickyPartitioner) choose(topic *metadata.Topic) int32 {
	p := s.draw(topic)
	if s.spread.Load() {
		for tries := 0; tries < maxDraws && s.taken(p); tries++ {
			p = s.draw(topic)
		}
	}
	return p
}

// maxDraws bounds the search for a partition that no other lane has.
const maxDraws = 4

func (s *stickyPartitioner) taken(partition int32) bool {
	for i := range s.lanes {
		if s.lanes[i].present() == partition {
			return true
		}
	}
	return false
}

// draw returns a random partition by the odds; -1 if the topic has none.
func (s *stickyPartitioner) draw(topic *metadata.Topic) int32 {
	if topic == nil || len(topic.Partitions) == 0 {
		return -1
	}
	loads, available := s.loads.Load(), topic.Available()
	if s.rackAware {
		view := s.view(topic, loads)
		if view.loads != nil {
			loads = view.loads
		}
		if len(view.available) > 0 {
			available = view.available
		}
	}
	random := s.rnd()
	if loads != nil {
		// The load may be of a time when the topic had other partitions.
		if p := loads.pick(random); int(p) < len(topic.Partitions) {
			return p
		}
	}
	if n := len(available); n > 0 {
		return available[random%uint32(n)]
	}
	return int32(random % uint32(len(topic.Partitions)))
}

// partitionLoad holds how many batches are queued for the partitions of a topic. Only partitions that may be
// chosen are in it: those with a leader whose node accepts batches.
type partitionLoad struct {
	total      int // partitions with a leader, including those that are not in partitions
	partitions []int32
	queued     []int32 // batches in the queue, by position in partitions
}

// setLoad sets the present lengths of the queues; nil removes them. The partitioner owns the slices from then
// on. Kafka: updatePartitionLoadStats.
func (s *stickyPartitioner) setLoad(load *partitionLoad) {
	var table *loadTable
	if s.adaptive && load != nil {
		table = load.table()
	}
	if table != nil || s.loads.Load() != nil { // don't write to the cache line if nothing changes
		s.loads.Store(table)
	}
}

// table returns the odds of the partitions, nil if all partitions have the same.
func (l *partitionLoad) table() *loadTable {
	if len(l.partitions) < 1 || l.total < 2 {
		return nil
	}
	equal := true
	for _, q := range l.queued {
		equal = equal && q == l.queued[0]
	}
	if equal && len(l.partitions) == l.total {
		return nil
	}
	return newLoadTable(l.partitions, l.queued)
}

// loadTable gives each partition a range of numbers, the wider the shorter its queue is. It never changes.
//
//	queued      0  3  1      longest + 1 = 4
//	odds        4  1  3
//	cumulative  4  5  8      a random number below 4: the first, 4: the second, 5 to 7: the third
type loadTable struct {
	partitions []int32
	queued     []int32
	cumulative []uint64
}

// newLoadTable makes a table of partitions and the lengths of their queues.
func newLoadTable(partitions, queued []int32) *loadTable {
	t := &loadTable{partitions: partitions, queued: queued, cumulative: make([]uint64, len(partitions))}
	longest := int32(0)
	for _, q := range queued {
		longest = max(longest, q)
	}
	sum := uint64(0)
	for i, q := range queued {
		sum += uint64(longest-max(q, 0)) + 1
		t.cumulative[i] = sum
	}
	return t
}

// pick returns the partition in whose range a random number falls. Any goroutine may call it.
func (t *loadTable) pick(random uint32) int32 {
	point := uint64(random) % t.cumulative[len(t.cumulative)-1]
	low, high := 0, len(t.cumulative)-1
	for low < high { // the first entry above point
		if mid := (low + high) / 2; t.cumulative[mid] > point {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return t.partitions[low]
}

// rackView is the part of a topic and of its load that is led from the client's rack.
type rackView struct {
	topic *metadata.Topic
	of    *loadTable

	available []int32
	loads     *loadTable // nil if there is no load, or nothing of this rack in it
}

// view returns the view of the topic and loads. It reuses that of the last call if both are the same.
func (s *stickyPartitioner) view(topic *metadata.Topic, loads *loadTable) *rackView {
	if v := s.nearby.Load(); v != nil && v.topic == topic && v.of == loads {
		return v
	}
	v := &rackView{topic: topic, of: loads}
	for _, p := range topic.Available() {
		if topic.LeaderRack(p) == s.rack {
			v.available = append(v.available, p)
		}
	}
	if loads != nil {
		var partitions, queued []int32
		for i, p := range loads.partitions {
			if topic.LeaderRack(p) == s.rack {
				partitions, queued = append(partitions, p), append(queued, loads.queued[i])
			}
		}
		if len(partitions) > 0 {
			v.loads = newLoadTable(partitions, queued)
		}
	}
	s.nearby.Store(v)
	return v
}
