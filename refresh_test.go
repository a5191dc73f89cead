package quill_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// firstSends sends one record to each of n new topics, one topic each `every`, and returns how long each call
// of Send took, and how long each delivery.
func firstSends(t *testing.T, p *quill.Producer[string, string], n int, every time.Duration) (calls, deliveries []time.Duration) {
	t.Helper()
	calls, deliveries = make([]time.Duration, n), make([]time.Duration, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			start := time.Now()
			f := p.Send(t.Context(), rec(fmt.Sprint("topic-", i), "k", "v"))
			calls[i] = time.Since(start)
			if _, err := f.Wait(t.Context()); err != nil {
				t.Error(i, err)
			}
			deliveries[i] = time.Since(start)
		})
		time.Sleep(every)
	}
	wg.Wait()
	return calls, deliveries
}

// createFirsts makes the topics of firstSends.
func createFirsts(c *quilltest.Cluster, topics int) {
	for i := range topics {
		c.MustCreateTopic(fmt.Sprint("topic-", i), 1, quilltest.TopicConfig{})
	}
}

// An answer to the question before is no failure of the question that came after.
func TestFirstSendsToManyTopicsDoNotWaitForEachOther(t *testing.T) {
	for _, trip := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		t.Run(trip.String(), func(t *testing.T) {
			bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				const topics = 200
				for i := range topics {
					c.MustCreateTopic(fmt.Sprint("topic-", i), 1, quilltest.TopicConfig{})
				}
				c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, AnswerDelay: trip, Times: -1})
				p := open(t, config(c))
				calls, deliveries := firstSends(t, p, topics, 3*time.Millisecond)
				require.LessOrEqual(t, slices.Max(calls), trip+20*time.Millisecond)
				require.LessOrEqual(t, slices.Max(calls), 2*trip, "a request is out, then its own is")
				if trip < 20*time.Millisecond { // a node answers one request after the other
					require.LessOrEqual(t, slices.Max(deliveries), trip+20*time.Millisecond)
				}
				requireBetween(t, int(c.RequestCount(protocol.Metadata)), topics/20, topics)
				closeProducer(t, p)
			})
		})
	}
}

// A node answers the requests of a connection one after the other, and Produce may wait for replicas: what a first
// Send waits for does not stand in line behind that.
func TestFirstSendsDoNotWaitForAnswersToProduce(t *testing.T) {
	for _, wait := range []time.Duration{10 * time.Millisecond, 200 * time.Millisecond} {
		t.Run(wait.String(), func(t *testing.T) {
			bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				const topics = 200
				createFirsts(c, topics)
				c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: wait, Times: -1})
				p := open(t, config(c))
				calls, _ := firstSends(t, p, topics, 3*time.Millisecond)
				slices.Sort(calls)
				require.LessOrEqual(t, calls[topics-1], 10*time.Millisecond, "%v", calls[topics-20:])
				closeProducer(t, p)
			})
		})
	}
}

func TestMissingTopicsDoNotDelayFirstSendsToOthers(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		const topics = 40
		for i := range topics {
			c.MustCreateTopic(fmt.Sprint("topic-", i), 1, quilltest.TopicConfig{})
		}
		cfg := config(c)
		cfg.MaxBlock = 500 * time.Millisecond
		p := open(t, cfg)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				_, err := p.SendSync(t.Context(), rec(fmt.Sprint("missing-", i), "k", "v"))
				require.ErrorIs(t, err, quill.ErrTimeout)
			})
		}
		time.Sleep(5 * time.Millisecond)
		_, took := firstSends(t, p, topics, 50*time.Millisecond)
		require.LessOrEqual(t, slices.Max(took), 20*time.Millisecond)
		wg.Wait()
		closeProducer(t, p)
	})
}

// However many topics are missing, and whenever each was first sent to, they are asked for together.
func TestManyMissingTopicsAreAskedForWithFewRequests(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		const topics = 300
		cfg := config(c)
		cfg.MaxBlock = 40 * time.Second
		p := open(t, cfg)
		var wg sync.WaitGroup
		for i := range topics {
			wg.Go(func() {
				_, err := p.SendSync(t.Context(), rec(fmt.Sprint("missing-", i), "k", "v"))
				require.ErrorIs(t, err, quill.ErrTimeout)
			})
			time.Sleep(7 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		before := c.RequestCount(protocol.Metadata)
		require.LessOrEqual(t, before, int64(topics+100))
		time.Sleep(20 * time.Second)
		asked := c.RequestCount(protocol.Metadata) - before
		require.LessOrEqual(t, asked, int64(50))
		require.GreaterOrEqual(t, asked, int64(15), "about every second")
		wg.Wait()
		closeProducer(t, p)
	})
}

// The answer to a request that left before the Send began is no fresh look.
func TestAnOlderAnswerIsNoFreshLook(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := config(c)
		cfg.MetadataMaxAge = time.Minute
		p := open(t, cfg)
		sendOK(t, p, "t")
		slow := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, AnswerDelay: time.Second})
		for slow.Hits() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		require.NoError(t, c.AddPartitions("t", 4)) // the answer that is on its way says 3
		within(t, 0, 1200*time.Millisecond, func() {
			_, err := p.SendSync(t.Context(), onPartition(3, rec("t", "k", "v")))
			require.NoError(t, err)
		})
		closeProducer(t, p)
	})
}

// One node that takes its time with an answer about metadata does not hold up what others can answer.
func TestAFirstSendDoesNotWaitForASlowAnswerToAnother(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		for partition := range int32(2) {
			x.deliver(partition, "a") // connects to both leaders
		}
		slow := x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, AnswerDelay: 10 * time.Second})
		x.c.MustCreateTopic("slow", 1, quilltest.TopicConfig{})
		x.c.MustCreateTopic("quick", 1, quilltest.TopicConfig{})
		var slowly sync.WaitGroup
		slowly.Go(func() { within(x.T, 10*time.Second, 11*time.Second, func() { sendOK(x.T, x.p, "slow") }) })
		for slow.Hits() == 0 {
			time.Sleep(time.Millisecond)
		}
		var quick quill.Future
		within(x.T, 0, 20*time.Millisecond, func() { quick = x.p.Send(x.Context(), rec("quick", "k", "v")) })
		x.delivered(quick) // which may have to stand behind the slow answer
		slowly.Wait()
	})
}

// Each answer is new, since the leader moves all the time: that is no reason to ask as fast as one can.
func TestALeaderThatKeepsMovingIsNoStormOfRequests(t *testing.T) {
	inLab(t, quilltest.Options{Release: "3.3"}, nil, func(x *lab) { // no KIP-951: every move has to be asked about
		x.deliver(0, "a")
		time.Sleep(time.Second)
		before := x.c.RequestCount(protocol.Metadata)
		start := time.Now()
		for i := range 20 {
			require.NoError(x, x.c.MoveLeader("t", 0, int32(i%3)+1))
			f := x.send(0, fmt.Sprint(i))
			time.Sleep(25 * time.Millisecond)
			if i == 0 {
				require.True(x, f.Done(), "the first move is followed at once")
			}
		}
		asked := x.c.RequestCount(protocol.Metadata) - before
		most := int64(time.Since(start)/(100*time.Millisecond)) + 3
		require.LessOrEqual(x, asked, most)
		require.GreaterOrEqual(x, asked, most/2)
		require.NoError(x, x.p.Flush(x.Context()))
		require.Less(x, time.Since(start), 1500*time.Millisecond)
	})
}
