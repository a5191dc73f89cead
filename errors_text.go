package quill

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// Error returns one line: what failed and where, why, after how many attempts and how long, the outcome, the last
// cause, and a hint where there is one. Foreign text in it is quoted, escaped and cut.
func (e *Error) Error() string {
	text := "quill: "
	if e.ended != "" {
		text += e.ended + ": "
	}
	text += e.text()
	if hint := e.hint(); hint != "" {
		if !strings.HasSuffix(text, "?") {
			text += ";"
		}
		text += " " + hint
	}
	return text
}

// text returns the text of Error without the hint, which Error adds once, at the end.
func (e *Error) text() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Topic != "" {
		fmt.Fprintf(&b, " %s topic %s", preposition(e.Op), foreign.Quote(e.Topic))
		if e.Partition >= 0 {
			fmt.Fprintf(&b, " partition %d", e.Partition)
		}
	}
	for _, part := range [...]string{e.broken, e.what(), foreign.Plain(e.Reason)} {
		if part != "" {
			b.WriteString(": ")
			b.WriteString(strings.TrimSuffix(part, "."))
		}
	}
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(foreign.Quote(e.Detail))
	}
	if facts := e.facts(); facts != "" {
		fmt.Fprintf(&b, " (%s)", facts)
	}
	switch {
	case e.envelope():
		b.WriteString(": ")
		b.WriteString(causeText(e.Cause))
	case e.Cause != nil:
		b.WriteString("; last cause: ")
		b.WriteString(causeText(e.Cause))
	}
	return b.String()
}

// preposition returns the word between the operation and the topic.
func preposition(op string) string {
	switch {
	case strings.HasPrefix(op, "send"), op == opWaitForRecord:
		return "to"
	case op == opPartitions:
		return "of"
	}
	return "for"
}

// opWaitForRecord is the Op of errors of Future.Wait that are not the record's.
const opWaitForRecord = "wait for a record"

// opPartitions is the Op of errors of PartitionsFor.
const opPartitions = "look up the partitions"

// what returns the name of the failure: its kind, its code, or both.
func (e *Error) what() string {
	switch {
	case e.Kind == nil && e.Code == protocol.None:
		return ""
	case e.Kind == nil && e.Detail != "":
		return e.Code.Name() // the broker's own text follows
	case e.Kind == nil:
		return e.Code.Error()
	case e.Code == protocol.None:
		return foreign.Plain(e.Kind.Error())
	}
	return foreign.Plain(e.Kind.Error()) + ": " + e.Code.Name()
}

// opWaitForMemory is the Op of the error of a Send that found too little memory free.
const opWaitForMemory = "wait for buffer memory"

// aboutRecord reports whether the error is that of one record's Send: then its text has the outcome, if there is one.
func (e *Error) aboutRecord() bool {
	switch e.Op {
	case "send", opWaitForMemory, "serialize key", "serialize value", "choose a partition":
		return true
	}
	return false
}

// saidByCause reports whether the error is an envelope of another about the same record.
func (e *Error) saidByCause() bool {
	cause, ok := e.Cause.(*Error)
	return e.envelope() && ok && cause.aboutRecord()
}

// facts returns the node, the attempts, the time and the record's outcome, as far as they are known.
func (e *Error) facts() string {
	var facts []string
	if e.Node > 0 || e.Node == 0 && e.Attempts > 0 {
		facts = append(facts, "node "+strconv.Itoa(int(e.Node)))
	}
	switch {
	case e.Attempts == 1:
		facts = append(facts, "1 attempt")
	case e.Attempts > 1:
		facts = append(facts, strconv.Itoa(e.Attempts)+" attempts")
	}
	if e.Elapsed > 0 && !strings.Contains(e.Reason, roundDuration(e.Elapsed).String()) {
		facts = append(facts, "after "+roundDuration(e.Elapsed).String())
	}
	if e.Attempts > 0 || e.Outcome != NotSent || e.aboutRecord() && !e.open && !e.saidByCause() {
		facts = append(facts, e.Outcome.String())
	}
	return strings.Join(facts, ", ")
}

// causeText returns the text of a cause. The text of an *Error is not cut as a whole, because its parts are.
func causeText(err error) string {
	if e, ok := err.(*Error); ok {
		return e.text()
	}
	if b, ok := err.(*both); ok {
		return b.Error()
	}
	if code, ok := err.(protocol.ErrorCode); ok {
		return strings.TrimSuffix(code.Error(), ".") // Kafka's text, known to be harmless
	}
	if _, ok := errors.AsType[*network.Error](err); ok && errors.Is(err, ErrAuthentication) {
		return strings.TrimSuffix(err.Error(), ".") // its parts are quoted and cut
	}
	return strings.TrimSuffix(foreign.Plain(err.Error()), ".")
}

// roundDuration rounds d to milliseconds, or to microseconds if it is below one millisecond.
func roundDuration(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// hint returns what the user could change, "" where there is no general advice.
func (e *Error) hint() string {
	if e.broken != "" && e.Kind == ErrProducerFenced {
		return "" // the text begins with that
	}
	if e.fix != "" {
		return e.fix
	}
	if code, ok := e.Cause.(protocol.ErrorCode); ok && e.Kind == ErrDeliveryTimeout && codeHints[code] != "" {
		return codeHints[code] // the time would have been enough without that
	}
	for _, h := range hints {
		if e.Kind != nil && errors.Is(e.Kind, h.kind) {
			return h.text
		}
	}
	if text, ok := codeHints[e.Code]; ok && (text != hintMember || e.Abortable()) { // without a transaction it is not about a consumer
		if e.Fatal() && !strings.Contains(e.Reason, "close this producer") {
			text += "; then close this producer, which cannot go on, and make a new one"
		}
		return text
	}
	switch cause := e.Cause.(type) {
	case *Error:
		return cause.hint()
	case *both:
		if last, ok := cause.last.(*Error); ok {
			return last.hint()
		}
	}
	code, _ := errors.AsType[protocol.ErrorCode](e.Cause)
	return codeHints[code]
}

// hints are ordered from the special to the general: the first that fits counts.
var hints = []struct {
	kind error
	text string
}{
	{ErrProducerFenced, "close this producer"},
	{ErrMemoryShare, "is that node reachable? if so, send slower, or raise buffer.memory or max.block.ms"},
	{ErrBufferExhausted, "send slower, or raise buffer.memory or max.block.ms"},
	{ErrDeliveryTimeout, "check the nodes of the partition, or raise delivery.timeout.ms"},
	{ErrInCallback, "callbacks run one after the other, so it would wait for itself: do it in a goroutine of its own"},
	{ErrBatchRejected, "it can be sent again without the invalid records"},
	{ErrWouldBlock, "use Send to wait"},
	{ErrRecordTooLarge, "send smaller records, or raise that limit"},
}

var codeHints = map[protocol.ErrorCode]string{
	protocol.UnknownTopicOrPartition:            "does the topic exist, and may this client see it?",
	protocol.MessageTooLarge:                    "send smaller records, or raise the topic's max.message.bytes",
	protocol.RecordListTooLarge:                 "lower batch.size, or raise the topic's segment.bytes",
	protocol.InvalidTopicException:              "legal names have up to 249 letters, digits, dots, dashes and underscores",
	protocol.NotEnoughReplicas:                  "bring replicas back, or lower the topic's min.insync.replicas",
	protocol.NotEnoughReplicasAfterAppend:       "bring replicas back, or lower the topic's min.insync.replicas",
	protocol.TopicAuthorizationFailed:           "grant this client WRITE and DESCRIBE on the topic",
	protocol.ClusterAuthorizationFailed:         "grant this client IDEMPOTENT_WRITE on the cluster, or disable idempotence",
	protocol.TransactionalIDAuthorizationFailed: "grant this client WRITE and DESCRIBE on the transactional id",
	protocol.GroupAuthorizationFailed:           "grant this client READ on the consumer group",
	protocol.IllegalGeneration:                  hintMember,
	protocol.UnknownMemberID:                    hintMember,
	protocol.FencedInstanceID:                   hintMember,
	protocol.InvalidTimestamp:                   "the topic limits how far a timestamp may be from the broker's clock",
	protocol.UnsupportedCompressionType:         "choose a compression.type that this cluster knows",
	protocol.ProducerFenced:                     "another producer took over the transactional id",
	protocol.InvalidProducerEpoch:               "another producer has the same producer id, or took over the transactional id",
}

// hintMember is for offsets of a consumer that is no longer the member of the group that it was.
const hintMember = "the consumer was removed from its group, or the group was rebalanced: abort, and go on from the committed offsets"

// withoutForeign returns the text of an error without what the application's code and a broker's message say in it: they may quote a
// record.
func withoutForeign(err error) string { return foreign.PlainOfMany(harmless(err).Error()) }

// harmless returns the error without the words of serializers, partitioners and contexts, of which it names the type, and without
// those of a broker.
func harmless(err error) error {
	switch e := err.(type) {
	case *Error:
		own := *e
		own.Detail = ""
		switch {
		case own.Cause == nil:
		case own.Kind == ErrSerialization || own.Kind == ErrPartitioner:
			own.Cause = fmt.Errorf("%T", own.Cause)
		default:
			own.Cause = harmless(own.Cause)
		}
		if own.Kind != nil {
			own.Kind = harmless(own.Kind)
		}
		return &own
	case *contextEnd:
		return e.err
	case *both:
		return &both{harmless(e.first), harmless(e.last)}
	}
	if _, ok := errors.AsType[*PanicError](err); ok {
		return fmt.Errorf("%T", err)
	}
	return err
}

// lossCause returns a text that equal failures share. It contains no text from outside quill, such as the cause
// of a context, because that may differ each time.
func lossCause(e *Error) string {
	kind := e.Kind
	switch end := (*contextEnd)(nil); {
	case errors.As(kind, &end):
		kind = end.err
	case kind == nil:
		kind = e.Code
	}
	if _, own := kind.(*sentinel); !own && kind != context.Canceled && kind != context.DeadlineExceeded && kind != e.Code {
		return fmt.Sprintf("%s: %T: %v", e.Op, kind, e.Class)
	}
	return fmt.Sprintf("%s: %v: %d: %v", e.Op, kind, e.Code, e.Class)
}
