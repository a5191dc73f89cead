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

// failBatch gives up a batch that was refused, or that can't be sent again.
func (s *sender) failBatch(b *batch, f facts, v verdict, answer *message.PartitionProduceResponse, now time.Time) {
	err := s.batchError(b, f, answer, now)
	if s.aborting != nil && f.worthRetry() {
		err = s.describe(b, s.aborting, now) // it would be sent again if the producer did not end
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
	s.conclude(b, out, now)
}

// batchError returns the error of a batch that is given up.
func (s *sender) batchError(b *batch, f facts, answer *message.PartitionProduceResponse, now time.Time) *Error {
	cause := &Error{Op: "send", Code: f.answer.code}
	switch {
	case f.answer.code == protocol.None: // lost, and out of retries or time
		cause.Kind, cause.Cause, cause.Reason = ErrDeliveryTimeout, b.lastError, s.deliveryLimit()+" have passed, so it is not sent again"
		if now.Before(b.createdAt.Add(s.acc.deliveryTimeout)) {
			cause.Kind, cause.Reason = lostKind(b.lastError), "no retries are left"
		}
	case errors.Is(b.lastError, network.ErrUnsupportedVersion):
		cause.Cause = b.lastError // it names the versions
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

// recordErrors returns a function with the error of each record: its own if the broker names it, else
// ErrBatchRejected, because it was only in the same batch (KIP-467). Indexes outside of the batch, which has
// that many records, are ignored.
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

// blamed returns the error of each record that the broker names, by index.
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

// detail returns the part of a broker's text that an error keeps: applications may keep many errors.
func detail(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	return strings.Clone(text[:maxDetail])
}

const maxDetail = 4 << 10

// describe returns base with topic, partition, node, attempts, age and Outcome of the batch.
func (s *sender) describe(b *batch, base *Error, now time.Time) *Error {
	e := *base
	e.Op, e.Topic, e.Partition = "send", b.queue.topic.name, b.queue.index
	e.Node, e.Attempts, e.Elapsed = b.nodeAtSend, b.attempts, now.Sub(b.createdAt)
	e.Outcome = b.evidence.outcome(b.onWire())
	if s.txn != nil && e.class() != ErrFatal {
		e.Class = ErrAbortable // never retriable, because the record is part of the transaction (KAFKA-19176)
	}
	return &e
}

// expired returns the error of a batch that is delivery.timeout.ms old.
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

// deliveryLimit returns the time that a batch has, as error texts name it.
func (s *sender) deliveryLimit() string {
	return fmt.Sprintf("%v (delivery.timeout.ms)", s.acc.deliveryTimeout)
}

// whyNot returns the error that keeps batches of a partition from leaving, nil if none is known. While no node is
// connected it is that of the network as a whole, because the leader's own error is gone when the sender has returned
// to the bootstrap servers.
func (s *sender) whyNot(q *partitionQueue) error {
	if id, _, ok := s.leader(q); ok && s.client.LastError(id) != nil {
		return s.client.LastError(id)
	}
	if !s.anyConnected() {
		return s.client.Trouble()
	}
	return nil
}
