package quill

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

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
	ids    int64 // topic ids so far
	pids   int64
	txn    *simCoordinator // nil: nobody is transactional
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
	replaced   bool // it was made anew: this log is no more

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

// size is how many offsets it takes.
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

// create makes a topic, or makes it anew.
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

// anyUp is a node that runs, -1 if none does.
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

// view is who led at a time.
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
