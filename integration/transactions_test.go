package integration

// Transactions against real coordinators. Judges are Java's consumer and kcat, each with both isolation levels, the admin
// client's view of groups and transactions, and what lies on disk.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/integration/ledger"
)

func TestTransactionsCommitAndAbort(t *testing.T) {
	for codec := range quill.CompressionZstd + 1 {
		t.Run(codec.String(), func(t *testing.T) { testTransactions(t, threeNodes(t), codec) })
	}
}

func TestFencedProducerWritesNothing(t *testing.T) { testFencing(t, threeNodes(t), "fenced") }

// testTransactions commits and aborts in all ways there are and looks at what readers see of it.
func testTransactions(t *testing.T, c *kafkaharness.Cluster, codec quill.Compression) {
	t.Helper()
	ctx := within(t, 2*time.Minute)
	w := &txnWriter{name: "plain-" + codec.String(), partitions: 3}
	w.topic = newTopic(t, c, w.name, w.partitions)
	w.producer = newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), TransactionalID: w.name, Compression: codec})
	require.NoError(t, w.producer.InitTransactions(ctx))
	w.run(ctx, t)
	require.NoError(t, c.WaitNoTransactions(ctx, w.topic))

	slices.Sort(w.committed)
	require.Equal(t, w.committed, valuesOf(ctx, t, c, w.topic, kafkaharness.ReadCommitted))
	all := append(slices.Clone(w.committed), w.aborted...)
	slices.Sort(all)
	require.Equal(t, all, valuesOf(ctx, t, c, w.topic, kafkaharness.ReadUncommitted))
	offsets, err := c.GroupOffsets(ctx, w.name, w.topic)
	require.NoError(t, err)
	require.Equal(t, map[int32]int64{0: 7, 1: 4}, offsets, "those of committed transactions, each partition's last")
	requireTxnBatches(ctx, t, c, w.topic, codec)
}

// txnWriter writes values that tell whether they count.
type txnWriter struct {
	name, topic        string
	partitions         int
	producer           *quill.Producer[[]byte, []byte]
	n                  int // values so far
	committed, aborted []string
}

// values are the next ones, a few for each partition.
func (w *txnWriter) values(into *[]string) []quill.Record[[]byte, []byte] {
	var records []quill.Record[[]byte, []byte]
	for range 10 * w.partitions {
		value := fmt.Sprintf("%05d of %s %s", w.n, w.name, strings.Repeat("which is long enough to be compressed ", 3))
		records = append(records, quill.Record[[]byte, []byte]{Topic: w.topic, Partition: quill.Partition(int32(w.n % w.partitions)), Value: []byte(value)})
		if into != nil {
			*into = append(*into, value)
		}
		w.n++
	}
	return records
}

// run is the story: ways to commit and ways to abort in turn, so that each follows each.
func (w *txnWriter) run(ctx context.Context, t *testing.T) {
	p, sorry := w.producer, errors.New("sorry")
	offsets := func(partition int32, offset int64) map[quill.TopicPartition]quill.OffsetAndMetadata {
		return map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: w.topic, Partition: partition}: {Offset: offset, Metadata: "here"}}
	}
	group := quill.GroupMetadata{GroupID: w.name}
	send := func(into *[]string) {
		require.NoError(t, p.BeginTransaction())
		for _, r := range w.values(into) {
			p.SendFunc(ctx, r, nil)
		}
	}
	commit := func() {
		send(&w.committed)
		require.NoError(t, p.CommitTransaction(ctx))
	}
	commit()
	send(&w.aborted) // all of it in the log
	require.NoError(t, p.SendOffsetsToTransaction(ctx, offsets(0, 9), group))
	require.NoError(t, p.Flush(ctx))
	require.NoError(t, p.AbortTransaction(ctx))
	require.NoError(t, p.InTransaction(ctx, func(tx *quill.Tx[[]byte, []byte]) error {
		for _, r := range w.values(&w.committed) {
			tx.Send(ctx, r)
		}
		return errors.Join(tx.SendOffsets(ctx, offsets(0, 6), group), tx.SendOffsets(ctx, offsets(1, 4), group))
	}))
	require.Equal(t, sorry, p.InTransaction(ctx, func(tx *quill.Tx[[]byte, []byte]) error {
		for _, r := range w.values(&w.aborted) {
			tx.Send(ctx, r)
		}
		if err := errors.Join(p.Flush(ctx), tx.SendOffsets(ctx, offsets(2, 1), group)); err != nil {
			return err
		}
		return sorry
	}))
	require.Panics(t, func() {
		_ = p.InTransaction(ctx, func(tx *quill.Tx[[]byte, []byte]) error { panic(sorry) })
	})
	require.NoError(t, p.BeginTransaction()) // nothing in it
	require.NoError(t, p.CommitTransaction(ctx))
	require.NoError(t, p.BeginTransaction()) // offsets alone
	require.NoError(t, p.SendOffsetsToTransaction(ctx, offsets(0, 7), group))
	require.NoError(t, p.CommitTransaction(ctx))
	for range 5 { // without a pause between them: the coordinator still writes the markers before
		commit()
	}
}

// valuesOf reads a topic with Java's consumer and with kcat, which must see the same, and returns the values in their own order.
func valuesOf(ctx context.Context, t *testing.T, c *kafkaharness.Cluster, topic string, isolation kafkaharness.Isolation) []string {
	t.Helper()
	records, err := c.IsolatedRecords(ctx, topic, isolation)
	require.NoError(t, err)
	var values []string
	var rows, same []ledger.Row
	for _, r := range records {
		values = append(values, string(r.Value))
		rows = append(rows, ledger.NewRow(r.Partition, r.Offset, r.Timestamp, r.Key, r.Value, nil))
	}
	kcat, err := kafkaharness.FindKcat(ctx)
	kafkaharness.RequireFound(t, err)
	for row, err := range kcat.IsolatedRows(ctx, c.Bootstrap(), topic, isolation) {
		require.NoError(t, err)
		same = append(same, row)
	}
	byPlace := func(a, b ledger.Row) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	}
	slices.SortFunc(rows, byPlace)
	slices.SortFunc(same, byPlace)
	require.Equal(t, rows, same, "Java's consumer and kcat, %s", isolation)
	slices.Sort(values)
	return values
}

// requireTxnBatches looks at a node's disk: every batch belongs to a transaction, and has the epoch of it.
func requireTxnBatches(ctx context.Context, t *testing.T, c *kafkaharness.Cluster, topic string, codec quill.Compression) {
	t.Helper()
	require.NoError(t, c.WaitInSync(ctx, topic))
	dump, err := c.Batches(ctx, c.Node(1), topic)
	require.NoError(t, err)
	markers, epochs := 0, map[int16]bool{}
	for b, err := range dump {
		require.NoError(t, err)
		require.True(t, b.Valid)
		require.True(t, b.Transactional, "%+v", b)
		if b.Control {
			markers++
			continue
		}
		require.Equal(t, codec.String(), b.Codec, "%+v", b)
		epochs[b.ProducerEpoch] = true
	}
	require.Positive(t, markers)
	if strings.HasPrefix(c.Node(1).Version(), "3.") { // version 1 of transactions
		require.Len(t, epochs, 1, "all went well: nothing raised the epoch")
	} else {
		require.Greater(t, len(epochs), 5, "an epoch for each transaction")
	}
}

// testFencing has one instance after the other take over a transactional id. Whatever the one before was doing, none of it
// gets into the log any more, and it is told why. In CI they are few; QUILL_TX_FENCES says how many.
func testFencing(t *testing.T, c *kafkaharness.Cluster, id string) {
	ctx := within(t, 9*time.Minute)
	topic := newTopic(t, c, id, 3)
	record := func(value string, i int) quill.Record[[]byte, []byte] {
		return quill.Record[[]byte, []byte]{Topic: topic, Partition: quill.Partition(int32(i % 3)), Value: []byte(value)}
	}
	var older *quill.Producer[[]byte, []byte]
	var kept []string
	told := map[string]int{} // by the call
	for i := range numberFrom(t, "QUILL_TX_FENCES", 20) {
		newer := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), TransactionalID: id, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, newer.InitTransactions(ctx))
		if older != nil {
			if i%4 == 1 {
				require.NoError(t, older.BeginTransaction())
			}
			if i%2 == 0 { // whatever it does first
				require.Error(t, older.SendOffsetsToTransaction(ctx, map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: topic}: {Offset: 99}},
					quill.GroupMetadata{GroupID: id}))
			}
			_, sent := older.SendSync(ctx, record(fmt.Sprintf("late-%03d", i), i))
			require.Error(t, sent)
			err := requireFenced(ctx, t, older)
			if told[err.Op]++; told[err.Op] == 1 {
				t.Log(err)
			}
			require.NoError(t, older.Close(ctx))
		}
		kept = append(kept, fmt.Sprintf("kept-%03d", i))
		require.NoError(t, newer.InTransaction(ctx, func(tx *quill.Tx[[]byte, []byte]) error {
			_, err := tx.Send(ctx, record(kept[i], i)).Wait(ctx)
			return err
		}))
		// It is taken by surprise: outside a transaction, in one with a record in the partition to which the next will go or
		// in another, or in an empty one.
		if i%4 > 0 {
			require.NoError(t, newer.BeginTransaction())
		}
		if i%4 == 1 || i%4 == 2 {
			_, err := newer.SendSync(ctx, record("aborted", i+i%4))
			require.NoError(t, err)
		}
		older = newer
	}
	t.Logf("who told the older ones: %v", told)
	require.NoError(t, older.Close(ctx))
	require.NoError(t, c.WaitNoTransactions(ctx, topic))
	require.Equal(t, kept, valuesOf(ctx, t, c, topic, kafkaharness.ReadCommitted))
	for _, value := range valuesOf(ctx, t, c, topic, kafkaharness.ReadUncommitted) {
		require.NotContains(t, value, "late")
	}
	offsets, err := c.GroupOffsets(ctx, id, topic)
	require.NoError(t, err)
	require.Empty(t, offsets)
}

// requireFenced ends the transaction of a producer whose id was taken over, by the book, and returns the error.
func requireFenced(ctx context.Context, t *testing.T, p *quill.Producer[[]byte, []byte]) *quill.Error {
	t.Helper()
	err := p.CommitTransaction(ctx)
	require.Error(t, err)
	if !errors.Is(err, quill.ErrFatal) {
		require.ErrorIs(t, err, quill.ErrAbortable)
		err = p.AbortTransaction(ctx)
	}
	require.ErrorIs(t, err, quill.ErrFatal)
	require.ErrorIs(t, err, quill.ErrProducerFenced)
	next := p.BeginTransaction()
	require.ErrorIs(t, next, quill.ErrFatal)
	require.ErrorIs(t, next, quill.ErrProducerFenced)
	e, ok := errors.AsType[*quill.Error](err)
	require.True(t, ok)
	return e
}
