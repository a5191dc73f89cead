package quill

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// The sender and its sequences against two scripted nodes, whose partitions judge batches as Kafka
// does (modelRules). The schedule says when requests leave, arrive and are answered, and
// what goes wrong: refusals, answers that lie about what was written, connections that break with
// requests under way (some arrive all the same, much later), leaders that move and are not known to
// have, partitions that forget the producer, time that runs out, epochs that do.
//
// What holds at every moment: the log has every record at most once, in the order of the sends; what
// is in it keeps its numbers; a retry is the same bytes; at most five batches of a partition are on
// the wire. Each record has one outcome, reported in order, and it is true. In the end, when all is well
// again, the producer works and all memory is back.

func TestSenderFollowsTheSequenceModel(t *testing.T) { sequenceTest.run(t) }

func FuzzSequences(f *testing.F) { sequenceTest.fuzz(f) }

var sequenceTest = modelTest{runs: 500, ops: 120, play: func(x *schedule) { newSequenceModel(x).run() }, kept: []string{
	// Two late copies, behind a batch that was given up: if the second were renumbered, it would be written twice.
	"000044009e0000000000010000001700d900fd0000000000d90038008a0000009e0000007f010000d30100003900b6007e0100004d0011003a000000d900640000000e008900b70061002200730101006a0000002c0000007300ce002500f200",
}}

// sequenceModel is a rig with two scripted nodes.
type sequenceModel struct {
	*schedule
	r        *rig
	parts    []*modelPartition
	wire     [2][]*modelRequest // by node: not back yet, in order
	limbo    [2][]modelBatch    // by node: on the way on a connection that is gone
	same     map[modelIdentity]modelBatch
	records  int // values given
	outcomes map[string]error
	last     []string // the last value whose outcome was reported, by partition
	newID    int64
}

// modelRequest is a Produce request on the wire.
type modelRequest struct {
	req     *produceRequest
	batches []modelBatch
	arrived bool
	answers map[int32]message.PartitionProduceResponse // by partition
}

// modelBatch is a batch as it left.
type modelBatch struct {
	partition int32
	bytes     []byte
	header    protocol.BatchHeader
	values    []string
}

// modelIdentity is what must not belong to two batches.
type modelIdentity struct {
	partition int32
	id        int64
	epoch     int16
	sequence  int32
}

func newSequenceModel(x *schedule) *sequenceModel {
	setup, _ := x.next()
	m := &sequenceModel{schedule: x, same: map[modelIdentity]modelBatch{}, outcomes: map[string]error{}, newID: 7}
	change := func(s *settings) {
		idempotentRig(s)
		s.bufferMemory = 1 << 20
		s.batchSize = choose(setup.a, 110, 150, 80)
		s.retries = choose(setup.a/4, math.MaxInt32, math.MaxInt32, 2)
		s.deliveryTimeout = choose(setup.a/16, 3200*time.Millisecond, time.Second)
	}
	m.r = newRig(x.T, change)
	jitter := uint32(setup.b)
	m.r.s.random = func() float64 { jitter = jitter*1664525 + 1013904223; return float64(jitter) / (1 << 32) }
	m.r.s.idem.epoch = choose[int16](setup.b, 0, 0, math.MaxInt16-1)
	rules := modelRules{old: setup.c%4 == 0, nameDuplicates: setup.c%8 == 0, maxRecords: choose(setup.c/8, 0, 0, 1, 2)}
	for p := range int32(1 + setup.kind%4) {
		part := &modelPartition{m: m, index: p, leader: p % 2, rules: rules, producers: map[int64]*producerEntry{}}
		m.parts = append(m.parts, part)
		m.last = append(m.last, "")
		if setup.c >= 128 { // the numbers wrap on the way
			m.r.topic.queue(p).out.seq = sequences{id: 7, epoch: m.r.s.idem.epoch, next: math.MaxInt32 - 5, lastAcked: -1}
		}
	}
	m.tell()
	x.note("%d partitions, batch %d, retries %d, delivery %v, epoch %d, %+v", len(m.parts), m.r.cfg.batchSize, m.r.cfg.retries,
		m.r.cfg.deliveryTimeout, m.r.s.idem.epoch, rules)
	return m
}

func (m *sequenceModel) run() {
	for o, ok := m.next(); ok; o, ok = m.next() {
		m.step(o)
		m.dispatch()
	}
	m.settle()
	m.check()
}

func (m *sequenceModel) step(o op) {
	node, part := int32(o.a%2), m.parts[int(o.a)%len(m.parts)]
	switch o.kind % 20 {
	case 0, 1, 2, 3:
		for range 1 + o.b%5 {
			m.append(part, o.c == 7)
		}
	case 4, 5, 6, 7:
		m.send(node)
	case 8, 9, 10:
		m.arrive(node, o)
	case 11, 12, 13, 14:
		m.answer(node)
	case 15:
		m.cut(node, int(o.b), o.c)
	case 16:
		late := m.limbo[node]
		if o.b%2 == 0 {
			late = late[:min(1, len(late))]
		}
		for _, b := range late {
			m.note("node %d gets a late copy of %v", node, b)
			m.parts[b.partition].produce(node, b)
		}
		m.limbo[node] = m.limbo[node][len(late):]
	case 17:
		m.sleep(time.Duration(o.b) * 4 * time.Millisecond)
	case 18:
		part.leader, part.epoch = 1-part.leader, part.epoch+1
		m.note("partition %d is led by node %d", part.index, part.leader)
		if o.b%2 == 0 {
			m.tell()
		}
	case 19:
		switch {
		case o.b%4 == 0:
			m.forget(part)
		case o.b%4 == 1:
			m.tell()
		default:
			m.grantID()
		}
	}
}

// append gives the partition a record; a bad one is refused by the nodes.
func (m *sequenceModel) append(p *modelPartition, bad bool) {
	m.records++
	value := fmt.Sprintf("%06d", m.records)
	if bad {
		value += badRecord
	}
	in := one("", value)
	in.hasFuture = false
	in.callback = func(at RecordMetadata, err error) { m.told(func() { m.outcome(p, value, at, err) }) }
	_, err := m.r.acc.append(m.Context(), m.r.topic.queue(p.index), in, nil, nil)
	m.holds(err == nil, "append: %v", err)
	m.note("append %s to %d", value, p.index)
}

// outcome takes the arguments of a callback.
func (m *sequenceModel) outcome(p *modelPartition, value string, at RecordMetadata, err error) {
	m.note("  %s: offset %d, %v", value, at.Offset, err)
	_, twice := m.outcomes[value]
	m.holds(!twice, "%s is told twice", value)
	m.holds(m.last[p.index] < value, "%s is told after %s", value, m.last[p.index])
	m.outcomes[value], m.last[p.index] = err, value
	where := slices.Index(p.log, value)
	if err == nil {
		m.holds(where >= 0, "%s was accepted and is not in the log", value)
		m.holds(at.Offset < 0 || at.Offset == int64(where), "%s is at %d, told %d", value, where, at.Offset)
		return
	}
	failed, ok := errors.AsType[*Error](err)
	m.holds(ok, "%s failed with a %T", value, err)
	m.holds(where < 0 || failed.Outcome == MaybeWritten, "%s is in the log and said to be %v: %v", value, failed.Outcome, err)
}

// send puts a request on the wire if the connection has a slot.
func (m *sequenceModel) send(node int32) bool {
	if len(m.wire[node]) >= maxInFlightPerPartition || m.r.s.idem.state != idReady {
		return false
	}
	if len(m.r.drain(node)) == 0 {
		return false
	}
	req := m.r.sent[node][0]
	m.r.sent[node] = nil
	m.holds(req.Encode(&network.Frame{}, req.Version) == nil, "can't encode")
	sent := &modelRequest{req: req, answers: map[int32]message.PartitionProduceResponse{}}
	for _, b := range req.batches {
		w := modelBatch{partition: b.queue.index, bytes: bytes.Clone(wireBytes(b))}
		h, records := read(m.T, w.bytes)
		w.header = h
		for _, record := range records {
			w.values = append(w.values, string(record.Value))
		}
		m.note("to node %d: %v, attempt %d", node, w, b.attempts)
		m.identify(w)
		sent.batches = append(sent.batches, w)
	}
	m.wire[node] = append(m.wire[node], sent)
	for _, p := range m.parts {
		m.holds(m.onWire(p.index) <= maxInFlightPerPartition, "%d batches of partition %d are on the wire", m.onWire(p.index), p.index)
	}
	return true
}

// identify checks the numbers under which a batch leaves.
func (m *sequenceModel) identify(w modelBatch) {
	p := m.parts[w.partition]
	for i, value := range w.values {
		sequence := protocol.IncrementSequence(w.header.BaseSequence, int32(i))
		if at := slices.Index(p.log, value); at >= 0 {
			m.holds(p.numbers[at] == modelIdentity{w.partition, w.header.ProducerID, w.header.ProducerEpoch, sequence},
				"%s is in the log as %v and leaves as %v", value, p.numbers[at], w)
		}
	}
	key := modelIdentity{w.partition, w.header.ProducerID, w.header.ProducerEpoch, w.header.BaseSequence}
	if before, ok := m.same[key]; ok {
		if before.values[0] == w.values[0] && len(before.values) == len(w.values) {
			m.holds(bytes.Equal(before.bytes, w.bytes), "%v leaves as other bytes than before", w)
		} else if before.values[0] != w.values[0] {
			m.holds(!slices.Contains(p.log, before.values[0]), "%v has the numbers of %v, which is in the log", w, before)
		}
	}
	m.same[key] = w
}

func (m *sequenceModel) onWire(partition int32) (n int) {
	for _, requests := range m.wire {
		for _, q := range requests {
			for _, b := range q.batches {
				if b.partition == partition {
					n++
				}
			}
		}
	}
	return n
}

// arrive lets the first request that is under way to the node arrive, with what the operation says
// about the outcome of its batches.
func (m *sequenceModel) arrive(node int32, o op) {
	for _, q := range m.wire[node] {
		if q.arrived {
			continue
		}
		q.arrived = true
		for i, b := range q.batches {
			trouble := o.b
			if i > 0 {
				trouble = o.c
			}
			answer, ok := m.parts[b.partition].trouble(node, b, trouble)
			if ok {
				q.answers[b.partition] = answer
			}
			m.note("node %d has %v: %v", node, b, answer.ErrorCode)
		}
		return
	}
}

// answer brings the answer to the node's oldest request.
func (m *sequenceModel) answer(node int32) {
	if len(m.wire[node]) == 0 {
		return
	}
	q := m.wire[node][0]
	if !q.arrived {
		m.arrive(node, op{b: noTrouble, c: noTrouble})
	}
	m.wire[node] = m.wire[node][1:]
	q.req.response.Reset()
	for p, answer := range q.answers {
		answer.Index = p
		q.req.response.Responses = append(q.req.response.Responses, message.TopicProduceResponse{Name: m.r.topic.name,
			PartitionResponses: []message.PartitionProduceResponse{answer}})
	}
	m.note("node %d answers", node)
	m.r.comeBack(q.req)
}

// cut breaks the node's connection. Of the requests under way the first `late` arrive at some later
// time, the others never.
func (m *sequenceModel) cut(node int32, late int, known byte) {
	back := m.wire[node]
	if len(back) == 0 {
		return
	}
	m.wire[node] = nil
	late %= len(back) + 1
	m.r.s.done = m.r.s.done[:0]
	underWay := 0
	for _, q := range back {
		q.req.Err, q.req.MaybeSent = network.ErrDisconnected, true
		if !q.arrived && underWay < late {
			underWay++
			m.limbo[node] = append(m.limbo[node], q.batches...)
		} else if !q.arrived && known%2 == 0 {
			q.req.MaybeSent = false // it is known that they never left
		}
		m.r.s.done = append(m.r.s.done, &q.req.Request)
	}
	m.note("node %d is cut off: %d requests are lost, %d of them late", node, len(back), underWay)
	m.r.s.finishAll(time.Now())
}

func (m *sequenceModel) sleep(d time.Duration) {
	m.note("sleep %v", d)
	time.Sleep(d)
	m.r.s.expire(time.Now())
}

// tell posts to the sender who leads.
func (m *sequenceModel) tell() {
	u := metadata.Update{Nodes: []metadata.Node{{ID: 0, Host: "a", Port: 1}, {ID: 1, Host: "b", Port: 2}}}
	topic := metadata.Topic{Name: m.r.topic.name, ID: [16]byte{1}}
	for i := range rigLeaders {
		p := metadata.Partition{Index: int32(i)}
		if i < len(m.parts) {
			p.Leader, p.LeaderEpoch = m.parts[i].leader, m.parts[i].epoch
		}
		topic.Partitions = append(topic.Partitions, p)
	}
	u.Topics = []metadata.Topic{topic}
	snapshot := metadata.NewSnapshot(u)
	info, _ := snapshot.Topic(m.r.topic.name)
	m.r.topic.setInfo(info)
	m.r.s.adopt(snapshot, time.Now())
	m.note("metadata")
}

// grantID answers InitProducerId, if the sender would ask.
func (m *sequenceModel) grantID() {
	if m.r.s.idem.state != idNone {
		return
	}
	m.newID++
	resp := &message.InitProducerIDResponse{}
	resp.Reset()
	resp.ProducerID, resp.ProducerEpoch = m.newID, 0
	m.r.s.finishProducerID(&network.Request{Exchange: &network.Message{Response: resp}}, time.Now())
	m.note("producer id %d", m.newID)
}

// forget makes the partition forget its producers while it is idle. The next record goes alone, as it
// does when an id expires: a node that knows nothing takes any sequence, so with more under way at
// this moment order would be luck, in every client.
func (m *sequenceModel) forget(p *modelPartition) {
	late := slices.ContainsFunc(slices.Concat(m.limbo[:]...), func(b modelBatch) bool { return b.partition == p.index })
	if late || m.onWire(p.index) > 0 || len(m.r.queued(p.index)) > 0 {
		return
	}
	m.note("partition %d forgets its producers", p.index)
	clear(p.producers)
	m.tell()
	m.append(p, false)
	for turns := 0; len(m.r.queued(p.index)) > 0 || m.onWire(p.index) > 0; turns++ {
		m.holds(turns < 1000, "a record after the producer was forgotten goes nowhere")
		m.turn()
	}
}

// turn is a while in which nothing goes wrong.
func (m *sequenceModel) turn() {
	m.grantID()
	busy := false
	for node := range int32(2) {
		busy = m.send(node) || len(m.wire[node]) > 0 || busy
		m.answer(node)
	}
	if !busy {
		m.sleep(20 * time.Millisecond)
	}
	m.dispatch()
}

func (m *sequenceModel) dispatch() {
	m.r.dispatch()
	m.raise()
}

// settle makes everything well and waits until every record has its outcome. Then the producer works.
func (m *sequenceModel) settle() {
	m.note("all is well")
	m.tell()
	m.quiet()
	first := m.records + 1
	for _, p := range m.parts {
		m.append(p, false)
	}
	m.quiet()
	for i := range m.parts {
		value := fmt.Sprintf("%06d", first+i)
		m.holds(m.outcomes[value] == nil, "%s failed on healthy nodes: %v", value, m.outcomes[value])
	}
	for node, late := range m.limbo {
		for _, b := range late {
			m.parts[b.partition].produce(int32(node), b)
		}
	}
}

// quiet waits until nothing is left to do.
func (m *sequenceModel) quiet() {
	for turns := 0; m.r.acc.count() > 0 || len(m.wire[0])+len(m.wire[1]) > 0; turns++ {
		m.holds(turns < 5000, "it never ends")
		m.turn()
	}
}

func (m *sequenceModel) check() {
	m.holds(len(m.outcomes) == m.records, "%d of %d records have an outcome", len(m.outcomes), m.records)
	m.holds(m.r.free() == m.r.cfg.bufferMemory, "%d of %d bytes are back", m.r.free(), m.r.cfg.bufferMemory)
}

// A partition as nodes keep it, for TestSenderFollowsTheSequenceModel. It judges batches in the order
// in which Kafka does: leader, contents, producer state (ProducerStateManager), log.

// modelRules are where releases and topics differ.
type modelRules struct {
	old            bool // before 2.5: an unknown producer must begin with 0 (KIP-360)
	nameDuplicates bool // as in 1.0: sequences long past are DUPLICATE_SEQUENCE_NUMBER
	maxRecords     int  // a batch with more is too large; 0: none is
}

// badRecord marks records that nodes refuse.
const badRecord = "!"

type modelPartition struct {
	m             *sequenceModel
	index         int32
	leader, epoch int32
	rules         modelRules
	producers     map[int64]*producerEntry
	log           []string        // values
	numbers       []modelIdentity // under which they were written
}

// producerEntry is what a partition knows of a producer id.
type producerEntry struct {
	epoch  int16
	recent []keptBatch // the last five, newest last
}

type keptBatch struct {
	first, last int32
	offset      int64
}

func (b modelBatch) String() string {
	return fmt.Sprintf("%d[%s] %d/%d:%d", b.partition, strings.Join(b.values, " "), b.header.ProducerID, b.header.ProducerEpoch, b.header.BaseSequence)
}

// noTrouble is a byte of the tape with which nothing goes wrong.
const noTrouble = 255

// trouble produces with something going wrong, as a byte of the tape says. Without an answer ok is
// false.
func (p *modelPartition) trouble(node int32, b modelBatch, how byte) (answer message.PartitionProduceResponse, ok bool) {
	before := []protocol.ErrorCode{protocol.NotEnoughReplicas, protocol.NotLeaderOrFollower, protocol.KafkaStorageError,
		protocol.UnknownTopicOrPartition, protocol.ThrottlingQuotaExceeded, protocol.CorruptMessage}
	after := []protocol.ErrorCode{protocol.RequestTimedOut, protocol.NotEnoughReplicasAfterAppend, protocol.NotLeaderOrFollower,
		protocol.UnknownTopicOrPartition, protocol.KafkaStorageError, protocol.UnknownServerError}
	switch n := int(how); {
	case n < 40:
		return answered(before[n%len(before)], -1), true
	case n < 80:
		answer = p.produce(node, b)
		if answer.ErrorCode == protocol.None {
			answer = answered(after[n%len(after)], -1)
		}
		return answer, true
	case n < 86:
		return p.produce(node, b), false
	}
	return p.produce(node, b), true
}

// produce judges a batch that arrived at a node, and writes it if all is right.
func (p *modelPartition) produce(node int32, b modelBatch) message.PartitionProduceResponse {
	if node != p.leader {
		answer := answered(protocol.NotLeaderOrFollower, -1)
		if len(p.log)%2 == 0 { // KIP-951
			answer.CurrentLeader.LeaderID, answer.CurrentLeader.LeaderEpoch = p.leader, p.epoch
		}
		return answer
	}
	if p.rules.maxRecords > 0 && len(b.values) > p.rules.maxRecords {
		return answered(protocol.MessageTooLarge, -1)
	}
	if at := slices.IndexFunc(b.values, func(v string) bool { return strings.HasSuffix(v, badRecord) }); at >= 0 {
		answer := answered(protocol.InvalidRecord, -1)
		if len(p.log)%2 == 0 { // KIP-467
			answer.RecordErrors = []message.BatchIndexAndErrorMessage{{BatchIndex: int32(at)}}
		}
		return answer
	}
	offset, code := p.judge(b.header)
	if code != protocol.None {
		answer := answered(code, -1)
		answer.LogStartOffset = 0
		return answer
	}
	if offset < 0 {
		offset = p.write(b)
	}
	return answered(protocol.None, offset)
}

// judge holds the sequences against what is known of the producer. offset is that of the batch if it
// is here already, else -1.
func (p *modelPartition) judge(h protocol.BatchHeader) (offset int64, code protocol.ErrorCode) {
	known := p.producers[h.ProducerID]
	switch {
	case known == nil && p.rules.old && h.BaseSequence != 0:
		return -1, protocol.UnknownProducerID
	case known == nil:
		return -1, protocol.None
	case h.ProducerEpoch < known.epoch:
		return -1, protocol.InvalidProducerEpoch
	case h.ProducerEpoch > known.epoch && h.BaseSequence != 0:
		return -1, protocol.OutOfOrderSequenceNumber
	case h.ProducerEpoch > known.epoch:
		return -1, protocol.None
	}
	for _, b := range known.recent {
		if b.first == h.BaseSequence && b.last == h.LastSequence() {
			return b.offset, protocol.None
		}
	}
	next := protocol.IncrementSequence(known.recent[len(known.recent)-1].last, 1)
	switch behind := protocol.DecrementSequence(next, h.BaseSequence); {
	case behind == 0:
		return -1, protocol.None
	case p.rules.nameDuplicates && behind < math.MaxInt32/2:
		return -1, protocol.DuplicateSequenceNumber
	}
	return -1, protocol.OutOfOrderSequenceNumber
}

// write appends the batch and remembers it.
func (p *modelPartition) write(b modelBatch) (offset int64) {
	h := b.header
	known := p.producers[h.ProducerID]
	if known == nil || known.epoch != h.ProducerEpoch {
		known = &producerEntry{epoch: h.ProducerEpoch}
		p.producers[h.ProducerID] = known
	}
	offset = int64(len(p.log))
	known.recent = append(known.recent, keptBatch{h.BaseSequence, h.LastSequence(), offset})
	known.recent = known.recent[max(0, len(known.recent)-maxInFlightPerPartition):]
	for i, value := range b.values {
		m := p.m
		m.holds(!slices.Contains(p.log, value), "%s is written twice", value)
		if last := len(p.log) - 1; last >= 0 && p.numbers[last].id == h.ProducerID { // a new id fences no copies of the old one, in no client
			m.holds(p.log[last] < value, "%s is written after %s", value, p.log[last])
		}
		if err, told := m.outcomes[value]; told {
			failed, ok := err.(*Error)
			m.holds(ok && failed.Outcome == MaybeWritten, "%s is written; it was told as %v", value, err)
		}
		p.log = append(p.log, value)
		p.numbers = append(p.numbers, modelIdentity{p.index, h.ProducerID, h.ProducerEpoch, protocol.IncrementSequence(h.BaseSequence, int32(i))})
	}
	return offset
}
