package quill

import "time"

// lookAll checks the partitions that the inbox names, those whose timers are up, and, when lingers do not
// count any more, all with a timer. It only sets the timer of a batch that was just opened and may linger:
// with many partitions every second check was of such a batch, and each read memory that a caller is about
// to write.
func (s *sender) lookAll(now time.Time) {
	was, mark, begun := s.skipLinger, s.acc.mark(), s.acc.pool.queuesBegun.Load()
	s.skipLinger = s.closing || s.acc.stillWaiting()
	again := s.skipLinger && !was || mark != s.mark || begun != s.queuesBegun
	s.mark, s.queuesBegun = mark, begun
	lingers, instant := !s.skipLinger && s.txn == nil && s.acc.pool.queues.Load() == 0, s.box.instant(now)
	for _, n := range s.mail.queues {
		if lingers && n.by > instant && n.mark >= mark {
			s.linger(n.node, timer{at: s.box.time(n.by), queue: n.queue})
		} else {
			s.look(n.queue, now)
		}
	}
	if again {
		s.lookAgain(now)
	}
	for t, ok := s.timers.pop(now); ok; t, ok = s.timers.pop(now) {
		if t.node != nil {
			s.lookAtLingers(t.node, t.at, now)
		} else {
			s.look(t.queue, now)
		}
	}
}

// lookAgain checks every partition that waits for a timer or a leader, or for a node that does not lead it
// any more.
func (s *sender) lookAgain(now time.Time) {
	s.followLeaders(now)
	s.lookAtAll(&s.timers, now)
	waited := s.leaderless
	s.leaderless = nil // those that still have no leader come back in
	for _, w := range waited {
		w.queue.out.leaderless = false
		s.look(w.queue, now)
		if w.queue.out.leaderless {
			s.leaderless[len(s.leaderless)-1].since = w.since
		}
	}
}

// lookAtAll checks every partition with a timer in h, and empties h.
func (s *sender) lookAtAll(h *timers, now time.Time) {
	for _, t := range h.takeAll() {
		if t.node != nil {
			t.node.lingersAt = time.Time{}
			s.lookAtAll(&t.node.lingers, now)
		} else {
			t.queue.out.timerNumber = 0
			s.look(t.queue, now)
		}
	}
}

// followLeaders moves the partitions whose leader changed to the ready lists of their new leaders: the node whose
// list they are in may never be ready again. Every change of the snapshot comes by here, so a list
// holds a partition at most once.
func (s *sender) followLeaders(now time.Time) {
	for _, n := range s.active {
		for range n.ready.Len() {
			q := n.ready.PopFront()
			if q.out.readyFor != n {
				continue // it was taken out of the list meanwhile
			}
			if id, _, ok := s.leader(q); ok && id == n.id {
				n.ready.PushBack(q)
				continue
			}
			forced := q.out.forced
			s.unready(q)
			s.makeReady(q, forced, now)
		}
	}
}

// look checks whether the partition's oldest batch can be sent. If so it enters the partition into its node's
// ready list, else it sets a timer.
//
// Java: RecordAccumulator.ready, which walks all partitions.
func (s *sender) look(q *partitionQueue, now time.Time) { s.lookFor(q, false, now) }

// lookFor does the work of look. along says that the batch may be sent before its linger is up.
func (s *sender) lookFor(q *partitionQueue, along bool, now time.Time) {
	q.mu.Lock()
	q.notified = false
	if q.batches.Len() == 0 {
		q.mu.Unlock()
		return
	}
	b := q.batches.Front()
	forced := b.closed || b.flushMark < s.mark || s.skipLinger || b.share.waiters.Load() > 0
	urgent := b.urgent || along
	q.mu.Unlock()
	if q.out.muted || s.txn != nil && !s.txn.joined(q) {
		q.out.blocked = true
		return
	}
	due := b.createdAt.Add(s.acc.linger)
	if forced || urgent {
		due = now
	}
	if b.attempts > 0 && !s.leaderMoved(b) {
		due = b.retryAt
	}
	if due.After(now) {
		s.setTimer(q, b, due)
		return
	}
	s.makeReady(q, forced, now)
}

// leaderMoved reports whether the partition of a batch that is to be sent again has a newer leader.
func (s *sender) leaderMoved(b *batch) bool {
	_, epoch, ok := s.leader(b.queue)
	return ok && b.epochAtSend >= 0 && epoch > b.epochAtSend
}

// setTimer has the partition checked again at that time, when the back-off of b is over or its linger is up.
func (s *sender) setTimer(q *partitionQueue, b *batch, at time.Time) {
	if q.out.timerNumber == b.number && q.out.timerAt.Equal(at) {
		return
	}
	q.out.timerNumber, q.out.timerAt = b.number, at
	t := timer{at: at, queue: q, number: b.number}
	if id, _, ok := s.leader(q); ok && b.attempts == 0 {
		s.linger(id, t)
	} else {
		s.timers.push(t)
	}
}

func (s *sender) leader(q *partitionQueue) (node int32, epoch int32, ok bool) {
	n, epoch, ok := s.snapshot.LeaderOf(q.topic.info.Load(), q.index)
	return n.ID, epoch, ok
}

// makeReady puts a partition into the ready list of its leader's node. Without a leader it asks for metadata.
func (s *sender) makeReady(q *partitionQueue, forced bool, now time.Time) {
	id, _, ok := s.leader(q)
	if !ok {
		if !q.out.leaderless {
			q.out.leaderless = true
			s.leaderless = append(s.leaderless, leaderless{q, now})
		}
		s.needLeader(q, now)
		return
	}
	n := q.out.node
	if n == nil || n.id != id {
		n = s.node(id)
		q.out.node = n
		q.slow.Store(&n.slow)
	}
	if q.out.readyFor != n {
		s.unready(q)
		q.out.readyFor = n
		n.ready.PushBack(q)
		if !n.active {
			n.active = true
			s.active = append(s.active, n)
		}
	}
	if forced && !q.out.forced {
		q.out.forced = true
		n.forced++
	}
}

// unready takes a partition out of the ready list it is in. The list's entry stays and is skipped later.
func (s *sender) unready(q *partitionQueue) {
	if q.out.readyFor != nil && q.out.forced {
		q.out.readyFor.forced--
	}
	q.out.readyFor, q.out.forced = nil, false
}

// needLeader asks for the partition's leader. The first time since a batch was accepted it ends the back-off of metadata
// requests, which belongs to the failures of other partitions.
func (s *sender) needLeader(q *partitionQueue, now time.Time) {
	if !q.out.sought {
		q.out.sought = true
		s.refresh.endBackoff()
	}
	s.needTopic(q.topic, now)
}

// needTopic asks for the topic's metadata, because there are records for it without a usable leader.
func (s *sender) needTopic(t *topicState, now time.Time) {
	t.lastUsed = now
	s.refresh.topics[t.name] = t
	if t.info.Load() == nil {
		s.refresh.ask(t, now)
	}
	s.refresh.wantAll()
}

// pace estimates how long a node is busy with one Produce request. A node answers those of a connection one after the
// other, and with acks=all each waits for replicas. A request that leaves while the node is busy gains nothing: it waits
// there, and batches that become ready meanwhile can't be sent with it.
//
// The times of the answers show that. If two answers are further apart than their requests were, the second request was
// held up by the first, and the time between the answers is what the node took for it, whatever the distance to the node.
// As long as no request is held up the estimate falls. So the sender does not wait for a node that works on several
// requests at once, and waits in vain only a few times for one that was slow for a while.
//
// At first two requests may be out at a time. If it were five, and each took long (a node that has just been started
// takes ten times as long as later), the last would have to wait for all others. Each answer that was not held up though
// another request was out allows one more, and each that was held up for a good part of its time one less.
type pace struct {
	service time.Duration // for one request, smoothed
	room    int           // how many more requests than pair may be out at once
	since   time.Time     // it has been busy with the oldest request in flight

	sentAt, doneAt time.Time // of the request that was answered last
}

// sent notes that a request leaves; alone says that nothing else is in flight.
func (p *pace) sent(alone bool, now time.Time) {
	if alone {
		p.since = now
	}
}

// freeAt returns when the node will be through with the requests in flight, by the estimate.
func (p *pace) freeAt(inFlight int) time.Time {
	if inFlight >= pair+p.room {
		return p.since.Add(max(answerWait, time.Duration(inFlight)*p.service)) // normally an answer comes before that
	}
	return p.since.Add(time.Duration(inFlight) * p.service)
}

const (
	pair       = 2 // requests that are out at once when nothing is known
	answerWait = time.Second
)

// answered notes an answer; most is how many requests may be out at once in any case.
func (p *pace) answered(sentAt, doneAt time.Time, most int) {
	between := doneAt.Sub(p.doneAt)
	heldUp := between - sentAt.Sub(p.sentAt)
	switch together := sentAt.Before(p.doneAt); {
	case together && heldUp > 0:
		p.service += (between - p.service) / 4
		if heldUp > doneAt.Sub(sentAt)/4 {
			p.room = max(p.room-1, 1-pair)
		}
	default:
		p.service = min(p.service-p.service/16, doneAt.Sub(sentAt))
		if together || p.room < 0 {
			p.room = min(p.room+1, most-pair)
		}
	}
	p.sentAt, p.doneAt, p.since = sentAt, doneAt, doneAt
}
