package quill

import (
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/internal/seal"
	"github.com/quill-kafka/quill/internal/stat"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// produceRequest is one Produce request with the batches it carries, and its answer.
//
// It is written by hand, not by internal/message, because the records are not copied into it: the
// frame refers to the batches' own memory, which the connection hands to the kernel in one writev.
// A test compares its bytes with the generated encoding.
type produceRequest struct {
	network.Request

	acks    int16
	timeout time.Duration
	sealer  *sealer
	noIDs   bool // some topic has no id: versions before 13 only

	transactionalID *string // nil: none
	version2        bool    // of the transaction protocol

	batches []*batch       // grouped by topic, in the order of topics
	topics  []produceTopic // one entry per topic
	size    int
	sealing sealProgress // the state of its sealing by workers, if it was offered to them

	asked    message.Asked // bounds the answer
	response message.ProduceResponse
	bulky    bool // the answer was so large that the memory that it was decoded into is not kept

	atTopic, atPartition int  // where the answer of the next batch is, if answers are in order
	disordered           bool // answers are not in order
}

// produceTopic is the group of batches of one topic. It keeps the topic's id from when the request was
// made, because the answer is matched by that id even if the metadata have another one by then (KAFKA-19397).
type produceTopic struct {
	topic *topicState
	id    protocol.UUID
	n     int // batches of it
}

// maxProduceVersionByName is the highest version for topics known by name only. It is the lowest one of
// version 2 of the transaction protocol, too: it adds partitions to the transaction (KIP-890).
const maxProduceVersionByName = 12

// minProduceVersionZstd is the lowest version that may carry zstd: older nodes don't know it (KIP-110).
const minProduceVersionZstd = 7

var _ network.Exchange = (*produceRequest)(nil)

// Sealed implements network.Exchange.
func (r *produceRequest) Sealed(seal.Key) {}

// APIKey implements network.Exchange.
func (r *produceRequest) APIKey() protocol.APIKey { return protocol.Produce }

// Versions implements network.Exchange. Without transactions, version 12 is left out: it means version 2
// of their protocol. So does 13, but only for transactional batches.
func (r *produceRequest) Versions() (lowest, highest int16) {
	lowest = message.ProduceMinVersion
	if r.sealer.codec == compress.Zstd {
		lowest = minProduceVersionZstd
	}
	switch {
	case r.transactionalID != nil && !r.version2:
		return lowest, maxProduceVersionByName - 1
	case r.transactionalID != nil && r.noIDs:
		return maxProduceVersionByName, maxProduceVersionByName
	case r.transactionalID != nil:
		return maxProduceVersionByName, message.ProduceMaxVersion
	case r.noIDs:
		return lowest, maxProduceVersionByName - 1
	}
	return lowest, message.ProduceMaxVersion
}

// add puts a batch into the request.
func (r *produceRequest) add(b *batch) {
	t := b.queue.topic
	r.asked.Partitions++
	r.asked.Records = max(r.asked.Records, int(b.records))
	at := 0
	for i := range r.topics {
		at += r.topics[i].n
		if r.topics[i].topic == t {
			r.topics[i].n++
			r.batches = append(r.batches, nil)
			copy(r.batches[at+1:], r.batches[at:])
			r.batches[at] = b
			r.size += b.size()
			return
		}
	}
	var id protocol.UUID
	if info := t.info.Load(); info != nil {
		id = info.ID
	}
	r.noIDs = r.noIDs || id.IsZero()
	r.topics = append(r.topics, produceTopic{t, id, 1})
	r.asked.Topics++
	r.batches = append(r.batches, b)
	r.size += b.size()
}

// Encode implements network.Exchange. It seals the batches that no worker has sealed, on the connection's
// writer, which calls it, and lays out the request around them.
func (r *produceRequest) Encode(f *network.Frame, version int16) error {
	if r.sealing.offered {
		if err := r.sealer.crew.seal(r.sealer, r); err != nil {
			return err
		}
	}
	flexible := version >= 9
	dst := f.Buf
	if flexible {
		dst = protocol.AppendCompactNullableString(dst, r.transactionalID)
	} else {
		dst = protocol.AppendNullableString(dst, r.transactionalID)
	}
	dst = protocol.AppendInt16(dst, r.acks)
	dst = protocol.AppendInt32(dst, int32(r.timeout.Milliseconds()))
	dst = appendCount(dst, len(r.topics), flexible)
	rest := r.batches
	for _, t := range r.topics {
		dst = t.appendName(dst, version)
		dst = appendCount(dst, t.n, flexible)
		for _, b := range rest[:t.n] {
			if err := b.seal(r.sealer); err != nil {
				return err
			}
			dst = protocol.AppendInt32(dst, b.queue.index)
			if flexible {
				dst = protocol.AppendUvarint(dst, uint32(b.size()+1))
			} else {
				dst = protocol.AppendInt32(dst, int32(b.size()))
			}
			f.Buf = dst
			for _, c := range b.chunks {
				f.Attach(c)
			}
			dst = appendTags(f.Buf, flexible)
		}
		dst = appendTags(dst, flexible)
		rest = rest[t.n:]
	}
	f.Buf = appendTags(dst, flexible)
	return nil
}

func (t *produceTopic) appendName(dst []byte, version int16) []byte {
	switch {
	case version >= 13:
		return protocol.AppendUUID(dst, t.id)
	case version >= 9:
		return protocol.AppendCompactString(dst, t.topic.name)
	default:
		return protocol.AppendString(dst, t.topic.name)
	}
}

func appendCount(dst []byte, n int, flexible bool) []byte {
	if flexible {
		return protocol.AppendCompactArrayLen(dst, n)
	}
	return protocol.AppendArrayLen(dst, n)
}

func appendTags(dst []byte, flexible bool) []byte {
	if flexible {
		return protocol.AppendEmptyTags(dst)
	}
	return dst
}

// Decode implements network.Exchange.
func (r *produceRequest) Decode(rd *protocol.Reader, version int16) error {
	if len(r.topics) > 0 {
		rd.Expect(r.topics[0].topic.name)
	}
	r.bulky = rd.Remaining() > keptAnswer
	r.response.DecodeWithin(rd, version, r.asked)
	return rd.Err()
}

// answer returns the broker's answer for b, nil if there is none. The first of several counts. To search for each of
// many batches takes long, so answer takes the next one as long as answers are in the order of the batches, for which
// it is called in turn.
func (r *produceRequest) answer(b *batch) *message.PartitionProduceResponse {
	var id protocol.UUID
	for _, t := range r.topics {
		if t.topic == b.queue.topic {
			id = t.id
		}
	}
	if p := r.nextAnswer(b, id); p != nil {
		return p
	}
	r.disordered = true
	for i := range r.response.Responses {
		t := &r.response.Responses[i]
		if !isAbout(t, b.queue.topic, id) {
			continue
		}
		for j := range t.PartitionResponses {
			if p := &t.PartitionResponses[j]; p.Index == b.queue.index {
				return p
			}
		}
	}
	return nil
}

// nextAnswer returns the answer after that of the batch before, if it is b's. There is none for b before it, because
// those were the answers of other batches.
func (r *produceRequest) nextAnswer(b *batch, id protocol.UUID) *message.PartitionProduceResponse {
	for !r.disordered && r.atTopic < len(r.response.Responses) {
		t := &r.response.Responses[r.atTopic]
		if r.atPartition == len(t.PartitionResponses) {
			r.atTopic, r.atPartition = r.atTopic+1, 0
			continue
		}
		p := &t.PartitionResponses[r.atPartition]
		if p.Index != b.queue.index || !isAbout(t, b.queue.topic, id) {
			return nil
		}
		r.atPartition++
		return p
	}
	return nil
}

// isAbout reports whether answers are about a topic, which had that id when the request was made. They have the name or
// the id.
func isAbout(answers *message.TopicProduceResponse, t *topicState, id protocol.UUID) bool {
	return answers.Name == t.name || answers.Name == "" && !id.IsZero() && answers.TopicID == id
}

// keptAnswer is the size of an answer up to which the next one is decoded into the same memory.
const keptAnswer = 64 << 10

// reset makes the request ready for another use.
func (r *produceRequest) reset() {
	if r.bulky {
		r.response = message.ProduceResponse{}
	}
	clear(r.batches)
	clear(r.topics)
	*r = produceRequest{batches: r.batches[:0], topics: r.topics[:0], response: r.response, acks: r.acks, timeout: r.timeout,
		sealer:  r.sealer,
		sealing: sealProgress{done: r.sealing.done}}
}

// countLeaving counts a request that is about to leave, and its batches.
//
// Java: SenderMetrics.updateProduceRequestMetrics.
func (s *sender) countLeaving(r *produceRequest, now time.Time) {
	m, records := s.acc.measures, int32(0)
	k := m.leaving.Begin(now)
	for _, b := range r.batches {
		records += b.records
		k.Add(leavingQueued, milliseconds(now.Sub(b.createdAt)))
		if b.attempts == 1 {
			m.queue.Record(now, now.Sub(b.createdAt), int64(b.records))
		}
		k.Add(leavingLargest, float64(protocol.BatchOverhead+b.largest)) // Java: AbstractRecords.estimateSizeInBytesUpperBound
	}
	k.Add(leavingRecords, float64(records))
	m.leaving.End()
	plain := r.sealer.codec == compress.None
	for _, b := range r.batches {
		t := s.topicMeasures(b.queue.topic)
		k := t.sent.Begin(now)
		k.Add(topicRecords, float64(b.records))
		if plain {
			b.countForm(k, topicBytes, topicRatio)
		}
		t.sent.End()
	}
	if plain {
		k := m.forms.Begin(now)
		for _, b := range r.batches {
			b.countForm(k, formsSize, formsRatio)
		}
		m.forms.End()
	}
}

// countCompressed counts the sizes of the batches of a request that is back: compressed ones are sealed on the way. Java
// compresses while it appends, so that it knows them when the request leaves.
func (s *sender) countCompressed(r *produceRequest, now time.Time) {
	if r.sealer.codec == compress.None {
		return
	}
	forms := s.acc.measures.forms
	for _, b := range r.batches {
		if !b.sealed {
			continue // the connection ended before
		}
		b.countForm(forms.Begin(now), formsSize, formsRatio)
		forms.End()
		t := s.topicMeasures(b.queue.topic)
		b.countForm(t.sent.Begin(now), topicBytes, topicRatio)
		t.sent.End()
	}
}

// countForm counts the size of a batch as it is sent, and how far it was compressed.
func (b *batch) countForm(k *stat.Kinds, size, ratio int) {
	k.Add(size, float64(b.size()))
	k.Add(ratio, float64(b.raw)/float64(max(1, b.plain)))
}

// topicMeasures returns what is counted for the topic.
func (s *sender) topicMeasures(t *topicState) *topicMeasures {
	if t.measures == nil {
		t.measures = s.acc.measures.topic(t.name)
	}
	return t.measures
}
