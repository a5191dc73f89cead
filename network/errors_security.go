package network

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/protocol"
)

// The kinds of failure of secured connections; use errors.Is.
var (
	// ErrTLS is the kind of every [*TLSError].
	ErrTLS error = tlsFailed{}
	// ErrAuthentication is the kind of every [*AuthenticationError].
	ErrAuthentication = errors.New("authentication failed")
)

// tlsFailed is ErrTLS, which is also ErrAuthentication.
type tlsFailed struct{}

func (tlsFailed) Error() string { return "TLS failed" }

func (tlsFailed) Unwrap() error { return ErrAuthentication }

// TLSError says that a connection could not be secured: client and node have no settings in common, one of them does not
// trust the other, or one of them does not speak TLS. Java: SslAuthenticationException.
type TLSError struct {
	Node    int32  // the node's id; negative for a bootstrap server
	Addr    string // host:port as it was configured, or as the cluster reported it
	Step    string // settings or handshake
	Hint    string // what may be wrong and where to look; may be empty
	Lasting bool   // another attempt would fail too, until settings, certificates or the node change
	Err     error  // what happened
}

// Error implements error.
func (e *TLSError) Error() string { return place(e.Node, e.Addr) + ": " + e.brief() }

// brief returns the error's text without the node.
func (e *TLSError) brief() string {
	return withHint("TLS "+e.Step+": "+foreign.PlainOfMany(e.Err.Error()), e.Hint)
}

// Unwrap returns the cause.
func (e *TLSError) Unwrap() error { return e.Err }

// Is reports whether target is ErrTLS or ErrAuthentication, as SslAuthenticationException is an AuthenticationException.
func (e *TLSError) Is(target error) bool { return target == ErrTLS || target == ErrAuthentication }

// AuthenticationError says that node and client did not agree on who the client is. Java: AuthenticationException.
type AuthenticationError struct {
	Node      int32              // the node's id; negative for a bootstrap server
	Addr      string             // host:port as it was configured, or as the cluster reported it
	Mechanism string             // of the client: "SCRAM-SHA-512"; empty if none is configured
	Step      string             // start (within the client), SaslHandshake, SaslAuthenticate
	Code      protocol.ErrorCode // what the node answered; None if it did not get that far
	Detail    string             // the node's own text, at most 4 KiB; Error quotes and cuts it
	Offered   []string           // the mechanisms that the node names, at most 32, if the client's is not among them
	Renewal   bool               // the connection had been authenticated before (KIP-368)
	Hint      string             // what may be wrong and where to look; may be empty
	Lasting   bool               // another attempt would fail too, until settings, credentials or the node change
	Err       error              // what happened, unless Code says it all
}

// Error implements error.
func (e *AuthenticationError) Error() string { return place(e.Node, e.Addr) + ": " + e.brief() }

// brief returns the error's text without the node.
func (e *AuthenticationError) brief() string {
	text := "authenticate with " + foreign.Quote(e.Mechanism) + ": " + e.Step
	switch {
	case e.Renewal:
		text = "authenticate again with " + foreign.Quote(e.Mechanism) + ": " + e.Step
	case e.Mechanism == "":
		text = "authenticate"
	}
	if e.Code != protocol.None {
		text += ": " + e.Code.String()
	}
	if e.Detail != "" {
		text += ": " + foreign.Quote(e.Detail)
	}
	if e.Err != nil {
		text += ": " + foreign.PlainOfMany(e.Err.Error())
	}
	return withHint(text, e.Hint)
}

// Unwrap returns the cause, an error code included.
func (e *AuthenticationError) Unwrap() []error {
	var causes []error
	if e.Code != protocol.None {
		causes = append(causes, e.Code)
	}
	if e.Err != nil {
		causes = append(causes, e.Err)
	}
	return causes
}

// Is reports whether target is ErrAuthentication.
func (e *AuthenticationError) Is(target error) bool { return target == ErrAuthentication }

// Lasting reports whether err says that a node and this client can't come together as they are set up: another attempt
// would fail too, until settings, certificates, credentials or the node change.
func Lasting(err error) bool {
	if e, ok := errors.AsType[*TLSError](err); ok {
		return e.Lasting
	}
	e, ok := errors.AsType[*AuthenticationError](err)
	return ok && e.Lasting
}

func withHint(text, hint string) string {
	if hint == "" {
		return text
	}
	return text + "; " + hint
}

const (
	// keptText is how much of one it keeps.
	keptText = 4 << 10
	// shownNames is how many names of a list an error shows, keptNames how many it keeps.
	shownNames, keptNames = 8, 32
)

// kept returns what an error keeps of a list of names.
func kept(names []string) []string {
	list := slices.Clone(names[:min(len(names), keptNames)])
	for i, name := range list {
		list[i] = strings.Clone(foreign.Cut(name, foreign.Shown))
	}
	return list
}

// nameList returns names as an error shows them.
func nameList(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	var b strings.Builder
	for i, name := range names[:min(len(names), shownNames)] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(foreign.Quote(name))
	}
	if more := len(names) - shownNames; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

// brief returns the text of err without the node that it is about, which an Error names in front of it.
func brief(err error) string {
	if b, ok := err.(interface{ brief() string }); ok {
		return b.brief()
	}
	return err.Error()
}

// disconnectedError is an ErrDisconnected with its reason.
type disconnectedError struct{ cause error }

func (e disconnectedError) Error() string { return ErrDisconnected.Error() + ": " + brief(e.cause) }

func (e disconnectedError) Unwrap() []error { return []error{ErrDisconnected, e.cause} }
