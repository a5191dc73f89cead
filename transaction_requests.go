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

// Requests of a transaction to its coordinators, one at a time: next says which is due, step sends it,
// and finish, in transaction_answers.go, handles the answer.

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

// joins reports whether the request makes partitions or a group part of the transaction. The producer has
// to know whether it did even if the transaction fails: the coordinator refuses to abort a transaction that
// nothing joined, and one that is not aborted stays open.
func (k txnRequestKind) joins() bool { return k == askAddPartitions || k == askAddOffsets }

// txnRequest is one request to a coordinator, with all its attempts.
type txnRequest struct {
	kind       txnRequestKind
	partitions []*partitionQueue // of askAddPartitions
	offsets    *offsetsCall      // of askAddOffsets and askCommitOffsets
	topics     []offsetTopic     // of askCommitOffsets, as the last attempt named them
	group      string            // of askFind; "": the transactional id's
	commit     bool              // of askEnd

	attempts int
	retryAt  time.Time
	spell    backoff.Spell // of attempts that failed, for the log
	lost     bool          // an attempt got no answer, or one that leaves open whether it was or will be carried out
}

// next returns the kind of the request that is due, askNothing while something else has to happen first.
// settled says that all batches are completed and off the wire.
//
// Java: TransactionManager.nextRequest.
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

// wants reports whether a request that is to be sent again is still needed.
func (t *transaction) wants(r *txnRequest) bool {
	switch r.kind {
	case askInit:
		return t.state == txnInitializing
	case askEnd:
		return t.state.completing()
	}
	return t.state.gathering() || t.state.failing() && r.kind.joins() && r.lost
}

// step sends the request that is due. It returns when to call it again; the zero time means that an event
// will wake the sender.
func (t *transaction) step(now time.Time) time.Time {
	t.woken = false
	if t.s.aborting != nil {
		return time.Time{}
	}
	if t.s.closing && !t.closing(now) { // first, so that nothing more of a transaction that Close aborts is sent
		return earliest(t.closeBy, t.advance(now))
	}
	return t.advance(now)
}

// advance does the work of step while the producer goes on.
func (t *transaction) advance(now time.Time) time.Time {
	if t.state.failing() {
		t.dropUnsent(now)
	}
	if t.out != nil {
		return time.Time{} // its answer wakes the sender
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
		return time.Time{} // the metadata answer wakes the sender
	}
	return t.send(t.request, now)
}

// due makes the request that is due. It returns nil if none is.
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

// settled reports whether every batch is completed and off the wire.
func (t *transaction) settled() bool { return t.s.onWire == 0 && t.s.acc.count() == 0 }

// send sends r to its coordinator, or finds the coordinator first. It returns when to try again, zero if an
// event will wake the sender.
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
		if network.Lasting(client.LastError(node)) {
			t.endWaits(client.LastError(node))
		}
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
		t.started = true // version 2 adds the group with this request
	}
	t.post(node, r, t.exchange(r, node), now)
	return time.Time{}
}

// neededAPIs are those that every transaction needs of its coordinator.
var neededAPIs = [...]protocol.APIKey{protocol.InitProducerID, protocol.AddPartitionsToTxn, protocol.EndTxn}

// missing returns an error if the coordinator does not serve a request that every transaction needs, so that
// InitTransactions fails before records are sent that can't be committed.
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
	return newError(Error{Op: r.kind.String(), Kind: ErrUnsupportedVersion, Class: ErrFatal,
		Reason: fmt.Sprintf("node %d does not serve %s, which transactions need; Kafka has that since 0.11", node,
			strings.Join(names, " and "))})
}

// leavesOpen reports whether the request may have been or may yet be carried out although its answer is that
// error: the coordinator wrote it to its log, and then lost the log to another node, or too few replicas had it.
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

// forGroup reports whether the request goes to a group's coordinator.
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

// coordinatorOf returns the node that r goes to, -1 if that is not known.
func (t *transaction) coordinatorOf(r *txnRequest) int32 {
	if !r.kind.forGroup() {
		return t.coordinator
	}
	if t.group != r.offsets.group.GroupID {
		return -1
	}
	return t.groupNode
}

// forget drops the known coordinator of r, which has to be found again.
func (t *transaction) forget(r *txnRequest) {
	if r.kind.forGroup() {
		t.groupNode = -1
	} else {
		t.coordinator = -1
	}
}

// speaks2 reports whether the cluster has switched to version 2 of the protocol. While the coordinator is
// not connected it returns the version in use.
func (t *transaction) speaks2() bool {
	if !t.s.client.Connected(t.coordinator) {
		return t.version2
	}
	level, ok := t.s.client.Features(t.coordinator, "transaction.version")
	return ok && level >= 2
}

// exchange returns the message of a request.
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

// wanted returns the key type and key of a FindCoordinator: those of a group, or of the transactional id.
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

// groupByTopic returns partitions in the form of AddPartitionsToTxn.
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
