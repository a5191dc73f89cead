package quill

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

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
//	I11 transactions are whole                              (simulator_atomic_test.go)
//	I12 nothing panics
//	I13 a well cluster gets everything soon

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
	if a.first != nil || a.incomplete != 0 || a.lastTold != nil {
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
		return // nobody was told
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
		return x.stray(c.partition) || e.Outcome() == Rejected && x.lost(c.partition)
	})
	if e.Outcome() != MaybeWritten && len(copies) > 0 {
		x.violate("I7", "record %d (%v, %v) is in %s", r.index, e.Outcome(), r.err, placesOf(copies))
	}
	if e.Outcome() == NotSent && r.arrived > 0 {
		x.violate("I7", "record %d (%v, %v) arrived %d times", r.index, e.Outcome(), r.err, r.arrived)
	}
	if x.cfg.patient() && errors.Is(r.err, ErrDeliveryTimeout) && !x.fatal && !x.doubtful() {
		x.violate("I13", "record %d: %v", r.index, r.err)
	}
	if errors.Is(r.err, ErrForceClosed) && !x.forced {
		x.violate("P10", "record %d: %v", r.index, r.err)
	}
	ended := !x.fatalAt.IsZero() && !r.doneAt.Before(x.fatalAt) // nothing is sent again
	if errors.Is(r.err, ErrBatchRejected) && x.cfg.Txn == nil && e.Outcome() == Rejected && x.cfg.Retries == 0 && e.Elapsed < x.ms(x.cfg.Delivery) && !ended {
		x.violate("P11", "record %d should have been sent again without its company: %v", r.index, r.err)
	}
	if e.Code == protocol.DuplicateSequenceNumber {
		x.violate("P3", "record %d: %v", r.index, r.err)
	}
	if e.Fatal() && !x.fatal && !errors.Is(r.err, ErrForceClosed) {
		x.violate("P11", "record %d: %v", r.index, r.err)
	}
}
