package quilltest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// A crowd is many transactional producers at once, which are fenced, aborted and moved at random. It
// knows of each transaction, by its label, how many records a reader must see: all, or none.
type crowd struct {
	t  *testing.T
	c  *Cluster
	mu sync.Mutex
	// +checklocks:mu
	want map[string]int
}

// patiently repeats a request while the answer only asks it to wait.
func patiently(request func() protocol.ErrorCode) protocol.ErrorCode {
	for {
		switch code := request(); code {
		case protocol.ConcurrentTransactions, protocol.NotEnoughReplicas, protocol.CoordinatorNotAvailable, protocol.NotCoordinator, protocol.NotLeaderOrFollower:
			time.Sleep(time.Millisecond)
		default:
			return code
		}
	}
}

// transact writes three records to two partitions and an offset, and ends the transaction. It is
// false if the producer was fenced.
func (w *crowd) transact(x *txnClient, commit bool) bool {
	steps := []func() protocol.ErrorCode{
		func() protocol.ErrorCode { return x.write("orders", 0, 1) },
		func() protocol.ErrorCode { return x.write("orders", 1, 2) },
		func() protocol.ErrorCode { return x.commitOffset(x.id, "orders", int64(len(x.label)), nil) },
	}
	if !x.version2 {
		add := func() protocol.ErrorCode { return x.add("orders", 0, 1)[0] }
		group := func() protocol.ErrorCode { return x.addGroup(x.id) }
		steps = append([]func() protocol.ErrorCode{add, group}, steps...)
	}
	for _, step := range steps {
		if patiently(step) != protocol.None {
			return false
		}
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
	}
	if patiently(func() protocol.ErrorCode { return x.end(commit) }) != protocol.None {
		return false
	}
	if commit {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.want[x.label] = 3
	}
	return true
}

// produce is one producer's life: a new instance after each fencing.
func (w *crowd) produce(id string, version2 bool) {
	x := newTxnClient(w.t, w.c, id, version2)
	x.timeout = time.Second
	ready := false
	for i := range 40 {
		x.label = fmt.Sprintf("%s, transaction %d", id, i)
		if !ready {
			if rand.IntN(2) == 0 {
				x.adopt(noProducer)
			}
			ready = patiently(func() protocol.ErrorCode { return x.init(x.producer) }) == protocol.None
			if !ready {
				x.adopt(noProducer)
				continue
			}
		}
		if rand.IntN(8) == 0 {
			ready = false // leave it open and begin again
			_ = x.write("orders", 0, 1)
			continue
		}
		ready = w.transact(x, rand.IntN(3) > 0)
	}
}

// trouble fences producers and moves coordinators and leaders.
func (w *crowd) trouble(ids []string, version2 bool) {
	for range 60 {
		time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
		id, node := ids[rand.IntN(len(ids))], int32(1+rand.IntN(3))
		switch rand.IntN(4) {
		case 0:
			require.NoError(w.t, w.c.MoveCoordinator(TransactionCoordinator, id, node))
		case 1:
			require.NoError(w.t, w.c.MoveCoordinator(GroupCoordinator, id, node))
		case 2:
			require.NoError(w.t, w.c.MoveLeader("orders", int32(rand.IntN(2)), node))
		case 3:
			_ = newTxnClient(w.t, w.c, id, version2).init(noProducer)
		}
	}
}

func TestReadersSeeAllOrNothingOfATransaction(t *testing.T) {
	inBothVersions(t, Options{MarkerDelay: 2 * time.Millisecond}, func(t *testing.T, c *Cluster, version2 bool) {
		w := &crowd{t: t, c: c, want: make(map[string]int)}
		var ids []string
		for i := range 6 {
			ids = append(ids, fmt.Sprintf("producer %d", i))
		}
		var wg sync.WaitGroup
		for _, id := range ids {
			wg.Go(func() { w.produce(id, version2) })
		}
		wg.Go(func() { w.trouble(ids, version2) })
		wg.Wait()
		time.Sleep(time.Minute) // what was left open times out
		for _, x := range c.Transactions() {
			require.NotEqual(t, TransactionOngoing, x.State, "hangs: %+v", x)
			require.Empty(t, x.Partitions)
			require.Empty(t, x.Groups)
		}
		got := make(map[string]int)
		committed, err := c.AllCommittedRecords("orders")
		require.NoError(t, err)
		for _, r := range committed {
			got[string(r.Value)]++
		}
		w.mu.Lock()
		want := maps.Clone(w.want)
		w.mu.Unlock()
		require.NotEmpty(t, want)
		require.Equal(t, want, got, "in part, or of an aborted transaction")
		require.Greater(t, int(c.Appended("orders")), len(committed), "some were aborted")
		for p := range int32(2) {
			stable, err := c.LastStableOffset("orders", p)
			require.NoError(t, err)
			_, end, err := c.Offsets("orders", p)
			require.NoError(t, err)
			require.Equal(t, end, stable)
		}
	})
}
