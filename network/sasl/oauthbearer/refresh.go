package oauthbearer

import (
	"math/rand/v2"
	"time"
)

// Refresh says when a token is replaced before it ends (KIP-255, Java's ExpiringCredentialRefreshConfig).
// The zero value is Kafka's default.
type Refresh struct {
	// WindowFactor is the part of a token's life after which it is replaced, 0.5 to 1.
	// Kafka: sasl.login.refresh.window.factor. If zero, 0.8.
	WindowFactor float64
	// WindowJitter is the largest random part of a token's life that is added, 0 to 0.25.
	// Kafka: sasl.login.refresh.window.jitter. If zero, 0.05; if negative, none.
	WindowJitter float64
	// MinPeriod is the shortest time between a token's arrival and its replacement, up to 15 minutes.
	// Kafka: sasl.login.refresh.min.period.seconds. If zero, 60s; if negative, none.
	MinPeriod time.Duration
	// Buffer is the time before a token's end at which it is replaced at the latest, up to an hour.
	// Kafka: sasl.login.refresh.buffer.seconds. If zero, 300s; if negative, none.
	//
	// A life that is shorter than MinPeriod and Buffer together counts for neither of them.
	Buffer time.Duration
}

// at returns when a token is to be replaced that came now and is good from start to end; roll is a random number below 1.
// It is Java's ExpiringCredentialRefreshingLogin.refreshMs.
func (r Refresh) at(now, start, end time.Time, roll float64) time.Time {
	part := orDefault(r.WindowFactor, 0.8) + orDefault(r.WindowJitter, 0.05)*roll
	minPeriod, buffer := orDefault(r.MinPeriod, time.Minute), orDefault(r.Buffer, 5*time.Minute)
	if now.Add(minPeriod + buffer).After(end) {
		return now.Add(partOf(end.Sub(now), part))
	}
	proposed, latest, earliest := start.Add(partOf(end.Sub(start), part)), end.Add(-buffer), now.Add(minPeriod)
	switch {
	case proposed.After(latest):
		return latest
	case proposed.Before(earliest):
		return earliest
	}
	return proposed
}

// retryAfter is Java's pause between attempts to replace a token.
const retryAfter = 10 * time.Second

// again returns when to try again to replace a token that ends at end: as Java after 10 s, but sooner for a token that ends soon,
// so that a short life has room for several attempts.
func again(now, end time.Time) time.Time {
	wait := retryAfter
	if left := end.Sub(now); left > 0 {
		wait = min(wait, max(left/4, time.Second))
	}
	return now.Add(wait)
}

func partOf(d time.Duration, part float64) time.Duration { return time.Duration(float64(d) * part) }

// orDefault returns v, def if it is zero, and zero if it is negative.
func orDefault[T float64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return max(v, 0)
}

// roll returns a random number below 1. Nothing secret hangs on it.
func roll() float64 { return rand.Float64() } // #nosec G404 -- spreads the refreshes of many clients
