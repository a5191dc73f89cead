package quill

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// offsetsCall is one SendOffsetsToTransaction.
type offsetsCall struct {
	operation
	group GroupMetadata
	left  map[TopicPartition]OffsetAndMetadata // the offsets not committed yet; a copy, not the caller's map
	added bool                                 // the group is part of the transaction (version 1)
}

// check returns a text that says why no coordinator would accept the call, "" if one may. Kafka:
// ConsumerGroupMetadata, OffsetAndMetadata.
func (o *offsetsCall) check() string {
	switch {
	case o.group.GroupID == "":
		return "the group id is empty"
	case o.group.GenerationID > 0 && o.group.MemberID == "":
		return "there is a generation but no member id"
	}
	for tp, offset := range o.left {
		if tp.Partition < 0 || offset.Offset < 0 {
			return fmt.Sprintf("offset %d of %v: neither offset nor partition is ever negative", offset.Offset, tp)
		}
		if err := checkTopicName(tp.Topic); err != nil {
			return "topic " + foreign.Quote(tp.Topic) + ": " + err.Reason
		}
	}
	return ""
}

// offsetTopic is a topic as a TxnOffsetCommit named it.
type offsetTopic struct {
	name string
	id   protocol.UUID
}

// sendOffsets begins a SendOffsetsToTransaction.
func (t *transaction) sendOffsets(o *offsetsCall) *Error {
	pending, err := t.resume(o.call)
	if pending == nil && err == nil {
		err = t.needs(o.call, txnInTransaction)
	}
	if err != nil {
		return err
	}
	t.offsets = append(t.offsets, o)
	t.woken = true
	return nil
}

// failOffsets ends all calls about offsets with err. A request for one of them that is out goes on, because the abort
// needs to know whether its group joined the transaction (see wants).
func (t *transaction) failOffsets(err *Error) {
	for _, o := range t.offsets {
		o.end(err)
	}
	t.offsets = nil
}

// endOffsets ends one call, with err if it failed.
func (t *transaction) endOffsets(o *offsetsCall, err *Error) {
	t.offsets = slices.DeleteFunc(t.offsets, func(other *offsetsCall) bool { return other == o })
	o.end(err)
}

// offsetCommit returns a TxnOffsetCommit of the offsets that are left. It names topics by their ids if the
// node takes that and all ids are known (KIP-1319), else by name.
func (t *transaction) offsetCommit(r *txnRequest, node int32) *network.Message {
	o := r.offsets
	req := &message.TxnOffsetCommitRequest{}
	req.Reset()
	req.TransactionalID, req.GroupID, req.ProducerID, req.ProducerEpoch = t.id, o.group.GroupID, t.s.idem.id, t.s.idem.epoch
	if o.group.member() {
		req.MemberID, req.GenerationIDOrMemberEpoch = o.group.MemberID, o.group.GenerationID
		if o.group.GroupInstanceID != "" {
			req.GroupInstanceID = &o.group.GroupInstanceID
		}
	}
	highest := int16(offsetsVersion1)
	if t.version2 {
		highest = message.TxnOffsetCommitMaxVersion
	}
	if _, most, ok := t.s.client.Versions(node, protocol.TxnOffsetCommit); ok {
		highest = min(highest, most)
	}
	r.topics = r.topics[:0]
	for _, tp := range slices.SortedFunc(maps.Keys(o.left), compareTopicPartitions) {
		if n := len(r.topics); n == 0 || r.topics[n-1].name != tp.Topic {
			topic := offsetTopic{name: tp.Topic}
			if known, ok := t.s.snapshot.Topic(tp.Topic); ok && known.Err == nil {
				topic.id = known.ID
			}
			if topic.id.IsZero() {
				highest = min(highest, offsetsByName)
			}
			r.topics = append(r.topics, topic)
			req.Topics = append(req.Topics, message.TxnOffsetCommitRequestTopic{Name: topic.name, TopicID: topic.id})
		}
		last := &req.Topics[len(req.Topics)-1]
		last.Partitions = append(last.Partitions, o.left[tp].request(tp.Partition))
	}
	for i := range req.Topics {
		if highest > offsetsByName {
			req.Topics[i].Name = ""
		} else {
			req.Topics[i].TopicID = protocol.UUID{}
		}
	}
	return &network.Message{Request: req, Response: &message.TxnOffsetCommitResponse{}, Highest: highest}
}

const (
	offsetsVersion1 = 4 // the highest of version 1 of the protocol: 5 adds the group to the transaction
	offsetsByName   = 5 // the highest that names topics
)

func compareTopicPartitions(a, b TopicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// request returns the offset in the form of TxnOffsetCommit.
func (o OffsetAndMetadata) request(partition int32) message.TxnOffsetCommitRequestPartition {
	p := message.TxnOffsetCommitRequestPartition{PartitionIndex: partition, CommittedOffset: o.Offset,
		CommittedLeaderEpoch: -1, CommittedMetadata: &o.Metadata}
	if o.LeaderEpoch > 0 {
		p.CommittedLeaderEpoch = o.LeaderEpoch
	}
	return p
}

// offsetsCommitted handles the answer to TxnOffsetCommit. Partitions that worked are not sent again; of the
// verdicts on the others the gravest counts.
func (t *transaction) offsetsCommitted(r *txnRequest, resp *message.TxnOffsetCommitResponse, now time.Time) {
	worst, code, where := txnDone, protocol.None, TopicPartition{}
	for i := range resp.Topics {
		name := r.nameOf(&resp.Topics[i])
		for _, p := range resp.Topics[i].Partitions {
			tp := TopicPartition{Topic: name, Partition: p.PartitionIndex}
			if _, asked := r.offsets.left[tp]; !asked {
				continue
			}
			v := decideOffset(p.ErrorCode)
			if v == txnDone {
				delete(r.offsets.left, tp)
			} else if v > worst {
				worst, code, where = v, p.ErrorCode, tp
			}
			if p.ErrorCode.RefreshMetadata() {
				t.s.refresh.wantAll() // its id may be old
			}
		}
	}
	if worst == txnDone && len(r.offsets.left) > 0 {
		worst, code = txnRetry, protocol.UnknownServerError // not in the answer
	}
	if worst == txnAbort {
		t.request, t.finding = nil, nil
		t.fail(r, &Error{Op: r.kind.String(), Topic: where.Topic, Partition: where.Partition, Code: code, Class: ErrAbortable, Node: -1,
			Reason: r.onBehalfOf()})
		return
	}
	if t.conclude(r, worst, code, now) {
		t.endOffsets(r.offsets, nil)
	}
}

// nameOf returns the name of a topic in the answer, which may have only its id; "" if the id is unknown.
func (r *txnRequest) nameOf(t *message.TxnOffsetCommitResponseTopic) string {
	if t.Name != "" || t.TopicID.IsZero() {
		return t.Name
	}
	for _, known := range r.topics {
		if known.id == t.TopicID {
			return known.name
		}
	}
	return ""
}
