package quilltest

import (
	"slices"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// OffsetForLeaderEpoch, by which consumers make sure after a change of the leader that the log still
// holds what they have read (KIP-320).

var offsetForLeaderEpochAPI = api{
	min: message.OffsetForLeaderEpochMinVersion, max: message.OffsetForLeaderEpochMaxVersion, advertised: message.OffsetForLeaderEpochMinVersion,
	partitions: offsetForLeaderEpochPartitions,
	handle:     handleOffsetForLeaderEpoch,
}

// offsetForLeaderEpochPartitions names the partitions asked about, in the request's order.
func offsetForLeaderEpochPartitions(_ *Cluster, m message.Message, _ int16) []TopicPartition {
	req := m.(*message.OffsetForLeaderEpochRequest)
	var named []TopicPartition
	for i := range req.Topics {
		for _, p := range req.Topics[i].Partitions {
			named = append(named, TopicPartition{req.Topics[i].Topic, p.Partition})
		}
	}
	return named
}

func handleOffsetForLeaderEpoch(q *call) (message.Message, bool) {
	req := q.body.(*message.OffsetForLeaderEpochRequest)
	res := newResponse[*message.OffsetForLeaderEpochResponse](protocol.OffsetForLeaderEpoch)
	for _, t := range req.Topics {
		tr := message.OffsetForLeaderTopicResult{Topic: t.Topic}
		for _, p := range t.Partitions {
			tr.Partitions = append(tr.Partitions, q.endOfEpoch(TopicPartition{t.Topic, p.Partition}, &p))
		}
		res.Topics = append(res.Topics, tr)
	}
	return res, true
}

// endOfEpoch answers for one partition, faults included.
func (q *call) endOfEpoch(tp TopicPartition, asked *message.OffsetForLeaderPartition) message.OffsetForLeaderEpochEpochEndOffset {
	res := message.OffsetForLeaderEpochEpochEndOffset{Partition: tp.Partition, LeaderEpoch: -1, EndOffset: -1}
	if f := q.plan.failing(tp.Topic, tp.Partition); f != nil {
		res.ErrorCode = f.code()
		return res
	}
	p, err := q.cluster.partition(tp.Topic, tp.Partition)
	if err != nil {
		res.ErrorCode = protocol.UnknownTopicOrPartition
		return res
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if res.ErrorCode = p.serveLocked(q.node.id, asked.CurrentLeaderEpoch, false); res.ErrorCode == protocol.None {
		res.LeaderEpoch, res.EndOffset = p.endOfEpochLocked(asked.LeaderEpoch)
	}
	return res
}

// endOfEpochLocked returns the last leader epoch up to the given one in which the log grew, and the
// offset where the next one begins. Both are -1 for an epoch that has not come yet (Kafka:
// LeaderEpochFileCache.endOffsetFor).
//
// +checklocks:p.mu
func (p *partition) endOfEpochLocked(epoch int32) (last int32, end int64) {
	switch {
	case epoch < 0 || epoch > p.epoch:
		return -1, -1
	case epoch == p.epoch:
		return epoch, p.end
	}
	next := slices.IndexFunc(p.batches, func(b storedBatch) bool { return b.epoch() > epoch })
	switch {
	case next > 0:
		return p.batches[next-1].epoch(), p.batches[next].baseOffset
	case next == 0:
		return epoch, p.batches[0].baseOffset
	case len(p.batches) > 0:
		return p.batches[len(p.batches)-1].epoch(), p.end
	}
	return epoch, p.end
}
