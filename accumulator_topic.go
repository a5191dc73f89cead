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

// topicState is the producer's state of a topic that it sends to.
type topicState struct {
	name   string
	info   atomic.Pointer[metadata.Topic]    // nil: not (or no longer) known
	queues atomic.Pointer[[]*partitionQueue] // index = partition; only grows
	usable atomic.Pointer[[]*partitionQueue] // those of them that records may go to now; nil while info is nil or has an error
	sticky *stickyPartitioner
	ratio  ratioEstimate
	asks   atomic.Int64               // number of the latest metadata request that named the topic
	looks  atomic.Int64               // number of the latest one that was answered
	fault  atomic.Pointer[topicFault] // the topic's error in the last answer; nil: none
	// outwaited: a Send waited for the topic for max.block.ms in vain, and it was not found since
	outwaited atomic.Bool
	absent    atomic.Pointer[partitionFault] // the result of the last fresh look for a missing partition; nil: there was none
	wanted    atomic.Bool                    // it is in the sender's inbox
	used      atomic.Bool                    // it was sent to since the sender's last check: keeps the topic in the metadata
	loadAt    atomic.Int64

	// the sender's alone
	measures      *topicMeasures // nil: no record of it has left yet
	lastUsed      time.Time
	ask           topicAsk
	missing       backoff.Spell // of metadata answers that did not have it
	tooLargeSpell backoff.Spell // of batches that were too large for its broker
	resentWarned  time.Time     // when a warning said that its batches are refused, or wait for a leader
	shelved       bool          // see refresher.stopAsking
	idle          bool          // see refresher.noteIdle
	forgotten     bool          // see forgetIdle
	ownTimes      bool          // the last answer had no log append time: records keep their timestamps
	doubtedID     int64         // the producer id that an answer had a log append time for all the same; -1: none. See sender.foreign
}

// topic returns the state of a topic, or nil.
func (a *accumulator) topic(name string) *topicState {
	if t := a.recent.Load(); t != nil && t.name == name {
		return t
	}
	t := (*a.topics.Load())[name]
	if t != nil && rand.Uint32()%recentOdds == 0 { // #nosec G404 -- odds, once a record
		a.recent.Store(t)
	}
	return t
}

// recentOdds: one in recentOdds look-ups of another topic changes the recent one, so that goroutines that send
// to different topics don't contend for it.
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

// setInfo stores new metadata of the topic, nil if there are none, and makes queues for new partitions. Only the
// sender calls it.
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

// all returns the topic's queues.
func (t *topicState) all() []*partitionQueue {
	if queues := t.queues.Load(); queues != nil {
		return *queues
	}
	return nil
}

// busy reports whether there are batches in the topic's queues.
func (t *topicState) busy() bool {
	return slices.ContainsFunc(t.all(), func(q *partitionQueue) bool { return q.length.Load() > 0 })
}

// queues returns the queues of all topics, by name and partition.
func (a *accumulator) queues() []*partitionQueue {
	var all []*partitionQueue
	for _, t := range slices.SortedFunc(maps.Values(*a.topics.Load()), byName) {
		all = append(all, t.all()...)
	}
	return all
}

// byName orders topics.
func byName(a, b *topicState) int { return strings.Compare(a.name, b.name) }

// queue returns the queue of partition p, which must be in range.
func (t *topicState) queue(p int32) *partitionQueue { return (*t.queues.Load())[p] }

// balance gives the topic's sticky partitioner the lengths of the queues, at most every few
// milliseconds: the partitioner then prefers the partitions whose nodes keep up (KIP-794).
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

// balanceEvery is the shortest time between two reads of the queue lengths, in milliseconds. It grows by
// one for every balanceSpeed queues, because reading 100,000 lengths takes some milliseconds.
const (
	balanceEvery = 5
	balanceSpeed = 500
)

// The sender forgets topics that nothing is sent to, so that a producer that always sends to new topics
// does not grow.
//
// A Send looks up a topic's state without a lock and keeps using it. So the sender first marks the
// queues as forgotten, each under its lock and only if it is empty, and then removes the state from the map. A Send
// that finds a forgotten queue looks the topic up again, which makes a new state. A forgotten state never gets
// metadata again.
//
// The state also holds the sequences of its partitions, which the brokers still know. If the topic is sent
// to again, it is under a new epoch: under the old one the brokers would take its first batches for
// duplicates of earlier ones, and drop them.

// errForgotten says that the topic was forgotten after the caller had looked it up.
var errForgotten = &Error{Op: "append", Reason: "the topic was forgotten"}

// forgetIfIdle marks the topic's queues as forgotten, unless one of them is in use, and reports whether it did. Only the sender
// calls it.
func (t *topicState) forgetIfIdle() bool {
	queues := t.all()
	for i, q := range queues {
		if q.forgetIfIdle() {
			continue
		}
		for _, q := range queues[:i] {
			q.mu.Lock()
			q.forgotten = false
			q.mu.Unlock()
		}
		return false
	}
	return true
}

func (q *partitionQueue) forgetIfIdle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forgotten = q.batches.Len() == 0 && q.out.completionQueue.Len() == 0 && len(q.out.seq.inFlight) == 0 && q.out.readyFor == nil
	return q.forgotten
}

// deleteTopics removes the topics that are marked as forgotten, which gone lists, from the map.
func (a *accumulator) deleteTopics(gone []*topicState) {
	if len(gone) == 0 {
		return
	}
	a.topicsMu.Lock()
	defer a.topicsMu.Unlock()
	known := *a.topics.Load()
	next := make(map[string]*topicState, len(known)-len(gone)) // a new map, because one never shrinks
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

// topicFault is the error that the last answer about a topic has for it.
type topicFault struct {
	err   error
	until time.Time // no request for the topic is sent before that, so the error counts until then
}

// lasts reports whether a Send need not wait for the topic: the error does not pass by itself, or a Send has waited for
// an unknown topic for max.block.ms already.
func (t *topicState) lasts(f *topicFault) bool {
	return !retriableTopicError(f.err) || t.outwaited.Load() && errors.Is(f.err, protocol.UnknownTopicOrPartition)
}

// outwait notes that a Send waited for the topic for max.block.ms in vain. The sender clears the note when it
// finds the topic; if it found the topic meanwhile, outwait clears it itself.
func (t *topicState) outwait() {
	t.outwaited.Store(true)
	if info := t.info.Load(); info != nil && info.Err == nil {
		t.outwaited.Store(false)
	}
}

// faultOr returns the topic's error in the last answer, or other if there is none.
func (t *topicState) faultOr(other error) error {
	if f := t.fault.Load(); f != nil {
		return f.err
	}
	return other
}

// found stores the metadata of a topic that was found, and clears its faults.
func (t *topicState) found(info *metadata.Topic) {
	t.setInfo(info)
	t.fault.Store(nil)
	t.outwaited.Store(false)
}

// errTopicLeftOut is the fault of a topic that a request named and its answer does not mention.
var errTopicLeftOut = errors.New("the node's answer does not mention the topic")

// retriableTopicError reports whether a topic's error may pass by itself.
func retriableTopicError(err error) bool {
	if code, ok := errors.AsType[protocol.ErrorCode](err); ok {
		return code.Retriable()
	}
	return true // a malformed answer
}
