package quill

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// The simulator's cluster: a model of Kafka's brokers, made apart from quilltest so that the two are
// not wrong in the same way. Requests come in as bytes, at a moment of the schedule's choice, and are
// handled at once; when the answer leaves is up to the connection.
//
// All nodes replicate all partitions. What is appended is committed when an answer to acks=all leaves
// (or at once for acks 0 and 1); a change of the leader may cut off what is not, as when the new
// leader did not have it yet.

type simCluster struct {
	x      *simulation
	nodes  []*simNode  // by id, from 1
	topics []*simTopic // those that exist, by name
	logs   []*simTopic // all that ever did
	faults []*simActiveFault
	ids    int64 // topic ids until now
	pids   int64
	txn    *simCoordinator // nil: no producer is transactional
	flying int             // requests that are written and have not arrived

	forbiddenUntil time.Time // Produce and InitProducerId of anybody
	seen           map[simSequence]*simSeen
}

type simNode struct {
	id          int32
	up          bool
	frozenUntil time.Time // it handles nothing
	cutUntil    time.Time // nothing gets to it or from it
	lag         time.Duration
	lagUntil    time.Time
	conns       []*simConn
	startedAt   time.Time // when it came up last; the others take some time to have its address
	closedAt    time.Time // when it was last stopped in good order: what it knew of producers then, it read back from a snapshot
}

type simTopic struct {
	number     int
	name       string
	id         protocol.UUID
	partitions []*simPartition
	maxBytes   int
	appendTime bool
	remade     bool // it was there before, and nodes before Produce version 13 take batches for that one
	replaced   bool // it was made again: this log is no more

	forbiddenUntil, shrunkUntil time.Time
	settings                    [simSettings]int // by simSetting
}

type simPartition struct {
	topic     *simTopic
	index     int32
	leader    int32 // -1: none
	epoch     int32
	past      []simLeader // what leader and epoch were, oldest first
	batches   []*simBatch
	start     int64
	end       int64
	committed int64 // offset up to which nothing is lost any more
	forgotten int64 // producers of batches before it are not known any more
	producers map[int64]*simProducer
	usedAt    time.Time // of the last append, duplicate or not
	attempts  map[int64]simAttempt
}

type simLeader struct {
	at            time.Time
	leader, epoch int32
}

// simBatch is a batch in the log.
type simBatch struct {
	base    int64
	header  protocol.BatchHeader
	records []*simRecord
	at      time.Time // when it was appended
	time    int64     // log append time, -1: none
	oldest  int64     // the least of its records' timestamps
	settled bool      // handled, or lost
	named   bool      // a copy of it was called a duplicate
	marker  simMarker // then it has no records of ours
}

// simMarker says whether a batch is the end of a transaction.
type simMarker uint8

const (
	simNoMarker simMarker = iota
	simCommitMarker
	simAbortMarker
)

// size returns how many offsets it takes.
func (b *simBatch) size() int64 {
	if b.marker != simNoMarker {
		return 1
	}
	return int64(len(b.records))
}

func (b *simBatch) last() int64 { return b.base + b.size() - 1 }

// simProducer is what a partition knows of a producer id (ProducerStateManager): its epoch and last
// five batches.
type simProducer struct {
	epoch  int16
	recent []*simBatch
}

// simSequence names a batch by its place in the order of a producer's batches.
type simSequence struct {
	topic     string
	partition int32
	id        int64
	epoch     int16
	sequence  int32
}

// simSeen is what came under that name: the bytes, and where copies of them are.
type simSeen struct {
	bytes    string
	pending  int // arrived, and not handled yet
	appended bool
}

// simUnheard is how long the others don't have the address of a node that came up.
const simUnheard = 2 * time.Second

func newSimCluster(x *simulation) *simCluster {
	c := &simCluster{x: x, seen: map[simSequence]*simSeen{}}
	for i := range x.cfg.Nodes {
		c.nodes = append(c.nodes, &simNode{id: int32(i + 1), up: true})
	}
	for i, n := range x.cfg.Partitions {
		c.create(i, n)
	}
	return c
}

func simTopicName(i int) string { return fmt.Sprintf("topic-%d", i) }

// create makes a topic, or makes it again.
func (c *simCluster) create(number, partitions int) {
	t := &simTopic{number: number, name: simTopicName(number), maxBytes: c.x.cfg.MaxBytes[number], appendTime: c.x.cfg.AppendTime[number] == 1}
	c.ids++
	binary.BigEndian.PutUint64(t.id[8:], uint64(c.ids))
	for _, before := range c.logs {
		if before.number == number {
			t.remade, before.replaced = true, true
			partitions = max(partitions, len(before.partitions)) // else batches for those that are no more can't go anywhere
		}
	}
	c.grow(t, partitions)
	c.topics = append(c.topics, t)
	c.logs = append(c.logs, t)
}

func (c *simCluster) grow(t *simTopic, partitions int) {
	for i := len(t.partitions); i < partitions; i++ {
		p := &simPartition{topic: t, index: int32(i), leader: -1, producers: map[int64]*simProducer{}}
		t.partitions = append(t.partitions, p)
		p.lead(c.anyUp(i), c.x.now)
	}
}

// anyUp returns a node that runs, -1 if none does.
func (c *simCluster) anyUp(from int) int32 {
	for i := range c.nodes {
		if n := c.nodes[(from+i)%len(c.nodes)]; n.up {
			return n.id
		}
	}
	return -1
}

func (p *simPartition) lead(node int32, now time.Time) {
	p.leader, p.attempts = node, nil
	p.epoch++
	p.past = append(p.past, simLeader{now, node, p.epoch})
}

// view returns which node led at a time.
func (p *simPartition) view(at time.Time) simLeader {
	for i := len(p.past) - 1; i > 0; i-- {
		if !p.past[i].at.After(at) {
			return p.past[i]
		}
	}
	return p.past[0]
}

func (c *simCluster) topic(name string) *simTopic {
	for _, t := range c.topics {
		if t.name == name {
			return t
		}
	}
	return nil
}

func (c *simCluster) topicByID(id protocol.UUID) *simTopic {
	for _, t := range c.topics {
		if t.id == id {
			return t
		}
	}
	return nil
}

func (c *simCluster) node(id int32) *simNode { return c.nodes[(int(id)-1)%len(c.nodes)] }

// simAnswer is what a node has to say to a request.
type simAnswer struct {
	message message.Message // nil: nothing
	hangUp  bool
	wait    bool // for replicas
	leave   func()
}

// handle handles a request at a node.
func (c *simCluster) handle(n *simNode, f *simFrame) simAnswer {
	if c.txn != nil {
		if res := c.txn.handle(n, f); res != nil {
			return simAnswer{message: res}
		}
	}
	switch req := f.body.(type) {
	case *message.MetadataRequest:
		return simAnswer{message: c.metadata(n, req, f)}
	case *message.InitProducerIDRequest:
		return simAnswer{message: c.initProducerID(f)}
	case *message.ProduceRequest:
		return c.produce(n, req, f)
	}
	return simAnswer{hangUp: true}
}

func (c *simCluster) metadata(n *simNode, req *message.MetadataRequest, f *simFrame) message.Message {
	res := message.NewResponse(protocol.Metadata).(*message.MetadataResponse)
	for _, other := range c.nodes {
		if other.up {
			res.Brokers = append(res.Brokers, message.MetadataResponseBroker{NodeID: other.id, Host: simHost(other.id), Port: 9092})
		}
	}
	at := c.x.now
	if n.lagUntil.After(at) {
		at = at.Add(-n.lag)
	}
	names := make([]string, 0, len(req.Topics))
	for _, t := range req.Topics {
		names = append(names, *t.Name)
	}
	slices.Sort(names)
	for _, name := range names {
		if fault := f.fault(faultMetadata); fault != nil && simMetadataErrors[fault.number] == simLeftOut {
			continue
		}
		res.Topics = append(res.Topics, c.topicMetadata(name, at, f))
	}
	return res
}

func (c *simCluster) topicMetadata(name string, at time.Time, f *simFrame) message.MetadataResponseTopic {
	var m message.MetadataResponseTopic
	m.Reset()
	m.Name = &name
	t := c.topic(name)
	fault := f.fault(faultMetadata)
	switch {
	case t == nil:
		m.ErrorCode = protocol.UnknownTopicOrPartition
		return m
	case t.forbiddenUntil.After(c.x.now):
		m.ErrorCode = protocol.TopicAuthorizationFailed
		return m
	case fault != nil && simMetadataErrors[fault.number] != protocol.None:
		m.ErrorCode = simMetadataErrors[fault.number]
		return m
	}
	m.TopicID = t.id
	for _, p := range t.partitions {
		led := p.view(at)
		if fault != nil {
			led.leader = -1
		}
		pm := message.MetadataResponsePartition{PartitionIndex: p.index, LeaderID: led.leader, LeaderEpoch: led.epoch}
		if led.leader == -1 {
			pm.ErrorCode = protocol.LeaderNotAvailable
		}
		all := make(message.Int32s, 0, len(c.nodes))
		for _, n := range c.nodes {
			all = append(all, n.id)
		}
		pm.ReplicaNodes, pm.ISRNodes = &all, &all
		m.Partitions = append(m.Partitions, pm)
	}
	return m
}

func (c *simCluster) initProducerID(f *simFrame) message.Message {
	res := message.NewResponse(protocol.InitProducerID).(*message.InitProducerIDResponse)
	res.ProducerID, res.ProducerEpoch = -1, -1
	switch fault := f.fault(faultInit); {
	case c.forbiddenUntil.After(c.x.now):
		res.ErrorCode = protocol.ClusterAuthorizationFailed
	case fault != nil:
		res.ErrorCode = simInitErrors[fault.number]
	default:
		c.pids++
		res.ProducerID, res.ProducerEpoch = 1000*c.pids, c.x.cfg.FirstEpoch
	}
	return res
}

// Produce at the simulator's nodes: what arrives is checked to the byte, then taken or refused as by
// Kafka's ProducerStateManager.

// produce handles a Produce request, partition by partition.
func (c *simCluster) produce(n *simNode, req *message.ProduceRequest, f *simFrame) simAnswer {
	res := message.NewResponse(protocol.Produce).(*message.ProduceResponse)
	failed, next := false, 0
	var committing []func() protocol.ErrorCode
	for _, td := range req.TopicData {
		tr := message.TopicProduceResponse{Name: td.Name, TopicID: td.TopicID}
		t, missing := c.topic(td.Name), protocol.UnknownTopicOrPartition
		if f.version >= 13 {
			t, missing = c.topicByID(td.TopicID), protocol.UnknownTopicID
		}
		for _, pd := range td.PartitionData {
			part := &f.parts[next]
			next++
			pr, commit := c.produceTo(n, t, missing, req.Acks, part, f, res)
			failed = failed || pr.ErrorCode != protocol.None
			if f.faultAt(faultOmit, pd.Index) != nil && req.Acks != 0 {
				continue
			}
			committing = append(committing, commit)
			tr.PartitionResponses = append(tr.PartitionResponses, pr)
		}
		res.Responses = append(res.Responses, tr)
	}
	if req.Acks == 0 {
		return simAnswer{hangUp: failed}
	}
	if fault := f.fault(faultThrottle); fault != nil {
		res.ThrottleTimeMs = int32(fault.number)
	}
	return simAnswer{message: res, wait: req.Acks == -1, leave: func() { commitAll(res, committing) }}
}

// commitAll commits what a request appended, when its answer leaves, or finds that it is gone.
func commitAll(res *message.ProduceResponse, committing []func() protocol.ErrorCode) {
	i := 0
	for _, t := range res.Responses {
		for j := range t.PartitionResponses {
			p := &t.PartitionResponses[j]
			if commit := committing[i]; commit != nil && p.ErrorCode == protocol.None {
				if p.ErrorCode = commit(); p.ErrorCode != protocol.None {
					p.BaseOffset, p.LogAppendTimeMs = -1, -1
				}
			}
			i++
		}
	}
}

// produceTo handles one partition. commit, if not nil, is to be called when the answer leaves.
func (c *simCluster) produceTo(n *simNode, t *simTopic, missing protocol.ErrorCode, acks int16, part *simPart, f *simFrame,
	res *message.ProduceResponse) (pr message.PartitionProduceResponse, commit func() protocol.ErrorCode) {
	pr.Reset()
	b, index := part.batch, part.index
	pr.Index, pr.BaseOffset, pr.LogStartOffset = index, -1, -1
	fail := func(code protocol.ErrorCode) (message.PartitionProduceResponse, func() protocol.ErrorCode) {
		pr.ErrorCode, pr.BaseOffset, pr.LogAppendTimeMs = code, -1, -1
		return pr, nil
	}
	part.settle()
	if b == nil {
		return fail(protocol.CorruptMessage)
	}
	if fault := f.faultAt(faultError, index); fault != nil {
		c.x.refusedID = c.x.refusedID || simErrors[fault.number] == protocol.InvalidProducerEpoch
		return fail(simErrors[fault.number])
	}
	if t == nil || int(index) >= len(t.partitions) {
		return fail(missing)
	}
	p := t.partitions[index]
	if code := c.refuses(n, p, acks, part, &pr, f, res); code != protocol.None {
		return fail(code)
	}
	pr.LogStartOffset = p.start
	if c.txn != nil && b.header.BaseSequence > part.latest {
		return fail(protocol.OutOfOrderSequenceNumber)
	}
	if b.header.ProducerID >= 0 {
		duplicate, code := c.sequence(n, p, b)
		switch {
		case code != protocol.None:
			return fail(code)
		case duplicate != nil:
			pr.BaseOffset, pr.LogAppendTimeMs = duplicate.base, duplicate.header.MaxTimestamp
			b = duplicate
		default:
			p.append(b, c.x)
			part.seen.appended = true
		}
	} else {
		p.append(b, c.x)
	}
	if pr.BaseOffset < 0 {
		pr.BaseOffset, pr.LogAppendTimeMs = b.base, b.time
	}
	p.usedAt = c.x.now
	if acks != -1 {
		p.committed = p.end
	}
	if fault := f.faultAt(faultErrorAfter, index); fault != nil {
		return fail(simErrorsAfter[fault.number])
	}
	epoch := p.epoch
	return pr, func() protocol.ErrorCode {
		if p.epoch != epoch && acks == -1 { // a leader that steps down answers so what waits for replicas
			return protocol.NotLeaderOrFollower
		}
		p.committed = max(p.committed, b.last()+1)
		return protocol.None
	}
}

// refuses returns why the batch can't be taken with any sequence: None if it can.
func (c *simCluster) refuses(n *simNode, p *simPartition, acks int16, part *simPart, pr *message.PartitionProduceResponse, f *simFrame,
	res *message.ProduceResponse) protocol.ErrorCode {
	t := p.topic
	switch {
	case c.forbiddenUntil.After(c.x.now):
		return protocol.ClusterAuthorizationFailed
	case t.forbiddenUntil.After(c.x.now):
		return protocol.TopicAuthorizationFailed
	case p.leader != n.id:
		if p.leader != -1 && f.version >= 10 { // KIP-951
			pr.CurrentLeader = message.LeaderIDAndEpoch{LeaderID: p.leader, LeaderEpoch: p.epoch}
		}
		if pr.CurrentLeader.LeaderID >= 0 && !n.lagUntil.After(c.x.now) && c.x.now.Sub(c.node(p.leader).startedAt) >= simUnheard {
			res.NodeEndpoints = append(res.NodeEndpoints, message.NodeEndpoint{NodeID: p.leader, Host: simHost(p.leader), Port: 9092})
		}
		return protocol.NotLeaderOrFollower
	}
	if c.txn != nil { // before the batch itself is looked at
		part.latest = p.latestStart(part.batch, f)
		if code := c.txn.join(p, part.batch, f); code != protocol.None {
			return code
		}
	}
	switch {
	case acks == -1 && t.shrunkUntil.After(c.x.now):
		return protocol.NotEnoughReplicas
	case t.maxBytes > 0 && part.size > t.maxBytes:
		return protocol.MessageTooLarge
	}
	return c.judgeContent(t, part, pr)
}

// judgeContent returns why the records can't be taken as the topic's settings are now.
func (c *simCluster) judgeContent(t *simTopic, part *simPart, pr *message.PartitionProduceResponse) protocol.ErrorCode {
	b := part.batch
	switch limit := t.settings[setMaxBytes]; {
	case limit > 0 && part.size > limit:
		return protocol.MessageTooLarge
	case t.settings[setPlainOnly] == 1 && b.header.Codec() != 0:
		return protocol.UnsupportedCompressionType
	}
	if limit := t.settings[setMaxAge]; limit > 0 && c.x.now.Sub(time.UnixMilli(b.oldest)) > c.x.ms(limit) {
		return protocol.InvalidTimestamp
	}
	for i, r := range b.records {
		if r.poison || t.settings[setCompacted] == 1 && r.key == nil {
			why := "poison"
			pr.RecordErrors = append(pr.RecordErrors, message.BatchIndexAndErrorMessage{BatchIndex: int32(i), BatchIndexErrorMessage: &why})
		}
	}
	if pr.RecordErrors != nil {
		return protocol.InvalidRecord
	}
	return protocol.None
}

// sequence checks a batch against what a node knows of its producer in the partition.
func (c *simCluster) sequence(n *simNode, p *simPartition, b *simBatch) (duplicate *simBatch, code protocol.ErrorCode) {
	h := &b.header
	s := p.producers[h.ProducerID]
	switch {
	case s == nil:
		if c.x.cfg.RefuseUnknown && h.BaseSequence != 0 {
			return nil, protocol.UnknownProducerID
		}
		return nil, protocol.None
	case h.ProducerEpoch < s.epoch:
		return nil, protocol.InvalidProducerEpoch
	case h.ProducerEpoch > s.epoch:
		if h.BaseSequence != 0 {
			return nil, protocol.OutOfOrderSequenceNumber
		}
		return nil, protocol.None
	}
	recent := n.known(s.recent)
	for _, old := range recent {
		if old.header.BaseSequence == h.BaseSequence && old.header.Count == h.Count {
			return old, protocol.None
		}
	}
	expected := int32(0) // after the marker of a new epoch
	if len(recent) > 0 {
		last := recent[len(recent)-1]
		expected = int32((int64(last.header.BaseSequence) + int64(last.header.Count)) & 0x7fffffff)
	}
	switch {
	case h.BaseSequence == expected:
		return nil, protocol.None
	case c.x.cfg.NameDuplicates && len(recent) > 0 && precedes(h.BaseSequence, recent[0].header.BaseSequence):
		p.name(b)
		return nil, protocol.DuplicateSequenceNumber
	}
	return nil, protocol.OutOfOrderSequenceNumber
}

// name notes that a batch was called a duplicate. Kafka 1.0 does so at once, without waiting for the
// replicas of the one in the log.
func (p *simPartition) name(b *simBatch) {
	for _, old := range p.batches {
		old.named = old.named || p.sequenceOf(old) == p.sequenceOf(b)
	}
}

// known returns what the node knows of a producer's recent batches. A snapshot holds the last one only, so a
// node that was stopped in good order knows that, and what came after.
func (n *simNode) known(recent []*simBatch) []*simBatch {
	for len(recent) > 1 && !recent[1].at.After(n.closedAt) {
		recent = recent[1:]
	}
	return recent
}

func (p *simPartition) append(b *simBatch, x *simulation) {
	b.base, b.time, b.at = p.end, -1, x.now
	if p.topic.appendTime && b.marker == simNoMarker {
		b.time = x.now.UnixMilli()
		b.header.MaxTimestamp = b.time
	}
	p.end += b.size()
	p.batches = append(p.batches, b)
	p.note(b)
}

// simRemembered is how many batches a node knows of each producer id (KAFKA-5494).
const simRemembered = 5

// note remembers the batch for its producer id.
func (p *simPartition) note(b *simBatch) {
	if b.header.ProducerID < 0 {
		return
	}
	s := p.producers[b.header.ProducerID]
	if s == nil {
		s = &simProducer{}
		p.producers[b.header.ProducerID] = s
	}
	if s.epoch != b.header.ProducerEpoch {
		s.epoch, s.recent = b.header.ProducerEpoch, nil
	}
	if b.marker != simNoMarker {
		return
	}
	s.recent = append(s.recent, b)
	if len(s.recent) > simRemembered {
		s.recent = slices.Clone(s.recent[1:])
	}
}

// truncate cuts off what is not committed, as a new leader that did not have it does.
func (p *simPartition) truncate(c *simCluster) (cut int) {
	for len(p.batches) > 0 && p.batches[len(p.batches)-1].base >= p.committed {
		b := p.batches[len(p.batches)-1]
		p.batches = p.batches[:len(p.batches)-1]
		p.end = b.base
		cut++
		for _, r := range b.records {
			r.cut = r.cut || b.named
		}
		if seen := c.seen[p.sequenceOf(b)]; seen != nil {
			seen.appended = false
		}
	}
	clear(p.producers)
	for _, b := range p.batches {
		if b.base >= p.forgotten {
			p.note(b)
		}
	}
	return cut
}

func (p *simPartition) sequenceOf(b *simBatch) simSequence {
	return simSequence{p.topic.name, p.index, b.header.ProducerID, b.header.ProducerEpoch, b.header.BaseSequence}
}

// arrive takes in a request that has come to a node, whole. What is in it is checked here, whatever
// becomes of it.
func (c *simCluster) arrive(f *simFrame) bool {
	r := protocol.NewReader(f.bytes[4:])
	f.key, f.version, f.correlation, _ = message.DecodeRequestHeader(&r)
	f.body = message.NewRequest(f.key)
	f.body.Decode(&r, f.version)
	if size := binary.BigEndian.Uint32(f.bytes); r.Err() != nil || r.Remaining() > 0 || int(size) != len(f.bytes)-4 {
		c.x.violate("I8", "node %d can't read a %v of version %d: %v, %d bytes left, size %d of %d", f.conn.node.id, f.key, f.version, r.Err(), r.Remaining(), size, len(f.bytes)-4)
		return false
	}
	req, ok := f.body.(*message.ProduceRequest)
	if !ok {
		return true
	}
	if own := req.TransactionalID; (own != nil && *own == simTransactionalID) != (c.x.cfg.Txn != nil) {
		c.x.violate("I8", "a Produce request with the wrong transactional id")
	}
	sum := 0
	for _, td := range req.TopicData {
		name := td.Name
		if f.version >= 13 {
			at := slices.IndexFunc(c.logs, func(t *simTopic) bool { return t.id == td.TopicID })
			if at < 0 {
				c.x.violate("I8", "no topic ever had the id %v", td.TopicID)
				return false
			}
			name = c.logs[at].name
		}
		for _, pd := range td.PartitionData {
			sum += len(pd.Records)
			f.parts = append(f.parts, c.arrivePart(name, pd.Index, pd.Records))
		}
	}
	if limit := c.x.cfg.MaxRequest; sum > limit && len(f.parts) > 1 {
		c.x.violate("I9", "a request carries %d bytes of batches, max.request.size is %d", sum, limit)
	}
	return true
}

func (c *simCluster) arrivePart(topic string, index int32, raw []byte) simPart {
	part := simPart{topic: topic, index: index, size: len(raw)}
	b, bad := c.read(raw)
	if b == nil {
		c.x.violate("I8", "a batch for %s-%d is not in order: %s", topic, index, bad)
		return part
	}
	part.batch = b
	for _, r := range b.records {
		if r.arrived++; simTopicName(r.topic) != topic {
			c.x.violate("I8", "record %d, sent to %s, arrives for %s", r.index, simTopicName(r.topic), topic)
		}
	}
	h := &b.header
	if idempotent := h.ProducerID >= 0; idempotent != c.x.cfg.Idempotent {
		c.x.violate("I8", "a batch for %s-%d has producer id %d", topic, index, h.ProducerID)
	}
	if h.Transactional() != (c.x.cfg.Txn != nil) {
		c.x.violate("I8", "a batch for %s-%d has attributes %x", topic, index, h.Attributes)
	}
	if h.ProducerID < 0 {
		return part
	}
	name := simSequence{topic, index, h.ProducerID, h.ProducerEpoch, h.BaseSequence}
	seen := c.seen[name]
	switch {
	case seen == nil:
		seen = &simSeen{bytes: string(raw)}
		c.seen[name] = seen
	case seen.bytes != string(raw) && (seen.pending > 0 || seen.appended):
		c.x.violate("I9", "two batches for %s-%d have id %d, epoch %d, sequence %d; the first may still be written, the second begins with record %d",
			topic, index, h.ProducerID, h.ProducerEpoch, h.BaseSequence, b.records[0].index)
	case seen.bytes != string(raw):
		*seen = simSeen{bytes: string(raw)}
	}
	seen.pending++
	part.seen = seen
	return part
}

// read decodes a batch and finds the records it is made of, which must be what was sent, all of it and
// nothing else.
func (c *simCluster) read(raw []byte) (*simBatch, string) {
	h, err := protocol.ReadBatchHeader(raw)
	switch {
	case err != nil:
		return nil, err.Error()
	case h.Size() != len(raw):
		return nil, fmt.Sprintf("%d bytes for a batch of %d", len(raw), h.Size())
	case protocol.BatchCRC(raw) != h.CRC:
		return nil, "wrong CRC"
	case h.LastOffsetDelta != h.Count-1 || h.BaseOffset != 0:
		return nil, fmt.Sprintf("header %+v", h)
	}
	section := raw[protocol.BatchOverhead:]
	if codec := compress.Codec(h.Codec()); codec != compress.None {
		if section, err = compress.Decompress(codec, nil, section, 1<<20); err != nil {
			return nil, err.Error()
		}
	}
	b := &simBatch{header: h, oldest: h.MaxTimestamp}
	for r, err := range protocol.Records(section, h.Count) {
		if err != nil {
			return nil, err.Error()
		}
		record := c.x.recordOf(r.Value)
		if record == nil || string(record.value) != string(r.Value) || string(record.key) != string(r.Key) {
			return nil, fmt.Sprintf("record %d is none that was sent", r.OffsetDelta)
		}
		b.records = append(b.records, record)
		b.oldest = min(b.oldest, h.BaseTimestamp+r.TimestampDelta)
	}
	return b, ""
}
