package quilltest

import (
	"slices"
	"sync"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// A topic is a name, an id and its partitions.
type topic struct {
	name     string // set by CreateTopic, read-only after
	id       protocol.UUID
	internal bool
	cfg      TopicConfig // under the cluster's mutex; partitions have a copy of their own
	// partitions grows under the cluster's mutex; the slice is replaced, never changed in place.
	partitions []*partition
}

// A partition has a leader and one log, which all its replicas share.
type partition struct {
	cluster *Cluster // set by newPartition, read-only after
	topic   *topic
	index   int32

	mu sync.Mutex // held for memory work only; taken inside the cluster's mutex, never around it
	// cfg is the topic's.
	// +checklocks:mu
	cfg TopicConfig
	// leader is a node id, -1 while no replica in sync runs.
	// +checklocks:mu
	leader int32
	// epoch rises with every change of the leader.
	// +checklocks:mu
	epoch int32
	// +checklocks:mu
	replicas []int32
	// isr is never empty: the last replica in sync stays in it when it stops.
	// +checklocks:mu
	isr []int32
	// deleted: the topic is gone; requests under way must not append.
	// +checklocks:mu
	deleted bool

	// +checklocks:mu
	producers map[int64]*producerState
	// attempts is by producer id, of those not in producers.
	// +checklocks:mu
	attempts map[int64]attempt
	// aborted is in the order of the markers, which are all among batches.
	// +checklocks:mu
	aborted []abortedTransaction
	// +checklocks:mu
	batches []storedBatch // oldest first, without those dropped
	// +checklocks:mu
	kept int64 // bytes of batches
	// +checklocks:mu
	start int64 // log start offset
	// +checklocks:mu
	end int64 // offset of the next record
	// +checklocks:mu
	appendedBatches int64
	// +checklocks:mu
	appendedRecords int64
}

// newPartition returns an empty partition, led by the first of its replicas that runs.
func newPartition(c *Cluster, t *topic, index int32, replicas []int32) *partition {
	isr := slices.DeleteFunc(slices.Clone(replicas), func(id int32) bool { return !c.running(id) })
	leader := int32(-1)
	if len(isr) > 0 {
		leader = isr[0]
	} else {
		isr = replicas[:1]
	}
	return &partition{
		cluster: c, topic: t, index: index, cfg: t.cfg,
		leader: leader, replicas: replicas, isr: isr,
		producers: make(map[int64]*producerState),
	}
}

// storedBatch is a batch in the log, as a consumer would get it.
type storedBatch struct {
	baseOffset int64
	lastOffset int64
	bytes      []byte
	at         time.Time
	node       int32
}

// An appendResult is what a produce response says about one partition.
type appendResult struct {
	refusal
	baseOffset    int64
	logAppendTime int64
	logStart      int64
	leader, epoch int32 // of a partition that this node does not lead
}

// leadsLocked says whether node may append now: its code is zero if it leads the partition and, for
// acks=all, enough replicas are in sync.
//
// +checklocks:p.mu
func (p *partition) leadsLocked(node int32, acks int16, byID bool) appendResult {
	res := appendResult{baseOffset: -1, logAppendTime: -1, logStart: -1, leader: -1, epoch: -1}
	switch {
	case p.deleted && byID:
		res.code = protocol.UnknownTopicID
	case p.deleted:
		res.code = protocol.UnknownTopicOrPartition
	case p.leader != node:
		res.code, res.leader, res.epoch = protocol.NotLeaderOrFollower, p.leader, p.epoch
	case acks == -1 && len(p.isr) < p.cfg.MinISR:
		res.code = protocol.NotEnoughReplicas
	}
	return res
}

// leads is leadsLocked for those who only look, and the topic's present settings.
func (p *partition) leads(node int32, acks int16, byID bool) (appendResult, TopicConfig) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leadsLocked(node, acks, byID), p.cfg
}

// append puts a batch from a produce request into the log, unless it is refused or was there
// before. transactionalID is the request's, empty if it has none.
func (p *partition) append(node int32, acks, version int16, transactionalID string, raw []byte, now time.Time) appendResult {
	byID := version >= 13
	res, cfg := p.leads(node, acks, byID)
	if res.code != protocol.None {
		return res
	}
	batch, bad := checkBatch(raw, version, &cfg, p.cluster.opts.Strict, now)
	if bad != nil {
		return appendResult{refusal: *bad, baseOffset: -1, logAppendTime: -1, logStart: -1}
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	// The leader may have changed while the records were read.
	if res := p.leadsLocked(node, acks, byID); res.code != protocol.None {
		return res
	}
	rules := p.cluster.rules
	rules.latestStart = p.attemptLocked(&batch.header, version)
	if bad := p.joinLocked(&batch.header, transactionalID, version); bad != nil {
		return appendResult{refusal: *bad, baseOffset: -1, logAppendTime: -1, logStart: p.start}
	}
	return p.appendLocked(node, &batch, rules, now)
}

// +checklocks:p.mu
func (p *partition) appendLocked(node int32, batch *checkedBatch, rules sequenceRules, now time.Time) appendResult {
	h := &batch.header
	res := appendResult{baseOffset: p.end, logAppendTime: -1, logStart: p.start}
	idempotent := h.ProducerID > protocol.NoProducerID
	if idempotent {
		v := p.producers[h.ProducerID].check(h, rules)
		switch {
		case v.code != protocol.None:
			return appendResult{refusal: refusal{code: v.code, reason: v.reason}, baseOffset: -1, logAppendTime: -1, logStart: p.start}
		case v.duplicate != nil:
			// As a broker does, also for create time: the log append time of a duplicate is the
			// batch's largest timestamp.
			res.baseOffset, res.logAppendTime = v.duplicate.baseOffset, v.duplicate.timestamp
			return res
		}
	}
	if p.cfg.LogAppendTime {
		res.logAppendTime = now.UnixMilli()
		batch.maxTimestamp = res.logAppendTime
	}
	if idempotent {
		state := p.producers[h.ProducerID]
		if state == nil {
			state = &producerState{epoch: h.ProducerEpoch, transaction: noTransaction}
			p.producers[h.ProducerID] = state
			delete(p.attempts, h.ProducerID)
		}
		state.add(h, sentBatch{baseSequence: h.BaseSequence, lastSequence: h.LastSequence(), baseOffset: p.end, timestamp: batch.maxTimestamp})
	}
	p.storeLocked(node, batch, now)
	return res
}

// storeLocked copies the batch into the log with the fields a leader sets.
//
// +checklocks:p.mu
func (p *partition) storeLocked(node int32, batch *checkedBatch, now time.Time) {
	h := batch.header
	h.BaseOffset, h.PartitionLeaderEpoch = p.end, p.epoch
	p.appendedBatches++
	p.appendedRecords += int64(h.Count)
	stored := storedBatch{baseOffset: h.BaseOffset, lastOffset: h.LastOffset(), at: now, node: node}
	if p.cluster.opts.Retain < 0 {
		p.keepLocked(stored)
		return
	}
	rewritten := h.MaxTimestamp != batch.maxTimestamp || p.cfg.LogAppendTime || h.LogAppendTime()
	h.MaxTimestamp = batch.maxTimestamp
	h.Attributes &^= protocol.AttrLogAppendTime // the topic says so, not the producer
	if p.cfg.LogAppendTime {
		h.Attributes |= protocol.AttrLogAppendTime
	}
	b := slices.Clone(batch.raw)
	protocol.PutBatchHeader(b, &h)
	if rewritten {
		protocol.PutBatchCRC(b, protocol.BatchCRC(b))
	}
	stored.bytes = b
	p.keepLocked(stored)
}

// keepLocked puts a batch at the end of the log, and drops the oldest if there is no room for them.
//
// +checklocks:p.mu
func (p *partition) keepLocked(b storedBatch) {
	p.end = b.lastOffset + 1
	retain := p.cluster.opts.Retain
	if retain < 0 {
		return
	}
	p.batches = append(p.batches, b)
	p.kept += int64(len(b.bytes))
	for retain > 0 && p.kept > retain && len(p.batches) > 1 {
		p.dropOldestLocked()
	}
}

// +checklocks:p.mu
func (p *partition) dropOldestLocked() {
	if len(p.aborted) > 0 && p.aborted[0].marker == p.batches[0].lastOffset {
		p.aborted = p.aborted[1:] // with its marker go its records, which are older
	}
	p.kept -= int64(len(p.batches[0].bytes))
	p.batches[0] = storedBatch{}
	p.batches = p.batches[1:]
}

// setLeaderLocked makes node the leader in a new epoch; -1 is none.
//
// +checklocks:p.mu
func (p *partition) setLeaderLocked(node int32) {
	p.leader = node
	p.epoch++
}

// nodeStopped takes a stopped node out of the replicas in sync and elects another leader if it led.
func (p *partition) nodeStopped(node int32, running func(int32) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.isr) > 1 {
		p.isr = slices.DeleteFunc(slices.Clone(p.isr), func(id int32) bool { return id == node })
	}
	if p.leader == node {
		p.setLeaderLocked(p.electLocked(running))
	}
}

// nodeStarted puts a node back in sync, and makes it the leader if there is none.
func (p *partition) nodeStarted(node int32, running func(int32) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.replicas, node) {
		return
	}
	if p.leader == -1 {
		leader := p.electLocked(running)
		if leader == -1 {
			return // the last replica in sync is still away
		}
		p.setLeaderLocked(leader)
	}
	if !slices.Contains(p.isr, node) {
		p.isr = append(slices.Clone(p.isr), node)
	}
}

// electLocked returns the first running replica in sync, in the order of the replicas.
//
// +checklocks:p.mu
func (p *partition) electLocked(running func(int32) bool) int32 {
	for _, id := range p.replicas {
		if slices.Contains(p.isr, id) && running(id) {
			return id
		}
	}
	return -1
}
