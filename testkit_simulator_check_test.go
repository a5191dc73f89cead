package quill

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// What must hold after a run:
//
//	I1  an acknowledged record is in the log, where its metadata say
//	I2  no record is in a log twice, if the producer is idempotent
//	I3  records of a partition are in the log in the order in which they were appended
//	I4  each record has one outcome, by delivery.timeout.ms
//	I5  callbacks in order, before the future               (checked as they run)
//	I6  all memory has come back
//	I7  a record whose error says NotSent or Rejected is in no log; one that is NotSent never left
//	I8  batches arrive as they were sealed, for their topic (checked as they arrive)
//	I9  no more requests in flight than allowed, none too large; a batch is sent again as it was
//	I11 transactions are whole                              (checkTransactions)
//	I12 nothing panics
//	I13 a well cluster gets everything soon
//	I14 batches are where their places say                   (checked between turns)

// simSlack is how late something may be for the turns of goroutines.
const simSlack = 20 * time.Millisecond

// simCopy is where a record is in a log.
type simCopy struct {
	partition *simPartition
	batch     *simBatch
	offset    int64
}

func (x *simulation) check() {
	if free, waiting := x.e.acc.pool.available(); free != x.cfg.Buffer || waiting > 0 {
		x.violate("I6", "%d of %d bytes came back, %d wait", free, x.cfg.Buffer, waiting)
	}
	a := x.e.acc
	a.mu.Lock()
	if a.first != nil || a.incomplete != 0 || a.lastCompleted != nil {
		x.violate("I6", "%d batches are still listed", a.incomplete)
	}
	a.mu.Unlock()
	if x.net.inFlight != 0 {
		x.violate("I6", "%d requests are still in flight", x.net.inFlight)
	}
	for i, f := range x.flushes {
		if !f.done {
			x.violate("P9", "flush %d has not returned", i)
		}
	}
	copies := x.readLogs()
	x.checkTransactions(copies)
	all := !x.forgotten && !x.refusedID && !x.cfg.Wrap
	for _, r := range x.records {
		x.checkRecord(r, copies[r])
		all = all && (!r.in || !r.silent && r.err == nil)
	}
	if bumps := x.e.sender.idem.bumps; all && bumps > 0 {
		x.violate("P3", "%d new epochs although each batch was written", bumps)
	}
}

// readLogs finds the copies of each record, and checks the order of first copies.
func (x *simulation) readLogs() map[*simRecord][]simCopy {
	copies := map[*simRecord][]simCopy{}
	for _, t := range x.cluster.logs {
		for _, p := range t.partitions {
			x.readLog(p, copies)
		}
	}
	return copies
}

func (x *simulation) readLog(p *simPartition, copies map[*simRecord][]simCopy) {
	var before *simRecord
	epochs := map[int64]int16{}
	for _, b := range p.batches {
		if h := &b.header; h.ProducerID >= 0 {
			if h.ProducerEpoch < epochs[h.ProducerID] {
				x.violate("I8", "log of %s-%d: epoch %d after %d", p.topic.name, p.index, h.ProducerEpoch, epochs[h.ProducerID])
			}
			epochs[h.ProducerID] = h.ProducerEpoch
		}
		for i, r := range b.records {
			again := slices.ContainsFunc(copies[r], func(c simCopy) bool { return c.partition == p })
			copies[r] = append(copies[r], simCopy{p, b, b.base + int64(i)})
			switch {
			case x.stray(p):
			case again && x.cfg.Idempotent:
				x.violate("I2", "record %d (%v) is in the log of %s-%d again, at %d", r.index, r.err, p.topic.name, p.index, b.base+int64(i))
			case again || !x.ordered(r):
			case before != nil && before.order > r.order:
				x.violate("I3", "record %d is in the log of %s-%d behind record %d, which was appended later", r.index, p.topic.name, p.index, before.index)
			default:
				before = r
			}
		}
	}
}

// stray reports whether what was sent for the topic before, by its name, may be in the log.
func (x *simulation) stray(p *simPartition) bool { return x.cfg.Produce < 13 && p.topic.remade }

// lost reports whether the log is one that was deleted, and what the topic's next one says passed for
// its answer: by name they are the same. What the next one refused is in no log that still is.
func (x *simulation) lost(p *simPartition) bool { return x.cfg.Produce < 13 && p.topic.replaced }

// ordered reports whether a record's place in the log is promised. Without idempotence a record that
// was given up may still come late, and also when the epochs are used up: a new producer id does not
// fence the old one.
func (x *simulation) ordered(r *simRecord) bool {
	return x.cfg.Idempotent && (x.cluster.pids <= 1 || r.completed == 1 && r.err == nil) || x.cfg.InFlight == 1 && r.completed == 1 && r.err == nil && !r.silent && x.cfg.Acks != 0
}

func (x *simulation) checkRecord(r *simRecord, copies []simCopy) {
	if r.silent && r.in {
		return // no outcome was reported
	}
	if r.completed != 1 {
		x.violate("I4", "record %d has %d outcomes", r.index, r.completed)
		return
	}
	if !r.in {
		if r.arrived > 0 || len(copies) > 0 {
			x.violate("I7", "record %d was not appended (%v), and arrived %d times", r.index, r.err, r.arrived)
		}
		return
	}
	if r.future {
		if m, err := (Future{r.at.res, r.at.index}).Wait(x.cancelled); m != r.meta || !reflect.DeepEqual(err, r.err) {
			x.violate("I4", "record %d was at %d with error %v, and is at %d with error %v now", r.index, r.meta.Offset, r.err, m.Offset, err)
		}
	}
	if took := r.doneAt.Sub(r.since); took > x.ms(x.cfg.Delivery)+simSlack+x.excused {
		x.violate("I4", "record %d took %v", r.index, took)
	}
	if r.err != nil {
		x.checkFailed(r, copies)
		return
	}
	switch {
	case x.cfg.Acks == 0:
		if r.meta.HasOffset() {
			x.violate("I1", "record %d has offset %d with acks=0", r.index, r.meta.Offset)
		}
	case r.meta.Partition != r.partition || r.meta.Topic != simTopicName(r.topic):
		x.violate("I1", "record %d went to partition %d and is said to be in %s-%d", r.index, r.partition, r.meta.Topic, r.meta.Partition)
	case r.cut && !r.meta.HasOffset():
		// Kafka 1.0 names duplicates before they are safe, and nothing in the protocol says which are. Java takes
		// them for written too.
	case !slices.ContainsFunc(copies, func(c simCopy) bool { return x.isTold(r, c) }):
		x.violate("I1", "record %d is said to be in %s-%d at %d; it is in %s", r.index, r.meta.Topic, r.meta.Partition, r.meta.Offset, placesOf(copies))
	}
}

// isTold reports whether this is the copy that the record's metadata speak of.
func (x *simulation) isTold(r *simRecord, c simCopy) bool {
	return c.partition.topic.number == r.topic && c.partition.index == r.meta.Partition && (!r.meta.HasOffset() || c.offset == r.meta.Offset)
}

func placesOf(copies []simCopy) string {
	places := make([]string, 0, len(copies))
	for _, c := range copies {
		places = append(places, fmt.Sprintf("%s-%d at %d", c.partition.topic.name, c.partition.index, c.offset))
	}
	return fmt.Sprint(places)
}

// doubtful reports whether a batch was given up that may still arrive. Those behind it may then have to
// wait until they expire; see decideSequence.
func (x *simulation) doubtful() bool {
	for _, t := range *x.e.acc.topics.Load() {
		x.doubt = x.doubt || slices.ContainsFunc(t.all(), func(q *partitionQueue) bool { return q.out.seq.late == likelyLateCopy })
	}
	return x.doubt
}

// checkFailed checks a record that was appended and failed.
func (x *simulation) checkFailed(r *simRecord, copies []simCopy) {
	e, ok := errors.AsType[*Error](r.err)
	if !ok {
		x.violate("P11", "record %d failed with %T: %v", r.index, r.err, r.err)
		return
	}
	copies = slices.DeleteFunc(copies, func(c simCopy) bool {
		return x.stray(c.partition) || e.Outcome == Rejected && x.lost(c.partition)
	})
	if e.Outcome != MaybeWritten && len(copies) > 0 {
		x.violate("I7", "record %d (%v, %v) is in %s", r.index, e.Outcome, r.err, placesOf(copies))
	}
	if e.Outcome == NotSent && r.arrived > 0 {
		x.violate("I7", "record %d (%v, %v) arrived %d times", r.index, e.Outcome, r.err, r.arrived)
	}
	if x.cfg.patient() && errors.Is(r.err, ErrDeliveryTimeout) && !x.fatal && !x.doubtful() {
		x.violate("I13", "record %d: %v", r.index, r.err)
	}
	if errors.Is(r.err, ErrForceClosed) && !x.forced {
		x.violate("P10", "record %d: %v", r.index, r.err)
	}
	ended := !x.fatalAt.IsZero() && !r.doneAt.Before(x.fatalAt) // nothing is sent again
	if errors.Is(r.err, ErrBatchRejected) && x.cfg.Txn == nil && e.Outcome == Rejected && x.cfg.Retries == 0 && e.Elapsed < x.ms(x.cfg.Delivery) && !ended {
		x.violate("P11", "record %d should have been sent again without its company: %v", r.index, r.err)
	}
	if e.Code == protocol.DuplicateSequenceNumber {
		x.violate("P3", "record %d: %v", r.index, r.err)
	}
	if e.Fatal() && !x.fatal && !errors.Is(r.err, ErrForceClosed) {
		x.violate("P11", "record %d: %v", r.index, r.err)
	}
}

// I11, what must hold of transactions: a read-committed reader sees all records and offsets of one that
// was reported as committed, nothing of one reported as aborted, and all or nothing of one whose outcome was
// reported as open. Nothing of a transaction is outside of its markers, nothing of a fenced producer is written
// after the fence, and none stays open.

// afterwards returns how long late requests and open transactions may take.
func (x *simulation) afterwards() time.Duration {
	if x.cfg.Txn == nil {
		return time.Minute
	}
	return 2*time.Minute + 2*x.ms(x.cfg.Txn.Timeout)
}

// checkEnded checks that a producer that was closed in good order leaves no transaction open.
func (x *simulation) checkEnded() {
	if c := x.cluster.txn; c != nil && c.state == simTxnOngoing && !x.forced && !x.ghost && x.cfg.patient() && x.e.fatal.Load() == nil && !x.doubtful() {
		x.violate("I11", "the producer has closed, and leaves transaction %d open", c.number)
	}
}

func (x *simulation) checkTransactions(copies map[*simRecord][]simCopy) {
	if x.cfg.Txn == nil {
		return
	}
	if err := x.e.fatal.Load(); err != nil && !x.fatal {
		x.violate("P11", "the producer has ended without a reason: %v", err)
	}
	visible := map[*simRecord]int{}
	for _, t := range x.cluster.logs {
		for _, p := range t.partitions {
			x.readCommitted(p, visible)
		}
	}
	if c := x.cluster.txn; c.state == simTxnOngoing || c.state == simTxnPreparing {
		x.violate("I11", "transaction %d is open for ever", c.number)
	}
	for _, r := range x.records {
		if visible[r] > 1 && !x.remade(copies[r]) {
			x.violate("I11", "record %d is committed %d times", r.index, visible[r])
		}
	}
	committed := x.cluster.txn.committed
	for _, t := range x.txns {
		x.checkTransaction(t, copies, visible, committed)
	}
	for i := 1; i < len(committed); i++ {
		if committed[i] <= committed[i-1] {
			x.violate("I11", "offset %d is committed after %d", committed[i], committed[i-1])
		}
	}
}

// readCommitted reads a log as a read-committed reader does, counts what it sees of each record, and
// checks what each marker ends.
func (x *simulation) readCommitted(p *simPartition, visible map[*simRecord]int) {
	open := map[int64][]*simBatch{}
	for _, b := range p.batches {
		if c := x.cluster.txn; b.marker == simNoMarker && !c.fencedAt.IsZero() && b.at.After(c.fencedAt) && b.header.ProducerID <= c.owner.id &&
			(b.header.ProducerID < c.owner.id || b.header.ProducerEpoch < c.owner.epoch) {
			x.violate("I11", "record %d is written to %s-%d after another producer got the transactional id", b.records[0].index, p.topic.name, p.index)
		}
		id := b.header.ProducerID
		if b.marker == simNoMarker {
			open[id] = append(open[id], b)
			continue
		}
		var of *simTxn
		for _, d := range open[id] {
			for _, r := range d.records {
				if of == nil {
					of = r.txn
				}
				if r.txn != of && !x.stray(p) {
					x.violate("I11", "the marker at %d of %s-%d ends records of transactions %d and %d", b.base, p.topic.name, p.index, of.number, r.txn.number)
				}
				if b.marker == simCommitMarker {
					visible[r]++
				}
			}
		}
		delete(open, id)
	}
	if p.topic.replaced || x.cluster.topic(p.topic.name) != p.topic || x.stray(p) {
		return
	}
	for _, batches := range open {
		x.violate("I11", "record %d is in the log of %s-%d without a marker after it", batches[0].records[0].index, p.topic.name, p.index)
		return
	}
}

// remade reports whether some of these copies are in a topic that was made again, or of one: there a
// transaction is one half in the log that is no more.
func (x *simulation) remade(copies []simCopy) bool {
	return slices.ContainsFunc(copies, func(c simCopy) bool { return c.partition.topic.replaced || x.stray(c.partition) })
}

func (x *simulation) checkTransaction(t *simTxn, copies map[*simRecord][]simCopy, visible map[*simRecord]int, committed []int64) {
	told := t.told
	switch {
	case told == toldNothing && t.asked:
		told = toldOpen
	case told == toldNothing:
		told = toldAborted
	}
	var seen, missing []int
	for _, r := range x.records {
		if r.txn != t || x.remade(copies[r]) {
			continue
		}
		if visible[r] > 0 {
			seen = append(seen, r.index)
		} else {
			missing = append(missing, r.index)
		}
	}
	of := func(offsets []int64) (there, not []int64) {
		for _, o := range offsets {
			if slices.Contains(committed, o) {
				there = append(there, o)
			} else {
				not = append(not, o)
			}
		}
		return there, not
	}
	thereSure, notSure := of(t.offsets)
	thereMaybe, notMaybe := of(t.maybe)
	there := slices.Concat(thereSure, thereMaybe)
	switch told {
	case toldCommitted:
		if len(missing) > 0 || len(notSure) > 0 {
			x.violate("I11", "transaction %d is committed; records %v and offsets %v are missing", t.number, missing, notSure)
		}
		for _, r := range x.records {
			if r.txn == t && r.in && !r.silent && r.err != nil {
				x.violate("I11", "transaction %d is committed, and record %d failed: %v", t.number, r.index, r.err)
			}
		}
	case toldAborted:
		if len(seen) > 0 || len(there) > 0 {
			x.violate("I11", "transaction %d is aborted (%v); records %v and offsets %v are committed", t.number, t.err, seen, there)
		}
	case toldOpen:
		if (len(seen) > 0 || len(there) > 0) && (len(missing) > 0 || len(notSure) > 0) {
			x.violate("I11", "transaction %d is in part committed: records %v and offsets %v, and not: %v and %v (%v)", t.number, seen, there, missing, notSure, notMaybe)
		}
	}
}

// describeTxnAnswer prints what a coordinator answers.
func describeTxnAnswer(f *simFrame, m message.Message) string {
	switch res := m.(type) {
	case *message.InitProducerIDResponse:
		return fmt.Sprintf(": %v, %d/%d", res.ErrorCode.Name(), res.ProducerID, res.ProducerEpoch)
	case *message.AddPartitionsToTxnResponse:
		var parts []string
		for _, t := range res.ResultsByTopicV3AndBelow {
			for _, p := range t.ResultsByPartition {
				parts = append(parts, fmt.Sprintf("%s-%d %v", t.Name, p.PartitionIndex, p.PartitionErrorCode.Name()))
			}
		}
		return ": " + strings.Join(parts, ", ")
	case *message.AddOffsetsToTxnResponse:
		return ": " + res.ErrorCode.Name()
	case *message.TxnOffsetCommitResponse:
		req := f.body.(*message.TxnOffsetCommitRequest)
		return fmt.Sprintf(": offset %d, %v", req.Topics[0].Partitions[0].CommittedOffset, res.Topics[0].Partitions[0].ErrorCode.Name())
	case *message.EndTxnResponse:
		req := f.body.(*message.EndTxnRequest)
		return fmt.Sprintf(": commit=%v of %d/%d in version %d: %v, %d/%d", req.Committed, req.ProducerID, req.ProducerEpoch, f.version, res.ErrorCode.Name(), res.ProducerID, res.ProducerEpoch)
	}
	return ""
}
