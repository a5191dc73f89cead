package quill

import (
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/protocol"
)

// Splitting a batch that a broker finds too large.

// split cuts a batch that the broker finds too large into smaller ones, which take its place, its
// sequences and its deadline (KIP-126). A batch that is itself such a part is halved, and so on down
// to single records (KAFKA-8350). The parts' futures and callbacks are those of their records.
func (s *sender) split(b *batch, now time.Time) {
	records, err := b.plainRecords()
	if err != nil {
		b.lastError = err
		if b.sequenced {
			b.queue.out.seq.settle(b, verdict{gap: true})
		}
		s.failBatch(b, facts{code: protocol.MessageTooLarge}, verdict{}, nil, now)
		return
	}
	limit := s.cfg.batchSize
	if b.isSplit || len(records)+protocol.BatchOverhead <= limit {
		limit = (len(records) + protocol.BatchOverhead) / 2
	}
	b.queue.topic.ratio.set(1)
	parts := s.acc.cut(b, records, limit)
	s.logger.Warn("batch is too large for the broker, split", "topic", b.queue.topic.name, "partition", b.queue.index,
		"bytes", b.size(), "records", b.records, "parts", len(parts))
	if b.sequenced {
		b.queue.out.seq.replace(b, parts)
	}
	b.queue.out.replace(b, parts)
	s.acc.delist(b, parts...)
	q := b.queue
	q.mu.Lock()
	for _, part := range parts {
		q.insertLocked(part)
	}
	q.mu.Unlock()
	b.decided = true
	b.res.shared = true // its futures ask the parts from now on
	b.res.release()
	b.drop(s.acc)
	b.drop(s.acc)
}

// plainRecords is the uncompressed records section of a sealed batch.
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

// cut makes batches of at most limit bytes (a larger record has one to itself) out of the records of
// b. Their memory is taken from the pool at once, even if that overdraws it for a moment: waiting
// here would wait for ourselves.
func (a *accumulator) cut(b *batch, records []byte, limit int) []*batch {
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
	for range b.records {
		r, err := protocol.ReadRecord(&rd)
		if err != nil {
			break
		}
		need := protocol.MaxRecordSize(r.Key, r.Value, r.Headers)
		if size+need > limit {
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

// newPart makes a batch of some records of a batch that is split; first is the index of the first.
func (a *accumulator) newPart(b *batch, group []protocol.Record, size int, first int32) *batch {
	part := a.newBatch()
	part.begin(b.queue, a.pool.overdraw(size), b.baseTime+group[0].TimestampDelta, b.createdAt)
	part.isSplit, part.attempts, part.retryAt = true, b.attempts, time.Time{}
	part.epochAtSend, part.nodeAtSend, part.lastError = b.epochAtSend, b.nodeAtSend, b.lastError
	part.refused, part.maybeWritten = b.refused, b.maybeWritten
	part.res.shared = b.res.shared
	for i, r := range group {
		timestamp := b.baseTime + r.TimestampDelta
		at := first + int32(i)
		part.cur = protocol.AppendRecord(part.cur, part.records, timestamp-part.baseTime, r.Key, r.Value, r.Headers)
		part.records++
		part.maxTime = max(part.maxTime, timestamp)
		part.res.add(b.res.meta[at], b.res.callback(at))
	}
	part.raw = len(part.cur) - protocol.BatchOverhead
	part.plain = part.raw
	part.closeAppends()
	return part
}

// callback of record i.
func (r *result) callback(i int32) Callback {
	for _, run := range r.runs {
		if i < run.n {
			return run.fn
		}
		i -= run.n
	}
	return nil
}
