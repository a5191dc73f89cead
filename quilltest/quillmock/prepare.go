package quillmock

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/protocol"
)

// prepare serializes and partitions.
func (p *Producer[K, V]) prepare(ctx context.Context, e *entry[K, V], m *quill.RecordMetadata) error {
	r := &e.sent.Record
	if err := p.refusal(r.Topic); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return &quill.Error{Op: "send", Kind: err, Topic: r.Topic, Partition: m.Partition, Node: -1}
	}
	partitions := p.partitions(r.Topic)
	if partitions == 0 {
		return unknownTopic("send", r.Topic)
	}
	r.Headers = slices.Clone(r.Headers)
	var err error
	if e.sent.Key, err = serialize(p.key, "serialize key", r.Topic, &r.Headers, r.Key); err != nil {
		return err
	}
	if e.sent.Value, err = serialize(p.value, "serialize value", r.Topic, &r.Headers, r.Value); err != nil {
		return err
	}
	m.KeySize, m.ValueSize = size(e.sent.Key), size(e.sent.Value)
	if r.Timestamp.IsZero() {
		r.Timestamp = time.Now()
	}
	r.Timestamp = time.UnixMilli(r.Timestamp.UnixMilli())
	m.Timestamp = r.Timestamp
	m.Partition, err = p.choose(e, partitions)
	return err
}

// refusal is why nothing can be sent, nil if it can.
func (p *Producer[K, V]) refusal(topic string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return &quill.Error{Op: "send", Kind: quill.ErrClosed, Topic: topic, Partition: -1, Node: -1}
	default:
		return p.errs.Send
	}
}

// partitions returns a topic's number of partitions, 0 if it does not exist.
func (p *Producer[K, V]) partitions(topic string) int {
	if p.opts.Topics == nil {
		return p.opts.Partitions
	}
	return p.opts.Topics[topic]
}

// choose finds the partition as the real producer does.
func (p *Producer[K, V]) choose(e *entry[K, V], partitions int) (int32, error) {
	r := &e.sent.Record
	id, asked := r.Partition.Get()
	switch {
	case asked:
	case p.opts.Partitioner != nil:
		t := topicOf(r.Topic, partitions)
		cluster := metadata.NewSnapshot(metadata.Update{ClusterID: "mock", Nodes: []metadata.Node{mockNode}, Topics: []metadata.Topic{*t}})
		chosen, err := p.opts.Partitioner.Partition(quill.PartitionInput{Topic: t, Cluster: cluster, Key: e.sent.Key, Value: e.sent.Value, Headers: r.Headers})
		if err != nil {
			return -1, &quill.Error{Op: "choose a partition", Kind: quill.ErrPartitioner, Topic: r.Topic, Partition: -1, Node: -1, Cause: err}
		}
		id = chosen
	case e.sent.Key != nil:
		return quill.KeyPartition(e.sent.Key, partitions), nil
	default:
		p.mu.Lock()
		defer p.mu.Unlock()
		id = p.turns[r.Topic] % int32(partitions)
		p.turns[r.Topic] = id + 1
		return id, nil
	}
	if id < 0 || int(id) >= partitions {
		return id, &quill.Error{Op: "send", Kind: quill.ErrInvalidPartition, Topic: r.Topic, Partition: id, Node: -1, Reason: fmt.Sprintf("the topic has %d partitions", partitions)}
	}
	return id, nil
}

// serialize calls a serializer; a panic in it fails the record as an error does.
func serialize[T any](s quill.Serializer[T], op, topic string, headers *quill.Headers, v T) (b []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
		if err != nil {
			err = &quill.Error{Op: op, Kind: quill.ErrSerialization, Topic: topic, Partition: -1, Node: -1, Cause: err}
		}
	}()
	b, err = s.Serialize(nil, topic, headers, v)
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

func unknownTopic(op, topic string) error {
	return &quill.Error{Op: op, Kind: quill.ErrTimeout, Code: protocol.UnknownTopicOrPartition, Topic: topic, Partition: -1, Node: -1, Reason: "the mock does not have the topic"}
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
