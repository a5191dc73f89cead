package ledger

import (
	"iter"
	"time"
)

// Rules says what a run promised.
type Rules struct {
	// Idempotent: no record may be in the log twice. Without it duplicates are only counted.
	Idempotent bool
	// DeliveryTimeout bounds the time from send to completion; 0: not checked.
	DeliveryTimeout time.Duration
	// BlockTimeout is the time a send may wait before its record is taken in (max.block.ms); it comes on top.
	BlockTimeout time.Duration
	// IgnoreHeaders is for a reader that does not tell headers.
	IgnoreHeaders bool
	// Slack is added to the bound: what a busy machine needs to run a callback.
	Slack time.Duration
}

// Report is the result of an audit.
type Report struct {
	Totals
	Rows       int // records found in the log
	Foreign    int // of these, not of this run
	Duplicates int
	Partitions int // that hold records of this run
	Violations Violations
}

// Audit compares the ledger with the log. The rows of a partition must come in the order of the log.
// Call it when nothing is in flight any more. It reads all rows, also after violations.
func (l *Ledger) Audit(rules Rules, rows iter.Seq2[Row, error]) (*Report, error) {
	a := newAudit(l, rules)
	for row, err := range rows {
		if err != nil {
			return nil, err
		}
		a.row(row)
	}
	a.finish()
	return a.report, nil
}

// audit is the state of one reading of the log.
type audit struct {
	l      *Ledger
	rules  Rules
	report *Report
	seen   []bool // by stream and counter
	// next is the offset expected next, by partition: the log has no gaps.
	next map[int32]int64
	// last is the counter read last, by stream and partition.
	last map[[2]int32]uint32

	key, value []byte // scratch
}

func newAudit(l *Ledger, rules Rules) *audit {
	return &audit{
		l: l, rules: rules, report: &Report{}, seen: make([]bool, l.plan.Records()),
		next: map[int32]int64{}, last: map[[2]int32]uint32{},
	}
}

func (a *audit) row(row Row) {
	a.report.Rows++
	v := &a.report.Violations
	if want, ok := a.next[row.Partition]; ok && row.Offset != want {
		v.add("I1", "partition %d: offset %d follows where %d belongs", row.Partition, row.Offset, want)
	}
	a.next[row.Partition] = row.Offset + 1
	plan := a.l.plan
	if row.Run != plan.Run {
		a.report.Foreign++
		return
	}
	if int(row.Stream) >= plan.Streams || int(row.Counter) >= plan.PerStream {
		v.add("I1", "partition %d offset %d holds stream %d counter %d, which was never planned", row.Partition, row.Offset, row.Stream, row.Counter)
		return
	}
	at := int(row.Stream)*plan.PerStream + int(row.Counter)
	if a.seen[at] {
		a.report.Duplicates++
		return
	}
	a.seen[at] = true
	a.content(row)
	a.outcome(row)
	place := [2]int32{int32(row.Stream), row.Partition}
	if last, ok := a.last[place]; ok && row.Counter < last {
		v.add("I3", "stream %d partition %d offset %d: counter %d stands after %d", row.Stream, row.Partition, row.Offset, row.Counter, last)
	}
	a.last[place] = row.Counter
}

// content compares the row's bytes with the planned ones.
func (a *audit) content(row Row) {
	stream, counter := int(row.Stream), int(row.Counter)
	plan := a.l.plan
	a.value = plan.AppendValue(a.value[:0], stream, counter)
	if row.ValueSize != size(a.value) || row.ValueSum != sum(a.value) {
		a.report.Violations.add("I1", "stream %d counter %d: the value differs", stream, counter)
	}
	a.key = plan.AppendKey(a.key[:0], stream, counter)
	keySize := size(a.key)
	if plan.Keys == 0 {
		keySize = -1
	}
	if row.KeySize != keySize || row.KeySum != sum(a.key) {
		a.report.Violations.add("I1", "stream %d counter %d: the key differs", stream, counter)
	}
	if !a.rules.IgnoreHeaders && row.HeaderSum != headerSum(plan.RecordHeaders(stream, counter)) {
		a.report.Violations.add("I1", "stream %d counter %d: the headers differ", stream, counter)
	}
}

// outcome compares the row's place with what the producer said.
func (a *audit) outcome(row Row) {
	e := a.l.entry(int(row.Stream), int(row.Counter))
	v := &a.report.Violations
	switch e.outcome {
	case Acknowledged:
		if e.partition != row.Partition || e.offset != row.Offset {
			v.add("I1", "stream %d counter %d lies at %d-%d, reported was %d-%d", row.Stream, row.Counter, row.Partition, row.Offset, e.partition, e.offset)
		}
		if e.timestamp >= 0 && e.timestamp != row.Timestamp {
			v.add("I1", "stream %d counter %d has timestamp %d, reported was %d", row.Stream, row.Counter, row.Timestamp, e.timestamp)
		}
	case NotSent, Rejected:
		v.add("I7", "stream %d counter %d was reported %s and lies at %d-%d", row.Stream, row.Counter, e.outcome, row.Partition, row.Offset)
	case Unknown:
		if e.sentAt == 0 {
			v.add("I1", "stream %d counter %d lies at %d-%d and was never sent", row.Stream, row.Counter, row.Partition, row.Offset)
		}
	case MaybeWritten:
	}
}

// finish checks what only shows at the end.
func (a *audit) finish() {
	l, r, rules := a.l, a.report, a.rules
	r.Totals = l.Totals()
	r.Partitions = len(a.next)
	if rules.Idempotent && r.Duplicates > 0 {
		r.Violations.add("I2", "%d records are in the log more than once", r.Duplicates)
	}
	bound := rules.DeliveryTimeout + rules.BlockTimeout + rules.Slack
	if rules.DeliveryTimeout > 0 && r.Slowest > bound {
		r.Violations.add("I4", "a completion took %v, more than %v", r.Slowest, bound)
	}
	for i := range l.streams {
		s := &l.streams[i]
		s.mu.Lock()
		for counter, e := range s.entries {
			seen := a.seen[i*l.plan.PerStream+counter]
			if e.outcome == Acknowledged && !seen {
				r.Violations.add("I1", "stream %d counter %d was acknowledged at %d-%d and is not in the log", i, counter, e.partition, e.offset)
			}
			if e.sentAt != 0 && e.completions == 0 {
				r.Violations.add("I4", "stream %d counter %d was never completed", i, counter)
			}
		}
		r.Violations.merge(s.violations)
		s.mu.Unlock()
	}
}

func (l *Ledger) entry(stream, counter int) entry {
	s := &l.streams[stream]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[counter]
}
