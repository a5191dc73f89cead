package quill_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Whole transactions, as the order of their requests shows them: both versions of the protocol, ends that
// wait, calls that are repeated, transactions that failed.

// exchangeOffsets sends offsets of partition 1 on behalf of group "g".
func (x *txnLab) exchangeOffsets() error {
	offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t", Partition: 1}: {Offset: 1}}
	return x.p.SendOffsetsToTransaction(x.Context(), offsets, quill.GroupMetadata{GroupID: "g"})
}

// Java: TransactionManagerTest.testBasicTransaction
func TestVersion1InItsOrder(t *testing.T) {
	inRelease(t, quilltest.Options{Release: "3.9"}, nil, func(x *txnLab) {
		w := x.watch()
		require.NoError(x, x.p.InitTransactions(x.Context()))
		require.Equal(x, []string{"find mover", "init"}, w.take())
		x.begin()
		_, err := x.p.SendSync(x.Context(), to(0, "v"))
		require.NoError(x, err)
		require.Equal(x, []string{"add t-0", "produce t-0"}, w.take())
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.TxnOffsetCommit}, AnswerDelay: 3 * time.Second})
		within(x.T, 3*time.Second, 3*time.Second, func() { require.NoError(x, x.exchangeOffsets()) })
		require.Equal(x, []string{"add group g", "find g", "offsets t-1"}, w.take(), "both have to be answered")
		x.commit()
		require.Equal(x, []string{"commit"}, w.take())
		x.begin()
		require.NoError(x, x.exchangeOffsets())
		x.commit()
		require.Equal(x, []string{"add group g", "offsets t-1", "commit"}, w.take(), "nothing is left of the one before but what was found")
		x.requireCommitted("v")
	})
}

// Java: TransactionManagerTest.testTransactionV2AddPartitionAndOffsets
func TestVersion2InItsOrder(t *testing.T) {
	inRelease(t, quilltest.Options{}, nil, func(x *txnLab) {
		w := x.watch()
		require.NoError(x, x.p.InitTransactions(x.Context()))
		require.Equal(x, []string{"find mover", "init"}, w.take())
		for i := range 3 {
			x.begin()
			_, err := x.p.SendSync(x.Context(), to(0, "v"))
			require.NoError(x, err)
			require.NoError(x, x.exchangeOffsets())
			x.commit()
			for _, a := range w.all() {
				if a.what != "find g" {
					require.EqualValues(x, i, a.epoch, "%s: the answer to EndTxn brings the next epoch", a.what)
				}
			}
			want := []string{"produce t-0", "find g", "offsets t-1", "commit"}
			if i > 0 {
				want = slices.Delete(want, 1, 2)
			}
			require.Equal(x, want, w.take())
		}
		x.requireCommitted("v", "v", "v")
	})
}

// Java: TransactionManagerTest.testTransactionManagerEnablesV2
func TestVersion2BeginsWithTheNextTransaction(t *testing.T) {
	inRelease(t, quilltest.Options{}, nil, func(x *txnLab) {
		var level atomic.Int32
		level.Store(1)
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Times: -1, Edit: func(_ *quilltest.Request, response any) {
			for i := range response.(*message.APIVersionsResponse).FinalizedFeatures {
				response.(*message.APIVersionsResponse).FinalizedFeatures[i].MaxVersionLevel = int16(level.Load())
			}
		}})
		w := x.watch()
		require.NoError(x, x.p.InitTransactions(x.Context()))
		x.begin()
		_, err := x.p.SendSync(x.Context(), to(0, "a"))
		require.NoError(x, err)
		level.Store(2)
		for _, node := range x.c.NodeIDs() {
			require.NoError(x, x.c.Disconnect(node))
		}
		time.Sleep(time.Second)
		w.take()
		_, err = x.p.SendSync(x.Context(), to(1, "b"))
		require.NoError(x, err)
		x.commit()
		require.Equal(x, []string{"find mover", "add t-1", "produce t-1", "commit", "init"}, w.take(), "as it was begun, but it ends with a new epoch")
		before := x.epoch()
		for range 2 {
			x.begin()
			_, err = x.p.SendSync(x.Context(), to(0, "c"))
			require.NoError(x, err)
			x.commit()
			require.Equal(x, []string{"produce t-0", "commit"}, w.take())
		}
		require.Equal(x, before+2, x.epoch())
		x.requireCommitted("a", "c", "c", "b")
	})
}

// epoch is the producer's, as its coordinator knows it.
func (x *txnLab) epoch() int16 {
	txn, _ := x.c.Transaction(txnID)
	return txn.ProducerEpoch
}

// The level of the feature decides, whatever versions of the requests the nodes know.
//
// Java: TransactionManagerTest.testTransactionManagerDisablesV2
func TestVersion2NeedsItsFeature(t *testing.T) {
	inRelease(t, quilltest.Options{Features: map[string]int16{"transaction.version": 1}}, nil, func(x *txnLab) {
		require.NoError(x, x.p.InitTransactions(x.Context()))
		w := x.watch()
		for range 2 {
			x.begin()
			_, err := x.p.SendSync(x.Context(), to(0, "v"))
			require.NoError(x, err)
			require.NoError(x, x.exchangeOffsets())
			x.commit()
		}
		highest := map[string]int16{"produce t-0": 11, "offsets t-1": 4, "commit": 4}
		for _, a := range w.all() {
			if limit, ok := highest[a.what]; ok {
				require.LessOrEqual(x, a.version, limit, a.what)
			}
		}
		require.Equal(x, []string{"add t-0", "produce t-0", "add group g", "find g", "offsets t-1", "commit",
			"add t-0", "produce t-0", "add group g", "offsets t-1", "commit"}, w.take())
		require.Zero(x, x.epoch(), "and no end raises the epoch")
	})
}

// Java: TransactionManagerTest.testEndTxnNotSentIfIncompleteBatches
func TestTheEndWaitsForEachBatch(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		for _, what := range []string{"commit", "abort"} {
			x.begin()
			_, err := x.p.SendSync(x.Context(), to(0, "v"))
			require.NoError(x, err)
			x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 5 * time.Second, Topic: "t", Partitions: []int32{1}})
			slow := x.send(1, "v")
			time.Sleep(time.Second)
			w := x.watch()
			within(x.T, 4*time.Second, 4*time.Second+100*time.Millisecond, func() {
				if what == "commit" {
					x.commit()
				} else {
					x.abort()
				}
			})
			require.Equal(x, []string{what}, w.take())
			_, err = slow.Wait(x.Context())
			require.NoError(x, err)
		}
		x.requireCommitted("v", "v")
	})
}

// Java: TransactionManagerTest.testSenderShutdownWithPendingTransactions
func TestCloseLetsACommitThroughThatWasAskedFor(t *testing.T) {
	inTransactions(t, nil, func(x *txnLab) {
		x.begin()
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 2 * time.Second})
		sent := x.send(0, "v")
		committed := make(chan error, 1)
		go func() { committed <- x.p.CommitTransaction(x.Context()) }()
		time.Sleep(time.Second)
		require.False(x, sent.Done())
		closeProducer(x.T, x.p)
		require.NoError(x, <-committed)
		_, err := sent.Wait(x.Context())
		require.NoError(x, err)
		x.requireCommitted("v")
	})
}

// Java: TransactionManagerTest.testFlushPendingPartitionsOnCommit
func TestACommitFlushesInOrder(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.Linger, cfg.DeliveryTimeout = time.Hour, 2*time.Hour }, func(x *txnLab) {
		w := x.watch()
		x.begin()
		lingering := x.send(0, "v")
		x.commit()
		want := []string{"add t-0", "produce t-0", "commit"}
		if x.version2 {
			want = want[1:]
		}
		require.Equal(x, want, w.take())
		_, err := lingering.Wait(x.Context())
		require.NoError(x, err)
		x.requireState("READY")
		x.requireCommitted("v")
	})
}

// In Java the records of the first partition wait for the second one, too; here each waits for its own
// partition only.
//
// Java: TransactionManagerTest.testMultipleAddPartitionsPerForOneProduce
func TestAPartitionThatComesLaterIsAddedByItself(t *testing.T) {
	inVersion1(t, nil, func(x *txnLab) {
		w := x.watch()
		x.begin()
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, AnswerDelay: 2 * time.Second})
		x.send(0, "a")
		time.Sleep(time.Second)
		x.send(1, "b")
		x.send(0, "c")
		require.NoError(x, x.p.Flush(x.Context()))
		for _, partition := range []string{"t-0", "t-1"} {
			require.Less(x, indexOf(w, "add "+partition), indexOf(w, "produce "+partition))
		}
		x.commit()
		got := w.take()
		slices.Sort(got)
		require.Equal(x, []string{"add t-0", "add t-1", "commit", "produce t-0", "produce t-1"}, got)
		x.requireCommitted("a", "c", "b")
	})
}

// A call that gave up waiting goes on. Whatever became of it, its caller has to hear of it before
// anything else is taken.
func TestACallThatTimedOutIsRepeated(t *testing.T) {
	inits := func(x *txnLab, ctx context.Context) error { return x.p.InitTransactions(ctx) }
	for _, c := range []struct {
		name  string
		api   protocol.APIKey
		call  func(x *txnLab, ctx context.Context) error
		wants []string
	}{
		// Java: TransactionManagerTest.testRetryInitTransactionsAfterTimeout
		{"init", protocol.InitProducerID, inits, nil},
		// Java: TransactionManagerTest.testRetryCommitTransactionAfterTimeout
		{"commit", protocol.EndTxn, (*txnLab).commitFor, []string{"v"}},
		// Java: TransactionManagerTest.testRetryAbortTransactionAfterTimeout
		{"abort", protocol.EndTxn, (*txnLab).abortFor, nil},
	} {
		for _, release := range []string{"4.4", "3.9"} {
			t.Run(c.name+" "+release, func(t *testing.T) {
				inRelease(t, quilltest.Options{Release: release}, nil, func(x *txnLab) {
					if c.api == protocol.EndTxn {
						x.written()
					}
					w := x.watch()
					x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{c.api}, AnswerDelay: 2 * time.Second})
					require.ErrorIs(x, c.call(x, after(x.T, time.Second)), context.DeadlineExceeded)
					for range 2 { // before and after its end
						for name, other := range map[string]func() error{
							"init":   func() error { return x.p.InitTransactions(x.Context()) },
							"begin":  func() error { return x.p.BeginTransaction() },
							"send":   func() error { _, err := x.send(0, "v").Wait(x.Context()); return err },
							"commit": func() error { return x.p.CommitTransaction(x.Context()) },
							"abort":  func() error { return x.p.AbortTransaction(x.Context()) },
						} {
							if name != c.name {
								require.ErrorIs(x, other(), quill.ErrInvalidTxnState, name)
							}
						}
						time.Sleep(5 * time.Second)
					}
					require.ErrorContains(x, x.p.BeginTransaction(), "the producer is READY")
					asked := len(w.take())
					within(x.T, 0, 0, func() { require.NoError(x, c.call(x, x.Context())) })
					require.Empty(x, w.take(), "it goes on with the same operation, it does not ask again")
					require.Positive(x, asked)
					require.ErrorIs(x, x.p.InitTransactions(x.Context()), quill.ErrInvalidTxnState, "once is enough")
					x.requireCommitted(c.wants...)
					x.requireGoesOn()
				})
			})
		}
	}
}

// secret is a topic that the producer may not write to.
func (x *txnLab) secret() {
	x.c.MustCreateTopic("secret", 1, quilltest.TopicConfig{})
	x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, Topic: "secret", Times: -1, Err: protocol.TopicAuthorizationFailed})
}

// Java: TransactionManagerTest.testTopicAuthorizationFailureInAddPartitions
func TestAMissingRightNamesItsTopicAlone(t *testing.T) {
	inVersion1(t, func(cfg *quill.Config) { cfg.Linger = time.Minute }, func(x *txnLab) {
		x.secret()
		x.knowTopics("secret")
		w := x.watch()
		x.begin()
		bad, good := x.p.Send(x.Context(), rec("secret", "", "v")), x.send(0, "v")
		for _, f := range []quill.Future{bad, good} {
			_, err := f.Wait(x.Context())
			require.ErrorIs(x, err, quill.ErrTransactionAborted)
			require.ErrorIs(x, err, quill.ErrAbortable)
		}
		require.Equal(x, []string{"add secret-0 t-0"}, w.take(), "both at once")
		err := x.p.CommitTransaction(x.Context())
		require.ErrorIs(x, err, protocol.TopicAuthorizationFailed)
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.ErrorContains(x, err, `for topic "secret"`)
		require.NotContains(x, err.Error(), `"t"`)
		x.abort()
		require.Empty(x, w.take(), "neither was added")
		x.requireGoesOn()
	})
}

// knowTopics has the producer learn of topics, so that records to them need not wait.
func (x *txnLab) knowTopics(names ...string) {
	for _, name := range append(names, "t") {
		_, err := x.p.PartitionsFor(x.Context(), name)
		require.NoError(x, err)
	}
}

// Java: TransactionManagerTest.testCommitWithTopicAuthorizationFailureInAddPartitionsInFlight
func TestACommitFailsWithThePartitionThatIsBeingAdded(t *testing.T) {
	inVersion1(t, nil, func(x *txnLab) {
		x.secret()
		x.knowTopics("secret")
		w := x.watch()
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, AnswerDelay: 2 * time.Second})
		x.begin()
		bad, good := x.p.Send(x.Context(), rec("secret", "", "v")), x.send(0, "v")
		within(x.T, 2*time.Second, 2*time.Second+100*time.Millisecond, func() {
			err := x.p.CommitTransaction(x.Context())
			require.ErrorIs(x, err, protocol.TopicAuthorizationFailed)
			require.ErrorIs(x, err, quill.ErrAbortable)
		})
		for _, f := range []quill.Future{bad, good} {
			_, err := outcomeAt(x, f)
			require.ErrorIs(x, err, protocol.TopicAuthorizationFailed)
		}
		require.Empty(x, w.about("commit"))
		x.abort()
		x.requireGoesOn()
		x.requireCommitted("on")
	})
}

// Java: TransactionManagerTest.testRecoveryFromAbortableErrorTransactionNotStarted
func TestAnAbortOfNothingAsksNobody(t *testing.T) {
	inVersion1(t, nil, func(x *txnLab) {
		x.secret()
		w := x.watch()
		x.begin()
		_, err := x.p.SendSync(x.Context(), rec("secret", "", "v"))
		require.ErrorIs(x, err, quill.ErrTransactionAborted)
		x.abort()
		require.Equal(x, []string{"add secret-0"}, w.take())
		synctest.Wait()
		require.EqualValues(x, 32<<20, freeMemory(x.p))
		x.begin()
		_, err = x.p.SendSync(x.Context(), to(0, "v"))
		require.NoError(x, err)
		x.commit()
		require.Equal(x, []string{"add t-0", "produce t-0", "commit"}, w.take())
		x.requireCommitted("v")
	})
}

// Java: TransactionManagerTest.testRecoveryFromAbortableErrorTransactionStarted
func TestAnAbortDropsWhatWasAddedAndNotSent(t *testing.T) {
	inVersion1(t, func(cfg *quill.Config) { cfg.MaxInFlightRequestsPerConnection = 1 }, func(x *txnLab) {
		x.secret()
		x.c.MustCreateTopic("busy", 1, quilltest.TopicConfig{})
		x.knowTopics("secret", "busy")
		require.NoError(x, x.c.MoveCoordinator(quilltest.TransactionCoordinator, txnID, 2)) // node 1 leads busy-0 and t-0
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Topic: "busy", AnswerDelay: 5 * time.Second})
		x.begin()
		busy := x.p.Send(x.Context(), rec("busy", "", "v"))
		time.Sleep(time.Second)
		w := x.watch()
		good := x.send(0, "v")
		time.Sleep(time.Second)
		require.Equal(x, []string{"add t-0"}, w.take(), "its record has to wait for the node")
		bad := x.p.Send(x.Context(), rec("secret", "", "v"))
		for _, f := range []quill.Future{bad, good} {
			_, err := f.Wait(x.Context())
			require.ErrorIs(x, err, quill.ErrTransactionAborted)
		}
		require.Equal(x, []string{"add secret-0"}, w.take())
		require.False(x, busy.Done())
		x.abort()
		require.Equal(x, []string{"abort"}, w.take())
		_, err := busy.Wait(x.Context())
		require.NoError(x, err, "it was on its way")
		synctest.Wait()
		require.EqualValues(x, 32<<20, freeMemory(x.p))
		x.requireGoesOn()
		x.requireCommitted("on")
	})
}

// Java: TransactionManagerTest.testRecoveryFromAbortableErrorProduceRequestInRetry
func TestWhatIsSentAgainIsSettledBeforeTheAbort(t *testing.T) {
	inVersion1(t, slowly, func(x *txnLab) {
		x.secret()
		x.knowTopics("secret")
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.RequestTimedOut})
		x.begin()
		good := x.send(0, "v")
		time.Sleep(100 * time.Millisecond)
		w := x.watch()
		_, err := x.p.SendSync(x.Context(), rec("secret", "", "v"))
		require.ErrorIs(x, err, quill.ErrTransactionAborted)
		require.False(x, good.Done())
		_, err = good.Wait(x.Context())
		require.NoError(x, err)
		x.abort()
		require.Equal(x, []string{"add secret-0", "produce t-0", "abort"}, slices.DeleteFunc(w.take(), func(s string) bool { return s == "init" }))
		synctest.Wait()
		require.EqualValues(x, 32<<20, freeMemory(x.p))
		x.requireGoesOn()
		x.requireCommitted("on")
	})
}
