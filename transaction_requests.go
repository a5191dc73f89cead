package quill

import (
	"fmt"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// What a transaction asks its coordinators for, one request at a time: next says what is due, step
// sends it; finish, in transaction_answers.go, takes the answer in.

// txnRequestKind says which request it is.
type txnRequestKind uint8

const (
	askNothing txnRequestKind = iota
	askInit
	askAddPartitions
	askAddOffsets
	askCommitOffsets
	askEnd
	askFind // the coordinator of finding.group, or of the transactional id
)

var txnRequestNames = [...]string{"nothing", "get a producer id", "add partitions to the transaction", "add offsets to the transaction",
	"commit offsets in the transaction", "end the transaction", "find the coordinator"}

func (k txnRequestKind) String() string { return txnRequestNames[k] }

// joins: the request makes something part of the transaction. Whether it did has to be known even if
// the transaction fails: an abort of nothing is refused, one that is not asked for stays open.
func (k txnRequestKind) joins() bool { return k == askAddPartitions || k == askAddOffsets }

// txnRequest is one request to a coordinator, with all its attempts.
type txnRequest struct {
	kind       txnRequestKind
	partitions []*partitionQueue // of askAddPartitions
	offsets    *offsetsOrder     // of askAddOffsets and askCommitOffsets
	topics     []offsetTopic     // of askCommitOffsets, as the last attempt named them
	group      string            // of askFind; "": the transactional id's
	commit     bool              // of askEnd

	attempts int
	retryAt  time.Time
	spell    backoff.Spell // of attempts that did not do it, for the log
	lost     bool          // an attempt got no answer, or one that leaves open whether it was or will be carried out
}

// next is the request that is due; askNothing while something else has to happen first. settled says
// that all batches have their fate and are off the wire.
func (t *transaction) next(settled bool) txnRequestKind {
	switch {
	case t.state == txnInitializing:
		return askInit
	case t.state.gathering() && len(t.toAdd) > 0:
		return askAddPartitions
	case t.state.gathering() && len(t.offsets) > 0 && !t.version2 && !t.offsets[0].added:
		return askAddOffsets
	case t.state.gathering() && len(t.offsets) > 0:
		return askCommitOffsets
	case t.state.completing() && settled:
		return askEnd
	}
	return askNothing
}

// wants reports whether a request that is to be sent again still makes sense.
func (t *transaction) wants(r *txnRequest) bool {
	switch r.kind {
	case askInit:
		return t.state == txnInitializing
	case askEnd:
		return t.state.completing()
	}
	return t.state.gathering() || t.state.failing() && r.kind.joins() && r.lost
}

// step sends what is due. It returns when to look again; the zero time means that an event will tell.
func (t *transaction) step(now time.Time) time.Time {
	t.woken = false
	if t.s.aborting != nil {
		return time.Time{}
	}
	if t.s.closing && !t.closing(now) { // before anything more leaves
		return earliest(t.closeBy, t.advance(now))
	}
	return t.advance(now)
}

// advance is step, once it is known that the transaction goes on.
func (t *transaction) advance(now time.Time) time.Time {
	if t.state.failing() {
		t.dropUnsent(now)
	}
	if t.out != nil {
		return time.Time{} // its answer wakes us
	}
	if t.request != nil && !t.wants(t.request) {
		t.request, t.finding = nil, nil
	}
	if t.request == nil {
		t.request = t.due(now)
	}
	if t.request == nil {
		return time.Time{}
	}
	if t.s.snapshot.Empty() {
		t.s.refresh.wantAll()
		return time.Time{} // metadata wake us
	}
	return t.send(t.request, now)
}

// due makes the request that is due, if one is.
func (t *transaction) due(now time.Time) *txnRequest {
	kind := t.next(t.settled())
	if kind == askEnd && !t.started && !t.unsure {
		t.over(now) // Kafka never heard of the transaction
		kind = t.next(true)
	}
	r := &txnRequest{kind: kind}
	switch kind {
	case askNothing:
		return nil
	case askAddPartitions:
		r.partitions, t.toAdd = t.toAdd, nil
	case askAddOffsets, askCommitOffsets:
		r.offsets = t.offsets[0]
	case askEnd:
		r.commit = t.commit
		if !t.version2 && t.speaks2() {
			t.bump = true // the next transaction may be of version 2, under a new epoch
		}
	}
	return r
}

// settled reports whether every batch has its fate and is off the wire.
func (t *transaction) settled() bool { return t.s.onWire == 0 && t.s.acc.count() == 0 }

// send sends r to its coordinator, or finds that first.
func (t *transaction) send(r *txnRequest, now time.Time) time.Time {
	if r.retryAt.After(now) {
		return r.retryAt
	}
	node := t.coordinatorOf(r)
	if node < 0 {
		return t.find(r, now)
	}
	if _, known := t.s.snapshot.Node(node); !known {
		t.s.refresh.wantAll()
		t.forget(r)
		t.pause(r, now, t.backoff())
		return r.retryAt
	}
	client := t.s.client
	if !client.Ready(node, now) {
		at := client.CanRetryAt(node, now)
		if err := client.LastError(node); client.Connected(node) || err == nil || err == t.trouble {
			return at
		}
		t.note(r, node, client.LastError(node))
		t.s.refresh.wantAll() // its address may be old
		t.forget(r)
		return t.find(r, now)
	}
	if !r.kind.forGroup() {
		_, highest, ok := client.Versions(node, protocol.InitProducerID)
		t.canBump = ok && highest >= bumpVersion
	}
	if missing := t.missing(r, node); missing != nil {
		t.s.fatal(missing)
		return time.Time{}
	}
	if r.kind == askCommitOffsets && t.version2 {
		t.started = true // it adds the group itself
	}
	t.post(node, r, t.exchange(r, node), now)
	return time.Time{}
}

// neededAPIs are those that every transaction needs of its coordinator.
var neededAPIs = [...]protocol.APIKey{protocol.InitProducerID, protocol.AddPartitionsToTxn, protocol.EndTxn}

// missing is an error if the coordinator does not serve what every transaction needs: InitTransactions fails
// then, before records are sent that nobody can commit.
func (t *transaction) missing(r *txnRequest, node int32) *Error {
	if r.kind != askInit {
		return nil
	}
	var names []string
	for _, key := range neededAPIs {
		if _, _, ok := t.s.client.Versions(node, key); !ok {
			names = append(names, key.String())
		}
	}
	if names == nil {
		return nil
	}
	return &Error{Op: r.kind.String(), Kind: ErrUnsupportedVersion, Class: ErrFatal, Partition: -1, Node: -1,
		Reason: fmt.Sprintf("node %d does not serve %s, which transactions need; Kafka has that since 0.11", node, strings.Join(names, " and "))}
}

// leavesOpen reports whether an answer says only that the coordinator does not know what becomes of the
// request: it wrote it to its log, and then lost that to another node, or too few replicas had it.
func (k txnRequestKind) leavesOpen(code protocol.ErrorCode) bool {
	switch code {
	case protocol.NotCoordinator, protocol.CoordinatorNotAvailable, protocol.RequestTimedOut, protocol.NetworkException:
		return k == askEnd || k.joins()
	case protocol.ConcurrentTransactions:
		return k == askEnd
	}
	return false
}

// bumpVersion is the version of InitProducerId that raises the epoch of a producer that names it (KIP-360).
const bumpVersion = 3

// forGroup: the request goes to a group's coordinator.
func (k txnRequestKind) forGroup() bool { return k == askCommitOffsets }

// find asks some node for the coordinator that r needs.
func (t *transaction) find(r *txnRequest, now time.Time) time.Time {
	group := ""
	if r.kind.forGroup() {
		group = r.offsets.group.GroupID
	}
	if t.finding == nil || t.finding.group != group {
		t.finding = &txnRequest{kind: askFind, group: group}
	}
	f := t.finding
	if f.retryAt.After(now) {
		return f.retryAt
	}
	id, ok, retryAt := t.s.client.LeastLoaded(now)
	if !ok {
		if !t.s.anyConnected() {
			t.s.refresh.wantAll()
		}
		return retryAt
	}
	if !t.s.client.Ready(id, now) {
		return t.s.client.CanRetryAt(id, now)
	}
	t.post(id, f, t.exchange(f, id), now)
	return time.Time{}
}

func (t *transaction) post(node int32, r *txnRequest, x *network.Message, now time.Time) {
	t.out = r
	r.attempts++
	t.s.client.Send(node, &network.Request{Exchange: x, Tag: r}, now)
}

// coordinatorOf is the node that r goes to, -1 if that is not known.
func (t *transaction) coordinatorOf(r *txnRequest) int32 {
	if !r.kind.forGroup() {
		return t.coordinator
	}
	if t.group != r.offsets.group.GroupID {
		return -1
	}
	return t.groupNode
}

// forget notes that the coordinator of r is not, or no longer, where it was.
func (t *transaction) forget(r *txnRequest) {
	if r.kind.forGroup() {
		t.groupNode = -1
	} else {
		t.coordinator = -1
	}
}

// speaks2 reports whether the cluster has switched to version 2 of the protocol. While the coordinator
// can't be asked, nothing has changed.
func (t *transaction) speaks2() bool {
	if !t.s.client.Connected(t.coordinator) {
		return t.version2
	}
	level, ok := t.s.client.Features(t.coordinator, "transaction.version")
	return ok && level >= 2
}

// exchange writes a request down.
func (t *transaction) exchange(r *txnRequest, node int32) *network.Message {
	id, epoch := t.s.idem.id, t.s.idem.epoch
	switch r.kind {
	case askInit:
		req := &message.InitProducerIDRequest{}
		req.Reset()
		req.TransactionalID, req.TransactionTimeoutMs = &t.id, int32(t.s.cfg.transactionTimeout.Milliseconds())
		if t.s.idem.state == idReady && t.canBump {
			req.ProducerID, req.ProducerEpoch = id, epoch
		}
		return &network.Message{Request: req, Response: &message.InitProducerIDResponse{}}
	case askAddPartitions:
		req := &message.AddPartitionsToTxnRequest{}
		req.Reset()
		req.V3AndBelowTransactionalID, req.V3AndBelowProducerID, req.V3AndBelowProducerEpoch = t.id, id, epoch
		req.V3AndBelowTopics = groupByTopic(r.partitions)
		return &network.Message{Request: req, Response: &message.AddPartitionsToTxnResponse{}, Highest: addPartitionsVersion}
	case askAddOffsets:
		req := &message.AddOffsetsToTxnRequest{}
		req.Reset()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.GroupID = t.id, id, epoch, r.offsets.group.GroupID
		return &network.Message{Request: req, Response: &message.AddOffsetsToTxnResponse{}}
	case askCommitOffsets:
		return t.offsetCommit(r, node)
	case askEnd:
		req := &message.EndTxnRequest{}
		req.Reset()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Committed = t.id, id, epoch, r.commit
		x := &network.Message{Request: req, Response: &message.EndTxnResponse{}}
		if !t.version2 {
			x.Highest = endVersion1
		}
		return x
	}
	req := &message.FindCoordinatorRequest{}
	req.Reset()
	req.KeyType, req.Key = t.wanted(r)
	x := &network.Message{Request: req, Response: &message.FindCoordinatorResponse{}}
	if _, highest, ok := t.s.client.Versions(node, protocol.FindCoordinator); ok && highest >= findBatched {
		req.CoordinatorKeys, req.Key = []string{req.Key}, ""
	} else {
		x.Highest = findBatched - 1
	}
	return x
}

// wanted is whose coordinator a FindCoordinator asks for.
func (t *transaction) wanted(find *txnRequest) (keyType int8, key string) {
	if find.group != "" {
		return findGroup, find.group
	}
	return findTransaction, t.id
}

const (
	addPartitionsVersion = 3 // the highest for clients; those above are among brokers
	endVersion1          = 4 // the highest of version 1 of the protocol: 5 raises the epoch
	findBatched          = 4 // the first that takes many keys
	findGroup            = 0
	findTransaction      = 1
)

// groupByTopic lists partitions as AddPartitionsToTxn wants them.
func groupByTopic(queues []*partitionQueue) []message.AddPartitionsToTxnTopic {
	var topics []message.AddPartitionsToTxnTopic
	at := map[string]int{}
	for _, q := range queues {
		i, ok := at[q.topic.name]
		if !ok {
			i = len(topics)
			at[q.topic.name] = i
			topics = append(topics, message.AddPartitionsToTxnTopic{Name: q.topic.name})
		}
		topics[i].Partitions = append(topics[i].Partitions, q.index)
	}
	return topics
}
