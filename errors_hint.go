package quill

import (
	"errors"

	"github.com/quill-kafka/quill/protocol"
)

// hint says what somebody could change, "" where nothing general can be said.
func (e *Error) hint() string {
	if e.broken != "" && e.Kind == ErrProducerFenced {
		return "" // the text begins with that
	}
	for _, h := range hints {
		if e.Kind != nil && errors.Is(e.Kind, h.kind) {
			return h.text
		}
	}
	if text, ok := codeHints[e.Code]; ok {
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

// hints go from the special to the general.
var hints = []struct {
	kind error
	text string
}{
	{ErrProducerFenced, "close this producer"},
	{ErrMemoryShare, "is that node reachable? if so, send slower, or raise buffer.memory or max.block.ms"},
	{ErrBufferExhausted, "send slower, or raise buffer.memory or max.block.ms"},
	{ErrDeliveryTimeout, "check the nodes of the partition, or raise delivery.timeout.ms"},
	{ErrInCallback, "do it in a goroutine of its own"},
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

// hintMember is for offsets of a consumer that is no longer what its group takes it for.
const hintMember = "the consumer was removed from its group, or the group was rebalanced: abort, and go on from the committed offsets"
