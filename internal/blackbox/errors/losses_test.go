package errors_test

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

// A record that fails is seen in the log although its outcome is not looked at: one line for the first of a
// topic and cause, one a minute with the number of those that follow.
func TestLossesAreSeenInTheLog(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		var log testkit.LogText
		cfg.Logger, cfg.MaxRequestSize, cfg.BatchSize = log.Logger(), 2000, -1
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		start := time.Now()
		for range 1205 {
			p.Send(t.Context(), testkit.Rec("t", "k", strings.Repeat("x", 3000))) // forgotten
		}
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: 3, Err: protocol.TopicAuthorizationFailed})
		for i := range 3 {
			p.SendFunc(t.Context(), testkit.Rec("t", "k", fmt.Sprint(i)), nil)
			require.NoError(t, p.Flush(t.Context()))
		}
		p.SendFunc(t.Context(), testkit.Rec("no topic's name", "k", "v"), nil)
		found := log.Lines("records failed")
		require.Len(t, found, 3)
		for i, parts := range [][]string{{"topic=t", "records=1 ", "too large"}, {"topic=t", "records=1 ", "TOPIC_AUTHORIZATION_FAILED"}, {"no topic's name"}} {
			for _, part := range append(parts, "level=WARN") {
				require.Contains(t, found[i], part)
			}
		}
		time.Sleep(time.Minute - time.Since(start) + time.Second)
		found = log.Lines("more records failed in the last minute")
		require.Len(t, found, 2)
		require.Contains(t, found[0], "records=1204")
		require.Contains(t, found[0], "too large")
		require.Contains(t, found[1], "records=2")
		time.Sleep(10 * time.Minute)
		require.Len(t, log.Lines("records failed"), 5)
		p.Send(t.Context(), testkit.Rec("t", "k", strings.Repeat("x", 3000)))
		require.Len(t, log.Lines("records failed"), 6, "it begins again")
		p.Send(t.Context(), testkit.Rec("t", "k", strings.Repeat("x", 3000)))
		testkit.CloseProducer(t, p)
		require.Len(t, log.Lines("records failed"), 7, "Close reports what was counted")
	})
}

// What was given up or taken back on purpose is no loss, nor is an error that the call returned.
func TestWhatWasAskedForIsNoLoss(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		var log testkit.LogText
		cfg.Logger, cfg.TransactionalID, cfg.Linger = log.Logger(), "x", time.Minute
		p := testkit.Open(t, cfg)
		require.NoError(t, p.InitTransactions(t.Context()))
		require.NoError(t, p.BeginTransaction())
		f := p.Send(t.Context(), testkit.Rec("t", "k", "taken back"))
		require.NoError(t, p.AbortTransaction(t.Context()))
		_, err := f.Wait(t.Context())
		require.ErrorIs(t, err, quill.ErrTransactionAborted)
		require.False(t, p.TrySend(testkit.Rec("unknown", "k", "v")))
		_, err = p.SendSync(t.Context(), testkit.Rec("t", "k", "outside"))
		require.Error(t, err)
		_ = p.Close(testkit.Ended(context.Canceled))
		require.Empty(t, log.Lines("records failed"))
	})
}

// A Close that gives up says so itself.
func TestWhatACloseGivesUpIsNoLoss(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		var log testkit.LogText
		cfg.Logger, cfg.Linger = log.Logger(), time.Minute
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		f := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
		require.ErrorIs(t, p.Close(testkit.Ended(context.Canceled)), quill.ErrForceClosed)
		_, err := f.Wait(t.Context())
		require.ErrorIs(t, err, quill.ErrForceClosed)
		require.Empty(t, log.Lines("records failed"))
	})
}

// Many topics that fail do not flood the log.
func TestLossesOfManyTopicsAreCountedTogether(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		var log testkit.LogText
		cfg.Logger = log.Logger()
		p := testkit.Open(t, cfg)
		for i := range 1000 {
			p.SendFunc(t.Context(), testkit.Rec(fmt.Sprint("no name ", i), "k", "v"), nil)
		}
		require.Len(t, log.Lines("records failed"), 65)
		testkit.CloseProducer(t, p)
		found := log.Lines("more records failed")
		require.Len(t, found, 1)
		require.Contains(t, found[0], "records=935")
	})
}

// Without a Logger warnings go to slog's default, as it is set by then, and nothing less.
func TestWithoutALoggerWarningsGoToTheDefault(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.ClientID = "payments"
		p := testkit.Open(t, cfg)
		silent := testkit.Config(c)
		silent.Logger = slog.New(slog.DiscardHandler)
		quiet := testkit.Open(t, silent)
		var log testkit.LogText
		before := slog.Default()
		slog.SetDefault(log.Logger())
		p.SendFunc(t.Context(), testkit.Rec("no topic's name", "k", "v"), nil)
		quiet.SendFunc(t.Context(), testkit.Rec("another bad name", "k", "v"), nil)
		slog.SetDefault(before)
		testkit.CloseProducer(t, p)
		testkit.CloseProducer(t, quiet)
		require.Equal(t, strings.Count(log.String(), "\n"), 1, log.String())
		require.Contains(t, log.String(), `msg="quill: records failed" client_id=payments`)
	})
}

// What users give as the cause of a context's end differs each time: it is in the line, not what lines are counted by.
func TestLossesAreCountedByKindWhateverTheCauseOfAContextSays(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		var log testkit.LogText
		cfg.Logger = log.Logger()
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		for i := range 300 {
			p.SendFunc(testkit.Ended(fmt.Errorf("request %d", i)), testkit.Rec("t", "k", "v"), nil)
		}
		p.SendFunc(testkit.After(t, -time.Second), testkit.Rec("t", "k", "v"), nil)
		require.Len(t, log.Lines("records failed"), 2, "canceled, and past its deadline")
		require.Contains(t, log.Lines("records failed")[0], "request 0")
		time.Sleep(2 * time.Minute)
		found := log.Lines("more records failed")
		require.Len(t, found, 1)
		require.Contains(t, found[0], "records=299")
		testkit.CloseProducer(t, p)
	})
}
