package quilltest

import (
	"testing"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

func TestProducerIDsAreHandedOutOnce(t *testing.T) {
	for version := message.InitProducerIDMinVersion; version <= message.InitProducerIDMaxVersion; version++ {
		inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
			seen := make(map[int64]bool)
			for _, node := range c.NodeIDs() {
				req := &message.InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1, TransactionTimeoutMs: 1}
				for range 3 {
					res := dial(t, c, node).do(req, version).(*message.InitProducerIDResponse)
					require.Equal(t, protocol.None, res.ErrorCode)
					require.Zero(t, res.ProducerEpoch)
					require.False(t, seen[res.ProducerID])
					seen[res.ProducerID] = true
					req.ProducerID, req.ProducerEpoch = res.ProducerID, res.ProducerEpoch // changes nothing for an idempotent producer
				}
			}
		})
	}
}

func TestTransactionalIDFencesItsOlderInstance(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		id, empty := "mover", ""
		r := dial(t, c, c.Coordinator(TransactionCoordinator, id))
		fresh := message.InitProducerIDRequest{TransactionalID: &id, TransactionTimeoutMs: 1000, ProducerID: -1, ProducerEpoch: -1}
		first := r.do(&fresh, 5).(*message.InitProducerIDResponse)
		second := r.do(&fresh, 5).(*message.InitProducerIDResponse)
		require.Equal(t, first.ProducerID, second.ProducerID)
		require.Equal(t, first.ProducerEpoch+1, second.ProducerEpoch)

		own := fresh
		own.ProducerID, own.ProducerEpoch = second.ProducerID, second.ProducerEpoch
		for range 2 { // the second time as if the first answer were lost
			require.Equal(t, second.ProducerEpoch+1, r.do(&own, 5).(*message.InitProducerIDResponse).ProducerEpoch)
		}
		require.Equal(t, second.ProducerEpoch+2, r.do(&fresh, 5).(*message.InitProducerIDResponse).ProducerEpoch)
		require.Equal(t, protocol.ProducerFenced, r.do(&own, 4).(*message.InitProducerIDResponse).ErrorCode)
		require.Equal(t, protocol.InvalidProducerEpoch, r.do(&own, 3).(*message.InitProducerIDResponse).ErrorCode)

		bad := fresh
		bad.ProducerID = 7
		require.Equal(t, protocol.InvalidRequest, r.do(&bad, 5).(*message.InitProducerIDResponse).ErrorCode)
		bad = fresh
		bad.TransactionalID = &empty
		require.Equal(t, protocol.InvalidRequest, r.do(&bad, 5).(*message.InitProducerIDResponse).ErrorCode)
		bad = fresh
		bad.TransactionTimeoutMs = 0
		require.Equal(t, protocol.InvalidTransactionTimeout, r.do(&bad, 5).(*message.InitProducerIDResponse).ErrorCode)
	})
}
