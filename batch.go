package quill

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/invariant"
	"github.com/quill-kafka/quill/protocol"
)

// batch is the records of one partition that travel together: Kafka's record batch, built in place.
//
// A record is encoded in its final form the moment it is appended, into chunks of pool memory; the
// first 61 bytes of the first chunk are kept for the batch header. No record straddles two chunks,
// so sealing is: compress if asked to, fill in the header, compute the CRC.
//
//	chunk 0                                        chunk 1
//	+--------------------+--------+--------+-----+ +--------+--------+------
//	| header, 61 bytes   | record | record | ... | | record | record |
//	+--------------------+--------+--------+-----+ +--------+--------+------
//
// Who may touch it: while open, appenders under the queue's lock, who write to its chunks and keep
// account of that in the queue's openBatch; close puts it here. Closed and in the queue: frozen.
// Drained: the sender; from Send to the connection until the request comes back, the connection's
// writer may seal and read the chunks, a worker may seal them first (see sealCrew), and the sender
// does not touch them. The chunks go back to the pool when both holders have dropped the batch: the
// wire side (never sent, or its request came back) and the delivery side (outcome decided and
// callbacks run). So a buffer can't be reused while a stalled socket still reads it (KAFKA-19012).
type batch struct {
	queue     *partitionQueue // set by begin and read-only after that, like the rest of this group
	share     *memoryShare    // the share that its memory is from: that of its node when it was opened
	baseTime  int64
	createdAt time.Time

	// Building: under the queue's lock while open.
	res       *result
	chunks    [][]byte // all but the last are final
	heldBytes int64    // bytes taken from the pool: the sum of the chunks' capacities
	urgent    bool     // a caller waits for it: no linger
	closed    bool     // the five below are set, and all this is frozen

	raw     int // bytes of the records section as it is now, without header
	sum     recordSum
	plain   int // those before compression
	records int32
	largest int32 // upper bound of the size of its largest record
	maxTime int64

	number    int64 // place in the partition's order; re-enqueued batches go back to it
	width     int64 // numbers up to number+width are this batch's, to be shared among its parts
	flushMark int64 // flushes begun before it was opened; a later flush makes it ready

	// The list of incomplete batches, by age: under the accumulator's lock.
	prev, next *batch

	// Delivery: the sender's alone.
	attempts    int       // requests it was in
	leftAt      time.Time // when the last of them was sent
	retryAt     time.Time
	lastError   error
	identity    batchIdentity
	place       batchPlace
	evidence    evidence
	stage       batchStage
	isSplit     bool
	epochAtSend int32 // leader epoch of the last attempt, -1 none
	nodeAtSend  int32

	// Identity on the wire: written by the sender while off the wire, read by the writer.
	producerID    int64
	producerEpoch int16
	baseSequence  int32
	log           protocol.UUID // of the topic, as the last attempt knew it; the sender's alone

	sealed     bool // chunks are in wire form (compressed); the writer's while on the wire
	headerDone bool // the header matches the identity
	codec      compress.Codec

	holders atomic.Int32
}

const (
	wireHolder     = 1 // released when its request is back, or when it never was in one
	deliveryHolder = 1 // released when the dispatcher has run the callbacks
	// numberGap leaves room between the batches of a partition for the parts of a split one.
	numberGap = 1 << 32
)

// begin makes b an empty batch of q, with its first chunk, which is memory of that share.
func (b *batch) begin(q *partitionQueue, share *memoryShare, chunk []byte, timestamp int64, now time.Time) {
	b.queue, b.share = q, share
	b.chunks = append(b.chunks[:0], chunk)
	b.heldBytes = int64(cap(chunk))
	b.baseTime, b.maxTime = timestamp, timestamp
	b.createdAt = now
	b.epochAtSend, b.nodeAtSend = -1, -1
	b.producerID, b.producerEpoch, b.baseSequence = -1, -1, -1
	b.holders.Store(wireHolder + deliveryHolder)
	b.res.topic, b.res.partition = q.topic.name, q.index
}

// size returns the length in bytes of the closed batch as it would be sent now: exact when sealed, an
// upper bound before (a batch that does not shrink is sent uncompressed).
func (b *batch) size() int { return protocol.BatchOverhead + b.raw }

// setIdentity gives the batch its producer id, epoch and base sequence.
func (b *batch) setIdentity(id int64, epoch int16, sequence int32) {
	invariant.Check(!b.onWire() && !b.evidence.maybeWritten, "sequence of a batch whose outcome is unknown reassigned")
	b.producerID, b.producerEpoch, b.baseSequence = id, epoch, sequence
	b.identity, b.headerDone = identityGiven, false
}

// lastSequence returns the sequence of the batch's last record.
func (b *batch) lastSequence() int32 { return protocol.IncrementSequence(b.baseSequence, b.records-1) }

// reset clears b for another use, with res for its records. Slices keep their capacity.
func (b *batch) reset(res *result) {
	*b = batch{res: res, chunks: b.chunks[:0]}
}

// drop releases the batch for one of its two holders. The last one returns its memory; no other code
// does.
func (b *batch) drop(a *accumulator) {
	if left := b.holders.Add(-1); left != 0 {
		invariant.Check(left > 0, "batch dropped too often")
		return // the other holder owns b from here on
	}
	for i, c := range b.chunks {
		b.share.release(c)
		b.chunks[i] = nil
	}
	b.chunks = b.chunks[:0]
	a.recycle(b)
}

// The sender's view of a batch: its identity, its stage, its place, and the evidence from its attempts.

// batchIdentity says whether a batch has a producer id, epoch and base sequence. It keeps them while its outcome is unknown.
type batchIdentity uint8

const (
	identityNone batchIdentity = iota
	identityGiven
	identityStale // on the wire, but known to come after a gap: it gets new sequences when it is back
)

// numbered reports whether the batch has sequences.
func (b *batch) numbered() bool { return b.identity != identityNone }

// batchStage is how far a batch is on its way to its outcome. From stageLeft on it waits for its completion in its partition's
// completionQueue.
type batchStage uint8

const (
	stageNew     batchStage = iota // it has never left
	stageLeft                      // it left once, and its outcome is not decided
	stageDecided                   // its records' outcome is decided; only the wire may still hold it
)

// decided reports whether the outcome of the batch's records is decided.
func (b *batch) decided() bool { return b.stage == stageDecided }

// batchPlace is where a batch is on its way to a broker:
//
//	         +----------- put back ------------+
//	         v                                 |
//	---> queue --- taken out -------------> hand <--- back --- wire
//	         ^                              |  |                 ^
//	         |                   put aside  |  +----- sent ------+
//	         |                              v
//	         +------ sent again -------- parked
//
// and from hand or parked to gone, when it need not be sent again.
//
// The sender moves it. Only the first move is made by the goroutine that opens the batch, before the sender can find it.
// Whether a batch in its queue still takes records is not a place, because that changes under the queue's lock (see
// partitionQueue.open).
type batchPlace uint8

const (
	placeHand   batchPlace = iota // the sender's hands: just made, or taken from one place to be put to another in the same turn
	placeQueue                    // in its partition's queue
	placeWire                     // in a request that has not come back
	placeParked                   // put aside: out of order although it may be in the log; the answer to a later one will show that
	placeGone                     // nothing is sent of it any more; its outcome may still have to be reported
)

// moves lists the places that may follow each. A batch comes to the wire from the sender's hands only, so it is in no
// queue meanwhile and is sent by one request at a time. A batch that is gone stays gone.
var moves = [...][]batchPlace{
	placeHand:   {placeQueue, placeWire, placeParked, placeGone},
	placeQueue:  {placeHand},
	placeWire:   {placeHand},
	placeParked: {placeQueue, placeGone},
	placeGone:   {},
}

var placeNames = [...]string{"hand", "queue", "wire", "parked", "gone"}

func (p batchPlace) String() string { return placeNames[p] }

// leadsTo reports whether a batch may be moved from p to that place.
func (p batchPlace) leadsTo(to batchPlace) bool { return slices.Contains(moves[p], to) }

// move notes that b is in another place now. A build with the tag invariant checks that the move is allowed.
func (b *batch) move(to batchPlace) {
	if invariant.Enabled {
		invariant.Check(b.place.leadsTo(to), "a batch is moved from %v to %v", b.place, to)
	}
	b.place = to
}

func (b *batch) onWire() bool { return b.place == placeWire }
func (b *batch) parked() bool { return b.place == placeParked }

// retire ends the wire's hold on b: nothing is sent of it any more.
func (b *batch) retire(a *accumulator) {
	b.move(placeGone)
	b.drop(a)
}

// evidence says whether the records of a batch may be in a log, from all attempts to send it. It is one value: the parts
// of a split batch begin with a copy, and a batch that is shown to be in no log loses all of it at once.
type evidence struct {
	maybeWritten   bool // an attempt may have reached the log
	inOldLog       bool // an attempt may be in the log of the topic before it was recreated; answers of the new log don't show that
	unanswered     bool // the answer to an attempt did not come: a copy may still arrive
	laterUnsettled bool // a later batch was given up that may be in the log
	refused        bool // a broker answered an attempt with an error
}

// movedToNewLog notes that the next attempt goes to another log than those before.
func (e *evidence) movedToNewLog() { e.inOldLog = e.inOldLog || e.maybeWritten }

// absent returns the evidence for a batch that is known not to be in the log under its present numbers. It did leave,
// so it does not become NotSent again, and it may still be in the log of the topic before it was recreated.
func (e evidence) absent() evidence {
	return evidence{refused: e.refused || e.maybeWritten, inOldLog: e.inOldLog}
}

// outcome returns the Outcome of the records if the batch is given up now. onWire says that an attempt has no answer
// yet.
func (e evidence) outcome(onWire bool) Outcome {
	switch {
	case e.maybeWritten || e.inOldLog || onWire:
		return MaybeWritten
	case e.refused:
		return Rejected
	}
	return NotSent
}
