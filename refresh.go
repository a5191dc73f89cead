package quill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// refresher keeps the producer's picture of the cluster: it decides when to ask, whom, and for
// what, and puts the answer into the next snapshot. The sender alone uses it; others read the
// snapshot and wait on its board.
//
// It asks when a topic is first sent to (for that topic alone, KIP-526), when an answer or a lost
// connection says that a leader moved, and when the picture is metadata.max.age.ms old. One request
// is out at a time. After a failure, or an answer that changed nothing although change was hoped
// for, it waits retry.backoff.ms, growing.
type refresher struct {
	maxAge, maxIdle  time.Duration
	rebootstrapAfter time.Duration // 0: never
	backoff          backoff.Backoff
	random           func() float64
	board            *board
	topics           map[string]*topicState // asked for and not idle
	unknown          map[string]*topicState // of these, the ones without metadata yet
	idle             []*topicState          // not asked for any more, to be forgotten
	all              bool                   // a refresh of all topics is wanted
	inFlight         bool
	failures         int       // requests without progress in a row
	refreshedAt      time.Time // last full refresh that worked
	trouble          time.Time // since when no refresh worked although wanted; zero: no trouble
	notBefore        time.Time
	asked            []*topicState // what the request in flight is for; nil: all
	logger           *slog.Logger
	toldAt           time.Time // when the log was last told of faults in an answer
}

// board is where waiting callers see metadata arrive. Each post closes the channel of the one before.
type board struct {
	mu sync.Mutex
	// +checklocks:mu
	snapshot *metadata.Snapshot
	// +checklocks:mu
	changed chan struct{}
	// +checklocks:mu
	lastErr error // why the last refresh failed; nil if it worked
}

func newBoard() *board {
	return &board{snapshot: new(metadata.Snapshot), changed: make(chan struct{})}
}

// news is what the board shows at one moment.
type news struct {
	snapshot *metadata.Snapshot
	lastErr  error
	changed  <-chan struct{} // closed when there is something newer
}

func (o *board) look() news {
	o.mu.Lock()
	defer o.mu.Unlock()
	return news{o.snapshot, o.lastErr, o.changed}
}

// post shows a new state to those who wait.
func (o *board) post(s *metadata.Snapshot, err error) {
	o.mu.Lock()
	old := o.changed
	o.snapshot, o.lastErr, o.changed = s, err, make(chan struct{})
	o.mu.Unlock()
	close(old)
}

// note keeps why nobody can be asked, for those whose wait ends.
func (o *board) note(err error) {
	if err == nil {
		return
	}
	o.mu.Lock()
	o.lastErr = err
	o.mu.Unlock()
}

// poke wakes those who wait, without news about the cluster.
func (o *board) poke() {
	o.mu.Lock()
	old := o.changed
	o.changed = make(chan struct{})
	o.mu.Unlock()
	close(old)
}

func newRefresher(s *settings, o *board, random func() float64) *refresher {
	r := &refresher{
		maxAge: s.metadataMaxAge, maxIdle: s.metadataMaxIdle, board: o, random: random, logger: s.logger,
		backoff: backoff.New(s.retryBackoff, s.retryBackoffMax),
		topics:  map[string]*topicState{}, unknown: map[string]*topicState{},
	}
	if s.rebootstrap {
		r.rebootstrapAfter = s.rebootstrapTrigger
	}
	return r
}

// want adds a topic that somebody waits for.
func (r *refresher) want(t *topicState, now time.Time) {
	if t.forgotten {
		return // the caller will notice
	}
	t.lastUsed = now
	r.topics[t.name] = t
	if info := t.info.Load(); info == nil || info.Err != nil {
		r.unknown[t.name] = t
	} else {
		r.all = true // known, but the caller needs a fresh look (a partition that is not there)
	}
}

// due is when the next request is wanted; ok is false when none is in sight (one is in flight).
func (r *refresher) due() (at time.Time, ok bool) {
	if r.inFlight {
		return time.Time{}, false
	}
	switch {
	case r.all || len(r.unknown) > 0:
		return r.notBefore, true
	case len(r.topics) > 0:
		return maxTime(r.refreshedAt.Add(r.maxAge), r.notBefore), true
	}
	return time.Time{}, false
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// request makes the Metadata request that is due: for the topics still unknown, or for all.
func (r *refresher) request(now time.Time) *network.Request {
	req := &message.MetadataRequest{}
	req.Reset()
	req.AllowAutoTopicCreation = true
	r.asked = nil
	full := r.all || len(r.unknown) == 0 || len(r.unknown) == len(r.topics)
	from := r.unknown
	if full {
		r.expire(now)
		from = r.topics
	}
	req.Topics = make([]message.MetadataRequestTopic, 0, len(from))
	for name, t := range from {
		var topic message.MetadataRequestTopic
		topic.Reset()
		topic.Name = &name
		req.Topics = append(req.Topics, topic)
		if !full {
			r.asked = append(r.asked, t)
		}
	}
	r.inFlight = true
	if full {
		r.all = false
	}
	return &network.Request{Exchange: &network.Message{Request: req, Response: &message.MetadataResponse{}}, Tag: tagMetadata}
}

// expire forgets the topics that nothing was sent to for metadata.max.idle.ms.
func (r *refresher) expire(now time.Time) {
	for name, t := range r.topics {
		if t.used.Swap(false) {
			t.lastUsed = now
		}
		if _, waiting := r.unknown[name]; !waiting && now.Sub(t.lastUsed) >= r.maxIdle {
			delete(r.topics, name)
			t.setInfo(nil)
			r.idle = append(r.idle, t)
		}
	}
}

// failed notes that a request brought nothing.
func (r *refresher) failed(err error, now time.Time) {
	r.inFlight = false
	if r.asked == nil {
		r.all = true
	}
	if r.trouble.IsZero() {
		r.trouble = now
	}
	r.pause(now)
	r.board.post(r.board.look().snapshot, err)
}

func (r *refresher) pause(now time.Time) {
	r.notBefore = now.Add(r.backoff.Next(r.failures, r.random))
	r.failures++
}

// answered takes an answer in. changed lists the topics whose metadata are new; rebootstrap says
// that the cluster asks to begin again with the bootstrap servers (KIP-1102).
func (r *refresher) answered(req *network.Request, now time.Time) (snapshot *metadata.Snapshot, rebootstrap bool) {
	resp := req.Exchange.(*network.Message).Response.(*message.MetadataResponse)
	old := r.board.look().snapshot
	if resp.ErrorCode != protocol.None {
		r.failed(resp.ErrorCode, now)
		return old, resp.ErrorCode == protocol.RebootstrapRequired
	}
	full := r.asked == nil
	update := r.update(resp, req.Version, !full)
	r.complain(old, &update, req.Node, now)
	if !update.HasNodes() {
		r.failed(errNoNodes, now)
		return old, false
	}
	next := old.Merge(update, func(name string) bool { return r.topics[name] != nil })
	r.inFlight, r.trouble = false, time.Time{}
	if full || r.refreshedAt.IsZero() {
		r.refreshedAt = now
	}
	pending := false
	for name, t := range r.topics {
		if full || slices.Contains(r.asked, t) {
			t.looks.Add(1)
		}
		info, ok := next.Topic(name)
		switch {
		case ok && info.Err == nil:
			delete(r.unknown, name)
			t.setInfo(info)
		case ok && !retriableTopicError(info.Err):
			delete(r.unknown, name) // whoever waits is told; nobody else asks
			delete(r.topics, name)
			t.setInfo(info)
			r.idle = append(r.idle, t)
		default:
			if ok {
				t.setInfo(info)
			}
			if now.Sub(t.lastUsed) >= patience && !t.busy() {
				delete(r.unknown, name) // who asked has gone; the next sender asks anew
				delete(r.topics, name)
				r.idle = append(r.idle, t)
				continue
			}
			if t.info.Load() == nil || t.info.Load().Err != nil {
				r.unknown[name] = t
			}
			pending = true
		}
	}
	again := now.Sub(r.notBefore) < calm
	if pending || next == old && again {
		r.pause(now) // asked for soon after the last, and nothing new
	} else {
		r.failures, r.notBefore = 0, now.Add(r.backoff.Next(0, r.random))
		if next != old {
			r.notBefore = now
		}
	}
	r.board.post(next, nil)
	return next, false
}

// update translates the answer.
func (r *refresher) update(resp *message.MetadataResponse, version int16, partial bool) metadata.Update {
	u := metadata.Update{Partial: partial, IgnoreEpochs: version < 9}
	if resp.ClusterID != nil {
		u.ClusterID = *resp.ClusterID
	}
	for _, b := range resp.Brokers {
		n := metadata.Node{ID: b.NodeID, Host: b.Host, Port: b.Port}
		if b.Rack != nil {
			n.Rack = *b.Rack
		}
		u.Nodes = append(u.Nodes, n)
	}
	for _, t := range resp.Topics {
		if t.Name == nil {
			continue
		}
		topic := metadata.Topic{Name: *t.Name, ID: t.TopicID, Internal: t.IsInternal}
		if t.ErrorCode != protocol.None {
			topic.Err = t.ErrorCode
		}
		for _, p := range t.Partitions {
			part := metadata.Partition{Index: p.PartitionIndex, Leader: p.LeaderID, LeaderEpoch: p.LeaderEpoch,
				Replicas: p.ReplicaNodes, ISR: p.ISRNodes, Offline: p.OfflineReplicas}
			if p.ErrorCode != protocol.None {
				part.Err = p.ErrorCode
			}
			topic.Partitions = append(topic.Partitions, part)
		}
		u.Topics = append(u.Topics, topic)
	}
	return u
}

// complain tells the log what is odd about an answer: a node that belongs to another cluster than the
// one before, and what can't be used. The latter is told at most once a second.
func (r *refresher) complain(old *metadata.Snapshot, u *metadata.Update, node int32, now time.Time) {
	if was := old.ClusterID(); was != "" && u.ClusterID != "" && u.ClusterID != was {
		r.logger.Warn("node belongs to another cluster", "node", node, "cluster_id", clean(u.ClusterID), "was", clean(was))
	}
	if now.Sub(r.toldAt) < complaintEvery || !r.logger.Enabled(context.Background(), slog.LevelWarn) {
		return
	}
	if faults := u.Faults(); len(faults) > 0 {
		r.toldAt = now
		r.logger.Warn("metadata answer has faults", "node", node, "err", clean(errors.Join(faults...).Error()))
	}
}

const complaintEvery = time.Second

// calm is how long nobody asks until equivalent answers are not seen as a series any more.
const calm = 5 * time.Second

// stuck reports whether no refresh worked for metadata.recovery.rebootstrap.trigger.ms.
func (r *refresher) stuck(now time.Time) bool {
	return r.rebootstrapAfter > 0 && !r.trouble.IsZero() && now.Sub(r.trouble) >= r.rebootstrapAfter
}

// patience is how long a topic that does not exist is asked for after the last sender waited for it.
const patience = 10 * time.Second

var errNoNodes = errors.New("metadata answer names no usable node")

// retriableTopicError reports whether a topic's error may pass by itself.
func retriableTopicError(err error) bool {
	if code, ok := errors.AsType[protocol.ErrorCode](err); ok {
		return code.Retriable()
	}
	return true // a malformed answer
}

// topicError is the failure of a send to a topic whose metadata say err.
func topicError(topic string, err error, elapsed time.Duration) *Error {
	e := &Error{Op: "send", Topic: topic, Partition: -1, Elapsed: elapsed, Node: -1}
	if code, ok := errors.AsType[protocol.ErrorCode](err); ok {
		e.Code = code
	} else {
		e.Cause = err
	}
	return e
}

// metadataTimeout is the failure of a send that waited for metadata in vain.
func metadataTimeout(topic string, waited time.Duration, cause error) *Error {
	return &Error{Op: "send", Kind: ErrTimeout, Topic: topic, Partition: -1, Node: -1, Elapsed: waited, Cause: cause,
		Reason: fmt.Sprintf("topic not present in metadata after %v (max.block.ms)", waited)}
}
