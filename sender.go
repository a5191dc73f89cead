package quill

import (
	"iter"
	"log/slog"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// sender is the one goroutine that decides: which batches leave, in which request, to which node,
// and what becomes of them. Everything about delivery that can change (what is in flight, sequences,
// retries, muted partitions, connections) is its own, so none of that has a lock.
//
//	inbox ──▶ take ──▶ events: answers ──▶ decide ──▶ done / retry / split ──▶ dispatcher
//	                ├▶ orders: flush, close
//	                └▶ queues to look at ──┐
//	          timers: lingers, back-offs ──┴▶ ready partitions, a ring per node ──▶ drain ──▶ requests
//	          expire · metadata · producer id
//
// One turn is step: it never blocks and hands work out. One place waits: inbox.sleep.
//
// A partition with a batch to send is in the ring of its leader's node. Draining a node goes once
// around the ring, takes the oldest batch of each partition until max.request.size is reached, and
// leaves off where the next request goes on, so that no partition starves (KAFKA-13834). What costs
// time therefore grows with batches, never with the number of partitions known.
type sender struct {
	cfg      *settings
	acc      *accumulator
	box      *inbox
	client   connections
	refresh  *refresher
	dispatch *dispatcher
	sealer   *sealer
	logger   *slog.Logger
	retry    backoff.Backoff
	onFatal  func(*Error)
	random   func() float64 // rand.Float64, unless a test must be repeatable

	snapshot      *metadata.Snapshot
	idem          idempotence
	idSpell       backoff.Spell // of requests for a producer id that fail
	identitySpell backoff.Spell // of producer ids that turn out to be of no use
	txn           *transaction  // nil: the producer is not transactional
	onWire        int           // batches in requests that have not come back
	nodes         map[int32]*nodeOut
	active        []*nodeOut // those with something in their rings
	timers        timers
	leaderless    []*partitionQueue // with something to send and nowhere to send it
	mark          int64             // flushes begun, as far as the sender knows
	crowds        int64             // lines for memory begun, as far as it knows
	resolveBy     time.Time         // when bootstrap.resolve.timeout.ms ends, counted from the first question
	bootstrapping bool              // the client has the bootstrap servers, not the snapshot's nodes
	hurry         bool              // this turn, lingers don't count: closing, or somebody waits for memory
	closing       bool
	aborting      *Error // set: everything incomplete fails with it
	lost          givenUp
	losses        *lossLog
	stopped       bool
	meant         time.Time       // when the next turn is to begin at the latest
	agesAt        time.Time       // when an open batch is old; zero: there is none, as of the last turn
	judgeAt       time.Time       // until when readers may catch up; zero: none need to
	looks         []chan struct{} // of callers, that end when they have

	mail     mail
	done     []*network.Request
	free     []*produceRequest
	touched  []*partitionQueue       // to look at again at the end of the answers
	changes  []metadata.LeaderChange // that answers of this turn told
	moved    []*topicState           // the topics of these, one by one
	hints    []metadata.Node         // nodes that they named with them
	finished chan struct{}
}

// connections is what the sender needs of the network: *network.Client, or the simulator's.
type connections interface {
	SetNodes(nodes iter.Seq[metadata.Node])
	Ready(id int32, now time.Time) bool
	Connected(id int32) bool
	InFlight(id int32) int
	Busy(id int32, now time.Time) error
	Versions(id int32, key protocol.APIKey) (lowest, highest int16, ok bool)
	Features(id int32, name string) (level int16, ok bool)
	CanRetryAt(id int32, now time.Time) time.Time
	LeastLoaded(now time.Time) (id int32, ok bool, retryAt time.Time)
	Soonest(now time.Time) (id int32, ok bool, retryAt time.Time)
	LastError(id int32) error
	Trouble() error
	Unreachable() bool
	Unresolved() error
	NoBroker() error
	Throttle(id int32, d time.Duration, now time.Time)
	Send(id int32, r *network.Request, now time.Time)
	Handle(ev network.Event, now time.Time, done []*network.Request) []*network.Request
	Tick(now time.Time, done []*network.Request) (_ []*network.Request, next time.Time)
	Overdue(now time.Time) bool
	CatchUp(late time.Duration, now time.Time)
	Behind() bool
	Rebootstrap(now time.Time)
	Close()
	Wait()
}

// partitionOut is what the sender knows of a partition beyond its batches.
type partitionOut struct {
	node        *nodeOut // it was last ready for
	ring        *nodeOut // the ring it is in; nil: none
	forced      bool     // in the ring with something that does not wait for company
	leaderless  bool     // in the sender's list of those
	muted       bool     // order is kept by one batch in flight, and it is
	held        bool     // a batch could not leave until something in flight comes back
	timerNumber int64    // the batch and time of its latest timer
	timerAt     time.Time
	seq         sequences
	joined      int64      // the transaction that it is part of
	joining     int64      // the transaction that it is, or was, being added to
	line        batchDeque // batches that left and are not told, in the order of their numbers
	setback     *setback   // nil if the last batch that came back was accepted
}

func newPartitionOut() partitionOut { return partitionOut{seq: noSequences()} }

// replace puts the parts of a split batch in its place in the line.
func (o *partitionOut) replace(b *batch, parts []*batch) {
	for i := range o.line.Len() {
		if o.line.At(i) != b {
			continue
		}
		o.line.Remove(i)
		for j, part := range parts {
			part.inLine = true
			o.line.Insert(i+j, part)
		}
		return
	}
}

// nodeOut is a node with what is ready to go to it.
type nodeOut struct {
	id         int32
	ring       ringDeque
	active     bool          // in the sender's list of nodes with something to send
	forced     int           // partitions of the ring that are forced
	readyAt    time.Time     // since when it has something and could not take it; zero: it could
	waitsAt    time.Time     // since when it waits for company
	answerTime time.Duration // of its requests, smoothed
	pace       pace          // how fast it takes them off the connection
	slow       slowFlag      // for longer than partitioner.availability.timeout.ms
}

// tags of requests that are no Produce.
type requestTag uint8

const (
	tagInitProducerID requestTag = iota + 1
)

// companyWait is how long a partial batch that is due may wait for the answer in flight to its
// node, to be sent together with what comes until then. Under load this makes requests dense at no
// cost in latency. It waits longer only for a node that is known to be busy so long, see pace: with one
// that is slow, but works on several requests at once, that would cost.
const companyWait = 500 * time.Microsecond

// lastWaits: the last request in flight waits at most one part in so many of the time that answers take.
const lastWaits = 16

// forever is a wait without an end in sight.
const forever = time.Hour

// run is the goroutine; it ends when Close was asked for and everything is settled.
func (s *sender) run() {
	defer close(s.finished)
	timer := time.NewTimer(forever)
	timer.Stop()
	now := time.Now()
	for !s.stopped {
		s.box.sleep(s.step(now), timer)
		now = time.Now()
	}
	s.client.Close()
	s.client.Wait()
	s.sealer.crew.end()
	s.box.take(&s.mail)
	s.takeEvents(now)
	if s.txn != nil {
		s.lost.transaction = s.txn.unfinished()
		s.txn.stop(s.closedError())
	}
	s.dispatch.kick()
}

// closedError is why an order can't be carried out any more.
func (s *sender) closedError() *Error {
	if s.aborting != nil {
		return s.aborting
	}
	return &Error{Kind: ErrClosed, Partition: -1, Node: -1}
}

// step is one turn of the loop. It returns when the next one is needed at the latest.
func (s *sender) step(now time.Time) (next time.Time) {
	s.acc.clock.advance(now.UnixMilli())
	s.box.take(&s.mail)
	s.takeEvents(now)
	behind := s.behind(now)
	if !behind {
		s.takeTimeouts(now)
	}
	s.takeOrders(now)
	if s.aborting != nil && !behind {
		behind = s.abort(now)
	}
	if behind {
		next = s.judgeAt // or with what the readers bring
	} else {
		next = s.act(now)
	}
	s.endLooks()
	s.dispatch.kick()
	s.meant = maxTime(next, now)
	return next
}

// takeOrders does what callers ask for, and looks at what they appended to.
func (s *sender) takeOrders(now time.Time) {
	for _, o := range s.mail.orders {
		if o != nil {
			o(s, now)
		}
	}
	for _, t := range s.mail.topics {
		s.refresh.want(t, now)
	}
	s.lookAll(now)
}

// act gives up what has had its time, and sends what is ready. It returns when the next turn is needed.
func (s *sender) act(now time.Time) (next time.Time) {
	s.expire(now)
	s.ageOpen(now)
	next = earliest(now.Add(forever), s.stepTransaction(now), s.askMetadata(now), s.askProducerID(now), s.drainAll(now))
	next = earliest(next, s.timers.next(), s.nextEnd(), s.takeTimeouts(now)) // after what sets them
	if s.closing && (s.txn == nil || s.aborting != nil || s.txn.closing(now)) && s.acc.end() {
		s.stopped = true
		return now
	}
	if s.txn != nil && s.txn.woken {
		return now
	}
	return next
}

func (s *sender) stepTransaction(now time.Time) time.Time {
	if s.txn == nil {
		return time.Time{}
	}
	return s.txn.step(now)
}

// earliest is the smallest of the times that are set.
func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// takeEvents handles what connections posted.
func (s *sender) takeEvents(now time.Time) {
	s.done = s.done[:0]
	for _, e := range s.mail.events {
		s.done = s.client.Handle(e, now, s.done)
	}
	for _, r := range s.mail.sealed {
		s.done = append(s.done, &r.Request)
	}
	s.finishAll(now)
}

// takeTimeouts gives up on nodes that are too slow.
func (s *sender) takeTimeouts(now time.Time) (next time.Time) {
	s.done, next = s.client.Tick(now, s.done[:0])
	s.finishAll(now)
	return next
}

// finishAll handles the requests that came back.
func (s *sender) finishAll(now time.Time) {
	for i, r := range s.done {
		s.done[i] = nil
		switch x := r.Exchange.(type) {
		case *produceRequest:
			s.finishProduce(x, now)
		default:
			s.finishOther(r, now)
		}
	}
	s.applyHints(now)
	for i, q := range s.touched {
		s.touched[i] = nil
		s.look(q, now)
	}
	s.touched = s.touched[:0]
}

// finishOther handles the answers to Metadata, InitProducerId and the requests about transactions.
func (s *sender) finishOther(r *network.Request, now time.Time) {
	if r.Err == nil {
		if t, ok := r.Exchange.(*network.Message).Response.(interface{ Throttle() time.Duration }); ok {
			s.throttle(r, t.Throttle(), now)
		}
	}
	switch tag := r.Tag.(type) {
	case *txnRequest:
		s.txn.finish(tag, r, now)
	case *metadataAsk:
		s.finishMetadata(r, now)
	case requestTag:
		s.finishProducerID(r, now)
	}
}

// lookAll looks at the partitions that the inbox names, that a timer is up for, and, when lingers
// don't count any more, at all with a timer. A batch that was just opened and may linger is not looked
// at: with many partitions that was every second look, each at memory that a caller is about to write.
func (s *sender) lookAll(now time.Time) {
	was, mark, crowds := s.hurry, s.acc.mark(), s.acc.pool.crowds.Load()
	s.hurry = s.closing || s.acc.stillWaiting()
	again := s.hurry && !was || mark != s.mark || crowds != s.crowds
	s.mark, s.crowds = mark, crowds
	lingers, instant := !s.hurry && s.txn == nil && s.acc.pool.standing.Load() == 0, s.box.instant(now)
	for _, n := range s.mail.queues {
		if lingers && n.by > instant && n.mark >= mark {
			s.timers.push(timer{at: s.box.time(n.by), queue: n.queue})
		} else {
			s.look(n.queue, now)
		}
	}
	if again {
		s.lookAgain(now)
	}
	for {
		q := s.timers.pop(now)
		if q == nil {
			return
		}
		s.look(q, now)
	}
}

// lookAgain looks at every partition that waits for a timer or a leader, or for a node that does not
// lead it any more.
func (s *sender) lookAgain(now time.Time) {
	s.reseat(now)
	for _, t := range s.timers.takeAll() {
		t.queue.out.timerNumber = 0
		s.look(t.queue, now)
	}
	waited := s.leaderless
	s.leaderless = nil // those that still have no leader come back in
	for _, q := range waited {
		q.out.leaderless = false
		s.look(q, now)
	}
}

// reseat moves the partitions whose leader changed to the rings of their new leaders: the node whose
// ring they are in may never be ready again. Every change of the snapshot comes by here, so a ring
// holds a partition at most once.
func (s *sender) reseat(now time.Time) {
	for _, n := range s.active {
		for range n.ring.Len() {
			q := n.ring.PopFront()
			if q.out.ring != n {
				continue // it left meanwhile
			}
			if id, _, ok := s.leader(q); ok && id == n.id {
				n.ring.PushBack(q)
				continue
			}
			forced := q.out.forced
			s.leave(q)
			s.enter(q, forced, now)
		}
	}
}

// look finds out whether the partition's oldest batch can go, and if not yet, when.
func (s *sender) look(q *partitionQueue, now time.Time) {
	q.mu.Lock()
	q.told = false
	if q.batches.Len() == 0 {
		q.mu.Unlock()
		return
	}
	b := q.batches.Front()
	forced := b.closed || b.flushMark < s.mark || s.hurry || b.share.waiters.Load() > 0
	urgent := b.urgent
	q.mu.Unlock()
	if q.out.muted || s.txn != nil && !s.txn.joined(q) {
		q.out.held = true
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
		s.setTimer(q, b.number, due)
		return
	}
	s.enter(q, forced, now)
}

// leaderMoved reports whether a batch that is to be sent again has a newer leader to go to.
func (s *sender) leaderMoved(b *batch) bool {
	_, epoch, ok := s.leader(b.queue)
	return ok && b.epochAtSend >= 0 && epoch > b.epochAtSend
}

func (s *sender) setTimer(q *partitionQueue, number int64, at time.Time) {
	if q.out.timerNumber == number && q.out.timerAt.Equal(at) {
		return
	}
	q.out.timerNumber, q.out.timerAt = number, at
	s.timers.push(timer{at: at, queue: q, number: number})
}

func (s *sender) leader(q *partitionQueue) (node int32, epoch int32, ok bool) {
	n, epoch, ok := s.snapshot.LeaderOf(q.topic.info.Load(), q.index)
	return n.ID, epoch, ok
}

// enter puts a partition into the ring of its leader's node.
func (s *sender) enter(q *partitionQueue, forced bool, now time.Time) {
	id, _, ok := s.leader(q)
	if !ok {
		if !q.out.leaderless {
			q.out.leaderless = true
			s.leaderless = append(s.leaderless, q)
		}
		s.needTopic(q.topic, now)
		return
	}
	n := q.out.node
	if n == nil || n.id != id {
		if n = s.nodes[id]; n == nil {
			n = &nodeOut{id: id}
			s.nodes[id] = n
		}
		q.out.node = n
		q.slow.Store(&n.slow)
	}
	if q.out.ring != n {
		s.leave(q)
		q.out.ring = n
		n.ring.PushBack(q)
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

// leave takes a partition out of its ring; the ring's entry is skipped later.
func (s *sender) leave(q *partitionQueue) {
	if q.out.ring != nil && q.out.forced {
		q.out.ring.forced--
	}
	q.out.ring, q.out.forced = nil, false
}

// needTopic asks for the topic's metadata: there are records for it and nowhere to send them.
func (s *sender) needTopic(t *topicState, now time.Time) {
	t.lastUsed = now
	s.refresh.topics[t.name] = t
	if t.info.Load() == nil {
		s.refresh.ask(t, now)
	}
	s.refresh.all = true
}

// expire gives up the batches that are delivery.timeout.ms old.
func (s *sender) expire(now time.Time) {
	for b := s.acc.oldest(); b != nil && !b.createdAt.Add(s.acc.deliveryTimeout).After(now); b = s.acc.oldest() {
		s.withdraw(b)
		s.giveUp(b, s.expired(b, now), now)
	}
}

func (s *sender) nextExpiry() time.Time {
	if b := s.acc.oldest(); b != nil {
		return b.createdAt.Add(s.acc.deliveryTimeout)
	}
	return time.Time{}
}

// ageOpen closes the batches that have spent a good part of delivery.timeout.ms and still take records, as in
// an outage. All records of a batch expire with it, so one that came now would have only the rest of its time.
func (s *sender) ageOpen(now time.Time) {
	if s.agesAt.IsZero() || s.agesAt.After(now) {
		return
	}
	for _, b := s.acc.ends(); b != nil && !b.createdAt.Add(s.acc.deliveryTimeout/oldPart).After(now); {
		b = s.acc.age(b)
	}
}

// nextEnd is when expire or ageOpen has something to do.
func (s *sender) nextEnd() time.Time {
	oldest, youngest := s.acc.ends()
	s.agesAt = time.Time{}
	if youngest != nil {
		s.agesAt = youngest.createdAt.Add(s.acc.deliveryTimeout / oldPart)
	}
	if oldest == nil {
		return time.Time{} // nor is there a youngest
	}
	return earliest(oldest.createdAt.Add(s.acc.deliveryTimeout), s.agesAt)
}

// oldPart: a batch is old when it has spent one part in so many of delivery.timeout.ms. A partition that can't
// be sent to has so many batches at most that are not full.
const oldPart = 4

// abortAll fails everything that has no fate yet.
func (s *sender) abortAll(now time.Time) {
	records, maybe := int64(0), int64(0)
	for b := s.acc.oldest(); b != nil; b = s.acc.oldest() {
		s.withdraw(b)
		err := s.describe(b, s.aborting, now)
		if s.aborting.Kind == ErrForceClosed {
			err.Cause = s.whyNotYet(b, now)
			s.lost.why.CompareAndSwap(nil, s.heldUpBy(b, now))
		}
		records += int64(b.records)
		if err.Fate == MaybeWritten {
			maybe += int64(b.records)
		}
		s.giveUp(b, err, now)
	}
	if records > 0 && s.aborting.Kind == ErrForceClosed {
		s.lost.records.Add(records)
		s.lost.maybe.Add(maybe)
		s.logger.Warn("Close had to end before all records were delivered: they were given up", "records", records, "maybe_written", maybe)
	}
}

// withdraw takes a batch that has not left out of its queue, so that it takes no more records.
func (s *sender) withdraw(b *batch) {
	if b.onWire {
		return
	}
	q := b.queue
	q.mu.Lock()
	q.removeLocked(b)
	q.mu.Unlock()
}

// giveUp fails a batch wherever it is. One that is on the wire keeps its memory and its sequence
// until its request comes back.
func (s *sender) giveUp(b *batch, err *Error, now time.Time) {
	s.withdraw(b)
	if !b.onWire {
		q := b.queue
		if b.sequenced {
			q.out.seq.settle(b, verdict{gap: !b.maybeWritten, unsure: b.maybeWritten}, -1)
			s.unpark(q, false, now)
		}
		s.touched = append(s.touched, q)
	}
	s.conclude(b, failure(err))
	for i, q := range s.touched {
		s.touched[i] = nil
		s.look(q, now)
	}
	s.touched = s.touched[:0]
}
