package quill

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/message"
)

// I11, what must hold of transactions: a read-committed reader sees all records and offsets of one that
// was told committed, nothing of one that was told aborted, and all or nothing of one whose outcome was
// told open. Nothing of a transaction is outside of its markers, nothing of a fenced producer is written
// after the fence, and none stays open.

// afterwards is how long late requests and open transactions may take.
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

// remade reports whether some of these copies are in a topic that was made anew, or of one: there a
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
