package quill

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"sync"
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
	m.readBeyond(&s, now)
	s.Memory = e.acc.pool.held()
	return s
}

// readBeyond reads what Java does not measure.
func (m *measures) readBeyond(s *metrics.Snapshot, now time.Time) {
	s.Latency = metrics.Latency{Metadata: metrics.HistogramOf(m.metadataWait, now), Memory: metrics.HistogramOf(m.memoryWait, now),
		Queue: metrics.HistogramOf(m.queue, now), Request: metrics.HistogramOf(m.request, now), EndToEnd: metrics.HistogramOf(m.end, now)}
	s.Outcomes = metrics.Outcomes{NotSent: total(m.outcomes[NotSent], now), MaybeWritten: total(m.outcomes[MaybeWritten], now),
		Rejected: total(m.outcomes[Rejected], now)}
	callbacks := m.callbacks.Read(now)[0]
	s.Callbacks.Busy, s.Callbacks.Average = busyOf(callbacks), metrics.Average{Avg: callbacks.Avg / 1e6, Max: callbacks.Max / 1e6}
	s.Sealing = busyOf(m.sealing.Read(now)[0])
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Callbacks.Slowest = m.slowest
	for cause, counted := range m.causes {
		s.Retries = append(s.Retries, metrics.Retry{Cause: cause, Records: total(counted, now)})
	}
	slices.SortFunc(s.Retries, func(a, b metrics.Retry) int { return cmp.Compare(a.Cause, b.Cause) })
}

// held returns what the batches for each node hold.
func (p *bufferPool) held() (held []metrics.Memory) {
	p.mu.Lock()
	for node, s := range p.shares {
		held = append(held, metrics.Memory{Node: node, Bytes: s.heldBytes})
	}
	p.mu.Unlock()
	slices.SortFunc(held, func(a, b metrics.Memory) int { return cmp.Compare(a.Node, b.Node) })
	return held
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
	p.RecordSend, p.RecordsPerRequest = metrics.MeterOf(leaving[leavingRecords]), leaving[leavingRecords].Avg
	p.RecordQueueTime, p.RecordSize = metrics.AverageOf(leaving[leavingQueued]), metrics.AverageOf(leaving[leavingLargest])
	p.BatchSize, p.CompressionRate = metrics.AverageOf(forms[formsSize]), forms[formsRatio].Avg
	p.RequestLatency, p.ThrottleTime = metrics.AverageOf(back[backLatency]), metrics.AverageOf(back[backThrottle])
	p.Select = metrics.Meter{Rate: turns[turnsWork].CountRate, Total: turns[turnsWork].Count}
	p.IO, p.IOTime = busyOf(turns[turnsWork]), turns[turnsWork].Avg
	p.IOWait, p.IOWaitTime = busyOf(turns[turnsSleep]), turns[turnsSleep].Avg
	p.RecordRetry, p.RecordError, p.BatchSplit = total(m.retries, now), total(m.failures, now), total(m.splits, now)
}

// readCallers reads what was counted of calls that waited.
func (m *measures) readCallers(p *metrics.Producer, now time.Time) {
	p.BufferExhausted, p.BufferWait = total(m.exhausted, now), busyOf(m.memoryWaits.Read(now)[0])
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
		x.RecordSend, x.Bytes = metrics.MeterOf(sent[topicRecords]), metrics.MeterOf(sent[topicBytes])
		x.CompressionRate = sent[topicRatio].Avg
		x.RecordRetry, x.RecordError = total(t.retries, now), total(t.failures, now)
	}
	slices.SortFunc(topics, func(a, b metrics.Topic) int { return cmp.Compare(a.Name, b.Name) })
	return topics
}

// total reads a sensor of one kind of events.
func total(s *stat.Sensor, now time.Time) metrics.Meter { return metrics.MeterOf(s.Read(now)[0]) }

// busyOf is for values in nanoseconds.
func busyOf(r stat.Reading) metrics.Busy { return metrics.Busy{Ratio: r.Rate / 1e9, Total: r.Total} }

// reporting informs the reporters of metrics that are added and removed. They are called on a goroutine that ends when it has
// nothing more to report, one call after the other.
//
// Java: Metrics.registerMetric, removeMetric.
type reporting struct {
	reporters []metrics.Reporter
	read      func() metrics.Snapshot
	logger    *slog.Logger
	over      chan struct{} // closed after the last report

	// Used by the goroutine that reports, one at a time.
	topics map[string]bool
	nodes  map[int32]bool

	mu sync.Mutex
	// +checklocks:mu
	running bool // the goroutine runs
	// +checklocks:mu
	wanted bool // something has changed since it last looked
	// +checklocks:mu
	closing bool
}

// newReporting returns the reporting of an engine, after its first report. It is nil if there are no reporters.
func newReporting(e *engine) *reporting {
	if len(e.cfg.reporters) == 0 {
		return nil
	}
	r := &reporting{
		reporters: e.cfg.reporters, read: func() metrics.Snapshot { return e.metrics(time.Now()) }, logger: e.cfg.logger,
		over: make(chan struct{}), topics: map[string]bool{}, nodes: map[int32]bool{},
	}
	s := r.read()
	r.tell(metrics.Change{Added: slices.Collect(s.All()), Read: r.read})
	e.acc.measures.changed = r.poke
	return r
}

// poke has a report made soon. It does not block.
func (r *reporting) poke() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted = true; !r.running {
		r.running = true
		go r.run() // ends when nothing is wanted
	}
}

// run reports until nothing has changed any more.
func (r *reporting) run() {
	for {
		r.mu.Lock()
		if !r.wanted {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.wanted = false
		closing := r.closing
		r.mu.Unlock()
		s := r.read()
		if closing {
			r.tell(metrics.Change{Removed: slices.Collect(s.All()), Read: r.read})
			close(r.over)
			return // running stays set: there is nothing more to report
		}
		if added := r.added(s); len(added) > 0 {
			r.tell(metrics.Change{Added: added, Read: r.read})
		}
	}
}

// added returns the metrics of topics and nodes that were not reported yet.
func (r *reporting) added(s metrics.Snapshot) (added []metrics.Metric) {
	s.Topics = slices.DeleteFunc(s.Topics, func(t metrics.Topic) bool { return r.topics[t.Name] })
	s.Nodes = slices.DeleteFunc(s.Nodes, func(n metrics.Node) bool { return r.nodes[n.ID] })
	for m := range s.All() {
		if m.Group == metrics.GroupTopic || m.Group == metrics.GroupNode {
			added = append(added, m)
		}
	}
	for _, t := range s.Topics {
		r.topics[t.Name] = true
	}
	for _, n := range s.Nodes {
		r.nodes[n.ID] = true
	}
	return added
}

// tell calls the reporters. One that panics, or ends its goroutine, is logged.
func (r *reporting) tell(c metrics.Change) {
	for _, x := range r.reporters {
		if err := guardApart(func() error { x.MetricsChanged(c); return nil }); err != nil {
			r.logger.Error("a metrics reporter did not return", "reporter", fmt.Sprintf("%T", x), "err", err, "stack", string(stackOf(err)))
		}
	}
}

// end makes the last report, that all metrics are removed, and waits until it is made.
func (r *reporting) end() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.closing = true
	r.mu.Unlock()
	r.poke()
	<-r.over
}

// closeReporters closes reporters that New can't use after all.
func closeReporters(reporters []metrics.Reporter) {
	for _, r := range reporters {
		_ = closeApart(r) // the reason to fail is the first fault
	}
}
