package protocol

import "strconv"

// ErrorCode is the error number in a response. It is an error itself, also when
// it is None; a caller checks for None before returning it as one.
//
// A number that Kafka 4.4 does not know is kept as it is: such a code is not
// Known, belongs to ClassOther and is never retriable, as in Java, where it
// turns into UNKNOWN_SERVER_ERROR.
type ErrorCode int16

// ErrorClass is the group of an error code: what a client that gets it can do
// about it. Kafka: KIP-1050, the base class of the Java exception.
type ErrorClass uint8

const (
	// ClassNone is the class of None alone.
	ClassNone ErrorClass = iota
	// ClassRetriable may pass when the same request is sent again.
	ClassRetriable
	// ClassRefreshRetriable may pass after metadata or coordinator are looked up again.
	ClassRefreshRetriable
	// ClassAbortable ends the transaction, not the producer.
	ClassAbortable
	// ClassApplicationRecoverable asks for a new producer (or group member).
	ClassApplicationRecoverable
	// ClassInvalidConfiguration fails until the configuration is changed.
	ClassInvalidConfiguration
	// ClassOther is everything without a group in Kafka.
	ClassOther
)

var classNames = [...]string{
	"none", "retriable", "refresh-retriable", "abortable",
	"application-recoverable", "invalid-configuration", "other",
}

// String returns the group's name in words, "refresh-retriable".
func (c ErrorClass) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "ErrorClass(" + strconv.Itoa(int(c)) + ")"
}

// errorInfo is one row of errorTable.
type errorInfo struct {
	name    string
	text    string
	class   ErrorClass
	refresh bool // InvalidMetadataException in Java: metadata must be fetched again
}

// info returns the row of the code, nil if Kafka 4.4 has none.
func (e ErrorCode) info() *errorInfo {
	if i := int(e) + 1; i >= 0 && i < len(errorTable) {
		return &errorTable[i]
	}
	return nil
}

// Known reports whether Kafka 4.4 has this code.
func (e ErrorCode) Known() bool { return e.info() != nil }

// Name returns Kafka's name, "NOT_LEADER_OR_FOLLOWER", or
// "UNKNOWN_ERROR_CODE(9999)" for an unknown number.
func (e ErrorCode) Name() string {
	if i := e.info(); i != nil {
		return i.name
	}
	return "UNKNOWN_ERROR_CODE(" + strconv.Itoa(int(e)) + ")"
}

// String returns the name, as Name does.
func (e ErrorCode) String() string { return e.Name() }

// Message returns Kafka's default text, empty for None and unknown numbers.
func (e ErrorCode) Message() string {
	if i := e.info(); i != nil {
		return i.text
	}
	return ""
}

// Error returns the name and, where there is one, the default text:
// "NOT_LEADER_OR_FOLLOWER: For requests intended only for the leader, ...".
func (e ErrorCode) Error() string {
	if text := e.Message(); text != "" {
		return e.Name() + ": " + text
	}
	return e.Name()
}

// Class returns the group of the code.
func (e ErrorCode) Class() ErrorClass {
	if i := e.info(); i != nil {
		return i.class
	}
	return ClassOther
}

// Retriable reports whether the same request may succeed later. What that means
// for a batch depends on more than the code; Kafka: RetriableException.
func (e ErrorCode) Retriable() bool {
	c := e.Class()
	return c == ClassRetriable || c == ClassRefreshRetriable
}

// RefreshMetadata reports whether the code says that the cluster metadata is out
// of date. Kafka: InvalidMetadataException. The two coordinator codes (15, 16) are
// refresh-retriable but refresh the coordinator, not the metadata.
func (e ErrorCode) RefreshMetadata() bool {
	i := e.info()
	return i != nil && i.refresh
}
