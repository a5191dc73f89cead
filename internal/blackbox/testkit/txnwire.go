package testkit

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// TxnWire lists the requests about transactions as they arrive, those that a fault hits included.
type TxnWire struct {
	mu sync.Mutex
	// +checklocks:mu
	seen []txnAsked
}

// txnAsked is one of them.
type txnAsked struct {
	// what it is, in few words: "find mover", "init", "add t-0 t-1", "add group g", "offsets t-0", "produce t-0", "commit", "abort"
	What    string
	node    int32
	Version int16
	ID      int64 // of the producer, as the request says
	Epoch   int16
	First   int32 // sequence of its first batch
	At      time.Time
}

// Watch begins a list.
func (x *TxnLab) Watch() *TxnWire {
	w := &TxnWire{}
	x.C.Inject(quilltest.Fault{Times: -1, Do: func(r *quilltest.Request) {
		if a := describeAsked(r); a.What != "" {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.seen = append(w.seen, a)
		}
	}})
	return w
}

func describeAsked(r *quilltest.Request) txnAsked {
	a := txnAsked{node: r.Node, Version: r.Version, At: time.Now(), ID: -1, Epoch: -1, First: -1}
	var names []string
	for _, tp := range r.Partitions() {
		names = append(names, tp.String())
	}
	slices.Sort(names)
	partitions := strings.Join(names, " ")
	switch m := r.Message.(type) {
	case *message.FindCoordinatorRequest:
		a.What = "find " + strings.Join(append(m.CoordinatorKeys, m.Key), "")
	case *message.InitProducerIDRequest:
		a.What, a.ID, a.Epoch = "init", m.ProducerID, m.ProducerEpoch
	case *message.AddPartitionsToTxnRequest:
		a.What, a.ID, a.Epoch = "add "+partitions, m.V3AndBelowProducerID, m.V3AndBelowProducerEpoch
	case *message.AddOffsetsToTxnRequest:
		a.What, a.ID, a.Epoch = "add group "+m.GroupID, m.ProducerID, m.ProducerEpoch
	case *message.TxnOffsetCommitRequest:
		a.What, a.ID, a.Epoch = "offsets "+partitions, m.ProducerID, m.ProducerEpoch
	case *message.ProduceRequest:
		a.What = "produce " + partitions
		if len(r.Partitions()) > 0 {
			h, _ := r.Batch(r.Partitions()[0].Topic, r.Partitions()[0].Partition)
			a.ID, a.Epoch, a.First = h.ProducerID, h.ProducerEpoch, h.BaseSequence
		}
	case *message.EndTxnRequest:
		a.What = "abort"
		if m.Committed {
			a.What = "commit"
		}
		a.ID, a.Epoch = m.ProducerID, m.ProducerEpoch
	}
	return a
}

// All returns what was asked.
func (w *TxnWire) All() []txnAsked {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// Take returns what was asked since the last take, in words.
func (w *TxnWire) Take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var words []string
	for _, a := range w.seen {
		words = append(words, a.What)
	}
	w.seen = nil
	return words
}

// Named returns the requests with these words.
func (w *TxnWire) Named(what string) []txnAsked {
	return slices.DeleteFunc(w.All(), func(a txnAsked) bool { return a.What != what })
}

// About returns the requests whose words begin so.
func (w *TxnWire) About(prefix string) []txnAsked {
	return slices.DeleteFunc(w.All(), func(a txnAsked) bool { return !strings.HasPrefix(a.What, prefix) })
}

// RequireState shows in which state the producer is: a call that it refuses anyway names it.
func (x *TxnLab) RequireState(state string) {
	x.Helper()
	require.ErrorContains(x, x.P.InitTransactions(x.Context()), state)
}

// Refuse lets the next request of that kind be answered with an error, for these partitions of topic "t"
// or altogether.
func (x *TxnLab) Refuse(api protocol.APIKey, code protocol.ErrorCode, partitions ...int32) *quilltest.Injection {
	f := quilltest.Fault{APIs: []protocol.APIKey{api}, Err: code, Partitions: partitions}
	if len(partitions) > 0 {
		f.Topic = "t"
	}
	return x.C.Inject(f)
}

// Delay lets the next request of that kind, and what follows on its connection, be handled later.
func (x *TxnLab) Delay(api protocol.APIKey, d time.Duration) *quilltest.Injection {
	return x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{api}, Delay: d})
}
