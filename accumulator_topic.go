package quill

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/protocol"
)

// topicState is what the producer keeps of a topic it sent to.
type topicState struct {
	name   string
	info   atomic.Pointer[metadata.Topic]    // nil: not (or no longer) known
	queues atomic.Pointer[[]*partitionQueue] // index = partition; only grows
	usable atomic.Pointer[[]*partitionQueue] // those of them that records may go to now; nil while info is of no use
	sticky *stickyPartitioner
	ratio  ratioEstimate
	asks   atomic.Int64               // number of the latest metadata request that named the topic
	looks  atomic.Int64               // and of the latest one that was answered
	fault  atomic.Pointer[topicFault] // what the last answer says against the topic; nil: nothing
	// outwaited: somebody waited for the topic for max.block.ms in vain, and it was not found since
	outwaited atomic.Bool
	absent    atomic.Pointer[partitionFault] // what the last fresh look for a missing partition found; nil: nobody missed one
	wanted    atomic.Bool                    // it lies in the sender's inbox
	used      atomic.Bool                    // since the sender last looked: keeps the topic in the metadata
	loadAt    atomic.Int64

	// the sender's alone
	lastUsed  time.Time
	ask       topicAsk
	missing   backoff.Spell // of looks that did not find it
	refused   backoff.Spell // of batches that were too large for its broker
	shelved   bool          // see refresher.leave
	resting   bool          // see refresher.rest
	forgotten bool          // see forgetIdle
	ownTimes  bool          // the last answer had no log append time: records keep their timestamps
	doubtedID int64         // the producer id that an answer since then was not about; -1: none. See sender.foreign
}

// topic returns the state of a topic, or nil.
func (a *accumulator) topic(name string) *topicState {
	if t := a.recent.Load(); t != nil && t.name == name {
		return t
	}
	t := (*a.topics.Load())[name]
	if t != nil && rand.Uint32()%recentOdds == 0 {
		a.recent.Store(t)
	}
	return t
}

// recentOdds is how seldom the recent topic changes, so that senders to different topics don't fight
// over it.
const recentOdds = 32

// ensureTopic returns the state of a topic, making it if need be.
func (a *accumulator) ensureTopic(name string, newTopic func(name string) *topicState) *topicState {
	known := (*a.topics.Load())[name]
	if t := a.recent.Load(); t != nil && t.name == name && t != known {
		a.recent.CompareAndSwap(t, nil) // forgotten
	}
	if known != nil {
		return known
	}
	a.topicsMu.Lock()
	defer a.topicsMu.Unlock()
	if t := (*a.topics.Load())[name]; t != nil {
		return t
	}
	next := maps.Clone(*a.topics.Load())
	next[name] = newTopic(name)
	a.topics.Store(&next)
	return next[name]
}

// setInfo takes over new metadata of the topic: queues for new partitions. The sender's alone.
func (t *topicState) setInfo(info *metadata.Topic) {
	var usable *[]*partitionQueue
	if info != nil {
		n := len(info.Partitions)
		queues := t.all()
		if have := len(queues); have < n {
			queues = append(make([]*partitionQueue, 0, n), queues...)
			for i := have; i < n; i++ {
				queues = append(queues, &partitionQueue{topic: t, index: int32(i), hint: noHint, out: newPartitionOut()})
			}
			t.queues.Store(&queues)
		}
		if info.Err == nil {
			usable = new(queues[:n])
		}
	}
	t.info.Store(info)
	t.usable.Store(usable)
}

// all are the topic's queues.
func (t *topicState) all() []*partitionQueue {
	if queues := t.queues.Load(); queues != nil {
		return *queues
	}
	return nil
}

// busy reports whether batches wait in the topic's queues.
func (t *topicState) busy() bool {
	return slices.ContainsFunc(t.all(), func(q *partitionQueue) bool { return q.length.Load() > 0 })
}

// byName orders topics.
func byName(a, b *topicState) int { return strings.Compare(a.name, b.name) }

// queue of partition p, which must be in range.
func (t *topicState) queue(p int32) *partitionQueue { return (*t.queues.Load())[p] }

// balance tells the topic's sticky partitioner how long the queues are, at most every few
// milliseconds: it then prefers the partitions whose nodes keep up (KIP-794).
func (a *accumulator) balance(t *topicState) {
	if !t.sticky.adaptive {
		return
	}
	queues := *t.queues.Load()
	now, last := a.clock.millis(), t.loadAt.Load()
	if now-last < balanceEvery+int64(len(queues)/balanceSpeed) || !t.loadAt.CompareAndSwap(last, now) {
		return
	}
	info := t.info.Load()
	if info == nil {
		return
	}
	available := info.Available()
	load := partitionLoad{total: len(available), partitions: make([]int32, 0, len(available)), queued: make([]int32, 0, len(available))}
	for _, i := range available {
		q := queues[i]
		if slow := q.slow.Load(); slow != nil && slow.Load() {
			continue
		}
		load.partitions = append(load.partitions, i)
		load.queued = append(load.queued, q.length.Load())
	}
	t.sticky.setLoad(&load)
}

// balanceEvery bounds how often the queue lengths are looked at, in milliseconds. It grows with their
// number, by one for every balanceSpeed of them: a look at 100,000 takes some milliseconds.
const (
	balanceEvery = 5
	balanceSpeed = 500
)

// Forgetting topics that nothing is sent to: a producer that sends to ever new topics must not grow.
//
// A topic's state is looked up without a lock and held by whoever is in the middle of a Send. So its
// queues are shut first, each under its lock and only if nothing is in it; then the state leaves the
// map. A Send that comes too late finds a shut queue and looks the topic up again, which makes a new
// state. A state that was forgotten never gets metadata again.
//
// With the state go the sequences of its partitions, which the brokers still know. Should the topic be
// sent to again, it is under a new epoch: under the old one its first batches would look like copies of
// those from before, and be dropped as such.

// errForgotten says that the topic's state was dropped while the caller was on its way.
var errForgotten = &Error{Op: "append", Reason: "the topic was forgotten"}

// shut shuts the topic's queues, unless one of them is in use. The sender's alone.
func (t *topicState) shut() bool {
	queues := t.all()
	for i, q := range queues {
		if q.shutIfIdle() {
			continue
		}
		for _, q := range queues[:i] {
			q.mu.Lock()
			q.shut = false
			q.mu.Unlock()
		}
		return false
	}
	return true
}

func (q *partitionQueue) shutIfIdle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shut = q.batches.Len() == 0 && q.out.line.Len() == 0 && len(q.out.seq.inFlight) == 0 && q.out.ring == nil
	return q.shut
}

// drop takes forgotten topics out of the map.
func (a *accumulator) drop(gone []*topicState) {
	if len(gone) == 0 {
		return
	}
	a.topicsMu.Lock()
	defer a.topicsMu.Unlock()
	known := *a.topics.Load()
	next := make(map[string]*topicState, len(known)-len(gone)) // a map never shrinks
	for name, t := range known {
		if !t.forgotten {
			next[name] = t
		}
	}
	a.topics.Store(&next)
	for _, t := range gone {
		a.recent.CompareAndSwap(t, nil)
	}
}

// topicFault is what the last answer about a topic says against it.
type topicFault struct {
	err   error
	until time.Time // nobody asks again before, so it counts as long
}

// lasts reports whether waiting is of no use: the error stays, or somebody has waited long enough for it to pass.
func (t *topicState) lasts(f *topicFault) bool {
	return !retriableTopicError(f.err) || t.outwaited.Load() && errors.Is(f.err, protocol.UnknownTopicOrPartition)
}

// outwait notes that somebody waited for the topic for max.block.ms in vain. The sender takes it back when it
// finds the topic; if that was meanwhile, outwait does.
func (t *topicState) outwait() {
	t.outwaited.Store(true)
	if info := t.info.Load(); info != nil && info.Err == nil {
		t.outwaited.Store(false)
	}
}

// faultOr is what the last answer says against the topic, or other if it says nothing.
func (t *topicState) faultOr(other error) error {
	if f := t.fault.Load(); f != nil {
		return f.err
	}
	return other
}

// found notes that the topic is there.
func (t *topicState) found(info *metadata.Topic) {
	t.setInfo(info)
	t.fault.Store(nil)
	t.outwaited.Store(false)
}

// errTopicLeftOut is the fault of a topic that was asked for and that the answer does not mention.
var errTopicLeftOut = errors.New("the node's answer does not mention the topic")

// retriableTopicError reports whether a topic's error may pass by itself.
func retriableTopicError(err error) bool {
	if code, ok := errors.AsType[protocol.ErrorCode](err); ok {
		return code.Retriable()
	}
	return true // a malformed answer
}
