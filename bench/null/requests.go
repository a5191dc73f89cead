package null

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// versions are what the nodes say they speak. Kafka 4 says Produce from 0 although it refuses 0 to
// 2, and librdkafka uses the newer record format and codecs only if it sees Fetch, ListOffsets and
// FindCoordinator: so they are listed, and never asked for by a producer.
var versions = []struct{ key, min, max int16 }{
	{keyProduce, 0, 13}, {1, 4, 17}, {2, 1, 10}, {keyMetadata, 0, 13}, {10, 0, 6},
	{keyAPIVersions, 0, 4}, {keyInitProducerID, 0, 5}, {keyAddPartitionsToTxn, 0, 3}, {keyEndTxn, 0, 5},
}

// The feature that lets transactions add their partitions by Produce, and raise the epoch as they
// end (KIP-890). A client that sees it late asks for AddPartitionsToTxn at first.
const (
	transactionVersion      = "transaction.version"
	transactionVersionLevel = 2
)

// Kafka's error codes that the cluster answers with.
const (
	unknownTopicOrPartition = 3
	notLeaderOrFollower     = 6
	unsupportedVersion      = 35
	unknownTopicID          = 100
)

// other answers everything but Produce; nil if that is not understood, which ends the connection.
func (k *conn) other(key, version int16) kmsg.Response {
	k.c.otherRequests.Add(1)
	q := kmsg.RequestForKey(key)
	if q == nil {
		k.in.fail(errBadRequest)
		return nil
	}
	q.SetVersion(version)
	if key == keyAPIVersions && version > 4 {
		r := apiVersions(0) // KIP-511: always in version 0, so that the client can read it
		r.ErrorCode = unsupportedVersion
		return r
	}
	if q.IsFlexible() {
		k.in.tags()
	}
	body := k.in.take(k.in.left)
	if k.in.err != nil {
		return nil
	}
	if err := q.ReadFrom(body); err != nil {
		k.in.fail(errBadRequest)
		return nil
	}
	switch q := q.(type) {
	case *kmsg.ApiVersionsRequest:
		return apiVersions(version)
	case *kmsg.MetadataRequest:
		return k.c.metadata(q)
	case *kmsg.InitProducerIDRequest:
		r := q.ResponseKind().(*kmsg.InitProducerIDResponse)
		r.ProducerID, r.ProducerEpoch = 1000+k.c.producerID.Add(1), 0
		return r
	case *kmsg.FindCoordinatorRequest:
		return k.c.findCoordinator(q)
	case *kmsg.AddPartitionsToTxnRequest:
		return addPartitions(q)
	case *kmsg.EndTxnRequest:
		r := q.ResponseKind().(*kmsg.EndTxnResponse)
		r.ProducerID, r.ProducerEpoch = q.ProducerID, q.ProducerEpoch+1
		k.c.transactions.Add(1)
		return r
	}
	k.in.fail(errBadRequest)
	return nil
}

func apiVersions(version int16) *kmsg.ApiVersionsResponse {
	r := kmsg.NewPtrApiVersionsResponse()
	r.Version = version
	for _, v := range versions {
		a := kmsg.NewApiVersionsResponseApiKey()
		a.ApiKey, a.MinVersion, a.MaxVersion = v.key, v.min, v.max
		r.ApiKeys = append(r.ApiKeys, a)
	}
	supported := kmsg.NewApiVersionsResponseSupportedFeature()
	supported.Name, supported.MaxVersion = transactionVersion, transactionVersionLevel
	finalized := kmsg.NewApiVersionsResponseFinalizedFeature()
	finalized.Name, finalized.MinVersionLevel, finalized.MaxVersionLevel = transactionVersion, transactionVersionLevel, transactionVersionLevel
	r.SupportedFeatures, r.FinalizedFeatures, r.FinalizedFeaturesEpoch = append(r.SupportedFeatures, supported), append(r.FinalizedFeatures, finalized), 0
	return r
}

func addPartitions(q *kmsg.AddPartitionsToTxnRequest) *kmsg.AddPartitionsToTxnResponse {
	r := q.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	for _, topic := range q.Topics {
		added := kmsg.NewAddPartitionsToTxnResponseTopic()
		added.Topic = topic.Topic
		for _, partition := range topic.Partitions {
			p := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			p.Partition = partition
			added.Partitions = append(added.Partitions, p)
		}
		r.Topics = append(r.Topics, added)
	}
	return r
}

// findCoordinator says that the first node coordinates everything.
func (c *Cluster) findCoordinator(q *kmsg.FindCoordinatorRequest) *kmsg.FindCoordinatorResponse {
	r := q.ResponseKind().(*kmsg.FindCoordinatorResponse)
	n := c.nodes[0]
	r.NodeID, r.Host, r.Port = n.id, "127.0.0.1", int32(n.port())
	for _, key := range q.CoordinatorKeys {
		found := kmsg.NewFindCoordinatorResponseCoordinator()
		found.Key, found.NodeID, found.Host, found.Port = key, n.id, "127.0.0.1", int32(n.port())
		r.Coordinators = append(r.Coordinators, found)
	}
	return r
}

func (c *Cluster) metadata(q *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	r := q.ResponseKind().(*kmsg.MetadataResponse)
	r.ClusterID, r.ControllerID = new("null"), 0
	for _, n := range c.nodes {
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port = n.id, "127.0.0.1", int32(n.port())
		r.Brokers = append(r.Brokers, b)
	}
	if q.Topics == nil || q.Version == 0 && len(q.Topics) == 0 {
		for _, t := range c.topics {
			r.Topics = append(r.Topics, c.topicMetadata(t))
		}
	}
	for _, qt := range q.Topics {
		t, code := c.byID[qt.TopicID], int16(unknownTopicID)
		if qt.Topic != nil {
			t, code = c.byName[*qt.Topic], unknownTopicOrPartition
		}
		if t == nil {
			missing := kmsg.NewMetadataResponseTopic()
			missing.Topic, missing.TopicID, missing.ErrorCode = qt.Topic, qt.TopicID, code
			r.Topics = append(r.Topics, missing)
			continue
		}
		r.Topics = append(r.Topics, c.topicMetadata(t))
	}
	return r
}

func (c *Cluster) topicMetadata(t *topic) kmsg.MetadataResponseTopic {
	m := kmsg.NewMetadataResponseTopic()
	m.Topic, m.TopicID = new(t.name), t.id
	for i := range t.partitions {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch = int32(i), c.leader(int32(i)), 0
		p.Replicas, p.ISR = []int32{p.Leader}, []int32{p.Leader}
		m.Partitions = append(m.Partitions, p)
	}
	return m
}

func (c *Cluster) leader(partition int32) int32 { return partition % int32(len(c.nodes)) }
