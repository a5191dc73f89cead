package quill

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// The refresher alone: which topics its requests name, and what their answers leave behind.

// wantTopic has a topic asked for.
func (r *rig) wantTopic(name string) *topicState {
	t := r.acc.ensureTopic(name, func(name string) *topicState { return &topicState{name: name} })
	r.s.refresh.want(t, time.Now())
	return t
}

// named returns the names of the topics that a Metadata request is about.
func named(req *network.Request) (names []string) {
	for _, t := range req.Tag.(*metadataAsk).topics {
		names = append(names, t.name)
	}
	return names
}

// answerAbout answers a Metadata request: each topic given has one partition, or that error.
func (r *rig) answerAbout(req *network.Request, topics map[string]protocol.ErrorCode) {
	m := req.Exchange.(*network.Message).Response.(*message.MetadataResponse)
	m.Reset()
	m.Brokers = []message.MetadataResponseBroker{{NodeID: 0, Host: "a", Port: 1}}
	for name, code := range topics {
		t := message.MetadataResponseTopic{Name: &name, ErrorCode: code}
		if code == protocol.None {
			t.Partitions = []message.MetadataResponsePartition{{LeaderID: 0}}
		}
		m.Topics = append(m.Topics, t)
	}
	r.s.refresh.answered(req, time.Now())
}

// Two requests may name a topic. The answer to the first says nothing about whether the second is still out, and when
// both are back the topic can be asked for again.
func TestATopicThatTwoRequestsNamedCanBeAskedForAgain(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		f := r.s.refresh
		topic := r.wantTopic("t")
		alone := f.request(0, time.Now())
		f.all = true
		full := f.request(1, time.Now())
		require.Equal(t, []string{"t"}, named(alone))
		require.Equal(t, []string{"t"}, named(full))
		r.answerAbout(alone, map[string]protocol.ErrorCode{"t": protocol.None})
		require.Equal(t, 1, topic.ask.out)
		r.answerAbout(full, map[string]protocol.ErrorCode{"t": protocol.UnknownTopicOrPartition})
		require.Zero(t, topic.ask.out)
		time.Sleep(r.cfg.retryBackoffMax)
		at, ok := f.topicsDue()
		require.True(t, ok)
		require.False(t, at.After(time.Now()))
		f.notBefore = time.Now().Add(time.Minute) // no full request
		require.Equal(t, []string{"t"}, named(f.request(0, time.Now())))
	})
}

// A topic that is known stays in use although an answer leaves it out and no record was sent to it for a while: its leaders
// are still asked for with all others.
func TestAKnownTopicThatAnAnswerLeavesOutStaysInUse(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		f := r.s.refresh
		topic := r.wantTopic("t")
		r.answerAbout(f.request(0, time.Now()), map[string]protocol.ErrorCode{"t": protocol.None})
		time.Sleep(2 * patience)
		f.all = true
		full := f.request(0, time.Now())
		require.Equal(t, []string{"t"}, named(full))
		r.answerAbout(full, nil)
		require.NotNil(t, topic.info.Load())
		time.Sleep(r.cfg.retryBackoffMax)
		f.all = true
		require.Equal(t, []string{"t"}, named(f.request(0, time.Now())))
	})
}

// Records in a queue keep their topic asked for, however long ago the last record was sent to it: it may be made again before they expire.
func TestATopicWithRecordsInItsQueueIsAskedFor(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		f := r.s.refresh
		f.want(r.topic, time.Now())
		f.all = true
		r.append(0, "k", "v")
		full := f.request(0, time.Now())
		time.Sleep(2 * patience)
		r.topic.used.Store(false)
		r.answerAbout(full, map[string]protocol.ErrorCode{"test": protocol.UnknownTopicOrPartition})
		require.Contains(t, f.unknown, "test")
		time.Sleep(r.cfg.retryBackoffMax)
		f.notBefore = time.Now().Add(time.Minute)
		require.Equal(t, []string{"test"}, named(f.request(0, time.Now())))
	})
}

// The pauses between full requests that bring nothing begin small again after one that brought a change, and after a calm.
func TestPausesBetweenFullRequestsBeginSmallAgain(t *testing.T) {
	for name, small := range map[string]func(r *rig){
		"after a change": func(r *rig) { r.s.refresh.spaceOut(true, time.Now()) },
		"after a calm":   func(r *rig) { time.Sleep(time.Until(r.s.refresh.notBefore) + quietPeriod) },
	} {
		withRig(t, nil, func(t *testing.T, r *rig) {
			f := r.s.refresh
			for range 10 {
				f.spaceOut(false, time.Now())
			}
			require.GreaterOrEqual(t, time.Until(f.notBefore), r.cfg.retryBackoffMax*8/10)
			small(r)
			f.spaceOut(false, time.Now())
			require.LessOrEqual(t, time.Until(f.notBefore), r.cfg.retryBackoff*12/10, name)
		})
	}
}
