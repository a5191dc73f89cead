package network

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/stat"
	"github.com/quill-kafka/quill/metrics"
	"github.com/quill-kafka/quill/protocol"
)

// Measures is what a Client counts of its connections: once per write, and once per answer for what was read with it. It may be
// read by any goroutine.
//
// Java: SelectorMetrics.
type Measures struct {
	windows *stat.Windows
	changed func() // is called when something begins to be counted for another node

	created       *stat.Sensor
	ended         *stat.Sensor
	authenticated *stat.Sensor
	refused       *stat.Sensor
	renewed       *stat.Sensor // milliseconds that it took
	notRenewed    *stat.Sensor
	all           traffic
	inFlight      atomic.Int32

	mu sync.Mutex
	// +checklocks:mu
	nodes map[int32]*nodeMeasures
}

// traffic is what goes over the connections of one node, or of all.
type traffic struct {
	writes *stat.Sensor // see the kinds below
	reads  *stat.Sensor
}

const (
	wroteBytes    = 0 // of a write
	wroteRequests = 1 // bytes of a request

	readBytes     = 0 // of a read
	readResponses = 1 // bytes of an answer
	readLatency   = 2 // milliseconds, of a Produce request
)

// nodeMeasures is what is counted of one node.
type nodeMeasures struct{ traffic }

// NewMeasures returns Measures in which nothing is counted yet. The windows must not change. changed is called
// when there is another node, by any goroutine, and must not block.
func NewMeasures(w *stat.Windows, changed func()) *Measures {
	m := &Measures{windows: w, changed: changed, all: newTraffic(w), nodes: map[int32]*nodeMeasures{}}
	for _, s := range []**stat.Sensor{&m.created, &m.ended, &m.authenticated, &m.refused, &m.renewed, &m.notRenewed} {
		*s = stat.NewSensor(w)
	}
	return m
}

func newTraffic(w *stat.Windows) traffic { return traffic{stat.NewSensor(w), stat.NewSensor(w)} }

// node returns what is counted of a node. It is kept as long as the client, as in Java.
func (m *Measures) node(id int32) *nodeMeasures {
	m.mu.Lock()
	n := m.nodes[id]
	isNew := n == nil
	if isNew {
		n = &nodeMeasures{newTraffic(m.windows)}
		m.nodes[id] = n
	}
	m.mu.Unlock()
	if isNew { // without the lock, since m may be read from changed
		m.changed()
	}
	return n
}

// wrote counts what the writer has written: bytes in a number of writes, with requests of which the largest had that many bytes.
func (c *conn) wrote(writes int, bytes int64, requests int, largest int64, now time.Time) {
	for _, t := range [...]*traffic{&c.cfg.Measures.all, &c.measures.traffic} {
		k := t.writes.Begin(now)
		k.AddMany(wroteBytes, float64(writes), float64(bytes), 0)
		if requests > 0 {
			k.AddMany(wroteRequests, float64(requests), float64(bytes), float64(largest))
		}
		t.writes.End()
	}
}

// arrived is what a reader has read since its last event. The owner counts it, since the reader has no clock.
type arrived struct {
	reads    int32
	response int32 // bytes of the answer that the event is about; 0: none
	bytes    int64
}

// countArrived counts what came with an event; latency is that of the request that was answered, negative if it is not counted.
func (m *Measures) countArrived(n *nodeMeasures, a arrived, latency time.Duration, now time.Time) {
	for _, t := range [...]*traffic{&m.all, &n.traffic} {
		k := t.reads.Begin(now)
		if a.reads > 0 {
			k.AddMany(readBytes, float64(a.reads), float64(a.bytes), 0)
		}
		if a.response > 0 {
			k.Add(readResponses, float64(a.response))
		}
		if latency >= 0 {
			k.Add(readLatency, float64(latency)/float64(time.Millisecond))
		}
		t.reads.End()
	}
}

// latency returns how long a request took that was answered, or -1 if that does not count: only Produce does, as in Java.
func (r *Request) latency(now time.Time) time.Duration {
	if r.NoAnswer || r.Exchange.APIKey() != protocol.Produce {
		return -1
	}
	return max(0, now.Sub(r.SentAt))
}

// countEnd counts the end of a connection.
func (m *Measures) countEnd(err error, phase setupPhase, now time.Time) {
	if phase != dialling {
		m.ended.Record(now, 1)
	}
	if e, ok := errors.AsType[*AuthenticationError](err); ok && e.Renewal {
		m.notRenewed.Record(now, 1)
	} else if ok || phase == securing && errors.Is(err, ErrTLS) {
		m.refused.Record(now, 1)
	}
}

// Read puts what was counted until now into s.
func (m *Measures) Read(s *metrics.Snapshot, now time.Time) {
	p := &s.Producer
	created, ended := m.created.Read(now)[0], m.ended.Read(now)[0]
	p.ConnectionCreation, p.ConnectionClose = metrics.MeterOf(created), metrics.MeterOf(ended)
	p.ConnectionCount = max(0, created.Total-ended.Total) // the two are read one after the other
	p.SuccessfulAuthentication = metrics.MeterOf(m.authenticated.Read(now)[0])
	p.FailedAuthentication = metrics.MeterOf(m.refused.Read(now)[0])
	p.SuccessfulAuthenticationNoReauth = p.SuccessfulAuthentication.Total
	renewed := m.renewed.Read(now)[0]
	p.SuccessfulReauthentication, p.ReauthenticationLatency = countOf(renewed), metrics.AverageOf(renewed)
	p.FailedReauthentication = metrics.MeterOf(m.notRenewed.Read(now)[0])
	p.RequestsInFlight = float64(m.inFlight.Load())
	var writes, reads [4]stat.Reading
	p.Traffic, writes, reads = m.all.read(now)
	out, in := countOf(writes[wroteBytes]), countOf(reads[readBytes])
	p.NetworkIO = metrics.Meter{Rate: out.Rate + in.Rate, Total: out.Total + in.Total}
	s.Nodes = m.readNodes(now)
}

// readNodes reads what was counted by node.
func (m *Measures) readNodes(now time.Time) []metrics.Node {
	m.mu.Lock()
	nodes := make([]metrics.Node, 0, len(m.nodes))
	counted := make([]*nodeMeasures, 0, len(m.nodes))
	for id, n := range m.nodes {
		nodes, counted = append(nodes, metrics.Node{ID: id}), append(counted, n)
	}
	m.mu.Unlock()
	for i, n := range counted {
		var reads [4]stat.Reading
		nodes[i].Traffic, _, reads = n.read(now)
		nodes[i].RequestLatency = metrics.AverageOf(reads[readLatency])
	}
	slices.SortFunc(nodes, func(a, b metrics.Node) int { return cmp.Compare(a.ID, b.ID) })
	return nodes
}

func (t *traffic) read(now time.Time) (_ metrics.Traffic, writes, reads [4]stat.Reading) {
	writes, reads = t.writes.Read(now), t.reads.Read(now)
	return metrics.Traffic{
		Outgoing: metrics.MeterOf(writes[wroteBytes]), Request: countOf(writes[wroteRequests]),
		RequestSize: metrics.AverageOf(writes[wroteRequests]),
		Incoming:    metrics.MeterOf(reads[readBytes]), Response: countOf(reads[readResponses]),
	}, writes, reads
}

// countOf returns how many events there were, where metrics.MeterOf returns the sum of their values.
func countOf(r stat.Reading) metrics.Meter { return metrics.Meter{Rate: r.CountRate, Total: r.Count} }
