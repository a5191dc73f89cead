package goid

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEachGoroutineHasItsNumber(t *testing.T) {
	mine := Current()
	require.Positive(t, mine)
	require.Equal(t, mine, Current())
	var seen sync.Map
	seen.Store(mine, true)
	var others sync.WaitGroup
	for range 10 {
		others.Go(func() {
			_, twice := seen.LoadOrStore(Current(), true)
			if twice {
				t.Error("two goroutines have one number")
			}
			for range 100 { // it stays, though others run on the same thread
				if _, known := seen.Load(Current()); !known {
					t.Error("a goroutine has two numbers")
				}
			}
		})
	}
	others.Wait()
}

func TestTheNumberIsReadWithoutAllocating(t *testing.T) {
	require.Zero(t, testing.AllocsPerRun(100, func() { Current() }))
}
