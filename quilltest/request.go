package quilltest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// A Request is one request as a node received it. It prints without Body and Message, in which there may be passwords and records.
type Request struct {
	API           protocol.APIKey
	Version       int16
	CorrelationID int32
	ClientID      string
	Node          int32
	// Conn numbers the connections of the cluster from 1.
	Conn int64
	// Size is the frame's size without the four bytes of the size itself.
	Size int
	// Time is when the frame was complete.
	Time time.Time
	// Principal is whom the connection has authenticated as; empty before it has, and without SASL.
	Principal string

	// Body is the request behind its header. It is valid until the hook returns, and nil in what
	// Requests returns.
	Body []byte `json:"-"`
	// Message is the decoded request, a pointer to a struct of this module's internal/message;
	// hooks outside the module use Body and the methods. Like Body it lives as long as the hook.
	Message any `json:"-"`

	partitions []TopicPartition // nil: the request names none
}

// Format writes the request without Body and Message. It implements fmt.Formatter.
func (r Request) Format(f fmt.State, verb rune) {
	type bare Request // without this method
	r.Body, r.Message = nil, nil
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), bare(r))
}

// A TopicPartition names a partition. Partition is -1 for a whole topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String returns orders-3 for partition 3 of the topic orders.
func (p TopicPartition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Partition) }

// comparePartitions sorts by topic and number.
func comparePartitions(a, b TopicPartition) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// Partitions returns what a Produce, Fetch, ListOffsets, OffsetForLeaderEpoch, AddPartitionsToTxn or
// TxnOffsetCommit request names, or the topics a Metadata request asks for; topic ids are resolved. It
// is nil for other APIs and in what Requests returns.
func (r *Request) Partitions() []TopicPartition { return r.partitions }

// TransactionalID returns the transactional id that a request names, the first one if there are
// more. It is empty if there is none, and in what Requests returns.
func (r *Request) TransactionalID() string {
	switch m := r.Message.(type) {
	case *message.ProduceRequest:
		return text(m.TransactionalID)
	case *message.InitProducerIDRequest:
		return text(m.TransactionalID)
	case *message.AddPartitionsToTxnRequest:
		for _, x := range addPartitionsToTxnTransactions(m, r.Version) {
			return x.TransactionalID
		}
	case *message.AddOffsetsToTxnRequest:
		return m.TransactionalID
	case *message.EndTxnRequest:
		return m.TransactionalID
	case *message.TxnOffsetCommitRequest:
		return m.TransactionalID
	}
	return ""
}

// Batch returns the header of the batch that a Produce request has for a partition. ok is false if
// it has none, or none that can be read.
func (r *Request) Batch(topic string, partition int32) (h protocol.BatchHeader, ok bool) {
	records := r.Records(topic, partition)
	h, err := protocol.ReadBatchHeader(records)
	return h, err == nil
}

// Records returns the bytes that a Produce request has for a partition, nil if none. They live as
// long as Body.
func (r *Request) Records(topic string, partition int32) []byte {
	m, ok := r.Message.(*message.ProduceRequest)
	if !ok {
		return nil
	}
	i := 0 // r.partitions lists the same partitions in the same order
	for _, t := range m.TopicData {
		for _, p := range t.PartitionData {
			if i < len(r.partitions) && r.partitions[i] == (TopicPartition{topic, partition}) {
				return p.Records
			}
			i++
		}
	}
	return nil
}

// A requestLog counts all requests and keeps the newest.
type requestLog struct {
	limit int // set by NewCluster, read-only after
	total atomic.Int64

	mu sync.Mutex
	// +checklocks:mu
	counts map[apiNode]int64
	// newest is a ring once it has limit elements; next is then the oldest.
	// +checklocks:mu
	newest []Request
	// +checklocks:mu
	next int
}

type apiNode struct {
	api  protocol.APIKey
	node int32
}

func (l *requestLog) add(r Request) {
	r.Body, r.Message, r.partitions = nil, nil, nil
	l.total.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = make(map[apiNode]int64)
	}
	l.counts[apiNode{r.API, r.Node}]++
	switch {
	case l.limit == 0:
	case len(l.newest) < l.limit:
		l.newest = append(l.newest, r)
	default:
		l.newest[l.next] = r
		l.next = (l.next + 1) % l.limit
	}
}

// Requests returns the newest requests that arrived, oldest first; Options.RetainRequests says how
// many. Requests that a node could not decode are not among them.
func (c *Cluster) Requests() []Request {
	l := &c.requests
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Concat(l.newest[l.next:], l.newest[:l.next])
}

// RequestCount returns how many requests of an API have arrived since the cluster started; with
// nodes, only at these.
func (c *Cluster) RequestCount(api protocol.APIKey, nodes ...int32) int64 {
	l := &c.requests
	l.mu.Lock()
	defer l.mu.Unlock()
	var n int64
	for k, count := range l.counts {
		if k.api == api && (len(nodes) == 0 || slices.Contains(nodes, k.node)) {
			n += count
		}
	}
	return n
}
