package quill

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// failBatch gives up a batch that was refused for good, or can't be tried again.
func (s *sender) failBatch(b *batch, f facts, v verdict, answer *message.PartitionProduceResponse, now time.Time) {
	err := s.refusal(b, f, answer, now)
	if s.aborting != nil && f.worthRetry() {
		err = s.describe(b, s.aborting, now) // only for that it is not sent again
	}
	out := failure(err)
	if answer != nil && len(answer.RecordErrors) > 0 {
		out.recordErr = recordErrors(err, answer.RecordErrors, b.records)
	}
	if v.fatal {
		fatal := *err
		fatal.Class = ErrFatal
		s.fatal(&fatal)
		out.err = &fatal
	}
	s.conclude(b, out)
}

// refusal is why a batch is given up.
func (s *sender) refusal(b *batch, f facts, answer *message.PartitionProduceResponse, now time.Time) *Error {
	cause := &Error{Op: "send", Code: f.answer.code}
	switch {
	case f.answer.code == protocol.None: // lost, and out of retries or time
		cause.Kind, cause.Cause, cause.Reason = ErrDeliveryTimeout, b.lastError, s.deliveryLimit()+" have passed, so it is not sent again"
		if now.Before(b.createdAt.Add(s.acc.deliveryTimeout)) {
			cause.Kind, cause.Reason = lostKind(b.lastError), "no retries are left"
		}
	case errors.Is(b.lastError, network.ErrUnsupportedVersion):
		cause.Cause = b.lastError // the versions
	case f.answer.code == protocol.MessageTooLarge || f.answer.code == protocol.RecordListTooLarge:
		cause.Reason = fmt.Sprintf("%d bytes in a batch of %d records", b.size(), b.records)
		if b.records == 1 {
			cause.Reason = fmt.Sprintf("the record takes %d bytes in a batch of its own", b.size())
		}
	}
	if f.idempotent && f.answer.code == protocol.OutOfOrderSequenceNumber && b.evidence.maybeWritten {
		cause.Reason = "the answer to an earlier attempt was lost, and whether that one was written can no longer be found out"
	}
	s.explainIdentity(cause, b, f)
	if answer != nil && answer.ErrorMessage != nil {
		cause.Detail = detail(*answer.ErrorMessage)
	}
	return s.describe(b, cause, now)
}

// blamesSome reports whether the broker names some of the records, but not all.
func blamesSome(named []message.BatchIndexAndErrorMessage, records int32) bool {
	if len(named) == 0 {
		return false
	}
	n := len(blamed(&Error{}, named, records))
	return n > 0 && n < int(records)
}

// recordErrors tells apart the records that the broker names from those that were only in the same
// batch, which has so many records (KIP-467). Names of others don't count, however many.
func recordErrors(err *Error, named []message.BatchIndexAndErrorMessage, records int32) func(i int32) error {
	guilty := blamed(err, named, records)
	rest := *err
	rest.Kind = ErrBatchRejected
	return func(i int32) error {
		if e := guilty[i]; e != nil {
			return e
		}
		return &rest
	}
}

// blamed is the error of each record that the broker names.
func blamed(err *Error, named []message.BatchIndexAndErrorMessage, records int32) map[int32]*Error {
	guilty := make(map[int32]*Error)
	for _, n := range named {
		if _, twice := guilty[n.BatchIndex]; twice || n.BatchIndex < 0 || n.BatchIndex >= records {
			continue
		}
		own := *err
		own.Kind = ErrInvalidRecord
		if n.BatchIndexErrorMessage != nil {
			own.Detail = detail(*n.BatchIndexErrorMessage)
		}
		guilty[n.BatchIndex] = &own
	}
	return guilty
}

// detail is what is kept of a broker's text: users may hold on to many errors.
func detail(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	return strings.Clone(text[:maxDetail])
}

const maxDetail = 4 << 10

// describe completes an error with what is known of the batch.
func (s *sender) describe(b *batch, base *Error, now time.Time) *Error {
	e := *base
	e.Op, e.Topic, e.Partition = "send", b.queue.topic.name, b.queue.index
	e.Node, e.Attempts, e.Elapsed = b.nodeAtSend, b.attempts, now.Sub(b.createdAt)
	e.Fate = b.evidence.outcome(b.onWire())
	if s.txn != nil && e.class() != ErrFatal {
		e.Class = ErrAbortable // not retriable, whatever the reason: the record is part of the transaction (KAFKA-19176)
	}
	return &e
}

// expired is the failure of a batch that is delivery.timeout.ms old.
func (s *sender) expired(b *batch, now time.Time) *Error {
	e := s.describe(b, &Error{Kind: ErrDeliveryTimeout, Cause: s.whyNotYet(b, now)}, now)
	e.Reason = countOf(b.records, "record") + " expired after " + s.deliveryLimit()
	switch {
	case b.onWire():
		e.Reason += " while waiting for an answer"
	case b.attempts > 0:
		e.Reason += " while waiting to be sent again"
	default:
		e.Reason += " before being sent"
		if _, _, ok := s.leader(b.queue); !ok && (e.Cause == nil || s.whyNot(b.queue) == nil) {
			e.Reason += ": the partition has no leader"
		}
	}
	return e
}

// deliveryLimit is how long a batch has, as errors name it.
func (s *sender) deliveryLimit() string {
	return fmt.Sprintf("%v (delivery.timeout.ms)", s.acc.deliveryTimeout)
}

// whyNot is the reason why batches of a partition can't leave, if one is known. While no node is connected that
// is why not: the leader's own reason went when the cluster was left for the bootstrap servers.
func (s *sender) whyNot(q *partitionQueue) error {
	if id, _, ok := s.leader(q); ok && s.client.LastError(id) != nil {
		return s.client.LastError(id)
	}
	if !s.anyConnected() {
		return s.client.Trouble()
	}
	return nil
}
