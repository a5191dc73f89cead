package quilltest

import (
	"slices"
	"strings"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

var metadataAPI = api{
	min: message.MetadataMinVersion, max: message.MetadataMaxVersion,
	partitions: metadataPartitions,
	handle:     handleMetadata,
}

// metadataPartitions names the topics asked for; for all topics it names those that exist.
func metadataPartitions(c *Cluster, m message.Message, version int16) []TopicPartition {
	var asked []TopicPartition
	for _, t := range c.askedFor(m.(*message.MetadataRequest), version) {
		asked = append(asked, TopicPartition{Topic: t.name, Partition: -1})
	}
	return asked
}

// An askedTopic is one element of a metadata request, looked up.
type askedTopic struct {
	name  string // empty for an unknown id
	id    protocol.UUID
	topic *topic // nil if it does not exist
	code  protocol.ErrorCode
}

func (c *Cluster) askedFor(m *message.MetadataRequest, version int16) []askedTopic {
	c.mu.Lock()
	defer c.mu.Unlock()
	var asked []askedTopic
	if m.Topics == nil || version == 0 && len(m.Topics) == 0 {
		for name, t := range c.topics {
			asked = append(asked, askedTopic{name: name, id: t.id, topic: t})
		}
		slices.SortFunc(asked, func(a, b askedTopic) int { return strings.Compare(a.name, b.name) })
		return asked
	}
	for _, t := range m.Topics {
		switch {
		case !t.TopicID.IsZero() && version < 12, t.Name == nil && version < 12:
			asked = append(asked, askedTopic{id: t.TopicID, code: protocol.InvalidRequest})
		case t.Name == nil:
			a := askedTopic{id: t.TopicID, topic: c.topicIDs[t.TopicID]}
			if a.topic != nil {
				a.name = a.topic.name
			} else {
				a.code = protocol.UnknownTopicID
			}
			asked = append(asked, a)
		default:
			asked = append(asked, c.askedByNameLocked(*t.Name))
		}
	}
	return asked
}

// +checklocks:c.mu
func (c *Cluster) askedByNameLocked(name string) askedTopic {
	switch t := c.topics[name]; {
	case t != nil:
		return askedTopic{name: name, id: t.id, topic: t}
	case !validTopicName(name):
		return askedTopic{name: name, code: protocol.InvalidTopicException}
	default:
		return askedTopic{name: name, code: protocol.UnknownTopicOrPartition}
	}
}

func handleMetadata(q *call) (message.Message, bool) {
	req := q.body.(*message.MetadataRequest)
	c := q.cluster
	res := newResponse[*message.MetadataResponse](protocol.Metadata)
	res.ClusterID = &c.opts.ClusterID
	for _, n := range c.nodes {
		if !n.running() {
			continue
		}
		if res.ControllerID == -1 {
			res.ControllerID = n.id
		}
		host, port := n.advertised()
		res.Brokers = append(res.Brokers, message.MetadataResponseBroker{NodeID: n.id, Host: host, Port: port, Rack: nullable(n.rack)})
	}
	res.ErrorCode = q.plan.failure()
	for _, a := range c.askedFor(req, q.Version) {
		res.Topics = append(res.Topics, q.topicMetadata(a))
		if a.code == protocol.UnknownTopicOrPartition && c.opts.AutoCreate && req.AllowAutoTopicCreation && res.ErrorCode == protocol.None {
			// As with KRaft, the topic is there for the next who asks. It cannot fail: the name is
			// valid and unknown, or another was faster.
			_ = c.CreateTopic(a.name, c.opts.DefaultPartitions, TopicConfig{})
		}
	}
	return res, true
}

// topicMetadata is one topic of the answer, faults included.
func (q *call) topicMetadata(a askedTopic) message.MetadataResponseTopic {
	var res message.MetadataResponseTopic
	res.Reset()
	res.TopicID, res.ErrorCode, res.Name = a.id, a.code, nullable(a.name)
	if f := q.plan.failing(a.name, -1); f != nil {
		res.ErrorCode = f.code()
	}
	if res.ErrorCode != protocol.None {
		if res.Name == nil && q.Version < 12 {
			res.Name = &a.name
		}
		return res
	}
	res.IsInternal = a.topic.internal
	for _, p := range q.cluster.partitions(a.name) {
		res.Partitions = append(res.Partitions, p.metadata(q))
	}
	return res
}

// metadata is one partition of the answer.
func (p *partition) metadata(q *call) message.MetadataResponsePartition {
	p.mu.Lock()
	res := message.MetadataResponsePartition{
		PartitionIndex: p.index, LeaderID: p.leader, LeaderEpoch: p.epoch,
		ReplicaNodes: new(message.Int32s(slices.Clone(p.replicas))), ISRNodes: new(message.Int32s(slices.Clone(p.isr))),
	}
	p.mu.Unlock()
	var offline message.Int32s
	for _, id := range *res.ReplicaNodes {
		if !q.cluster.running(id) {
			offline = append(offline, id)
		}
	}
	res.OfflineReplicas = &offline
	if res.LeaderID == -1 {
		res.ErrorCode = protocol.LeaderNotAvailable
	}
	if f := q.plan.failing(p.topic.name, p.index); f != nil {
		res.ErrorCode, res.LeaderID = f.code(), -1
	}
	return res
}

// text makes null an empty string.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// nullable makes an empty string null.
func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
