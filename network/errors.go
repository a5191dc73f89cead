package network

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of failure; use errors.Is. They come wrapped in an [*Error].
var (
	// ErrDisconnected says that the connection was lost while the request was with it.
	ErrDisconnected = errors.New("disconnected")
	// ErrRequestTimeout says that no answer came in time. Kafka: request.timeout.ms.
	ErrRequestTimeout = errors.New("request timed out")
	// ErrSetupTimeout says that no connection was made, or no versions agreed on, in time. KIP-601.
	ErrSetupTimeout = errors.New("connection setup timed out")
	// ErrUnsupportedVersion says that node and client have no version of the API in common.
	ErrUnsupportedVersion = errors.New("no common version")
	// ErrController says that the node is a controller of KRaft and no broker. It is also an
	// ErrUnsupportedVersion.
	ErrController = errors.New("it is a KRaft controller")
	// ErrMalformedResponse says that the node's answer can't be understood, or is out of order.
	ErrMalformedResponse = errors.New("malformed response")
	// ErrResponseTooLarge says that an answer is larger than Config.MaxResponse.
	ErrResponseTooLarge = errors.New("response too large")
	// ErrRequestTooLarge says that a request does not fit into Kafka's frame of 2 GiB.
	ErrRequestTooLarge = errors.New("request too large")
	// ErrWrongProtocol says that the peer does not speak Kafka's protocol in the clear.
	ErrWrongProtocol = errors.New("the peer speaks another protocol")
	// ErrNotReady says that Send was called for a node that can't take a request.
	ErrNotReady = errors.New("node is not ready")
	// ErrClosed says that the client was closed.
	ErrClosed = errors.New("client is closed")
)

// hungUp marks the error of a handshake in which the peer closed the connection instead of answering.
type hungUp struct{ error }

func (h hungUp) Unwrap() error { return h.error }

// errUnused ends a connection that is not needed: it was idle, or its node has moved or gone. It never
// reaches a request, because such a connection has none.
var errUnused = errors.New("no longer needed")

// Error is a failure of a connection or of one request. Whether a request may have reached the node
// all the same is in its MaybeSent.
type Error struct {
	Node int32  // the node's id; negative for a bootstrap server
	Addr string // host:port as it was configured, or as the cluster reported it
	// Op is what was going on: resolve, dial, TLS settings, TLS handshake, negotiate, authenticate, encode, write, read, decode,
	// request, send.
	Op  string
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	text := brief(e.Err)
	if !strings.Contains(text, e.Op+" ") && !strings.Contains(text, e.Op+":") { // "dial tcp 192.0.2.1:9092: …" says it already
		text = e.Op + ": " + text
	}
	return place(e.Node, e.Addr) + ": " + text
}

// place returns a node as error texts name it.
func place(node int32, addr string) string {
	if node < 0 {
		return "bootstrap server " + addr
	}
	return fmt.Sprintf("node %d (%s)", node, addr)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether it failed because the node took too long.
func (e *Error) Timeout() bool {
	return errors.Is(e.Err, ErrRequestTimeout) || errors.Is(e.Err, ErrSetupTimeout)
}

// disconnected returns e as the error of the requests that were lost with the connection: e itself if the client was
// closed, else wrapped in ErrDisconnected.
func (e *Error) disconnected() *Error {
	if errors.Is(e.Err, ErrClosed) {
		return e
	}
	return &Error{Node: e.Node, Addr: e.Addr, Op: e.Op, Err: disconnectedError{e.Err}}
}
