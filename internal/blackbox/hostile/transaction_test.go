package hostile_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What a hostile coordinator may answer. The cases carry the numbers of the list in hostile_test.go's
// cases; internal/lint sees to it that each has a test.

// H63: what is no answer to the question leads nowhere, and is asked again.
func TestACoordinatorIsTakenFromAnAnswerToTheQuestionOnly(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(m *message.FindCoordinatorResponse)
	}{
		{"no node", func(m *message.FindCoordinatorResponse) { m.Coordinators[0].NodeID = -1 }},
		{"a node that there is not", func(m *message.FindCoordinatorResponse) { m.Coordinators[0].NodeID = 4711 }},
		{"another id", func(m *message.FindCoordinatorResponse) { m.Coordinators[0].Key = "other" }},
		{"no coordinator", func(m *message.FindCoordinatorResponse) { m.Coordinators = nil }},
		{"two coordinators", func(m *message.FindCoordinatorResponse) {
			two := m.Coordinators[0]
			two.NodeID = 3 - two.NodeID
			m.Coordinators = append(m.Coordinators, two)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{Release: "4.4"}, nil, func(x *testkit.TxnLab) {
				lie := testkit.Edit(x, protocol.FindCoordinator, -1, row.change)
				require.ErrorIs(x, x.P.InitTransactions(testkit.After(x.T, 5*time.Second)), context.DeadlineExceeded)
				testkit.RequireBetween(x, int(lie.Hits()), 25, 60, "asked with pauses")
				lie.Remove()
				require.NoError(x, x.P.InitTransactions(x.Context()))
				x.RequireGoesOn()
			})
		})
	}
}

// H64: a partition is part of the transaction when the answer says so of it; what is said of others
// counts for nothing.
func TestPartitionsJoinWhenTheAnswerNamesThem(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(m *message.AddPartitionsToTxnResponse)
		asked  int64 // at least; 1: it is an answer
	}{
		{"none", func(m *message.AddPartitionsToTxnResponse) { m.ResultsByTopicV3AndBelow = nil }, 2},
		{"another in its place", func(m *message.AddPartitionsToTxnResponse) {
			m.ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionIndex = 9
		}, 2},
		{"another topic in its place", func(m *message.AddPartitionsToTxnResponse) { m.ResultsByTopicV3AndBelow[0].Name = "other" }, 2},
		{"another besides, which failed", func(m *message.AddPartitionsToTxnResponse) {
			r := &m.ResultsByTopicV3AndBelow[0]
			r.ResultsByPartition = slices.Insert(r.ResultsByPartition, 0,
				message.AddPartitionsToTxnPartitionResult{PartitionIndex: 9, PartitionErrorCode: protocol.TopicAuthorizationFailed})
		}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{Release: "3.9"}, nil, func(x *testkit.TxnLab) {
				require.NoError(x, x.P.InitTransactions(x.Context()))
				lie := testkit.Edit(x, protocol.AddPartitionsToTxn, 2, row.change)
				x.Begin()
				f := x.Send(0, "v")
				x.Commit()
				_, err := f.Wait(x.Context())
				require.NoError(x, err)
				require.GreaterOrEqual(x, lie.Hits(), row.asked)
				lie.Remove()
				x.RequireCommitted("v")
			})
		})
	}
}

// H65: an id or epoch that can't be the next is not taken over. The transaction has ended all the same;
// the producer asks for its id before the next one.
func TestAnEndThatTellsAnImpossibleEpochIsAskedAbout(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(m *message.EndTxnResponse)
	}{
		{"lower epoch", func(m *message.EndTxnResponse) { m.ProducerEpoch -= 2 }},
		{"the same epoch", func(m *message.EndTxnResponse) { m.ProducerEpoch-- }},
		{"another id", func(m *message.EndTxnResponse) { m.ProducerID += 1000 }},
		{"no id", func(m *message.EndTxnResponse) { m.ProducerID = -1 }},
		{"no epoch", func(m *message.EndTxnResponse) { m.ProducerEpoch = -1 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{Release: "4.4"}, nil, func(x *testkit.TxnLab) {
				require.NoError(x, x.P.InitTransactions(x.Context()))
				x.Begin()
				x.Send(0, "a")
				x.Commit()
				lie := testkit.Edit(x, protocol.EndTxn, 1, row.change)
				x.Begin()
				x.Send(0, "b")
				x.Commit()
				require.EqualValues(x, 1, lie.Hits())
				x.Begin()
				x.Send(0, "c")
				x.Commit()
				x.RequireCommitted("a", "b", "c")
			})
		})
	}
}
