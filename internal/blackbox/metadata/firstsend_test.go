package metadata_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
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
			f := p.Send(t.Context(), testkit.Rec(fmt.Sprint("topic-", i), "k", "v"))
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
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				const topics = 200
				for i := range topics {
					c.MustCreateTopic(fmt.Sprint("topic-", i), 1, quilltest.TopicConfig{})
				}
				c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, AnswerDelay: trip, Times: -1})
				p := testkit.Open(t, testkit.Config(c))
				calls, deliveries := firstSends(t, p, topics, 3*time.Millisecond)
				require.LessOrEqual(t, slices.Max(calls), trip+20*time.Millisecond)
				require.LessOrEqual(t, slices.Max(calls), 2*trip, "a request is out, then its own is")
				if trip < 20*time.Millisecond { // a node answers one request after the other
					require.LessOrEqual(t, slices.Max(deliveries), trip+20*time.Millisecond)
				}
				testkit.RequireBetween(t, int(c.RequestCount(protocol.Metadata)), topics/20, topics)
				testkit.CloseProducer(t, p)
			})
		})
	}
}

// A node answers the requests of a connection one after the other, and Produce may wait for replicas: what a first
// Send waits for does not stand in line behind that.
func TestFirstSendsDoNotWaitForAnswersToProduce(t *testing.T) {
	for _, wait := range []time.Duration{10 * time.Millisecond, 200 * time.Millisecond} {
		t.Run(wait.String(), func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				const topics = 200
				createFirsts(c, topics)
				c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: wait, Times: -1})
				p := testkit.Open(t, testkit.Config(c))
				calls, _ := firstSends(t, p, topics, 3*time.Millisecond)
				slices.Sort(calls)
				require.LessOrEqual(t, calls[topics-1], 10*time.Millisecond, "%v", calls[topics-20:])
				testkit.CloseProducer(t, p)
			})
		})
	}
}

func TestMissingTopicsDoNotDelayFirstSendsToOthers(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		const topics = 40
		for i := range topics {
			c.MustCreateTopic(fmt.Sprint("topic-", i), 1, quilltest.TopicConfig{})
		}
		cfg := testkit.Config(c)
		cfg.MaxBlock = 500 * time.Millisecond
		p := testkit.Open(t, cfg)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				_, err := p.SendSync(t.Context(), testkit.Rec(fmt.Sprint("missing-", i), "k", "v"))
				require.ErrorIs(t, err, quill.ErrTimeout)
			})
		}
		time.Sleep(5 * time.Millisecond)
		_, took := firstSends(t, p, topics, 50*time.Millisecond)
		require.LessOrEqual(t, slices.Max(took), 20*time.Millisecond)
		wg.Wait()
		testkit.CloseProducer(t, p)
	})
}

// However many topics are missing, and whenever each was first sent to, they are asked for together.
func TestManyMissingTopicsAreAskedForWithFewRequests(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		const topics = 300
		cfg := testkit.Config(c)
		cfg.MaxBlock = 40 * time.Second
		p := testkit.Open(t, cfg)
		var wg sync.WaitGroup
		for i := range topics {
			wg.Go(func() {
				_, err := p.SendSync(t.Context(), testkit.Rec(fmt.Sprint("missing-", i), "k", "v"))
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
		testkit.CloseProducer(t, p)
	})
}

// The answer to a request that left before the Send began is no fresh look.
func TestAnOlderAnswerIsNoFreshLook(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.MetadataMaxAge = time.Minute
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		slow := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, AnswerDelay: time.Second})
		for slow.Hits() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		require.NoError(t, c.AddPartitions("t", 4)) // the answer that is on its way says 3
		testkit.Within(t, 0, 1200*time.Millisecond, func() {
			_, err := p.SendSync(t.Context(), testkit.OnPartition(3, testkit.Rec("t", "k", "v")))
			require.NoError(t, err)
		})
		testkit.CloseProducer(t, p)
	})
}

// One node that takes its time with an answer about metadata does not hold up what others can answer.
func TestAFirstSendDoesNotWaitForASlowAnswerToAnother(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		for partition := range int32(2) {
			x.Deliver(partition, "a") // connects to both leaders
		}
		slow := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, AnswerDelay: 10 * time.Second})
		x.C.MustCreateTopic("slow", 1, quilltest.TopicConfig{})
		x.C.MustCreateTopic("quick", 1, quilltest.TopicConfig{})
		var slowly sync.WaitGroup
		slowly.Go(func() {
			testkit.Within(x.T, 10*time.Second, 11*time.Second, func() { testkit.SendOK(x.T, x.P, "slow") })
		})
		for slow.Hits() == 0 {
			time.Sleep(time.Millisecond)
		}
		var quick quill.Future
		testkit.Within(x.T, 0, 20*time.Millisecond, func() { quick = x.P.Send(x.Context(), testkit.Rec("quick", "k", "v")) })
		x.Delivered(quick) // which may have to stand behind the slow answer
		slowly.Wait()
	})
}

// Each answer is new, since the leader moves all the time: that is no reason to ask as fast as one can.
func TestALeaderThatKeepsMovingIsNoStormOfRequests(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Release: "3.3"}, nil, func(x *testkit.Lab) { // no KIP-951: every move has to be asked about
		x.Deliver(0, "a")
		time.Sleep(time.Second)
		before := x.C.RequestCount(protocol.Metadata)
		start := time.Now()
		for i := range 20 {
			require.NoError(x, x.C.MoveLeader("t", 0, int32(i%3)+1))
			f := x.Send(0, fmt.Sprint(i))
			time.Sleep(25 * time.Millisecond)
			if i == 0 {
				require.True(x, f.Done(), "the first move is followed at once")
			}
		}
		asked := x.C.RequestCount(protocol.Metadata) - before
		most := int64(time.Since(start)/(100*time.Millisecond)) + 3
		require.LessOrEqual(x, asked, most)
		require.GreaterOrEqual(x, asked, most/2)
		require.NoError(x, x.P.Flush(x.Context()))
		require.Less(x, time.Since(start), 1500*time.Millisecond)
	})
}
