package quill

import (
	"errors"
	"fmt"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/network"
)

// The sender's side of a Produce request: drain makes it from batches that are ready, finishProduce
// handles it when it is back. In between it belongs to the connection.

// drainAll sends the ready batches to every node that can take them. It returns when to try again.
//
// Java: RecordAccumulator.drain.
func (s *sender) drainAll(now time.Time) (next time.Time) {
	if s.idem.on && s.idem.state != idReady {
		return time.Time{} // the answer to InitProducerId wakes the sender
	}
	kept := s.active[:0]
	for _, n := range s.active {
		if at := s.drain(n, now); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
		if n.active = n.ready.Len() > 0; n.active {
			kept = append(kept, n)
		}
	}
	clear(s.active[len(kept):])
	s.active = kept
	return next
}

// drain sends requests to one node until its ready list is empty or it can't take more.
func (s *sender) drain(n *nodeOut, now time.Time) (again time.Time) {
	for n.ready.Len() > 0 {
		if !s.client.Ready(n.id, now) {
			return s.noteBlocked(n, now)
		}
		s.noteFlowing(n)
		if wait := s.coalesceDelay(n); wait > 0 {
			if n.waitsAt.IsZero() {
				n.waitsAt = now
			}
			if due := s.coalesceUntil(n, wait); due.After(now) {
				return due
			}
		}
		n.waitsAt = time.Time{}
		s.gather(n, now)
		r := s.build(n, now)
		if r == nil {
			if s.idem.on && s.idem.state != idReady {
				return now // ask for a new id first
			}
			continue
		}
		s.send(n, r, now)
	}
	return time.Time{}
}

// coalesceUntil returns until when the ready batches of a node wait for others. Partial batches wait at least
// until the node is through with earlier requests, because to be queued there gains nothing.
func (s *sender) coalesceUntil(n *nodeOut, wait time.Duration) time.Time {
	due := n.waitsAt.Add(wait)
	if n.forced == 0 {
		due = backoff.Later(due, n.pace.freeAt(s.client.InFlight(n.id)))
	}
	return due
}

// coalesceDelay returns how long the ready batches of a node may wait so that others can be sent with them.
// Partial batches wait for the answer in flight, but not long. All others wait for a part of the answer
// time, which halves with each further request that the node may have in flight: after the last one, every
// batch that is not in it has to wait for an answer.
func (s *sender) coalesceDelay(n *nodeOut) time.Duration {
	switch inFlight := s.client.InFlight(n.id); {
	case inFlight == 0:
		return 0
	case n.forced == 0:
		return partialWait
	default:
		return n.answerTime / lastSlotShare >> max(0, s.cfg.maxInFlight-1-inFlight)
	}
}

// noteBlocked notes that a node has batches ready and can't take them, and returns when to try again.
func (s *sender) noteBlocked(n *nodeOut, now time.Time) (again time.Time) {
	again = s.client.CanRetryAt(n.id, now)
	if !s.client.Connected(n.id) && s.client.LastError(n.id) != nil {
		if !n.sought {
			n.sought = true
			s.refresh.endBackoff()
		}
		s.refresh.wantAll() // its partitions may have other leaders by now
	}
	limit := s.cfg.availabilityTimeout
	if limit <= 0 {
		return again
	}
	if n.readyAt.IsZero() {
		n.readyAt = now
	}
	if late := n.readyAt.Add(limit); late.After(now) {
		return earliest(late, again)
	}
	n.slow.Store(true)
	return again
}

// noteFlowing notes that a node takes batches again; see noteBlocked.
func (s *sender) noteFlowing(n *nodeOut) {
	if !n.readyAt.IsZero() {
		n.readyAt = time.Time{}
		n.slow.Store(false)
	}
}

// build goes once through the node's ready list and takes the oldest batch of each partition, up to
// max.request.size. It returns nil if none may leave now.
//
// Java: RecordAccumulator.drainBatchesForOneNode.
func (s *sender) build(n *nodeOut, now time.Time) *produceRequest {
	r := s.newRequest()
	for range n.ready.Len() {
		q := n.ready.Front()
		if q.out.readyFor != n {
			n.ready.PopFront() // it was taken out of the list meanwhile
			continue
		}
		b, fits := s.take(q, n, r.size, now)
		if !fits {
			break
		}
		n.ready.PopFront()
		if q.out.readyFor == n {
			s.unready(q)
		}
		if b != nil {
			r.add(b)
			if q.length.Load() > 0 { // its next batch goes to the end of the list, for the next request
				s.look(q, now)
			}
		}
	}
	if len(r.batches) == 0 {
		s.freeRequests = append(s.freeRequests, r)
		return nil
	}
	return r
}

// take removes the oldest batch of a partition from its queue, for a request to node n that has size bytes.
// b is nil if the batch must not leave now; an answer or a timer then makes the sender check the partition
// again. fits is false if the request is full, or a new producer id is needed first.
func (s *sender) take(q *partitionQueue, n *nodeOut, size int, now time.Time) (b *batch, fits bool) {
	id, epoch, ok := s.leader(q)
	if !ok || id != n.id {
		s.unready(q)
		s.makeReady(q, true, now)
		return nil, true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.batches.Len() == 0 {
		return nil, true
	}
	b = q.batches.Front()
	if b.attempts > 0 && b.retryAt.After(now) && !s.leaderMoved(b) {
		s.setTimer(q, b, b.retryAt)
		return nil, true
	}
	if info := q.topic.info.Load(); info != nil && !q.out.seq.noteLog(b, info.ID, now) {
		b = q.unparkLocked()
		q.out.seq.noteLog(b, info.ID, now)
	}
	if s.txn != nil && !s.txn.mayDrain(q, b) || !s.idem.mayDrain(&q.out.seq, b) {
		q.out.blocked = true
		return nil, true
	}
	if size > 0 && size+q.sizeLocked(b) > s.cfg.maxRequestSize {
		return nil, false
	}
	q.freezeLocked(b)
	if !s.idem.number(&q.out.seq, b) {
		return nil, false
	}
	q.batches.PopFront()
	b.move(placeHand)
	q.length.Store(int32(q.batches.Len()))
	q.out.muted = s.cfg.maxInFlight == 1
	b.epochAtSend, b.nodeAtSend, b.leftAt = epoch, n.id, now
	if b.stage == stageNew {
		b.stage = stageLeft
		q.out.completionQueue.PushBack(b)
	}
	return b, true
}

func (s *sender) newRequest() *produceRequest {
	if last := len(s.freeRequests) - 1; last >= 0 {
		r := s.freeRequests[last]
		s.freeRequests = s.freeRequests[:last]
		return r
	}
	return &produceRequest{acks: s.cfg.acks, timeout: s.cfg.requestTimeout, sealer: s.sealer}
}

// smallRequest is the size of batches up to which a request is sealed and written in the sender's turn, if nothing is in
// flight to the node. It costs as much as to wake the connection's writer.
const smallRequest = 4 << 10

// send hands a request to the node's connection. From here the connection owns the batches' bytes
// until the request comes back.
func (s *sender) send(n *nodeOut, r *produceRequest, now time.Time) {
	for _, b := range r.batches {
		b.attempts++
		b.move(placeWire)
	}
	s.onWire += len(r.batches)
	s.countLeaving(r, now)
	if s.txn != nil {
		s.txn.sends(r)
	}
	r.Exchange, r.NoAnswer = r, r.acks == 0
	alone := s.client.InFlight(n.id) == 0
	n.pace.sent(alone, now)
	r.Small = r.size <= smallRequest && s.sealer.codec == compress.None
	s.sealer.crew.offer(r, alone)
	s.client.Send(n.id, &r.Request, now)
}

// lostKind returns the kind of error of a request without an answer.
func lostKind(err error) error {
	if errors.Is(err, network.ErrRequestTimeout) {
		return ErrTimeout
	}
	return ErrDisconnected
}

// countOf returns a number with its noun, as in "1 record" or "2 records".
func countOf(n int32, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// partialWait is how long a partial batch that is due may wait for the answer in flight from its node, so
// that others can be sent with it. Under load this makes requests dense at no cost in latency. It waits
// longer only for a node that is known to be busy that long, see pace: with a node that is slow but works
// on several requests at once, a longer wait would cost latency.
const partialWait = 500 * time.Microsecond

// lastSlotShare is the divisor of the answer time that gives the longest wait of the last request that the node
// may have in flight.
const lastSlotShare = 16
