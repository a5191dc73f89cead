package quill

import (
	"errors"
	"sync"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// holdUp returns an error that says why the records of a partition, or with an empty topic any records, have no outcome
// yet; nil if no reason is known. It is for calls that give up waiting, and takes at most abortGrace.
func (e *engine) holdUp(topic string, partition int32) error {
	why := e.answers.ask(e, aboutRecords{topic, partition}, abortGrace)
	if why == nil && e.dispatch.calling.Load() != nil {
		return errCallbackRuns
	}
	return why
}

var errCallbackRuns = errors.New("a callback has not returned")

// noMemory adds to the error of a Send that waited for memory why the partition's node accepts no records. A Send that
// may not wait gets no reason: it may be one of very many that drop their records. The others wait for the reason
// at most as long as they waited for memory.
func (e *engine) noMemory(err *Error, q *partitionQueue, limit *blockLimit) *Error {
	if err.Op != opWaitForMemory || errors.Is(err.Kind, ErrClosed) || limit.max <= 0 {
		return err
	}
	err.Cause = e.answers.ask(e, aboutMemory{q}, min(abortGrace, limit.waited()))
	return err
}

// noMetadata adds to the error of a Send that waited for metadata which node has not answered, if the error has no
// other cause. As with memory, a Send that may not wait gets no reason.
func (e *engine) noMetadata(err *Error, limit *blockLimit) *Error {
	if err.Cause == nil && err.Code == protocol.None && err.Partition < 0 && limit.max > 0 {
		err.Cause = e.answers.ask(e, aboutNodes{}, min(abortGrace, limit.waited()))
	}
	return err
}

// question is a question that only the sender can answer. Equal questions share one answer.
type question interface {
	ask(s *sender, now time.Time) error
}

// aboutRecords asks what holds up the records of a partition, or with an empty topic any record.
type aboutRecords struct {
	topic     string
	partition int32
}

func (x aboutRecords) ask(s *sender, now time.Time) error { return s.holdUp(x.topic, x.partition, now) }

// aboutMemory asks why the partition's batches stay in memory.
type aboutMemory struct{ queue *partitionQueue }

func (x aboutMemory) ask(s *sender, now time.Time) error { return s.whyFull(x.queue, now) }

// aboutTransaction asks which request about the transaction has no answer.
type aboutTransaction struct{}

func (aboutTransaction) ask(s *sender, _ time.Time) error { return s.txn.unanswered() }

// aboutNodes asks which node has not answered for the longest time.
type aboutNodes struct{}

func (aboutNodes) ask(s *sender, now time.Time) error { return s.client.Unanswered(now) }

// answers holds the sender's recent answers to calls that give up waiting. Very many calls may give up at the same time,
// or one after the other. So an answer is shared by all calls that ask the same within answerLife, one command asks for
// all open questions, and if the sender can't answer, because a log handler blocks, the calls together wait for it once.
type answers struct {
	mu sync.Mutex
	// +checklocks:mu
	since time.Time // of the oldest answer
	// +checklocks:mu
	known map[question]*answer
	// +checklocks:mu
	open []*answer // not given yet: a command for them is in the inbox
}

// answer is the sender's answer to a question.
type answer struct {
	question
	until time.Time     // calls wait for it until then
	given chan struct{} // closed once why is set
	why   error
}

// answerLife is how old an answer may be.
const answerLife = 100 * time.Millisecond

// ask waits for the answer to a question and returns it, nil if there is none within patience.
func (a *answers) ask(e *engine, x question, patience time.Duration) error {
	if isClosed(e.sender.finished) {
		return nil
	}
	now := time.Now()
	w, first := a.join(x, now)
	if first {
		e.box.command(a.give)
	}
	if !await(w.given, e.sender.finished, min(patience, w.until.Sub(now))) {
		return nil
	}
	return w.why
}

// join returns the answer to the question, which may not be given yet. first reports whether the caller has to send the
// command to the sender.
func (a *answers) join(x question, now time.Time) (w *answer, first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.open) == 0 && now.Sub(a.since) >= answerLife {
		a.since, a.known = now, map[question]*answer{}
	}
	if w = a.known[x]; w != nil {
		return w, false
	}
	w = &answer{question: x, until: now.Add(abortGrace), given: make(chan struct{})}
	a.known[x], a.open = w, append(a.open, w)
	return w, len(a.open) == 1
}

// give answers the open questions. Only the sender calls it.
func (a *answers) give(s *sender, now time.Time) {
	a.mu.Lock()
	open := a.open
	a.open = nil
	a.mu.Unlock()
	for _, w := range open {
		w.why = w.question.ask(s, now)
		close(w.given)
	}
}
