package quill

import "maps"

// Forgetting topics that nothing is sent to: a producer that sends to ever new topics must not grow.
//
// A topic's state is looked up without a lock and held by whoever is in the middle of a Send. So its
// queues are shut first, each under its lock and only if nothing is in it; then the state leaves the
// map. A Send that comes too late finds a shut queue and looks the topic up again, which makes a new
// state. A state that was forgotten never gets metadata again.
//
// With the state go the sequences of its partitions, which the brokers still know. Should the topic be
// sent to again, it is under a new epoch: under the old one its first batches would look like copies of
// those from before, and be dropped as such.

// errForgotten says that the topic's state was dropped while the caller was on its way.
var errForgotten = &Error{Op: "append", Reason: "the topic was forgotten"}

// forgetIdle drops the states of topics that are not asked for any more.
func (s *sender) forgetIdle() {
	if len(s.refresh.idle) == 0 || s.txn != nil && !s.txn.mayForget() {
		return
	}
	var gone []*topicState
	for _, t := range s.refresh.idle {
		t.resting = false
		if s.refresh.topics[t.name] == t || t.forgotten || !t.shut() {
			continue // wanted again, or in use
		}
		t.forgotten = true
		gone = append(gone, t)
		for _, q := range t.all() {
			if seq := &q.out.seq; seq.id == s.idem.id && seq.epoch == s.idem.epoch {
				s.idem.forgot = s.idem.on && !s.idem.transactional
			}
		}
	}
	s.refresh.idle = nil
	s.refresh.topics, s.refresh.unknown = maps.Clone(s.refresh.topics), maps.Clone(s.refresh.unknown) // which makes them smaller
	s.acc.drop(gone)
	if len(gone) > 0 {
		s.refresh.board.poke() // who looked just before waits for a state that nobody asks for any more
	}
}

// shut shuts the topic's queues, unless one of them is in use. The sender's alone.
func (t *topicState) shut() bool {
	queues := t.all()
	for i, q := range queues {
		if q.shutIfIdle() {
			continue
		}
		for _, q := range queues[:i] {
			q.mu.Lock()
			q.shut = false
			q.mu.Unlock()
		}
		return false
	}
	return true
}

func (q *partitionQueue) shutIfIdle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shut = q.batches.Len() == 0 && q.out.line.Len() == 0 && len(q.out.seq.inFlight) == 0 && q.out.ring == nil
	return q.shut
}

// drop takes forgotten topics out of the map.
func (a *accumulator) drop(gone []*topicState) {
	if len(gone) == 0 {
		return
	}
	a.topicsMu.Lock()
	defer a.topicsMu.Unlock()
	known := *a.topics.Load()
	next := make(map[string]*topicState, len(known)-len(gone)) // a map never shrinks
	for name, t := range known {
		if !t.forgotten {
			next[name] = t
		}
	}
	a.topics.Store(&next)
	for _, t := range gone {
		a.recent.CompareAndSwap(t, nil)
	}
}
