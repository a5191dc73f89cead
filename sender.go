package quill

import (
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/internal/deque"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// sender is the one goroutine that decides which batches leave, in which request and to which node, and
// what their answers mean. It owns all state of the delivery (batches in flight, sequences, retries, muted
// partitions, connections), so none of that has a lock.
//
//	inbox ──▶ take ──▶ events: answers ──▶ decide ──▶ done / retry / split ──▶ dispatcher
//	                ├▶ commands: flush, close
//	                └▶ queues to check ────┐
//	          timers: lingers, back-offs ──┴▶ ready partitions, a list per node ──▶ drain ──▶ requests
//	          expire · metadata · producer id
//
// One turn is step: it never blocks and hands work out. One place waits: inbox.sleep.
//
// A partition with a batch to send is in the ready list of its leader's node. Draining a node goes once
// through the list, takes the oldest batch of each partition until max.request.size is reached, and
// stops where the next request goes on, so that no partition starves (KAFKA-13834). The work therefore
// grows with the number of batches, never with the number of known partitions.
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
	identitySpell backoff.Spell // of producer ids that have to be given up
	txn           *transaction  // nil: the producer is not transactional
	onWire        int           // batches in requests that have not come back
	nodes         map[int32]*nodeOut
	active        []*nodeOut // those with something in their ready lists
	timers        timers
	denials       int          // of the client that were passed on
	leaderless    []leaderless // partitions with batches to send and no leader
	mark          int64        // flushes begun, as far as the sender knows
	queuesBegun   int64        // queues for memory begun, as far as it knows
	resolveBy     time.Time    // when bootstrap.resolve.timeout.ms ends, counted from the first question
	bootstrapping bool         // the client has the bootstrap servers, not the snapshot's nodes
	skipLinger    bool         // this turn, lingers don't count: closing, or a Send waits for memory
	closing       bool
	aborting      *Error // set: everything incomplete fails with it
	lost          givenUp
	losses        *lossLog
	stopped       bool
	meant         time.Time       // when the next turn is to begin at the latest
	agesAt        time.Time       // when an open batch is old; zero: there is none, as of the last turn
	judgeAt       time.Time       // until when readers may catch up; zero: none need to
	looks         []chan struct{} // of callers that wait until the readers have caught up

	mail         mail
	done         []*network.Request
	freeRequests []*produceRequest       // to be used again
	touched      []*partitionQueue       // to be checked again after the answers of this turn
	changes      []metadata.LeaderChange // that answers of this turn named
	moved        []*topicState           // the topics of these, each once
	hints        []metadata.Node         // the nodes that these answers named
	finished     chan struct{}
}

// connections is the part of the network that the sender uses: *network.Client, or the simulator's.
type connections interface {
	SetNodes(nodes iter.Seq[metadata.Node])
	Ready(id int32, now time.Time) bool
	Connected(id int32) bool
	InFlight(id int32) int
	Busy(id int32, now time.Time) error
	Unanswered(now time.Time) error
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
	Denied() network.Denial
	Throttle(id int32, d time.Duration, now time.Time)
	Send(id int32, r *network.Request, now time.Time)
	Handle(ev network.Event, now time.Time, done []*network.Request) []*network.Request
	Tick(now time.Time, done []*network.Request) (_ []*network.Request, next time.Time)
	Inspect(now time.Time) []inspect.Node
	Overdue(now time.Time) bool
	CatchUp(late time.Duration, now time.Time)
	Behind() bool
	Rebootstrap(now time.Time)
	Close()
	Wait()
}

// nodeOut is a node with the partitions that are ready to send to it.
type nodeOut struct {
	id         int32
	ready      deque.Deque[*partitionQueue]
	active     bool          // in the sender's list of nodes with something to send
	forced     int           // partitions of ready that are forced
	lingers    timers        // of open batches that are to go to it
	lingersAt  time.Time     // when the sender's timer for them is up; zero: there are none
	readyAt    time.Time     // since when it could not take the batches that are ready; zero: it could
	waitsAt    time.Time     // since when a request waits for more batches to join it
	sought     bool          // metadata was asked for because it can't be reached, and it has not answered since
	answerTime time.Duration // of its requests, smoothed
	lastAnswer time.Duration // of the last request that was answered, for Inspect
	pace       pace          // how fast it takes them off the connection
	slow       atomic.Bool   // for longer than partitioner.availability.timeout.ms
}

// requestTag is the tag of requests that need no other.
type requestTag uint8

const (
	tagInitProducerID requestTag = iota + 1
)

// run runs the sender's loop. It returns after Close when everything is settled.
func (s *sender) run() {
	defer close(s.finished)
	timer := time.NewTimer(forever)
	timer.Stop()
	now := time.Now()
	for !s.stopped {
		began := now
		slept := s.box.sleep(s.step(now), timer)
		now = time.Now()
		s.acc.measures.turn(slept.Sub(began), now.Sub(slept), now)
	}
	s.client.Close()
	s.client.Wait()
	s.sealer.crew.end()
	s.box.take(&s.mail)
	s.takeEvents(now)
	if s.txn != nil {
		if s.lost.transaction = s.txn.unfinished(); s.lost.transaction != "" {
			s.logger.Warn("Close had to end before the producer's transactions did", "transactional_id", s.txn.id,
				"left", s.lost.transaction)
		}
		s.txn.stop(s.closedError())
	}
	s.dispatch.kick()
}

// closedError returns the error of a command that can't be carried out any more.
func (s *sender) closedError() *Error {
	if s.aborting != nil {
		return s.aborting
	}
	return newError(Error{Kind: ErrClosed})
}

// step does one turn of the loop, without blocking. It returns when the next one is needed at the latest.
//
// Java: Sender.runOnce.
func (s *sender) step(now time.Time) (next time.Time) {
	s.acc.clock.advance(now.UnixMilli())
	s.box.take(&s.mail)
	s.takeEvents(now)
	behind := s.behind(now)
	if !behind {
		s.takeTimeouts(now)
	}
	s.takeCommands(now)
	if s.aborting != nil && !behind {
		behind = s.abort(now)
	}
	if behind {
		next = s.judgeAt // or when the readers post something
	} else {
		next = s.act(now)
	}
	s.endLooks()
	s.dispatch.kick()
	s.meant = backoff.Later(next, now)
	return next
}

// takeCommands carries out the commands of callers, and checks the partitions that they appended to.
func (s *sender) takeCommands(now time.Time) {
	for _, o := range s.mail.commands {
		if o != nil {
			o(s, now)
		}
	}
	for _, t := range s.mail.topics {
		t.wanted.Store(false) // first, so that a caller that wants it from now on puts it in again
		s.refresh.want(t, now)
	}
	s.lookAll(now)
}

// act gives up batches whose time is over and sends those that are ready. It returns when the next turn is needed.
func (s *sender) act(now time.Time) (next time.Time) {
	s.expire(now)
	s.ageOpen(now)
	next = now.Add(forever)
	next = earliest(next, s.stepTransaction(now))
	next = earliest(next, s.askMetadata(now)) // the transaction may want it
	next = earliest(next, s.askProducerID(now))
	next = earliest(next, s.drainAll(now))     // a batch needs the producer id and its partition in the transaction
	next = earliest(next, s.takeTimeouts(now)) // also of what has just been sent
	next = earliest(next, s.timers.next())
	next = earliest(next, s.nextEnd())
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

// earliest returns the earliest of first and those of the others that are not zero.
func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// takeEvents handles the events that connections posted.
func (s *sender) takeEvents(now time.Time) {
	s.done = s.done[:0]
	for _, e := range s.mail.events {
		s.done = s.client.Handle(e, now, s.done)
	}
	for _, r := range s.mail.sealed {
		s.done = append(s.done, &r.Request)
	}
	s.finishAll(now)
	s.dispatch.kick() // before what leaves is looked for: callbacks and callers go on meanwhile
	s.noteDenial()
}

// noteDenial passes on that no broker lets this client in, to whoever waits for one. Records in the accumulator wait on, for
// delivery.timeout.ms, as in Java.
func (s *sender) noteDenial() {
	d := s.client.Denied()
	if d.Number == s.denials {
		return
	}
	s.denials = d.Number
	s.refresh.board.deny(d)
	if s.txn != nil {
		s.txn.endWaits(d.Err)
	}
}

// takeTimeouts gives up on nodes that are too slow.
func (s *sender) takeTimeouts(now time.Time) (next time.Time) {
	s.done, next = s.client.Tick(now, s.done[:0])
	s.finishAll(now)
	return next
}

// finishAll handles the requests that came back, in s.done.
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
			s.acc.measures.throttled(t.Throttle(), now)
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

// throttle sends nothing to the node for as long as its answer asks (KIP-219). In older versions the node
// itself waited that long before it answered.
func (s *sender) throttle(r *network.Request, d time.Duration, now time.Time) {
	since := int16(1) // requests about transactions
	switch r.Exchange.APIKey() {
	case protocol.Produce, protocol.Metadata:
		since = 6
	case protocol.FindCoordinator:
		since = 2
	}
	if r.Version >= since {
		s.client.Throttle(r.Node, d, now)
	}
}

// fatal makes the producer fail: everything incomplete and all later sends end with err. Only the first call counts.
func (s *sender) fatal(err *Error) {
	if s.aborting == nil {
		s.logger.Error("producer cannot go on", "err", err)
		s.aborting = err
		s.onFatal(err)
		if s.txn != nil {
			s.txn.becomeFatal(err)
		}
	}
}

// givenUp counts the records that a Close gave up.
type givenUp struct {
	transaction    string // describes an unfinished transaction, or a call about one; set before the sender is finished
	records, maybe atomic.Int64
	why            atomic.Pointer[Error] // why the first of them was not sent
}
