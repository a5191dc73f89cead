package testkit

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Edit changes the next answers to a request.
func Edit[M any](x *TxnLab, key protocol.APIKey, times int, change func(m M)) *quilltest.Injection {
	return x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{key}, Times: times,
		Edit: func(_ *quilltest.Request, response any) { change(response.(M)) }})
}

// Written begins a transaction that the coordinator knows of.
func (x *TxnLab) Written() {
	x.Helper()
	require.NoError(x, x.P.InitTransactions(x.Context()))
	x.Begin()
	_, err := x.P.SendSync(x.Context(), To(0, "v"))
	require.NoError(x, err)
}

// GroupOffsets are what SendOffsets adds.
var GroupOffsets = map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: 7, LeaderEpoch: 1, Metadata: "here"}}

// SendOffsets adds offsets to the transaction.
func (x *TxnLab) SendOffsets() error {
	return x.P.SendOffsetsToTransaction(x.Context(), GroupOffsets, quill.GroupMetadata{GroupID: "g"})
}

// RequireGoesOn shows that the producer can do another transaction.
func (x *TxnLab) RequireGoesOn() {
	x.Helper()
	before, err := x.C.CommittedRecords("t", 2)
	require.NoError(x, err)
	x.Begin()
	x.Send(2, "on")
	x.Commit()
	after, err := x.C.CommittedRecords("t", 2)
	require.NoError(x, err)
	require.Len(x, after, len(before)+1)
}

// RequireFatal shows that it can't.
func (x *TxnLab) RequireFatal(is error) {
	x.Helper()
	for _, err := range []error{x.P.BeginTransaction(), x.P.AbortTransaction(x.Context())} {
		require.ErrorIs(x, err, quill.ErrFatal)
		require.ErrorIs(x, err, is)
	}
}

// Over lets the transaction time out that a fatal error left behind.
func (x *TxnLab) Over() {
	_ = x.P.Close(x.Context())
	time.Sleep(2 * time.Minute)
}

// RequireAbortable shows that the transaction can only be aborted, and that this helps.
func (x *TxnLab) RequireAbortable(is error) {
	x.Helper()
	_, sent := x.Send(0, "refused").Wait(x.Context())
	for _, err := range []error{sent, x.P.BeginTransaction(), x.SendOffsets(), x.P.CommitTransaction(x.Context())} {
		require.ErrorIs(x, err, is)
		require.ErrorIs(x, err, quill.ErrAbortable)
	}
	x.Abort()
	x.RequireGoesOn()
}

// RequireUseless shows that each call fails for the same reason.
func (x *TxnLab) RequireUseless(is error) {
	x.Helper()
	x.RequireFatal(is)
	_, sent := x.Send(0, "refused").Wait(x.Context())
	for _, err := range []error{sent, x.SendOffsets(), x.P.CommitTransaction(x.Context()), x.P.InitTransactions(x.Context())} {
		require.ErrorIs(x, err, is)
		require.ErrorIs(x, err, quill.ErrFatal)
	}
}

// LastInit returns the node that got the last InitProducerId.
func (x *TxnLab) LastInit() int32 {
	node := int32(-1)
	for _, r := range x.C.Requests() {
		if r.API == protocol.InitProducerID {
			node = r.Node
		}
	}
	return node
}

// ExchangeOffsets sends offsets of partition 1 on behalf of group "g".
func (x *TxnLab) ExchangeOffsets() error {
	offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t", Partition: 1}: {Offset: 1}}
	return x.P.SendOffsetsToTransaction(x.Context(), offsets, quill.GroupMetadata{GroupID: "g"})
}

// Epoch returns the producer's, as its coordinator knows it.
func (x *TxnLab) Epoch() int16 {
	txn, _ := x.C.Transaction(TxnID)
	return txn.ProducerEpoch
}

// Secret makes a topic that the producer may not write to.
func (x *TxnLab) Secret() {
	x.C.MustCreateTopic("secret", 1, quilltest.TopicConfig{})
	x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, Topic: "secret", Times: -1, Err: protocol.TopicAuthorizationFailed})
}

// KnowTopics has the producer learn of topics, so that records to them need not wait.
func (x *TxnLab) KnowTopics(names ...string) {
	for _, name := range append(names, "t") {
		_, err := x.P.PartitionsFor(x.Context(), name)
		require.NoError(x, err)
	}
}

// Spoil makes the transaction abortable by a record that no batch can hold.
func (x *TxnLab) Spoil() {
	x.Helper()
	_, err := x.Send(2, string(make([]byte, 2<<20))).Wait(x.Context())
	require.ErrorIs(x, err, quill.ErrAbortable)
	require.ErrorIs(x, err, quill.ErrRecordTooLarge)
}

// Ruin makes the producer useless: an answer to Produce says so for partition 2. It returns when that
// was heard.
func (x *TxnLab) Ruin() {
	x.Helper()
	x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Topic: "t", Partitions: []int32{2}, Err: protocol.InvalidProducerIDMapping})
	_, err := x.Send(2, "ruin").Wait(x.Context())
	require.ErrorIs(x, err, quill.ErrFatal)
	require.ErrorIs(x, err, protocol.InvalidProducerIDMapping)
}

// CommitFor commits and returns the error.
func (x *TxnLab) CommitFor(ctx context.Context) error { return x.P.CommitTransaction(ctx) }

// AbortFor aborts and returns the error.
func (x *TxnLab) AbortFor(ctx context.Context) error { return x.P.AbortTransaction(ctx) }

// Stall holds back the answer by which partition 0 is added, so that partition 1, sent to afterwards, has
// not even been asked for. It returns what was sent.
func (x *TxnLab) Stall() (added, waiting quill.Future) {
	x.Helper()
	x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, Topic: "t", Partitions: []int32{0}, AnswerDelay: 3 * time.Second})
	added = x.Send(0, "a")
	time.Sleep(time.Second)
	waiting = x.Send(1, "b")
	time.Sleep(time.Second)
	return added, waiting
}

// Retrying begins a transaction that has partition 0 with a record that is to be sent again in a second,
// and one behind it that never left.
func (x *TxnLab) Retrying() (first, behind quill.Future) {
	x.Helper()
	x.Begin()
	_, err := x.P.SendSync(x.Context(), To(2, "v"))
	require.NoError(x, err)
	x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Topic: "t", Partitions: []int32{0}, Err: protocol.NotEnoughReplicas})
	first = x.Send(0, "a")
	time.Sleep(100 * time.Millisecond)
	behind = x.Send(0, "b")
	time.Sleep(100 * time.Millisecond)
	return first, behind
}

// Delivered sends a record and waits until it is in the log.
func (x *TxnLab) Delivered(partition int32, value string) {
	x.Helper()
	_, err := x.Send(partition, value).Wait(x.Context())
	require.NoError(x, err)
}

// Failure waits for a record that must fail so that the transaction is to be aborted.
func (x *TxnLab) Failure(f quill.Future, is error) {
	x.Helper()
	_, err := f.Wait(x.Context())
	require.ErrorIs(x, err, is)
	require.ErrorIs(x, err, quill.ErrAbortable)
}

// AbortWithBump returns what an abort asks for after a record was refused: with version 1 the new epoch has
// to be asked for.
func (x *TxnLab) AbortWithBump() []string {
	if x.Version2 {
		return []string{"abort"}
	}
	return []string{"abort", "init"}
}

// RequireAfterAbort checks what became of a batch that was in retry when the transaction failed.
func (x *TxnLab) RequireAfterAbort(f quill.Future, wire *TxnWire) {
	x.Helper()
	asked := wire.Take()
	if x.Version2 {
		x.Failure(f, quill.ErrTransactionAborted)
		require.Equal(x, []string{"produce t-0", "abort"}, asked)
	} else {
		m, err := f.Wait(x.Context())
		require.NoError(x, err)
		require.Equal(x, "t", m.Topic)
		require.Equal(x, []string{"produce t-0", "produce t-0", "abort"}, asked)
	}
	x.RequireGoesOn()
	x.RequireCommitted("on")
}

// Leader returns the node that leads a partition of topic "t".
func (x *TxnLab) Leader(partition int32) int32 {
	x.Helper()
	node, _, err := x.C.Leader("t", partition)
	require.NoError(x, err)
	return node
}

// Resume resumes a node and returns when it has handled what arrived meanwhile. Without the wait a late
// request is handled beside what the test does next, in either order.
func (x *TxnLab) Resume(node int32) {
	x.Helper()
	require.NoError(x, x.C.ResumeNode(node))
	synctest.Wait()
}

// Apart gives partitions 0 and 1 a leader that is neither coordinator nor leads partition 2, and returns it.
func (x *TxnLab) Apart() int32 {
	x.Helper()
	require.NoError(x, x.C.MoveCoordinator(quilltest.TransactionCoordinator, TxnID, 1))
	for p := range int32(3) {
		require.NoError(x, x.C.MoveLeader("t", p, 2+p/2))
	}
	return 2
}

// TwoOffsets are of partitions 0 and 1.
var TwoOffsets = map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: 1}, {Topic: "t", Partition: 1}: {Offset: 1}}

// SendTwoOffsets sends offsets as SendOffsets does, for a group that gives its id only.
func (x *TxnLab) SendTwoOffsets() error {
	return x.P.SendOffsetsToTransaction(x.Context(), TwoOffsets, quill.GroupMetadata{GroupID: "g"})
}

// Silent lets the nodes swallow all requests of a kind until it is removed.
func (x *TxnLab) Silent(api protocol.APIKey) *quilltest.Injection {
	return x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{api}, DropRequest: true, Times: -1})
}

// OffsetRequests returns a function that says on whose behalf offsets were committed since.
func (x *TxnLab) OffsetRequests() func() []quill.GroupMetadata {
	var all []quill.GroupMetadata
	x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.TxnOffsetCommit}, Times: -1, Do: func(r *quilltest.Request) {
		m := r.Message.(*message.TxnOffsetCommitRequest)
		g := quill.GroupMetadata{GroupID: m.GroupID, GenerationID: m.GenerationIDOrMemberEpoch, MemberID: m.MemberID}
		if m.GroupInstanceID != nil {
			g.GroupInstanceID = *m.GroupInstanceID
		}
		all = append(all, g)
	}})
	return func() []quill.GroupMetadata { return all } // the test has waited for their answers
}

// RequireSequences compares those of the requests to partition 0, which have one epoch.
func (x *TxnLab) RequireSequences(wire *TxnWire, want ...int32) {
	x.Helper()
	var got []int32
	for _, a := range wire.Named("produce t-0") {
		require.Zero(x, a.Epoch)
		got = append(got, a.First)
	}
	require.Equal(x, want, got)
}

// TxnID is the transactional id of the producer in a TxnLab.
const TxnID = "mover"

// TxnLab is a cluster with topic "t" of three partitions and a transactional producer.
type TxnLab struct {
	*testing.T
	C        *quilltest.Cluster
	P        *quill.Producer[string, string]
	Cfg      quill.Config
	Version2 bool
}

// InRelease runs the test as inTransactions does, for one release, before InitTransactions.
func InRelease(t *testing.T, opts quilltest.Options, change func(cfg *quill.Config), test func(x *TxnLab)) {
	t.Helper()
	Bubble(t, opts, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		x := &TxnLab{T: t, C: c, Cfg: Config(c), Version2: opts.Release >= "4"}
		x.Cfg.TransactionalID = TxnID
		if change != nil {
			change(&x.Cfg)
		}
		x.P = Open(x.T, x.Cfg)
		test(x)
		if err := x.P.Close(After(t, time.Minute)); err != nil {
			require.ErrorIs(t, err, quill.ErrForceClosed, "the test closed it so before")
		}
		require.EqualValues(t, 32<<20, FreeMemory(x.P), "all memory is back")
		x.RequireNothingOpen()
	})
}

// Begin begins a transaction.
func (x *TxnLab) Begin() {
	x.Helper()
	require.NoError(x, x.P.BeginTransaction())
}

// Send sends a record to a partition.
func (x *TxnLab) Send(partition int32, value string) quill.Future {
	return x.P.Send(x.Context(), quill.Record[string, string]{Topic: "t", Partition: quill.Partition(partition), Value: value})
}

// Commit commits the transaction.
func (x *TxnLab) Commit() {
	x.Helper()
	require.NoError(x, x.P.CommitTransaction(x.Context()))
}

// Abort aborts the transaction.
func (x *TxnLab) Abort() {
	x.Helper()
	require.NoError(x, x.P.AbortTransaction(x.Context()))
}

// RequireCommitted compares what a read-committed consumer sees of topic "t", in the order of partitions.
func (x *TxnLab) RequireCommitted(values ...string) {
	x.Helper()
	records, err := x.C.AllCommittedRecords("t")
	require.NoError(x, err)
	var got []string
	for _, r := range records {
		got = append(got, string(r.Value))
	}
	require.Equal(x, values, got)
}

// RequireNothingOpen requires that no transaction is left open on the cluster.
func (x *TxnLab) RequireNothingOpen() {
	x.Helper()
	for _, txn := range x.C.Transactions() {
		require.NotEqual(x, quilltest.TransactionOngoing, txn.State)
	}
}

// Requests counts those of an API that the cluster got.
func (x *TxnLab) Requests(key protocol.APIKey) int {
	n := 0
	for _, r := range x.C.Requests() {
		if r.API == key {
			n++
		}
	}
	return n
}

// To returns a record of topic "t" for a partition.
func To(partition int32, value string) quill.Record[string, string] {
	return quill.Record[string, string]{Topic: "t", Partition: quill.Partition(partition), Value: value}
}
