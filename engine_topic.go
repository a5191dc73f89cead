package quill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// Why a Send does not find its topic.
//
// An error that does not pass (no rights, a name that the cluster does not accept) fails a Send as soon as fresh
// metadata have it, or at once while the last answer is not older than the topic's back-off. A topic that does
// not exist may be about to be created, so a Send waits for it, for max.block.ms. Once a Send has waited in vain,
// further Sends fail as with an error that does not pass, until an answer has the topic. The sender goes on asking
// as long as there are Sends, so the first one after the topic was found succeeds.

// topicErrorAtOnce returns the error of a Send that need not wait for the topic at all; nil if it has to. A fault counts
// while it is recent, and with old, for a caller that can't wait, at any age.
func (e *engine) topicErrorAtOnce(t *topicState, old bool) *Error {
	f := t.fault.Load()
	if f == nil || !t.lasts(f) || !old && !time.Now().Before(f.until) {
		return nil
	}
	e.box.want(t) // a later Send profits from it
	return e.faultError(t, f, 0)
}

// partitionFault is the result of a fresh look for a partition that does not exist.
type partitionFault struct {
	partitions int       // of the topic
	until      time.Time // no fresher metadata are requested before that, so the result counts until then
}

// noPartition returns the error of a Send to a partition that fresh metadata do not have. It notes that, so that
// further Sends fail in the same way without a wait until the back-off allows the next request.
func (t *topicState) noPartition(id int32, info *metadata.Topic, again time.Time) *Error {
	t.absent.Store(&partitionFault{len(info.Partitions), again})
	return partitionError(t.name, id, info)
}

// partitionErrorAtOnce returns the error of a Send that need not wait for its partition; nil if it has to, or if the
// partition exists. What another Send has found for a missing partition counts until the next request is allowed.
func (t *topicState) partitionErrorAtOnce(partition PartitionID) *Error {
	info, f := t.info.Load(), t.absent.Load()
	if f == nil || !lacks(info, partition) || len(info.Partitions) != f.partitions || !time.Now().Before(f.until) {
		return nil
	}
	return partitionError(t.name, partition.id, info)
}

// lacks reports whether a topic is known and does not have the partition.
func lacks(info *metadata.Topic, partition PartitionID) bool {
	return info != nil && info.Err == nil && partition.set && !inRange(partition.id, info)
}

func partitionError(topic string, id int32, info *metadata.Topic) *Error {
	return &Error{Op: "send", Kind: ErrInvalidPartition, Topic: topic, Partition: id, Node: -1,
		Reason: "the topic has " + countOf(int32(len(info.Partitions)), "partition")}
}

// faultError returns the error of a Send to a topic with a fault that lasts.
func (e *engine) faultError(t *topicState, f *topicFault, waited time.Duration) *Error {
	if !retriableTopicError(f.err) {
		return topicError(t.name, f.err, waited)
	}
	return newError(Error{Op: "send", Kind: ErrTimeout, Topic: t.name, Elapsed: waited, Cause: f.err, lasting: true,
		Reason: fmt.Sprintf("topic not present in metadata, as before, when a send waited %v (max.block.ms) for it; "+
			"sends work again once it is found", e.cfg.maxBlock)})
}

// topicTimeout returns the error of a Send that has waited as long as it may for the topic or partition.
//
// If max.block.ms is shorter than the back-off, so that no fresh metadata could be requested, the last ones count.
func (e *engine) topicTimeout(t *topicState, partition PartitionID, now news) *Error {
	lastErr := now.lastErr
	failed := newError(Error{Op: "send", Kind: ErrTimeout, Topic: t.name, Elapsed: e.cfg.maxBlock, Cause: lastErr})
	info, f := t.info.Load(), t.fault.Load()
	switch {
	case lacks(info, partition) && time.Now().Before(now.again):
		return t.noPartition(partition.id, info, now.again)
	case lacks(info, partition):
		failed.Partition = partition.id
		failed.Reason = fmt.Sprintf("partition %d does not exist: the topic has %s, as far as is known after %v (max.block.ms)",
			partition.id, countOf(int32(len(info.Partitions)), "partition"), e.cfg.maxBlock)
	case f != nil && !retriableTopicError(f.err):
		return topicError(t.name, f.err, e.cfg.maxBlock)
	case f != nil && lastErr == nil:
		failed.Cause = f.err
		failed.Reason = fmt.Sprintf("topic not present in metadata after %v (max.block.ms)", e.cfg.maxBlock)
		t.outwait()
		failed.lasting = t.lasts(f)
	case lastErr != nil:
		failed.Reason = fmt.Sprintf("no broker could be asked for the topic's metadata within %v (max.block.ms)", e.cfg.maxBlock)
	default:
		failed.Reason = fmt.Sprintf("no metadata of the topic came within %v (max.block.ms)", e.cfg.maxBlock)
	}
	return failed
}

// topicError returns the error of a Send to a topic whose metadata have err.
func topicError(topic string, err error, elapsed time.Duration) *Error {
	e := newError(Error{Op: "send", Topic: topic, Elapsed: elapsed})
	if code, ok := errors.AsType[protocol.ErrorCode](err); ok {
		e.Code = code
	} else {
		e.Cause = err
	}
	return e
}

// closedError returns the error of a call about the cluster that comes too late.
func (e *engine) closedError(op string) *Error {
	own := *e.errorFor(e.closedReason(), "", -1)
	own.Op = op
	return &own
}

// awaitAnswer asks for metadata and waits for an answer to a request that was made after the call.
func (e *engine) awaitAnswer(ctx context.Context, op string) (*metadata.Snapshot, *Error) {
	limit := &blockLimit{max: max(e.cfg.maxBlock, e.cfg.requestTimeout)}
	if deadline, ok := ctx.Deadline(); ok {
		limit.max = time.Until(deadline) + forever
	}
	timer := time.NewTimer(time.Until(limit.until()))
	defer timer.Stop()
	asked := make(chan int64, 1)
	e.box.command(func(s *sender, _ time.Time) { asked <- s.refresh.askNow() })
	old, known := int64(0), false // the number of the last request that does not count
	denials := e.board.look().denial.Number
	for {
		now := e.board.look()
		switch {
		case e.closedBy(true) != nil:
			return nil, e.closedError(op)
		case known && now.answered > old:
			return now.snapshot, nil
		case now.denial.Number > denials || now.denial.Number > 0 && time.Now().Before(now.denial.Until):
			return nil, newError(Error{Op: op, Kind: denialKind(now.denial.Err), Elapsed: limit.waited(),
				Cause: now.denial.Err, lasting: true})
		case errors.Is(now.lastErr, network.ErrController):
			return nil, newError(Error{Op: op, Kind: ErrUnsupportedVersion, Class: ErrRetriable,
				Elapsed: limit.waited(), Reason: "no bootstrap server is a broker", Cause: now.lastErr})
		}
		select {
		case old = <-asked:
			known = true
		case <-now.changed:
		case <-e.gone:
			return nil, e.closedError(op)
		case <-ctx.Done():
			if limit.over(ctx, timer, e.lastLook) {
				return nil, e.noAnswer(Error{Op: op, Kind: endOf(ctx), Reason: "no broker has answered"}, limit)
			}
		case <-timer.C:
			if limit.over(ctx, timer, e.lastLook) {
				return nil, e.noAnswer(Error{Op: op, Kind: ErrTimeout,
					Reason: fmt.Sprintf("no broker has answered within %v", limit.max)}, limit)
			}
		}
	}
}

// noAnswer returns the error of a call whose wait for an answer has ended, with the cause.
func (e *engine) noAnswer(err Error, limit *blockLimit) *Error {
	err.Elapsed, err.Cause = limit.waited(), e.board.look().lastErr
	return e.noMetadata(newError(err), limit)
}
