package quilltest

import (
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

var produceAPI = api{
	min: message.ProduceMinVersion, max: message.ProduceMaxVersion,
	advertised: 0, // versions 0 to 2 are named and refused, for librdkafka's sake (KAFKA-18659)
	partitions: producePartitions,
	handle:     handleProduce,
}

// producePartitions names the partitions written to, in the request's order. An unknown topic id
// gives an empty name.
func producePartitions(c *Cluster, m message.Message, version int16) []TopicPartition {
	req := m.(*message.ProduceRequest)
	var named []TopicPartition
	for i := range req.TopicData {
		t := &req.TopicData[i]
		name := t.Name
		if version >= 13 {
			name = c.topicName(t.TopicID)
		}
		for _, p := range t.PartitionData {
			named = append(named, TopicPartition{name, p.Index})
		}
	}
	return named
}

func (c *Cluster) topicName(id protocol.UUID) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topicIDs[id]; t != nil {
		return t.name
	}
	return ""
}

func handleProduce(q *call) (message.Message, bool) {
	req := q.body.(*message.ProduceRequest)
	res := newResponse[*message.ProduceResponse](protocol.Produce)
	if slices.ContainsFunc(req.TopicData, func(t message.TopicProduceData) bool {
		return slices.ContainsFunc(t.PartitionData, func(p message.PartitionProduceData) bool { return p.Records == nil })
	}) {
		return nil, false // a node can't read null records
	}
	last := make(map[TopicPartition]int) // of a partition that is named twice the last batch counts
	for i, tp := range q.partitions {
		last[tp] = i
	}
	q.unauthorized = req.TransactionalID == nil && slices.ContainsFunc(req.TopicData, hasTransactional)
	failed := false
	i := -1 // the partitions are listed in the request's order
	for _, t := range req.TopicData {
		tr := message.TopicProduceResponse{Name: t.Name, TopicID: t.TopicID}
		for _, p := range t.PartitionData {
			if i++; last[q.partitions[i]] != i && q.partitions[i].Topic != "" {
				continue
			}
			pr := q.produce(q.partitions[i], req, p.Records, res)
			failed = failed || pr.ErrorCode != protocol.None
			tr.PartitionResponses = append(tr.PartitionResponses, pr)
		}
		res.Responses = append(res.Responses, tr)
	}
	if req.Acks == 0 {
		return nil, !failed // the client sees nothing but the closed connection
	}
	return res, true
}

// hasTransactional says whether a batch for the topic is of a transaction. Kafka then wants to know of
// which, before it looks at anything else.
func hasTransactional(t message.TopicProduceData) bool {
	return slices.ContainsFunc(t.PartitionData, func(p message.PartitionProduceData) bool {
		h, err := protocol.ReadBatchHeader(p.Records)
		return err == nil && h.Transactional()
	})
}

// produce handles one partition of the request.
func (q *call) produce(tp TopicPartition, req *message.ProduceRequest, records []byte, res *message.ProduceResponse) message.PartitionProduceResponse {
	fault := q.plan.failing(tp.Topic, tp.Partition)
	var result appendResult
	if fault != nil && !fault.AfterAppend {
		result = appendResult{baseOffset: -1, logAppendTime: -1, logStart: -1, leader: -1, epoch: -1}
	} else {
		result = q.appendTo(tp, req, records)
	}
	if fault != nil && result.code == protocol.None {
		result.code, result.reason, result.records = fault.code(), fault.ErrMessage, nil
		for index, reason := range fault.RecordErrors {
			result.records = append(result.records, recordError{index, reason})
		}
		slices.SortFunc(result.records, func(a, b recordError) int { return int(a.index) - int(b.index) })
		if result.code == protocol.NotLeaderOrFollower {
			result.leader, result.epoch, _ = q.cluster.Leader(tp.Topic, tp.Partition)
		}
	}
	return q.partitionResponse(tp.Partition, &result, res)
}

// appendTo appends a batch to its partition.
func (q *call) appendTo(tp TopicPartition, req *message.ProduceRequest, records []byte) appendResult {
	none := appendResult{baseOffset: -1, logAppendTime: -1, logStart: -1, leader: -1, epoch: -1}
	if req.Acks < -1 || req.Acks > 1 {
		none.code = protocol.InvalidRequiredAcks
		return none
	}
	if q.unauthorized {
		none.code = protocol.TransactionalIDAuthorizationFailed
		return none
	}
	p, err := q.cluster.partition(tp.Topic, tp.Partition)
	switch {
	case err == nil:
		return p.append(q.node.id, req.Acks, q.Version, text(req.TransactionalID), records, time.Now())
	case q.Version >= 13 && tp.Topic == "":
		none.code = protocol.UnknownTopicID
	default:
		none.code = protocol.UnknownTopicOrPartition
	}
	return none
}

// partitionResponse puts a result into the answer's form; a new leader's address goes to the answer
// itself (KIP-951).
func (q *call) partitionResponse(index int32, r *appendResult, res *message.ProduceResponse) message.PartitionProduceResponse {
	var pr message.PartitionProduceResponse
	pr.Reset()
	pr.Index, pr.ErrorCode = index, r.code
	pr.BaseOffset, pr.LogAppendTimeMs, pr.LogStartOffset = r.baseOffset, r.logAppendTime, r.logStart
	pr.ErrorMessage = nullable(r.reason)
	for _, e := range r.records {
		pr.RecordErrors = append(pr.RecordErrors, message.BatchIndexAndErrorMessage{BatchIndex: e.index, BatchIndexErrorMessage: nullable(e.reason)})
	}
	if r.code != protocol.NotLeaderOrFollower || r.leader == -1 || q.Version < 10 {
		return pr
	}
	pr.CurrentLeader = message.LeaderIDAndEpoch{LeaderID: r.leader, LeaderEpoch: r.epoch}
	known := slices.ContainsFunc(res.NodeEndpoints, func(e message.NodeEndpoint) bool { return e.NodeID == r.leader })
	if n, err := q.cluster.node(r.leader); err == nil && !known {
		host, port := n.advertised()
		res.NodeEndpoints = append(res.NodeEndpoints, message.NodeEndpoint{NodeID: n.id, Host: host, Port: port, Rack: nullable(n.rack)})
	}
	return pr
}
