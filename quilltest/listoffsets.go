package quilltest

import (
	"slices"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// ListOffsets, by which consumers find where to begin (Kafka: KafkaApis.handleListOffsetRequest).

var listOffsetsAPI = api{
	min: message.ListOffsetsMinVersion, max: message.ListOffsetsMaxVersion, advertised: message.ListOffsetsMinVersion,
	partitions: listOffsetsPartitions,
	handle:     handleListOffsets,
}

// Timestamps that stand for something else (Kafka: ListOffsetsRequest).
const (
	latestTimestamp        = -1
	earliestTimestamp      = -2
	maxTimestamp           = -3 // KIP-734
	earliestLocalTimestamp = -4 // KIP-405
	latestTieredTimestamp  = -5 // KIP-1005
	earliestPendingUpload  = -6 // KIP-1023
)

// listOffsetsPartitions names the partitions asked about, in the request's order.
func listOffsetsPartitions(_ *Cluster, m message.Message, _ int16) []TopicPartition {
	req := m.(*message.ListOffsetsRequest)
	var named []TopicPartition
	for i := range req.Topics {
		for _, p := range req.Topics[i].Partitions {
			named = append(named, TopicPartition{req.Topics[i].Name, p.PartitionIndex})
		}
	}
	return named
}

func handleListOffsets(q *call) (message.Message, bool) {
	req := q.body.(*message.ListOffsetsRequest)
	res := newResponse[*message.ListOffsetsResponse](protocol.ListOffsets)
	times := make(map[TopicPartition]int)
	for _, tp := range q.partitions {
		times[tp]++
	}
	for _, t := range req.Topics {
		tr := message.ListOffsetsTopicResponse{Name: t.Name}
		for _, p := range t.Partitions {
			tp := TopicPartition{t.Name, p.PartitionIndex}
			var pr message.ListOffsetsPartitionResponse
			pr.Reset()
			pr.PartitionIndex = p.PartitionIndex
			if times[tp] > 1 {
				pr.ErrorCode = protocol.InvalidRequest
			} else {
				q.listOffset(tp, &p, req.IsolationLevel == readCommitted, &pr)
			}
			tr.Partitions = append(tr.Partitions, pr)
		}
		res.Topics = append(res.Topics, tr)
	}
	return res, true
}

// listOffset answers for one partition, faults included.
func (q *call) listOffset(tp TopicPartition, asked *message.ListOffsetsPartition, committed bool, pr *message.ListOffsetsPartitionResponse) {
	if f := q.plan.failing(tp.Topic, tp.Partition); f != nil {
		pr.ErrorCode = f.code()
		return
	}
	p, err := q.cluster.partition(tp.Topic, tp.Partition)
	if err != nil {
		pr.ErrorCode = protocol.UnknownTopicOrPartition
		return
	}
	p.mu.Lock()
	code := p.serveLocked(q.node.id, asked.CurrentLeaderEpoch, false)
	start, limit, epoch := p.oldestLocked(), p.end, p.epoch
	if committed {
		limit = p.lastStableLocked()
	}
	stored := slices.Clone(p.batches[p.positionLocked(start):])
	p.mu.Unlock()
	if code != protocol.None {
		pr.ErrorCode = code
		return
	}
	switch asked.Timestamp {
	case latestTimestamp:
		pr.Offset, pr.LeaderEpoch = limit, epoch
	case earliestTimestamp, earliestLocalTimestamp:
		pr.Offset, pr.LeaderEpoch = start, epoch
		if len(stored) > 0 {
			pr.LeaderEpoch = stored[0].epoch()
		}
	case latestTieredTimestamp, earliestPendingUpload: // no tiered storage here: none
	default:
		if asked.Timestamp < maxTimestamp {
			pr.ErrorCode = protocol.UnsupportedVersion
			return
		}
		p.findTimestamp(stored, asked.Timestamp, start, limit, pr)
	}
}

// findTimestamp finds the first record with that timestamp or a later one, for maxTimestamp the
// first of those with the largest timestamp. Only records from start to before limit count.
func (p *partition) findTimestamp(stored []storedBatch, timestamp, start, limit int64, pr *message.ListOffsetsPartitionResponse) {
	batches, err := p.read(stored)
	if err != nil {
		return
	}
	for i, b := range batches {
		if b.Header.MaxTimestamp < timestamp || b.Header.Control() || b.Header.BaseOffset >= limit {
			continue
		}
		records, err := b.Records()
		if err != nil {
			return
		}
		for _, r := range records {
			at := protocol.NoTimestamp
			if !r.Timestamp.IsZero() {
				at = r.Timestamp.UnixMilli()
			}
			if r.Offset < start || at < timestamp || timestamp == maxTimestamp && at <= pr.Timestamp {
				continue
			}
			pr.Offset, pr.Timestamp, pr.LeaderEpoch = r.Offset, at, stored[i].epoch()
			if timestamp != maxTimestamp {
				return
			}
		}
	}
}

// epoch is the leader epoch in which the batch was appended.
func (b *storedBatch) epoch() int32 {
	h, err := protocol.ReadBatchHeader(b.bytes)
	if err != nil {
		return -1
	}
	return h.PartitionLeaderEpoch
}
