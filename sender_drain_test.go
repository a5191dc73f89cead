package quill

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// Draining a node: when a request leaves, when not, and when the sender looks again.

// oneNode is a network whose nodes take requests or not, all alike.
type oneNode struct {
	connections
	ready    bool
	inFlight int
	again    time.Time
	sent     int
}

func (x *oneNode) Ready(int32, time.Time) bool             { return x.ready }
func (x *oneNode) Connected(int32) bool                    { return true }
func (x *oneNode) LastError(int32) error                   { return nil }
func (x *oneNode) InFlight(int32) int                      { return x.inFlight }
func (x *oneNode) CanRetryAt(int32, time.Time) time.Time   { return x.again }
func (x *oneNode) Send(int32, *network.Request, time.Time) { x.sent++; x.inFlight++ }

// When the epochs of a producer id are used up the next one is asked for at once: nothing else would wake the sender.
func TestANewProducerIDIsAskedForAtOnce(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		useUpEpochs(t, r)
		r.ready()
		r.s.client = &oneNode{ready: true}
		require.Equal(t, time.Now(), r.s.drainAll(time.Now()))
		require.Equal(t, idNone, r.s.idem.state)
	})
}

// A node that takes nothing is slow after partitioner.availability.timeout.ms, not only when it may be tried again.
func TestANodeIsNoticedToBeSlowInTime(t *testing.T) {
	withRig(t, func(s *settings) { s.availabilityTimeout = time.Second }, func(t *testing.T, r *rig) {
		r.append(0, "key", "value")
		time.Sleep(r.cfg.linger)
		r.ready()
		r.s.client = &oneNode{again: time.Now().Add(time.Hour)}
		began := time.Now()
		require.Equal(t, began.Add(time.Second), r.s.drainAll(began))
		require.False(t, r.s.nodes[0].slow.Load())
		time.Sleep(time.Second)
		r.s.drainAll(time.Now())
		require.True(t, r.s.nodes[0].slow.Load())
	})
}

// Each request waits for more batches from when its own batches are ready, not from when those of the one before were.
func TestEachRequestWaitsForCompanyAnew(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = 0 }, func(t *testing.T, r *rig) {
		x := &oneNode{ready: true, inFlight: 1}
		for range 3 {
			r.append(0, "key", "value")
			r.ready()
			was := r.s.client
			r.s.client = x
			began, sent := time.Now(), x.sent
			x.inFlight = 1
			due := r.s.drainAll(began)
			require.Equal(t, began.Add(partialWait), due)
			require.Equal(t, sent, x.sent)
			time.Sleep(time.Until(due))
			r.s.drainAll(time.Now())
			require.Equal(t, sent+1, x.sent)
			r.s.client = was
			time.Sleep(time.Second)
		}
	})
}

// The markers of the transaction before take a moment: the batch goes again after 20 ms, not after retry.backoff.ms.
func TestABatchThatWaitsForTheTransactionBeforeGoesSoon(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		b := sendBatch(t, r, 1)
		r.answer(0, refusedWith(protocol.ConcurrentTransactions))
		require.Equal(t, concurrentPause, time.Until(b.retryAt))
	})
}

// The log append time of a batch that was sent twice counts, unless it is the one by which a broker answers a duplicate.
func TestTheLogAppendTimeOfARetriedBatchIsReported(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		f := r.append(0, "key", "value")
		b := r.drainOne(0)
		r.lose(0)
		time.Sleep(r.cfg.retryBackoffMax)
		r.drainOne(0)
		at := b.maxTime + 5
		r.answer(0, appendedAt(0, at))
		r.dispatch()
		m, err := outcomeOf(t, f)
		require.NoError(t, err)
		require.Equal(t, at, m.Timestamp.UnixMilli())
	})
}
