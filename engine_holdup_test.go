package quill_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What a call that gives up asks of the sender: seldom, and not for longer than it would have waited anyway.

// nodeDown runs the test with a producer on one node, which is down, and a buffer of 64 KiB.
func nodeDown(t *testing.T, maxBlock time.Duration, test func(t *testing.T, p *quill.Producer[string, string])) {
	t.Helper()
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 4, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.BufferMemory, cfg.BatchSize, cfg.MaxBlock = 64<<10, 8<<10, maxBlock
		p := testkit.Open(t, cfg)
		for {
			if _, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v")); err == nil {
				break
			}
			time.Sleep(time.Millisecond) // its metadata, without a wait
		}
		require.NoError(t, c.StopNode(1))
		time.Sleep(5 * time.Second) // the sender knows
		test(t, p)
		_ = p.Close(testkit.Ended(context.Canceled))
	})
}

// fillPartition sends to the partition until a Send fails.
func fillPartition(t *testing.T, p *quill.Producer[string, string], partition int32) *quill.Error {
	for {
		f := p.Send(t.Context(), testkit.OnPartition(partition, testkit.Rec("t", "k", strings.Repeat("v", 4000))))
		if !f.Done() {
			continue
		}
		_, err := f.Wait(t.Context())
		failed, _ := errors.AsType[*quill.Error](err)
		return failed
	}
}

// A producer that never waits for memory drops records at once, and its sender hears of them once.
func TestASheddingProducerNeitherWaitsNorAsks(t *testing.T) {
	nodeDown(t, -1, func(t *testing.T, p *quill.Producer[string, string]) {
		fillPartition(t, p, 0)
		synctest.Wait()
		release := p.HoldSender(t)
		before := p.CommandsWaiting()
		testkit.Within(t, 0, 0, func() {
			for i := range 1000 {
				failed := fillPartition(t, p, int32(i%4))
				require.ErrorIs(t, failed, quill.ErrBufferExhausted)
				require.ErrorContains(t, failed, "bytes are needed")
			}
		})
		require.LessOrEqual(t, p.CommandsWaiting()-before, 1, "that memory is short")
		release()
	})
}

// Nor is the sender's inbox filled with a topic that is not known, be it asked for by those that never wait or by others.
func TestAnUnknownTopicIsWantedOnce(t *testing.T) {
	nodeDown(t, -1, func(t *testing.T, p *quill.Producer[string, string]) {
		release := p.HoldSender(t)
		for range 1000 {
			require.False(t, p.TrySend(testkit.Rec("another", "k", "v")))
			_, err := p.SendSync(t.Context(), testkit.Rec("another", "k", "v"))
			require.ErrorIs(t, err, quill.ErrTimeout)
		}
		require.Equal(t, 1, p.TopicsWaiting())
		release()
		synctest.Wait()
		p.HoldSender(t)
		require.False(t, p.TrySend(testkit.Rec("another", "k", "v")))
		require.Equal(t, 1, p.TopicsWaiting(), "it is wanted again")
	})
}

// Sends that did wait say what holds the memory, however many give up at the same time: one order asks for all of them.
func TestACrowdThatGivesUpAsksOnce(t *testing.T) {
	nodeDown(t, time.Second, func(t *testing.T, p *quill.Producer[string, string]) {
		fillPartition(t, p, 0)
		var crowd sync.WaitGroup
		failed := make([]*quill.Error, 200)
		for i := range failed {
			crowd.Go(func() { failed[i] = fillPartition(t, p, int32(i%4)) })
		}
		time.Sleep(999 * time.Millisecond)
		release := p.HoldSender(t)
		time.Sleep(51 * time.Millisecond)
		require.LessOrEqual(t, p.CommandsWaiting(), 1)
		release()
		crowd.Wait()
		for _, err := range failed {
			require.ErrorIs(t, err, testkit.Refused)
		}
		require.ErrorIs(t, fillPartition(t, p, 0), testkit.Refused, "an answer that is old is not given again, but asked for")
	})
}

// A Send that may wait for a moment only waits as long again for the reason, at most.
func TestTheReasonIsNotWaitedForLongerThanMemory(t *testing.T) {
	nodeDown(t, time.Millisecond, func(t *testing.T, p *quill.Producer[string, string]) {
		fillPartition(t, p, 0)
		time.Sleep(time.Second)
		release := p.HoldSender(t)
		for range 100 {
			testkit.Within(t, time.Millisecond, 2*time.Millisecond, func() { fillPartition(t, p, 0) })
		}
		require.LessOrEqual(t, p.CommandsWaiting(), 2, "the question, and that memory is short")
		release()
		require.ErrorIs(t, fillPartition(t, p, 0), testkit.Refused)
	})
}

// A caller that waits for many records with a context that is over waits for a sender that does not answer once, not for
// each of them.
func TestASenderThatDoesNotAnswerIsWaitedForOnce(t *testing.T) {
	nodeDown(t, time.Second, func(t *testing.T, p *quill.Producer[string, string]) {
		var sent []quill.Future
		for range 10 {
			sent = append(sent, p.Send(t.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "v"))))
		}
		time.Sleep(time.Second) // its connection fails
		look := func(cause error) {
			t.Helper()
			for _, f := range sent {
				_, err := f.Wait(testkit.Ended(context.Canceled))
				require.ErrorIs(t, err, context.Canceled)
				require.Equal(t, cause != nil, errors.Is(err, testkit.Refused))
			}
		}
		testkit.Within(t, 0, 0, func() { look(testkit.Refused) })
		time.Sleep(time.Second)
		release := p.HoldSender(t)
		testkit.Within(t, 100*time.Millisecond, 100*time.Millisecond, func() { look(nil) })
		require.LessOrEqual(t, p.CommandsWaiting(), 1)
		release()
		synctest.Wait()
		testkit.Within(t, 0, 0, func() { look(testkit.Refused) })
	})
}
