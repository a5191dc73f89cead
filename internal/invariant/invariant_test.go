package invariant

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckPanicsOnlyWhenEnabled(t *testing.T) {
	require.NotPanics(t, func() { Check(true, "fine") })
	if Enabled {
		require.PanicsWithValue(t, "invariant violated: 3 batches", func() { Check(false, "%d batches", 3) })
	} else {
		require.NotPanics(t, func() { Check(false, "%d batches", 3) })
	}
}

func TestPoisonOverwritesOnlyWhenEnabled(t *testing.T) {
	b := []byte{1, 2, 3}
	Poison(b[:2])
	if Enabled {
		require.Equal(t, []byte{0xDB, 0xDB, 3}, b)
	} else {
		require.Equal(t, []byte{1, 2, 3}, b)
	}
}

func TestDisabledChecksDoNotAllocate(t *testing.T) {
	n := 1000
	allocs := testing.AllocsPerRun(100, func() {
		n++
		Check(n > 0, "n is %d", n)
	})
	if !Enabled {
		require.Zero(t, allocs)
	}
}
