package quill

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// Producer ids that another producer has too. Clusters that were restored or mirrored give ids out twice, and a
// snapshot of a virtual machine that is started twice makes two producers of one. Brokers then take the batches of both
// for those of one producer. Mostly they refuse batches that do not follow (see endsIdentity). But they take two batches
// with the same numbers for a batch and its duplicate, and acknowledge the second one without writing it.

// foreign reports whether an answer acknowledges another producer's batch, which is in the log under this one's
// numbers. Brokers answer a duplicate with the largest timestamp of the batch in the log as its log append time. Where
// records keep their own timestamps, so that there is no log append time, this shows which batch the answer is about:
// another one if no earlier attempt can have been written (it was sent once only, or was refused), or if the largest
// timestamp differs.
//
// An answer without a log append time shows that records keep their timestamps. If the topic's setting changed since,
// the batches in flight are taken for foreign ones. The first answer under the next id then has a log append time too,
// which corrects that.
func (s *sender) foreign(b *batch, answer *message.PartitionProduceResponse) bool {
	if !s.idem.on || answer.ErrorCode != protocol.None {
		return false
	}
	t := b.queue.topic
	switch at := answer.LogAppendTimeMs; {
	case at < 0:
		t.ownTimes, t.doubtedID = true, -1
		return false
	case !t.ownTimes, b.evidence.maybeWritten && at == b.maxTime:
		return false
	}
	if t.doubtedID >= 0 && t.doubtedID != b.producerID {
		t.ownTimes = false
		return false
	}
	t.doubtedID = b.producerID
	return true
}

// leaveIdentity gives up the producer id that a batch was sent under, because of the broker's answer. Batches that are
// not in flight get the next id.
func (s *sender) leaveIdentity(b *batch, f facts, now time.Time) {
	i := &s.idem
	if i.state != idReady || i.id != b.producerID {
		return
	}
	i.renew(now, s.retry, s.random)
	level := s.identitySpell.FailedForGood(now)
	if f.answer.foreign {
		if level == slog.LevelWarn {
			level = slog.LevelError
		}
		s.logger.Log(context.Background(), level, "another producer uses the same producer id, perhaps a copy of this process from the same snapshot; a new id is taken",
			"topic", b.queue.topic.name, "partition", b.queue.index, "producer_id", b.producerID, "producer_epoch", b.producerEpoch)
		return
	}
	s.logger.Log(context.Background(), level, "the producer id is of no use any more, a new one is taken", "topic", b.queue.topic.name, "partition", b.queue.index,
		"producer_id", b.producerID, "producer_epoch", b.producerEpoch, "err", f.answer.code)
}

// explainIdentity completes the error of a batch that failed with its producer id. It is retriable, because the next id
// may be accepted; a transaction's is not.
func (s *sender) explainIdentity(cause *Error, b *batch, f facts) {
	switch {
	case f.answer.foreign:
		cause.Kind, cause.Class, cause.Cause = nil, ErrRetriable, nil
		cause.Reason = fmt.Sprintf("the broker took the batch for one of another producer, which uses producer id %d too", b.producerID)
	case s.txn != nil && f.answer.code == protocol.InvalidTxnState:
		cause.Reason = s.txn.likelyTimedOut()
	case f.idempotent && s.txn == nil && endsIdentity(f.answer.code):
		cause.Class = ErrRetriable
		cause.Reason = fmt.Sprintf("producer id %d is of no use any more, and the answer to an earlier attempt was lost", b.producerID)
	}
}
