// Package message holds the requests and responses of Kafka's protocol that a
// producer needs, one Go struct per message for all versions of it.
//
// The structs and their methods are generated from Kafka's own definitions
// (see the generate directory); the files end in _gen.go. Only a few things are
// written by hand: the interfaces, the two headers (header.go)
// and the types of the wire that differ between old and flexible versions
// (wire.go).
//
// A message is encoded by Append and read by Decode. Both take the version,
// which the two ends have agreed upon before. Append writes the fields that the
// version has. Decode keeps its error in the [protocol.Reader].
//
// Null and default follow one rule each: a nullable string is a *string, and
// the null of an array or of bytes is a nil slice. The zero value of a struct
// is not always Kafka's default, so Reset sets that; NewRequest and NewResponse
// have done it. A nullable string without a default in the definition is null
// after Reset, where Java has an empty string.
//
// Messages do no I/O and know no connection. They are not safe for concurrent
// use.
package message

import (
	"fmt"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

//go:generate go run ./generate

// Message is a request or a response without its header.
type Message interface {
	// APIKey returns the key of the API that the message belongs to.
	APIKey() protocol.APIKey
	// Append appends the message in the given version to dst and returns it.
	// Fields that the version does not have are left out.
	Append(dst []byte, version int16) []byte
	// Decode reads the message in the given version. It starts with Reset, so
	// that slices are used again; strings are copied, bytes and records alias
	// the reader's input. After an error, which is in the reader, the message
	// holds what was read before it.
	Decode(r *protocol.Reader, version int16)
	// Reset sets every field to the default of Kafka's definition. Slices keep
	// their capacity.
	Reset()
}

// Request is a message that a client sends. Every request of this package
// implements it.
type Request interface {
	Message
	// MinVersion and MaxVersion are the versions that kafka-clients 4.4 writes,
	// those that are marked unstable left out.
	MinVersion() int16
	MaxVersion() int16
	// Check returns an error if the request says something that the version
	// cannot express and that Kafka does not allow to drop: a field set that
	// the version lacks, or a null it forbids. The error wraps
	// [protocol.UnsupportedVersion].
	Check(version int16) error
}

// Throttled is implemented by every response that can ask the client to pause
// (KIP-219).
type Throttled interface {
	// Throttle returns the pause, zero for none. It is never negative.
	Throttle() time.Duration
}

// throttle turns the wire's milliseconds into a duration.
func throttle(ms int32) time.Duration {
	return time.Duration(max(ms, 0)) * time.Millisecond
}

// unsupported returns the error of Check.
func unsupported(field string, version int16) error {
	return fmt.Errorf("%s does not fit into version %d: %w", field, version, protocol.UnsupportedVersion)
}
