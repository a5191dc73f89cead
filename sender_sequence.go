package quill

import (
	"math"
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/internal/invariant"
	"github.com/quill-kafka/quill/protocol"
)

// Idempotence: each batch carries a producer id, an epoch and the sequence of its first record; the
// broker refuses what it has already and what would leave a gap. So a batch can be sent again
// without being written twice (KIP-98), and up to five can be in flight in order (KAFKA-5494).
//
// The rules here, all state being the sender's:
//
//   - A batch gets its sequence when it first leaves and keeps it, with id and epoch, for as long as
//     it may be in the log. Java renumbers in some of these cases and can so write twice or drop
//     (KAFKA-14397, KAFKA-14034).
//   - A broker that knows nothing of a producer id takes any sequence for its first (KIP-360), so the
//     first batch of an id in a partition travels alone: were it refused, the next would be accepted
//     in its place.
//   - When a sequence will surely never be written (its batch was refused and given up), everything
//     after it in the partition would stay out of order. Then nothing new leaves for that
//     partition until its batches in flight are settled: earlier ones under their old numbers,
//     later ones come back refused and lose their numbers, those that wait to be sent again at once.
//     Then the partition starts at 0 under a new epoch.
//   - When a batch is given up without our knowing whether it was written, the same pause settles it:
//     if a later batch is accepted, it was; else a new epoch, under which a late copy is fenced.
//   - The epoch is bumped by the producer itself, once for all partitions that need it at a time;
//     at 32767 a new producer id is fetched, and also when another producer turns out to have the same
//     id (see endsIdentity and sender.foreign). Other partitions keep their epoch until they have
//     nothing in flight, and then move over with their next batch (KAFKA-12152).
type idempotence struct {
	on bool
	// transactional: id and epoch come from the transaction coordinator; see transaction.
	transactional bool

	state    idState
	id       int64
	epoch    int16
	attempts int       // failed InitProducerId requests in a row
	retryAt  time.Time // not before
	err      error     // the error of the last request for an id that failed
	forgot   bool      // sequences of this epoch were forgotten: a partition that is new to it may not be new to the brokers
	bumps    int       // epochs and ids given up, for tests and logs
	renewals int       // ids given up in a row, because brokers refused them or another producer had them
}

// idState is where the producer is with its id.
type idState uint8

const (
	idNone  idState = iota // none: ask for one when there is something to send
	idAsked                // asked for
	idReady                // have one
)

// sequences is the idempotence state of one partition.
//
// Java: TxnPartitionEntry, whose inflightBatchesBySequence is inFlight.
type sequences struct {
	id        int64
	epoch     int16
	log       protocol.UUID // the topic's id: a topic that is recreated has another one, and an empty log
	known     bool          // the broker has a batch of this id: it refuses what would leave a gap
	next      int32         // sequence of the next new batch
	lastAcked int32         // -1: none under this epoch in this log
	since     int32         // sequence of the first batch that was acknowledged, if any: batches before it may be missing
	end       int64         // the end of the log after the last acknowledged batch
	inFlight  []*batch      // batches with a sequence and no settled outcome, in the order of their sequences
	gap       bool          // a sequence will never be written: a new epoch is due
	unsettled bool          // a batch was given up that may be in the log
	late      lateCopy      // it may not be yet, but still arrive
	heardAt   time.Time     // when the last batch that was acknowledged had left
}

// lateCopy says whether a copy of a batch that was given up may still arrive.
type lateCopy uint8

const (
	noLateCopy       lateCopy = iota
	unlikelyLateCopy          // the batch was refused when it was sent again
	likelyLateCopy            // it was given up for want of time
)

// noSequences returns the state of a partition that nothing was sent to.
func noSequences() sequences { return sequences{id: -1, epoch: -1, lastAcked: -1} }

// maxInFlightPerPartition is how many batches per producer and partition a broker remembers.
const maxInFlightPerPartition = 5

// mayDrain reports whether b, the oldest batch of its queue, may leave now. If not, something in
// flight will come back and change that.
func (i *idempotence) mayDrain(p *sequences, b *batch) bool {
	if !i.on {
		return true
	}
	if b.numbered() {
		return p.isHead(b) // retries go one at a time, in order
	}
	if len(p.inFlight) == 0 {
		return true
	}
	if slices.ContainsFunc(p.inFlight, func(f *batch) bool { return f.decided() }) {
		return false // it expired on the wire, and its answer must show first whether it was written
	}
	return p.known && !p.gap && !p.unsettled && p.id == i.id && p.epoch == i.epoch &&
		len(p.inFlight) < maxInFlightPerPartition && p.inFlight[len(p.inFlight)-1].identity != identityStale && !p.inFlight[0].parked()
}

// number gives b its sequence, if it has none, and counts it as in flight. It may be called only if
// mayDrain returned true. It returns false if a new producer id is needed first.
func (i *idempotence) number(p *sequences, b *batch) bool {
	if !i.on || b.numbered() {
		return true
	}
	if i.state != idReady { // used up by another partition in this very turn
		return false
	}
	if p.id < 0 && i.forgot && !i.bump() {
		return false
	}
	if len(p.inFlight) == 0 && (p.gap || p.unsettled) && p.id == i.id && p.epoch == i.epoch {
		if i.transactional { // the broker forgot us, because all that we wrote was deleted, and takes 0 again (KIP-360)
			p.epoch = -1
		} else if !i.bump() {
			return false
		}
	}
	if p.id != i.id || p.epoch != i.epoch {
		invariant.Check(len(p.inFlight) == 0, "epoch of a partition changed with batches in flight")
		known, log, end, heardAt := p.known && p.id == i.id, p.log, p.end, p.heardAt
		*p = noSequences()
		p.id, p.epoch, p.known, p.log, p.end, p.heardAt = i.id, i.epoch, known, log, end, heardAt
	}
	b.setIdentity(p.id, p.epoch, p.next)
	p.next = protocol.IncrementSequence(p.next, b.records)
	p.inFlight = append(p.inFlight, b)
	return true
}

// bump moves to the next epoch. It returns false if the epochs of this id are used up and a new id is needed.
func (i *idempotence) bump() bool {
	i.bumps++
	i.forgot = false
	if i.epoch == math.MaxInt16 {
		i.state, i.id, i.epoch = idNone, -1, -1
		return false
	}
	i.epoch++
	return true
}

// renew gives the producer id up. Where ids are given out twice the next one may be no better, so it is asked for
// after a pause, which grows until a batch is acknowledged. Otherwise two producers could repeat this without end.
func (i *idempotence) renew(now time.Time, pause backoff.Backoff, random func() float64) {
	i.bumps++
	i.state, i.id, i.epoch, i.forgot = idNone, -1, -1, false
	i.retryAt = now.Add(pause.Next(i.renewals, random))
	i.renewals++
}

// isHead reports whether b is the first unsettled batch of the partition, not counting parked ones.
func (p *sequences) isHead(b *batch) bool {
	for _, f := range p.inFlight {
		if !f.parked() {
			return f == b
		}
	}
	return true
}

// near returns the facts about the batches before and behind b.
func (p *sequences) near(b *batch) nearFacts {
	return nearFacts{head: p.isHead(b), late: p.late, passed: p.passed(b), followed: p.followed(b), laterGivenUp: b.evidence.laterUnsettled}
}

// followed reports whether a batch behind b may be in the log.
func (p *sequences) followed(b *batch) bool {
	at := slices.Index(p.inFlight, b)
	return at >= 0 && slices.ContainsFunc(p.inFlight[at+1:], (*batch).mayBeThere)
}

func (b *batch) mayBeThere() bool { return b.evidence.maybeWritten || b.onWire() }

// parked returns the batches that wait for the answer to a later one; see decideSequence. They come first in
// inFlight.
func (p *sequences) parked() []*batch {
	n := 0
	for n < len(p.inFlight) && p.inFlight[n].parked() {
		n++
	}
	return p.inFlight[:n]
}

// passed reports whether a batch after b was accepted under b's epoch, by a log that would have
// refused it without b.
func (p *sequences) passed(b *batch) bool {
	return b.numbered() && b.producerID == p.id && b.producerEpoch == p.epoch && p.lastAcked >= 0 &&
		!precedes(p.lastAcked, b.lastSequence()) && !precedes(b.baseSequence, p.since)
}

// precedes reports whether sequence a comes before b.
func precedes(a, b int32) bool { return protocol.DecrementSequence(a, b) >= math.MaxInt32/2 }

// noteLog notes to which log b goes now. The log of a recreated topic does not know the producer: it takes
// any sequence for the first, as for a new id (KAFKA-12257). A log that got nothing from the producer for
// long may have forgotten it (producer.id.expiration.ms), and then does the same. noteLog returns false if b
// must not leave now: batches that were parked because of the old log's answers have to be sent first.
func (p *sequences) noteLog(b *batch, log protocol.UUID, now time.Time) bool {
	if b.log != log {
		b.evidence.movedToNewLog()
	}
	if b.log = log; log != p.log {
		p.log = log
		p.startOver()
		if len(p.parked()) > 0 {
			return false
		}
	}
	if len(p.inFlight) == 0 && now.Sub(p.heardAt) >= remembered {
		p.known = false
	}
	return true
}

// remembered is how long every broker is trusted to know a producer id after an acknowledged batch.
// Kafka's default is a day.
const remembered = 5 * time.Second

func (p *sequences) startOver() { p.known, p.lastAcked, p.end = false, -1, 0 }

// acknowledged notes that b is in its log, at that offset if it is not negative. The time when it was
// written is not known (the answer or this process may have been held up), only that b had left before.
// Nodes that know topics by name only (before Produce version 13) may have written it to the log of a
// recreated topic; an offset below the end that was known shows that.
func (p *sequences) acknowledged(b *batch, offset int64) {
	if b.producerID != p.id || b.log != p.log {
		return
	}
	p.heardAt = b.leftAt
	ahead := b.producerEpoch == p.epoch && (p.lastAcked < 0 || !precedes(b.lastSequence(), p.lastAcked))
	if ahead && offset >= 0 {
		if offset < p.end {
			p.startOver()
		}
		p.end = offset + int64(b.records)
	}
	if ahead && p.lastAcked < 0 {
		p.since = b.baseSequence
		if p.known { // a broker that knows the id refuses any other first sequence of an epoch
			p.since = 0
		}
	}
	p.known = true
	if ahead {
		p.lastAcked = b.lastSequence()
		if back := protocol.DecrementSequence(p.lastAcked, math.MaxInt32/4); !precedes(back, p.since) {
			p.since = back // left unchanged, precedes would some day take it for later than lastAcked
		}
	}
}

// settle takes b out of the batches in flight: it is known whether it was written under its present
// sequence, or it is given up. offset is where it was written, -1 if that is not known.
func (p *sequences) settle(b *batch, v verdict, offset int64) {
	at := -1
	for i, f := range p.inFlight {
		if f == b {
			at = i
		}
	}
	if at < 0 {
		return
	}
	later := p.inFlight[at+1:]
	switch {
	case v.log.written():
		p.acknowledged(b, offset)
		if at == 0 && len(later) == 0 && p.next == protocol.IncrementSequence(b.lastSequence(), 1) {
			p.unsettled, p.late = false, noLateCopy // it was accepted, so all before it were
		}
	case v.numbers.gap() && !v.cure.newEpoch() && len(later) == 0 && p.next == protocol.IncrementSequence(b.lastSequence(), 1) && !p.gap:
		p.next = b.baseSequence // nothing came after it: its numbers are free again
	case v.numbers.gap():
		p.gap = true
		if v.cure == cureRestart {
			p.startOver()
		}
		p.inFlight = append(p.inFlight[:at], p.afterGap(later)...)
		return
	case v.numbers.open():
		for _, f := range p.inFlight[:at] {
			f.evidence.laterUnsettled = true
		}
		p.unsettled = true
		switch {
		case b.evidence.unanswered && v.numbers == numbersRefused:
			p.late = max(p.late, unlikelyLateCopy)
		case b.evidence.unanswered:
			p.late = likelyLateCopy
		}
	}
	p.inFlight = append(p.inFlight[:at], later...)
}

// afterGap takes away the sequences of the batches behind a gap, because the broker will never accept
// them under their present numbers. Batches on the wire, which it returns, lose theirs when they are back.
// The others lose them now: they wait to be sent again, and could not leave behind a batch without a number.
func (p *sequences) afterGap(later []*batch) []*batch {
	onWire := later[:0]
	for _, l := range later {
		if l.onWire() {
			l.identity = identityStale
			onWire = append(onWire, l)
		} else {
			p.forgetSequence(l)
		}
	}
	return onWire
}

// replaceByParts puts the parts of a split batch in its place; they share its sequences.
func (p *sequences) replaceByParts(b *batch, parts []*batch) {
	for i, f := range p.inFlight {
		if f != b {
			continue
		}
		rest := append([]*batch(nil), p.inFlight[i+1:]...)
		p.inFlight = append(append(p.inFlight[:i], parts...), rest...)
		sequence := b.baseSequence
		for _, part := range parts {
			part.setIdentity(b.producerID, b.producerEpoch, sequence)
			part.identity = b.identity
			sequence = protocol.IncrementSequence(sequence, part.records)
		}
		return
	}
}

// closeGap lets the numbers go on after the last one that the broker has. It reports whether the sequences have
// no gap then; they may have one if a batch that was given up may be in the log. It is for transactional
// producers, whose epoch may not change, and only while nothing is in flight.
func (p *sequences) closeGap() bool {
	if p.gap && !p.unsettled {
		p.gap, p.next = false, 0
		if p.lastAcked >= 0 {
			p.next = protocol.IncrementSequence(p.lastAcked, 1)
		}
	}
	return !p.unsettled
}

// unnumber takes b out of the batches in flight and takes its sequence away: b comes after a gap and is
// back, refused. It gets a new sequence when it leaves again.
func (p *sequences) unnumber(b *batch) {
	for i, f := range p.inFlight {
		if f == b {
			p.inFlight = append(p.inFlight[:i], p.inFlight[i+1:]...)
			break
		}
	}
	p.forgetSequence(b)
}

// forgetSequence takes away the sequence of a batch behind a gap. A copy whose answer got lost can still arrive. It
// is refused as long as the gap is there, and under a new epoch; but not once the same epoch gives the
// missing numbers to other batches (closeGap).
func (p *sequences) forgetSequence(b *batch) {
	p.unsettled = p.unsettled || b.evidence.unanswered
	b.forgetIdentity()
}

// forgetIdentity takes away the producer id, epoch and sequence of a batch that is known not to be in the log.
func (b *batch) forgetIdentity() {
	b.evidence = b.evidence.absent()
	b.identity = identityNone
	b.producerID, b.producerEpoch, b.baseSequence = -1, -1, -1
}

// Parked batches are those that a broker calls out of order although they may be in its log, because it may
// know only the producer's last batch (see decideSequence). They are in no queue and on no wire. They wait
// for the answers to the batches behind them, which may be in the log too and are sent one after the other.

// unpark decides about the parked batches of a partition after the answer to a batch behind them. If the
// broker knew that batch they are in the log and complete. If it was missing none of them is, and they are
// sent again under new sequences. Otherwise they wait on, or are sent again as they are if no batch behind
// them can be in the log.
func (s *sender) unpark(q *partitionQueue, missing bool, now time.Time) {
	seq := &q.out.seq
	for _, b := range slices.Clone(seq.parked()) {
		switch {
		case missing:
			seq.unnumber(b)
			s.reenqueue(b, now)
		case seq.passed(b):
			seq.settle(b, verdict{log: inLog}, -1)
			s.conclude(b, noOutcome, now)
		}
	}
	parked := seq.parked()
	if slices.ContainsFunc(seq.inFlight[len(parked):], (*batch).mayBeThere) {
		return
	}
	for _, b := range parked {
		s.reenqueue(b, now)
	}
}

// unparkLocked puts the parked batches back into their queue, to leave at once. It returns the first batch
// of the queue.
//
// +checklocks:q.mu
func (q *partitionQueue) unparkLocked() *batch {
	for _, b := range q.out.seq.parked() {
		b.retryAt = time.Time{}
		q.insertLocked(b)
	}
	return q.batches.Front()
}
