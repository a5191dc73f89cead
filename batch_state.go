package quill

// What the sender knows of a batch beyond its records.

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
