package quillmock

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/protocol"
)

// prepare serializes and partitions.
func (p *Producer[K, V]) prepare(ctx context.Context, e *entry[K, V], m *quill.RecordMetadata) error {
	r := &e.record
	if err := p.refusal(m); err != nil {
		return err
	}
	if err := endOf(ctx); err != nil {
		return &quill.Error{Op: "send", Kind: err, Topic: r.Topic, Partition: m.Partition, Node: -1, Reason: reasonOver(err, "")}
	}
	partitions := p.partitions(r.Topic)
	switch id, asked := r.Partition.Get(); {
	case partitions == 0:
		return unknownTopic("send", r.Topic)
	case asked && (id < 0 || int(id) >= partitions):
		return invalidPartition(r.Topic, id, partitions)
	case !r.Timestamp.IsZero() && r.Timestamp.UnixMilli() < 0:
		return &quill.Error{Op: "send", Kind: quill.ErrInvalidRecord, Topic: r.Topic, Partition: m.Partition, Node: -1, Reason: "the timestamp is before 1970"}
	}
	r.Headers = slices.Clone(r.Headers)
	var err error
	if e.key, err = serialize(p.key, "serialize key", m, &r.Headers, r.Key); err != nil {
		return err
	}
	m.KeySize = size(e.key)
	if e.value, err = serialize(p.value, "serialize value", m, &r.Headers, r.Value); err != nil {
		return err
	}
	m.ValueSize = size(e.value)
	if r.Timestamp.IsZero() {
		r.Timestamp = time.Now()
	}
	r.Timestamp = time.UnixMilli(r.Timestamp.UnixMilli())
	m.Timestamp = r.Timestamp
	m.Partition, err = p.choose(e, partitions)
	return err
}

// refusal returns the reason why nothing can be sent, nil if there is none.
func (p *Producer[K, V]) refusal(m *quill.RecordMetadata) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusalLocked(m, p.own.closed)
}

// +checklocks:c.mu
func (c *core) refusalLocked(m *quill.RecordMetadata, viewClosed bool) error {
	var err *quill.Error
	switch {
	case viewClosed || c.closed:
		err = newError(quill.Error{Op: "send", Kind: quill.ErrClosed})
	case c.txn.look.Fenced:
		err = fenced("send")
	case c.errs.Send != nil:
		return c.errs.Send
	case c.opts.TransactionalID != "" && (!c.txn.look.Open || c.txn.open.failed != nil):
		err = c.wrongStateLocked("send", "IN_TRANSACTION")
	default:
		return nil
	}
	err.Topic, err.Partition = m.Topic, m.Partition
	return err
}

// partitions returns a topic's number of partitions, 0 if it does not exist.
func (c *core) partitions(topic string) int {
	if c.opts.Topics == nil {
		return c.opts.Partitions
	}
	return c.opts.Topics[topic]
}

// choose finds the partition as the real producer does.
func (p *Producer[K, V]) choose(e *entry[K, V], partitions int) (int32, error) {
	r := &e.record
	id, asked := r.Partition.Get()
	switch {
	case asked:
	case p.opts.Partitioner != nil:
		t := topicOf(r.Topic, partitions)
		in := quill.PartitionInput{Topic: t, Cluster: clusterOf(*t), Key: e.key, Value: e.value, Headers: r.Headers}
		var chosen int32
		err := guard(func() (err error) {
			if typed, ok := p.opts.Partitioner.(quill.TypedPartitioner); ok {
				chosen, err = typed.PartitionTyped(in, r.Key, r.Value)
			} else {
				chosen, err = p.opts.Partitioner.Partition(in)
			}
			return err
		})
		if err != nil {
			return -1, newError(quill.Error{Op: "choose a partition", Kind: quill.ErrPartitioner, Topic: r.Topic, Cause: err})
		}
		id = chosen
	case e.key != nil:
		return quill.KeyPartition(e.key, partitions), nil
	default:
		p.mu.Lock()
		defer p.mu.Unlock()
		id = p.turns[r.Topic] % int32(partitions)
		p.turns[r.Topic] = id + 1
		return id, nil
	}
	if id < 0 || int(id) >= partitions {
		return id, invalidPartition(r.Topic, id, partitions)
	}
	return id, nil
}

// scratch is the capacity of the slice that serializers append to: a real producer lends them memory, so
// that a serializer which appends nothing makes an empty part and not null.
const scratch = 64

// serialize calls a serializer; a panic in it fails the record as an error does. The headers are then
// as they were.
func serialize[T any](s quill.Serializer[T], op string, m *quill.RecordMetadata, headers *quill.Headers, v T) (b []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
		if err != nil {
			err = &quill.Error{Op: op, Kind: quill.ErrSerialization, Topic: m.Topic, Partition: m.Partition, Node: -1, Cause: err}
		}
	}()
	changed := slices.Clone(*headers)
	b, err = s.Serialize(make([]byte, 0, scratch), m.Topic, &changed, v)
	if err == nil {
		*headers = changed
	}
	if b == nil || err != nil {
		return nil, err
	}
	return append([]byte{}, b...), nil // the history outlives what the caller reuses
}

func size(b []byte) int32 {
	if b == nil {
		return -1
	}
	return int32(len(b))
}

func invalidPartition(topic string, id int32, partitions int) error {
	reason := fmt.Sprintf("the topic has %d partitions", partitions)
	if partitions == 1 {
		reason = "the topic has 1 partition"
	}
	return &quill.Error{Op: "send", Kind: quill.ErrInvalidPartition, Topic: topic, Partition: id, Node: -1, Reason: reason}
}

// topicName is what Kafka takes as a topic's name, but for the names . and .. (Kafka:
// org.apache.kafka.common.internals.Topic).
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func unknownTopic(op, topic string) error {
	if !topicName.MatchString(topic) || topic == "." || topic == ".." {
		return newError(quill.Error{Op: op, Kind: quill.ErrInvalidTopic, Topic: topic})
	}
	return newError(quill.Error{Op: op, Kind: quill.ErrTimeout, Code: protocol.UnknownTopicOrPartition, Topic: topic, Reason: "the mock does not have the topic"})
}

// newError returns e as an error that concerns no particular partition and no node.
func newError(e quill.Error) *quill.Error {
	e.Partition, e.Node = -1, -1
	return &e
}

var mockNode = metadata.Node{ID: 1, Host: "mock", Port: 9092}

// topicOf describes a topic of the mock.
func topicOf(name string, partitions int) *metadata.Topic {
	t := &metadata.Topic{Name: name, ID: [16]byte{1}}
	for i := range partitions {
		t.Partitions = append(t.Partitions, metadata.Partition{Index: int32(i), Leader: mockNode.ID, Replicas: []int32{mockNode.ID}, ISR: []int32{mockNode.ID}})
	}
	return t
}

// partitionOf returns the partition asked for, -1 if none was.
func partitionOf(o quill.PartitionID) int32 {
	if id, ok := o.Get(); ok {
		return id
	}
	return -1
}
