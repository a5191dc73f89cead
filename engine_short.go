package quill

import (
	"context"

	"github.com/quill-kafka/quill/protocol"
)

// short is the way that nearly all records take: the topic is known, the partition's open batch has
// room to spare, nobody has to wait and nobody to be told. It is topicFor, choose and append in one
// piece, for passing a record on from one to the next takes longer than what they do with it. For the
// same reason the usual case of topic and lockFor stands here, and lane and millis are small enough to
// be inlined: around a call all that is in registers has to be put away.
//
// ok is false when anything is out of the ordinary. Nothing was done then, and the long way has to
// find out what it is.
func (e *engine) short(ctx context.Context, r *bytesRecord, fn Callback, shared bool) (at position, ok bool) {
	if over(ctx) {
		return at, false
	}
	t := e.acc.recent.Load()
	if t == nil || t.name != r.Topic {
		t = e.acc.topic(r.Topic)
	}
	if t == nil || e.cfg.partitioner != nil {
		return at, false
	}
	queues := t.usable.Load()
	if queues == nil {
		return at, false
	}
	var p int32
	var lane *stickyLane
	switch {
	case r.Partition.set:
		p = r.Partition.id
	case r.Key != nil && !e.cfg.ignoreKeys:
		p = KeyPartition(r.Key, len(*queues))
	default:
		lane = t.sticky.lane()
		p = lane.present()
	}
	size := plainOverhead + len(r.Key) + len(r.Value)
	if len(r.Headers) > 0 {
		size = protocol.MaxRecordSize(r.Key, r.Value, r.Headers)
	}
	if p < 0 || int(p) >= len(*queues) || size > e.largest {
		return at, false
	}
	var timestamp int64
	if r.Timestamp.IsZero() {
		timestamp = e.clock.millis()
	} else if timestamp = timestampMillis(r.Timestamp); timestamp < 0 {
		return at, false
	}
	if !t.used.Load() {
		t.used.Store(true)
	}
	q := (*queues)[p]
	if lane == nil {
		q.mu.Lock()
	} else if !q.mu.TryLock() {
		q.lockCrowded()
	}
	o := &q.open // +checklocksforce: the checker does not know TryLock
	if o.free() < size || e.acc.refused.Load() != nil || lane != nil && lane.present() != p || !e.acc.limits.room(o.raw(), size, &t.ratio) {
		q.mu.Unlock()
		return at, false
	}
	o.add(timestamp, r, fn)
	o.sticky = o.sticky || lane != nil
	o.shared = o.shared || shared
	at = o.latest()
	if lane == nil { // the next record may be another partition's, and this one's be met cold when its turn comes
		o.expect()
	}
	q.mu.Unlock()
	return at, true
}

// plainOverhead is what a record without headers takes besides key and value, at most: the 21 bytes of
// protocol.MaxRecordSize, five for each of the two lengths, one for the number of headers.
const plainOverhead = 32
