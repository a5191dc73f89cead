package quill

import (
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/deque"
)

type (
	ringDeque  = deque.Deque[*partitionQueue]
	batchDeque = deque.Deque[*batch]
	slowFlag   = atomic.Bool
)

// timer says when the sender is to look at a partition again: its open batch has lingered enough,
// or the back-off of a batch that is sent again is over.
type timer struct {
	at     time.Time
	queue  *partitionQueue
	number int64 // the batch it was set for
}

// timers hands out timers, the earliest first. Lingers are all of the same length and so come in order:
// each goes to the end of a line. What is up before the last one in line goes into a binary heap. A timer
// whose batch is gone by then just costs one look.
type timers struct {
	line  deque.Deque[timer]
	heap  []timer
	spare []timer
}

func (h *timers) len() int { return h.line.Len() + len(h.heap) }

// inLine reports whether the earliest timer, of which there must be one, is in the line.
func (h *timers) inLine() bool {
	return len(h.heap) == 0 || h.line.Len() > 0 && !h.heap[0].at.Before(h.line.Front().at)
}

// next is when the earliest timer is up; zero if there is none.
func (h *timers) next() time.Time {
	switch {
	case h.len() == 0:
		return time.Time{}
	case h.inLine():
		return h.line.Front().at
	default:
		return h.heap[0].at
	}
}

func (h *timers) push(t timer) {
	if h.line.Len() == 0 || !t.at.Before(h.line.Back().at) {
		h.line.PushBack(t)
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

// pop returns the partition of a timer that is up, nil if none is.
func (h *timers) pop(now time.Time) *partitionQueue {
	if h.len() == 0 || h.next().After(now) {
		return nil
	}
	var t timer
	if h.inLine() {
		t = h.line.PopFront()
	} else {
		t = h.popHeap()
	}
	if t.queue.out.timerNumber == t.number {
		t.queue.out.timerNumber = 0
	}
	return t.queue
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

// takeAll empties h. The slice is good until the next takeAll.
func (h *timers) takeAll() []timer {
	clear(h.spare)
	h.spare, h.heap = h.heap, h.spare[:0]
	for h.line.Len() > 0 {
		h.spare = append(h.spare, h.line.PopFront())
	}
	return h.spare
}
