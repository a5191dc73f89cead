package message

import "github.com/quill-kafka/quill/protocol"

// Asked is what a request asked for, as far as it bounds the answer: a node that answers for more is
// broken or hostile, and what it adds is skipped. Zero means no bound.
type Asked struct {
	Topics     int // topics named
	Partitions int // partitions of all topics together
	Records    int // most records of one partition
	Keys       int // transactional ids or groups
	Brokers    int // most of a cluster; no request names them
	// TopicPartitions are the most of one topic; no request names them either.
	TopicPartitions int
}

// MaxBrokers is how many brokers of a cluster are accepted. The largest clusters have some thousands, and each broker is
// several times as large in memory as in the answer. An answer that has more is decoded to at least
// one above the limit, so that the caller can see it.
const MaxBrokers = 10_000

// MaxTopicPartitions is how many partitions of one topic are accepted: each takes some 600 bytes. Whole
// clusters of Kafka have had as many, and it gives a topic 10,000 at a time. An answer that has more is decoded to at least
// one above the limit, so that the caller can see it.
const MaxTopicPartitions = 200_000

// Response is a message that a node sends. Every response of this package implements it.
type Response interface {
	Message
	// DecodeWithin decodes like Decode, but skips elements that far exceed what the request asked for.
	DecodeWithin(r *protocol.Reader, version int16, asked Asked)
}

// AskedBy counts what a request asks for. It returns the zero value for a request that bounds nothing.
func AskedBy(m Message) Asked {
	switch m := m.(type) {
	case *MetadataRequest:
		asked := Asked{Topics: len(m.Topics), Brokers: MaxBrokers, TopicPartitions: MaxTopicPartitions}
		if m.Topics != nil && len(m.Topics) == 0 {
			asked.Topics = 1 // none, which zero can't say; null asks for all
		}
		return asked
	case *FindCoordinatorRequest:
		return Asked{Keys: len(m.CoordinatorKeys)}
	case *AddPartitionsToTxnRequest:
		return m.asked()
	case *TxnOffsetCommitRequest:
		asked := Asked{Topics: len(m.Topics)}
		for i := range m.Topics {
			asked.Partitions += len(m.Topics[i].Partitions)
		}
		return asked
	}
	return Asked{}
}

func (m *AddPartitionsToTxnRequest) asked() Asked {
	asked := Asked{Keys: len(m.Transactions), Topics: len(m.V3AndBelowTopics)}
	for i := range m.V3AndBelowTopics {
		asked.Partitions += len(m.V3AndBelowTopics[i].Partitions)
	}
	for i := range m.Transactions {
		asked.Topics += len(m.Transactions[i].Topics)
		for j := range m.Transactions[i].Topics {
			asked.Partitions += len(m.Transactions[i].Topics[j].Partitions)
		}
	}
	return asked
}
