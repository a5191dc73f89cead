package quill

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// closedBy returns the error that sends fail with at present, nil if they are accepted. A call that only reads
// metadata (lookOnly) is accepted outside of a transaction, too.
func (e *engine) closedBy(lookOnly bool) *Error {
	if lookOnly && !e.closed.Load() && e.fatal.Load() == nil {
		return nil
	}
	return e.acc.closedBy.Load()
}

// errorFor returns a copy of err, the error that sends fail with, for one record of that partition (-1: of the
// topic). That record was not sent, even if err is about one that may have been written.
func (e *engine) errorFor(err *Error, topic string, partition int32) *Error {
	own := *err
	if own.Op != "send" { // another operation made the producer fail
		own.broken = "producer has failed and must be closed: could not " + own.Op
	}
	own.Op, own.Topic, own.Partition, own.Node = "send", topic, partition, -1
	own.Attempts, own.Elapsed, own.Outcome = 0, 0, NotSent
	return &own
}

// closedReason returns the error that sends to a closed view fail with: the producer's fatal error, or that it is closed.
func (e *engine) closedReason() *Error {
	if err := e.fatal.Load(); err != nil {
		return err
	}
	return errClosedSend
}

// newTopic makes the state of a topic.
func (e *engine) newTopic(name string) *topicState {
	sticky := newStickyPartitioner(e.cfg.batchSize, e.cfg.adaptive, e.cfg.rackAware, e.cfg.clientRack, e.random)
	return &topicState{name: name, sticky: sticky.setLanes(e.cfg.stickyLanes())}
}

// stickyLanes returns how many sticky partitions a topic may have at a time: one for each processor, as
// long as their open batches are a small part of the buffer.
func (s *settings) stickyLanes() int {
	affordable := s.bufferMemory / laneShare / int64(max(1, s.batchSize))
	return int(min(affordable, int64(runtime.GOMAXPROCS(0)), maxLanes))
}

const (
	laneShare = 16 // the open batches of all lanes take at most a sixteenth of the buffer
	maxLanes  = 64
)

// topicFor returns a topic's state with usable metadata, waiting for them if they are not known yet.
// If the record asks for a partition that is not among the known ones, it waits for fresh metadata
// before it fails.
func (e *engine) topicFor(ctx context.Context, r *outgoing) (*topicState, *metadata.Topic, *Error) {
	if t := e.acc.topic(r.record.Topic); t != nil {
		if info := t.info.Load(); info != nil && info.Err == nil && (!r.record.Partition.set || inRange(r.record.Partition.id, info)) &&
			e.closedBy(r.lookOnly) == nil {
			if !t.used.Load() {
				t.used.Store(true)
			}
			return t, info, nil
		}
	}
	return e.findTopic(ctx, r)
}

// findTopic does the work of topicFor for a topic or partition that is not known yet.
func (e *engine) findTopic(ctx context.Context, r *outgoing) (*topicState, *metadata.Topic, *Error) {
	if err := e.closedBy(r.lookOnly); err != nil {
		return nil, nil, e.errorFor(err, r.record.Topic, r.partitionOr(-1))
	}
	if err := checkTopicName(r.record.Topic); err != nil {
		return nil, nil, err
	}
	if r.record.Partition.set && r.record.Partition.id < 0 {
		return nil, nil, &Error{Op: "send", Kind: ErrInvalidPartition, Topic: r.record.Topic, Partition: r.record.Partition.id, Node: -1,
			Reason: "a partition is never negative"}
	}
	t := e.acc.ensureTopic(r.record.Topic, e.newTopic)
	if err := t.partitionErrorAtOnce(r.record.Partition); err != nil {
		return nil, nil, err
	}
	if !r.mayWait {
		if err := e.topicErrorAtOnce(t, true); err != nil {
			return nil, nil, err
		}
		e.box.want(t)
		return nil, nil, newError(Error{Op: "send", Kind: ErrWouldBlock, Topic: r.record.Topic,
			Reason: "the topic's metadata have not arrived yet"})
	}
	return e.awaitTopic(ctx, r, t, e.waitLimit(r))
}

// waitLimit returns the limit on all waits of the record's Send.
func (e *engine) waitLimit(r *outgoing) *blockLimit {
	r.limit.max = e.cfg.maxBlock
	return &r.limit
}

// waitingForMetadata is what a Send to a topic that is not known yet does.
const waitingForMetadata = "waiting for the topic's metadata"

func inRange(p int32, info *metadata.Topic) bool { return p >= 0 && int(p) < len(info.Partitions) }

// awaitTopic waits until the topic of r is known (and a partition asked for, after a fresh look).
func (e *engine) awaitTopic(ctx context.Context, r *outgoing, t *topicState, limit *blockLimit) (*topicState, *metadata.Topic, *Error) {
	partition := r.record.Partition
	if err := e.topicErrorAtOnce(t, e.inside()); err != nil {
		return nil, nil, err
	}
	if e.inside() {
		return nil, nil, newError(Error{Op: "send", Kind: ErrInCallback, Topic: t.name,
			Reason: "the topic's metadata have not arrived yet"})
	}
	defer e.acc.measures.took(timedMetadata, time.Now())
	timer := time.NewTimer(time.Until(limit.until()))
	defer timer.Stop()
	seen := t.asks.Load() // the answer to a later request is fresh
	denials := e.board.look().denial.Number
	for {
		now := e.board.look()
		fresh := t.looks.Load() > seen
		if err := e.closedBy(r.lookOnly); err != nil {
			return nil, nil, e.errorFor(err, t.name, partition.or(-1))
		}
		info, fault := t.info.Load(), t.fault.Load()
		switch {
		case fault != nil && fresh && t.lasts(fault):
			return nil, nil, e.faultError(t, fault, limit.waited())
		case info != nil && info.Err == nil && (!partition.set || inRange(partition.id, info)):
			return t, info, nil
		case now.denial.Number > denials || now.denial.Number > 0 && time.Now().Before(now.denial.Until):
			e.box.want(t) // a later Send succeeds if one lets it in by then
			return nil, nil, newError(Error{Op: "send", Kind: denialKind(now.denial.Err), Topic: t.name, Elapsed: limit.waited(),
				Cause: now.denial.Err, lasting: true})
		case errors.Is(now.lastErr, network.ErrController):
			e.box.want(t) // a later Send succeeds if there is a broker by then
			return nil, nil, newError(Error{Op: "send", Kind: ErrUnsupportedVersion, Class: ErrRetriable, Topic: t.name,
				Elapsed: limit.waited(), Reason: "no bootstrap server is a broker", Cause: now.lastErr})
		case info != nil && info.Err == nil && fresh:
			return nil, nil, t.noPartition(partition.id, info, now.again)
		}
		if current := e.acc.ensureTopic(t.name, e.newTopic); current != t { // t was forgotten
			t, seen = current, current.asks.Load()
		}
		e.box.want(t)
		if limit.max <= 0 {
			return nil, nil, e.topicTimeout(t, partition, now)
		}
		select {
		case <-now.changed:
		case <-e.gone:
			return nil, nil, e.errorFor(e.acc.closedByOr(errClosedSend), t.name, partition.or(-1))
		case <-ctx.Done():
			if !limit.over(ctx, timer, e.lastLook) {
				continue
			}
			return nil, nil, e.noMetadata(newError(Error{Op: "send", Kind: endOf(ctx), Topic: t.name,
				Elapsed: limit.waited(), Reason: waitingForMetadata, Cause: t.faultOr(e.board.look().lastErr)}), limit)
		case <-timer.C:
			if !limit.over(ctx, timer, e.lastLook) {
				continue
			}
			return nil, nil, e.noMetadata(e.topicTimeout(t, partition, e.board.look()), limit)
		}
	}
}

// denialKind returns the sentinel of an error of authentication or TLS.
func denialKind(err error) error {
	if errors.Is(err, network.ErrTLS) {
		return network.ErrTLS
	}
	return ErrAuthentication
}

// outgoing is the state of one record's Send, and where the record was appended.
type outgoing struct {
	appendInput
	mayWait  bool
	lookOnly bool // there is no record: the caller wants the topic's metadata
	// acknowledged: the interceptors were informed that the Send failed
	acknowledged bool
	limit        blockLimit
	chosen       int32 // record.Partition or the partitioner's choice, -1 if that is not known yet
	at           position
	contexts     []context.Context // those that its interceptors returned
	typed        [2]any            // key and value before they were serialized, if the partitioner wants them
}

// metadata returns the metadata of a record that was not appended.
func (r *outgoing) metadata() RecordMetadata {
	return RecordMetadata{Topic: r.record.Topic, Partition: r.chosen, Offset: -1,
		KeySize: partSize(r.record.Key), ValueSize: partSize(r.record.Value)}
}

// send chooses the record's partition and appends the record to its batch. It waits for memory if r.mayWait is set.
func (e *engine) send(ctx context.Context, r *outgoing, t *topicState, info *metadata.Topic) *Error {
	r.maxSize = protocol.MaxRecordSize(r.record.Key, r.record.Value, r.record.Headers)
	if size := r.maxSize + protocol.BatchOverhead; size > e.cfg.maxRequestSize || int64(size) > e.cfg.bufferMemory {
		if p, _, err := e.choose(r, t, info); err == nil {
			r.chosen = p // for the error
		}
		return e.tooLarge(r, size)
	}
	var limit *blockLimit
	if r.mayWait {
		limit = e.waitLimit(r)
	}
	previous := int32(-1)
	for {
		p, lane, err := e.choose(r, t, info)
		if err == nil && e.cfg.partitioner != nil && !r.record.Partition.set {
			p, err = e.onNewBatch(r, t, info, p, &previous)
		}
		if err != nil {
			return err
		}
		r.chosen = p
		at, failed := e.acc.append(ctx, t.queue(p), &r.appendInput, lane, limit)
		if failed == nil {
			r.at = at
			return nil
		}
		if failed == errForgotten {
			if t, info, err = e.topicFor(ctx, r); err != nil {
				return err
			}
		} else if failed != errMoved {
			return e.noMemory(e.sendError(failed, t.name, p), t.queue(p), limit)
		}
	}
}

// sendError returns err with the topic and partition of the record that it concerns.
func (e *engine) sendError(err error, topic string, partition int32) *Error {
	if err == ErrWouldBlock {
		return &Error{Op: "send", Kind: ErrWouldBlock, Topic: topic, Partition: partition, Node: -1, Reason: "buffer memory is used up"}
	}
	if err, ok := errors.AsType[*Error](err); ok {
		if fatal := e.fatal.Load(); fatal != nil && (err == fatal || err.Kind == ErrClosed) {
			return e.errorFor(fatal, topic, partition)
		}
		own := *err
		own.Topic, own.Partition, own.Node = topic, partition, -1
		return &own
	}
	return &Error{Op: "send", Topic: topic, Partition: partition, Node: -1, Cause: err}
}

func (r *outgoing) partitionOr(other int32) int32 { return r.record.Partition.or(other) }

// tooLarge returns the error of a record that does not fit in a request or in the buffer.
func (e *engine) tooLarge(r *outgoing, size int) *Error {
	reason := fmt.Sprintf("the record takes up to %d bytes when serialized, more than buffer.memory (%d)", size, e.cfg.bufferMemory)
	if size > e.cfg.maxRequestSize {
		reason = fmt.Sprintf("the record takes up to %d bytes when serialized, more than max.request.size (%d)", size, e.cfg.maxRequestSize)
	}
	return &Error{Op: "send", Kind: ErrRecordTooLarge, Topic: r.record.Topic, Partition: r.chosen, Node: -1, Reason: reason}
}

// choose finds the partition: the record's own, the custom partitioner's, the key's, or that of a
// lane of the sticky partitioner.
func (e *engine) choose(r *outgoing, t *topicState, info *metadata.Topic) (p int32, lane *stickyLane, err *Error) {
	switch {
	case r.record.Partition.set:
		return r.record.Partition.id, nil, nil
	case e.cfg.partitioner != nil:
		p, err = e.custom(r, t, info)
		return p, nil, err
	case r.record.Key != nil && !e.cfg.ignoreKeys:
		return KeyPartition(r.record.Key, len(info.Partitions)), nil, nil
	default:
		lane = t.sticky.lane()
		return t.sticky.peek(lane, info), lane, nil
	}
}

// custom asks the user's partitioner.
func (e *engine) custom(r *outgoing, t *topicState, info *metadata.Topic) (p int32, err *Error) {
	in := PartitionInput{Topic: info, Cluster: e.board.look().snapshot, Key: r.record.Key, Value: r.record.Value, Headers: r.record.Headers}
	p, failed := choosePartition(e.cfg.partitioner, in, r.typed)
	if failed != nil {
		return -1, e.sendError(failed, t.name, -1)
	}
	return p, nil
}

// onNewBatch informs a BatchPartitioner that the record would open a new batch, once per record, and
// calls it again, as it may have moved on to another partition.
func (e *engine) onNewBatch(r *outgoing, t *topicState, info *metadata.Topic, p int32, previous *int32) (int32, *Error) {
	observer, ok := e.cfg.partitioner.(BatchPartitioner)
	if !ok || *previous >= 0 || e.acc.hasRoom(t.queue(p), &r.appendInput) {
		return p, nil
	}
	*previous = p
	if err := guard(func() error { observer.OnNewBatch(info, p); return nil }); err != nil {
		return -1, newError(Error{Op: "choose a partition", Kind: ErrPartitioner, Topic: t.name, Cause: err})
	}
	return e.custom(r, t, info)
}
