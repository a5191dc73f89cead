package quill

import (
	"cmp"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"github.com/quill-kafka/quill/internal/stat"
	"github.com/quill-kafka/quill/metrics"
)

// metrics returns what was counted until now.
func (e *engine) metrics(now time.Time) metrics.Snapshot {
	m := e.acc.measures
	s := metrics.Snapshot{ClientID: e.cfg.clientID, Taken: now, App: app(m.windows.Began), Topics: m.readTopics(now)}
	p := &s.Producer
	m.readSender(p, now)
	m.readCallers(p, now)
	bytes, waiting := e.acc.pool.available()
	p.BufferTotal, p.BufferAvailable, p.WaitingThreads = float64(e.acc.pool.capacity), float64(bytes), float64(waiting)
	p.MetadataAge = math.NaN()
	if at := e.board.look().refreshedAt; !at.IsZero() {
		p.MetadataAge = now.Sub(at).Seconds()
	}
	m.network.Read(&s, now)
	return s
}

// app describes the library. The values are those of the user's binary.
func app(began time.Time) metrics.App {
	a := metrics.App{Version: softwareVersion(), Commit: "unknown", StartTime: began}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Path == "github.com/quill-kafka/quill" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				a.Commit = s.Value[:min(len(s.Value), 16)] // as Java's
			}
		}
	}
	return a
}

// readSender reads what the sender counts.
func (m *measures) readSender(p *metrics.Producer, now time.Time) {
	leaving, forms, back, turns := m.leaving.Read(now), m.forms.Read(now), m.back.Read(now), m.turns.Read(now)
	p.RecordSend, p.RecordsPerRequest = meterOf(leaving[leavingRecords]), leaving[leavingRecords].Avg
	p.RecordQueueTime, p.RecordSize = averageOf(leaving[leavingQueued]), averageOf(leaving[leavingLargest])
	p.BatchSize, p.CompressionRate = averageOf(forms[formsSize]), forms[formsRatio].Avg
	p.RequestLatency, p.ThrottleTime = averageOf(back[backLatency]), averageOf(back[backThrottle])
	p.Select = metrics.Meter{Rate: turns[turnsWork].CountRate, Total: turns[turnsWork].Count}
	p.IO, p.IOTime = busyOf(turns[turnsWork]), turns[turnsWork].Avg
	p.IOWait, p.IOWaitTime = busyOf(turns[turnsSleep]), turns[turnsSleep].Avg
	p.RecordRetry, p.RecordError, p.BatchSplit = meterOf(m.retries.Read(now)[0]), meterOf(m.failures.Read(now)[0]), meterOf(m.splits.Read(now)[0])
}

// readCallers reads what was counted of calls that waited.
func (m *measures) readCallers(p *metrics.Producer, now time.Time) {
	p.BufferExhausted, p.BufferWait = meterOf(m.exhausted.Read(now)[0]), busyOf(m.memoryWaits.Read(now)[0])
	for call, total := range map[timedCall]*float64{
		timedMetadata: &p.MetadataWaitTime, timedFlush: &p.FlushTime, timedInit: &p.TxnInitTime, timedBegin: &p.TxnBeginTime,
		timedSendOffsets: &p.TxnSendOffsetsTime, timedCommit: &p.TxnCommitTime, timedAbort: &p.TxnAbortTime,
	} {
		*total = float64(m.times[call].Load())
	}
}

// readTopics reads what was counted by topic. The lock is not held while a topic is read, because the sender takes it for
// the first batch of a topic.
func (m *measures) readTopics(now time.Time) []metrics.Topic {
	m.mu.Lock()
	topics := make([]metrics.Topic, 0, len(m.topics))
	counted := make([]*topicMeasures, 0, len(m.topics))
	for name, t := range m.topics {
		topics, counted = append(topics, metrics.Topic{Name: name}), append(counted, t)
	}
	m.mu.Unlock()
	for i, t := range counted {
		x, sent := &topics[i], t.sent.Read(now)
		x.RecordSend, x.Bytes, x.CompressionRate = meterOf(sent[topicRecords]), meterOf(sent[topicBytes]), sent[topicRatio].Avg
		x.RecordRetry, x.RecordError = meterOf(t.retries.Read(now)[0]), meterOf(t.failures.Read(now)[0])
	}
	slices.SortFunc(topics, func(a, b metrics.Topic) int { return cmp.Compare(a.Name, b.Name) })
	return topics
}

func meterOf(r stat.Reading) metrics.Meter { return metrics.Meter{Rate: r.Rate, Total: r.Total} }

func averageOf(r stat.Reading) metrics.Average { return metrics.Average{Avg: r.Avg, Max: r.Max} }

// busyOf is for values in nanoseconds.
func busyOf(r stat.Reading) metrics.Busy { return metrics.Busy{Ratio: r.Rate / 1e9, Total: r.Total} }
