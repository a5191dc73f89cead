package quill

import (
	"slices"

	"github.com/quill-kafka/quill/internal/invariant"
)

// What the sender knows of a batch beyond its records: where it is, and what is known of its attempts.

// batchPlace is where a batch is on its way to a broker:
//
//	         +----------- put back ------------+
//	         v                                 |
//	---> queue --- taken out -------------> hand <--- back --- wire
//	         ^                              |  |                 ^
//	         |                   put aside  |  +----- sent ------+
//	         |                              v
//	         +---- asked for again ----- parked
//
// and from hand or parked to gone, when it needs not be sent again.
//
// The sender moves it. Only the first move is made by who opens the batch, before the sender may find it. Whether a batch
// in its queue still takes records is no place, for that changes under the queue's lock (see partitionQueue.open).
type batchPlace uint8

const (
	placeHand   batchPlace = iota // the sender's hands: just made, or taken from one place to be put to another in the same turn
	placeQueue                    // in its partition's queue
	placeWire                     // in a request that has not come back
	placeParked                   // put aside: out of order although it may be in the log. The answer to a later one will tell
	placeGone                     // nothing is sent of it any more; its outcome may be still to be told
)

// moves are the places that may follow each. A batch comes to the wire from the sender's hands only, so it is in no queue
// meanwhile and is sent by one request at a time; what is gone stays so.
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

// move notes that b is in another place now. A build with the tag invariant checks that it may be.
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

// evidence is what is known of whether the records of a batch are in a log, from all attempts to send it. It is one
// value: the parts of a split batch begin with a copy, and a batch that is shown to be in no log loses it as one.
type evidence struct {
	maybeWritten   bool // an attempt may have reached the log
	inOldLog       bool // one may be in the log that the topic had before it was recreated: what the log says now tells nothing of it
	unanswered     bool // the answer to an attempt did not come: a copy may still arrive
	laterUnsettled bool // a later batch was given up that may be in the log
	refused        bool // a broker answered an attempt with an error
}

// movedToNewLog notes that the next attempt goes to another log than those before.
func (e *evidence) movedToNewLog() { e.inOldLog = e.inOldLog || e.maybeWritten }

// absent returns the evidence for a batch that is known not to be in the log under its present numbers. It did leave,
// so it does not become NotSent again. What the log says tells nothing of the one before.
func (e evidence) absent() evidence {
	return evidence{refused: e.refused || e.maybeWritten, inOldLog: e.inOldLog}
}

// outcome returns what an error says of the records if the batch is given up now. onWire: there is an attempt without
// an answer yet.
func (e evidence) outcome(onWire bool) Outcome {
	switch {
	case e.maybeWritten || e.inOldLog || onWire:
		return MaybeWritten
	case e.refused:
		return Rejected
	}
	return NotSent
}
