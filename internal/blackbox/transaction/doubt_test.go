package transaction_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Answers of coordinators that are rare, and dear if they are taken the wrong way: about an end that may
// have been carried out already, with a part missing, or with nothing in it.

// lostEnds are the ways in which the outcome of an EndTxn that was carried out gets lost.
var lostEnds = map[string]quilltest.Fault{
	"no answer":               {DisconnectAfter: true},
	"lost its log":            {Err: protocol.NotCoordinator, AfterAppend: true},
	"too few replicas had it": {Err: protocol.CoordinatorNotAvailable, AfterAppend: true},
}

// A commit that may be in force is never taken for one that is not: what refuses its repetition ends the
// producer, and InTransaction does not write the records once more.
func TestACommitInDoubtIsNeverRunAgain(t *testing.T) {
	for name, lost := range lostEnds {
		for _, code := range []protocol.ErrorCode{protocol.TransactionAbortable, protocol.UnknownProducerID} {
			t.Run(fmt.Sprint(name, " ", code.Name()), func(t *testing.T) {
				inTransactions(t, nil, func(x *testkit.TxnLab) {
					lost.APIs = []protocol.APIKey{protocol.EndTxn}
					x.C.Inject(lost)
					x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, Err: code, Skip: 1})
					calls := 0
					err := x.P.InTransaction(x.Context(), func(tx *stringTx) error {
						calls++
						tx.Send(x.Context(), testkit.To(0, "v"))
						return nil
					})
					require.Equal(x, 1, calls)
					require.ErrorIs(x, err, code)
					require.ErrorIs(x, err, quill.ErrFatal)
					require.NotErrorIs(x, err, quill.ErrAbortable)
					e, ok := errors.AsType[*quill.Error](err)
					require.True(x, ok)
					require.Equal(x, quill.MaybeWritten, e.Outcome)
					x.RequireFatal(code)
					x.Over()
					x.RequireCommitted("v")
				})
			})
		}
	}
}

// The other side: the first answer to a commit is no repetition. What it refuses was not carried out, and
// is run again.
func TestACommitThatIsRefusedAtOnceIsRunAgain(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.TransactionAbortable, protocol.UnknownProducerID} {
		inTransactions(t, nil, func(x *testkit.TxnLab) {
			x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, DisconnectBefore: true, Skip: 1})
			x.Refuse(protocol.EndTxn, code)
			calls := 0
			require.NoError(x, x.P.InTransaction(x.Context(), func(tx *stringTx) error {
				calls++
				tx.Send(x.Context(), testkit.To(0, fmt.Sprint("try ", calls)))
				return nil
			}))
			x.RequireCommitted("try 2")
		})
	}
}

// While the end is in doubt its coordinator has to be found, even if FindCoordinator fails meanwhile.
func TestACoordinatorIsLookedForWhileTheEndIsInDoubt(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.TransactionAbortable, protocol.GroupAuthorizationFailed} {
		for _, end := range []string{"commit", "abort"} {
			t.Run(fmt.Sprint(code.Name(), " ", end), func(t *testing.T) {
				inTransactions(t, nil, func(x *testkit.TxnLab) {
					x.Begin()
					_, err := x.P.SendSync(x.Context(), testkit.To(0, "v"))
					require.NoError(x, err)
					x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, DisconnectAfter: true})
					find := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Err: code, Times: 3})
					if end == "commit" {
						x.Commit()
						x.RequireCommitted("v")
					} else {
						x.Abort()
						x.RequireCommitted()
					}
					require.EqualValues(x, 3, find.Hits())
					x.RequireGoesOn()
				})
			})
		}
	}
}

// Nor is a coordinator given up that has to say whether something joined the transaction: an abort of nothing leaves
// open what did, and fences the producer.
func TestACoordinatorIsLookedForWhileAJoinIsInDoubt(t *testing.T) {
	for _, api := range []protocol.APIKey{protocol.AddPartitionsToTxn, protocol.AddOffsetsToTxn} {
		for _, carriedOut := range []bool{true, false} {
			t.Run(fmt.Sprint(api, " carried out: ", carriedOut), func(t *testing.T) {
				inVersion1(t, nil, func(x *testkit.TxnLab) {
					x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{api}, DropRequest: !carriedOut, DropAnswer: carriedOut})
					find := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Err: protocol.TransactionAbortable, Times: 3})
					x.Begin()
					var err error
					if api == protocol.AddPartitionsToTxn {
						_, err = x.P.SendSync(x.Context(), testkit.To(0, "v"))
					} else {
						err = x.SendOffsets()
					}
					require.ErrorIs(x, err, protocol.TransactionAbortable)
					require.ErrorIs(x, err, quill.ErrAbortable)
					require.ErrorIs(x, x.P.CommitTransaction(x.Context()), quill.ErrAbortable)
					x.Abort()
					require.EqualValues(x, 3, find.Hits())
					x.RequireNothingOpen()
					x.RequireGoesOn()
					x.RequireCommitted("on")
				})
			})
		}
	}
}

// Offsets of a partition that the answer leaves out are not committed yet.
func TestOffsetsAreCommittedWhenTheAnswerNamesThem(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(m *message.TxnOffsetCommitResponse)
		again  string // what is asked for then
	}{
		{"one left out", func(m *message.TxnOffsetCommitResponse) { m.Topics[0].Partitions = m.Topics[0].Partitions[:1] }, "offsets t-1"},
		{"the topic left out", func(m *message.TxnOffsetCommitResponse) { m.Topics = nil }, "offsets t-0 t-1"},
		{"no partitions", func(m *message.TxnOffsetCommitResponse) { m.Topics[0].Partitions = nil }, "offsets t-0 t-1"},
		{"others", func(m *message.TxnOffsetCommitResponse) {
			m.Topics[0].Partitions[0].PartitionIndex, m.Topics[0].Partitions[1].PartitionIndex = 2, -1
		}, "offsets t-0 t-1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inTransactions(t, nil, func(x *testkit.TxnLab) {
				wire := x.Watch()
				lie := testkit.Edit(x, protocol.TxnOffsetCommit, 3, row.change)
				x.Begin()
				require.NoError(x, x.SendTwoOffsets())
				require.Positive(x, lie.Hits())
				asked := wire.About("offsets ")
				require.Greater(x, len(asked), 1)
				require.Equal(x, row.again, asked[1].What)
				require.GreaterOrEqual(x, asked[1].At.Sub(asked[0].At), 50*time.Millisecond, "after a pause")
				x.Commit()
				require.Len(x, x.C.GroupOffsets("g"), 2)
			})
		})
	}
}

// An answer without an error and without a producer id is none.
func TestAnInitWithoutAnIDIsRefused(t *testing.T) {
	for _, change := range []func(m *message.InitProducerIDResponse){
		func(m *message.InitProducerIDResponse) { m.ProducerID = -1 },
		func(m *message.InitProducerIDResponse) { m.ProducerEpoch = -1 },
	} {
		inVersions(t, nil, func(x *testkit.TxnLab) {
			testkit.Edit(x, protocol.InitProducerID, 1, change)
			err := x.P.InitTransactions(x.Context())
			require.ErrorIs(x, err, quill.ErrFatal)
			require.ErrorIs(x, err, protocol.UnknownServerError)
			x.RequireFatal(protocol.UnknownServerError)
		})
	}
}

// The transaction before is ended in its own time: who waits for that asks again and again, without pauses
// that grow.
func TestPausesForTheTransactionBeforeDoNotGrow(t *testing.T) {
	inVersions(t, func(cfg *quill.Config) {
		cfg.RetryBackoff, cfg.RetryBackoffMax = 100*time.Millisecond, 10*time.Second
	}, func(x *testkit.TxnLab) {
		wire := x.Watch()
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.ConcurrentTransactions, Times: 8})
		require.NoError(x, x.P.InitTransactions(x.Context()))
		asked := wire.Named("init")
		require.Len(x, asked, 9)
		for i := range 8 {
			pause := asked[i+1].At.Sub(asked[i].At)
			require.LessOrEqual(x, pause, 130*time.Millisecond)
			require.GreaterOrEqual(x, pause, 80*time.Millisecond)
		}
	})
}

// What did not answer in time may next time.
func TestInTransactionTriesAgainAfterTimeOuts(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) {
		cfg.Linger, cfg.RequestTimeout, cfg.DeliveryTimeout = -1, 2*time.Second, 5*time.Second
	}, func(x *testkit.TxnLab) {
		x.Begin()
		x.Send(0, "before")
		x.Commit()
		calls := 0
		var first error
		require.NoError(x, x.P.InTransaction(x.Context(), func(tx *stringTx) error {
			calls++
			if calls == 1 {
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, DropRequest: true, Times: 3})
			}
			_, err := tx.Send(x.Context(), testkit.To(0, fmt.Sprint("try ", calls))).Wait(x.Context())
			if calls == 1 {
				first = err
			}
			return err
		}))
		require.ErrorIs(x, first, quill.ErrTimeout)
		_, coded := errors.AsType[protocol.ErrorCode](first)
		require.False(x, coded, "nobody answered")
		x.RequireCommitted("before", "try 2")
	})
}

// An abort that is due when ctx is over is carried out all the same: the next transaction finds nothing
// open.
func TestInTransactionAbortsAfterItsContext(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		for _, panics := range []bool{false, true} {
			ctx, cancel := context.WithCancel(x.Context())
			sorry := errors.New("sorry")
			run := func() error {
				return x.P.InTransaction(ctx, func(tx *stringTx) error {
					_, err := tx.Send(x.Context(), testkit.To(0, "v")).Wait(x.Context())
					require.NoError(x, err)
					x.Delay(protocol.EndTxn, time.Second)
					cancel()
					if panics {
						panic(sorry)
					}
					return sorry
				})
			}
			testkit.Within(x.T, time.Second, 2*time.Second, func() {
				if panics {
					require.PanicsWithValue(x, sorry, func() { _ = run() })
				} else {
					require.Equal(x, sorry, run())
				}
			})
			x.RequireNothingOpen()
			x.RequireGoesOn()
		}
		x.RequireCommitted("on", "on")
	})
}

// It is not waited for longer than max.block.ms, and that it is open then is no secret.
func TestAnAbortAfterTheContextTakesMaxBlockAtMost(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.MaxBlock = 3 * time.Second }, func(x *testkit.TxnLab) {
		ctx, cancel := context.WithCancel(x.Context())
		sorry := errors.New("sorry")
		testkit.Within(x.T, 3*time.Second, 3100*time.Millisecond, func() {
			err := x.P.InTransaction(ctx, func(tx *stringTx) error {
				_, err := tx.Send(x.Context(), testkit.To(0, "v")).Wait(x.Context())
				require.NoError(x, err)
				x.Delay(protocol.EndTxn, 5*time.Second)
				cancel()
				return sorry
			})
			require.ErrorIs(x, err, sorry)
			require.ErrorIs(x, err, quill.ErrTimeout, "the abort's own failure")
			require.ErrorContains(x, err, "AbortTransaction")
		})
		require.ErrorContains(x, x.P.BeginTransaction(), "AbortTransaction", "its outcome comes first")
		x.Abort()
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// A commit returns when the callbacks have run, or says that it does not know: also when max.block.ms ends
// while they run.
func TestACommitDoesNotReturnBeforeSlowCallbacks(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.MaxBlock = 2 * time.Second }, func(x *testkit.TxnLab) {
		x.Begin()
		var called atomic.Bool
		x.P.SendFunc(x.Context(), testkit.To(0, "v"), func(quill.RecordMetadata, error) {
			time.Sleep(5 * time.Second)
			called.Store(true)
		})
		testkit.Within(x.T, 2*time.Second, 2100*time.Millisecond, func() {
			require.ErrorIs(x, x.P.CommitTransaction(x.Context()), quill.ErrTimeout)
		})
		require.False(x, called.Load())
		require.ErrorIs(x, x.P.CommitTransaction(x.Context()), quill.ErrTimeout)
		x.Commit()
		require.True(x, called.Load())
		x.RequireCommitted("v")
	})
}

// Offsets that no group can have are refused before anybody is asked, and don't spoil the transaction.
func TestImpossibleOffsetsAreRefused(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		wire := x.Watch()
		x.Begin()
		for _, row := range []struct {
			tp     quill.TopicPartition
			offset int64
			why    string
		}{
			{quill.TopicPartition{Topic: "t"}, -1, "offset -1"},
			{quill.TopicPartition{Topic: "t", Partition: -1}, 7, "t--1"},
			{quill.TopicPartition{Topic: ""}, 7, "the name is empty"},
			{quill.TopicPartition{Topic: "not/legal"}, 7, "only letters"},
		} {
			err := x.P.SendOffsetsToTransaction(x.Context(), map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t", Partition: 1}: {}, row.tp: {Offset: row.offset}},
				quill.GroupMetadata{GroupID: "g"})
			require.ErrorContains(x, err, row.why)
			require.NotErrorIs(x, err, quill.ErrAbortable)
		}
		require.Empty(x, wire.About("offsets"))
		x.Send(0, "v")
		x.Commit()
		x.RequireCommitted("v")
	})
}

// A view that was closed takes no calls about transactions; the producer and its other views do.
func TestAClosedViewEndsNoTransaction(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		view, err := quill.Share(x.P, quill.String, quill.String)
		require.NoError(x, err)
		require.NoError(x, view.BeginTransaction())
		x.Send(0, "v")
		testkit.CloseProducer(x.T, view)
		for _, err := range []error{
			view.InitTransactions(x.Context()), view.BeginTransaction(), view.CommitTransaction(x.Context()), view.AbortTransaction(x.Context()),
			view.SendOffsetsToTransaction(x.Context(), testkit.GroupOffsets, quill.GroupMetadata{GroupID: "g"}),
			view.InTransaction(x.Context(), func(*stringTx) error { panic("not run") }),
		} {
			require.ErrorIs(x, err, quill.ErrClosed)
		}
		x.Commit()
		x.RequireCommitted("v")
	})
}

// Sequences are forgotten with a topic only where the next transaction has another epoch: under the same
// one what comes later would be dropped as a copy of what came first.
func TestIdleTopicsKeepTheirSequencesUnderTheSameEpoch(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) {
		cfg.MetadataMaxIdle, cfg.MetadataMaxAge, cfg.TransactionTimeout = 5*time.Second, time.Second, 15*time.Minute
	}, func(x *testkit.TxnLab) {
		wire := x.Watch()
		want := []string{}
		for i := range 3 {
			value := fmt.Sprint(i)
			x.Begin()
			_, err := x.P.SendSync(x.Context(), testkit.To(0, value))
			require.NoError(x, err)
			x.Commit()
			want = append(want, value)
			time.Sleep(time.Minute)
		}
		x.RequireCommitted(want...)
		sent := wire.Named("produce t-0")
		require.Len(x, sent, 3)
		for i, a := range sent {
			if x.Version2 {
				require.Zero(x, a.First, "each transaction has an epoch of its own")
			} else {
				require.EqualValues(x, i, a.First)
			}
		}
	})
}

// In the middle of a transaction nothing is forgotten in either version.
func TestATopicThatRestsInATransactionKeepsItsSequences(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) {
		cfg.MetadataMaxIdle, cfg.MetadataMaxAge, cfg.TransactionTimeout = 5*time.Second, time.Second, 15*time.Minute
	}, func(x *testkit.TxnLab) {
		wire := x.Watch()
		x.Begin()
		for i := range 3 {
			_, err := x.P.SendSync(x.Context(), testkit.To(0, fmt.Sprint(i)))
			require.NoError(x, err)
			time.Sleep(time.Minute)
		}
		x.Commit()
		x.RequireCommitted("0", "1", "2")
		for i, a := range wire.Named("produce t-0") {
			require.EqualValues(x, i, a.First)
		}
	})
}
