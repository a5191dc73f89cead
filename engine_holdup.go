package quill

import (
	"errors"
	"sync"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// holdUp is what holds up the records of a partition, or with an empty topic any record; nil if nothing does. The
// wait for them is over.
func (e *engine) holdUp(topic string, partition int32) error {
	why := e.answers.ask(e, aboutRecords{topic, partition}, abortGrace)
	if why == nil && e.dispatch.calling.Load() != nil {
		return errCallbackRuns
	}
	return why
}

var errCallbackRuns = errors.New("a callback has not returned")

// noMemory adds to the failure of a Send that waited for memory why the partition's node takes no records. A Send that
// was not to wait gets no reason: it may be one of very many that drop their records. One that was waits for the reason
// as long as it did for memory, at most.
func (e *engine) noMemory(err *Error, q *partitionQueue, limit *blockLimit) *Error {
	if err.Op != opWaitForMemory || errors.Is(err.Kind, ErrClosed) || limit.max <= 0 {
		return err
	}
	err.Cause = e.answers.ask(e, aboutMemory{q}, min(abortGrace, limit.waited()))
	return err
}

// noMetadata adds to the failure of a Send that waited for metadata which node keeps it waiting, if nothing else is
// known against the cluster. As with memory, a Send that was not to wait gets no reason.
func (e *engine) noMetadata(err *Error, limit *blockLimit) *Error {
	if err.Cause == nil && err.Code == protocol.None && err.Partition < 0 && limit.max > 0 {
		err.Cause = e.answers.ask(e, aboutNodes{}, min(abortGrace, limit.waited()))
	}
	return err
}

// question is something that only the sender can answer. Equal ones have one answer.
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

// answers are what the sender has said of late to those whose wait was over. Very many may give up at the same time, or
// one after the other, so an answer is good for all who ask the same within answerLife, one order asks for all that
// is not answered, and a sender that is kept from answering, by a log handler that blocks, is waited for once.
type answers struct {
	mu sync.Mutex
	// +checklocks:mu
	since time.Time // of the oldest answer
	// +checklocks:mu
	known map[question]*answer
	// +checklocks:mu
	open []*answer // asked for and not given: an order for them is in the inbox
}

// answer is what the sender says to a question.
type answer struct {
	question
	until time.Time     // it is not waited for any longer
	given chan struct{} // closed once why is set
	why   error
}

// answerLife is how old an answer may be.
const answerLife = 100 * time.Millisecond

// ask is the answer to a question, nil if there is none within patience.
func (a *answers) ask(e *engine, x question, patience time.Duration) error {
	if isClosed(e.sender.finished) {
		return nil
	}
	now := time.Now()
	w, first := a.join(x, now)
	if first {
		e.box.order(a.give)
	}
	if !await(w.given, e.sender.finished, min(patience, w.until.Sub(now))) {
		return nil
	}
	return w.why
}

// join is the answer to the question, which may have to be waited for. first says that the sender is to be asked.
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

// give answers what was asked. The sender's.
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
