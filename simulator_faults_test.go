package quill

import (
	"slices"
	"time"

	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// What goes wrong in the simulator: the events of the cluster, and the faults that wait for requests.

func (x *simulation) clusterEvent(kind simKind, a [6]int) {
	c := x.cluster
	switch kind {
	case simFault, simDelay:
		c.faults = append(c.faults, &simActiveFault{a[0], simFaultKind(a[1]), a[2], a[3], a[4], a[5], 0})
		switch simFaultKind(a[1]) {
		case faultInit:
			x.fatal = x.fatal || simInitErrors[a[2]] == protocol.ClusterAuthorizationFailed
		}
	case simTxnFault, simTxnMove, simTxnFence, simTxnUpgrade:
		x.txnEvent(kind, a)
	case simHalt:
		x.haltedUntil = maxTime(x.haltedUntil, x.now.Add(x.ms(a[0])))
		x.excused += x.ms(a[0])
	case simForbid:
		x.forbid(a[0], x.now.Add(x.ms(a[1])))
	case simStop, simFreeze, simCut, simHangUp, simLag:
		x.nodeEvent(kind, a)
	default:
		if t := c.topic(simTopicName(a[0] % len(x.cfg.Partitions))); t != nil {
			x.topicEvent(kind, t, a)
		}
	}
}

func (x *simulation) forbid(topic int, until time.Time) {
	if topic < 0 {
		x.cluster.forbiddenUntil, x.fatal = until, true
	} else if t := x.cluster.topic(simTopicName(topic % len(x.cfg.Partitions))); t != nil {
		t.forbiddenUntil = until
		x.forgotten = true // the sender may forget the topic
	}
}

func (x *simulation) nodeEvent(kind simKind, a [6]int) {
	n := x.cluster.node(int32(a[0]))
	until := x.now.Add(x.ms(a[1]))
	switch kind {
	case simStop:
		x.cluster.stopNode(n, a[2] == 1)
		x.at(until, func() { x.cluster.startNode(n) })
	case simFreeze:
		n.frozenUntil = maxTime(n.frozenUntil, until)
	case simCut:
		n.cutUntil = maxTime(n.cutUntil, until)
	case simHangUp:
		for _, conn := range n.conns {
			conn.hangUp(a[1] == 1)
		}
		n.conns = nil
	case simLag:
		n.lagUntil, n.lag = until, x.ms(a[2])
	}
}

// stopNode kills a node: others lead, its connections are cut, what it had not handled is lost.
func (c *simCluster) stopNode(n *simNode, orderly bool) {
	if n.up = false; c.x.draw(2) == 0 || orderly {
		n.closedAt = c.x.now
	}
	n.frozenUntil, n.cutUntil = time.Time{}, time.Time{}
	for _, conn := range n.conns {
		conn.hangUp(false)
	}
	n.conns = nil
	for _, t := range c.topics {
		for _, p := range t.partitions {
			if p.leader == n.id {
				p.lead(c.anyUp(int(p.index)), c.x.now)
			}
		}
	}
}

func (c *simCluster) startNode(n *simNode) {
	n.up, n.startedAt = true, c.x.now
	for _, t := range c.topics {
		for _, p := range t.partitions {
			if p.leader == -1 {
				p.lead(n.id, c.x.now)
			}
		}
	}
}

func (x *simulation) topicEvent(kind simKind, t *simTopic, a [6]int) {
	c := x.cluster
	p := t.partitions[a[1]%len(t.partitions)]
	switch kind {
	case simMove:
		if n := c.node(int32(a[2])); n.up {
			if a[3] == 1 && x.cfg.Acks == -1 {
				if cut := p.truncate(c); cut > 0 {
					x.say("%d batches of %s-%d are cut off", cut, t.name, p.index)
				}
			}
			p.lead(n.id, x.now)
		}
	case simRecreate:
		if simVersions(x.cfg.Produce, protocol.Metadata) < 10 {
			return // without topic ids nobody can tell a new topic's low leader epochs from old metadata
		}
		x.forgotten = true
		c.topics = slices.DeleteFunc(c.topics, func(other *simTopic) bool { return other == t })
		x.after(x.ms(a[2]), func() {
			if c.topic(t.name) == nil {
				c.create(t.number, a[1])
			}
		})
	case simGrow:
		c.grow(t, a[1])
	case simForget:
		c.forget(p, a[2] == 1)
	case simShrink:
		t.shrunkUntil = x.now.Add(x.ms(a[1]))
	case simChange:
		t.settings[a[1]] = a[2]
	case simTighten:
		if limit := t.maxBytes; limit > 0 {
			t.maxBytes = max(limit*a[1]/100, 100)
		}
	}
}

// forget makes a partition forget its producers, and its records, as after a long time without any.
// Brokers don't forget a producer that is at work: nothing of it may be on its way.
func (c *simCluster) forget(p *simPartition, records bool) {
	for _, t := range c.x.e.sender.refresh.topics {
		if t.name != p.topic.name {
			continue
		}
		for _, q := range t.all() {
			if q.index == p.index && q.out.line.Len() > 0 {
				return
			}
		}
	}
	if c.txn != nil && slices.Contains(c.txn.members, simTopicPartition{p.topic.name, p.index}) {
		return
	}
	if c.x.net.inFlight > 0 || c.flying > 0 || c.x.now.Sub(p.usedAt) < remembered+c.x.ms(c.x.cfg.Request) {
		return
	}
	for name, seen := range c.seen {
		if name.topic == p.topic.name && name.partition == p.index && seen.pending > 0 {
			return
		}
	}
	c.x.say("%s-%d forgets its producers", p.topic.name, p.index)
	c.x.forgotten = true
	clear(p.producers)
	p.forgotten = p.end
	if records {
		p.start = p.end
		p.committed = p.end
	}
}

// simActiveFault is a fault that waits for requests.
type simActiveFault struct {
	node      int // 0: any
	kind      simFaultKind
	number    int
	times     int
	skip      int
	partition int // 0: any, else its number + 1
	api       int // 0: any, else in simTxnAPIs, from 1
}

// claim takes the faults that hit a request.
func (f *simFrame) claim(c *simCluster) {
	for _, fault := range c.faults {
		if f.hit(fault) {
			if fault.skip > 0 {
				fault.skip--
			} else if fault.times > 0 {
				fault.times--
				f.faults = append(f.faults, fault)
			}
		}
	}
}

func (f *simFrame) hit(fault *simActiveFault) bool {
	if fault.node != 0 && int32(fault.node) != f.conn.node.id {
		return false
	}
	switch fault.kind {
	case faultStall, faultTorn:
		return false // the writer's
	}
	if fault.api > 0 {
		return f.key == simTxnAPIs[fault.api-1]
	}
	switch fault.kind {
	case faultMetadata:
		return f.key == protocol.Metadata
	case faultInit:
		return f.key == protocol.InitProducerID
	case faultDeaf, faultMute, faultCutBefore, faultCutAfter, faultDelay, faultAnswerDelay:
		return fault.partition == 0 || f.has(int32(fault.partition-1))
	}
	return f.key == protocol.Produce && (fault.partition == 0 || f.has(int32(fault.partition-1)))
}

func (f *simFrame) has(index int32) bool {
	return slices.ContainsFunc(f.parts, func(p simPart) bool { return p.index == index })
}

func (f *simFrame) fault(kind simFaultKind) *simActiveFault {
	for _, fault := range f.faults {
		if fault.kind == kind {
			return fault
		}
	}
	return nil
}

func (f *simFrame) faultAt(kind simFaultKind, index int32) *simActiveFault {
	for _, fault := range f.faults {
		if fault.kind == kind && (fault.partition == 0 || int32(fault.partition-1) == index) {
			return fault
		}
	}
	return nil
}

// writerFaults are the faults that hit a request while it is written.
func (c *simConn) writerFaults(r *network.Request) (stall time.Duration, torn bool) {
	if r.Exchange.APIKey() != protocol.Produce {
		return 0, false
	}
	for _, f := range c.x.cluster.faults {
		if f.kind != faultStall && f.kind != faultTorn || f.node != 0 && int32(f.node) != c.node.id || f.times == 0 {
			continue
		}
		if f.skip > 0 {
			f.skip--
			continue
		}
		f.times--
		if f.kind == faultTorn {
			torn = true
		} else {
			stall += c.x.ms(f.number)
		}
	}
	return stall, torn
}
