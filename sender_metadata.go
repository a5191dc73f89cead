package quill

import (
	"maps"
	"time"

	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
)

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

// askMetadata sends a Metadata request when one is due. It returns when to try next.
func (s *sender) askMetadata(now time.Time) time.Time {
	at, ok := s.refresh.due(now)
	if !ok || at.After(now) {
		return at
	}
	if s.neverResolved(now) {
		return time.Time{}
	}
	next := s.askAnyNode(now)
	if s.resolveBy.After(now) {
		next = earliest(next, s.resolveBy)
	}
	return next
}

// anyConnected reports whether some node has a connection, be it too busy for another request now.
func (s *sender) anyConnected() bool {
	for n := range s.snapshot.Nodes() {
		if s.client.Connected(n.ID) {
			return true
		}
	}
	return false
}

// rebootstrap begins again with the bootstrap servers: no known node can be reached (KIP-899), none
// answered for too long, or the cluster asks for it (KIP-1102).
func (s *sender) rebootstrap(now time.Time) {
	s.bootstrapping = true
	s.refresh.trouble = time.Time{}
	s.client.Rebootstrap(now)
}

// finishMetadata takes in the answer to a Metadata request.
func (s *sender) finishMetadata(r *network.Request, now time.Time) {
	s.applyHints(now) // they came before, and are about the topics as they were
	if r.Err != nil {
		s.refresh.failed(r.Tag.(*metadataAsk), r.Err, now)
		return
	}
	next, rebootstrap := s.refresh.answered(r, now)
	if rebootstrap && s.cfg.rebootstrap {
		s.rebootstrap(now)
		return
	}
	s.adopt(next, now)
	if len(s.leaderless) > 0 {
		s.refresh.all = true // still nowhere to send some records: look again, later and later
	}
	s.forgetIdle()
}

// adopt makes next the picture that the sender acts on.
func (s *sender) adopt(next *metadata.Snapshot, now time.Time) {
	if next == s.snapshot && !s.bootstrapping || next.Empty() {
		return
	}
	s.snapshot, s.bootstrapping = next, false
	s.client.SetNodes(next.Nodes())
	s.lookAgain(now)
}

// applyHints takes in the leaders that produce answers told (KIP-951). What is not adopted is asked about:
// the node may be a new one whose address is not known yet, or the topic one that the last answer left out.
func (s *sender) applyHints(now time.Time) {
	if len(s.changes) == 0 {
		return
	}
	next := s.snapshot.WithLeaders(s.changes, s.hints)
	s.refresh.onNodes(next)
	for i, c := range s.changes {
		t := s.moved[i]
		info, _ := next.Topic(c.Topic)
		if _, epoch, ok := next.LeaderOf(info, c.Partition); !ok || epoch < c.LeaderEpoch {
			s.needTopic(t, now)
		} else if info != t.info.Load() {
			t.setInfo(info)
		}
	}
	clear(s.moved)
	s.changes, s.hints, s.moved = s.changes[:0], s.hints[:0], s.moved[:0]
	if next == s.snapshot {
		return
	}
	s.refresh.board.post(next, nil)
	s.adopt(next, now)
}
