package quill

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
)

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
