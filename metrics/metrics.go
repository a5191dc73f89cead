// Package metrics has what a producer counts: the types of quill.Producer's Metrics.
//
// A Snapshot is a plain value with a field for everything:
//
//	s := p.Metrics()
//	fmt.Println(s.Producer.RecordSend.Rate, s.Producer.RequestLatency.Max)
//
// The same numbers under the names, groups and tags that Java's producer has, for those who pass them on to a monitoring
// system:
//
//	for m := range s.All() {
//		fmt.Println(m.Group, m.Name, m.Tags, m.Value)
//	}
//
// Names that end in -rate are per second, and together with -avg, -max and -ratio they are of the last windows of time:
// metrics.num.samples of metrics.sample.window.ms each, the last minute by default. A -total counts from the start of the
// producer. An average or maximum of windows in which nothing happened is NaN, as in Java.
package metrics

import (
	"iter"
	"time"
)

// Groups of metrics. Java: the groups of MetricName.
const (
	GroupProducer = "producer-metrics"
	GroupNode     = "producer-node-metrics"
	GroupTopic    = "producer-topic-metrics"
	GroupApp      = "app-info"
	GroupCount    = "kafka-metrics-count"
)

// Snapshot is what a producer had counted at one moment.
type Snapshot struct {
	ClientID string
	Taken    time.Time
	App      App
	Producer Producer
	Nodes    []Node  // those that were connected to, by id
	Topics   []Topic // those that records were sent to, by name

	// Beyond Java.

	Latency   Latency
	Outcomes  Outcomes
	Retries   []Retry  // by cause
	Memory    []Memory // by node
	Callbacks Callbacks
	Sealing   Busy // compressing batches; the work of several processors adds up
}

// Meter is a count, and its rate.
type Meter struct {
	Rate  float64 // a second, in the windows
	Total float64 // since the start
}

// Average is the average and maximum of the windows; NaN if there was nothing.
type Average struct{ Avg, Max float64 }

// Busy is how long something took.
type Busy struct {
	Ratio float64 // of the time of the windows
	Total float64 // nanoseconds since the start
}

// App describes the library. Group app-info.
type App struct {
	Version   string // of this module; "devel" if it is not known
	Commit    string // "unknown" if it is not known
	StartTime time.Time
}

// Producer is the group producer-metrics.
type Producer struct {
	RecordSend      Meter   // records that went into requests; those of a batch that is sent again count again
	RecordRetry     Meter   // records whose batches were put back to be sent again
	RecordError     Meter   // records that failed, in Send or later
	RecordSize      Average // bytes; of the largest record of each batch in a batch of its own, an upper bound
	RecordQueueTime Average // milliseconds from the opening of a batch until it leaves
	BatchSize       Average // bytes, as it is sent
	BatchSplit      Meter   // batches that were too large for a broker
	CompressionRate float64 // average of compressed by uncompressed size

	RecordsPerRequest float64 // average
	RequestLatency    Average // milliseconds from handing over a Produce request until its answer
	ThrottleTime      Average // milliseconds that answers asked to be left alone for
	RequestsInFlight  float64
	MetadataAge       float64 // seconds since the last answer about all topics in use; NaN before the first

	BufferTotal, BufferAvailable float64 // bytes
	BufferExhausted              Meter   // records that found no memory within max.block.ms
	BufferWait                   Busy    // Sends that waited for memory
	WaitingThreads               float64 // Sends that wait for memory now

	// Nanoseconds since the start that calls took.
	MetadataWaitTime, FlushTime                                                                float64
	TxnInitTime, TxnBeginTime, TxnSendOffsetsTime, TxnPrepareTime, TxnCommitTime, TxnAbortTime float64

	ConnectionCreation, ConnectionClose Meter
	ConnectionCount                     float64
	SuccessfulAuthentication            Meter
	SuccessfulReauthentication          Meter
	SuccessfulAuthenticationNoReauth    float64 // total
	FailedAuthentication                Meter
	FailedReauthentication              Meter
	ReauthenticationLatency             Average // milliseconds
	Traffic                             Traffic // with all nodes
	NetworkIO                           Meter   // reads and writes of connections

	// The goroutine that sends: Select counts its turns, IO is how long they took, IOWait how long it slept between them.
	Select             Meter
	IO, IOWait         Busy
	IOTime, IOWaitTime float64 // nanoseconds, average of a turn
}

// Traffic is what went over connections, without what authenticates them.
type Traffic struct {
	Outgoing, Incoming Meter // bytes
	Request            Meter
	RequestSize        Average // bytes
	Response           Meter
}

// Node is the group producer-node-metrics of one node.
type Node struct {
	ID             int32 // negative for a bootstrap server
	Traffic        Traffic
	RequestLatency Average // milliseconds, of Produce requests
}

// Topic is the group producer-topic-metrics of one topic.
type Topic struct {
	Name            string
	RecordSend      Meter
	RecordRetry     Meter
	RecordError     Meter   // of records that were in a batch
	Bytes           Meter   // of batches, as they are sent
	CompressionRate float64 // average of compressed by uncompressed size
}

// Kind says what the value of a metric is.
type Kind uint8

// The kinds of metrics.
const (
	Gauge   Kind = iota // the present value
	Counter             // counts up from the producer's start
	Rate                // a second, in the windows
	Avg                 // of the windows
	Max                 // of the windows
	Ratio               // of time, in the windows
	Info                // a text
)

// String returns the kind's name: "gauge".
func (k Kind) String() string {
	names := [...]string{"gauge", "counter", "rate", "avg", "max", "ratio", "info"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// Tag distinguishes metrics of one name: by client, node or topic.
type Tag struct{ Key, Value string }

// Metric is a number under the name that Java gives it.
type Metric struct {
	Name, Group string
	Kind        Kind
	Unit        string // "ms", "ns", "s", "bytes", "records" …; "" for plain ratios
	Description string
	Tags        []Tag // client-id, then node-id ("node-1") or topic
	Value       float64
	Text        string // of Info
}

// All yields all metrics of the snapshot, group by group, under Java's names and with Java's tags.
func (s *Snapshot) All() iter.Seq[Metric] {
	return func(yield func(Metric) bool) { _ = s.yieldAll(yield) }
}

// Count returns how many metrics All yields.
func (s *Snapshot) Count() int {
	return len(appRows) + 1 + len(producerRows) + len(s.Nodes)*len(nodeRows) + len(s.Topics)*len(topicRows)
}
