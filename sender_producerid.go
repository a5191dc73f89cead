package quill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// Requests that the sender makes for itself: for metadata, and for its producer id.

// askAnyNode sends the Metadata request that is due, if a node can take it. It returns when to try again.
func (s *sender) askAnyNode(now time.Time) time.Time {
	choose := s.client.LeastLoaded
	if s.refresh.awaited(now) {
		choose = s.client.Soonest
	}
	id, ok, retryAt := choose(now)
	if s.refresh.trouble.IsZero() && !ok {
		s.refresh.trouble = now
	}
	if s.cfg.rebootstrap && !s.bootstrapping && (!ok && !s.anyConnected() && s.client.Unreachable() || s.refresh.stuck(now)) {
		s.rebootstrap(now)
		return now
	}
	if !ok {
		s.noteTrouble()
		return retryAt
	}
	if !s.client.Ready(id, now) {
		s.noteTrouble()
		return s.client.CanRetryAt(id, now)
	}
	if slices.Contains(s.refresh.asking, id) {
		return after(retryAt, now) // it would wait behind that request; the next one asks for all topics together
	}
	s.client.Send(id, s.refresh.request(id, now), now)
	next, _ := s.refresh.due(now)
	return next
}

// after returns t if it is after now, else zero.
func after(t, now time.Time) time.Time {
	if t.After(now) {
		return t
	}
	return time.Time{}
}

// neverResolved makes the producer fail, and returns true, if no name of a bootstrap server has been resolved
// within bootstrap.resolve.timeout.ms of the first attempt (KIP-909). Once a name was resolved, only the
// records' own deadlines count.
func (s *sender) neverResolved(now time.Time) bool {
	if s.cfg.bootstrapResolveTimeout == 0 || !s.snapshot.Empty() {
		return false
	}
	if s.resolveBy.IsZero() {
		s.resolveBy = now.Add(s.cfg.bootstrapResolveTimeout)
	}
	err := s.client.Unresolved()
	if err == nil || now.Before(s.resolveBy) {
		return false
	}
	s.fatal(newError(Error{Op: "send", Kind: ErrTimeout, Class: ErrFatal, Cause: err,
		Reason: fmt.Sprintf("no name of bootstrap.servers was resolved within %v (bootstrap.resolve.timeout.ms)",
			s.cfg.bootstrapResolveTimeout)}))
	return true
}

// noteTrouble keeps the error because of which no node can be asked. If no server is a broker it wakes the waiting
// callers, because waiting would not help.
func (s *sender) noteTrouble() {
	if err := s.client.NoBroker(); err != nil {
		s.refresh.board.warn(err)
		return
	}
	s.refresh.board.note(s.client.Trouble())
}

// askProducerID sends an InitProducerId request when the producer needs an id.
func (s *sender) askProducerID(now time.Time) time.Time {
	i := &s.idem
	if !i.on || i.transactional || i.state == idReady || i.state == idAsked || s.snapshot.Empty() || s.aborting != nil {
		return time.Time{}
	}
	if i.retryAt.After(now) {
		return i.retryAt
	}
	id, ok, retryAt := s.client.LeastLoaded(now)
	if !ok {
		if !s.anyConnected() {
			s.refresh.wantAll() // the known addresses may be old, and no batch can be sent whose failure would ask for metadata
		}
		return retryAt
	}
	if !s.client.Ready(id, now) {
		return s.client.CanRetryAt(id, now)
	}
	req := &message.InitProducerIDRequest{}
	req.Reset()
	req.TransactionTimeoutMs = int32(s.cfg.transactionTimeout.Milliseconds())
	s.client.Send(id, &network.Request{Exchange: &network.Message{Request: req, Response: &message.InitProducerIDResponse{}},
		Tag: tagInitProducerID}, now)
	i.state = idAsked
	return time.Time{}
}

// finishProducerID handles an InitProducerId request that is back.
func (s *sender) finishProducerID(r *network.Request, now time.Time) {
	resp := r.Exchange.(*network.Message).Response.(*message.InitProducerIDResponse)
	i := &s.idem
	err := r.Err
	if err == nil && resp.ErrorCode != protocol.None {
		err = resp.ErrorCode
	}
	if err == nil && (resp.ProducerID < 0 || resp.ProducerEpoch < 0) {
		err = protocol.UnknownServerError
	}
	if err == nil {
		s.idSpell.Ended()
		*i = idempotence{on: true, state: idReady, id: resp.ProducerID, epoch: resp.ProducerEpoch, bumps: i.bumps, renewals: i.renewals}
		s.logger.Info("got a producer id", "producer_id", i.id, "producer_epoch", i.epoch, "node", r.Node)
		return
	}
	i.state, i.err = idNone, err
	i.retryAt = now.Add(s.retry.Next(i.attempts, s.random))
	i.attempts++
	code, answered := errors.AsType[protocol.ErrorCode](err)
	switch {
	case errors.Is(err, network.ErrUnsupportedVersion):
		s.fatal(nodeError(r.Node, Error{Op: "get a producer id", Kind: ErrUnsupportedVersion, Class: ErrFatal, Cause: err,
			Reason: "idempotent producers are unknown to it", fix: "set enable.idempotence to false"}))
	case code == protocol.ClusterAuthorizationFailed: // it may be granted later: waiting batches fail now, later sends ask again
		s.logNoProducerID(s.idSpell.FailedForGood(now), r, err, now)
		for b := s.acc.oldest(); b != nil; b = s.acc.oldest() {
			s.giveUp(b, s.describe(b, &Error{Code: code, Class: ErrRetriable,
				Reason: "this client may not have a producer id, which idempotence needs; the next send asks again"}, now), now)
		}
	case answered && !code.Retriable() && code != protocol.UnknownServerError:
		s.fatal(nodeError(r.Node, Error{Op: "get a producer id", Code: code, Class: ErrFatal}))
	default: // a cluster that has just started, a coordinator that moves, a connection that broke
		s.logNoProducerID(s.idSpell.Failed(now, now), r, err, now)
	}
}

func (s *sender) logNoProducerID(level slog.Level, r *network.Request, err error, now time.Time) {
	s.logger.Log(context.Background(), level, "could not get a producer id yet, it is asked for again", "node", r.Node,
		"attempts", s.idem.attempts,
		"elapsed", now.Sub(s.idSpell.Since()), "err", err)
}

// Producer ids that another producer has too. Clusters that were restored or mirrored give ids out twice, and a
// snapshot of a virtual machine that is started twice makes two producers of one. Brokers then take the batches of both
// for those of one producer. Mostly they refuse batches that do not follow (see endsIdentity). But they take two batches
// with the same numbers for a batch and its duplicate, and acknowledge the second one without writing it.

// foreign reports whether an answer acknowledges another producer's batch, which is in the log under this one's
// numbers. Brokers answer a duplicate with the largest timestamp of the batch in the log as its log append time. Where
// records keep their own timestamps, so that there is no log append time, this shows which batch the answer is about:
// another one if no earlier attempt can have been written (it was sent once only, or was refused), or if the largest
// timestamp differs.
//
// An answer without a log append time shows that records keep their timestamps. If the topic's setting changed since,
// the batches in flight are taken for foreign ones. The first answer under the next id then has a log append time too,
// which corrects that.
func (s *sender) foreign(b *batch, answer *message.PartitionProduceResponse) bool {
	if !s.idem.on || answer.ErrorCode != protocol.None {
		return false
	}
	t := b.queue.topic
	switch at := answer.LogAppendTimeMs; {
	case at < 0:
		t.ownTimes, t.doubtedID = true, -1
		return false
	case !t.ownTimes, b.evidence.maybeWritten && at == b.maxTime:
		return false
	}
	if t.doubtedID >= 0 && t.doubtedID != b.producerID {
		t.ownTimes = false
		return false
	}
	t.doubtedID = b.producerID
	return true
}

// giveUpIdentity gives up the producer id that a batch was sent under, because of the broker's answer. Batches that are
// not in flight get the next id.
func (s *sender) giveUpIdentity(b *batch, f facts, now time.Time) {
	i := &s.idem
	if i.state != idReady || i.id != b.producerID {
		return
	}
	i.renew(now, s.retry, s.random)
	level := s.identitySpell.FailedForGood(now)
	if f.answer.foreign {
		if level == slog.LevelWarn {
			level = slog.LevelError
		}
		s.logger.Log(context.Background(), level, "another producer uses the same producer id, "+
			"perhaps a copy of this process from the same snapshot; a new id is taken",
			"topic", b.queue.topic.name, "partition", b.queue.index, "producer_id", b.producerID, "producer_epoch", b.producerEpoch)
		return
	}
	s.logger.Log(context.Background(), level, "the producer id is of no use any more, a new one is taken",
		"topic", b.queue.topic.name, "partition", b.queue.index,
		"producer_id", b.producerID, "producer_epoch", b.producerEpoch, "err", f.answer.code)
}

// explainIdentity completes the error of a batch that failed with its producer id. It is retriable, because the next id
// may be accepted; a transaction's is not.
func (s *sender) explainIdentity(cause *Error, b *batch, f facts) {
	switch {
	case f.answer.foreign:
		cause.Kind, cause.Class, cause.Cause = nil, ErrRetriable, nil
		cause.Reason = fmt.Sprintf("the broker took the batch for one of another producer, which uses producer id %d too", b.producerID)
	case s.txn != nil && f.answer.code == protocol.InvalidTxnState:
		cause.Reason = s.txn.likelyTimedOut()
	case f.idempotent && s.txn == nil && endsIdentity(f.answer.code):
		cause.Class = ErrRetriable
		cause.Reason = fmt.Sprintf("producer id %d is of no use any more, and the answer to an earlier attempt was lost", b.producerID)
	}
}
