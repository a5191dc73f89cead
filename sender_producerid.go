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
	s.fatal(&Error{Op: "send", Kind: ErrTimeout, Class: ErrFatal, Partition: -1, Node: -1, Cause: err,
		Reason: fmt.Sprintf("no name of bootstrap.servers was resolved within %v (bootstrap.resolve.timeout.ms)", s.cfg.bootstrapResolveTimeout)})
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
	s.client.Send(id, &network.Request{Exchange: &network.Message{Request: req, Response: &message.InitProducerIDResponse{}}, Tag: tagInitProducerID}, now)
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
		s.fatal(&Error{Op: "get a producer id", Kind: ErrUnsupportedVersion, Class: ErrFatal, Partition: -1, Node: r.Node, Cause: err,
			Reason: "idempotent producers are unknown to it", fix: "set enable.idempotence to false"})
	case code == protocol.ClusterAuthorizationFailed: // it may be granted later: waiting batches fail now, later sends ask again
		s.logNoProducerID(s.idSpell.FailedForGood(now), r, err, now)
		for b := s.acc.oldest(); b != nil; b = s.acc.oldest() {
			s.giveUp(b, s.describe(b, &Error{Code: code, Class: ErrRetriable, Reason: "this client may not have a producer id, which idempotence needs; the next send asks again"}, now), now)
		}
	case answered && !code.Retriable() && code != protocol.UnknownServerError:
		s.fatal(&Error{Op: "get a producer id", Code: code, Class: ErrFatal, Partition: -1, Node: r.Node})
	default: // a cluster that has just started, a coordinator that moves, a connection that broke
		s.logNoProducerID(s.idSpell.Failed(now, now), r, err, now)
	}
}

func (s *sender) logNoProducerID(level slog.Level, r *network.Request, err error, now time.Time) {
	s.logger.Log(context.Background(), level, "could not get a producer id yet, it is asked for again", "node", r.Node, "attempts", s.idem.attempts,
		"elapsed", now.Sub(s.idSpell.Since()), "err", err)
}
