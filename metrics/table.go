package metrics

import (
	"iter"
	"strconv"
)

// row describes a metric of things of type T.
type row[T any] struct {
	name string
	kind Kind
	unit string
	help string
	get  func(*T) float64
}

// meter returns the two rows of a Meter; name and what go before "-rate" and "-total".
func meter[T any](name, unit, what string, get func(*T) *Meter) []row[T] {
	return []row[T]{
		{name + "-rate", Rate, unit + "/s", what + ", a second", func(x *T) float64 { return get(x).Rate }},
		{name + "-total", Counter, unit, what, func(x *T) float64 { return get(x).Total }},
	}
}

// average returns the two rows of an Average.
func average[T any](name, unit, what string, get func(*T) *Average) []row[T] {
	return []row[T]{
		{name + "-avg", Avg, unit, what + ", on average", func(x *T) float64 { return get(x).Avg }},
		{name + "-max", Max, unit, what + ", at most", func(x *T) float64 { return get(x).Max }},
	}
}

// busy returns the two rows of a Busy.
func busy[T any](ratio, total, what string, get func(*T) *Busy) []row[T] {
	return []row[T]{
		{ratio, Ratio, "", "part of the time: " + what, func(x *T) float64 { return get(x).Ratio }},
		{total, Counter, "ns", what, func(x *T) float64 { return get(x).Total }},
	}
}

// one returns a row alone.
func one[T any](name string, kind Kind, unit, what string, get func(*T) float64) []row[T] {
	return []row[T]{{name, kind, unit, what, get}}
}

func join[T any](groups ...[]row[T]) (all []row[T]) {
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

var producerRows = join(
	meter("record-send", "records", "records put into requests; those of a batch that is sent again count again", func(p *Producer) *Meter { return &p.RecordSend }),
	meter("record-retry", "records", "records put back to be sent again", func(p *Producer) *Meter { return &p.RecordRetry }),
	meter("record-error", "records", "records that failed, in Send or later", func(p *Producer) *Meter { return &p.RecordError }),
	average("record-size", "bytes", "upper bound of the size of the largest record in a batch, with a header of its own", func(p *Producer) *Average { return &p.RecordSize }),
	average("record-queue-time", "ms", "time from the opening of a batch until it leaves", func(p *Producer) *Average { return &p.RecordQueueTime }),
	average("batch-size", "bytes", "size of a batch as it is sent", func(p *Producer) *Average { return &p.BatchSize }),
	meter("batch-split", "batches", "batches that were too large for the broker and were split", func(p *Producer) *Meter { return &p.BatchSplit }),
	one("compression-rate-avg", Avg, "", "compressed by uncompressed size of a batch, on average", func(p *Producer) float64 { return p.CompressionRate }),
	one("records-per-request-avg", Avg, "records", "records in a Produce request, on average", func(p *Producer) float64 { return p.RecordsPerRequest }),
	average("request-latency", "ms", "time until a Produce request is answered", func(p *Producer) *Average { return &p.RequestLatency }),
	average("produce-throttle-time", "ms", "pause that an answer asks for, by a quota", func(p *Producer) *Average { return &p.ThrottleTime }),
	one("requests-in-flight", Gauge, "requests", "requests without an answer yet", func(p *Producer) float64 { return p.RequestsInFlight }),
	one("metadata-age", Gauge, "s", "time since the last answer with metadata", func(p *Producer) float64 { return p.MetadataAge }),

	one("buffer-total-bytes", Gauge, "bytes", "buffer.memory", func(p *Producer) float64 { return p.BufferTotal }),
	one("buffer-available-bytes", Gauge, "bytes", "memory that no batch has", func(p *Producer) float64 { return p.BufferAvailable }),
	meter("buffer-exhausted", "records", "records that found no memory within max.block.ms", func(p *Producer) *Meter { return &p.BufferExhausted }),
	busy("bufferpool-wait-ratio", "bufferpool-wait-time-ns-total", "Sends wait for memory (those of several goroutines add up)", func(p *Producer) *Busy { return &p.BufferWait }),
	one("waiting-threads", Gauge, "goroutines", "Sends that wait for memory now", func(p *Producer) float64 { return p.WaitingThreads }),

	one("metadata-wait-time-ns-total", Counter, "ns", "time that Sends waited for the metadata of their topics", func(p *Producer) float64 { return p.MetadataWaitTime }),
	one("flush-time-ns-total", Counter, "ns", "time that Flush took", func(p *Producer) float64 { return p.FlushTime }),
	one("txn-init-time-ns-total", Counter, "ns", "time that InitTransactions took", func(p *Producer) float64 { return p.TxnInitTime }),
	one("txn-begin-time-ns-total", Counter, "ns", "time that BeginTransaction took", func(p *Producer) float64 { return p.TxnBeginTime }),
	one("txn-send-offsets-time-ns-total", Counter, "ns", "time that SendOffsetsToTransaction took", func(p *Producer) float64 { return p.TxnSendOffsetsTime }),
	one("txn-prepare-time-ns-total", Counter, "ns", "time that PrepareTransaction took: none, two-phase commit is not built", func(p *Producer) float64 { return p.TxnPrepareTime }),
	one("txn-commit-time-ns-total", Counter, "ns", "time that CommitTransaction took", func(p *Producer) float64 { return p.TxnCommitTime }),
	one("txn-abort-time-ns-total", Counter, "ns", "time that AbortTransaction took", func(p *Producer) float64 { return p.TxnAbortTime }),

	meter("connection-creation", "connections", "connections that were made", func(p *Producer) *Meter { return &p.ConnectionCreation }),
	meter("connection-close", "connections", "connections that ended", func(p *Producer) *Meter { return &p.ConnectionClose }),
	one("connection-count", Gauge, "connections", "connections that there are", func(p *Producer) float64 { return p.ConnectionCount }),
	meter("successful-authentication", "connections", "connections that were authenticated, by SASL or TLS", func(p *Producer) *Meter { return &p.SuccessfulAuthentication }),
	one("successful-authentication-no-reauth-total", Counter, "connections", "the same: as in Java, where a client counts each of them here, too", func(p *Producer) float64 { return p.SuccessfulAuthenticationNoReauth }),
	meter("failed-authentication", "connections", "connections that could not be authenticated", func(p *Producer) *Meter { return &p.FailedAuthentication }),
	meter("successful-reauthentication", "connections", "times that a connection was authenticated again (KIP-368)", func(p *Producer) *Meter { return &p.SuccessfulReauthentication }),
	meter("failed-reauthentication", "connections", "times that a connection could not be authenticated again", func(p *Producer) *Meter { return &p.FailedReauthentication }),
	average("reauthentication-latency", "ms", "time that authenticating again took", func(p *Producer) *Average { return &p.ReauthenticationLatency }),
	meter("network-io", "operations", "reads and writes of connections", func(p *Producer) *Meter { return &p.NetworkIO }),
	trafficRows(func(p *Producer) *Traffic { return &p.Traffic }),

	meter("select", "turns", "turns of the goroutine that sends", func(p *Producer) *Meter { return &p.Select }),
	busy("io-ratio", "io-time-ns-total", "the goroutine that sends works", func(p *Producer) *Busy { return &p.IO }),
	one("io-time-ns-avg", Avg, "ns", "time that a turn of it takes, on average", func(p *Producer) float64 { return p.IOTime }),
	busy("io-wait-ratio", "io-wait-time-ns-total", "the goroutine that sends sleeps", func(p *Producer) *Busy { return &p.IOWait }),
	one("io-wait-time-ns-avg", Avg, "ns", "time that it sleeps between turns, on average", func(p *Producer) float64 { return p.IOWaitTime }),
)

// trafficRows returns the rows of a Traffic.
func trafficRows[T any](get func(*T) *Traffic) []row[T] {
	return join(
		meter("outgoing-byte", "bytes", "bytes sent", func(x *T) *Meter { return &get(x).Outgoing }),
		meter("incoming-byte", "bytes", "bytes read", func(x *T) *Meter { return &get(x).Incoming }),
		meter("request", "requests", "requests sent, of all kinds", func(x *T) *Meter { return &get(x).Request }),
		average("request-size", "bytes", "size of a request", func(x *T) *Average { return &get(x).RequestSize }),
		meter("response", "responses", "answers received", func(x *T) *Meter { return &get(x).Response }),
	)
}

var nodeRows = join(
	trafficRows(func(n *Node) *Traffic { return &n.Traffic }),
	average("request-latency", "ms", "time until a Produce request to the node is answered", func(n *Node) *Average { return &n.RequestLatency }),
)

var topicRows = join(
	meter("record-send", "records", "records put into requests", func(t *Topic) *Meter { return &t.RecordSend }),
	meter("record-retry", "records", "records put back to be sent again", func(t *Topic) *Meter { return &t.RecordRetry }),
	meter("record-error", "records", "records in batches that failed", func(t *Topic) *Meter { return &t.RecordError }),
	meter("byte", "bytes", "size of batches as they are sent", func(t *Topic) *Meter { return &t.Bytes }),
	one("compression-rate", Avg, "", "compressed by uncompressed size of a batch, on average", func(t *Topic) float64 { return t.CompressionRate }),
)

// appRow is a row of app-info, whose values are texts, and one time.
type appRow struct {
	name string
	kind Kind
	unit string
	help string
	get  func(*App) (float64, string)
}

var appRows = []appRow{
	{"version", Info, "", "version of this module", func(a *App) (float64, string) { return 1, a.Version }},
	{"commit-id", Info, "", "commit that it was built from", func(a *App) (float64, string) { return 1, a.Commit }},
	{"start-time-ms", Gauge, "ms", "when the producer was made, in milliseconds since 1970", func(a *App) (float64, string) { return float64(a.StartTime.UnixMilli()), "" }},
}

const countHelp = "number of metrics"

// yieldAll is All; it returns false if yield did.
func (s *Snapshot) yieldAll(yield func(Metric) bool) bool {
	client := []Tag{{"client-id", s.ClientID}}
	for _, r := range appRows {
		v, text := r.get(&s.App)
		if !yield(Metric{r.name, GroupApp, r.kind, r.unit, r.help, client, v, text}) {
			return false
		}
	}
	if !yield(Metric{"count", GroupCount, Gauge, "metrics", countHelp, client, float64(s.Count()), ""}) || !yieldRows(producerRows, &s.Producer, GroupProducer, client, yield) {
		return false
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if !yieldRows(nodeRows, n, GroupNode, append(client[:1:1], Tag{"node-id", "node-" + strconv.Itoa(int(n.ID))}), yield) {
			return false
		}
	}
	for i := range s.Topics {
		t := &s.Topics[i]
		if !yieldRows(topicRows, t, GroupTopic, append(client[:1:1], Tag{"topic", t.Name}), yield) {
			return false
		}
	}
	return true
}

func yieldRows[T any](rows []row[T], of *T, group string, tags []Tag, yield func(Metric) bool) bool {
	for i := range rows {
		r := &rows[i]
		if !yield(Metric{r.name, group, r.kind, r.unit, r.help, tags, r.get(of), ""}) {
			return false
		}
	}
	return true
}

// Known yields every metric that there can be, without a value: one node and one topic stand for all. It is for those who
// must name metrics before there are any.
func Known() iter.Seq[Metric] {
	return (&Snapshot{Nodes: make([]Node, 1), Topics: make([]Topic, 1)}).All()
}
