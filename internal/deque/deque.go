// Package deque is a double-ended queue in a ring buffer.
//
// It holds batches and waiters: short queues that are pushed and popped at both
// ends all day. The ring doubles when full and never shrinks; a slot that is given
// up is zeroed, so that the queue keeps nothing alive it no longer holds.
package deque

// Deque is a double-ended queue. The zero value is empty and ready. It is not safe
// for concurrent use.
type Deque[T any] struct {
	ring []T // its length is 0 or a power of two
	head int // slot of the front element
	n    int // number of elements
}

// minRing is the smallest ring.
const minRing = 4

// slot returns where element i lies. The ring is not empty.
func (d *Deque[T]) slot(i int) int { return (d.head + i) & (len(d.ring) - 1) }

// check panics if there is no element i.
func (d *Deque[T]) check(i int) {
	if uint(i) >= uint(d.n) {
		panic("deque: no such element")
	}
}

// makeRoom makes sure that one more element fits.
func (d *Deque[T]) makeRoom() {
	if d.n < len(d.ring) {
		return
	}
	ring := make([]T, max(2*len(d.ring), minRing))
	copied := copy(ring, d.ring[d.head:])
	copy(ring[copied:], d.ring[:d.head])
	d.ring, d.head = ring, 0
}

// Len returns the number of elements.
func (d *Deque[T]) Len() int { return d.n }

// PushBack adds v behind the last element.
func (d *Deque[T]) PushBack(v T) {
	d.makeRoom()
	d.ring[d.slot(d.n)] = v
	d.n++
}

// PopFront removes and returns the first element. It panics if there is none.
func (d *Deque[T]) PopFront() T {
	d.check(0)
	var zero T
	v := d.ring[d.head]
	d.ring[d.head] = zero
	d.head = d.slot(1)
	d.n--
	return v
}

// PopBack removes and returns the last element. It panics if there is none.
func (d *Deque[T]) PopBack() T {
	d.check(d.n - 1)
	var zero T
	at := d.slot(d.n - 1)
	v := d.ring[at]
	d.ring[at] = zero
	d.n--
	return v
}

// Front returns the first element. It panics if there is none.
func (d *Deque[T]) Front() T { return d.At(0) }

// Back returns the last element. It panics if there is none.
func (d *Deque[T]) Back() T { return d.At(d.n - 1) }

// At returns element i, counted from the front. It panics if there is none.
func (d *Deque[T]) At(i int) T {
	d.check(i)
	return d.ring[d.slot(i)]
}

// Insert puts v before element i; i may be Len. It moves the elements behind it.
func (d *Deque[T]) Insert(i int, v T) {
	if uint(i) > uint(d.n) {
		panic("deque: no such element")
	}
	d.makeRoom()
	for j := d.n; j > i; j-- {
		d.ring[d.slot(j)] = d.ring[d.slot(j-1)]
	}
	d.ring[d.slot(i)] = v
	d.n++
}

// Remove removes and returns element i. It moves the elements on the shorter side.
func (d *Deque[T]) Remove(i int) T {
	d.check(i)
	v := d.ring[d.slot(i)]
	if i < d.n/2 {
		for j := i; j > 0; j-- {
			d.ring[d.slot(j)] = d.ring[d.slot(j-1)]
		}
		d.PopFront()
		return v
	}
	for j := i; j < d.n-1; j++ {
		d.ring[d.slot(j)] = d.ring[d.slot(j+1)]
	}
	d.PopBack()
	return v
}

// Clear removes all elements and keeps the ring.
func (d *Deque[T]) Clear() {
	clear(d.ring)
	d.head, d.n = 0, 0
}
