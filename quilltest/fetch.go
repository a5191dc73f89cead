package quilltest

import (
	"slices"
	"sort"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// Fetch, by which consumers read (Kafka: KafkaApis.handleFetchRequest, DelayedFetch). A request that
// finds less than it asks for waits until there is more, an error, or its time is up; later requests
// of its connection wait behind it, as on a real node. Sessions (KIP-227) are declined, as a node
// whose cache of them is full does: each request names all its partitions. Only leaders answer, also
// to clients that could read from followers (KIP-392).

var fetchAPI = api{
	min: message.FetchMinVersion, max: message.FetchMaxVersion, advertised: message.FetchMinVersion,
	partitions: fetchPartitions,
	handle:     handleFetch,
}

// maxFetchBytes bounds an answer. Kafka: fetch.max.bytes.
const maxFetchBytes = 55 << 20

// readCommitted is the isolation level of consumers that want no records of open and aborted
// transactions.
const readCommitted = 1

// fetchPartitions names the partitions read, in the request's order. An unknown topic id gives an
// empty name.
func fetchPartitions(c *Cluster, m message.Message, version int16) []TopicPartition {
	req := m.(*message.FetchRequest)
	var named []TopicPartition
	for i := range req.Topics {
		t := &req.Topics[i]
		name := t.Topic
		if version >= 13 {
			name = c.topicName(t.TopicID)
		}
		for j := range t.Partitions {
			named = append(named, TopicPartition{name, t.Partitions[j].Partition})
		}
	}
	return named
}

func handleFetch(q *call) (message.Message, bool) {
	req := q.body.(*message.FetchRequest)
	res := newResponse[*message.FetchResponse](protocol.Fetch)
	if req.SessionEpoch > 0 {
		res.ErrorCode = protocol.FetchSessionIDNotFound // no session was ever given out
		return res, true
	}
	patience := time.NewTimer(time.Duration(max(req.MaxWaitMs, 0)) * time.Millisecond)
	defer patience.Stop()
	for {
		changed := q.cluster.changed.next()
		if q.fetch(req, res) {
			return res, true
		}
		select {
		case <-changed:
		case <-patience.C:
			return res, true
		case <-q.done:
			return nil, false
		}
	}
}

// fetch fills in the answer with what is there now. It is true if the client is to have it at once.
func (q *call) fetch(req *message.FetchRequest, res *message.FetchResponse) bool {
	res.Responses, res.NodeEndpoints = nil, nil
	size, failed := 0, false
	limit := int(min(req.MaxBytes, maxFetchBytes))
	i := 0 // the partitions are listed in the request's order
	for _, t := range req.Topics {
		tr := message.FetchableTopicResponse{Topic: t.Topic, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			r := reading{node: q.node.id, epoch: p.CurrentLeaderEpoch, byID: q.Version >= 13, offset: p.FetchOffset,
				committed: req.IsolationLevel == readCommitted, limit: min(int(p.PartitionMaxBytes), limit-size), whole: size == 0}
			pr := q.fetchPartition(q.partitions[i], &r, res)
			i++
			size += len(pr.Records)
			failed = failed || pr.ErrorCode != protocol.None
			tr.Partitions = append(tr.Partitions, pr)
		}
		res.Responses = append(res.Responses, tr)
	}
	return failed || i == 0 || size >= int(req.MinBytes)
}

// fetchPartition reads one partition of the request, faults included.
func (q *call) fetchPartition(tp TopicPartition, r *reading, res *message.FetchResponse) message.PartitionData {
	var pr message.PartitionData
	pr.Reset()
	pr.PartitionIndex, pr.HighWatermark = tp.Partition, -1
	pr.Records = []byte{} // never null, which librdkafka takes for a broken answer
	if f := q.plan.failing(tp.Topic, tp.Partition); f != nil {
		pr.ErrorCode = f.code()
		return pr
	}
	p, err := q.cluster.partition(tp.Topic, tp.Partition)
	switch {
	case err == nil:
	case r.byID && tp.Topic == "":
		pr.ErrorCode = protocol.UnknownTopicID
		return pr
	default:
		pr.ErrorCode = protocol.UnknownTopicOrPartition
		return pr
	}
	found := p.fetch(r)
	pr.ErrorCode = found.code
	switch {
	case found.code == protocol.None:
		pr.HighWatermark, pr.LastStableOffset, pr.LogStartOffset = found.end, found.stable, found.start
		pr.AbortedTransactions = found.aborted
		for _, b := range found.batches {
			pr.Records = append(pr.Records, b...)
		}
	case q.Version >= 16 && found.leader >= 0 && (found.code == protocol.NotLeaderOrFollower || found.code == protocol.FencedLeaderEpoch):
		pr.CurrentLeader = message.FetchLeaderIDAndEpoch{LeaderID: found.leader, LeaderEpoch: found.epoch}
		q.nameLeader(found.leader, res)
	}
	return pr
}

// nameLeader puts a leader's address into the answer (KIP-951).
func (q *call) nameLeader(leader int32, res *message.FetchResponse) {
	n, err := q.cluster.node(leader)
	if err != nil || slices.ContainsFunc(res.NodeEndpoints, func(e message.FetchNodeEndpoint) bool { return e.NodeID == leader }) {
		return
	}
	host, port := n.advertised()
	res.NodeEndpoints = append(res.NodeEndpoints, message.FetchNodeEndpoint{NodeID: n.id, Host: host, Port: port, Rack: nullable(n.rack)})
}

// A reading is what a consumer asks of a partition.
type reading struct {
	node      int32
	epoch     int32 // the leader epoch that the client knows, -1 if none
	byID      bool
	offset    int64
	committed bool // up to the last stable offset, and with the aborted transactions
	limit     int  // bytes
	whole     bool // the first batch even if it is larger than limit (KIP-74)
}

// What a reading found.
type found struct {
	code               protocol.ErrorCode
	leader, epoch      int32
	start, stable, end int64
	batches            [][]byte
	aborted            []message.AbortedTransaction
}

func (p *partition) fetch(r *reading) found {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := found{leader: p.leader, epoch: p.epoch, start: p.oldestLocked(), stable: p.lastStableLocked(), end: p.end}
	f.code = p.serveLocked(r.node, r.epoch, r.byID)
	if f.code == protocol.None && (r.offset < f.start || r.offset > f.end) {
		f.code = protocol.OffsetOutOfRange
	}
	if f.code != protocol.None {
		return f
	}
	limit := f.end
	if r.committed {
		limit = f.stable
		f.aborted = []message.AbortedTransaction{}
	}
	size, next := 0, r.offset
	for _, b := range p.batches[p.positionLocked(r.offset):] {
		if b.baseOffset >= limit || size+len(b.bytes) > r.limit && !(r.whole && size == 0) {
			break
		}
		f.batches = append(f.batches, b.bytes)
		size += len(b.bytes)
		next = b.lastOffset + 1
	}
	for _, a := range p.aborted {
		if r.committed && a.marker >= r.offset && a.first < next {
			f.aborted = append(f.aborted, message.AbortedTransaction{ProducerID: a.producer, FirstOffset: a.first})
		}
	}
	return f
}

// serveLocked says whether the node may serve a consumer that knows that leader epoch, -1 for none
// (KIP-320).
//
// +checklocks:p.mu
func (p *partition) serveLocked(node, epoch int32, byID bool) protocol.ErrorCode {
	switch {
	case p.deleted && byID:
		return protocol.UnknownTopicID
	case p.deleted:
		return protocol.UnknownTopicOrPartition
	case epoch >= 0 && epoch < p.epoch:
		return protocol.FencedLeaderEpoch
	case epoch > p.epoch:
		return protocol.UnknownLeaderEpoch
	case p.leader != node:
		return protocol.NotLeaderOrFollower
	}
	return protocol.None
}

// oldestLocked returns the first offset that can be read. With Options.Retain it is not the log
// start offset that producers get, since what was dropped there was not deleted.
//
// +checklocks:p.mu
func (p *partition) oldestLocked() int64 {
	switch {
	case p.cluster.opts.Retain < 0:
		return p.end
	case len(p.batches) == 0:
		return p.start
	}
	return max(p.start, p.batches[0].baseOffset)
}

// positionLocked returns the index of the batch that holds the offset, or of the next one.
//
// +checklocks:p.mu
func (p *partition) positionLocked(offset int64) int {
	batches := p.batches
	return sort.Search(len(batches), func(i int) bool { return batches[i].lastOffset >= offset })
}
