package quilltest

import (
	"sync"
	"time"
)

// quotaBurst is how much a client may write above its quota before a node throttles it, in time at
// the quota.
const quotaBurst = time.Second

// A quota throttles clients that produce faster than they may (KIP-124, KIP-219). It is the
// cluster's, not a node's, so that tests can count on it.
type quota struct {
	perSecond int64 // bytes; set by NewCluster, read-only after; 0 is no quota

	mu sync.Mutex
	// paid is, by client id, the time up to which its bytes would last at the quota.
	// +checklocks:mu
	paid map[string]time.Time
}

// charge notes bytes written and returns the throttle time they cost.
func (q *quota) charge(clientID string, bytes int, now time.Time) time.Duration {
	if q.perSecond <= 0 {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.paid == nil {
		q.paid = make(map[string]time.Time)
	}
	paid := q.paid[clientID]
	if paid.Before(now) {
		paid = now
	}
	paid = paid.Add(time.Duration(float64(bytes) / float64(q.perSecond) * float64(time.Second)))
	q.paid[clientID] = paid
	return max(paid.Sub(now)-quotaBurst, 0)
}
