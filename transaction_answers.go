package quill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// Answers to requests to coordinators: finish takes the answer, or the error if there was none; a verdict
// says what it means; conclude carries the verdict out.

// finish handles a request that is back, with or without an answer.
func (t *transaction) finish(r *txnRequest, req *network.Request, now time.Time) {
	t.out, t.woken = nil, true
	if t.state == txnFatalError {
		return
	}
	if req.Err != nil {
		t.lost(r, req, now)
		return
	}
	switch resp := req.Exchange.(*network.Message).Response.(type) {
	case *message.FindCoordinatorResponse:
		t.found(r, resp, req.Node, now)
	case *message.InitProducerIDResponse:
		t.initialized(r, resp, req.Node, now)
	case *message.AddPartitionsToTxnResponse:
		t.partitionsAdded(r, resp, now)
	case *message.AddOffsetsToTxnResponse:
		if t.conclude(r, decideAddOffsets(resp.ErrorCode), resp.ErrorCode, now) {
			t.started, r.offsets.added = true, true
		}
	case *message.TxnOffsetCommitResponse:
		t.offsetsCommitted(r, resp, now)
	case *message.EndTxnResponse:
		t.ended(r, resp, now)
	}
}

// lost handles a request without an answer.
func (t *transaction) lost(r *txnRequest, req *network.Request, now time.Time) {
	if errors.Is(req.Err, network.ErrUnsupportedVersion) {
		t.s.fatal(nodeError(req.Node, Error{Op: r.kind.String(), Kind: ErrUnsupportedVersion, Class: ErrFatal, Cause: req.Err}))
		return
	}
	if req.MaybeSent {
		r.lost = true
		t.straggler = t.straggler || r.kind == askEnd || r.kind == askCommitOffsets
		t.stray = t.stray || r.kind.joins() && !t.version2
		t.bump = t.bump || r.kind != askFind && r.kind != askInit && !t.version2 && t.canBump
	}
	if r.kind != askFind {
		t.forget(r)
	}
	t.note(r, req.Node, req.Err)
	t.logRepeat(r, req.Node, req.Err, now)
	t.pause(r, now, t.backoff())
}

// logRepeat logs that a request failed and is sent again.
func (t *transaction) logRepeat(r *txnRequest, node int32, err error, now time.Time) {
	level := r.spell.Failed(now, now)
	t.s.logger.Log(context.Background(), level, "a coordinator has to be asked again", "request", r.kind.String(),
		"transactional_id", t.id, "node", node,
		"attempts", r.attempts, "elapsed", now.Sub(r.spell.Since()), "err", err)
}

func (t *transaction) pause(r *txnRequest, now time.Time, d time.Duration) { r.retryAt = now.Add(d) }

// backoff returns how long a request to a coordinator waits for its next attempt. Like Java's it does not
// grow: the usual reasons (a coordinator that is loading, or has just moved) pass in a moment, and an
// application waits for each request. A node that can't be reached has its own back-off, which grows.
func (t *transaction) backoff() time.Duration { return t.s.retry.Next(0, t.s.random) }

// concurrentPause is how long a request waits while the transaction before is being ended. Kafka:
// ADD_PARTITIONS_RETRY_BACKOFF_MS.
const concurrentPause = 20 * time.Millisecond

// conclude carries out the verdict about a request. It reports whether the request worked; what follows
// then is the caller's to do.
func (t *transaction) conclude(r *txnRequest, v txnVerdict, code protocol.ErrorCode, now time.Time) bool {
	if v == txnAbortBump {
		if t.bump = t.bump || !t.version2; t.canBump || t.version2 {
			v = txnAbort
		} else {
			v = txnFatal
		}
	}
	if v == txnAbort && (t.state == txnInitializing && t.concluded || r.kind == askFind && t.inDoubt()) {
		v = txnRetry // the transaction has ended, or may have, so there may be nothing to abort
	}
	err := newError(Error{Op: r.kind.String(), Code: code, Reason: t.about(r, code)})
	if v == txnAbort && r.kind == askFind && t.joinInDoubt() {
		t.fail(r, err) // the request goes on, because the abort needs to know whether something joined
		v = txnRetry
	}
	switch v {
	case txnRetry, txnRetrySoon, txnFind:
		if v == txnFind {
			t.forget(r)
		}
		r.lost = r.lost || r.kind.leavesOpen(code)
		d := t.backoff()
		if v == txnRetrySoon || code == protocol.ConcurrentTransactions && t.concluded {
			d = min(d, concurrentPause)
		}
		t.note(r, -1, code)
		t.logRepeat(r, -1, code, now)
		t.pause(r, now, d)
		return false
	}
	t.finding = nil
	if r.kind != askFind { // the error that made it look for a coordinator still counts after FindCoordinator worked
		t.note(r, -1, nil)
	}
	switch v {
	case txnDone:
		t.request = nil
		return true
	case txnAbort:
		t.unsure = t.unsure || r.lost && r.kind.joins()
		t.request = nil // also if r is the FindCoordinator for it
		err.Class = ErrAbortable
		t.fail(r, err)
	case txnDenied:
		t.request = nil
		err.Class = ErrRetriable
		t.deny(err)
	case txnFenced:
		err.Kind, err.Code, err.Class, err.Reason = ErrProducerFenced, protocol.ProducerFenced, ErrFatal, t.whyFenced()
		t.s.fatal(err)
	default:
		if code == protocol.InvalidTxnState && r.kind != askInit {
			err.Reason = strings.TrimPrefix(err.Reason+"; "+t.likelyTimedOut(), "; ")
			err.fix = "close this producer; make transactions shorter, or raise transaction.timeout.ms"
		}
		err.Class = ErrFatal
		t.s.fatal(err)
	}
	return false
}

// whyFenced returns a text that says what may have fenced the producer.
func (t *transaction) whyFenced() string {
	why := fmt.Sprintf("another producer took over transactional id %s (this one has producer id %d, epoch %d)",
		foreign.Quote(t.id), t.s.idem.id, t.s.idem.epoch)
	if t.started {
		why += fmt.Sprintf(", or the transaction was open for longer than %v (transaction.timeout.ms)", t.s.cfg.transactionTimeout)
	}
	if t.stray {
		why += ", or a late copy of a request began another transaction (KIP-890)"
	}
	return why
}

// likelyTimedOut returns a text that explains INVALID_TXN_STATE: the coordinator has no open transaction where
// this producer has one.
func (t *transaction) likelyTimedOut() string {
	return fmt.Sprintf("most likely the transaction was open for longer than %v (transaction.timeout.ms), "+
		"and its coordinator has aborted it", t.s.cfg.transactionTimeout)
}

// inDoubt reports whether the end of the transaction was asked for and may have been carried out.
func (t *transaction) inDoubt() bool {
	return t.request != nil && t.request.kind == askEnd && (t.request.lost || t.out == t.request)
}

// joinInDoubt reports whether partitions or offsets were to join the transaction and may have.
func (t *transaction) joinInDoubt() bool {
	return t.request != nil && t.request.kind.joins() && t.request.lost
}

// about returns a text that names what a coordinator's answer to r is about, where the code alone does not say.
func (t *transaction) about(r *txnRequest, code protocol.ErrorCode) string {
	if code == protocol.TransactionalIDAuthorizationFailed {
		return "transactional id " + foreign.Quote(t.id)
	}
	return r.onBehalfOf()
}

// onBehalfOf returns a text that names the consumer group of r, "" if r concerns none.
func (r *txnRequest) onBehalfOf() string {
	group := r.group
	if r.offsets != nil {
		group = r.offsets.group.GroupID
	}
	if group == "" {
		return ""
	}
	return "consumer group " + foreign.Quote(group)
}

// fail makes the transaction abortable and ends the call about offsets of r, if it has one, with err.
func (t *transaction) fail(r *txnRequest, err *Error) {
	if r.offsets != nil {
		t.endOffsets(r.offsets, err)
	}
	t.abortable(err)
}

// deny handles a producer that is not authorized for its id. It goes back to the state before
// InitTransactions, because the next InitTransactions may be allowed.
func (t *transaction) deny(err *Error) {
	t.s.logger.Warn("the producer id was denied", "transactional_id", t.id, "err", err)
	own := t.makeAbortable(err)
	if own == nil {
		return
	}
	own = t.unlessOver(own)
	t.enter(txnUninitialized, nil)
	t.concluded, t.bump, t.unnamed = false, false, false
	t.pending.end(own) // last, because the waiting caller goes on from that state
}

// found handles the answer to FindCoordinator.
func (t *transaction) found(f *txnRequest, resp *message.FindCoordinatorResponse, node int32, now time.Time) {
	_, key := t.wanted(f)
	got := message.Coordinator{Key: key, NodeID: resp.NodeID, ErrorCode: resp.ErrorCode, ErrorMessage: resp.ErrorMessage}
	if len(resp.Coordinators) > 0 {
		got = resp.Coordinators[0]
	}
	code := got.ErrorCode
	if code == protocol.None && got.NodeID < 0 || len(resp.Coordinators) > 1 || got.Key != key {
		code = protocol.CoordinatorNotAvailable
	}
	v := decideFind(code)
	if code == protocol.TransactionalIDAuthorizationFailed && t.state == txnInitializing {
		v = txnDenied // nothing was begun: as with InitProducerId, the next InitTransactions may be allowed
	}
	if v == txnDone {
		if f.group == "" {
			t.coordinator = got.NodeID
		} else {
			t.group, t.groupNode = f.group, got.NodeID
		}
		if f.group == "" {
			t.s.logger.Info("found the coordinator of the transactional id", "transactional_id", t.id, "node", got.NodeID)
		} else {
			t.s.logger.Info("found the coordinator of the consumer group", "group", f.group, "transactional_id", t.id, "node", got.NodeID)
		}
		t.finding, t.trouble = nil, t.s.client.LastError(got.NodeID)
		return
	}
	t.conclude(f, v, code, now)
}

// initialized handles the answer to InitProducerId.
func (t *transaction) initialized(r *txnRequest, resp *message.InitProducerIDResponse, node int32, now time.Time) {
	code := resp.ErrorCode
	if code == protocol.None && (resp.ProducerID < 0 || resp.ProducerEpoch < 0) {
		code = protocol.UnknownServerError
	}
	if !t.conclude(r, decideInit(code), code, now) {
		return
	}
	if err := t.stolen(r, resp); err != nil {
		t.s.fatal(err)
		return
	}
	t.adopt(resp.ProducerID, resp.ProducerEpoch)
	t.s.logger.Info("got a producer id", "transactional_id", t.id, "producer_id", resp.ProducerID,
		"producer_epoch", resp.ProducerEpoch, "node", node)
	t.toReady(true)
}

// adopt takes over an id and epoch from the coordinator. Nothing is in flight then.
func (t *transaction) adopt(id int64, epoch int16) {
	i := &t.s.idem
	i.state, i.id, i.epoch, i.attempts, i.err = idReady, id, epoch, 0, nil
	t.stray = false
}

// partitionsAdded handles the answer to AddPartitionsToTxn. It makes one decision for all partitions of
// the request: either each was added, or none. Partitions that were not asked for are ignored.
func (t *transaction) partitionsAdded(r *txnRequest, resp *message.AddPartitionsToTxnResponse, now time.Time) {
	worst, code, topic := txnDone, protocol.None, ""
	missing := make(map[TopicPartition]bool, len(r.partitions))
	for _, q := range r.partitions {
		missing[TopicPartition{q.topic.name, q.index}] = true
	}
	for _, results := range resp.ResultsByTopicV3AndBelow {
		for _, p := range results.ResultsByPartition {
			tp := TopicPartition{results.Name, p.PartitionIndex}
			if !missing[tp] {
				continue
			}
			delete(missing, tp)
			v := decideAddPartition(p.PartitionErrorCode, len(t.members) == 0)
			if p.PartitionErrorCode == protocol.OperationNotAttempted && worst != txnDone {
				continue // not attempted because of an error of another partition, which is known already
			}
			if v > worst || code == protocol.OperationNotAttempted && v != txnDone {
				worst, code, topic = v, p.PartitionErrorCode, results.Name
			}
		}
	}
	if worst == txnDone && len(missing) > 0 {
		worst, code = txnRetry, protocol.UnknownServerError
	}
	if worst == txnAbort && r == t.request {
		t.unsure = t.unsure || r.lost
		t.request = nil
		err := newError(Error{Op: r.kind.String(), Topic: topic, Code: code, Class: ErrAbortable})
		t.abortable(err)
		return
	}
	if !t.conclude(r, worst, code, now) {
		return
	}
	t.started = true
	t.members = append(t.members, r.partitions...)
	for _, q := range r.partitions {
		q.out.joined = t.number
		t.s.look(q, now)
	}
}

// ended handles the answer to EndTxn.
func (t *transaction) ended(r *txnRequest, resp *message.EndTxnResponse, now time.Time) {
	v := decideEnd(resp.ErrorCode, r.commit)
	if resp.ErrorCode == protocol.InvalidTxnState && t.unsure && !t.started && !r.commit {
		v, resp.ErrorCode = txnDone, protocol.None // nothing had joined, so there was nothing to abort
	}
	if t.inDoubt() && (v == txnAbort || v == txnAbortBump) {
		v = txnFatal // an earlier attempt may have worked, so the outcome can't be known
	}
	if !t.conclude(r, v, resp.ErrorCode, now) {
		return
	}
	switch id, epoch := t.s.idem.id, t.s.idem.epoch; {
	case !t.version2:
	case follows(id, epoch, resp.ProducerID, resp.ProducerEpoch):
		t.adopt(resp.ProducerID, resp.ProducerEpoch)
	default:
		t.s.logger.Warn("the end of a transaction named an impossible producer id, so it is asked for",
			"transactional_id", t.id, "producer_id", id, "producer_epoch", epoch,
			"next_producer_id", resp.ProducerID, "next_producer_epoch", resp.ProducerEpoch)
		t.bump = true // ask for it
	}
	t.over(now)
}

// follows reports whether an id and epoch can be those of the next transaction (KIP-890): the same id
// with a higher epoch, or another one when the epochs are used up.
func follows(id int64, epoch int16, nextID int64, nextEpoch int16) bool {
	if nextID == id {
		return nextEpoch > epoch
	}
	return nextID >= 0 && nextEpoch >= 0 && epoch >= math.MaxInt16-1
}

// Topics that nothing is sent to any more are forgotten with their sequences, and so only under an epoch that the
// brokers have not seen. With version 2 each transaction has one. With version 1 the epoch stays, so it is raised once
// many topics are to be forgotten: the coordinator does that for a producer that names its id and epoch (KIP-360).
//
// Before 2.5 InitProducerId does not name them. It raises the epoch for any producer that asks: it would also take
// the transactional id back from another producer that took it over since our EndTxn. The epoch shows that, because
// it is then more than one higher. So such a producer fails before it begins another transaction, and nothing of a
// fenced producer is written. It may also fail after a lost answer, because the repeated request raises the epoch again.

// mayForget reports whether topics may be forgotten, with their sequences: only while nothing was sent under the
// epoch of the next transaction.
func (t *transaction) mayForget() bool { return t.unused && t.state == txnReady }

// maxIdleTopics is the number of idle topics that a transactional producer of version 1 keeps. When there are more it has
// the epoch raised at the end of a transaction.
const maxIdleTopics = 100

// tooManyIdle reports whether the epoch should be raised so that idle topics may be forgotten.
func (t *transaction) tooManyIdle() bool { return !t.version2 && len(t.s.refresh.idle) > maxIdleTopics }

// succeeds reports whether an id and epoch are the ones that follow ours if no other producer asked the coordinator:
// the next epoch, or the first of another id when the epochs are used up.
func (i *idempotence) succeeds(id int64, epoch int16) bool {
	if i.epoch >= math.MaxInt16-1 {
		return id != i.id && epoch == 0
	}
	return id == i.id && epoch == i.epoch+1
}

// stolen returns an error if the epoch was raised without naming ours and another producer may have raised it too.
func (t *transaction) stolen(r *txnRequest, resp *message.InitProducerIDResponse) *Error {
	if !t.unnamed || t.canBump || t.s.idem.succeeds(resp.ProducerID, resp.ProducerEpoch) {
		return nil
	}
	return newError(Error{Op: r.kind.String(), Kind: ErrProducerFenced, Class: ErrFatal,
		Reason: fmt.Sprintf("another producer may have taken over transactional id %s: producer id %d, epoch %d is followed by %d, %d, "+
			"and this cluster is too old to say who raised the epoch (KIP-360)",
			foreign.Quote(t.id), t.s.idem.id, t.s.idem.epoch, resp.ProducerID, resp.ProducerEpoch)})
}
