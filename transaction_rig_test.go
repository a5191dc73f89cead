package quill_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What the nodes are asked about transactions, for tests that care for the order of requests.

// txnWire lists the requests about transactions as they arrive, those that a fault hits included.
type txnWire struct {
	mu sync.Mutex
	// +checklocks:mu
	seen []txnAsked
}

// txnAsked is one of them.
type txnAsked struct {
	// what it is, in few words: "find mover", "init", "add t-0 t-1", "add group g", "offsets t-0", "produce t-0", "commit", "abort"
	what    string
	node    int32
	version int16
	id      int64 // of the producer, as the request tells
	epoch   int16
	first   int32 // sequence of its first batch
	at      time.Time
}

// watch begins a list.
func (x *txnLab) watch() *txnWire {
	w := &txnWire{}
	x.c.Inject(quilltest.Fault{Times: -1, Do: func(r *quilltest.Request) {
		if a := describeAsked(r); a.what != "" {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.seen = append(w.seen, a)
		}
	}})
	return w
}

func describeAsked(r *quilltest.Request) txnAsked {
	a := txnAsked{node: r.Node, version: r.Version, at: time.Now(), id: -1, epoch: -1, first: -1}
	var names []string
	for _, tp := range r.Partitions() {
		names = append(names, tp.String())
	}
	slices.Sort(names)
	partitions := strings.Join(names, " ")
	switch m := r.Message.(type) {
	case *message.FindCoordinatorRequest:
		a.what = "find " + strings.Join(append(m.CoordinatorKeys, m.Key), "")
	case *message.InitProducerIDRequest:
		a.what, a.id, a.epoch = "init", m.ProducerID, m.ProducerEpoch
	case *message.AddPartitionsToTxnRequest:
		a.what, a.id, a.epoch = "add "+partitions, m.V3AndBelowProducerID, m.V3AndBelowProducerEpoch
	case *message.AddOffsetsToTxnRequest:
		a.what, a.id, a.epoch = "add group "+m.GroupID, m.ProducerID, m.ProducerEpoch
	case *message.TxnOffsetCommitRequest:
		a.what, a.id, a.epoch = "offsets "+partitions, m.ProducerID, m.ProducerEpoch
	case *message.ProduceRequest:
		a.what = "produce " + partitions
		if len(r.Partitions()) > 0 {
			h, _ := r.Batch(r.Partitions()[0].Topic, r.Partitions()[0].Partition)
			a.id, a.epoch, a.first = h.ProducerID, h.ProducerEpoch, h.BaseSequence
		}
	case *message.EndTxnRequest:
		a.what = "abort"
		if m.Committed {
			a.what = "commit"
		}
		a.id, a.epoch = m.ProducerID, m.ProducerEpoch
	}
	return a
}

// all is what was asked so far.
func (w *txnWire) all() []txnAsked {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// take is what was asked since the last take, in words.
func (w *txnWire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var words []string
	for _, a := range w.seen {
		words = append(words, a.what)
	}
	w.seen = nil
	return words
}

// named is the requests with these words.
func (w *txnWire) named(what string) []txnAsked {
	return slices.DeleteFunc(w.all(), func(a txnAsked) bool { return a.what != what })
}

// about is the requests whose words begin so.
func (w *txnWire) about(prefix string) []txnAsked {
	return slices.DeleteFunc(w.all(), func(a txnAsked) bool { return !strings.HasPrefix(a.what, prefix) })
}

// requireState shows in which state the producer is: a call that it refuses anyway names it.
func (x *txnLab) requireState(state string) {
	x.Helper()
	require.ErrorContains(x, x.p.InitTransactions(x.Context()), state)
}

// inVersion1 is inTransactions for version 1 of the protocol alone, whose requests version 2 does not have.
func inVersion1(t *testing.T, change func(cfg *quill.Config), test func(x *txnLab)) {
	t.Helper()
	inRelease(t, quilltest.Options{Release: "3.9"}, change, func(x *txnLab) {
		require.NoError(x, x.p.InitTransactions(x.Context()))
		test(x)
	})
}

// refuse lets the next request of that kind be answered with an error, for these partitions of topic "t"
// or altogether.
func (x *txnLab) refuse(api protocol.APIKey, code protocol.ErrorCode, partitions ...int32) *quilltest.Injection {
	f := quilltest.Fault{APIs: []protocol.APIKey{api}, Err: code, Partitions: partitions}
	if len(partitions) > 0 {
		f.Topic = "t"
	}
	return x.c.Inject(f)
}

// delay lets the next request of that kind, and what follows on its connection, be handled later.
func (x *txnLab) delay(api protocol.APIKey, d time.Duration) *quilltest.Injection {
	return x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{api}, Delay: d})
}

// lingering keeps records from leaving by themselves.
func lingering(cfg *quill.Config) { cfg.Linger, cfg.DeliveryTimeout = time.Hour, 2*time.Hour }
