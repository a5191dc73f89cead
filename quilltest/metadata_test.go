package quilltest

import (
	"strings"
	"testing"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// metadata asks for topics by name; none asks for all.
func (r *rawClient) metadata(version int16, names ...string) *message.MetadataResponse {
	r.t.Helper()
	req := &message.MetadataRequest{AllowAutoTopicCreation: true}
	for _, name := range names {
		req.Topics = append(req.Topics, message.MetadataRequestTopic{Name: &name})
	}
	return r.do(req, version).(*message.MetadataResponse)
}

func TestMetadataDescribesTheCluster(t *testing.T) {
	for version := message.MetadataMinVersion; version <= message.MetadataMaxVersion; version++ {
		inBubble(t, Options{Racks: []string{"", "east"}}, func(t *testing.T, c *Cluster) {
			c.MustCreateTopic("orders", 4, TopicConfig{Replicas: 2})
			c.MustCreateTopic("audit", 1, TopicConfig{Internal: true})
			require.NoError(t, c.MoveLeader("orders", 0, 2))
			r := dial(t, c, 3)
			for _, names := range [][]string{nil, {"audit", "orders"}} {
				res := r.metadata(version, names...)
				require.Len(t, res.Brokers, 3)
				require.Equal(t, c.NodeAddr(2), joinHostPort(res.Brokers[1].Host, res.Brokers[1].Port))
				require.Len(t, res.Topics, 2)
				require.Equal(t, "audit", *res.Topics[0].Name)
				orders := res.Topics[1]
				require.Len(t, orders.Partitions, 4)
				require.Equal(t, int32(2), orders.Partitions[0].LeaderID)
				require.Equal(t, []int32{3, 1}, orders.Partitions[2].ReplicaNodes.List())
				if version >= 1 {
					require.Nil(t, res.Brokers[0].Rack)
					require.Equal(t, "east", *res.Brokers[1].Rack)
					require.Equal(t, int32(1), res.ControllerID)
					require.True(t, res.Topics[0].IsInternal)
				}
				if version >= 2 {
					require.Equal(t, "quilltest", *res.ClusterID)
				}
				if version >= 7 {
					require.Equal(t, int32(1), orders.Partitions[0].LeaderEpoch)
				}
				if version >= 10 {
					require.Equal(t, c.TopicID("orders"), orders.TopicID)
				}
			}
			if version >= 1 {
				none := r.do(&message.MetadataRequest{Topics: []message.MetadataRequestTopic{}}, version).(*message.MetadataResponse)
				require.Empty(t, none.Topics, "an empty list asks for no topic")
			}
		})
	}
}

func TestMetadataErrors(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		res := r.metadata(13, "none", "bad name", "..", strings.Repeat("x", 250))
		require.Equal(t, protocol.UnknownTopicOrPartition, res.Topics[0].ErrorCode)
		require.True(t, res.Topics[0].TopicID.IsZero())
		for _, topic := range res.Topics[1:] {
			require.Equal(t, protocol.InvalidTopicException, topic.ErrorCode)
		}
		require.Error(t, c.WaitRecords(canceled(t), "none", 1))

		byID := &message.MetadataRequest{Topics: []message.MetadataRequestTopic{{TopicID: c.TopicID("orders")}, {TopicID: protocol.UUID{1}}}}
		res = r.do(byID, 12).(*message.MetadataResponse)
		require.Equal(t, "orders", *res.Topics[0].Name)
		require.Len(t, res.Topics[0].Partitions, 1)
		require.Equal(t, protocol.UnknownTopicID, res.Topics[1].ErrorCode)
		require.Nil(t, res.Topics[1].Name)
		res = r.do(byID, 11).(*message.MetadataResponse)
		require.Equal(t, protocol.InvalidRequest, res.Topics[0].ErrorCode)
	})
}

func TestAutoCreate(t *testing.T) {
	inBubble(t, Options{AutoCreate: true, DefaultPartitions: 5}, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 1)
		name := "fresh"
		ask := &message.MetadataRequest{Topics: []message.MetadataRequestTopic{{Name: &name}}}
		for range 2 {
			res := r.do(ask, 13).(*message.MetadataResponse)
			require.Equal(t, protocol.UnknownTopicOrPartition, res.Topics[0].ErrorCode, "the client does not want it created")
		}
		ask.AllowAutoTopicCreation = true
		res := r.do(ask, 13).(*message.MetadataResponse)
		require.Equal(t, protocol.UnknownTopicOrPartition, res.Topics[0].ErrorCode, "it is there for the next who asks")
		res = r.do(ask, 13).(*message.MetadataResponse)
		require.Equal(t, protocol.None, res.Topics[0].ErrorCode)
		require.Len(t, res.Topics[0].Partitions, 5)
	})
}

func TestTopicsGrowAndComeBack(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		require.ErrorIs(t, c.CreateTopic("a/b", 1, TopicConfig{}), protocol.InvalidTopicException)
		require.ErrorIs(t, c.CreateTopic("orders", 0, TopicConfig{}), protocol.InvalidPartitions)
		require.ErrorIs(t, c.CreateTopic("orders", 1, TopicConfig{Replicas: 4}), protocol.InvalidReplicationFactor)
		require.ErrorIs(t, c.AddPartitions("orders", 3), protocol.UnknownTopicOrPartition)
		require.ErrorIs(t, c.DeleteTopic("orders"), protocol.UnknownTopicOrPartition)
		require.NoError(t, c.CreateTopic("orders", 2, TopicConfig{}))
		require.ErrorIs(t, c.CreateTopic("orders", 2, TopicConfig{}), protocol.TopicAlreadyExists)
		require.ErrorIs(t, c.AddPartitions("orders", 2), protocol.InvalidPartitions)
		require.NoError(t, c.AddPartitions("orders", 3))
		r := dial(t, c, 1)
		require.Len(t, r.metadata(13, "orders").Topics[0].Partitions, 3)
		require.NoError(t, c.DeleteTopic("orders"))
		require.Empty(t, r.metadata(13).Topics)
		_, _, err := c.Leader("orders", 0)
		require.ErrorIs(t, err, protocol.UnknownTopicOrPartition)
	})
}
