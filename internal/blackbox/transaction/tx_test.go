package transaction_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// InTransaction: what is committed, aborted, tried again, given up.

type stringTx = quill.Tx[string, string]

func TestInTransactionCommits(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		for i := range 3 {
			require.NoError(x, x.P.InTransaction(x.Context(), func(tx *stringTx) error {
				tx.Send(x.Context(), testkit.To(0, fmt.Sprint(i)))
				tx.SendFunc(x.Context(), testkit.To(1, fmt.Sprint(i)), nil)
				return tx.SendOffsets(x.Context(), testkit.GroupOffsets, quill.GroupMetadata{GroupID: "g"})
			}))
		}
		x.RequireCommitted("0", "1", "2", "0", "1", "2")
		require.Len(x, x.C.GroupOffsets("g"), 1)
	})
}

func TestInTransactionAbortsOnErrorAndPanic(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		calls, sorry := 0, errors.New("sorry")
		err := x.P.InTransaction(x.Context(), func(tx *stringTx) error {
			calls++
			tx.Send(x.Context(), testkit.To(0, "v"))
			return sorry
		})
		require.Equal(x, sorry, err, "the caller's own error comes back as it is")
		require.Equal(x, 1, calls, "and is not tried again")
		require.PanicsWithValue(x, "help", func() {
			_ = x.P.InTransaction(x.Context(), func(tx *stringTx) error {
				tx.Send(x.Context(), testkit.To(0, "v"))
				panic("help")
			})
		})
		x.RequireNothingOpen()
		x.RequireGoesOn()
		x.RequireCommitted("on")
	})
}

func TestInTransactionTriesAgainWhatMayWork(t *testing.T) {
	for _, c := range []struct {
		api   protocol.APIKey
		code  protocol.ErrorCode
		again bool
	}{
		{protocol.Produce, protocol.TransactionAbortable, true},
		{protocol.Produce, protocol.OutOfOrderSequenceNumber, true},
		{protocol.Produce, protocol.InvalidRecord, false},
		{protocol.Produce, protocol.TopicAuthorizationFailed, false},
		{protocol.Produce, protocol.ProducerFenced, false},
		{protocol.TxnOffsetCommit, protocol.IllegalGeneration, false},
		{protocol.EndTxn, protocol.TransactionAbortable, true},
	} {
		t.Run(c.code.Name(), func(t *testing.T) {
			inTransactions(t, nil, func(x *testkit.TxnLab) {
				x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{c.api}, Err: c.code})
				calls := 0
				err := x.P.InTransaction(x.Context(), func(tx *stringTx) error {
					calls++
					tx.Send(x.Context(), testkit.To(0, fmt.Sprint("try ", calls)))
					return tx.SendOffsets(x.Context(), testkit.GroupOffsets, quill.GroupMetadata{GroupID: "g"})
				})
				if !c.again {
					require.ErrorIs(x, err, c.code)
					require.Equal(x, 1, calls)
					x.RequireCommitted()
					if errors.Is(err, quill.ErrFatal) {
						x.Over()
					}
					return
				}
				require.NoError(x, err)
				x.RequireCommitted("try 2")
			})
		})
	}
}

func TestInTransactionEndsWithItsContext(t *testing.T) {
	inTransactions(t, func(cfg *quill.Config) { cfg.RequestTimeout = time.Second }, func(x *testkit.TxnLab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.TransactionAbortable, Times: -1})
		calls := 0
		err := x.P.InTransaction(testkit.After(x.T, 10*time.Second), func(tx *stringTx) error {
			calls++
			tx.Send(x.Context(), testkit.To(0, "v"))
			return nil
		})
		require.ErrorIs(x, err, protocol.TransactionAbortable)
		require.Greater(x, calls, 5)
		require.Less(x, calls, 30, "with pauses")
		x.RequireNothingOpen()

		commit := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, DisconnectBefore: true, Times: -1})
		err = x.P.InTransaction(testkit.After(x.T, 10*time.Second), func(*stringTx) error { return x.SendOffsets() })
		require.ErrorIs(x, err, context.DeadlineExceeded)
		require.Greater(x, commit.Hits(), int64(5))
		require.ErrorContains(x, x.P.InTransaction(x.Context(), nil), "CommitTransaction", "its outcome comes first")
		commit.Remove()
		x.Commit()
		require.Len(x, x.C.GroupOffsets("g"), 1)
	})
}

// A record that was not even taken is not silently left out of the transaction.
func TestInTransactionFailsWithEachSend(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		err := x.P.InTransaction(x.Context(), func(tx *stringTx) error {
			tx.Send(x.Context(), testkit.To(0, "good"))
			tx.Send(testkit.Ended(context.Canceled), testkit.Rec("unknown", "", "v"))
			return nil
		})
		require.ErrorIs(x, err, context.Canceled)
		var late *stringTx
		require.NoError(x, x.P.InTransaction(x.Context(), func(tx *stringTx) error { late = tx; return nil }))
		x.Begin()
		_, err = late.Send(x.Context(), testkit.To(0, "late")).Wait(x.Context())
		require.ErrorIs(x, err, quill.ErrInvalidTxnState, "not into the next one")
		require.ErrorIs(x, late.SendOffsets(x.Context(), testkit.GroupOffsets, quill.GroupMetadata{GroupID: "g"}), quill.ErrInvalidTxnState)
		x.Commit()
		x.RequireCommitted()
	})
}

func TestCallsInACallbackDontWait(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		x.Begin()
		var wg sync.WaitGroup
		wg.Add(1)
		x.P.SendFunc(x.Context(), testkit.To(0, "v"), func(quill.RecordMetadata, error) {
			defer wg.Done()
			for _, err := range []error{
				x.P.CommitTransaction(x.Context()), x.P.AbortTransaction(x.Context()), x.P.InitTransactions(x.Context()), x.SendOffsets(),
				x.P.InTransaction(x.Context(), func(*stringTx) error { return nil }),
			} {
				require.ErrorIs(x, err, quill.ErrInCallback)
			}
		})
		wg.Wait()
		x.Commit()
		x.RequireCommitted("v")
	})
}

// As with Java, all callbacks have run when it returns.
func TestCommitReturnsAfterTheCallbacks(t *testing.T) {
	inTransactions(t, nil, func(x *testkit.TxnLab) {
		for _, end := range []func(){x.Commit, x.Abort} {
			x.Begin()
			called := false
			x.P.SendFunc(x.Context(), testkit.To(0, "v"), func(quill.RecordMetadata, error) {
				time.Sleep(time.Second)
				called = true
			})
			end()
			require.True(x, called)
		}
	})
}

func TestTransactionCallsNeedAnID(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		for _, err := range []error{
			p.InitTransactions(t.Context()), p.BeginTransaction(), p.CommitTransaction(t.Context()), p.AbortTransaction(t.Context()),
			p.SendOffsetsToTransaction(t.Context(), testkit.GroupOffsets, quill.GroupMetadata{GroupID: "g"}),
			p.InTransaction(t.Context(), func(*stringTx) error { return nil }),
		} {
			require.ErrorIs(t, err, quill.ErrInvalidTxnState)
			require.ErrorContains(t, err, "transactional.id")
		}
		testkit.CloseProducer(t, p)
	})
}

func TestTwoPhaseCommitIsRefused(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.TransactionalID, cfg.TransactionTwoPhaseCommit = testkit.TxnID, true
		_, err := quill.New(cfg, quill.String, quill.String)
		require.ErrorIs(t, err, errors.ErrUnsupported)
	})
}

// The question whether to abort or to close has one answer, although two things failed.
func TestAnErrorOfInTransactionHasOneClass(t *testing.T) {
	classes := []error{quill.ErrRetriable, quill.ErrAbortable, quill.ErrFatal}
	requireOnly := func(t require.TestingT, class, err error) {
		for _, c := range classes {
			require.Equal(t, c == class, errors.Is(err, c), "%v: %v", c, err)
		}
	}
	inVersion1(t, nil, func(x *testkit.TxnLab) {
		x.Refuse(protocol.Produce, protocol.TransactionAbortable)
		x.Refuse(protocol.EndTxn, protocol.ProducerFenced)
		err := x.P.InTransaction(x.Context(), func(tx *stringTx) error {
			_, err := tx.Send(x.Context(), testkit.To(0, "v")).Wait(x.Context())
			return err
		})
		requireOnly(x, quill.ErrFatal, err)
		require.ErrorIs(x, err, quill.ErrProducerFenced, "why the abort failed")
		require.ErrorIs(x, err, protocol.TransactionAbortable, "why there was one")
		require.ErrorContains(x, err, "TRANSACTION_ABORTABLE")
		e, ok := errors.AsType[*quill.Error](err)
		require.True(x, ok)
		require.True(x, e.Fatal())
		require.False(x, e.Abortable())
		x.Over()
	})
	inTransactions(t, func(cfg *quill.Config) { cfg.MaxBlock = 3 * time.Second }, func(x *testkit.TxnLab) {
		ctx, cancel := context.WithCancel(x.Context())
		x.Refuse(protocol.Produce, protocol.TransactionAbortable)
		err := x.P.InTransaction(ctx, func(tx *stringTx) error {
			_, err := tx.Send(x.Context(), testkit.To(0, "v")).Wait(x.Context())
			x.Delay(protocol.EndTxn, 5*time.Second)
			cancel()
			return err
		})
		requireOnly(x, quill.ErrAbortable, err) // the abort has to be asked for again
		require.ErrorIs(x, err, quill.ErrTimeout)
		x.Abort()
		x.RequireGoesOn()
	})
}

// A function that commits or aborts itself leaves nothing to abort: InTransaction must not advise to try that until it works.
func TestInTransactionSaysThatItsFunctionEndedTheTransaction(t *testing.T) {
	own := errors.New("the function's own")
	for name, end := range map[string]func(x *testkit.TxnLab) error{
		"commit":             func(x *testkit.TxnLab) error { return x.P.CommitTransaction(x.Context()) },
		"abort":              func(x *testkit.TxnLab) error { return x.P.AbortTransaction(x.Context()) },
		"commit, then fails": func(x *testkit.TxnLab) error { return errors.Join(x.P.CommitTransaction(x.Context()), own) },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
				require.NoError(t, x.P.InitTransactions(x.Context()))
				calls := 0
				err := x.P.InTransaction(x.Context(), func(tx *quill.Tx[string, string]) error {
					calls++
					tx.SendFunc(x.Context(), testkit.To(0, "v"), nil)
					return end(x)
				})
				require.Equal(t, 1, calls)
				require.ErrorIs(t, err, quill.ErrInvalidTxnState)
				require.ErrorContains(t, err, "the function has called CommitTransaction or AbortTransaction itself; return from it instead")
				require.NotErrorIs(t, err, quill.ErrNotAborted)
				require.NotErrorIs(t, err, quill.ErrAbortable)
				require.Equal(t, name == "commit, then fails", errors.Is(err, own))

				require.NoError(t, x.P.InTransaction(x.Context(), func(tx *quill.Tx[string, string]) error {
					_, err := tx.Send(x.Context(), testkit.To(0, "next")).Wait(x.Context())
					return err
				}), "the producer goes on")
			})
		})
	}
}
