package quill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// forgetIdle drops the states of topics that are not asked for any more.
func (s *sender) forgetIdle() {
	if len(s.refresh.idle) == 0 || s.txn != nil && !s.txn.mayForget() {
		return
	}
	var gone []*topicState
	for _, t := range s.refresh.idle {
		t.idle = false
		if s.refresh.topics[t.name] == t || t.forgotten || !t.forgetIfIdle() {
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
	s.acc.deleteTopics(gone)
	if len(gone) > 0 {
		s.refresh.board.poke() // wakes callers that wait for a dropped state, which is not asked for any more
	}
}

// wantAll asks for the metadata of all topics in use, as soon as a request for them may be sent.
func (r *refresher) wantAll() { r.all = true }

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

// anyConnected reports whether some node has a connection, even one that is too busy for another request now.
func (s *sender) anyConnected() bool {
	for n := range s.snapshot.Nodes() {
		if s.client.Connected(n.ID) {
			return true
		}
	}
	return false
}

// rebootstrap begins again with the bootstrap servers, because no known node can be reached (KIP-899), none
// has answered for too long, or the cluster asks for it (KIP-1102).
func (s *sender) rebootstrap(now time.Time) {
	s.bootstrapping = true
	s.refresh.trouble = time.Time{}
	s.client.Rebootstrap(now)
}

// finishMetadata handles a Metadata request that is back.
func (s *sender) finishMetadata(r *network.Request, now time.Time) {
	s.applyHints(now) // first, because they came before this answer and are about the topics as they were then
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
		s.refresh.wantAll() // some records still have no leader to go to; the back-off grows
		s.warnOfLeaderless(now)
	}
	s.forgetIdle()
}

// adopt makes next the sender's snapshot.
func (s *sender) adopt(next *metadata.Snapshot, now time.Time) {
	if next == s.snapshot && !s.bootstrapping || next.Empty() {
		return
	}
	s.snapshot, s.bootstrapping = next, false
	s.client.SetNodes(next.Nodes())
	s.lookAgain(now)
}

// applyHints adopts the leaders that produce answers named (KIP-951). It asks for the metadata of a topic whose
// leader can't be adopted: the node may be a new one without a known address, or the last metadata answer left the
// topic out.
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

// update translates a metadata answer.
//
// The update is always a partial one: topics that were asked for later are not in the answer, and a topic that a
// broker leaves out is not gone; for one that is, it answers UNKNOWN_TOPIC_OR_PARTITION. Topics that were not asked
// for are left out, because a partition takes several times its size in the answer.
func (r *refresher) update(a *metadataAsk, resp *message.MetadataResponse, version int16) metadata.Update {
	u := metadata.Update{Partial: true, IgnoreEpochs: version < 9}
	if resp.ClusterID != nil {
		u.ClusterID = *resp.ClusterID
	}
	if resp.ControllerID >= 0 {
		u.Controller = new(resp.ControllerID) // a copy, which keeps no answer in memory
	}
	u.Nodes = make([]metadata.Node, 0, len(resp.Brokers))
	for _, b := range r.believed(a.node, resp.Brokers) {
		u.Nodes = append(u.Nodes, nodeOf(b.NodeID, b.Host, b.Port, b.Rack))
	}
	asked := make(map[string]bool, len(a.topics))
	for _, t := range a.topics {
		asked[t.name] = true
	}
	for i := range resp.Topics {
		if t := &resp.Topics[i]; t.Name != nil && asked[*t.Name] {
			u.Topics = append(u.Topics, describedTopic(t))
		}
	}
	return u
}

// nodeOf returns a node as an answer describes it.
func nodeOf(id int32, host string, port int32, rack *string) metadata.Node {
	n := metadata.Node{ID: id, Host: host, Port: port}
	if rack != nil {
		n.Rack = *rack
	}
	return n
}

// believed returns the brokers of an answer, without those beyond the largest number that a cluster may have. It logs
// once that some were left out.
func (r *refresher) believed(node int32, brokers []message.MetadataResponseBroker) []message.MetadataResponseBroker {
	if len(brokers) <= message.MaxBrokers {
		return brokers
	}
	if !r.loggedTooMany {
		r.loggedTooMany = true
		r.logger.Error("a metadata answer names more brokers than any cluster has; "+
			"those beyond are ignored, and nothing is sent to partitions that they lead", "node", node, "brokers_used", message.MaxBrokers)
	}
	return brokers[:message.MaxBrokers]
}

// describedTopic translates a topic of an answer. One with more partitions than a topic may have gets an error:
// without some of them keys would go to other partitions.
func describedTopic(t *message.MetadataResponseTopic) metadata.Topic {
	topic := metadata.Topic{Name: *t.Name, ID: t.TopicID, Internal: t.IsInternal}
	switch {
	case t.ErrorCode != protocol.None:
		topic.Err = t.ErrorCode
		return topic
	case len(t.Partitions) > message.MaxTopicPartitions:
		topic.Err = errTooManyPartitions
		return topic
	}
	topic.Partitions = make([]metadata.Partition, 0, len(t.Partitions))
	for _, p := range t.Partitions {
		part := metadata.Partition{Index: p.PartitionIndex, Leader: p.LeaderID, LeaderEpoch: p.LeaderEpoch,
			Replicas: p.ReplicaNodes.List(), ISR: p.ISRNodes.List(), Offline: p.OfflineReplicas.List()}
		if p.ErrorCode != protocol.None {
			part.Err = p.ErrorCode
		}
		topic.Partitions = append(topic.Partitions, part)
	}
	return topic
}

// errTooManyPartitions is the fault of a topic that an answer gives more partitions than any topic of Kafka has.
var errTooManyPartitions = fmt.Errorf("the node's answer names more than %d partitions of the topic", message.MaxTopicPartitions)

// complain logs what is wrong with an answer: that its node belongs to another cluster than the one before,
// and parts that can't be used. It logs the latter at most once a second.
func (r *refresher) complain(old *metadata.Snapshot, u *metadata.Update, node int32, now time.Time) {
	if was := old.ClusterID(); was != "" && u.ClusterID != "" && u.ClusterID != was {
		r.logger.Log(context.Background(), r.clusterSpell.FailedForGood(now), "node belongs to another cluster", "node", node,
			"cluster_id", foreign.Plain(u.ClusterID), "was", foreign.Plain(was))
	}
	if now.Sub(r.loggedAt) < complaintEvery || !r.logger.Enabled(context.Background(), slog.LevelWarn) {
		return
	}
	if faults := u.Faults(); len(faults) > 0 {
		r.loggedAt = now
		r.logger.Warn("metadata answer has faults", "node", node, "err", foreign.Plain(errors.Join(faults...).Error()))
	}
}

const complaintEvery = time.Second
