package transaction_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// How transactions end: aborts, closes, lost answers, old clusters, crowds.

// KIP-654: an abort needs no flush.
func TestAbortDropsWhatHasNotLeft(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.Linger, cfg.DeliveryTimeout = time.Hour, 2*time.Hour }, func(x *testkit.TxnLab) {
		x.Begin()
		left := x.Send(0, "v")
		x.Abort()
		_, err := left.Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrTransactionAborted)
		require.ErrorIs(x, err, quill.ErrAbortable)
		require.Zero(x, x.Requests(protocol.Produce))
		x.RequireGoesOn()
	})
}

// What is in flight is waited for: nothing is written after the abort.
func TestAbortWaitsForWhatIsInFlight(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		x.Begin()
		_, err := x.P.SendSync(x.Context(), testkit.To(0, "first"))
		require.NoError(x, err)
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Delay: 3 * time.Second})
		f := x.Send(0, "v")
		time.Sleep(time.Second)
		testkit.Within(x.T, 2*time.Second, 3*time.Second, x.Abort)
		_, err = f.Wait(x.Context())
		require.NoError(x, err, "it was written, and aborted")
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// A batch that expires on the wire may be written until its request is back.
func TestNothingIsWrittenAfterTheEnd(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.RequestTimeout, cfg.DeliveryTimeout = 4*time.Second, 5*time.Second }, func(x *testkit.TxnLab) {
		const held = 3900 * time.Millisecond
		var order []protocol.APIKey
		arrived := map[protocol.APIKey]time.Time{}
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce, protocol.EndTxn}, Times: -1, Do: func(r *quilltest.Request) {
			order, arrived[r.API] = append(order, r.API), time.Now()
		}})
		x.Begin()
		_, err := x.P.SendSync(x.Context(), testkit.To(0, "first"))
		require.NoError(x, err)
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Delay: held, Err: protocol.NotEnoughReplicas, Times: 3})
		_, err = x.Send(0, "v").Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrDeliveryTimeout)
		x.Abort()
		require.Equal(x, protocol.EndTxn, order[len(order)-1])
		require.GreaterOrEqual(x, arrived[protocol.EndTxn].Sub(arrived[protocol.Produce]), held, "the request that the batch expired in is back")
		time.Sleep(10 * time.Second)
		require.Equal(x, protocol.EndTxn, order[len(order)-1])
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

// While the markers of the transaction before are written, the next one waits with short pauses.
func TestTheNextTransactionWaitsForTheMarkers(t *testing.T) {
	for _, release := range []string{"4.4", "3.9", "2.1"} {
		testkit.InRelease(t, quilltest.Options{Release: release, MarkerDelay: 50 * time.Millisecond}, nil, func(x *testkit.TxnLab) {
			require.NoError(x, x.P.InitTransactions(x.Context()))
			testkit.Within(x.T, 0, 2*time.Second, func() {
				for i := range 10 {
					x.Begin()
					x.Send(int32(i%3), fmt.Sprint(i))
					x.Commit()
				}
			})
			time.Sleep(time.Second)
			x.RequireCommitted("0", "3", "6", "9", "1", "4", "7", "2", "5", "8")
		})
	}
}

// C9: nothing is left open, and what was asked for is carried out.
func TestCloseInEachState(t *testing.T) {
	for _, c := range []struct {
		name  string
		reach func(x *testkit.TxnLab)
		want  quilltest.TransactionState
	}{
		{"uninitialized", func(*testkit.TxnLab) {}, quilltest.TransactionEmpty},
		{"initializing", func(x *testkit.TxnLab) {
			x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.CoordinatorLoadInProgress, Times: -1})
			require.ErrorIs(x, x.P.InitTransactions(testkit.After(x.T, time.Second)), context.DeadlineExceeded)
		}, quilltest.TransactionEmpty},
		{"ready", func(x *testkit.TxnLab) { require.NoError(x, x.P.InitTransactions(x.Context())) }, quilltest.TransactionEmpty},
		{"in transaction", func(x *testkit.TxnLab) { x.Written() }, quilltest.TransactionAborted},
		{"abortable", func(x *testkit.TxnLab) {
			x.Written()
			_, err := x.Send(9, "v").Wait(x.Context())
			require.Error(x, err)
		}, quilltest.TransactionAborted},
		{"committing", func(x *testkit.TxnLab) {
			x.Written()
			x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, Delay: 3 * time.Second})
			require.ErrorIs(x, x.P.CommitTransaction(testkit.After(x.T, time.Second)), context.DeadlineExceeded)
		}, quilltest.TransactionCommitted},
		{"aborting", func(x *testkit.TxnLab) {
			x.Written()
			x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, Delay: 3 * time.Second})
			require.ErrorIs(x, x.P.AbortTransaction(testkit.After(x.T, time.Second)), context.DeadlineExceeded)
		}, quilltest.TransactionAborted},
		{"fatal", func(x *testkit.TxnLab) {
			x.Written()
			x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, Err: protocol.InvalidTxnState, AfterAppend: true})
			require.ErrorIs(x, x.P.AbortTransaction(x.Context()), quill.ErrFatal)
		}, quilltest.TransactionAborted},
	} {
		for _, release := range []string{"4.4", "3.9"} {
			t.Run(c.name+" "+release, func(t *testing.T) {
				testkit.InRelease(t, quilltest.Options{Release: release}, nil, func(x *testkit.TxnLab) {
					c.reach(x)
					testkit.Within(x.T, 0, 5*time.Second, func() { testkit.CloseProducer(x.T, x.P) })
					txn, _ := x.C.Transaction(testkit.TxnID)
					require.Equal(x, c.want, txn.State)
				})
			})
		}
	}
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		x.Begin()
		_, err := x.P.SendSync(x.Context(), testkit.To(0, "v"))
		require.NoError(x, err)
		testkit.PauseAll(x.T, x.C)
		waiting := make(chan error)
		go func() { waiting <- x.P.CommitTransaction(x.Context()) }()
		time.Sleep(time.Second)
		testkit.Within(x.T, 2*time.Second, 2200*time.Millisecond, func() {
			require.ErrorIs(x, x.P.Close(testkit.After(x.T, 2*time.Second)), quill.ErrForceClosed)
		})
		require.ErrorIs(x, <-waiting, quill.ErrForceClosed)
		testkit.ResumeAll(x.T, x.C)
		time.Sleep(2 * time.Minute) // the coordinator aborts, or has committed
	})
}

// Records sent by many goroutines while another one commits are in one transaction or refused, and
// nothing is in between.
func TestSendsBesideCommitsAreInOneTransaction(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.BatchSize = 300 }, func(x *testkit.TxnLab) {
		var mu sync.Mutex
		taken := map[string]bool{}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					value := fmt.Sprint(g, "/", i)
					f := x.Send(int32(i%3), value)
					if _, err := f.Wait(x.Context()); err == nil {
						mu.Lock()
						taken[value] = true
						mu.Unlock()
					} else {
						require.ErrorIs(x, err, quill.ErrInvalidTxnState)
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		for range 30 {
			x.Begin()
			time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
			x.Commit()
		}
		close(stop)
		wg.Wait()
		records, err := x.C.AllCommittedRecords("t")
		require.NoError(x, err)
		require.Len(x, records, len(taken))
		for _, r := range records {
			require.True(x, taken[string(r.Value)])
		}
	})
}

// A commit whose answer got lost, and then a new producer: the outcome is unknown, and the error says so.
func TestACommitInDoubtIsCalledThat(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		for _, lost := range []bool{false, true} {
			p := testkit.Open(x.T, x.Cfg)
			require.NoError(x, p.InitTransactions(x.Context()))
			require.NoError(x, p.BeginTransaction())
			_, err := p.SendSync(x.Context(), testkit.To(0, "v"))
			require.NoError(x, err)
			if lost {
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, DisconnectAfter: true})
			}
			x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, Err: protocol.ProducerFenced, Skip: map[bool]int{true: 1}[lost]})
			err = p.CommitTransaction(x.Context())
			require.ErrorIs(x, err, quill.ErrProducerFenced)
			e, ok := errors.AsType[*quill.Error](err)
			require.True(x, ok)
			require.Equal(x, lost, e.Outcome == quill.MaybeWritten)
			testkit.CloseProducer(x.T, p)
			time.Sleep(2 * time.Minute)
		}
		x.RequireCommitted("v")
	})
}

// Before 2.5 the epoch can't be raised. A failed batch leaves a gap that is mended; an end whose answer
// got lost makes the producer useless, for its copy could end the next transaction.
func TestOldClusters(t *testing.T) {
	for _, release := range []string{"0.11", "2.1", "2.4"} {
		t.Run("failed batch "+release, func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{Release: release}, func(cfg *quill.Config) { cfg.Linger, cfg.BatchSize = -1, -1 }, func(x *testkit.TxnLab) {
				require.NoError(x, x.P.InitTransactions(x.Context()))
				x.Begin()
				_, err := x.P.SendSync(x.Context(), testkit.To(0, "first"))
				require.NoError(x, err)
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.InvalidTimestamp, Delay: time.Second})
				for i := range 4 {
					x.Send(0, fmt.Sprint(i))
				}
				require.ErrorIs(x, x.P.CommitTransaction(x.Context()), quill.ErrAbortable)
				x.Abort()
				for i := range 3 {
					x.Begin()
					x.Send(0, fmt.Sprint("good ", i))
					x.Commit()
				}
				x.RequireCommitted("good 0", "good 1", "good 2")
			})
		})
		t.Run("lost end "+release, func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{Release: release}, nil, func(x *testkit.TxnLab) {
				x.Written()
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, DisconnectAfter: true})
				x.Commit()
				x.RequireCommitted("v")
				err := x.P.BeginTransaction()
				require.ErrorIs(x, err, quill.ErrFatal)
				require.ErrorIs(x, err, quill.ErrUnsupportedVersion)
			})
		})
	}
}

// Offsets whose answer was lost are sent again; the first copy may arrive in the next transaction, behind
// that one's own. With version 1 it would take the group back.
func TestNoLateOffsetsReachTheNextTransaction(t *testing.T) {
	for _, release := range []string{"2.4", "3.9", "4.4"} {
		t.Run(release, func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{Release: release}, func(cfg *quill.Config) { cfg.RequestTimeout, cfg.Linger = time.Second, -1 }, func(x *testkit.TxnLab) {
				require.NoError(x, x.P.InitTransactions(x.Context()))
				offset := func(n int64) {
					offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t", Partition: 1}: {Offset: n}}
					require.NoError(x, x.P.SendOffsetsToTransaction(x.Context(), offsets, quill.GroupMetadata{GroupID: "g"}))
				}
				x.Begin()
				x.Delay(protocol.TxnOffsetCommit, 3*time.Second)
				offset(1)
				x.Commit()
				err := x.P.BeginTransaction()
				if release == "2.4" {
					require.ErrorIs(x, err, quill.ErrFatal)
					require.ErrorIs(x, err, quill.ErrUnsupportedVersion)
					return
				}
				require.NoError(x, err)
				offset(2)
				time.Sleep(5 * time.Second) // the late one comes
				x.Commit()
				require.EqualValues(x, 2, x.C.GroupOffsets("g")[quilltest.TopicPartition{Topic: "t", Partition: 1}].Offset)
			})
		})
	}
}

// A cluster that switches to version 2 while the producer runs: it follows, under a new epoch, once a
// connection shows.
func TestTheProducerFollowsToVersion2(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{Release: "4.0"}, func(cfg *quill.Config) { cfg.ReconnectBackoff = time.Millisecond }, func(x *testkit.TxnLab) {
		before := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Times: -1, Edit: func(_ *quilltest.Request, response any) {
			features := response.(*message.APIVersionsResponse).FinalizedFeatures
			for i := range features {
				features[i].MaxVersionLevel = 1
			}
		}})
		x.Written()
		x.Commit()
		require.Equal(x, 1, x.Requests(protocol.AddPartitionsToTxn))
		before.Remove()
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.AddPartitionsToTxn}, DisconnectBefore: true})
		x.RequireGoesOn()
		added, inits := x.Requests(protocol.AddPartitionsToTxn), x.Requests(protocol.InitProducerID)
		require.Equal(x, 2, inits, "a new epoch for the new version")
		for range 2 {
			x.RequireGoesOn()
		}
		require.Equal(x, added, x.Requests(protocol.AddPartitionsToTxn), "Produce does it")
		require.Equal(x, inits, x.Requests(protocol.InitProducerID), "and EndTxn raises the epoch")
	})
}
