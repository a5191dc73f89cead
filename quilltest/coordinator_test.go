package quilltest

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// find asks a node for a coordinator in a version of FindCoordinator.
func (r *rawClient) find(kind CoordinatorType, key string, version int16) message.Coordinator {
	r.t.Helper()
	req := &message.FindCoordinatorRequest{KeyType: int8(kind), Key: key, CoordinatorKeys: []string{key}}
	res := r.do(req, version).(*message.FindCoordinatorResponse)
	if version >= 4 {
		require.Len(r.t, res.Coordinators, 1)
		require.Equal(r.t, key, res.Coordinators[0].Key)
		return res.Coordinators[0]
	}
	return message.Coordinator{Key: key, NodeID: res.NodeID, Host: res.Host, Port: res.Port, ErrorCode: res.ErrorCode, ErrorMessage: res.ErrorMessage}
}

func TestAnyNodeKnowsTheCoordinator(t *testing.T) {
	for version := message.FindCoordinatorMinVersion; version <= message.FindCoordinatorMaxVersion; version++ {
		inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
			seen := make(map[int32]bool)
			for _, kind := range []CoordinatorType{GroupCoordinator, TransactionCoordinator} {
				if kind == TransactionCoordinator && version == 0 {
					continue // version 0 knows groups only
				}
				for _, key := range []string{"a", "b", "c", "d", "e", "f", ""} {
					want := c.Coordinator(kind, key)
					seen[want] = true
					for _, node := range c.NodeIDs() {
						got := dial(t, c, node).find(kind, key, version)
						require.Equal(t, protocol.None, got.ErrorCode)
						require.Equal(t, want, got.NodeID)
						require.Equal(t, c.NodeAddr(want), joinHostPort(got.Host, got.Port))
					}
				}
			}
			require.Greater(t, len(seen), 1, "the work is shared")
			if version > 0 {
				got := dial(t, c, 1).find(2, "share", version)
				require.Equal(t, protocol.InvalidRequest, got.ErrorCode)
				require.Equal(t, int32(-1), got.NodeID)
			}
			c.Inject(Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Err: protocol.CoordinatorNotAvailable})
			require.Equal(t, protocol.CoordinatorNotAvailable, dial(t, c, 1).find(GroupCoordinator, "a", version).ErrorCode)
		})
	}
}

func TestCoordinatorMovesWithWhatItKnows(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		require.NoError(t, c.MoveCoordinator(TransactionCoordinator, x.id, 1))
		require.NoError(t, c.MoveCoordinator(GroupCoordinator, "group", 1))
		x.mustInit()
		x.put("orders", 0, 1)
		old := x.coordinator()

		require.NoError(t, c.MoveCoordinator(TransactionCoordinator, x.id, 3))
		require.Equal(t, int32(3), old.find(TransactionCoordinator, x.id, 4).NodeID)
		require.Equal(t, int32(1), c.Coordinator(GroupCoordinator, "group"), "the group stays")
		require.Equal(t, protocol.NotCoordinator, old.do(x.endRequest(true), 5).(*message.EndTxnResponse).ErrorCode)
		require.Equal(t, protocol.NotCoordinator, old.do(&message.AddOffsetsToTxnRequest{TransactionalID: x.id}, 4).(*message.AddOffsetsToTxnResponse).ErrorCode)
		require.Equal(t, protocol.NotCoordinator, old.do(&message.InitProducerIDRequest{TransactionalID: &x.id, TransactionTimeoutMs: 1, ProducerID: -1, ProducerEpoch: -1}, 5).(*message.InitProducerIDResponse).ErrorCode)
		add := &message.AddPartitionsToTxnRequest{V3AndBelowTransactionalID: x.id, V3AndBelowTopics: []message.AddPartitionsToTxnTopic{{Name: "orders", Partitions: []int32{0}}}}
		require.Equal(t, protocol.NotCoordinator, old.do(add, 3).(*message.AddPartitionsToTxnResponse).ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode)
		x.put("orders", 1, 1)

		require.NoError(t, c.StopNode(3))
		require.Equal(t, int32(1), c.Coordinator(TransactionCoordinator, x.id), "the next node stands in")
		x.mustEnd(true)
		requireLog(t, c, "orders", 0, 1, 1)
		requireLog(t, c, "orders", 1, 1, 1)
		require.NoError(t, c.StopNode(1))
		require.NoError(t, c.StopNode(2))
		require.Equal(t, int32(-1), c.Coordinator(TransactionCoordinator, x.id))
		require.Error(t, c.MoveCoordinator(TransactionCoordinator, x.id, 4))
	})
}

func TestGroupsHaveTheirCoordinator(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		x.mustInit()
		require.NoError(t, c.MoveCoordinator(GroupCoordinator, "group", 2))
		req := &message.TxnOffsetCommitRequest{TransactionalID: x.id, GroupID: "group", Topics: []message.TxnOffsetCommitRequestTopic{{
			Name: "orders", TopicID: c.TopicID("orders"), Partitions: []message.TxnOffsetCommitRequestPartition{{}, {PartitionIndex: 1}}}}}
		res := x.at(1).do(req, x.pick(protocol.TxnOffsetCommit, 4, 6)).(*message.TxnOffsetCommitResponse)
		for _, p := range res.Topics[0].Partitions {
			require.Equal(t, protocol.NotCoordinator, p.ErrorCode)
		}
	})
}

// TestTransactionRequestsFailOnOrder has a fault answer an error instead of the request's work, and
// after it.
func TestTransactionRequestsFailOnOrder(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		for _, after := range []bool{false, true} {
			fail := func(key protocol.APIKey, code protocol.ErrorCode) {
				c.Inject(Fault{APIs: []protocol.APIKey{key}, Err: code, AfterAppend: after, Throttle: time.Millisecond})
			}
			x.mustInit()
			before := x.producer
			fail(protocol.InitProducerID, protocol.CoordinatorLoadInProgress)
			require.Equal(t, protocol.CoordinatorLoadInProgress, x.init(before))
			require.Equal(t, after, x.requireState(TransactionEmpty).ProducerEpoch != before.epoch)
			require.Equal(t, protocol.None, x.init(before))

			fail(protocol.AddPartitionsToTxn, protocol.CoordinatorNotAvailable)
			require.Equal(t, []protocol.ErrorCode{protocol.CoordinatorNotAvailable}, x.add("orders", 0))
			now, _ := c.Transaction(x.id)
			require.Equal(t, after, now.State == TransactionOngoing)
			fail(protocol.AddOffsetsToTxn, protocol.NotCoordinator)
			require.Equal(t, protocol.NotCoordinator, x.addGroup("group"))
			now, _ = c.Transaction(x.id)
			require.Equal(t, after, len(now.Groups) == 1)
			require.Equal(t, protocol.None, x.addGroup("group"))
			fail(protocol.TxnOffsetCommit, protocol.UnstableOffsetCommit)
			require.Equal(t, protocol.UnstableOffsetCommit, x.commitOffset("group", "orders", 5, nil))
			require.Equal(t, after, len(c.PendingGroupOffsets("group")) == 1)

			x.put("orders", 0, 1)
			again := *x
			fail(protocol.EndTxn, protocol.NetworkException)
			require.Equal(t, protocol.NetworkException, x.end(true))
			now, _ = c.Transaction(x.id)
			require.Equal(t, after, now.State == TransactionCommitted)
			again.mustEnd(true)
		}
		requireLog(t, c, "orders", 0, 2, 2)
	})
}

func TestPartitionsOfATransactionFailTogether(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 3, TopicConfig{})
		x := newTxnClient(t, c, "mover", false)
		x.mustInit()
		require.Equal(t, []protocol.ErrorCode{protocol.OperationNotAttempted, protocol.UnknownTopicOrPartition}, x.add("orders", 0, 3))
		var ids []string
		c.Inject(Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, Topic: "orders", Partitions: []int32{1}, Err: protocol.TopicAuthorizationFailed,
			When: func(r *Request) bool { ids = append(ids, r.TransactionalID()); return true }})
		require.Equal(t, []protocol.ErrorCode{protocol.None}, x.add("orders", 0))
		require.Equal(t, []protocol.ErrorCode{protocol.OperationNotAttempted, protocol.TopicAuthorizationFailed}, x.add("orders", 2, 1))
		require.Equal(t, []TopicPartition{{"orders", 0}}, x.requireState(TransactionOngoing).Partitions)
		require.Equal(t, []string{"mover"}, ids)
	})
}
