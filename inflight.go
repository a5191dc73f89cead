package quill

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// The sender's two ends of a request: drain makes it out of what is ready, finishProduce takes it
// apart when it is back. In between it belongs to the connection.

// drainAll sends what is ready to every node that can take it. It returns when to try again.
func (s *sender) drainAll(now time.Time) (next time.Time) {
	if s.idem.on && s.idem.state != idReady {
		return time.Time{} // the answer to InitProducerId wakes us
	}
	kept := s.active[:0]
	for _, n := range s.active {
		if at := s.drain(n, now); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
		if n.active = n.ring.Len() > 0; n.active {
			kept = append(kept, n)
		}
	}
	clear(s.active[len(kept):])
	s.active = kept
	return next
}

// drain sends requests to one node until its ring is empty or it can't take more.
func (s *sender) drain(n *nodeOut, now time.Time) (again time.Time) {
	for n.ring.Len() > 0 {
		if !s.client.Ready(n.id, now) {
			return s.held(n, now)
		}
		s.flows(n)
		if wait := s.company(n); wait > 0 {
			if n.waitsAt.IsZero() {
				n.waitsAt = now
			}
			if due := s.companyUntil(n, wait); due.After(now) {
				return due
			}
		}
		n.waitsAt = time.Time{}
		r := s.build(n, now)
		if r == nil {
			if s.idem.on && s.idem.state != idReady {
				return now // ask for a new id first
			}
			continue
		}
		s.send(n, r, now)
	}
	return time.Time{}
}

// companyUntil is until when what is ready for a node waits. Partial batches wait at least until the node can
// turn to them: to stand in line there gains nothing.
func (s *sender) companyUntil(n *nodeOut, wait time.Duration) time.Time {
	due := n.waitsAt.Add(wait)
	if n.forced == 0 {
		due = maxTime(due, n.pace.freeAt(s.client.InFlight(n.id)))
	}
	return due
}

// company is how long what is ready for a node may wait to be sent together with what comes until
// then. Partial batches wait for the answer in flight, but not long. All others wait for a part of the
// time that answers take, which halves with each further request that the node may have in flight:
// when the last one has left, what it did not take waits for an answer.
func (s *sender) company(n *nodeOut) time.Duration {
	switch inFlight := s.client.InFlight(n.id); {
	case inFlight == 0:
		return 0
	case n.forced == 0:
		return companyWait
	default:
		return n.answerTime / lastWaits >> max(0, s.cfg.maxInFlight-1-inFlight)
	}
}

// held notes that a node has something ready and can't take it, and returns when it may.
func (s *sender) held(n *nodeOut, now time.Time) (again time.Time) {
	again = s.client.CanRetryAt(n.id, now)
	if !s.client.Connected(n.id) && s.client.LastError(n.id) != nil {
		s.refresh.all = true // its partitions may have other leaders by now
	}
	limit := s.cfg.availabilityTimeout
	if limit <= 0 {
		return again
	}
	if n.readyAt.IsZero() {
		n.readyAt = now
	}
	if late := n.readyAt.Add(limit); late.After(now) {
		return earliest(late, again)
	}
	n.slow.Store(true)
	return again
}

func (s *sender) flows(n *nodeOut) {
	if !n.readyAt.IsZero() {
		n.readyAt = time.Time{}
		n.slow.Store(false)
	}
}

// build goes once around the node's ring and takes the oldest batch of each partition, up to
// max.request.size. It returns nil if none may leave now.
func (s *sender) build(n *nodeOut, now time.Time) *produceRequest {
	r := s.newRequest()
	for range n.ring.Len() {
		q := n.ring.Front()
		if q.out.ring != n {
			n.ring.PopFront() // it left meanwhile
			continue
		}
		b, fits := s.take(q, n, r.size, now)
		if !fits {
			break
		}
		n.ring.PopFront()
		if q.out.ring == n {
			s.leave(q)
		}
		if b != nil {
			r.add(b)
			if q.length.Load() > 0 { // there is more: at the end of the ring, for the next request
				s.look(q, now)
			}
		}
	}
	if len(r.batches) == 0 {
		s.free = append(s.free, r)
		return nil
	}
	return r
}

// take removes the oldest batch of a partition from its queue, for a request of `size` bytes so far
// to node n. b is nil if it must not leave now (something else will bring the partition back); fits
// is false if the request is full, or sequences have run out.
func (s *sender) take(q *partitionQueue, n *nodeOut, size int, now time.Time) (b *batch, fits bool) {
	id, epoch, ok := s.leader(q)
	if !ok || id != n.id {
		s.leave(q)
		s.enter(q, true, now)
		return nil, true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.batches.Len() == 0 {
		return nil, true
	}
	b = q.batches.Front()
	if b.attempts > 0 && b.retryAt.After(now) && !s.leaderMoved(b) {
		s.setTimer(q, b.number, b.retryAt)
		return nil, true
	}
	if info := q.topic.info.Load(); info != nil && !q.out.seq.leaves(b, info.ID, now) {
		b = q.unparkLocked()
		q.out.seq.leaves(b, info.ID, now)
	}
	if s.txn != nil && !s.txn.mayDrain(q, b) || !s.idem.mayDrain(&q.out.seq, b) {
		q.out.held = true
		return nil, true
	}
	if size > 0 && size+q.sizeLocked(b) > s.cfg.maxRequestSize {
		return nil, false
	}
	q.freezeLocked(b)
	if !s.idem.number(&q.out.seq, b) {
		return nil, false
	}
	q.batches.PopFront()
	q.length.Store(int32(q.batches.Len()))
	q.out.muted = s.cfg.maxInFlight == 1
	b.epochAtSend, b.nodeAtSend, b.leftAt = epoch, n.id, now
	if !b.inLine {
		b.inLine = true
		q.out.line.PushBack(b)
	}
	return b, true
}

func (s *sender) newRequest() *produceRequest {
	if last := len(s.free) - 1; last >= 0 {
		r := s.free[last]
		s.free = s.free[:last]
		return r
	}
	return &produceRequest{acks: s.cfg.acks, timeout: s.cfg.requestTimeout, sealer: s.sealer}
}

// send hands a request to the node's connection. From here the connection owns the batches' bytes
// until the request comes back.
func (s *sender) send(n *nodeOut, r *produceRequest, now time.Time) {
	for _, b := range r.batches {
		b.attempts++
		b.onWire = true
	}
	s.onWire += len(r.batches)
	if s.txn != nil {
		s.txn.sends(r)
	}
	r.Exchange, r.NoAnswer = r, r.acks == 0
	alone := s.client.InFlight(n.id) == 0
	n.pace.sent(alone, now)
	s.sealer.crew.offer(r, alone)
	s.client.Send(n.id, &r.Request, now)
}

// finishProduce handles a Produce request that is back: off the wire, answered or not. If a worker is
// busy with one of its batches, it comes back once more.
func (s *sender) finishProduce(r *produceRequest, now time.Time) {
	if !s.sealer.crew.settle(r) {
		return
	}
	if r.Err == nil && !r.NoAnswer {
		s.throttle(&r.Request, r.response.Throttle(), now)
		if n := s.nodes[r.Node]; n != nil {
			n.answerTime += (r.DoneAt.Sub(r.SentAt) - n.answerTime) / 8
			n.pace.answered(r.SentAt, r.DoneAt)
		}
	}
	for _, b := range r.batches {
		s.finishBatch(r, b, now)
	}
	r.reset()
	s.free = append(s.free, r)
}

// finishBatch decides about one batch of a request that is back, and does it.
func (s *sender) finishBatch(r *produceRequest, b *batch, now time.Time) {
	q := b.queue
	b.onWire = false
	s.onWire--
	q.out.muted = false

	answer := (*message.PartitionProduceResponse)(nil)
	f := facts{idempotent: s.idem.on, transactional: s.txn != nil, decided: b.decided, records: b.records, head: q.out.seq.isHead(b), passed: q.out.seq.passed(b),
		wasMaybe: b.maybeWritten, followed: q.out.seq.followed(b), shadowed: b.shadowed}
	f.mayRetry = b.attempts <= s.cfg.retries && now.Before(b.createdAt.Add(s.acc.deliveryTimeout)) && s.aborting == nil
	switch {
	case r.Err != nil:
		f.lost, f.unsent = true, !r.MaybeSent
		if errors.Is(r.Err, network.ErrUnsupportedVersion) {
			f.lost, f.code = false, protocol.UnsupportedVersion
			if s.cfg.codec == compress.Zstd {
				f.code = protocol.UnsupportedCompressionType
			}
		}
		b.lastError = r.Err
	case r.NoAnswer:
	default:
		if answer = r.answer(b); answer == nil {
			f.lost = true
			b.lastError = errNotInAnswer
			break
		}
		f.code, f.logStartOff = answer.ErrorCode, answer.LogStartOffset
		f.foreign, f.again = s.foreign(b, answer), b.lastError == error(answer.ErrorCode)
		f.truncated = answer.LogStartOffset >= q.out.seq.end
		if f.code != protocol.None {
			b.lastError = f.code
			b.refused = true
			f.blamed = s.txn == nil && blamesSome(answer.RecordErrors, b.records)
		}
	}
	b.lost = b.lost || r.Err != nil && r.MaybeSent
	f.doubt, f.vain = b.lost && q.out.seq.late != noLateCopy, q.out.seq.late == unlikelyLateCopy
	v := decide(f)
	q.out.noteSetback(b, v, now)
	if q.out.held || v.act != actAccept {
		q.out.held = false
		s.touched = append(s.touched, q)
	}
	if v.refresh && !s.noteLeader(r, b, answer) {
		s.needTopic(q.topic, now)
	}
	if v.newID {
		s.leaveIdentity(b, f, now)
	}
	s.apply(b, f, v, answer, now)
	s.unpark(q, v.gap && v.newEpoch, now)
}

var errNotInAnswer = errors.New("the answer does not mention the partition")

// noteLeader remembers what a produce answer says about the partition's new leader (KIP-951), for applyHints,
// which asks for metadata if it can't be adopted. It returns false if there is nothing to adopt. An
// answer that was asked for when the topic had another id is about a partition that is no more, whose
// epochs count for nothing.
func (s *sender) noteLeader(r *produceRequest, b *batch, answer *message.PartitionProduceResponse) bool {
	if answer == nil || answer.CurrentLeader.LeaderID < 0 || answer.CurrentLeader.LeaderEpoch < 0 {
		return false
	}
	q := b.queue
	if info := q.topic.info.Load(); info != nil && info.ID != b.log {
		return false
	}
	if _, epoch, _ := s.leader(q); answer.CurrentLeader.LeaderEpoch <= epoch {
		return false // nothing new: ask
	}
	s.changes = append(s.changes, metadata.LeaderChange{Topic: q.topic.name, Partition: q.index,
		Leader: answer.CurrentLeader.LeaderID, LeaderEpoch: answer.CurrentLeader.LeaderEpoch})
	s.moved = append(s.moved, q.topic)
	for _, e := range r.response.NodeEndpoints {
		n := metadata.Node{ID: e.NodeID, Host: e.Host, Port: e.Port}
		if e.Rack != nil {
			n.Rack = *e.Rack
		}
		s.hints = append(s.hints, n)
	}
	return true
}

// apply does what was decided.
func (s *sender) apply(b *batch, f facts, v verdict, answer *message.PartitionProduceResponse, now time.Time) {
	seq := &b.queue.out.seq
	b.maybeWritten = v.maybe
	if b.sequenced && b.renumber && !v.written {
		seq.unnumber(b) // it came after a gap: refused, and to be sent under new numbers
	} else if b.sequenced && (v.act != actRetry && v.act != actSplit || v.resequence) {
		offset := int64(-1)
		if answer != nil && v.offsets {
			offset = answer.BaseOffset
		}
		seq.settle(b, v, offset)
		if v.resequence {
			seq.unnumber(b)
		}
	}
	switch v.act {
	case actAccept:
		if b.producerID == s.idem.id {
			s.idem.renewals = 0
		}
		out := noFate
		if answer != nil && v.offsets {
			out.baseOffset, out.logAppendTime = answer.BaseOffset, max(answer.LogAppendTimeMs, -1)
			if f.wasMaybe && out.logAppendTime == b.maxTime {
				out.logAppendTime = -1 // of a duplicate a broker tells the batch's largest timestamp instead
			}
		}
		s.conclude(b, out)
	case actRetry:
		if b.parked = v.park; !b.parked {
			s.reenqueue(b, now)
		}
	case actSplit:
		s.split(b, now)
	case actSieve:
		s.sieve(b, f, answer, now)
	case actFail:
		s.failBatch(b, f, v, answer, now)
	case actForget:
		b.drop(s.acc) // its fate was told; this was the wire's hold on it
	}
}

// reenqueue puts a batch back to its place in the queue, to be sent again after a back-off.
func (s *sender) reenqueue(b *batch, now time.Time) {
	b.retryAt = now.Add(s.retry.Next(b.attempts-1, s.random))
	if b.lastError == protocol.ConcurrentTransactions { // the markers of the transaction before are being written
		b.retryAt = now.Add(min(concurrentPause, s.cfg.retryBackoff))
	}
	s.logger.Debug("a batch is sent again", "topic", b.queue.topic.name, "partition", b.queue.index, "node", b.nodeAtSend,
		"attempt", b.attempts, "base_sequence", b.baseSequence, "err", b.lastError)
	q := b.queue
	q.mu.Lock()
	q.insertLocked(b)
	q.mu.Unlock()
	s.touched = append(s.touched, q)
}

// conclude writes the fate of a batch's records and has it told. If it is not on the wire, the wire's
// hold ends here too.
func (s *sender) conclude(b *batch, out fate) {
	b.decided = true
	if out.err != nil {
		out.openedAt = b.createdAt.UnixMilli()
	}
	b.res.fate = out
	s.losses.add(b.queue.topic.name, out.err, int64(b.records))
	if s.txn != nil {
		s.txn.told(b, out.err)
	}
	onWire, line := b.onWire, &b.queue.out.line
	if !b.inLine { // it never left, and comes after all that did
		b.inLine = true
		line.PushBack(b)
	}
	// A fate that is known before that of an earlier batch (answers of two leaders, a batch refused
	// while another is sent again) waits for it: callbacks run in the order of the sends.
	for line.Len() > 0 && line.Front().decided {
		s.tell(line.PopFront())
	}
	if !onWire {
		b.drop(s.acc)
	}
}

// tell hands a batch to the dispatcher.
func (s *sender) tell(b *batch) {
	s.acc.delist(b)
	s.dispatch.push(b)
}

// failBatch gives up a batch that was refused for good, or can't be tried again.
func (s *sender) failBatch(b *batch, f facts, v verdict, answer *message.PartitionProduceResponse, now time.Time) {
	err := s.refusal(b, f, answer, now)
	if s.aborting != nil && f.worthRetry() {
		err = s.describe(b, s.aborting, now) // only for that it is not sent again
	}
	out := failure(err)
	if answer != nil && len(answer.RecordErrors) > 0 {
		out.recordErr = recordErrors(err, answer.RecordErrors, b.records)
	}
	if v.fatal {
		fatal := *err
		fatal.Class = ErrFatal
		s.fatal(&fatal)
		out.err = &fatal
	}
	s.conclude(b, out)
}

// refusal is why a batch is given up.
func (s *sender) refusal(b *batch, f facts, answer *message.PartitionProduceResponse, now time.Time) *Error {
	cause := &Error{Op: "send", Code: f.code}
	switch {
	case f.code == protocol.None: // lost, and out of retries or time
		cause.Kind, cause.Cause = ErrDeliveryTimeout, b.lastError
		if now.Before(b.createdAt.Add(s.acc.deliveryTimeout)) {
			cause.Kind, cause.Reason = lostKind(b.lastError), "no retries are left"
		}
	case errors.Is(b.lastError, network.ErrUnsupportedVersion):
		cause.Cause = b.lastError // the versions
	case f.code == protocol.MessageTooLarge || f.code == protocol.RecordListTooLarge:
		cause.Reason = fmt.Sprintf("%d bytes in a batch of %d records", b.size(), b.records)
		if b.records == 1 {
			cause.Reason = fmt.Sprintf("the record takes %d bytes in a batch of its own", b.size())
		}
	}
	if f.idempotent && f.code == protocol.OutOfOrderSequenceNumber && b.maybeWritten {
		cause.Reason = "the answer to an earlier attempt was lost, and whether that one was written can no longer be found out"
	}
	s.explainIdentity(cause, b, f)
	if answer != nil && answer.ErrorMessage != nil {
		cause.Detail = detail(*answer.ErrorMessage)
	}
	return s.describe(b, cause, now)
}

// lostKind is what a request without an answer came to.
func lostKind(err error) error {
	if errors.Is(err, network.ErrRequestTimeout) {
		return ErrTimeout
	}
	return ErrDisconnected
}

// blamesSome reports whether the broker names some of the records, but not all.
func blamesSome(named []message.BatchIndexAndErrorMessage, records int32) bool {
	if len(named) == 0 {
		return false
	}
	n := len(blamed(&Error{}, named, records))
	return n > 0 && n < int(records)
}

// recordErrors tells apart the records that the broker names from those that were only in the same
// batch, which has so many records (KIP-467). Names of others don't count, however many.
func recordErrors(err *Error, named []message.BatchIndexAndErrorMessage, records int32) func(i int32) error {
	guilty := blamed(err, named, records)
	rest := *err
	rest.Kind = ErrBatchRejected
	return func(i int32) error {
		if e := guilty[i]; e != nil {
			return e
		}
		return &rest
	}
}

// blamed is the error of each record that the broker names.
func blamed(err *Error, named []message.BatchIndexAndErrorMessage, records int32) map[int32]*Error {
	guilty := make(map[int32]*Error)
	for _, n := range named {
		if _, twice := guilty[n.BatchIndex]; twice || n.BatchIndex < 0 || n.BatchIndex >= records {
			continue
		}
		own := *err
		own.Kind = ErrInvalidRecord
		if n.BatchIndexErrorMessage != nil {
			own.Detail = detail(*n.BatchIndexErrorMessage)
		}
		guilty[n.BatchIndex] = &own
	}
	return guilty
}

// detail is what is kept of a broker's text: users may hold on to many errors.
func detail(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	return strings.Clone(text[:maxDetail])
}

const maxDetail = 4 << 10

// describe completes an error with what is known of the batch.
func (s *sender) describe(b *batch, base *Error, now time.Time) *Error {
	e := *base
	e.Op, e.Topic, e.Partition = "send", b.queue.topic.name, b.queue.index
	e.Node, e.Attempts, e.Elapsed = b.nodeAtSend, b.attempts, now.Sub(b.createdAt)
	switch {
	case b.maybeWritten || b.elsewhere || b.onWire:
		e.Fate = MaybeWritten
	case b.refused:
		e.Fate = Rejected
	default:
		e.Fate = NotSent
	}
	if s.txn != nil && e.class() != ErrFatal {
		e.Class = ErrAbortable // not retriable, whatever the reason: the record is part of the transaction (KAFKA-19176)
	}
	return &e
}

// expired is the failure of a batch that is delivery.timeout.ms old.
func (s *sender) expired(b *batch, now time.Time) *Error {
	e := s.describe(b, &Error{Kind: ErrDeliveryTimeout, Cause: s.whyNotYet(b, now)}, now)
	switch {
	case b.onWire:
		e.Reason = countOf(b.records, "record") + " expired while waiting for an answer"
	case b.attempts > 0:
		e.Reason = countOf(b.records, "record") + " expired while waiting to be sent again"
	default:
		e.Reason = "1 record expired before it could be sent"
		if b.records != 1 {
			e.Reason = countOf(b.records, "record") + " expired before they could be sent"
		}
		if _, _, ok := s.leader(b.queue); !ok && (e.Cause == nil || s.whyNot(b.queue) == nil) {
			e.Reason += ": the partition has no leader"
		}
	}
	return e
}

// whyNot is the reason why batches of a partition can't leave, if one is known. While no node is connected that
// is why not: the leader's own reason went when the cluster was left for the bootstrap servers.
func (s *sender) whyNot(q *partitionQueue) error {
	if id, _, ok := s.leader(q); ok && s.client.LastError(id) != nil {
		return s.client.LastError(id)
	}
	if !s.anyConnected() {
		return s.client.Trouble()
	}
	return nil
}

// countOf is a number of things in words.
func countOf(n int32, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
