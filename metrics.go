package quill

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/internal/stat"
	"github.com/quill-kafka/quill/metrics"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// measures is what a producer counts, for Metrics (engine_metrics.go makes the snapshot).
//
// Nothing is counted per record. The sender counts once per request that leaves or comes back and once per turn, a
// connection once per read or write, a caller only where it has to wait. Each sensor has a lock of its own, which is held for
// a few additions, so a reader stops none of them, and each keeps its windows by the time of its events, so nothing runs
// while nothing happens:
//
//	Send, fast path ── nothing
//	Send that waits ──▶ memoryWaits, exhausted, times
//	Send that fails ──▶ failures
//	sender, a turn ───▶ turns
//	  request leaves ─▶ leaving, forms and topics (with a codec, when it is back: its size is not known before)
//	  request is back ▶ back, retries, failures, splits
//
// Java: SenderMetrics, KafkaProducerMetrics, BufferPool's sensors.
type measures struct {
	windows stat.Windows

	leaving     *stat.Sensor // see the kinds below
	forms       *stat.Sensor
	back        *stat.Sensor
	turns       *stat.Sensor
	retries     *stat.Sensor // records
	failures    *stat.Sensor // records
	splits      *stat.Sensor // batches
	memoryWaits *stat.Sensor // nanoseconds
	exhausted   *stat.Sensor // Sends
	times       [timedCalls]atomic.Int64

	// Beyond Java.
	outcomes     [Rejected + 1]*stat.Sensor // records that failed
	callbacks    *stat.Sensor               // nanoseconds, of those of a batch
	sealing      *stat.Sensor               // nanoseconds, of a batch
	metadataWait *stat.Histogram
	memoryWait   *stat.Histogram
	queue        *stat.Histogram
	request      *stat.Histogram
	end          *stat.Histogram

	latest errorBook

	network *network.Measures
	changed func() // is called, without the lock, when something begins to be counted for another topic or node

	mu sync.Mutex
	// +checklocks:mu
	topics map[string]*topicMeasures
	// +checklocks:mu
	causes map[string]*stat.Sensor // of retries: records
	// +checklocks:mu
	slowest metrics.Slowest
}

// The kinds of events that sensors share.
const (
	leavingRecords = 0 // records of a request
	leavingQueued  = 1 // milliseconds that a batch was in its queue
	leavingLargest = 2 // bytes of the largest record of a batch

	formsSize  = 0 // bytes of a batch
	formsRatio = 1 // compressed by uncompressed

	backLatency  = 0 // milliseconds
	backThrottle = 1 // milliseconds

	turnsWork  = 0 // nanoseconds
	turnsSleep = 1

	topicRecords = 0 // of a batch
	topicBytes   = 1
	topicRatio   = 2
)

// timedCall is something that callers wait in.
type timedCall uint8

const (
	timedMetadata timedCall = iota
	timedFlush
	timedInit
	timedBegin
	timedSendOffsets
	timedCommit
	timedAbort
	timedCalls
)

// topicMeasures is what is counted by topic. Like Java's, it is kept as long as the producer.
type topicMeasures struct{ sent, retries, failures *stat.Sensor }

func newMeasures(samples int, length time.Duration, began time.Time) *measures {
	m := &measures{windows: stat.Windows{Samples: samples, Length: length, Began: began}, topics: map[string]*topicMeasures{},
		causes: map[string]*stat.Sensor{}, changed: func() {}}
	for _, s := range []**stat.Sensor{&m.leaving, &m.forms, &m.back, &m.turns, &m.retries, &m.failures, &m.splits,
		&m.memoryWaits, &m.exhausted, &m.callbacks, &m.sealing, &m.outcomes[NotSent], &m.outcomes[MaybeWritten], &m.outcomes[Rejected]} {
		*s = stat.NewSensor(&m.windows)
	}
	for _, h := range []**stat.Histogram{&m.metadataWait, &m.memoryWait, &m.queue, &m.request, &m.end} {
		*h = stat.NewHistogram(&m.windows)
	}
	m.network = network.NewMeasures(&m.windows, func() { m.changed() })
	return m
}

// topic returns what is counted for a topic.
func (m *measures) topic(name string) *topicMeasures {
	m.mu.Lock()
	t := m.topics[name]
	isNew := t == nil
	if isNew {
		t = &topicMeasures{stat.NewSensor(&m.windows), stat.NewSensor(&m.windows), stat.NewSensor(&m.windows)}
		m.topics[name] = t
	}
	m.mu.Unlock()
	if isNew {
		m.changed()
	}
	return t
}

// milliseconds returns d as Java's metrics have it.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// turn counts a turn of the sender and the sleep after it.
func (m *measures) turn(work, sleep time.Duration, now time.Time) {
	k := m.turns.Begin(now)
	k.Add(turnsWork, float64(work))
	k.Add(turnsSleep, float64(sleep))
	m.turns.End()
}

// throttled counts an answer to a request that is not Produce, by the pause that it asks for.
func (m *measures) throttled(d time.Duration, now time.Time) {
	m.back.Begin(now).Add(backThrottle, milliseconds(d))
	m.back.End()
}

// answered counts an answer to a Produce request.
func (m *measures) answered(latency, throttle time.Duration, now time.Time) {
	k := m.back.Begin(now)
	k.Add(backLatency, milliseconds(latency))
	k.Add(backThrottle, milliseconds(throttle))
	m.back.End()
	m.request.Record(now, latency, 1)
}

// failed counts records that failed; topic is nil if they were in no batch, which Java does not count by topic.
func (m *measures) failed(name string, topic *topicMeasures, err error, records int32, now time.Time) {
	if err == nil || errors.Is(err, ErrWouldBlock) {
		return // what TrySend does not take was not sent
	}
	if known, outcome := OutcomeOf(err), NotSent; int(known) < len(m.outcomes) {
		outcome = known
		m.outcomes[outcome].Record(now, float64(records))
	}
	if errors.Is(err, ErrForceClosed) || errors.Is(err, ErrTransactionAborted) {
		return // what the application asked for is no error, as in Java
	}
	cause := ""
	if e, ok := err.(*Error); ok {
		cause = lossCause(e)
	}
	m.latest.note(errorKey{inspect.Lost, name, cause}, err, int64(records), now)
	m.failures.Record(now, float64(records))
	if topic != nil {
		topic.failures.Record(now, float64(records))
	}
}

// retried counts records that are put back to be sent again.
func (m *measures) retried(name string, topic *topicMeasures, cause error, records int32, now time.Time) {
	m.latest.note(errorKey{inspect.Retried, name, causeOfRetry(cause)}, cause, int64(records), now)
	m.retries.Record(now, float64(records))
	m.cause(cause).Record(now, float64(records))
	topic.retries.Record(now, float64(records))
}

// waitedForMemory counts a Send that had to wait from begin until now, and failed with err.
func (m *measures) waitedForMemory(begin, now time.Time, err error) {
	m.memoryWaits.Record(now, float64(now.Sub(begin)))
	m.memoryWait.Record(now, now.Sub(begin), 1)
	if err == ErrBufferExhausted {
		m.exhausted.Record(now, 1)
	}
}

// took adds the time since begin to what the calls of a kind took.
func (m *measures) took(call timedCall, begin time.Time) {
	now := time.Now()
	if m.times[call].Add(int64(now.Sub(begin))); call == timedMetadata {
		m.metadataWait.Record(now, now.Sub(begin), 1)
	}
}

// cause returns what is counted of retries for the reason err. There are as many as Kafka has errors that pass, and two.
func (m *measures) cause(err error) *stat.Sensor {
	name := causeOfRetry(err)
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.causes[name]
	if s == nil {
		s = stat.NewSensor(&m.windows)
		m.causes[name] = s
	}
	return s
}

// called counts the callbacks of a batch, which began then and have returned now.
func (m *measures) called(topic string, partition int32, records int, begin time.Time) {
	now := time.Now()
	took := now.Sub(begin)
	m.callbacks.Record(now, float64(took))
	m.mu.Lock()
	defer m.mu.Unlock()
	if took > m.slowest.Took || m.slowest.At.IsZero() {
		m.slowest = metrics.Slowest{Topic: topic, Partition: partition, Records: records, Took: took, At: now}
	}
}

// sealed counts the compression of a batch that began then and ends now.
func (m *measures) sealed(begin time.Time) {
	now := time.Now()
	m.sealing.Record(now, float64(now.Sub(begin)))
}

// causeOfRetry names what a batch is sent again for.
func causeOfRetry(err error) string {
	if code, ok := errors.AsType[protocol.ErrorCode](err); ok {
		return code.String()
	}
	if errors.Is(err, network.ErrRequestTimeout) {
		return "timed out"
	}
	return "disconnected"
}

// slowestCallbacks returns how long the callbacks of one batch took at most.
func (m *measures) slowestCallbacks() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.slowest.Took
}

// errorBook has the latest kinds of errors, for Inspect.
type errorBook struct {
	mu sync.Mutex
	// +checklocks:mu
	kinds map[errorKey]*errorCount // at most maxErrors
}

// errorKey identifies errors that are counted together.
type errorKey struct {
	kind         inspect.ErrorKind
	topic, cause string
}

// errorCount is how many records had an error of a kind.
type errorCount struct {
	err         error // the last one
	records     int64
	first, last time.Time
}

// maxErrors is how many kinds of errors are remembered.
const maxErrors = 100

// note counts an error. A new kind takes the place of the one that was last seen longest ago.
func (k *errorBook) note(key errorKey, err error, records int64, now time.Time) {
	key.topic = foreign.Plain(key.topic)
	k.mu.Lock()
	defer k.mu.Unlock()
	known := k.kinds[key]
	if known == nil {
		k.makeRoomLocked()
		known = &errorCount{first: now}
		k.kinds[key] = known
	}
	known.err, known.last = err, now
	known.records += records
}

// makeRoomLocked forgets the kind that was last seen longest ago, if there is no room for one more.
//
// +checklocks:k.mu
func (k *errorBook) makeRoomLocked() {
	if k.kinds == nil {
		k.kinds = map[errorKey]*errorCount{}
	}
	if len(k.kinds) < maxErrors {
		return
	}
	var out errorKey
	var oldest *errorCount
	for key, x := range k.kinds {
		if oldest == nil || x.last.Before(oldest.last) {
			out, oldest = key, x
		}
	}
	delete(k.kinds, out)
}

// inspect returns the latest kinds of errors, the latest first.
func (k *errorBook) inspect() []inspect.Error {
	k.mu.Lock()
	list, errs := make([]inspect.Error, 0, len(k.kinds)), make([]error, 0, len(k.kinds))
	for key, x := range k.kinds {
		list = append(list, inspect.Error{Kind: key.kind, Topic: key.topic, Records: x.records, First: x.first, Last: x.last})
		errs = append(errs, x.err)
	}
	k.mu.Unlock()
	for i, err := range errs {
		list[i].Text = withoutForeign(err)
	}
	slices.SortFunc(list, func(a, b inspect.Error) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Text, b.Text))
	})
	return list
}
