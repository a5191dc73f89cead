package quill

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// What the events of a schedule do: first those of the application, then those of the cluster.

// simRecord is one record in the ledger.
type simRecord struct {
	index      int
	topic      int
	key, value []byte
	poison     bool
	nested     bool
	txn        *simTxn // that it is part of
	silent     bool
	future     bool

	in        bool // appended; then the next three count
	order     int  // among all that were appended
	at        position
	partition int32
	since     time.Time // when it was appended

	completed int
	doneAt    time.Time
	meta      RecordMetadata
	err       error
	arrived   int  // copies that came to a node
	cut       bool // called a duplicate, and then lost with its leader
}

// simWait is a Send that waits: for memory in the pool's line, or for the topic's metadata.
type simWait struct {
	record *simRecord
	rec    Record[[]byte, []byte]
	out    outgoing
	until  time.Time
	queue  *partitionQueue
	lane   *stickyLane
	waiter *poolWaiter     // nil: for metadata
	news   <-chan struct{} // closed when there are new ones
}

// simFlushing is a Flush that has not returned.
type simFlushing struct {
	results []*result
	before  int // records appended before it
	done    bool
}

// event makes an event happen. What the application does waits while the process does not run.
func (x *simulation) event(e simEvent) {
	switch e.Kind {
	case simSend, simFlush, simClose, simHog, simDoze, simTxnInit, simTxnBegin, simTxnOffsets, simTxnCommit, simTxnAbort:
		if x.haltedUntil.After(x.now) {
			x.at(x.haltedUntil, func() { x.event(e) })
			return
		}
		x.say("event: %v", e)
		x.applicationEvent(e.Kind, e.Args)
	default:
		x.say("event: %v", e)
		x.clusterEvent(e.Kind, e.Args)
	}
}

func (x *simulation) applicationEvent(kind simKind, a [6]int) {
	switch kind {
	case simTxnInit, simTxnBegin, simTxnOffsets, simTxnCommit, simTxnAbort:
		x.enqueue(kind, a)
	case simSend:
		if a[4]&sendInTurn != 0 && x.cfg.Txn != nil {
			a[4] &^= sendInTurn
			x.enqueue(kind, a)
			return
		}
		for range a[5] {
			x.send(a)
		}
	case simFlush:
		if x.closedAt.IsZero() {
			x.flush()
		}
	case simClose:
		x.closeEarly(a[0] == 1, x.ms(a[1]))
	case simHog:
		x.hog(a[0])
		x.after(x.ms(a[1]), x.freeHog)
	case simDoze:
		x.dozingUntil = backoff.Later(x.dozingUntil, x.now.Add(x.ms(a[0])))
		x.excused += x.ms(a[0])
	}
}

// closeEarly closes the producer before its work is done, and gives up after grace if forced.
func (x *simulation) closeEarly(forced bool, grace time.Duration) {
	if !x.closedAt.IsZero() {
		return
	}
	x.close()
	if forced {
		x.after(grace, func() {
			if !x.e.sender.stopped {
				x.forced = true
				x.e.abort()
			}
		})
	}
}

// newRecord makes a record whose value names it.
func (x *simulation) newRecord(topic, size, flags int) *simRecord {
	r := &simRecord{index: len(x.records), topic: topic, value: make([]byte, max(size, 8)), poison: flags&sendPoison != 0, nested: flags&sendNested != 0,
		silent: flags&sendSilent != 0}
	for i := range r.value {
		r.value[i] = byte(x.draw(12))
	}
	binary.BigEndian.PutUint32(r.value, uint32(r.index))
	x.records = append(x.records, r)
	return r
}

func (x *simulation) recordOf(value []byte) *simRecord {
	if len(value) < 8 || int(binary.BigEndian.Uint32(value)) >= len(x.records) {
		return nil
	}
	return x.records[binary.BigEndian.Uint32(value)]
}

// send sends one record; what would block waits in x.waits.
func (x *simulation) send(a [6]int) {
	topic := a[0] % len(x.cfg.Partitions)
	r := x.newRecord(topic, a[3], a[4])
	rec := Record[[]byte, []byte]{Topic: simTopicName(topic), Value: r.value}
	switch a[1] {
	case 1:
		r.key = []byte{byte(a[2])}
		rec.Key = r.key
	case 2:
		rec.Partition = Partition(int32(a[2] % x.most(topic)))
	case 3:
		r.key = []byte("key")
		rec.Key, rec.Partition = r.key, Partition(int32(a[2]%x.most(topic)))
	}
	switch {
	case a[4]&sendOldTime != 0:
		rec.Timestamp = x.now.Add(-time.Hour)
	case a[4]&sendNewTime != 0:
		rec.Timestamp = x.now.Add(30 * time.Minute)
	}
	w := &simWait{record: r, rec: rec, until: x.now.Add(x.ms(x.cfg.MaxBlock))}
	w.out.hasFuture = a[4]&sendFuture != 0
	w.out.urgent = a[4]&sendUrgent != 0
	if !w.out.hasFuture && !r.silent {
		w.out.callback = func(m RecordMetadata, err error) { x.calledBack(r, m, err) }
	}
	x.try(w)
}

// most returns how many partitions a topic surely has: never fewer than at first.
func (x *simulation) most(topic int) int {
	if t := x.cluster.topic(simTopicName(topic)); t != nil {
		return len(t.partitions)
	}
	return x.cfg.Partitions[topic]
}

// try is Send as far as it goes without waiting.
func (x *simulation) try(w *simWait) {
	err := x.attempt(w)
	switch {
	case err == nil:
		x.sent(w, w.out.at)
	case err.Kind != ErrWouldBlock:
		x.failed(w, err)
	case err.Partition < 0: // the metadata are not there
		w.news = x.e.board.look().changed
		x.wait(w)
	default:
		x.joinLine(w)
	}
}

// attempt does what Producer.send does, which waits until the sender knows of a failure that the transaction can't do
// without. Here the sender has no goroutine that could serve it meanwhile, so it takes its turn at once.
func (x *simulation) attempt(w *simWait) *Error {
	w.out.record.Topic, w.out.record.Partition, w.out.record.Timestamp = w.rec.Topic, w.rec.Partition, w.rec.Timestamp
	w.out.chosen = w.out.partitionOr(-1)
	err := x.p.sendRecord(context.Background(), &w.rec, &w.out)
	if err == nil || x.cfg.Txn == nil {
		return err
	}
	if own := x.e.abortableBy(err); own != nil {
		x.e.box.command(func(s *sender, _ time.Time) { s.txn.sendFailed(own) })
		x.turn()
		return own
	}
	return err
}

// joinLine makes a Send wait for memory, as bufferPool.allocate does.
func (x *simulation) joinLine(w *simWait) {
	t := x.e.acc.topic(w.rec.Topic)
	p, lane, err := x.e.choose(&w.out, t, t.info.Load())
	if err != nil {
		x.failed(w, err)
		return
	}
	w.out.chosen = p
	w.queue, w.lane = t.queue(p), lane
	x.say("send: record %d waits for memory", w.record.index)
	share, size := x.wanted(w.queue, w.out.maxSize)
	w.waiter = share.join(size)
	x.wait(w)
}

// wanted returns the memory without which a record that was just tried can't go on: for its batch to grow,
// if that has room, or for a new one.
func (x *simulation) wanted(q *partitionQueue, size int) (*memoryShare, int) {
	a := x.e.acc
	q.mu.Lock()
	b := q.open.batch
	q.mu.Unlock()
	if b != nil {
		return b.share, a.limits.nextChunk(b, size)
	}
	return a.share(q), a.limits.firstSize(size)
}

func (x *simulation) wait(w *simWait) {
	if !slices.Contains(x.waits, w) {
		x.waits = append(x.waits, w)
		x.at(w.until, x.serveWaits)
	}
}

// serveWaits lets those go on that have what they wait for, or have waited for too long.
func (x *simulation) serveWaits() {
	waits := x.waits
	x.waits = nil
	for _, w := range waits {
		x.serve(w)
	}
}

// wakeServed lets those go on that were given memory meanwhile, some of it by others of them: each is a
// goroutine that wakes up by itself.
func (x *simulation) wakeServed() {
	for slices.ContainsFunc(x.waits, func(w *simWait) bool { return w.waiter != nil && len(w.waiter.ready) > 0 }) {
		x.serveWaits()
	}
}

func (x *simulation) serve(w *simWait) {
	pool := x.e.acc.pool
	late := !w.until.After(x.now)
	switch {
	case w.waiter == nil && late:
		x.failed(w, x.e.topicTimeout(x.e.acc.ensureTopic(w.rec.Topic, x.e.newTopic), w.out.record.Partition, news{}))
	case w.waiter == nil && isClosed(w.news):
		x.try(w)
	case w.waiter == nil:
		x.waits = append(x.waits, w)
	case len(w.waiter.ready) > 0:
		x.served(w)
	case late && w.waiter.share.cancel(w.waiter):
		pool.retire(w.waiter)
		x.failed(w, &Error{Op: "send", Kind: ErrBufferExhausted, Topic: w.rec.Topic, Partition: w.out.chosen, Node: -1})
	default:
		x.waits = append(x.waits, w)
	}
}

// served appends a record that has its memory.
func (x *simulation) served(w *simWait) {
	pool, waiter := x.e.acc.pool, w.waiter
	<-waiter.ready
	w.waiter = nil
	chunk, size, share, err := waiter.chunk, waiter.size, waiter.share, waiter.err
	pool.retire(waiter)
	var at position
	if err == nil {
		in := &w.out.appendInput
		timestamp := in.timestamp
		if timestamp < 0 {
			timestamp = x.e.clock.millis()
		}
		at, err = x.e.acc.place(context.Background(), w.queue, in, timestamp, w.lane, nil, share, share.fill(chunk, size))
	}
	switch {
	case err == nil:
		x.sent(w, at)
	case err == ErrWouldBlock || err == errMoved || err == errForgotten:
		x.try(w)
	default:
		x.failed(w, x.e.sendError(err, w.rec.Topic, w.out.chosen))
	}
}

// sent notes that a record is in a batch.
func (x *simulation) sent(w *simWait, at position) {
	r := w.record
	r.in, r.at, r.order, r.since, r.partition = true, at, x.appended, x.now, w.out.chosen
	x.appended++
	x.joins(r)
	x.say("send: record %d is appended to %s-%d", r.index, w.rec.Topic, r.partition)
	if r.future = w.out.hasFuture; r.future {
		x.open = append(x.open, r)
	}
}

// failed notes that a record failed in its Send.
func (x *simulation) failed(w *simWait, err *Error) {
	x.say("send: record %d: %v", w.record.index, err)
	err = x.dooms(err)
	x.complete(w.record, w.out.metadata(), err)
	if err.Outcome != NotSent {
		x.violate("I7", "record %d failed in Send, and its error says %v", w.record.index, err.Outcome)
	}
}

func (x *simulation) complete(r *simRecord, m RecordMetadata, err error) {
	r.completed++
	r.doneAt, r.meta, r.err = x.now, m, err
	if r.completed > 1 {
		x.violate("I4", "record %d has %d outcomes", r.index, r.completed)
	}
}

// calledBack is the callback of a record.
func (x *simulation) calledBack(r *simRecord, m RecordMetadata, err error) {
	x.say("callback: record %d: %s-%d at %d, %v", r.index, m.Topic, m.Partition, m.Offset, err)
	x.complete(r, m, err)
	if (Future{r.at.res, r.at.index}).Done() {
		x.violate("I5", "the future of record %d is released before its callback runs", r.index)
	}
	at := simTopicPartition{m.Topic, m.Partition}
	if last := x.called[at]; last > r.order {
		x.violate("I5", "record %d is called back after a later one of %s-%d", r.index, m.Topic, m.Partition)
	}
	x.called[at] = r.order
	if r.nested {
		x.send([6]int{r.topic, 0, 0, 20, 0, 1})
	}
}

// look finds out which futures and flushes are done.
func (x *simulation) look() {
	x.open = slices.DeleteFunc(x.open, func(r *simRecord) bool {
		f := Future{r.at.res, r.at.index}
		if !f.Done() {
			return false
		}
		m, err := f.Wait(context.Background())
		x.say("future: record %d: %s-%d at %d, %v", r.index, m.Topic, m.Partition, m.Offset, err)
		x.complete(r, m, err)
		return true
	})
	for _, f := range x.flushes {
		if !f.done {
			x.lookAtFlush(f)
		}
	}
}

// flush begins a Flush.
func (x *simulation) flush() *simFlushing {
	f := &simFlushing{results: x.e.acc.beginFlush(), before: x.appended}
	x.e.box.wakeNow()
	x.flushes = append(x.flushes, f)
	x.lookAtFlush(f)
	return f
}

func (x *simulation) lookAtFlush(f *simFlushing) {
	for len(f.results) > 0 {
		if awaitResult(x.cancelled, f.results[0]) != nil {
			return
		}
		f.results = f.results[1:]
	}
	f.done = true
	x.say("flush: done")
	for _, r := range x.records {
		if r.in && r.order < f.before && r.completed == 0 && !r.silent && !slices.Contains(x.open, r) {
			x.violate("P9", "a flush is done, record %d of before it is not", r.index)
		}
	}
}

// wrap makes the sequences of idle partitions begin just below 2^31 under the id that the producer is
// given now, as if it had sent this many records and the partitions had forgotten it.
func (x *simulation) wrap(r *network.Request) {
	m, ok := r.Exchange.(*network.Message)
	if !ok || !x.cfg.Wrap || r.Tag != tagInitProducerID {
		return
	}
	res := m.Response.(*message.InitProducerIDResponse)
	if res.ErrorCode != protocol.None {
		return
	}
	for i := range x.cfg.Partitions {
		t := x.e.acc.topic(simTopicName(i))
		if t == nil {
			continue
		}
		for _, q := range t.all() {
			if len(q.out.seq.inFlight) == 0 {
				q.out.seq = noSequences()
				q.out.seq.id, q.out.seq.epoch, q.out.seq.next = res.ProducerID, res.ProducerEpoch, math.MaxInt32-int32(x.draw(6))
			}
		}
	}
}

// hog takes a share of the free memory away.
func (x *simulation) hog(percent int) {
	pool := x.e.acc.pool
	free, _ := pool.available()
	if chunk, err := pool.tryAllocate(int(free) * percent / 100); err == nil {
		x.hogged = append(x.hogged, chunk)
	}
}

func (x *simulation) freeHog() {
	for _, chunk := range x.hogged {
		x.e.acc.pool.release(chunk)
	}
	x.hogged = nil
	x.serveWaits()
}

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
		x.haltedUntil = backoff.Later(x.haltedUntil, x.now.Add(x.ms(a[0])))
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
		n.frozenUntil = backoff.Later(n.frozenUntil, until)
	case simCut:
		n.cutUntil = backoff.Later(n.cutUntil, until)
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
			return // without topic ids one can't distinguish a new topic's low leader epochs from old metadata
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
			if q.index == p.index && q.out.completionQueue.Len() > 0 {
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

// writerFaults returns the faults that hit a request while it is written.
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
