package quill_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// failsWithin sends to a topic, which has to fail in the given time.
func failsWithin(t *testing.T, p *quill.Producer[string, string], least, most time.Duration, r quill.Record[string, string]) (e *quill.Error) {
	t.Helper()
	within(t, least, most, func() {
		_, err := p.SendSync(t.Context(), r)
		require.ErrorAs(t, err, &e)
		require.Equal(t, quill.NotSent, e.Outcome())
		require.Equal(t, r.Topic, e.Topic)
	})
	return e
}

func TestAMissingTopicCostsMaxBlockOnce(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		var told logText
		cfg := config(c)
		cfg.MaxBlock = 10 * time.Second
		cfg.Logger = slog.New(slog.NewTextHandler(&told, nil))
		p := open(t, cfg)
		e := failsWithin(t, p, 10*time.Second, 10*time.Second, rec("missing", "k", "v"))
		require.ErrorIs(t, e, quill.ErrTimeout)
		require.ErrorIs(t, e, protocol.UnknownTopicOrPartition)
		require.ErrorContains(t, e, "not present in metadata after 10s")
		asked := c.RequestCount(protocol.Metadata)
		for range 300 {
			e = failsWithin(t, p, 0, 0, rec("missing", "k", "v"))
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
		require.False(t, p.TrySend(rec("missing", "k", "v")))

		c.MustCreateTopic("missing", 1, quilltest.TopicConfig{})
		time.Sleep(1300 * time.Millisecond)
		within(t, 0, 0, func() { sendOK(t, p, "missing") })

		require.NoError(t, c.DeleteTopic("missing"))
		_, err := p.SendSync(t.Context(), rec("missing", "k", "v"))
		require.Error(t, err)
		failsWithin(t, p, 9*time.Second, 10*time.Second, rec("missing", "k", "v")) // it was there: that counts anew
		closeProducer(t, p)
	})
}

// The sender looks for a missing topic for max.block.ms after the last Send, about once a second, also if that
// Send failed at once.
func TestSendsThatFailAtOnceKeepTheSenderLooking(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.MaxBlock = 10 * time.Second
		p := open(t, cfg)
		failsWithin(t, p, 10*time.Second, 10*time.Second, rec("missing", "k", "v"))
		time.Sleep(7 * time.Second)
		asked := c.RequestCount(protocol.Metadata)
		failsWithin(t, p, 0, 0, rec("missing", "k", "v"))
		time.Sleep(time.Minute)
		asked = c.RequestCount(protocol.Metadata) - asked
		require.GreaterOrEqual(t, asked, int64(7))
		require.LessOrEqual(t, asked, int64(14))
		closeProducer(t, p)
	})
}

// After a long silence one fresh look is enough: nobody asked meanwhile.
func TestAMissingTopicIsLookedForAgainAfterASilence(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.MaxBlock = 10 * time.Second
		p := open(t, cfg)
		failsWithin(t, p, 10*time.Second, 10*time.Second, rec("missing", "k", "v"))
		time.Sleep(time.Minute)
		asked := c.RequestCount(protocol.Metadata)
		failsWithin(t, p, 0, 10*time.Millisecond, rec("missing", "k", "v"))
		require.Equal(t, asked+1, c.RequestCount(protocol.Metadata))
		time.Sleep(time.Minute)
		c.MustCreateTopic("missing", 1, quilltest.TopicConfig{})
		within(t, 0, 10*time.Millisecond, func() { sendOK(t, p, "missing") })
		closeProducer(t, p)
	})
}

// A topic that nobody sends to for metadata.max.idle.ms is forgotten, with what is known against it.
func TestWhatIsKnownAgainstATopicIsForgotten(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := config(c)
		cfg.MaxBlock, cfg.MetadataMaxIdle = time.Second, time.Minute
		p := open(t, cfg)
		failsWithin(t, p, time.Second, time.Second, rec("missing", "k", "v"))
		time.Sleep(2 * time.Minute)
		c.MustCreateTopic("u", 1, quilltest.TopicConfig{})
		sendOK(t, p, "u") // an answer
		time.Sleep(time.Minute)
		sendOK(t, p, "t")
		failsWithin(t, p, time.Second, time.Second, rec("missing", "k", "v"))
		closeProducer(t, p)
	})
}

// Each topic is told of once a minute, whatever is wrong with it, and a few for each answer.
func TestTheLogIsToldOfTopicsThatAreNotThere(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		var told logText
		cfg := config(c)
		cfg.MaxBlock = 5 * time.Second
		cfg.Logger = slog.New(slog.NewTextHandler(&told, nil))
		p := open(t, cfg)
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "secret", Err: protocol.TopicAuthorizationFailed, Times: -1})
		for range 3 {
			e := failsWithin(t, p, 0, 0, rec("secret", "k", "v"))
			require.ErrorIs(t, e, protocol.TopicAuthorizationFailed)
		}
		lines := func(topic string) (n int) {
			for _, line := range told.lines("topic cannot be sent to") {
				n += strings.Count(line, topic)
			}
			return n
		}
		require.Equal(t, 1, lines("topic=secret"))
		require.Contains(t, told.String(), "TOPIC_AUTHORIZATION_FAILED")
		for i := range 30 {
			go p.Send(context.Background(), rec(fmt.Sprint("missing-", i), "k", "v"))
		}
		time.Sleep(4 * time.Second)
		require.Zero(t, lines("topic=missing"), "they may be about to be created")
		for before := 0; before < 30 && t.Context().Err() == nil; before = lines("topic=missing") {
			time.Sleep(10 * time.Millisecond)
			require.LessOrEqual(t, lines("topic=missing"), before+10, "for each answer")
		}
		time.Sleep(3 * time.Second)
		require.Equal(t, 30, lines("topic=missing"))
		closeProducer(t, p)
	})
}

// A topic that is created by the first look at it is nothing to warn about.
func TestTheLogIsSilentAboutTopicsThatAreBeingCreated(t *testing.T) {
	bubble(t, quilltest.Options{AutoCreate: true}, func(t *testing.T, c *quilltest.Cluster) {
		var told logText
		cfg := config(c)
		cfg.Logger = slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelWarn}))
		p := open(t, cfg)
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "new", Err: protocol.LeaderNotAvailable, Times: 2})
		sendOK(t, p, "new")
		require.Empty(t, told.String())
		closeProducer(t, p)
	})
}

// An error that stays is told as what it is, however short max.block.ms is, and costs few requests.
func TestAnErrorThatStaysIsToldAtOnce(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.InvalidTopicException, protocol.TopicAuthorizationFailed} {
		for _, block := range []time.Duration{10 * time.Millisecond, time.Minute} {
			t.Run(fmt.Sprint(code.Name(), " ", block), func(t *testing.T) {
				bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
					lie := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "t", Err: code, Times: -1})
					cfg := config(c)
					cfg.MaxBlock = block
					p := open(t, cfg)
					start := time.Now()
					for range 1000 {
						e := failsWithin(t, p, 0, 0, rec("t", "k", "v"))
						require.Equal(t, code, e.Code)
						require.NotErrorIs(t, e, quill.ErrTimeout)
						require.False(t, e.Retriable())
						require.False(t, p.TrySend(rec("t", "k", "v")))
						time.Sleep(10 * time.Millisecond)
					}
					require.LessOrEqual(t, lie.Hits(), int64(20))
					require.GreaterOrEqual(t, lie.Hits(), int64(time.Since(start)/(1200*time.Millisecond)))
					lie.Remove()
					e := failsWithin(t, p, 0, 0, rec("t", "k", "v"))
					require.Equal(t, code, e.Code, "as of the last look")
					time.Sleep(1200 * time.Millisecond)
					sendOK(t, p, "t")
					closeProducer(t, p)
				})
			})
		}
	}
}

// An answer that takes longer than max.block.ms can't be waited for, but what the one before said counts.
func TestAnErrorThatStaysIsNoTimeout(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "t", Err: protocol.TopicAuthorizationFailed, Times: -1})
		cfg := config(c)
		cfg.MaxBlock = 100 * time.Millisecond
		p := open(t, cfg)
		failsWithin(t, p, 0, 0, rec("t", "k", "v"))
		time.Sleep(10 * time.Second)
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, AnswerDelay: time.Second, Times: -1})
		e := failsWithin(t, p, 100*time.Millisecond, 100*time.Millisecond, rec("t", "k", "v"))
		require.Equal(t, protocol.TopicAuthorizationFailed, e.Code)
		require.NotErrorIs(t, e, quill.ErrTimeout)
		closeProducer(t, p)
	})
}

// What a Send waited for in vain is said first.
func TestATimeoutSaysWhatWasWaitedFor(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		c.MustCreateTopic("u", 3, quilltest.TopicConfig{})
		cfg := config(c)
		cfg.MaxBlock = 5 * time.Second
		p := open(t, cfg)
		sendOK(t, p, "t")
		e := failsWithin(t, p, 0, 10*time.Millisecond, onPartition(7, rec("t", "k", "v")))
		require.ErrorIs(t, e, quill.ErrInvalidPartition)
		require.ErrorContains(t, e, "3 partitions")

		time.Sleep(time.Second) // that look counts no longer
		slow := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, DropRequest: true, Times: -1})
		e = failsWithin(t, p, 5*time.Second, 5*time.Second, onPartition(7, rec("t", "k", "v")))
		require.ErrorIs(t, e, quill.ErrTimeout)
		require.ErrorContains(t, e, "partition 7 does not exist: the topic has 3 partitions")
		require.NotContains(t, e.Error(), "not present")
		slow.Remove()
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.StopNode(id))
		}
		e = failsWithin(t, p, 5*time.Second, 5*time.Second, rec("u", "k", "v"))
		require.ErrorIs(t, e, quill.ErrTimeout)
		require.ErrorContains(t, e, "no broker could be asked")
		require.ErrorContains(t, e, "refused")
		require.NotContains(t, e.Error(), "not present")
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.StartNode(id))
		}
		closeProducer(t, p)
	})
}

// A transaction whose topic does not exist is not begun for ever.
func TestInTransactionGivesUpOnAMissingTopic(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.TransactionalID, cfg.MaxBlock = "x", 10*time.Second
		p := open(t, cfg)
		require.NoError(t, p.InitTransactions(t.Context()))
		calls := 0
		within(t, 10*time.Second, 11*time.Second, func() {
			err := p.InTransaction(t.Context(), func(tx *quill.Tx[string, string]) error {
				calls++
				tx.Send(t.Context(), rec("missing", "k", "v"))
				return nil
			})
			require.ErrorIs(t, err, protocol.UnknownTopicOrPartition)
		})
		require.Equal(t, 1, calls)
		within(t, 0, time.Second, func() {
			err := p.InTransaction(t.Context(), func(tx *quill.Tx[string, string]) error {
				_, err := tx.Send(t.Context(), rec("missing", "k", "v")).Wait(t.Context())
				return fmt.Errorf("copy: %w", err)
			})
			require.ErrorIs(t, err, protocol.UnknownTopicOrPartition)
		})
		closeProducer(t, p)
	})
}

// A partition that does not exist is an error that stays, however short max.block.ms is, and Sends in a row do not wait
// for the back-off: the last look counts until the next may be taken.
func TestSendsToAMissingPartitionFailAtOnceBetweenLooks(t *testing.T) {
	for _, most := range []time.Duration{time.Millisecond, 300 * time.Millisecond, time.Minute} {
		bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
			cfg := config(c)
			cfg.MaxBlock = time.Minute
			p := open(t, cfg)
			sendOK(t, p, "t")
			closeProducer(t, p)
			cfg.MaxBlock = most
			p = open(t, cfg)
			known(t, p, "t")
			time.Sleep(time.Second)
			asked := c.RequestCount(protocol.Metadata)
			for range 50 {
				e := failsWithin(t, p, 0, 0, onPartition(7, rec("t", "k", "v")))
				require.ErrorIs(t, e, quill.ErrInvalidPartition)
				require.False(t, p.TrySend(onPartition(7, rec("t", "k", "v"))))
			}
			require.LessOrEqual(t, c.RequestCount(protocol.Metadata)-asked, int64(3), "looks")
			time.Sleep(2 * time.Second)
			require.NoError(t, c.AddPartitions("t", 8))
			within(t, 0, 0, func() {
				p.SendFunc(t.Context(), onPartition(7, rec("t", "k", "v")), func(_ quill.RecordMetadata, err error) { require.NoError(t, err) })
			})
			require.NoError(t, p.Flush(t.Context()))
			closeProducer(t, p)
		})
	}
}
