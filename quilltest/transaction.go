package quilltest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// What a transaction coordinator does (Kafka: TransactionCoordinator, TransactionMetadata). A
// transactional id goes through these states; what is not in the table is INVALID_TXN_STATE:
//
//	            add       end                          init          markers written
//	Empty       Ongoing   an abort, version 2: Prepare Empty
//	Ongoing     Ongoing   Prepare                      Prepare
//	Prepare     wait      wait                         wait          Complete
//	Complete    Ongoing   the same end: done before    Empty
//	                      an abort, version 2: Prepare
//
// An init while the transaction is ongoing aborts it under a new epoch and says
// CONCURRENT_TRANSACTIONS, so that its client asks again; a time-out aborts in the same way. While
// markers are written everything else has to wait: CONCURRENT_TRANSACTIONS.
//
// With version 2 of the transaction protocol (KIP-890, EndTxn 5) each end raises the epoch, and its
// markers carry the new one: what comes late from the transaction before has an old epoch. A client
// that repeats an end whose answer was lost still has the old epoch, and gets the new one.
//
// The locks go partition or group → transactions. A batch joins its transaction while its partition
// is locked, and markers are written with that lock and not the other, so a batch is either before
// the marker or refused.

// A TransactionState is where a transactional id is in its life.
type TransactionState uint8

const (
	// TransactionEmpty: a producer has the id, and no transaction since.
	TransactionEmpty TransactionState = iota
	// TransactionOngoing: partitions or groups were added.
	TransactionOngoing
	// TransactionPreparingCommit: it will be committed, markers are being written.
	TransactionPreparingCommit
	// TransactionPreparingAbort: it will be aborted, markers are being written.
	TransactionPreparingAbort
	// TransactionCommitted: all markers are written, and nothing was added since.
	TransactionCommitted
	// TransactionAborted: all markers are written, and nothing was added since.
	TransactionAborted
)

var transactionStates = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort"}

// String returns Kafka's name of the state.
func (s TransactionState) String() string {
	if int(s) < len(transactionStates) {
		return transactionStates[s]
	}
	return fmt.Sprintf("TransactionState(%d)", s)
}

func (s TransactionState) preparing() bool {
	return s == TransactionPreparingCommit || s == TransactionPreparingAbort
}

// A Transaction is a look at a transactional id.
type Transaction struct {
	TransactionalID string
	State           TransactionState
	ProducerID      int64
	ProducerEpoch   int16
	// Timeout is what the producer asked for, Started when the transaction began; zero if none is
	// open.
	Timeout time.Duration
	Started time.Time
	// Partitions and Groups are those added and not yet marked.
	Partitions []TopicPartition
	Groups     []string
}

type producerID struct {
	id    int64
	epoch int16
}

var noProducer = producerID{protocol.NoProducerID, protocol.NoProducerEpoch}

// maxEpoch is the largest a client may have; one more is for fencing it.
const maxEpoch = math.MaxInt16 - 1

// transactions holds all transactional ids of the cluster.
type transactions struct {
	ids *producerIDs // set by NewCluster, read-only after
	// version2 says that what the coordinator itself aborts is aborted as in version 2.
	version2 bool
	// expire is called on a goroutine of its own when a transaction's time is up.
	expire func(id string, number int64)

	mu sync.Mutex // held for memory work only; may be taken inside a partition's and a group's
	// +checklocks:mu
	byID map[string]*transaction
}

// A transaction is what the coordinator knows of a transactional id. It is guarded by
// transactions.mu.
type transaction struct {
	state    TransactionState
	producer producerID
	// previous is the producer id before the last change of state, lastEpoch the epoch before the
	// last bump that this producer asked for: they distinguish a repeated request from a fenced one.
	previous  int64
	lastEpoch int16
	// next is the producer id after the present transaction, if its epochs are used up; else -1.
	next    int64
	timeout time.Duration
	started time.Time
	timer   *time.Timer // runs while ongoing
	number  int64       // of the transaction, from 1

	partitions map[TopicPartition]*partition
	groups     map[string]bool

	due     bool // markers may be written
	marking bool // a goroutine writes them
	again   bool // … and shall look once more
}

// initialize gives a transactional id to a producer (InitProducerId). known is what the producer
// has by its own account (KIP-360). ended says that a transaction was ended by this and waits for
// its markers.
func (t *transactions) initialize(id string, known producerID, timeout time.Duration) (p producerID, code protocol.ErrorCode, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.byID[id]
	if x == nil {
		x = &transaction{producer: producerID{t.ids.next(), protocol.NoProducerEpoch}, previous: -1, lastEpoch: -1, next: -1}
		if t.byID == nil {
			t.byID = make(map[string]*transaction)
		}
		t.byID[id] = x
	}
	switch {
	case known != noProducer && !x.mayBe(known):
		return noProducer, protocol.ProducerFenced, false
	case x.state.preparing():
		return noProducer, protocol.ConcurrentTransactions, false
	case x.state == TransactionOngoing:
		t.fenceLocked(x)
		return noProducer, protocol.ConcurrentTransactions, true
	}
	exhausted := x.producer.epoch >= maxEpoch && (known == noProducer || known.epoch == x.producer.epoch)
	before := x.producer
	switch {
	case exhausted:
		x.producer = producerID{id: t.ids.next()}
		x.lastEpoch = protocol.NoProducerEpoch
		if known != noProducer {
			x.lastEpoch = before.epoch
		}
	case known == noProducer, before.epoch == protocol.NoProducerEpoch:
		x.producer.epoch++
		x.lastEpoch = protocol.NoProducerEpoch
	case known.epoch == before.epoch:
		x.producer.epoch++
		x.lastEpoch = before.epoch
	case known.epoch != x.lastEpoch: // equal: the answer got lost, and this is the same request again
		return noProducer, protocol.ProducerFenced, false
	}
	x.state, x.previous, x.timeout = TransactionEmpty, before.id, timeout
	return x.producer, protocol.None, false
}

// mayBe says whether a producer's own account of its id can be true; its epoch is looked at later.
func (x *transaction) mayBe(known producerID) bool {
	return x.producer.epoch == protocol.NoProducerEpoch || known.id == x.producer.id ||
		known.id == x.previous && known.epoch >= maxEpoch
}

// fenceLocked ends an ongoing transaction without asking its producer, who has an old epoch then.
//
// +checklocks:t.mu
func (t *transactions) fenceLocked(x *transaction) {
	if t.version2 {
		t.prepareLocked(x, TransactionPreparingAbort, true)
		return
	}
	x.producer.epoch++
	x.lastEpoch = protocol.NoProducerEpoch
	t.prepareLocked(x, TransactionPreparingAbort, false)
}

// prepareLocked decides a transaction's outcome.
//
// +checklocks:t.mu
func (t *transactions) prepareLocked(x *transaction, to TransactionState, bump bool) {
	if bump {
		if x.producer.epoch >= maxEpoch {
			x.next = t.ids.next()
		}
		x.lastEpoch = x.producer.epoch
		x.producer.epoch++
	}
	if x.timer != nil {
		x.timer.Stop()
		x.timer = nil
	}
	x.state, x.previous, x.due = to, x.producer.id, false
}

// findLocked returns the transaction of a producer that has its id and epoch.
//
// +checklocks:t.mu
func (t *transactions) findLocked(id string, p producerID) (*transaction, protocol.ErrorCode) {
	x := t.byID[id]
	switch {
	case id == "":
		return nil, protocol.InvalidRequest
	case x == nil, x.producer.id != p.id:
		return nil, protocol.InvalidProducerIDMapping
	case x.producer.epoch != p.epoch:
		return nil, protocol.ProducerFenced
	case x.state.preparing():
		return nil, protocol.ConcurrentTransactions
	}
	return x, protocol.None
}

// A member is what belongs to a transaction: a partition or a group.
type member struct {
	partition *partition
	group     string
}

// add makes partitions or groups part of the producer's transaction, and begins it if there is none
// (AddPartitionsToTxn, AddOffsetsToTxn; in version 2 also Produce and TxnOffsetCommit).
func (t *transactions) add(id string, p producerID, members ...member) protocol.ErrorCode {
	t.mu.Lock()
	defer t.mu.Unlock()
	x, code := t.findLocked(id, p)
	if code != protocol.None {
		return code
	}
	if x.state != TransactionOngoing {
		x.state, x.previous, x.started = TransactionOngoing, x.producer.id, time.Now()
		x.partitions, x.groups = make(map[TopicPartition]*partition), make(map[string]bool)
		x.number++
		number := x.number
		x.timer = time.AfterFunc(x.timeout, func() { t.expire(id, number) })
	}
	for _, m := range members {
		if m.partition != nil {
			x.partitions[TopicPartition{m.partition.topic.name, m.partition.index}] = m.partition
		} else {
			x.groups[m.group] = true
		}
	}
	return protocol.None
}

// verify says whether a partition or group was added before (KIP-890, part 1).
func (t *transactions) verify(id string, p producerID, m member) protocol.ErrorCode {
	t.mu.Lock()
	defer t.mu.Unlock()
	x, code := t.findLocked(id, p)
	switch {
	case code != protocol.None:
		return code
	case x.state != TransactionOngoing,
		m.partition == nil && !x.groups[m.group],
		m.partition != nil && x.partitions[TopicPartition{m.partition.topic.name, m.partition.index}] != m.partition:
		return protocol.TransactionAbortable
	}
	return protocol.None
}

// end commits or aborts (EndTxn). It returns the producer's id and epoch from now on. ended says
// that the transaction waits for its markers.
func (t *transactions) end(id string, p producerID, commit, version2 bool) (now producerID, code protocol.ErrorCode, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.byID[id]
	to := TransactionPreparingAbort
	if commit {
		to = TransactionPreparingCommit
	}
	var accepted bool
	switch {
	case id == "":
		return noProducer, protocol.InvalidRequest, false
	case x == nil:
		return noProducer, protocol.InvalidProducerIDMapping, false
	case version2:
		accepted, code = x.mayEnd2(p, commit)
	default:
		accepted, code = x.mayEnd1(p, commit)
	}
	switch {
	case code != protocol.None:
		return noProducer, code, false
	case !accepted: // done before
		return x.producer, protocol.None, false
	}
	t.prepareLocked(x, to, version2)
	now = x.producer
	if x.next != protocol.NoProducerID {
		now = producerID{id: x.next}
	}
	return now, protocol.None, true
}

// mayEnd1 says whether a client of version 1 may end the transaction now. Neither that nor an error
// means that it was done before.
func (x *transaction) mayEnd1(p producerID, commit bool) (bool, protocol.ErrorCode) {
	switch {
	case p.id != x.producer.id:
		return false, protocol.InvalidProducerIDMapping
	case p.epoch != x.producer.epoch:
		return false, protocol.ProducerFenced
	}
	switch x.state {
	case TransactionOngoing:
		return true, protocol.None
	case TransactionPreparingCommit, TransactionPreparingAbort:
		if commit == (x.state == TransactionPreparingCommit) {
			return false, protocol.ConcurrentTransactions
		}
	case TransactionCommitted, TransactionAborted:
		if commit == (x.state == TransactionCommitted) {
			return false, protocol.None
		}
	}
	return false, protocol.InvalidTxnState
}

// mayEnd2 is mayEnd1 for version 2. There, a repeated request is known by the epoch before the
// bump, and an abort of nothing is allowed, since a client cannot know whether its records added a
// partition.
func (x *transaction) mayEnd2(p producerID, commit bool) (bool, protocol.ErrorCode) {
	rotated := p.id == x.previous && p.id != x.producer.id && p.epoch == maxEpoch && x.producer.epoch == 0
	repeated := rotated || p.id == x.producer.id && p.epoch+1 == x.producer.epoch
	current := p == x.producer
	switch {
	case p.id != x.producer.id && !rotated:
		return false, protocol.InvalidProducerIDMapping
	case !repeated && !current, repeated && (x.state == TransactionOngoing || x.state == TransactionEmpty), current && x.state.preparing():
		return false, protocol.ProducerFenced
	}
	switch x.state {
	case TransactionOngoing:
		return true, protocol.None
	case TransactionEmpty:
		if !commit {
			return true, protocol.None
		}
	case TransactionPreparingCommit, TransactionPreparingAbort:
		if commit == (x.state == TransactionPreparingCommit) {
			return false, protocol.ConcurrentTransactions
		}
	case TransactionCommitted, TransactionAborted:
		switch {
		case repeated && commit == (x.state == TransactionCommitted):
			return false, protocol.None
		case current && !commit:
			return true, protocol.None
		}
	}
	return false, protocol.InvalidTxnState
}

// Transaction returns what the coordinator knows of a transactional id. ok is false for one that no
// producer was initialized with.
func (c *Cluster) Transaction(transactionalID string) (x Transaction, ok bool) {
	t := &c.transactions
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.byID[transactionalID]
	if known == nil {
		return Transaction{}, false
	}
	return known.look(transactionalID), true
}

// Transactions returns what the coordinators know of all transactional ids, sorted by them.
func (c *Cluster) Transactions() []Transaction {
	t := &c.transactions
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Transaction, 0, len(t.byID))
	for id, x := range t.byID {
		all = append(all, x.look(id))
	}
	slices.SortFunc(all, func(a, b Transaction) int { return strings.Compare(a.TransactionalID, b.TransactionalID) })
	return all
}

func (x *transaction) look(id string) Transaction {
	look := Transaction{TransactionalID: id, State: x.state, ProducerID: x.producer.id, ProducerEpoch: x.producer.epoch, Timeout: x.timeout}
	if x.state == TransactionOngoing || x.state.preparing() {
		look.Started = x.started
	}
	for tp := range x.partitions {
		look.Partitions = append(look.Partitions, tp)
	}
	slices.SortFunc(look.Partitions, comparePartitions)
	for group := range x.groups {
		look.Groups = append(look.Groups, group)
	}
	slices.Sort(look.Groups)
	return look
}
