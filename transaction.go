package quill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/internal/invariant"
	"github.com/quill-kafka/quill/protocol"
)

// transaction is the state of a transactional producer's transactions. It belongs to the sender: callers
// put commands into the inbox and wait for an operation to end, so nothing here has a lock.
//
//	InitTransactions ──▶ FindCoordinator ▶ InitProducerId ─────────────────────────▶ ready
//	BeginTransaction ──▶ sends are let in
//	Send ─▶ batches ───▶ version 1: AddPartitionsToTxn, and only then Produce
//	                     version 2: Produce adds the partition itself (KIP-890)
//	SendOffsets… ──────▶ version 1: AddOffsetsToTxn, then TxnOffsetCommit to the group's coordinator
//	                     version 2: TxnOffsetCommit alone
//	Commit, Abort ─────▶ sends are refused; batches settle ▶ EndTxn ▶ (InitProducerId) ▶ ready
//
// Invariants:
//
//   - Outside of a transaction, and in one that failed, no record gets into a batch: accumulator.closedBy
//     says so, which append reads anyway. So a transaction costs a record nothing.
//   - EndTxn leaves only when every batch is completed and off the wire, and offsets are committed.
//     So nothing of a transaction is sent after its end.
//   - One request to a coordinator is out at a time. Whichever is due follows from the state (next), in
//     Java's order: producer id, partitions, offsets, end, new epoch.
//   - A failed batch makes the transaction abortable, whatever the failure: some of its records would be
//     missing. Only what the cluster says about the id itself, or what leaves no way to go on, is fatal.
//   - A transactional producer never raises its epoch itself; the coordinator does: with version 2 at
//     each end, with version 1 if asked to (InitProducerId with the present id and epoch, KIP-360).
//
// A request whose answer got lost is sent again until an answer comes: the outcome of a commit is never
// guessed. That leaves copies that may arrive late, even in the next transaction (KAFKA-17754, found by
// Jepsen). With version 2 the next transaction has another epoch, and the coordinator refuses them. With
// version 1 it would have the same; so after a lost answer the epoch is raised before the next
// transaction may begin. A cluster that can't do that (before 2.5) makes a lost EndTxn or
// TxnOffsetCommit fatal: the transaction ends, but there can be no next one. A late copy of InitProducerId, at worst,
// fences the producer; it never ends a transaction otherwise than by aborting it.
type transaction struct {
	s  *sender // set by newTransaction, read-only after
	id string

	state   txnState
	err     *Error                    // why state is an error
	callers []context.CancelCauseFunc // end the waits for pending
	pending *operation                // the latest init, commit or abort; the next call may begin when its end was heard

	number   int64 // of the present transaction: partitions note to which they were added
	version2 bool  // the protocol of the present transaction
	canBump  bool  // the coordinator raises the epoch of a producer that names its id and epoch (KIP-360)
	started  bool  // the coordinator knows of the transaction, or may
	unsure   bool  // something may have joined it: a request for that got no answer, and its repetition was refused
	unused   bool  // nothing was sent under the present epoch
	members  []*partitionQueue
	toAdd    []*partitionQueue
	offsets  []*offsetsCall // the first is being committed

	commit    bool // while completing: so, else abort
	bump      bool // the epoch has to be raised before the next transaction
	unnamed   bool // the epoch is being raised by InitProducerId without the present id and epoch (before 2.5)
	straggler bool // an answer got lost, and a copy of its request would do harm in the next transaction
	stray     bool // under this epoch a request to join a transaction got no answer: a late copy may begin one (version 1)
	concluded bool // the end of the transaction was acknowledged; only the epoch is missing

	coordinator int32 // -1: to be found
	group       string
	groupNode   int32                 // coordinator of group; -1: to be found
	request     *txnRequest           // the request in hand, until its last answer
	finding     *txnRequest           // FindCoordinator, if that is needed first
	out         *txnRequest           // of these, the one on the wire
	doubt       atomic.Pointer[Error] // why the request in hand has to be sent again; for anyone
	trouble     error                 // the connection's error when the coordinator was found; after another one it is looked up again
	closeBy     time.Time             // when a closing producer gives up on its transaction
	closed      bool                  // Close aborts the transaction
	woken       bool                  // something changed since step
}

// txnState is where the producer is with its transactions. The names are Kafka's.
type txnState uint8

const (
	txnUninitialized  txnState = iota // InitTransactions was not called, or was refused
	txnInitializing                   // the producer id, or a new epoch of it, is asked for
	txnReady                          // a transaction may begin
	txnInTransaction                  // records and offsets are taken
	txnCommitting                     // batches settle, then the commit is asked for
	txnAborting                       // what has not left is dropped, the rest settles, then the abort is asked for
	txnAbortableError                 // something is missing from the transaction: it can only be aborted
	txnFatalError                     // the producer can only be closed
	txnStates
)

var txnStateNames = [txnStates]string{"UNINITIALIZED", "INITIALIZING", "READY", "IN_TRANSACTION",
	"COMMITTING_TRANSACTION", "ABORTING_TRANSACTION", "ABORTABLE_ERROR", "FATAL_ERROR"}

func (s txnState) String() string { return txnStateNames[s] }

// txnTransitions lists every change of state that may happen (Kafka: TransactionManager.State, without the
// prepared state of KIP-939, whose calls Kafka 4.4 does not offer either).
var txnTransitions = [txnStates][]txnState{
	txnUninitialized:  {txnInitializing, txnFatalError},
	txnInitializing:   {txnReady, txnAbortableError, txnFatalError},
	txnReady:          {txnInTransaction, txnFatalError},
	txnInTransaction:  {txnCommitting, txnAborting, txnAbortableError, txnFatalError},
	txnCommitting:     {txnReady, txnInitializing, txnAbortableError, txnFatalError},
	txnAborting:       {txnReady, txnInitializing, txnFatalError},
	txnAbortableError: {txnAborting, txnUninitialized, txnAbortableError, txnFatalError},
	txnFatalError:     {txnFatalError},
}

// mayBecome reports whether the table has a way from s to the other state.
func (s txnState) mayBecome(to txnState) bool { return slices.Contains(txnTransitions[s], to) }

// completing reports whether the transaction is being ended.
func (s txnState) completing() bool { return s == txnCommitting || s == txnAborting }

// failing reports whether nothing more of the transaction is to be written.
func (s txnState) failing() bool { return s == txnAborting || s == txnAbortableError }

// gathering reports whether records that were sent are still to be written.
func (s txnState) gathering() bool { return s == txnInTransaction || s == txnCommitting }

// operation is one InitTransactions, CommitTransaction or AbortTransaction from its call to its end.
// A call whose wait timed out leaves it behind; the next call of the same kind goes on with it.
type operation struct {
	call  string
	done  chan struct{} // closed when it has ended
	err   *Error        // set before
	maybe bool          // the commit or abort may have been carried out although the call failed
	heard atomic.Bool   // a caller knows
}

// endWaits ends the waits of callers, with err: no broker, or not the coordinator, lets this client in. What they wait for goes on.
func (t *transaction) endWaits(err error) {
	for _, end := range t.callers {
		end(err)
	}
	t.callers = nil
}

func newOperation(call string) *operation { return &operation{call: call, done: make(chan struct{})} }

// end wakes the callers that wait for o. err is the reason if it failed, nil if it worked. Only the first
// call counts.
func (o *operation) end(err *Error) {
	if o == nil || o.ended() {
		return
	}
	if err != nil && err.Op == "" {
		o.err = newError(Error{Op: o.call, Kind: err.Kind, Class: err.Class, Reason: err.Reason})
	} else if err != nil {
		o.err = newError(Error{Op: o.call, Class: err.class(), Cause: err})
	}
	if err != nil && o.maybe {
		o.err.Outcome = MaybeWritten
	}
	close(o.done)
}

func (o *operation) ended() bool { return isClosed(o.done) }

func newTransaction(s *sender, id string) *transaction {
	t := &transaction{s: s, id: id, coordinator: -1, groupNode: -1}
	t.letIn()
	return t
}

// enter changes the state. A change that the table does not have is a bug in quill. The state can't be
// trusted then, so the producer fails (KAFKA-14831).
func (t *transaction) enter(to txnState, err *Error) {
	if t.state == to {
		return
	}
	if !t.state.mayBecome(to) {
		invariant.Check(false, "transaction: from %v to %v", t.state, to)
		t.s.fatal(newError(Error{Op: "change the state of the transaction", Kind: ErrInvalidTxnState, Class: ErrFatal,
			Reason: fmt.Sprintf("there is no way from %v to %v", t.state, to), Cause: orNil(err)}))
		return
	}
	t.s.logger.Debug("transaction changes its state", "from", t.state.String(), "to", to.String(), "transactional_id", t.id,
		"err", orNil(err))
	t.state, t.err, t.woken = to, err, true
	t.letIn()
}

// letIn lets sends in or refuses them, as the state requires.
func (t *transaction) letIn() {
	if t.state == txnInTransaction || t.state == txnFatalError { // the latter has its own reason
		t.s.acc.closeFor(closedByTransaction, nil)
		return
	}
	t.s.acc.closeFor(closedByTransaction, t.needs("send", txnInTransaction))
	t.s.refresh.board.poke()
}

// needs returns the error of a call that needs the given state, nil if the producer is in it.
func (t *transaction) needs(call string, state txnState) *Error {
	if t.state == state {
		return nil
	}
	e := newError(Error{Op: call, Kind: ErrInvalidTxnState,
		Reason: fmt.Sprintf("the producer is %v; %s", t.state, t.state.wayTo(state))})
	if t.err != nil {
		e.Cause = t.err
	}
	switch t.state {
	case txnAbortableError:
		e.Class = ErrAbortable
	case txnFatalError:
		e.Class = ErrFatal
	}
	return e
}

// wayTo returns the advice for a call that needs another state: what to call or wait for first.
func (s txnState) wayTo(state txnState) string {
	switch {
	case s == txnUninitialized:
		return "call InitTransactions first"
	case s == txnInitializing && state == txnUninitialized:
		return "InitTransactions is under way, or has worked before"
	case s == txnInitializing:
		return "wait until InitTransactions, or the end of the transaction before, has returned"
	case s == txnAbortableError: // InitTransactions may have led here
		return "the transaction has failed; call AbortTransaction first"
	case state == txnUninitialized:
		return "InitTransactions was called before and has worked"
	case s == txnReady:
		return "call BeginTransaction first"
	case s == txnInTransaction:
		return "a transaction is open; commit or abort it first"
	case s.completing():
		return "the transaction is being ended; wait until that call has returned"
	}
	return "the producer has failed; close it and make a new one"
}

// resume returns the operation that a call goes on with, nil if it begins a new one. While an operation
// whose call timed out is pending only that call may be repeated; any other gets an error.
func (t *transaction) resume(call string) (*operation, *Error) {
	o := t.pending
	switch {
	case o == nil || o.heard.Load():
		t.pending = nil
		return nil, nil
	case o.call == call:
		return o, nil
	}
	return nil, newError(Error{Op: call, Kind: ErrInvalidTxnState,
		Reason: fmt.Sprintf("the producer is %v; %s gave up waiting, and its outcome is not known yet; call it again first",
			t.state, o.call)})
}

// initialize begins InitTransactions.
func (t *transaction) initialize(call string) (*operation, *Error) {
	o, err := t.resume(call)
	if o != nil || err != nil {
		return o, err
	}
	if err := t.needs(call, txnUninitialized); err != nil {
		return nil, err
	}
	t.pending = newOperation(call)
	t.enter(txnInitializing, nil)
	return t.pending, nil
}

// begin carries out BeginTransaction.
func (t *transaction) begin(call string) *Error {
	o, err := t.resume(call)
	if o == nil && err == nil {
		err = t.needs(call, txnReady)
	}
	if err != nil {
		return err
	}
	t.number++
	t.unused = false
	t.enter(txnInTransaction, nil)
	return nil
}

// complete begins CommitTransaction or AbortTransaction.
func (t *transaction) complete(call string, commit bool) (*operation, *Error) {
	o, err := t.resume(call)
	if o != nil || err != nil {
		return o, err
	}
	need := txnInTransaction
	if !commit && t.state == txnAbortableError {
		need = txnAbortableError
	}
	if err := t.needs(call, need); err != nil {
		return nil, err
	}
	t.pending = newOperation(call)
	t.startEnding(commit)
	return t.pending, nil
}

// startEnding begins to end the transaction, which takes no more records. Open batches are sent at once if it
// commits; on an abort dropUnsent gives them up.
func (t *transaction) startEnding(commit bool) {
	if t.commit = commit; commit {
		t.enter(txnCommitting, nil)
		t.s.acc.markFlush()
		return
	}
	t.enter(txnAborting, nil)
	t.toAdd = nil
	t.failOffsets(newError(Error{Kind: ErrTransactionAborted, Reason: t.abortedBy()}))
}

// abortable notes that the transaction can only be aborted, because of err, and ends the pending call.
func (t *transaction) abortable(err *Error) {
	if own := t.makeAbortable(err); own != nil {
		t.pending.end(t.unlessOver(own))
	}
}

// makeAbortable makes the transaction abortable and returns the error to report. It returns nil if the state does
// not allow that: the transaction is abortable or being aborted already, or the producer has failed.
func (t *transaction) makeAbortable(err *Error) *Error {
	if !t.state.mayBecome(txnAbortableError) || t.state == txnAbortableError {
		return nil
	}
	if !err.Abortable() {
		own := *err
		own.Class = ErrAbortable
		err = &own
	}
	if err.Kind != ErrForceClosed { // a Close logs what it gave up, and the application can't abort after it
		t.s.logger.Warn("transaction has to be aborted", "transactional_id", t.id, "err", err)
	}
	t.enter(txnAbortableError, err)
	t.toAdd = nil
	t.failOffsets(err)
	return err
}

// becomeFatal notes that the sender can't go on because of err.
func (t *transaction) becomeFatal(err *Error) {
	if t.state == txnFatalError {
		return
	}
	t.state, t.err, t.woken = txnFatalError, err, true
	t.letIn()
	t.stop(err)
	t.toAdd, t.request, t.finding = nil, nil, nil
}

// unlessOver returns err, or nil if the end of the transaction was acknowledged already: the error then
// belongs to the next call.
func (t *transaction) unlessOver(err *Error) *Error {
	if t.concluded {
		return nil
	}
	return err
}

// note keeps the error that makes a request be sent again, for calls that stop waiting for it. A nil err
// says that the request worked.
func (t *transaction) note(r *txnRequest, node int32, err error) {
	if err == nil {
		t.doubt.Store(nil)
		return
	}
	e := nodeError(node, Error{Op: r.kind.String(), Reason: r.onBehalfOf()})
	if e.Code, _ = errors.AsType[protocol.ErrorCode](err); e.Code == protocol.None {
		e.Cause = err
	}
	t.doubt.Store(e)
}

// whyNotYet returns the error because of which the request in hand has to be sent again, nil if there is
// none. It may be called from any goroutine.
func (t *transaction) whyNotYet() error { return orNil(t.doubt.Load()) }

// unanswered returns an error that names the request on the wire, nil if none is.
func (t *transaction) unanswered() error {
	if t.out == nil {
		return nil
	}
	return newError(Error{Op: t.out.kind.String(), Reason: "waiting for an answer"})
}

// hasMember reports whether the partition is part of the transaction as far as the coordinator knows, or may know. With version 2 each
// transaction has an epoch of its own, under which only its own records are numbered.
func (t *transaction) hasMember(q *partitionQueue) bool {
	if !t.version2 {
		return t.started && q.out.joined == t.number
	}
	return t.started && q.out.seq.id == t.s.idem.id && q.out.seq.epoch == t.s.idem.epoch
}

// inspect returns what there is to see of the transaction, but for its partitions.
func (t *transaction) inspect() *inspect.Transaction {
	x := &inspect.Transaction{ID: t.id, State: t.state.String(), Version: 1, Number: t.number,
		Offsets: len(t.offsets), Coordinator: t.coordinator}
	if t.version2 {
		x.Version = 2
	}
	if t.pending != nil && !isClosed(t.pending.done) {
		x.Call = t.pending.call
	}
	if t.out != nil {
		x.Waits = t.out.kind.String()
	}
	if t.err != nil {
		x.Error = withoutForeign(t.err)
	}
	return x
}

// sends notes that a Produce request is about to leave.
func (t *transaction) sends(r *produceRequest) {
	r.transactionalID, r.version2 = &t.id, t.version2
	t.started = t.started || t.version2 // it adds its partitions itself
}

// completed notes that a batch was completed. If err is not nil the batch is not in the log, or not for sure,
// and a transaction that would still be committed becomes abortable.
func (t *transaction) completed(b *batch, err error) {
	t.woken = true
	if err == nil {
		return
	}
	if !t.version2 && b.attempts > 0 {
		t.bump = true // its sequences are a gap, or it may still arrive
	}
	if failed, ok := errors.AsType[*Error](err); ok && t.state.gathering() {
		t.abortable(failed)
	}
}

// sendFailed notes that a record did not get into a batch.
func (t *transaction) sendFailed(err *Error) {
	if t.state == txnInTransaction {
		t.abortable(err)
	}
}

// dropUnsent gives up the batches of a failing transaction that have not left. With version 1 those that
// left and wait to be sent again are settled first, because a copy could arrive late; with version 2 the
// next epoch keeps it out.
func (t *transaction) dropUnsent(now time.Time) {
	for _, b := range t.s.acc.unfinished() {
		if b.onWire() || b.decided() || b.numbered() && !t.version2 {
			continue
		}
		base := &Error{Kind: ErrTransactionAborted, Class: ErrAbortable, Reason: t.abortedBy()}
		if t.err != nil {
			base.Cause = t.err
		}
		t.s.giveUp(b, t.s.describe(b, base, now), now)
	}
}

// mayDrain reports whether a batch may leave now. If not, either the partition is being added, or the
// batch is about to be dropped.
func (t *transaction) mayDrain(q *partitionQueue, b *batch) bool {
	if t.state.failing() && !b.numbered() {
		return false
	}
	return t.version2 || t.joined(q)
}

// joined reports whether the partition belongs to the transaction. If not, it has the partition added,
// unless the transaction fails.
func (t *transaction) joined(q *partitionQueue) bool {
	if t.version2 || q.out.joined == t.number {
		return true
	}
	if q.out.joining != t.number && t.state.gathering() {
		q.out.joining, t.woken = t.number, true
		t.toAdd = append(t.toAdd, q)
	}
	return false
}
