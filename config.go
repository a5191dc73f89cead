package quill

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/quill-kafka/quill/metrics"
	"github.com/quill-kafka/quill/network/sasl"
)

// Config is the configuration of a producer. Only BootstrapServers is required: the zero value of every
// other field is Kafka's default.
//
// One rule holds for numbers and durations: zero is the default, negative is none. So Linger: -1
// does not linger and Retries: -1 does not retry, which Kafka's properties write as 0. Exceptions say so
// at their fields, such as RequestTimeout and BufferMemory. A field that
// is not zero counts as set by hand even if it equals the default; that matters where Kafka adjusts
// defaults and refuses contradictions (Idempotence, DeliveryTimeout). A duration below a microsecond is
// refused: Linger: 5 is 5 nanoseconds, and was meant as 5*time.Millisecond.
//
// New checks the whole Config and reports all faults at once as a *ConfigError. The Config given to
// New may be changed or used again afterwards; the values that its pointers, slices and functions refer to
// belong to the producer until it is closed.
//
// ParseProperties and LoadProperties make a Config from Kafka's property names; docs/configuration.md
// lists them all.
type Config struct {
	// BootstrapServers are the host:port addresses the cluster is first looked for at; a few are
	// enough. IPv6 addresses stand in brackets. Kafka: bootstrap.servers. Required.
	BootstrapServers []string
	// BootstrapResolveTimeout: if no name in BootstrapServers can be resolved, it is tried again for this long,
	// from the first attempt on; then every call fails, and the producer can't go on. With a
	// DialContext, which resolves names itself, it has no effect.
	// Kafka: bootstrap.resolve.timeout.ms. If zero, New itself fails at once.
	BootstrapResolveTimeout time.Duration
	// ResolveCanonicalBootstrapServersOnly replaces each bootstrap server by the canonical names of its addresses, as
	// Kerberos needs it. Otherwise all addresses of a name are tried in turn. Kafka: client.dns.lookup.
	ResolveCanonicalBootstrapServersOnly bool
	// ClientID names this client to the brokers: in their logs, metrics and quotas.
	// Kafka: client.id. If empty, "producer-N", or "producer-" and the TransactionalID.
	ClientID string
	// ClientRack is where this client runs, for PartitionerRackAware. Kafka: client.rack.
	ClientRack string

	// MetadataMaxAge is how old metadata may be before it is fetched again without need.
	// Kafka: metadata.max.age.ms. If zero, 5m; if negative, none.
	MetadataMaxAge time.Duration
	// MetadataMaxIdle is how long a topic that nothing is sent to is remembered; at least 5s.
	// Kafka: metadata.max.idle.ms. If zero, 5m.
	MetadataMaxIdle time.Duration
	// NoRebootstrap keeps trying the nodes known last when none of them can be reached. Otherwise the client begins
	// again with BootstrapServers (KIP-899). Kafka: metadata.recovery.strategy=none.
	NoRebootstrap bool
	// MetadataRecoveryRebootstrapTrigger is how long to wait without new metadata before the client begins
	// again with BootstrapServers. Kafka: metadata.recovery.rebootstrap.trigger.ms. If zero, 5m; if negative, it
	// does so at the first request without an answer.
	MetadataRecoveryRebootstrapTrigger time.Duration
	// MetadataClusterCheck lets brokers notice connections meant for another cluster (KIP-1242).
	// Kafka: metadata.cluster.check.enable. If nil, on. No effect yet.
	MetadataClusterCheck *bool

	// SecurityProtocol secures connections. It need not be set: by default it follows from TLS and SASL, and if it is set
	// to something else than they say, New refuses that. SSL and SASLSSL without TLS trust the system's authorities.
	// Leave it out if DialContext makes TLS connections. Kafka: security.protocol.
	SecurityProtocol SecurityProtocol
	// TLS secures connections, if not nil; New clones it. Its zero value trusts the system's authorities. ServerName is best
	// left empty: then each node's certificate has to name the host that the client connects to, as it is configured
	// or advertised. Certificates are those of this client, if the brokers want one (mutual TLS).
	TLS *tls.Config
	// SASL authenticates connections, if not nil: a mechanism of package sasl, or one of the application's. With PLAIN and
	// OAUTHBEARER use TLS too, since whoever sees the connection sees the credentials. It is called by several goroutines at
	// once. When a broker limits a session, the connection authenticates again in time (KIP-368). Kafka: sasl.mechanism.
	SASL sasl.Mechanism
	// ConnectionsMaxIdle is when an idle connection is closed.
	// Kafka: connections.max.idle.ms. If zero, 9m; if negative, never.
	ConnectionsMaxIdle time.Duration
	// SocketConnectionSetupTimeout is how long setting up a connection may take. It doubles with every
	// failure in a row up to SocketConnectionSetupTimeoutMax (KIP-601).
	// Kafka: socket.connection.setup.timeout.ms. If zero, 10s.
	SocketConnectionSetupTimeout time.Duration
	// SocketConnectionSetupTimeoutMax is the longest set-up time-out.
	// Kafka: socket.connection.setup.timeout.max.ms. If zero, 30s.
	SocketConnectionSetupTimeoutMax time.Duration
	// ReconnectBackoff is the wait before a node is tried again. It doubles with every failure in a
	// row up to ReconnectBackoffMax. Kafka: reconnect.backoff.ms. If zero, 50ms; if negative, none.
	ReconnectBackoff time.Duration
	// ReconnectBackoffMax is the longest such wait. Kafka: reconnect.backoff.max.ms.
	// If zero, 1s, or ReconnectBackoff if that is set; if negative, none.
	ReconnectBackoffMax time.Duration
	// SendBufferBytes is the socket's send buffer. Kafka: send.buffer.bytes.
	// If zero, 128 KiB; if -1, the operating system's choice.
	SendBufferBytes int
	// ReceiveBufferBytes is the socket's receive buffer. Kafka: receive.buffer.bytes.
	// If zero, 32 KiB; if -1, the operating system's choice.
	ReceiveBufferBytes int
	// DialContext opens connections: for TLS, for proxies, for tests, and to refuse addresses, since the cluster
	// says where its nodes are. It gets host names, not IP addresses. It must end when ctx does
	// and may be called by several goroutines at once. If nil, net.Dialer's.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Acks is how many replicas must have a batch before it counts as written. Kafka: acks.
	Acks Acks
	// Idempotence writes each record once and in order although batches are retried.
	// Kafka: enable.idempotence. If nil, it is on unless Acks or Retries rule it out; if true, such an Acks or Retries is
	// an error. Idempotence: new(false) switches it off.
	Idempotence *bool
	// Retries is how often a batch is sent again. DeliveryTimeout is the better limit.
	// Kafka: retries. If zero, 2147483647; if negative, no retry.
	Retries int
	// RetryBackoff is the wait before a batch or a metadata request is sent again. It doubles with
	// every failure up to RetryBackoffMax (KIP-580). Kafka: retry.backoff.ms. If zero, 100ms; if negative, none.
	RetryBackoff time.Duration
	// RetryBackoffMax is the longest such wait. Kafka: retry.backoff.max.ms. If zero, 1s; if negative, none.
	RetryBackoffMax time.Duration
	// DeliveryTimeout is when a record without an answer is given up, counted from its Send. It
	// must cover Linger and RequestTimeout. Records of a batch are given up together, when the first of
	// them has had its time: the others have had at least three quarters of theirs, for a batch takes no
	// more records after a quarter (Java's does: the last may have next to nothing), unless more than
	// half of BufferMemory is in use.
	// Kafka: delivery.timeout.ms. If zero, 2m, or more if Linger and RequestTimeout need it; if negative, none.
	DeliveryTimeout time.Duration
	// RequestTimeout is how long an answer may take, from when the request was written and those before it are
	// answered; then the connection is closed and the batch retried.
	// Kafka: request.timeout.ms. If zero, 30s; if negative, 1ms for an answer and 0 for brokers to wait for replicas.
	RequestTimeout time.Duration
	// MaxBlock is how long Send may wait for metadata and memory together. After a standstill of the process of more
	// than 100ms beyond it, it has as long again, but at most 500ms, for what has come meanwhile.
	// Kafka: max.block.ms. If zero, 1m; if negative, Send never waits.
	MaxBlock time.Duration
	// MaxInFlightRequestsPerConnection is how many requests may wait for their answers on one
	// connection; at most 5 with idempotence. Without idempotence more than 1 can reorder records on retries.
	// Kafka: max.in.flight.requests.per.connection. If zero, 5.
	MaxInFlightRequestsPerConnection int
	// MaxRequestSize bounds a request, and a single record before compression.
	// Kafka: max.request.size. If zero, 1 MiB; must not be negative.
	MaxRequestSize int

	// BatchSize is how many bytes of one partition are sent together at most, unless one record is
	// larger. With Compression that is their size on the wire; before compression a batch has at most
	// four times as many: raise it for data that shrinks to less than a quarter.
	// Kafka: batch.size. If zero, 16 KiB; if negative, every record is a batch of its own.
	BatchSize int
	// Linger is how long a batch that is not full waits for more records at most: it goes along when another batch
	// for the same node is due and the request has room.
	// Kafka: linger.ms. If zero, 5ms; if negative, none.
	Linger time.Duration
	// BufferMemory bounds the bytes of all records that wait or are in flight.
	// Kafka: buffer.memory. If zero, 32 MiB; must not be negative.
	BufferMemory int64
	// IncrementalBufferMemory is checked as in Kafka and changes nothing here (KIP-1332).
	// Kafka: buffer.memory.allocation.strategy=incremental.
	IncrementalBufferMemory bool
	// Compression is the codec for batches. Kafka: compression.type.
	Compression Compression
	// CompressionGzipLevel is 1 (fast) to 9 (small), or -1 for 6.
	// Kafka: compression.gzip.level. If nil, -1.
	CompressionGzipLevel *int
	// CompressionLZ4Level is 1 to 17 (small); 9 is the fast compressor, as in Java. Some levels are equal:
	// see docs/configuration.md. Kafka: compression.lz4.level. If nil, 9.
	CompressionLZ4Level *int
	// CompressionZstdLevel is -131072 (fast) to 22 (small). Five of them differ here: see
	// docs/configuration.md. Kafka: compression.zstd.level. If nil, 3.
	CompressionZstdLevel *int

	// Partitioner chooses partitions. If nil, records go where they say, else by their key's hash as
	// in Java, else to a partition that is kept for a batch and then left for a less busy one.
	// Kafka: partitioner.class.
	Partitioner Partitioner
	// PartitionerAdaptivePartitioning sends more records without a key to partitions with shorter
	// queues (KIP-794). Kafka: partitioner.adaptive.partitioning.enable. If nil, on.
	PartitionerAdaptivePartitioning *bool
	// PartitionerAvailabilityTimeout leaves out partitions whose node took no batch for this long.
	// Kafka: partitioner.availability.timeout.ms. If zero, no partition is left out.
	PartitionerAvailabilityTimeout time.Duration
	// PartitionerIgnoreKeys treats records with a key as if they had none. Kafka: partitioner.ignore.keys.
	PartitionerIgnoreKeys bool
	// PartitionerRackAware sends records without a key to leaders in ClientRack (KIP-1123).
	// Kafka: partitioner.rack.aware.
	PartitionerRackAware bool

	// TransactionalID is an identity that survives restarts and makes transactions possible: see
	// InitTransactions. Of producers with the same one only the latest can write. Records can be sent in
	// transactions only.
	// Kafka: transactional.id. If empty, none.
	TransactionalID string
	// TransactionTimeout is when the coordinator aborts a transaction that stays open.
	// Kafka: transaction.timeout.ms. If zero, 1m.
	TransactionTimeout time.Duration
	// TransactionTwoPhaseCommit makes transactions that never time out (KIP-939). With a TransactionalID,
	// New refuses it so far.
	// Kafka: transaction.two.phase.commit.enable.
	TransactionTwoPhaseCommit bool

	// MetricsNumSamples is how many windows of time rates, averages and maxima of Metrics are taken of. Kafka:
	// metrics.num.samples. If zero, 2.
	MetricsNumSamples int
	// MetricsSampleWindow is the length of a window. Kafka: metrics.sample.window.ms. If zero, 30s; if
	// negative, a millisecond.
	MetricsSampleWindow time.Duration
	// MetricsRecordingLevel is how detailed metrics are: INFO, DEBUG or TRACE. Kafka: metrics.recording.level. If empty,
	// INFO. It changes nothing: as in Java, all metrics of a producer are of level INFO.
	MetricsRecordingLevel string
	// MetricsReporters are informed of metrics that are added and removed. Kafka: metric.reporters.
	MetricsReporters []metrics.Reporter
	// EnableMetricsPush sends the brokers the metrics they ask for (KIP-714).
	// Kafka: enable.metrics.push. If nil, on. No effect yet.
	EnableMetricsPush *bool

	// Logger gets what no error reports: lost connections, retries, questionable configuration; and
	// records that failed, counted by topic and cause (see docs/logging.md). There is no line for each
	// record. Its handler must not wait for this producer: lines come from the goroutine that sends.
	// If nil, warnings and errors go to slog.Default(); slog.New(slog.DiscardHandler) silences them.
	Logger *slog.Logger

	props givenProperties
}

// givenProperties holds what the properties say beyond the exported fields.
type givenProperties struct {
	clientID    bool              // client.id was given; empty stays empty then
	partitioner string            // partitioner.class, a Java class
	reporters   string            // metric.reporters, Java classes
	texts       map[string]string // properties with a field, as they were written
	noEffect    map[string]string // properties without a field: their values, secrets hidden
	unknown     []string          // names that are no Kafka property, sorted
	all         map[string]string // every one, with the values of providers, secrets hidden
	provided    map[string]string // properties of whose value a part came from a provider, as they were written
	missing     []string          // variables in values that no provider has, with their properties

	// kept has properties without a field of which New makes something. All of them are held as secrets: fmt shows what a Config holds.
	kept map[string]sasl.Secret
}

// Acks is how many replicas must have a batch before the broker answers.
type Acks uint8

const (
	// AcksAll waits for every in-sync replica. It is the default and the only one idempotence can use.
	AcksAll Acks = iota
	// AcksLeader waits for the leader alone: a batch is lost if the leader fails before others copied it.
	AcksLeader
	// AcksNone waits for no answer: offsets are unknown, nothing is retried, and lost records are not noticed.
	AcksNone
)

// String returns the property's text: "all", "1" or "0".
func (a Acks) String() string { return enumName("Acks", []string{"all", "1", "0"}, a) }

// Compression is the codec that whole batches are compressed with.
type Compression uint8

// The codecs of Kafka.
const (
	CompressionNone Compression = iota
	CompressionGzip
	CompressionSnappy
	CompressionLZ4
	CompressionZstd
)

// String returns the property's text, "lz4".
func (c Compression) String() string {
	return enumName("Compression", []string{"none", "gzip", "snappy", "lz4", "zstd"}, c)
}

// SecurityProtocol is how connections are secured.
type SecurityProtocol uint8

// The security protocols of Kafka. The zero value leaves it to Config.TLS and Config.SASL: PLAINTEXT without either.
const (
	plaintext SecurityProtocol = iota
	SSL
	SASLPlaintext
	SASLSSL
)

// String returns the property's text, "SASL_SSL".
func (p SecurityProtocol) String() string {
	return enumName("SecurityProtocol", []string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, p)
}

// enumName returns names[v], or the number for values that have no name.
func enumName[T ~uint8](typ string, names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return typ + "(" + strconv.Itoa(int(v)) + ")"
}

// defaultLog is the handler without a Config.Logger: it passes warnings and errors on to the slog.Default of that
// moment, so that a loss is seen even if the caller ignores results.
type defaultLog struct {
	with []func(slog.Handler) slog.Handler // attributes and groups, in order
}

func (d defaultLog) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && slog.Default().Enabled(ctx, level)
}

func (d defaultLog) Handle(ctx context.Context, r slog.Record) error {
	h := slog.Default().Handler()
	for _, with := range d.with {
		h = with(h)
	}
	r.Message = "quill: " + r.Message
	return h.Handle(ctx, r)
}

func (d defaultLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return d.plus(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (d defaultLog) WithGroup(name string) slog.Handler {
	return d.plus(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (d defaultLog) plus(with func(slog.Handler) slog.Handler) slog.Handler {
	return defaultLog{append(slices.Clip(d.with), with)}
}
