package quilltest

import (
	"strings"
	"testing"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

func TestOffsetsAreCommittedWithTheTransaction(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		x.mustInit()
		move := func(offset int64) {
			t.Helper()
			if !version2 {
				require.Equal(t, protocol.None, x.addGroup("copiers"))
			}
			require.Equal(t, protocol.None, x.commitOffset("copiers", "orders", offset, nil))
			require.Equal(t, []TopicPartition{{"orders", 0}}, c.PendingGroupOffsets("copiers"))
			require.Equal(t, []string{"copiers"}, x.requireState(TransactionOngoing).Groups)
		}
		require.Empty(t, c.GroupOffsets("copiers"))
		move(5)
		require.Empty(t, c.GroupOffsets("copiers"))
		x.mustEnd(false)
		require.Empty(t, c.GroupOffsets("copiers"), "aborted")
		require.Empty(t, c.PendingGroupOffsets("copiers"))

		move(5)
		move(7)
		x.put("bills", 0, 2)
		x.mustEnd(true)
		want := map[TopicPartition]CommittedOffset{{"orders", 0}: {Offset: 7, LeaderEpoch: 3, Metadata: "orders"}}
		require.Equal(t, want, c.GroupOffsets("copiers"))
		requireLog(t, c, "bills", 0, 2, 2)

		move(9)
		require.Equal(t, want, c.GroupOffsets("copiers"))
		fencer := newTxnClient(t, c, "mover", version2)
		require.Equal(t, protocol.ConcurrentTransactions, fencer.init(noProducer))
		require.Equal(t, want, c.GroupOffsets("copiers"), "fenced")
		require.Empty(t, c.PendingGroupOffsets("copiers"))
	})
}

func TestOffsetsNeedTheirGroupInTheTransaction(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		if version2 {
			return // the commit itself adds the group
		}
		x := newTxnClient(t, c, "mover", version2)
		x.mustInit()
		require.Equal(t, protocol.TransactionAbortable, x.commitOffset("copiers", "orders", 5, nil))
		x.put("orders", 0, 1)
		require.Equal(t, protocol.TransactionAbortable, x.commitOffset("copiers", "orders", 5, nil))
		x.mustEnd(true)
		require.Empty(t, c.GroupOffsets("copiers"))
	})
}

func TestOffsetsAreChecked(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		c.SetGroup("copiers", Group{Generation: 4, Members: []GroupMember{{ID: "m1"}, {ID: "m2", InstanceID: "static"}}})
		c.SetGroup("empty", Group{})
		static, stranger := "static", "stranger"
		long := strings.Repeat("x", 4097)
		from := func(generation int32, member string, instance *string) func(r *message.TxnOffsetCommitRequest) {
			return func(r *message.TxnOffsetCommitRequest) {
				r.GenerationIDOrMemberEpoch, r.MemberID, r.GroupInstanceID = generation, member, instance
			}
		}
		unknown := protocol.UnknownTopicOrPartition
		if version2 {
			unknown = protocol.UnknownTopicID
		}
		tests := []struct {
			name, group, topic string
			edit               func(r *message.TxnOffsetCommitRequest)
			want               protocol.ErrorCode
		}{
			{"a member", "copiers", "orders", from(4, "m1", nil), protocol.None},
			{"a static member", "copiers", "orders", from(4, "m2", &static), protocol.None},
			{"a client before KIP-447", "copiers", "orders", from(-1, "", nil), protocol.None},
			{"an older generation", "copiers", "orders", from(3, "m1", nil), protocol.IllegalGeneration},
			{"no member", "copiers", "orders", from(4, "m3", nil), protocol.UnknownMemberID},
			{"no instance", "copiers", "orders", from(4, "m1", &stranger), protocol.UnknownMemberID},
			{"an instance that was replaced", "copiers", "orders", from(4, "m1", &static), protocol.FencedInstanceID},
			{"an empty group", "empty", "orders", from(-1, "", nil), protocol.None},
			{"a member of an empty group", "empty", "orders", from(1, "m1", nil), protocol.UnknownMemberID},
			{"a group never set", "free", "orders", from(12, "anybody", nil), protocol.None},
			{"no topic", "free", "nothing", nil, unknown},
			{"no partition", "free", "orders", func(r *message.TxnOffsetCommitRequest) { r.Topics[0].Partitions[0].PartitionIndex = 3 }, protocol.UnknownTopicOrPartition},
			{"long metadata", "free", "orders", func(r *message.TxnOffsetCommitRequest) { r.Topics[0].Partitions[0].CommittedMetadata = &long }, protocol.OffsetMetadataTooLarge},
			{"no group", "", "orders", nil, protocol.InvalidGroupID},
		}
		for _, test := range tests {
			x := newTxnClient(t, c, test.name, version2)
			x.mustInit()
			if !version2 && test.group != "" {
				require.Equal(t, protocol.None, x.addGroup(test.group))
			}
			require.Equal(t, test.want, x.commitOffset(test.group, test.topic, 5, test.edit), test.name)
		}
	})
}
