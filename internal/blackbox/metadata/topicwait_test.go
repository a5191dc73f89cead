package metadata_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// failsWithin sends to a topic, which has to fail in the given time.
func failsWithin(t *testing.T, p *quill.Producer[string, string], least, most time.Duration, r quill.Record[string, string]) (e *quill.Error) {
	t.Helper()
	testkit.Within(t, least, most, func() {
		_, err := p.SendSync(t.Context(), r)
		require.ErrorAs(t, err, &e)
		require.Equal(t, quill.NotSent, e.Outcome)
		require.Equal(t, r.Topic, e.Topic)
	})
	return e
}

func TestAMissingTopicCostsMaxBlockOnce(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		var told testkit.LogText
		cfg := testkit.Config(c)
		cfg.MaxBlock = 10 * time.Second
		cfg.Logger = slog.New(slog.NewTextHandler(&told, nil))
		p := testkit.Open(t, cfg)
		e := failsWithin(t, p, 10*time.Second, 10*time.Second, testkit.Rec("missing", "k", "v"))
		require.ErrorIs(t, e, quill.ErrTimeout)
		require.ErrorIs(t, e, protocol.UnknownTopicOrPartition)
		require.ErrorContains(t, e, "not present in metadata after 10s")
		asked := c.RequestCount(protocol.Metadata)
		for range 300 {
			e = failsWithin(t, p, 0, 0, testkit.Rec("missing", "k", "v"))
			require.ErrorIs(t, e, quill.ErrTimeout)
			require.ErrorIs(t, e, protocol.UnknownTopicOrPartition)
			require.True(t, e.Retriable())
			time.Sleep(100 * time.Millisecond)
		}
		asked = c.RequestCount(protocol.Metadata) - asked
		require.GreaterOrEqual(t, asked, int64(24), "it goes on asking, about every second")
		require.LessOrEqual(t, asked, int64(40))
		require.Equal(t, 1, strings.Count(told.String(), "topic=missing"), "once a minute:\n"+told.String())
		require.Contains(t, told.String(), "UNKNOWN_TOPIC_OR_PARTITION")
		require.False(t, p.TrySend(testkit.Rec("missing", "k", "v")))

		c.MustCreateTopic("missing", 1, quilltest.TopicConfig{})
		time.Sleep(1300 * time.Millisecond)
		testkit.Within(t, 0, 0, func() { testkit.SendOK(t, p, "missing") })

		require.NoError(t, c.DeleteTopic("missing"))
		_, err := p.SendSync(t.Context(), testkit.Rec("missing", "k", "v"))
		require.Error(t, err)
		failsWithin(t, p, 9*time.Second, 10*time.Second, testkit.Rec("missing", "k", "v")) // it was there: its time counts from zero
		testkit.CloseProducer(t, p)
	})
}

// The sender looks for a missing topic for max.block.ms after the last Send, about once a second, also if that
// Send failed at once.
func TestSendsThatFailAtOnceKeepTheSenderLooking(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MaxBlock = 10 * time.Second
		p := testkit.Open(t, cfg)
		failsWithin(t, p, 10*time.Second, 10*time.Second, testkit.Rec("missing", "k", "v"))
		time.Sleep(7 * time.Second)
		asked := c.RequestCount(protocol.Metadata)
		failsWithin(t, p, 0, 0, testkit.Rec("missing", "k", "v"))
		time.Sleep(time.Minute)
		asked = c.RequestCount(protocol.Metadata) - asked
		require.GreaterOrEqual(t, asked, int64(7))
		require.LessOrEqual(t, asked, int64(14))
		testkit.CloseProducer(t, p)
	})
}

// After a long silence one fresh look is enough: there was no request meanwhile.
func TestAMissingTopicIsLookedForAgainAfterASilence(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MaxBlock = 10 * time.Second
		p := testkit.Open(t, cfg)
		failsWithin(t, p, 10*time.Second, 10*time.Second, testkit.Rec("missing", "k", "v"))
		time.Sleep(time.Minute)
		asked := c.RequestCount(protocol.Metadata)
		failsWithin(t, p, 0, 10*time.Millisecond, testkit.Rec("missing", "k", "v"))
		require.Equal(t, asked+1, c.RequestCount(protocol.Metadata))
		time.Sleep(time.Minute)
		c.MustCreateTopic("missing", 1, quilltest.TopicConfig{})
		testkit.Within(t, 0, 10*time.Millisecond, func() { testkit.SendOK(t, p, "missing") })
		testkit.CloseProducer(t, p)
	})
}

// A topic that gets no records for metadata.max.idle.ms is forgotten, with what is known against it.
func TestWhatIsKnownAgainstATopicIsForgotten(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.MaxBlock, cfg.MetadataMaxIdle = time.Second, time.Minute
		p := testkit.Open(t, cfg)
		failsWithin(t, p, time.Second, time.Second, testkit.Rec("missing", "k", "v"))
		time.Sleep(2 * time.Minute)
		c.MustCreateTopic("u", 1, quilltest.TopicConfig{})
		testkit.SendOK(t, p, "u") // an answer
		time.Sleep(time.Minute)
		testkit.SendOK(t, p, "t")
		failsWithin(t, p, time.Second, time.Second, testkit.Rec("missing", "k", "v"))
		testkit.CloseProducer(t, p)
	})
}

// Each topic is logged once a minute, even if several things are wrong with it, and a few for each answer.
func TestTheLogIsToldOfTopicsThatAreNotThere(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		var told testkit.LogText
		cfg := testkit.Config(c)
		cfg.MaxBlock = 5 * time.Second
		cfg.Logger = slog.New(slog.NewTextHandler(&told, nil))
		p := testkit.Open(t, cfg)
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "secret", Err: protocol.TopicAuthorizationFailed, Times: -1})
		for range 3 {
			e := failsWithin(t, p, 0, 0, testkit.Rec("secret", "k", "v"))
			require.ErrorIs(t, e, protocol.TopicAuthorizationFailed)
		}
		lines := func(topic string) (n int) {
			for _, line := range told.Lines("topic cannot be sent to") {
				n += strings.Count(line, topic)
			}
			return n
		}
		require.Equal(t, 1, lines("topic=secret"))
		require.Contains(t, told.String(), "TOPIC_AUTHORIZATION_FAILED")
		for i := range 30 {
			go p.Send(context.Background(), testkit.Rec(fmt.Sprint("missing-", i), "k", "v"))
		}
		time.Sleep(4 * time.Second)
		require.Zero(t, lines("topic=missing"), "they may be about to be created")
		for before := 0; before < 30 && t.Context().Err() == nil; before = lines("topic=missing") {
			time.Sleep(10 * time.Millisecond)
			require.LessOrEqual(t, lines("topic=missing"), before+10, "for each answer")
		}
		time.Sleep(3 * time.Second)
		require.Equal(t, 30, lines("topic=missing"))
		testkit.CloseProducer(t, p)
	})
}

// A topic that is created by the first look at it is nothing to warn about.
func TestTheLogIsSilentAboutTopicsThatAreBeingCreated(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{AutoCreate: true}, func(t *testing.T, c *quilltest.Cluster) {
		var told testkit.LogText
		cfg := testkit.Config(c)
		cfg.Logger = slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelWarn}))
		p := testkit.Open(t, cfg)
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "new", Err: protocol.LeaderNotAvailable, Times: 2})
		testkit.SendOK(t, p, "new")
		require.Empty(t, told.String())
		testkit.CloseProducer(t, p)
	})
}

// An error that stays is the one that is returned, however short max.block.ms is, and costs few requests.
func TestAnErrorThatStaysIsToldAtOnce(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.InvalidTopicException, protocol.TopicAuthorizationFailed} {
		for _, block := range []time.Duration{10 * time.Millisecond, time.Minute} {
			t.Run(fmt.Sprint(code.Name(), " ", block), func(t *testing.T) {
				testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
					lie := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "t", Err: code, Times: -1})
					cfg := testkit.Config(c)
					cfg.MaxBlock = block
					p := testkit.Open(t, cfg)
					start := time.Now()
					for range 1000 {
						e := failsWithin(t, p, 0, 0, testkit.Rec("t", "k", "v"))
						require.Equal(t, code, e.Code)
						require.NotErrorIs(t, e, quill.ErrTimeout)
						require.False(t, e.Retriable())
						require.False(t, p.TrySend(testkit.Rec("t", "k", "v")))
						time.Sleep(10 * time.Millisecond)
					}
					require.LessOrEqual(t, lie.Hits(), int64(20))
					require.GreaterOrEqual(t, lie.Hits(), int64(time.Since(start)/(1200*time.Millisecond)))
					lie.Remove()
					e := failsWithin(t, p, 0, 0, testkit.Rec("t", "k", "v"))
					require.Equal(t, code, e.Code, "as of the last look")
					time.Sleep(1200 * time.Millisecond)
					testkit.SendOK(t, p, "t")
					testkit.CloseProducer(t, p)
				})
			})
		}
	}
}

// An answer that takes longer than max.block.ms can't be waited for, but what the one before said counts.
func TestAnErrorThatStaysIsNoTimeout(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "t", Err: protocol.TopicAuthorizationFailed, Times: -1})
		cfg := testkit.Config(c)
		cfg.MaxBlock = 100 * time.Millisecond
		p := testkit.Open(t, cfg)
		failsWithin(t, p, 0, 0, testkit.Rec("t", "k", "v"))
		time.Sleep(10 * time.Second)
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, AnswerDelay: time.Second, Times: -1})
		e := failsWithin(t, p, 100*time.Millisecond, 100*time.Millisecond, testkit.Rec("t", "k", "v"))
		require.Equal(t, protocol.TopicAuthorizationFailed, e.Code)
		require.NotErrorIs(t, e, quill.ErrTimeout)
		testkit.CloseProducer(t, p)
	})
}

// What a Send waited for in vain is said first.
func TestATimeoutSaysWhatWasWaitedFor(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		c.MustCreateTopic("u", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.MaxBlock = 5 * time.Second
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		e := failsWithin(t, p, 0, 10*time.Millisecond, testkit.OnPartition(7, testkit.Rec("t", "k", "v")))
		require.ErrorIs(t, e, quill.ErrInvalidPartition)
		require.ErrorContains(t, e, "3 partitions")

		time.Sleep(time.Second) // that look counts no longer
		slow := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, DropRequest: true, Times: -1})
		e = failsWithin(t, p, 5*time.Second, 5*time.Second, testkit.OnPartition(7, testkit.Rec("t", "k", "v")))
		require.ErrorIs(t, e, quill.ErrTimeout)
		require.ErrorContains(t, e, "partition 7 does not exist: the topic has 3 partitions")
		require.NotContains(t, e.Error(), "not present")
		slow.Remove()
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.StopNode(id))
		}
		e = failsWithin(t, p, 5*time.Second, 5*time.Second, testkit.Rec("u", "k", "v"))
		require.ErrorIs(t, e, quill.ErrTimeout)
		require.ErrorContains(t, e, "no broker could be asked")
		require.ErrorContains(t, e, "refused")
		require.NotContains(t, e.Error(), "not present")
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.StartNode(id))
		}
		testkit.CloseProducer(t, p)
	})
}

// A transaction whose topic does not exist is not begun again and again.
func TestInTransactionGivesUpOnAMissingTopic(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.TransactionalID, cfg.MaxBlock = "x", 10*time.Second
		p := testkit.Open(t, cfg)
		require.NoError(t, p.InitTransactions(t.Context()))
		calls := 0
		testkit.Within(t, 10*time.Second, 11*time.Second, func() {
			err := p.InTransaction(t.Context(), func(tx *quill.Tx[string, string]) error {
				calls++
				tx.Send(t.Context(), testkit.Rec("missing", "k", "v"))
				return nil
			})
			require.ErrorIs(t, err, protocol.UnknownTopicOrPartition)
		})
		require.Equal(t, 1, calls)
		testkit.Within(t, 0, time.Second, func() {
			err := p.InTransaction(t.Context(), func(tx *quill.Tx[string, string]) error {
				_, err := tx.Send(t.Context(), testkit.Rec("missing", "k", "v")).Wait(t.Context())
				return fmt.Errorf("copy: %w", err)
			})
			require.ErrorIs(t, err, protocol.UnknownTopicOrPartition)
		})
		testkit.CloseProducer(t, p)
	})
}

// A partition that does not exist is an error that stays, however short max.block.ms is, and Sends in a row do not wait
// for the back-off: the last look counts until the next may be taken.
func TestSendsToAMissingPartitionFailAtOnceBetweenLooks(t *testing.T) {
	for _, most := range []time.Duration{time.Millisecond, 300 * time.Millisecond, time.Minute} {
		testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
			cfg := testkit.Config(c)
			cfg.MaxBlock = time.Minute
			p := testkit.Open(t, cfg)
			testkit.SendOK(t, p, "t")
			testkit.CloseProducer(t, p)
			cfg.MaxBlock = most
			p = testkit.Open(t, cfg)
			testkit.Known(t, p, "t")
			time.Sleep(time.Second)
			asked := c.RequestCount(protocol.Metadata)
			for range 50 {
				e := failsWithin(t, p, 0, 0, testkit.OnPartition(7, testkit.Rec("t", "k", "v")))
				require.ErrorIs(t, e, quill.ErrInvalidPartition)
				require.False(t, p.TrySend(testkit.OnPartition(7, testkit.Rec("t", "k", "v"))))
			}
			require.LessOrEqual(t, c.RequestCount(protocol.Metadata)-asked, int64(3), "looks")
			time.Sleep(2 * time.Second)
			require.NoError(t, c.AddPartitions("t", 8))
			testkit.Within(t, 0, 0, func() {
				p.SendFunc(t.Context(), testkit.OnPartition(7, testkit.Rec("t", "k", "v")), func(_ quill.RecordMetadata, err error) { require.NoError(t, err) })
			})
			require.NoError(t, p.Flush(t.Context()))
			testkit.CloseProducer(t, p)
		})
	}
}
