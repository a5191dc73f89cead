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

// A record that fails is seen in the log although nobody looks at its outcome: one line for the first of a
// topic and cause, one a minute with the number of those that follow.
func TestLossesAreSeenInTheLog(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := config(c)
		var log logText
		cfg.Logger, cfg.MaxRequestSize, cfg.BatchSize = log.logger(), 2000, -1
		p := open(t, cfg)
		known(t, p, "t")
		start := time.Now()
		for range 1205 {
			p.Send(t.Context(), rec("t", "k", strings.Repeat("x", 3000))) // forgotten
		}
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: 3, Err: protocol.TopicAuthorizationFailed})
		for i := range 3 {
			p.SendFunc(t.Context(), rec("t", "k", fmt.Sprint(i)), nil)
			require.NoError(t, p.Flush(t.Context()))
		}
		p.SendFunc(t.Context(), rec("no topic's name", "k", "v"), nil)
		found := log.lines("records failed")
		require.Len(t, found, 3)
		for i, parts := range [][]string{{"topic=t", "records=1 ", "too large"}, {"topic=t", "records=1 ", "TOPIC_AUTHORIZATION_FAILED"}, {"no topic's name"}} {
			for _, part := range append(parts, "level=WARN") {
				require.Contains(t, found[i], part)
			}
		}
		time.Sleep(time.Minute - time.Since(start) + time.Second)
		found = log.lines("more records failed in the last minute")
		require.Len(t, found, 2)
		require.Contains(t, found[0], "records=1204")
		require.Contains(t, found[0], "too large")
		require.Contains(t, found[1], "records=2")
		time.Sleep(10 * time.Minute)
		require.Len(t, log.lines("records failed"), 5)
		p.Send(t.Context(), rec("t", "k", strings.Repeat("x", 3000)))
		require.Len(t, log.lines("records failed"), 6, "it begins again")
		p.Send(t.Context(), rec("t", "k", strings.Repeat("x", 3000)))
		closeProducer(t, p)
		require.Len(t, log.lines("records failed"), 7, "Close reports what was counted")
	})
}

// What was given up or taken back on purpose is no loss, nor what the caller was told at once.
func TestWhatWasAskedForIsNoLoss(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := config(c)
		var log logText
		cfg.Logger, cfg.TransactionalID, cfg.Linger = log.logger(), "x", time.Minute
		p := open(t, cfg)
		require.NoError(t, p.InitTransactions(t.Context()))
		require.NoError(t, p.BeginTransaction())
		f := p.Send(t.Context(), rec("t", "k", "taken back"))
		require.NoError(t, p.AbortTransaction(t.Context()))
		_, err := f.Wait(t.Context())
		require.ErrorIs(t, err, quill.ErrTransactionAborted)
		require.False(t, p.TrySend(rec("unknown", "k", "v")))
		_, err = p.SendSync(t.Context(), rec("t", "k", "outside"))
		require.Error(t, err)
		_ = p.Close(ended(context.Canceled))
		require.Empty(t, log.lines("records failed"))
	})
}

// A Close that gives up says so itself.
func TestWhatACloseGivesUpIsNoLoss(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := config(c)
		var log logText
		cfg.Logger, cfg.Linger = log.logger(), time.Minute
		p := open(t, cfg)
		sendOK(t, p, "t")
		f := p.Send(t.Context(), rec("t", "k", "v"))
		require.ErrorIs(t, p.Close(ended(context.Canceled)), quill.ErrForceClosed)
		_, err := f.Wait(t.Context())
		require.ErrorIs(t, err, quill.ErrForceClosed)
		require.Empty(t, log.lines("records failed"))
	})
}

// Many topics that fail do not flood the log.
func TestLossesOfManyTopicsAreCountedTogether(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		var log logText
		cfg.Logger = log.logger()
		p := open(t, cfg)
		for i := range 1000 {
			p.SendFunc(t.Context(), rec(fmt.Sprint("no name ", i), "k", "v"), nil)
		}
		require.Len(t, log.lines("records failed"), 65)
		closeProducer(t, p)
		found := log.lines("more records failed")
		require.Len(t, found, 1)
		require.Contains(t, found[0], "records=935")
	})
}

// Without a Logger warnings go to slog's default, whatever that is by then, and nothing less.
func TestWithoutALoggerWarningsGoToTheDefault(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		cfg.ClientID = "payments"
		p := open(t, cfg)
		silent := config(c)
		silent.Logger = slog.New(slog.DiscardHandler)
		quiet := open(t, silent)
		var log logText
		before := slog.Default()
		slog.SetDefault(log.logger())
		p.SendFunc(t.Context(), rec("no topic's name", "k", "v"), nil)
		quiet.SendFunc(t.Context(), rec("another bad name", "k", "v"), nil)
		slog.SetDefault(before)
		closeProducer(t, p)
		closeProducer(t, quiet)
		require.Equal(t, strings.Count(log.String(), "\n"), 1, log.String())
		require.Contains(t, log.String(), `msg="quill: records failed" client_id=payments`)
	})
}

// What users give as the cause of a context's end differs each time: it is in the line, not what lines are counted by.
func TestLossesAreCountedByKindWhateverTheCauseOfAContextSays(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := config(c)
		var log logText
		cfg.Logger = log.logger()
		p := open(t, cfg)
		known(t, p, "t")
		for i := range 300 {
			p.SendFunc(ended(fmt.Errorf("request %d", i)), rec("t", "k", "v"), nil)
		}
		p.SendFunc(after(t, -time.Second), rec("t", "k", "v"), nil)
		require.Len(t, log.lines("records failed"), 2, "canceled, and past its deadline")
		require.Contains(t, log.lines("records failed")[0], "request 0")
		time.Sleep(2 * time.Minute)
		found := log.lines("more records failed")
		require.Len(t, found, 1)
		require.Contains(t, found[0], "records=299")
		closeProducer(t, p)
	})
}
