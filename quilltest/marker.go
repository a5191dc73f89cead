package quilltest

import (
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// endTransaction sees to the markers of a transaction whose outcome is decided: now, or after
// Options.MarkerDelay.
func (c *Cluster) endTransaction(id string) {
	if c.opts.MarkerDelay > 0 {
		time.AfterFunc(c.opts.MarkerDelay, func() { c.goUnlessClosed(func() { c.writeMarkers(id, true) }) })
		return
	}
	c.writeMarkers(id, true)
}

// expireTransaction aborts a transaction whose time is up, unless it has ended.
func (c *Cluster) expireTransaction(id string, number int64) {
	if c.transactions.abortExpired(id, number) {
		c.endTransaction(id)
		c.changed.fire()
	}
}

func (t *transactions) abortExpired(id string, number int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.byID[id]
	if x == nil || x.number != number || x.state != TransactionOngoing {
		return false
	}
	t.fenceLocked(x)
	return true
}

// stop stops the clocks of all open transactions.
func (t *transactions) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range t.byID {
		if x.timer != nil {
			x.timer.Stop()
		}
	}
}

// resumeTransactions tries again to write the markers of partitions that had no leader.
func (c *Cluster) resumeTransactions() {
	for _, x := range c.Transactions() {
		if x.State.preparing() {
			c.writeMarkers(x.TransactionalID, false)
		}
	}
}

// A marker is the end of a transaction, as the coordinator reports it to partitions and groups.
type marker struct {
	producer   producerID
	commit     bool
	partitions []*partition
	groups     []string
}

// writeMarkers reports the outcome of a decided transaction to all its partitions and groups. Those
// without a leader stay for resumeTransactions; when none is left the transaction is complete. due
// says that markers may be written from now on.
func (c *Cluster) writeMarkers(id string, due bool) {
	t := &c.transactions
	m, ok := t.beginMarking(id, due)
	for ok {
		var done []*partition
		for _, p := range m.partitions {
			if p.mark(&m, time.Now()) {
				done = append(done, p)
			}
		}
		for _, group := range m.groups {
			c.groups.mark(group, &m)
		}
		m, ok = t.marked(id, done)
	}
	c.changed.fire()
}

// beginMarking returns the markers to write, if no other goroutine does so already.
func (t *transactions) beginMarking(id string, due bool) (marker, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.byID[id]
	if x == nil || !x.state.preparing() {
		return marker{}, false
	}
	x.due = x.due || due
	if x.marking {
		x.again = true
		return marker{}, false
	}
	if !x.due {
		return marker{}, false
	}
	x.marking = true
	return x.marker(), true
}

func (x *transaction) marker() marker {
	m := marker{producer: x.producer, commit: x.state == TransactionPreparingCommit}
	for _, p := range x.partitions {
		m.partitions = append(m.partitions, p)
	}
	for group := range x.groups {
		m.groups = append(m.groups, group)
	}
	return m
}

// marked notes the partitions done, and all groups. The transaction is complete if none is left;
// else it returns what is still to do, if it is worth another try now.
func (t *transactions) marked(id string, done []*partition) (marker, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.byID[id]
	for _, p := range done {
		delete(x.partitions, TopicPartition{p.topic.name, p.index})
	}
	clear(x.groups)
	switch {
	case len(x.partitions) == 0:
		x.complete()
		return marker{}, false
	case x.again:
		x.again = false
		return x.marker(), true
	}
	x.marking = false
	return marker{}, false
}

// complete ends a transaction whose markers are all written.
func (x *transaction) complete() {
	to := TransactionAborted
	if x.state == TransactionPreparingCommit {
		to = TransactionCommitted
	}
	x.state, x.previous = to, x.producer.id
	if x.next != protocol.NoProducerID {
		x.producer, x.next = producerID{id: x.next}, protocol.NoProducerID
	}
	x.due, x.marking, x.again = false, false, false
}

// mark appends a transaction marker. It is false if the partition has no leader to do so.
func (p *partition) mark(m *marker, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.deleted:
		return true
	case p.leader == -1:
		return false
	}
	offset := p.end
	p.keepLocked(storedBatch{baseOffset: offset, lastOffset: offset, bytes: controlBatch(m, p.epoch, offset, now), at: now, node: p.leader})
	s := p.producers[m.producer.id]
	if s == nil {
		s = &producerState{transaction: noTransaction}
		p.producers[m.producer.id] = s
		delete(p.attempts, m.producer.id)
	}
	if s.epoch != m.producer.epoch {
		s.epoch, s.batches = m.producer.epoch, s.batches[:0]
	}
	if s.transaction != noTransaction && !m.commit && p.cluster.opts.Retain >= 0 {
		p.aborted = append(p.aborted, abortedTransaction{producer: m.producer.id, first: s.transaction, marker: offset})
	}
	s.transaction = noTransaction
	return true
}

// Versions and types of a control record (Kafka: ControlRecordType, EndTransactionMarker).
const (
	controlVersion    = 0
	controlAbort      = 0
	controlCommit     = 1
	markerVersion     = 0
	markerCoordinator = 0 // the coordinator's epoch: one coordinator is as good as another here
)

// controlBatch returns the batch that holds a marker.
func controlBatch(m *marker, leaderEpoch int32, offset int64, now time.Time) []byte {
	control := int16(controlAbort)
	if m.commit {
		control = controlCommit
	}
	key := protocol.AppendInt16(protocol.AppendInt16(nil, controlVersion), control)
	value := protocol.AppendInt32(protocol.AppendInt16(nil, markerVersion), markerCoordinator)
	b := protocol.AppendRecord(make([]byte, protocol.BatchOverhead), 0, 0, key, value, nil)
	ms := now.UnixMilli()
	protocol.PutBatchHeader(b, &protocol.BatchHeader{
		BaseOffset: offset, Length: int32(len(b)) - 12, PartitionLeaderEpoch: leaderEpoch, Magic: 2,
		Attributes: protocol.AttrTransactional | protocol.AttrControl, BaseTimestamp: ms, MaxTimestamp: ms,
		ProducerID: m.producer.id, ProducerEpoch: m.producer.epoch, BaseSequence: protocol.NoSequence, Count: 1,
	})
	protocol.PutBatchCRC(b, protocol.BatchCRC(b))
	return b
}
