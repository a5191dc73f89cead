package transaction_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Whole transactions, as the order of their requests shows them: both versions of the protocol, ends that
// wait, calls that are repeated, transactions that failed.

// Java: TransactionManagerTest.testBasicTransaction
func TestVersion1InItsOrder(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{Release: "3.9"}, nil, func(x *testkit.TxnLab) {
		w := x.Watch()
		require.NoError(x, x.P.InitTransactions(x.Context()))
		require.Equal(x, []string{"find mover", "init"}, w.Take())
		x.Begin()
		_, err := x.P.SendSync(x.Context(), testkit.To(0, "v"))
		require.NoError(x, err)
		require.Equal(x, []string{"add t-0", "produce t-0"}, w.Take())
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.TxnOffsetCommit}, AnswerDelay: 3 * time.Second})
		testkit.Within(x.T, 3*time.Second, 3*time.Second, func() { require.NoError(x, x.ExchangeOffsets()) })
		require.Equal(x, []string{"add group g", "find g", "offsets t-1"}, w.Take(), "both have to be answered")
		x.Commit()
		require.Equal(x, []string{"commit"}, w.Take())
		x.Begin()
		require.NoError(x, x.ExchangeOffsets())
		x.Commit()
		require.Equal(x, []string{"add group g", "offsets t-1", "commit"}, w.Take(), "nothing is left of the one before but what was found")
		x.RequireCommitted("v")
	})
}

// Java: TransactionManagerTest.testTransactionV2AddPartitionAndOffsets
func TestVersion2InItsOrder(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
		w := x.Watch()
		require.NoError(x, x.P.InitTransactions(x.Context()))
		require.Equal(x, []string{"find mover", "init"}, w.Take())
		for i := range 3 {
			x.Begin()
			_, err := x.P.SendSync(x.Context(), testkit.To(0, "v"))
			require.NoError(x, err)
			require.NoError(x, x.ExchangeOffsets())
			x.Commit()
			for _, a := range w.All() {
				if a.What != "find g" {
					require.EqualValues(x, i, a.Epoch, "%s: the answer to EndTxn brings the next epoch", a.What)
				}
			}
			want := []string{"produce t-0", "find g", "offsets t-1", "commit"}
			if i > 0 {
				want = slices.Delete(want, 1, 2)
			}
			require.Equal(x, want, w.Take())
		}
		x.RequireCommitted("v", "v", "v")
	})
}

// Java: TransactionManagerTest.testTransactionManagerEnablesV2
func TestVersion2BeginsWithTheNextTransaction(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
		var level atomic.Int32
		level.Store(1)
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Times: -1, Edit: func(_ *quilltest.Request, response any) {
			for i := range response.(*message.APIVersionsResponse).FinalizedFeatures {
				response.(*message.APIVersionsResponse).FinalizedFeatures[i].MaxVersionLevel = int16(level.Load())
			}
		}})
		w := x.Watch()
		require.NoError(x, x.P.InitTransactions(x.Context()))
		x.Begin()
		_, err := x.P.SendSync(x.Context(), testkit.To(0, "a"))
		require.NoError(x, err)
		level.Store(2)
		for _, node := range x.C.NodeIDs() {
			require.NoError(x, x.C.Disconnect(node))
		}
		time.Sleep(time.Second)
		w.Take()
		_, err = x.P.SendSync(x.Context(), testkit.To(1, "b"))
		require.NoError(x, err)
		x.Commit()
		require.Equal(x, []string{"find mover", "add t-1", "produce t-1", "commit", "init"}, w.Take(), "as it was begun, but it ends with a new epoch")
		before := x.Epoch()
		for range 2 {
			x.Begin()
			_, err = x.P.SendSync(x.Context(), testkit.To(0, "c"))
			require.NoError(x, err)
			x.Commit()
			require.Equal(x, []string{"produce t-0", "commit"}, w.Take())
		}
		require.Equal(x, before+2, x.Epoch())
		x.RequireCommitted("a", "c", "c", "b")
	})
}

// The level of the feature decides, not the versions of the requests that the nodes know.
//
// Java: TransactionManagerTest.testTransactionManagerDisablesV2
func TestVersion2NeedsItsFeature(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{Features: map[string]int16{"transaction.version": 1}}, nil, func(x *testkit.TxnLab) {
		require.NoError(x, x.P.InitTransactions(x.Context()))
		w := x.Watch()
		for range 2 {
			x.Begin()
			_, err := x.P.SendSync(x.Context(), testkit.To(0, "v"))
			require.NoError(x, err)
			require.NoError(x, x.ExchangeOffsets())
			x.Commit()
		}
		highest := map[string]int16{"produce t-0": 11, "offsets t-1": 4, "commit": 4}
		for _, a := range w.All() {
			if limit, ok := highest[a.What]; ok {
				require.LessOrEqual(x, a.Version, limit, a.What)
			}
		}
		require.Equal(x, []string{"add t-0", "produce t-0", "add group g", "find g", "offsets t-1", "commit",
			"add t-0", "produce t-0", "add group g", "offsets t-1", "commit"}, w.Take())
		require.Zero(x, x.Epoch(), "and no end raises the epoch")
	})
}

// Java: TransactionManagerTest.testEndTxnNotSentIfIncompleteBatches
func TestTheEndWaitsForEachBatch(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		for _, what := range []string{"commit", "abort"} {
			x.Begin()
			_, err := x.P.SendSync(x.Context(), testkit.To(0, "v"))
			require.NoError(x, err)
			x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 5 * time.Second, Topic: "t", Partitions: []int32{1}})
			slow := x.Send(1, "v")
			time.Sleep(time.Second)
			w := x.Watch()
			testkit.Within(x.T, 4*time.Second, 4*time.Second+100*time.Millisecond, func() {
				if what == "commit" {
					x.Commit()
				} else {
					x.Abort()
				}
			})
			require.Equal(x, []string{what}, w.Take())
			_, err = slow.Wait(x.Context())
			require.NoError(x, err)
		}
		x.RequireCommitted("v", "v")
	})
}

// Java: TransactionManagerTest.testSenderShutdownWithPendingTransactions
func TestCloseLetsACommitThroughThatWasAskedFor(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		x.Begin()
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 2 * time.Second})
		sent := x.Send(0, "v")
		committed := make(chan error, 1)
		go func() { committed <- x.P.CommitTransaction(x.Context()) }()
		time.Sleep(time.Second)
		require.False(x, sent.Done())
		testkit.CloseProducer(x.T, x.P)
		require.NoError(x, <-committed)
		_, err := sent.Wait(x.Context())
		require.NoError(x, err)
		x.RequireCommitted("v")
	})
}

// Java: TransactionManagerTest.testFlushPendingPartitionsOnCommit
func TestACommitFlushesInOrder(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.Linger, cfg.DeliveryTimeout = time.Hour, 2*time.Hour }, func(x *testkit.TxnLab) {
		w := x.Watch()
		x.Begin()
		lingering := x.Send(0, "v")
		x.Commit()
		want := []string{"add t-0", "produce t-0", "commit"}
		if x.Version2 {
			want = want[1:]
		}
		require.Equal(x, want, w.Take())
		_, err := lingering.Wait(x.Context())
		require.NoError(x, err)
		x.RequireState("READY")
		x.RequireCommitted("v")
	})
}

// In Java the records of the first partition wait for the second one, too; here each waits for its own
// partition only.
//
// Java: TransactionManagerTest.testMultipleAddPartitionsPerForOneProduce
func TestAPartitionThatComesLaterIsAddedByItself(t *testing.T) {
	inVersion1(t, nil, func(x *testkit.TxnLab) {
		w := x.Watch()
		x.Begin()
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, AnswerDelay: 2 * time.Second})
		x.Send(0, "a")
		time.Sleep(time.Second)
		x.Send(1, "b")
		x.Send(0, "c")
		require.NoError(x, x.P.Flush(x.Context()))
		for _, partition := range []string{"t-0", "t-1"} {
			require.Less(x, indexOf(w, "add "+partition), indexOf(w, "produce "+partition))
		}
		x.Commit()
		got := w.Take()
		slices.Sort(got)
		require.Equal(x, []string{"add t-0", "add t-1", "commit", "produce t-0", "produce t-1"}, got)
		x.RequireCommitted("a", "c", "b")
	})
}

// A call that gave up waiting goes on. Its caller has to hear of it before
// anything else is taken.
func TestACallThatTimedOutIsRepeated(t *testing.T) {
	inits := func(x *testkit.TxnLab, ctx context.Context) error { return x.P.InitTransactions(ctx) }
	for _, c := range []struct {
		name  string
		api   protocol.APIKey
		call  func(x *testkit.TxnLab, ctx context.Context) error
		wants []string
	}{
		// Java: TransactionManagerTest.testRetryInitTransactionsAfterTimeout
		{"init", protocol.InitProducerID, inits, nil},
		// Java: TransactionManagerTest.testRetryCommitTransactionAfterTimeout
		{"commit", protocol.EndTxn, (*testkit.TxnLab).CommitFor, []string{"v"}},
		// Java: TransactionManagerTest.testRetryAbortTransactionAfterTimeout
		{"abort", protocol.EndTxn, (*testkit.TxnLab).AbortFor, nil},
	} {
		for _, release := range []string{"4.4", "3.9"} {
			t.Run(c.name+" "+release, func(t *testing.T) {
				testkit.InRelease(t, quilltest.Options{Release: release}, nil, func(x *testkit.TxnLab) {
					if c.api == protocol.EndTxn {
						x.Written()
					}
					w := x.Watch()
					x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{c.api}, AnswerDelay: 2 * time.Second})
					require.ErrorIs(x, c.call(x, testkit.After(x.T, time.Second)), context.DeadlineExceeded)
					for range 2 { // before and after its end
						for name, other := range map[string]func() error{
							"init":   func() error { return x.P.InitTransactions(x.Context()) },
							"begin":  func() error { return x.P.BeginTransaction() },
							"send":   func() error { _, err := x.Send(0, "v").Wait(x.Context()); return err },
							"commit": func() error { return x.P.CommitTransaction(x.Context()) },
							"abort":  func() error { return x.P.AbortTransaction(x.Context()) },
						} {
							if name != c.name {
								require.ErrorIs(x, other(), quill.ErrInvalidTxnState, name)
							}
						}
						time.Sleep(5 * time.Second)
					}
					require.ErrorContains(x, x.P.BeginTransaction(), "the producer is READY")
					asked := len(w.Take())
					testkit.Within(x.T, 0, 0, func() { require.NoError(x, c.call(x, x.Context())) })
					require.Empty(x, w.Take(), "it goes on with the same operation, it does not ask again")
					require.Positive(x, asked)
					require.ErrorIs(x, x.P.InitTransactions(x.Context()), quill.ErrInvalidTxnState, "once is enough")
					x.RequireCommitted(c.wants...)
					x.RequireGoesOn()
				})
			})
		}
	}
}

// Java: TransactionManagerTest.testTopicAuthorizationFailureInAddPartitions
func TestAMissingRightNamesItsTopicAlone(t *testing.T) {
	inVersion1(t, func(cfg *quill.Config) { cfg.Linger = time.Minute }, func(x *testkit.TxnLab) {
		x.Secret()
		x.KnowTopics("secret")
		w := x.Watch()
		x.Begin()
		bad, good := x.P.Send(x.Context(), testkit.Rec("secret", "", "v")), x.Send(0, "v")
		for _, f := range []quill.Future{bad, good} {
			_, err := f.Wait(x.Context())
			require.ErrorIs(x, err, quill.ErrTransactionAborted)
			require.ErrorIs(x, err, quill.ErrAbortable)
		}
		require.Equal(x, []string{"add secret-0 t-0"}, w.Take(), "both at once")
		err := x.P.CommitTransaction(x.Context())
		require.ErrorIs(x, err, protocol.TopicAuthorizationFailed)
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.ErrorContains(x, err, `for topic "secret"`)
		require.NotContains(x, err.Error(), `"t"`)
		x.Abort()
		require.Empty(x, w.Take(), "neither was added")
		x.RequireGoesOn()
	})
}

// Java: TransactionManagerTest.testCommitWithTopicAuthorizationFailureInAddPartitionsInFlight
func TestACommitFailsWithThePartitionThatIsBeingAdded(t *testing.T) {
	inVersion1(t, nil, func(x *testkit.TxnLab) {
		x.Secret()
		x.KnowTopics("secret")
		w := x.Watch()
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, AnswerDelay: 2 * time.Second})
		x.Begin()
		bad, good := x.P.Send(x.Context(), testkit.Rec("secret", "", "v")), x.Send(0, "v")
		testkit.Within(x.T, 2*time.Second, 2*time.Second+100*time.Millisecond, func() {
			err := x.P.CommitTransaction(x.Context())
			require.ErrorIs(x, err, protocol.TopicAuthorizationFailed)
			require.ErrorIs(x, err, quill.ErrAbortable)
		})
		for _, f := range []quill.Future{bad, good} {
			_, err := outcomeAt(x, f)
			require.ErrorIs(x, err, protocol.TopicAuthorizationFailed)
		}
		require.Empty(x, w.About("commit"))
		x.Abort()
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// Java: TransactionManagerTest.testRecoveryFromAbortableErrorTransactionNotStarted
func TestAnAbortOfNothingAsksNobody(t *testing.T) {
	inVersion1(t, nil, func(x *testkit.TxnLab) {
		x.Secret()
		w := x.Watch()
		x.Begin()
		_, err := x.P.SendSync(x.Context(), testkit.Rec("secret", "", "v"))
		require.ErrorIs(x, err, quill.ErrTransactionAborted)
		x.Abort()
		require.Equal(x, []string{"add secret-0"}, w.Take())
		synctest.Wait()
		require.EqualValues(x, 32<<20, testkit.FreeMemory(x.P))
		x.Begin()
		_, err = x.P.SendSync(x.Context(), testkit.To(0, "v"))
		require.NoError(x, err)
		x.Commit()
		require.Equal(x, []string{"add t-0", "produce t-0", "commit"}, w.Take())
		x.RequireCommitted("v")
	})
}

// Java: TransactionManagerTest.testRecoveryFromAbortableErrorTransactionStarted
func TestAnAbortDropsWhatWasAddedAndNotSent(t *testing.T) {
	inVersion1(t, func(cfg *quill.Config) { cfg.MaxInFlightRequestsPerConnection = 1 }, func(x *testkit.TxnLab) {
		x.Secret()
		x.C.MustCreateTopic("busy", 1, quilltest.TopicConfig{})
		x.KnowTopics("secret", "busy")
		require.NoError(x, x.C.MoveCoordinator(quilltest.TransactionCoordinator, testkit.TxnID, 2)) // node 1 leads busy-0 and t-0
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Topic: "busy", AnswerDelay: 5 * time.Second})
		x.Begin()
		busy := x.P.Send(x.Context(), testkit.Rec("busy", "", "v"))
		time.Sleep(time.Second)
		w := x.Watch()
		good := x.Send(0, "v")
		time.Sleep(time.Second)
		require.Equal(x, []string{"add t-0"}, w.Take(), "its record has to wait for the node")
		bad := x.P.Send(x.Context(), testkit.Rec("secret", "", "v"))
		for _, f := range []quill.Future{bad, good} {
			_, err := f.Wait(x.Context())
			require.ErrorIs(x, err, quill.ErrTransactionAborted)
		}
		require.Equal(x, []string{"add secret-0"}, w.Take())
		require.False(x, busy.Done())
		x.Abort()
		require.Equal(x, []string{"abort"}, w.Take())
		_, err := busy.Wait(x.Context())
		require.NoError(x, err, "it was on its way")
		synctest.Wait()
		require.EqualValues(x, 32<<20, testkit.FreeMemory(x.P))
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// Java: TransactionManagerTest.testRecoveryFromAbortableErrorProduceRequestInRetry
func TestWhatIsSentAgainIsSettledBeforeTheAbort(t *testing.T) {
	inVersion1(t, slowly, func(x *testkit.TxnLab) {
		x.Secret()
		x.KnowTopics("secret")
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.RequestTimedOut})
		x.Begin()
		good := x.Send(0, "v")
		time.Sleep(100 * time.Millisecond)
		w := x.Watch()
		_, err := x.P.SendSync(x.Context(), testkit.Rec("secret", "", "v"))
		require.ErrorIs(x, err, quill.ErrTransactionAborted)
		require.False(x, good.Done())
		_, err = good.Wait(x.Context())
		require.NoError(x, err)
		x.Abort()
		require.Equal(x, []string{"add secret-0", "produce t-0", "abort"}, slices.DeleteFunc(w.Take(), func(s string) bool { return s == "init" }))
		synctest.Wait()
		require.EqualValues(x, 32<<20, testkit.FreeMemory(x.P))
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}
