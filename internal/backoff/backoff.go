// Package backoff computes how long to wait before the next attempt: doubling from
// an initial to a maximal wait, with a jitter of 20 % so that clients which failed
// together do not come back together. Kafka: ExponentialBackoff, KIP-580.
//
// It also says how loud the log should be about attempts that fail, see [Spell].
package backoff

import (
	"math"
	"time"
)

// jitter is the share by which a wait may be shorter or longer.
const jitter = 0.2

// Backoff is a pair of limits. It is a value without state: the caller counts the
// attempts. The zero value never waits.
type Backoff struct {
	initial time.Duration
	max     time.Duration
}

// New returns a Backoff from initial to max. If initial is not below max, every
// wait is exactly max, without jitter: Kafka turns a first wait above the limit
// into a constant one. Negative durations count as zero.
func New(initial, max time.Duration) Backoff {
	return Backoff{initial: clamp(initial), max: clamp(max)}
}

func clamp(d time.Duration) time.Duration { return max(d, 0) }

// Next returns the wait after the given number of earlier attempts: about initial
// for 0, twice that for 1, never more than max. rnd returns a number in [0, 1);
// rand.Float64 will do. Next may be called concurrently if rnd may.
func (b Backoff) Next(attempts int, rnd func() float64) time.Duration {
	if b.initial >= b.max {
		return b.max
	}
	if b.initial == 0 {
		return 0
	}
	// No wait grows beyond max before the jitter, so that jitter also shortens
	// the longest.
	term := math.Min(math.Ldexp(float64(b.initial), min(max(attempts, 0), 64)), float64(b.max))
	wait := (1 - jitter + 2*jitter*rnd()) * term
	if wait >= float64(b.max) {
		return b.max
	}
	return time.Duration(wait)
}

// Exact is for Next in place of a random number: waits have no jitter.
func Exact() float64 { return 0.5 }

// Later returns the later of two instants.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
