package transaction_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What goes wrong in transactions, and how the producer comes out of it.

// What a coordinator may say in a transaction, and what it means.
var coordinatorErrors = []struct {
	api      protocol.APIKey
	code     protocol.ErrorCode
	fatal    bool // else abortable
	is       error
	version1 bool // the request is part of version 1 only
}{
	{protocol.AddPartitionsToTxn, protocol.TopicAuthorizationFailed, false, nil, true},
	{protocol.AddPartitionsToTxn, protocol.UnknownProducerID, false, nil, true},
	{protocol.AddPartitionsToTxn, protocol.TransactionAbortable, false, nil, true},
	{protocol.AddPartitionsToTxn, protocol.TransactionalIDAuthorizationFailed, true, nil, true},
	{protocol.AddPartitionsToTxn, protocol.InvalidTxnState, true, nil, true},
	{protocol.AddPartitionsToTxn, protocol.ProducerFenced, true, quill.ErrProducerFenced, true},
	{protocol.AddPartitionsToTxn, protocol.InvalidProducerEpoch, true, quill.ErrProducerFenced, true},
	{protocol.AddOffsetsToTxn, protocol.GroupAuthorizationFailed, false, nil, true},
	{protocol.AddOffsetsToTxn, protocol.InvalidProducerIDMapping, true, nil, true},
	{protocol.TxnOffsetCommit, protocol.GroupAuthorizationFailed, false, nil, false},
	{protocol.TxnOffsetCommit, protocol.IllegalGeneration, false, nil, false},
	{protocol.TxnOffsetCommit, protocol.FencedInstanceID, false, nil, false},
	{protocol.TxnOffsetCommit, protocol.UnsupportedForMessageFormat, true, nil, false},
	{protocol.TxnOffsetCommit, protocol.ProducerFenced, true, quill.ErrProducerFenced, false},
	{protocol.Produce, protocol.TopicAuthorizationFailed, false, nil, false},
	{protocol.Produce, protocol.InvalidProducerEpoch, false, nil, false}, // KIP-588
	{protocol.Produce, protocol.InvalidTxnState, false, nil, false},
	{protocol.Produce, protocol.TransactionAbortable, false, nil, false},
	{protocol.Produce, protocol.OutOfOrderSequenceNumber, false, nil, false},
	{protocol.Produce, protocol.ClusterAuthorizationFailed, true, nil, false},
	{protocol.Produce, protocol.TransactionalIDAuthorizationFailed, true, nil, false},
	{protocol.Produce, protocol.InvalidProducerIDMapping, true, nil, false},
	{protocol.EndTxn, protocol.TransactionAbortable, false, nil, false},
	{protocol.EndTxn, protocol.UnknownProducerID, false, nil, false},
	{protocol.EndTxn, protocol.ProducerFenced, true, quill.ErrProducerFenced, false},
	{protocol.EndTxn, protocol.InvalidTxnState, true, nil, false},
	{protocol.EndTxn, protocol.UnknownServerError, true, nil, false},
}

func TestErrorsAreAbortableOrFatalAsInJava(t *testing.T) {
	for _, c := range coordinatorErrors {
		t.Run(fmt.Sprint(c.api, " ", c.code.Name()), func(t *testing.T) {
			inTransactions(t, nil, func(x *testkit.TxnLab) {
				if c.version1 && x.Version2 {
					return
				}
				x.Begin()
				_, err := x.P.SendSync(x.Context(), testkit.Rec("t", "k", "first"))
				require.NoError(x, err)
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{c.api}, Err: c.code})
				x.Send(0, "v")
				x.Send(1, "v")
				offsets := x.SendOffsets()
				err = errors.Join(offsets, x.P.CommitTransaction(x.Context()))
				if c.is == nil {
					c.is = c.code
				}
				require.ErrorIs(x, err, c.is)
				if !c.fatal {
					require.ErrorIs(x, err, quill.ErrAbortable)
					require.NotErrorIs(x, err, quill.ErrFatal)
					x.Abort()
					x.RequireCommitted()
					x.RequireGoesOn()
					require.Empty(x, x.C.PendingGroupOffsets("g"))
					return
				}
				require.ErrorIs(x, err, quill.ErrFatal)
				x.RequireFatal(c.is)
				x.Over()
			})
		})
	}
}

// Errors of InitProducerId and of looking the coordinator up.
func TestInitTransactionsMayBeRefused(t *testing.T) {
	for _, c := range []struct {
		api   protocol.APIKey
		code  protocol.ErrorCode
		fatal bool
	}{
		{protocol.FindCoordinator, protocol.TransactionalIDAuthorizationFailed, false},
		{protocol.FindCoordinator, protocol.InvalidRequest, true},
		{protocol.InitProducerID, protocol.TransactionalIDAuthorizationFailed, false},
		{protocol.InitProducerID, protocol.ClusterAuthorizationFailed, false},
		{protocol.InitProducerID, protocol.InvalidTransactionTimeout, true},
		{protocol.InitProducerID, protocol.ProducerFenced, true},
	} {
		t.Run(fmt.Sprint(c.api, " ", c.code.Name()), func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{c.api}, Err: c.code})
				err := x.P.InitTransactions(x.Context())
				require.ErrorIs(x, err, c.code)
				require.Equal(x, c.fatal, errors.Is(err, quill.ErrFatal))
				if c.fatal {
					require.ErrorIs(x, x.P.InitTransactions(x.Context()), quill.ErrFatal)
					return
				}
				require.ErrorIs(x, x.P.BeginTransaction(), quill.ErrInvalidTxnState)
				require.NoError(x, x.P.InitTransactions(x.Context()), "the right was given meanwhile")
				x.RequireGoesOn()
			})
		})
	}
}

// A coordinator may ask for an abort before there is a transaction. InitTransactions has not worked then, and is not said to have; the
// abort gets the producer id.
func TestInitTransactionsMayHaveToBeAborted(t *testing.T) {
	for _, api := range []protocol.APIKey{protocol.FindCoordinator, protocol.InitProducerID} {
		t.Run(api.String(), func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{api}, Err: protocol.TransactionAbortable})
				require.ErrorIs(x, x.P.InitTransactions(x.Context()), quill.ErrAbortable)
				for _, err := range []error{x.P.InitTransactions(x.Context()), x.P.BeginTransaction()} {
					require.ErrorIs(x, err, quill.ErrAbortable)
					require.ErrorContains(x, err, "call AbortTransaction first")
				}
				x.Abort()
				x.RequireGoesOn()
			})
		})
	}
}

// KAFKA-19176: a record of a transaction that failed is never to be sent again by itself.
func TestSpentRetriesAreAbortableNotRetriable(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) {
		cfg.RequestTimeout, cfg.DeliveryTimeout = 2*time.Second, 5*time.Second
	}, func(x *testkit.TxnLab) {
		x.Begin()
		x.Send(0, "first")
		require.NoError(x, x.P.Flush(x.Context()))
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.NotEnoughReplicas, Times: -1, When: func(*quilltest.Request) bool {
			return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) < 20*time.Second
		}})
		_, err := x.Send(0, "v").Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrDeliveryTimeout)
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.NotErrorIs(x, err, quill.ErrRetriable)
		require.ErrorIs(x, x.P.CommitTransaction(x.Context()), quill.ErrAbortable)
		x.Abort()
		time.Sleep(30 * time.Second)
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// A Send that fails before it reaches a batch fails the transaction too, unless that is the caller's
// own doing.
func TestRefusedRecordsFailTheTransaction(t *testing.T) {
	for _, c := range []struct {
		name string
		send func(x *testkit.TxnLab) error
		then bool // the transaction has failed
	}{
		{"too large", func(x *testkit.TxnLab) error {
			_, err := x.Send(0, string(make([]byte, 2<<20))).Wait(x.Context())
			return err
		}, true},
		{"no such topic", func(x *testkit.TxnLab) error {
			_, err := x.P.SendSync(x.Context(), testkit.Rec("not/legal", "", "v"))
			return err
		}, true},
		{"no such partition", func(x *testkit.TxnLab) error {
			_, err := x.Send(9, "v").Wait(x.Context())
			return err
		}, true},
		{"canceled", func(x *testkit.TxnLab) error {
			_, err := x.P.SendSync(testkit.Ended(context.Canceled), testkit.Rec("elsewhere", "", "v"))
			return err
		}, false},
		{"would block", func(x *testkit.TxnLab) error {
			require.False(x, x.P.TrySend(testkit.Rec("elsewhere", "", "v")))
			return errors.New("it did not")
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTransactions(t, nil, func(x *testkit.TxnLab) {
				x.Begin()
				x.Send(0, "good")
				err := c.send(x)
				require.Error(x, err)
				if !c.then {
					x.Commit()
					x.RequireCommitted("good")
					return
				}
				require.ErrorIs(x, err, quill.ErrAbortable)
				failed := x.P.CommitTransaction(x.Context())
				require.ErrorIs(x, failed, quill.ErrAbortable)
				x.Abort()
				x.RequireGoesOn()
				x.RequireCommitted("on")
			})
		})
	}
}

// A transaction that is open too long is aborted by the coordinator, and its producer is fenced
// (version 1) or asked to abort (version 2).
func TestTransactionTimesOut(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.TransactionTimeout = 10 * time.Second }, func(x *testkit.TxnLab) {
		x.Begin()
		x.Send(0, "v")
		require.NoError(x, x.P.Flush(x.Context()))
		time.Sleep(11 * time.Second)
		err := x.P.CommitTransaction(x.Context())
		require.ErrorIs(x, err, quill.ErrFatal)
		x.RequireCommitted()
	})
}

func TestOffsetsAreCommittedWithTheTransaction(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		group := quill.GroupMetadata{GroupID: "g", GenerationID: 3, MemberID: "m", GroupInstanceID: "i"}
		x.C.SetGroup("g", quilltest.Group{Generation: 3, Members: []quilltest.GroupMember{{ID: "m", InstanceID: "i"}}})
		x.C.MustCreateTopic("input", 2, quilltest.TopicConfig{})
		x.Begin()
		offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "input", Partition: 1}: {Offset: 5, LeaderEpoch: 2, Metadata: "m"}, {Topic: "t"}: {Offset: 1}}
		require.NoError(x, x.P.SendOffsetsToTransaction(x.Context(), offsets, group))
		require.Len(x, x.C.PendingGroupOffsets("g"), 2)
		x.Commit()
		require.Equal(x, map[quilltest.TopicPartition]quilltest.CommittedOffset{
			{Topic: "input", Partition: 1}: {Offset: 5, LeaderEpoch: 2, Metadata: "m"},
			{Topic: "t"}:                   {Offset: 1, LeaderEpoch: -1},
		}, x.C.GroupOffsets("g"))
		x.Begin()
		require.NoError(x, x.P.SendOffsetsToTransaction(x.Context(), nil, group), "no offsets, nothing to do")
		group.GenerationID = 2
		err := x.P.SendOffsetsToTransaction(x.Context(), offsets, group)
		require.ErrorIs(x, err, protocol.IllegalGeneration)
		require.ErrorIs(x, err, quill.ErrAbortable)
		x.Abort()
		for _, wrong := range []quill.GroupMetadata{{}, {GroupID: "g", GenerationID: 1}} {
			require.Error(x, x.P.SendOffsetsToTransaction(x.Context(), offsets, wrong))
		}
	})
}

// KIP-1319: offsets go by topic ids once these are known.
func TestOffsetsGoByTopicID(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		versions := map[int16]bool{}
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.TxnOffsetCommit}, Times: -1, Do: func(r *quilltest.Request) { versions[r.Version] = true }})
		for range 2 {
			x.Begin()
			require.NoError(x, x.SendOffsets())
			x.Commit()
			time.Sleep(time.Second)
		}
		require.True(x, versions[map[bool]int16{true: 6, false: 4}[x.Version2]])
		x.Begin()
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.TxnOffsetCommit}, Err: protocol.UnknownTopicID})
		require.NoError(x, x.SendOffsets())
		x.Commit()
		require.EqualValues(x, 7, x.C.GroupOffsets("g")[quilltest.TopicPartition{Topic: "t"}].Offset)
	})
}

// Brokers before 2.5 forget producers whose records were all deleted, and then take sequence 0 only
// (KIP-360): the batch goes again, in the same transaction.
func TestAForgottenProducerBeginsAnew(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{Release: "2.4"}, nil, func(x *testkit.TxnLab) {
		x.Written()
		x.Commit()
		var sequences []int32
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: -1, Do: func(r *quilltest.Request) {
			h, _ := r.Batch("t", 0)
			sequences = append(sequences, h.BaseSequence)
		}})
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.UnknownProducerID, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.ProduceResponse).Responses[0].PartitionResponses[0].LogStartOffset = 100
		}})
		x.Begin()
		f := x.Send(0, "more")
		time.Sleep(time.Second)
		x.Abort()
		_, _ = f.Wait(x.Context())
		require.Equal(x, []int32{1, 0}, sequences)
	})
}

// A refused record of a transaction is fatal if and only if the producer can't go on after an abort, whatever the code is.
func TestARefusedRecordIsFatalOnlyIfTheProducerEnds(t *testing.T) {
	for code := protocol.ErrorCode(-1); code <= 140; code++ {
		if code == protocol.None {
			continue
		}
		t.Run(code.Name(), func(t *testing.T) {
			inTransactions(t, func(cfg *quill.Config) {
				cfg.RequestTimeout, cfg.DeliveryTimeout = time.Second, 2*time.Second
			}, func(x *testkit.TxnLab) { refusedThenAborted(x, code) })
		})
	}
}

// refusedThenAborted has the nodes refuse a record as often as it is sent, and then take the records of the next transaction.
func refusedThenAborted(x *testkit.TxnLab, code protocol.ErrorCode) {
	x.Begin()
	refusing := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: code, Times: -1})
	_, err := x.Send(0, "v").Wait(x.Context())
	refusing.Remove()
	aborted := x.P.AbortTransaction(x.Context())
	require.Equal(x, err != nil && aborted != nil, errors.Is(err, quill.ErrFatal), "%v; the abort: %v", err, aborted)
	require.Equal(x, aborted != nil, errors.Is(x.P.Health(), quill.ErrFatal), "%v", x.P.Health())
	if aborted != nil {
		x.Over()
		return
	}
	x.RequireGoesOn()
}
