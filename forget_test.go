package quill

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// forget takes the topic off the list of those asked for, as if it had been idle, and lets the sender
// forget it. It reports whether it did.
func (r *rig) forget() bool {
	r.s.refresh.idle = append(r.s.refresh.idle, r.topic)
	r.s.forgetIdle()
	return r.acc.topic(r.topic.name) == nil
}

func TestATopicInUseIsNotForgotten(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		r.append(0, "key", "value")
		require.False(t, r.forget(), "a batch waits")
		r.append(0, "key", "value")
		r.drainOne(0)
		require.False(t, r.forget(), "it is in flight")
		r.answer(0, accepted(0))
		r.s.refresh.topics[r.topic.name] = r.topic
		require.False(t, r.forget(), "it is asked for again")
		delete(r.s.refresh.topics, r.topic.name)
		r.append(0, "key", "value")
		require.False(t, r.forget())
		r.drainOne(0)
		r.answer(0, accepted(0))
		require.True(t, r.forget())
	})
}

// A Send that is on its way to a forgotten topic's queue finds it shut.
func TestAForgottenQueueTakesNoRecord(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		r.dispatch()
		require.True(t, r.forget())
		_, err := r.acc.append(context.Background(), r.topic.queue(0), one("key", "value"), nil, nil)
		require.Same(t, errForgotten, err)
		require.EqualValues(t, rigMemory, r.free(), "no memory is kept")
		r.s.refresh.want(r.topic, r.s.refresh.refreshedAt)
		require.Empty(t, r.s.refresh.topics, "nor is it asked for any more")
	})
}

// What is sent to it later gets a new epoch, under which no record looks like one of before. Topics
// that were there all the time keep theirs.
func TestAForgottenTopicComesBackUnderANewEpoch(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		require.True(t, r.forget())
		r.topic = r.acc.ensureTopic("test", func(name string) *topicState { return &topicState{name: name, sticky: r.topic.sticky} })
		r.setLeaders(rigLeaders, 0)
		requireIdentity(t, sendBatch(t, r, 1), 1, 0)
		r.answer(0, accepted(0))
		r.append(1, "key", "value")
		requireIdentity(t, r.drainOne(0), 1, 0)
		require.Equal(t, 1, r.s.idem.bumps, "once for all")
	})
}

// A Send may have looked at the topic's state before it was forgotten, and begin to wait after: nobody
// asks for that state any more, so it has to look again.
func TestForgettingWakesThoseWhoWait(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		now := r.s.refresh.board.look()
		require.True(t, r.forget())
		select {
		case <-now.changed:
		default:
			t.Fatal("it sleeps on")
		}
	})
}

// A topic that turns out to be in use while it is being forgotten is as it was: each of its queues takes records.
func TestATopicFoundInUseHasNoShutQueue(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		r.append(3, "k", "v") // the last queue that is looked at
		require.False(t, r.forget())
		for p := range int32(4) {
			r.append(p, "k", "v")
		}
	})
}

// A topic that is being asked for is not idle, however long its answer takes.
func TestATopicThatIsAskedForDoesNotExpire(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		f := r.s.refresh
		missing := r.acc.ensureTopic("missing", func(name string) *topicState { return &topicState{name: name, sticky: r.topic.sticky} })
		f.want(missing, time.Now())
		f.want(r.topic, time.Now())
		time.Sleep(time.Hour)
		f.request(0, time.Now())
		require.Same(t, missing, f.topics["missing"])
		require.Nil(t, f.topics[r.topic.name], "nothing was sent to this one")
		require.Equal(t, []*topicState{r.topic}, f.idle)
	})
}
