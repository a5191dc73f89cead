package quilltest

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// TestEndInEveryState is Kafka's table: the answer to each end in each state, with the present epoch
// and, as a repeated request, with the one before the last bump.
func TestEndInEveryState(t *testing.T) {
	const (
		none   = protocol.None
		wrong  = protocol.InvalidTxnState
		fenced = protocol.ProducerFenced
	)
	enter := map[TransactionState]func(x *txnClient){
		TransactionEmpty:     func(*txnClient) {},
		TransactionOngoing:   func(x *txnClient) { x.put("orders", 0, 1) },
		TransactionCommitted: func(x *txnClient) { x.put("orders", 0, 1); x.mustEnd(true) },
		TransactionAborted:   func(x *txnClient) { x.put("orders", 0, 1); x.mustEnd(false) },
	}
	tests := []struct {
		version2, repeated bool
		state              TransactionState
		commit, abort      protocol.ErrorCode
	}{
		{false, false, TransactionEmpty, wrong, wrong},
		{false, false, TransactionOngoing, none, none},
		{false, false, TransactionCommitted, none, wrong},
		{false, false, TransactionAborted, wrong, none},
		{false, true, TransactionEmpty, fenced, fenced},
		{false, true, TransactionOngoing, fenced, fenced},
		{false, true, TransactionCommitted, fenced, fenced},
		{false, true, TransactionAborted, fenced, fenced},
		{true, false, TransactionEmpty, wrong, none},
		{true, false, TransactionOngoing, none, none},
		{true, false, TransactionCommitted, wrong, none},
		{true, false, TransactionAborted, wrong, none},
		{true, true, TransactionEmpty, fenced, fenced},
		{true, true, TransactionOngoing, fenced, fenced},
		{true, true, TransactionCommitted, none, wrong},
		{true, true, TransactionAborted, wrong, none},
	}
	for _, test := range tests {
		for _, commit := range []bool{true, false} {
			inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
				c.MustCreateTopic("orders", 1, TopicConfig{})
				x := newTxnClient(t, c, "mover", test.version2)
				x.mustInit()
				x.mustInit() // so that there is an epoch before
				enter[test.state](x)
				x.requireState(test.state)
				present := x.producer
				if test.repeated {
					x.producer.epoch--
				}
				want := test.abort
				if commit {
					want = test.commit
				}
				require.Equal(t, want, x.end(commit), "%+v commit=%v", test, commit)
				if want == none && test.repeated {
					require.Equal(t, present, x.producer, "a repeated end tells the present epoch and raises none")
				}
				if want == none && !test.repeated && test.version2 {
					require.Equal(t, producerID{present.id, present.epoch + 1}, x.producer)
				}
			})
		}
	}
}

func TestRetainBoundsWhatIsKnownOfAbortedTransactions(t *testing.T) {
	for _, retain := range []int64{-1, 300} {
		inBothVersions(t, Options{Retain: retain}, func(t *testing.T, c *Cluster, version2 bool) {
			x := newTxnClient(t, c, "mover", version2)
			x.mustInit()
			for range 20 {
				x.put("orders", 0, 1)
				x.mustEnd(false)
			}
			x.put("orders", 0, 1)
			x.mustEnd(true)
			committed, err := c.CommittedRecords("orders", 0)
			require.NoError(t, err)
			require.Equal(t, retain > 0, len(committed) == 1)
			p, err := c.partition("orders", 0)
			require.NoError(t, err)
			p.mu.Lock()
			known := len(p.aborted)
			p.mu.Unlock()
			require.Less(t, known, 3)
			require.Equal(t, retain > 0, known > 0)
			require.Equal(t, int64(21), c.Appended("orders"))
			_, end, err := c.Offsets("orders", 0)
			require.NoError(t, err)
			require.Equal(t, int64(42), end)
			require.NoError(t, c.DeleteRecords("orders", 0, end))
		})
	}
}

func TestStatesHaveKafkasNames(t *testing.T) {
	names := map[TransactionState]string{
		TransactionEmpty: "Empty", TransactionOngoing: "Ongoing", TransactionPreparingCommit: "PrepareCommit", TransactionPreparingAbort: "PrepareAbort",
		TransactionCommitted: "CompleteCommit", TransactionAborted: "CompleteAbort", 6: "TransactionState(6)",
	}
	for state, name := range names {
		require.Equal(t, name, state.String())
	}
	require.Equal(t, "orders-3", TopicPartition{"orders", 3}.String())
}

func TestStrangersAreRefused(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "nobody", version2)
		x.producer = producerID{77, 0}
		refuse := func(want protocol.ErrorCode) {
			t.Helper()
			require.Equal(t, want, x.end(true))
			require.Equal(t, []protocol.ErrorCode{want, want}, x.add("orders", 0, 1))
			require.Equal(t, want, x.addGroup("group"))
			require.Equal(t, want, x.write("orders", 0, 1))
			require.Equal(t, want, x.commitOffset("group", "orders", 1, nil))
		}
		refuse(protocol.InvalidProducerIDMapping)
		newTxnClient(t, c, "nobody", version2).mustInit()
		refuse(protocol.InvalidProducerIDMapping)
		_, known := c.Transaction("somebody else")
		require.False(t, known)
		newTxnClient(t, c, "another", version2).mustInit()
		all := c.Transactions()
		require.Len(t, all, 2)
		require.Equal(t, "another", all[0].TransactionalID)
		x.id = ""
		require.Equal(t, protocol.InvalidRequest, x.end(true))
		require.Equal(t, []protocol.ErrorCode{protocol.InvalidRequest}, x.add("orders", 0))
		require.Zero(t, c.Appended("orders"))
	})
}

// A record outside the transaction that its producer has open at a partition is refused.
func TestPlainRecordInATransactionIsRefused(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		x.mustInit()
		x.put("orders", 0, 1)
		plain := testBatch{values: records(1), pid: x.producer.id, epoch: x.producer.epoch, sequence: 1}
		leader, _, err := c.Leader("orders", 0)
		require.NoError(t, err)
		require.Equal(t, protocol.InvalidTxnState, x.at(leader).produceAt(c, "orders", plain.bytes(), x.pick(protocol.Produce, 11, 13)).ErrorCode)
		requireLog(t, c, "orders", 0, 1, 0)
	})
}

// With version 1 a batch must not overtake one that was refused because the transaction was not ready.
func TestSecondBatchDoesNotOvertakeTheFirst(t *testing.T) {
	for release, want := range map[string]protocol.ErrorCode{"3.5": protocol.None, "3.9": protocol.OutOfOrderSequenceNumber} {
		inBubble(t, Options{Release: release}, func(t *testing.T, c *Cluster) {
			c.MustCreateTopic("orders", 1, TopicConfig{})
			x := newTxnClient(t, c, "mover", false)
			x.mustInit()
			require.NotEqual(t, protocol.None, x.write("orders", 0, 1), "not added yet")
			require.Equal(t, []protocol.ErrorCode{protocol.None}, x.add("orders", 0))
			second := *x
			second.sequences = map[TopicPartition]int32{{"orders", 0}: 1}
			require.Equal(t, want, second.write("orders", 0, 1), release)
			if want != protocol.None {
				require.Equal(t, protocol.None, x.write("orders", 0, 1))
				require.Equal(t, protocol.None, second.write("orders", 0, 1))
			}
		})
	}
}

// With version 2 a partition that does not know a producer takes its first batch only.
func TestVersion2StartsAtSequenceZero(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		x.mustInit()
		if !version2 {
			require.Equal(t, []protocol.ErrorCode{protocol.None}, x.add("orders", 0))
		}
		x.sequences[TopicPartition{"orders", 0}] = 5
		want := protocol.None
		if version2 {
			want = protocol.OutOfOrderSequenceNumber
		}
		require.Equal(t, want, x.write("orders", 0, 1))
	})
}

// What a partition asks of the first batch of a producer it does not know is settled by the first attempt, even if that was an
// older client's of the same transactional id and failed. So does Kafka 4.3.
func TestFirstAttemptSettlesWhereSequencesStart(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		older, newer := newTxnClient(t, c, "mover", false), newTxnClient(t, c, "mover", true)
		older.mustInit()
		newer.mustInit()
		at := TopicPartition{"orders", 0}
		older.sequences[at], newer.sequences[at] = 5, 5
		require.Equal(t, protocol.InvalidProducerEpoch, older.write("orders", 0, 1))
		require.Equal(t, protocol.None, newer.write("orders", 0, 1))
	})
}

// Epochs end at 32766; then the transactional id gets another producer id.
func TestExhaustedEpochGetsANewProducerID(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		age := func(x *txnClient) {
			x.mustInit()
			c.transactions.mu.Lock()
			defer c.transactions.mu.Unlock()
			c.transactions.byID[x.id].producer.epoch = maxEpoch
			x.producer.epoch = maxEpoch
		}
		x := newTxnClient(t, c, "init", version2)
		age(x)
		old := x.producer
		require.Equal(t, protocol.None, x.init(old))
		require.NotEqual(t, old.id, x.producer.id)
		require.Zero(t, x.producer.epoch)
		rotated := x.producer
		require.Equal(t, protocol.None, x.init(old), "the answer got lost")
		require.Equal(t, rotated, x.producer)

		x = newTxnClient(t, c, "fence", version2)
		age(x)
		old = x.producer
		x.put("orders", 0, 1)
		require.Equal(t, protocol.ConcurrentTransactions, x.init(noProducer))
		x.mustInit()
		require.NotEqual(t, old.id, x.producer.id)

		if !version2 {
			return
		}
		x = newTxnClient(t, c, "end", version2)
		age(x)
		old = x.producer
		again := *x
		x.put("orders", 1, 1)
		x.mustEnd(true)
		require.NotEqual(t, old.id, x.producer.id)
		require.Zero(t, x.producer.epoch)
		again.mustEnd(true)
		require.Equal(t, x.producer, again.producer)
		x.put("orders", 1, 1)
		x.mustEnd(true)
		requireLog(t, c, "orders", 1, 2, 2)
	})
}

// TestDelayedEndMeetsAnotherEpoch is KAFKA-17754: an EndTxn that is stuck in the network while its client gives up
// and goes on. With version 2 it has an old epoch when it arrives.
func TestDelayedEndMeetsAnotherEpoch(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		x.mustInit()
		x.put("orders", 0, 1)
		stuck := c.Inject(Fault{APIs: []protocol.APIKey{protocol.EndTxn}, Delay: 20 * time.Second})
		coordinator := c.Coordinator(TransactionCoordinator, x.id)
		x.coordinator().send(x.endRequest(true), x.pick(protocol.EndTxn, 4, 5))
		require.NoError(t, stuck.Wait(t.Context(), 1))
		require.NoError(t, x.conns[coordinator].nc.Close())
		delete(x.conns, coordinator)
		time.Sleep(5 * time.Second)
		x.mustEnd(true) // the client's second try
		x.put("orders", 0, 1)
		time.Sleep(20 * time.Second)
		if version2 {
			x.requireState(TransactionOngoing)
			requireLog(t, c, "orders", 0, 2, 1)
			return
		}
		x.requireState(TransactionCommitted) // the protocol's flaw: the next transaction is torn
	})
}

func TestPartitionWithoutLeaderHoldsTheTransactionUp(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		c.MustCreateTopic("single", 3, TopicConfig{Replicas: 1})
		x := newTxnClient(t, c, "mover", version2)
		require.NoError(t, c.MoveCoordinator(TransactionCoordinator, x.id, 1))
		x.mustInit()
		x.put("single", 1, 1)
		x.put("single", 2, 1)
		require.NoError(t, c.StopNode(2))
		require.NoError(t, c.StopNode(3))
		x.mustEnd(true)
		require.Equal(t, []TopicPartition{{"single", 1}, {"single", 2}}, x.requireState(TransactionPreparingCommit).Partitions)
		require.NoError(t, c.StartNode(2))
		require.Equal(t, []TopicPartition{{"single", 2}}, x.requireState(TransactionPreparingCommit).Partitions)
		require.Equal(t, protocol.ConcurrentTransactions, x.init(noProducer))
		require.NoError(t, c.DeleteTopic("single"))
		x.requireState(TransactionCommitted)
		x.mustInit()
	})
}

// With versions from 4 on a request is a node's: many transactions, and VerifyOnly.
func TestNodesVerifyTransactions(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 2, TopicConfig{})
		x := newTxnClient(t, c, "mover", true)
		x.mustInit()
		x.put("orders", 0, 1)
		ask := func(verify bool, partition int32) message.AddPartitionsToTxnTransaction {
			return message.AddPartitionsToTxnTransaction{TransactionalID: x.id, ProducerID: x.producer.id, ProducerEpoch: x.producer.epoch, VerifyOnly: verify,
				Topics: []message.AddPartitionsToTxnTopic{{Name: "orders", Partitions: []int32{partition}}}}
		}
		req := &message.AddPartitionsToTxnRequest{Transactions: []message.AddPartitionsToTxnTransaction{ask(true, 0), ask(true, 1), ask(false, 1), ask(true, 1)}}
		var codes []protocol.ErrorCode
		for _, r := range x.coordinator().do(req, 5).(*message.AddPartitionsToTxnResponse).ResultsByTransaction {
			require.Equal(t, x.id, r.TransactionalID)
			codes = append(codes, r.TopicResults[0].ResultsByPartition[0].PartitionErrorCode)
		}
		require.Equal(t, []protocol.ErrorCode{protocol.None, protocol.TransactionAbortable, protocol.None, protocol.None}, codes)
	})
}
