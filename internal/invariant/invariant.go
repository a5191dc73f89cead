// Package invariant holds the checks that only a debug build makes. They are on
// with the build tag "invariant" and cost nothing without it.
//
// An invariant says what must be true because of how the code is built, like "no
// batch is freed while the writer may read it". It never checks what comes from
// outside; that is an error's work.
package invariant

import "fmt"

// poison is what Poison writes; memory full of it was freed.
const poison = 0xDB

// Check panics if cond is false and Enabled. The message is made by fmt.Sprintf.
// Put costly conditions behind Enabled.
func Check(cond bool, format string, args ...any) {
	if Enabled && !cond {
		panic("invariant violated: " + fmt.Sprintf(format, args...))
	}
}

// Poison overwrites b, up to its length, with 0xDB if Enabled. A buffer that is
// given back is poisoned, so that a late reader sees garbage at once.
func Poison(b []byte) {
	if !Enabled {
		return
	}
	for i := range b {
		b[i] = poison
	}
}
