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

// timerHeap is a binary heap of timers, the earliest first. A timer whose batch is gone by then just
// costs one look.
type timerHeap struct {
	heap  []timer
	spare []timer
}

// next is when the earliest timer is up; zero if there is none.
func (h *timerHeap) next() time.Time {
	if len(h.heap) == 0 {
		return time.Time{}
	}
	return h.heap[0].at
}

func (h *timerHeap) push(t timer) {
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
func (h *timerHeap) pop(now time.Time) *partitionQueue {
	if len(h.heap) == 0 || h.heap[0].at.After(now) {
		return nil
	}
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
	if top.queue.out.timerNumber == top.number {
		top.queue.out.timerNumber = 0
	}
	return top.queue
}

// takeAll empties the heap. The slice is good until the next takeAll.
func (h *timerHeap) takeAll() []timer {
	clear(h.spare)
	h.spare, h.heap = h.heap, h.spare[:0]
	return h.spare
}
