package quill

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
)

// lossLog warns of records that failed, so that a loss is logged even if its future is never read and no
// callback was given. It writes one line for the first failure of a topic for a cause, and one a minute for
// those that follow, with their number. A nil lossLog does nothing.
type lossLog struct {
	logger *slog.Logger

	mu sync.Mutex
	// +checklocks:mu
	known map[lossKey]*losses // those of the last minute
	// +checklocks:mu
	closed bool
}

// lossKey identifies failures that are counted together.
type lossKey struct{ topic, cause string }

// losses are the failures since the last line.
type losses struct {
	records int64
	first   error
}

const (
	lossEvery = time.Minute
	maxLosses = 64 // topics and causes with a count of their own; all others are counted together
)

func newLossLog(logger *slog.Logger) *lossLog {
	return &lossLog{logger: logger, known: map[lossKey]*losses{}}
}

// add counts records of the topic that failed with err, and logs the first of a kind. Failures that the
// application asked for don't count: those of a Close that gave up, which logs them itself, and of an abort.
func (l *lossLog) add(topic string, err error, records int64) {
	if l == nil || err == nil || errors.Is(err, ErrForceClosed) || errors.Is(err, ErrTransactionAborted) {
		return
	}
	key := lossKey{topic: foreign.Plain(topic)}
	if e, ok := err.(*Error); ok {
		key.cause = lossCause(e)
	}
	l.mu.Lock()
	known := l.known[key]
	if known == nil && len(l.known) >= maxLosses {
		key = lossKey{topic: "(others)"}
		known = l.known[key]
	}
	if known != nil {
		if known.records += records; known.first == nil {
			known.first = err
		}
		l.mu.Unlock()
		return
	}
	if l.known[key] = new(losses); len(l.known) == 1 && !l.closed {
		time.AfterFunc(lossEvery, l.minute) // minute sets the next timer while there is something to report
	}
	l.mu.Unlock()
	attrs := []any{"topic", key.topic, "records", records, "err", err}
	if p, ok := errors.AsType[*PanicError](err); ok {
		attrs = append(attrs, "stack", string(p.Stack))
	}
	l.logger.Warn("records failed", attrs...)
}

// minute runs once a minute while report has something left.
func (l *lossLog) minute() {
	if l.report() {
		time.AfterFunc(lossEvery, l.minute)
	}
}

// report logs the failures since the last report, and forgets the kinds that had none. It returns false if nothing
// is left, or after close.
func (l *lossLog) report() bool {
	type line struct {
		lossKey
		losses
	}
	var lines []line
	l.mu.Lock()
	for key, counted := range l.known {
		if counted.records == 0 {
			delete(l.known, key)
			continue
		}
		lines = append(lines, line{key, *counted})
		*counted = losses{}
	}
	more := len(l.known) > 0 && !l.closed
	l.mu.Unlock()
	slices.SortFunc(lines, func(a, b line) int { return int(min(1, max(-1, b.records-a.records))) })
	for _, x := range lines {
		l.logger.Warn("more records failed in the last minute", "topic", x.topic, "records", x.records, "first", x.first)
	}
	return more
}

// close reports the failures that were counted. No timer is set after it.
func (l *lossLog) close() {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.report()
}
