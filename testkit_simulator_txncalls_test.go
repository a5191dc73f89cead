package quill

import (
	"errors"
	"slices"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// The application's calls about transactions, which one goroutine makes, one after the other: as a
// schedule asks for them, and what Kafka's rules ask for besides. A call that times out is made again; one
// whose error is abortable is followed by AbortTransaction.

// simTxn is a transaction in the ledger.
type simTxn struct {
	number  int
	offsets []int64 // those that were accepted
	maybe   []int64 // those whose call failed, or timed out
	asked   bool    // CommitTransaction was taken up
	told    simTold
	err     error // why
}

// simTold is what the application knows of the end of a transaction.
type simTold uint8

const (
	toldNothing   simTold = iota // yet
	toldCommitted                // CommitTransaction worked
	toldAborted                  // AbortTransaction did, or CommitTransaction said that nothing was committed
	toldOpen                     // unknown
)

// simTxnCall is a call, as engine.transact makes it.
type simTxnCall struct {
	kind   simKind
	args   [6]int
	offset int64
	txn    *simTxn

	begun   bool // the sender has taken it up
	o       *operation
	err     *Error
	until   time.Time
	waiting bool // for callbacks
	results []*result
}

// enqueue lets the goroutine make a call when it comes to it.
func (x *simulation) enqueue(kind simKind, a [6]int) {
	if x.cfg.Txn != nil {
		x.app = append(x.app, simTxnCall{kind: kind, args: a})
		x.poll()
	}
}

// insist makes a call the next.
func (x *simulation) insist(kind simKind) { x.app = slices.Insert(x.app, 0, simTxnCall{kind: kind}) }

// poll lets the goroutine go on, as far as it gets.
func (x *simulation) poll() {
	if x.cfg.Txn == nil || x.haltedUntil.After(x.now) {
		return
	}
	for {
		if c := x.calling; c != nil {
			done, err := x.awaits(c)
			if !done {
				return
			}
			x.calling = nil
			x.returned++
			x.say("%s returns: %v", simKindNames[c.kind], orNil(err))
			x.returns(c, err)
			continue
		}
		if len(x.app) == 0 && x.again == 0 || x.e.fatal.Load() != nil && x.again == 0 {
			x.app = nil
			return
		}
		x.nextCall()
	}
}

// nextCall makes the next call, if it makes sense.
func (x *simulation) nextCall() {
	var c simTxnCall
	if x.again != 0 {
		c = simTxnCall{kind: x.again}
		if x.again != simTxnInit && x.draw(6) == 0 { // what Kafka forbids
			c.kind = map[simKind]simKind{simTxnCommit: simTxnAbort, simTxnAbort: simTxnCommit}[x.again]
		}
	} else {
		c = x.app[0]
		x.app = x.app[1:]
	}
	switch c.kind {
	case simSend:
		for range c.args[5] {
			x.send(c.args)
		}
		return
	case simTxnInit:
		if x.ready {
			return
		}
	case simTxnBegin:
		if x.txn != nil {
			return
		}
		if !x.ready && !x.e.closed.Load() {
			x.insist(simTxnBegin)
			c = simTxnCall{kind: simTxnInit}
		}
	case simTxnOffsets:
		if x.txn == nil {
			return
		}
		x.offset++
		c.offset = x.offset
	default:
		if x.txn == nil {
			return
		}
	}
	x.call(&c)
}

func (x *simulation) call(c *simTxnCall) {
	x.say("%s is called", simKindNames[c.kind])
	x.calling = c
	c.until, c.txn = x.now.Add(x.ms(x.cfg.MaxBlock)), x.txn
	x.at(c.until, func() {})
	if x.e.closed.Load() {
		c.begun, c.err = true, &Error{Kind: ErrClosed}
		return
	}
	var order func(t *transaction) (*operation, *Error)
	switch c.kind {
	case simTxnInit:
		order = func(t *transaction) (*operation, *Error) { return t.initialize(callInit) }
	case simTxnBegin:
		order = func(t *transaction) (*operation, *Error) {
			err := t.begin(callBegin)
			if err == nil {
				x.txn = &simTxn{number: len(x.txns)}
				x.txns = append(x.txns, x.txn)
			}
			return nil, err
		}
	case simTxnOffsets:
		offsets := map[TopicPartition]OffsetAndMetadata{{Topic: simTopicName(0)}: {Offset: c.offset}}
		o := &offsetsCall{operation: operation{call: callSendOffsets, done: make(chan struct{})}, group: GroupMetadata{GroupID: simGroup}, left: offsets}
		x.e.wantTopics(offsets)
		order = func(t *transaction) (*operation, *Error) { return &o.operation, t.sendOffsets(o) }
	case simTxnCommit:
		order = func(t *transaction) (*operation, *Error) { return t.complete(callCommit, true) }
	case simTxnAbort:
		order = func(t *transaction) (*operation, *Error) { return t.complete(callAbort, false) }
	}
	x.e.box.command(func(s *sender, _ time.Time) {
		c.o, c.err = order(s.txn)
		if c.begun = true; c.kind == simTxnCommit && c.err == nil {
			c.txn.asked = true
		}
	})
}

const simGroup = "group"

// awaits does the waiting of engine.transact. It reports whether the call returns now, and with what.
func (x *simulation) awaits(c *simTxnCall) (bool, *Error) {
	late := !c.until.After(x.now)
	open := &Error{Kind: ErrTimeout, open: true}
	switch {
	case !c.begun && x.e.sender.stopped:
		return true, &Error{Kind: ErrClosed}
	case !c.begun:
		return false, nil
	case c.err != nil:
		return true, c.err
	case c.o == nil:
		return true, nil
	case !c.o.ended():
		return late, open
	}
	if c.kind == simTxnCommit || c.kind == simTxnAbort {
		if !c.waiting {
			c.waiting, c.results = true, x.e.acc.beginFlush()
		}
		for len(c.results) > 0 {
			if awaitResult(x.cancelled, c.results[0]) != nil {
				return late, open
			}
			c.results = c.results[1:]
		}
		x.look()
		x.checkCalledBack(c)
	}
	c.o.heard.Store(true)
	return true, c.o.err
}

// returns notes what a call came to.
func (x *simulation) returns(c *simTxnCall, err *Error) {
	if x.again != 0 && c.kind != x.again { // the call that is forbidden
		if err == nil || !errors.Is(err, ErrInvalidTxnState) && !errors.Is(err, ErrClosed) {
			x.violate("P12", "%s is taken although %s has not told its outcome: %v", simKindNames[c.kind], simKindNames[x.again], orNil(err))
		}
		if errors.Is(err, ErrClosed) {
			x.again = 0
		}
		return
	}
	x.again = 0
	closed := err != nil && errors.Is(err, ErrClosed)
	switch {
	case err == nil:
	case err.open:
		x.again = c.kind
		if c.kind == simTxnOffsets {
			x.again = 0
			c.txn.maybe = append(c.txn.maybe, c.offset)
			if x.draw(3) == 0 {
				x.insist(simTxnAbort)
			}
		}
		return
	case !closed && !err.Abortable() && !err.Fatal() && x.e.fatal.Load() == nil:
		x.violate("P11", "%s fails with what is neither abortable nor fatal: %v", simKindNames[c.kind], err)
	case err.Abortable() && c.kind != simTxnAbort && x.e.fatal.Load() == nil:
		x.insist(simTxnAbort)
	}
	switch c.kind {
	case simTxnInit:
		x.ready = err == nil
		return
	case simTxnOffsets:
		if err == nil {
			c.txn.offsets = append(c.txn.offsets, c.offset)
		} else {
			c.txn.maybe = append(c.txn.maybe, c.offset)
		}
		return
	case simTxnBegin:
		return
	}
	t := c.txn
	switch {
	case closed && err.Outcome != MaybeWritten && !c.begun, closed && c.o == nil:
		return // what becomes of it is up to the end
	case err == nil && c.kind == simTxnCommit:
		t.told = toldCommitted
	case err != nil && c.kind == simTxnCommit && err.Outcome == MaybeWritten:
		t.told, t.err = toldOpen, err
	default:
		t.told, t.err = toldAborted, orNil(err)
	}
	if err == nil || !err.Abortable() {
		x.txn = nil
	}
}

// dooms returns what Send makes of its error, in a transaction.
func (x *simulation) dooms(err *Error) *Error {
	if x.cfg.Txn == nil {
		return err
	}
	own := x.e.abortableBy(err)
	if own == nil {
		return err
	}
	if !x.e.closed.Load() {
		x.e.box.command(func(s *sender, _ time.Time) { s.txn.sendFailed(own) })
	}
	return own
}

// joins notes to which transaction a record belongs.
func (x *simulation) joins(r *simRecord) {
	if x.cfg.Txn == nil {
		return
	}
	r.txn = x.txn
	if x.txn == nil || x.txn.asked {
		x.violate("I11", "record %d is taken although no transaction is open", r.index)
	}
}

// checkCalledBack checks that everything sent before the end of a transaction has its outcome by then.
func (x *simulation) checkCalledBack(c *simTxnCall) {
	for _, r := range x.records {
		if r.in && r.txn == c.txn && r.completed == 0 && !r.silent {
			x.violate("P12", "%s returns before record %d was told", simKindNames[c.kind], r.index)
		}
	}
}

// settleTransactions brings what is open to its end. With the cluster well that takes no longer than a
// few time-outs, back-offs and markers.
func (x *simulation) settleTransactions() {
	if x.cfg.Txn == nil {
		return
	}
	over := func() bool { return !x.closedAt.IsZero() || x.e.fatal.Load() != nil }
	idle := func() bool { return len(x.app) == 0 && x.calling == nil && x.again == 0 }
	limit := x.ms(x.cfg.Request)*4 + x.ms(x.cfg.MaxBlock) + x.micros(x.cfg.Txn.Markers) + 30*time.Second
	for range 2 {
		if !x.until(x.now.Add(limit), func() bool { return idle() || over() }) && !x.doubtful() {
			x.violate("I13", "%s takes longer than %v in the healthy cluster", simKindNames[x.calling.kind], limit)
		}
		if x.txn == nil || over() {
			return
		}
		x.enqueue(simTxnCommit, [6]int{})
	}
}

// probeTransaction commits a transaction with a record for all partitions that were sent to before.
func (x *simulation) probeTransaction() {
	limit := x.ms(x.cfg.Request)*4 + x.ms(min(x.cfg.Delivery, 10_000)) + x.micros(x.cfg.Txn.Markers) + 30*time.Second
	var sends [][6]int
	asked := map[simTopicPartition]bool{}
	for _, r := range x.records {
		if at := (simTopicPartition{simTopicName(r.topic), r.partition}); r.in && !asked[at] {
			asked[at] = true
			sends = append(sends, [6]int{r.topic, 2, int(r.partition), 20, sendFuture | sendUrgent, 1})
		}
	}
	for try := range 5 {
		if !x.closedAt.IsZero() {
			return
		}
		before := len(x.txns)
		x.enqueue(simTxnBegin, [6]int{})
		for _, s := range sends {
			x.enqueue(simSend, s)
		}
		x.enqueue(simTxnCommit, [6]int{})
		over := func() bool { return len(x.app) == 0 && x.calling == nil && x.again == 0 || x.e.fatal.Load() != nil }
		if !x.until(x.now.Add(limit), over) {
			break
		}
		if x.e.fatal.Load() != nil || len(x.txns) > before && x.txns[before].told == toldCommitted {
			return
		}
		x.until(x.now.Add(300*time.Millisecond<<try), func() bool { return false }) // a node may want to be left alone
	}
	if !x.doubtful() && x.closedAt.IsZero() && x.cfg.leavesTime() {
		x.violate("I13", "no transaction can be committed any more")
	}
}

// txnEvent is what happens to coordinators.
func (x *simulation) txnEvent(kind simKind, a [6]int) {
	c := x.cluster.txn
	if c == nil {
		return
	}
	switch kind {
	case simTxnFault:
		x.cluster.faults = append(x.cluster.faults, &simActiveFault{a[0], simFaultKind(a[1]), a[2], a[3], a[4], 0, a[5]})
	case simTxnMove:
		if a[0] == 1 {
			c.group = x.cluster.node(int32(a[1])).id
		} else {
			c.home = x.cluster.node(int32(a[1])).id
		}
	case simTxnFence:
		x.fatal = true
		c.takeOver()
	case simTxnUpgrade:
		if simReleases[x.cfg.Txn.Release].number >= 400 {
			c.level = 2
		}
	}
}

var simTxnAPIs = []protocol.APIKey{protocol.FindCoordinator, protocol.InitProducerID, protocol.AddPartitionsToTxn, protocol.AddOffsetsToTxn,
	protocol.TxnOffsetCommit, protocol.EndTxn, protocol.Produce}
