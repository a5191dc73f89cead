package sasl

import (
	"context"
	"crypto/tls"
)

// Peer is the node that a mechanism authenticates to.
type Peer struct {
	Host string // as it is configured or as the cluster advertises it: a name or an address
	Port int
	Node int32 // the node's id; negative for a bootstrap server

	// TLS is the state of the connection below; nil if it is plaintext. It is not to be changed.
	TLS *tls.ConnectionState
}

// Mechanism is a way to authenticate, with the credentials it needs.
type Mechanism interface {
	// Name returns the mechanism's name as brokers list it: "PLAIN". It is the same at each call.
	Name() string

	// Start begins an authentication to the node. It returns the first message to send; a node that
	// is to speak first gets none, if initial is nil. An initial that is empty but not nil is sent.
	//
	// Start is called for each connection and each time a connection authenticates again, also
	// concurrently. It may block until ctx ends, as when it fetches a token. An error of it fails the
	// connection, and the requests that wait for it.
	Start(ctx context.Context, peer Peer) (s Session, initial []byte, err error)
}

// Session is an authentication that has begun. One goroutine at a time calls its methods.
type Session interface {
	// Next answers a message of the node; challenge may be empty, and is only valid until Next
	// returns. It may block until ctx ends.
	//
	// A response that is not nil is sent. With done, it is the last one, and the authentication has
	// succeeded if the node agrees; a node that wants to go on is then an error, as is one that says
	// that it is content before Next has returned done.
	//
	// An error ends the authentication and the connection. A response that comes with an error is
	// sent all the same before: in OAUTHBEARER a client must acknowledge a refusal (RFC 7628 §3.2.3).
	Next(ctx context.Context, challenge []byte) (response []byte, done bool, err error)
}
