package deque

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBehavesLikeASlice runs random operations on a deque and on a plain slice.
func TestBehavesLikeASlice(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		var d Deque[int]
		var want []int
		for op := range 200 {
			switch k := rnd.IntN(9); {
			case k < 2:
				d.PushBack(op)
				want = append(want, op)
			case k < 4:
				d.Insert(0, op)
				want = slices.Insert(want, 0, op)
			case k == 4:
				i := rnd.IntN(len(want) + 1)
				d.Insert(i, op)
				want = slices.Insert(want, i, op)
			case len(want) == 0:
			case k == 5:
				require.Equal(t, want[0], d.PopFront())
				want = want[1:]
			case k == 6:
				require.Equal(t, want[len(want)-1], d.PopBack())
				want = want[:len(want)-1]
			case k == 7:
				i := rnd.IntN(len(want))
				require.Equal(t, want[i], d.Remove(i))
				want = slices.Delete(want, i, i+1)
			case rnd.IntN(20) == 0:
				d.Clear()
				want = nil
			}
			require.Equal(t, len(want), d.Len())
			for i, v := range want {
				require.Equal(t, v, d.At(i))
			}
			if len(want) > 0 {
				require.Equal(t, want[0], d.Front())
				require.Equal(t, want[len(want)-1], d.Back())
			}
		}
	}
}

func TestGivenUpSlotsAreZeroed(t *testing.T) {
	var d Deque[*int]
	for i := range 11 {
		d.PushBack(&i)
	}
	d.PopFront()
	d.PopBack()
	d.Remove(1)
	d.Remove(6)
	require.Equal(t, 7, d.Len())
	held := 0
	for _, p := range d.ring {
		if p != nil {
			held++
		}
	}
	require.Equal(t, 7, held)
	d.Clear()
	for _, p := range d.ring {
		require.Nil(t, p)
	}
}

func TestMissingElementPanics(t *testing.T) {
	for name, f := range map[string]func(d *Deque[int]){
		"PopFront": func(d *Deque[int]) { d.PopFront() },
		"PopBack":  func(d *Deque[int]) { d.PopBack() },
		"Front":    func(d *Deque[int]) { d.Front() },
		"Back":     func(d *Deque[int]) { d.Back() },
		"At":       func(d *Deque[int]) { d.At(-1) },
		"Insert":   func(d *Deque[int]) { d.Insert(1, 0) },
		"Remove":   func(d *Deque[int]) { d.Remove(0) },
	} {
		t.Run(name, func(t *testing.T) {
			var fresh, used Deque[int]
			used.PushBack(1)
			used.PopFront()
			require.Panics(t, func() { f(&fresh) })
			require.Panics(t, func() { f(&used) })
		})
	}
}

func TestSteadyUseDoesNotAllocate(t *testing.T) {
	var d Deque[int]
	for range 4 {
		d.PushBack(0)
	}
	d.Clear()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		d.PushBack(1)
		d.Insert(0, 2)
		d.PopBack()
		d.PopFront()
	}))
}

func BenchmarkPushPop(b *testing.B) {
	var d Deque[*int]
	for b.Loop() {
		d.PushBack(nil)
		d.PopFront()
	}
}
