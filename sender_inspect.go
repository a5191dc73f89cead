package quill

import (
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/inspect"
)

// senderView is the sender's part of what Inspect returns. The sender fills it in, piecePartitions at a time with a turn between two
// pieces, so that a look at 100,000 partitions does not hold up those that are sent to. It is the sender's until given is closed.
type senderView struct {
	queues []*partitionQueue
	given  chan struct{}
	vain   atomic.Bool // the caller no longer waits

	nodes       []inspect.Node
	producerID  *inspect.ProducerID
	transaction *inspect.Transaction
	partitions  []partitionView // of queues, as far as it has come
	members     int             // partitions that are part of the transaction
}

// partitionView is the sender's part of a partition.
type partitionView struct {
	oldest    time.Time // when the first batch that left and has no outcome was opened; zero: there is none
	inFlight  int
	muted     bool
	settling  bool
	waits     error
	sequences inspect.Sequences // Epoch is -1 if there are none
}

// piecePartitions is how many partitions are looked at in one turn: some 0.1 ms.
const piecePartitions = 1024

func newSenderView(queues []*partitionQueue) *senderView {
	return &senderView{queues: queues, given: make(chan struct{}), partitions: make([]partitionView, 0, len(queues))}
}

// begin fills in everything but the partitions, and the first of those.
func (v *senderView) begin(s *sender, now time.Time) {
	if v.vain.Load() {
		return
	}
	v.nodes = s.inspectNodes(now)
	v.producerID = s.idem.inspect()
	if s.txn != nil {
		v.transaction = s.txn.inspect()
	}
	v.goOn(s, now)
}

// goOn fills in the next partitions.
func (v *senderView) goOn(s *sender, _ time.Time) {
	if v.vain.Load() {
		return
	}
	done := len(v.partitions)
	for _, q := range v.queues[done:min(done+piecePartitions, len(v.queues))] {
		v.partitions = append(v.partitions, q.out.inspect(s.idem.on))
		if s.txn != nil && s.txn.hasMember(q) {
			v.members++
		}
	}
	if len(v.partitions) < len(v.queues) {
		s.box.command(v.goOn)
		return
	}
	close(v.given)
}

// inspectNodes returns what there is to see of the nodes.
func (s *sender) inspectNodes(now time.Time) []inspect.Node {
	nodes := s.client.Inspect(now)
	for i := range nodes {
		x := &nodes[i]
		if n := s.nodes[x.ID]; n != nil && !x.Second {
			x.RoundTrip, x.Ready = n.lastAnswer, n.ready.Len()
		}
	}
	return nodes
}

// inspect returns what there is to see of a partition.
func (o *partitionOut) inspect(idempotent bool) partitionView {
	x := partitionView{muted: o.muted, settling: o.seq.gap || o.seq.unsettled, sequences: inspect.Sequences{Epoch: -1}}
	for i := range o.completionQueue.Len() {
		b := o.completionQueue.At(i)
		if b.decided() {
			continue
		}
		if x.oldest.IsZero() {
			x.oldest = b.createdAt
		}
		if b.onWire() {
			x.inFlight++
		}
	}
	if o.setback != nil {
		x.waits = o.setback.err
	}
	if seq := &o.seq; idempotent && seq.id >= 0 {
		x.sequences = inspect.Sequences{ProducerID: seq.id, Epoch: seq.epoch, Next: seq.next, LastAcked: seq.lastAcked}
	}
	return x
}

var idStateNames = [...]string{idNone: "none", idAsked: "asked", idReady: "ready"}

// inspect returns what there is to see of the producer id; nil without idempotence.
func (i *idempotence) inspect() *inspect.ProducerID {
	if !i.on {
		return nil
	}
	x := &inspect.ProducerID{State: idStateNames[i.state], ID: i.id, Epoch: i.epoch, Bumps: i.bumps}
	if i.err != nil {
		x.Error = withoutForeign(i.err)
	}
	return x
}
