package backoff

import (
	"log/slog"
	"time"
)

// Spell is a time in which one thing fails again and again, as the log should show it. A coordinator that is
// loading, a node that restarts and a topic that is being created pass by themselves: a warning at the first
// failure would only say that the cluster is alive. What lasts is worth one, and then one a minute.
//
// It is not safe for concurrent use. The zero value is a thing that has not failed.
type Spell struct {
	since    time.Time // when the first failing attempt began; zero: the last one worked
	last     time.Time // when the latest failure came
	warnedAt time.Time // kept over spells, so that a thing that comes and goes does not warn each time
	awayAt   time.Time // when it began to fail, if it has not been back since
	warned   bool      // a warning was logged since awayAt
	failures int       // since the last one that was logged louder than Debug
	said     bool      // the latest failure was logged so
}

const (
	// Lasting is how long something has failed when it is worth a warning.
	Lasting = 5 * time.Second
	// WarnEvery is the time between two warnings about the same thing.
	WarnEvery = time.Minute
)

// Failed counts a failure at now of an attempt that began at began, and returns the level to log it at: Info for
// the first of a spell, Warn when that has lasted, but once a minute only, and Debug for all others. A failure
// after more than a minute without one begins a new spell.
func (s *Spell) Failed(began, now time.Time) slog.Level {
	s.count(began)
	level := slog.LevelDebug
	if s.since.IsZero() || now.Sub(s.last) > WarnEvery {
		s.since, level = began, slog.LevelInfo
	}
	if s.last = now; now.Sub(s.since) >= Lasting {
		level = max(level, s.warn(now))
	}
	s.said = level > slog.LevelDebug
	return level
}

// FailedForGood does what Failed does, for a failure that does not pass by itself: it returns Warn at once, but not
// more than once a minute, and Debug otherwise.
func (s *Spell) FailedForGood(now time.Time) slog.Level {
	s.count(now)
	if s.since.IsZero() {
		s.since = now
	}
	s.last = now
	level := s.warn(now)
	s.said = level > slog.LevelDebug
	return level
}

// warn returns Warn and notes the warning, or Debug if the last one is less than a minute old.
func (s *Spell) warn(now time.Time) slog.Level {
	if !s.warnedAt.IsZero() && now.Sub(s.warnedAt) < WarnEvery {
		return slog.LevelDebug
	}
	s.warnedAt, s.warned = now, true
	return slog.LevelWarn
}

// count counts a failure of an attempt that began at began.
func (s *Spell) count(began time.Time) {
	if s.awayAt.IsZero() {
		s.awayAt = began
	}
	if s.said {
		s.failures = 0
	}
	s.failures++
}

// Failures returns how many failures there were since the last one that was logged louder than Debug, the latest
// included. The log line about the latest should say it, since the others had none.
func (s *Spell) Failures() int { return s.failures }

// Away reports whether there was a failure since the last call of Back.
func (s *Spell) Away() bool { return !s.awayAt.IsZero() }

// Back notes that it has worked at now. It returns how long it had not, and whether there was a warning in that time: if
// so, that it works again is worth a line. Back does not end the spell, since a thing may work now and then; see Ended.
func (s *Spell) Back(now time.Time) (away time.Duration, warned bool) {
	if s.Away() {
		away, warned = now.Sub(s.awayAt), s.warned
	}
	s.awayAt, s.warned = time.Time{}, false
	return away, warned
}

// Ended ends the spell: it works again, and the next failure begins a new one.
func (s *Spell) Ended() { s.since = time.Time{} }

// Since returns when the present spell began; the zero time if the last attempt worked.
func (s *Spell) Since() time.Time { return s.since }
