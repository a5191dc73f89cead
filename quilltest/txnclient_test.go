package quilltest

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// A txnClient is one instance of a transactional producer, which speaks the protocol request by
// request. It keeps its sequences and nothing else: what it may do, and when, is the test's matter.
type txnClient struct {
	t         *testing.T
	c         *Cluster
	id        string
	version2  bool
	producer  producerID
	timeout   time.Duration
	label     string // of the records, so that a test knows them again
	conns     map[int32]*rawClient
	sequences map[TopicPartition]int32
}

func newTxnClient(t *testing.T, c *Cluster, id string, version2 bool) *txnClient {
	return &txnClient{
		t: t, c: c, id: id, version2: version2, producer: noProducer, timeout: time.Minute,
		conns: make(map[int32]*rawClient), sequences: make(map[TopicPartition]int32),
	}
}

func (x *txnClient) at(node int32) *rawClient {
	if x.conns[node] == nil {
		x.conns[node] = dial(x.t, x.c, node)
	}
	return x.conns[node]
}

func (x *txnClient) coordinator() *rawClient {
	return x.at(x.c.Coordinator(TransactionCoordinator, x.id))
}

// pick returns the version of a request to use: as high as the transaction version allows and the
// node serves.
func (x *txnClient) pick(key protocol.APIKey, version1, version2 int16) int16 {
	if x.version2 {
		return min(version2, x.c.served[key].max)
	}
	return min(version1, x.c.served[key].max)
}

// adopt takes over a producer id.
func (x *txnClient) adopt(p producerID) {
	if p != x.producer {
		clear(x.sequences)
	}
	x.producer = p
}

// init asks for the producer id, naming known if it is not noProducer.
func (x *txnClient) init(known producerID) protocol.ErrorCode {
	x.t.Helper()
	res := x.coordinator().do(&message.InitProducerIDRequest{
		TransactionalID: &x.id, TransactionTimeoutMs: int32(x.timeout.Milliseconds()), ProducerID: known.id, ProducerEpoch: known.epoch,
	}, x.pick(protocol.InitProducerID, 5, 5)).(*message.InitProducerIDResponse)
	if res.ErrorCode == protocol.None {
		x.adopt(producerID{res.ProducerID, res.ProducerEpoch})
	}
	return res.ErrorCode
}

func (x *txnClient) mustInit() {
	x.t.Helper()
	require.Equal(x.t, protocol.None, x.init(noProducer))
}

// add adds partitions of a topic as a client of version 1 does.
func (x *txnClient) add(topic string, partitions ...int32) []protocol.ErrorCode {
	x.t.Helper()
	res := x.coordinator().do(&message.AddPartitionsToTxnRequest{
		V3AndBelowTransactionalID: x.id, V3AndBelowProducerID: x.producer.id, V3AndBelowProducerEpoch: x.producer.epoch,
		V3AndBelowTopics: []message.AddPartitionsToTxnTopic{{Name: topic, Partitions: partitions}},
	}, x.pick(protocol.AddPartitionsToTxn, 3, 3)).(*message.AddPartitionsToTxnResponse)
	require.Len(x.t, res.ResultsByTopicV3AndBelow, 1)
	var codes []protocol.ErrorCode
	for i, p := range res.ResultsByTopicV3AndBelow[0].ResultsByPartition {
		require.Equal(x.t, partitions[i], p.PartitionIndex)
		codes = append(codes, p.PartitionErrorCode)
	}
	return codes
}

// write sends one batch of n records, without adding the partition first.
func (x *txnClient) write(topic string, partition int32, n int) protocol.ErrorCode {
	x.t.Helper()
	leader, _, err := x.c.Leader(topic, partition)
	require.NoError(x.t, err)
	tp := TopicPartition{topic, partition}
	values := make([]string, n)
	for i := range values {
		values[i] = x.label
	}
	batch := testBatch{values: values, pid: x.producer.id, epoch: x.producer.epoch, sequence: x.sequences[tp],
		header: func(h *protocol.BatchHeader) { h.Attributes |= protocol.AttrTransactional }}
	req := &message.ProduceRequest{TransactionalID: &x.id, Acks: -1, TimeoutMs: 1000, TopicData: []message.TopicProduceData{{
		Name: topic, TopicID: x.c.TopicID(topic), PartitionData: []message.PartitionProduceData{{Index: partition, Records: batch.bytes()}},
	}}}
	res := x.at(leader).do(req, x.pick(protocol.Produce, 11, 13)).(*message.ProduceResponse)
	code := res.Responses[0].PartitionResponses[0].ErrorCode
	if code == protocol.None {
		x.sequences[tp] += int32(n)
	}
	return code
}

// put writes records, adding the partition first where the version needs it.
func (x *txnClient) put(topic string, partition int32, n int) {
	x.t.Helper()
	if !x.version2 {
		require.Equal(x.t, []protocol.ErrorCode{protocol.None}, x.add(topic, partition))
	}
	require.Equal(x.t, protocol.None, x.write(topic, partition, n))
}

// addGroup adds a group's offsets as a client of version 1 does.
func (x *txnClient) addGroup(group string) protocol.ErrorCode {
	x.t.Helper()
	req := &message.AddOffsetsToTxnRequest{TransactionalID: x.id, ProducerID: x.producer.id, ProducerEpoch: x.producer.epoch, GroupID: group}
	return x.coordinator().do(req, x.pick(protocol.AddOffsetsToTxn, 4, 4)).(*message.AddOffsetsToTxnResponse).ErrorCode
}

// commitOffset sends an offset for partition 0 of a topic. edit, if not nil, may change the request.
func (x *txnClient) commitOffset(group, topic string, offset int64, edit func(r *message.TxnOffsetCommitRequest)) protocol.ErrorCode {
	x.t.Helper()
	req := &message.TxnOffsetCommitRequest{
		TransactionalID: x.id, GroupID: group, ProducerID: x.producer.id, ProducerEpoch: x.producer.epoch, GenerationIDOrMemberEpoch: -1,
		Topics: []message.TxnOffsetCommitRequestTopic{{
			Name: topic, TopicID: x.c.TopicID(topic),
			Partitions: []message.TxnOffsetCommitRequestPartition{{CommittedOffset: offset, CommittedLeaderEpoch: 3, CommittedMetadata: &topic}},
		}},
	}
	if edit != nil {
		edit(req)
	}
	res := x.at(x.c.Coordinator(GroupCoordinator, group)).do(req, x.pick(protocol.TxnOffsetCommit, 4, 6)).(*message.TxnOffsetCommitResponse)
	return res.Topics[0].Partitions[0].ErrorCode
}

// end commits or aborts.
func (x *txnClient) end(commit bool) protocol.ErrorCode {
	x.t.Helper()
	res := x.coordinator().do(x.endRequest(commit), x.pick(protocol.EndTxn, 4, 5)).(*message.EndTxnResponse)
	if res.ErrorCode == protocol.None && x.version2 {
		x.adopt(producerID{res.ProducerID, res.ProducerEpoch})
	}
	return res.ErrorCode
}

func (x *txnClient) endRequest(commit bool) *message.EndTxnRequest {
	return &message.EndTxnRequest{TransactionalID: x.id, ProducerID: x.producer.id, ProducerEpoch: x.producer.epoch, Committed: commit}
}

func (x *txnClient) mustEnd(commit bool) {
	x.t.Helper()
	require.Equal(x.t, protocol.None, x.end(commit))
}

// requireState checks what the coordinator says.
func (x *txnClient) requireState(want TransactionState) Transaction {
	x.t.Helper()
	got, ok := x.c.Transaction(x.id)
	require.True(x.t, ok)
	require.Equal(x.t, want, got.State)
	return got
}

// requireLog checks how many records of a partition a consumer sees, with read_uncommitted and with
// read_committed.
func requireLog(t *testing.T, c *Cluster, topic string, partition int32, all, committed int) {
	t.Helper()
	records, err := c.Records(topic, partition)
	require.NoError(t, err)
	require.Len(t, records, all)
	records, err = c.CommittedRecords(topic, partition)
	require.NoError(t, err)
	require.Len(t, records, committed)
}

// inBothVersions runs a test with each version of the transaction protocol.
func inBothVersions(t *testing.T, opts Options, test func(t *testing.T, c *Cluster, version2 bool)) {
	t.Helper()
	for level, name := range map[int16]string{1: "V1", 2: "V2"} {
		t.Run(name, func(t *testing.T) {
			opts.Features = map[string]int16{"transaction.version": level}
			inBubble(t, opts, func(t *testing.T, c *Cluster) {
				c.MustCreateTopic("orders", 3, TopicConfig{})
				c.MustCreateTopic("bills", 1, TopicConfig{})
				test(t, c, level == 2)
			})
		})
	}
}
