package quill

import (
	"context"

	"github.com/quill-kafka/quill/protocol"
)

// sendFast is the fast path, which nearly all records take: the topic is known, the partition's open batch
// has room to spare, and the sender need not be notified. It repeats topicFor, choose and append in one
// function, because passing a record between them costs more than their work. For the same reason it
// contains the usual case of topic and lockFor, and lane and millis are small enough to be inlined: around
// a call, all registers have to be saved.
//
// If any of that does not hold, sendFast does nothing and returns the zero position, and the caller has to take the
// slow path. sendFast never waits, except for the queue's lock.
func (e *engine) sendFast(ctx context.Context, r *bytesRecord, fn Callback, future bool) (at position) {
	if over(ctx) {
		return position{}
	}
	t := e.acc.recent.Load()
	if t == nil || !sameString(t.name, r.Topic) && t.name != r.Topic {
		t = e.acc.topic(r.Topic)
	}
	if t == nil || e.cfg.partitioner != nil {
		return position{}
	}
	queues := t.usable.Load()
	if queues == nil {
		return position{}
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
		return position{}
	}
	var timestamp int64
	if r.Timestamp.IsZero() {
		timestamp = e.clock.millis()
	} else if timestamp = timestampMillis(r.Timestamp); timestamp < 0 {
		return position{}
	}
	if !t.used.Load() {
		t.used.Store(true)
	}
	q := (*queues)[p]
	if lane == nil {
		q.mu.Lock()
	} else if !q.mu.TryLock() {
		q.lockContended()
	}
	o := &q.open // +checklocksforce: the checker does not know TryLock
	if o.free() < size || e.acc.closedBy.Load() != nil || lane != nil && lane.present() != p ||
		!e.acc.limits.room(o.raw(), size, &t.ratio) {
		q.mu.Unlock()
		return position{}
	}
	if int32(size) > o.largest { // for the metric record-size
		o.largest = int32(size)
	}
	o.add(timestamp, r, fn)
	if future {
		o.hasFuture = true
	}
	at = o.latest()
	if lane != nil {
		o.sticky = true
	} else { // the next record may go to another partition, and this queue may leave the cache until its next one
		o.prefetchNext()
	}
	q.mu.Unlock()
	return at
}

// plainOverhead is an upper bound of the bytes that a record without headers takes besides key and value: the 21
// bytes of protocol.MaxRecordSize, five for each of the two lengths, one for the number of headers.
const plainOverhead = 32
