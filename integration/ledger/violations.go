package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// shown is how many violations of an invariant are kept in words; the rest is only counted.
const shown = 10

// Violations holds what contradicts the invariants. The zero value is empty and ready.
type Violations struct {
	counts map[string]int
	texts  map[string][]string
}

// add notes one violation of an invariant.
func (v *Violations) add(invariant, format string, args ...any) {
	if v.counts == nil {
		v.counts, v.texts = map[string]int{}, map[string][]string{}
	}
	v.counts[invariant]++
	if len(v.texts[invariant]) < shown {
		v.texts[invariant] = append(v.texts[invariant], fmt.Sprintf(format, args...))
	}
}

// merge adds those of another collection.
func (v *Violations) merge(other Violations) {
	for _, invariant := range slices.Sorted(maps.Keys(other.counts)) {
		for _, text := range other.texts[invariant] {
			v.add(invariant, "%s", text)
		}
		v.counts[invariant] += other.counts[invariant] - len(other.texts[invariant])
	}
}

// Count returns how often an invariant was violated.
func (v *Violations) Count(invariant string) int { return v.counts[invariant] }

// Err returns nil if there is no violation, else an error that shows the first of each kind and the numbers.
func (v *Violations) Err() error {
	if len(v.counts) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("invariants violated")
	for _, invariant := range slices.Sorted(maps.Keys(v.counts)) {
		fmt.Fprintf(&b, "\n%s, %d times:", invariant, v.counts[invariant])
		for _, text := range v.texts[invariant] {
			b.WriteString("\n    " + text)
		}
	}
	return errors.New(b.String())
}
