package quill

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// Every failure of this package is one of the sentinels below, usually inside an *Error that says
// where and when. Four questions can be asked about it, also if it is wrapped:
//
//	errors.Is(err, quill.ErrTimeout)                      what happened (a sentinel)
//	errors.Is(err, quill.ErrRetriable)                    what can be done (a class)
//	errors.Is(err, protocol.NotLeaderOrFollower)          what the broker said (an error code)
//	quill.OutcomeOf(err)                                  whether the record may be in the log
//
// Some sentinels are special cases of others: ErrBufferExhausted is also an ErrTimeout.
var (
	// ErrClosed: the producer is closed, or was closed before the record was sent.
	ErrClosed error = &sentinel{text: "producer is closed"}
	// ErrForceClosed: Close ran out of time and gave the record up. Is also ErrClosed.
	ErrForceClosed error = &sentinel{text: "producer was closed forcefully", parent: ErrClosed}
	// ErrTimeout: something took longer than a time-out of the Config allows.
	ErrTimeout error = &sentinel{text: "timed out"}
	// ErrDeliveryTimeout: delivery.timeout.ms passed before the record had its outcome. Is also ErrTimeout.
	ErrDeliveryTimeout error = &sentinel{text: "delivery timed out", parent: ErrTimeout}
	// ErrDisconnected: the connection to the broker was lost before it answered. Kafka: NetworkException.
	ErrDisconnected error = &sentinel{text: "disconnected"}
	// ErrBufferExhausted: no buffer memory became free within max.block.ms. Is also ErrTimeout.
	ErrBufferExhausted error = &sentinel{text: "buffer memory is exhausted", parent: ErrTimeout}
	// ErrMemoryShare: records to the partition's node hold all the buffer memory they may; what is free is kept
	// for other nodes. Is also ErrBufferExhausted.
	ErrMemoryShare error = &sentinel{text: "share of the buffer memory is used up", parent: ErrBufferExhausted}
	// ErrWouldBlock: TrySend would have had to wait for metadata or memory.
	ErrWouldBlock error = &sentinel{text: "send would block"}
	// ErrInCallback: a call that has to wait was made in a callback, or in the handler of the log. Callbacks run one after the
	// other, and the producer waits for the handler, so it would wait for itself.
	ErrInCallback error = &sentinel{text: "cannot wait inside a callback"}
	// ErrRecordTooLarge: the record exceeds max.request.size, buffer.memory or the broker's limit.
	ErrRecordTooLarge error = &sentinel{text: "record is too large"}
	// ErrInvalidRecord: the broker refused this very record (KIP-467).
	ErrInvalidRecord error = &sentinel{text: "record is invalid"}
	// ErrBatchRejected: the broker refused the whole batch because of other records in it (KIP-467).
	ErrBatchRejected error = &sentinel{text: "record was part of a batch with invalid records"}
	// ErrInvalidTopic: the topic's name is not a legal one.
	ErrInvalidTopic error = &sentinel{text: "topic name is invalid"}
	// ErrInvalidPartition: the topic has no such partition, or the partitioner chose none.
	ErrInvalidPartition error = &sentinel{text: "partition does not exist"}
	// ErrSerialization: a serializer failed or panicked.
	ErrSerialization error = &sentinel{text: "serializer failed"}
	// ErrPartitioner: the partitioner failed or panicked.
	ErrPartitioner error = &sentinel{text: "partitioner failed"}
	// ErrInvalidTxnState: the call needs another state of the transaction; the error says what to call first.
	ErrInvalidTxnState error = &sentinel{text: "wrong state of the transaction"}
	// ErrProducerFenced: another producer took over the transactional id. It is fatal.
	ErrProducerFenced error = &sentinel{text: "producer was fenced"}
	// ErrTransactionAborted: the transaction was aborted, or failed, before the record left.
	ErrTransactionAborted error = &sentinel{text: "transaction was aborted"}
	// ErrNotAborted: InTransaction failed and could not abort the transaction, which is still open. Without it, an error of
	// InTransaction says that the transaction was aborted, or that the outcome of its commit is open.
	ErrNotAborted error = &sentinel{text: "transaction is not aborted"}
	// ErrUnsupportedVersion: the cluster does not speak a protocol version that is needed.
	ErrUnsupportedVersion error = &sentinel{text: "cluster does not support this"}
	// ErrAuthentication: a broker refused this client, or this client the broker. The error holds a *network.AuthenticationError
	// or a *network.TLSError, which Is also network.ErrTLS: errors.As finds them. They have the node, the mechanism, the step, the
	// broker's own words, and the setting to look at. It fails what waits at once, as in Java; later calls try again.
	// Kafka: AuthenticationException, SslAuthenticationException.
	ErrAuthentication = network.ErrAuthentication
)

// The classes of errors: what can be done about one. An error has at most one class.
var (
	// ErrRetriable: the same operation may succeed later. The producer retries records itself:
	// an error that reaches the caller has used up its retries or its time.
	ErrRetriable error = &sentinel{text: "retriable"}
	// ErrAbortable: the transaction has to be aborted; the producer goes on.
	ErrAbortable error = &sentinel{text: "abortable"}
	// ErrFatal: this producer can't go on; close it and make a new one.
	ErrFatal error = &sentinel{text: "fatal"}
)

// sentinel is an error that is identified by its address. errors.Is finds its parents, too.
type sentinel struct {
	text   string
	parent error
}

func (s *sentinel) Error() string { return s.text }

func (s *sentinel) Unwrap() error { return s.parent }

// Outcome says whether a failed record may be in the log: that decides whether sending it
// again can make a duplicate. OutcomeOf asks an error for it.
type Outcome uint8

const (
	// NotSent records were never sent: sending them again makes no duplicate.
	NotSent Outcome = iota
	// MaybeWritten records were sent, and no answer said whether they were written.
	MaybeWritten
	// Rejected records were refused by the broker: they are not in the log.
	Rejected
)

var outcomeNames = [...]string{"not sent", "may have been written", "rejected"}

// String returns the outcome in words, "may have been written".
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "Outcome(" + strconv.Itoa(int(o)) + ")"
}

// OutcomeOf returns what err, an *Error or one that wraps some, says about whether the record may be in the log. Of
// several outcomes it returns MaybeWritten before Rejected, and Rejected before NotSent. An error that wraps no *Error says
// nothing, and nor does nil: then it returns MaybeWritten, so that the other two always mean that the record is not in the log.
func OutcomeOf(err error) Outcome {
	if o, known := outcomeIn(err); known {
		return o
	}
	return MaybeWritten
}

// outcomeIn returns the outcome that is known from err; known is false if err says nothing.
func outcomeIn(err error) (o Outcome, known bool) {
	switch e := err.(type) {
	case *Error: // its Cause may be about something else, such as the record that made a commit fail
		return e.Outcome, true
	case classless:
		return outcomeIn(e.err)
	case interface{ Unwrap() error }:
		return outcomeIn(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			if of, ok := outcomeIn(part); ok {
				o, known = worse(o, of), true
			}
		}
	}
	return o, known
}

// worse returns that outcome of the two which leaves more to do before the record is sent again.
func worse(a, b Outcome) Outcome {
	if a == MaybeWritten || b == MaybeWritten {
		return MaybeWritten
	}
	return max(a, b)
}

// Error is the failure of one operation, usually of sending one record. It never holds the record's
// contents. It never changes, so any number of goroutines may read it.
type Error struct {
	// Op is the operation that failed, "send" or "wait for buffer memory".
	Op string
	// Topic is empty when the operation concerns none.
	Topic string
	// Partition is -1 when the operation concerns no particular one. It counts only with a Topic.
	Partition int32
	// Node is the node that was asked last; it counts once there was an attempt. Negative: none.
	Node int32
	// Attempts is how often the record was sent.
	Attempts int
	// Elapsed is the time from the beginning of the operation to its failure; of a record that was buffered, from its Send, or
	// from when that had got memory if it waited (to the millisecond, if the record has no Timestamp of its own).
	Elapsed time.Duration
	// Code is the broker's error code, or None if no broker answered.
	Code protocol.ErrorCode
	// Kind is the sentinel this failure belongs to, or the error of a context; nil if Code says it all.
	Kind error
	// Class is ErrRetriable, ErrAbortable or ErrFatal where the circumstances decide it. If nil, Kind and Code do; no
	// Code is fatal by itself, because it depends on the producer whether it can go on.
	Class error
	// Outcome says whether the record may be in the log. It counts for failed sends; OutcomeOf asks an error that wraps this one.
	Outcome Outcome
	// Reason adds to Kind in this package's words.
	Reason string
	// Detail is text that is not this package's, such as a broker's message; of a very long one the first 4 KiB. Error quotes and cuts it.
	Detail string
	// Cause is the last error that led here, if any. errors.Is and As look into it.
	Cause error

	broken  string // says that the producer has failed; the rest of the error says why
	lasting bool   // another attempt soon would fail in the same way
	open    bool   // the operation goes on: a call gave up waiting, or a record has no outcome yet
	ended   string // the state of the transaction, the first part of the text
	fix     string // what to do about it, where that does not follow from kind or code
}

// Retriable reports whether the same operation may succeed later. It is the same as
// errors.Is(err, ErrRetriable). Kafka: RetriableException.
func (e *Error) Retriable() bool { return e.class() == ErrRetriable }

// Abortable reports whether the transaction has to be aborted. Kafka: TransactionAbortableException.
func (e *Error) Abortable() bool { return e.class() == ErrAbortable }

// Fatal reports whether the producer can't go on. It is the same as errors.Is(err, ErrFatal). Kafka: what the
// producer's transaction manager treats as fatal.
func (e *Error) Fatal() bool { return e.class() == ErrFatal }

// Timeout reports whether the failure is a time-out, as net.Error does.
func (e *Error) Timeout() bool {
	return e.Is(ErrTimeout) || e.envelope() && errors.Is(e.Cause, ErrTimeout)
}

// envelope reports whether the error only says where its Cause happened.
func (e *Error) envelope() bool {
	return e.Kind == nil && e.Code == protocol.None && e.Cause != nil
}

// class returns the class of the failure itself, not that of its Cause: a record of a transaction that
// timed out because of a retriable error must not be sent again (KAFKA-19176).
func (e *Error) class() error {
	if e.Class != nil {
		return e.Class
	}
	if e.envelope() {
		return classOf(e.Cause)
	}
	if _, ok := e.Kind.(*contextEnd); ok {
		return nil // the cause of the context's end, which may be any error, does not count
	}
	for _, kind := range kindClasses {
		if e.Kind != nil && errors.Is(e.Kind, kind.kind) {
			return kind.class
		}
	}
	if e.Kind != nil && e.Code == protocol.None {
		return nil
	}
	switch e.Code.Class() {
	case protocol.ClassRetriable, protocol.ClassRefreshRetriable:
		return ErrRetriable
	case protocol.ClassAbortable:
		return ErrAbortable
	}
	return nil // no code ends a producer by itself: if one does, the sender has set Class
}

// classOf returns the class of any error, nil if it has none.
func classOf(err error) error {
	for _, class := range [...]error{ErrFatal, ErrAbortable, ErrRetriable} {
		if errors.Is(err, class) {
			return class
		}
	}
	return nil
}

var kindClasses = []struct{ kind, class error }{
	{ErrTimeout, ErrRetriable},
	{ErrDisconnected, ErrRetriable},
	{ErrWouldBlock, ErrRetriable},
	{ErrClosed, ErrFatal},
	{ErrUnsupportedVersion, ErrFatal},
	{ErrProducerFenced, ErrFatal},
	{ErrTransactionAborted, ErrAbortable},
}

// codeKinds are the codes that mean the same as a sentinel.
var codeKinds = map[protocol.ErrorCode]error{
	protocol.RequestTimedOut:       ErrTimeout,
	protocol.MessageTooLarge:       ErrRecordTooLarge,
	protocol.RecordListTooLarge:    ErrRecordTooLarge,
	protocol.InvalidTopicException: ErrInvalidTopic,
	protocol.InvalidRecord:         ErrInvalidRecord,
	protocol.UnsupportedVersion:    ErrUnsupportedVersion,
	protocol.ProducerFenced:        ErrProducerFenced,
}

// Is reports whether target is a sentinel, class or protocol.ErrorCode that the error has. It is for errors.Is.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrRetriable, ErrAbortable, ErrFatal:
		return e.class() == target
	case ErrNotAborted:
		return e.ended == notAborted
	}
	if code, ok := target.(protocol.ErrorCode); ok {
		return code != protocol.None && code == e.Code
	}
	if e.Kind != nil {
		return errors.Is(e.Kind, target)
	}
	return codeKinds[e.Code] == target
}

// As sets a *protocol.ErrorCode to the broker's code, if there is one. It is for errors.As.
func (e *Error) As(target any) bool {
	code, ok := target.(*protocol.ErrorCode)
	if ok = ok && e.Code != protocol.None; ok {
		*code = e.Code
	}
	return ok
}

// Unwrap returns Cause. If Cause has a class the result hides it, so that errors.Is finds the class
// of this error and no other; errors.As still finds Cause.
func (e *Error) Unwrap() error {
	if e.Cause != nil && classOf(e.Cause) != nil {
		return classless{e.Cause}
	}
	return e.Cause
}

// classless is an error without its class.
type classless struct{ err error }

func (c classless) Error() string { return c.err.Error() }

func (c classless) Is(target error) bool {
	return target != ErrRetriable && target != ErrAbortable && target != ErrFatal && errors.Is(c.err, target)
}

func (c classless) As(target any) bool { return errors.As(c.err, target) }

// newError returns e as an error that concerns no particular partition and no node. The zero value of Error would name
// partition 0 and node 0.
func newError(e Error) *Error { return nodeError(-1, e) }

// nodeError returns e as an error that concerns a node and no particular partition.
func nodeError(node int32, e Error) *Error {
	e.Partition, e.Node = -1, node
	return &e
}

var (
	errClosedSend  = newError(Error{Op: "send", Kind: ErrClosed})
	errClosedFlush = newError(Error{Op: "flush", Kind: ErrClosed})
)

// orNil returns err as an error, nil for a nil *Error.
func orNil(err *Error) error {
	if err != nil {
		return err
	}
	return nil
}

// PanicError is a panic of a plug-in. It is the Cause of the Error of the record concerned; errors.As finds
// it there.
type PanicError struct {
	Value any    // the value given to panic
	Stack []byte // where it panicked: the text of debug.Stack
}

// Error returns the text of Value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns Value if it is an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// both holds two failures of one call, in their order. It is the Cause of an Error that has one class for the
// two of them.
type both struct{ first, last error }

func (b *both) Error() string { return causeText(b.last) + "; before that: " + causeText(b.first) }

func (b *both) Unwrap() []error { return []error{b.first, b.last} }

// The state of the transaction after an InTransaction that failed.
const (
	wasAborted = "the transaction was aborted"
	notAborted = "the transaction is not aborted"
)

// abortFailed returns the error of InTransaction if the transaction failed and then its abort failed. Its class says
// what can be done now: Fatal, nothing with this producer; Abortable, abort again; none, nothing was left to abort.
func abortFailed(transaction, abort error) error {
	if e, ok := abort.(*Error); ok && e.Kind == ErrInvalidTxnState && e.class() == nil { // none is open, or its end is under way
		return newError(Error{Op: "InTransaction", Kind: ErrInvalidTxnState, Cause: transaction,
			Reason: "the function has called CommitTransaction or AbortTransaction itself; " +
				"return from it instead: nil commits, an error aborts"})
	}
	e := newError(Error{Op: "InTransaction", Class: ErrAbortable, Cause: &both{transaction, abort}, ended: notAborted,
		fix: "call AbortTransaction until it has worked"})
	if classOf(abort) == ErrFatal {
		e.Class = ErrFatal
		e.fix = "close this producer: the coordinator aborts the transaction when it is older than transaction.timeout.ms"
		if errors.Is(abort, ErrProducerFenced) {
			e.fix = "close this producer: the coordinator aborts the transaction of one that is fenced"
		}
	}
	e.Outcome, _ = outcomeIn(transaction) // not that of the abort, which sends no records
	return e
}

// abortDone returns err, because of which a transaction was aborted, with a note of that. It returns an error of the
// function's own unchanged.
func abortDone(err error) error {
	e, ok := err.(*Error)
	if !ok {
		return err
	}
	own := *e
	if failed, ok := e.Cause.(*Error); ok && e.Kind == ErrInvalidTxnState { // it asks for the abort that was done
		own = *failed
		own.Class = e.class()
	}
	own.ended = wasAborted
	return &own
}

// withPlugins returns the error of a Close, joined with that of its plug-ins. If both failed, it hides the class of the
// plug-ins' error: that may be another producer's, and does not say what can be done about this one.
func withPlugins(err, plugins error) error {
	switch {
	case err == nil:
		return plugins
	case plugins == nil:
		return err
	}
	return errors.Join(err, classless{plugins})
}
