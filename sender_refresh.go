package quill

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// refresher keeps the producer's picture of the cluster: it decides when to send a Metadata request, to
// which node and about which topics, and puts the answer into the next snapshot. Only the sender uses it;
// other goroutines read the snapshot and wait on its board.
//
// It asks in two ways. A topic without metadata is asked about by itself (KIP-526), at once when it is
// first sent to, and then with a back-off of its own, so that no topic waits because of another. A full
// request, about all topics in use, is made when an answer or a lost connection says that a leader moved,
// and when the picture is metadata.max.age.ms old. Full requests have a back-off too, which grows while
// answers bring no change although one was expected, and a rate limit, for when each answer brings changes.
//
// An answer counts for the topics that its request named, and not for others, which may have been wanted
// since. A topic that is wanted while a request is out is asked for at another node; if there is none, it is
// asked for with all others when that request is back. While all nodes are busy with Produce, a request that
// callers wait for goes over a connection of its own (network.Client.Soonest).
//
// Java: ProducerMetadata, and the MetadataUpdater of NetworkClient.
type refresher struct {
	maxAge, maxIdle  time.Duration
	gap              time.Duration // between full requests in the long run
	rebootstrap      bool          // go back to the bootstrap servers
	rebootstrapAfter time.Duration // how long no refresh may work before that; 0: at the first that fails
	backoff          backoff.Backoff
	random           func() float64
	onNodes          func(*metadata.Snapshot) // is called before a new snapshot is applied to the topics
	board            *board
	topics           map[string]*topicState // asked for and not idle
	unknown          map[string]*topicState // those of them that are to be asked about by themselves
	unknownAt        time.Time              // when the first of them is due; zero: none is
	idle             []*topicState          // not asked for any more, to be forgotten
	shelf            []*topicState          // not asked for any more, and not to be forgotten yet
	shelfAt          time.Time              // when the shelf was last cleared
	doubts           []*partitionQueue      // whose leaders keep answering that they are not the leader
	complaints       int                    // warnings about topics logged for the present answer
	all              bool                   // a full request is wanted
	allOut           bool                   // one is in flight
	failures         int                    // full requests without progress in a row
	notBefore        time.Time              // no full request is sent before
	paid             time.Time              // the full requests that were sent have used up the rate limit until then
	asking           []int32                // the nodes that have a request in flight
	number           int64                  // of the latest request
	sentAt           time.Time              // when it left
	refreshedAt      time.Time              // last full refresh that worked
	trouble          time.Time              // since when no refresh has worked although one was wanted; zero: no trouble
	logger           *slog.Logger
	spell            backoff.Spell // of requests that fail
	clusterSpell     backoff.Spell // of answers from another cluster
	loggedAt         time.Time     // when faults in an answer were last logged
	loggedTooMany    bool          // it was logged that brokers are ignored
}

// topicAsk is the refresher's account of the requests for one topic.
type topicAsk struct {
	out      int           // requests in flight that name the topic
	failures int           // answers in a row without usable metadata
	pause    time.Duration // the present back-off
	at       time.Time     // it is not asked for by itself before
}

// metadataAsk is the tag of a Metadata request and describes it.
type metadataAsk struct {
	full   bool // all topics in use
	topics []*topicState
	number int64
	node   int32
}

const (
	// askWindow is how long topics that are first sent to are collected while another request is out.
	askWindow = 4 * time.Millisecond
	// asksOut is how many requests may be out for that reason.
	asksOut = 4
	// quickAsks is how many full requests may follow each other without a gap.
	quickAsks = 2
)

func newRefresher(s *settings, o *board, onNodes func(*metadata.Snapshot), random func() float64) *refresher {
	r := &refresher{
		maxAge: s.metadataMaxAge, maxIdle: s.metadataMaxIdle, gap: s.retryBackoff, board: o,
		onNodes: onNodes, random: random, logger: s.logger,
		backoff: backoff.New(s.retryBackoff, s.retryBackoffMax),
		topics:  map[string]*topicState{}, unknown: map[string]*topicState{},
		rebootstrap: s.rebootstrap, rebootstrapAfter: s.rebootstrapTrigger,
	}
	return r
}

// want adds a topic that a caller waits for.
func (r *refresher) want(t *topicState, now time.Time) {
	if t.forgotten {
		return // the caller will notice
	}
	t.lastUsed = now
	r.topics[t.name] = t
	if info := t.info.Load(); info == nil || info.Err != nil {
		r.ask(t, now)
	} else {
		r.all = true // known, but the caller needs a fresh look (a partition that is not there)
	}
}

// ask has a request made for a topic by itself, when its back-off is over.
func (r *refresher) ask(t *topicState, now time.Time) {
	r.unknown[t.name] = t
	if t.ask.out > 0 {
		return // the answer decides when next
	}
	if at := backoff.Later(t.ask.at, now); r.unknownAt.IsZero() || at.Before(r.unknownAt) {
		r.unknownAt = at
	}
}

// due returns when the next request is wanted. ok is false if none is planned; an answer may change that.
func (r *refresher) due(now time.Time) (at time.Time, ok bool) {
	if at, ok = r.fullDue(); ok && !at.After(now) {
		return at, true
	}
	if one, some := r.topicsDue(); some && (!ok || one.Before(at)) {
		return one, true
	}
	return at, ok
}

// awaited reports whether records or callers wait for the request that is due. A request that is due only
// because the picture is metadata.max.age.ms old is not urgent.
func (r *refresher) awaited(now time.Time) bool {
	at, ok := r.topicsDue()
	return r.all || ok && !at.After(now)
}

// fullDue returns when the next full request is wanted. ok is false if none is.
func (r *refresher) fullDue() (at time.Time, ok bool) {
	if r.allOut || !r.all && len(r.topics) == 0 {
		return time.Time{}, false
	}
	at = r.nextFullAt()
	if !r.all {
		if r.refreshedAt.IsZero() {
			return time.Time{}, false // the first topic is being asked about
		}
		at = backoff.Later(at, r.refreshedAt.Add(r.maxAge))
	}
	return at, true
}

// nextFullAt returns when the next full request may be sent.
func (r *refresher) nextFullAt() time.Time {
	return backoff.Later(r.notBefore, r.paid.Add(-quickAsks*r.gap))
}

// topicsDue returns when the next request for topics without metadata is wanted. ok is false if none is, or
// if enough requests are out.
func (r *refresher) topicsDue() (at time.Time, ok bool) {
	if r.unknownAt.IsZero() || len(r.asking) >= asksOut {
		return time.Time{}, false
	}
	if at = r.unknownAt; len(r.asking) > 0 {
		at = backoff.Later(at, r.sentAt.Add(askWindow))
	}
	return at, true
}

// request makes the Metadata request that is due, for that node: a full one, or one for topics without metadata.
func (r *refresher) request(node int32, now time.Time) *network.Request {
	r.number++
	a := &metadataAsk{number: r.number, node: node}
	at, ok := r.fullDue()
	if a.full = ok && !at.After(now); a.full {
		r.expire(now)
		r.all, r.allOut = false, true
		r.paid = backoff.Later(r.paid, now).Add(r.gap)
		a.topics = slices.AppendSeq(make([]*topicState, 0, len(r.topics)), maps.Values(r.topics))
	} else {
		for _, t := range r.unknown {
			// A topic that is due soon is included, so that many topics don't need many requests.
			if t.ask.out == 0 && !t.ask.at.Add(-t.ask.pause/2).After(now) {
				a.topics = append(a.topics, t)
			}
		}
	}
	slices.SortFunc(a.topics, byName) // maps have no order
	req := &message.MetadataRequest{}
	req.Reset()
	req.AllowAutoTopicCreation = true
	req.Topics = make([]message.MetadataRequestTopic, len(a.topics))
	for i, t := range a.topics {
		req.Topics[i].Reset()
		req.Topics[i].Name = &t.name
		t.ask.out++
		t.asks.Store(a.number)
	}
	r.asking = append(r.asking, node)
	r.sentAt = now
	r.schedule(now)
	return &network.Request{Exchange: &network.Message{Request: req, Response: &message.MetadataResponse{}}, Tag: a}
}

// schedule sets when the next topic without metadata is due.
func (r *refresher) schedule(now time.Time) {
	r.unknownAt = time.Time{}
	for _, t := range r.unknown {
		if at := backoff.Later(t.ask.at, now); t.ask.out == 0 && (r.unknownAt.IsZero() || at.Before(r.unknownAt)) {
			r.unknownAt = at
		}
	}
}

// expire stops asking for the topics that nothing was sent to for metadata.max.idle.ms.
func (r *refresher) expire(now time.Time) {
	for name, t := range r.topics {
		if t.used.Swap(false) {
			t.lastUsed = now
		}
		if _, waiting := r.unknown[name]; !waiting && now.Sub(t.lastUsed) >= r.maxIdle {
			delete(r.topics, name)
			t.setInfo(nil)
			r.noteIdle(t)
		}
	}
}

// failed handles a request that had no answer, or one that can't be used.
func (r *refresher) failed(a *metadataAsk, err error, now time.Time) {
	r.back(a)
	if a.full {
		r.all = true
		r.pause(now)
	}
	for _, t := range a.topics {
		if r.unknown[t.name] == t {
			r.pauseTopic(t, now)
		}
	}
	if r.trouble.IsZero() {
		r.trouble = now
	}
	level := r.spell.Failed(now, now)
	r.logger.Log(context.Background(), level, "a metadata request brought nothing, it is repeated", "node", a.node,
		"elapsed", now.Sub(r.spell.Since()), "err", err)
	r.schedule(now)
	r.board.post(r.board.look().snapshot, err)
}

// back notes that a request is not in flight any more.
func (r *refresher) back(a *metadataAsk) {
	if i := slices.Index(r.asking, a.node); i >= 0 {
		r.asking = slices.Delete(r.asking, i, i+1)
	}
	if a.full {
		r.allOut = false
	}
	for _, t := range a.topics {
		t.ask.out--
	}
}

// pause puts the next full request off.
func (r *refresher) pause(now time.Time) {
	r.notBefore = now.Add(r.backoff.Next(r.failures, r.random))
	r.failures++
}

// endBackoff ends the back-off of full requests, because metadata is wanted for a new reason and the pauses belong to
// earlier ones. The rate limit stays.
func (r *refresher) endBackoff() { r.failures, r.notBefore = 0, time.Time{} }

// askNow has a full request made for a caller that waits for an answer from now on. It returns the number of the last request that
// does not count for that.
func (r *refresher) askNow() int64 {
	r.endBackoff()
	r.wantAll()
	return r.number
}

// pauseTopic puts the next request for one topic off.
func (r *refresher) pauseTopic(t *topicState, now time.Time) {
	t.ask.pause = r.backoff.Next(t.ask.failures, r.random)
	t.ask.at = now.Add(t.ask.pause)
	t.ask.failures++
}

// answered handles an answer and returns the snapshot after it. rebootstrap is true if the cluster asks the
// client to begin again with the bootstrap servers (KIP-1102).
func (r *refresher) answered(req *network.Request, now time.Time) (snapshot *metadata.Snapshot, rebootstrap bool) {
	a := req.Tag.(*metadataAsk)
	resp := req.Exchange.(*network.Message).Response.(*message.MetadataResponse)
	old := r.board.look().snapshot
	if resp.ErrorCode != protocol.None {
		r.failed(a, resp.ErrorCode, now)
		return old, resp.ErrorCode == protocol.RebootstrapRequired
	}
	update := r.update(a, resp, req.Version)
	r.complain(old, &update, req.Node, now)
	if !update.HasNodes() {
		r.failed(a, errNoNodes, now)
		return old, false
	}
	next := r.doubted(old).Merge(update, func(name string) bool { return r.topics[name] != nil })
	r.onNodes(next)
	r.back(a)
	r.trouble = time.Time{}
	r.spell.Ended()
	if a.full || r.refreshedAt.IsZero() { // an answer about some topics says nothing of how old the others are
		r.refreshedAt = now
	}
	named := make(map[string]bool, len(update.Topics))
	for i := range update.Topics {
		named[update.Topics[i].Name] = true
	}
	r.complaints = 0
	for _, t := range a.topics {
		if r.topics[t.name] != t || t.forgotten {
			continue // it was forgotten meanwhile
		}
		info, _ := next.Topic(t.name)
		if !named[t.name] {
			info = nil
		}
		t.looks.Store(max(t.looks.Load(), a.number))
		r.looked(t, info, now)
	}
	if a.full {
		r.spaceOut(next != old, now)
		r.board.setNextFull(r.nextFullAt())
	}
	r.clearShelf(now)
	r.schedule(now)
	r.board.setAnswered(a.number, r.refreshedAt)
	r.board.post(next, nil)
	return next, false
}

// doubted returns the snapshot without the epochs of doubted leaders, so that the present answer counts even if its
// epoch is older.
func (r *refresher) doubted(s *metadata.Snapshot) *metadata.Snapshot {
	s = s.Doubt(func(yield func(topic string, partition int32) bool) {
		for _, q := range r.doubts {
			if !yield(q.topic.name, q.index) {
				return
			}
		}
	})
	clear(r.doubts)
	r.doubts = r.doubts[:0]
	return s
}

// looked applies an answer to a topic that its request named. info is nil if the answer left the topic out.
func (r *refresher) looked(t *topicState, info *metadata.Topic, now time.Time) {
	if info != nil && info.Err == nil {
		delete(r.unknown, t.name)
		t.ask = topicAsk{out: t.ask.out}
		t.missing.Ended()
		t.found(info)
		return
	}
	fault := &topicFault{err: errTopicLeftOut}
	if info != nil {
		fault.err = info.Err
		t.setInfo(info)
	}
	r.pauseTopic(t, now)
	fault.until = t.ask.at
	t.fault.Store(fault)
	r.complainOf(t, fault.err, now)
	if t.used.Swap(false) {
		t.lastUsed = now
	}
	switch known := t.info.Load() != nil && t.info.Load().Err == nil; {
	case !retriableTopicError(fault.err):
		r.stopAsking(t) // waiting callers get the error, and asking again would bring the same
	case now.Sub(t.lastUsed) < patience || t.busy():
		r.unknown[t.name] = t
	case known:
		delete(r.unknown, t.name) // an answer that leaves it out is no reason to forget a topic that is known
	default:
		r.stopAsking(t) // no caller waits for it any more; the next Send asks again
	}
}

// stopAsking stops asking for a topic that is not there. Its error is kept for a while, so that a caller that
// sends to it again and again does not wait each time.
func (r *refresher) stopAsking(t *topicState) {
	delete(r.unknown, t.name)
	delete(r.topics, t.name)
	if f := t.fault.Load(); f == nil || !t.lasts(f) {
		r.noteIdle(t)
	} else if !t.shelved {
		t.shelved = true
		r.shelf = append(r.shelf, t)
	}
}

// noteIdle notes that a topic is not asked for any more and may be forgotten when the sender does not need it.
func (r *refresher) noteIdle(t *topicState) {
	if !t.idle {
		t.idle = true
		r.idle = append(r.idle, t)
	}
}

// clearShelf takes the topics off the shelf that nothing was sent to for metadata.max.idle.ms; they may be forgotten.
func (r *refresher) clearShelf(now time.Time) {
	if now.Sub(r.shelfAt) < shelfEvery {
		return
	}
	r.shelfAt = now
	r.shelf = slices.DeleteFunc(r.shelf, func(t *topicState) bool {
		asked := r.topics[t.name] == t
		t.shelved = !asked && !t.forgotten && now.Sub(t.lastUsed) < r.maxIdle
		if !t.shelved && !asked && !t.forgotten {
			r.noteIdle(t)
		}
		return !t.shelved
	})
}

// shelfEvery is the least time between two clearings of the shelf.
const shelfEvery = 10 * time.Second

// complainOf logs that a topic can't be sent to: once a minute, and an error that may pass by itself only when it
// has lasted, because a topic that is being created takes several requests.
func (r *refresher) complainOf(t *topicState, err error, now time.Time) {
	if r.complaints >= maxComplaints {
		return
	}
	level := slog.LevelDebug
	if retriableTopicError(err) {
		level = t.missing.Failed(now, now)
	} else {
		level = t.missing.FailedForGood(now)
	}
	if level == slog.LevelWarn {
		r.complaints++
		r.logger.Warn("topic cannot be sent to", "topic", foreign.Plain(t.name), "err", foreign.Plain(err.Error()))
	}
}

const maxComplaints = 10 // for one answer; other topics are logged with later answers

// spaceOut sets when the next full request may follow an answer to one: at once after a change, else after
// a pause, which grows while requests that follow each other soon bring nothing new.
func (r *refresher) spaceOut(changed bool, now time.Time) {
	if changed {
		r.failures, r.notBefore = 0, now
		return
	}
	if now.Sub(r.notBefore) >= quietPeriod {
		r.failures = 0
	}
	r.pause(now)
}

// quietPeriod is the time after the end of a pause from which on a full request does not continue the series: the pauses
// then begin small again.
const quietPeriod = 5 * time.Second

// stuck reports whether no refresh worked for metadata.recovery.rebootstrap.trigger.ms.
func (r *refresher) stuck(now time.Time) bool {
	return r.rebootstrap && !r.trouble.IsZero() && now.Sub(r.trouble) >= r.rebootstrapAfter
}

// patience is how long a topic that does not exist is asked for after the last Send that waited for it.
const patience = 10 * time.Second

var errNoNodes = errors.New("metadata answer names no usable node")
