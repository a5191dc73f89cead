package quill

import (
	"math"
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// The simulator's coordinators: one transactional id, one consumer group. What they know is not lost
// when they move; a node that is not, or no longer, the coordinator says so.
//
//	            add        end                              init                   markers written
//	empty       ongoing    an abort in version 2: prepare   empty, next epoch
//	ongoing     ongoing    prepare                          prepare an abort
//	prepare     wait       wait                             wait                   complete
//	complete    ongoing    the same end: done before;       empty, next epoch
//	                       an abort in version 2: prepare
//
// In version 2 (KIP-890) an end raises the epoch, and an end that comes again is known by the one before.

type simTxnState uint8

const (
	simTxnEmpty simTxnState = iota
	simTxnOngoing
	simTxnPreparing
	simTxnComplete
)

type simCoordinator struct {
	x           *simulation
	home, group int32 // the nodes that coordinate the transactional id and the group, while they run
	level       int16 // transaction.version

	state     simTxnState
	commit    bool // how it ends, or ended
	producer  simIdentity
	previous  int64 // the producer id before the last change
	lastEpoch int16 // before the last raise that this producer asked for
	next      int64 // the producer id after this transaction, -1: the same
	number    int   // of the transaction
	timeout   time.Duration
	members   []simTopicPartition // added, and not marked yet
	grouped   bool                // so is the group
	fencedAt  time.Time           // when another producer got the id
	owner     simIdentity         // and as whom
	ender     simIdentity         // whose end of the latest transaction was carried out; simNobody: no producer's yet

	pending   map[int64][]int64 // by producer id, offsets that wait for the end of its transaction
	epochs    map[int64]int16   // what the group's log knows of producers
	committed []int64           // offsets, in the order of their commits
}

type simIdentity struct {
	id    int64
	epoch int16
}

var simNobody = simIdentity{-1, -1}

// simMaxEpoch is the largest that a producer may have.
const simMaxEpoch = math.MaxInt16 - 1

func newSimCoordinator(x *simulation) *simCoordinator {
	c := &simCoordinator{x: x, home: 1, group: int32(x.cfg.Nodes), level: x.cfg.Txn.Level, previous: -1, lastEpoch: -1, next: -1, ender: simNobody,
		pending: map[int64][]int64{}, epochs: map[int64]int16{}}
	c.producer = simIdentity{c.newID(), x.cfg.FirstEpoch - 1}
	return c
}

func (c *simCoordinator) newID() int64 {
	c.x.cluster.pids++
	return 1000 * c.x.cluster.pids
}

// at returns the node that stands in for a home, -1 if none runs.
func (c *simCoordinator) at(home int32) int32 { return c.x.cluster.anyUp(int(home) - 1) }

// handle handles a request about transactions; nil: it is none.
func (c *simCoordinator) handle(n *simNode, f *simFrame) message.Message {
	mistake, after := f.fault(faultTxnError), f.fault(faultTxnErrorAfter)
	// do is the work, unless a fault or the wrong node is in the way.
	do := func(home int32, work func() protocol.ErrorCode) protocol.ErrorCode {
		if mistake != nil {
			return c.refusal(f, mistake.number)
		}
		if c.at(home) != n.id {
			return protocol.NotCoordinator
		}
		code := work()
		if after != nil && code == protocol.None {
			return simTxnErrorsAfter[after.number%len(simTxnErrorsAfter)]
		}
		return code
	}
	throttle := int32(0)
	if fault := f.fault(faultThrottle); fault != nil {
		throttle = int32(fault.number)
	}
	switch req := f.body.(type) {
	case *message.FindCoordinatorRequest:
		res := c.find(req, f.version, mistake)
		res.ThrottleTimeMs = throttle
		return res
	case *message.InitProducerIDRequest:
		res := message.NewResponse(protocol.InitProducerID).(*message.InitProducerIDResponse)
		got := simNobody
		res.ErrorCode = f.words(do(c.home, func() (code protocol.ErrorCode) {
			got, code = c.initialize(simIdentity{req.ProducerID, req.ProducerEpoch}, c.x.ms(int(req.TransactionTimeoutMs)))
			c.late(f, code)
			return code
		}), 4)
		if res.ErrorCode != protocol.None {
			got = simNobody
		}
		res.ProducerID, res.ProducerEpoch, res.ThrottleTimeMs = got.id, got.epoch, throttle
		return res
	case *message.AddPartitionsToTxnRequest:
		res := c.addPartitions(req, f, do)
		res.ThrottleTimeMs = throttle
		return res
	case *message.AddOffsetsToTxnRequest:
		res := message.NewResponse(protocol.AddOffsetsToTxn).(*message.AddOffsetsToTxnResponse)
		res.ErrorCode = f.words(do(c.home, func() protocol.ErrorCode {
			code := c.add(simIdentity{req.ProducerID, req.ProducerEpoch}, nil, true)
			c.late(f, code)
			return code
		}), 2)
		res.ThrottleTimeMs = throttle
		return res
	case *message.TxnOffsetCommitRequest:
		res := c.commitOffsets(req, f, do)
		res.ThrottleTimeMs = throttle
		return res
	case *message.EndTxnRequest:
		res := message.NewResponse(protocol.EndTxn).(*message.EndTxnResponse)
		now := simNobody
		res.ErrorCode = f.words(do(c.home, func() (code protocol.ErrorCode) {
			now, code = c.end(simIdentity{req.ProducerID, req.ProducerEpoch}, req.Committed, f.version >= 5)
			return code
		}), 2)
		if res.ErrorCode == protocol.None {
			res.ProducerID, res.ProducerEpoch = now.id, now.epoch
		}
		res.ThrottleTimeMs = throttle
		return res
	}
	return nil
}

// refusal returns how a request is refused that nothing is wrong with. An end that was carried out already and
// comes again gets rarer answers too, after which the producer can only give up.
func (c *simCoordinator) refusal(f *simFrame, number int) protocol.ErrorCode {
	number %= len(simTxnErrors)
	if req, ok := f.body.(*message.EndTxnRequest); ok && c.ender == (simIdentity{req.ProducerID, req.ProducerEpoch}) && simTxnRepeatedEndErrors[number] != protocol.None {
		c.x.fatal = true
		return simTxnRepeatedEndErrors[number]
	}
	return simTxnErrors[number]
}

// words says PRODUCER_FENCED as versions do that don't know it.
func (f *simFrame) words(code protocol.ErrorCode, since int16) protocol.ErrorCode {
	if code == protocol.ProducerFenced && f.version < since {
		return protocol.InvalidProducerEpoch
	}
	return code
}

// late notes that a request was carried out that its sender had given up: it may have begun a
// transaction that is never ended, or raised the epoch.
func (c *simCoordinator) late(f *simFrame, code protocol.ErrorCode) {
	if f.sent.over && (code == protocol.None || code == protocol.ConcurrentTransactions) {
		c.x.fatal, c.x.ghost = true, true
	}
}

func (c *simCoordinator) find(req *message.FindCoordinatorRequest, version int16, mistake *simActiveFault) *message.FindCoordinatorResponse {
	res := message.NewResponse(protocol.FindCoordinator).(*message.FindCoordinatorResponse)
	one := func(key string) message.Coordinator {
		node := c.at(c.home)
		if req.KeyType == findGroup {
			node = c.at(c.group)
		}
		if mistake != nil || node < 0 {
			code := protocol.CoordinatorNotAvailable
			if mistake != nil && c.number > 0 { // there is a transaction that it can fail
				code = simTxnFindErrors[mistake.number%len(simTxnFindErrors)]
			}
			return message.Coordinator{Key: key, NodeID: -1, Port: -1, ErrorCode: code}
		}
		return message.Coordinator{Key: key, NodeID: node, Host: simHost(node), Port: 9092}
	}
	if version < findBatched {
		found := one(req.Key)
		res.ErrorCode, res.NodeID, res.Host, res.Port = found.ErrorCode, found.NodeID, found.Host, found.Port
		return res
	}
	for _, key := range req.CoordinatorKeys {
		res.Coordinators = append(res.Coordinators, one(key))
	}
	return res
}

// initialize gives the id to a producer. known is what that has by its own account (KIP-360).
func (c *simCoordinator) initialize(known simIdentity, timeout time.Duration) (simIdentity, protocol.ErrorCode) {
	fresh := c.previous < 0
	switch {
	case c.state == simTxnPreparing:
		return simNobody, protocol.ConcurrentTransactions
	case known != simNobody && !fresh && known.id != c.producer.id && (known.id != c.previous || known.epoch < simMaxEpoch):
		return simNobody, protocol.ProducerFenced
	case c.state == simTxnOngoing:
		c.fence()
		return simNobody, protocol.ConcurrentTransactions
	}
	before := c.producer
	switch {
	case before.epoch >= simMaxEpoch && (known == simNobody || known.epoch == before.epoch):
		c.producer, c.lastEpoch = simIdentity{id: c.newID()}, -1
		if known != simNobody {
			c.lastEpoch = before.epoch
		}
	case known == simNobody || fresh:
		c.producer.epoch++
		c.lastEpoch = -1
	case known.epoch == before.epoch:
		c.producer.epoch++
		c.lastEpoch = before.epoch
	case known.epoch != c.lastEpoch: // equal: the answer got lost, and this is the same request again
		return simNobody, protocol.ProducerFenced
	default:
		c.x.fatal = c.x.fatal || known.id != before.id // a third time Kafka knows nothing of the id before
	}
	c.state, c.previous, c.timeout = simTxnEmpty, before.id, timeout
	return c.producer, protocol.None
}

// fence ends the transaction without asking its producer, which has an old epoch then.
func (c *simCoordinator) fence() {
	if c.level >= 2 {
		c.prepare(false, true)
		return
	}
	c.producer.epoch++
	c.lastEpoch = -1
	c.prepare(false, false)
}

// prepare decides how the transaction ends, and has the markers written.
func (c *simCoordinator) prepare(commit, raise bool) {
	if raise {
		if c.producer.epoch >= simMaxEpoch {
			c.next = c.newID()
		}
		c.lastEpoch = c.producer.epoch
		c.producer.epoch++
	}
	c.state, c.commit, c.previous = simTxnPreparing, commit, c.producer.id
	c.x.say("coordinator: transaction %d is to end, commit=%v", c.number, commit)
	for _, tp := range c.members {
		c.x.after(c.x.micros(c.x.draw(c.x.cfg.Txn.Markers+1)), func() { c.mark(tp) })
	}
	if c.grouped {
		c.x.after(c.x.micros(c.x.draw(c.x.cfg.Txn.Markers+1)), c.markGroup)
	}
	c.complete()
}

// mark writes the marker of a partition.
func (c *simCoordinator) mark(tp simTopicPartition) {
	if t := c.x.cluster.topic(tp.topic); t != nil && int(tp.partition) < len(t.partitions) {
		p := t.partitions[tp.partition]
		if p.leader == -1 {
			c.x.after(10*time.Millisecond, func() { c.mark(tp) })
			return
		}
		b := &simBatch{marker: simAbortMarker, settled: true, header: protocol.BatchHeader{ProducerID: c.producer.id, ProducerEpoch: c.producer.epoch, BaseSequence: -1}}
		if c.commit {
			b.marker = simCommitMarker
		}
		p.append(b, c.x)
		p.committed, p.usedAt = p.end, c.x.now
		c.x.say("marker in %s-%d at %d: commit=%v, %v", tp.topic, tp.partition, b.base, c.commit, c.producer)
	}
	c.members = slices.DeleteFunc(c.members, func(other simTopicPartition) bool { return other == tp })
	c.complete()
}

// markGroup makes the offsets that wait valid, or drops them.
func (c *simCoordinator) markGroup() {
	if c.commit {
		c.committed = append(c.committed, c.pending[c.producer.id]...)
	}
	delete(c.pending, c.producer.id)
	c.epochs[c.producer.id] = c.producer.epoch
	c.grouped = false
	c.complete()
}

// complete ends the transaction when all is marked.
func (c *simCoordinator) complete() {
	if c.state != simTxnPreparing || len(c.members) > 0 || c.grouped {
		return
	}
	c.state, c.previous = simTxnComplete, c.producer.id
	if c.next >= 0 {
		c.producer, c.next = simIdentity{id: c.next}, -1
	}
}

// current returns whether a producer may go on with its transaction.
func (c *simCoordinator) current(p simIdentity) protocol.ErrorCode {
	switch {
	case c.state == simTxnPreparing: // first: its id may be the one that comes after the markers
		return protocol.ConcurrentTransactions
	case p.id != c.producer.id:
		return protocol.InvalidProducerIDMapping
	case p.epoch != c.producer.epoch:
		return protocol.ProducerFenced
	}
	return protocol.None
}

// add makes partitions or the group part of the transaction, and begins it if there is none.
func (c *simCoordinator) add(p simIdentity, partitions []simTopicPartition, group bool) protocol.ErrorCode {
	if code := c.current(p); code != protocol.None {
		return code
	}
	if c.state != simTxnOngoing {
		c.state, c.previous, c.members, c.grouped, c.ender = simTxnOngoing, c.producer.id, nil, false, simNobody
		c.number++
		number := c.number
		c.x.after(c.timeout, func() {
			if c.number == number && c.state == simTxnOngoing {
				c.x.say("coordinator: transaction %d times out", number)
				c.x.fatal = true
				c.fence()
			}
		})
	}
	for _, tp := range partitions {
		if !slices.Contains(c.members, tp) {
			c.members = append(c.members, tp)
		}
	}
	c.grouped = c.grouped || group
	return protocol.None
}

// verify says whether a partition, or the group, was added before (KIP-890, part 1).
func (c *simCoordinator) verify(p simIdentity, tp simTopicPartition, group bool) protocol.ErrorCode {
	if code := c.current(p); code != protocol.None {
		return code
	}
	if c.state != simTxnOngoing || group && !c.grouped || !group && !slices.Contains(c.members, tp) {
		return protocol.TransactionAbortable
	}
	return protocol.None
}

// verifies reports whether a request that adds nothing is held against the transaction. Before 3.6 nodes
// did not, and took what came late into the next transaction, or left it open; no client could
// help that. So what was given up is held against it always.
func (c *simCoordinator) verifies(f *simFrame) bool {
	return simReleases[c.x.cfg.Txn.Release].number >= 306 || f.sent.over
}

// join makes a batch part of its producer's transaction, or refuses it.
func (c *simCoordinator) join(p *simPartition, b *simBatch, f *simFrame) protocol.ErrorCode {
	who, tp := simIdentity{b.header.ProducerID, b.header.ProducerEpoch}, simTopicPartition{p.topic.name, p.index}
	code := protocol.None
	if fault := f.fault(faultTxnError); fault != nil {
		code = []protocol.ErrorCode{protocol.TransactionAbortable, protocol.ConcurrentTransactions}[fault.number%2]
	} else if f.version >= maxProduceVersionByName {
		code = c.add(who, []simTopicPartition{tp}, false)
	} else if c.verifies(f) {
		code = c.verify(who, tp, false)
	}
	switch {
	case code == protocol.ProducerFenced:
		return protocol.InvalidProducerEpoch
	case code == protocol.TransactionAbortable && f.version < 11:
		return protocol.InvalidTxnState
	case code == protocol.ConcurrentTransactions && f.version < maxProduceVersionByName:
		return protocol.NotEnoughReplicas
	}
	return code
}

// end commits or aborts. It returns what the producer is from now on.
func (c *simCoordinator) end(p simIdentity, commit, version2 bool) (simIdentity, protocol.ErrorCode) {
	if c.state == simTxnPreparing {
		return simNobody, protocol.ConcurrentTransactions
	}
	accepted, code := c.mayEnd1(p, commit)
	if version2 {
		accepted, code = c.mayEnd2(p, commit)
	}
	switch {
	case code != protocol.None:
		return simNobody, code
	case !accepted: // done before
		return c.producer, protocol.None
	}
	if c.state != simTxnOngoing {
		c.members, c.grouped = nil, false
	}
	c.ender = p
	c.prepare(commit, version2)
	if c.next >= 0 {
		return simIdentity{id: c.next}, protocol.None
	}
	return c.producer, protocol.None
}

func (c *simCoordinator) mayEnd1(p simIdentity, commit bool) (bool, protocol.ErrorCode) {
	switch {
	case p.id != c.producer.id:
		return false, protocol.InvalidProducerIDMapping
	case p.epoch != c.producer.epoch:
		return false, protocol.ProducerFenced
	case c.state == simTxnOngoing:
		return true, protocol.None
	case c.state == simTxnComplete && commit == c.commit:
		return false, protocol.None
	}
	return false, protocol.InvalidTxnState
}

func (c *simCoordinator) mayEnd2(p simIdentity, commit bool) (bool, protocol.ErrorCode) {
	rotated := p.id == c.previous && p.id != c.producer.id && p.epoch == simMaxEpoch && c.producer.epoch == 0
	repeated := rotated || p.id == c.producer.id && p.epoch+1 == c.producer.epoch
	current := p == c.producer
	switch {
	case p.id != c.producer.id && !rotated:
		return false, protocol.InvalidProducerIDMapping
	case !repeated && !current, repeated && c.state != simTxnComplete:
		return false, protocol.ProducerFenced
	case c.state == simTxnOngoing, c.state == simTxnEmpty && !commit:
		return true, protocol.None
	case c.state == simTxnComplete && repeated && commit == c.commit:
		return false, protocol.None
	case c.state == simTxnComplete && current && !commit:
		return true, protocol.None
	}
	return false, protocol.InvalidTxnState
}

func (c *simCoordinator) addPartitions(req *message.AddPartitionsToTxnRequest, f *simFrame, do func(int32, func() protocol.ErrorCode) protocol.ErrorCode) *message.AddPartitionsToTxnResponse {
	res := message.NewResponse(protocol.AddPartitionsToTxn).(*message.AddPartitionsToTxnResponse)
	var all []simTopicPartition
	missing := map[simTopicPartition]bool{}
	for _, t := range req.V3AndBelowTopics {
		known := c.x.cluster.topic(t.Name)
		for _, index := range t.Partitions {
			tp := simTopicPartition{t.Name, index}
			missing[tp] = known == nil || int(index) >= len(known.partitions)
			all = append(all, tp)
		}
	}
	unknown := slices.ContainsFunc(all, func(tp simTopicPartition) bool { return missing[tp] })
	code := do(c.home, func() protocol.ErrorCode {
		if unknown {
			return protocol.OperationNotAttempted
		}
		code := c.add(simIdentity{req.V3AndBelowProducerID, req.V3AndBelowProducerEpoch}, all, false)
		c.late(f, code)
		return code
	})
	for _, t := range req.V3AndBelowTopics {
		topic := message.AddPartitionsToTxnTopicResult{Name: t.Name}
		for _, index := range t.Partitions {
			p := message.AddPartitionsToTxnPartitionResult{PartitionIndex: index, PartitionErrorCode: f.words(code, 2)}
			if code == protocol.OperationNotAttempted && missing[simTopicPartition{t.Name, index}] {
				p.PartitionErrorCode = protocol.UnknownTopicOrPartition
			}
			topic.ResultsByPartition = append(topic.ResultsByPartition, p)
		}
		res.ResultsByTopicV3AndBelow = append(res.ResultsByTopicV3AndBelow, topic)
	}
	return res
}

// commitOffsets lets the offsets of a request wait for the end of the transaction.
func (c *simCoordinator) commitOffsets(req *message.TxnOffsetCommitRequest, f *simFrame, do func(int32, func() protocol.ErrorCode) protocol.ErrorCode) *message.TxnOffsetCommitResponse {
	res := message.NewResponse(protocol.TxnOffsetCommit).(*message.TxnOffsetCommitResponse)
	who := simIdentity{req.ProducerID, req.ProducerEpoch}
	for _, t := range req.Topics {
		known, missing := c.x.cluster.topic(t.Name), protocol.UnknownTopicOrPartition
		if f.version > offsetsByName {
			known, missing = c.x.cluster.topicByID(t.TopicID), protocol.UnknownTopicID
		}
		topic := message.TxnOffsetCommitResponseTopic{Name: t.Name, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			code := missing
			if known != nil && int(p.PartitionIndex) < len(known.partitions) {
				code = do(c.group, func() protocol.ErrorCode { return c.commitOffset(who, p.CommittedOffset, f) })
			}
			topic.Partitions = append(topic.Partitions, message.TxnOffsetCommitResponsePartition{PartitionIndex: p.PartitionIndex, ErrorCode: code})
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}

func (c *simCoordinator) commitOffset(who simIdentity, offset int64, f *simFrame) protocol.ErrorCode {
	code := protocol.None
	if f.version > offsetsVersion1 {
		code = c.add(who, nil, true)
	} else if c.verifies(f) {
		code = c.verify(who, simTopicPartition{}, true)
	}
	switch known, ok := c.epochs[who.id]; {
	case code == protocol.ProducerFenced, code == protocol.None && ok && who.epoch < known:
		return protocol.InvalidProducerEpoch
	case code == protocol.TransactionAbortable && f.version < 4:
		return protocol.InvalidTxnState
	case code == protocol.ConcurrentTransactions && f.version <= offsetsVersion1:
		return protocol.CoordinatorNotAvailable
	case code != protocol.None:
		return code
	}
	c.epochs[who.id] = who.epoch
	if !slices.Contains(c.pending[who.id], offset) {
		c.pending[who.id] = append(c.pending[who.id], offset)
	}
	return protocol.None
}

// takeOver is what a second producer does with the same transactional id: it asks until it has it.
func (c *simCoordinator) takeOver() {
	got, code := c.initialize(simNobody, c.timeout)
	if code != protocol.None {
		c.x.after(c.x.ms(5+c.x.draw(20)), c.takeOver)
		return
	}
	c.x.say("another producer has the transactional id: %v", got)
	if c.fencedAt.IsZero() {
		c.fencedAt, c.owner = c.x.now, got
	}
}

// simAttempt is the lowest sequence that a producer tried in an epoch at a partition that does not know
// it: if its first batch was refused because the transaction was not ready, the second must not overtake
// it (KIP-890).
type simAttempt struct {
	epoch    int16
	lowest   int32
	version2 bool
}

// latestStart returns the highest sequence with which the producer of a batch may begin in a partition.
func (p *simPartition) latestStart(b *simBatch, f *simFrame) int32 {
	h := &b.header
	if p.producers[h.ProducerID] != nil || simReleases[f.conn.x.cfg.Txn.Release].number < 306 {
		return math.MaxInt32
	}
	a, known := p.attempts[h.ProducerID]
	switch {
	case !known:
		a = simAttempt{h.ProducerEpoch, h.BaseSequence, f.version >= maxProduceVersionByName}
	case a.epoch < h.ProducerEpoch:
		a.epoch, a.lowest = h.ProducerEpoch, h.BaseSequence
	case a.epoch == h.ProducerEpoch:
		a.lowest = min(a.lowest, h.BaseSequence)
	}
	if p.attempts == nil {
		p.attempts = map[int64]simAttempt{}
	}
	p.attempts[h.ProducerID] = a
	if a.version2 {
		return 0
	}
	return a.lowest
}
