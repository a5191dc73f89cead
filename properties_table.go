package quill

import (
	"strconv"
	"time"

	"github.com/quill-kafka/quill/internal/provider"
)

// status says how this library treats a property.
type status uint8

const (
	statusSupported status = iota
	statusNoEffect         // accepted and reported once in the log
	statusNotYet           // New refuses it
)

// importance is Kafka's.
type importance string

const (
	importanceHigh   importance = "HIGH"
	importanceMedium importance = "MEDIUM"
	importanceLow    importance = "LOW"
)

// property is one row of the table: a producer property of Kafka and what it means here.
type property struct {
	name  string
	field string                   // the field of Config, empty if there is none
	value propertyValue            // ties both together; nil without a field
	now   func(s *settings) string // the value in force, of a property that New may change because of others; else nil
	kept  bool                     // there is no field, but the text is checked, and kept for what New makes of it
	help  string
	importance
	status
	note string // statusNoEffect: the reason; statusNotYet: the missing feature

	typ, def, valid string // Kafka's words; init takes them from value where there is one
}

// propertyGroup is a section of the reference page.
type propertyGroup struct {
	title string
	rows  []property
}

// properties is the table from which everything about properties is derived: parsing and printing them,
// checking a Config, its defaults, warnings about them, and docs/configuration.md.
// The rows are the 120 properties of Kafka 4.4's producer.
var properties = [...]propertyGroup{
	{"Bootstrap, metadata, connections", connectionProperties},
	{"Batching, memory, sending, retries", sendingProperties},
	{"Partitioning, plug-ins, metrics", pluginProperties},
	{"Idempotence and transactions", transactionProperties},
	{"TLS", sslProperties},
	{"SASL", saslProperties},
}

// The values that resolve reads: a row names its own, and so does resolve, so that neither can name one that is not there.
var (
	bootstrapResolveTimeoutValue = millisValue{at: func(c *Config) *time.Duration { return &c.BootstrapResolveTimeout },
		typ: "LONG"}
	connectionsMaxIdleValue = millisValue{at: func(c *Config) *time.Duration { return &c.ConnectionsMaxIdle },
		typ: "LONG", def: 9 * time.Minute, min: noMin, ever: true}
	metadataClusterCheckValue = toggleValue{func(c *Config) **bool { return &c.MetadataClusterCheck }}
	metadataMaxAgeValue       = millisValue{at: func(c *Config) *time.Duration { return &c.MetadataMaxAge },
		typ: "LONG", def: 5 * time.Minute}
	metadataMaxIdleValue = millisValue{at: func(c *Config) *time.Duration { return &c.MetadataMaxIdle },
		typ: "LONG", def: 5 * time.Minute, min: 5000}
	metadataRecoveryRebootstrapTriggerValue = millisValue{at: func(c *Config) *time.Duration { return &c.MetadataRecoveryRebootstrapTrigger },
		typ: "LONG", def: 5 * time.Minute}
	receiveBufferBytesValue = numberValue[int]{at: func(c *Config) *int { return &c.ReceiveBufferBytes },
		unit: "bytes", typ: "INT", def: 32 << 10, min: -1, max: maxInt32, low: true}
	reconnectBackoffMaxValue = millisValue{at: func(c *Config) *time.Duration { return &c.ReconnectBackoffMax },
		typ: "LONG", def: time.Second}
	reconnectBackoffValue = millisValue{at: func(c *Config) *time.Duration { return &c.ReconnectBackoff },
		typ: "LONG", def: 50 * time.Millisecond}
	sendBufferBytesValue = numberValue[int]{at: func(c *Config) *int { return &c.SendBufferBytes },
		unit: "bytes", typ: "INT", def: 128 << 10, min: -1, max: maxInt32, low: true}
	socketConnectionSetupTimeoutMaxValue = millisValue{name: "socket.connection.setup.timeout.max.ms",
		at:  func(c *Config) *time.Duration { return &c.SocketConnectionSetupTimeoutMax },
		typ: "LONG", def: 30 * time.Second, min: noMin, must: true}
	socketConnectionSetupTimeoutValue = millisValue{name: "socket.connection.setup.timeout.ms",
		at:  func(c *Config) *time.Duration { return &c.SocketConnectionSetupTimeout },
		typ: "LONG", def: 10 * time.Second, min: noMin, must: true}
	batchSizeValue = numberValue[int]{at: func(c *Config) *int { return &c.BatchSize },
		unit: "bytes", typ: "INT", def: 16 << 10, max: maxInt32}
	bufferMemoryValue = numberValue[int64]{at: func(c *Config) *int64 { return &c.BufferMemory },
		unit: "bytes", typ: "LONG", def: 32 << 20, max: maxInt64, must: true}
	deliveryTimeoutValue = millisValue{at: func(c *Config) *time.Duration { return &c.DeliveryTimeout },
		typ: "INT", def: 2 * time.Minute}
	lingerValue = millisValue{at: func(c *Config) *time.Duration { return &c.Linger },
		typ: "LONG", def: 5 * time.Millisecond}
	maxBlockValue = millisValue{at: func(c *Config) *time.Duration { return &c.MaxBlock },
		typ: "LONG", def: time.Minute}
	maxInFlightRequestsPerConnectionValue = numberValue[int]{at: func(c *Config) *int { return &c.MaxInFlightRequestsPerConnection },
		typ: "INT", def: 5, min: 1, max: maxInt32}
	maxRequestSizeValue = numberValue[int]{at: func(c *Config) *int { return &c.MaxRequestSize },
		unit: "bytes", typ: "INT", def: 1 << 20, max: maxInt32, must: true}
	requestTimeoutValue = millisValue{at: func(c *Config) *time.Duration { return &c.RequestTimeout },
		typ: "INT", def: 30 * time.Second}
	retriesValue = numberValue[int]{at: func(c *Config) *int { return &c.Retries },
		typ: "INT", def: maxInt32, max: maxInt32, valid: "[0,...,2147483647]"}
	retryBackoffMaxValue = millisValue{name: "retry.backoff.max.ms",
		at:  func(c *Config) *time.Duration { return &c.RetryBackoffMax },
		typ: "LONG", def: time.Second}
	retryBackoffValue = millisValue{name: "retry.backoff.ms",
		at:  func(c *Config) *time.Duration { return &c.RetryBackoff },
		typ: "LONG", def: 100 * time.Millisecond}
	enableMetricsPushValue = toggleValue{func(c *Config) **bool { return &c.EnableMetricsPush }}
	metricsNumSamplesValue = numberValue[int]{at: func(c *Config) *int { return &c.MetricsNumSamples },
		typ: "INT", def: 2, min: 1, max: maxInt32}
	metricsSampleWindowValue = millisValue{at: func(c *Config) *time.Duration { return &c.MetricsSampleWindow },
		typ: "LONG", def: 30 * time.Second}
	partitionerAdaptivePartitioningValue = toggleValue{func(c *Config) **bool { return &c.PartitionerAdaptivePartitioning }}
	partitionerAvailabilityTimeoutValue  = millisValue{at: func(c *Config) *time.Duration { return &c.PartitionerAvailabilityTimeout },
		typ: "LONG"}
	idempotenceValue        = toggleValue{func(c *Config) **bool { return &c.Idempotence }}
	transactionTimeoutValue = millisValue{at: func(c *Config) *time.Duration { return &c.TransactionTimeout },
		typ: "INT", def: time.Minute, min: noMin, must: true}
)

// The names of the properties that code beside the table speaks of. Each name is a literal in one place only.
const (
	nameAcks                   = "acks"
	nameAllocationStrategy     = "buffer.memory.allocation.strategy"
	nameBootstrapServers       = "bootstrap.servers"
	nameBufferMemory           = "buffer.memory"
	nameDeliveryTimeout        = "delivery.timeout.ms"
	nameEndpointIdentification = "ssl.endpoint.identification.algorithm"
	nameInterceptorClasses     = "interceptor.classes"
	nameMaxInFlight            = "max.in.flight.requests.per.connection"
	nameMetricReporters        = "metric.reporters"
	namePartitionerClass       = "partitioner.class"
	nameRackAware              = "partitioner.rack.aware"
	nameRetries                = "retries"
	nameSASLMechanism          = "sasl.mechanism"
	nameSecurityProtocol       = "security.protocol"
	nameTransactionTimeout     = "transaction.timeout.ms"
	nameTransactionalID        = "transactional.id"
	nameTwoPhaseCommit         = "transaction.two.phase.commit.enable"
)

// propertyByName is filled by init, so that the table may refer to functions that use it.
var propertyByName = map[string]*property{}

func init() {
	for _, group := range properties {
		for i := range group.rows {
			row := &group.rows[i]
			if row.value != nil {
				row.typ, row.def, row.valid = row.value.kafka()
			}
			propertyByName[row.name] = row
		}
	}
}

const (
	needsTelemetry      = "client telemetry is not built yet"
	jmxReporter         = "org.apache.kafka.common.metrics.JmxReporter"
	needsTwoPhaseCommit = "two-phase commit"
	givenToNew          = "names a Java class; the Go value is an argument of New"
)

var connectionProperties = []property{
	{name: nameBootstrapServers, field: "BootstrapServers", importance: importanceHigh, value: serversValue{},
		help: "Addresses at which the cluster is first looked for, host:port separated by commas."},
	{name: "bootstrap.resolve.timeout.ms", field: "BootstrapResolveTimeout", importance: importanceHigh,
		value: bootstrapResolveTimeoutValue,
		help:  "If no bootstrap name can be resolved, it is tried again for this long, from the first attempt on; then every call fails. With 0, New fails at once (KIP-909). No effect with a DialContext."},
	{name: "client.dns.lookup", field: "ResolveCanonicalBootstrapServersOnly", importance: importanceMedium,
		value: choiceValue[bool]{at: func(c *Config) *bool { return &c.ResolveCanonicalBootstrapServersOnly }, def: "use_all_dns_ips", words: []choiceWord[bool]{
			{"use_all_dns_ips", false}, {"resolve_canonical_bootstrap_servers_only", true}}},
		help: "Try all addresses of a name in turn, or first turn bootstrap servers into canonical names."},
	{name: "client.id", field: "ClientID", importance: importanceMedium,
		value: textValue{at: func(c *Config) *string { return &c.ClientID }, typ: "STRING", def: `""`, given: func(c *Config) *bool { return &c.props.clientID }},
		now:   func(s *settings) string { return s.clientID },
		help:  "Name of this client in the brokers' logs, metrics and quotas. If not given, `producer-N`, or `producer-` and the transactional id; empty text stays empty."},
	{name: "client.rack", field: "ClientRack", importance: importanceLow,
		value: textValue{at: func(c *Config) *string { return &c.ClientRack }, typ: "STRING", def: `""`, valid: "non-blank when partitioner.rack.aware=true (post-check)"},
		help:  "Where this client runs; see partitioner.rack.aware."},
	{name: provider.List, importance: importanceLow, kept: true, typ: "LIST", def: `""`,
		help: "Names of providers that `${name:path:key}` in values is looked up in (KIP-297). `config.providers.NAME.class` is Kafka's FileConfigProvider, DirectoryConfigProvider or EnvVarConfigProvider, or one that package provider registers; `config.providers.NAME.param.*` are its parameters (allowed.paths, allowlist.pattern)."},
	{name: "connections.max.idle.ms", field: "ConnectionsMaxIdle", importance: importanceMedium,
		value: connectionsMaxIdleValue,
		help:  "When an idle connection is closed. Negative: never; 0 counts as 1 ms."},
	{name: "metadata.cluster.check.enable", field: "MetadataClusterCheck", importance: importanceLow, status: statusNoEffect, note: "the check is not built yet",
		value: metadataClusterCheckValue,
		help:  "Let brokers notice connections that were meant for another cluster (KIP-1242)."},
	{name: "metadata.max.age.ms", field: "MetadataMaxAge", importance: importanceLow,
		value: metadataMaxAgeValue,
		help:  "Age at which metadata is fetched again without need."},
	{name: "metadata.max.idle.ms", field: "MetadataMaxIdle", importance: importanceLow,
		value: metadataMaxIdleValue,
		help:  "How long a topic that nothing is sent to is remembered."},
	{name: "metadata.recovery.rebootstrap.trigger.ms", field: "MetadataRecoveryRebootstrapTrigger", importance: importanceLow,
		value: metadataRecoveryRebootstrapTriggerValue,
		help:  "How long to wait without new metadata before the client begins again with the bootstrap servers (KIP-1102). With 0, it does so at the first request without an answer."},
	{name: "metadata.recovery.strategy", field: "NoRebootstrap", importance: importanceLow,
		value: choiceValue[bool]{at: func(c *Config) *bool { return &c.NoRebootstrap }, def: "rebootstrap", folded: true, words: []choiceWord[bool]{
			{"REBOOTSTRAP", false}, {"NONE", true}}},
		help: "What happens when no known node can be reached (KIP-899)."},
	{name: "receive.buffer.bytes", field: "ReceiveBufferBytes", importance: importanceMedium,
		value: receiveBufferBytesValue,
		help:  "Receive buffer of sockets (SO_RCVBUF). -1, and here also 0: the operating system's choice."},
	{name: "reconnect.backoff.max.ms", field: "ReconnectBackoffMax", importance: importanceLow,
		value: reconnectBackoffMaxValue,
		now:   func(s *settings) string { return millisText(s.reconnectBackoffMax) },
		help:  "Longest wait before a node is tried again. If only reconnect.backoff.ms is given, that."},
	{name: "reconnect.backoff.ms", field: "ReconnectBackoff", importance: importanceLow,
		value: reconnectBackoffValue,
		now:   func(s *settings) string { return millisText(s.reconnectBackoff) },
		help:  "First wait before a node is tried again; it doubles with every failure."},
	{name: nameSecurityProtocol, field: "SecurityProtocol", importance: importanceMedium,
		value: choiceValue[SecurityProtocol]{at: func(c *Config) *SecurityProtocol { return &c.SecurityProtocol }, def: "PLAINTEXT", folded: true, words: []choiceWord[SecurityProtocol]{
			{"SASL_SSL", SASLSSL}, {"PLAINTEXT", plaintext}, {"SSL", SSL}, {"SASL_PLAINTEXT", SASLPlaintext}}},
		now:  func(s *settings) string { return protocols[s.security.tls != nil][s.security.sasl != nil].String() },
		help: "How connections are secured. If it is left out in Go, it follows from Config.TLS and Config.SASL; leave it at PLAINTEXT if DialContext makes TLS connections."},
	{name: "security.providers", importance: importanceLow, status: statusNoEffect, note: "registers providers in the JVM",
		typ: "STRING", def: "null", help: "Java security providers."},
	{name: "send.buffer.bytes", field: "SendBufferBytes", importance: importanceMedium,
		value: sendBufferBytesValue,
		help:  "Send buffer of sockets (SO_SNDBUF). -1, and here also 0: the operating system's choice."},
	{name: socketConnectionSetupTimeoutMaxValue.name, field: "SocketConnectionSetupTimeoutMax", importance: importanceMedium,
		value: socketConnectionSetupTimeoutMaxValue,
		help:  "Longest time that setting up a connection may take (KIP-601). At least 1, unlike Java."},
	{name: socketConnectionSetupTimeoutValue.name, field: "SocketConnectionSetupTimeout", importance: importanceMedium,
		value: socketConnectionSetupTimeoutValue,
		now:   func(s *settings) string { return millisText(s.setupTimeout) },
		help:  "First time-out for setting up a connection; it doubles with every failure. At least 1, unlike Java."},
}

var sendingProperties = []property{
	{name: nameAcks, field: "Acks", importance: importanceLow,
		value: choiceValue[Acks]{at: func(c *Config) *Acks { return &c.Acks }, def: "all", words: []choiceWord[Acks]{
			{"all", AcksAll}, {"-1", AcksAll}, {"0", AcksNone}, {"1", AcksLeader}}},
		help: "Replicas that must have a batch before it counts as written: all in sync, the leader (1), or none (0). Other than all switches idempotence off."},
	{name: "batch.size", field: "BatchSize", importance: importanceMedium,
		value: batchSizeValue,
		help:  "Bytes of one partition that are sent together at most. 0: every record is a batch of its own. With compression they count as they are on the wire; before compression a batch has at most min(4 × batch.size, buffer.memory / 16), but never below batch.size."},
	{name: nameBufferMemory, field: "BufferMemory", importance: importanceHigh,
		value: bufferMemoryValue,
		help:  "Bytes that all waiting and unanswered records may take; a hard bound. When it is full, Send waits."},
	{name: nameAllocationStrategy, field: "IncrementalBufferMemory", importance: importanceMedium, status: statusNoEffect, note: "how memory is laid out is this library's own matter",
		value: choiceValue[bool]{at: func(c *Config) *bool { return &c.IncrementalBufferMemory }, def: "full", folded: true, words: []choiceWord[bool]{
			{"FULL", false}, {"INCREMENTAL", true}}},
		help: "Reserve batch.size for an open batch, or let it grow (KIP-1332). Checked as in Kafka."},
	{name: "compression.gzip.level", field: "CompressionGzipLevel", importance: importanceMedium,
		value: levelValue{at: func(c *Config) **int { return &c.CompressionGzipLevel }, def: -1, min: 1, max: 9, extra: -1, valid: "[1,...,9] or -1"},
		help:  "1 is fast, 9 is small, -1 is 6. Checked for every codec. See Compression levels."},
	{name: "compression.lz4.level", field: "CompressionLZ4Level", importance: importanceMedium,
		value: levelValue{at: func(c *Config) **int { return &c.CompressionLZ4Level }, def: 9, min: 1, max: 17, extra: 9, valid: "[1,...,17]"},
		help:  "9 is the fast compressor, as in Java; the others are the thorough one: 1 and 2, 3, 4 to 17 are one level each. Checked for every codec. See Compression levels."},
	{name: "compression.type", field: "Compression", importance: importanceHigh,
		value: choiceValue[Compression]{at: func(c *Config) *Compression { return &c.Compression }, def: "none", words: []choiceWord[Compression]{
			{"none", CompressionNone}, {"gzip", CompressionGzip}, {"snappy", CompressionSnappy}, {"lz4", CompressionLZ4}, {"zstd", CompressionZstd}}},
		help: "Codec that batches are compressed with. If data shrinks to less than a quarter, batches are smaller than batch.size: see there."},
	{name: "compression.zstd.level", field: "CompressionZstdLevel", importance: importanceMedium,
		value: levelValue{at: func(c *Config) **int { return &c.CompressionZstdLevel }, def: 3, min: -131072, max: 22, extra: 3, valid: "[-131072,...,22]"},
		help:  "Negative is fastest, 22 is small, 0 is 3. Below 0, 0 to 3, 4 and 5, 6 to 9, 10 to 22 are one level each. Checked for every codec. See Compression levels."},
	{name: nameDeliveryTimeout, field: "DeliveryTimeout", importance: importanceMedium,
		value: deliveryTimeoutValue,
		now:   func(s *settings) string { return millisText(s.deliveryTimeout) },
		help:  "When a record without an answer is given up. If given, at least linger.ms + request.timeout.ms; if not, raised to that."},
	{name: "linger.ms", field: "Linger", importance: importanceMedium,
		value: lingerValue,
		help:  "How long a batch that is not full waits for more records."},
	{name: "max.block.ms", field: "MaxBlock", importance: importanceMedium,
		value: maxBlockValue,
		help:  "How long Send may wait for metadata and memory together."},
	{name: nameMaxInFlight, field: "MaxInFlightRequestsPerConnection", importance: importanceLow,
		value: maxInFlightRequestsPerConnectionValue,
		help:  "Unanswered requests on one connection. At most 5 with idempotence, even if acks or retries switch that off."},
	{name: "max.request.size", field: "MaxRequestSize", importance: importanceMedium,
		value: maxRequestSizeValue,
		help:  "Largest request, and largest record before compression."},
	{name: "request.timeout.ms", field: "RequestTimeout", importance: importanceMedium,
		value: requestTimeoutValue,
		help:  "How long an answer may take before the connection is closed and the batch retried, and how long brokers wait for replicas. With 0 an answer has to come in the same millisecond."},
	{name: nameRetries, field: "Retries", importance: importanceHigh,
		value: retriesValue,
		help:  "How often a batch is sent again; delivery.timeout.ms is the better limit. 0 switches idempotence off."},
	{name: retryBackoffMaxValue.name, field: "RetryBackoffMax", importance: importanceLow,
		value: retryBackoffMaxValue,
		help:  "Longest wait before something is sent again."},
	{name: retryBackoffValue.name, field: "RetryBackoff", importance: importanceLow,
		value: retryBackoffValue,
		now:   func(s *settings) string { return millisText(s.retryBackoff) },
		help:  "First wait before something is sent again; it doubles with every failure (KIP-580)."},
}

var pluginProperties = []property{
	{name: "enable.metrics.push", field: "EnableMetricsPush", importance: importanceLow, status: statusNoEffect, note: needsTelemetry,
		value: enableMetricsPushValue,
		help:  "Send the brokers the metrics they ask for (KIP-714)."},
	{name: nameInterceptorClasses, importance: importanceLow, status: statusNoEffect, note: givenToNew,
		typ: "LIST", def: `""`, valid: anyList, help: "Interceptors, in order."},
	{name: "key.serializer", importance: importanceHigh, status: statusNoEffect, note: givenToNew,
		typ: "CLASS", def: "(required)", help: "Serializer of keys."},
	{name: nameMetricReporters, field: "MetricsReporters", importance: importanceLow,
		value: listValue{textValue{at: func(c *Config) *string { return &c.props.reporters }, typ: "LIST", def: jmxReporter, valid: anyList}},
		help:  "Java classes, so New refuses them unless Config.MetricsReporters is set to their Go counterparts. JmxReporter has no effect, since there is no JMX: Producer.Metrics has the same names."},
	{name: "metrics.num.samples", field: "MetricsNumSamples", importance: importanceLow,
		value: metricsNumSamplesValue,
		help:  "Windows of time that rates, averages and maxima are taken of."},
	{name: "metrics.recording.level", field: "MetricsRecordingLevel", importance: importanceLow, status: statusNoEffect, note: "as in Java, all metrics of a producer are of level INFO",
		value: choiceValue[string]{at: func(c *Config) *string { return &c.MetricsRecordingLevel }, def: "INFO", words: []choiceWord[string]{
			{"INFO", ""}, {"INFO", "INFO"}, {"DEBUG", "DEBUG"}, {"TRACE", "TRACE"}}},
		help: "How detailed metrics are."},
	{name: "metrics.sample.window.ms", field: "MetricsSampleWindow", importance: importanceLow,
		value: metricsSampleWindowValue,
		help:  "Length of a window. 0 counts as 1, where Java fails to measure."},
	{name: "partitioner.adaptive.partitioning.enable", field: "PartitionerAdaptivePartitioning", importance: importanceLow,
		value: partitionerAdaptivePartitioningValue,
		help:  "Send more records without a key to partitions with shorter queues (KIP-794). No effect with a Partitioner."},
	{name: "partitioner.availability.timeout.ms", field: "PartitionerAvailabilityTimeout", importance: importanceLow,
		value: partitionerAvailabilityTimeoutValue,
		help:  "Leave out partitions whose node took no batch for this long. 0: leave none out."},
	{name: namePartitionerClass, field: "Partitioner", importance: importanceMedium,
		value: classValue{textValue{at: func(c *Config) *string { return &c.props.partitioner }, typ: "CLASS", def: "null"}},
		help:  "A Java class, so New refuses it unless Config.Partitioner is set to its Go counterpart. If not given, the built-in partitioner, which places keys as Java's does."},
	{name: "partitioner.ignore.keys", field: "PartitionerIgnoreKeys", importance: importanceMedium,
		value: flagValue{func(c *Config) *bool { return &c.PartitionerIgnoreKeys }},
		help:  "Treat records with a key as if they had none."},
	{name: nameRackAware, field: "PartitionerRackAware", importance: importanceLow,
		value: flagValue{func(c *Config) *bool { return &c.PartitionerRackAware }},
		help:  "Send records without a key to leaders in client.rack, if there are any (KIP-1123)."},
	{name: "value.serializer", importance: importanceHigh, status: statusNoEffect, note: givenToNew,
		typ: "CLASS", def: "(required)", help: "Serializer of values."},
}

var transactionProperties = []property{
	{name: "enable.idempotence", field: "Idempotence", importance: importanceLow,
		value: idempotenceValue,
		now:   func(s *settings) string { return strconv.FormatBool(s.idempotent) },
		help:  "Write each record once and in order although batches are retried. If given as true, acks and retries must allow it."},
	{name: nameTransactionTimeout, field: "TransactionTimeout", importance: importanceLow,
		value: transactionTimeoutValue,
		help:  "When the coordinator aborts a transaction that stays open. At least 1, as brokers demand. Without a transactional id it means nothing."},
	{name: nameTwoPhaseCommit, field: "TransactionTwoPhaseCommit", importance: importanceLow, status: statusNotYet, note: needsTwoPhaseCommit,
		value: flagValue{func(c *Config) *bool { return &c.TransactionTwoPhaseCommit }},
		help:  "Transactions never time out (KIP-939). Not together with transaction.timeout.ms. With a transactional.id, New refuses it so far."},
	{name: nameTransactionalID, field: "TransactionalID", importance: importanceLow,
		value: textValue{at: func(c *Config) *string { return &c.TransactionalID }, typ: "STRING", def: "null", valid: "non-empty string", nonEmpty: true},
		help:  "Identity that survives restarts; makes transactions possible. Of producers with the same one, only the latest can write."},
}
