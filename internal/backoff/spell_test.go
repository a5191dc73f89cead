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

// A line about a failure says how many there were since the last line: those that had none are not lost.
func TestALineCountsTheFailuresSinceTheLast(t *testing.T) {
	var s Spell
	now := time.Unix(1000, 0)
	var counts []int
	for range 130 {
		if s.Failed(now, now) > slog.LevelDebug {
			counts = append(counts, s.Failures())
		}
		now = now.Add(time.Second)
	}
	require.Equal(t, []int{1, 5, 60, 60}, counts) // at 0, 5, 65 and 125 seconds
}

// That a thing is back is worth a line only if there was a warning that it was away.
func TestWhatWasWarnedOfIsBackOnce(t *testing.T) {
	var s Spell
	now := time.Unix(1000, 0)
	back := func(after time.Duration) (time.Duration, bool) { return s.Back(now.Add(after)) }
	_, warned := back(0)
	require.False(t, warned, "it was not away")

	s.Failed(now, now)
	require.True(t, s.Away())
	_, warned = back(time.Second)
	require.False(t, warned, "not long enough for a warning")
	require.False(t, s.Away())

	s.Failed(now.Add(2*time.Second), now.Add(2*time.Second))
	require.Equal(t, slog.LevelWarn, s.Failed(now.Add(7*time.Second), now.Add(8*time.Second)))
	away, warned := back(12 * time.Second)
	require.True(t, warned)
	require.Equal(t, 10*time.Second, away)
	_, warned = back(13 * time.Second)
	require.False(t, warned, "it was said")

	s.FailedForGood(now.Add(20 * time.Second)) // within a minute after the warning: no further one
	_, warned = back(21 * time.Second)
	require.False(t, warned)
}
