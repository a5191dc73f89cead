package quill

import (
	"time"

	"github.com/quill-kafka/quill/internal/deque"
)

// timer says when the sender is to check a partition again: its open batch has lingered enough, or the
// back-off of a batch that is sent again is over.
type timer struct {
	at     time.Time
	queue  *partitionQueue
	number int64    // the batch it was set for
	node   *nodeOut // set instead of queue: a batch that lingers for it is due
}

// timers hands out timers, the earliest first. Lingers are all of the same length and so come in order: each
// goes to the end of fifo. A timer that is up before the last one there goes into a binary heap. A
// timer whose batch is gone by then costs only one check. The lingers of a node's partitions are in timers of
// that node, for which the sender's have one timer.
type timers struct {
	fifo  deque.Deque[timer]
	heap  []timer
	spare []timer
}

func (h *timers) len() int { return h.fifo.Len() + len(h.heap) }

// fifoFirst reports whether the earliest timer, of which there must be one, is the first of fifo.
func (h *timers) fifoFirst() bool {
	return len(h.heap) == 0 || h.fifo.Len() > 0 && !h.heap[0].at.Before(h.fifo.Front().at)
}

// next returns when the earliest timer is up; zero if there is none.
func (h *timers) next() time.Time {
	switch {
	case h.len() == 0:
		return time.Time{}
	case h.fifoFirst():
		return h.fifo.Front().at
	default:
		return h.heap[0].at
	}
}

func (h *timers) push(t timer) {
	if h.fifo.Len() == 0 || !t.at.Before(h.fifo.Back().at) {
		h.fifo.PushBack(t)
		return
	}
	h.heap = append(h.heap, t)
	for i := len(h.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.heap[i].at.Before(h.heap[parent].at) {
			break
		}
		h.heap[i], h.heap[parent] = h.heap[parent], h.heap[i]
		i = parent
	}
}

// pop takes out the earliest timer, if it is up.
func (h *timers) pop(now time.Time) (t timer, ok bool) {
	if h.len() == 0 || h.next().After(now) {
		return timer{}, false
	}
	if h.fifoFirst() {
		t = h.fifo.PopFront()
	} else {
		t = h.popHeap()
	}
	if q := t.queue; q != nil && q.out.timerNumber == t.number {
		q.out.timerNumber = 0
	}
	return t, true
}

func (h *timers) popHeap() timer {
	top := h.heap[0]
	last := len(h.heap) - 1
	h.heap[0], h.heap[last] = h.heap[last], timer{}
	h.heap = h.heap[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if h.heap[child].at.Before(h.heap[least].at) {
				least = child
			}
		}
		if least == i {
			break
		}
		h.heap[i], h.heap[least] = h.heap[least], h.heap[i]
		i = least
	}
	return top
}

// takeAll empties h and returns its timers. The slice is valid until the next takeAll.
func (h *timers) takeAll() []timer {
	clear(h.spare)
	h.spare, h.heap = h.heap, h.spare[:0]
	for h.fifo.Len() > 0 {
		h.spare = append(h.spare, h.fifo.PopFront())
	}
	return h.spare
}

// Batches that still take records may linger. Their timers are kept by node. When the linger of one is up, others for the
// same node are sent with it (as in Java, see RecordAccumulator.drainBatchesForOneNode): they are delivered earlier, and
// share the cost of a request.

// node returns the sender's state of a node, which it makes if there is none.
func (s *sender) node(id int32) *nodeOut {
	n := s.nodes[id]
	if n == nil {
		n = &nodeOut{id: id}
		s.nodes[id] = n
	}
	return n
}

// linger sets the timer of an open batch whose leader is that node, or unknownNode.
func (s *sender) linger(id int32, t timer) {
	if id == unknownNode {
		s.timers.push(t)
		return
	}
	n := s.node(id)
	n.lingers.push(t)
	s.wakeFor(n, t.at)
}

// wakeFor has the sender check the lingers of the node at that time, or before.
func (s *sender) wakeFor(n *nodeOut, at time.Time) {
	if n.lingersAt.IsZero() || at.Before(n.lingersAt) {
		n.lingersAt = at
		s.timers.push(timer{at: at, node: n})
	}
}

// lookAtLingers checks the partitions of the node whose lingers are up. at is the time of the timer that caused
// the call.
func (s *sender) lookAtLingers(n *nodeOut, at, now time.Time) {
	if n.lingersAt.Equal(at) {
		n.lingersAt = time.Time{}
	}
	for t, ok := n.lingers.pop(now); ok; t, ok = n.lingers.pop(now) {
		s.look(t.queue, now)
	}
	if next := n.lingers.next(); !next.IsZero() {
		s.wakeFor(n, next)
	}
}

// gather adds lingering batches to the node's ready list, the oldest first, if that has few batches and the linger of one
// of them is up. It adds none to a list of full batches only, or once there are enough: they would gain little, and
// take more records until their own linger is up.
func (s *sender) gather(n *nodeOut, now time.Time) {
	if n.forced == n.ready.Len() || n.ready.Len() >= fewBatches {
		return
	}
	for n.ready.Len() < enoughBatches {
		t, ok := n.lingers.pop(now.Add(s.acc.linger))
		if !ok {
			return
		}
		if id, _, ok := s.leader(t.queue); !ok || id != n.id {
			s.timers.push(t) // its leader was another one when the batch was opened
			continue
		}
		s.lookFor(t.queue, true, now)
	}
}

// A request by itself costs as much as a few batches, and a tenth of 32 batches.
const (
	fewBatches    = 8
	enoughBatches = 32
)
