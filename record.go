package quill

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// Header is one record header: a key and a value. A nil value is Kafka's null, which is distinct
// from an empty one. Kafka keeps headers in order and allows a key more than once.
type Header = protocol.Header

// Record is the argument of Send: a destination, a timestamp, and the contents.
//
// The producer encodes a record before Send returns, so the caller may reuse Key, Value and Headers
// right after. The zero value of each optional field means "not given".
type Record[K, V any] struct {
	// Topic the record goes to. Required.
	Topic string
	// Partition, when set by quill.Partition(n), overrides the partitioner.
	Partition PartitionID
	// Timestamp of the record, kept with millisecond precision. If zero, the time of the Send. While
	// hundreds of records a millisecond are sent that may be the time of some milliseconds before, or, if
	// the machine has no processor to spare, any time since the record's batch was opened. A record
	// that waited for memory has the time when it got some.
	// With the topic's message.timestamp.type=LogAppendTime the broker replaces it.
	Timestamp time.Time
	// Key decides the partition (murmur2, as in Java) unless Partition is set. A serializer that
	// returns nil makes it null: such a record goes to the sticky partition. The built-in serializers
	// do so for a key that is left out, where its zero value says "nothing"; see String.
	Key K
	// Value of the record. A serializer that returns nil makes it null (a tombstone).
	Value V
	// Headers travel with the record; interceptors and serializers may add to them.
	Headers Headers
}

// bytesRecord is a record with serialized key and value, as the engine takes it.
type bytesRecord = Record[[]byte, []byte]

// PartitionID is a partition that a record asks for, or nothing: its zero value lets the
// partitioner choose. Make one with Partition.
type PartitionID struct {
	id  int32
	set bool
}

// Partition asks for partition id. A negative id, or one that the topic does not have, fails the
// Send with ErrInvalidPartition.
func Partition(id int32) PartitionID { return PartitionID{id: id, set: true} }

// Get returns the partition asked for; ok is false if the partitioner chooses.
func (p PartitionID) Get() (id int32, ok bool) { return p.id, p.set }

func (p PartitionID) or(other int32) int32 {
	if p.set {
		return p.id
	}
	return other
}

// RecordMetadata says where a record was written. Unknown numbers
// (the offset with acks=0 or after a failure, the partition of a record that failed before one was
// chosen) are -1.
type RecordMetadata struct {
	Topic     string
	Partition int32 // -1 if the record failed before a partition was chosen
	Offset    int64 // -1 if unknown: acks=0, a duplicate whose offset the broker no longer knows, a failure
	// Timestamp in the log: the broker's clock if the topic says log append time, else the record's.
	// Zero if unknown.
	Timestamp time.Time
	KeySize   int32 // bytes of the serialized key, -1 if null or not serialized
	ValueSize int32 // bytes of the serialized value, -1 if null or not serialized
}

// HasOffset reports whether the record's offset is known.
func (m RecordMetadata) HasOffset() bool { return m.Offset >= 0 }

// HasTimestamp reports whether the record's timestamp is known.
func (m RecordMetadata) HasTimestamp() bool { return !m.Timestamp.IsZero() }

// unknownMetadata returns the metadata of a record that failed before it was appended.
func unknownMetadata(topic string, partition int32) RecordMetadata {
	return RecordMetadata{Topic: topic, Partition: partition, Offset: -1, KeySize: -1, ValueSize: -1}
}

// Callback receives the outcome of one record: err is nil exactly when the record was accepted as
// durably as acks asks for. m is filled as far as known in both cases.
//
// Callbacks run on the producer's dispatcher goroutine, those of one partition in the order of
// their Sends, each exactly once and before the record's Future is released; those of a record that
// never reached a batch run in Send itself. A callback must not wait: while it runs no other callback does, no
// future is released and no memory comes back. Hand long work to a goroutine of your own. It may call Send of
// its own producer, which fails with ErrInCallback where it would have to wait. Send of another producer
// does wait: never call it here (the example of SendRecord shows how to send dead letters). A callback that has
// not returned after ten seconds is logged. A panic in a callback is logged and changes nothing else.
type Callback func(m RecordMetadata, err error)

func partSize(p []byte) int32 {
	if p == nil {
		return -1
	}
	return int32(len(p))
}

func millis(ms int64) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// Headers are the headers of a record in order. A key may occur more than once. It is a slice:
// range over it and index it; the methods do the rest. Like a slice, it must not be changed concurrently.
//
// Kafka: Headers. There they are read-only once the record was sent; here the producer has encoded
// them by then, and changing the slice later has no effect on the record.
type Headers []Header

// Add appends a header. A nil value is Kafka's null. If other records share the slice, clone it before
// (slices.Clone): append may write into memory that they share.
func (h *Headers) Add(key string, value []byte) { *h = append(*h, Header{Key: key, Value: value}) }

// Remove removes all headers with the key. It does not change the slice that h was before.
func (h *Headers) Remove(key string) {
	if _, ok := h.Last(key); !ok {
		return
	}
	*h = slices.DeleteFunc(slices.Clone(*h), func(e Header) bool { return e.Key == key })
}

// Last returns the last header with the key; ok is false if there is none.
func (h *Headers) Last(key string) (header Header, ok bool) {
	for _, e := range slices.Backward(*h) {
		if e.Key == key {
			return e, true
		}
	}
	return Header{}, false
}

// All walks the headers with the key in order.
func (h *Headers) All(key string) iter.Seq[Header] {
	return func(yield func(Header) bool) {
		for _, e := range *h {
			if e.Key == key && !yield(e) {
				return
			}
		}
	}
}

// checkTopicName refuses what no broker accepts (org.apache.kafka.common.internals.Topic).
func checkTopicName(name string) *Error {
	reason := ""
	switch {
	case name == "":
		reason = "the name is empty"
	case name == "." || name == "..":
		reason = "the name must not be \".\" or \"..\""
	case len(name) > maxTopicName:
		reason = fmt.Sprintf("the name has %d characters, at most %d are allowed", len(name), maxTopicName)
	default:
		for i := range len(name) {
			c := name[i]
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-' {
				continue
			}
			reason = "only letters, digits, '.', '_' and '-' are allowed"
			break
		}
	}
	if reason == "" {
		return nil
	}
	return newError(Error{Op: "send", Kind: ErrInvalidTopic, Topic: name, Reason: reason})
}

const maxTopicName = 249

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// OffsetAndMetadata is how far a consumer group has come in a partition.
type OffsetAndMetadata struct {
	// Offset is that of the next record to read: the last one processed, plus one.
	Offset int64
	// LeaderEpoch is that of the last record read. Zero or negative: not known.
	LeaderEpoch int32
	// Metadata is a short text that is kept with the offset.
	Metadata string
}

// GroupMetadata names the consumer group, and its member, for which offsets are
// committed, so that a member that was replaced can't commit (KIP-447). Any consumer library has these values. With
// GroupID alone nothing but the group is checked: that is for consumers that assign partitions
// themselves.
type GroupMetadata struct {
	GroupID string
	// GenerationID is the group's generation, or the member's epoch in the new consumer protocol.
	GenerationID int32
	MemberID     string
	// GroupInstanceID is group.instance.id, if the member has one.
	GroupInstanceID string
}

// member reports whether more than the group is known.
func (g *GroupMetadata) member() bool {
	return g.GenerationID > 0 || g.MemberID != "" || g.GroupInstanceID != ""
}
