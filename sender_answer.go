package quill

import (
	"context"
	"errors"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// finishProduce handles a Produce request that is back: off the wire, answered or not. If a worker is
// busy with one of its batches it does nothing, because the request then comes back once more.
func (s *sender) finishProduce(r *produceRequest, now time.Time) {
	if !s.sealer.crew.endSealing(r) {
		return
	}
	if r.Err == nil && !r.NoAnswer {
		s.acc.measures.answered(r.DoneAt.Sub(r.SentAt), r.response.Throttle(), now)
		s.throttle(&r.Request, r.response.Throttle(), now)
		if n := s.nodes[r.Node]; n != nil {
			n.lastAnswer = r.DoneAt.Sub(r.SentAt)
			n.answerTime += (n.lastAnswer - n.answerTime) / 8
			n.pace.answered(r.SentAt, r.DoneAt, s.cfg.maxInFlight)
			n.sought = false
		}
	}
	s.countCompressed(r, now)
	for _, b := range r.batches {
		s.finishBatch(r, b, now)
	}
	r.reset()
	s.freeRequests = append(s.freeRequests, r)
}

// finishBatch decides about one batch of a request that is back, and carries the verdict out.
//
// Java: Sender.completeBatch.
func (s *sender) finishBatch(r *produceRequest, b *batch, now time.Time) {
	q := b.queue
	b.move(placeHand)
	s.onWire--
	q.out.muted = false

	f, answer := s.factsOf(r, b, now)
	v := decide(f)
	q.out.noteSetback(b, v, now)
	if q.out.blocked || v.act != actAccept {
		q.out.blocked = false
		s.touched = append(s.touched, q)
	}
	if v.refresh && !s.noteLeader(r, b, answer) {
		s.needLeader(q, now)
		if code := f.answer.code; code == protocol.NotLeaderOrFollower || code == protocol.UnknownTopicOrPartition {
			s.doubtLeader(q, now)
		}
	}
	if v.cure == cureID {
		s.giveUpIdentity(b, f, now)
	}
	s.apply(b, f, v, answer, now)
	s.unpark(q, v.cure.newEpoch(), now)
}

// factsOf returns the facts for decide, and the broker's answer about the batch, nil if there is none. It notes the
// answer, or that there is none, in the batch.
func (s *sender) factsOf(r *produceRequest, b *batch, now time.Time) (facts, *message.PartitionProduceResponse) {
	mayRetry := b.attempts <= s.cfg.retries && now.Before(b.createdAt.Add(s.acc.deliveryTimeout)) && s.aborting == nil
	f := facts{idempotent: s.idem.on, transactional: s.txn != nil,
		batch: batchFacts{records: b.records, decided: b.decided(), mayRetry: mayRetry, wasMaybe: b.evidence.maybeWritten},
		near:  b.queue.out.seq.near(b)}
	answer := (*message.PartitionProduceResponse)(nil)
	switch {
	case r.Err != nil:
		f.answer.lost, f.answer.unsent = true, !r.MaybeSent
		if errors.Is(r.Err, network.ErrUnsupportedVersion) {
			f.answer.lost, f.answer.code = false, protocol.UnsupportedVersion
			if s.cfg.codec == compress.Zstd {
				f.answer.code = protocol.UnsupportedCompressionType
			}
		}
		b.evidence.unanswered = b.evidence.unanswered || r.MaybeSent
		b.lastError = r.Err
	case r.NoAnswer:
	default:
		if answer = r.answer(b); answer == nil {
			f.answer.lost = true
			b.lastError = errNotInAnswer
			break
		}
		f.answer = s.answerFacts(b, answer)
		if answer.ErrorCode != protocol.None {
			b.lastError = answer.ErrorCode
			b.evidence.refused = true
		}
	}
	f.batch.unanswered = b.evidence.unanswered
	return f, answer
}

// answerFacts returns the facts about an answer.
func (s *sender) answerFacts(b *batch, answer *message.PartitionProduceResponse) answerFacts {
	return answerFacts{
		code:      answer.ErrorCode,
		again:     b.lastError == error(answer.ErrorCode),
		blamed:    answer.ErrorCode != protocol.None && s.txn == nil && blamesSome(answer.RecordErrors, b.records),
		foreign:   s.foreign(b, answer),
		logStart:  answer.LogStartOffset,
		truncated: answer.LogStartOffset >= b.queue.out.seq.end,
	}
}

var errNotInAnswer = errors.New("the answer does not mention the partition")

// noteLeader keeps the partition's new leader that a produce answer names (KIP-951) for applyHints, which
// asks for metadata if it can't be adopted. It returns false if there is nothing to adopt. If the topic was
// recreated since the request, the answer is about a partition that no longer exists, and the epochs of its
// leaders can't be compared.
func (s *sender) noteLeader(r *produceRequest, b *batch, answer *message.PartitionProduceResponse) bool {
	if answer == nil || answer.CurrentLeader.LeaderID < 0 || answer.CurrentLeader.LeaderEpoch < 0 {
		return false
	}
	q := b.queue
	if info := q.topic.info.Load(); info != nil && info.ID != b.log {
		return false
	}
	if _, epoch, _ := s.leader(q); answer.CurrentLeader.LeaderEpoch <= epoch {
		return false // not newer than the known leader, so the caller has to ask for metadata
	}
	s.changes = append(s.changes, metadata.LeaderChange{Topic: q.topic.name, Partition: q.index,
		Leader: answer.CurrentLeader.LeaderID, LeaderEpoch: answer.CurrentLeader.LeaderEpoch})
	s.moved = append(s.moved, q.topic)
	for _, e := range r.response.NodeEndpoints {
		s.hints = append(s.hints, nodeOf(e.NodeID, e.Host, e.Port, e.Rack))
	}
	return true
}

// doubtLeader notes that the partition's leader answered that it is not the leader. If it still does after doubtAfter, the
// next metadata answer about the leader is adopted even if its epoch is lower, because the known one may come from a
// false hint.
func (s *sender) doubtLeader(q *partitionQueue, now time.Time) {
	o := q.out.setback // of this answer
	_, epoch, _ := s.leader(q)
	switch {
	case o.refusedAt.IsZero() || o.refusedEpoch != epoch:
		o.refusedAt, o.refusedEpoch = now, epoch
	case now.Sub(o.refusedAt) >= doubtAfter:
		o.refusedAt = time.Time{}
		s.refresh.doubts = append(s.refresh.doubts, q)
	}
}

// doubtAfter is longer than brokers take to learn that they lead a partition.
const doubtAfter = 5 * time.Second

// apply carries out the verdict on b.
func (s *sender) apply(b *batch, f facts, v verdict, answer *message.PartitionProduceResponse, now time.Time) {
	seq := &b.queue.out.seq
	b.evidence.maybeWritten = v.log == maybeInLog
	switch {
	case b.identity == identityStale && !v.log.written():
		seq.unnumber(b) // it came after a gap: refused, and to be sent under new numbers
	case b.numbered() && (v.log.written() || v.numbers != numbersKept):
		offset := int64(-1)
		if answer != nil && v.log == inLogAt {
			offset = answer.BaseOffset
		}
		seq.settle(b, v, offset)
		if v.numbers == numbersRenewed {
			seq.unnumber(b)
		}
	}
	switch v.act {
	case actAccept:
		if b.producerID == s.idem.id {
			s.idem.renewals = 0
		}
		out := noOutcome
		if answer != nil && v.log == inLogAt {
			out.baseOffset, out.logAppendTime = answer.BaseOffset, max(answer.LogAppendTimeMs, -1)
			if f.batch.wasMaybe && out.logAppendTime == b.maxTime {
				out.logAppendTime = -1 // for a duplicate a broker answers the batch's largest timestamp instead
			}
		}
		s.conclude(b, out, now)
	case actRetry:
		s.reenqueue(b, now)
	case actPark:
		b.move(placeParked)
	case actSplit:
		s.split(b, now)
	case actSieve:
		s.sieve(b, f, answer, now)
	case actFail:
		s.failBatch(b, f, v, answer, now)
	case actForget:
		b.retire(s.acc) // it was completed before, and only the wire still held it
	}
}

// reenqueue puts a batch back to its place in the queue, to be sent again after a back-off.
//
// Java: RecordAccumulator.reenqueue.
func (s *sender) reenqueue(b *batch, now time.Time) {
	b.retryAt = now.Add(s.retry.Next(b.attempts-1, s.random))
	if b.lastError == protocol.ConcurrentTransactions { // passes soon: the markers of the transaction before are being written
		b.retryAt = now.Add(min(concurrentPause, s.cfg.retryBackoff))
	}
	s.logger.Log(context.Background(), s.resentLevel(b, now), "a batch is sent again", "topic", b.queue.topic.name,
		"partition", b.queue.index, "node", b.nodeAtSend, "attempt", b.attempts, "base_sequence", b.baseSequence, "err", b.lastError)
	q := b.queue
	s.acc.measures.retried(q.topic.name, s.topicMeasures(q.topic), b.lastError, b.records, now)
	q.mu.Lock()
	q.insertLocked(b)
	q.mu.Unlock()
	s.touched = append(s.touched, q)
}

// conclude writes the outcome of a batch's records to its result, and hands the batch to the dispatcher when
// those before it are decided too. If it is not on the wire, the wire's hold ends here too.
//
// Java: ProducerBatch.done.
func (s *sender) conclude(b *batch, out batchOutcome, now time.Time) {
	left := b.stage == stageLeft
	b.stage = stageDecided
	if out.err != nil {
		out.openedAt = b.createdAt.UnixMilli()
	}
	b.res.batchOutcome = out
	s.acc.measures.end.Record(now, now.Sub(b.createdAt), int64(b.records))
	if out.err != nil {
		s.losses.add(b.queue.topic.name, out.err, int64(b.records))
		s.acc.measures.failed(b.queue.topic.name, s.topicMeasures(b.queue.topic), out.err, b.records, now)
	}
	if s.txn != nil {
		s.txn.completed(b, out.err)
	}
	onWire, waiting := b.onWire(), &b.queue.out.completionQueue
	if !left { // it comes after all that did
		waiting.PushBack(b)
	}
	// An outcome that is known before that of an earlier batch (answers of two leaders, a batch refused
	// while another is sent again) waits for it, because callbacks run in the order of the sends.
	for waiting.Len() > 0 && waiting.Front().decided() {
		s.complete(waiting.PopFront())
	}
	if !onWire {
		b.retire(s.acc)
	}
}

// complete hands a batch whose outcome is decided to the dispatcher, which runs the callbacks.
func (s *sender) complete(b *batch) {
	s.acc.delist(b)
	s.dispatch.push(b)
}
