package null

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The versions of Produce that have record batches (magic 2) and that the cluster parses.
const (
	minProduce      = 3
	flexibleProduce = 9
	topicIDProduce  = 13
)

// produce reads a Produce request and counts it. The answer is nil for acks=0 and after an error.
func (k *conn) produce(version int16, size int) kmsg.Response {
	in := k.in
	if version < minProduce || version > topicIDProduce {
		in.fail(errBadRequest)
		return nil
	}
	flexible := version >= flexibleProduce
	if flexible {
		in.tags()
	}
	in.stringBytes(flexible) // transactional id
	acks := in.int16()
	in.int32() // time-out
	r := k.produced
	r.Version = version
	topics := in.length(flexible, 4)
	r.Topics = r.Topics[:0]
	share := int64(size + 4)
	for range topics {
		if in.err != nil {
			return nil
		}
		rt, t := k.produceTopic(r, version)
		for range in.length(flexible, 4) {
			if in.err != nil {
				return nil
			}
			rt.Partitions = append(rt.Partitions, k.producePartition(t, version))
		}
		if flexible {
			in.tags()
		}
		if t != nil && in.err == nil {
			t.requests.Add(1)
			t.bytes.Add(share)
			share = 0 // a request for several topics counts its bytes for the first
		}
	}
	if flexible {
		in.tags()
	}
	if acks == 0 || in.err != nil {
		return nil
	}
	return r
}

// produceTopic reads which topic comes next and makes room for its answer.
func (k *conn) produceTopic(r *kmsg.ProduceResponse, version int16) (*kmsg.ProduceResponseTopic, *topic) {
	var partitions []kmsg.ProduceResponseTopicPartition
	if n := len(r.Topics); n < cap(r.Topics) {
		partitions = r.Topics[:n+1][n].Partitions[:0]
	}
	rt := kmsg.NewProduceResponseTopic()
	rt.Partitions = partitions
	var t *topic
	if version >= topicIDProduce {
		copy(rt.TopicID[:], k.in.take(len(rt.TopicID)))
		t = k.c.byID[rt.TopicID]
	} else {
		name := k.in.stringBytes(version >= flexibleProduce)
		if t = k.c.byName[string(name)]; t != nil {
			rt.Topic = t.name
		} else {
			rt.Topic = string(name)
		}
	}
	r.Topics = append(r.Topics, rt)
	return &r.Topics[len(r.Topics)-1], t
}

func (k *conn) producePartition(t *topic, version int16) kmsg.ProduceResponseTopicPartition {
	in, flexible := k.in, version >= flexibleProduce
	a := kmsg.NewProduceResponseTopicPartition()
	a.Partition = in.int32()
	n := max(0, in.length(flexible, 4))
	switch {
	case t == nil && version >= topicIDProduce:
		a.ErrorCode = unknownTopicID
	case t == nil, a.Partition < 0, int(a.Partition) >= len(t.partitions):
		a.ErrorCode = unknownTopicOrPartition
	case k.c.leader(a.Partition) != k.node.id:
		a.ErrorCode = notLeaderOrFollower
	}
	if a.ErrorCode != 0 {
		k.c.badRequests.Add(1)
		in.drop(n)
	} else {
		a.LogStartOffset = 0
		a.BaseOffset = k.batches(&t.partitions[a.Partition], n)
	}
	if flexible {
		in.tags()
	}
	return a
}

// batches reads the n bytes of records of one partition, usually one batch, and returns the offset of the first.
func (k *conn) batches(p *partition, n int) int64 {
	base := int64(-1)
	for n > 0 && k.in.err == nil {
		h, size, payload := k.readBatch(n)
		if k.in.err != nil {
			return base
		}
		offset := p.count(&h, size)
		if payload != nil {
			k.verifier.check(p, &h, k.batch[:], payload)
		}
		if base < 0 {
			base = offset
		}
		n -= size
	}
	return base
}

// readBatch reads a batch's header and, if it is to be verified, its payload: nil means not, and it
// is good until the next read.
func (k *conn) readBatch(limit int) (h batchHeader, size int, payload []byte) {
	if limit < batchHeaderSize {
		k.in.fail(errBadRequest)
		return h, 0, nil
	}
	copy(k.batch[:], k.in.take(batchHeaderSize))
	h = parseBatchHeader(k.batch[:])
	size = h.size()
	if h.magic != 2 || size < batchHeaderSize || size > limit {
		k.in.fail(errBadRequest)
		return h, 0, nil
	}
	if k.c.verify.Load() {
		return h, size, k.in.take(size - batchHeaderSize)
	}
	k.in.drop(size - batchHeaderSize)
	return h, size, nil
}
