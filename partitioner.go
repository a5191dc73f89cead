package quill

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quill-kafka/quill/internal/murmur2"
	"github.com/quill-kafka/quill/metadata"
)

// How a record gets its partition, in this order: the partition it asks for itself, else what
// Config.Partitioner says, else the hash of its key as in Java, else the topic's sticky partition
// (see stickyPartitioner). The last two together are Kafka's default since 3.3 (KIP-794).

// Partitioner chooses a partition for each record that does not ask for one itself. Without one in
// the Config the producer partitions as Java's does by default.
//
// Partition is called once per record, by many goroutines at the same time, and should not block.
// The input and all it refers to belong to the producer: read it during the call only. An error,
// a panic, or a partition that the topic does not have fails the record with ErrPartitioner or
// ErrInvalidPartition.
//
// It has to choose for every record, also for those without a key (in.Key is nil): there is no way to leave
// a record to the built-in choice. KeyPartition is right for keys only; a RoundRobinPartitioner
// can choose for the others.
//
// A partitioner may have more methods: those of BatchPartitioner, TypedPartitioner, Configurer and
// io.Closer.
type Partitioner interface {
	Partition(in PartitionInput) (int32, error)
}

// BatchPartitioner is a Partitioner that may choose another partition when a batch is full. OnNewBatch is called
// when the record would need a new batch in the partition that was chosen; then the partitioner
// is called once more for the same record. Kafka: Partitioner.onNewBatch (KIP-480), which Java 4.0 removed.
type BatchPartitioner interface {
	Partitioner
	OnNewBatch(topic *metadata.Topic, previous int32)
}

// TypedPartitioner is a Partitioner that decides by the key or the value as they were given to Send.
// PartitionTyped is called instead of Partition; key and value are a K and a V of the record's producer.
type TypedPartitioner interface {
	Partitioner
	PartitionTyped(in PartitionInput, key, value any) (int32, error)
}

// PartitionInput is the record that a partition is chosen for, in serialized form. A nil Key or Value is
// null, which is distinct from an empty one.
type PartitionInput struct {
	Topic   *metadata.Topic    // never nil, with at least one partition
	Cluster *metadata.Snapshot // never nil
	Key     []byte
	Value   []byte
	Headers Headers
}

// PartitionerFunc is a function as a Partitioner.
type PartitionerFunc func(in PartitionInput) (int32, error)

// Partition calls f.
func (f PartitionerFunc) Partition(in PartitionInput) (int32, error) { return f(in) }

// KeyPartition returns the partition that Kafka's default partitioning gives a record with this key in a
// topic with the given number of partitions, in every client that follows Java: the murmur2 hash
// without its sign, modulo the number. All partitions count, available or not. An empty key is a
// key. A nil key is hashed like an empty one, so all records without a key would go to one partition: a
// partitioner must choose for them itself. It returns -1 if there are no partitions.
func KeyPartition(key []byte, partitions int) int32 {
	if partitions <= 0 {
		return -1
	}
	return murmur2.Partition(key, int32(partitions))
}

// choosePartition calls a user's partitioner and checks its answer. typed holds key and value as they were before
// they were serialized, for a TypedPartitioner.
func choosePartition(p Partitioner, in PartitionInput, typed [2]any) (partition int32, err error) {
	partition, err = askPartitioner(p, in, typed)
	n := len(in.Topic.Partitions)
	if err == nil && partition >= 0 && int(partition) < n {
		return partition, nil
	}
	fault := newError(Error{Op: "choose a partition", Topic: in.Topic.Name, Kind: ErrPartitioner, Cause: err})
	if err == nil {
		fault.Kind = ErrInvalidPartition
		fault.Reason = fmt.Sprintf("the partitioner chose %d of %d partitions", partition, n)
	}
	return -1, fault
}

func askPartitioner(p Partitioner, in PartitionInput, typed [2]any) (partition int32, err error) {
	defer recovered(&err)
	if p, ok := p.(TypedPartitioner); ok {
		return p.PartitionTyped(in, typed[0], typed[1])
	}
	return p.Partition(in)
}

// RoundRobinPartitioner chooses the available partitions of a topic in turn, independent of the key; if
// none is available, all partitions. The zero value is ready to use. Kafka: RoundRobinPartitioner,
// which skips partitions when batches fill up (KAFKA-9965); this one does not.
type RoundRobinPartitioner struct {
	last topicCells // the partition chosen last
}

// Partition returns the next partition of the topic. It does not allocate once it knows the topic.
func (r *RoundRobinPartitioner) Partition(in PartitionInput) (int32, error) {
	n := int32(len(in.Topic.Partitions))
	if n == 0 {
		return -1, metadata.ErrNoPartitions
	}
	available := in.Topic.Available()
	cell := r.last.of(in.Topic.Name)
	for {
		last := cell.Load()
		next := (last + 1) % n
		if len(available) > 0 {
			i, _ := slices.BinarySearch(available, last+1)
			next = available[i%len(available)]
		}
		if cell.CompareAndSwap(last, next) {
			return next, nil
		}
	}
}

// StickyPartitioner is the default of Java 2.4 to 3.2 (KIP-480): records with a key go by its hash,
// all others to one partition until its batch is full, then to another one, chosen at random among
// those available. The zero value is ready to use.
//
// The built-in partitioning replaces it: a slow node gets its batches filled more slowly, so this
// one gives it more records, not less (KAFKA-10888). It remains for users who need that behaviour.
type StickyPartitioner struct {
	// IgnoreKeys treats records with a key as if they had none. Kafka: UniformStickyPartitioner.
	IgnoreKeys bool

	current topicCells
	rnd     func() uint32 // nil: math/rand/v2
}

// Partition returns the key's partition, or the topic's present one.
func (s *StickyPartitioner) Partition(in PartitionInput) (int32, error) {
	if len(in.Topic.Partitions) == 0 {
		return -1, metadata.ErrNoPartitions
	}
	if in.Key != nil && !s.IgnoreKeys {
		return KeyPartition(in.Key, len(in.Topic.Partitions)), nil
	}
	cell := s.current.of(in.Topic.Name)
	for {
		current := cell.Load()
		if current >= 0 && int(current) < len(in.Topic.Partitions) {
			return current, nil
		}
		s.move(cell, in.Topic, current)
	}
}

// OnNewBatch moves on to another partition, if the topic's present one is still the previous.
func (s *StickyPartitioner) OnNewBatch(topic *metadata.Topic, previous int32) {
	if len(topic.Partitions) > 0 {
		s.move(s.current.of(topic.Name), topic, previous)
	}
}

// move replaces from by another partition at random, unless another call did.
func (s *StickyPartitioner) move(cell *atomic.Int32, topic *metadata.Topic, from int32) {
	rnd := s.rnd
	if rnd == nil {
		rnd = rand.Uint32
	}
	available := topic.Available()
	next := int32(rnd() % uint32(len(topic.Partitions)))
	if n := len(available); n > 0 {
		i, found := slices.BinarySearch(available, from)
		if found && n > 1 { // one of the others
			next = available[(i+1+int(rnd()%uint32(n-1)))%n]
		} else {
			next = available[rnd()%uint32(n)]
		}
	}
	cell.CompareAndSwap(from, next)
}

// topicCells holds a number per topic, -1 at first.
type topicCells struct {
	cells sync.Map // topic name -> *atomic.Int32
}

func (t *topicCells) of(topic string) *atomic.Int32 {
	if cell, ok := t.cells.Load(topic); ok {
		return cell.(*atomic.Int32)
	}
	fresh := new(atomic.Int32)
	fresh.Store(-1)
	cell, _ := t.cells.LoadOrStore(topic, fresh)
	return cell.(*atomic.Int32)
}
