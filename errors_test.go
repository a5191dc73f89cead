package quill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/protocol"
)

func TestSentinelsAreWhatTheirParentsAre(t *testing.T) {
	for child, parents := range map[error][]error{
		ErrForceClosed:     {ErrClosed},
		ErrDeliveryTimeout: {ErrTimeout},
		ErrBufferExhausted: {ErrTimeout},
		ErrMemoryShare:     {ErrBufferExhausted, ErrTimeout},
	} {
		for _, parent := range parents {
			require.ErrorIs(t, child, parent)
			require.NotErrorIs(t, parent, child)
			require.ErrorIs(t, fmt.Errorf("wrapped: %w", &Error{Op: "send", Kind: child}), parent)
		}
	}
	require.NotErrorIs(t, ErrForceClosed, ErrTimeout)
}

func TestErrorIsItsKindCodeAndCause(t *testing.T) {
	e := &Error{
		Op: "send", Topic: "t", Kind: ErrDeliveryTimeout, Code: protocol.NotEnoughReplicas,
		Cause: &Error{Op: "connect", Kind: context.DeadlineExceeded, Cause: io.ErrUnexpectedEOF, Code: protocol.NetworkException},
	}
	for _, target := range []error{ErrDeliveryTimeout, ErrTimeout, ErrRetriable, protocol.NotEnoughReplicas, protocol.NetworkException, context.DeadlineExceeded, io.ErrUnexpectedEOF} {
		require.ErrorIs(t, e, target)
	}
	for _, target := range []error{ErrFatal, ErrAbortable, ErrClosed, protocol.None, protocol.MessageTooLarge, io.EOF} {
		require.NotErrorIs(t, e, target)
	}
	code, ok := errors.AsType[protocol.ErrorCode](e)
	require.True(t, ok)
	require.Equal(t, protocol.NotEnoughReplicas, code)
	_, ok = errors.AsType[protocol.ErrorCode](&Error{Op: "send", Kind: ErrClosed})
	require.False(t, ok)
	require.True(t, e.Timeout())
	require.NotErrorIs(t, &Error{Op: "send"}, protocol.None)
}

func TestAWrappedErrorSaysWhetherTheRecordMayBeInTheLog(t *testing.T) {
	failed := func(o Outcome) error { return &Error{Op: "send", Topic: "t", Kind: ErrDeliveryTimeout, Outcome: o} }
	wrap := func(errs ...error) error { return fmt.Errorf("orders: %w", errors.Join(errs...)) }
	commit := newError(Error{Op: "CommitTransaction", Class: ErrAbortable, Cause: failed(MaybeWritten)})
	for _, c := range []struct {
		err  error
		want Outcome
	}{
		{failed(NotSent), NotSent},
		{failed(MaybeWritten), MaybeWritten},
		{failed(Rejected), Rejected},
		{wrap(failed(NotSent)), NotSent},
		{wrap(failed(Rejected)), Rejected},
		{wrap(io.EOF, failed(NotSent)), NotSent},
		{wrap(failed(NotSent), failed(Rejected)), Rejected},
		{wrap(failed(MaybeWritten), failed(Rejected)), MaybeWritten},
		{wrap(failed(Rejected), wrap(failed(MaybeWritten)), failed(NotSent)), MaybeWritten},
		{commit, NotSent}, // its cause is a record's
		{commit.Unwrap(), MaybeWritten},
		{withPlugins(failed(Rejected), failed(NotSent)), Rejected},
		{abortFailed(failed(Rejected), failed(MaybeWritten)), Rejected},
		{abortFailed(wrap(failed(MaybeWritten)), failed(NotSent)), MaybeWritten},
		{abortFailed(io.EOF, failed(MaybeWritten)), NotSent},
		{pendingError("t", 0, context.Canceled), MaybeWritten},
		{io.EOF, MaybeWritten}, // nothing is known
		{wrap(io.EOF), MaybeWritten},
		{nil, MaybeWritten},
	} {
		require.Equal(t, c.want, OutcomeOf(c.err), "%v", c.err)
	}
}

func TestCodesAreSentinelsToo(t *testing.T) {
	for code, kind := range map[protocol.ErrorCode]error{
		protocol.MessageTooLarge: ErrRecordTooLarge, protocol.InvalidTopicException: ErrInvalidTopic, protocol.InvalidRecord: ErrInvalidRecord,
		protocol.UnsupportedVersion: ErrUnsupportedVersion, protocol.RequestTimedOut: ErrTimeout,
	} {
		require.ErrorIs(t, &Error{Op: "send", Code: code}, kind)
	}
	require.NotErrorIs(t, &Error{Op: "send", Code: protocol.NotCoordinator}, ErrTimeout)
	require.NotErrorIs(t, &Error{Op: "send"}, ErrTimeout)
}

func TestEveryErrorHasAtMostOneClass(t *testing.T) {
	for code := protocol.ErrorCode(-1); code <= 136; code++ {
		e := &Error{Op: "send", Code: code}
		n := 0
		for _, is := range []bool{e.Retriable(), e.Abortable(), e.Fatal()} {
			if is {
				n++
			}
		}
		require.LessOrEqual(t, n, 1, code)
		require.Equal(t, code.Retriable(), e.Retriable(), code)
		require.False(t, e.Fatal(), code)
		require.Equal(t, e.Abortable(), errors.Is(e, ErrAbortable))
	}
	class := func(e Error) string {
		return fmt.Sprint(e.Retriable(), e.Abortable(), e.Fatal())
	}
	const none, retriable, abortable, fatal = "false false false", "true false false", "false true false", "false false true"
	for _, row := range []struct {
		want string
		e    Error
	}{
		{retriable, Error{Kind: ErrBufferExhausted}},
		{retriable, Error{Kind: ErrDeliveryTimeout, Code: protocol.NotLeaderOrFollower}},
		{retriable, Error{Kind: ErrWouldBlock}},
		{fatal, Error{Kind: ErrForceClosed}},
		{fatal, Error{Code: protocol.ProducerFenced, Class: ErrFatal}},
		{fatal, Error{Kind: ErrProducerFenced}},
		{none, Error{Code: protocol.ProducerFenced}},
		{none, Error{Code: protocol.ClusterAuthorizationFailed}},
		{none, Error{Code: protocol.UnsupportedVersion}},
		{abortable, Error{Code: protocol.TransactionAbortable}},
		{abortable, Error{Code: protocol.InvalidProducerEpoch, Class: ErrAbortable}},
		{abortable, Error{Kind: ErrDeliveryTimeout, Class: ErrAbortable}},
		{none, Error{Code: protocol.InvalidProducerEpoch}},
		{none, Error{Code: protocol.TopicAuthorizationFailed}},
		{none, Error{Kind: ErrBatchRejected}},
		{none, Error{Kind: ErrSerialization, Cause: ErrTimeout}},
		{none, Error{Code: 9999}},
		{none, Error{}},
	} {
		require.Equal(t, row.want, class(row.e), "%+v", row.e)
	}
}

func TestErrorText(t *testing.T) {
	for want, e := range map[string]*Error{
		`quill: send to topic "orders" partition 3: delivery timed out: 2m0s passed since Send (node 2, 5 attempts, may have been written); ` +
			`last cause: connection reset; check the nodes of the partition, or raise delivery.timeout.ms`: {
			Op: "send", Topic: "orders", Partition: 3, Node: 2, Attempts: 5, Elapsed: 2*time.Minute + 12*time.Microsecond, Kind: ErrDeliveryTimeout,
			Outcome: MaybeWritten, Reason: "2m0s passed since Send", Cause: errors.New("connection reset"),
		},
		`quill: wait for buffer memory: buffer memory is exhausted (after 250µs, not sent); send slower, or raise buffer.memory or max.block.ms`: {
			Op: "wait for buffer memory", Partition: -1, Kind: ErrBufferExhausted, Elapsed: 250 * time.Microsecond,
		},
		`quill: send to topic "t": TOPIC_AUTHORIZATION_FAILED: Topic authorization failed (node 0, 1 attempt, rejected); grant this client WRITE and DESCRIBE on the topic`: {
			Op: "send", Topic: "t", Partition: -1, Attempts: 1, Code: protocol.TopicAuthorizationFailed, Outcome: Rejected,
		},
		`quill: send to topic "t" partition 0: POLICY_VIOLATION: "no \"x\" here\nor there" (not sent)`: {
			Op: "send", Topic: "t", Code: protocol.PolicyViolation, Detail: "no \"x\" here\nor there",
		},
		`quill: metadata of topic "t": timed out: not present after 1m0s; last cause: UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition; ` +
			`does the topic exist, and may this client see it?`: {
			Op: "metadata of topic \"t\"", Partition: -1, Kind: ErrTimeout, Reason: "not present after 1m0s", Cause: protocol.UnknownTopicOrPartition,
		},
		`quill: send: UNKNOWN_ERROR_CODE(9999) (not sent)`: {Op: "send", Code: 9999},
		`quill: send: delivery timed out: NOT_LEADER_OR_FOLLOWER (not sent); last cause: connect: timed out; check the nodes of the partition, or raise delivery.timeout.ms`: {
			Op: "send", Kind: ErrDeliveryTimeout, Code: protocol.NotLeaderOrFollower, Cause: &Error{Op: "connect", Kind: ErrTimeout},
		},
	} {
		require.Equal(t, want, e.Error())
	}
}

// S12.
func TestForeignTextIsQuotedAndCut(t *testing.T) {
	evil := "\x00\x1b[31mred\n\u202eback" + strings.Repeat("é", 2000) + "\xff"
	e := &Error{
		Op: "send", Topic: evil, Detail: evil, Reason: evil, Kind: ErrTimeout,
		Cause: &Error{Op: "connect", Topic: evil, Kind: errors.New(evil), Cause: errors.New(evil)},
	}
	text := e.Error()
	for _, r := range text {
		require.True(t, r >= ' ' && r != 0x202e && r != 0x7f, "%q", r)
	}
	require.True(t, utf8.ValidString(text))
	require.Less(t, len(text), 8*(foreign.Shown+100))
	require.Equal(t, 6, strings.Count(text, "…"))
}

// KAFKA-19176: the error of a record of a transaction must not advise to send it again.
func TestClassOfTheCauseStaysHidden(t *testing.T) {
	retriable := &Error{Op: "send", Code: protocol.NotEnoughReplicas, Cause: io.EOF}
	e := fmt.Errorf("outside: %w", &Error{Op: "send", Kind: ErrDeliveryTimeout, Class: ErrAbortable, Cause: fmt.Errorf("inside: %w", retriable)})
	require.ErrorIs(t, e, ErrAbortable)
	require.NotErrorIs(t, e, ErrRetriable)
	for _, target := range []error{protocol.NotEnoughReplicas, ErrTimeout, io.EOF} {
		require.ErrorIs(t, e, target)
	}
	code, ok := errors.AsType[protocol.ErrorCode](e)
	require.True(t, ok)
	require.Equal(t, protocol.NotEnoughReplicas, code)
	require.Equal(t, io.EOF, errors.Unwrap(retriable))
	require.Contains(t, errors.Unwrap(errors.Unwrap(e)).Error(), "inside: ")
}

func TestEnvelopeIsWhatItHolds(t *testing.T) {
	e := &Error{Op: "send", Topic: "t", Partition: 1, Node: -1, Cause: &Error{Op: "wait for buffer memory", Kind: ErrBufferExhausted}}
	require.ErrorIs(t, e, ErrBufferExhausted)
	require.ErrorIs(t, e, ErrRetriable)
	require.True(t, e.Retriable())
	require.True(t, e.Timeout())
	require.Equal(t, `quill: send to topic "t" partition 1: wait for buffer memory: buffer memory is exhausted (not sent); `+
		`send slower, or raise buffer.memory or max.block.ms`, e.Error())
	require.False(t, (&Error{Op: "send", Kind: ErrSerialization, Cause: ErrTimeout}).Timeout())
}

func TestOutcomeText(t *testing.T) {
	require.Equal(t, "not sent, may have been written, rejected, Outcome(7)", fmt.Sprintf("%v, %v, %v, %v", NotSent, MaybeWritten, Rejected, Outcome(7)))
}

func TestConfigErrorText(t *testing.T) {
	e := &ConfigError{Faults: []ConfigFault{{Name: "acks", Value: "\n" + strings.Repeat("x", 300), Reason: "valid values: all"}}}
	require.Equal(t, `quill: invalid configuration: acks="\n`+strings.Repeat("x", 255)+`"…: valid values: all`, e.Error())
	e.Faults = append(e.Faults, ConfigFault{Name: "bootstrap.servers", Reason: "is required", Fix: "name one"})
	require.Contains(t, e.Error(), "2 faults: ")
	require.Contains(t, e.Error(), " | bootstrap.servers: is required; name one")
	require.ErrorAs(t, e, new(*ConfigError))
}

// What another producer's error says of its own producer says nothing about this one.
func TestTheErrorOfACloseOrAContextHasNoForeignClass(t *testing.T) {
	another := &Error{Op: "send", Kind: ErrProducerFenced, Partition: -1}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(another)
	err := error(notBegun(ctx, "send"))
	require.NotErrorIs(t, err, ErrFatal)
	require.ErrorIs(t, err, ErrProducerFenced, "the reason is found")
	require.ErrorIs(t, err, context.Canceled)

	given := &Error{Op: "flush", Kind: ErrTimeout, Partition: -1}
	err = withPlugins(given, another)
	require.ErrorIs(t, err, ErrRetriable)
	require.NotErrorIs(t, err, ErrFatal)
	require.ErrorIs(t, err, ErrProducerFenced)
	require.Equal(t, error(given), withPlugins(given, nil))
	require.Equal(t, error(another), withPlugins(nil, another))
	require.NoError(t, withPlugins(nil, nil))
}
