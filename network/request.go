package network

import (
	"fmt"
	"math"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/internal/seal"
	"github.com/quill-kafka/quill/protocol"
)

// Exchange is one request and its answer. The client calls Encode and Decode on the goroutines of a
// connection, never both at once, and neither after the Request has come back.
//
// Only this module implements it. An Exchange is trusted: one that kept a Frame's memory, or read less than the
// whole answer, would make other requests wrong.
type Exchange interface {
	// APIKey returns the key of the API.
	APIKey() protocol.APIKey
	// Versions returns the range the caller can write. The highest that the node serves too is taken.
	// Called within Send.
	Versions() (lowest, highest int16)
	// Encode appends the request's body to f. Called once, on the connection's writer; it may be slow. An
	// error gives the request back unsent and leaves the connection as it is.
	Encode(f *Frame, version int16) error
	// Decode reads the answer's body, all of it. Called at most once, on the connection's reader.
	// What aliases the reader's input is valid only until Decode returns. An error closes the
	// connection.
	Decode(r *protocol.Reader, version int16) error
	// Sealed is not called. It keeps other modules from implementing Exchange.
	Sealed(seal.Key)
}

// Message is an Exchange of two ready-made messages. Byte slices in Response alias memory that is
// used again: they are not valid once the request has come back.
type Message struct {
	Request, Response message.Message
	// Highest, if positive, is the highest version to use.
	Highest int16
}

var _ Exchange = (*Message)(nil)

// Sealed implements Exchange.
func (m *Message) Sealed(seal.Key) {}

// APIKey implements Exchange.
func (m *Message) APIKey() protocol.APIKey { return m.Request.APIKey() }

// Versions implements Exchange.
func (m *Message) Versions() (lowest, highest int16) {
	lowest, highest = 0, math.MaxInt16
	if r, ok := m.Request.(message.Request); ok {
		lowest, highest = r.MinVersion(), r.MaxVersion()
	}
	if m.Highest > 0 {
		highest = min(highest, m.Highest)
	}
	return lowest, highest
}

// Encode implements Exchange.
func (m *Message) Encode(f *Frame, version int16) error {
	if r, ok := m.Request.(message.Request); ok {
		if err := r.Check(version); err != nil {
			return fmt.Errorf("%w: %w", ErrUnsupportedVersion, err)
		}
	}
	f.Buf = m.Request.Append(f.Buf, version)
	return nil
}

// Decode implements Exchange.
func (m *Message) Decode(r *protocol.Reader, version int16) error {
	if response, ok := m.Response.(message.Response); ok {
		response.DecodeWithin(r, version, message.AskedBy(m.Request))
	} else {
		m.Response.Decode(r, version)
	}
	return r.Err()
}

// Request is an Exchange to send. The caller fills in the first group and hands it to Send; from
// there on it belongs to the client until Handle or Tick gives it back.
type Request struct {
	Exchange Exchange
	// NoAnswer: the node sends none (Produce with acks=0). The request is done when it is written.
	NoAnswer bool
	// Small: encoding it takes little time, and its bytes are few. If nothing is in flight to the node, Send may then write it
	// itself, without blocking; else a goroutine of the connection has to be woken for it.
	Small bool
	// Timeout is how long the answer may take: from Send on, or from when the request was written; and until then,
	// how long nothing of it, nor of those before it, may be written. If not positive, Config.RequestTimeout.
	Timeout time.Duration
	// Tag is for the caller; the client does not read it.
	Tag any

	// Filled in by Send.

	Node          int32
	Version       int16
	CorrelationID int32
	SentAt        time.Time

	// Filled in when it comes back.

	DoneAt time.Time
	// Err is nil if the request was answered, or written if it has NoAnswer; else an *Error.
	Err error
	// MaybeSent: some of its bytes may have reached the node. Without it they have not.
	MaybeSent bool

	deadline time.Time // when it has timed out; moved on while the node throttles
	timedOut bool
}

// Event is what a connection reports to its owner; see Client.Handle.
type Event struct {
	kind     eventKind
	conn     *conn      // whose it is; nil for unsent
	request  *Request   // of answered and unsent
	err      error      // of answered, unsent and closed
	versions *versions  // of opened
	phase    setupPhase // of closed: how far the connection had come
	arrived  arrived    // of opened and answered: what was read for it
}

type eventKind uint8

const (
	// opened: connected and negotiated; requests may be sent.
	opened eventKind = iota + 1
	// answered: the request is done and off the wire.
	answered
	// caughtUp: nothing is left in the socket of what arrived before CatchUp.
	caughtUp
	// closed: both goroutines of the connection have ended; every request it still held is off the
	// wire. The last event of a connection.
	closed
	// unsent: Send could not take the request.
	unsent
)
