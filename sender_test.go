package quill

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// A turn of the sender, and when the next one is due.

// Java: SenderTest.testResetNextBatchExpiry
func TestTheSenderSleepsUntilTheNextExpiry(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		idle := r.s.step(time.Now())
		require.GreaterOrEqual(t, time.Until(idle), time.Minute, "nothing to do, nothing to wait for")
		opened := time.Now()
		first := r.append(0, "key", "value")
		require.Equal(t, r.cfg.linger, time.Until(r.s.step(time.Now())))
		time.Sleep(r.cfg.linger)
		r.drainOne(0)
		require.Equal(t, opened.Add(r.cfg.deliveryTimeout), r.s.step(time.Now()))
		time.Sleep(time.Second)
		r.append(2, "key", "value")
		require.Equal(t, r.cfg.linger, time.Until(r.s.step(time.Now())))
		time.Sleep(r.cfg.linger)
		r.drainOne(1)
		require.Equal(t, opened.Add(r.cfg.deliveryTimeout), r.s.step(time.Now()), "the older one's, still")

		time.Sleep(time.Until(opened.Add(r.cfg.deliveryTimeout)))
		next := r.s.step(time.Now())
		r.dispatch()
		_, err := outcomeOf(t, first)
		require.ErrorIs(t, err, ErrDeliveryTimeout)
		require.Equal(t, time.Second+r.cfg.linger, time.Until(next), "the younger one's now, neither at once nor late")
		time.Sleep(time.Until(next))
		require.GreaterOrEqual(t, time.Until(r.s.step(time.Now())), time.Minute)
	})
}

// The answer lies unread when the time is over: the record's outcome is reported by then, and stays.
//
// Java: SenderTest.testInflightBatchesExpireOnDeliveryTimeout
func TestAnAnswerReadAfterTheDeliveryTimeoutComesTooLate(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		withRig(t, func(s *settings) { s.idempotent = idempotent }, func(t *testing.T, r *rig) {
			f := r.append(0, "key", "value")
			time.Sleep(r.cfg.linger)
			r.drainOne(0)
			r.written(0)
			time.Sleep(r.cfg.deliveryTimeout - r.cfg.linger)
			r.s.expire(time.Now())
			r.answer(0, accepted(0))
			r.dispatch()
			_, err := outcomeOf(t, f)
			failed, ok := errors.AsType[*Error](err)
			require.True(t, ok)
			require.ErrorIs(t, failed, ErrDeliveryTimeout)
			require.Equal(t, MaybeWritten, failed.Outcome)
			require.Zero(t, r.acc.count())
			require.EqualValues(t, rigMemory, r.free())
		})
	}
}

// busyNode is connections to nodes that have this many requests in flight.
type busyNode struct {
	connections
	inFlight int
}

func (b busyNode) InFlight(int32) int { return b.inFlight }

// The fewer requests a node may still have in flight, the longer the next one waits to be fuller. What
// is not full waits as well when anything is in flight, but never long.
func TestTheLastRequestsOfANodeWaitForCompany(t *testing.T) {
	const answers = 160 * time.Millisecond
	for _, c := range []struct {
		most, inFlight, forced int
		want                   time.Duration
	}{
		{5, 0, 0, 0},
		{5, 0, 3, 0},
		{5, 1, 0, partialWait},
		{5, 4, 0, partialWait},
		{5, 1, 1, answers / 128},
		{5, 3, 1, answers / 32},
		{5, 4, 1, answers / 16},
		{2, 1, 1, answers / 16},
		{1, 0, 1, 0},
		{100, 1, 1, 0},
	} {
		s := &sender{cfg: &settings{maxInFlight: c.most}, client: busyNode{inFlight: c.inFlight}}
		require.Equal(t, c.want, s.coalesceDelay(&nodeOut{forced: c.forced, answerTime: answers}), "%+v", c)
	}
}

// Even if there was a later question: an answer is as fresh as its own question.
func TestAnAnswerIsAsFreshAsItsQuestion(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		f := r.s.refresh
		ask := func(name string, node int32) (*topicState, *network.Request) {
			topic := r.acc.ensureTopic(name, func(name string) *topicState { return &topicState{name: name} })
			f.want(topic, time.Now())
			req := f.request(node, time.Now())
			require.Equal(t, []*topicState{topic}, req.Tag.(*metadataAsk).topics)
			return topic, req
		}
		answer := func(req *network.Request, name string) {
			m := req.Exchange.(*network.Message).Response.(*message.MetadataResponse)
			m.Reset()
			m.Brokers = []message.MetadataResponseBroker{{NodeID: 0, Host: "a", Port: 1}}
			m.Topics = []message.MetadataResponseTopic{{Name: &name, Partitions: []message.MetadataResponsePartition{{LeaderID: 0}}}}
			f.answered(req, time.Now())
		}
		one, first := ask("one", 0)
		two, second := ask("two", 1)
		answer(first, "one")
		require.Equal(t, one.asks.Load(), one.looks.Load())
		require.EqualValues(t, 1, one.looks.Load(), "not the second, which did not name it")
		answer(second, "two")
		require.EqualValues(t, 2, two.looks.Load())
		require.EqualValues(t, 1, one.looks.Load())
	})
}

// A topic that has more partitions than are believed is in error, and no other: with some of them left out its keys
// would go to other partitions. What an answer says of topics that it was not asked about is not taken in.
func TestATopicOfTooManyPartitionsIsInErrorAlone(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		f := r.s.refresh
		topic := func(name string) *topicState {
			return r.acc.ensureTopic(name, func(name string) *topicState { return &topicState{name: name} })
		}
		other := topic("other")
		f.topics["other"] = other // in use, and not asked for now
		for _, name := range []string{"most", "too many"} {
			f.want(topic(name), time.Now())
		}
		req := f.request(0, time.Now())
		m := req.Exchange.(*network.Message).Response.(*message.MetadataResponse)
		m.Reset()
		m.Brokers = []message.MetadataResponseBroker{{NodeID: 0, Host: "a", Port: 1}}
		for name, n := range map[string]int{"most": message.MaxTopicPartitions, "too many": message.MaxTopicPartitions + 1, "other": 1} {
			described := message.MetadataResponseTopic{Name: &name, Partitions: make([]message.MetadataResponsePartition, n)}
			for i := range described.Partitions {
				described.Partitions[i].PartitionIndex = int32(i)
			}
			m.Topics = append(m.Topics, described)
		}
		next, _ := f.answered(req, time.Now())
		_, taken := next.Topic("other")
		require.False(t, taken)
		require.Len(t, topic("most").info.Load().Partitions, message.MaxTopicPartitions)
		require.Nil(t, topic("most").fault.Load())
		require.NotNil(t, topic("too many").fault.Load())
		require.ErrorContains(t, topic("too many").fault.Load().err, "more than 200000 partitions")
		require.True(t, retriableTopicError(topic("too many").fault.Load().err), "another node may know better")
		require.Nil(t, topic("too many").usable.Load())
	})
}

// popped returns the partition of a timer that is up, nil if none is.
func popped(h *timers, now time.Time) *partitionQueue {
	t, _ := h.pop(now)
	return t.queue
}

// Brokers beyond what any cluster has are ignored, and the log says so, once.
func TestBrokersThatAreIgnoredAreLoggedOnce(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		f := r.s.refresh
		var log strings.Builder
		f.logger = slog.New(slog.NewTextHandler(&log, nil))
		topic := r.acc.ensureTopic("t", func(name string) *topicState { return &topicState{name: name} })
		for _, brokers := range []int{message.MaxBrokers, message.MaxBrokers + 1, message.MaxBrokers + 16} {
			f.want(topic, time.Now())
			req := f.request(0, time.Now())
			m := req.Exchange.(*network.Message).Response.(*message.MetadataResponse)
			m.Reset()
			m.Brokers = make([]message.MetadataResponseBroker, brokers)
			for i := range m.Brokers {
				m.Brokers[i] = message.MetadataResponseBroker{NodeID: int32(i), Host: "a", Port: 1}
			}
			next, _ := f.answered(req, time.Now())
			nodes := 0
			for range next.Nodes() {
				nodes++
			}
			require.Equal(t, message.MaxBrokers, nodes)
			require.Equal(t, min(1, brokers-message.MaxBrokers), strings.Count(log.String(), "are ignored"))
		}
		require.Contains(t, log.String(), "brokers_used=10000")
	})
}

func TestTimersComeInTheirOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	base := time.Now()
	for range 100 {
		var h timers
		require.True(t, h.next().IsZero())
		var due []time.Duration
		for i := range rnd.IntN(60) {
			d := time.Duration(rnd.IntN(20)) * time.Millisecond
			due = append(due, d)
			h.push(timer{at: base.Add(d), queue: &partitionQueue{index: int32(d)}, number: int64(i)})
		}
		slices.Sort(due)
		require.Nil(t, popped(&h, base.Add(-1)))
		for _, d := range due {
			require.Equal(t, base.Add(d), h.next())
			require.Nil(t, popped(&h, base.Add(d-1)))
			require.EqualValues(t, d, popped(&h, base.Add(d)).index)
		}
		require.Nil(t, popped(&h, base.Add(time.Hour)))
	}
}

func TestATimerIsSetOnce(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		q, at := r.topic.queue(0), time.Now().Add(time.Second)
		again := func(number int64) *batch { return &batch{number: number, attempts: 1} }
		r.s.setTimer(q, again(1), at)
		r.s.setTimer(q, again(1), at)
		require.Equal(t, 1, r.s.timers.len())
		r.s.setTimer(q, again(1), at.Add(1)) // another time
		r.s.setTimer(q, again(2), at.Add(1)) // another batch
		require.Equal(t, 3, r.s.timers.len())
		require.Same(t, q, popped(&r.s.timers, at))
		require.EqualValues(t, 2, q.out.timerNumber, "the timer of an older batch takes nothing away")
		popped(&r.s.timers, at.Add(1))
		require.Same(t, q, popped(&r.s.timers, at.Add(1)))
		require.Zero(t, q.out.timerNumber)
		r.s.setTimer(q, again(2), at.Add(1))
		require.Equal(t, 1, r.s.timers.len())
	})
}

func TestTakeAllLeavesTheTimersUsable(t *testing.T) {
	var h timers
	base := time.Now()
	for i := range 10 {
		h.push(timer{at: base.Add(time.Duration(i)), queue: &partitionQueue{}})
	}
	all := h.takeAll()
	require.Len(t, all, 10)
	h.push(timer{at: base, queue: &partitionQueue{index: 7}}) // as a look during the walk does
	require.Len(t, all, 10)
	for _, at := range all {
		require.NotNil(t, at.queue)
	}
	require.EqualValues(t, 7, popped(&h, base).index)
	require.Empty(t, h.takeAll())
}

// Workers may be done with several requests at once: the sender takes all of them back in one turn.
func TestAllSealedRequestsComeBack(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		var records []Future
		for _, node := range []int32{0, 1} {
			records = append(records, r.append(2*node, "key", "value"))
			time.Sleep(r.cfg.linger)
			r.drainOne(node)
		}
		for _, node := range []int32{0, 1} {
			req := r.sent[node][0]
			req.NoAnswer = true
			r.s.mail.sealed = append(r.s.mail.sealed, req)
		}
		r.s.takeEvents(time.Now())
		r.dispatch()
		for _, f := range records {
			_, err := outcomeOf(t, f)
			require.NoError(t, err)
		}
	})
}

// throttled is a network that notes for how long nodes are to be left alone.
type throttled struct {
	connections
	by []time.Duration
}

func (x *throttled) Throttle(_ int32, d time.Duration, _ time.Time) { x.by = append(x.by, d) }

// Nodes wait themselves before they answer a throttled request, up to a version (KIP-219); from that on the client waits.
func TestThrottleTimesCountFromTheirVersionOn(t *testing.T) {
	for key, since := range map[protocol.APIKey]int16{protocol.Produce: 6, protocol.Metadata: 6, protocol.FindCoordinator: 2, protocol.InitProducerID: 1, protocol.EndTxn: 1} {
		x := &throttled{}
		s := &sender{client: x}
		for version := range since + 2 {
			s.throttle(&network.Request{Exchange: keyed{key: key}, Version: version}, time.Duration(version)+1, time.Now())
		}
		require.Equal(t, []time.Duration{time.Duration(since) + 1, time.Duration(since) + 2}, x.by, "%v", key)
	}
}

// keyed is a request of which only the API is known.
type keyed struct {
	network.Exchange
	key protocol.APIKey
}

func (k keyed) APIKey() protocol.APIKey { return k.key }

// What made the producer fail stays the reason, although other things go wrong after it.
func TestTheFirstFatalErrorStays(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		var fatal []*Error
		r.s.onFatal = func(err *Error) { fatal = append(fatal, err) }
		first, second := &Error{Op: "first"}, &Error{Op: "second"}
		r.s.fatal(first)
		r.s.fatal(second)
		require.Equal(t, first, r.s.aborting)
		require.Equal(t, []*Error{first}, fatal)
	})
}

// A leader is doubted after it has refused for doubtAfter itself: the refusals of the leader before it don't count.
func TestALeaderIsDoubtedForItsOwnRefusals(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		q := r.topic.queue(0)
		q.out.setback = new(setback)
		refused := func() int {
			r.s.doubtLeader(q, time.Now())
			return len(r.s.refresh.doubts)
		}
		require.Zero(t, refused())
		time.Sleep(doubtAfter)
		r.setLeaders(rigLeaders, 1)
		require.Zero(t, refused(), "it is another leader")
		time.Sleep(doubtAfter - 1)
		require.Zero(t, refused())
		time.Sleep(time.Nanosecond)
		require.Equal(t, 1, refused())
	})
}
