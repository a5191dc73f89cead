package quill

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
)

// Toggle is a switch whose zero value leaves the choice to Kafka's default.
type Toggle uint8

const (
	// ToggleDefault leaves it to Kafka's default.
	ToggleDefault Toggle = iota
	// Enabled switches on, independent of the default.
	Enabled
	// Disabled switches off, independent of the default.
	Disabled
)

// String returns "default", "enabled" or "disabled".
func (t Toggle) String() string {
	return enumName("Toggle", []string{"default", "enabled", "disabled"}, t)
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

// The security protocols of Kafka. Only Plaintext works so far; New refuses the others.
const (
	Plaintext SecurityProtocol = iota
	SSL
	SASLPlaintext
	SASLSSL
)

// String returns the property's text, "SASL_SSL".
func (p SecurityProtocol) String() string {
	return enumName("SecurityProtocol", []string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, p)
}

// ClientDNSLookup is how host names become addresses.
type ClientDNSLookup uint8

const (
	// UseAllDNSIPs tries every address of a name in turn, and looks the name up again after the last.
	UseAllDNSIPs ClientDNSLookup = iota
	// ResolveCanonicalBootstrapServersOnly replaces each bootstrap server by the canonical names of
	// its addresses, as Kerberos needs it.
	ResolveCanonicalBootstrapServersOnly
)

// String returns the property's text.
func (l ClientDNSLookup) String() string {
	return enumName("ClientDNSLookup", []string{"use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"}, l)
}

// MetadataRecovery is what happens when no known node can be reached. Kafka: KIP-899.
type MetadataRecovery uint8

const (
	// MetadataRecoveryRebootstrap begins again with the bootstrap servers.
	MetadataRecoveryRebootstrap MetadataRecovery = iota
	// MetadataRecoveryNone keeps trying the nodes that were known last.
	MetadataRecoveryNone
)

// String returns the property's text.
func (r MetadataRecovery) String() string {
	return enumName("MetadataRecovery", []string{"rebootstrap", "none"}, r)
}

// BufferAllocation is how an open batch takes buffer memory. Kafka: KIP-1332.
type BufferAllocation uint8

const (
	// BufferAllocationFull reserves batch.size for each open batch.
	BufferAllocationFull BufferAllocation = iota
	// BufferAllocationIncremental lets an uncompressed batch grow in small steps.
	BufferAllocationIncremental
)

// String returns the property's text.
func (a BufferAllocation) String() string {
	return enumName("BufferAllocation", []string{"full", "incremental"}, a)
}

// RecordingLevel is how detailed metrics are.
type RecordingLevel uint8

// The recording levels of Kafka.
const (
	RecordingInfo RecordingLevel = iota
	RecordingDebug
	RecordingTrace
)

// String returns the property's text, "INFO".
func (l RecordingLevel) String() string {
	return enumName("RecordingLevel", []string{"INFO", "DEBUG", "TRACE"}, l)
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
