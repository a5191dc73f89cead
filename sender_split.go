package quill

import (
	"context"
	"math"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// Splitting a batch that a broker finds too large, or of which it refuses some records.

// split cuts a batch that the broker finds too large into smaller ones, which take its place, its
// sequences and its deadline (KIP-126). A batch that is itself such a part is halved, and so on down
// to single records (KAFKA-8350). The parts keep the futures and callbacks of their records.
//
// Java: RecordAccumulator.splitAndReenqueue.
func (s *sender) split(b *batch, now time.Time) {
	records, err := b.plainRecords()
	if err != nil {
		b.lastError = err
		if b.numbered() {
			b.queue.out.seq.settle(b, verdict{numbers: numbersUnused}, -1)
		}
		s.failBatch(b, facts{answer: answerFacts{code: protocol.MessageTooLarge}}, verdict{}, nil, now)
		return
	}
	limit := s.cfg.batchSize
	if b.isSplit || len(records)+protocol.BatchOverhead <= limit {
		limit = (len(records) + protocol.BatchOverhead) / 2
	}
	b.queue.topic.ratio.set(1)
	s.acc.measures.splits.Record(now, 1)
	parts := s.acc.cut(b, records, limit, nil)
	level := b.queue.topic.tooLargeSpell.FailedForGood(now)
	s.logger.Log(context.Background(), level, "a batch is too large for the broker and is split", "topic", b.queue.topic.name,
		"partition", b.queue.index,
		"bytes", b.size(), "records", b.records, "parts", len(parts))
	if b.numbered() {
		b.queue.out.seq.replaceByParts(b, parts)
	}
	s.replaceByParts(b, parts)
	s.enqueue(parts)
}

// sieve fails the records that the broker names as the ones it refuses, and makes batches of the others,
// which are sent again: they were refused only because they were in the same batch (KIP-467). Java fails
// them all.
func (s *sender) sieve(b *batch, f facts, answer *message.PartitionProduceResponse, now time.Time) {
	records, err := b.plainRecords()
	if err != nil {
		b.lastError = err
		s.failBatch(b, f, verdict{}, answer, now)
		return
	}
	guilty := blamed(s.batchError(b, f, answer, now), answer.RecordErrors, b.records)
	parts := s.acc.cut(b, records, math.MaxInt, guilty)
	s.logger.Info("the broker refuses some records of a batch, the others are sent again", "topic", b.queue.topic.name,
		"partition", b.queue.index,
		"records", b.records, "refused", len(guilty), "err", f.answer.code)
	children := b.res.children
	s.replaceByParts(b, parts)
	var innocent []*batch
	for i, part := range parts {
		if guilty[children[i].first] == nil {
			innocent = append(innocent, part)
		}
	}
	s.enqueue(innocent)
	for i, part := range parts {
		if e := guilty[children[i].first]; e != nil {
			s.conclude(part, failure(e), now)
		}
	}
}

// replaceByParts puts parts in the place of b and ends b.
func (s *sender) replaceByParts(b *batch, parts []*batch) {
	b.queue.out.replaceByParts(b, parts)
	s.acc.delist(b, parts...)
	b.stage = stageDecided
	b.res.hasFuture = true // its futures read it to find the parts
	b.res.finish()
	b.retire(s.acc)
	b.drop(s.acc)
}

// enqueue puts parts into their queues.
func (s *sender) enqueue(parts []*batch) {
	for _, part := range parts {
		q := part.queue
		q.mu.Lock()
		q.insertLocked(part)
		q.mu.Unlock()
	}
}

// plainRecords returns a copy of the records section of a sealed batch, uncompressed.
func (b *batch) plainRecords() ([]byte, error) {
	section := make([]byte, 0, b.raw)
	section = append(section, b.chunks[0][protocol.BatchOverhead:]...)
	for _, c := range b.chunks[1:] {
		section = append(section, c...)
	}
	if b.codec == compress.None {
		return section, nil
	}
	return compress.Decompress(b.codec, nil, section, b.plain)
}

// cut makes batches of at most limit bytes out of the records of b. A larger record gets a batch to itself,
// and so does each of those named in alone. Their memory is taken from the pool at once, even if that
// overdraws it for a moment: memory comes back through the sender, which must not wait for it here.
func (a *accumulator) cut(b *batch, records []byte, limit int, alone map[int32]*Error) []*batch {
	var parts []*batch
	rd := protocol.NewReader(records)
	var part *batch
	first := int32(0)
	var group []protocol.Record
	size := protocol.BatchOverhead
	flush := func() {
		if len(group) == 0 {
			return
		}
		part = a.newPart(b, group, size, first)
		parts = append(parts, part)
		b.res.children = append(b.res.children, childResult{first, part.res})
		first += int32(len(group))
		group, size = group[:0], protocol.BatchOverhead
	}
	for i := range b.records {
		r, err := protocol.ReadRecord(&rd)
		if err != nil {
			break
		}
		need := protocol.MaxRecordSize(r.Key, r.Value, r.Headers)
		if size+need > limit || alone[i] != nil || alone[i-1] != nil {
			flush()
		}
		group = append(group, r)
		size += need
	}
	flush()
	for i, part := range parts {
		part.width = b.width / int64(len(parts))
		part.number = b.number + int64(i)*part.width
	}
	return parts
}

// newPart makes a batch of group, records of the batch b that is split; first is the index of the first.
func (a *accumulator) newPart(b *batch, group []protocol.Record, size int, first int32) *batch {
	part := a.newBatch()
	part.begin(b.queue, b.share, b.share.overdraw(size), b.baseTime+group[0].TimestampDelta, b.createdAt)
	part.isSplit, part.attempts, part.retryAt = true, b.attempts, time.Time{}
	part.epochAtSend, part.nodeAtSend, part.lastError = b.epochAtSend, b.nodeAtSend, b.lastError
	part.evidence = b.evidence
	part.res.hasFuture = b.res.hasFuture
	var o openBatch
	o.begin(part, a.limits.compress)
	for i, r := range group {
		o.largest = max(o.largest, int32(protocol.MaxRecordSize(r.Key, r.Value, r.Headers)))
		o.add(b.baseTime+r.TimestampDelta, &bytesRecord{Key: r.Key, Value: r.Value, Headers: r.Headers}, b.res.callback(first+int32(i)))
	}
	o.close()
	return part
}
