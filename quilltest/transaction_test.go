package quilltest

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

func TestCommittedTransactionIsSeenAsAWhole(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		x.mustInit()
		x.requireState(TransactionEmpty)
		for round := 1; round <= 3; round++ {
			before := x.producer
			x.put("orders", 0, 2)
			x.put("orders", 1, 1)
			open := x.requireState(TransactionOngoing)
			require.Equal(t, []TopicPartition{{"orders", 0}, {"orders", 1}}, open.Partitions)
			require.Equal(t, time.Now(), open.Started)
			requireLog(t, c, "orders", 0, 2*round, 2*(round-1))
			x.mustEnd(true)
			done := x.requireState(TransactionCommitted)
			require.Empty(t, done.Partitions)
			require.Zero(t, done.Started)
			requireLog(t, c, "orders", 0, 2*round, 2*round)
			requireLog(t, c, "orders", 1, round, round)
			require.Equal(t, version2, x.producer.epoch == before.epoch+1, "version 2 has an epoch per transaction")
		}
		start, end, err := c.Offsets("orders", 0)
		require.NoError(t, err)
		require.Equal(t, []int64{0, 9}, []int64{start, end}, "markers have offsets")
		require.Equal(t, int64(9), c.Appended("orders"), "markers are no records")
	})
}

// TestTransactionsInEveryRelease goes the whole way in the versions that each release serves.
func TestTransactionsInEveryRelease(t *testing.T) {
	for _, r := range releases {
		inBubble(t, Options{Release: r.name}, func(t *testing.T, c *Cluster) {
			c.MustCreateTopic("orders", 1, TopicConfig{})
			x := newTxnClient(t, c, "mover", c.features["transaction.version"] >= 2)
			require.Equal(t, !r.before(4, 0), x.version2)
			x.mustInit()
			for _, commit := range []bool{true, false, true} {
				if !x.version2 {
					require.Equal(t, protocol.None, x.addGroup("group"))
				}
				x.put("orders", 0, 1)
				require.Equal(t, protocol.None, x.commitOffset("group", "orders", int64(x.sequences[TopicPartition{"orders", 0}]), nil))
				x.mustEnd(commit)
			}
			requireLog(t, c, "orders", 0, 3, 2)
			require.Len(t, c.GroupOffsets("group"), 1)
			newTxnClient(t, c, "mover", x.version2).mustInit()
			want := protocol.ProducerFenced
			if r.before(2, 7) {
				want = protocol.InvalidProducerEpoch
			}
			require.Equal(t, want, x.end(true))
			require.Equal(t, []protocol.ErrorCode{want}, x.add("orders", 0))
			require.Equal(t, want, x.addGroup("group"))
		})
	}
}

func TestAbortedTransactionIsNeverSeen(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x, y := newTxnClient(t, c, "one", version2), newTxnClient(t, c, "two", version2)
		x.mustInit()
		y.mustInit()
		x.put("orders", 0, 1) // 0: aborted
		y.put("orders", 0, 2) // 1, 2: committed, but behind an open transaction
		y.mustEnd(true)
		requireLog(t, c, "orders", 0, 3, 0)
		stable, err := c.LastStableOffset("orders", 0)
		require.NoError(t, err)
		require.Zero(t, stable)
		x.mustEnd(false)
		x.requireState(TransactionAborted)
		requireLog(t, c, "orders", 0, 3, 2)

		x.put("orders", 0, 4) // the same id goes on and commits
		requireLog(t, c, "orders", 0, 7, 2)
		x.mustEnd(true)
		requireLog(t, c, "orders", 0, 7, 6)
		all, err := c.AllCommittedRecords("orders")
		require.NoError(t, err)
		require.Len(t, all, 6)
		require.Equal(t, int64(1), all[0].Offset)
		stable, err = c.LastStableOffset("orders", 0)
		require.NoError(t, err)
		require.Equal(t, int64(10), stable)
	})
}

func TestMarkersAreControlBatches(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		x.mustInit()
		for i, commit := range []bool{true, false} {
			x.put("orders", 0, 1)
			x.mustEnd(commit)
			batches, err := c.Batches("orders", 0)
			require.NoError(t, err)
			b := batches[2*i+1]
			require.True(t, b.Header.Control() && b.Header.Transactional())
			require.Equal(t, protocol.BatchCRC(b.Bytes), b.Header.CRC)
			require.Equal(t, x.producer, producerID{b.Header.ProducerID, b.Header.ProducerEpoch}, "the epoch from then on")
			require.Equal(t, []int64{int64(2*i + 1), int64(2*i + 1)}, []int64{b.Header.BaseOffset, b.Header.LastOffset()})
			records, err := b.Records()
			require.NoError(t, err)
			kind := map[bool]byte{true: 1, false: 0}[commit]
			require.Equal(t, []byte{0, 0, 0, kind}, records[0].Key)
			require.Equal(t, []byte{0, 0, 0, 0, 0, 0}, records[0].Value)
		}
	})
}

// What comes late from a transaction that has ended has an old epoch, but for version 1 without a
// bump: there it is not in the transaction.
func TestLateProduceIsRefused(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		x.mustInit()
		x.put("orders", 0, 1)
		late := *x
		x.mustEnd(false)
		want := protocol.TransactionAbortable
		if version2 {
			want = protocol.InvalidProducerEpoch
		}
		require.Equal(t, want, late.write("orders", 0, 1))
		x.put("orders", 1, 1)
		require.Equal(t, want, late.write("orders", 0, 1))
		x.mustEnd(true)
		requireLog(t, c, "orders", 0, 1, 0)
	})
}

func TestSecondInstanceFencesTheFirst(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		older, newer := newTxnClient(t, c, "mover", version2), newTxnClient(t, c, "mover", version2)
		for range 20 {
			older.mustInit()
			older.put("orders", 0, 1)
			require.Equal(t, protocol.ConcurrentTransactions, newer.init(noProducer), "the open transaction is aborted first")
			newer.mustInit()
			require.Equal(t, older.producer.id, newer.producer.id)
			require.Equal(t, older.producer.epoch+2, newer.producer.epoch)

			require.Equal(t, protocol.InvalidProducerEpoch, older.write("orders", 0, 1))
			require.Equal(t, []protocol.ErrorCode{protocol.ProducerFenced}, older.add("orders", 0))
			require.Equal(t, protocol.ProducerFenced, older.addGroup("group"))
			require.Equal(t, protocol.InvalidProducerEpoch, older.commitOffset("group", "orders", 1, nil))
			require.Equal(t, protocol.ProducerFenced, older.end(true))
			require.Equal(t, protocol.ProducerFenced, older.end(false))
			require.Equal(t, protocol.ProducerFenced, older.init(older.producer))
			newer.put("orders", 0, 1)
			newer.mustEnd(true)
		}
		requireLog(t, c, "orders", 0, 40, 20)
	})
}

// A producer that names its id and epoch gets the next epoch, also if it asks twice because the
// answer got lost, unless another instance was there (KIP-360).
func TestRecoveryNamesTheProducer(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		x.mustInit()
		before := x.producer
		require.Equal(t, protocol.None, x.init(before))
		bumped := x.producer
		require.Equal(t, producerID{before.id, before.epoch + 1}, bumped)
		require.Equal(t, protocol.None, x.init(before), "again")
		require.Equal(t, bumped, x.producer)
		require.Equal(t, protocol.ProducerFenced, x.init(producerID{before.id + 7, before.epoch}))

		newTxnClient(t, c, "mover", version2).mustInit()
		require.Equal(t, protocol.ProducerFenced, x.init(before))
		require.Equal(t, protocol.ProducerFenced, x.init(bumped))

		lost := newTxnClient(t, c, "lost", version2)
		require.Equal(t, protocol.None, lost.init(producerID{4711, 3}), "an id that the coordinator forgot gets a new one")
		require.NotEqual(t, int64(4711), lost.producer.id)
	})
}

func TestTimeoutAborts(t *testing.T) {
	inBothVersions(t, Options{}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		x.timeout = 10 * time.Second
		x.mustInit()
		x.put("orders", 0, 1)
		x.put("orders", 1, 1)
		x.mustEnd(true)
		time.Sleep(time.Hour)
		x.requireState(TransactionCommitted)

		x.put("orders", 0, 1)
		x.put("bills", 0, 1)
		time.Sleep(9999 * time.Millisecond)
		x.put("orders", 0, 1) // does not give it more time
		x.requireState(TransactionOngoing)
		require.NoError(t, c.WaitFor(t.Context(), func() bool {
			now, _ := c.Transaction("mover")
			return now.State == TransactionAborted
		}))
		requireLog(t, c, "orders", 0, 3, 1)
		requireLog(t, c, "bills", 0, 1, 0)
		require.Equal(t, protocol.InvalidProducerEpoch, x.write("orders", 0, 1))
		require.NotEqual(t, protocol.None, x.end(true))

		require.Equal(t, x.producer.epoch+1, x.requireState(TransactionAborted).ProducerEpoch)
		if version2 {
			require.Equal(t, protocol.None, x.end(false), "an abort of what is aborted gives the producer its epoch")
		} else {
			require.Equal(t, protocol.ProducerFenced, x.end(false))
			x.mustInit()
		}
		x.put("orders", 0, 1)
		x.mustEnd(true)
		requireLog(t, c, "orders", 0, 4, 2)
	})
}

func TestTransactionTimeoutHasBounds(t *testing.T) {
	inBubble(t, Options{MaxTransactionTimeout: time.Minute}, func(t *testing.T, c *Cluster) {
		x := newTxnClient(t, c, "mover", true)
		for timeout, want := range map[time.Duration]protocol.ErrorCode{
			-time.Millisecond: protocol.InvalidTransactionTimeout, 0: protocol.InvalidTransactionTimeout,
			time.Minute + time.Millisecond: protocol.InvalidTransactionTimeout, time.Minute: protocol.None, time.Millisecond: protocol.None,
		} {
			x.timeout = timeout
			require.Equal(t, want, x.init(noProducer), timeout)
		}
	})
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		x := newTxnClient(t, c, "mover", true)
		x.timeout = 15 * time.Minute
		x.mustInit()
		require.Equal(t, x.timeout, x.requireState(TransactionEmpty).Timeout)
		x.timeout = 15*time.Minute + time.Millisecond
		require.Equal(t, protocol.InvalidTransactionTimeout, x.init(noProducer))
	})
}

// While markers are written, all requests about the transactional id have to wait.
func TestMarkersTakeTime(t *testing.T) {
	inBothVersions(t, Options{MarkerDelay: time.Second}, func(t *testing.T, c *Cluster, version2 bool) {
		x := newTxnClient(t, c, "mover", version2)
		x.mustInit()
		x.put("orders", 0, 1)
		again := *x
		x.mustEnd(true)
		require.NotEmpty(t, x.requireState(TransactionPreparingCommit).Partitions)
		requireLog(t, c, "orders", 0, 1, 0)
		require.Equal(t, protocol.ConcurrentTransactions, x.init(noProducer))
		require.Equal(t, []protocol.ErrorCode{protocol.ConcurrentTransactions}, x.add("orders", 0))
		require.Equal(t, protocol.ConcurrentTransactions, x.addGroup("group"))
		require.Equal(t, protocol.ConcurrentTransactions, again.end(true))
		require.Equal(t, protocol.InvalidTxnState, again.end(false))
		produce, commit := protocol.NotEnoughReplicas, protocol.CoordinatorNotAvailable // version 1 has no better words
		if version2 {
			produce, commit = protocol.ConcurrentTransactions, protocol.ConcurrentTransactions
		}
		require.Equal(t, produce, x.write("orders", 0, 1))
		require.Equal(t, commit, x.commitOffset("group", "orders", 1, nil))
		time.Sleep(time.Second)
		require.NoError(t, c.WaitFor(t.Context(), func() bool {
			now, _ := c.Transaction("mover")
			return now.State == TransactionCommitted
		}))
		requireLog(t, c, "orders", 0, 1, 1)
		x.put("orders", 0, 1)
	})
}
