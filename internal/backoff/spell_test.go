package backoff

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestASpellIsWarnedOfWhenItLasts(t *testing.T) {
	var s Spell
	now := time.Unix(1000, 0)
	level := func(after time.Duration) slog.Level {
		now = now.Add(after)
		return s.Failed(now, now)
	}
	require.Equal(t, slog.LevelInfo, level(0))
	require.Equal(t, slog.LevelDebug, level(Lasting-1))
	require.Equal(t, slog.LevelWarn, level(1))
	require.Equal(t, Lasting, now.Sub(s.Since()))
	require.Equal(t, slog.LevelDebug, level(WarnEvery-1))
	require.Equal(t, slog.LevelWarn, level(1))
	require.Equal(t, slog.LevelInfo, level(WarnEvery+1), "the first in a minute")
	s.Ended()
	require.Zero(t, s.Since())
	require.Equal(t, slog.LevelInfo, level(0), "it worked in between")
	require.Equal(t, slog.LevelWarn, level(Lasting))
	s.Ended()
	require.Equal(t, slog.LevelInfo, level(0))
	require.Equal(t, slog.LevelDebug, level(Lasting), "it was warned of less than a minute ago")
}

func TestAnAttemptThatTookLongHasLasted(t *testing.T) {
	var s Spell
	now := time.Unix(1000, 0)
	require.Equal(t, slog.LevelWarn, s.Failed(now.Add(-Lasting), now))
}

func TestWhatDoesNotPassIsWarnedOfAtOnce(t *testing.T) {
	var s Spell
	now := time.Unix(1000, 0)
	require.Equal(t, slog.LevelWarn, s.FailedForGood(now))
	require.Equal(t, slog.LevelDebug, s.FailedForGood(now.Add(WarnEvery-1)))
	require.Equal(t, slog.LevelWarn, s.FailedForGood(now.Add(WarnEvery)))
}
