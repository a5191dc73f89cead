package transaction_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Random transactions under random faults of all that is asked of nodes for them, in clusters of several
// releases. Afterwards, what the producer said about each transaction is held against what a
// read-committed consumer sees.
//
//	QUILL_TXN_SEED=17     run this seed only
//	QUILL_TXN_SEEDS=2000  run this many (100 if not set)

var (
	randomReleases = []string{"4.4", "4.4", "3.9", "3.9", "2.8", "2.5", "2.1"}
	randomAPIs     = []protocol.APIKey{protocol.FindCoordinator, protocol.InitProducerID, protocol.AddPartitionsToTxn, protocol.AddOffsetsToTxn,
		protocol.TxnOffsetCommit, protocol.Produce, protocol.EndTxn}
	randomCodes = []protocol.ErrorCode{protocol.NotCoordinator, protocol.CoordinatorLoadInProgress, protocol.ConcurrentTransactions,
		protocol.NotLeaderOrFollower, protocol.RequestTimedOut, protocol.TransactionAbortable}
)

func TestTransactionsUnderRandomFaults(t *testing.T) {
	first, n := 0, 100
	if s := os.Getenv("QUILL_TXN_SEEDS"); s != "" {
		n = testkit.Number(t, s)
	}
	if s := os.Getenv("QUILL_TXN_SEED"); s != "" {
		first, n = testkit.Number(t, s), 1
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			watchdog := time.AfterFunc(testkit.ChaosLimit, func() { panic(fmt.Sprintf("seed %d: time stands still", seed)) })
			defer watchdog.Stop()
			runRandomTransactions(t, rand.New(rand.NewPCG(uint64(seed), 1)))
		})
	}
}

// randomTransactions is one run: what was said.
type randomTransactions struct {
	*testkit.TxnLab
	r         *rand.Rand
	committed map[string]bool // values that are surely committed
	open      map[string]bool // values whose outcome is unknown
	offset    int64           // committed
	maybe     int64           // or else this one, if the outcome is unknown
}

func runRandomTransactions(t *testing.T, r *rand.Rand) {
	opts := quilltest.Options{Release: randomReleases[r.IntN(len(randomReleases))], MarkerDelay: time.Duration(r.IntN(2)*r.IntN(200)) * time.Millisecond}
	testkit.InRelease(t, opts, func(cfg *quill.Config) {
		cfg.RequestTimeout, cfg.DeliveryTimeout = 2*time.Second, 6*time.Second
		cfg.Linger, cfg.BatchSize = time.Duration(r.IntN(20)-1)*time.Millisecond, 200
	}, func(x *testkit.TxnLab) {
		y := &randomTransactions{TxnLab: x, r: r, committed: map[string]bool{}, open: map[string]bool{}}
		for range r.IntN(8) + 1 {
			x.C.Inject(y.fault())
		}
		if err := x.P.InitTransactions(x.Context()); err != nil {
			require.ErrorIs(x, err, quill.ErrAbortable)
			x.Abort()
		}
		for i := 0; i < 8 && y.transaction(i); i++ {
			time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
		}
		x.Over()
		y.check()
	})
}

// fault draws what goes wrong.
func (y *randomTransactions) fault() quilltest.Fault {
	f := quilltest.Fault{APIs: []protocol.APIKey{randomAPIs[y.r.IntN(len(randomAPIs))]}, Skip: y.r.IntN(8), Times: y.r.IntN(3) + 1}
	switch y.r.IntN(8) {
	case 0:
		f.DisconnectBefore = true
	case 1:
		f.DisconnectAfter = true
	case 2:
		f.DropAnswer = true
	case 3:
		f.DropRequest = true
	case 4:
		f.Err = randomCodes[y.r.IntN(len(randomCodes))]
	case 5: // no coordinator does what it says that it can't, so all but the last
		f.Err, f.AfterAppend = randomCodes[y.r.IntN(len(randomCodes)-1)], true
	case 6:
		f.Delay = time.Duration(y.r.IntN(4000)) * time.Millisecond
	case 7:
		node := int32(y.r.IntN(3) + 1)
		f.Do = func(*quilltest.Request) {
			_ = y.C.MoveCoordinator(quilltest.TransactionCoordinator, testkit.TxnID, node)
		}
	}
	return f
}

// transaction runs one. It is false when the producer can do no more.
func (y *randomTransactions) transaction(i int) bool {
	if err := y.P.BeginTransaction(); err != nil {
		require.ErrorIs(y, err, quill.ErrFatal)
		return false
	}
	var values []string
	for j := range y.r.IntN(10) {
		values = append(values, fmt.Sprint(i, "-", j))
		y.Send(int32(y.r.IntN(3)), values[j])
		time.Sleep(time.Duration(max(0, y.r.IntN(40)-30)) * time.Millisecond)
	}
	var err error
	offset := y.offset
	if y.r.IntN(2) == 0 {
		offset = int64(i + 1)
		err = y.P.SendOffsetsToTransaction(y.Context(), map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: offset}}, quill.GroupMetadata{GroupID: "g"})
	}
	if err == nil && y.r.IntN(4) > 0 {
		if err = y.P.CommitTransaction(y.Context()); err == nil {
			for _, v := range values {
				y.committed[v] = true
			}
			y.offset, y.maybe = offset, offset
			return true
		}
		if e, ok := errors.AsType[*quill.Error](err); ok && e.Outcome == quill.MaybeWritten {
			require.True(y, e.Fatal())
			for _, v := range values {
				y.open[v] = true
			}
			y.maybe = offset
		}
	}
	if errors.Is(err, quill.ErrFatal) {
		return false
	}
	if err != nil {
		require.ErrorIs(y, err, quill.ErrAbortable)
	}
	if err = y.P.AbortTransaction(y.Context()); err != nil {
		require.ErrorIs(y, err, quill.ErrFatal)
	}
	return err == nil
}

// check compares with the logs.
func (y *randomTransactions) check() {
	records, err := y.C.AllCommittedRecords("t")
	require.NoError(y, err)
	seen := map[string]bool{}
	for _, r := range records {
		v := string(r.Value)
		require.False(y, seen[v], "%s is there twice", v)
		require.True(y, y.committed[v] || y.open[v], "%s was not committed", v)
		seen[v] = true
	}
	for v := range y.committed {
		require.True(y, seen[v], "%s is missing", v)
	}
	require.Contains(y, []int64{y.offset, y.maybe}, y.C.GroupOffsets("g")[quilltest.TopicPartition{Topic: "t"}].Offset)
}
