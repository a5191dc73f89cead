package quill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// What the sender asks the cluster for itself: metadata, and its producer id.

// askMetadata sends a Metadata request when one is due. It returns when to try next.
func (s *sender) askMetadata(now time.Time) time.Time {
	at, ok := s.refresh.due(now)
	if !ok || at.After(now) {
		return at
	}
	if s.neverResolved(now) {
		return time.Time{}
	}
	next := s.askAnyNode(now)
	if s.resolveBy.After(now) {
		next = earliest(next, s.resolveBy)
	}
	return next
}

// askAnyNode sends the Metadata request that is due, if a node can take it.
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
		return after(retryAt, now) // it would stand in line behind the other: better all together in the next one
	}
	s.client.Send(id, s.refresh.request(id, now), now)
	next, _ := s.refresh.due(now)
	return next
}

// after is t if that is to come, else zero.
func after(t, now time.Time) time.Time {
	if t.After(now) {
		return t
	}
	return time.Time{}
}

// neverResolved ends the producer when, bootstrap.resolve.timeout.ms after the first attempt, no name of
// a bootstrap server has been resolved (KIP-909). Once one was it is the nodes that can't be reached, and the
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

// noteTrouble keeps why nobody can be asked. Waiting is of no use if no server is a broker.
func (s *sender) noteTrouble() {
	if err := s.client.NoBroker(); err != nil {
		s.refresh.board.warn(err)
		return
	}
	s.refresh.board.note(s.client.Trouble())
}

// anyConnected reports whether some node has a connection, be it too busy for another request now.
func (s *sender) anyConnected() bool {
	for n := range s.snapshot.Nodes() {
		if s.client.Connected(n.ID) {
			return true
		}
	}
	return false
}

// rebootstrap begins again with the bootstrap servers: no known node can be reached (KIP-899), none
// answered for too long, or the cluster asks for it (KIP-1102).
func (s *sender) rebootstrap(now time.Time) {
	s.bootstrapping = true
	s.refresh.trouble = time.Time{}
	s.client.Rebootstrap(now)
}

// finishMetadata takes in the answer to a Metadata request.
func (s *sender) finishMetadata(r *network.Request, now time.Time) {
	s.applyHints(now) // they came before, and are about the topics as they were
	if r.Err != nil {
		s.refresh.failed(r.Tag.(*metadataAsk), r.Err, now)
		return
	}
	next, rebootstrap := s.refresh.answered(r, now)
	if rebootstrap && s.cfg.rebootstrap {
		s.rebootstrap(now)
		return
	}
	s.adopt(next, now)
	if len(s.leaderless) > 0 {
		s.refresh.all = true // still nowhere to send some records: look again, later and later
	}
	s.forgetIdle()
}

// adopt makes next the picture that the sender acts on.
func (s *sender) adopt(next *metadata.Snapshot, now time.Time) {
	if next == s.snapshot && !s.bootstrapping || next.Empty() {
		return
	}
	s.snapshot, s.bootstrapping = next, false
	s.client.SetNodes(next.Nodes())
	ids := make([]int32, 0, next.NodeCount())
	for n := range next.Nodes() {
		ids = append(ids, n.ID)
	}
	s.acc.pool.setNodes(ids...)
	s.lookAgain(now)
}

// applyHints takes in the leaders that produce answers told (KIP-951). What is not adopted is asked about:
// the node may be a new one whose address is not known yet, or the topic one that the last answer left out.
func (s *sender) applyHints(now time.Time) {
	if len(s.changes) == 0 {
		return
	}
	next := s.snapshot.WithLeaders(s.changes, s.hints)
	for i, c := range s.changes {
		t := s.moved[i]
		info, _ := next.Topic(c.Topic)
		if _, epoch, ok := next.LeaderOf(info, c.Partition); !ok || epoch < c.LeaderEpoch {
			s.needTopic(t, now)
		} else if info != t.info.Load() {
			t.setInfo(info)
		}
	}
	clear(s.moved)
	s.changes, s.hints, s.moved = s.changes[:0], s.hints[:0], s.moved[:0]
	if next == s.snapshot {
		return
	}
	s.refresh.board.post(next, nil)
	s.adopt(next, now)
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
		s.refresh.all = s.refresh.all || !s.anyConnected() // nobody is where they were: nothing else asks, since nothing can be sent
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

// finishProducerID takes in the answer to InitProducerId.
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
			Reason: "idempotent producers are unknown to it; set enable.idempotence to false"})
	case code == protocol.ClusterAuthorizationFailed: // may heal: what waits now fails, later sends ask again
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

// throttle leaves the node alone for as long as its answer asks (KIP-219). In older versions it has
// itself waited so long before it answered.
func (s *sender) throttle(r *network.Request, d time.Duration, now time.Time) {
	since := int16(1) // requests about transactions
	switch r.Exchange.APIKey() {
	case protocol.Produce, protocol.Metadata:
		since = 6
	case protocol.FindCoordinator:
		since = 2
	}
	if r.Version >= since {
		s.client.Throttle(r.Node, d, now)
	}
}

// fatal ends the producer's usefulness: everything incomplete and all later sends fail with err.
func (s *sender) fatal(err *Error) {
	if s.aborting == nil {
		s.logger.Error("producer cannot go on", "err", err)
		s.aborting = err
		s.onFatal(err)
		if s.txn != nil {
			s.txn.ruined(err)
		}
	}
}
